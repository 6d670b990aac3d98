"""Time series data augmentation: jitter, scaling, warping, permutation, slicing and masking."""

import math
from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.lazy import tf
from kzoo.data.mixing import Mixing
from kzoo.data.pipeline import computed
from kzoo.data.random import check_ranges, fold, signed_uniform, uniform
from kzoo.data.timeseries.preprocess import interpolate, own_part


@dataclass(frozen=True)
class SeriesAugment(Mixing):
    """Jitter, scaling, time and magnitude warping, permutation, slicing and masking per series; mixup and cutmix.

    The augmentations of Um et al. (2017, https://arxiv.org/abs/1706.00527) and Le Guennec et al. (2016) that Iwana and
    Uchida (2021, https://arxiv.org/abs/2007.15951) compare, with smooth curves made of three cosines. Steps at the end
    in which all channels are 0 are padding and stay 0; mixup and cutmix treat them like any others. All changes of
    time are one linear interpolation.

    Args:
        jitter: standard deviation of noise added to each value, relative to that of the channel.
        scale: each channel is multiplied by a factor between 1 - scale and 1 + scale; without effect where
            every series is normalised by itself.
        time_warp: the speed varies along the series between 1 - time_warp and 1 + time_warp at most; first and
            last step stay.
        magnitude_warp: each channel is multiplied by a factor that varies along the series between
            1 - magnitude_warp and 1 + magnitude_warp at most.
        flip: each channel is multiplied by -1 with probability 0.5.
        permutation: largest number of segments of equal length, which are permuted; below 2 for none.
        window_slice: largest fraction that is cut off at both ends together; the rest is stretched.
        window_warp: fraction of the series, at a random position, that runs at half or double speed with equal
            probability; the result is stretched to the same length.
        mask: largest fraction, in one span, that is set to each channel's mean.

    Raises:
        ValueError: for a value out of its range.
    """

    jitter: float = 0.0
    scale: float = 0.0
    time_warp: float = 0.0
    magnitude_warp: float = 0.0
    flip: bool = False
    permutation: int = 0
    window_slice: float = 0.0
    window_warp: float = 0.0
    mask: float = 0.0
    in_place: ClassVar[tuple[str, ...]] = ("jitter", "scale", "magnitude_warp", "flip", "mask")

    def __post_init__(self):
        super().__post_init__()
        ranges = {"jitter": 10, "scale": 1, "time_warp": 1, "magnitude_warp": 1, "permutation": 1000}
        check_ranges(self, ranges | {"window_slice": 0.99, "window_warp": 0.99, "mask": 1})

    def __call__(self, series, seed):
        """Return an augmented batch, float32 in the raw range.

        Args:
            series: batch of shape (batch, length, channels).
            seed: integer tensor of shape (2,).
        """
        series = tf.cast(series, tf.float32)
        own = computed(lambda x: own_part(x)[0], (*series.shape[:2], 1), series)
        count = computed(lambda x: own_part(x)[1], (series.shape[0], 1, 1), series)
        if self.time_warp or self.permutation > 1 or self.window_slice or self.window_warp:
            positions = self.positions(tf.shape(series)[1], count, seed)
            series = computed(interpolate, series.shape, series, positions)
        if self.scale or self.magnitude_warp or self.flip:
            series = series * self.factors(tf.shape(series), count, seed)
        if self.jitter:
            noise = tf.random.stateless_normal(tf.shape(series), fold(seed, 3))
            series = series + self.jitter * standard_deviation(series, own, count) * noise
        if self.mask:
            series = self.masked(series, own, count, fold(seed, 9))
        return series * own

    def positions(self, length, count, seed):
        """Return the fractional step of the series at which each step of the result is sampled, (batch, length, 1).

        Args:
            length: steps of a series with its padding.
            count: steps of each series without it, (batch, 1, 1).
            seed: integer tensor of shape (2,).
        """
        last = tf.maximum(count - 1, 1)
        time = own_time(length, count)
        if self.time_warp:
            time = time + self.time_warp * waves(time, tf.shape(count)[0], fold(seed, 1), integral=True)
        if self.window_warp:
            time = play_window(time, self.window_warp, fold(seed, 6))
        if self.window_slice:
            kept = each(1 - self.window_slice * uniform(tf.shape(count)[0], fold(seed, 4)))
            time = time * kept + (1 - kept) * each(uniform(tf.shape(count)[0], fold(seed, 5)))
        positions = time * last
        if self.permutation > 1:
            positions = permute(positions, count, int(self.permutation), fold(seed, 7))
        return tf.minimum(positions, last)

    def factors(self, shape, count, seed):
        """Return what each value is multiplied by, (batch, length or 1, channels)."""
        factor = tf.random.stateless_uniform([shape[0], 1, shape[2]], fold(seed, 2), 1 - self.scale, 1 + self.scale)
        if self.flip:
            factor *= tf.sign(tf.random.stateless_uniform([shape[0], 1, shape[2]], fold(seed, 8), -1.0, 1.0))
        if self.magnitude_warp:
            curve = waves(own_time(shape[1], count), [shape[0], shape[2]], fold(seed, 10))
            factor *= 1 + self.magnitude_warp * curve
        return factor

    def masked(self, series, own, count, seed):
        """Set a span of each series to the mean of each channel."""
        batch = tf.shape(series)[0]
        hidden = each(uniform(batch, fold(seed, 1))) * self.mask
        time = (step_numbers(tf.shape(series)[1]) + 0.5) / count
        start = each(uniform(batch, fold(seed, 2))) * (1 - hidden)
        return tf.where((time >= start) & (time < start + hidden), mean(series, own, count), series)


def each(numbers):
    """Return numbers (batch,) in a shape that broadcasts to series."""
    return numbers[:, None, None]


def step_numbers(length):
    """Return 0, 1, 2, ... as (1, length, 1)."""
    return tf.range(length, dtype=tf.float32)[None, :, None]


def own_time(length, count):
    """Return the time of each step as a fraction of its series: 0 at the first, 1 at the last step and in padding."""
    return tf.minimum(step_numbers(length) / tf.maximum(count - 1, 1), 1)


def waves(time, shape, seed, integral: bool = False):
    """Return a smooth random curve between -1 and 1, or its integral from 0, which is 0 at time 1 as well.

    Args:
        time: 0 to 1, (batch, length, 1).
        shape: batch, or [batch, channels] for a curve for each channel.
        seed: integer tensor of shape (2,).
        integral: of the curve.
    """
    shape = tf.reshape(shape, [-1])
    shape = tf.concat([shape[:1], [1], shape[1:] if shape.shape[0] == 2 else [1]], axis=0)
    heights = [tf.random.stateless_uniform(shape, fold(seed, k), -1.0, 1.0) / 3 for k in range(1, 4)]
    if integral:
        curves = [tf.sin(math.pi * k * time) / (math.pi * k) for k in range(1, 4)]
    else:
        curves = [tf.cos(math.pi * k * time) for k in range(1, 4)]
    return sum(height * curve for height, curve in zip(heights, curves, strict=True))


def play_window(time, window: float, seed):
    """Return times of which a window passes at half or double speed, the rest so that first and last stay.

    Args:
        time: 0 to 1, (batch, length, 1).
        window: fraction of the series, below 1.
        seed: integer tensor of shape (2,).
    """
    batch = tf.shape(time)[0]
    start = each(uniform(batch, fold(seed, 1))) * (1 - window)
    speed = each(tf.where(signed_uniform(batch, fold(seed, 2)) < 0, 0.5, 2.0))
    passed = time * (1 + window * (1 / speed - 1))  # the new series is this much as long
    inside = tf.clip_by_value(passed - start, 0, window / speed)
    return passed + inside * (speed - 1)


def permute(positions, count, pieces: int, seed):
    """Return positions after equal segments of each series are permuted.

    Args:
        positions: between 0 and count - 1, (batch, length, 1).
        count: steps of each series, (batch, 1, 1).
        pieces: largest number of segments.
        seed: integer tensor of shape (2,).
    """
    batch = tf.shape(count)[0]
    number = tf.floor(uniform(batch, fold(seed, 1)) * pieces) + 1
    keys = tf.random.stateless_uniform([batch, pieces], fold(seed, 2))
    used = tf.range(pieces, dtype=tf.float32)[None] < number[:, None]
    order = tf.argsort(tf.where(used, keys, 2.0), axis=1, stable=True)
    length = count / each(number)
    piece = tf.minimum(tf.floor(positions / length), each(number) - 1)
    source = tf.gather(order, tf.cast(piece[..., 0], tf.int32), batch_dims=1)
    return positions + (tf.cast(source, tf.float32)[..., None] - piece) * length


def mean(x, own, count):
    """Return the mean of each channel over the steps that are not padding, (batch, 1, channels)."""
    return tf.reduce_sum(x * own, axis=1, keepdims=True) / count


def standard_deviation(x, own, count):
    """Return the standard deviation of each channel over the steps that are not padding, (batch, 1, channels)."""
    return tf.sqrt(tf.reduce_sum(((x - mean(x, own, count)) * own) ** 2, axis=1, keepdims=True) / count)
