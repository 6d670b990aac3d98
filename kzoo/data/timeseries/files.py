"""Time series file reading: .ts and UCR files of many series, and files of a single series."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from kzoo.core.files import reading
from kzoo.core.lazy import np
from kzoo.core.ranges import Extent, check_range
from kzoo.core.warn import warn_caller
from kzoo.data.folders import classes_and_splits, files_with_suffix, read_bytes, read_each, rows_by_folder
from kzoo.data.labels import check_classes, class_indices
from kzoo.data.splits import Examples, RawData, register_dataset
from kzoo.data.targets import check_task_options, given, targets_as
from kzoo.data.timeseries.tables import MISSING, arff_rows, counts, fields, is_number, table_rows
from kzoo.data.timeseries.windows import SeriesWindows, windows_of
from kzoo.data.windows import Windows
from kzoo.tasks import Regression

SUFFIXES = (".ts", ".tsv", ".csv", ".txt", ".arff")

SPLITS = {"train": "_TRAIN", "validation": "_VALIDATION", "test": "_TEST"}
UNEQUAL = ("resample", "pad")
ONE_SERIES = (".csv", ".tsv", ".npy", ".ts")


FILLS = ("linear", "previous")


@dataclass(frozen=True)
class SeriesExamples(Examples):
    """Raw series, float32 of shape (n, length, channels), that may have been brought to one length.

    Args:
        unequal: how: "resample" or "pad" (zeros at the end); None if they had one length already.
    """

    unequal: str | None = None


class SeriesFile(NamedTuple):
    """Contents of a file of series: each (length, channels), with line numbers, labels and declared class names.

    The labels are numbers, as words, if the file is a set for regression.
    """

    path: Path
    series: list[np.ndarray]
    lines: list[int | str]
    labels: list[str]
    class_names: list[str]
    numeric: bool = False


@register_dataset("series:", "timeseries", "your own files")
def series_files(
    path: str,
    *,
    unequal: str | None = None,
    length: Extent | None = None,
    hop: Extent | None = None,
    fill: str | float | None = None,
    label_column: str | int | None = None,
    quantiles: Sequence[float] = (),
    masked: bool = False,
) -> RawData:
    """Series in .ts or .arff files, or in .tsv, .csv or .txt tables, one a row (UCR) or one value a row.

    The splits are the files that end in _TRAIN, _VALIDATION and _TEST. In a table the label is the column called label,
    class, target or y, else the first, or the last if only that one can be. A table with a column called id and one
    called time has one row a step, and a column for each channel. NaN at the end of a row fills up a shorter series, as
    in UCR's archive. A .ts file with @targetLabel is a set for (extrinsic) regression: a number for each series.

    Args:
        path: a file (NAME_TRAIN.ts or one that is not split), the same without its ending (DIR/NAME), or a folder
            that holds one set, or class folders (see `series_folder`).
        unequal: how series of several lengths are brought to one: "resample" (linear interpolation) or
            "pad" (zeros at the end). A model remembers it, and takes series of any length.
        length: steps that all series are brought to; the longest one's if not given. Alone, it means "resample".
        hop: keep longer series whole: training sees a random window of `length` steps of each in each epoch, and
            evaluation the mean of the answers over windows that begin every `hop` steps, at most `length`. Validation
            during the training sees the central window. Shorter ones need `unequal="pad"`.
        fill: what replaces missing values ("?", "NaN" or nothing): a number, "linear" (between the neighbours) or
            "previous"; an error if not given.
        label_column: name or index of the column with the labels, in a table.
        quantiles: of a set for regression, see `kzoo.data.table_sets.table`.
        masked: of a set for regression, whether "?" and NaN are numbers that are not known.

    Raises:
        ValueError: for missing or damaged files (naming file and line), missing values without `fill`, labels that
            occur in the test split only, or series of several lengths without `unequal`.
    """
    check_options(unequal, length, fill)
    folder = Path(path).expanduser()
    if holds_folders(folder):
        return series_folder(path, unequal=unequal, length=length, hop=hop)
    files = {split: read_file(file, label_column, fill) for split, file in split_files(folder).items()}
    options, fit = given({"quantiles": quantiles or None, "masked": masked or None}), Lengths(unequal, length, hop)
    if files["train"].numeric:
        return with_numbers(files, fit, options)
    check_task_options(None, options)
    return as_raw(files, classes(files), fit)


class Lengths(NamedTuple):
    """How series of several lengths are brought to one: see the options of `series_files`."""

    unequal: str | None = None
    length: int | None = None
    hop: float | None = None


def with_numbers(files: dict[str, SeriesFile], fit: Lengths, options: dict) -> RawData:
    """Return series of each split at one length, and a number for each."""
    read = {split: [number_in(label, math.nan) for label in file.labels] for split, file in files.items()}
    task, targets = targets_as(Regression.key, read, None, str(files["train"].path), **options)
    unlabelled = {split: file._replace(labels=[""] * len(file.labels)) for split, file in files.items()}
    raw = as_raw(unlabelled, [""], fit)
    parts = {split: replace(part, labels=targets[split]) for split, part in raw.splits.items()}
    return raw._replace(**parts, class_names=task.names, task=task)


@register_dataset("series_folder:", "timeseries", "your own files")
def series_folder(
    path: str,
    *,
    unequal: str | None = None,
    length: Extent | None = None,
    hop: Extent | None = None,
    classes: Sequence[str] | None = None,
) -> RawData:
    """One series per file (.csv, .tsv, .npy or .ts), one folder per class: PATH/CLASS/*, or PATH/train, test/CLASS/*.

    Args:
        path: the folder, or a .zip file of it.
        unequal: see `series_files`.
        length: see `series_files`.
        hop: see `series_files`.
        classes: the classes to read, in the order of their indices; all if not given.

    Raises:
        ValueError: for a missing folder, fewer than two classes, or files that are not one series (each by name).
    """
    check_options(unequal, length, None)
    rows = rows_by_folder(path, files_with_suffix(path, ONE_SERIES, "series"), classes=classes)
    class_names, splits = classes_and_splits(rows, classes)
    files = {}
    for split, part in splits.items():
        series = list(read_each(lambda row: read_one(row.file, 1), part))
        files[split] = SeriesFile(Path(path), series, [row.inside for row in part], [row.label for row in part], [])
    return as_raw(files, class_names, Lengths(unequal, length, hop))


def holds_folders(folder: Path) -> bool:
    """Return whether a path is a folder that holds folders and no file of series."""
    if not folder.is_dir():
        return False
    inside = list(folder.iterdir())
    return any(path.is_dir() for path in inside) and not any(path.suffix.lower() in SUFFIXES for path in inside)


def check_options(unequal: str | None, length: int | None, fill: str | float | None) -> None:
    """Raise a ValueError for an option that is out of its range."""
    if unequal is not None:
        check_choice("unequal", unequal, UNEQUAL)
    if isinstance(fill, str):
        check_choice("fill", fill, FILLS)
    if length is not None:
        check_range("length", length, "a positive integer")


def as_raw(files: dict[str, SeriesFile], class_names: Sequence[str], fit: Lengths) -> RawData:
    """Return series of each split at one length."""
    loaded = loaded_splits(files, class_names, fit)
    return RawData(loaded["train"], loaded.get("validation"), loaded.get("test"), tuple(class_names))


def loaded_splits(files: dict[str, SeriesFile], class_names: Sequence[str], fit: Lengths) -> dict[str, SeriesExamples]:
    """Return the series of each split at one length, or windows of them."""
    check_channels(files)
    windows = windows_of(fit.length, fit.hop)
    if windows is not None:
        return {split: divided(file, class_names, windows, fit.unequal) for split, file in files.items()}
    unequal = fit.unequal or (fit.length and "resample")
    length = fit.length or common_length(list(files.values()), unequal)
    return {split: examples(file, class_names, length, unequal) for split, file in files.items()}


def divided(file: SeriesFile, class_names: Sequence[str], windows: Windows, unequal: str | None) -> SeriesExamples:
    """Return windows of the series with their class indices."""
    inputs = SeriesWindows.of(file.series, windows, unequal, file.path)
    return SeriesExamples(inputs, class_indices(file.labels, class_names), unequal)


def split_files(path: Path) -> dict[str, Path]:
    """Return the file of each split."""
    stem, suffix = (path, None) if path.suffix.lower() not in SUFFIXES else (path.with_suffix(""), path.suffix)
    if path.is_dir():
        stem, suffix = stem_in(path)
    elif suffix is None:
        suffix = next((s for s in SUFFIXES if Path(f"{stem}_TRAIN{s}").is_file() or Path(f"{stem}{s}").is_file()), None)
        if suffix is None:
            raise ValueError(f"there is no file {stem}_TRAIN.ts, nor with {', '.join(SUFFIXES[1:])}")
    name = re.sub("(?i)_train$", "", stem.name)
    train = stem.with_name(stem.name + suffix)
    if name != stem.name or not train.is_file():
        beside = {split: stem.with_name(f"{name}{end}{suffix}") for split, end in SPLITS.items()}
        found = {split: file for split, file in beside.items() if file.is_file()}
        if "train" in found:
            return found
    if not train.is_file():
        raise ValueError(f"there is no file {train}")
    return {"train": train}


def stem_in(folder: Path) -> tuple[Path, str]:
    """Return the path without its ending, and the ending, of the one training file in a folder."""
    for suffix in SUFFIXES:
        found = sorted(folder.glob(f"*_TRAIN{suffix}")) or sorted(folder.glob(f"*{suffix}"))
        if len(found) > 1:
            raise ValueError(f"{folder} holds several sets ({found[0].name}, {found[1].name}, ...); name the file")
        if found:
            return found[0].with_suffix(""), suffix
    raise ValueError(f"{folder} holds no series; expected NAME_TRAIN.ts and NAME_TEST.ts, or {', '.join(SUFFIXES[1:])}")


def read_file(path: Path, label_column: str | int | None = None, fill: str | float | None = None) -> SeriesFile:
    """Read one file of series with their labels."""
    if path.suffix.lower() in READERS:
        file = READERS[path.suffix.lower()](path, fill)
    else:
        file = read_table(path, label_column, fill)
    if not file.series:
        raise ValueError(f"{path} holds no series")
    if "" in file.labels and not file.numeric:
        raise ValueError(
            f"{path} has no labels; expected a line '@classLabel true NAME NAME ...' and labels in each row"
        )
    return file


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file, whatever ends them."""
    with reading(path):
        return path.read_text(encoding="utf-8-sig", errors="replace").splitlines()


def read_ts(path: Path, fill: str | float | None = None) -> SeriesFile:
    """Read a .ts file: lines with @ that describe the set, @data, then `channel:channel:label` in each line.

    Lines that begin with # or % are comments.
    """
    rows = [(number, line.strip()) for number, line in enumerate(read_lines(path), 1)]
    rows = [(number, line) for number, line in rows if line and line[0] not in "#%"]
    header = list(itertools.takewhile(lambda row: row[1].startswith("@") and row[1].lower() != "@data", rows))
    if rows[len(header) : len(header) + 1] == [] or rows[len(header)][1].lower() != "@data":
        line = rows[len(header)][0] if len(header) < len(rows) else "end"
        raise ValueError(f"{path}, line {line}: the header is missing or has no end; expected @ lines up to @data")
    tags = {line.split()[0].lower(): line.split()[1:] for _, line in header}
    labelled, *class_names = tags.get("@classlabel", ["false"])
    labelled = labelled.lower() == "true"
    if tags.get("@timestamps", ["false"])[0].lower() == "true":
        raise ValueError(f"{path} has time stamps (@timeStamps true), which are not read; expected plain values")
    numeric = tags.get("@targetlabel", ["false"])[0].lower() == "true"
    if "@classlabel" not in tags and not numeric:
        raise ValueError(f"{path}: the header has no line '@classLabel true NAME NAME ...'")
    file = SeriesFile(path, [], [], [], class_names, numeric)
    for number, line in rows[len(header) + 1 :]:
        *channels, label = line.split(":") if labelled or numeric else [*line.split(":"), ""]
        if labelled:
            check_label(path, number, label.strip(), class_names)
        if numeric and not is_number(label.strip()):
            raise ValueError(
                f"{path}, line {number}: target {label.strip()[:30]!r} after the last colon, expected a number"
            )
        add(file, number, [numbers(path, number, channel.split(","), fill) for channel in channels], label.strip())
    return file


def read_table(path: Path, label_column: str | int | None = None, fill: str | float | None = None) -> SeriesFile:
    """Read a table of series: one of one channel in each row, as in UCR's archive, or one step in each row."""
    file = SeriesFile(path, [], [], [], [])
    for number, label, channels in table_rows(path, read_lines(path), label_column):
        while fill is None and len(channels) == 1 and channels[0] and channels[0][-1].lower() in MISSING:
            channels[0].pop()
        add(file, number, [numbers(path, number, words, fill) for words in channels], plain(label))
    return file


def read_arff(path: Path, fill: str | float | None = None) -> SeriesFile:
    """Read an .arff file: @attribute lines, one of classes, @data, then a series and its label in each line."""
    class_names, rows = arff_rows(path, read_lines(path))
    file = SeriesFile(path, [], [], [], class_names)
    for number, label, channels in rows:
        check_label(path, number, label, class_names)
        add(file, number, [numbers(path, number, words, fill) for words in channels], label)
    return file


READERS = {".ts": read_ts, ".arff": read_arff}  # of files that name their classes; all others are tables


def check_label(path: Path, line: int, label: str, class_names: Sequence[str]) -> None:
    """Raise a ValueError for a label that the header does not declare."""
    if label not in class_names:
        raise ValueError(f"{path}, line {line}: label {label[:30]!r} is not one of {' '.join(class_names)}")


def plain(label: str) -> str:
    """Return a label with an integer in its short form, as older UCR files have 1.0000000e+00; "01" stays as it is."""
    try:
        return label if label.isdecimal() or not float(label).is_integer() else str(int(float(label)))
    except (ValueError, OverflowError):
        return label


def numbers(path: Path, line: int, words: Sequence[str], fill: str | float | None = None) -> np.ndarray:
    """Return the values of one channel, float32; missing ones are filled in if `fill` says how.

    Raises:
        ValueError: for a value that is missing, not finite or not a number, naming file, line and position.
    """
    if not words:
        raise ValueError(f"{path}, line {line}: a series without values")
    try:
        values = np.array(words, dtype="float64")
    except ValueError:
        values = np.array([float(word) if is_number(word) and word not in ("", "?") else math.nan for word in words])
    if fill is not None:
        values = filled(values, np.array([word.strip().lower() in MISSING for word in words]), fill)
    with np.errstate(over="ignore"):
        values = values.astype("float32")
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise ValueError(
            f"{path}, line {line}: value {wrong[0] + 1} is {words[wrong[0]].strip()[:30]!r}, expected a finite number; "
            "fill in missing values first, or read the set with fill='linear', 'previous' or a number"
        )
    return values


def filled(values: np.ndarray, missing: np.ndarray, fill: str | float) -> np.ndarray:
    """Return values whose missing ones are a number, on the line between their neighbours, or the previous one."""
    if isinstance(fill, str) and missing.all():
        return values
    steps, known = np.arange(len(values)), np.flatnonzero(~missing)
    if fill == "linear":
        return np.where(missing, np.interp(steps, known, values[known]), values)
    if fill == "previous":
        return values[known[np.maximum(np.searchsorted(known, steps, "right") - 1, 0)]]
    return np.where(missing, fill, values)


def add(file: SeriesFile, line: int, channels: list[np.ndarray], label: str) -> None:
    """Append one series to what was read."""
    lengths = sorted({len(channel) for channel in channels})
    if len(lengths) > 1:
        raise ValueError(f"{file.path}, line {line}: channels of {lengths[0]} and {lengths[-1]} steps in one series")
    if not channels:
        raise ValueError(f"{file.path}, line {line}: expected values and a label, with a colon between them")
    if file.series and len(channels) != file.series[0].shape[1]:
        raise ValueError(
            f"{file.path}, line {line}: {len(channels)} channels, but the first series has {file.series[0].shape[1]}"
        )
    file.series.append(np.stack(channels, axis=-1))
    file.lines.append(line)
    file.labels.append(label)


def classes(files: dict[str, SeriesFile]) -> list[str]:
    """Return the classes in the header's order, or in that of their numbers or names.

    Raises:
        ValueError: for fewer than two, or a label that no training series has.
    """
    train = files["train"]
    known = train.class_names or sorted(
        set(train.labels), key=lambda label: (not is_number(label), number_in(label), label)
    )
    if len(known) < 2:
        raise ValueError(f"{train.path} has {len(known)} classes; expected at least 2")
    found = set(train.labels)
    for file in files.values():
        for line, label in zip(file.lines, file.labels, strict=True):
            if label not in found:
                raise ValueError(f"{file.path}, line {line}: label {label!r} is in no training series of {train.path}")
    check_classes({split: file.labels for split, file in files.items()}, train.path, empty=known, hint="")
    return known


def number_in(label: str, missing: float = 0.0) -> float:
    """Return a label as a number, another one in place of a missing value or a name."""
    return float(label) if is_number(label) and label.lower() not in MISSING else missing


def common_length(files: list[SeriesFile], unequal: str | None) -> int:
    """Return the steps of the longest series.

    Raises:
        ValueError: if they differ and nothing was said about it.
    """
    lengths = [len(series) for file in files for series in file.series]
    shortest, longest = min(lengths), max(lengths)
    if shortest != longest and unequal is None:
        raise ValueError(
            f"the series of {files[0].path} have {shortest} to {longest} steps, but a network needs one length; "
            "give unequal='resample' or unequal='pad' (and length=N for another length than the longest)"
        )
    return longest


def examples(file: SeriesFile, class_names: Sequence[str], length: int, unequal: str | None) -> SeriesExamples:
    """Return the series at one length with their class indices."""
    cut = [line for line, series in zip(file.lines, file.series, strict=True) if len(series) > length]
    if unequal == "pad" and cut:
        first = f"line {cut[0]}" if isinstance(cut[0], int) else cut[0]
        warn_caller(f"{len(cut)} series of {file.path} are cut to {length} steps, e.g. {first}")
    inputs = np.stack([at_length(series, length, unequal) for series in file.series])
    labels = class_indices(file.labels, class_names)
    return SeriesExamples(inputs, labels, unequal)


def check_channels(files: dict[str, SeriesFile]) -> None:
    """Raise a ValueError if the splits differ in channels."""
    channels = {split: file.series[0].shape[1] for split, file in files.items()}
    if len(set(channels.values())) > 1:
        counts = ", ".join(f"{count} in {split}" for split, count in channels.items())
        raise ValueError(f"the series of {files['train'].path} differ in channels: {counts}")


def at_length(series: np.ndarray, length: int, unequal: str | None) -> np.ndarray:
    """Return one series (any length, channels) with `length` steps, as the preprocessing does."""
    if len(series) == length:
        return series
    if unequal == "pad":
        return np.pad(series[:length], ((0, max(0, length - len(series))), (0, 0)))
    positions = np.arange(length) * (len(series) - 1) / max(length - 1, 1)
    channels = [np.interp(positions, np.arange(len(series)), channel) for channel in series.T]
    return np.stack(channels, axis=-1).astype("float32")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a ValueError if an option's value is none of its choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def read_one(path: Path, channels: int) -> np.ndarray:
    """Read a file with one series, (length, channels), float32."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if path.suffix.lower() in READERS:
        file = READERS[path.suffix.lower()](path)
        if len(file.series) != 1:
            raise ValueError(f"{path} holds {len(file.series)} series; expected one")
        return file.series[0]
    if path.suffix.lower() == ".npy":
        return read_npy(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} cannot be read as a series; expected .npy or one of {', '.join(SUFFIXES)}")
    rows = [(number, fields(line)) for number, line in enumerate(read_lines(path), 1) if line.strip()]
    if len(rows) > 1 and rows[0][1][0] == "" and counts([row[0] for _, row in rows[1:]]):  # the index of pandas
        rows = [(number, row[1:]) for number, row in rows[1:]]
    elif rows and not any(map(is_number, rows[0][1])):
        rows = rows[1:]
    if not rows:
        raise ValueError(f"{path} holds no series")
    for number, row in rows:
        if len(row) != len(rows[0][1]):
            raise ValueError(
                f"{path}, line {number}: {len(row)} values, expected {len(rows[0][1])} as in the first row"
            )
    table = np.stack([numbers(path, number, row) for number, row in rows])
    return table.T if channels == 1 and len(table) == 1 else table


def read_npy(path: Path) -> np.ndarray:
    """Read an array of shape (length,) or (length, channels)."""
    with reading(path, " as an .npy file of numbers"):
        array = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
        values = array.astype("float32")
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(f"{path} has shape {array.shape}; expected (length,) or (length, channels)")
    if not np.isfinite(values).all():
        raise ValueError(f"{path} contains NaN or infinity; fill in missing values first")
    return values[:, None] if values.ndim == 1 else values
