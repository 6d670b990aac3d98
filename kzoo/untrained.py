"""Keras layers whose convolutions no gradient changes: what is free in them comes from a look at the training inputs.

This module imports Keras at once; what needs it imports it when a network is built or loaded. `kzoo.fit` calls
`adapt` of every layer of this module before it trains what follows.
"""

from __future__ import annotations

import itertools
import math

import keras
import numpy as np

TAPS = 9
KERNELS = np.array(
    [[2 if tap in twos else -1 for tap in range(TAPS)] for twos in itertools.combinations(range(TAPS), 3)]
)
GOLDEN_RATIO = (1 + 5**0.5) / 2


def dilations(length: int, features: int, most: int) -> list[tuple[int, int]]:
    """Return each dilation of MiniRocket with the features that every kernel gets at it.

    Dilations are spread evenly on a logarithmic scale from 1 to the one at which a kernel spans the series.

    Args:
        length: steps of the series, at least 9.
        features: of all kernels together; what does not divide by 84 is left out.
        most: number of places on the scale, at most.
    """
    each = features // len(KERNELS)
    places = min(each, most)
    scale = np.logspace(0, np.log2((length - 1) / (TAPS - 1)), places, base=2).astype(int)
    steps, times = np.unique(scale, return_counts=True)
    counts = (times * (each / places)).astype(int)
    for place in range(each - counts.sum()):
        counts[place % len(counts)] += 1
    return list(zip(steps.tolist(), counts.tolist(), strict=True))


@keras.saving.register_keras_serializable("kzoo")
class MiniRocketFeatures(keras.layers.Layer):
    """How often each of 84 fixed kernels, at many dilations, answers above each of many thresholds.

    Maps series (batch, length, channels) to shares in [0, 1], (batch, features). A kernel has six weights of -1
    and three of 2 in each of its channels. Half of the kernels see zeros beyond the ends, half of them never look
    there. The thresholds are weights that no gradient reaches; `adapt` sets them.

    Args:
        features: number of features; rounded down to a multiple of 84.
        max_dilations: dilations at most.
        seed: of the channels that a kernel sees at a dilation, where there are several: 1 to 9 of them.

    Raises:
        ValueError: for fewer than 84 features or 1 dilation.
    """

    def __init__(self, features: int = 10_000, max_dilations: int = 32, seed: int = 0, **options):
        if features < len(KERNELS) or max_dilations < 1:
            raise ValueError(
                f"MiniRocket needs {len(KERNELS)} features and 1 dilation at least, got {features} and {max_dilations}"
            )
        super().__init__(trainable=False, **options | {"dtype": "float32"})
        self.features, self.max_dilations, self.seed = features, max_dilations, seed

    def get_config(self) -> dict:
        own = {"features": self.features, "max_dilations": self.max_dilations, "seed": self.seed}
        return {k: v for k, v in super().get_config().items() if k not in ("trainable", "dtype")} | own

    def build(self, input_shape):
        self.dilations = dilations(input_shape[1], self.features, self.max_dilations)
        count = sum(count for _, count in self.dilations) * len(KERNELS)
        shape = (len(self.dilations), input_shape[2], len(KERNELS))
        self.thresholds = self.add_weight(shape=(count,), trainable=False, name="thresholds")
        self.channels = self.add_weight(shape=shape, initializer="ones", trainable=False, name="channels")
        if input_shape[2] > 1:
            self.channels.assign(self.random_channels(shape))

    def random_channels(self, shape: tuple[int, int, int]) -> np.ndarray:
        """Return which channels each kernel sees at each dilation, as 0 and 1: few more often than many."""
        rng, seen = np.random.default_rng(self.seed), np.zeros(shape)
        for place, kernel in np.ndindex(shape[0], shape[2]):
            number = int(2 ** rng.uniform(0, np.log2(min(shape[1], 9) + 1)))
            seen[place, rng.choice(shape[1], number, replace=False), kernel] = 1
        return seen

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.features // len(KERNELS) * len(KERNELS))

    def responses(self, x, place: int):
        """Return what the kernels answer at one dilation, (batch, length, 84)."""
        weights = KERNELS.T[:, None, :].astype("float32") * self.channels[place]
        dilation = self.dilations[place][0]
        return keras.ops.conv(x, weights, padding="same", dilation_rate=dilation, data_format="channels_last")

    def call(self, x):
        shares, start = [], 0
        for place, (dilation, count) in enumerate(self.dilations):
            size = len(KERNELS) * count
            thresholds = keras.ops.reshape(self.thresholds[start : start + size], (len(KERNELS), count))
            shares.append(shares_above(self.responses(x, place), thresholds, 4 * dilation, place % 2))
            start += size
        return keras.ops.concatenate(shares, axis=-1)

    def adapt(self, series: np.ndarray, seed: int = 0) -> None:
        """Set the thresholds to quantiles of what each kernel answers on one of the training series, at random.

        Args:
            series: training inputs of this layer, (n, length, channels).
            seed: of the choice.
        """
        rng, parts = np.random.default_rng(seed), []
        for place, (_, count) in enumerate(self.dilations):
            chosen = series[rng.integers(len(series), size=len(KERNELS))].astype("float32")
            answers = keras.ops.convert_to_numpy(self.responses(chosen, place))
            first = sum(part.size for part in parts) + 1
            shares = (np.arange(first, first + count * len(KERNELS)) * GOLDEN_RATIO % 1).reshape(-1, count)
            parts.append(np.stack([np.quantile(answers[k, :, k], shares[k]) for k in range(len(KERNELS))]))
        self.thresholds.assign(np.concatenate([part.ravel() for part in parts]))


def shares_above(responses, thresholds, border: int, shift: int):
    """Return the share of steps above each threshold, (batch, 84 * count); every second kernel leaves out the border.

    Args:
        responses: (batch, length, 84).
        thresholds: (84, count).
        border: steps at either end that some kernels do not look at.
        shift: 0 if the first kernel looks at all steps, 1 if it leaves out the border.
    """
    inner = responses[:, border : responses.shape[1] - border]
    whole = (np.arange(len(KERNELS)) + shift) % 2 == 0
    columns = []
    for number in range(thresholds.shape[1]):
        above = [
            keras.ops.mean(keras.ops.cast(answers > thresholds[:, number], "float32"), axis=1)
            for answers in (responses, inner)
        ]
        columns.append(keras.ops.where(whole, *above))
    return keras.ops.reshape(keras.ops.stack(columns, axis=-1), (-1, len(KERNELS) * thresholds.shape[1]))


@keras.saving.register_keras_serializable("kzoo")
class WhitenedConv(keras.layers.Layer):
    """A convolution whose outputs are uncorrelated and of equal variance over the patches of the training inputs.

    Maps (batch, ..., channels) to (batch, ..., 2 x kernel^axes x channels), without padding: each filter is an
    eigenvector of the patches' covariance over the root of its eigenvalue, and there is the negative of each. The
    biases are trained. As in Jordan, 2024, https://arxiv.org/abs/2404.00498; the filters are random until `adapt`.

    Args:
        kernel: size of a patch, along each axis or for all of them.
        least: added to the eigenvalues, for directions in which the patches hardly vary.
    """

    EXAMPLES = 5000  # as many of the training inputs are looked at

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

    def call(self, x):
        kernel = keras.ops.cast(self.kernel, self.compute_dtype)
        return keras.ops.conv(x, kernel, padding="valid", data_format="channels_last") + self.bias

    def adapt(self, inputs: np.ndarray, seed: int = 0) -> None:
        """Take the filters from training inputs of this layer, (n, ..., channels); nothing here is random."""
        axes = tuple(range(1, inputs.ndim - 1))
        windows = np.lib.stride_tricks.sliding_window_view(inputs[: self.EXAMPLES], self.kernel.shape[:-2], axes)
        patches = np.moveaxis(windows, inputs.ndim - 1, -1).reshape(-1, int(np.prod(self.kernel.shape[:-1])))
        values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
        filters = vectors / np.sqrt(values + self.least)
        self.kernel.assign(np.concatenate([filters, -filters], axis=1).reshape(self.kernel.shape))
