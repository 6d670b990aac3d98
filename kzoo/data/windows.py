"""Windows of recordings and series that are longer than what a network takes."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kzoo.core.lazy import np, tf
from kzoo.core.ranges import check_range
from kzoo.data.random import generator_of
from kzoo.data.sources import Source, View, hash_of
from kzoo.tasks import Task


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

    def spans(self, shape: Sequence[int]) -> list[tuple[int, int]]:
        """Return where the windows of an example of this shape begin and end."""
        return [(start, min(start + self.length, shape[0])) for start in self.starts(shape[0])]

    def part(self, raw: np.ndarray, span: tuple[int, int]) -> np.ndarray:
        """Return a window of an example."""
        return raw[slice(*span)]


class Drawn(Source):
    """Examples of which training sees a random part, or other random numbers, in each epoch."""

    cacheable = False

    @abc.abstractmethod
    def at_random(self, index: int, seed: np.ndarray) -> np.ndarray:
        """Read a random part of an example, of equal probability for each start."""

    def drawn(self, indices, seeds):
        """Return a batch of random parts in a `tf.data` pipeline.

        Args:
            indices: integer tensor (batch,).
            seeds: one of each example, integers (batch, 2).
        """

        def read(indices, seeds):
            return self.stacked([self.at_random(*each) for each in zip(indices, seeds, strict=True)])

        batch = tf.numpy_function(read, [indices, seeds], self.dtype)
        return tf.ensure_shape(batch, (None, *self.shape[1:]))


class Divisible(Drawn):
    """Examples that are larger than what is read of them: training sees a random part of each, measuring all."""

    @abc.abstractmethod
    def divided(self) -> tuple[Source, np.ndarray]:
        """Return all parts of all examples as examples, and the number of parts of each."""

    def joined(self, task: Task, rows: np.ndarray, counts: np.ndarray) -> Sequence[np.ndarray]:
        """Return the answers for whole examples from those for their parts, in the order of `divided`."""
        return mean_over_windows(rows, counts)

    def wholes(self) -> Sequence[np.ndarray]:
        """Return the whole examples, where tiles of them are read; otherwise what is read."""
        return self


class Windowed(Divisible):
    """Examples that are longer than what is read of them: training sees a random window of each, measuring all.

    Attributes:
        windows: how an example is divided.
        lengths: steps of each whole example, integers (n,).
    """

    windows: Windows
    lengths: np.ndarray

    @abc.abstractmethod
    def window(self, index: int, start: int) -> np.ndarray:
        """Read the window of an example that begins at a step; the end of a shorter example is padded."""

    def read(self, index: int) -> np.ndarray:
        """Read the central window of an example."""
        return self.window(index, self.last(index) // 2)

    def last(self, index: int) -> int:
        """Return where the last window of an example begins."""
        return max(int(self.lengths[index]) - self.windows.length, 0)

    def at_random(self, index: int, seed: np.ndarray) -> np.ndarray:
        return self.window(index, int(generator_of(seed).integers(self.last(index) + 1)))

    def divided(self) -> tuple[Source, np.ndarray]:
        starts = [self.windows.starts(length) for length in self.lengths.tolist()]
        counts = np.array([len(found) for found in starts])
        return EachWindow(self, np.repeat(np.arange(len(starts)), counts), np.concatenate(starts)), counts


@dataclass(frozen=True, eq=False)
class EachWindow(View):
    """Windows of examples, of which each is an example: the indices of the whole ones, and where windows begin."""

    starts: np.ndarray

    def read(self, index: int) -> np.ndarray:
        return self.source.window(int(self.indices[index]), int(self.starts[index]))

    def fingerprint(self) -> str:
        return hash_of(self.source.fingerprint(), self.indices.tobytes(), self.starts.tobytes())


def mean_over_windows(rows: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    """Return the mean of the rows of each example's windows, given their numbers; None for rows of whole examples."""
    if counts is None:
        return rows
    return np.add.reduceat(rows, np.cumsum(counts) - counts) / counts[:, None].astype(rows.dtype)
