"""Metrics of the tasks, as Keras objects that are saved with a model and know whether higher values are better.

This module imports Keras at once; the tasks import it when a model is compiled.
"""

from collections.abc import Sequence

import keras
import numpy as np

from kzoo.nn.portable import argmax
from kzoo.tasks.losses import ERRORS, TaggingLoss, are_indices, by_quantile, class_probabilities, known_targets


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


class KnownMean(keras.metrics.Metric):
    """Mean over all values of a split that are known; subclasses say which values.

    Args:
        name: of the metric.
        dtype: as for `keras.metrics.Metric`.
    """

    direction = "down"

    def __init__(self, name: str, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._direction = self.direction
        self.total = self.add_weight(name="total", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype}

    def values(self, y_true, y_pred):
        """Return values, and 1 for those that are known and 0 for others, of one shape."""
        raise NotImplementedError

    def update_state(self, y_true, y_pred, sample_weight=None):
        values, known = self.values(y_true, y_pred)
        self.total.assign_add(keras.ops.sum(values * known))
        self.count.assign_add(keras.ops.sum(known))

    def result(self):
        return self.total / keras.ops.maximum(self.count, 1.0)


@keras.saving.register_keras_serializable("kzoo")
class MedianError(KnownMean):
    """Mean error of the medians of standardised values, among the quantiles of `kzoo.tasks.losses.RegressionLoss`.

    Args:
        kind: "mse" or "mae".
        quantiles: number of quantiles, of which the one in the middle is the median.
        columns: as for `RegressionLoss`.
        name: of the metric; the kind if not given.
        dtype: as for `keras.metrics.Metric`.
    """

    def __init__(self, kind: str = "mse", quantiles: int = 1, columns: int = 1, name: str | None = None, dtype=None):
        super().__init__(name or kind, dtype)
        self.kind, self.quantiles, self.columns = kind, quantiles, columns

    def get_config(self) -> dict:
        return super().get_config() | {name: getattr(self, name) for name in ("kind", "quantiles", "columns")}

    def values(self, y_true, y_pred):
        targets, known = known_targets(y_true)
        outputs = by_quantile(keras.ops.cast(y_pred, "float32"), self.quantiles, self.columns)
        medians = keras.ops.reshape(outputs[:, :, self.quantiles // 2], keras.ops.shape(targets))
        return ERRORS[self.kind](medians - targets), known


@keras.saving.register_keras_serializable("kzoo")
class StepAccuracy(KnownMean):
    """Fraction of the known steps whose largest logit is that of their class, in [0, 1]."""

    direction = "up"

    def __init__(self, name: str = "accuracy", dtype=None):
        super().__init__(name, dtype)

    def values(self, y_true, y_pred):
        labels = keras.ops.cast(y_true, "int32")
        right = keras.ops.equal(labels, keras.ops.cast(keras.ops.argmax(y_pred, axis=-1), "int32"))
        return keras.ops.cast(right, "float32"), keras.ops.cast(labels >= 0, "float32")


@keras.saving.register_keras_serializable("kzoo")
class StepCrossEntropy(KnownMean):
    """Mean cross-entropy of the known steps in nats, without label smoothing, weights and focal modulation."""

    def __init__(self, name: str = "crossentropy", dtype=None):
        super().__init__(name, dtype)

    def values(self, y_true, y_pred):
        labels = keras.ops.cast(y_true, "int32")
        targets = keras.ops.one_hot(keras.ops.maximum(labels, 0), y_pred.shape[-1])
        logarithms = keras.ops.log_softmax(keras.ops.cast(y_pred, "float32"))
        return -keras.ops.sum(targets * logarithms, axis=-1), keras.ops.cast(labels >= 0, "float32")


@keras.saving.register_keras_serializable("kzoo")
class StepNegativeLogLikelihood(KnownMean):
    """Negative log-likelihood of a step in nats: the sum over its known tags, the mean over steps that have some."""

    def __init__(self, name: str = "negative_log_likelihood", dtype=None):
        super().__init__(name, dtype)

    def values(self, y_true, y_pred):
        targets, known = known_targets(y_true)
        logits = keras.ops.cast(y_pred, "float32")
        losses = keras.ops.softplus(logits) - targets * logits
        return keras.ops.sum(losses * known, axis=-1), keras.ops.max(known, axis=-1)


@keras.saving.register_keras_serializable("kzoo")
class PeakSignalToNoiseRatio(KnownMean):
    """Peak signal-to-noise ratio in dB, the mean over the examples; at most 100 for one of them.

    Args:
        scales: of each channel, the factor from a difference of encoded values to a fraction of the range of values.
        name: of the metric.
        dtype: as for `keras.metrics.Metric`.
    """

    direction = "up"

    def __init__(self, scales: Sequence[float] = (1.0,), name: str = "psnr", dtype=None):
        super().__init__(name, dtype)
        self.scales = [float(scale) for scale in scales]

    def get_config(self) -> dict:
        return super().get_config() | {"scales": self.scales}

    def values(self, y_true, y_pred):
        errors = (keras.ops.cast(y_pred, "float32") - keras.ops.cast(y_true, "float32")) * np.float32(self.scales)
        squares = keras.ops.mean(keras.ops.square(errors), axis=tuple(range(1, len(errors.shape))))
        ratios = -10 * keras.ops.log10(keras.ops.maximum(squares, 1e-10))
        return ratios, keras.ops.ones_like(ratios)


@keras.saving.register_keras_serializable("kzoo")
class MeanIoU(keras.metrics.Metric):
    """Mean over the classes of intersection over union, of all known pixels together, in [0, 1].

    Classes that are neither a target nor predicted are left out.

    Args:
        num_classes: number of classes.
        name: of the metric.
        dtype: as for `keras.metrics.Metric`.
    """

    def __init__(self, num_classes: int, name: str = "mean_iou", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.num_classes, self._direction = num_classes, "up"
        self.sums = self.add_weight((3, num_classes), "zeros", name="sums")  # pixels that are right, true, predicted

    def get_config(self) -> dict:
        return {"num_classes": self.num_classes, "name": self.name, "dtype": self.dtype}

    def update_state(self, y_true, y_pred, sample_weight=None):
        ops, count = keras.ops, self.num_classes
        labels = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        predicted = ops.reshape(ops.cast(ops.argmax(y_pred, axis=-1), "int32"), (-1,))
        known, right = ops.cast(labels >= 0, "float32"), ops.cast(labels == predicted, "float32")
        truth = ops.maximum(labels, 0)
        rows = ((right, truth), (known, truth), (known, predicted))
        self.sums.assign_add(ops.stack([ops.segment_sum(values, indices, count) for values, indices in rows]))

    def result(self):
        right, true, predicted = keras.ops.unstack(self.sums)
        union = true + predicted - right
        found = keras.ops.cast(union > 0, self.dtype)
        scores = right / keras.ops.maximum(union, 1.0)
        return keras.ops.sum(scores) / keras.ops.maximum(keras.ops.sum(found), 1.0)


def greedy(logits):
    """Return the tokens of the most probable path, int32 (batch, positions), each where it begins, and -1 elsewhere.

    Args:
        logits: (batch, positions, tokens + 1), the last of which is the blank.
    """
    ops = keras.ops
    best = argmax(logits)
    before = ops.pad(best[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    begins = ops.logical_and(best != before, best != logits.shape[-1] - 1)
    return ops.where(begins, best, -1)


def edit_distances(truth, found):
    """Return the smallest number of substitutions, deletions and insertions from one sequence to another, (batch,).

    Args:
        truth: int32 (batch, longest), -1 after the last one.
        found: int32 (batch, positions); -1 wherever there is none.
    """
    ops, longest = keras.ops, truth.shape[1]
    places = ops.arange(longest + 1, dtype="int32")[None]

    def after(position, distances):
        """Return the distances of all beginnings of the truth, (batch, longest + 1), after one more position."""
        token = ops.take(found, position, axis=1)
        substituted = distances[:, :-1] + ops.cast(ops.not_equal(truth, token[:, None]), "int32")
        best = ops.concatenate([distances[:, :1] + 1, ops.minimum(distances[:, 1:] + 1, substituted)], axis=1) - places
        width = 1
        while width <= longest:  # the smallest so far, from left to right: deletions
            shifted = ops.pad(best[:, :-width], ((0, 0), (width, 0)), constant_values=2**30)
            best, width = ops.minimum(best, shifted), 2 * width
        return ops.where((token >= 0)[:, None], best + places, distances)

    first = ops.broadcast_to(places, ops.shape(ops.pad(truth, ((0, 0), (0, 1)))))
    distances = ops.fori_loop(0, found.shape[1], after, first)
    lengths = ops.sum(ops.cast(truth >= 0, "int32"), axis=1, keepdims=True)
    return ops.take_along_axis(distances, lengths, axis=1)[:, 0]


@keras.saving.register_keras_serializable("kzoo")
class TokenErrorRate(KnownMean):
    """Substitutions, deletions and insertions of the most probable path, over the number of tokens of the transcripts.

    Args:
        name: of the metric.
        dtype: as for `keras.metrics.Metric`.
    """

    direction = "down"

    def __init__(self, name: str = "token_error_rate", dtype=None):
        super().__init__(name, dtype)

    def values(self, y_true, y_pred):
        tokens = keras.ops.cast(y_true, "int32")
        lengths = keras.ops.sum(keras.ops.cast(tokens >= 0, "float32"), axis=-1)
        errors = keras.ops.cast(edit_distances(tokens, greedy(y_pred)), "float32")
        return errors / keras.ops.maximum(lengths, 1.0), lengths
