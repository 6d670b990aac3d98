"""Long tables with a class or tags at each step, such as activities or stages of sleep, cut into windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from kzoo.core.lazy import np
from kzoo.core.ranges import Extent
from kzoo.core.registry import lookup
from kzoo.core.shown import listed
from kzoo.data.splits import RawData, register_dataset
from kzoo.data.tables import Table, is_empty, is_number, read_table
from kzoo.data.targets import targets_as
from kzoo.data.timeseries.files import SeriesExamples, at_length
from kzoo.data.timeseries.tables import SERIES, TIMES
from kzoo.data.windows import Windows
from kzoo.tasks import StepClassification, StepTagging

SERIES_COLUMNS = (*SERIES, "subject", "user", "patient", "recording")
TARGETS = ("label", "class", "target", "activity", "stage", "state", "event")  # not "y", which is an axis
KINDS = {StepClassification.key: "", StepTagging.key: math.nan}  # tasks, and what stands for a step that is not known


class Columns(NamedTuple):
    """What the columns of a table are for; None where there is none."""

    target: tuple[str, ...]
    channels: tuple[str, ...]
    series: str | None
    time: str | None


@register_dataset("steps:", "timeseries", "your own files", StepClassification)
def steps(
    path: str,
    *,
    target: str | Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
    series: str | None = None,
    time: str | None = None,
    length: Extent = 128,
    hop: Extent | None = None,
    task: str = StepClassification.key,
    validation: str | None = None,
    test: str | None = None,
) -> RawData:
    """A table of one row a step with a class at each: CSV, TSV, JSON lines or Parquet.

    The series are cut into windows of `length` steps; the last one of each is padded with zeros, which count for
    nothing. All windows of a series are on one side of a hold-out, if there are several series.

    Args:
        path: the table.
        target: the column of the classes, empty where none is known; by default the one called label, class, target,
            activity, stage, state or event. With `task="step_tagging"` the columns of 0 and 1, one for each tag.
        channels: the columns of numbers that the network sees; by default all others that hold numbers.
        series: the column that tells which series a row is of; by default the one called id, series, sample, subject,
            user, patient, recording or the like; if there is none the table is one series.
        time: the column in whose order the rows of a series are; by default the one called time, timestamp, step or
            the like, otherwise they are in the order of the file.
        length: steps of a window, which is what the network takes.
        hop: steps from one window to the next; the length of a window if not given, so that each step counts once.
        task: "step_classification" or "step_tagging".
        validation: another table of validation series; held out if not given.
        test: another table of test series; likewise.

    Raises:
        ValueError: for a missing or damaged file, an unknown column (with the closest one), a channel without a
            number in some row, or a table without a channel or a known step.
    """
    lookup("task of steps:", task, KINDS)
    read = {"train": path, "validation": validation, "test": test}
    tables = {split: read_table(file) for split, file in read.items() if file is not None}
    columns = columns_of(tables["train"], target, channels, series, time)
    windows = Windows.of(None, hop, length)
    parts = {split: cut(table, columns, windows, task) for split, table in tables.items()}
    names = columns.target if task == StepTagging.key else None
    found, targets = targets_as(task, {split: labels for split, (_, labels, _) in parts.items()}, names, path)
    examples = {
        split: SeriesExamples(inputs, targets[split], groups=groups, unequal="pad")
        for split, (inputs, _, groups) in parts.items()
    }
    return RawData(*map(examples.get, read), found.names, task=found)


def columns_of(table: Table, target, channels, series: str | None, time: str | None) -> Columns:
    """Return what the columns are for, as it was said or by their names.

    Raises:
        ValueError: for an unknown column, or if there is no target or no channel.
    """
    target = [target] if isinstance(target, str) else target or [called(table, TARGETS)]
    if target == [None]:
        raise ValueError(f"{table.name} has the columns {listed(list(table.columns), 10)}; say which is the target=")
    series, time = series or called(table, SERIES_COLUMNS), time or called(table, TIMES)
    used = {*target, series, time}
    others = [name for name in table.columns if name not in used]
    chosen = others if channels is None else channels
    chosen = [name for name in chosen if channels is not None or holds_numbers(table.column(name))]
    for name in (*target, *chosen, *filter(None, (series, time))):
        table.column(name)
    if not chosen:
        raise ValueError(f"{table.name} has no column of numbers for the network to see, of {listed(others, 10)}")
    return Columns(tuple(target), tuple(chosen), series, time)


def called(table: Table, names: Sequence[str]) -> str | None:
    """Return the column that has one of the names, whatever their case; the first of them that there is."""
    found = {name.casefold(): name for name in table.columns}
    return next((found[name] for name in names if name in found), None)


def holds_numbers(cells: Sequence) -> bool:
    """Return whether the first cell that is not empty is a number."""
    return is_number(next((cell for cell in cells if not is_empty(cell)), None))


def cut(
    table: Table, columns: Columns, windows: Windows, task: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return the windows of a table, (n, length, channels), their labels or tags, and the series of each."""
    values = np.stack([table.numbers(name) for name in columns.channels], axis=-1)
    labels, unknown = labels_of(table, columns, task), KINDS[task]
    inputs, targets, groups = [], [], []
    for name, rows in rows_of_series(table, columns).items():
        for start in range(0, max(len(rows) - windows.length + windows.hop, 1), windows.hop):
            chosen = rows[start : start + windows.length]
            part = labels[chosen]
            missing = np.full((windows.length - len(part), *part.shape[1:]), unknown, part.dtype)
            inputs.append(at_length(values[chosen], windows.length, "pad"))
            targets.append(np.concatenate([part, missing]))
            groups.append(name)
    several = columns.series is not None and len(set(groups)) > 1
    return np.stack(inputs), np.stack(targets), np.array(groups) if several else None


def labels_of(table: Table, columns: Columns, task: str) -> np.ndarray:
    """Return the class of each row as a word, "" where none is known, or its tags as numbers, NaN likewise."""
    if task == StepTagging.key:
        return np.stack([table.numbers(name, empty=True) for name in columns.target], axis=-1)
    cells = table.column(columns.target[0])
    return np.array(["" if is_empty(cell) else str(cell).strip() for cell in cells], object)


def rows_of_series(table: Table, columns: Columns) -> dict[str, np.ndarray]:
    """Return the rows of each series, in order of time."""
    count = len(table.rows)
    order = np.arange(count)
    if columns.time is not None:
        cells = table.filled(columns.time)
        order = np.argsort(np.array(cells, "float64" if all(map(is_number, cells)) else "U"), kind="stable")
    if columns.series is None:
        return {"": order}
    names = np.array(list(map(str, table.filled(columns.series))))
    return {name: order[names[order] == name] for name in dict.fromkeys(names.tolist())}
