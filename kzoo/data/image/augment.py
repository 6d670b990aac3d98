"""Image data augmentation on batches of raw images: a pure function of the seed."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.lazy import np, tf
from kzoo.core.registry import check_keywords, lookup
from kzoo.data.augment import Augment
from kzoo.data.image.affine import affine_bilinear, affine_nearest, as_before
from kzoo.data.image.colour import ColorJitter
from kzoo.data.image.elastic import elastic
from kzoo.data.image.geometry import KERNELS, Box, crop_and_resize, crop_nearest, random_boxes
from kzoo.data.image.randaugment import randaugment, trivialaugment
from kzoo.data.image.source import Crop, ImageFiles, crop_box
from kzoo.data.mixing import Mixing
from kzoo.data.random import check_ranges, fold, inside, signed_uniform, uniform


def noise(images, seed):
    """Return uniform noise of the images' shape: random bytes, or floats between the batch's minimum and maximum."""
    if images.dtype != tf.uint8:
        low, high = tf.reduce_min(images), tf.reduce_max(images)
        return tf.random.stateless_uniform(tf.shape(images), seed, low, high, images.dtype)
    words = tf.random.stateless_uniform([tf.size(images) // 4 + 1], seed, None, None, tf.uint32)
    return tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[: tf.size(images)], tf.shape(images))


def mean_colour(images, seed=None):
    """Return a row of pixels of the batch's mean colour, (1, 1, width, channels)."""
    mean = tf.reduce_mean(tf.reduce_mean(tf.cast(images, tf.float32), axis=(0, 1)), axis=0)
    return tf.tile(tf.cast(mean, images.dtype)[None, None, None], [1, 1, tf.shape(images)[2], 1])


IN_PLACE = ("color_jitter", "cutout", "erase", "erase_area", "erase_aspect", "erase_fill")
FILLS = {"noise": noise, "mean": mean_colour}


@dataclass(frozen=True)
class ResizedCrop:
    """A random part of each image, resized to the size of the image.

    (Szegedy et al., 2015, https://arxiv.org/abs/1409.4842.)

    Args:
        area: smallest and largest fraction of the image.
        aspect: smallest and largest ratio of width to height.
        interpolation: "bilinear", "bicubic", or "random", one of these for each image.

    Raises:
        ValueError: for ranges that are none, or an unknown interpolation.
    """

    area: Sequence[float] = (0.08, 1.0)
    aspect: Sequence[float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"

    def __post_init__(self):
        check_span("resized_crop.area", self.area, "fraction of the image", 1)
        check_span("resized_crop.aspect", self.aspect, "ratio of width to height", math.inf)
        lookup("augment.resized_crop.interpolation", self.interpolation, KERNELS | {"random": None})

    def draw(self, size: Sequence[int], generator: np.random.Generator) -> Crop:
        """Return a random crop of an image of this height and width."""
        cubic = self.interpolation == "bicubic" or (self.interpolation == "random" and generator.random() < 0.5)
        return Crop(crop_box(size, generator, self.area, self.aspect), cubic)

    def boxes(self, images, seed) -> Box:
        """Return the part of each image."""
        count, height, width = tf.unstack(tf.shape(images)[:3])
        return random_boxes(count, height, width, self.area, self.aspect, fold(seed, 1))

    def follow(self, targets, seed):
        """Return the crops of class indices (batch, height, width, 1), by nearest neighbour."""
        return crop_nearest(targets, self.boxes(targets, seed))

    def __call__(self, images, seed):
        """Return the crops of 8-bit images (batch, height, width, channels), or of floats from 0 to 255."""
        count, height, width = tf.unstack(tf.shape(images)[:3])
        boxes = self.boxes(images, seed)
        names = list(KERNELS) if self.interpolation == "random" else [self.interpolation]
        crops = [crop_and_resize(images, boxes, (height, width), name) for name in names]
        chosen = uniform(count, fold(seed, 2))[:, None, None, None] < 0.5
        return tf.ensure_shape(tf.cast(tf.where(chosen, crops[0], crops[-1]), images.dtype), images.shape)


def check_span(name: str, span: Sequence[float], what: str, highest: float) -> None:
    """Raise a ValueError unless a value is two numbers, the smallest and the largest, above 0 and up to `highest`."""
    if not isinstance(span, (list, tuple)) or len(span) != 2 or not 0 < span[0] <= span[1] <= highest:
        raise ValueError(f"augment.{name} must be [smallest, largest] {what}, got {span!r}")


def built(name: str, kind: type, given):
    """Return an augmentation with arguments of its own: None, an object of that type, or its arguments.

    Raises:
        ValueError: for anything else, or an unknown argument.
    """
    if given is None or isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(f"augment.{name} must be {{argument: value}}, {{}} for the defaults, got {given!r}")
    check_keywords(f"argument of augment.{name}", given, kind)
    return kind(**given)


@dataclass(frozen=True)
class ImageAugment(Mixing):
    """Random crops, flip, shift, rotation, zoom, elastic deformation, colours, cutout, erasing, RandAugment; mixing.

    Targets at each pixel follow what moves pixels: masks by nearest neighbour, with nothing known outside of the image.

    Args:
        flip: flip horizontally with probability 0.5.
        shift: largest translation in pixels along each axis (the same as padding and random cropping); the border is
            black.
        rotation: largest rotation in degrees, in both directions.
        zoom: largest enlargement about the centre, 0.2 for 1.2 times, and likewise the largest reduction, to 1 / 1.2.
        elastic: standard deviation in pixels of the random displacements of 3 x 3 points, between which those of all
            pixels are interpolated (Ronneberger et al., 2015, https://arxiv.org/abs/1505.04597); 0 for none.
        resized_crop: arguments of `ResizedCrop`, `{}` for its defaults; None for none. For 8-bit images, as the next
            two are.
        color_jitter: arguments of `kzoo.data.image.colour.ColorJitter`; None for none.
        trivialaugment: one operation of any strength for each image (Müller, Hutter, 2021,
            https://arxiv.org/abs/2103.10158).
        cutout: side in pixels of a square somewhere in the image that is set to the batch's mean colour
            (DeVries, Taylor, 2017, https://arxiv.org/abs/1708.04552); 0 for none.
        randaugment: magnitude of RandAugment with two operations, 0 (none) to 30, for 8-bit images
            (Cubuk, Zoph, Shlens, Le, 2019, https://arxiv.org/abs/1909.13719).
        erase: probability that a rectangle inside an image is erased (Zhong et al., 2017,
            https://arxiv.org/abs/1708.04896); 0 for none.
        erase_area: smallest and largest fraction of the image that it covers.
        erase_aspect: smallest aspect ratio, at most 1; the largest is its inverse. Drawn on a logarithmic scale,
            among the ratios at which the rectangle fits.
        erase_fill: "noise" (0 to 255 in 8-bit images, otherwise between the batch's minimum and maximum), or "mean",
            the batch's mean colour.

    Raises:
        ValueError: for a value out of its range.
    """

    in_place: ClassVar[tuple[str, ...]] = IN_PLACE
    followed: ClassVar[tuple[str, ...]] = ("flip", "shift", "rotation", "zoom", "elastic", "resized_crop")
    flip: bool = False
    shift: int = 0
    rotation: float = 0.0
    zoom: float = 0.0
    elastic: float = 0.0
    resized_crop: Mapping | ResizedCrop | None = None
    color_jitter: Mapping | ColorJitter | None = None
    trivialaugment: bool = False
    cutout: int = 0
    randaugment: float = 0.0
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_aspect: float = 0.3
    erase_fill: str = "noise"

    def __post_init__(self):
        super().__post_init__()
        check_ranges(
            self,
            {"shift": math.inf, "rotation": 180, "zoom": math.inf, "elastic": math.inf, "cutout": math.inf}
            | {"randaugment": 30, "erase": 1, "erase_aspect": 1},
        )
        for name, kind in (("resized_crop", ResizedCrop), ("color_jitter", ColorJitter)):
            object.__setattr__(self, name, built(name, kind, getattr(self, name)))
        lookup("augment.erase_fill", self.erase_fill, FILLS)
        check_span("erase_area", self.erase_area, "fraction of the image", 1)
        if not self.erase_aspect:
            raise ValueError("augment.erase_aspect must be above 0")

    @property
    def reads_originals(self) -> bool:
        """Whether crops are taken from the original files."""
        return self.resized_crop is not None

    def reading(self, inputs) -> tuple[Callable, Augment]:
        """Return how training examples are read: of files a crop of the original, where one is asked for."""
        if self.resized_crop is None or not isinstance(inputs, ImageFiles):
            return super().reading(inputs)
        read = functools.partial(inputs.cropped, draw=self.resized_crop.draw)
        return read, dataclasses.replace(self, resized_crop=None)

    def __call__(self, images, seed):
        """Return an augmented batch of the same type and range.

        Args:
            images: batch of shape (batch, height, width, channels), 8-bit or float.
            seed: integer tensor of shape (2,).

        Raises:
            ValueError: for what is defined for 8-bit images alone, of others.
        """
        images = tf.convert_to_tensor(images)
        for name in ("resized_crop", "color_jitter", "trivialaugment", "randaugment"):
            if getattr(self, name) and images.dtype != tf.uint8:
                raise ValueError(f"augment.{name} is for 8-bit images, these are {images.dtype.name}")
        if self.resized_crop:
            images = self.resized_crop(images, fold(seed, 8))
        if self.color_jitter:
            images = self.color_jitter(images, fold(seed, 9))
        if self.trivialaugment:
            images = trivialaugment(images, fold(seed, 10))
        if self.randaugment:
            images = randaugment(images, self.randaugment, fold(seed, 1))
        images = self.moved(images, seed)
        if self.cutout:
            images = cutout(images, self.cutout, fold(seed, 2))
        if self.erase:
            images = self.erased(images, fold(seed, 7))
        return images

    def follow(self, targets, seed):
        targets = tf.convert_to_tensor(targets)
        if targets.dtype.is_floating:
            cropped = self.resized_crop(targets, fold(seed, 8)) if self.resized_crop else targets
            return self.moved(cropped, seed)
        known = targets[..., None] + 1  # 0, which is what lies outside, for what is not known
        cropped = self.resized_crop.follow(known, fold(seed, 8)) if self.resized_crop else known
        return self.moved(cropped, seed, nearest=True)[..., 0] - 1

    def moved(self, images, seed, *, nearest: bool = False):
        """Flip, rotate, zoom, shift and deform; by nearest neighbour where values cannot be interpolated."""
        if self.flip or self.shift or self.rotation or self.zoom:
            images = self.transform(images, seed, nearest)
        return elastic(images, self.elastic, fold(seed, 12), nearest) if self.elastic else images

    def transform(self, images, seed, nearest: bool = False):
        """Flip, rotate, zoom and shift in one resampling, which is bilinear only with a rotation or a zoom."""
        count = tf.shape(images)[0]
        flip = tf.where((signed_uniform(count, fold(seed, 3)) < 0) & self.flip, -1.0, 1.0)
        angle = signed_uniform(count, fold(seed, 4)) * math.radians(self.rotation)
        right, down = (tf.round(signed_uniform(count, fold(seed, number)) * (self.shift + 0.5)) for number in (5, 6))
        cos, sin = tf.cos(angle), tf.sin(angle)
        matrix = tf.stack([cos * flip, -sin, sin * flip, cos], axis=1)
        if self.zoom:
            matrix *= tf.exp(signed_uniform(count, fold(seed, 11)) * math.log1p(self.zoom))[:, None]
        if nearest or not (self.rotation or self.zoom):
            return affine_nearest(images, matrix, right, down)
        return as_before(affine_bilinear(tf.cast(images, tf.float32), matrix, right, down), images.dtype)

    def erased(self, images, seed):
        """Erase a rectangle of some images."""
        count, height, width = tf.unstack(tf.shape(images)[:3])
        rows, columns = self.rectangles(count, tf.cast(height, tf.float32), tf.cast(width, tf.float32), seed)
        chosen = (uniform(count, fold(seed, 1)) < self.erase)[:, None]

        def span(size, length, seed):
            start = tf.cast(uniform(count, seed) * tf.cast(size - length + 1, tf.float32), tf.int32)
            return inside(size, start, length)

        hole = chosen & span(height, rows, fold(seed, 2)), span(width, columns, fold(seed, 3))
        return cover(images, *hole, FILLS[self.erase_fill](images, fold(seed, 4)))

    def rectangles(self, count, height, width, seed):
        """Draw the heights and widths of `count` rectangles that fit into the images, integers (count,) each."""
        least, greatest = self.erase_area
        area = least + (greatest - least) * uniform(count, fold(seed, 5))
        low = tf.maximum(math.log(self.erase_aspect), tf.math.log(area * height / width))
        high = tf.minimum(-math.log(self.erase_aspect), tf.math.log(height / width / area))
        aspect = tf.exp(low + (high - low) * uniform(count, fold(seed, 6)))
        area *= height * width
        sides = tf.minimum(tf.sqrt(area * aspect), height), tf.minimum(tf.sqrt(area / aspect), width)
        return (tf.cast(tf.round(tf.maximum(side, 1)), tf.int32) for side in sides)


def cutout(images, side: int, seed):
    """Set a square of `side` pixels, centred anywhere in the image, to the batch's mean colour."""
    count, height, width = tf.unstack(tf.shape(images)[:3])

    def span(size, seed):
        centre = tf.random.stateless_uniform([count], seed, 0, size, dtype=tf.int32)
        return inside(size, centre - side // 2, side)

    return cover(images, span(height, fold(seed, 1)), span(width, fold(seed, 2)), mean_colour(images))


def cover(images, rows, columns, fill):
    """Replace the pixels in a rectangle of rows and columns by `fill`.

    Pixels are flattened to rows of values: TensorFlow is slow to broadcast over few channels.

    Args:
        images: (batch, height, width, channels).
        rows: bool (batch, height).
        columns: bool (batch, width).
        fill: of the images' shape, or one row of pixels (1, 1, width, channels).
    """
    count, height, width, channels = tf.unstack(tf.shape(images))
    shape = [count, height, width * channels]
    hole = rows[:, :, None] & tf.repeat(columns, channels, axis=1)[:, None]
    fill = tf.broadcast_to(tf.reshape(fill, [tf.shape(fill)[0], -1, width * channels]), shape)
    covered = tf.where(hole, fill, tf.reshape(images, shape))
    return tf.ensure_shape(tf.reshape(covered, tf.shape(images)), images.shape)
