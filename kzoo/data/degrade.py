"""Degradation of images, waveforms and series for restoration: noise, blur, reduction, missing positions.

What is degraded is a float array (..., channels) of any number of axes of positions; random numbers are those of a
generator, so that a degradation is a function of a seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from kzoo.core.bicubic import bicubic
from kzoo.core.lazy import lazy_import, np
from kzoo.core.registry import lookup

ndimage = lazy_import("scipy.ndimage")


def noise(values: np.ndarray, deviation: float, generator: np.random.Generator) -> np.ndarray:
    """Add white Gaussian noise of a standard deviation in the unit of the values."""
    return values + generator.standard_normal(values.shape, "float32") * np.float32(deviation)


def blur(values: np.ndarray, deviation: float, generator: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian of a standard deviation in positions; the border is mirrored."""
    return ndimage.gaussian_filter(values, (deviation,) * (values.ndim - 1) + (0,), mode="mirror")


def reduce(values: np.ndarray, factor: float, generator: np.random.Generator) -> np.ndarray:
    """Reduce every axis by a whole factor by antialiased bicubic interpolation."""
    return bicubic(values, 1 / factor)


def missing(values: np.ndarray, fraction: float, generator: np.random.Generator) -> np.ndarray:
    """Set a fraction of the positions to 0, all channels of a position together."""
    known = generator.random(values.shape[:-1], "float32") >= fraction
    return values * known[..., None].astype("float32")


class Degradation(NamedTuple):
    """A degradation by name: the function, and the largest strength that it takes; whole where that is a factor."""

    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    most: float = math.inf
    factor: bool = False


DEGRADATIONS = {
    "noise": Degradation(noise),
    "blur": Degradation(blur),
    "reduce": Degradation(reduce, 8, factor=True),
    "missing": Degradation(missing, 1),
}


def check_degradations(degrade: Mapping[str, float]) -> None:
    """Raise a ValueError for an unknown degradation, or a strength that is out of its range."""
    for name, strength in degrade.items():
        most = lookup("degradation", name, DEGRADATIONS).most
        number = isinstance(strength, (int, float)) and not isinstance(strength, bool)
        if not (number and 0 < strength <= most):
            limit = "" if most == math.inf else f" up to {most:g}"
            raise ValueError(f"degrade.{name} must be a positive number{limit}, got {strength!r}")
        if DEGRADATIONS[name].factor and strength != int(strength):
            raise ValueError(f"degrade.{name} must be a whole factor, got {strength!r}")


def scale_of(degrade: Mapping[str, float]) -> int:
    """Return by what factor a degradation makes every axis smaller."""
    return math.prod(int(strength) for name, strength in degrade.items() if DEGRADATIONS[name].factor)


def degraded(values: np.ndarray, degrade: Mapping[str, float], generator: np.random.Generator) -> np.ndarray:
    """Apply degradations in their order."""
    for name, strength in degrade.items():
        values = DEGRADATIONS[name].apply(values, strength, generator)
    return values
