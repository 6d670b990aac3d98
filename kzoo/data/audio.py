"""Audio sets: reading files, the step from raw waveforms to the model's input, augmentation, and the loaders."""

from __future__ import annotations

import collections
import dataclasses
import importlib.util
import io
import itertools
import operator
import re
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kzoo.data import frontends
from kzoo.data import tfds as tfds_sets
from kzoo.data.frontends import FrontEnd, resampled
from kzoo.data.image import collect
from kzoo.data.splits import MODALITIES, Examples, Modality, RawData, register_dataset
from kzoo.data.synthetic_speech import draw_utterances, place_in_clips, speak
from kzoo.data.transforms import fold, uniform
from kzoo.lazy import lazy_import
from kzoo.registry import did_you_mean, lookup

keras = lazy_import("keras")
np = lazy_import("numpy")
soundfile = lazy_import("soundfile")
tensorflow_datasets = lazy_import("tensorflow_datasets")
tf = lazy_import("tensorflow")

SUFFIXES = {  # of files, and what libsndfile calls the formats that they promise
    ".wav": ("WAV", "WAVEX", "RF64"),
    ".flac": ("FLAC",),
    ".ogg": ("OGG",),
    ".mp3": ("MP3", "MPEG"),
}
FULL_SCALE = 32768  # a 16-bit sample of this size would be 1.0
SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}  # folders' names
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COMMANDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
SILENCE, UNKNOWN = "_silence_", "_unknown_"
OTHER_WORDS = (
    *("backward", "bed", "bird", "cat", "dog", "follow", "forward", "happy", "house", "learn", "marvin", "sheila"),
    *("tree", "visual", "wow", *DIGITS),
)


@dataclass(frozen=True)
class Recordings(Examples):
    """Raw recordings: int16 of shape (n, samples), all at one sample rate.

    Args:
        sample_rate: samples per second.
        groups: who speaks, a name for each recording, or None where that is not known.
    """

    sample_rate: int = 16000
    groups: np.ndarray | None = None

    def take(self, indices: np.ndarray) -> Recordings:
        """Return the recordings at these places."""
        groups = None if self.groups is None else self.groups[indices]
        return dataclasses.replace(self, inputs=self.inputs[indices], labels=self.labels[indices], groups=groups)


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


@dataclass(frozen=True)
class AudioAugment:
    """Shift, play faster or slower, change the loudness, add noise, and hide parts of the spectrogram (SpecAugment).

    Everything is drawn for each recording of a batch on its own, from the seed alone.

    Args:
        shift: up to such a share of the clip earlier or later; silence comes in.
        speed: up to such a share faster or slower (and higher or lower).
        gain: up to such a share quieter.
        noise: up to such a share of the recording's amplitude of white noise; 0.1 is 20 dB below it.
        time_mask: frames hidden at most, of the spectrogram (Park et al., 2019, https://arxiv.org/abs/1904.08779).
        band_mask: bands hidden at most, likewise.
        masks: how many masks of each kind.

    Raises:
        ValueError: for a value out of its range.
    """

    shift: float = 0.0
    speed: float = 0.0
    gain: float = 0.0
    noise: float = 0.0
    time_mask: int = 0
    band_mask: int = 0
    masks: int = 1

    def __post_init__(self):
        ranges = {"shift": 1, "speed": 0.5, "gain": 1, "noise": 10, "time_mask": 10000, "band_mask": 1000, "masks": 20}
        for name, highest in ranges.items():
            if not 0 <= getattr(self, name) <= highest:
                raise ValueError(f"augment.{name} must lie between 0 and {highest}, got {getattr(self, name)}")

    def __call__(self, waves, seed):
        """Return a changed batch (batch, samples), float32 in the raw range.

        Args:
            waves: raw recordings, 16-bit or float.
            seed: integer tensor of shape (2,).
        """
        waves = tf.cast(waves, tf.float32)
        count = tf.shape(waves)[0]
        if self.shift or self.speed:
            shift = uniform(count, fold(seed, 1)) * self.shift * waves.shape[1]
            waves = frontends.move_in_time(waves, shift, 1 + uniform(count, fold(seed, 2)) * self.speed)
        if self.noise:
            noise = tf.random.stateless_normal(tf.shape(waves), fold(seed, 3))
            waves = frontends.add_noise(waves, noise, self.noise * tf.abs(uniform(count, fold(seed, 4))))
        if self.gain:
            waves = waves * (1 - self.gain * tf.abs(uniform(count, fold(seed, 5))))[:, None]
        return waves

    def features(self, batch, seed, preprocess: AudioPreprocess):
        """Return prepared features with some frames and some bands set to 0, the mean where normalised by the set.

        Args:
            batch: what `preprocess` returned.
            seed: integer tensor of shape (2,).
            preprocess: tells which axis is time.

        Raises:
            ValueError: if masks are asked for of a waveform.
        """
        if not (self.masks and (self.time_mask or self.band_mask)):
            return batch
        if preprocess.feature == "waveform":
            raise ValueError("augment.time_mask and band_mask are for spectrograms; the feature is 'waveform'")
        time = 2 if preprocess.layout == "frequency_time" else 1
        for number in range(self.masks):
            batch = mask_somewhere(batch, time, self.time_mask, fold(seed, 10 + 2 * number))
            batch = mask_somewhere(batch, 3 - time, self.band_mask, fold(seed, 11 + 2 * number))
        return batch


def mask_somewhere(batch, axis: int, longest: int, seed):
    """Hide 0 to `longest` places on one axis of each example, anywhere."""
    if not longest:
        return batch
    count, width = tf.shape(batch)[0], batch.shape[axis]
    share = (uniform(count, fold(seed, 1)) + 1) / 2
    length = tf.floor(share * (min(longest, width) + 1))
    start = tf.floor((uniform(count, fold(seed, 2)) + 1) / 2 * (width - length + 1))
    return frontends.mask_bands(batch, axis, width, tf.cast(start, tf.int32), tf.cast(length, tf.int32))


MODALITIES["audio"] = Modality(AudioPreprocess, AudioAugment)


class Sound(NamedTuple):
    """One file as it was read: mono, float32 between -1 and 1, and what the file was."""

    path: str
    wave: np.ndarray
    sample_rate: int
    channels: int
    format: str


def check_soundfile() -> None:
    """Raise a ValueError that says what to install, if audio files cannot be read."""
    if importlib.util.find_spec("soundfile") is None:
        raise ValueError("reading audio files needs the package soundfile; pip install 'kzoo[audio]'")


def read_audio(path: Path | zipfile.Path) -> Sound:
    """Read a WAV, FLAC, OGG or MP3 file of any sample format; several channels are mixed down to their mean.

    Raises:
        ValueError: if the file is missing, empty, cut short or not audio, or holds NaN.
    """
    check_soundfile()
    try:
        data = path.read_bytes()
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not data:
        raise ValueError(f"{path} is empty, 0 bytes")
    check_whole_wav(path, data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            samples = file.read(dtype="float32", always_2d=True)
            rate, channels, format, frames = file.samplerate, file.channels, file.format, file.frames
    except soundfile.SoundFileError as error:
        raise ValueError(f"{path} cannot be read as audio: {error}") from error
    if len(samples) == 0:
        raise ValueError(f"{path} holds no samples")
    if len(samples) < frames:
        raise ValueError(f"{path} is cut short: {len(samples)} of {frames} samples are there")
    if not np.isfinite(samples).all():
        raise ValueError(f"{path} holds NaN or infinity")
    return Sound(str(path), samples.mean(axis=1), rate, channels, format)


def check_whole_wav(path, data: bytes) -> None:
    """Raise a ValueError if a WAV file ends before the samples that it announces; libsndfile would not say so."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return
    place = 12
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] == b"data":
            there = len(data) - place - 8
            if there < size < 2**32 - 2**12:  # programs that write to a pipe announce the most there can be
                raise ValueError(f"{path} is cut short: {there} of {size} bytes of samples are there")
            return
        place += 8 + size + size % 2
    raise ValueError(f"{path} is cut short: it ends before its samples")


def remark(sounds: Iterable[Sound], sample_rate: int) -> None:
    """Warn, once for each kind, of what was changed in files and of what may be wrong with them."""
    said = collections.defaultdict(list)
    for sound in sounds:
        if sound.channels > 1:
            said[f"with {sound.channels} channels, mixed down to one"].append(sound.path)
        if sound.sample_rate != sample_rate:
            said[f"at {sound.sample_rate} Hz, resampled to {sample_rate} Hz"].append(sound.path)
        if sound.format not in SUFFIXES.get(Path(sound.path).suffix.lower(), sound.format):
            said[f"of another format than the name says, {sound.format}"].append(sound.path)
        loudest = np.abs(sound.wave).max()
        if loudest == 0:
            said["of nothing but silence"].append(sound.path)
        if loudest > 1.0001:
            said["louder than full scale, clipped"].append(sound.path)
    for what, paths in said.items():
        warnings.warn(f"{len(paths)} file{'s' * (len(paths) > 1)} {what}, e.g. {paths[0]}", stacklevel=3)


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Return a waveform between -1 and 1 as 16-bit samples."""
    return np.clip(np.round(wave * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("int16")


def cut_or_pad(wave: np.ndarray, samples: int) -> np.ndarray:
    """Return the beginning of a waveform, or all of it and silence."""
    return np.pad(wave[:samples], (0, max(0, samples - len(wave))))


def clip_samples(seconds: float, sample_rate: int) -> int:
    """Return the samples of a clip.

    Raises:
        ValueError: if one of the two is not positive.
    """
    for name, value in (("seconds", seconds), ("sample_rate", sample_rate)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ValueError(f"{name} must be a positive number, got {value!r}")
    return max(1, round(seconds * sample_rate))


class Row(NamedTuple):
    """One file of a set: where it lies, its class, its split, and who speaks if that is known."""

    file: Path | zipfile.Path
    label: str
    split: str
    group: str | None = None


@register_dataset("audio_folder:", "audio", "your own files")
def audio_folder(
    path: str,
    *,
    seconds: float = 1.0,
    sample_rate: int | None = None,
    pattern: str | None = None,
    label: str | None = None,
    speaker: str = "speaker",
    test_rule: str | None = None,
    validation_rule: str | None = None,
) -> RawData:
    """WAV, FLAC, OGG or MP3 files in one folder per class (PATH/CLASS/*), or with the class in their names.

    Args:
        path: the folder, or a .zip file of it. Without a `pattern` the classes are its folders, or those of its
            folders train, validation and test.
        seconds: length of a clip; longer files lose their end, shorter ones are followed by silence.
        sample_rate: of all clips; by default the one that most files have.
        pattern: of the names, e.g. "{digit}_{speaker}_{index}.wav", or "{word}/{speaker}_{index}.wav" with folders.
        label: the part of the pattern that is the class; by default the first.
        speaker: the part that says who speaks.
        test_rule: which files are the test split: "index<5", or "speaker=theo" or "speaker=theo,lucas" for people
            who are not heard in training.
        validation_rule: likewise.

    Raises:
        ValueError: for a missing folder, names that do not fit, fewer than two classes, or broken files (by name).
    """
    check_soundfile()
    files = audio_files(path)
    if pattern is None:
        needless = {"label": label, "test_rule": test_rule, "validation_rule": validation_rule}
        given = [name for name, value in needless.items() if value is not None]
        if given:
            raise ValueError(f"{given[0]} refers to the parts of a file's name; give the pattern, too")
        rows = rows_by_folder(path, files)
    else:
        rows = rows_by_pattern(path, files, pattern, label, speaker, {"test": test_rule, "validation": validation_rule})
    rate = sample_rate or most_common_rate(rows)
    return recorded(rows, rate, clip_samples(seconds, rate))


def audio_files(path: str) -> list[tuple[str, Path | zipfile.Path]]:
    """Return (path inside, file) of each audio file in a folder or .zip file, sorted; warn of the others.

    Raises:
        ValueError: if there is no such folder, or no audio file in it.
    """
    root = Path(path).expanduser()
    if root.is_dir():
        every = [(str(file.relative_to(root).as_posix()), file) for file in root.rglob("*") if file.is_file()]
    elif root.is_file() and zipfile.is_zipfile(root):
        archive = zipfile.ZipFile(root)
        every = [(name, zipfile.Path(archive, name)) for name in archive.namelist() if not name.endswith("/")]
    else:
        raise ValueError(f"there is no folder {root}, and no .zip file")
    every = [(inside, file) for inside, file in sorted(every, key=lambda pair: pair[0]) if file.name[0] != "."]
    found = [(inside, file) for inside, file in every if Path(inside).suffix.lower() in SUFFIXES]
    if not found:
        raise ValueError(f"no audio files ({', '.join(sorted(SUFFIXES))}) in {root}")
    if len(found) < len(every):
        other = next(inside for inside, _ in every if Path(inside).suffix.lower() not in SUFFIXES)
        warnings.warn(f"passed over {len(every) - len(found)} files that are no audio, e.g. {other}", stacklevel=3)
    return found


def rows_by_folder(path: str, files: Sequence[tuple[str, Path | zipfile.Path]]) -> list[Row]:
    """Return the rows of files in class folders, below train, validation and test where there is a train."""
    parts = [(inside.split("/"), file) for inside, file in files]
    if any(names[0] == "train" for names, _ in parts):
        rows = [Row(file, names[1], SPLITS[names[0]]) for names, file in parts if names[0] in SPLITS and names[2:]]
    else:
        rows = [Row(file, names[0], "train") for names, file in parts if names[1:]]
    if not rows:
        raise ValueError(f"no audio files in class folders below {path}; where names carry the class, give a pattern")
    return rows


def rows_by_pattern(
    path: str, files: Sequence, pattern: str, label: str | None, speaker: str, rules: dict[str, str | None]
) -> list[Row]:
    """Return the rows of files whose names follow a pattern; warn of those that do not.

    Raises:
        ValueError: if the pattern, the label or a rule cannot be understood, or no file fits.
    """
    names = re.findall(r"{(\w+)}", pattern)
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"a pattern names the parts of a file's name once each, as {{word}}_{{index}}.wav; got {pattern}"
        )
    label = label or names[0]
    if label not in names:
        raise ValueError(f"the pattern {pattern} has no part {label!r}; {did_you_mean(label, names)}")
    chosen = {split: parse_rule(rule, names) for split, rule in rules.items() if rule is not None}
    pieces = re.split(r"{(\w+)}", pattern)
    expression = "".join(
        f"(?P<{piece}>[^/]+?)" if place % 2 else re.escape(piece) for place, piece in enumerate(pieces)
    )
    rows, others = [], []
    for inside, file in files:
        match = re.fullmatch(expression, "/".join(inside.split("/")[-1 - pattern.count("/") :]))
        if match is None:
            others.append(inside)
            continue
        fields = match.groupdict()
        split = next((split for split, rule in chosen.items() if rule(inside, fields)), "train")
        rows.append(Row(file, fields[label], split, fields.get(speaker)))
    if not rows:
        raise ValueError(f"no file in {path} has a name like {pattern}; the first is {others[0]}")
    if others:
        warnings.warn(f"passed over {len(others)} files without a name like {pattern}, e.g. {others[0]}", stacklevel=3)
    for split in chosen:
        if not any(row.split == split for row in rows):
            raise ValueError(f"no file fits the {split}_rule {rules[split]!r}")
    return rows


COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


def parse_rule(rule: str, names: Sequence[str]) -> Callable[[str, dict[str, str]], bool]:
    """Return a function of (file, parts of its name) for a rule as "index<5" or "speaker=theo,lucas".

    Raises:
        ValueError: if it cannot be understood.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>|=)\s*(.+?)\s*", rule)
    if match is None:
        raise ValueError(f"cannot understand the rule {rule!r}; expected e.g. index<5 or speaker=theo")
    name, sign, value = match.groups()
    if name not in names:
        raise ValueError(f"the rule {rule!r} asks for {name!r}; {did_you_mean(name, names)}")
    if sign == "=":
        values = [part.strip() for part in value.split(",")]
        return lambda file, fields: fields[name] in values

    def number(text: str, where: str) -> float:
        try:
            return float(text)
        except ValueError as error:
            raise ValueError(f"the rule {rule!r} compares numbers, but {where} says {text!r}") from error

    limit = number(value, "it")
    return lambda file, fields: COMPARISONS[sign](number(fields[name], file), limit)


def most_common_rate(rows: Sequence[Row]) -> int:
    """Return the sample rate that most files have; files whose header is broken are left for `read_audio`."""
    rates = collections.Counter()
    for row in rows:
        try:
            with row.file.open("rb") as file:
                rates[soundfile.info(io.BytesIO(file.read())).samplerate] += 1
        except soundfile.SoundFileError:
            continue
    return rates.most_common(1)[0][0] if rates else 16000


def recorded(rows: Sequence[Row], sample_rate: int, samples: int) -> RawData:
    """Read all files of a set.

    Raises:
        ValueError: for fewer than two classes, or naming every file that cannot be read.
    """
    class_names = sorted({row.label for row in rows})
    if len(class_names) < 2:
        raise ValueError(f"the recordings are of {len(class_names)} class, {class_names[0]}; expected at least 2")
    by_split = {split: [row for row in rows if row.split == split] for split in ("train", "validation", "test")}
    if not by_split["train"]:
        raise ValueError("no recordings are left for training")
    splits = {split: read_rows(part, class_names, sample_rate, samples) for split, part in by_split.items() if part}
    return RawData(splits["train"], splits.get("validation"), splits.get("test"), tuple(class_names))


def read_rows(rows: Sequence[Row], class_names: Sequence[str], sample_rate: int, samples: int) -> Recordings:
    """Read audio files in parallel; warn of those that were changed or lose their end.

    Raises:
        ValueError: naming every file that cannot be read.
    """
    broken, heard, longer = [], [], []

    def read(row: Row) -> tuple[Sound, np.ndarray] | ValueError:
        try:
            sound = read_audio(row.file)
            return sound, resampled(sound.wave, sound.sample_rate, sample_rate)
        except ValueError as error:
            return error

    def clips(results) -> Iterator[np.ndarray]:
        for result in results:
            if isinstance(result, ValueError):
                broken.append(result)
                continue
            sound, wave = result
            heard.append(sound._replace(wave=sound.wave[[np.abs(sound.wave).argmax()]]))  # the loudest sample is enough
            if len(wave) > samples:
                longer.append(sound.path)
            if not broken:
                yield cut_or_pad(to_int16(wave), samples)

    with ThreadPoolExecutor() as pool:
        inputs = collect(clips(pool.map(read, rows)), len(rows), "reading audio")
    if broken:
        more = f" (and {len(broken) - 5} more files)" if len(broken) > 5 else ""
        raise ValueError("; ".join(str(error) for error in broken[:5]) + more)
    remark(heard, sample_rate)
    if longer:
        seconds = samples / sample_rate
        warnings.warn(
            f"{len(longer)} of {len(rows)} files lose what comes after {seconds:g} s, e.g. {longer[0]}", stacklevel=4
        )
    labels = np.array([class_names.index(row.label) for row in rows], "int32")
    groups = np.array([row.group for row in rows]) if all(row.group is not None for row in rows) else None
    return Recordings(inputs, labels, sample_rate, groups)


@register_dataset("spoken_digits_synthetic", "audio", "spoken by eSpeak NG (GPL-3.0, a pip package)")
def spoken_digits_synthetic(
    *,
    sample_rate: int = 8000,
    seconds: float = 1.0,
    per_class: int = 100,
    voice_seed: int = 0,
) -> RawData:
    """Spoken digits in English, 87 synthetic voices, 10 classes; needs no download.

    The voices of the train, validation and test split are different ones.

    Args:
        sample_rate: samples per second.
        seconds: length of a clip.
        per_class: recordings of each digit to train on; a fifth of it to validate, and two fifths to test.
        voice_seed: of the choice of voice, accent, rate, pitch, loudness and noise.

    Raises:
        ValueError: if the package espeakng-loader is not installed.
    """
    return spoken(DIGITS, DIGITS, sample_rate, seconds, per_class, voice_seed)


@register_dataset("spoken_commands_synthetic", "audio", "spoken by eSpeak NG (GPL-3.0, a pip package)")
def spoken_commands_synthetic(
    *,
    classes: int = 12,
    sample_rate: int = 16000,
    seconds: float = 1.0,
    per_class: int = 100,
    voice_seed: int = 0,
) -> RawData:
    """The words of Speech Commands, 87 synthetic voices, 12 or 35 classes; needs no download.

    Args:
        classes: 12 (ten commands, silence, and 25 other words as "unknown"), 10 (the commands) or 35 (all words).
        sample_rate: samples per second.
        seconds: length of a clip.
        per_class: recordings of each class to train on; a fifth of it to validate, and two fifths to test.
        voice_seed: of the choice of voice, accent, rate, pitch, loudness and noise.

    Raises:
        ValueError: for another number of classes, or if the package espeakng-loader is not installed.
    """
    names = class_names_of(classes, (10, 12, 35))
    return spoken(names, OTHER_WORDS, sample_rate, seconds, per_class, voice_seed)


def class_names_of(classes: int, choices: Sequence[int]) -> tuple[str, ...]:
    """Return the class names of Speech Commands with so many classes."""
    names = {10: COMMANDS, 12: (*COMMANDS, SILENCE, UNKNOWN), 35: tuple(sorted((*COMMANDS, *OTHER_WORDS)))}
    if classes not in choices:
        raise ValueError(f"classes must be one of {', '.join(map(str, choices))}, got {classes!r}")
    return names[classes]


def spoken(
    class_names: Sequence[str], others: Sequence[str], sample_rate: int, seconds: float, per_class: int, seed: int
) -> RawData:
    """Return words spoken by eSpeak NG; the classes `SILENCE` and `UNKNOWN` are noise and the other words."""
    samples = clip_samples(seconds, sample_rate)
    if per_class < 5:
        raise ValueError(f"per_class must be at least 5, got {per_class}")
    counts = {"train": per_class, "validation": per_class // 5, "test": 2 * per_class // 5}

    def split(name: str, number: int) -> Recordings:
        rng = np.random.default_rng([seed, number])
        labels = np.repeat(np.arange(len(class_names), dtype="int32"), counts[name])
        foreign = itertools.cycle(others)
        words = [next(foreign) if class_names[label] == UNKNOWN else class_names[label] for label in labels]
        utterances = draw_utterances(words, name, rng)
        sounding = [utterance for utterance in utterances if utterance.text != SILENCE]
        heard = iter(speak(sounding, sample_rate))
        nothing = np.zeros(1, "float32")
        waves = [nothing if utterance.text == SILENCE else next(heard) for utterance in utterances]
        voices = np.array([utterance.voice.split("+")[1] for utterance in utterances])
        return Recordings(place_in_clips(waves, samples, rng), labels, sample_rate, voices)

    return RawData(*(split(name, number) for number, name in enumerate(counts)), tuple(class_names))


@register_dataset("speech_commands", "audio", "P. Warden, Google; CC-BY-4.0")
def speech_commands(
    *, classes: int = 12, seconds: float = 1.0, data_dir: str | None = None, download: bool = True
) -> RawData:
    """105,829 spoken words, 16 kHz, 12 or 35 classes, with the official splits.

    12 classes are those of tensorflow-datasets: ten commands, silence (pieces of the background noise) and all
    other words as unknown. 35 classes are all words, from the original archive and its lists of files.

    Args:
        classes: 12 or 35.
        seconds: length of a clip.
        data_dir: folder of prepared sets, as for `tfds:NAME`.
        download: False never touches the network.

    Raises:
        ValueError: for another number of classes, or files that are neither here nor to be had.
    """
    names = class_names_of(classes, (12, 35))
    samples = clip_samples(seconds, 16000)
    if classes == 35:
        return read_archive(commands_archive(data_dir, download), names, samples)
    return from_tfds("speech_commands", 16000, samples, data_dir, download)


@register_dataset("spoken_digit", "audio", "Z. Jackson and others; CC-BY-SA-4.0")
def spoken_digit(*, seconds: float = 1.0, data_dir: str | None = None, download: bool = True) -> RawData:
    """2,500 spoken digits of 5 speakers, 8 kHz, 10 classes; the first five takes of each are the test split."""
    whole = from_tfds("spoken_digit", 8000, clip_samples(seconds, 8000), data_dir, download)
    parts = [name.rsplit(".", 1)[0].split("_") for name in whole.train.groups]
    first = np.array([int(part[-1]) < 5 for part in parts])
    train = dataclasses.replace(whole.train, groups=np.array([part[1] for part in parts]))
    return whole._replace(train=train.take(np.flatnonzero(~first)), test=train.take(np.flatnonzero(first)))


@register_dataset("gtzan", "audio", "G. Tzanetakis, P. Cook; research")
def gtzan(*, seconds: float = 30.0, data_dir: str | None = None, download: bool = True) -> RawData:
    """1,000 pieces of music of 30 seconds, 22.05 kHz, 10 genres; no official split."""
    whole = from_tfds("gtzan", 22050, clip_samples(seconds, 22050), data_dir, download)
    return whole._replace(train=dataclasses.replace(whole.train, groups=None))


def from_tfds(name: str, sample_rate: int, samples: int, data_dir: str | None, download: bool) -> RawData:
    """Return an audio set of tensorflow-datasets; the groups are the names of the files, where it keeps them.

    Raises:
        ValueError: if it is neither prepared nor to be had, saying which files to put where.
    """
    builder = tfds_sets.find_builder(name, data_dir)
    if importlib.util.find_spec("pydub") is None and not builder.is_prepared():
        raise ValueError(f"tensorflow-datasets needs the package pydub to prepare {name}; pip install 'kzoo[audio]'")
    if not builder.is_prepared():
        (prepare_unlisted if builder.url_infos is None else tfds_sets.prepare)(builder, download)
    splits = {
        split: read_tfds_split(builder, split, sample_rate, samples)
        for split in ("train", "validation", "test")
        if split in builder.info.splits
    }
    names = tuple(builder.info.features["label"].names)
    return RawData(splits["train"], splits.get("validation"), splits.get("test"), names)


def prepare_unlisted(builder, download: bool) -> None:
    """Prepare a set whose files tensorflow-datasets does not list with checksums, as gtzan: from the network alone.

    Raises:
        ValueError: if `download` is False or fails.
    """
    from requests import RequestException, head
    from tensorflow_datasets.core.download.util import DownloadError

    instead = "unpack its files yourself and read them as audio_folder:PATH"
    if not download:
        raise ValueError(f"{builder.name} is not prepared in {builder.data_dir} and download=False; {instead}")
    try:
        head(builder.info.homepage, timeout=20)  # tensorflow-datasets itself tries for minutes
        builder.download_and_prepare()
    except (OSError, RequestException, DownloadError) as error:
        raise ValueError(f"{builder.name} cannot be downloaded ({tfds_sets.gist(error)}); {instead}") from error


def read_tfds_split(builder, split: str, sample_rate: int, samples: int) -> Recordings:
    """Decode one split into arrays, in the set's own order."""
    count = builder.info.splits[split].num_examples
    labels, names = np.empty(count, "int32"), []

    def clips() -> Iterator[np.ndarray]:
        examples = tensorflow_datasets.as_numpy(builder.as_dataset(split=split, shuffle_files=False))
        for place, example in enumerate(examples):
            labels[place] = example["label"]
            names.append(example.get("audio/filename", b"").decode())
            yield cut_or_pad(np.clip(example["audio"], -FULL_SCALE, FULL_SCALE - 1).astype("int16"), samples)

    inputs = collect(clips(), count, f"reading {builder.name} {split}")
    return Recordings(inputs, labels, sample_rate, np.array(names) if any(names) else None)


def commands_archive(data_dir: str | None, download: bool) -> Path:
    """Return the original archive of Speech Commands, from `data_dir/speech_commands` or from the network.

    Raises:
        ValueError: if it is not there and cannot be downloaded.
    """
    from requests import RequestException, head

    builder = tfds_sets.find_builder("speech_commands", data_dir)
    own = Path(builder.data_dir).parents[len(Path(builder.info.full_name).parts) - 2]
    url, info = next(pair for pair in builder.url_infos.items() if "test_set" not in pair[0])
    file = own / Path(url).name
    what_to_do = f"put {file.name} into {own}"
    if file.exists():
        return file
    if not download:
        raise ValueError(f"speech_commands is not in {own} and download=False; {what_to_do}")
    try:
        head(url, timeout=20)
        keras.utils.get_file(file.name, url, file_hash=info.checksum, cache_dir=own, cache_subdir=".")
    except (OSError, RequestException) as error:
        raise ValueError(f"speech_commands cannot be downloaded ({tfds_sets.gist(error)}); {what_to_do}") from error
    return file


def read_archive(archive: Path, class_names: tuple[str, ...], samples: int) -> RawData:
    """Read the words of Speech Commands from its archive, split by the lists of files inside.

    Raises:
        ValueError: if it is not that archive.
    """
    check_soundfile()
    try:
        with tarfile.open(archive) as tar:
            names = [member.name.removeprefix("./") for member in tar if member.isfile()]
            lists = {
                split: set(tar.extractfile(member).read().decode().split())
                for split, file in (("validation", "validation_list.txt"), ("test", "testing_list.txt"))
                for member in tar.getmembers()
                if member.name.removeprefix("./") == file
            }
            if len(lists) < 2:
                raise ValueError(f"{archive} holds no validation_list.txt and testing_list.txt")
            words = [name for name in names if name.endswith(".wav") and name.split("/")[0] in class_names]
            split_of = {name: next((s for s, files in lists.items() if name in files), "train") for name in words}
            return RawData(*fill_splits(tar, split_of, class_names, samples), class_names)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{archive} cannot be read as an archive: {error}") from error


def fill_splits(
    tar: tarfile.TarFile, split_of: dict[str, str], class_names: tuple[str, ...], samples: int
) -> list[Recordings | None]:
    """Read the files of an archive in its own order into one set of recordings, and divide it."""
    order = []

    def clips() -> Iterator[np.ndarray]:
        for member in tar.getmembers():
            name = member.name.removeprefix("./")
            if name in split_of:
                order.append(name)
                wave, rate = soundfile.read(io.BytesIO(tar.extractfile(member).read()), dtype="int16")
                if rate != 16000:
                    raise ValueError(f"{name} is at {rate} Hz, expected 16000 Hz")
                yield cut_or_pad(wave, samples)

    inputs = collect(clips(), len(split_of), "reading speech_commands")
    labels = np.array([class_names.index(name.split("/")[0]) for name in order], "int32")
    people = np.array([name.split("/")[1].split("_")[0] for name in order])
    whole = Recordings(inputs, labels, 16000, people)
    places = {split: [i for i, name in enumerate(order) if split_of[name] == split] for split in SPLITS.values()}
    return [whole.take(np.array(part)) if part else None for part in places.values()]
