"""Weight standardisation and SkipInit: Keras layers of normaliser-free networks.

This module imports Keras eagerly; others import it when a network is built or loaded.
"""

import math

import keras
import numpy as np


@keras.saving.register_keras_serializable("kzoo")
class StandardizedConv(keras.layers.Layer):
    """Convolution of any rank with weight standardisation: kernels normalised to mean 0 and variance 1 at each use.

    Qiao et al., 2019, Micro-Batch Training with Batch-Channel Normalization and Weight Standardization,
    https://arxiv.org/abs/1903.10520. With a gain it is the scaled form of Brock, De, Smith, 2021, Characterizing signal
    propagation to close the performance gap in unnormalized ResNets, https://arxiv.org/abs/2101.08692: the variance is
    1 over the number of inputs, times a constant and a learned gain for each filter.

    Args:
        filters: output channels.
        kernel_size: kernel size, one number for each spatial axis.
        strides: strides, likewise.
        padding: "same", in TensorFlow's sense, or "valid".
        groups: groups of the convolution.
        use_bias: add a learned bias to each channel.
        gain: initial value of the learned gain of each filter; None for the unscaled form without one.
        factor: constant factor of the kernels in the scaled form.
        epsilon: added to the variance of a kernel.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: tuple[int, ...],
        strides: tuple[int, ...],
        padding: str = "same",
        groups: int = 1,
        use_bias: bool = False,
        gain: float | None = None,
        factor: float = 1.0,
        epsilon: float = 1e-5,
        **options,
    ):
        super().__init__(**options)
        self.filters, self.kernel_size, self.strides = filters, tuple(kernel_size), tuple(strides)
        self.padding, self.groups, self.use_bias = padding, groups, use_bias
        self.initial_gain, self.factor, self.epsilon = gain, factor, epsilon

    def get_config(self) -> dict:
        names = ("filters", "kernel_size", "strides", "padding", "groups", "use_bias", "factor", "epsilon")
        return super().get_config() | {name: getattr(self, name) for name in names} | {"gain": self.initial_gain}

    def build(self, input_shape):
        # Standardised in float32, then cast to the compute dtype.
        shape = (*self.kernel_size, input_shape[-1] // self.groups, self.filters)
        self.kernel = self.add_weight(shape=shape, initializer="he_normal", autocast=False, name="kernel")
        self.gain = self.bias = None
        if self.initial_gain is not None:
            self.add_gain(self.initial_gain)
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def add_gain(self, initial: float) -> None:
        """Add a learned gain of each filter."""
        self.initial_gain, value = initial, keras.initializers.Constant(initial)
        shape = (*(1,) * len(self.kernel.shape[:-1]), self.filters)
        self.gain = self.add_weight(shape=shape, initializer=value, autocast=False, name="gain")

    def rescale(self, original: np.ndarray) -> None:
        """Give the standardised kernel the scale that one with another number of inputs has, by the gain.

        Standardisation undoes the scale of a kernel that is a sum or a repetition. A built layer of the unscaled form
        gets a gain for it and becomes one of the scaled form.

        Args:
            original: the kernel before it was fitted to the inputs of this layer.
        """
        ours, axes = keras.ops.convert_to_numpy(self.kernel), tuple(range(original.ndim - 1))
        spread = np.sqrt((ours.var(axes) + self.epsilon) / (original.var(axes) + self.epsilon))
        if self.gain is None:
            self._tracker.unlock()  # as Keras's own layers do in `enable_lora`
            self.add_gain(math.sqrt(original[..., 0].size) / self.factor)
            self._trainable_variables.insert(1, self._trainable_variables.pop())  # before the bias, as in `build`
            self._tracker.lock()
        self.gain.assign(self.gain * (spread * math.sqrt(ours.size / original.size)))

    def standardized_kernel(self):
        ops, axes = keras.ops, tuple(range(len(self.kernel_size) + 1))
        mean, variance = ops.moments(ops.convert_to_tensor(self.kernel), axes=axes, keepdims=True)
        scale = ops.rsqrt(variance + self.epsilon)
        if self.gain is not None:
            scale = scale * (self.gain * (self.factor / math.sqrt(math.prod(self.kernel.shape[:-1]))))
        return (self.kernel - mean) * scale

    def call(self, x):
        kernel = keras.ops.cast(self.standardized_kernel(), self.compute_dtype)
        y = keras.ops.conv(x, kernel, self.strides, self.padding, data_format="channels_last")
        return y + self.bias if self.use_bias else y


@keras.saving.register_keras_serializable("kzoo")
class SkipGain(keras.layers.Layer):
    """SkipInit: multiply a feature map by a learned scalar initialised to 0.

    De, Smith, 2020, Batch Normalization Biases Residual Blocks Towards the Identity Function in Deep Networks,
    https://arxiv.org/abs/2002.10444.
    """

    def build(self, input_shape):
        # timm's name: unlike a layer's weights, a scalar parameter has nothing after the last dot.
        self.gain = self.add_weight(shape=(), initializer="zeros", name="skipinit_gain")

    def call(self, x):
        return x * self.gain
