"""Images at another size."""

from __future__ import annotations

from collections.abc import Sequence

from kzoo.lazy import lazy_import

keras = lazy_import("keras")
np = lazy_import("numpy")

Size = int | Sequence[int]


def resize(images, image_size: Sequence[int]):
    """Resize a batch of images (batch, height, width, channels); the result is float."""
    return keras.layers.Resizing(*image_size, interpolation="bilinear", antialias=True, dtype="float32")(images)


def resized(image: np.ndarray, image_size: Sequence[int] | None) -> np.ndarray:
    """Return one 8-bit image, or a batch of them, at another size; None keeps the size."""
    if image_size is None or image.shape[-3:-1] == tuple(image_size):
        return image
    batch = image if image.ndim == 4 else image[None]
    result = np.round(keras.ops.convert_to_numpy(resize(batch, image_size))).astype("uint8")
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
