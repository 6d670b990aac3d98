"""Audio data augmentation: of raw waveforms, and SpecAugment masks of their spectrograms."""

from __future__ import annotations

import dataclasses
import functools
import zipfile
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.lazy import np, tf
from kzoo.data.audio import frontends
from kzoo.data.audio.files import SUFFIXES, read_audio, to_int16, warn_of_changes
from kzoo.data.audio.frontends import resampled
from kzoo.data.audio.preprocess import AudioPreprocess
from kzoo.data.folders import files_with_suffix, read_each
from kzoo.data.mixing import Mixing
from kzoo.data.pipeline import computed
from kzoo.data.random import check_ranges, fold, signed_uniform


@dataclass(frozen=True, eq=False)
class Background:
    """Recordings of noise, each at least as long as a clip.

    Args:
        samples: concatenated recordings, 16-bit of shape (n,).
        lengths: number of samples of each.
    """

    samples: np.ndarray
    lengths: tuple[int, ...]

    def segments(self, count, length: int, seed):
        """Return random segments (count, length), float32; each lies within one recording."""
        starts = np.array(self.lengths, "int64") - length + 1  # number of possible starts in each recording
        ends = np.cumsum(starts)
        position = tf.cast(signed_uniform(count, seed) + 1, tf.float64) / 2
        index = tf.minimum(tf.cast(position * ends[-1], tf.int64), ends[-1] - 1)
        recording = tf.searchsorted(tf.constant(ends), index, side="right")
        start = index + tf.gather(np.cumsum(self.lengths) - self.lengths - ends + starts, recording)
        with tf.init_scope():  # large constants do not belong into the graph
            samples = tf.constant(self.samples)
        return tf.cast(tf.gather(samples, start[:, None] + tf.range(length, dtype=tf.int64)[None]), tf.float32)


def read_background(path: Path, preprocess: AudioPreprocess) -> Background:
    """Read a folder, .zip file or file of noise; a recording shorter than a clip is repeated.

    Raises:
        ValueError: if it contains no audio, or naming every damaged file.
    """
    alone = path.is_file() and not zipfile.is_zipfile(path)
    files = [path] if alone else files_with_suffix(str(path), SUFFIXES, "audio files").files()
    sounds = list(read_each(read_audio, files))
    warn_of_changes(sounds, preprocess.sample_rate)
    waves = [to_int16(resampled(sound.wave, sound.sample_rate, preprocess.sample_rate)) for sound in sounds]
    waves = [np.resize(wave, max(len(wave), preprocess.samples)) for wave in waves]
    return Background(np.concatenate(waves), tuple(map(len, waves)))


@dataclass(frozen=True)
class AudioAugment(Mixing):
    """Time shift, speed, gain, additive noise and SpecAugment masks; mixup and cutmix.

    All random numbers are drawn per recording, from the seed alone. `mixup` and `cutmix` mix the model's input,
    spectrograms or waveforms; cutmix replaces a span of time over all frequencies.

    Args:
        shift: largest shift in time, as a fraction of the clip, in both directions; the gap is silence.
        speed: largest relative change of the playback speed (and of the pitch), in both directions.
        gain: largest relative reduction of the amplitude.
        noise: largest amplitude of white noise, relative to that of the recording; 0.1 is an SNR of 20 dB.
        background: a folder, .zip file or file of recorded noise, as `_background_noise_` of Speech Commands; random
            segments of it are mixed in. `load_dataset` reads it, at the training's sample rate.
        background_snr: smallest and largest signal-to-noise ratio of `background`, in decibels over the whole clip;
            silence stays silence.
        time_mask: largest number of masked frames of the spectrogram (SpecAugment; Park et al., 2019,
            https://arxiv.org/abs/1904.08779).
        frequency_mask: largest number of masked frequency bins, likewise.
        masks: number of time masks and of frequency masks.
        keep_silence: add no noise to digital silence before and after a recording, such as padding; so it is where the
            preprocessing masks it.

    Raises:
        ValueError: for a value out of its range, or a background that does not exist.
    """

    shift: float = 0.0
    speed: float = 0.0
    gain: float = 0.0
    noise: float = 0.0
    background: str | Path | Background | None = None
    background_snr: tuple[float, float] = (0.0, 20.0)
    time_mask: int = 0
    frequency_mask: int = 0
    masks: int = 1
    keep_silence: bool = False

    def __post_init__(self):
        super().__post_init__()
        ranges = {
            "shift": 1,
            "speed": 0.5,
            "gain": 1,
            "noise": 10,
            "time_mask": 10000,
            "frequency_mask": 1000,
            "masks": 20,
        }
        check_ranges(self, ranges)
        self.check_background()

    def check_background(self) -> None:
        """Raise a ValueError for an SNR that is no range, or a path that does not exist."""
        snr = self.background_snr
        if not isinstance(snr, (list, tuple)) or len(snr) != 2 or not -100 <= snr[0] <= snr[1] <= 100:
            raise ValueError(f"augment.background_snr must be [smallest, largest] in decibels, got {snr!r}")
        if self.unread and not Path(self.background).expanduser().exists():
            raise ValueError(f"augment.background: there is no file or folder {self.background}")

    @property
    def unread(self) -> bool:
        """Whether the background is still a path."""
        return isinstance(self.background, (str, Path))

    def prepared(self, preprocess: AudioPreprocess) -> AudioAugment:
        """Return a copy with the background read, at the sample rate and clip length of a training.

        Raises:
            ValueError: if it contains no audio, or damaged files (each by name).
        """
        keep = self.keep_silence or preprocess.fill_silence
        where = Path(self.background).expanduser() if self.unread else None
        background = self.background if where is None else read_background(where, preprocess)
        return dataclasses.replace(self, background=background, keep_silence=keep)

    def __call__(self, waves, seed):
        """Return an augmented batch (batch, samples), float32 in the raw range.

        Args:
            waves: raw recordings, 16-bit or float.
            seed: integer tensor of shape (2,).
        """
        waves = tf.cast(waves, tf.float32)
        count = tf.shape(waves)[0]
        if self.shift or self.speed:
            shift = signed_uniform(count, fold(seed, 1)) * self.shift * waves.shape[1]
            speed = 1 + signed_uniform(count, fold(seed, 2)) * self.speed
            waves = computed(frontends.move_in_time, waves.shape, waves, shift, speed)
        if self.noise:
            noise = self.heard(tf.random.stateless_normal(tf.shape(waves), fold(seed, 3)), waves)
            ratio = self.noise * tf.abs(signed_uniform(count, fold(seed, 4)))
            waves = computed(frontends.add_noise, waves.shape, waves, noise, ratio)
        if self.background is not None:
            waves = self.with_background(waves, fold(seed, 6))
        if self.gain:
            waves = waves * (1 - self.gain * tf.abs(signed_uniform(count, fold(seed, 5))))[:, None]
        return waves

    def with_background(self, waves, seed):
        """Mix a random segment of the background into each recording, at a random signal-to-noise ratio."""
        if self.unread:
            raise ValueError("augment.background is not read yet; call prepared(preprocess)")
        count = tf.shape(waves)[0]
        low, high = self.background_snr
        decibels = low + (high - low) * (signed_uniform(count, fold(seed, 1)) + 1) / 2
        segments = self.heard(self.background.segments(count, waves.shape[1], fold(seed, 2)), waves)
        return computed(frontends.add_noise, waves.shape, waves, segments, tf.pow(10.0, -decibels / 20))

    def heard(self, noise, waves):
        """Return noise, with `keep_silence` that from the first to the last sample of each recording that is not 0."""
        if not self.keep_silence:
            return noise
        loud = tf.cast(waves != 0, tf.float32)
        return noise * tf.cast((tf.cumsum(loud, 1) > 0) & (tf.cumsum(loud, 1, reverse=True) > 0), tf.float32)

    def features(self, batch, seed, preprocess: AudioPreprocess):
        """Return features with masked frames and frequency bins set to 0, the mean of normalised features.

        Args:
            batch: preprocessed features.
            seed: integer tensor of shape (2,).
            preprocess: says which axis is time.

        Raises:
            ValueError: for masks of a waveform.
        """
        if not (self.masks and (self.time_mask or self.frequency_mask)):
            return batch
        if preprocess.feature == "waveform":
            raise ValueError("augment.time_mask and frequency_mask are for spectrograms; the feature is 'waveform'")
        (time,) = self.cut_axes(preprocess)
        for index in range(self.masks):
            batch = mask_random_span(batch, time, self.time_mask, fold(seed, 10 + 2 * index))
            batch = mask_random_span(batch, 3 - time, self.frequency_mask, fold(seed, 11 + 2 * index))
        return batch

    def cut_axes(self, preprocess: AudioPreprocess) -> tuple[int, ...]:
        """Return the time axis."""
        return (2,) if preprocess.feature != "waveform" and preprocess.layout == "frequency_time" else (1,)


def mask_random_span(batch, axis: int, longest: int, seed):
    """Mask a span of random length, 0 to `longest`, at a random position on one axis of each example."""
    if not longest:
        return batch
    count, width = tf.shape(batch)[0], batch.shape[axis]
    length = tf.floor((signed_uniform(count, fold(seed, 1)) + 1) / 2 * (min(longest, width) + 1))
    start = tf.floor((signed_uniform(count, fold(seed, 2)) + 1) / 2 * (width - length + 1))
    mask = functools.partial(frontends.mask_span, axis, width)
    return computed(mask, batch.shape, batch, tf.cast(start, tf.int32), tf.cast(length, tf.int32))
