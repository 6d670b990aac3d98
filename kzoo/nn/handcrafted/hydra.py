"""Hydra features: how often each random kernel of a group has the largest or smallest response of the group."""

import math

import keras
import numpy as np

from kzoo.nn.handcrafted.layer import FixedFeatures
from kzoo.nn.handcrafted.minirocket import TAPS
from kzoo.nn.portable import argmax


@keras.saving.register_keras_serializable("kzoo")
class HydraFeatures(FixedFeatures):
    """Soft and hard counts of the best kernels of each group, over a series and its differences.

    Maps series (batch, length, channels) to (batch, dilations * 2 * groups * kernels). Half of the groups see the
    series, the other half its differences, each at every dilation (1, 2, 4, ...). In every step the kernel with the
    largest response of its group counts that response, and the one with the smallest counts 1.

    Args:
        groups: number of groups at each dilation, even.
        kernels: random kernels of 9 taps in each group.
        seed: of the kernels, and of the channels that a group adds up, if there are several.

    Raises:
        ValueError: for an odd number of groups, or none.
    """

    ARGUMENTS = ("groups", "kernels", "seed")

    def __init__(self, groups: int = 64, kernels: int = 8, seed: int = 0, **options):
        if groups < 2 or groups % 2 or kernels < 1:
            raise ValueError(f"Hydra needs an even number of groups, and a kernel in each, got {groups} and {kernels}")
        super().__init__(**options)
        self.groups, self.kernels, self.seed = groups, kernels, seed

    def build(self, input_shape):
        self.dilations = dilations(input_shape[1])
        groups = (len(self.dilations), 2, self.groups // 2)
        shape = (*groups, self.kernels, TAPS)
        self.patterns = self.add_weight(shape=shape, initializer=self.random_patterns, trainable=False, name="kernels")
        shape, initializer = (*groups, input_shape[2]), self.random_channels if input_shape[2] > 1 else "ones"
        self.channels = self.add_weight(shape=shape, initializer=initializer, trainable=False, name="channels")

    def random_patterns(self, shape, dtype=None):
        """Return normal kernels of zero mean, scaled to absolute values that add up to 1."""
        kernels = np.random.default_rng(self.seed).normal(size=shape)
        kernels -= kernels.mean(axis=-1, keepdims=True)
        return keras.ops.convert_to_tensor(kernels / np.abs(kernels).sum(axis=-1, keepdims=True), dtype)

    def random_channels(self, shape, dtype=None):
        """Return how often each group adds each channel: half as many as there are, from 2 to 8, with replacement."""
        rng, counts = np.random.default_rng([self.seed, 1]), np.zeros(shape)
        for place in np.ndindex(shape[:-1]):
            chosen = rng.integers(shape[-1], size=np.clip(shape[-1] // 2, 2, 8))
            counts[place] = np.bincount(chosen, minlength=shape[-1])
        return keras.ops.convert_to_tensor(counts, dtype)

    def macs(self, input_shape: tuple[int, ...]) -> int:
        """Return the multiply-accumulates of the kernels over the series, and over its differences, one step less."""
        one = TAPS * math.prod(self.channels.shape) // 2 * self.kernels
        return (2 * input_shape[0] - 1) * one

    def compute_output_shape(self, input_shape):
        return (input_shape[0], len(dilations(input_shape[1])) * 2 * self.groups * self.kernels)

    def call(self, x):
        inputs = (x, x[:, 1:] - x[:, :-1])
        counts = [
            count
            for index in range(len(self.dilations))
            for difference in range(2)
            for count in winners(self.responses(inputs[difference], index, difference))
        ]
        return keras.ops.concatenate(counts, axis=-1)

    def responses(self, x, index: int, difference: int):
        """Return the outputs of all kernels at one dilation, (batch, length, groups / 2, kernels)."""
        weights = self.patterns[index, difference][..., None]
        weights = weights * self.channels[index, difference][:, None, None]  # (groups, kernels, taps, channels)
        weights = keras.ops.reshape(keras.ops.transpose(weights, (2, 3, 0, 1)), (TAPS, x.shape[2], -1))
        dilation = self.dilations[index]
        y = keras.ops.conv(x, weights, padding="same", dilation_rate=dilation, data_format="channels_last")
        return keras.ops.reshape(y, (-1, x.shape[1], self.groups // 2, self.kernels))


def dilations(length: int) -> list[int]:
    """Return the powers of 2 at which a kernel spans no more than the series, of 10 steps or more."""
    return [2**exponent for exponent in range(int(np.log2((length - 1) / (TAPS - 1))) + 1)]


def winners(responses):
    """Return the largest responses added up for the kernel that has them, and how often each has the smallest."""
    ops, kernels = keras.ops, responses.shape[-1]
    largest = ops.one_hot(argmax(responses), kernels)
    smallest = ops.one_hot(argmax(-responses), kernels)
    counts = (ops.sum(largest * responses, axis=1), ops.sum(smallest, axis=1))
    return [ops.reshape(count, (-1, count.shape[1] * kernels)) for count in counts]
