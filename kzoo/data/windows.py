"""Windows of recordings and series that are longer than what a network takes."""

from __future__ import annotations

from typing import NamedTuple

from kzoo.core.ranges import check_range


class Windows(NamedTuple):
    """How a recording or a series is divided.

    Attributes:
        length: steps of a window.
        hop: steps from one window to the next.
        rate: steps per unit of time: the sample rate of recordings, 1 for series.
    """

    length: int
    hop: int
    rate: int = 1

    @classmethod
    def of(cls, window: float | None, hop: float | None, longest: float, rate: int = 1) -> Windows:
        """Return the windows for a length and a hop in units of time.

        Args:
            window: length; None for the longest.
            hop: from one window to the next; None for the length of a window, so that each step is in one window.
            longest: steps that the network takes.
            rate: steps per unit.

        Raises:
            ValueError: if one is not a positive number, for a window that the network would cut, or a hop that would
                skip steps.
        """
        check_range("window", window, "a positive number", none=True)
        check_range("hop", hop, "a positive number", none=True)
        length = longest if window is None else max(1, round(window * rate))
        step = length if hop is None else max(1, round(hop * rate))
        if length > longest:
            raise ValueError(f"window must be at most {longest / rate:g}, what the network takes, got {window:g}")
        if step > length:
            raise ValueError(f"hop must be at most the window, {length / rate:g}, or parts are skipped; got {hop:g}")
        return cls(length, step, rate)

    def starts(self, steps: int) -> list[int]:
        """Return where the windows of an example begin; the last one ends where the example ends."""
        last = max(steps - self.length, 0)
        return [*range(0, last, self.hop), last]
