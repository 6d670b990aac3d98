"""Batches of numpy arrays for the JAX and PyTorch backends, made without TensorFlow.

Importing this module imports Keras; `kzoo.data.splits` does so when it makes batches.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """Batches computed from their index, with those methods of a `tf.data.Dataset` that kzoo uses.

    Args:
        make: returns (inputs, labels) for a batch index, counted from 0.
        count: number of batches; None for an infinite sequence.
    """

    def __init__(self, make: Callable[[int], tuple[np.ndarray, np.ndarray]], count: int | None = None):
        super().__init__()
        self.make, self.num_batches = make, count

    num_batches = None  # a property in Keras

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.make(index)

    def take(self, count: int) -> Batches:
        """Return the first `count` batches."""
        return Batches(self.make, min(count, math.inf if self.num_batches is None else self.num_batches))

    def as_numpy_iterator(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Return an iterator over the batches."""
        return iter(self)


@functools.lru_cache(maxsize=2)
def shuffled_indices(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the indices below `count` in the order of `tf.random.experimental.stateless_shuffle`.

    That is the Fisher-Yates shuffle with random numbers of Philox (Salmon et al., 2011,
    https://doi.org/10.1145/2063384.2063405), whose key and counter Philox itself derives from the seed.

    Args:
        count: number of indices.
        seed: first half of the seed; negative values are taken modulo 2**64.
        epoch: second half of the seed.
    """
    halves = [number >> shift & 0xFFFFFFFF for number in (seed, epoch) for shift in (0, 32)]
    first, second, third, fourth = philox(np.array(halves, "uint64")[:, None], (0x3EC8F720, 0x02461E29))[:, 0]
    blocks = np.arange(-(-count // 4), dtype="uint64")
    counters = np.stack(np.broadcast_arrays(blocks, np.uint64(0), third, fourth))
    draws = philox(counters, (int(first), int(second))).T.reshape(-1)[: count - 1]
    indices = list(range(count))
    for index, ahead in enumerate((draws % np.arange(count, 1, -1, dtype="uint64")).tolist()):
        indices[index], indices[index + ahead] = indices[index + ahead], indices[index]
    return np.array(indices)


def philox(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Return the random numbers of Philox 4x32 with 10 rounds, uint64 of shape (4, n).

    Args:
        counters: four words each, uint64 of shape (4, n), below 2**32.
        key: two words.
    """
    first, second, third, fourth = counters
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    for rounds in range(10):
        left, right = (
            (word + rounds * step) & 0xFFFFFFFF for word, step in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True)
        )
        even, odd = np.uint64(0xD2511F53) * first, np.uint64(0xCD9E8D57) * third
        first, second = (odd >> shift) ^ second ^ np.uint64(left), odd & low
        third, fourth = (even >> shift) ^ fourth ^ np.uint64(right), even & low
    return np.stack([first, second, third, fourth])
