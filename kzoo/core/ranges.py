"""Range checks of numbers that a user passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Annotated

from kzoo.core.lazy import np

RANGES: dict[str, Callable[[Real], bool]] = {
    "a positive integer": lambda value: isinstance(value, Integral) and value > 0,
    "an integer from 0": lambda value: isinstance(value, Integral) and value >= 0,
    "a positive number": lambda value: 0 < value < math.inf,
    "a number from 0": lambda value: 0 <= value < math.inf,
    "a fraction in [0, 1)": lambda value: 0 <= value < 1,
    "a fraction in (0, 1)": lambda value: 0 < value < 1,
    "a positive integer, at most 4,096": lambda value: 1 <= value <= 4096,
    "a positive integer, at most 65,536": lambda value: 1 <= value <= 65536,
    "a positive integer, at most 1,000,000": lambda value: 1 <= value <= 10**6,
    "an integer from 0 to 4,294,967,295": lambda value: 0 <= value < 2**32,
    "a rate from 100 to 1,000,000 Hz": lambda value: 100 <= value <= 10**6,
    "a positive number, at most 3,600": lambda value: 0 < value <= 3600,
}

# Types of arguments, as `kzoo.core.arguments` checks them.
PositiveInt = Annotated[int, "a positive integer"]
PositiveFloat = Annotated[float, "a positive number"]
NonNegativeFloat = Annotated[float, "a number from 0"]
Fraction = Annotated[float, "a fraction in [0, 1)"]
OpenFraction = Annotated[float, "a fraction in (0, 1)"]
Extent = Annotated[int, "a positive integer, at most 1,000,000"]  # sizes, which arrays must have room for
Bins = Annotated[int, "a positive integer, at most 4,096"]
FrameLength = Annotated[int, "a positive integer, at most 65,536"]
Seed = Annotated[int, "an integer from 0 to 4,294,967,295"]  # what NumPy takes
SampleRate = Annotated[int, "a rate from 100 to 1,000,000 Hz"]
Seconds = Annotated[float, "a positive number, at most 3,600"]


def check_range(name: str, value, expected: str, *, none: bool = False) -> None:
    """Raise a ValueError unless a value is a number in its range.

    Args:
        name: of the value, for the message.
        value: passed by the user; strings and booleans are not numbers.
        expected: a key of `RANGES`.
        none: whether None is allowed too.
    """
    if value is None and none:
        return
    if isinstance(value, bool) or not isinstance(value, Real) or not RANGES[expected](value):
        raise ValueError(f"{name} must be {expected}{' or None' if none else ''}, got {value!r}")


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """Return the indices of at most `most` of `count` examples, evenly spaced from the first to the last."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(int)
