"""Files to predict for, read as raw examples: single files, folders, and tables of texts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from kzoo.core.lazy import np, rich_console, rich_progress
from kzoo.data.splits import Preprocess
from kzoo.data.windows import Windows

AT_ONCE = 16  # files that are read ahead
MANY = 20  # files from which on the progress is shown
LARGEST = {"uint8": 255, "int16": 32767}  # value of raw examples of these types


class RawInput(NamedTuple):
    """A file, or a row of a table of texts, as it was read.

    Attributes:
        file: its path.
        line: of the row, counted from 1; None for a whole file.
        raw: the raw example; None if there is an error.
        error: why it cannot be read, in one line; None if it was.
        changes: what was changed when it was read.
        known: what the file says of the answer, as JSON-serialisable values by name, such as the times of a forecast.
    """

    file: str
    line: int | None = None
    raw: np.ndarray | None = None
    error: str | None = None
    changes: Sequence[str] = ()
    known: Mapping[str, Any] = MappingProxyType({})


def windows_for(preprocess: Preprocess, window: float | None, hop: float | None) -> Windows | None:
    """Return how examples are divided; None for examples that are always taken as a whole.

    Raises:
        ValueError: for a window or a hop that the model cannot take.
    """
    found = preprocess.windows(window, hop) if hasattr(preprocess, "windows") else None
    if found is None and (window is not None or hop is not None):
        raise ValueError("window and hop are for recordings and series, hop for tiles of images; this model takes none")
    return found


def as_batch(raw, preprocess: Preprocess, *, longer: bool = False) -> np.ndarray:
    """Return a batch of raw examples as an array of the type that the model takes.

    Args:
        raw: anything of which numpy makes an array.
        preprocess: of the model.
        longer: whether axes of examples, but the channels, may be longer than the model takes at once.

    Raises:
        ValueError: for another shape or type; it says what to give.
    """
    batch, shape = np.asarray(raw), preprocess.raw_shape
    if not batch.ndim or not fits(batch.shape[1:], shape, longer):
        axes = ", ".join(["batch", *("any" if size is None else str(size) for size in shape)])
        single = f"; for this single example give {'[raw]' if not shape else 'raw[None]'}"
        hint = single if fits(batch.shape, shape, longer) else ""
        raise ValueError(f"raw must be a batch of shape ({axes}), got {batch.shape}{hint}")
    return of_type(batch, preprocess.raw_dtype)


def fits(found: Sequence[int], shape: Sequence[int | None], longer: bool) -> bool:
    """Return whether the shape of an example is one that a model takes."""
    if len(found) != len(shape) or 0 in found:
        return False
    positions = len(shape) - 1 if longer else 0  # axes that may be longer
    sizes = enumerate(zip(found, shape, strict=True))
    return all(want in (None, have) or (axis < positions and have > want) for axis, (have, want) in sizes)


def of_type(batch: np.ndarray, kind: str) -> np.ndarray:
    """Return a batch of raw examples in a type; only floats are converted.

    Raises:
        ValueError: for another type; it says how to convert it.
    """
    if kind == "string":
        if batch.dtype.kind in "UOST":
            return batch
        raise ValueError(f"raw must be texts, got {batch.dtype}")
    if batch.dtype != kind and kind != "float32":
        scale = LARGEST[kind]
        raise ValueError(
            f"raw must be {kind}, whole numbers up to {scale}, got {batch.dtype}; give raw.astype('{kind}'), or "
            f"(raw * {scale}).round().astype('{kind}') if its values are up to 1"
        )
    if batch.dtype.kind not in "fiu":
        raise ValueError(f"raw must be {kind}, got {batch.dtype}")
    return batch.astype(kind, copy=False)


def find_files(preprocess: Preprocess, paths: Sequence[str | Path]) -> list[str]:
    """Return the files to predict for: for a folder those in it, at any depth, with a suffix of the modality.

    Hidden files and folders are left out. A folder without such files stays, as does a path that does not exist:
    reading it says so.
    """
    found = []
    for path in paths:
        folder = os.path.expanduser(path)
        found += (files_below(Path(folder), preprocess.suffixes) if os.path.isdir(folder) else []) or [str(path)]
    return found


def files_below(folder: Path, suffixes: Sequence[str]) -> list[str]:
    """Return the files in a folder and its subfolders that have one of the suffixes, sorted, without hidden ones."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        visible = (name for name in sorted(names) if name[0] != "." and Path(name).suffix.lower() in suffixes)
        found += [os.path.join(root, name) for name in visible]
    return found


def is_table(preprocess: Preprocess, file: str | Path) -> bool:
    """Return whether a file is a table with an example in each row."""
    return Path(file).suffix.lower() in getattr(preprocess, "tables", ())


def read_files(preprocess: Preprocess, files: Sequence[str], text_column: str = "text") -> Iterator[RawInput]:
    """Read files in parallel, a few ahead, in their order; a file that cannot be read has an error."""
    console = rich_console.Console(stderr=True)
    hidden = len(files) < MANY or not console.is_terminal
    starts = range(0, len(files), AT_ONCE)
    steps = rich_progress.track(starts, "predicting", console=console, transient=True, disable=hidden)
    with ThreadPoolExecutor() as pool:
        for start in steps:
            chunk = files[start : start + AT_ONCE]
            for sources in pool.map(lambda file: read_file(preprocess, file, text_column), chunk):
                yield from sources


def read_file(preprocess: Preprocess, file: str, text_column: str) -> list[RawInput]:
    """Return what is in a file: one example, or those in the rows of a table."""
    try:
        check_file(preprocess, Path(file).expanduser())
        if is_table(preprocess, file):
            return [as_source(file, line, raw) for line, raw in preprocess.read_rows(file, text_column)] or [
                RawInput(file, error=f"{file} holds no rows")
            ]
        if hasattr(preprocess, "read_with_changes"):
            raw, changes = preprocess.read_with_changes(file)
            return [RawInput(file, raw=raw, changes=changes)]
        source = as_source(file, None, preprocess.read(file))
        return [source._replace(known=preprocess.stated(file)) if hasattr(preprocess, "stated") else source]
    except (ValueError, OSError) as error:
        return [as_source(file, None, error)]


def as_source(file: str, line: int | None, raw: np.ndarray | Exception) -> RawInput:
    """Return a raw example, or what is wrong with it, with its place."""
    if isinstance(raw, Exception):
        return RawInput(file, line, error=" ".join(str(raw).split()))
    return RawInput(file, line, raw)


def check_file(preprocess: Preprocess, path: Path) -> None:
    """Raise a ValueError for a path that is no file."""
    if os.path.isdir(path):
        raise ValueError(f"{path} holds no file that this model reads ({', '.join(sorted(preprocess.suffixes))})")
    if not os.path.isfile(path):  # unlike Path.is_file, False for a name that is too long
        raise ValueError(f"there is no file {path}")
