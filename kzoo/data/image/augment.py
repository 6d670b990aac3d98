"""Image data augmentation on batches of raw images: a pure function of the seed."""

import math
from dataclasses import dataclass

from kzoo.core.lazy import tf
from kzoo.core.registry import lookup
from kzoo.data.image.geometry import affine_bilinear, affine_nearest
from kzoo.data.image.randaugment import randaugment
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


FILLS = {"noise": noise, "mean": mean_colour}


@dataclass(frozen=True)
class ImageAugment(Mixing):
    """Flip, shift, rotation, cutout, random erasing and RandAugment per image; mixup and cutmix.

    Args:
        flip: flip horizontally with probability 0.5.
        shift: largest translation in pixels along each axis (the same as padding and random cropping); the border is
            black.
        rotation: largest rotation in degrees, in both directions.
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

    flip: bool = False
    shift: int = 0
    rotation: float = 0.0
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
            {"shift": math.inf, "rotation": 180, "cutout": math.inf, "randaugment": 30, "erase": 1, "erase_aspect": 1},
        )
        lookup("augment.erase_fill", self.erase_fill, FILLS)
        area = self.erase_area
        if not isinstance(area, (list, tuple)) or len(area) != 2 or not 0 < area[0] <= area[1] <= 1:
            raise ValueError(f"augment.erase_area must be [smallest, largest] fraction of the image, got {area!r}")
        if not self.erase_aspect:
            raise ValueError("augment.erase_aspect must be above 0")

    def __call__(self, images, seed):
        """Return an augmented batch of the same type and range.

        Args:
            images: batch of shape (batch, height, width, channels), 8-bit or float.
            seed: integer tensor of shape (2,).

        Raises:
            ValueError: for RandAugment of images that are not 8-bit.
        """
        images = tf.convert_to_tensor(images)
        if self.randaugment:
            if images.dtype != tf.uint8:
                raise ValueError(f"augment.randaugment is for 8-bit images, these are {images.dtype.name}")
            images = randaugment(images, self.randaugment, fold(seed, 1))
        if self.flip or self.shift or self.rotation:
            images = self.transform(images, seed)
        if self.cutout:
            images = cutout(images, self.cutout, fold(seed, 2))
        if self.erase:
            images = self.erased(images, fold(seed, 7))
        return images

    def transform(self, images, seed):
        """Flip, rotate and shift in one resampling, which is bilinear only with a rotation."""
        count = tf.shape(images)[0]
        flip = tf.where((signed_uniform(count, fold(seed, 3)) < 0) & self.flip, -1.0, 1.0)
        angle = signed_uniform(count, fold(seed, 4)) * math.radians(self.rotation)
        right, down = (tf.round(signed_uniform(count, fold(seed, number)) * (self.shift + 0.5)) for number in (5, 6))
        cos, sin = tf.cos(angle), tf.sin(angle)
        matrix = tf.stack([cos * flip, -sin, sin * flip, cos], axis=1)
        if not self.rotation:
            return affine_nearest(images, matrix, right, down)
        result = affine_bilinear(tf.cast(images, tf.float32), matrix, right, down)
        return result if images.dtype.is_floating else tf.cast(tf.round(result), images.dtype)

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
