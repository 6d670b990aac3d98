"""Batches of numpy arrays, made without TensorFlow: what the other backends train on.

This module imports Keras at once; `kzoo.data.splits` imports it when it makes batches.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """Batches that are functions of their number, with those methods of a `tf.data.Dataset` that kzoo uses.

    Args:
        make: from a number, counted from 0, to (inputs, labels).
        count: how many there are; None for no end.
    """

    def __init__(self, make: Callable[[int], tuple[np.ndarray, np.ndarray]], count: int | None = None):
        super().__init__()
        self.make, self.num_batches = make, count

    num_batches = None  # a property in Keras

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        return self.make(number)

    def take(self, count: int) -> Batches:
        """Return the first batches."""
        return Batches(self.make, min(count, math.inf if self.num_batches is None else self.num_batches))

    def as_numpy_iterator(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Return the batches, one after the other."""
        return iter(self)


@functools.lru_cache(maxsize=2)
def shuffled_places(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the numbers below `count` in a random order: the one of `tf.random.experimental.stateless_shuffle`.

    That is the shuffle of Fisher and Yates, with the random numbers of Philox (Salmon et al., 2011,
    https://doi.org/10.1145/2063384.2063405), whose key and counter are made of the seed by Philox itself.

    Args:
        count: how many.
        seed: first half of the seed; negative ones count from 2**64 down.
        epoch: second half.
    """
    halves = [number >> shift & 0xFFFFFFFF for number in (seed, epoch) for shift in (0, 32)]
    first, second, third, fourth = philox(np.array(halves, "uint64")[:, None], (0x3EC8F720, 0x02461E29))[:, 0]
    blocks = np.arange(-(-count // 4), dtype="uint64")
    counters = np.stack(np.broadcast_arrays(blocks, np.uint64(0), third, fourth))
    draws = philox(counters, (int(first), int(second))).T.reshape(-1)[: count - 1]
    places = list(range(count))
    for place, ahead in enumerate((draws % np.arange(count, 1, -1, dtype="uint64")).tolist()):
        places[place], places[place + ahead] = places[place + ahead], places[place]
    return np.array(places)


def philox(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Return the random numbers of Philox 4x32 with 10 rounds.

    Args:
        counters: the four words of each, uint64 of shape (4, n), below 2**32.
        key: its two words.
    """
    first, second, third, fourth = counters
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    for turn in range(10):
        left, right = (
            (word + turn * step) & 0xFFFFFFFF for word, step in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True)
        )
        even, odd = np.uint64(0xD2511F53) * first, np.uint64(0xCD9E8D57) * third
        first, second = (odd >> shift) ^ second ^ np.uint64(left), odd & low
        third, fourth = (even >> shift) ^ fourth ^ np.uint64(right), even & low
    return np.stack([first, second, third, fourth])
