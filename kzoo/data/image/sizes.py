"""Image resizing and centre cropping."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kzoo.core.lazy import keras, np

Size = int | Sequence[int]


def resize(images, image_size: Sequence[int], crop: float | None = None, interpolation: str = "bilinear"):
    """Resize a batch of images (batch, height, width, channels), antialiased; the result is float.

    Args:
        images: any size.
        image_size: height and width of the result.
        crop: fraction of the shorter side that is kept by a central square crop; None resizes the whole image without
            keeping its aspect ratio.
        interpolation: "bilinear" or "bicubic", whose overshoots are clipped to 0 and 255.
    """
    size = tuple(image_size) if crop is None else tuple(math.floor(side / crop) for side in image_size)
    layer = keras.layers.Resizing(
        *size, interpolation, antialias=True, crop_to_aspect_ratio=crop is not None, dtype="float32"
    )
    images = keras.ops.clip(layer(images), 0, 255) if interpolation == "bicubic" else layer(images)
    top, left = (round((whole - part) / 2) for whole, part in zip(size, image_size, strict=True))
    return images if crop is None else images[:, top : top + image_size[0], left : left + image_size[1]]


def resized(
    image: np.ndarray, image_size: Sequence[int] | None, crop: float | None = None, interpolation: str = "bilinear"
) -> np.ndarray:
    """Return one 8-bit image, or a batch of them, resized as by `resize`; None keeps the size."""
    if image_size is None or image.shape[-3:-1] == tuple(image_size):
        return image
    batch = image if image.ndim == 4 else image[None]
    scaled = keras.ops.convert_to_numpy(resize(batch, image_size, crop, interpolation))
    result = np.round(scaled).astype("uint8")
    return result if image.ndim == 4 else result[0]


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
    return pair
