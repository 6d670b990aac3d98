"""Tables of series as programs write them: a header or none, labels first or last, one row a series or one a step."""

import collections
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kzoo.core.registry import lookup
from kzoo.core.warn import warn_caller

MISSING = ("", "?", "nan")
LABELS = ("label", "class", "target", "y")  # names of columns, in lower case
SERIES = ("id", "case_id", "series_id", "sample_id", "case", "series", "sample")
TIMES = ("time", "timestamp", "time_step", "timestep", "step", "t", "reading_id", "date", "datetime")


class LabelledRow(NamedTuple):
    """One series as it was read: its first line, its label, and the values of each channel, all as words."""

    line: int
    label: str
    channels: list[list[str]]


def fields(line: str) -> list[str]:
    """Return the words of a line, divided by tabs, semicolons, commas or blanks; "0,5" is a half between semicolons."""
    line = line.strip(" \r\n")
    divider = next((d for d in ("\t", ";", ",") if d in line), None)
    words = [word.strip().strip('"') for word in line.split(divider)] or [""]
    return [word.replace(",", ".") for word in words] if divider == ";" else words


def is_number(word: str) -> bool:
    """Return whether a word is a number or a missing value."""
    try:
        float(word)
    except ValueError:
        return word.lower() in MISSING
    return True


def is_integer(word: str) -> bool:
    """Return whether a word is an integer, also one that is written as a float."""
    return is_number(word) and word.lower() not in MISSING and float(word).is_integer()


def counts(words: Sequence[str]) -> bool:
    """Return whether words are successive integers, as pandas names columns and rows."""
    numbers = [int(word) for word in words if word.isdecimal()]
    return len(words) > 0 and numbers == list(range(numbers[0], numbers[0] + len(words))) if numbers else False


def is_header(rows: Sequence[list[str]]) -> bool:
    """Return whether the first row names columns: words, a word for the label, or successive integers."""
    first = rows[0]
    names = [word for word in first if word and word.lower() not in LABELS + SERIES]
    if len(names) < len(first) and (not names or counts(names)):
        return True
    if first[1:] and not any(map(is_number, first[1:])):
        return True
    return len(first) > 3 and counts(first) and not any(counts(row) for row in rows[1:3])


def table_rows(path: Path, lines: Sequence[str], label_column: str | int | None) -> Iterator[LabelledRow]:
    """Yield the series of a table.

    Args:
        path: for messages.
        lines: of the file.
        label_column: its name or index; found by its name or its content if None.

    Raises:
        ValueError: for an unknown column, or a table of one row a step without a column of labels.
    """
    numbered = [(number, fields(line)) for number, line in enumerate(lines, 1)]
    numbered = [(number, words) for number, words in numbered if any(words)]
    header = []
    if numbered and is_header([words for _, words in numbered[:3]]):
        header = [word.lower() for word in numbered.pop(0)[1]]
        if counts([word for word in header if word and word not in LABELS]):
            warn_caller(f"line 1 of {path} is read as a header")
    series, time = (next((header.index(name) for name in names if name in header), None) for names in (SERIES, TIMES))
    label = label_index(path, header, numbered, label_column)
    if series is not None and time is not None:
        return long_rows(path, numbered, label, series, time, label_column is not None or header[label] in LABELS)
    unused = {
        index for index in (series, 0) if index is not None and index != label and is_index(header, numbered, index)
    }
    return wide_rows(numbered, label, unused)


def label_index(path: Path, header: Sequence[str], rows: Sequence, label_column: str | int | None) -> int:
    """Return the index of the column of labels; -1 for the last.

    Raises:
        ValueError: for a column that is not there.
    """
    if isinstance(label_column, str):
        return lookup(f"column of {path},", label_column.lower(), {name: index for index, name in enumerate(header)})
    if label_column is not None:
        return label_column
    named = next((header.index(name) for name in LABELS if name in header), None)
    if named is not None or not rows:
        return named or 0
    first, last = ([words[index] for _, words in rows] for index in (0, -1))
    if not any(map(is_number, last)):
        return -1 if any(map(is_number, first)) else 0
    values = all(map(is_number, first)) and len(set(first)) == len(rows) > 9
    if values and all(map(is_integer, last)) and 1 < len(set(last)) <= len(rows) / 2:
        warn_caller(f"the labels of {path} are read from the last column, since the first differs in each row")
        return -1
    return 0


def is_index(header: Sequence[str], rows: Sequence, index: int) -> bool:
    """Return whether a column numbers or names the rows: pandas' index, without a name, or one called id."""
    column = [words[index] for _, words in rows if index < len(words)]
    if not header or len(set(column)) < len(column):
        return False
    return header[index] in SERIES or (header[index] in ("", "unnamed: 0") and counts(column))


def wide_rows(rows: Sequence, label: int, unused: set[int]) -> Iterator[LabelledRow]:
    """Yield the series of a table of one row a series."""
    for number, words in rows:
        place = label % len(words)
        values = [word for index, word in enumerate(words) if index != place and index not in unused]
        yield LabelledRow(number, words[place], [values])


def long_rows(path: Path, rows: Sequence, label: int, series: int, time: int, labelled: bool) -> Iterator[LabelledRow]:
    """Yield the series of a table of one row a step, in the order of their first rows, their steps in order of time.

    Raises:
        ValueError: for a table without labels, or a series with two.
    """
    if not labelled:
        raise ValueError(f"{path} has one row a step, but no column of labels, called {' or '.join(LABELS)}")
    groups = collections.defaultdict(list)
    for number, words in rows:
        groups[words[series]].append((number, words))
    for name, steps in groups.items():
        labels = {words[label] for _, words in steps}
        if len(labels) > 1:
            raise ValueError(f"{path}, line {steps[0][0]}: series {name!r} has the labels {', '.join(sorted(labels))}")
        steps.sort(key=lambda step: (float(step[1][time]), "") if is_number(step[1][time]) else (0.0, step[1][time]))
        unused = {label % len(steps[0][1]), series, time}
        kept = [[word for i, word in enumerate(words) if i not in unused] for _, words in steps]
        yield LabelledRow(
            min(number for number, _ in steps), labels.pop(), [list(channel) for channel in zip(*kept, strict=True)]
        )


def arff_rows(path: Path, lines: Sequence[str]) -> tuple[list[str], Iterator[LabelledRow]]:
    """Return the declared class names of an .arff file of Weka and the UCR/UEA archives, and its series.

    Raises:
        ValueError: for a file without @data, without classes, or with sparse rows.
    """
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    numbered = [(number, line) for number, line in numbered if line and line[0] != "%"]
    header = list(itertools.takewhile(lambda row: row[1].lower() != "@data", numbered))
    nominal = [line for _, line in header if line.lower().startswith("@attribute") and line.endswith("}")]
    if len(header) == len(numbered) or not nominal:
        raise ValueError(f"{path} has no line {'@attribute NAME {CLASS,CLASS}' if not nominal else '@data'}")
    class_names = [name.strip(" '\"") for name in nominal[-1][nominal[-1].index("{") + 1 : -1].split(",")]
    return class_names, (arff_row(path, number, line) for number, line in numbered[len(header) + 1 :])


def arff_row(path: Path, number: int, line: str) -> LabelledRow:
    """Return the series of one line: values and a label, or channels in quotation marks, divided by a written \\\\n."""
    if line[0] == "{":
        raise ValueError(f"{path}, line {number}: sparse rows are not read")
    if line[0] in "'\"":
        inside, _, label = line[1:].rpartition(line[0])
        return LabelledRow(number, label.strip(" ,'\""), [channel.split(",") for channel in inside.split("\\n")])
    *values, label = line.split(",")
    return LabelledRow(number, label.strip(" '\""), [[value.strip() for value in values]])
