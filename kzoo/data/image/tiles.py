"""Tiles of images that are larger than what a network takes, at their own resolution."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kzoo.core.lazy import np
from kzoo.data.image.source import ImageFiles
from kzoo.data.random import generator_of
from kzoo.data.sources import Source, View, hash_of
from kzoo.data.windows import Divisible, Windows

Span = tuple[tuple[int, int], tuple[int, int]]  # where rows and columns of a tile begin and end


class Tiling(NamedTuple):
    """How an image is divided.

    Attributes:
        size: height and width of a tile.
        hop: rows and columns from one tile to the next.
    """

    size: tuple[int, int]
    hop: tuple[int, int]
    rate = 1

    @classmethod
    def of(cls, size: Sequence[int], hop: int | None) -> Tiling:
        """Return the tiling for a size, and a hop that is three quarters of it if not given.

        Raises:
            ValueError: for a hop that is larger than a tile, which would skip pixels.
        """
        found = tuple(max(1, 3 * side // 4) for side in size) if hop is None else (int(hop), int(hop))
        if any(not 0 < step <= side for step, side in zip(found, size, strict=True)):
            raise ValueError(f"hop must be from 1 to the tile, {' x '.join(map(str, size))}, or parts are skipped")
        return cls(tuple(size), found)

    def spans(self, shape: Sequence[int]) -> list[Span]:
        """Return where the tiles of an image of this height and width are; the last ones end where the image ends."""
        ends = [
            [(start, min(start + length, whole)) for start in Windows(length, step).starts(whole)]
            for length, step, whole in zip(self.size, self.hop, shape, strict=False)
        ]
        return list(itertools.product(*ends))

    def part(self, image: np.ndarray, span: Span) -> np.ndarray:
        """Return a tile of an image."""
        (top, bottom), (left, right) = span
        return image[top:bottom, left:right]


def padded(tile: np.ndarray, size: Sequence[int], outside: int = 0) -> np.ndarray:
    """Return a tile whose ends are padded to a size."""
    missing = [(0, side - have) for have, side in zip(tile.shape, size, strict=False)]
    return np.pad(tile, missing + [(0, 0)] * (tile.ndim - 2), constant_values=outside) if np.any(missing) else tile


@functools.lru_cache(maxsize=8)
def whole_of(source: ImageFiles, index: int) -> np.ndarray:
    """Return an image as it is; those that were read last are kept, for their other tiles."""
    return source.whole(index)


@dataclass(frozen=True, eq=False)
class Tiles(Divisible):
    """Images, or masks, of any size, of which tiles are read.

    Args:
        source: of the files.
        sizes: height and width of each, integers (n, 2).
        tiling: how they are divided.
        outside: value beyond the ends of images that are smaller than a tile.
    """

    source: ImageFiles
    sizes: np.ndarray
    tiling: Tiling
    outside: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.sizes), *self.tiling.size, *self.source.shape[3:])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype("uint8")

    def tile(self, index: int, span: Span) -> np.ndarray:
        """Return a tile of an image."""
        return padded(self.tiling.part(whole_of(self.source, index), span), self.tiling.size, self.outside)

    def room(self, index: int) -> np.ndarray:
        """Return the last row and column at which a tile of an image begins."""
        return np.maximum(self.sizes[index] - self.tiling.size, 0)

    def starting_at(self, index: int, start: Sequence[int]) -> np.ndarray:
        """Return the tile that begins at a row and a column."""
        ends = [(int(at), int(at) + side) for at, side in zip(start, self.tiling.size, strict=True)]
        return self.tile(index, tuple(ends))

    def read(self, index: int) -> np.ndarray:
        """Read the central tile of an image."""
        return self.starting_at(index, self.room(index) // 2)

    def at_random(self, index: int, seed: np.ndarray) -> np.ndarray:
        return self.starting_at(index, generator_of(seed).integers(self.room(index) + 1))

    def take(self, indices: np.ndarray) -> Tiles:
        return dataclasses.replace(self, source=self.source.take(indices), sizes=self.sizes[indices])

    def fingerprint(self) -> str:
        return hash_of(self.source.fingerprint(), str(self.tiling))

    def divided(self) -> tuple[Source, np.ndarray]:
        spans = [self.tiling.spans(size) for size in self.sizes.tolist()]
        counts = np.array([len(found) for found in spans])
        return EachTile(self, np.repeat(np.arange(len(spans)), counts), list(itertools.chain(*spans))), counts

    def joined(self, task, rows, counts):
        starts = np.cumsum(counts) - counts
        return [
            task.over_windows(list(rows[start : start + count]), self.tiling.spans(size))
            for start, count, size in zip(starts, counts, self.sizes.tolist(), strict=True)
        ]

    def wholes(self) -> Wholes:
        return Wholes(self)


@dataclass(frozen=True)
class Wholes:
    """Whole images or masks, one by one."""

    tiles: Tiles

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: int) -> np.ndarray:
        return whole_of(self.tiles.source, range(len(self))[index])


@dataclass(frozen=True, eq=False)
class EachTile(View):
    """Tiles of images, of which each is an example: the indices of the images, and where the tiles are."""

    spans: Sequence[Span]

    def read(self, index: int) -> np.ndarray:
        return self.source.tile(int(self.indices[index]), self.spans[index])

    def fingerprint(self) -> str:
        return hash_of(self.source.fingerprint(), self.indices.tobytes(), str(self.spans))
