"""Time series preprocessing: one length, and normalisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.arguments import checked
from kzoo.core.files import user_path
from kzoo.core.lazy import keras, np
from kzoo.data.folders import warn_of_changes
from kzoo.data.sources import sampled
from kzoo.data.splits import Examples
from kzoo.data.timeseries.files import SUFFIXES, at_length, check_choice, read_one
from kzoo.data.windows import Windows

NORMALISE = ("set", "example", "none")


@dataclass(frozen=True)
class SeriesPreprocess:
    """From raw series to the model's input: one length, normalised by mean and standard deviation.

    Every channel is normalised separately. With `unequal` "pad", steps at the end in which all channels are 0 are
    padding: they are excluded from the statistics and stay 0.

    Args:
        length: steps of the model's input.
        mean: of each channel over the training split, in raw units.
        std: standard deviation of each channel, likewise.
        normalise: "set" (by `mean` and `std`), "example" (each series by its own; z-normalisation) or "none".
        unequal: how a series of another length is treated: "resample" (linear interpolation), "pad" (zeros at the
            end, or truncated) or None (an error).
        mask: append a channel that is 1 on the series' own steps and 0 on padding.
    """

    length: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalise: str = "set"
    unequal: str | None = None
    mask: bool = False
    raw_dtype: str = "float32"

    suffixes = (*SUFFIXES, ".npy")

    @classmethod
    @checked
    def fit(cls, train: Examples, *, normalise: str = "set", mask: bool = False) -> SeriesPreprocess:
        """Take length and statistics from the raw training series, shape (n, length, channels).

        Raises:
            ValueError: for an unknown `normalise`.
        """
        check_choice("normalise", normalise, NORMALISE)
        unequal = getattr(train, "unequal", None)
        series = sampled(train.inputs)
        own = own_steps(series) if unequal == "pad" else np.ones(series.shape[:2], bool)
        steps = series[own].astype("float64")
        std = steps.std(axis=0)
        std = np.where(std > 0, std, 1.0)
        return cls(
            train.inputs.shape[1], tuple(steps.mean(axis=0).tolist()), tuple(std.tolist()), normalise, unequal, mask
        )

    @property
    def channels(self) -> int:
        """Channels of a raw series."""
        return len(self.mean)

    @property
    def input_shape(self) -> tuple[int, int]:
        """Shape of the model's input."""
        return (self.length, self.channels + self.mask)

    @property
    def raw_shape(self) -> tuple[int | None, int]:
        """Shape of one raw series; None where any length is accepted."""
        return (None if self.unequal else self.length, self.channels)

    @property
    def loader_options(self) -> dict:
        """Options with which a dataset's loader gives raw examples like those of the training."""
        return {"unequal": self.unequal, "length": self.length} if self.unequal else {}

    def __call__(self, raw):
        """Prepare a batch of raw series; a tensor of a data pipeline, an array, or a symbolic Keras tensor."""
        x = keras.ops.cast(raw, "float32")
        own = keras.ops.ones_like(x[..., :1])
        if self.unequal == "pad":
            x, own = pad(x, self.length)
        elif self.unequal == "resample":
            x = resample(x, self.length)
            own = keras.ops.ones_like(x[..., :1])
        x = self.normalised(x, own)
        return keras.ops.concatenate([x, own], axis=-1) if self.mask else x

    def normalised(self, x, own):
        """Return normalised series (batch, length, channels); padding, where `own` is 0, stays 0."""
        if self.normalise == "none":
            return x
        if self.normalise == "set":
            mean = np.asarray(self.mean, "float32")
            std = np.asarray(self.std, "float32")
            return (x - mean) / std * own
        count = keras.ops.sum(own, axis=1, keepdims=True)
        centred = (x - keras.ops.sum(x, axis=1, keepdims=True) / count) * own
        std = keras.ops.sqrt(keras.ops.sum(centred * centred, axis=1, keepdims=True) / count)
        size = keras.ops.max(keras.ops.abs(x), axis=1, keepdims=True)
        flat = std <= 1e-6 * size + 1e-30  # a channel that is constant but for rounding
        return keras.ops.where(flat, keras.ops.zeros_like(centred), centred / keras.ops.where(flat, 1.0, std))

    def read(self, path: str | Path) -> np.ndarray:
        """Read a file with one series, (length, channels): .ts, .npy, or a table of one row per step.

        A .csv, .tsv or .txt file has one column per channel and may begin with a line of names; where the model
        takes one channel, all values may also stand in one row.

        Raises:
            ValueError: if it is missing or damaged, contains NaN or several series, or does not have the model's
                channels, or is shorter than the model's length if only that one is accepted.
        """
        series, changes = self.read_with_changes(path)
        warn_of_changes((str(path), what) for what in changes)
        return series

    def read_with_changes(self, path: str | Path) -> tuple[np.ndarray, list[str]]:
        """Read one series as `read` does; return what will be changed in place of a warning."""
        series = read_one(user_path(path), self.channels)
        if series.shape[1] != self.channels:
            raise ValueError(f"{path} has {series.shape[1]} channels; this model takes {self.channels}")
        if len(series) < self.length and not self.unequal:
            raise ValueError(
                f"{path} has {len(series)} steps; this model takes {self.length}. One trained with "
                "unequal='resample' or 'pad' takes any number"
            )
        if self.unequal == "resample" and len(series) != self.length:
            return series, [f"of another length, resampled to {self.length} steps"]
        return series, [f"padded to {self.length} steps"] if len(series) < self.length else []

    def windows(self, window: float | None = None, hop: float | None = None) -> Windows | None:
        """Return how longer series are divided, by default into windows of the training's length; in steps.

        With `unequal` "resample" a series is resampled as a whole, and not divided, unless a window is given.

        Raises:
            ValueError: as `Windows.of`; for another window than the training's length where only that is accepted.
        """
        if self.unequal == "resample":
            if window is None and hop is not None:
                raise ValueError("this model resamples series of any length; give a window with the hop")
            return None if window is None else Windows.of(window, hop, math.inf)
        if self.unequal is None and window not in (None, self.length):
            raise ValueError(f"window must be {self.length}, the steps that this model takes, got {window:g}")
        return Windows.of(window, hop, self.length)

    def sized(self, raw: np.ndarray) -> np.ndarray:
        """Return one raw series at the training's length."""
        return at_length(raw, self.length, self.unequal)

    def draw(self, axes, raw: np.ndarray) -> None:
        """Draw one raw series without its padding, a line per channel."""
        axes.plot(raw[own_steps(raw[None])[0]] if self.unequal == "pad" else raw, linewidth=1)
        axes.set_axis_off()


def own_part(x):
    """Return a mask of the steps without padding, (batch, length, 1), and their number, (batch, 1, 1), at least 1."""
    number = keras.ops.cumsum(keras.ops.ones_like(x[..., :1]), axis=1)  # of each step, from 1; any length will do
    filled = keras.ops.cast(keras.ops.any(keras.ops.not_equal(x, 0.0), axis=-1, keepdims=True), "float32")
    count = keras.ops.maximum(keras.ops.max(number * filled, axis=1, keepdims=True), 1.0)
    return keras.ops.cast(number <= count, "float32"), count


def interpolate(x, positions):
    """Return series (batch, length, channels) interpolated linearly at fractional steps (batch, new length, 1)."""
    below = keras.ops.floor(positions)
    fraction = positions - below
    last = keras.ops.sum(keras.ops.ones_like(x[:, :, :1]), axis=1, keepdims=True) - 1.0

    def values(steps):
        steps = keras.ops.cast(keras.ops.minimum(keras.ops.maximum(steps, 0.0), last), "int32")
        return keras.ops.take_along_axis(x, keras.ops.repeat(steps, x.shape[-1], axis=-1), axis=1)

    return values(below) * (1.0 - fraction) + values(below + 1.0) * fraction


def resample(x, length: int):
    """Resample series (batch, any length, channels) to another length by linear interpolation."""
    if x.shape[1] == length:
        return x
    last = keras.ops.sum(keras.ops.ones_like(x[..., :1]), axis=1, keepdims=True) - 1.0
    steps = np.arange(length, dtype="float32")[None, :, None]
    return interpolate(x, last * steps / max(length - 1, 1))


def pad(x, length: int):
    """Pad series (batch, any length, channels) with zeros at the end to another length, or truncate them.

    Returns:
        The series, and a mask of the steps that are not padding, 0 or 1 (batch, length, 1).
    """
    _, count = own_part(x)
    steps = np.arange(length, dtype="float32")[None, :, None]
    own = keras.ops.cast(keras.ops.less(steps, count), "float32")
    return interpolate(x, count * 0.0 + steps) * own, own


def own_steps(series: np.ndarray) -> np.ndarray:
    """Return a mask of the steps of padded series (n, length, channels) that are not padding, (n, length)."""
    return (series != 0).any(axis=-1)[:, ::-1].cumsum(axis=1)[:, ::-1] > 0
