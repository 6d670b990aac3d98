"""Metrics of the tasks, as Keras objects that are saved with a model and know whether higher values are better.

This module imports Keras at once; the tasks import it when a model is compiled.
"""

from collections.abc import Sequence

import keras
import numpy as np

from kzoo.tasks.losses import TaggingLoss, are_indices, class_probabilities, known_targets


class NamedMean(keras.metrics.MeanMetricWrapper):
    """Mean over the examples of a function of labels and logits; subclasses name the function.

    Args:
        name: of the metric.
        dtype: as for `keras.metrics.Metric`.
    """

    function: staticmethod
    direction = "up"  # "up" if higher values are better, "down" if lower ones are

    def __init__(self, name: str, dtype=None):
        super().__init__(self.function, name=name, dtype=dtype)
        self._direction = self.direction  # where Keras's callbacks look it up if they are given no mode

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype}


def is_right(labels, logits):
    """Return 1 for each example whose largest logit is that of its (most probable) class, 0 for others."""
    truth = keras.ops.reshape(labels, (-1,)) if are_indices(labels) else keras.ops.argmax(labels, axis=-1)
    right = keras.ops.equal(keras.ops.cast(truth, "int32"), keras.ops.argmax(logits, axis=-1))
    return keras.ops.cast(right, "float32")


def crossentropy(labels, logits):
    """Return the plain cross-entropy of each example, in nats."""
    logits = keras.ops.cast(logits, "float32")
    return -keras.ops.sum(class_probabilities(labels, logits.shape[-1]) * keras.ops.log_softmax(logits), axis=-1)


@keras.saving.register_keras_serializable("kzoo")
class ClassificationAccuracy(NamedMean):
    """Fraction of examples whose largest logit is that of their (most probable) class, in [0, 1]."""

    function = staticmethod(is_right)

    def __init__(self, name: str = "accuracy", dtype=None):
        super().__init__(name, dtype)


@keras.saving.register_keras_serializable("kzoo")
class ClassificationCrossEntropy(NamedMean):
    """Mean cross-entropy in nats, without label smoothing, class weights and focal modulation.

    Unlike the loss it is comparable between trainings that differ in these.
    """

    function = staticmethod(crossentropy)
    direction = "down"

    def __init__(self, name: str = "crossentropy", dtype=None):
        super().__init__(name, dtype)


@keras.saving.register_keras_serializable("kzoo")
class TaggingAveragePrecision(keras.metrics.AUC):
    """Mean over the tags of the area under the curve of precision and recall, at 200 thresholds, in [0, 1].

    The report computes the average precision itself, without thresholds; tags that no example has count as 0 here.

    Args:
        num_labels: number of tags.
        name: of the metric.
        dtype: as for `keras.metrics.Metric`.
    """

    def __init__(self, num_labels: int, name: str = "average_precision", dtype=None):
        super().__init__(curve="PR", multi_label=True, num_labels=num_labels, from_logits=True, name=name, dtype=dtype)

    def get_config(self) -> dict:
        return {"num_labels": self.num_labels, "name": self.name, "dtype": self.dtype}

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(keras.ops.round(y_true), y_pred)  # of mixed examples the tags that weigh more


def binary_crossentropy(targets, logits):
    """Return the plain binary cross-entropy of each example in nats, the mean over its tags."""
    return TaggingLoss().call(targets, logits)


@keras.saving.register_keras_serializable("kzoo")
class TaggingCrossEntropy(NamedMean):
    """Mean binary cross-entropy in nats, without label smoothing, weights and focal modulation."""

    function = staticmethod(binary_crossentropy)
    direction = "down"

    def __init__(self, name: str = "crossentropy", dtype=None):
        super().__init__(name, dtype)


@keras.saving.register_keras_serializable("kzoo")
class MeanAbsoluteError(keras.metrics.Metric):
    """Mean absolute error in the original unit of the values that are known, the mean over the columns that have any.

    Args:
        deviation: standard deviation of each column, by which its values were divided.
        every: number of outputs of each column, of which the one in the middle is measured.
        name: of the metric.
        dtype: as for `keras.metrics.Metric`.
    """

    def __init__(self, deviation: Sequence[float] = (1.0,), every: int = 1, name: str = "mae", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.deviation, self.every, self._direction = [float(value) for value in deviation], every, "down"
        self.total, self.count = (
            self.add_weight((len(self.deviation),), "zeros", name=part) for part in ("total", "count")
        )

    def get_config(self) -> dict:
        return {"deviation": self.deviation, "every": self.every, "name": self.name, "dtype": self.dtype}

    def update_state(self, y_true, y_pred, sample_weight=None):
        targets, known = known_targets(y_true)
        outputs = keras.ops.cast(y_pred, "float32")[..., self.every // 2 :: self.every]
        examples = tuple(range(len(targets.shape) - 1))
        self.total.assign_add(keras.ops.sum(keras.ops.abs(outputs - targets) * known, axis=examples))
        self.count.assign_add(keras.ops.sum(known, axis=examples))

    def result(self):
        found = keras.ops.cast(self.count > 0, self.dtype)
        means = self.total / keras.ops.maximum(self.count, 1.0) * np.asarray(self.deviation, "float32")
        return keras.ops.sum(means) / keras.ops.maximum(keras.ops.sum(found), 1.0)
