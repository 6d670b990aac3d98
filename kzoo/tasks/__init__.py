"""Tasks: the loss and the metrics that a network is trained with, by the name of the task."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kzoo.core.lazy import keras, lazy_import, np

classification = lazy_import("kzoo.tasks.classification")


class Task(NamedTuple):
    """How a task is trained.

    Attributes:
        loss: function of label_smoothing, class_weights and focal_gamma that returns a new loss.
        metrics: function that returns new metrics; the first one decides which epoch is the best.
    """

    loss: Callable[..., keras.losses.Loss]
    metrics: Callable[[], list[keras.metrics.Metric]]


def classification_loss(**options) -> keras.losses.Loss:
    """Return the loss of a classifier; see `kzoo.tasks.classification.ClassificationLoss`."""
    return classification.ClassificationLoss(**options)


def classification_metrics() -> list[keras.metrics.Metric]:
    """Return accuracy and plain cross-entropy; see `kzoo.tasks.classification`."""
    return [classification.ClassificationAccuracy(), classification.ClassificationCrossEntropy()]


TASKS = {"classification": Task(classification_loss, classification_metrics)}


def balanced_weights(labels: np.ndarray, num_classes: int) -> tuple[float, ...]:
    """Return class weights inversely proportional to the class frequencies: n / (num_classes x examples of the class).

    Args:
        labels: class indices of the training examples, (n,).
        num_classes: number of classes.

    Raises:
        ValueError: for a class without an example.
    """
    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    if not counts.all():
        raise ValueError(f"balanced class_weights need an example of each class; class {counts.argmin()} has none")
    return tuple((len(labels) / (num_classes * counts)).tolist())
