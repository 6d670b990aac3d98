"""Targets of every task as users have them (names, tags, numbers), from arrays and from the cells of tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kzoo.core.lazy import np
from kzoo.core.registry import check_keywords, did_you_mean, keywords, lookup
from kzoo.data.arrays import to_array
from kzoo.data.labels import SEVERAL, read_labels, warn_of_names
from kzoo.data.tables import Table, is_empty, is_number
from kzoo.tasks import (
    Classification,
    Regression,
    Restoration,
    Segmentation,
    StepClassification,
    StepTagging,
    Tagging,
    Task,
    Transcription,
)
from kzoo.tasks.segmentation import MOST_CLASSES, VOID
from kzoo.tasks.transcription import TOKENS, transcription_of

Splits = Mapping[str, Any]  # the targets of "train" and, if there, "validation" and "test"
LISTS = (list, tuple, set, frozenset)
NAME_THEM = "; name the tags with class_names=[...]"


class Reader(NamedTuple):
    """How the targets of a task are read.

    Attributes:
        values: function of (splits, names, where) that returns the task, and the raw targets of each split.
        cells: function of (table, columns) that returns what `values` takes, of all rows.
    """

    values: Callable[..., tuple[Task, dict]]
    cells: Callable[..., Sequence]


def reader_of(task: str | None) -> Reader:
    """Return how the targets of a task are read; of classification for None.

    Raises:
        ValueError: for an unknown task; the error suggests the closest valid one.
    """
    return READERS[Classification.key] if task is None else lookup("task", task, READERS)


def targets_as(
    task: str | None, splits: Splits, names: Sequence[str] | None = None, where: str = "the data", **options
) -> tuple[Task, dict[str, np.ndarray]]:
    """Return the task, and the raw targets of each split.

    Args:
        task: a key of `READERS`; None for "classification".
        splits: targets of "train" and, if there, "validation" and "test".
        names: of the classes, tags or numbers; told by the targets if not given.
        where: what the targets belong to, for messages.
        **options: of the task's reader; others are ignored.

    Raises:
        ValueError: for an unknown task, or targets of another kind.
    """
    read = reader_of(task).values
    return read(splits, names, where, **{key: options[key] for key in options if key in keywords(read)})


def given(options: Mapping) -> dict:
    """Return the options that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def check_task_options(task: str | None, options: Mapping) -> None:
    """Raise a ValueError for an option of reading targets that the task does not have."""
    check_keywords(f"option of {task or Classification.key}", options, *reader_of(task))


def classes(splits: Splits, names: Sequence[str] | None, where: str) -> tuple[Task, dict[str, np.ndarray]]:
    """Return class indices, int32 (n,), of names, whole numbers or one-hot rows.

    Raises:
        ValueError: for several labels an example, or see `read_labels`.
    """
    for split, values in splits.items():
        lengths = {len(row) if isinstance(row, LISTS) else 1 for row in values} if isinstance(values, LISTS) else {1}
        if len(lengths) > 1:
            raise ValueError(f"the examples of the {split} split have {min(lengths)} to {max(lengths)} labels{SEVERAL}")
    names, labels = read_labels({split: to_array(values) for split, values in splits.items()}, names, where)
    return Classification(names), labels


def class_cells(table: Table, columns: Sequence[str]) -> list:
    """Return the labels of a column; texts that are all whole numbers in their shortest form as integers.

    Raises:
        ValueError: for several columns, or empty cells.
    """
    if len(columns) > 1:
        raise ValueError(
            f"target names {len(columns)} columns of {table.name}; say task='tagging' or task='regression'"
        )
    cells = table.filled(columns[0])
    if not all(isinstance(cell, str) for cell in cells):
        return list(cells)
    texts = [cell.strip() for cell in cells]
    whole = all(text.isdecimal() and str(int(text)) == text for text in set(texts))
    return list(map(int, texts)) if whole else texts


def tags(splits: Splits, names: Sequence[str] | None, where: str) -> tuple[Task, dict[str, np.ndarray]]:
    """Return tags, float32 (n, tags) of 0 and 1, of multi-hot rows or of lists of names.

    Raises:
        ValueError: for rows of another kind, or a tag that is not among the names or that no training example has.
    """
    rows = {split: tag_rows(values, split) for split, values in splits.items()}
    if len({isinstance(part, np.ndarray) for part in rows.values()}) > 1:
        raise ValueError(f"the tags of {where} differ in kind between splits; expected rows of 0 and 1, or of names")
    if isinstance(rows["train"], np.ndarray):
        names = names if names is not None else getattr(splits["train"], "columns", range(rows["train"].shape[1]))
        return Tagging(tuple(map(str, names))), rows
    known = tuple(map(str, names)) if names is not None else tuple(sorted(set().union(*rows["train"])))
    warn_of_names(set().union(*(set(row) for part in rows.values() for row in part)), where, (), NAME_THEM)
    why = "is none of class_names" if names is not None else f"no training example of {where} has"
    return Tagging(known), {split: multi_hot(part, known, split, why) for split, part in rows.items()}


def tag_rows(values, split: str) -> np.ndarray | list[list[str]]:
    """Return tags as rows of 0 and 1, float32, or as lists of names.

    Raises:
        ValueError: naming the first example that is neither.
    """
    if hasattr(values, "columns") or getattr(getattr(values, "dtype", None), "kind", "O") != "O":
        values = to_array(values)
    rows = [row.tolist() if hasattr(row, "tolist") else row for row in values]
    expected = "expected a row of 0 and 1, or a list of names of tags"
    for number, row in enumerate(rows):
        if not isinstance(row, LISTS):
            raise ValueError(f"example {number} of the {split} split has {row!r}; {expected}")
    if any(isinstance(tag, str) for row in rows for tag in row) or not any(map(len, rows)):
        return [names_in(row, f"example {n} of the {split} split") for n, row in enumerate(rows)]
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise ValueError(f"the tags of the {split} split have rows of {min(widths)} and of {max(widths)}; {expected}")
    return np.array(rows, "float32")


def names_in(row, which: str) -> list[str]:
    """Return the tags of one example; raise a ValueError for one that is no name."""
    for tag in row:
        if not isinstance(tag, str) or not tag.strip():
            raise ValueError(f"{which} has the tag {tag!r}, expected a name")
    return list(row)


def multi_hot(rows: Sequence[Sequence[str]], names: Sequence[str], split: str, why: str) -> np.ndarray:
    """Return lists of tags as rows of 0 and 1, float32 (n, tags).

    Raises:
        ValueError: naming the first tag that is unknown, for the reason `why`.
    """
    found, index = np.zeros((len(rows), len(names)), "float32"), {name: column for column, name in enumerate(names)}
    for number, row in enumerate(rows):
        for tag in row:
            if tag not in index:
                raise ValueError(
                    f"example {number} of the {split} split has the tag {tag!r}, which {why}; "
                    f"{did_you_mean(tag, names)}"
                )
            found[number, index[tag]] = 1
    return found


def tag_cells(table: Table, columns: Sequence[str], *, separator: str = ";") -> Sequence:
    """Return the tags of each row: of one column, whose cells hold several with a separator, or of one column a tag.

    Raises:
        ValueError: naming the first row whose cell in a column of a tag is not a number.
    """
    if len(columns) > 1:
        return np.stack([table.numbers(name) for name in columns], axis=1)
    return [split_cell(cell, separator) for cell in table.column(columns[0])]


def split_cell(cell, separator: str) -> list[str]:
    """Return the tags of a cell, none of an empty one; JSON and Parquet have lists."""
    if not isinstance(cell, str) and hasattr(cell, "__iter__"):
        return list(cell)
    parts = [] if is_empty(cell) else str(cell).split(separator)
    return [part.strip() for part in parts if part.strip()]


def numbers(
    splits: Splits, names: Sequence[str] | None, where: str, *, quantiles: Sequence[float] = (), masked: bool = False
) -> tuple[Task, dict[str, np.ndarray]]:
    """Return numbers, float64 (n, columns), of arrays (n,) or (n, columns).

    Args:
        splits: as for `targets_as`; so are `names` and `where`.
        names: see `splits`.
        where: see `splits`.
        quantiles: in (0, 1), for intervals; see `kzoo.tasks.regression.Regression`.
        masked: whether NaN and None stand for numbers that are not known, which loss and metrics leave out.

    Raises:
        ValueError: for targets that are no numbers, or names that are not one for each.
    """
    rows = {split: number_rows(values, split) for split, values in splits.items()}
    names = names if names is not None else getattr(splits["train"], "columns", None)
    if names is None:
        width = rows["train"].shape[1]
        names = ["value"] if width == 1 else range(width)
    return Regression(tuple(map(str, names)), quantiles=tuple(map(float, quantiles)), masked=masked), rows


def number_rows(values, split: str) -> np.ndarray:
    """Return numbers as float64 (n, columns); None is NaN.

    Raises:
        ValueError: naming the first example that has something else, or for another shape.
    """
    array = to_array(values)
    if array.ndim not in (1, 2):
        raise ValueError(f"the targets of the {split} split have shape {array.shape}, expected (n,) or (n, columns)")
    rows = array.reshape(len(array), -1)
    if rows.dtype.kind == "O":
        for number, row in enumerate(rows):
            wrong = [cell for cell in row if not (cell is None or is_number(cell))]
            if wrong:
                raise ValueError(f"example {number} of the {split} split has {wrong[0]!r}, expected a number")
        rows = np.array([[math.nan if cell is None else float(cell) for cell in row] for row in rows])
    if rows.dtype.kind not in "biuf":
        raise ValueError(f"the targets of the {split} split are {rows.dtype}; expected numbers")
    return rows.astype("float64")


def number_cells(table: Table, columns: Sequence[str], *, masked: bool = False) -> np.ndarray:
    """Return the numbers of the columns; a ValueError names the first cell that is none."""
    return np.stack([table.numbers(name, empty=masked) for name in columns], axis=1)


def step_tags(splits: Splits, names: Sequence[str] | None, where: str) -> tuple[Task, dict[str, np.ndarray]]:
    """Return tags at each step, float32 (n, length, tags) of 0, 1 and NaN, of arrays of this shape.

    Raises:
        ValueError: for arrays of another shape or kind.
    """
    found = {split: to_array(values) for split, values in splits.items()}
    for split, rows in found.items():
        if rows.dtype.kind not in "biuf" or rows.ndim != 3:
            raise ValueError(
                f"the tags of the {split} split of {where} are {rows.dtype} of shape {rows.shape}; expected numbers "
                "(n, length, tags), 0, 1, or NaN where they are not known"
            )
    names = names if names is not None else range(found["train"].shape[2])
    return StepTagging(tuple(map(str, names))), {split: rows.astype("float32") for split, rows in found.items()}


def step_classes(splits: Splits, names: Sequence[str] | None, where: str) -> tuple[Task, dict[str, np.ndarray]]:
    """Return class indices at each step, int32 (n, length), of whole numbers or names.

    -1, NaN and "" stand for steps that are not known, for which the index is -1.

    Raises:
        ValueError: for arrays of another shape or kind, or a split without a known step.
    """
    found = {
        split: labels_of_steps(to_array(values), f"the {split} split of {where}") for split, values in splits.items()
    }
    if names is not None and found["train"].dtype.kind == "i":  # class indices, which the task checks
        return StepClassification(tuple(map(str, names))), {
            split: part.astype("int32") for split, part in found.items()
        }
    known = {split: part != UNKNOWN[part.dtype.kind] for split, part in found.items()}
    for split, part in known.items():
        if not part.any():
            raise ValueError(f"no step of the {split} split of {where} has a class: all are -1, NaN or ''")
    names, labels = read_labels({split: found[split][part] for split, part in known.items()}, names, where)
    rows = {split: np.full(part.shape, -1, "int32") for split, part in known.items()}
    for split, part in known.items():
        rows[split][part] = labels[split]
    return StepClassification(names), rows


UNKNOWN = {"i": -1, "O": ""}  # labels of steps that are not known, by the kind of the others


def labels_of_steps(labels: np.ndarray, what: str) -> np.ndarray:
    """Return labels (n, length) as int64 with -1 for NaN, or as strings.

    Raises:
        ValueError: for labels of another shape, or that are neither whole numbers nor names.
    """
    if labels.ndim != 2 or labels.dtype.kind not in "biufO":
        raise ValueError(
            f"the labels of {what} are {labels.dtype} of shape {labels.shape}; expected one at each step, (n, length)"
        )
    if labels.dtype.kind == "O":
        return labels
    labels = np.where(np.isnan(labels), -1, labels) if labels.dtype.kind == "f" else labels
    wrong = np.argwhere(labels != np.round(labels))
    if len(wrong):
        example, step = wrong[0]
        raise ValueError(
            f"example {example} of {what} has {labels[example, step]:g} at step {step}, expected a whole number or name"
        )
    return labels.astype("int64")


def class_maps(
    splits: Splits, names: Sequence[str] | None, where: str, *, void: int | None = None
) -> tuple[Task, dict[str, np.ndarray]]:
    """Return masks, 8-bit (n, height, width) with 255 where no class is known, of whole numbers of this shape.

    Args:
        splits: as for `targets_as`; so are `names` and `where`. Pixels of -1 have no class.
        names: see `splits`; the class indices up to the largest if not given.
        where: see `splits`.
        void: a further value of pixels without a class.

    Raises:
        ValueError: for arrays of another shape or kind, or values that are no classes.
    """
    found = {split: whole_maps(to_array(values), f"the {split} split of {where}") for split, values in splits.items()}
    known = {split: (part != -1) & (part != void) for split, part in found.items()}
    most = max((int(part[known[split]].max(initial=0)) for split, part in found.items()), default=0)
    names = names if names is not None else range(min(most, MOST_CLASSES) + 1)
    for split, part in found.items():
        wrong = np.argwhere(known[split] & ((part < 0) | (part >= min(len(names), MOST_CLASSES))))
        if len(wrong):
            example, row, column = wrong[0]
            raise ValueError(
                f"example {example} of the {split} split of {where} has {part[example, row, column]} at row {row}, "
                f"column {column}, expected a class from 0 to {min(len(names), MOST_CLASSES) - 1}, or -1; say void= "
                "for pixels without a class"
            )
    rows = {split: np.where(known[split], part, VOID).astype("uint8") for split, part in found.items()}
    return Segmentation(tuple(map(str, names))), rows


def whole_maps(masks: np.ndarray, what: str) -> np.ndarray:
    """Return masks (n, height, width) of whole numbers; a ValueError names their shape and kind otherwise."""
    masks = masks[..., 0] if masks.ndim == 4 and masks.shape[-1] == 1 else masks
    if masks.ndim != 3 or masks.dtype.kind not in "biuf" or (masks.dtype.kind == "f" and (masks % 1 != 0).any()):
        raise ValueError(
            f"the masks of {what} are {masks.dtype} of shape {masks.shape}; expected whole numbers (n, height, width)"
        )
    return masks if masks.dtype.kind in "iu" else masks.astype("int64")


def originals(
    splits: Splits, names: Sequence[str] | None, where: str, *, scale: int = 1
) -> tuple[Task, dict[str, np.ndarray]]:
    """Return images (n, height, width, channels), or series and waveforms (n, length, channels) of numbers.

    Args:
        splits: as for `targets_as`; so are `names`, of the channels, and `where`.
        names: see `splits`.
        where: see `splits`.
        scale: how many times as large as the inputs they are.

    Raises:
        ValueError: for arrays of another shape or kind.
    """
    rows = {split: to_array(values) for split, values in splits.items()}
    rows = {split: part[..., None] if part.ndim == 2 else part for split, part in rows.items()}
    for split, part in rows.items():
        if part.ndim not in (3, 4) or part.dtype.kind not in "iuf":
            raise ValueError(
                f"the targets of the {split} split of {where} are {part.dtype} of shape {part.shape}; expected numbers "
                "(n, height, width, channels) or (n, length, channels)"
            )
    axes = ("height", "width") if rows["train"].ndim == 4 else ("length",)
    names = names if names is not None else range(rows["train"].shape[-1])
    pixels = {"peak": 255.0, "limits": (0.0, 255.0)} if rows["train"].dtype == "uint8" else {}
    return Restoration(tuple(map(str, names)), axes, scale=scale, **pixels), rows


CASES = {"lower": str.lower, "upper": str.upper, "keep": str}


def transcripts(
    splits: Splits,
    names: Sequence[str] | None,
    where: str,
    *,
    tokens: str = "characters",
    case: str = "lower",
    drop: str = "",
) -> tuple[Task, dict[str, np.ndarray]]:
    """Return transcripts, an array of strings (n,), with single spaces between words.

    Args:
        splits: as for `targets_as`; so are `names`, of the symbols, and `where`.
        names: see `splits`; the different characters or words of the training transcripts if not given.
        where: see `splits`.
        tokens: "characters", or "words" for a network with an output for each of a few words.
        case: "lower", "upper", or "keep".
        drop: characters that are left out, such as ",.?!".

    Raises:
        ValueError: for targets that are no texts, or empty.
    """
    lookup("tokens", tokens, dict.fromkeys(TOKENS))
    change = lookup("case", case, CASES)

    def lines(split: str, part: Sequence) -> np.ndarray:
        which = f"of the {split} split of {where}"
        return np.array([one_line(text, change, drop, f"example {n} {which}") for n, text in enumerate(part)], object)

    found = {split: lines(split, part) for split, part in splits.items()}
    return transcription_of(found, names, tokens == "words"), found


def one_line(text, change: Callable[[str], str], drop: str, which: str) -> str:
    """Return a transcript with single spaces between words; a ValueError names one that is no text, or empty."""
    text = text.decode() if isinstance(text, bytes) else text
    if not isinstance(text, str):
        raise ValueError(f"{which} has {text!r}, expected a text")
    found = " ".join(change(text).translate(dict.fromkeys(map(ord, drop))).split())
    if not found:
        raise ValueError(f"{which} has an empty transcript; leave it out")
    return found


def transcript_cells(table: Table, columns: Sequence[str]) -> Sequence:
    """Raise a ValueError: clips of this reader have one length, by which transcripts would be cut."""
    raise ValueError(f"recordings and transcripts of {table.name} are read by transcripts:PATH, not as a table")


def no_cells(table: Table, columns: Sequence[str]) -> Sequence:
    """Raise a ValueError: a row of a table has one target, not one at each position."""
    raise ValueError(f"{table.name} has one target a row, not one at each position; give arrays to kzoo.from_arrays")


READERS = {
    Classification.key: Reader(classes, class_cells),
    Tagging.key: Reader(tags, tag_cells),
    Regression.key: Reader(numbers, number_cells),
    StepTagging.key: Reader(step_tags, no_cells),
    StepClassification.key: Reader(step_classes, no_cells),
    Segmentation.key: Reader(class_maps, no_cells),
    Restoration.key: Reader(originals, no_cells),
    Transcription.key: Reader(transcripts, transcript_cells),
}
