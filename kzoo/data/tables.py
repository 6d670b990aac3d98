"""Tables: CSV, TSV, JSON lines and Parquet files and data frames, as columns of cells."""

from __future__ import annotations

import csv
import functools
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.lazy import lazy_import, np
from kzoo.core.registry import lookup
from kzoo.core.shown import listed

pandas = lazy_import("pandas")

DELIMITERS = {".csv": None, ".tsv": "\t", ".txt": None}  # by suffix; None to tell by the first line
JSON_LINES = (".jsonl", ".ndjson", ".json")  # the last one is that of NeMo's manifests
MANY = 5  # rows that a message names


@dataclass(frozen=True)
class Table:
    """Columns of cells, of one length.

    Args:
        name: of the file, for messages.
        columns: cells by the name of their column; strings, or what JSON and pandas make of them.
        rows: what each row is called, such as "line 7".
    """

    name: str
    columns: dict[str, list]
    rows: Sequence[str]

    def column(self, name: str | int) -> list:
        """Return the cells of a column.

        Raises:
            ValueError: for an unknown column, with the closest one.
        """
        return lookup(f"column of {self.name},", str(name), self.columns)

    def first(self, count: int) -> Table:
        """Return the table of the first rows."""
        columns = {name: cells[:count] for name, cells in self.columns.items()}
        return Table(self.name, columns, self.rows[:count])

    def filled(self, name: str | int) -> list:
        """Return the cells of a column that has no empty ones.

        Raises:
            ValueError: naming the first rows whose cell is empty.
        """
        cells = self.column(name)
        empty = [row for row, cell in zip(self.rows, cells, strict=True) if is_empty(cell)]
        if empty:
            raise ValueError(f"{self.name} has no {name} in {some(empty)}")
        return cells

    def numbers(self, name: str | int, *, empty: bool = False) -> np.ndarray:
        """Return the cells of a column as float32; with `empty`, those without content are NaN.

        Raises:
            ValueError: naming the first row whose cell is no finite number.
        """
        cells = [math.nan if is_empty(cell) else cell for cell in self.column(name)] if empty else self.filled(name)
        try:
            values = np.array(cells, "float64")
        except (TypeError, ValueError):
            values = np.array([float(cell) if is_number(cell) else math.nan for cell in cells])
        missing = np.array([empty and is_number(cell) and math.isnan(float(cell)) for cell in cells])
        with np.errstate(over="ignore"):
            values = values.astype("float32")
        wrong = np.flatnonzero(~np.isfinite(values) & ~missing)
        if wrong.size:
            cell = str(cells[wrong[0]])[:30]
            raise ValueError(f"{self.name} has {cell!r} in {self.rows[wrong[0]]}, column {name}; expected a number")
        return values


def some(rows: Sequence[str]) -> str:
    """Return the first rows, and how many there are more."""
    more = f" and {len(rows) - MANY} more" if len(rows) > MANY else ""
    return ", ".join(rows[:MANY]) + more


def is_empty(cell) -> bool:
    """Return whether a cell is None, NaN or blank."""
    return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())


def is_number(cell) -> bool:
    """Return whether a cell is a number, or text that is one."""
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def read_table(path: str, delimiter: str | None = None, header: bool = True, encoding: str = "utf-8") -> Table:
    """Read a table: .csv, .tsv, .txt, .jsonl, .ndjson, also with .gz, or .parquet.

    Args:
        path: the file.
        delimiter: between cells; tabs for .tsv, otherwise what the first line has most of: commas, semicolons, tabs.
        header: whether the first row names the columns; they are called 0, 1, ... if not.
        encoding: of the file.

    Raises:
        ValueError: for a missing or damaged file, rows of different lengths, two columns of one name, or no rows.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    return cached(file, file.stat().st_mtime_ns, delimiter, header, encoding)


@functools.lru_cache(maxsize=2)  # a table is looked at for its modality, then read
def cached(file: Path, changed: int, delimiter: str | None, header: bool, encoding: str) -> Table:
    """Read a table that may have been read before."""
    suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    lookup(f"kind of table, {file.name},", suffix, dict.fromkeys([*DELIMITERS, *JSON_LINES, ".parquet"]))
    if suffix == ".parquet":
        return read_parquet(file)
    content = decoded(file, encoding)
    if suffix in JSON_LINES:
        return from_json_lines(file.name, content)
    content, commented = without_comments(content)
    delimiter = delimiter or DELIMITERS[suffix] or common_delimiter(content.lstrip("\n"))
    return from_cells(file, content, delimiter, header, commented)


def decoded(file: Path, encoding: str) -> str:
    """Return the content of a text file, which may be compressed.

    Raises:
        ValueError: if it is damaged, or not in the encoding.
    """
    try:
        data = file.read_bytes()
        content = gzip.decompress(data) if file.suffix.lower() == ".gz" else data
        return content.decode(encoding).removeprefix("\ufeff")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    except LookupError as error:
        raise ValueError(
            f"unknown encoding {encoding!r}; expected 'utf-8', 'latin-1' or another of Python's"
        ) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file} is not {encoding}: line {line}; give the encoding, e.g. 'latin-1'") from error


def common_delimiter(content: str) -> str:
    """Return the delimiter that the first line has most of; a comma if it has none."""
    first = content[: content.find("\n")] if "\n" in content else content
    return max(",;\t", key=first.count)


def without_comments(content: str) -> tuple[str, bool]:
    """Return a text whose first lines are comments with the last of them as its header, and whether it has comments.

    The tables of AudioSet begin with several lines "# ...", of which the last names the columns. A single one is a
    header whose first name has that mark.
    """
    lines = content.split("\n")
    count = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if count < 2:
        return content, False
    blank = [""] * (count - 1)  # so that lines keep their numbers
    return "\n".join([*blank, lines[count - 1].lstrip("# "), *lines[count:]]), True


def from_cells(file: Path, content: str, delimiter: str, header: bool, spaced: bool = False) -> Table:
    """Return the table of a text with delimiters; `spaced` if spaces follow them."""
    rows = list(numbered_cells(file, content, delimiter, True, spaced))
    if not rows:
        raise ValueError(f"{file.name} is empty")
    names = [cell.strip() for cell in rows[0][1]] if header else list(map(str, range(len(rows[0][1]))))
    names = [name or str(index) for index, name in enumerate(names)]  # pandas leaves the name of its index out
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"{file.name} has two columns named {listed(twice)}")
    rows = rows[1:] if header else rows
    wrong = next(((line, cells) for line, cells in rows if len(cells) != len(names)), None)
    if wrong:
        raise ValueError(f"line {wrong[0]} of {file.name} has {len(wrong[1])} cells, the first line has {len(names)}")
    if not rows:
        raise ValueError(f"{file.name} has no rows below its header; if it has no header, give header=False")
    lines, cells = zip(*rows, strict=True)
    columns = dict(zip(names, map(list, zip(*cells, strict=True)), strict=True))
    return Table(file.name, columns, Rows("line", lines))


def numbered_cells(
    path: Path, content: str, separator: str, quoting: bool, spaced: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, cells) for each row that is not blank, whatever the length of a cell.

    With `spaced` the spaces that follow a separator are no part of a cell.
    """
    style = {"quoting": csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE, "skipinitialspace": spaced}
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True, **style)
    limit = csv.field_size_limit(2**31 - 1)
    try:
        line = 1
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"the row that begins in line {line} of {path} cannot be read: {error}") from error
    finally:
        csv.field_size_limit(limit)


class Rows(Sequence):
    """Names of rows, made when they are needed: "line 7"."""

    def __init__(self, word: str, numbers: Sequence):
        self.word, self.numbers = word, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int | slice) -> str | Rows:
        found = self.numbers[index]
        return Rows(self.word, found) if isinstance(index, slice) else f"{self.word} {found}"


def from_json_lines(name: str, content: str) -> Table:
    """Return the table of lines with one JSON object each; what a line lacks is None."""
    found, lines = [], []
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number} of {name} is not JSON: {error.msg}") from error
            if not isinstance(found[-1], dict):
                raise ValueError(f"line {number} of {name} is not a JSON object of columns and values")
            lines.append(number)
    names = list(dict.fromkeys(key for row in found for key in row))
    if not names:
        raise ValueError(f"{name} has no rows")
    return Table(name, {key: [row.get(key) for row in found] for key in names}, Rows("line", lines))


def read_parquet(file: Path) -> Table:
    """Return the table of a Parquet file.

    Raises:
        ValueError: if it is damaged, or pandas or pyarrow is not installed.
    """
    try:
        frame = pandas.read_parquet(io.BytesIO(file.read_bytes()))
    except ImportError as error:
        raise ValueError(f"reading {file.name} needs pandas and pyarrow: pip install pandas pyarrow") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{file.name} cannot be read: {' '.join(str(error).split())[:100]}") from error
    return from_columns(frame, file.name)


def from_columns(frame, name: str) -> Table:
    """Return the table of a data frame of pandas or polars, or of a mapping of columns.

    Raises:
        ValueError: if it has no rows, or columns of different lengths.
    """
    columns = {str(column): list(frame[column]) for column in (frame.columns if hasattr(frame, "columns") else frame)}
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"{name} has no rows" if lengths <= {0} else f"the columns of {name} differ in length")
    return Table(name, columns, Rows("row", range(lengths.pop())))
