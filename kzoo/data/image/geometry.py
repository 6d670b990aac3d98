"""Size and aspect ratio of images: resizing and centre cropping for inference, random crops for training.

What happens to an image is a pure function of its size (and, for training, of a seed). Resampling is antialiased and
rounds to 8 bits after each axis, as in Pillow, which torchvision and timm use.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from kzoo.core.arguments import check_arguments
from kzoo.core.lazy import PIL_Image, np, tf
from kzoo.core.ranges import Extent
from kzoo.core.registry import lookup
from kzoo.data.random import fold, uniform

MAX_PIXELS = 89_478_485  # of an image, as Pillow's own limit: 256 MiB in colour
Size = Extent | Sequence[int]
MODES = {
    "crop": "the shorter side is resized, and the centre cropped",
    "pad": "the longer side is resized, and the rest is black",
    "squash": "both sides are resized, whatever the aspect ratio",
}


def bilinear(ops, x):
    """Return the triangle kernel at distances x >= 0."""
    return ops.where(x < 1, 1 - x, 0.0)


def bicubic(ops, x):
    """Return the cubic convolution kernel with a = -0.5 at distances x >= 0."""
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return ops.where(x < 1, near, ops.where(x < 2, far, 0.0))


KERNELS = {"bilinear": bilinear, "bicubic": bicubic}


class Span(NamedTuple):
    """What the outputs of one axis are computed from: numbers, or one for each image of a batch.

    Attributes:
        start: position in the source at which the first output begins.
        scale: source pixels per output.
        low: first source pixel that is used.
        high: end of the source pixels that are used.
    """

    start: float
    scale: float
    low: float
    high: float


class Window(NamedTuple):
    """Outputs of one axis: a range of the whole resized axis, which may reach beyond its ends.

    Attributes:
        size: of the source.
        full: size to which the source is resized as a whole.
        first: index of the first output.
        count: number of outputs.
    """

    size: int
    full: int
    first: int
    count: int


@dataclass(frozen=True)
class Geometry:
    """How images of any size are brought to one.

    Args:
        image_size: height and width of the result, or one number for both; None keeps the size of images.
        resize: "crop" resizes the shorter side and crops the centre, "pad" resizes the longer side and adds black
            borders, "squash" resizes both sides and does not keep the aspect ratio.
        crop: size of the result as a fraction of what the side is resized to, in (0, 1]: 0.875 resizes to 256 and keeps
            the central 224.
        interpolation: "bilinear" or "bicubic".

    Raises:
        ValueError: for an unknown mode or interpolation, a size or fraction out of range, or a fraction without size.
    """

    image_size: Size | None = None
    resize: str = "crop"
    crop: float = 1.0
    interpolation: str = "bilinear"

    def __post_init__(self):
        given = check_arguments(Geometry, vars(self))
        object.__setattr__(self, "image_size", height_and_width(given["image_size"]))
        lookup("resize", self.resize, MODES)
        lookup("interpolation", self.interpolation, KERNELS)
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop must be a fraction in (0, 1], got {self.crop!r}")
        if self.crop != 1 and self.image_size is None:
            raise ValueError(f"crop={self.crop} needs image_size, the size of the result")

    @property
    def margin_size(self) -> tuple[int, int]:
        """Height and width before the last centre crop, at which images are stored for training."""
        return tuple(math.floor(side / self.crop) for side in self.image_size)

    def windows(self, ops, height, width, *, margin: bool = False) -> tuple[Window, Window]:
        """Return what is computed along the height and the width of an image.

        Args:
            ops: `numpy`, `keras.ops` or `tensorflow`.
            height: integer, or integer tensor.
            width: likewise.
            margin: the result is `margin_size`; `__call__` of it gives the same as of the image itself.
        """
        found = []
        for size, full, side, count in zip(
            (height, width), self.resized_to(ops, height, width), self.margin_size, self.image_size, strict=True
        ):
            first = centre(ops, full - count)
            found.append(
                Window(size, full, first - centre(np, side - count), side)
                if margin
                else Window(size, full, first, count)
            )
        return tuple(found)

    def resized_to(self, ops, height, width) -> tuple:
        """Return the height and the width to which an image is resized as a whole."""
        rows, columns = self.margin_size
        if self.resize == "squash":
            return rows, columns
        by_height = (height * columns <= width * rows) == (self.resize == "crop")
        to, side = ops.where(by_height, rows, columns), ops.where(by_height, height, width)
        half = 0 if self.resize == "crop" and rows == columns else 1  # torchvision cuts off, timm rounds
        return tuple(ops.maximum((2 * size * to + half * side) // (2 * side), 1) for size in (height, width))


def centre(ops, rest):
    """Return the first index of a centre crop that leaves out `rest` outputs, as torchvision does; negative to pad."""
    half = rest // 2
    return ops.where(rest < 0, -(-rest // 2), half + (rest % 2) * (half % 2))


def fitted(ops, images, geometry: Geometry):
    """Bring a batch of images of one size to the size of a geometry, as a graph of products with matrices.

    Args:
        ops: `keras.ops` or `tensorflow`.
        images: (batch, height, width, channels), 0 to 255.
        geometry: what is wanted.

    Returns:
        Whole numbers as float32, (batch, *image_size, channels).
    """
    height, width = ops.shape(images)[1], ops.shape(images)[2]
    windows = geometry.windows(ops, ops.maximum(height, 1), ops.maximum(width, 1))
    return windowed(ops, images, windows, geometry.interpolation)


def unfitted(ops, outputs, geometry: Geometry, height, width):
    """Return outputs at each pixel of a geometry's result at each pixel of the images that it was made of.

    They are interpolated linearly, antialiased where images are smaller; of pixels that the geometry crops away, NaN.

    Args:
        ops: `keras.ops` or `tensorflow`.
        outputs: float (batch, *image_size, channels).
        geometry: by which the images were brought to one size.
        height: of the images, integer or integer tensor.
        width: likewise.
    """
    weights = [weights_back(ops, window) for window in geometry.windows(ops, height, width)]
    seen = [ops.einsum("os->o", part) > 0 for part in weights]
    found = ops.einsum("bhwc,ow->bhoc", ops.einsum("bhwc,oh->bowc", outputs, weights[0]), weights[1])
    return ops.where(seen[0][None, :, None, None] & seen[1][None, None, :, None], found, float("nan"))


def weights_back(ops, window: Window):
    """Return the weights of a window's outputs for each pixel of its source, (size, count); 0 where it is not seen."""
    scale = ops.cast(window.full, "float32") / ops.cast(window.size, "float32")
    start = -ops.cast(window.first, "float32")
    weights = weights_of(ops, Span(start, scale, 0, window.count), window.size, window.count, "bilinear")
    centres = start + (positions(ops, window.size) + 0.5) * scale
    seen = (centres >= 0) & (centres <= ops.cast(window.count, "float32"))
    return ops.where(seen[:, None], weights, 0.0)


def map_back(values: np.ndarray, geometry: Geometry, size: Sequence[int], outside: int = 255) -> np.ndarray:
    """Return class indices at a geometry's result, (height, width), at the pixels of an image of another size.

    It is the nearest of them; `outside` where the geometry crops the image.
    """
    if geometry is None or tuple(size) == values.shape:
        return values
    found = []
    for window in geometry.windows(np, *size):
        whole, full, first, count = map(int, window)
        indices = (2 * np.arange(whole) + 1) * full // (2 * whole) - first
        found.append(np.where((indices >= 0) & (indices < count), indices, -1))
    rows, columns = found
    return np.where((rows >= 0)[:, None] & (columns >= 0), values[rows[:, None], columns], values.dtype.type(outside))


def windowed(ops, images, windows: Sequence[Window], interpolation: str):
    """Return the windows (along the height, along the width) of a batch of images, resampled; black beyond the ends."""
    return resampled(ops, images, *[weights_of_window(ops, window, interpolation) for window in windows])


def random_window(window: Window, seed) -> Window:
    """Return a window at a random place inside the resized axis, in place of the centre: a random crop."""
    room = tf.cast(window.full - window.count, tf.float32)
    place = tf.floor(uniform(1, seed)[0] * (tf.maximum(room, 0.0) + 1))
    return window._replace(first=tf.cast(tf.minimum(place, room), tf.int32))


def weights_of_window(ops, window: Window, interpolation: str):
    """Return the weights of the source pixels for each output, (count, size); 0 beyond the ends."""
    scale = ops.cast(window.size, "float32") / ops.cast(window.full, "float32")
    first = ops.cast(window.first, "float32")
    weights = weights_of(ops, Span(first * scale, scale, 0, window.size), window.count, window.size, interpolation)
    index = first + positions(ops, window.count)
    inside = (index >= 0) & (index < ops.cast(window.full, "float32"))
    return ops.where(inside[:, None], weights, 0.0)


def positions(ops, count):
    """Return 0, 1, ..., count - 1 as float32."""
    count_up = ops.arange if hasattr(ops, "arange") else ops.range
    return count_up(0, count, dtype="float32")


def weights_of(ops, span: Span, count: int, size, interpolation: str):
    """Return Pillow's weights of `size` source pixels for each of `count` outputs, (..., count, size).

    They are multiples of 2^-15, so that sums of 8-bit values are exact in float32, in any order of summation.
    """
    start, scale, low, high = (ops.cast(number, "float32")[..., None, None] for number in span)
    pixels, outputs = positions(ops, size)[None], positions(ops, count)[:, None]
    distances = abs(pixels + 0.5 - start - (outputs + 0.5) * scale) / ops.maximum(scale, 1.0)
    weights = ops.where((pixels >= low) & (pixels < high), KERNELS[interpolation](ops, distances), 0.0)
    total = ops.einsum("...i->...", weights)[..., None]
    return ops.round(weights / ops.where(total == 0, 1.0, total) * 2**15) / 2**15


def resampled(ops, images, row_weights, column_weights):
    """Resample a batch along its width, then along its height, rounding to whole numbers from 0 to 255 each time."""
    of_each = "b" * (len(row_weights.shape) == 3)
    images = to_whole(ops, ops.einsum(f"bhwc,{of_each}ow->bhoc", ops.cast(images, "float32"), column_weights))
    return to_whole(ops, ops.einsum(f"bhwc,{of_each}oh->bowc", images, row_weights))


def to_whole(ops, values):
    """Return values rounded to whole numbers from 0 to 255, halves up."""
    return ops.floor(ops.minimum(ops.maximum(values, 0.0), 255.0) + 0.5)


def resized(image: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return one 8-bit image, or a batch of them, at the size at which images are stored: `margin_size`.

    Pillow does it; the result differs from that of `fitted` by at most 1.
    """
    if geometry.image_size is None or image.shape[-3:-1] == geometry.margin_size:
        return image
    if image.ndim == 4:
        made = [resized(one, geometry) for one in image]
        return np.stack(made) if made else np.zeros((0, *geometry.margin_size, image.shape[-1]), image.dtype)
    if 0 in image.shape:
        raise ValueError(f"an image of shape {image.shape} has no pixels")
    windows = geometry.windows(np, *image.shape[:2], margin=True)
    colour = [image] if image.shape[-1] == 3 else np.moveaxis(image, -1, 0)
    parts = [pasted(one, *windows, geometry.interpolation) for one in colour]
    return parts[0] if image.shape[-1] == 3 else np.stack(parts, axis=-1)


def resized_map(values: np.ndarray, geometry: Geometry, outside: int = 255) -> np.ndarray:
    """Return class indices (..., height, width) at the size at which images are stored, by nearest neighbour.

    They are those of the pixels that `resized` shows there; beyond the ends of the image they are `outside`.
    """
    if geometry.image_size is None or values.shape[-2:] == geometry.margin_size:
        return values
    rows, columns = (nearest_indices(window) for window in geometry.windows(np, *values.shape[-2:], margin=True))
    found = np.take(np.take(values, np.maximum(rows, 0), axis=-2), np.maximum(columns, 0), axis=-1)
    return np.where((rows >= 0)[:, None] & (columns >= 0), found, values.dtype.type(outside))


def nearest_indices(window: Window) -> np.ndarray:
    """Return the source pixel that is nearest to each output of a window, -1 beyond the ends."""
    size, full, first, count = map(int, window)
    outputs = first + np.arange(count)
    return np.where((outputs >= 0) & (outputs < full), (2 * outputs + 1) * size // (2 * full), -1)


def crop_of_map(values: np.ndarray, window: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """Return a part of a map of class indices, (top, left, height, width), resized by nearest neighbour."""
    top, left, height, width = window
    rows = top + nearest_indices(Window(height, size[0], 0, size[0]))
    columns = left + nearest_indices(Window(width, size[1], 0, size[1]))
    return values[rows[:, None], columns]


def resized_targets(targets: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return targets of images at the size at which images are stored: maps of class indices, or images, if they are.

    Args:
        targets: (n, height, width), (n, height, width, channels) in 8 bits, or of another number of axes.
        geometry: of the images.
    """
    if targets.ndim == 3:
        return resized_map(targets, geometry)
    return resized(targets, geometry) if targets.ndim == 4 else targets


def pasted(image: np.ndarray, rows: Window, columns: Window, interpolation: str) -> np.ndarray:
    """Return the windows of an image, resized by Pillow, on black.

    The width is resized first, as in `resampled`; by itself Pillow 13 begins with the axis that shrinks most.
    """
    (top, bottom, upper, lower), (left, right, west, east) = map(visible, (rows, columns))
    method = PIL_Image.Resampling[interpolation.upper()]
    part = PIL_Image.fromarray(image).resize((right - left, rows.size), method, (west, 0, east, rows.size))
    part = part.resize((right - left, bottom - top), method, (0, upper, right - left, lower))
    canvas = np.zeros((rows.count, columns.count, *image.shape[2:]), "uint8")
    canvas[top:bottom, left:right] = part
    return canvas


def visible(window: Window) -> tuple[int, int, float, float]:
    """Return the range of outputs that show the image, and the range of the source that they show."""
    size, full, first, count = map(int, window)
    begin, end = max(0, -first), min(count, full - first)
    return begin, end, (first + begin) * size / full, min((first + end) * size / full, size)


def height_and_width(image_size: Size | None) -> tuple[int, int] | None:
    """Return (height, width) for one number or a pair.

    Raises:
        ValueError: if it is neither, or not positive.
    """
    if image_size is None:
        return None
    pair = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(pair) != 2 or not all(isinstance(size, int) and size > 0 for size in pair):
        raise ValueError(f"image_size must be a positive integer or (height, width), got {image_size}")
    if math.prod(pair) > MAX_PIXELS:
        raise ValueError(f"image_size {pair} is {math.prod(pair):,} pixels, more than {MAX_PIXELS:,}")
    return pair


def takes_geometry(function: Callable) -> Callable:
    """Let a function with a parameter `geometry` take the fields of `Geometry` as keywords in its place."""
    own = inspect.signature(function)
    options = [inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default) for f in fields(Geometry)]
    names = [option.name for option in options]

    @functools.wraps(function)
    def taking(*args, **given):
        geometry = Geometry(**{name: given.pop(name) for name in names if name in given})
        return function(*args, geometry=geometry, **given)

    kept = [parameter for parameter in own.parameters.values() if parameter.name != "geometry"]
    taking.__signature__ = own.replace(parameters=[*kept, *options])
    return taking


class Box(NamedTuple):
    """A part of each image of a batch, in pixels: float tensors (batch,)."""

    top: tf.Tensor
    left: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor


def random_boxes(count, height, width, area: Sequence[float], aspect: Sequence[float], seed) -> Box:
    """Draw a box inside each image, as torchvision's RandomResizedCrop does, but without its ten attempts.

    The aspect ratio is drawn on a logarithmic scale, among those at which the area fits; where none does, it is the
    nearest. (Szegedy et al., 2015, https://arxiv.org/abs/1409.4842.)

    Args:
        count: number of boxes.
        height: of the images, a number or a tensor (count,).
        width: likewise.
        area: smallest and largest fraction of the image.
        aspect: smallest and largest ratio of width to height.
        seed: integer tensor of shape (2,).
    """
    height, width = (tf.broadcast_to(tf.cast(side, tf.float32), [count]) for side in (height, width))
    pixels = (area[0] + (area[1] - area[0]) * uniform(count, fold(seed, 1))) * height * width
    fitting = tf.math.log(pixels / height**2), tf.math.log(width**2 / pixels)
    low, high = (tf.clip_by_value(tf.fill([count], math.log(end)), *fitting) for end in aspect)
    ratio = tf.exp(low + (high - low) * uniform(count, fold(seed, 2)))
    tall = tf.clip_by_value(tf.round(tf.sqrt(pixels / ratio)), 1, height)
    wide = tf.clip_by_value(tf.round(tf.sqrt(pixels * ratio)), 1, width)
    top, left = random_places(height, tall, fold(seed, 3)), random_places(width, wide, fold(seed, 4))
    return Box(top, left, tall, wide)


def random_places(size, length, seed):
    """Draw the first pixel of a span of `length` pixels inside each of several axes, whole numbers as float."""
    return tf.floor(uniform(tf.size(length), seed) * (size - length + 1))


def crop_and_resize(images, boxes: Box, size: Sequence[int], interpolation: str):
    """Crop a box of each image and resize it, antialiased; whole numbers as float32, (batch, *size, channels).

    Args:
        images: 8-bit, (batch, height, width, channels).
        boxes: one for each image.
        size: height and width of the result.
        interpolation: "bilinear" or "bicubic".
    """
    height, width = tf.unstack(tf.shape(images)[1:3])
    rows = Span(boxes.top, boxes.height / tf.cast(size[0], tf.float32), boxes.top, boxes.top + boxes.height)
    columns = Span(boxes.left, boxes.width / tf.cast(size[1], tf.float32), boxes.left, boxes.left + boxes.width)
    row_weights = weights_of(tf, rows, size[0], height, interpolation)
    return resampled(tf, images, row_weights, weights_of(tf, columns, size[1], width, interpolation))


def crop_nearest(targets, boxes: Box):
    """Crop a box of each map and resize it to the size of the map, by nearest neighbour.

    Args:
        targets: of any type, (batch, height, width, channels).
        boxes: one for each map.
    """

    def indices(start, length, size):
        steps = tf.range(size, dtype=tf.float32)[None] + 0.5
        return tf.cast(start[:, None] + steps * length[:, None] / tf.cast(size, tf.float32), tf.int32)

    height, width = tf.unstack(tf.shape(targets)[1:3])
    rows = tf.gather(targets, indices(boxes.top, boxes.height, height), axis=1, batch_dims=1)
    columns = tf.gather(rows, indices(boxes.left, boxes.width, width), axis=2, batch_dims=1)
    return tf.ensure_shape(columns, targets.shape)
