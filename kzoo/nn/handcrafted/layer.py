"""Base classes of the layers of hand-crafted features."""

import keras
import numpy as np

from kzoo.nn.graph import Call
from kzoo.nn.receptive_field import View, everything


class Adaptable:
    """Mixin of a layer that takes weights from the training inputs, without a gradient; `kzoo.fit` calls `adapt`.

    Attributes:
        needs_classes: whether the labels must be class indices.
    """

    needs_classes = False

    def adapt(self, inputs: np.ndarray, labels: np.ndarray, seed: int = 0) -> None:
        """Set the weights.

        Args:
            inputs: training inputs of this layer, (n, ...).
            labels: what the loss compares with, (n, ...); class indices (n,) of a classification.
            seed: of random choices.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it is adapted")


class FixedFeatures(keras.layers.Layer):
    """A layer in float32 without trainable weights.

    Attributes:
        ARGUMENTS: names of the constructor arguments, which are attributes of the same names.
    """

    ARGUMENTS: tuple[str, ...] = ()

    def __init__(self, **options):
        super().__init__(trainable=False, **options | {"dtype": "float32"})

    def get_config(self) -> dict:
        given = {key: value for key, value in super().get_config().items() if key not in ("trainable", "dtype")}
        return given | {name: getattr(self, name) for name in self.ARGUMENTS}

    def macs(self, input_shape: tuple[int, ...]) -> int:
        """Return the multiply-accumulates for one example of a shape; 0 if the layer has no kernels."""
        return 0

    def receptive_field(self, call: Call, views: list[View]) -> View:
        """Return what the result of a call sees of the network's input: by default, every position sees all."""
        return everything(call, views)
