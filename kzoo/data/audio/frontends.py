"""From waveforms to spectrograms, mel bands and cepstra: pure functions of keras.ops, the same on every backend.

A waveform batch has shape (batch, samples), a feature batch (batch, frames, bands). What never changes (windows, filter
banks, cosines) is computed by numpy in double precision. The Fourier transform is a strided convolution with cosines
and sines, so that it exports to every format that has convolutions.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

from kzoo.core.lazy import lazy_import
from kzoo.core.registry import lookup
from kzoo.nn.filters import hertz_to_mel, mel_to_hertz

keras = lazy_import("keras")
np = lazy_import("numpy")
scipy_signal = lazy_import("scipy.signal")


class Recipe(NamedTuple):
    """How a library turns a waveform into mel bands and cepstra.

    Attributes:
        window: name of the window, a key of `WINDOWS`.
        centred: frame t is centred on sample t * hop, with zeros around the signal; else it begins there.
        whole_transform: the last bin, half the sample rate, counts.
        preemphasis: each sample less this share of the one before, within a frame.
        remove_mean: subtract each frame's mean first.
        power: 2 sums the power in the mel bands, 1 the amplitude.
        scale: "htk" (logarithmic throughout) or "slaney" (linear below 1 kHz).
        triangles: the sides of the filters are straight in "hertz" or in "mel".
        equal_area: divide each filter by its width in hertz.
        floor: bands are at least this before the logarithm.
        decibel: 10 times the decimal logarithm; else the natural one.
        dynamic_range: of the decibels, in an MFCC; 0 for no limit.
        lifter: weight of the higher cepstra (Kaldi); 0 for none.
    """

    window: str
    centred: bool
    whole_transform: bool
    preemphasis: float
    remove_mean: bool
    power: int
    scale: str
    triangles: str
    equal_area: bool
    floor: float
    decibel: bool
    dynamic_range: float
    lifter: float


# As librosa.feature.melspectrogram and mfcc; as Kaldi's compute-fbank-feats and compute-mfcc-feats without dither, on
# waveforms between -1 and 1; as TensorFlow's AudioSpectrogram and Mfcc kernels, used for Speech Commands.
RECIPES = {
    "librosa": Recipe("hann", True, True, 0, False, 2, "slaney", "hertz", True, 1e-10, True, 80, 0),
    "kaldi": Recipe("povey", False, False, 0.97, True, 2, "htk", "mel", False, 2.0**-23, False, 0, 22),
    "speech_commands": Recipe("hann", False, True, 0, False, 1, "htk", "mel", False, 1e-12, False, 0, 0),
}

# Values of a window of n samples.
WINDOWS = {
    "hann": lambda n: 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n),
    "povey": lambda n: (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / (n - 1))) ** 0.85,
}


@dataclass(frozen=True)
class FrontEnd:
    """Spectrogram, mel bands, their logarithm and cepstra of waveforms at one sample rate, in one library's way.

    Args:
        sample_rate: samples per second.
        window: samples in a frame.
        hop: samples from frame to frame.
        fft: size of the Fourier transform, at least the window; bins are sample_rate / fft apart.
        bands: number of mel bands.
        low: lower edge of the lowest band, in hertz.
        high: upper edge of the highest band, in hertz; at most half the sample rate.
        coefficients: number of cepstra; at most the bands.
        recipe: "librosa", "kaldi" or "speech_commands".

    Raises:
        ValueError: for values that do not fit together.
    """

    sample_rate: int
    window: int
    hop: int
    fft: int
    bands: int
    low: float
    high: float
    coefficients: int
    recipe: str = "librosa"

    def __post_init__(self):
        lookup("recipe", self.recipe, RECIPES)
        for name in ("sample_rate", "window", "hop", "bands", "coefficients"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.fft < self.window or self.fft % 2:
            raise ValueError(f"fft must be even and at least the window, {self.window} samples; got {self.fft}")
        if not 0 <= self.low < self.high <= self.sample_rate / 2:
            raise ValueError(
                f"mel bands must lie between 0 and half the sample rate, {self.sample_rate / 2:g} Hz; "
                f"got {self.low:g} to {self.high:g}"
            )
        if self.coefficients > self.bands:
            raise ValueError(f"{self.coefficients} cepstra need as many mel bands, got {self.bands}")

    @property
    def way(self) -> Recipe:
        """The parameters that are the library's."""
        return RECIPES[self.recipe]

    def frames(self, samples: int) -> int:
        """Return the number of frames of a waveform."""
        return 1 + samples // self.hop if self.way.centred else max(0, 1 + (samples - self.window) // self.hop)

    def power(self, waves):
        """Return the power spectrogram, (batch, frames, fft / 2 + 1)."""
        kernel = fourier_kernel(self.window, self.fft, self.way.window, self.way.preemphasis, self.way.remove_mean)
        # librosa puts a window that is shorter than the transform into the middle of it
        before = (self.fft // 2 - (self.fft - self.window) // 2) if self.way.centred else 0
        return stft_power(waves, kernel, self.hop, before, self.frames(waves.shape[1]))

    def mel(self, waves):
        """Return the power (or amplitude) in mel bands, (batch, frames, bands)."""
        power = self.power(waves)
        spectrum = keras.ops.sqrt(power) if self.way.power == 1 else power
        return keras.ops.matmul(spectrum, constant(self.filters()))

    def filters(self) -> np.ndarray:
        """Return the mel filter bank, (fft / 2 + 1, bands)."""
        way = self.way
        bank = mel_filters(
            self.sample_rate, self.fft, self.bands, self.low, self.high, way.scale, way.triangles, way.equal_area
        )
        if not way.whole_transform:
            bank[-1] = 0
        if self.recipe == "speech_commands":  # its kernel begins at int(1.5 + low / distance), one bin late
            bank[: int(1.5 + self.low * self.fft / self.sample_rate)] = 0
        return bank

    def log_mel(self, waves):
        """Return the logarithm of the mel bands, (batch, frames, bands); decibels in librosa's way."""
        log = keras.ops.log(keras.ops.maximum(self.mel(waves), self.way.floor))
        return log * (10 / math.log(10)) if self.way.decibel else log

    def mfcc(self, waves):
        """Return mel-frequency cepstral coefficients, (batch, frames, coefficients)."""
        log = self.log_mel(waves)
        if self.way.dynamic_range:
            loudest = keras.ops.max(log, axis=(1, 2), keepdims=True)
            log = keras.ops.maximum(log, loudest - self.way.dynamic_range)
        cosines = cosine_transform(self.bands, self.coefficients, orthonormal=self.recipe != "speech_commands")
        return keras.ops.matmul(log, constant(cosines * lifter(self.coefficients, self.way.lifter)))


def constant(values: np.ndarray):
    """Return numbers as a float32 tensor."""
    return keras.ops.convert_to_tensor(np.asarray(values, "float32"))


@functools.cache
def fourier_kernel(
    window: int, fft: int, name: str = "hann", preemphasis: float = 0.0, remove_mean: bool = False
) -> np.ndarray:
    """Return the convolution kernel of a windowed Fourier transform, (window, 1, 2 * bins): cosines, then sines.

    What is done to each frame before (remove its mean, preemphasis with the first sample before itself, window) is
    linear, and so part of the kernel.
    """
    angle = 2 * np.pi * np.outer(np.arange(window), np.arange(fft // 2 + 1)) / fft
    kernel = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    kernel *= lookup("window", name, WINDOWS)(window)[:, None]
    if preemphasis:
        later = np.concatenate([kernel[1:], np.zeros_like(kernel[:1])])
        later[0] += kernel[0]
        kernel = kernel - preemphasis * later
    if remove_mean:
        kernel = kernel - kernel.mean(axis=0)
    return kernel[:, None, :].astype("float32")


def stft_power(waves, kernel: np.ndarray, hop: int, before: int, frames: int):
    """Return |X|^2 of each frame, (batch, frames, bins).

    Args:
        waves: (batch, samples), of known length.
        kernel: from `fourier_kernel`.
        hop: samples from frame to frame.
        before: zeros before the signal; as many as needed follow it.
        frames: number of frames.
    """
    missing = (frames - 1) * hop + kernel.shape[0] - before - waves.shape[1]
    padded = keras.ops.pad(waves, [[0, 0], [before, max(0, missing)]])
    parts = keras.ops.conv(padded[..., None], constant(kernel), strides=hop, padding="valid")[:, :frames]
    bins = kernel.shape[2] // 2
    return keras.ops.square(parts[..., :bins]) + keras.ops.square(parts[..., bins:])


def mel_filters(
    sample_rate: int,
    fft: int,
    bands: int,
    low: float,
    high: float,
    scale: str = "htk",
    triangles: str = "hertz",
    equal_area: bool = False,
) -> np.ndarray:
    """Return triangular filters whose corners are equally far apart in mel, (fft / 2 + 1, bands).

    Args:
        sample_rate: samples per second.
        fft: size of the Fourier transform.
        bands: number of filters.
        low: lower edge of the first, in hertz.
        high: upper edge of the last, in hertz.
        scale: "htk" or "slaney".
        triangles: "hertz" or "mel": on which axis their sides are straight.
        equal_area: divide each by half its width in hertz; else each has a peak of 1.
    """
    lookup("mel scale", scale, {"htk": None, "slaney": None})
    hertz = np.arange(fft // 2 + 1) * sample_rate / fft
    corners = np.linspace(hertz_to_mel(low, scale), hertz_to_mel(high, scale), bands + 2)
    corners_hertz = mel_to_hertz(corners, scale)
    place = hertz_to_mel(hertz, scale) if triangles == "mel" else hertz
    left, peak, right = (edge[None] for edge in sliding(corners if triangles == "mel" else corners_hertz))
    up, down = (place[:, None] - left) / (peak - left), (right - place[:, None]) / (right - peak)
    bank = np.maximum(0, np.minimum(up, down))
    return bank * 2 / (corners_hertz[2:] - corners_hertz[:-2]) if equal_area else bank


def sliding(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return left corners, peaks and right corners."""
    return corners[:-2], corners[1:-1], corners[2:]


def cosine_transform(bands: int, coefficients: int, orthonormal: bool = True) -> np.ndarray:
    """Return the matrix of the cosine transform of type II, (bands, coefficients).

    Not `orthonormal`, all coefficients have the factor sqrt(2 / bands), the first as well.
    """
    angle = np.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(coefficients))
    matrix = math.sqrt(2 / bands) * np.cos(angle)
    if orthonormal:
        matrix[:, 0] /= math.sqrt(2)
    return matrix


def lifter(coefficients: int, strength: float) -> np.ndarray:
    """Return Kaldi's weights of the cepstra, 1 + strength / 2 * sin(pi * k / strength)."""
    if not strength:
        return np.ones(coefficients)
    return 1 + strength / 2 * np.sin(np.pi * np.arange(coefficients) / strength)


def fit_length(waves, samples: int):
    """Return waveforms of exactly so many samples: the beginning, or zeros at the end."""
    if waves.shape[1] == samples:
        return waves
    padded = keras.ops.pad(waves, [[0, 0], [0, samples]])
    return keras.ops.reshape(padded[:, :samples], (-1, samples))


def resample(waves, old: int, new: int):
    """Return waveforms at another sample rate, ceil(samples * new / old) samples.

    The same low-pass (a windowed sinc of 10 zero crossings to either side, Kaiser 5) as `scipy.signal.resample_poly`;
    a strided convolution gives one phase of the result per filter.
    """
    up, down = new // math.gcd(old, new), old // math.gcd(old, new)
    if up == down:
        return waves
    kernel, before = resample_kernel(up, down)
    count = -(-waves.shape[1] * up // down)
    rows = -(-count // up)
    missing = (rows - 1) * down + kernel.shape[0] - before - waves.shape[1]
    padded = keras.ops.pad(waves, [[0, 0], [before, max(0, missing)]])
    phases = keras.ops.conv(padded[..., None], constant(kernel), strides=down, padding="valid")[:, :rows]
    return keras.ops.reshape(phases, (-1, rows * up))[:, :count]


@functools.cache
def low_pass(up: int, down: int) -> np.ndarray:
    """Return the low-pass at `up` times the sample rate, with a sum of 1."""
    half = 10 * max(up, down)
    return scipy_signal.firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", 5.0))


def resampled(wave: np.ndarray, old: int, new: int) -> np.ndarray:
    """Return one waveform (samples,) at another sample rate by numpy alone: what `resample` does to a batch."""
    common = math.gcd(old, new)
    up, down = new // common, old // common
    if up == down:
        return wave
    return scipy_signal.resample_poly(wave, up, down, window=low_pass(up, down)).astype("float32")


@functools.cache
def resample_kernel(up: int, down: int) -> tuple[np.ndarray, int]:
    """Return the kernel, (width, 1, up), and how many samples it reaches back."""
    taps = up * low_pass(up, down)
    half = len(taps) // 2
    first, last = -(half // up), ((up - 1) * down + half) // up
    place = half + down * np.arange(up)[None] - up * np.arange(first, last + 1)[:, None]
    inside = (place >= 0) & (place <= 2 * half)
    kernel = np.where(inside, taps[np.clip(place, 0, 2 * half)], 0)
    return kernel[:, None, :].astype("float32"), -first


def normalise_each(features, axes: tuple[int, ...]):
    """Subtract each example's own mean over `axes` and divide by its deviation; silence stays 0."""
    centred = features - keras.ops.mean(features, axis=axes, keepdims=True)
    variance = keras.ops.mean(keras.ops.square(centred), axis=axes, keepdims=True)
    return centred / keras.ops.sqrt(variance + 1e-10)


def normalise_by(features, mean, std):
    """Subtract the training set's mean of each band (or one for all) and divide by its deviation."""
    return (features - constant(mean)) / constant(std)


def mask_bands(axis: int, width: int, features, start, length):
    """Set to 0 what lies between `start` and `start + length` on one axis (SpecAugment).

    (Park et al., 2019, https://arxiv.org/abs/1904.08779.)

    Args:
        axis: 1 or 2.
        width: size of that axis.
        features: (batch, ...), normalised to mean 0.
        start: first place hidden, (batch,).
        length: how many, (batch,).
    """
    places = keras.ops.arange(width)[None]
    hidden = (places >= start[:, None]) & (places < (start + length)[:, None])
    shape = [-1] + [width if number == axis else 1 for number in range(1, len(features.shape))]
    return keras.ops.where(keras.ops.reshape(hidden, shape), keras.ops.zeros_like(features), features)


def move_in_time(waves, shift, speed):
    """Play waveforms later and faster or slower; what comes from outside is silence.

    Args:
        waves: (batch, samples), of known length, float.
        shift: samples to the right, (batch,).
        speed: 1.1 plays a tenth faster, and higher, (batch,); the middle of the clip stays where it is.
    """
    samples = waves.shape[1]
    middle = (samples - 1) / 2
    place = middle + (keras.ops.arange(samples, dtype="float32")[None] - middle - shift[:, None]) * speed[:, None]
    below = keras.ops.floor(place)
    share = place - below
    padded = keras.ops.pad(waves, [[0, 0], [1, 1]])

    def at(places):
        return keras.ops.take_along_axis(padded, keras.ops.cast(keras.ops.clip(places + 1, 0, samples + 1), "int32"), 1)

    return (1 - share) * at(below) + share * at(below + 1)


def add_noise(waves, noise, ratio):
    """Add noise at a ratio of its amplitude to the waveform's, each as root of the mean square.

    Args:
        waves: (batch, samples), float.
        noise: (batch, samples) or (1, samples), float.
        ratio: (batch,); 0.1 is a signal-to-noise ratio of 20 decibels.
    """

    def amplitude(x):
        return keras.ops.sqrt(keras.ops.mean(keras.ops.square(x), axis=1, keepdims=True))

    return waves + noise * (ratio[:, None] * amplitude(waves) / (amplitude(noise) + 1e-10))
