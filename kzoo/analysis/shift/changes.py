"""Label-preserving transformations of examples: shift, rotation, scaling, speed, amplitude, noise."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from kzoo.core.lazy import keras, np, tf
from kzoo.core.registry import lookup
from kzoo.data.audio import frontends
from kzoo.data.image.affine import affine_bilinear
from kzoo.data.splits import Splits
from kzoo.data.text.preprocess import PADDING, UNKNOWN
from kzoo.data.timeseries.preprocess import interpolate, own_part
from kzoo.data.tta import moved


class Change(NamedTuple):
    """One transformation of examples.

    Attributes:
        unit: of the amounts.
        amounts: that are applied.
        apply: `apply(batch, amount, rng)`, from an array to one of the same shape and type.
    """

    unit: str
    amounts: tuple[float, ...]
    apply: Callable


class Changes(NamedTuple):
    """The transformations of one kind of data.

    Attributes:
        unit: of shifts.
        filled: what fills the border.
        axes: of the model's input that are shifted, counted without the batch.
        shift: `shift(batch, by)`, by whole units along each of the axes; positive is towards the end.
        others: other transformations, by name.
        of_input: the transformations apply to the model's input; otherwise to raw examples.
        margin: further positions of the model's input at each end that a shift affects, since frames overlap.
    """

    unit: str
    filled: str
    axes: tuple[int, ...]
    shift: Callable
    others: Mapping[str, Change]
    of_input: bool = False
    margin: int = 0


def changes_of(data: Splits) -> Changes:
    """Return the transformations of the examples of a dataset.

    Images are shifted by pixels; waveforms by samples; recordings with a spectral front-end by the hop length, along
    time only; series by steps; texts by tokens. The border is filled with black (0) in images, as `augment.shift` and
    `tta.shift` do; with silence in recordings; by repeating the nearest step in series; with padding in texts. What
    leaves at the other end is lost.

    The others, about the centre of the example:
        rotation: of images, in degrees, positive counter-clockwise; bilinear.
        scale: magnification factor of images; bilinear.
        speed: speed factor of recordings and series; linear interpolation.
        amplitude: factor of the values of recordings and series; without effect where each example is normalised by
            itself.
        noise: Gaussian noise; its standard deviation is a fraction of that of the training pixels or steps of the same
            channel, in recordings of the root mean square of each (0.1 is a signal-to-noise ratio of 20 dB). In texts,
            the fraction of tokens that are replaced by the unknown one.

    Raises:
        ValueError: for a kind of data without shifts.
    """
    return lookup("kind of data with shifts", data.modality, KINDS)(data.preprocess)


NOISES = (0.05, 0.1, 0.2, 0.4)
FACTORS = (0.8, 0.9, 1.1, 1.2)
ANGLES = (-15.0, -10.0, -5.0, 5.0, 10.0, 15.0)
SPEEDS = (0.9, 0.95, 1.05, 1.1)
AMPLITUDES = (0.25, 0.5, 2.0, 4.0)


def of_images(step) -> Changes:
    """Return the transformations of images; with a single spatial axis, without rotation and scaling."""
    others = {"noise": Change("standard deviations", NOISES, functools.partial(with_noise, step.std))}
    if len(step.image_size) == 2:
        others = {"rotation": Change("degrees", ANGLES, rotated), "scale": Change("times", FACTORS, scaled)} | others
    return Changes("pixels", "black", tuple(range(len(step.image_size))), shifted, others)


def of_audio(step) -> Changes:
    """Return the transformations of recordings."""
    waveform = step.feature == "waveform"
    hop = 1 if waveform else step.front_end.hop_length
    unit = "samples" if waveform else f"frames of {1000 * hop / step.sample_rate:g} ms"
    axis = 1 if not waveform and step.layout == "frequency_time" else 0
    others = {
        "speed": Change("times", SPEEDS, waves_at_speed),
        "amplitude": Change("times", AMPLITUDES, amplified),
        "noise": Change("of the amplitude", NOISES, with_white_noise),
    }
    margin = 0 if waveform else math.ceil(step.front_end.win_length / hop)
    return Changes(unit, "silence", (axis,), lambda waves, by: shifted(waves, [by[0] * hop]), others, margin=margin)


def of_series(step) -> Changes:
    """Return the transformations of series; padding gets no noise."""
    others = {
        "speed": Change("times", SPEEDS, series_at_speed),
        "amplitude": Change("times", FACTORS, amplified),
        "noise": Change("standard deviations", NOISES, functools.partial(with_step_noise, step)),
    }
    return Changes("steps", "the nearest step", (0,), functools.partial(shifted, repeat=True), others)


def of_texts(step) -> Changes:
    """Return the transformations of token ids."""
    others = {"noise": Change("of the tokens", NOISES, with_unknown_tokens)}
    return Changes("tokens", "padding", (0,), shifted, others, of_input=True)


KINDS: dict[str, Callable[..., Changes]] = {
    "image": of_images,
    "audio": of_audio,
    "timeseries": of_series,
    "text": of_texts,
}


def shifted(batch: np.ndarray, by, repeat: bool = False) -> np.ndarray:
    """Shift each example by whole positions along its first axes; fill with 0, or repeat the nearest value."""
    for axis, amount in enumerate(by, start=1):
        batch = moved(batch, amount, axis, repeat=repeat) if amount else batch
    return np.asarray(batch)


def rotated(images: np.ndarray, degrees: float, rng) -> np.ndarray:
    """Rotate images counter-clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return transformed(images, [cos, -sin, sin, cos])


def scaled(images: np.ndarray, factor: float, rng) -> np.ndarray:
    """Scale images about their centre, with a black border where they become smaller."""
    return transformed(images, [1 / factor, 0.0, 0.0, 1 / factor])


def transformed(images: np.ndarray, matrix: list[float]) -> np.ndarray:
    """Apply a 2 x 2 matrix, given row by row, to the pixel coordinates (x, y) about the centre."""
    zeros = tf.zeros(len(images))
    numbers = tf.tile(tf.constant([matrix]), (len(images), 1))
    return in_type(affine_bilinear(tf.cast(images, tf.float32), numbers, zeros, zeros), images.dtype)


def with_noise(std, batch: np.ndarray, fraction: float, rng) -> np.ndarray:
    """Add Gaussian noise, whose standard deviation is a fraction of the channel's."""
    return in_type(batch + fraction * np.asarray(std) * rng.standard_normal(batch.shape), batch.dtype)


def with_step_noise(step, series: np.ndarray, fraction: float, rng) -> np.ndarray:
    """Add Gaussian noise as `with_noise` does, except to padding."""
    own = keras.ops.convert_to_numpy(own_part(series)[0]) if step.unequal == "pad" else 1.0
    return in_type(series + (with_noise(step.std, series, fraction, rng) - series) * own, series.dtype)


def amplified(batch: np.ndarray, factor: float, rng) -> np.ndarray:
    """Multiply all values; integers are clipped to their range."""
    return in_type(batch * np.float32(factor), batch.dtype)


def waves_at_speed(waves: np.ndarray, speed: float, rng) -> np.ndarray:
    """Change speed and pitch of waveforms; the border is silent."""
    numbers = np.full(len(waves), speed, "float32")
    return in_type(frontends.move_in_time(waves.astype("float32"), 0 * numbers, numbers), waves.dtype)


def with_white_noise(waves: np.ndarray, fraction: float, rng) -> np.ndarray:
    """Add white noise, whose root mean square is a fraction of the recording's."""
    noise = rng.standard_normal(waves.shape).astype("float32")
    return in_type(
        frontends.add_noise(waves.astype("float32"), noise, np.full(len(waves), fraction, "float32")), waves.dtype
    )


def series_at_speed(series: np.ndarray, speed: float, rng) -> np.ndarray:
    """Change the speed of series; the first and the last step are repeated."""
    middle = (series.shape[1] - 1) / 2
    times = middle + (np.arange(series.shape[1]) - middle) * speed
    times = np.broadcast_to(times.astype("float32")[None, :, None], (len(series), len(times), 1))
    return in_type(interpolate(series.astype("float32"), times), series.dtype)


def with_unknown_tokens(ids: np.ndarray, fraction: float, rng) -> np.ndarray:
    """Replace tokens by the unknown one."""
    chosen = (rng.random(ids.shape) < fraction) & (ids != PADDING)
    return np.where(chosen, np.asarray(UNKNOWN, ids.dtype), ids)


def in_type(values, dtype) -> np.ndarray:
    """Return numbers in the type of raw examples, rounded and clipped if that is an integer type."""
    values = np.asarray(keras.ops.convert_to_numpy(values))
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.clip(np.round(values), limits.min, limits.max)
    return values.astype(dtype)
