"""How many steps of training are one call of TensorFlow: several, where a step is shorter than what a call costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kzoo.core.lazy import keras
from kzoo.data.splits import Splits
from kzoo.zoo.profile import macs

MOST = 16
LITTLE = 2_000_000_000  # multiplications of the forward passes in one call; tests/benchmarks/training.py


def steps_per_execution(model: keras.Model, data: Splits, callbacks: Sequence, done: int) -> int:
    """Return how many steps to take in one call; the numbers that come out do not depend on it.

    Several only on TensorFlow with one device, for a network whose multiplications can be counted and are few, and
    without callbacks of the user that look at each batch. The calls divide an epoch, and what is left of the first
    one, evenly.

    Args:
        model: compiled.
        data: what it is trained on.
        callbacks: those of the user.
        done: steps that were taken in this epoch already.
    """
    if keras.backend.backend() != "tensorflow" or data.shard.devices > 1 or any(map(looks_at_batches, callbacks)):
        return 1
    try:
        work = data.batch_size * macs(model, data.input_shape)
    except ValueError:  # not a graph of layers that can be counted
        return 1
    most = max(1, min(MOST, LITTLE // max(1, work)))
    even = math.gcd(data.steps_per_epoch, done)
    return next(steps for steps in range(most, 0, -1) if even % steps == 0)


def looks_at_batches(callback: keras.callbacks.Callback) -> bool:
    """Return whether a callback does something before or after batches of training."""
    names = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
    return any(getattr(type(callback), name) is not getattr(keras.callbacks.Callback, name) for name in names)
