"""Metrics of the tasks, as Keras objects that are saved with a model and know whether higher values are better.

This module imports Keras at once; the tasks import it when a model is compiled.
"""

import keras

from kzoo.tasks.losses import are_indices, class_probabilities


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
