"""Audio datasets by name: synthetic speech, and those of tensorflow-datasets."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
from collections.abc import Iterator, Sequence

from kzoo.core.extras import missing_package
from kzoo.core.lazy import np, tfds
from kzoo.core.ranges import Extent, SampleRate, Seconds
from kzoo.data.arrays import collect
from kzoo.data.audio.files import FULL_SCALE, Recordings, clip_samples, cut_or_pad, to_int16
from kzoo.data.audio.speech_commands import (
    DIGITS,
    OTHER_WORDS,
    SILENCE,
    UNKNOWN,
    class_names_of,
    commands_archive,
    read_archive,
)
from kzoo.data.audio.synthetic_speech import draw_utterances, mix_into_clips, speak
from kzoo.data.splits import DatasetRow, RawData, register_dataset, register_datasets
from kzoo.data.tfds import Builder, find_builder, input_and_label, official_splits, prepare, targets_of
from kzoo.tasks import Tagging

MOST_AT_ONCE = 3  # digits of a mixture


@register_dataset("spoken_digits_synthetic", "audio", "spoken by eSpeak NG (GPL-3.0, a pip package)")
def spoken_digits_synthetic(
    *,
    sample_rate: SampleRate = 8000,
    seconds: Seconds = 1.0,
    per_class: Extent = 100,
    voice_seed: int = 0,
) -> RawData:
    """Spoken digits in English, 87 synthetic voices, 10 classes; needs no download.

    The voices of the train, validation and test splits are disjoint.

    Args:
        sample_rate: samples per second.
        seconds: length of a clip.
        per_class: training recordings of each digit; a fifth of it for validation, two fifths for the test split.
        voice_seed: seed of voice, accent, rate, pitch, loudness and noise.

    Raises:
        ValueError: if the package espeakng-loader is not installed.
    """
    return spoken(DIGITS, DIGITS, sample_rate, seconds, per_class, voice_seed)


@register_dataset("spoken_commands_synthetic", "audio", "spoken by eSpeak NG (GPL-3.0, a pip package)")
def spoken_commands_synthetic(
    *,
    classes: int = 12,
    sample_rate: SampleRate = 16000,
    seconds: Seconds = 1.0,
    per_class: Extent = 100,
    voice_seed: int = 0,
) -> RawData:
    """The words of Speech Commands, 87 synthetic voices, 12 or 35 classes; needs no download.

    Args:
        classes: 12 (ten commands, silence, and 25 other words as "unknown"), 10 (the commands) or 35 (all words).
        sample_rate: samples per second.
        seconds: length of a clip.
        per_class: training recordings of each class; a fifth of it for validation, two fifths for the test split.
        voice_seed: seed of voice, accent, rate, pitch, loudness and noise.

    Raises:
        ValueError: for another number of classes, or if the package espeakng-loader is not installed.
    """
    names = class_names_of(classes, (10, 12, 35))
    return spoken(names, OTHER_WORDS, sample_rate, seconds, per_class, voice_seed)


def spoken(
    class_names: Sequence[str], others: Sequence[str], sample_rate: int, seconds: float, per_class: int, seed: int
) -> RawData:
    """Return words spoken by eSpeak NG; the classes `SILENCE` and `UNKNOWN` are noise and the other words."""
    samples = clip_samples(seconds, sample_rate)
    if per_class < 5:
        raise ValueError(f"per_class must be at least 5, got {per_class}")
    counts = {"train": per_class, "validation": per_class // 5, "test": 2 * per_class // 5}

    def split(name: str, index: int) -> Recordings:
        rng = np.random.default_rng([seed, index])
        labels = np.repeat(np.arange(len(class_names), dtype="int32"), counts[name])
        foreign = itertools.cycle(others)
        words = [next(foreign) if class_names[label] == UNKNOWN else class_names[label] for label in labels]
        utterances = draw_utterances(words, name, rng)
        words = [utterance for utterance in utterances if utterance.text != SILENCE]
        spoken_waves = iter(speak(words, sample_rate))
        silence = np.zeros(1, "float32")
        waves = [silence if utterance.text == SILENCE else next(spoken_waves) for utterance in utterances]
        voices = np.array([utterance.voice.split("+")[1] for utterance in utterances])
        return Recordings(mix_into_clips(waves, samples, rng), labels, sample_rate, groups=voices)

    return RawData(*(split(name, index) for index, name in enumerate(counts)), tuple(class_names))


@register_dataset("spoken_mixtures", "audio", "spoken by eSpeak NG (GPL-3.0, a pip package)", Tagging)
def spoken_mixtures(
    *,
    sample_rate: SampleRate = 8000,
    seconds: Seconds = 1.5,
    mixtures: Extent = 1000,
    voice_seed: int = 0,
) -> RawData:
    """One to three spoken digits at the same time, 87 synthetic voices, 10 tags: which are said? Needs no download.

    The voices of the train, validation and test splits are disjoint.

    Args:
        sample_rate: samples per second.
        seconds: length of a clip.
        mixtures: training recordings; a fifth of it for validation, two fifths for the test split.
        voice_seed: seed of the digits, voices, accents, rates, pitches, positions, loudness and noise.

    Raises:
        ValueError: if the package espeakng-loader is not installed.
    """
    samples, task = clip_samples(seconds, sample_rate), Tagging(tuple(DIGITS))

    def split(name: str, index: int, count: int) -> Recordings:
        rng = np.random.default_rng([voice_seed, index])
        said = [rng.choice(len(DIGITS), rng.integers(1, MOST_AT_ONCE + 1), replace=False) for _ in range(count)]
        words = [DIGITS[digit] for digits in said for digit in digits]
        clips = mix_into_clips(speak(draw_utterances(words, name, rng), sample_rate), samples, rng)
        tags = np.array([np.isin(np.arange(len(DIGITS)), digits) for digits in said], "float32")
        return Recordings(overlaid(clips, np.cumsum([len(digits) for digits in said])), tags, sample_rate)

    counts = {"train": mixtures, "validation": max(mixtures // 5, 1), "test": max(2 * mixtures // 5, 1)}
    parts = [split(name, index, count) for index, (name, count) in enumerate(counts.items())]
    return RawData(*parts, task.names, task=task)


def overlaid(clips: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the sum of each run of clips, int16; `ends` are where the runs end. One that is too loud is scaled."""
    sums = np.stack([clips[first:end].sum(axis=0, dtype="int32") for first, end in zip([0, *ends], ends, strict=False)])
    loudest = np.abs(sums).max(axis=1, keepdims=True)
    return np.round(sums * np.minimum(1, (FULL_SCALE - 1) / np.maximum(loudest, 1))).astype("int16")


@register_dataset("speech_commands", "audio", "P. Warden, Google; CC-BY-4.0")
def speech_commands(
    *, classes: int = 12, seconds: Seconds = 1.0, data_dir: str | None = None, download: bool = True
) -> RawData:
    """105,829 spoken words, 16 kHz, 12 or 35 classes, with the official splits.

    12 classes are those of tensorflow-datasets: ten commands, silence (segments of the background noise) and all
    other words as unknown. 35 classes are all words, from the original archive and its official lists of files.

    Args:
        classes: 12 or 35.
        seconds: length of a clip.
        data_dir: directory of prepared datasets, as for `tfds:NAME`.
        download: False never uses the network.

    Raises:
        ValueError: for another number of classes, or files that are missing and cannot be downloaded.
    """
    names = class_names_of(classes, (12, 35))
    if classes == 12:
        return audio_from_tfds("speech_commands", seconds=seconds, data_dir=data_dir, download=download)
    samples = clip_samples(seconds, 16000)
    return read_archive(commands_archive(data_dir, download), names, samples)


@register_dataset("spoken_digit", "audio", "Z. Jackson and others; CC-BY-SA-4.0")
def spoken_digit(*, seconds: Seconds = 1.0, data_dir: str | None = None, download: bool = True) -> RawData:
    """2,500 spoken digits of 5 speakers, 8 kHz, 10 classes; the first five takes of each are the test split."""
    options = {"seconds": seconds, "data_dir": data_dir, "download": download}
    whole = audio_from_tfds("spoken_digit", speaker="audio/filename", **options)
    parts = [name.rsplit(".", 1)[0].split("_") for name in whole.train.groups]
    first = np.array([int(part[-1]) < 5 for part in parts])
    train = dataclasses.replace(whole.train, groups=np.array([part[1] for part in parts]))
    return whole._replace(train=train.take(np.flatnonzero(~first)), test=train.take(np.flatnonzero(first)))


def audio_from_tfds(
    name: str,
    *,
    seconds: Seconds = 1.0,
    sample_rate: SampleRate | None = None,
    speaker: str = "speaker_id",
    data_dir: str | None = None,
    download: bool = True,
) -> RawData:
    """Any audio classification dataset of tensorflow-datasets, by its name there.

    Args:
        name: e.g. "crema_d".
        seconds: length of a clip; longer recordings are cut, shorter ones are padded with silence at the end.
        sample_rate: of the dataset, where tensorflow-datasets does not state it.
        speaker: name of the feature with the speaker, where the dataset has one.
        data_dir: directory of prepared datasets; that of tensorflow-datasets (~/tensorflow_datasets) if not given.
            Original files in `data_dir/name/` replace the download, once their checksums are verified.
        download: False never uses the network.

    Raises:
        ValueError: for an unknown name, a dataset without audio and labels, an unknown sample rate, or files that
            are missing and cannot be downloaded.
    """
    builder = find_builder(name, data_dir)
    _, audio_key, label_key = input_and_label(builder, "audio")
    rate = rate_of(builder, audio_key, sample_rate)
    samples = clip_samples(seconds, rate)
    if importlib.util.find_spec("pydub") is None and not builder.is_prepared():
        raise missing_package(f"preparing {name}", "pydub", "audio")
    prepare(builder, download)
    keys = audio_key, label_key, speaker
    return official_splits(builder, label_key, lambda split: read_recordings(builder, split, keys, rate, samples))


def rate_of(builder: Builder, audio_key: str, sample_rate: int | None) -> int:
    """Return the sample rate that tensorflow-datasets states, otherwise the given one.

    Raises:
        ValueError: if neither is known, or they differ.
    """
    known = builder.info.features[audio_key].sample_rate
    if known is None and sample_rate is None:
        raise ValueError(f"tensorflow-datasets does not state the sample rate of {builder.name}; give sample_rate")
    if None not in (known, sample_rate) and known != sample_rate:
        raise ValueError(f"the recordings of {builder.name} have {known} samples a second, not {sample_rate}")
    return known or sample_rate


def read_recordings(
    builder: Builder, split: str, keys: tuple[str, str, str], sample_rate: int, samples: int
) -> Recordings:
    """Decode one split into arrays, in the order of the dataset.

    Args:
        builder: of a prepared dataset.
        split: its name.
        keys: names of the features with the audio, the label and the speaker, which may not exist.
        sample_rate: of the recordings.
        samples: length of a clip.
    """
    count = builder.info.splits[split].num_examples
    audio_key, label_key, speaker = keys
    labels, people = [], []

    def clips() -> Iterator[np.ndarray]:
        for example in tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False)):
            labels.append(example[label_key])
            people.append(example.get(speaker))
            yield cut_or_pad(mono_16_bit(example[audio_key]), samples)

    inputs = collect(clips(), count, f"reading {builder.name} {split}")
    names = [person.decode() if isinstance(person, bytes) else str(person) for person in people]
    targets = targets_of(builder, label_key, labels)
    groups = None if None in people else np.array(names)
    return Recordings(inputs, targets, sample_rate, groups=groups)


def mono_16_bit(wave: np.ndarray) -> np.ndarray:
    """Return a waveform of tensorflow-datasets, 16-bit integers or floats in [-1, 1], as mono 16-bit samples."""
    mono = wave if wave.ndim == 1 else wave.mean(axis=1)
    if np.issubdtype(wave.dtype, np.floating):
        return to_int16(mono)
    return np.clip(np.round(mono), -FULL_SCALE, FULL_SCALE - 1).astype("int16")


register_datasets(
    "audio",
    audio_from_tfds,
    DatasetRow(
        "gtzan",
        "1,000 pieces of music of 30 seconds, 22.05 kHz, 10 genres; no official split.",
        "G. Tzanetakis, P. Cook; research",
        {"seconds": 30.0},
    ),
)
