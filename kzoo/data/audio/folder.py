"""Audio datasets from a folder: one subfolder per class, or the class in the file names."""

from __future__ import annotations

import collections
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kzoo.core.archives import MAX_MEMBER
from kzoo.core.lazy import np
from kzoo.core.ranges import PositiveInt, SampleRate, Seconds
from kzoo.core.registry import did_you_mean
from kzoo.data.audio.files import (
    SUFFIXES,
    Header,
    Recordings,
    changes_of_format,
    check_soundfile,
    clip_samples,
    read_audio,
    read_header,
)
from kzoo.data.audio.frontends import resampled_length
from kzoo.data.audio.source import AudioFiles, AudioWindows
from kzoo.data.folders import (
    Listing,
    Row,
    classes_and_splits,
    files_with_suffix,
    of_classes,
    path_in,
    read_bytes,
    read_each,
    rows_by_folder,
    warn_of_changes,
    without_broken,
)
from kzoo.data.labels import class_indices
from kzoo.data.sources import array_of
from kzoo.data.splits import RawData, register_dataset
from kzoo.data.windows import Windows


@register_dataset("audio_folder:", "audio", "your own files")
def audio_folder(
    path: str,
    *,
    seconds: Seconds = 1.0,
    sample_rate: SampleRate | None = None,
    hop: Seconds | None = None,
    pattern: str | None = None,
    label: str | None = None,
    speaker: str = "speaker",
    test_rule: str | None = None,
    validation_rule: str | None = None,
    classes: Sequence[str] | None = None,
    skip_broken: bool = False,
    max_bytes: PositiveInt = MAX_MEMBER,
) -> RawData:
    """WAV, FLAC, OGG, MP3, AIFF or AU files in one folder per class (PATH/CLASS/*), or with the class in their names.

    Args:
        path: the folder, or a .zip file of it. Without a `pattern` the classes are its folders, or those of its
            folders train, validation and test. Speech Commands' own lists, validation_list.txt and
            testing_list.txt, are followed.
        seconds: length of a clip; longer files are cut, shorter ones are padded with silence at the end.
        sample_rate: of all clips; by default the most common one among the files.
        hop: keep longer files whole: training sees a random window of `seconds` of each in each epoch, and
            evaluation the mean of the probabilities over windows that begin every `hop` seconds, at most `seconds`.
            Validation during the training sees the central window.
        pattern: of the names, e.g. "{digit}_{speaker}_{index}.wav", or "{word}/{speaker}_{index}.wav" with folders.
        label: the field of the pattern that is the class; by default the first.
        speaker: the field that names the speaker.
        test_rule: which files are the test split: "index<5", or "speaker=theo" or "speaker=theo,lucas" for speakers
            who are not in the train split.
        validation_rule: likewise.
        classes: the classes to read, in the order of their indices; all if not given.
        skip_broken: leave out files that cannot be read, with a warning; a run lists them in `skipped_files.txt`.
        max_bytes: limit on the size that a file in a .zip file claims to have.

    Raises:
        ValueError: for a missing folder, names that do not match, fewer than two classes, or damaged files (by name).
    """
    check_soundfile()
    files = files_with_suffix(path, SUFFIXES, "audio files", max_bytes)
    if pattern is None:
        needless = {"label": label, "test_rule": test_rule, "validation_rule": validation_rule}
        given = [name for name, value in needless.items() if value is not None]
        if given:
            raise ValueError(f"{given[0]} refers to the fields of a pattern; give the pattern, too")
        rows = rows_by_folder(path, files, "; if the class is in the file names, give a pattern", classes)
        rows = speakers_known(listed_splits(rows))
    else:
        rows = rows_by_pattern(path, files, pattern, label, speaker, {"test": test_rule, "validation": validation_rule})
        rows = of_classes(path, rows, classes)
    rows, skipped = without_broken(lambda row: read_audio(row.file), rows, skip_broken)
    return recorded(rows, Clips.of(rows, seconds, sample_rate, hop), classes)._replace(skipped=skipped)


def rows_by_pattern(
    path: str, files: Listing, pattern: str, label: str | None, speaker: str, rules: dict[str, str | None]
) -> list[Row]:
    """Return the rows of files whose names match a pattern; warn of those that do not.

    Raises:
        ValueError: if the pattern, the label or a rule cannot be parsed, or no file matches.
    """
    names = re.findall(r"{(\w+)}", pattern)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a pattern has fields, each of another name, as {{word}}_{{index}}.wav; got {pattern}")
    label = label or names[0]
    if label not in names:
        raise ValueError(f"the pattern {pattern} has no field {label!r}; {did_you_mean(label, names)}")
    chosen = {split: parse_rule(rule, names) for split, rule in rules.items() if rule is not None}
    pieces = re.split(r"{(\w+)}", pattern)
    expression = "".join(
        f"(?P<{piece}>[^/]+?)" if index % 2 else re.escape(piece) for index, piece in enumerate(pieces)
    )
    rows, others = [], []
    for inside in files.names():
        match = re.fullmatch(expression, "/".join(inside.split("/")[-1 - pattern.count("/") :]))
        if match is None:
            others.append(inside)
            continue
        fields = match.groupdict()
        split = next((split for split, rule in chosen.items() if rule(inside, fields)), "train")
        rows.append(Row(files.root, inside, fields[label], split, fields.get(speaker)))
    if not rows:
        raise ValueError(f"no file in {path} matches {pattern}; the first is {others[0]}")
    if others:
        warnings.warn(f"skipped {len(others)} files that do not match {pattern}, e.g. {others[0]}", stacklevel=3)
    for split in chosen:
        if not any(row.split == split for row in rows):
            raise ValueError(f"no file matches the {split}_rule {rules[split]!r}")
    return rows


LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
SPEAKER = re.compile(r"(.+)_nohash_\d+\.")
COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


def parse_rule(rule: str, names: Sequence[str]) -> Callable[[str, dict[str, str]], bool]:
    """Return a predicate of (file, fields of its name) for a rule such as "index<5" or "speaker=theo,lucas".

    Raises:
        ValueError: if the rule cannot be parsed.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>|=)\s*(.+?)\s*", rule)
    if match is None:
        raise ValueError(f"cannot parse the rule {rule!r}; expected e.g. index<5 or speaker=theo")
    name, sign, value = match.groups()
    if name not in names:
        raise ValueError(f"unknown field {name!r} in the rule {rule!r}; {did_you_mean(name, names)}")
    if sign == "=":
        values = [part.strip() for part in value.split(",")]
        return lambda file, fields: fields[name] in values

    def number(text: str, where: str) -> float:
        try:
            return float(text)
        except ValueError as error:
            raise ValueError(f"the rule {rule!r} compares numbers, but {where} has {text!r}") from error

    limit = number(value, "it")
    return lambda file, fields: COMPARISONS[sign](number(fields[name], file), limit)


def listed_splits(rows: list[Row]) -> list[Row]:
    """Return rows with the splits of `LISTS`, the files of Speech Commands, if they lie beside the class folders."""
    above = rows[0].inside.rsplit("/", 2)[0] + "/" if rows[0].inside.count("/") > 1 else ""
    files = {split: path_in(rows[0].root, above + name) for split, name in LISTS.items()}
    split_of = {
        name: split for split, file in files.items() if file.exists() for name in read_bytes(file).decode().split()
    }
    if not split_of or any(row.split != "train" for row in rows):
        return rows
    return [row._replace(split=split_of.get(row.inside.removeprefix(above), "train")) for row in rows]


def speakers_known(rows: list[Row]) -> list[Row]:
    """Return rows with the speaker of each as its group, if all files are named as those of Speech Commands are."""
    speakers = [SPEAKER.match(row.inside.rpartition("/")[2]) for row in rows]
    if None in speakers:
        return rows
    return [row._replace(group=match[1]) for row, match in zip(rows, speakers, strict=True)]


@dataclass(frozen=True)
class Clips:
    """What is read of the files of a dataset.

    Args:
        headers: of each file.
        sample_rate: of the clips.
        samples: length of a clip.
        hop: samples from one window to the next; None for clips from the beginnings of the files.
    """

    headers: Mapping[Row, Header]
    sample_rate: int
    samples: int
    hop: int | None = None

    @classmethod
    def of(cls, rows: Sequence[Row], seconds: float, sample_rate: int | None = None, hop: float | None = None) -> Clips:
        """Read the headers of files.

        Args:
            rows: of the files.
            seconds: length of a clip.
            sample_rate: of the clips; None for the most common one.
            hop: from one window to the next, in seconds.

        Raises:
            ValueError: naming every file whose header cannot be read, or for clips that are too long.
        """
        check_soundfile()
        headers = dict(zip(rows, read_each(lambda row: read_header(row.file), rows), strict=True))
        rate = int(sample_rate or most_common_rate(headers.values()))
        samples = clip_samples(seconds, rate)
        return cls(headers, rate, samples, None if hop is None else Windows.of(None, hop, samples, rate).hop)

    def source(self, rows: Sequence[Row]) -> AudioFiles:
        """Return files as a source."""
        clips = AudioFiles(array_of([row.file for row in rows]), self.sample_rate, self.samples)
        return clips if self.hop is None else AudioWindows.of(clips, self.hop, [self.headers[row] for row in rows])

    def warn(self, rows: Sequence[Row]) -> None:
        """Warn of files of other formats, and of those that are cut."""
        headers = [self.headers[row] for row in rows]
        warn_of_changes((one.path, what) for one in headers for what in changes_of_format(one, self.sample_rate))
        longer = [one.path for one in headers if self.length(one) > self.samples]
        if longer and self.hop is None:
            what = f"{len(longer)} of {len(rows)} files are cut to {self.samples / self.sample_rate:g} s"
            warnings.warn(f"{what}, e.g. {longer[0]}", stacklevel=4)

    def length(self, header: Header) -> int:
        """Return the samples of a file at the sample rate of the clips."""
        return resampled_length(header.frames, header.sample_rate, self.sample_rate)


def most_common_rate(headers: Iterable[Header]) -> int:
    """Return the most common sample rate."""
    return collections.Counter(header.sample_rate for header in headers).most_common(1)[0][0]


def recorded(rows: Sequence[Row], clips: Clips, classes: Sequence[str] | None = None) -> RawData:
    """Return a dataset of files, which are decoded when they are needed.

    Raises:
        ValueError: for fewer than two classes.
    """
    class_names, by_split = classes_and_splits(rows, classes)
    splits = {split: read_rows(part, class_names, clips) for split, part in by_split.items()}
    return RawData(splits["train"], splits.get("validation"), splits.get("test"), class_names)


def read_rows(rows: Sequence[Row], class_names: Sequence[str], clips: Clips) -> Recordings:
    """Return audio files, which are decoded when they are needed; warn of those that are changed or cut."""
    clips.warn(rows)
    labels = class_indices([row.label for row in rows], class_names)
    groups = np.array([row.group for row in rows]) if all(row.group is not None for row in rows) else None
    return Recordings(clips.source(rows), labels, clips.sample_rate, groups=groups)
