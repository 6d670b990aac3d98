"""Base class of data augmentation: what `Splits` does with a training batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar

from kzoo.data.pipeline import reader
from kzoo.data.windows import Drawn


@dataclass(frozen=True)
class Augment:
    """Random augmentation of training batches, a pure function of the batch and a seed; this one changes nothing.

    `seed` is an integer tensor of shape (2,), and all methods run in a `tf.data` pipeline. Derive from this class and
    override what is needed, as `ImageAugment`, `AudioAugment`, `TextAugment` and `SeriesAugment` do.

    Attributes:
        in_place: names of the fields that leave each position of an example where it is.
        followed: names of those that move positions, and `follow` moves targets at each position with them.
    """

    in_place: ClassVar[tuple[str, ...]] = ()
    followed: ClassVar[tuple[str, ...]] = ()

    @property
    def moving(self) -> list[str]:
        """Names of the fields in use that move or mix positions, which targets at each position do not follow."""
        fine = (*self.in_place, *self.followed)
        return [one.name for one in fields(self) if one.name not in fine and getattr(self, one.name) != one.default]

    @property
    def reads_originals(self) -> bool:
        """Whether files are read anew in each epoch, at another crop, so that a cache is of no use."""
        return False

    def reading(self, inputs) -> tuple[Callable, Augment]:
        """Return how training examples are read, and the augmentation of what is read.

        Args:
            inputs: raw examples, an array or a source.

        Returns:
            A function from indices (batch,) and a seed of each, (batch, 2), to raw examples; and an augmentation.
        """
        if isinstance(inputs, Drawn):
            return inputs.drawn, self
        read = reader(inputs)
        return (lambda indices, seeds: read(indices)), self

    def prepared(self, preprocess) -> Augment:
        """Return a copy with what has to be read first, given the preprocessing; called once by `load_dataset`."""
        return self

    def __call__(self, batch, seed):
        """Return an augmented raw batch of the same shape."""
        return batch

    def follow(self, targets, seed):
        """Return targets at each position, moved as `__call__` with the same seed moves the examples.

        Args:
            targets: of a batch, encoded: whole numbers are class indices, with -1 where none is known; floats are
                values, such as those of an image.
            seed: as for `__call__`.
        """
        return targets

    def features(self, features, seed, preprocess):
        """Return augmented features of the same shape, given what `preprocess` returned."""
        return features

    def mix(self, features, labels, num_outputs: int, seed, preprocess):
        """Return mixed features and labels: class indices (batch,) or numbers (batch, num_outputs)."""
        return features, labels
