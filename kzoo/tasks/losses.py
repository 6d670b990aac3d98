"""Losses of the tasks, as Keras objects that are saved with a model.

Labels are class indices, of shape (batch,), or class probabilities, float of shape (batch, classes), as mixup makes
them. This module imports Keras at once; the tasks import it when a model is compiled.
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np


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

    def get_config(self) -> dict:
        own = {name: getattr(self, name) for name in ("label_smoothing", "class_weights", "focal_gamma")}
        return super().get_config() | own

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
