"""Random changes of batches of raw series, drawn from a seed alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kzoo.data.random import fold, uniform
from kzoo.data.timeseries.preprocess import interpolate, own_part
from kzoo.lazy import lazy_import

keras = lazy_import("keras")
tf = lazy_import("tensorflow")


@dataclass(frozen=True)
class SeriesAugment:
    """Noise, other size, other speed, drawn for each series of a batch on its own.

    The changes of Um et al. (2017, https://arxiv.org/abs/1706.00527), with a smooth speed made of three cosines.
    Steps at the end in which all channels are 0 are padding and stay 0.

    Args:
        jitter: standard deviation of noise added to each value, as a share of that channel's own deviation.
        scale: each channel is multiplied by a factor between 1 - scale and 1 + scale; without effect where
            every series is normalised by itself.
        time_warp: the speed varies along the series between 1 - time_warp and 1 + time_warp at most; first and
            last step stay.

    Raises:
        ValueError: for a value out of its range.
    """

    jitter: float = 0.0
    scale: float = 0.0
    time_warp: float = 0.0

    def __post_init__(self):
        ranges = {"jitter": 10, "scale": 1, "time_warp": 1}
        for name, highest in ranges.items():
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 <= value <= highest):
                raise ValueError(f"augment.{name} must lie between 0 and {highest}, got {value!r}")

    def __call__(self, series, seed):
        """Return a changed batch, float32 in the raw range.

        Args:
            series: batch of shape (batch, length, channels).
            seed: integer tensor of shape (2,).
        """
        series = tf.cast(series, tf.float32)
        own, count = own_part(series)
        if self.time_warp:
            series = interpolate(series, self.warped_places(series, count, fold(seed, 1)))
        if self.scale:
            shape = [tf.shape(series)[0], 1, series.shape[-1]]
            series = series * tf.random.stateless_uniform(shape, fold(seed, 2), 1 - self.scale, 1 + self.scale)
        if self.jitter:
            noise = tf.random.stateless_normal(tf.shape(series), fold(seed, 3))
            series = series + self.jitter * deviation(series, own, count) * noise
        return series * own

    def warped_places(self, series, count, seed):
        """Return for each step of the result the place in the series that it is taken from, (batch, length, 1)."""
        last = tf.maximum(count - 1, 1)
        time = tf.minimum(tf.range(tf.shape(series)[1], dtype=tf.float32)[None, :, None] / last, 1)
        waves = range(1, 4)
        speeds = [uniform(tf.shape(series)[0], fold(seed, k))[:, None, None] * self.time_warp / 3 for k in waves]
        shift = [speed * tf.sin(math.pi * k * time) / (math.pi * k) for k, speed in zip(waves, speeds, strict=True)]
        return (time + sum(shift)) * last


def deviation(x, own, count):
    """Return the standard deviation of each channel over the steps that are not padding, (batch, 1, channels)."""
    mean = keras.ops.sum(x * own, axis=1, keepdims=True) / count
    return keras.ops.sqrt(keras.ops.sum(((x - mean) * own) ** 2, axis=1, keepdims=True) / count)
