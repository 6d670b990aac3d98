"""Pixels of image files as 8-bit grey or RGB: transparency, and depths of more than 8 bits."""

from __future__ import annotations

from collections.abc import Sequence

from kzoo.core.lazy import PIL_Image, np

WHITE = (255, 255, 255)
DEEPEST = 2**16 - 1  # the largest value of 16 bits
RANGES = (2**8 - 1, 2**10 - 1, 2**12 - 1, 2**14 - 1, DEEPEST)  # of cameras and microscopes that write 16 bits


def as_colour(background: int | Sequence[int]) -> tuple[int, ...]:
    """Return a background, a grey level or (red, green, blue), as (red, green, blue).

    Raises:
        ValueError: if it is neither, or a level is not from 0 to 255.
    """
    colour = tuple(background) if isinstance(background, (tuple, list)) else (background,) * 3
    if len(colour) != 3 or not all(isinstance(level, int) and 0 <= level <= 255 for level in colour):
        raise ValueError(f"background must be a grey level or [red, green, blue] from 0 to 255, got {background!r}")
    return colour


def eight_bit(image, channels: int, background: int | Sequence[int] = WHITE, value_range: float = DEEPEST):
    """Return a Pillow image as an array of 8-bit grey or RGB, (height, width, channels).

    Args:
        image: of any mode; CMYK and palettes are converted.
        channels: 1 for grey, 3 for red, green, blue.
        background: what transparent images are composed on, a grey level or (red, green, blue) from 0 to 255.
        value_range: the value that becomes 255 in images of more than 8 bits, which are scaled from 0.

    Raises:
        ValueError: for a value of such an image that is not in this range.
    """
    if is_deep(image.mode):
        image = PIL_Image.fromarray(scaled(np.asarray(image, "float64"), value_range))
    elif image.has_transparency_data:
        below = PIL_Image.new("RGBA", image.size, (*as_colour(background), 255))
        image = PIL_Image.alpha_composite(below, image.convert("RGBA"))
    array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return array.reshape(*array.shape[:2], channels)


def is_deep(mode: str) -> bool:
    """Return whether a Pillow mode has one channel of more than 8 bits: whole numbers or floats."""
    return mode == "F" or mode[0] == "I"


def scaled(values: np.ndarray, value_range: float) -> np.ndarray:
    """Return values from 0 to `value_range` as 8 bits.

    Raises:
        ValueError: naming a value that is outside.
    """
    for extreme in (values.min(), values.max()):
        if not 0 <= extreme <= value_range:
            raise ValueError(f"it has the value {extreme:g}, expected 0 to value_range={value_range:g}")
    return (values * (255 / value_range)).round().astype("uint8")


def guessed_range(largest: float) -> float:
    """Return the range of values of a camera whose largest value this is: 1 of floats, or all ones of some bits."""
    if largest <= 1:
        return 1
    return next((bound for bound in RANGES if largest <= bound), 2 ** int(largest).bit_length() - 1)
