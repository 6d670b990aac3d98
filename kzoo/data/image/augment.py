"""Random changes of whole batches of raw images, drawn from a seed alone: the same seed gives the same batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kzoo.data.random import fold, uniform
from kzoo.lazy import lazy_import

tf = lazy_import("tensorflow")


@dataclass(frozen=True)
class ImageAugment:
    """Flip, shift, rotate, cover up, and RandAugment, drawn for each image of a batch on its own.

    Args:
        flip: mirror left and right, every second time.
        shift: up to so many pixels in each direction (the same as padding and cropping); the rim is black.
        rotation: up to so many degrees to either side.
        cutout: side in pixels of a square somewhere in the image that is set to the batch's mean colour
            (DeVries, Taylor, 2017, https://arxiv.org/abs/1708.04552); 0 for none.
        randaugment: magnitude of RandAugment with two operations, 0 (none) to 30, for 8-bit images
            (Cubuk, Zoph, Shlens, Le, 2019, https://arxiv.org/abs/1909.13719).

    Raises:
        ValueError: for a value out of its range.
    """

    flip: bool = False
    shift: int = 0
    rotation: float = 0.0
    cutout: int = 0
    randaugment: float = 0.0

    def __post_init__(self):
        ranges = {"shift": math.inf, "rotation": 180, "cutout": math.inf, "randaugment": 30}
        for name, highest in ranges.items():
            if not 0 <= getattr(self, name) <= highest:
                raise ValueError(f"augment.{name} must lie between 0 and {highest}, got {getattr(self, name)}")

    def __call__(self, images, seed):
        """Return a changed batch, float32 in the raw range.

        Args:
            images: batch of shape (batch, height, width, channels), 8-bit or float.
            seed: integer tensor of shape (2,).
        """
        images = tf.cast(images, tf.float32)
        if self.randaugment:
            images = randaugment(images, self.randaugment, fold(seed, 1))
        if self.flip or self.shift or self.rotation:
            images = self.move(images, seed)
        if self.cutout:
            images = cutout(images, self.cutout, fold(seed, 2))
        return images

    def move(self, images, seed):
        """Flip, rotate and shift in one resampling."""
        count = tf.shape(images)[0]
        mirror = tf.where((uniform(count, fold(seed, 3)) < 0) & self.flip, -1.0, 1.0)
        angle = uniform(count, fold(seed, 4)) * math.radians(self.rotation)
        right = tf.round(uniform(count, fold(seed, 5)) * (self.shift + 0.5))
        down = tf.round(uniform(count, fold(seed, 6)) * (self.shift + 0.5))
        cos, sin = tf.cos(angle), tf.sin(angle)
        matrix = tf.stack([cos * mirror, -sin, sin * mirror, cos], axis=1)
        return affine(images, matrix, right, down, "BILINEAR" if self.rotation else "NEAREST")


def affine(images, matrix, right, down, interpolation: str = "BILINEAR"):
    """Move each image by a matrix about its centre, then by pixels; what comes from outside is 0.

    Args:
        images: float batch of shape (batch, height, width, channels).
        matrix: (batch, 4), the rows of the 2 x 2 matrix from output to input positions (x, y).
        right: pixels to the right, shape (batch,).
        down: pixels down, shape (batch,).
        interpolation: "BILINEAR" or "NEAREST".
    """
    size = tf.cast(tf.shape(images)[1:3], tf.float32)
    middle_y, middle_x = (size[0] - 1) / 2, (size[1] - 1) / 2
    a, b, c, d = tf.unstack(matrix, axis=1)
    x = middle_x - a * (middle_x + right) - b * (middle_y + down)
    y = middle_y - c * (middle_x + right) - d * (middle_y + down)
    zero = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, x, c, d, y, zero, zero], axis=1),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )


def cutout(images, side: int, seed):
    """Set a square of `side` pixels, centred anywhere in the image, to the batch's mean colour."""
    shape = tf.shape(images)

    def covered(length, seed):
        centre = tf.random.stateless_uniform([shape[0], 1], seed, 0, length, dtype=tf.int32)
        distance = 2 * (tf.range(length)[None] - centre) + (side + 1) % 2
        return tf.abs(distance) < side

    hole = covered(shape[1], fold(seed, 1))[:, :, None, None] & covered(shape[2], fold(seed, 2))[:, None, :, None]
    return tf.where(hole, tf.reduce_mean(images, axis=(0, 1, 2), keepdims=True), images)


def randaugment(images, magnitude: float, seed, operations: int = 2):
    """Apply `operations` random operations to each image; values stay between 0 and 255.

    The operations and their greatest strengths (at magnitude 30) are the paper's; translations go up to a
    third of the image, as in its code.
    """
    level = magnitude / 30
    for number in range(operations):
        choice = tf.random.stateless_uniform(
            [tf.shape(images)[0]], fold(seed, 2 * number), 0, len(OPERATIONS), tf.int32
        )
        strength = level * tf.sign(uniform(tf.shape(images)[0], fold(seed, 2 * number + 1)))
        images = tf.map_fn(operate, (images, choice, strength), fn_output_signature=images.dtype)
    return images


def operate(image_choice_strength):
    """Apply one operation to one image."""
    image, choice, strength = image_choice_strength
    branches = [lambda operation=operation: operation(image, strength) for operation in OPERATIONS]
    result = tf.switch_case(choice, branches)
    return tf.ensure_shape(tf.clip_by_value(result, 0.0, 255.0), image.shape)


def blend(other, image, strength):
    """Move away from `other` (strength above 0) or towards it (below), by at most 0.9 of the difference."""
    return other + (1.0 + 0.9 * strength) * (image - other)


def warp(image, a=1.0, b=0.0, c=0.0, d=1.0, right=0.0, down=0.0):
    """Move one image by a matrix and pixels."""
    matrix = tf.stack([tf.cast(value, tf.float32) for value in (a, b, c, d)])[None]
    return affine(image[None], matrix, tf.reshape(right, [1]), tf.reshape(down, [1]))[0]


def rotate(image, strength):
    angle = strength * math.radians(30)
    return warp(image, tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle))


def auto_contrast(image, strength):
    low = tf.reduce_min(image, axis=(0, 1), keepdims=True)
    high = tf.reduce_max(image, axis=(0, 1), keepdims=True)
    return tf.where(high > low, (image - low) * 255 / tf.maximum(high - low, 1e-6), image)


def equalize(image, strength):
    """Spread the values so that each is about equally frequent, each channel on its own."""
    values = tf.cast(tf.round(image), tf.int32)
    pixels = tf.cast(tf.size(values) // tf.shape(values)[2], tf.float32)

    def channel(plane):
        below = tf.cumsum(tf.math.bincount(plane, minlength=256, maxlength=256, dtype=tf.float32))
        first = tf.reduce_min(tf.boolean_mask(below, below > 0))
        spread = tf.where(pixels > first, (below - first) * 255 / tf.maximum(pixels - first, 1.0), tf.range(256.0))
        return tf.gather(spread, plane)

    planes = tf.map_fn(channel, tf.transpose(values, [2, 0, 1]), fn_output_signature=tf.float32)
    return tf.transpose(planes, [1, 2, 0])


def sharpness(image, strength):
    kernel = tf.constant([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]])[:, :, None, None] / 13
    kernel = tf.tile(kernel, [1, 1, tf.shape(image)[2], 1])
    padded = tf.pad(image[None], [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    return blend(tf.nn.depthwise_conv2d(padded, kernel, [1, 1, 1, 1], "VALID")[0], image, strength)


def posterize(image, strength):
    step = 2.0 ** tf.round(4 * tf.abs(strength))  # keeps 8 down to 4 bits
    return tf.floor(image / step) * step


OPERATIONS = (
    lambda image, strength: image,
    auto_contrast,
    equalize,
    rotate,
    posterize,
    sharpness,
    lambda image, strength: tf.where(image < 256 * (1 - tf.abs(strength)), image, 255 - image),  # solarize
    lambda image, strength: blend(tf.reduce_mean(image, axis=2, keepdims=True), image, strength),  # colour
    lambda image, strength: blend(tf.reduce_mean(image), image, strength),  # contrast
    lambda image, strength: blend(0.0, image, strength),  # brightness
    lambda image, strength: warp(image, b=0.3 * strength),  # shear
    lambda image, strength: warp(image, c=0.3 * strength),
    lambda image, strength: warp(image, right=strength * tf.cast(tf.shape(image)[1], tf.float32) / 3),
    lambda image, strength: warp(image, down=strength * tf.cast(tf.shape(image)[0], tf.float32) / 3),
)
