"""Changes of examples that leave what they show as it is: moved, turned, larger, faster, louder, noisier."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from kzoo.core.lazy import keras, np, tf
from kzoo.core.registry import lookup
from kzoo.data.audio import frontends
from kzoo.data.image.geometry import affine_bilinear
from kzoo.data.splits import Splits
from kzoo.data.text.preprocess import PADDING, UNKNOWN
from kzoo.data.timeseries.preprocess import interpolate, own_part
from kzoo.data.tta import moved


class Change(NamedTuple):
    """One way of changing examples.

    Attributes:
        unit: of the amounts.
        amounts: that are tried.
        apply: `apply(batch, amount, rng)`, from an array to one of the same shape and type.
    """

    unit: str
    amounts: tuple[float, ...]
    apply: Callable


class Changes(NamedTuple):
    """What is done to examples of one kind.

    Attributes:
        unit: of shifts.
        filled: what comes in at the ends.
        axes: of the model's input that shifts move along, counted without the batch.
        shift: `shift(batch, by)`, by whole numbers of units along each of the axes; positive is towards the end.
        others: by name.
        of_input: the changes are made to the model's input; otherwise to raw examples.
        margin: positions of the model's input at each end that a shift changes besides, since frames overlap.
    """

    unit: str
    filled: str
    axes: tuple[int, ...]
    shift: Callable
    others: Mapping[str, Change]
    of_input: bool = False
    margin: int = 0


def changes_of(data: Splits) -> Changes:
    """Return what can be done to the examples of a dataset.

    Images are moved by pixels; waveforms by samples; recordings whose spectra the model sees by the samples between
    two frames, along time alone; series by steps; texts by tokens. What comes in is black (0) in images, which is the
    ground of digits and of clothes, and what comes in in `augment.shift` and `tta.shift`; silence in recordings; the
    nearest step again in series; padding before and after the tokens of a text. What leaves at the other end is lost.

    The others, about the middle of the example:
        rotation: of images, in degrees, positive counter-clockwise; bilinear.
        scale: how many times larger an image is shown; bilinear.
        speed: how many times faster recordings and series are played; linear interpolation.
        amplitude: what the values of recordings and series are multiplied by; without effect where every example is
            normalised by itself.
        noise: normal noise; its deviation is a share of that of the training pixels or steps of the same channel, in
            recordings of the amplitude of each (0.1 is 20 dB below it). In texts, the share of the tokens that are
            replaced by the unknown one.

    Raises:
        ValueError: for a kind of data that has no shifts.
    """
    return lookup("kind of data with shifts", data.modality, KINDS)(data.preprocess)


NOISES = (0.05, 0.1, 0.2, 0.4)
FACTORS = (0.8, 0.9, 1.1, 1.2)
ANGLES = (-15.0, -10.0, -5.0, 5.0, 10.0, 15.0)
SPEEDS = (0.9, 0.95, 1.05, 1.1)
AMPLITUDES = (0.25, 0.5, 2.0, 4.0)


def of_images(step) -> Changes:
    """Return the changes of images; of maps with one axis of positions, without rotation and scale."""
    others = {"noise": Change("of the deviation", NOISES, functools.partial(noisy, step.std))}
    if len(step.image_size) == 2:
        others = {"rotation": Change("degrees", ANGLES, rotated), "scale": Change("times", FACTORS, zoomed)} | others
    return Changes("pixels", "black", tuple(range(len(step.image_size))), shifted, others)


def of_audio(step) -> Changes:
    """Return the changes of recordings."""
    waveform = step.feature == "waveform"
    hop = 1 if waveform else step.front_end.hop_length
    unit = "samples" if waveform else f"frames of {1000 * hop / step.sample_rate:g} ms"
    axis = 1 if not waveform and step.layout == "frequency_time" else 0
    others = {
        "speed": Change("times", SPEEDS, played),
        "amplitude": Change("times", AMPLITUDES, amplified),
        "noise": Change("of the amplitude", NOISES, hissing),
    }
    margin = 0 if waveform else math.ceil(step.front_end.win_length / hop)
    return Changes(unit, "silence", (axis,), lambda waves, by: shifted(waves, [by[0] * hop]), others, margin=margin)


def of_series(step) -> Changes:
    """Return the changes of series; padding at the end of unequal ones gets no noise."""
    others = {
        "speed": Change("times", SPEEDS, stretched),
        "amplitude": Change("times", FACTORS, amplified),
        "noise": Change("of the deviation", NOISES, functools.partial(noisy_steps, step)),
    }
    return Changes("steps", "the nearest step", (0,), functools.partial(shifted, repeat=True), others)


def of_texts(step) -> Changes:
    """Return the changes of token ids."""
    others = {"noise": Change("of the tokens", NOISES, unknown_words)}
    return Changes("tokens", "padding", (0,), shifted, others, of_input=True)


KINDS: dict[str, Callable[..., Changes]] = {
    "image": of_images,
    "audio": of_audio,
    "timeseries": of_series,
    "text": of_texts,
}


def shifted(batch: np.ndarray, by, repeat: bool = False) -> np.ndarray:
    """Move each example by whole positions along its first axes; 0 comes in, or the nearest value again."""
    for axis, amount in enumerate(by, start=1):
        batch = moved(batch, amount, axis, repeat=repeat) if amount else batch
    return np.asarray(batch)


def rotated(images: np.ndarray, degrees: float, rng) -> np.ndarray:
    """Turn images counter-clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return transformed(images, [cos, -sin, sin, cos])


def zoomed(images: np.ndarray, factor: float, rng) -> np.ndarray:
    """Show images larger, or smaller with black around them."""
    return transformed(images, [1 / factor, 0.0, 0.0, 1 / factor])


def transformed(images: np.ndarray, matrix: list[float]) -> np.ndarray:
    """Take each pixel from where a matrix about the middle says, rows of (x, y) one after the other."""
    zeros = tf.zeros(len(images))
    numbers = tf.tile(tf.constant([matrix]), (len(images), 1))
    return in_type(affine_bilinear(tf.cast(images, tf.float32), numbers, zeros, zeros), images.dtype)


def noisy(deviations, batch: np.ndarray, share: float, rng) -> np.ndarray:
    """Add normal noise, whose deviation is a share of the channel's."""
    return in_type(batch + share * np.asarray(deviations) * rng.standard_normal(batch.shape), batch.dtype)


def noisy_steps(step, series: np.ndarray, share: float, rng) -> np.ndarray:
    """Do as `noisy`, but for padding."""
    own = keras.ops.convert_to_numpy(own_part(series)[0]) if step.unequal == "pad" else 1.0
    return in_type(series + (noisy(step.std, series, share, rng) - series) * own, series.dtype)


def amplified(batch: np.ndarray, factor: float, rng) -> np.ndarray:
    """Multiply all values; what 16 bits cannot hold is clipped."""
    return in_type(batch * np.float32(factor), batch.dtype)


def played(waves: np.ndarray, speed: float, rng) -> np.ndarray:
    """Play waveforms faster, and higher; silence comes in."""
    numbers = np.full(len(waves), speed, "float32")
    return in_type(frontends.move_in_time(waves.astype("float32"), 0 * numbers, numbers), waves.dtype)


def hissing(waves: np.ndarray, share: float, rng) -> np.ndarray:
    """Add white noise, whose amplitude is a share of the recording's."""
    noise = rng.standard_normal(waves.shape).astype("float32")
    return in_type(
        frontends.add_noise(waves.astype("float32"), noise, np.full(len(waves), share, "float32")), waves.dtype
    )


def stretched(series: np.ndarray, speed: float, rng) -> np.ndarray:
    """Play series faster; the first and the last step are repeated."""
    middle = (series.shape[1] - 1) / 2
    places = middle + (np.arange(series.shape[1]) - middle) * speed
    places = np.broadcast_to(places.astype("float32")[None, :, None], (len(series), len(places), 1))
    return in_type(interpolate(series.astype("float32"), places), series.dtype)


def unknown_words(ids: np.ndarray, share: float, rng) -> np.ndarray:
    """Replace tokens by the unknown one."""
    chosen = (rng.random(ids.shape) < share) & (ids != PADDING)
    return np.where(chosen, np.asarray(UNKNOWN, ids.dtype), ids)


def in_type(values, dtype) -> np.ndarray:
    """Return numbers in the type of raw examples, rounded and clipped where that holds whole numbers."""
    values = np.asarray(keras.ops.convert_to_numpy(values))
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.clip(np.round(values), limits.min, limits.max)
    return values.astype(dtype)
