"""Windows of series that are longer than what a network takes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import np
from kzoo.data.sources import array_of, hash_of
from kzoo.data.windows import Windowed, Windows


@dataclass(frozen=True, eq=False)
class SeriesWindows(Windowed):
    """Series of several lengths in memory, of which windows are read.

    Args:
        series: each float32 (length, channels), an array of objects.
        windows: how they are divided.
    """

    series: np.ndarray
    windows: Windows

    @classmethod
    def of(cls, series: Sequence[np.ndarray], windows: Windows, unequal: str | None, where: str) -> SeriesWindows:
        """Return the windows of series.

        Args:
            series: each (length, channels).
            windows: how they are divided.
            unequal: "pad" where the end of shorter series may be padded with zeros; None if there are to be none.
            where: what they belong to, for messages.

        Raises:
            ValueError: for series that are to be resampled, or are shorter than a window and not to be padded.
        """
        if unequal == "resample":
            raise ValueError("hop divides series into windows of length=; leave out unequal='resample'")
        shortest = min(map(len, series))
        if shortest < windows.length and unequal is None:
            raise ValueError(
                f"a series of {where} has {shortest} steps, fewer than the windows of length={windows.length}; give "
                "unequal='pad' or a smaller length"
            )
        return cls(array_of(series), windows)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.series), self.windows.length, self.series[0].shape[1])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype("float32")

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Steps of each whole series."""
        return np.array([len(one) for one in self.series])

    def window(self, index: int, start: int) -> np.ndarray:
        part = self.series[index][start : start + self.windows.length]
        return np.pad(part, ((0, self.windows.length - len(part)), (0, 0)))

    def take(self, indices: np.ndarray) -> SeriesWindows:
        return dataclasses.replace(self, series=self.series[indices])

    def fingerprint(self) -> str:
        return hash_of(str(self.windows), *(part for one in self.series for part in (str(one.shape), one.tobytes())))


def windows_of(length: int | None, hop: float | None) -> Windows | None:
    """Return how series are divided into windows; None without a hop.

    Raises:
        ValueError: for a hop without a length, or one that is larger.
    """
    if hop is not None and length is None:
        raise ValueError(f"hop={hop:g} divides series into windows; give their length=, in steps")
    return None if hop is None else Windows.of(None, hop, length)
