"""Audio preprocessing: from raw waveforms to normalised waveforms, log-mel spectrograms or MFCCs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.arguments import checked
from kzoo.core.lazy import keras, np
from kzoo.core.ranges import Bins, FrameLength, NonNegativeFloat, PositiveFloat
from kzoo.core.registry import lookup
from kzoo.data.audio import frontends
from kzoo.data.audio.files import FULL_SCALE, SUFFIXES, Recordings, changes_of, cut_or_pad, read_audio, to_int16
from kzoo.data.audio.frontends import CONSTANT, FrontEnd, resampled
from kzoo.data.folders import warn_of_changes
from kzoo.data.sources import sampled
from kzoo.data.windows import Windows

# From features (batch, frames, bins) to the model's input.
LAYOUTS = {
    "time_frequency": lambda features: features[..., None],
    "frequency_time": lambda features: keras.ops.transpose(features, (0, 2, 1))[..., None],
    "time": lambda features: features,
}
FEATURES = {"waveform": None, "log_mel": FrontEnd.log_mel, "mfcc": FrontEnd.mfcc}
NORMALISE = ("set", "example", "none")


@dataclass(frozen=True)
class AudioPreprocess:
    """From raw waveforms of any length to the model's input: cut or padded, as spectral features, normalised.

    The sample rate is fixed at training: files at another rate are resampled when they are read.

    Args:
        sample_rate: samples per second of the raw waveforms.
        samples: length to which waveforms are cut or padded with silence, at the end.
        feature: "waveform" (samples, 1), "log_mel" or "mfcc".
        layout: of the spectral features: "time_frequency" (frames, bins, 1), "frequency_time" (bins, frames, 1)
            or "time" (frames, bins), a one-dimensional map whose channels are the frequency bins.
        normalise: "set" (by `mean` and `std`), "example" (each bin of each example by its own) or "none".
        mean: of each bin, or of the waveform, over the training split.
        std: standard deviation, likewise.
        front_end: computes the spectral features; None for waveforms.
        raw_dtype: "int16", or "float32" between -1 and 1.
        fill_silence: whether spectral frames in digital silence before or after a recording, such as the padding of a
            short one, become as quiet as the quietest frames of the recording, and do not count for mean and standard
            deviation. Otherwise they are far from all that is ever recorded.
    """

    sample_rate: int
    samples: int
    feature: str
    layout: str
    normalise: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    front_end: FrontEnd | None
    raw_dtype: str = "int16"
    fill_silence: bool = False

    suffixes = tuple(SUFFIXES)

    def __post_init__(self):
        if isinstance(self.front_end, dict):  # as read from JSON
            object.__setattr__(self, "front_end", FrontEnd(**self.front_end))

    @classmethod
    @checked
    def fit(
        cls,
        train: Recordings,
        *,
        feature: str = "log_mel",
        layout: str = "time_frequency",
        normalise: str = "set",
        feature_style: str = "librosa",
        window_ms: PositiveFloat = 25.0,
        hop_ms: PositiveFloat = 10.0,
        n_fft: FrameLength | None = None,
        n_mels: Bins = 40,
        fmin: NonNegativeFloat = 20.0,
        fmax: PositiveFloat | None = None,
        n_mfcc: Bins = 13,
        fill_silence: bool = False,
    ) -> AudioPreprocess:
        """Take sample rate, length and statistics from the raw training recordings.

        Args:
            train: the training split.
            feature: as the attribute of this name; so are `layout` and `normalise`.
            layout: see `feature`.
            normalise: see `feature`.
            feature_style: as the attribute of `FrontEnd` of this name; so are `n_mels`, `fmin` and `n_mfcc`.
            window_ms: length of a frame in milliseconds.
            hop_ms: distance between frames in milliseconds.
            n_fft: size of the Fourier transform; by default the smallest power of two that holds a frame.
            n_mels: see `feature_style`.
            fmin: see `feature_style`.
            fmax: upper edge of the highest mel filter in hertz; by default half the sample rate.
            n_mfcc: see `feature_style`.
            fill_silence: as the attribute of this name.

        Raises:
            ValueError: for a value that is unknown or does not fit the recordings.
        """
        lookup("feature", feature, FEATURES)
        lookup("layout", layout, LAYOUTS)
        lookup("normalise", normalise, dict.fromkeys(NORMALISE))
        rate, samples = train.sample_rate, train.inputs.shape[1]
        front_end = None
        if feature != "waveform":
            window, hop = round(rate * window_ms / 1000), round(rate * hop_ms / 1000)
            front_end = FrontEnd(
                sample_rate=rate,
                win_length=window,
                hop_length=hop,
                n_fft=n_fft or 2 ** max(1, (window - 1).bit_length()),
                n_mels=n_mels,
                fmin=float(fmin),
                fmax=float(fmax or rate / 2),
                n_mfcc=n_mfcc if feature == "mfcc" else min(n_mfcc, n_mels),
                feature_style=feature_style,
            )
            if front_end.frames(samples) < 1:
                raise ValueError(f"a frame has {window} samples, but the recordings only {samples}; give more seconds")
        kind, mask = str(train.inputs.dtype), fill_silence and front_end is not None
        step = cls(rate, samples, feature, layout, normalise, (0.0,), (1.0,), front_end, kind, mask)
        return step.fitted(sampled(train.inputs)) if normalise == "set" else step

    def fitted(self, inputs: np.ndarray) -> AudioPreprocess:
        """Return a copy with the mean and standard deviation of each bin over raw recordings (n, samples)."""
        count, total, squares = 0, 0.0, 0.0
        for start in range(0, len(inputs), 256):
            features, known = map(keras.ops.convert_to_numpy, self.features_and_mask(inputs[start : start + 256]))
            features, known = features.astype("float64"), np.broadcast_to(known, (*features.shape[:2], 1))
            count += known.sum()
            total, squares = total + (features * known).sum((0, 1)), squares + (features**2 * known).sum((0, 1))
        mean = total / max(count, 1)
        std = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))
        # a bin that is constant but for rounding is not scaled
        std = np.where(std > CONSTANT * np.maximum(np.abs(mean), 1e-3), std, 1.0)
        return dataclasses.replace(self, mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the model's input."""
        if self.feature == "waveform":
            return (self.samples, 1)
        frames = self.front_end.frames(self.samples)
        bins = self.front_end.n_mels if self.feature == "log_mel" else self.front_end.n_mfcc
        shapes = {"time_frequency": (frames, bins, 1), "frequency_time": (bins, frames, 1), "time": (frames, bins)}
        return shapes[self.layout]

    @property
    def time_axis(self) -> int:
        """The axis of time of the input, counted with the batch."""
        return 2 if self.front_end is not None and self.layout == "frequency_time" else 1

    @property
    def step(self) -> int:
        """Samples from one position of the input to the next."""
        return 1 if self.front_end is None else self.front_end.hop_length

    @property
    def raw_shape(self) -> tuple[int | None, ...]:
        """Shape of one raw waveform, of any length."""
        return (None,)

    @property
    def loader_options(self) -> dict:
        """Options with which a dataset's loader gives raw examples like those of the training."""
        return {"sample_rate": self.sample_rate, "seconds": self.samples / self.sample_rate}

    def __call__(self, raw):
        """Prepare a batch of raw waveforms (batch, samples): an array, a tensor, or a symbolic Keras tensor."""
        features, known = self.features_and_mask(raw)
        if self.normalise == "set":
            features = frontends.normalise_by(features, self.mean, self.std)
        elif self.normalise == "example":
            features = frontends.normalise_each(features, known if self.fill_silence else None)
        features = frontends.quiet_outside(features, known) if self.fill_silence else features
        return features if self.feature == "waveform" else LAYOUTS[self.layout](features)

    def features_and_mask(self, raw):
        """Return features before normalisation, (batch, frames, bins) or (batch, samples, 1), and 1 for known ones.

        The mask is (batch, frames, 1), or of one value where nothing is masked.
        """
        waves = keras.ops.cast(raw, "float32") * (1 / FULL_SCALE if self.raw_dtype == "int16" else 1.0)
        waves = frontends.fit_length(waves, self.samples)
        if self.feature == "waveform":
            return waves[..., None], keras.ops.ones((1, 1, 1))
        features = FEATURES[self.feature](self.front_end, waves)
        if not self.fill_silence:
            return features, keras.ops.ones((1, 1, 1))
        return features, frontends.between_silences(waves, features.shape[1], self.step)

    def read(self, path: str | Path) -> np.ndarray:
        """Read one audio file as a raw waveform, (samples,), at the training's sample rate; warn of what was changed.

        Raises:
            ValueError: if it is not audio, or broken.
        """
        wave, changes = self.read_with_changes(path)
        warn_of_changes((str(path), what) for what in changes)
        return wave

    def read_with_changes(self, path: str | Path) -> tuple[np.ndarray, list[str]]:
        """Read one audio file as `read` does; return what was changed in place of a warning."""
        sound = read_audio(Path(path).expanduser())
        wave = resampled(sound.wave, sound.sample_rate, self.sample_rate)
        return to_int16(wave) if self.raw_dtype == "int16" else wave, changes_of(sound, self.sample_rate)

    def windows(self, window: float | None = None, hop: float | None = None) -> Windows:
        """Return how longer recordings are divided, by default into clips of the training's length; in seconds."""
        return Windows.of(window, hop, self.samples, self.sample_rate)

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
