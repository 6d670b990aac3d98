"""What networks are for: the loss and the metrics of each task, in one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kzoo.lazy import lazy_import

keras = lazy_import("keras")


def classification_loss(label_smoothing: float = 0.0):
    """Cross-entropy between class numbers and logits.

    Args:
        label_smoothing: share of the target that is spread evenly over all classes, in [0, 1).
    """
    if not label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def smoothed_crossentropy(labels, logits):
        targets = keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), logits.shape[-1])
        return keras.losses.categorical_crossentropy(targets, logits, from_logits=True, label_smoothing=label_smoothing)

    return smoothed_crossentropy


class Task(NamedTuple):
    """How a task is trained."""

    loss: Callable
    metrics: tuple[str, ...]


TASKS = {"classification": Task(classification_loss, ("accuracy",))}
