"""Colour jitter on batches of images, as torchvision's ColorJitter computes it on 8-bit images."""

from dataclasses import dataclass

from kzoo.core.lazy import tf
from kzoo.data.image.randaugment import each, extrapolate, grey, mean_grey
from kzoo.data.random import check_ranges, fold, signed_uniform


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast and saturation by random factors, and a random shift of the hue, in this order.

    Args:
        brightness: a factor is drawn from 1 - brightness to 1 + brightness.
        contrast: likewise.
        saturation: likewise; grey images are unchanged.
        hue: largest shift in both directions, as a fraction of the colour circle, up to 0.5; grey images are unchanged.

    Raises:
        ValueError: for a value out of its range.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self):
        check_ranges(self, {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0.5}, "augment.color_jitter")

    def __call__(self, images, seed):
        """Return 8-bit images (batch, height, width, channels) with changed colours."""
        for number, (name, change) in enumerate(CHANGES.items()):
            if getattr(self, name):
                by = getattr(self, name) * signed_uniform(tf.shape(images)[0], fold(seed, number))
                images = change(images, by)
        return images


def brightness(images, by):
    """Multiply each image by 1 + by, (batch,)."""
    return extrapolate(images, 0.0, 1 + by)


def contrast(images, by):
    """Move values away from the image's mean grey (by > 0) or towards it."""
    return extrapolate(images, mean_grey(images), 1 + by)


def saturation(images, by):
    """Move colours away from their grey (by > 0) or towards it."""
    return extrapolate(images, grey(images), 1 + by)


def hue(images, by):
    """Shift the hue of each image by a fraction of the colour circle, (batch,); grey images are unchanged."""
    if images.shape[-1] != 3:
        return images
    colours = tf.image.rgb_to_hsv(tf.cast(images, tf.float32) / 255)
    shifted = tf.concat([(colours[..., :1] + each(by)) % 1, colours[..., 1:]], axis=-1)
    return tf.cast(tf.round(tf.image.hsv_to_rgb(shifted) * 255), tf.uint8)


CHANGES = {change.__name__: change for change in (brightness, contrast, saturation, hue)}
