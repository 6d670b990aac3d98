"""The step from raw waveforms to the model's input."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.lazy import lazy_import
from kzoo.core.registry import lookup
from kzoo.data.audio import frontends
from kzoo.data.audio.files import FULL_SCALE, Recordings, cut_or_pad, read_audio, remark, to_int16
from kzoo.data.audio.frontends import FrontEnd, resampled

keras = lazy_import("keras")
np = lazy_import("numpy")

# What each layout makes of features (batch, frames, bands).
LAYOUTS = {
    "time_frequency": lambda features: features[..., None],
    "frequency_time": lambda features: keras.ops.transpose(features, (0, 2, 1))[..., None],
    "time": lambda features: features,
}
FEATURES = {"waveform": None, "log_mel": FrontEnd.log_mel, "mfcc": FrontEnd.mfcc}
NORMALISE = ("set", "example", "none")


@dataclass(frozen=True)
class AudioPreprocess:
    """From raw waveforms of any length to the model's input: one length, spectral features, normalised.

    The sample rate is fixed at training: files at another rate are resampled when they are read.

    Args:
        sample_rate: samples per second of the raw waveforms.
        samples: length that is cut or padded with silence, at the end.
        feature: "waveform" (samples, 1), "log_mel" or "mfcc".
        layout: of the spectral features: "time_frequency" (frames, bands, 1), "frequency_time" (bands, frames, 1)
            or "time" (frames, bands), a one-dimensional map whose channels are the bands.
        normalise: "set" (by `mean` and `std`), "example" (each band of each example by its own) or "none".
        mean: of each band, or of the waveform, over the training split.
        std: standard deviation, likewise.
        window: samples in a frame.
        hop: samples from frame to frame.
        fft: size of the Fourier transform.
        bands: number of mel bands.
        low: lower edge of the lowest band, in hertz.
        high: upper edge of the highest band, in hertz.
        coefficients: number of cepstra.
        recipe: whose mel bands and cepstra: "librosa", "kaldi" or "speech_commands".
        raw_dtype: "int16", or "float32" between -1 and 1.
    """

    sample_rate: int
    samples: int
    feature: str
    layout: str
    normalise: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    window: int
    hop: int
    fft: int
    bands: int
    low: float
    high: float
    coefficients: int
    recipe: str
    raw_dtype: str = "int16"

    @classmethod
    def fit(
        cls,
        train: Recordings,
        *,
        feature: str = "log_mel",
        layout: str = "time_frequency",
        normalise: str = "set",
        recipe: str = "librosa",
        window_ms: float = 25.0,
        hop_ms: float = 10.0,
        fft: int | None = None,
        bands: int = 40,
        low_hz: float = 20.0,
        high_hz: float | None = None,
        coefficients: int = 13,
    ) -> AudioPreprocess:
        """Take rate, length and statistics from the raw training recordings.

        Args:
            train: the training split.
            feature: as the field of this name; so are `layout`, `normalise`, `recipe`, `bands`, `coefficients`.
            layout: see `feature`.
            normalise: see `feature`.
            recipe: see `feature`.
            window_ms: milliseconds in a frame.
            hop_ms: milliseconds from frame to frame.
            fft: size of the Fourier transform; by default the power of two that holds a frame.
            bands: see `feature`.
            low_hz: lower edge of the lowest mel band.
            high_hz: upper edge of the highest; by default half the sample rate.
            coefficients: see `feature`.

        Raises:
            ValueError: for a value that is unknown or does not fit the recordings.
        """
        lookup("feature", feature, FEATURES)
        lookup("layout", layout, LAYOUTS)
        lookup("normalise", normalise, dict.fromkeys(NORMALISE))
        rate, samples = train.sample_rate, train.inputs.shape[1]
        window, hop = round(rate * window_ms / 1000), round(rate * hop_ms / 1000)
        step = cls(
            sample_rate=rate,
            samples=samples,
            feature=feature,
            layout=layout,
            normalise=normalise,
            mean=(0.0,),
            std=(1.0,),
            window=window,
            hop=hop,
            fft=fft or 2 ** max(1, (window - 1).bit_length()),
            bands=bands,
            low=float(low_hz),
            high=float(high_hz or rate / 2),
            coefficients=coefficients,
            recipe=recipe,
            raw_dtype=str(train.inputs.dtype),
        )
        if feature != "waveform" and step.front_end.frames(samples) < 1:
            raise ValueError(f"a frame has {window} samples, but the recordings only {samples}; give more seconds")
        return step.fitted(train.inputs) if normalise == "set" else step

    def fitted(self, inputs: np.ndarray) -> AudioPreprocess:
        """Return this step with the mean and deviation of each band over raw recordings."""
        count, total, squares = 0, 0.0, 0.0
        for start in range(0, len(inputs), 256):
            features = keras.ops.convert_to_numpy(self.features(inputs[start : start + 256])).astype("float64")
            count += features.shape[0] * features.shape[1]
            total, squares = total + features.sum((0, 1)), squares + (features**2).sum((0, 1))
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        # a band in which nothing ever happens, but for rounding, keeps its scale
        std = np.where(std > 1e-5 * np.maximum(np.abs(mean), 1e-3), std, 1.0)
        return dataclasses.replace(self, mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    @property
    def front_end(self) -> FrontEnd:
        """Return the functions that compute the spectral features."""
        return FrontEnd(
            self.sample_rate,
            self.window,
            self.hop,
            self.fft,
            self.bands,
            self.low,
            self.high,
            min(self.coefficients, self.bands) if self.feature != "mfcc" else self.coefficients,
            self.recipe,
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the model's input."""
        if self.feature == "waveform":
            return (self.samples, 1)
        frames = self.front_end.frames(self.samples)
        bands = self.bands if self.feature == "log_mel" else self.coefficients
        shapes = {"time_frequency": (frames, bands, 1), "frequency_time": (bands, frames, 1), "time": (frames, bands)}
        return shapes[self.layout]

    @property
    def raw_shape(self) -> tuple[int | None, ...]:
        """Shape of one raw waveform, of any length."""
        return (None,)

    def __call__(self, raw):
        """Prepare a batch of raw waveforms (batch, samples): an array, a tensor, or a symbolic Keras tensor."""
        features = self.features(raw)
        if self.normalise == "set":
            features = frontends.normalise_by(features, self.mean, self.std)
        elif self.normalise == "example":
            features = frontends.normalise_each(features, (1,))
        return features if self.feature == "waveform" else LAYOUTS[self.layout](features)

    def features(self, raw):
        """Return what is normalised, (batch, frames, bands) or (batch, samples, 1)."""
        waves = keras.ops.cast(raw, "float32") * (1 / FULL_SCALE if self.raw_dtype == "int16" else 1.0)
        waves = frontends.fit_length(waves, self.samples)
        return waves[..., None] if self.feature == "waveform" else FEATURES[self.feature](self.front_end, waves)

    def read(self, path: str | Path) -> np.ndarray:
        """Read one audio file as a raw waveform, (samples,), at the training's sample rate; say what was changed.

        Raises:
            ValueError: if it is not audio, or broken.
        """
        sound = read_audio(Path(path))
        remark([sound], self.sample_rate)
        wave = resampled(sound.wave, sound.sample_rate, self.sample_rate)
        return to_int16(wave) if self.raw_dtype == "int16" else wave

    def sized(self, raw: np.ndarray) -> np.ndarray:
        """Return one raw waveform at the training's length."""
        return cut_or_pad(raw, self.samples)

    def draw(self, axes, raw: np.ndarray) -> None:
        """Show one raw waveform on matplotlib axes, as a spectrogram where the model sees one."""
        if self.feature == "waveform":
            axes.plot(np.arange(len(raw)) / self.sample_rate, raw, linewidth=0.5)
        else:
            waves = np.asarray(self.sized(raw), "float32")[None] / (FULL_SCALE if self.raw_dtype == "int16" else 1)
            axes.imshow(keras.ops.convert_to_numpy(self.front_end.log_mel(waves))[0].T, origin="lower", aspect="auto")
        axes.set_axis_off()
