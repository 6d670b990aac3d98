"""MultiRocket features: four statistics of fixed, dilated convolutions of a series and of its differences."""

import keras
import numpy as np

from kzoo.nn.handcrafted.layer import Adaptable, FixedFeatures
from kzoo.nn.handcrafted.minirocket import KERNELS, TAPS, MiniRocketFeatures, by_border

STATISTICS = 4


@keras.saving.register_keras_serializable("kzoo")
class DifferenceFeatures(MiniRocketFeatures):
    """MiniRocket's kernels on the differences of a series, with the taps that aeon's MultiRocket has.

    There, the four taps before the middle are one step nearer to it than the dilation says; thresholds are those of
    taps at equal distances.
    """

    def measured(self, x, index: int):
        before = np.where(np.arange(TAPS) < TAPS // 2, 1, 0)
        later = keras.ops.pad(x, ((0, 0), (0, 1), (0, 0)))
        return self.responses(later, index, before)[:, 1:] + self.responses(x, index, 1 - before)


@keras.saving.register_keras_serializable("kzoo")
class MultiRocketFeatures(Adaptable, FixedFeatures):
    """Four statistics of MiniRocket's kernels above each of many thresholds, on a series and on its differences.

    Maps series (batch, length, channels) to (batch, 2 * 4 * features): of the series, then of its differences, the
    proportion of positive values (PPV), the longest stretch of positive values (LSPV) and their mean (MPV), both in
    steps and units of the input, and the mean of their indices (MIPV), -1 without one. A value is positive above the
    threshold; to the mean the threshold is added, not subtracted, as in aeon. `adapt` sets the thresholds.

    Args:
        features: number of thresholds of each of both; rounded down to a multiple of 84.
        max_dilations: maximal number of dilations.
        seed: of the random subset of channels that a kernel uses, if there are several.

    Raises:
        ValueError: for fewer than 84 features or 1 dilation.
    """

    ARGUMENTS = ("features", "max_dilations", "seed")

    def __init__(self, features: int = 6_250, max_dilations: int = 32, seed: int = 0, **options):
        super().__init__(**options)
        self.features, self.max_dilations, self.seed = features, max_dilations, seed
        self.series = MiniRocketFeatures(features, max_dilations, seed, name="series")
        self.differences = DifferenceFeatures(features, max_dilations, seed + 1, name="differences")

    def build(self, input_shape):
        self.series.build(input_shape)
        self.differences.build(after_differences(input_shape))

    def macs(self, input_shape: tuple[int, ...]) -> int:
        """Return the multiply-accumulates of the fixed kernels."""
        return self.series.macs(input_shape) + self.differences.macs((input_shape[0] - 1, *input_shape[1:]))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 2 * STATISTICS * (self.features // len(KERNELS) * len(KERNELS)))

    def call(self, x):
        found = []
        for layer, inputs in ((self.series, x), (self.differences, differences(x))):
            parts = keras.ops.concatenate(list(layer.pooled(inputs, statistics)), axis=-1)  # (4, batch, features)
            found += [parts[number] for number in range(STATISTICS)]
        return keras.ops.concatenate(found, axis=-1)

    def adapt(self, series: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> None:
        """Set the thresholds to quantiles of the outputs of each kernel on a randomly chosen training series.

        Args:
            series: training inputs of this layer, (n, length, channels).
            labels: not used.
            seed: of the choice.
        """
        self.series.adapt(series, labels, seed)
        self.differences.adapt(np.diff(series, axis=1), labels, seed + 1)


def after_differences(shape: tuple) -> tuple:
    """Return the shape of the differences of series of a shape (batch, length, channels)."""
    batch, length, channels = shape
    return (batch, length - 1, channels)


def differences(x):
    """Return the differences of successive steps, (batch, length - 1, channels)."""
    return x[:, 1:] - x[:, :-1]


def statistics(responses, thresholds, border: int, shift: int):
    """Return the four statistics above each threshold, (4, batch, 84 * count); see `by_border` for the arguments."""
    return by_border(four_statistics, responses, thresholds, border, shift)


def four_statistics(responses, threshold):
    """Return PPV, LSPV, MPV and MIPV over time, (4, batch, 84), of responses (batch, length, 84)."""
    ops, steps = keras.ops, np.arange(responses.shape[1])[:, None]
    above = ops.cast(responses > threshold, "float32")
    count = ops.sum(above, axis=1)
    some = ops.maximum(count, 1.0)
    indices = ops.where(count > 0, ops.sum(above * steps.astype("float32"), axis=1) / some, -1.0)
    means = ops.sum(above * (responses + threshold), axis=1) / some
    return ops.stack([count / len(steps), longest_stretch(responses < threshold), means, indices])


def longest_stretch(negative):
    """Return the most steps from one negative value to the next, or to an end of the series, (batch, kernels).

    Args:
        negative: whether each value is negative, (batch, length, kernels).
    """
    ops, length = keras.ops, negative.shape[1]
    places = ops.sort(ops.where(negative, np.arange(length, dtype="float32")[:, None], 0.0), axis=1)
    ends = ops.concatenate([places[:, 1:], ops.full_like(places[:, :1], length - 1)], axis=1)
    return ops.max(ends - places, axis=1)
