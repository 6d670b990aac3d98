"""Range checks of numbers that a user passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real

from kzoo.core.lazy import np

RANGES: dict[str, Callable[[Real], bool]] = {
    "a positive integer": lambda value: isinstance(value, Integral) and value > 0,
    "an integer from 0": lambda value: isinstance(value, Integral) and value >= 0,
    "a positive number": lambda value: 0 < value < math.inf,
    "a number from 0": lambda value: 0 <= value < math.inf,
    "a fraction in [0, 1)": lambda value: 0 <= value < 1,
    "a fraction in (0, 1)": lambda value: 0 < value < 1,
}


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
