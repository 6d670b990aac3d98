"""Audio files in class folders, or with the class in their names."""

from __future__ import annotations

import collections
import io
import operator
import re
import warnings
from collections.abc import Callable, Iterator, Sequence

from kzoo.core.lazy import np, soundfile
from kzoo.core.registry import did_you_mean
from kzoo.data.arrays import collect
from kzoo.data.audio.files import (
    SUFFIXES,
    Recordings,
    Sound,
    check_soundfile,
    clip_samples,
    cut_or_pad,
    read_audio,
    to_int16,
    warn_of_changes,
)
from kzoo.data.audio.frontends import resampled
from kzoo.data.folders import Row, classes_and_splits, files_of_kind, read_each, rows_by_folder
from kzoo.data.splits import RawData, register_dataset


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
    files = files_of_kind(path, SUFFIXES, "audio files")
    if pattern is None:
        needless = {"label": label, "test_rule": test_rule, "validation_rule": validation_rule}
        given = [name for name, value in needless.items() if value is not None]
        if given:
            raise ValueError(f"{given[0]} refers to the parts of a file's name; give the pattern, too")
        rows = rows_by_folder(path, files, "; where names carry the class, give a pattern")
    else:
        rows = rows_by_pattern(path, files, pattern, label, speaker, {"test": test_rule, "validation": validation_rule})
    rate = sample_rate or most_common_rate(rows)
    return recorded(rows, rate, clip_samples(seconds, rate))


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
    class_names, by_split = classes_and_splits(rows)
    splits = {split: read_rows(part, class_names, sample_rate, samples) for split, part in by_split.items()}
    return RawData(splits["train"], splits.get("validation"), splits.get("test"), class_names)


def read_rows(rows: Sequence[Row], class_names: Sequence[str], sample_rate: int, samples: int) -> Recordings:
    """Read audio files in parallel; warn of those that were changed or lose their end.

    Raises:
        ValueError: naming every file that cannot be read.
    """
    heard, longer = [], []

    def read(row: Row) -> tuple[Sound, np.ndarray]:
        sound = read_audio(row.file)
        return sound, to_int16(resampled(sound.wave, sound.sample_rate, sample_rate))

    def clips() -> Iterator[np.ndarray]:
        for sound, wave in read_each(read, rows):
            heard.append(sound._replace(wave=sound.wave[[np.abs(sound.wave).argmax()]]))  # the loudest sample is enough
            if len(wave) > samples:
                longer.append(sound.path)
            yield cut_or_pad(wave, samples)

    inputs = collect(clips(), len(rows), "reading audio")
    warn_of_changes(heard, sample_rate)
    if longer:
        what = f"{len(longer)} of {len(rows)} files lose what comes after {samples / sample_rate:g} s"
        warnings.warn(f"{what}, e.g. {longer[0]}", stacklevel=4)
    labels = np.array([class_names.index(row.label) for row in rows], "int32")
    groups = np.array([row.group for row in rows]) if all(row.group is not None for row in rows) else None
    return Recordings(inputs, labels, sample_rate, groups)
