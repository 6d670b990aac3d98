"""Whitening convolution: a first layer whose outputs are uncorrelated over the patches of the training inputs."""

import math

import keras
import numpy as np

from kzoo.nn.graph import Call
from kzoo.nn.handcrafted.layer import Adaptable
from kzoo.nn.receptive_field import View, windows
from kzoo.nn.solvers import sampled_indices


@keras.saving.register_keras_serializable("kzoo")
class WhitenedConv(Adaptable, keras.layers.Layer):
    """A convolution whose outputs are uncorrelated and of equal variance over the patches of the training inputs.

    Maps (batch, ..., channels) to (batch, ..., 2 x kernel^axes x channels), without padding: each filter is an
    eigenvector of the patches' covariance over the root of its eigenvalue, and there is the negative of each. The
    biases are trained. As in Jordan, 2024, https://arxiv.org/abs/2404.00498; the filters are random until `adapt`.

    Args:
        kernel: size of a patch, along each axis or for all of them.
        least: added to the eigenvalues, for directions in which the patches hardly vary.
    """

    EXAMPLES = 5000  # training inputs that are used

    def __init__(self, kernel: int | tuple[int, ...] = 2, least: float = 5e-4, **options):
        super().__init__(**options)
        self.kernel_size, self.least = kernel, least

    def get_config(self) -> dict:
        return super().get_config() | {"kernel": self.kernel_size, "least": self.least}

    def build(self, input_shape):
        window = self.window(input_shape)
        filters = 2 * math.prod(window) * input_shape[-1]
        shape = (*window, input_shape[-1], filters)
        self.kernel = self.add_weight(shape=shape, initializer="he_normal", trainable=False, name="kernel")
        self.bias = self.add_weight(shape=(filters,), initializer="zeros", name="bias")

    def compute_output_shape(self, input_shape):
        window = self.window(input_shape)
        sizes = [size and size - width + 1 for size, width in zip(input_shape[1:-1], window, strict=True)]
        return (input_shape[0], *sizes, 2 * math.prod(window) * input_shape[-1])

    def window(self, input_shape: tuple[int | None, ...]) -> tuple[int, ...]:
        """Return the size of a patch along each axis."""
        size, axes = self.kernel_size, len(input_shape) - 2
        return (size,) * axes if isinstance(size, int) else tuple(size)

    def macs(self, input_shape: tuple[int, ...]) -> int:
        """Return the multiply-accumulates for one example: each weight once for each position of the output."""
        positions = self.compute_output_shape((None, *input_shape))[1:-1]
        return math.prod(positions) * math.prod(self.kernel.shape)

    def receptive_field(self, call: Call, views: list[View]) -> View:
        """Return what the result of a call sees of the network's input."""
        return windows(call, views)

    def call(self, x):
        kernel = keras.ops.cast(self.kernel, self.compute_dtype)
        return keras.ops.conv(x, kernel, padding="valid", data_format="channels_last") + self.bias

    def adapt(self, inputs: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> None:
        """Take the filters from a random sample of the training inputs of this layer, (n, ..., channels)."""
        axes, sample = tuple(range(1, inputs.ndim - 1)), inputs[sampled_indices(len(inputs), self.EXAMPLES, seed)]
        windows = np.lib.stride_tricks.sliding_window_view(sample, self.kernel.shape[:-2], axes)
        patches = np.moveaxis(windows, inputs.ndim - 1, -1).reshape(-1, int(np.prod(self.kernel.shape[:-1])))
        values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
        filters = vectors / np.sqrt(values + self.least)
        self.kernel.assign(np.concatenate([filters, -filters], axis=1).reshape(self.kernel.shape))
