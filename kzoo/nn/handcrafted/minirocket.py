"""MiniRocket features: proportion of positive values (PPV) of fixed, dilated convolutions."""

import itertools
import math

import keras
import numpy as np

from kzoo.nn.handcrafted.layer import Adaptable, FixedFeatures

TAPS = 9
KERNELS = np.array(
    [[2 if tap in twos else -1 for tap in range(TAPS)] for twos in itertools.combinations(range(TAPS), 3)]
)
GOLDEN_RATIO = (1 + 5**0.5) / 2


def dilations(length: int, features: int, most: int) -> list[tuple[int, int]]:
    """Return each dilation of MiniRocket with the number of features of every kernel at it.

    Dilations are spaced evenly on a logarithmic scale from 1 to the one at which a kernel spans the series.

    Args:
        length: steps of the series, at least 9.
        features: of all kernels together; rounded down to a multiple of 84.
        most: number of points on the scale, at most.
    """
    each = features // len(KERNELS)
    points = min(each, most)
    scale = np.logspace(0, np.log2((length - 1) / (TAPS - 1)), points, base=2).astype(int)
    steps, times = np.unique(scale, return_counts=True)
    counts = (times * (each / points)).astype(int)
    for extra in range(each - counts.sum()):
        counts[extra % len(counts)] += 1
    return list(zip(steps.tolist(), counts.tolist(), strict=True))


@keras.saving.register_keras_serializable("kzoo")
class MiniRocketFeatures(Adaptable, FixedFeatures):
    """Proportion of positive values (PPV) of 84 fixed kernels at many dilations, above each of many thresholds.

    Maps series (batch, length, channels) to proportions in [0, 1], (batch, features). A kernel has six weights of -1
    and three of 2 in each of its channels. Half of the kernels use zero padding, the other half only valid positions.
    The thresholds (negative biases) are not trainable; `adapt` sets them.

    Args:
        features: number of features; rounded down to a multiple of 84.
        max_dilations: maximal number of dilations.
        seed: of the random subset of 1 to 9 channels that a kernel uses at a dilation, if there are several.

    Raises:
        ValueError: for fewer than 84 features or 1 dilation.
    """

    ARGUMENTS = ("features", "max_dilations", "seed")

    def __init__(self, features: int = 10_000, max_dilations: int = 32, seed: int = 0, **options):
        if features < len(KERNELS) or max_dilations < 1:
            raise ValueError(
                f"MiniRocket needs {len(KERNELS)} features and 1 dilation at least, got {features} and {max_dilations}"
            )
        super().__init__(**options)
        self.features, self.max_dilations, self.seed = features, max_dilations, seed

    def build(self, input_shape):
        self.dilations = dilations(input_shape[1], self.features, self.max_dilations)
        count = sum(count for _, count in self.dilations) * len(KERNELS)
        shape = (len(self.dilations), input_shape[2], len(KERNELS))
        self.thresholds = self.add_weight(shape=(count,), trainable=False, name="thresholds")
        self.channels = self.add_weight(shape=shape, initializer="ones", trainable=False, name="channels")
        if input_shape[2] > 1:
            self.channels.assign(self.random_channels(shape))

    def macs(self, input_shape: tuple[int, ...]) -> int:
        """Return the multiply-accumulates of the fixed kernels: a convolution of 9 taps for each dilation."""
        return input_shape[0] * TAPS * math.prod(self.channels.shape)

    def random_channels(self, shape: tuple[int, int, int]) -> np.ndarray:
        """Return the channels that each kernel uses at each dilation, as 0 and 1: few more often than many."""
        rng, used = np.random.default_rng(self.seed), np.zeros(shape)
        for index, kernel in np.ndindex(shape[0], shape[2]):
            number = int(2 ** rng.uniform(0, np.log2(min(shape[1], 9) + 1)))
            used[index, rng.choice(shape[1], number, replace=False), kernel] = 1
        return used

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.features // len(KERNELS) * len(KERNELS))

    def responses(self, x, index: int, taps=1):
        """Return the outputs of the kernels at one dilation, (batch, length, 84), weighted by factors of their taps."""
        kernels = (KERNELS * taps).T[:, None, :].astype("float32")
        weights = keras.ops.multiply(kernels, self.channels[index])
        dilation = self.dilations[index][0]
        return keras.ops.conv(x, weights, padding="same", dilation_rate=dilation, data_format="channels_last")

    def measured(self, x, index: int):
        """Return the outputs that are compared with the thresholds, likewise."""
        return self.responses(x, index)

    def call(self, x):
        return keras.ops.concatenate(list(self.pooled(x, proportions_above)), axis=-1)

    def pooled(self, x, pooling):
        """Yield for each dilation what a function like `proportions_above` gives."""
        start = 0
        for index, (dilation, count) in enumerate(self.dilations):
            size = len(KERNELS) * count
            thresholds = keras.ops.reshape(self.thresholds[start : start + size], (len(KERNELS), count))
            yield pooling(self.measured(x, index), thresholds, 4 * dilation, index % 2)
            start += size

    def adapt(self, series: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> None:
        """Set the thresholds to quantiles of the outputs of each kernel on a randomly chosen training series.

        Args:
            series: training inputs of this layer, (n, length, channels).
            labels: not used.
            seed: of the choice.
        """
        rng, parts = np.random.default_rng(seed), []
        for index, (_, count) in enumerate(self.dilations):
            chosen = series[rng.integers(len(series), size=len(KERNELS))].astype("float32")
            outputs = keras.ops.convert_to_numpy(self.responses(chosen, index))
            first = sum(part.size for part in parts) + 1
            levels = (np.arange(first, first + count * len(KERNELS)) * GOLDEN_RATIO % 1).reshape(-1, count)
            parts.append(np.stack([np.quantile(outputs[k, :, k], levels[k]) for k in range(len(KERNELS))]))
        self.thresholds.assign(np.concatenate([part.ravel() for part in parts]))


def proportions_above(responses, thresholds, border: int, shift: int):
    """Return the proportion of steps above each threshold, (batch, 84 * count); see `by_border` for the arguments."""
    return by_border(proportion, responses, thresholds, border, shift)


def proportion(responses, threshold):
    """Return the proportion of steps above a threshold, (batch, 84)."""
    return keras.ops.mean(keras.ops.cast(responses > threshold, "float32"), axis=1)


def by_border(statistic, responses, thresholds, border: int, shift: int):
    """Return a statistic of responses over time above each threshold; every second kernel skips the border.

    Args:
        statistic: function of responses (batch, length, 84) and a threshold for each kernel, (84,), that returns
            (..., 84).
        responses: (batch, length, 84).
        thresholds: (84, count).
        border: steps at either end that every second kernel skips.
        shift: 0 if the first kernel uses all steps, 1 if it skips the border.

    Returns:
        (..., 84 * count).
    """
    inner = responses[:, border : responses.shape[1] - border]
    whole = (np.arange(len(KERNELS)) + shift) % 2 == 0
    columns = []
    for number in range(thresholds.shape[1]):
        found = [statistic(outputs, thresholds[:, number]) for outputs in (responses, inner)]
        columns.append(keras.ops.where(whole, *found))
    stacked = keras.ops.stack(columns, axis=-1)
    return keras.ops.reshape(stacked, (*stacked.shape[:-3], -1, len(KERNELS) * thresholds.shape[1]))
