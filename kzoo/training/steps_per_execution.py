"""Steps per execution: how many training steps one call of TensorFlow takes, so that small networks train faster.

See `steps_per_execution` of `keras.Model.compile`: several where a step is shorter than the overhead of a call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kzoo.core.lazy import keras
from kzoo.data.splits import Splits
from kzoo.zoo.profile import macs

MOST = 16
MACS_PER_CALL = 2_000_000_000  # of the forward passes at most; tests/benchmarks/training.py
BATCH_METHODS = ("on_batch_begin", "on_batch_end")
BATCH_METHODS += ("on_train_batch_begin", "on_train_batch_end", "on_test_batch_begin", "on_test_batch_end")


def steps_per_execution(model: keras.Model, data: Splits, callbacks: Sequence, done: int) -> int:
    """Return how many steps to take in one call; the results do not depend on it.

    More than one only on TensorFlow with one device, for a network whose MACs can be counted and are few, and without
    callbacks of the user that act on each batch. The number divides the steps of an epoch, and what is left of the
    first epoch.

    Args:
        model: compiled.
        data: what it is trained on.
        callbacks: those of the user.
        done: steps of the first epoch that an earlier process took.
    """
    if keras.backend.backend() != "tensorflow" or data.shard.devices > 1 or any(map(acts_on_batches, callbacks)):
        return 1
    try:
        work = data.batch_size * macs(model, data.input_shape)
    except ValueError:  # not a graph of layers that can be counted
        return 1
    most = max(1, min(MOST, MACS_PER_CALL // max(1, work)))
    even = math.gcd(data.steps_per_epoch, done)
    return next(steps for steps in range(most, 0, -1) if even % steps == 0)


def acts_on_batches(callback: keras.callbacks.Callback) -> bool:
    """Return whether a callback does something before or after batches of training or validation.

    Its methods may be the class's or, as in `keras.callbacks.LambdaCallback`, attributes of the object.
    """
    return any(
        getattr(getattr(callback, name), "__func__", None) is not getattr(keras.callbacks.Callback, name)
        for name in BATCH_METHODS
    )
