"""What networks are for: the loss and the metrics of each task, in one table.

Labels are class numbers, of shape (batch,), or the probabilities of the classes, float of shape (batch, classes), as
mixed examples have them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from kzoo.core.lazy import keras, np
from kzoo.core.ranges import check_range


def classification_loss(
    label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None, focal_gamma: float = 0.0
) -> Callable:
    """Return the cross-entropy between labels and logits, a function of both that gives one number per example.

    It is computed in float32, without a bound on how wrong a logit may be: Keras's focal loss clips probabilities at
    1e-7, and what is more wrong than that gets no gradient.

    Args:
        label_smoothing: share of the target that is spread evenly over all classes, in [0, 1).
        class_weights: what an example of each class counts, e.g. `balanced_weights(labels, num_classes)`; the mean
            over the batch is still one by its size. A mixed example counts the mean of its classes.
        focal_gamma: gamma of the focal loss (Lin et al., 2017, https://arxiv.org/abs/1708.02002): a class whose
            probability is p counts (1 - p) ** gamma of its share, so that easy examples count less; 0 for none.

    Raises:
        ValueError: for a value out of its range.
    """
    check_range("label_smoothing", label_smoothing, "a fraction in [0, 1)")
    check_range("focal_gamma", focal_gamma, "a number from 0")
    weights = () if class_weights is None else tuple(class_weights)
    for weight in weights:
        check_range("class_weights", weight, "a number from 0")

    def crossentropy(labels, logits):
        ops, logits = keras.ops, keras.ops.cast(logits, "float32")
        targets = probabilities_of(labels, logits.shape[-1])
        logarithms = ops.log_softmax(logits)
        smoothed = (1 - label_smoothing) * targets + label_smoothing / logits.shape[-1]
        if focal_gamma:  # 1 - p is above 0 lest the gradient of its power is infinite
            smoothed = smoothed * ops.power(ops.maximum(-ops.expm1(logarithms), 1e-7), focal_gamma)
        losses = -ops.sum(smoothed * logarithms, axis=-1)
        return losses * weight_of_each(targets, weights) if weights else losses

    return crossentropy


def probabilities_of(labels, num_classes: int):
    """Return labels of either form as the probabilities of the classes, float32 of shape (batch, num_classes)."""
    if is_number(labels):
        return keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32"), num_classes)
    return keras.ops.cast(labels, "float32")


def is_number(labels) -> bool:
    """Tell whether labels are class numbers: one for each example, of whatever type Keras made of them."""
    return len(labels.shape) < 2 or labels.shape[-1] == 1


def weight_of_each(targets, class_weights: Sequence[float]):
    """Return what each example counts, (batch,).

    Raises:
        ValueError: if there is not one weight for each class.
    """
    if len(class_weights) != targets.shape[-1]:
        raise ValueError(
            f"class_weights must be one number for each of {targets.shape[-1]} classes, got {len(class_weights)}"
        )
    return keras.ops.sum(targets * np.asarray(class_weights, "float32"), axis=-1)


def balanced_weights(labels: np.ndarray, num_classes: int) -> tuple[float, ...]:
    """Return weights with which all classes count the same: examples / (classes x examples of the class).

    Args:
        labels: class numbers of the training examples, (n,).
        num_classes: how many there are.

    Raises:
        ValueError: for a class without an example.
    """
    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    if not counts.all():
        raise ValueError(f"balanced class_weights need an example of each class; class {counts.argmin()} has none")
    return tuple((len(labels) / (num_classes * counts)).tolist())


def accuracy() -> keras.metrics.Metric:
    """Return a metric: the share of examples whose greatest logit is that of the (most probable) class."""

    def is_right(labels, logits):
        truth = keras.ops.reshape(labels, (-1,)) if is_number(labels) else keras.ops.argmax(labels, axis=-1)
        right = keras.ops.equal(keras.ops.cast(truth, "int32"), keras.ops.argmax(logits, axis=-1))
        return keras.ops.cast(right, "float32")

    return keras.metrics.MeanMetricWrapper(is_right, name="accuracy")


class Task(NamedTuple):
    """How a task is trained: a function that returns its loss, and functions that return its metrics."""

    loss: Callable[..., Callable]
    metrics: tuple[Callable[[], keras.metrics.Metric], ...]


TASKS = {"classification": Task(classification_loss, (accuracy,))}
