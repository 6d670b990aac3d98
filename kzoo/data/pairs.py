"""Pairs of degraded and original examples for restoration, as two sources that draw the same patches."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kzoo.core.bicubic import bicubic
from kzoo.core.lazy import np
from kzoo.data.degrade import degraded, scale_of
from kzoo.data.random import generator_of
from kzoo.data.sources import array_of, hash_of
from kzoo.data.windows import Drawn


@dataclass(frozen=True, eq=False)
class Originals(Drawn):
    """Original images, waveforms or series in memory: whole ones, or patches, as floats.

    Training draws the patches of each epoch; reading at an index gives the same patch every time.

    Args:
        wholes: array of objects, (..., channels) each.
        patch: positions of a patch along each axis; None for whole examples, which are cut to a multiple of the scale.
        patches: number of patches of a whole example in an epoch.
        scale: factor by which inputs are smaller.
        seed: of what is not drawn in each epoch.
        chosen: indices of the patches that are examples; None for all.
    """

    wholes: np.ndarray
    patch: int | None = None
    patches: int = 1
    scale: int = 1
    seed: int = 0
    chosen: np.ndarray | None = None

    cacheable = False
    dtype = property(lambda self: np.dtype("float32"))
    factor = 1  # of the size, as `scale` is for inputs

    @property
    def shape(self) -> tuple[int | None, ...]:
        *sizes, channels = zip(*(whole.shape for whole in self.wholes), strict=True)
        axes = [self.patch if self.patch else common(size) for size in sizes]
        cut = [have and have // self.scale * self.scale // self.factor for have in axes]
        count = len(self.wholes) * self.patches if self.chosen is None else len(self.chosen)
        return (count, *cut, channels[0])

    def take(self, indices: np.ndarray) -> Originals:
        return dataclasses.replace(self, chosen=np.array([self.number(index) for index in indices], int))

    def number(self, index: int) -> int:
        """Return the index among all patches of that of an example."""
        return int(index if self.chosen is None else self.chosen[index])

    def read(self, index: int) -> np.ndarray:
        return self.at_random(index, np.array([self.seed, self.number(index)]))

    def at_random(self, index: int, seed: np.ndarray) -> np.ndarray:
        generator, whole = generator_of(seed), self.wholes[self.number(index) // self.patches]
        sizes = [self.patch or have // self.scale * self.scale for have in whole.shape[:-1]]
        starts = [int(generator.integers(have - size + 1)) for have, size in zip(whole.shape[:-1], sizes, strict=True)]
        starts = starts if self.patch else [0] * len(sizes)
        place = tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
        return self.changed(whole[place].astype("float32"), generator)

    def changed(self, values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return what is read of an original."""
        return values

    def fingerprint(self) -> str:
        options = repr(dataclasses.replace(self, wholes=None, chosen=None))
        return hash_of(options, *(whole.tobytes() for whole in self.wholes), repr(self.chosen))


@dataclass(frozen=True, eq=False)
class Degraded(Originals):
    """The originals, degraded: with noise that is drawn with the patch.

    Args:
        degrade: strength of each degradation, a key of `kzoo.data.degrade.DEGRADATIONS`, in the order in which they are
            applied.
        enlarge: enlarge what was reduced to its former size by bicubic interpolation.
    """

    degrade: Mapping[str, float] = dataclasses.field(default_factory=dict)
    enlarge: bool = False

    @property
    def factor(self) -> int:
        return 1 if self.enlarge else self.scale

    def changed(self, values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        small = degraded(values, self.degrade, generator)
        return bicubic(small, self.scale) if self.enlarge and self.scale > 1 else small


def common(sizes: Sequence[int]) -> int | None:
    """Return the size that all have; None where they differ."""
    return sizes[0] if len(set(sizes)) == 1 else None


def pairs(wholes: Sequence[np.ndarray], degrade: Mapping[str, float], **options) -> tuple[Degraded, Originals]:
    """Return inputs and targets.

    Args:
        wholes: original examples.
        degrade: see `Degraded`; so is `enlarge` in `options`.
        **options: of `Originals`.
    """
    enlarge = options.pop("enlarge", False)
    options |= {"wholes": array_of(wholes), "scale": scale_of(degrade)}
    return Degraded(degrade=degrade, enlarge=enlarge, **options), Originals(**options)
