"""Text datasets from CSV and TSV tables, labelled lines and class folders."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kzoo.core.archives import MAX_MEMBER
from kzoo.core.lazy import np
from kzoo.core.ranges import PositiveInt
from kzoo.core.registry import lookup
from kzoo.data.folders import (
    File,
    classes_and_splits,
    files_with_suffix,
    read_bytes,
    read_each,
    rows_by_folder,
    without_broken,
)
from kzoo.data.folders import Row as FileRow
from kzoo.data.labels import check_classes, class_indices
from kzoo.data.splits import SPLITS, Examples, RawData, register_dataset
from kzoo.data.tables import numbered_cells
from kzoo.data.targets import targets_as
from kzoo.tasks import Classification, Tagging

SUFFIXES = {".txt"}  # of texts in class folders
FASTTEXT = "__label__"  # what labels begin with in fastText's format
WIDE = (b"\xff\xfe", b"\xfe\xff")  # byte-order marks of UTF-16
SEPARATORS = {".csv": ",", ".tsv": "\t"}  # of tables


def read_text(path: File, encoding: str) -> str:
    """Read a whole text file, without its byte-order mark.

    Raises:
        ValueError: for a missing file, an unknown encoding, or a byte that is invalid in it, with its offset and line.
    """
    content = read_bytes(path.expanduser() if isinstance(path, Path) else path)
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise ValueError(
            f"unknown encoding {encoding!r}; expected 'utf-8', 'latin-1' or another of Python's"
        ) from error
    except UnicodeDecodeError as error:
        byte, line = content[error.start], content.count(b"\n", 0, error.start) + 1
        other = "utf-16" if content.startswith(WIDE) else "latin-1"
        raise ValueError(
            f"{path} is not {encoding}: byte {error.start} (0x{byte:02x}, line {line}); convert the file, "
            f"or give the encoding it is in, e.g. {other!r}"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path} holds NUL characters, in line {line}; it is no text, or give encoding='utf-16'")
    return text


def read_document(path: File, encoding: str) -> str:
    """Read a file that is one text; the end of its last line is no part of the text."""
    return read_text(path, encoding).removesuffix("\n").removesuffix("\r")


class Row(NamedTuple):
    """One example of a file, its first line, counted from 1, and its label, or several of a tagging."""

    line: int
    label: str | tuple[str, ...]
    text: str


@register_dataset("csv:", "text", "your own files")
def csv_file(
    path: str,
    *,
    text_column: str = "text",
    label_column: str = "label",
    validation: str | None = None,
    test: str | None = None,
    encoding: str = "utf-8",
    quoting: bool = True,
) -> RawData:
    """A .csv (commas) or .tsv (tabs) file whose first row names the columns, one of text and one of labels.

    Args:
        path: the file.
        text_column: name of the column with the texts.
        label_column: name of the column with the labels; the classes are those of the training rows, sorted.
        validation: a file of validation rows; held out from the first if not given.
        test: a file of test rows; likewise.
        encoding: of all files.
        quoting: whether quotation marks enclose texts that hold separators or line ends; False reads them as they are.

    Raises:
        ValueError: naming file and line, for bytes that are not in the encoding, a missing column, a row with too
            few or too many columns, a row without a label, or a label that the first file does not have.
    """
    separator = lookup(f"kind of table, {path},", Path(path).suffix.lower(), SEPARATORS)

    def read(file: str) -> list[Row]:
        return list(
            table_rows(Path(file), read_text(Path(file), encoding), separator, text_column, label_column, quoting)
        )

    return from_files(read, path, validation, test)


@register_dataset("labelled:", "text", "your own files")
def labelled(
    path: str,
    *,
    task: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    encoding: str = "utf-8",
) -> RawData:
    """A file of lines `label text`, the format of TREC and MR; the label ends at the first space or tab.

    Args:
        path: the file; its lines end in "\\n" or "\\r\\n", other line separators are part of a text.
        task: "classification" if not given, or "tagging", whose lines begin with any number of tags, as
            `__label__rock __label__live text` in fastText's format.
        validation: a file of validation lines; held out from the first if not given.
        test: a file of test lines; likewise.
        encoding: of all files.

    Raises:
        ValueError: naming file and line, for bytes that are not in the encoding, a line without a label, or a
            label that only the test file has.
    """
    reader = lookup("task of labelled lines,", task or Classification.key, LINES)

    def read(file: str) -> list[Row]:
        return reader(Path(file), read_text(Path(file), encoding))

    return (from_files if reader is labelled_rows else tagged_files)(read, path, validation, test)


def labelled_rows(path: Path, content: str) -> list[Row]:
    """Return the examples of lines `label text`; blank lines are skipped."""
    rows = []
    for number, line in enumerate(content.split("\n"), start=1):
        if line[:1].isspace() and line.strip():
            raise ValueError(f"line {number} of {path} begins with a space; expected a label and then its text")
        if line.strip():
            label, *text = line.split(maxsplit=1)
            if label.startswith(FASTTEXT) and text and text[0].startswith(FASTTEXT):
                several = f"line {number} of {path} has several labels, {label} and more"
                raise ValueError(f"{several}; expected one a text, or say task='tagging'")
            rows.append(Row(number, label, text[0].rstrip("\r") if text else ""))
    return rows


def tagged_rows(path: Path, content: str) -> list[Row]:
    """Return the examples of lines that begin with any number of tags `__label__name`; blank lines are skipped."""
    rows = []
    for number, line in enumerate(content.split("\n"), start=1):
        words = line.split()
        count = next((n for n, word in enumerate(words) if not word.startswith(FASTTEXT)), len(words))
        if words:
            text = line.split(maxsplit=count)[count:]
            tags = tuple(word.removeprefix(FASTTEXT) for word in words[:count])
            rows.append(Row(number, tags, text[0].rstrip() if text else ""))
    if not any(row.label for row in rows):
        raise ValueError(f"no line of {path} begins with a tag, as {FASTTEXT}rock {FASTTEXT}live and then the text")
    return rows


LINES = {Classification.key: labelled_rows, Tagging.key: tagged_rows}  # readers of a file of lines, by task


def tagged_files(read: Callable[[str], list[Row]], path: str, validation: str | None, test: str | None) -> RawData:
    """Return the splits of a file of training rows with tags and, if given, of files of validation and of test rows."""
    files = {"train": path, "validation": validation, "test": test}
    rows = {split: read(file) for split, file in files.items() if file is not None}
    for split, part in rows.items():
        warn_of_empty_texts(files[split], part)
    labels = {split: [row.label for row in part] for split, part in rows.items()}
    task, tags = targets_as(Tagging.key, labels, where=path)
    texts = {split: np.array([row.text for row in part], dtype=object) for split, part in rows.items()}
    parts = {split: Examples(texts[split], tags[split]) for split in rows}
    return RawData(*map(parts.get, files), task.names, task=task)


def table_rows(
    path: Path, content: str, separator: str, text_column: str, label_column: str, quoting: bool
) -> Iterator[Row]:
    """Yield the examples of a table; blank lines are skipped.

    Raises:
        ValueError: for missing columns, a ragged row, a row without a label, or an unclosed quotation.
    """
    indices, header = None, []
    for number, cells in numbered_cells(path, content, separator, quoting):
        if indices is None:
            header = [cell.strip() for cell in cells]
            columns = {cell: index for index, cell in enumerate(header)}
            indices = [lookup(f"column of {path},", name, columns) for name in (text_column, label_column)]
            continue
        if len(cells) != len(header):
            raise ValueError(f"line {number} of {path} has {len(cells)} columns, the header has {len(header)}")
        text, label = (cells[index] for index in indices)
        if not label.strip():
            raise ValueError(f"line {number} of {path} has no {label_column}")
        yield Row(number, label.strip(), text)


def table_texts(path: Path, text_column: str) -> Iterator[tuple[int, str | ValueError]]:
    """Yield (first line, text) for each row of a UTF-8 table whose first row names the columns.

    A row of another number of columns, or without a text, yields an error in place of the text.

    Raises:
        ValueError: for a missing column, or an unclosed quotation.
    """
    content, separator = read_text(path, "utf-8"), SEPARATORS[path.suffix.lower()]
    rows = numbered_cells(path, content, separator, quoting=True)
    header = [cell.strip() for cell in next(rows, (1, []))[1]]
    index = lookup(f"column of {path},", text_column, {cell: index for index, cell in enumerate(header)})
    for number, cells in rows:
        if len(cells) != len(header):
            yield number, ValueError(f"line {number} of {path} has {len(cells)} columns, the header has {len(header)}")
        elif not cells[index].strip():
            yield number, ValueError(f"line {number} of {path} contains no {text_column}")
        else:
            yield number, cells[index]


@register_dataset("text_folder:", "text", "your own files")
def text_folder(
    path: str,
    *,
    encoding: str = "utf-8",
    classes: Sequence[str] | None = None,
    skip_broken: bool = False,
    max_bytes: PositiveInt = MAX_MEMBER,
) -> RawData:
    """.txt files of one text each in one folder per class: PATH/CLASS/*, or PATH/train, validation, test/CLASS/*.

    Args:
        path: the folder, or a .zip file of it.
        encoding: of all files.
        classes: the classes to read, in the order of their indices; all if not given.
        skip_broken: leave out files that cannot be read, with a warning; a run lists them in `skipped_files.txt`.
        max_bytes: limit on the size that a file in a .zip file claims to have.

    Raises:
        ValueError: for a missing folder, fewer than two classes, no texts, or files that are not in the encoding
            (each by name).
    """
    rows = rows_by_folder(path, files_with_suffix(path, SUFFIXES, "texts", max_bytes), classes=classes)
    rows, skipped = without_broken(lambda row: read_text(row.file, encoding), rows, skip_broken)
    class_names, splits = classes_and_splits(rows, classes)
    loaded = {split: read_texts(part, class_names, encoding) for split, part in splits.items()}
    return RawData(*map(loaded.get, SPLITS), class_names, skipped=skipped)


def read_texts(rows: Sequence[FileRow], class_names: Sequence[str], encoding: str) -> Examples:
    """Read one text per file; warn of empty ones.

    Raises:
        ValueError: naming every file that cannot be read.
    """
    texts = list(read_each(lambda row: read_document(row.file, encoding), rows))
    empty = [row.file for row, text in zip(rows, texts, strict=True) if not text.strip()]
    if empty:
        warnings.warn(f"{len(empty)} of {len(rows)} files contain no text, e.g. {empty[0]}", stacklevel=3)
    labels = class_indices([row.label for row in rows], class_names)
    return Examples(np.array(texts, dtype=object), labels)


def from_files(read: Callable[[str], list[Row]], path: str, validation: str | None, test: str | None) -> RawData:
    """Return the splits of a file of training rows and, if given, of files of validation and of test rows."""
    rows = {file: read(file) for file in (path, validation, test) if file is not None}
    labels = {row.label for row in rows[path]}
    names = sorted(labels, key=int if all(label.isdecimal() for label in labels) else None)
    if len(names) < 2:
        raise ValueError(
            f"{path} holds {len(rows[path])} examples of {len(names)} classes; expected at least 2 classes"
        )
    for file in rows:
        warn_of_empty_texts(file, rows[file])
    splits = [None if file is None else as_examples(file, rows[file], names) for file in (path, validation, test)]
    check_classes({file: [row.label for row in part] for file, part in rows.items()}, path, hint="")
    return RawData(*splits, tuple(names))


def warn_of_empty_texts(path: str, rows: list[Row]) -> None:
    """Warn of empty texts; they stay in the dataset, as examples of padding only."""
    empty = [row.line for row in rows if not row.text.strip()]
    if empty:
        warnings.warn(f"{len(empty)} of {len(rows)} texts of {path} are empty, e.g. in line {empty[0]}", stacklevel=2)


def as_examples(path: str, rows: list[Row], names: Sequence[str]) -> Examples:
    """Return rows as arrays.

    Raises:
        ValueError: naming the line with a label that is not among `names`.
    """
    class_index = {name: index for index, name in enumerate(names)}
    for row in rows:
        if row.label not in class_index:
            known = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            raise ValueError(
                f"line {row.line} of {path} has label {row.label!r}, which no training example has: {known}"
            )
    labels = np.array([class_index[row.label] for row in rows], "int32")
    return Examples(np.array([row.text for row in rows], dtype=object), labels)
