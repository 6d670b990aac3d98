"""Audio features: spectrograms, log-mel spectrograms and MFCCs, in the styles of librosa, Kaldi and Speech Commands.

Pure functions of keras.ops, the same on every backend. A batch of waveforms has shape (batch, samples), one of features
(batch, frames, bins). The constants (windows, filter banks, cosines) are computed by numpy in double precision. The
short-time Fourier transform is a strided convolution with cosines and sines, so that it can be exported to every format
that has convolutions.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

from kzoo.core.lazy import keras, lazy_import, np
from kzoo.core.registry import lookup
from kzoo.nn.filters import hertz_to_mel, mel_to_hertz

scipy_signal = lazy_import("scipy.signal")


class FeatureStyle(NamedTuple):
    """How a library computes mel spectrograms and MFCCs.

    Attributes:
        window: name of the window function, a key of `WINDOWS`.
        centred: frame t is centred on sample t * hop_length, with zeros around the signal; otherwise it starts there.
        nyquist: the last bin, at half the sample rate, is used.
        preemphasis: coefficient of the pre-emphasis filter, applied within a frame; 0 for none.
        remove_mean: subtract each frame's mean first.
        power: exponent of the magnitude that the filter bank sums: 2 for power, 1 for magnitude.
        mel_scale: "htk" (logarithmic throughout) or "slaney" (linear below 1 kHz).
        triangles: the slopes of the filters are linear in "hertz" or in "mel".
        equal_area: divide each filter by half its width in hertz (librosa's norm="slaney").
        floor: mel energies are clipped to at least this before the logarithm.
        decibel: 10 times the decimal logarithm; otherwise the natural logarithm.
        top_db: dynamic range in decibels to which an MFCC's mel spectrogram is clipped; 0 for no limit.
        lifter: coefficient of the cepstral liftering (Kaldi); 0 for none.
    """

    window: str
    centred: bool
    nyquist: bool
    preemphasis: float
    remove_mean: bool
    power: int
    mel_scale: str
    triangles: str
    equal_area: bool
    floor: float
    decibel: bool
    top_db: float
    lifter: float


# As librosa.feature.melspectrogram and mfcc; as Kaldi's compute-fbank-feats and compute-mfcc-feats without dither, on
# waveforms between -1 and 1; as TensorFlow's AudioSpectrogram and Mfcc kernels, used for Speech Commands.
FEATURE_STYLES = {
    "librosa": FeatureStyle("hann", True, True, 0, False, 2, "slaney", "hertz", True, 1e-10, True, 80, 0),
    "kaldi": FeatureStyle("povey", False, False, 0.97, True, 2, "htk", "mel", False, 2.0**-23, False, 0, 22),
    "speech_commands": FeatureStyle("hann", False, True, 0, False, 1, "htk", "mel", False, 1e-12, False, 0, 0),
}

# Values of a window of n samples.
WINDOWS = {
    "hann": lambda n: 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n),
    "povey": lambda n: (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / (n - 1))) ** 0.85,
}

QUIETEST = 20  # one frame in so many of a clip is heard for what silence is like
CONSTANT = 1e-5  # relative to the largest value: a standard deviation below it is rounding in float32


@dataclass(frozen=True)
class FrontEnd:
    """Power, mel and log-mel spectrograms and MFCCs of waveforms at one sample rate, in the style of one library.

    Args:
        sample_rate: samples per second.
        win_length: samples in a frame.
        hop_length: samples from the start of one frame to the next.
        n_fft: size of the Fourier transform, even and at least `win_length`; bins are sample_rate / n_fft hertz apart.
        n_mels: number of mel filters.
        fmin: lower edge of the lowest mel filter, in hertz.
        fmax: upper edge of the highest mel filter, in hertz; at most half the sample rate.
        n_mfcc: number of MFCCs; at most `n_mels`.
        feature_style: "librosa", "kaldi" or "speech_commands".

    Raises:
        ValueError: for values that do not fit together.
    """

    sample_rate: int
    win_length: int
    hop_length: int
    n_fft: int
    n_mels: int
    fmin: float
    fmax: float
    n_mfcc: int
    feature_style: str = "librosa"

    def __post_init__(self):
        lookup("feature_style", self.feature_style, FEATURE_STYLES)
        for name in ("sample_rate", "win_length", "hop_length", "n_mels", "n_mfcc"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.n_fft < self.win_length or self.n_fft % 2:
            raise ValueError(f"n_fft must be even and at least win_length, {self.win_length} samples; got {self.n_fft}")
        if not 0 <= self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError(
                f"fmin and fmax must lie between 0 and half the sample rate, {self.sample_rate / 2:g} Hz; "
                f"got {self.fmin:g} to {self.fmax:g}"
            )
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc must be at most n_mels, {self.n_mels}; got {self.n_mfcc}")

    @property
    def style(self) -> FeatureStyle:
        """The parameters that the library fixes."""
        return FEATURE_STYLES[self.feature_style]

    def frames(self, samples: int) -> int:
        """Return the number of frames of a waveform."""
        if self.style.centred:
            return 1 + samples // self.hop_length
        return max(0, 1 + (samples - self.win_length) // self.hop_length)

    @property
    def before(self) -> int:
        """Samples of silence before a waveform that the first frame sees."""
        # librosa centres a window that is shorter than the transform within it
        return (self.n_fft // 2 - (self.n_fft - self.win_length) // 2) if self.style.centred else 0

    def power(self, waves):
        """Return the power spectrogram, (batch, frames, n_fft / 2 + 1)."""
        style = self.style
        kernel = fourier_kernel(self.win_length, self.n_fft, style.window, style.preemphasis, style.remove_mean)
        return stft_power(waves, kernel, self.hop_length, self.before, self.frames(waves.shape[1]))

    def mel(self, waves):
        """Return the mel spectrogram, of power or of magnitude, (batch, frames, n_mels)."""
        power = self.power(waves)
        spectrum = keras.ops.sqrt(power) if self.style.power == 1 else power
        return keras.ops.matmul(spectrum, constant(self.filters()))

    def filters(self) -> np.ndarray:
        """Return the mel filter bank, (n_fft / 2 + 1, n_mels)."""
        style = self.style
        bank = mel_filters(
            self.sample_rate,
            self.n_fft,
            self.n_mels,
            self.fmin,
            self.fmax,
            style.mel_scale,
            style.triangles,
            style.equal_area,
        )
        if not style.nyquist:
            bank[-1] = 0
        if self.feature_style == "speech_commands":  # its kernel starts at int(1.5 + fmin / distance), one bin late
            bank[: int(1.5 + self.fmin * self.n_fft / self.sample_rate)] = 0
        return bank

    def log_mel(self, waves):
        """Return the log-mel spectrogram, (batch, frames, n_mels); in decibels in librosa's style."""
        log = keras.ops.log(keras.ops.maximum(self.mel(waves), self.style.floor))
        return log * (10 / math.log(10)) if self.style.decibel else log

    def mfcc(self, waves):
        """Return mel-frequency cepstral coefficients, (batch, frames, n_mfcc)."""
        log = self.log_mel(waves)
        if self.style.top_db:
            loudest = keras.ops.max(log, axis=(1, 2), keepdims=True)
            log = keras.ops.maximum(log, loudest - self.style.top_db)
        cosines = cosine_transform(self.n_mels, self.n_mfcc, orthonormal=self.feature_style != "speech_commands")
        return keras.ops.matmul(log, constant(cosines * lifter(self.n_mfcc, self.style.lifter)))


def constant(values: np.ndarray) -> np.ndarray:
    """Return numbers as a float32 array: a tensor would become an input of an ONNX file."""
    return np.asarray(values, "float32")


@functools.cache
def fourier_kernel(
    win_length: int, n_fft: int, window: str = "hann", preemphasis: float = 0.0, remove_mean: bool = False
) -> np.ndarray:
    """Return the convolution kernel of a windowed Fourier transform, (win_length, 1, 2 * bins): cosines, then sines.

    The steps before it are linear and therefore part of the kernel: mean removal, pre-emphasis (the first sample is
    its own predecessor) and the window.
    """
    angle = 2 * np.pi * np.outer(np.arange(win_length), np.arange(n_fft // 2 + 1)) / n_fft
    kernel = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    kernel *= lookup("window", window, WINDOWS)(win_length)[:, None]
    if preemphasis:
        later = np.concatenate([kernel[1:], np.zeros_like(kernel[:1])])
        later[0] += kernel[0]
        kernel = kernel - preemphasis * later
    if remove_mean:
        kernel = kernel - kernel.mean(axis=0)
    return kernel[:, None, :].astype("float32")


def stft_power(waves, kernel: np.ndarray, hop_length: int, before: int, frames: int):
    """Return the power spectrogram |X|^2, (batch, frames, bins).

    Args:
        waves: (batch, samples), of known length.
        kernel: from `fourier_kernel`.
        hop_length: samples from the start of one frame to the next.
        before: zeros before the signal; as many as needed follow it.
        frames: number of frames.
    """
    missing = (frames - 1) * hop_length + kernel.shape[0] - before - waves.shape[1]
    padded = keras.ops.pad(waves, [[0, 0], [before, max(0, missing)]])
    parts = keras.ops.conv(padded[..., None], constant(kernel), strides=hop_length, padding="valid")[:, :frames]
    bins = kernel.shape[2] // 2
    return keras.ops.square(parts[..., :bins]) + keras.ops.square(parts[..., bins:])


def mel_filters(
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    fmin: float,
    fmax: float,
    mel_scale: str = "htk",
    triangles: str = "hertz",
    equal_area: bool = False,
) -> np.ndarray:
    """Return triangular filters whose corners are equally spaced in mel, (n_fft / 2 + 1, n_mels).

    Args:
        sample_rate: samples per second.
        n_fft: size of the Fourier transform.
        n_mels: number of filters.
        fmin: lower edge of the first filter, in hertz.
        fmax: upper edge of the last filter, in hertz.
        mel_scale: "htk" or "slaney".
        triangles: "hertz" or "mel": the axis on which the slopes are linear.
        equal_area: divide each filter by half its width in hertz; otherwise each has a peak of 1.
    """
    lookup("mel scale", mel_scale, {"htk": None, "slaney": None})
    hertz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    corners = np.linspace(hertz_to_mel(fmin, mel_scale), hertz_to_mel(fmax, mel_scale), n_mels + 2)
    corners_hertz = mel_to_hertz(corners, mel_scale)
    position = hertz_to_mel(hertz, mel_scale) if triangles == "mel" else hertz
    left, peak, right = (edge[None] for edge in sliding(corners if triangles == "mel" else corners_hertz))
    up, down = (position[:, None] - left) / (peak - left), (right - position[:, None]) / (right - peak)
    bank = np.maximum(0, np.minimum(up, down))
    return bank * 2 / (corners_hertz[2:] - corners_hertz[:-2]) if equal_area else bank


def sliding(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return left corners, peaks and right corners."""
    return corners[:-2], corners[1:-1], corners[2:]


def cosine_transform(n_mels: int, n_mfcc: int, orthonormal: bool = True) -> np.ndarray:
    """Return the matrix of the discrete cosine transform of type II, (n_mels, n_mfcc).

    Unless `orthonormal`, all coefficients including the first have the factor sqrt(2 / n_mels).
    """
    angle = np.pi / n_mels * np.outer(np.arange(n_mels) + 0.5, np.arange(n_mfcc))
    matrix = math.sqrt(2 / n_mels) * np.cos(angle)
    if orthonormal:
        matrix[:, 0] /= math.sqrt(2)
    return matrix


def lifter(n_mfcc: int, coefficient: float) -> np.ndarray:
    """Return Kaldi's cepstral lifter, 1 + coefficient / 2 * sin(pi * k / coefficient)."""
    if not coefficient:
        return np.ones(n_mfcc)
    return 1 + coefficient / 2 * np.sin(np.pi * np.arange(n_mfcc) / coefficient)


def fit_length(waves, samples: int):
    """Return waveforms of exactly `samples` samples, cut or padded with zeros at the end."""
    if waves.shape[1] == samples:
        return waves
    padded = keras.ops.pad(waves, [[0, 0], [0, samples]])
    return keras.ops.reshape(padded[:, :samples], (-1, samples))


@functools.cache
def low_pass(up: int, down: int) -> np.ndarray:
    """Return the low-pass filter at `up` times the sample rate: 10 zero crossings to either side, Kaiser window 5."""
    half = 10 * max(up, down)
    return scipy_signal.firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", 5.0))


def factors(old: int, new: int) -> tuple[int, int]:
    """Return the smallest factors (up, down) by which one sample rate is multiplied and divided to give another."""
    common = math.gcd(old, new)
    return new // common, old // common


def resampled_length(samples: int, old: int, new: int) -> int:
    """Return the number of samples after resampling."""
    return -(-samples * new // old)


class Part(NamedTuple):
    """The part of a waveform that is resampled to give another part: its first sample, its end, what is too much."""

    first: int
    end: int
    skipped: int


def part_of(start: int, length: int, old: int, new: int) -> Part:
    """Return the part of a waveform that has to be resampled to give samples of the whole waveform, resampled.

    The filter reaches 10 zero crossings to either side. A part begins at a multiple of `down` samples, where the
    phase of the filter is that of the beginning.

    Args:
        start: first sample of the result.
        length: samples of the result.
        old: sample rate of the waveform.
        new: sample rate of the result.
    """
    up, down = factors(old, new)
    reach = 10 * max(up, down) // up + 1
    periods = max(start // up - math.ceil(reach / down), 0)
    return Part(periods * down, math.ceil((start + length) * down / up) + reach, start - periods * up)


def resampled(wave: np.ndarray, old: int, new: int) -> np.ndarray:
    """Return one waveform (samples,) resampled to `resampled_length` samples by a polyphase filter."""
    up, down = factors(old, new)
    if up == down:
        return wave
    return scipy_signal.resample_poly(wave, up, down, window=low_pass(up, down)).astype("float32")


def between_silences(waves, frames: int, step: int):
    """Return 1 for frames within a recording and 0 for those in digital silence before or after it.

    Args:
        waves: (batch, samples).
        frames: number of frames.
        step: samples from one frame to the next.

    Returns:
        float32 (batch, frames, 1); zeros for nothing but silence.
    """
    ops, samples = keras.ops, waves.shape[1]
    places, loud = ops.arange(samples)[None], ops.not_equal(waves, 0.0)
    first = ops.min(ops.where(loud, places, samples), axis=1, keepdims=True)
    last = ops.max(ops.where(loud, places, -1), axis=1, keepdims=True)
    starts = ops.arange(frames)[None] * step
    return ops.cast(ops.logical_and(ops.less_equal(first, starts), ops.less_equal(starts, last)), "float32")[..., None]


def quiet_outside(features, known):
    """Return features in which frames that are not known are as the quietest known ones of their example.

    Args:
        features: (batch, frames, channels), logarithms of power.
        known: 1 for known frames, else 0, (batch, frames, 1).

    Returns:
        Of the shape of the features: the mean of the twentieth of the known frames that are the quietest, in place of
        the others; 0 for an example without known frames.
    """
    ops, count = keras.ops, max(features.shape[1] // QUIETEST, 1)
    loudness = ops.where(known[..., 0] > 0, ops.mean(features, axis=-1), 1e9)
    _, places = ops.top_k(-loudness, count)
    chosen, counted = (ops.take_along_axis(part, places[..., None], axis=1) for part in (features, known))
    quiet = ops.sum(chosen * counted, axis=1, keepdims=True) / ops.maximum(ops.sum(counted, 1, keepdims=True), 1.0)
    return features * known + quiet * (1 - known)


def normalise_each(features, known=None):
    """Normalise each channel of each example by its own mean and standard deviation over time, axis 1.

    A channel that is constant but for rounding becomes 0: its standard deviation is below 1e-5 times the largest
    absolute value of the example.

    Args:
        features: (batch, frames, channels).
        known: 1 for frames that count for mean and deviation, else 0, (batch, frames, 1); all of them if not given.
    """

    def mean(values):
        if known is None:
            return keras.ops.mean(values, axis=1, keepdims=True)
        count = keras.ops.maximum(keras.ops.sum(known, axis=1, keepdims=True), 1.0)
        return keras.ops.sum(values * known, axis=1, keepdims=True) / count

    centred = features - mean(features)
    variance = mean(keras.ops.square(centred))
    largest = keras.ops.max(keras.ops.abs(features), axis=(1, 2), keepdims=True)
    varies = keras.ops.cast(variance > keras.ops.square(CONSTANT * largest), "float32")
    return centred / keras.ops.sqrt(variance + 1e-10) * varies


def normalise_by(features, mean, std):
    """Subtract the training set's mean of each channel (or one for all) and divide by its standard deviation."""
    return keras.ops.divide(keras.ops.subtract(features, constant(mean)), constant(std))


def mask_span(axis: int, width: int, features, start, length):
    """Set the indices from `start` to below `start + length` of one axis to 0 (SpecAugment).

    (Park et al., 2019, https://arxiv.org/abs/1904.08779.)

    Args:
        axis: 1 or 2.
        width: size of that axis.
        features: (batch, ...), normalised to mean 0.
        start: first masked index, (batch,).
        length: number of masked indices, (batch,).
    """
    indices = keras.ops.arange(width)[None]
    hidden = (indices >= start[:, None]) & (indices < (start + length)[:, None])
    shape = [-1] + [width if number == axis else 1 for number in range(1, len(features.shape))]
    return keras.ops.where(keras.ops.reshape(hidden, shape), keras.ops.zeros_like(features), features)


def move_in_time(waves, shift, speed):
    """Shift waveforms in time and change their playback speed, by linear interpolation; the outside is silence.

    Args:
        waves: (batch, samples), of known length, float.
        shift: samples to the right, (batch,).
        speed: 1.1 plays 10 % faster and at a higher pitch, (batch,); the middle of the clip is the fixed point.
    """
    samples = waves.shape[1]
    middle = (samples - 1) / 2
    position = middle + (keras.ops.arange(samples, dtype="float32")[None] - middle - shift[:, None]) * speed[:, None]
    below = keras.ops.floor(position)
    fraction = position - below
    padded = keras.ops.pad(waves, [[0, 0], [1, 1]])

    def at(indices):
        indices = keras.ops.clip(indices + 1, 0, samples + 1)
        return keras.ops.take_along_axis(padded, keras.ops.cast(indices, "int32"), 1)

    return (1 - fraction) * at(below) + fraction * at(below + 1)


def add_noise(waves, noise, ratio):
    """Add noise at a ratio of its amplitude (root mean square) to that of the waveform.

    Args:
        waves: (batch, samples), float.
        noise: (batch, samples) or (1, samples), float.
        ratio: (batch,); 0.1 is a signal-to-noise ratio of 20 dB.
    """

    def amplitude(x):
        return keras.ops.sqrt(keras.ops.mean(keras.ops.square(x), axis=1, keepdims=True))

    return waves + noise * (ratio[:, None] * amplitude(waves) / (amplitude(noise) + 1e-10))
