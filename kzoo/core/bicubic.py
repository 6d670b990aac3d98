"""Bicubic interpolation of arrays of floats as Pillow computes it, of series as images of one column."""

from __future__ import annotations

from kzoo.core.lazy import PIL_Image, np


def bicubic(values: np.ndarray, factor: float) -> np.ndarray:
    """Resize an image, or a series as an image of one column, by bicubic interpolation, antialiased where reduced.

    With a factor of 1 values of any number of axes are returned as they are.
    """
    if factor == 1:
        return values
    if values.ndim == 2:
        return bicubic_to(values[:, None], (round(len(values) * factor), 1))[:, 0]
    return bicubic_to(values, tuple(round(have * factor) for have in values.shape[:2]))


def bicubic_to(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image of floats (height, width, channels) to another height and width."""
    bands = [PIL_Image.fromarray(np.ascontiguousarray(band), "F") for band in np.moveaxis(values, -1, 0)]
    return np.stack([np.asarray(band.resize(size[::-1], PIL_Image.Resampling.BICUBIC)) for band in bands], axis=-1)
