"""Datasets from tables: columns of file names, of texts or of numbers, with columns for target, split and group."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kzoo.core.arguments import check_arguments
from kzoo.core.lazy import np
from kzoo.core.registry import check_keywords, did_you_mean
from kzoo.core.shown import listed
from kzoo.core.warn import warn_caller
from kzoo.data.assemble import Assembly, taken_by
from kzoo.data.audio.files import SUFFIXES as AUDIO
from kzoo.data.audio.folder import Clips, read_rows
from kzoo.data.folders import Row, split_of
from kzoo.data.holdout import HoldOut
from kzoo.data.image.files import SUFFIXES as IMAGES
from kzoo.data.image.files import pictures
from kzoo.data.image.geometry import Geometry, Size, takes_geometry
from kzoo.data.splits import DATASETS, MODALITIES, SPLITS, DatasetCard, Examples, RawData, Splits, first_line
from kzoo.data.tables import Rows, Table, from_columns, is_empty, is_number, read_table, some
from kzoo.data.targets import check_task_options, given, reader_of, targets_as
from kzoo.data.text.files import SUFFIXES as TEXTS
from kzoo.data.text.files import read_texts
from kzoo.data.timeseries.files import Lengths, SeriesExamples, SeriesFile, loaded_splits, read_one
from kzoo.data.timeseries.forecast import forecast
from kzoo.data.weights import weight_cells
from kzoo.tasks import Forecasting, Task

FILES = {"image": IMAGES, "audio": AUDIO, "text": TEXTS, "timeseries": {".npy", ".ts"}}  # suffixes by modality
TARGETS = ("label", "class", "target", "category")  # columns that are the target if none is named
NO_CLASS = ("",)  # the class of files whose targets are in the table
LOOKED_AT = 3  # first cells of a column that are looked for as files
LONGEST = 200  # characters of a file's name
GEOMETRY = ("image_size", "resize", "crop", "interpolation")
ONLY_FOR = dict.fromkeys(GEOMETRY, "image") | {
    "seconds": "audio",
    "sample_rate": "audio",
    "hop": ("audio", "timeseries"),
    "unequal": "timeseries",
}


@dataclass(frozen=True)
class Content:
    """A table and what its columns are for.

    Args:
        table: of all splits.
        splits: the split of each row.
        input: the columns of the input: one of file names or texts, or several of numbers or texts.
        target: the column of the labels or tags, or several of tags or numbers.
        group: the column of the groups; None for none.
        root: folder of the files.
        weight: the column of the weights; None for none.
    """

    table: Table
    splits: np.ndarray
    input: tuple[str, ...]
    target: tuple[str, ...]
    group: str | None
    root: Path
    weight: str | None = None

    @property
    def folders(self) -> list[Path]:
        """The folder of the files, and those in it."""
        return [self.root, *sorted(f for f in self.root.iterdir() if f.is_dir() and f.name[0] != ".")]

    @property
    def place(self) -> tuple[Path, str] | None:
        """Where the files are that the input names, and the suffix that the names lack; None if it names none."""
        if len(self.input) > 1:
            return None
        suffixes = ("", *(suffix for known in FILES.values() for suffix in known))
        for cell in map(str, self.table.column(self.input[0])[:LOOKED_AT]):
            for folder in self.folders if 0 < len(cell) < LONGEST and "\0" not in cell else ():
                for suffix in suffixes:
                    if (folder / f"{cell}{suffix}").is_file():
                        return folder, suffix
        return None

    @property
    def modality(self) -> str:
        """The modality, by the suffix of the files or by the cells.

        Raises:
            ValueError: for files that are not there or of another kind, or a single column of numbers.
        """
        column, first = self.input[0], str(self.table.column(self.input[0])[0])
        place = self.place
        suffix = Path(first).suffix.lower()
        if place is not None:
            ending = (place[1] or suffix).lower()
            found = next((modality for modality, known in FILES.items() if ending in known), None)
            if found is None:
                raise ValueError(f"column {column} of {self.table.name} names {first}, a kind of file that is not read")
            return found
        if all(is_number(self.table.column(name)[0]) for name in self.input):
            if len(self.input) == 1:
                raise ValueError(
                    f"column {column} of {self.table.name} holds numbers that name no files in {self.root}; give "
                    "several columns for series, or root= for files"
                )
            return "timeseries"
        if any(suffix in known for known in FILES.values()):
            raise ValueError(
                f"there is no file {first} in {self.root} or its folders ({self.table.rows[0]}); give root="
            )
        return "text"

    def groups(self) -> np.ndarray | None:
        """Return the group of each row."""
        return None if self.group is None else np.array(list(map(str, self.table.filled(self.group))))

    def rows_of(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the groups and the weights of some rows, as fields of `Examples`."""
        found = {"groups": self.groups(), "weights": self.weight and weight_cells(self.table, self.weight)}
        return {name: part[indices] for name, part in found.items() if part is not None}

    def targets(
        self, task: str | None, names: Sequence[str] | None, options: Mapping
    ) -> tuple[Task, dict[str, np.ndarray]]:
        """Return the task, and the raw targets of each split."""
        cells = reader_of(task).cells
        values = cells(self.table, self.target, **taken_by(cells, options))
        if names is None and isinstance(values, np.ndarray):
            names = self.target
        return targets_as(task, by_split(values, self.splits), names, self.table.name, **options)

    def files(self) -> list[Row]:
        """Return the file of each row.

        Raises:
            ValueError: naming the first rows whose files are missing.
        """
        folder, suffix = self.place
        cells = [str(cell) for cell in self.table.filled(self.input[0])]
        groups = self.groups()
        inside = [(folder, name) if name else None for name in found_in(folder, cells, suffix)]
        for other in self.folders if None in inside else ():
            again = found_in(other, cells, suffix)
            inside = [one or (name and (other, name)) for one, name in zip(inside, again, strict=True)]
        missing = [f"{cells[i]} ({self.table.rows[i]})" for i, file in enumerate(inside) if file is None]
        if missing:
            raise ValueError(f"{len(missing)} of {len(cells)} files are not in {folder}: {some(missing)}")
        groups = [None] * len(cells) if groups is None else groups
        return [Row(*file, *NO_CLASS, *of) for file, *of in zip(inside, self.splits, groups, strict=True)]


def found_in(folder: Path, cells: Sequence[str], suffix: str) -> list[str | None]:
    """Return the name within a folder of the file of each cell, None where there is none."""
    listings: dict[str, set[str]] = {}

    def there(name: str) -> bool:
        parent, _, file = name.rpartition("/")
        if parent not in listings:
            below = folder / parent
            listings[parent] = set(os.listdir(below)) if below.is_dir() else set()
        return file in listings[parent]

    tried = (suffix, *(other for known in FILES.values() for other in known)) if suffix else ("",)
    return [next((cell + ending for ending in tried if there(cell + ending)), None) for cell in cells]


@takes_geometry
def image_files(content: Content, rows: Sequence[Row], geometry: Geometry):
    """Return the images of each split."""
    return pictures(rows_by_split(rows), NO_CLASS, geometry)


def audio_files(content: Content, rows, *, seconds: float = 1.0, sample_rate=None, hop=None):
    """Return the recordings of each split."""
    clips = Clips.of(rows, seconds, sample_rate, hop)
    return {split: read_rows(part, NO_CLASS, clips) for split, part in rows_by_split(rows).items()}


def text_files(content: Content, rows: Sequence[Row], *, encoding: str = "utf-8"):
    """Return the texts of each split."""
    return {split: read_texts(part, NO_CLASS, encoding) for split, part in rows_by_split(rows).items()}


def series_in_files(
    content: Content, rows, *, unequal: str | None = None, length: int | None = None, hop: float | None = None
):
    """Return the series of each split, one in each file."""
    name = Path(content.table.name)
    files = {
        split: SeriesFile(name, [read_one(row.file, 1) for row in part], range(len(part)), [*NO_CLASS] * len(part), [])
        for split, part in rows_by_split(rows).items()
    }
    return loaded_splits(files, NO_CLASS, Lengths(unequal, length, hop))


FROM_FILES = {"image": image_files, "audio": audio_files, "text": text_files, "timeseries": series_in_files}


def rows_by_split(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the files of each split that is not empty."""
    return by_split(rows, [row.split for row in rows])


def by_split(values: Sequence, splits: Sequence[str]) -> dict[str, list]:
    """Return the values of each split that is not empty."""
    parts = {split: [value for value, of in zip(values, splits, strict=True) if of == split] for split in SPLITS}
    return {split: part for split, part in parts.items() if part}


def cells_as_inputs(content: Content, modality: str) -> np.ndarray:
    """Return the inputs that stand in the table itself: texts, or series (n, length, 1)."""
    if modality == "timeseries":
        return np.stack([content.table.numbers(name) for name in content.input], axis=1)[..., None]
    columns = [content.table.column(name) for name in content.input]
    texts = [" ".join("" if is_empty(cell) else str(cell) for cell in cells) for cells in zip(*columns, strict=True)]
    empty = [row for row, text in zip(content.table.rows, texts, strict=True) if not text.strip()]
    if empty:
        warn_caller(f"{len(empty)} of {len(texts)} texts of {content.table.name} are empty: {some(empty)}")
    return np.array(texts, dtype=object)


def raw_data(content: Content, task: str | None, class_names: Sequence[str] | None, options: Mapping) -> RawData:
    """Read the dataset of a table.

    Raises:
        ValueError: for cells that are empty or wrong, and files that are missing or damaged, by their rows.
    """
    asked, targets = content.targets(task, class_names, options)
    modality = content.modality
    indices = {split: np.flatnonzero(content.splits == split) for split in SPLITS}
    if content.place is not None:
        build = FROM_FILES[modality]
        files = build(content, content.files(), **taken_by(build, options))
        parts = {split: dataclasses.replace(part, labels=targets[split]) for split, part in files.items()}
    else:
        if options.get("hop") is not None:
            raise ValueError(f"hop is for files of recordings and series, but {content.table.name} has none")
        inputs, kind = cells_as_inputs(content, modality), SeriesExamples if modality == "timeseries" else Examples
        parts = {split: kind(inputs[part], targets[split]) for split, part in indices.items() if len(part)}
    parts = {split: dataclasses.replace(part, **content.rows_of(indices[split])) for split, part in parts.items()}
    return RawData(*map(parts.get, SPLITS), asked.names, task=asked)


def table(
    path: str,
    *,
    input: str | int | Sequence[str | int] | None = None,
    target: str | int | Sequence[str | int] | None = None,
    task: str | None = None,
    separator: str | None = None,
    quantiles: Sequence[float] | None = None,
    masked: bool | None = None,
    split: str | None = None,
    group: str | None = None,
    weight: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    root: str | None = None,
    class_names: Sequence[str] | None = None,
    delimiter: str | None = None,
    header: bool = True,
    encoding: str = "utf-8",
    image_size: Size | None = None,
    resize: str | None = None,
    crop: float | None = None,
    interpolation: str | None = None,
    seconds: float | None = None,
    sample_rate: int | None = None,
    hop: float | None = None,
    unequal: str | None = None,
    length: int | None = None,
) -> RawData:
    """A table of file names, texts or numbers and their labels: CSV, TSV, JSON lines (also .gz) or Parquet.

    Args:
        path: the table.
        input: the column of the input: names of image, audio, text or series (.npy, .ts) files, with or without their
            suffix, or texts. Several columns are a series of numbers, or texts that are joined; `"pixel*"` stands for
            all columns that match. By default the one column that is left.
        target: the column of the labels; by default label, class, target or category, otherwise the last one. For
            tagging the column of the tags, or several columns of 0 and 1, one for each tag; for regression one or
            several columns of numbers. `"genre_*"` stands for all columns that match.
        task: "classification" if not given, "tagging" or "regression".
        separator: between the tags of a cell, for tagging; ";" if not given.
        quantiles: for regression with intervals, such as [0.05, 0.5, 0.95]: a network has an output for each.
        masked: for regression, whether empty cells are numbers that are not known, which loss and metrics leave out.
        split: a column that says train, validation or test.
        group: a column of groups, such as the patient, that are never divided.
        weight: a column of numbers from 0 that the training loss of each example is multiplied by, as Keras's
            `sample_weight`; metrics, validation and evaluation do not use them.
        validation: another table of the same columns, as the validation split.
        test: likewise, as the test split.
        root: folder of the files; by default that of the table. Files may lie in folders within it.
        class_names: in the order of the class indices; the different labels, sorted, if not given. For tagging the
            names of the tags, for regression of the numbers.
        delimiter: between cells; by default tabs in .tsv, otherwise commas, semicolons or tabs.
        header: whether the first line names the columns; otherwise they are called 0, 1, ...
        encoding: of the tables and text files.
        image_size: (height, width) or one number; required if the images differ in size.
        resize: see `kzoo.data.image.Geometry`; "crop" if not given.
        crop: likewise.
        interpolation: likewise.
        seconds: length of a clip of audio, 1 if not given.
        sample_rate: of all clips; by default the most common one among the files.
        hop: for windows of longer recordings, in seconds, see `kzoo.data.audio.folder.audio_folder`; of longer series,
            in steps, see `kzoo.data.timeseries.files.series_files`.
        unequal: how series of several lengths are brought to one: "resample" or "pad".
        length: steps that all series are brought to.

    Raises:
        ValueError: for an unknown column (with the closest one), files that are missing (with their rows), empty cells,
            or an option of another modality.
    """
    tables = {"train": path, "validation": validation, "test": test}
    read = {name: read_table(file, delimiter, header, encoding) for name, file in tables.items() if file is not None}
    options = {"seconds": seconds, "sample_rate": sample_rate, "hop": hop, "unequal": unequal}
    options |= dict(zip(GEOMETRY, (image_size, resize, crop, interpolation), strict=True))
    options |= {"length": length, "encoding": encoding}
    others = Others(split, group, weight)
    content = content_of(read, input, target, others, Path(root or Path(path).expanduser().parent))
    check_options(content.modality, options)
    reading = given({"separator": separator, "quantiles": quantiles, "masked": masked})
    check_task_options(task, reading)
    return raw_data(content, task, class_names, given(options) | reading)


def detect(
    path: str,
    *,
    input: str | int | Sequence[str | int] | None = None,
    target: str | int | Sequence[str | int] | None = None,
    split: str | None = None,
    group: str | None = None,
    weight: str | None = None,
    root: str | None = None,
    delimiter: str | None = None,
    header: bool = True,
    encoding: str = "utf-8",
    task: str | None = None,
) -> DatasetCard:
    """Return the card of a table, whose modality is that of its input; refuse an unknown task before it is read."""
    reader_of(task)
    read = {"train": read_table(path, delimiter, header, encoding)}
    others = Others(split, group if isinstance(group, str) else None, weight)
    content = content_of(read, input, target, others, Path(root or Path(path).expanduser().parent))
    return dataclasses.replace(DATASETS["table:"], modality=content.modality)


DATASETS["table:"] = DatasetCard("table:", ", ".join(FILES), first_line(table), "your own files", table, detect)


def check_options(modality: str, options: Mapping) -> None:
    """Raise a ValueError for an option that is of another modality."""
    for name, own in ONLY_FOR.items():
        if options.get(name) is not None and modality not in several(own):
            words = " and ".join(several(own))
            raise ValueError(f"{name} is for {words} data, but the input of this table is {modality} data")


class Others(NamedTuple):
    """Columns beside input and target; None for those that there are not."""

    split: str | None
    group: str | None
    weight: str | None


def content_of(tables: Mapping[str, Table], input, target, others: Others, root: Path) -> Content:
    """Return what the columns of a table, or of one for each split, are for."""
    first, names = tables["train"], list(tables["train"].columns)
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}")
    split, group, weight = others
    used = {name for name in others if name is not None}
    for name in used:
        first.column(name)
    target = likely_target(names, used) if target is None else target
    targets = matched(first, names, several(target))
    left = [name for name in names if name not in {*targets, *used}]
    columns = matched(first, left, several(input))
    whole, splits = combined(tables, {*columns, *targets, *used} - {split})
    if split is not None:
        own = splits_named(first, split)
        twice = sorted(set(own) & (tables.keys() - {"train"}))
        if twice:
            says = f"column {split} of {first.name} says {twice[0]}"
            raise ValueError(f"{says}, and {twice[0]}= is another table; give one of them")
        splits[: len(own)] = own
    return Content(whole, splits, columns, targets, group, root, weight)


def several(columns):
    """Return one or several columns as several; None as it is."""
    return [columns] if isinstance(columns, (str, int)) else columns


def likely_target(names: Sequence[str], others: set) -> str:
    """Return the column that is called like a target, otherwise the last one that has no other use."""
    free = [name for name in names if name not in others]
    return next((name for name in free if name.casefold() in TARGETS), (free or list(names))[-1])


def matched(table: Table, left: Sequence[str], wanted: Sequence | None) -> tuple[str, ...]:
    """Return the columns of the input.

    Raises:
        ValueError: for an unknown column, or if there are several and none is named.
    """
    if wanted is None:
        if len(left) != 1:
            raise ValueError(f"{table.name} has the columns {listed(list(table.columns), 10)}; say which is the input=")
        return tuple(left)
    found = []
    for name in map(str, wanted):
        fits = fnmatch.filter(left, name) if "*" in name else [name]
        if not fits:
            raise ValueError(f"no column of {table.name} matches {name!r}; {did_you_mean(name, table.columns)}")
        found += fits
    for name in found:
        table.column(name)
    return tuple(found)


def combined(tables: Mapping[str, Table], names: set[str]) -> tuple[Table, np.ndarray]:
    """Return the rows of several tables as one, and the split of each row."""
    splits = np.concatenate([np.full(len(table.rows), split, object) for split, table in tables.items()])
    if len(tables) == 1:
        return tables["train"], splits
    columns = {name: [cell for table in tables.values() for cell in table.column(name)] for name in names}
    places = [f"{row.split()[-1]} of {table.name}" for table in tables.values() for row in table.rows]
    return Table(tables["train"].name, columns, Rows(tables["train"].rows[0].split()[0], places)), splits


def splits_named(table: Table, name: str) -> np.ndarray:
    """Return the split that a column says of each row.

    Raises:
        ValueError: naming the first row that says none of them, or if no row is for training.
    """
    cells = [str(cell).strip() for cell in table.filled(name)]
    meanings = {cell: split_of(cell) for cell in set(cells)}
    wrong = next((index for index, cell in enumerate(cells) if meanings[cell] is None), None)
    if wrong is not None:
        raise ValueError(
            f"{table.name} has {cells[wrong]!r} in {table.rows[wrong]}, column {name}; expected train, validation or "
            "test"
        )
    if "train" not in meanings.values():
        raise ValueError(f"no row of {table.name} is for training: column {name} says {listed(sorted(meanings))}")
    return np.array([meanings[cell] for cell in cells], object)


def from_frame(
    frame,
    *,
    input: str | Sequence[str] | None = None,
    target: str | Sequence[str] | None = None,
    task: str | None = None,
    split: str | Sequence[float] | None = None,
    group: str | None = None,
    weight: str | None = None,
    root: str = ".",
    class_names: Sequence[str] | None = None,
    validation: float = 0.1,
    test: float | None = None,
    fold: Sequence[int] | None = None,
    stratify: bool = True,
    batch_size: int = 128,
    augment: Mapping | None = None,
    limit: int | None = None,
    seed: int = 0,
    name: str = "frame",
    **options,
) -> Splits:
    """Make a dataset of a data frame of pandas or polars, or of a dictionary of columns.

    Args:
        frame: with columns as in `table:` (`kzoo.data.table_sets.table`).
        input: as for `table:`; so are `target`, `task`, `split`, `group`, `weight` and `class_names`.
        target: see `input`; for forecasting the columns to forecast.
        task: see `input`; "forecasting" reads the frame as `forecast:PATH` (`kzoo.data.timeseries.forecast.forecast`)
            reads a file, a row for each time.
        split: see `input`; for forecasting the fractions or numbers of rows of the splits.
        group: see `input`.
        weight: see `input`.
        root: folder that names of files are relative to.
        class_names: see `input`.
        validation: as for `kzoo.load_dataset`; so are `test`, `fold`, `stratify`, `batch_size`, `augment`, `limit`
            and `seed`.
        test: see `validation`.
        fold: see `validation`.
        stratify: see `validation`.
        batch_size: see `validation`.
        augment: see `validation`.
        limit: see `validation`.
        seed: see `validation`.
        name: of the dataset, for tables and messages.
        **options: of `table:` for the modality (`image_size`, `seconds`, ...) and the task (`separator`, `quantiles`,
            `masked`), and of the preprocessing; for forecasting `time`, `known`, `lookback`, `horizon`,
            `season` and `quantiles`.

    Raises:
        ValueError: as `kzoo.load_dataset`.
    """
    if task == Forecasting.key:
        unused = {
            "input": input,
            "group": group,
            "weight": weight,
            "class_names": class_names,
            "test": test,
            "fold": fold,
        }
        check_unused(task, unused)
        raw = forecasts_in(from_columns(frame, name), target, split, options)
        return Assembly(name, "forecast", HoldOut(), batch_size, augment, limit, seed, {})(raw)
    others, root = Others(split, group, weight), Path(root).expanduser()
    content = content_of({"train": from_columns(frame, name)}, input, target, others, root)
    fit = MODALITIES[content.modality].preprocess.fit
    check_keywords(
        f"option of {content.modality} data,", options, from_frame, FROM_FILES[content.modality], fit, *reader_of(task)
    )
    how = HoldOut(validation, test, fold, True, stratify)
    assembly = Assembly(name, content.modality, how, batch_size, augment, limit, seed, options)
    return assembly(raw_data(content, task, class_names, options))


def check_unused(task: str, options: Mapping) -> None:
    """Raise a ValueError for options of `from_frame` that a task does not take, those that are not None."""
    if given(options):
        raise ValueError(
            f"{task} of a frame takes no {', '.join(given(options))}; its splits follow each other in time"
        )


def forecasts_in(table: Table, columns, split, options: Mapping) -> RawData:
    """Return the windows of a table with a row for each time."""
    check_keywords(f"option of {Forecasting.key},", options, from_frame, forecast)
    options = given({"columns": columns, "split": split}) | options
    return forecast(table, **check_arguments(forecast, options))
