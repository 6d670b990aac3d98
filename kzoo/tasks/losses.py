"""Losses of the tasks, as Keras objects that are saved with a model.

Labels are class indices, of shape (batch,), or class probabilities, float of shape (batch, classes), as mixup makes
them. This module imports Keras at once; the tasks import it when a model is compiled.
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from kzoo.core.registry import lookup


@keras.saving.register_keras_serializable("kzoo")
class ClassificationLoss(keras.losses.Loss):
    """Softmax cross-entropy between labels and logits, with label smoothing, class weights and focal modulation.

    Computed in float32, without clipping: Keras's focal loss clips probabilities at 1e-7, which removes the gradient of
    examples that are more wrong than that.

    Args:
        label_smoothing: fraction of the target spread evenly over all classes, in [0, 1).
        class_weights: loss weight of each class, from 0; the mean over the batch still divides by its size. A mixed
            example has the mean weight of its classes.
        focal_gamma: gamma of the focal loss (Lin et al., 2017, https://arxiv.org/abs/1708.02002): a class of predicted
            probability p is weighted by (1 - p) ** gamma; 0 for none.
        name: of the loss.
        reduction: as for `keras.losses.Loss`.
        dtype: likewise.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        focal_gamma: float = 0.0,
        *,
        name: str = "crossentropy",
        reduction: str = "sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if isinstance(class_weights, Mapping | str):  # iterating over one gives its keys or characters
            raise ValueError(f"class_weights of the loss must be one number for each class, got {class_weights!r}")
        self.label_smoothing, self.focal_gamma = label_smoothing, focal_gamma
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]

    @property
    def options(self) -> dict:
        """The arguments that say what is computed."""
        return {name: getattr(self, name) for name in ("label_smoothing", "class_weights", "focal_gamma")}

    def get_config(self) -> dict:
        return super().get_config() | self.options

    def call(self, y_true, y_pred):
        ops, logits = keras.ops, keras.ops.cast(y_pred, "float32")
        targets = class_probabilities(y_true, logits.shape[-1])
        logarithms = ops.log_softmax(logits)
        smoothed = (1 - self.label_smoothing) * targets + self.label_smoothing / logits.shape[-1]
        if self.focal_gamma:  # 1 - p is kept above 0, where the gradient of its power is infinite
            smoothed = smoothed * ops.power(ops.maximum(-ops.expm1(logarithms), 1e-7), self.focal_gamma)
        losses = -ops.sum(smoothed * logarithms, axis=-1)
        return losses * example_weights(targets, self.class_weights) if self.class_weights else losses


def class_probabilities(labels, num_classes: int):
    """Return labels of either form as class probabilities, float32 of shape (batch, num_classes)."""
    if are_indices(labels):
        return keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32"), num_classes)
    return keras.ops.cast(labels, "float32")


def are_indices(labels) -> bool:
    """Return whether labels are class indices, one for each example, of any dtype."""
    return len(labels.shape) < 2 or labels.shape[-1] == 1


def example_weights(targets, class_weights: Sequence[float]):
    """Return the loss weight of each example, (batch,).

    Raises:
        ValueError: if there is not one weight for each class.
    """
    if len(class_weights) != targets.shape[-1]:
        raise ValueError(
            f"class_weights must be one number for each of {targets.shape[-1]} classes, got {len(class_weights)}"
        )
    return keras.ops.sum(targets * np.asarray(class_weights, "float32"), axis=-1)


@keras.saving.register_keras_serializable("kzoo")
class StepClassificationLoss(ClassificationLoss):
    """Mean of `ClassificationLoss` over the steps of each sequence that are known.

    Labels are class indices, (batch, length); -1 stands for a step that is not known, such as a padded one, and counts
    for nothing.
    """

    def call(self, y_true, y_pred):
        ops, labels = keras.ops, keras.ops.cast(y_true, "int32")
        known = ops.cast(labels >= 0, "float32")
        steps = ops.reshape(ops.maximum(labels, 0), (-1,))
        losses = super().call(steps, ops.reshape(y_pred, (-1, y_pred.shape[-1])))
        return mean_of_known(ops.reshape(losses, ops.shape(labels)), known)


@keras.saving.register_keras_serializable("kzoo")
class SegmentationLoss(keras.losses.Loss):
    """Sum of losses between class indices at each pixel, (batch, height, width), and logits; -1 counts for nothing.

    Each is that of an example; all but the cross-entropies are means over the classes that are in its mask.

    Args:
        kinds: keys of `REGION_LOSSES`, "cross_entropy", or "focal", which is it with a gamma of 2 unless one is given.
        name: of the loss.
        reduction: as for `keras.losses.Loss`.
        dtype: likewise.
        **options: of `ClassificationLoss`, for the cross-entropies.

    Raises:
        ValueError: for an unknown kind, or options of a cross-entropy without one.
    """

    def __init__(
        self,
        kinds: Sequence[str] = ("cross_entropy",),
        *,
        name: str = "segmentation",
        reduction: str = "sum_over_batch_size",
        dtype=None,
        **options,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.kinds, self.options = list(kinds), options
        self.terms = [self.term(kind) for kind in self.kinds]
        if any(options.values()) and not ENTROPIES & set(self.kinds):
            given = ", ".join(name for name, value in options.items() if value)
            raise ValueError(f"{given}: options of cross_entropy and focal, not of {'+'.join(self.kinds)}")

    def term(self, kind: str):
        """Return a function of labels and logits."""
        if kind not in ENTROPIES:
            return lookup("loss", kind, dict.fromkeys(ENTROPIES) | REGION_LOSSES)
        gamma = self.options.get("focal_gamma") or (2.0 if kind == "focal" else 0.0)
        return StepClassificationLoss(**self.options | {"focal_gamma": gamma}).call

    def get_config(self) -> dict:
        return super().get_config() | {"kinds": self.kinds} | self.options

    def call(self, y_true, y_pred):
        labels, logits = keras.ops.cast(y_true, "int32"), keras.ops.cast(y_pred, "float32")
        return sum(term(labels, logits) for term in self.terms)


ENTROPIES = {"cross_entropy", "focal"}


def dice(labels, logits):
    """Return 1 less the soft Dice coefficient (Milletari et al., 2016, https://arxiv.org/abs/1606.04797), (batch,)."""
    return tversky(labels, logits, 0.5, 0.5)


def tversky(labels, logits, false_positives: float = 0.3, false_negatives: float = 0.7):
    """Return 1 less the soft Tversky index (Salehi et al., 2017, https://arxiv.org/abs/1706.05721), (batch,).

    Args:
        labels: class indices, integers (batch, ..., positions), -1 where none is known.
        logits: (batch, ..., positions, classes).
        false_positives: weight of pixels that are wrongly of a class; both as recommended in the paper.
        false_negatives: weight of pixels that are missed.
    """
    truth, probabilities = regions(labels, logits)
    right, true, given = (keras.ops.sum(part, axis=1) for part in (truth * probabilities, truth, probabilities))
    whole = right + false_positives * (given - right) + false_negatives * (true - right)
    return mean_of_present(1 - right / keras.ops.maximum(whole, 1e-7), true)


def lovasz(labels, logits):
    """Return the Lovasz-Softmax loss, a convex surrogate of 1 less IoU, (batch,).

    (Berman et al., 2018, https://arxiv.org/abs/1705.08790.) Of the images of a batch each by itself.
    """
    ops = keras.ops
    truth, probabilities = regions(labels, logits)
    errors = ops.abs(truth - probabilities)  # 0 where nothing is known: those come last, and weigh nothing
    order = ops.stop_gradient(ops.argsort(-errors, axis=1))
    sorted_truth, sorted_errors = (ops.take_along_axis(values, order, axis=1) for values in (truth, errors))
    true = ops.sum(truth, axis=1)
    intersection = true[:, None] - ops.cumsum(sorted_truth, axis=1)
    union = true[:, None] + ops.cumsum(1 - sorted_truth, axis=1)
    jaccard = 1 - intersection / union
    before = ops.concatenate([ops.zeros_like(jaccard[:, :1]), jaccard[:, :-1]], axis=1)
    return mean_of_present(ops.sum(sorted_errors * ops.stop_gradient(jaccard - before), axis=1), true)


def regions(labels, logits):
    """Return one-hot labels and probabilities, (batch, pixels, classes) each, 0 where no class is known."""
    ops, classes = keras.ops, logits.shape[-1]
    known = ops.reshape(ops.cast(labels >= 0, "float32"), (ops.shape(labels)[0], -1, 1))
    shape = (ops.shape(labels)[0], -1, classes)
    truth = ops.reshape(ops.one_hot(ops.maximum(labels, 0), classes), shape)
    return truth * known, ops.reshape(ops.softmax(logits), shape) * known


def mean_of_present(losses, pixels):
    """Return the mean over the classes that have pixels, (batch,), of losses (batch, classes)."""
    present = keras.ops.cast(pixels > 0, "float32")
    return keras.ops.sum(losses * present, axis=-1) / keras.ops.maximum(keras.ops.sum(present, axis=-1), 1.0)


REGION_LOSSES = {function.__name__: function for function in (dice, tversky, lovasz)}


@keras.saving.register_keras_serializable("kzoo")
class TaggingLoss(keras.losses.Loss):
    """Mean over the tags of the binary cross-entropy between tags and logits, with focal modulation.

    Targets are 0 or 1, or between them as mixup makes them, float (..., tags); NaN stands for what is not known, such
    as the padded steps of a sequence, and counts for nothing. Computed in float32, without clipping.

    Args:
        label_smoothing: fraction of the target that is replaced by 1/2, in [0, 1).
        class_weights: weight of each tag's loss where the tag is present, from 0, as PyTorch's `pos_weight`.
        focal_gamma: gamma of the focal loss (Lin et al., 2017, https://arxiv.org/abs/1708.02002): the loss of a tag
            whose state has the predicted probability p is weighted by (1 - p) ** gamma; 0 for none.
        summed: whether the losses of the tags are summed, not averaged.
        name: of the loss.
        reduction: as for `keras.losses.Loss`.
        dtype: likewise.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        focal_gamma: float = 0.0,
        *,
        summed: bool = False,
        name: str = "binary_crossentropy",
        reduction: str = "sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing, self.focal_gamma, self.summed = label_smoothing, focal_gamma, summed
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]

    def get_config(self) -> dict:
        own = {name: getattr(self, name) for name in ("label_smoothing", "class_weights", "focal_gamma", "summed")}
        return super().get_config() | own

    def call(self, y_true, y_pred):
        ops, logits = keras.ops, keras.ops.cast(y_pred, "float32")
        targets, known = known_targets(y_true)
        smoothed = (1 - self.label_smoothing) * targets + self.label_smoothing / 2
        present, absent = smoothed * ops.softplus(-logits), (1 - smoothed) * ops.softplus(logits)
        if self.focal_gamma:  # the weight is kept above 0, where the gradient of its power is infinite
            p = ops.sigmoid(logits)
            present *= ops.power(ops.maximum(1 - p, 1e-7), self.focal_gamma)
            absent *= ops.power(ops.maximum(p, 1e-7), self.focal_gamma)
        if self.class_weights:
            present *= np.asarray(self.class_weights, "float32")
        return mean_of_known(present + absent, known, summed=self.summed)


@keras.saving.register_keras_serializable("kzoo")
class RegressionLoss(keras.losses.Loss):
    """Mean error of standardised values, of which NaN stands for one that is not known and counts for nothing.

    Args:
        kind: "mse", "mae", "huber" (quadratic up to an error of `delta`, linear above; Huber, 1964,
            https://doi.org/10.1214/aoms/1177703732) or "charbonnier" (quadratic up to an error of 1e-3, linear above;
            Charbonnier et al., 1994, https://doi.org/10.1109/ICIP.1994.413553).
        quantiles: in (0, 1), for the pinball loss (Koenker and Bassett, 1978, https://doi.org/10.2307/1913643) in place
            of the others; there are this many outputs for each value.
        columns: values that are side by side for each quantile, as those of one step of a forecast are; 1 for the
            quantiles of each value side by side.
        delta: of "huber": the error up to which it is quadratic, positive.
        name: of the loss.
        reduction: as for `keras.losses.Loss`.
        dtype: likewise.
    """

    def __init__(
        self,
        kind: str = "mse",
        quantiles: Sequence[float] = (),
        *,
        columns: int = 1,
        delta: float = 1.0,
        name: str = "regression",
        reduction: str = "sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.kind, self.quantiles = kind, [float(quantile) for quantile in quantiles]
        self.columns, self.delta = columns, delta

    def get_config(self) -> dict:
        own = {name: getattr(self, name) for name in ("kind", "quantiles", "columns", "delta")}
        return super().get_config() | own

    def call(self, y_true, y_pred):
        outputs = keras.ops.cast(y_pred, "float32")
        targets, known = known_targets(y_true)
        if self.quantiles:
            return pinball(targets, known, outputs, self.quantiles, self.columns)
        options = {"delta": self.delta} if self.kind == "huber" else {}
        return mean_of_known(ERRORS[self.kind](outputs - targets, **options), known)


def pinball(targets, known, outputs, quantiles: Sequence[float], columns: int = 1):
    """Return the mean pinball loss of each example, (batch,), of outputs (batch, values x quantiles)."""
    ops, levels = keras.ops, np.asarray(quantiles, "float32")[:, None]
    outputs = by_quantile(outputs, len(quantiles), columns)
    targets, known = (ops.reshape(part, (-1, outputs.shape[1], 1, columns)) for part in (targets, known))
    errors = targets - outputs
    losses = ops.maximum(levels * errors, (levels - 1) * errors)
    return mean_of_known(losses, ops.repeat(known, len(quantiles), axis=2))


def by_quantile(outputs, quantiles: int, columns: int = 1):
    """Return outputs (batch, values x quantiles) as (batch, steps, quantiles, columns); see `RegressionLoss`."""
    return keras.ops.reshape(outputs, (-1, outputs.shape[-1] // (quantiles * columns), quantiles, columns))


def huber(errors, delta: float = 1.0):
    """Return half the square of errors up to `delta`, and delta times larger ones' absolute value less delta / 2."""
    size = keras.ops.abs(errors)
    return keras.ops.where(size <= delta, errors * errors / 2, delta * (size - delta / 2))


def charbonnier(errors, epsilon: float = 1e-3):
    """Return the smooth absolute value of errors, the root of their square and that of `epsilon`."""
    return keras.ops.sqrt(errors * errors + epsilon**2)


ERRORS = {
    "mse": lambda errors: errors * errors,
    "mae": lambda errors: keras.ops.abs(errors),
    "huber": huber,
    "charbonnier": charbonnier,
}


def known_targets(y_true):
    """Return float32 targets with 0 for NaN, and 1 where they are known, 0 for NaN."""
    targets = keras.ops.cast(y_true, "float32")
    known = keras.ops.logical_not(keras.ops.isnan(targets))
    return keras.ops.where(known, targets, 0.0), keras.ops.cast(known, "float32")


def mean_of_known(losses, known, *, summed: bool = False):
    """Return the mean loss of each example, (batch,), over the outputs and positions that are known.

    With `summed` the losses of one position are summed, and the mean is over positions.
    """
    axes = list(range(1, len(losses.shape)))
    total = keras.ops.sum(losses * known, axis=axes)
    counted = keras.ops.max(known, axis=-1) if summed else known
    count = keras.ops.sum(counted, axis=axes[: len(counted.shape) - 1])
    return total / keras.ops.maximum(count, 1.0)


@keras.saving.register_keras_serializable("kzoo")
class TranscriptionLoss(keras.losses.Loss):
    """Negative log-likelihood of a transcript in nats, by connectionist temporal classification, of each example.

    (Graves et al., 2006, https://doi.org/10.1145/1143844.1143891.) Targets are token indices, (batch, longest), -1
    after the last one; logits are (batch, positions, tokens + 1), the last of which is the blank.

    Args:
        name: of the loss.
        reduction: as for `keras.losses.Loss`.
        dtype: likewise.
    """

    def __init__(self, *, name: str = "ctc", reduction: str = "sum_over_batch_size", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        ops, tokens, logits = keras.ops, keras.ops.cast(y_true, "int32"), keras.ops.cast(y_pred, "float32")
        lengths = ops.sum(ops.cast(tokens >= 0, "int32"), axis=-1)
        positions = ops.full_like(lengths, logits.shape[1])
        return ops.ctc_loss(ops.maximum(tokens, 0), logits, lengths, positions, mask_index=logits.shape[-1] - 1)
