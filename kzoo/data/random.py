"""Stateless random numbers for data augmentation, spans of indices, and range checks of arguments."""

from __future__ import annotations

from kzoo.core.arguments import check_arguments
from kzoo.core.lazy import np, tf


def fold(seed, number: int):
    """Return a new seed, derived from a seed and an integer."""
    return tf.random.experimental.stateless_fold_in(seed, number)


def seeds_at(indices, seed):
    """Return a seed of each example, integers (n, 2): a function of its index and a seed, not of its batch."""
    first = tf.fill(tf.shape(indices), tf.cast(seed[0], tf.int64))
    return tf.stack([first, tf.cast(indices, tf.int64)], axis=1)


def generator_of(seed: np.ndarray) -> np.random.Generator:
    """Return numpy's random numbers for the seed of one example, integers (2,)."""
    return np.random.Generator(np.random.Philox(key=seed.astype("uint64")))


def signed_uniform(count, seed):
    """Draw `count` numbers uniformly from [-1, 1)."""
    return tf.random.stateless_uniform([count], seed, -1.0, 1.0)


def uniform(count, seed):
    """Draw `count` numbers uniformly from [0, 1)."""
    return tf.random.stateless_uniform([count], seed)


def inside(size, start, length):
    """Return a mask of the indices in the span of each example, bool (batch, size).

    Args:
        size: of the axis.
        start: first index of each span, integers (batch,); may lie outside.
        length: number of indices, (batch,) or one for all.
    """
    indices = tf.range(size)[None]
    return (indices >= start[:, None]) & (indices < (start + length)[:, None])


def check_ranges(augment, ranges: dict[str, float], prefix: str = "augment") -> None:
    """Raise a ValueError for a field that is not a number between 0 and its largest value.

    Args:
        augment: a dataclass of augmentations.
        ranges: largest value of each field.
        prefix: of the fields in the message.
    """
    check_arguments(type(augment), vars(augment), f"{prefix}.")
    for name, highest in ranges.items():
        value = getattr(augment, name)
        if not 0 <= value <= highest:
            raise ValueError(f"{prefix}.{name} must lie between 0 and {highest}, got {value!r}")
