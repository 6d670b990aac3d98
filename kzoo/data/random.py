"""Random numbers and changes as a function of a seed alone."""

from __future__ import annotations

from kzoo.lazy import lazy_import

tf = lazy_import("tensorflow")


def fold(seed, number: int):
    """Return a new seed for another purpose."""
    return tf.random.experimental.stateless_fold_in(seed, number)


def uniform(count, seed):
    """Draw `count` numbers between -1 and 1."""
    return tf.random.stateless_uniform([count], seed, -1.0, 1.0)
