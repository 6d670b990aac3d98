"""Class folders: files in one folder per class, in a folder or a .zip file."""

import warnings
import zipfile
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

S = TypeVar("S")
T = TypeVar("T")
File = Path | zipfile.Path

SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}  # by folder name


class Row(NamedTuple):
    """One file of a dataset: its path, class, split, and group (such as the speaker) if that is known."""

    file: File
    label: str
    split: str
    group: str | None = None


def files_in(path: str) -> list[tuple[str, File]]:
    """Return (relative path, file) of each file in a folder or .zip file, sorted; hidden files are skipped.

    Raises:
        ValueError: if there is no such folder.
    """
    root = Path(path).expanduser()
    if root.is_dir():
        every = [(file.relative_to(root).as_posix(), file) for file in root.rglob("*") if file.is_file()]
    elif root.is_file() and zipfile.is_zipfile(root):
        archive = zipfile.ZipFile(root)
        every = [(name, zipfile.Path(archive, name)) for name in archive.namelist() if not name.endswith("/")]
    else:
        raise ValueError(f"there is no folder {root}, and no .zip file")
    every.sort(key=lambda pair: pair[0].split("/"))
    return [(inside, file) for inside, file in every if file.name[0] != "."]


def suffix_of(inside: str) -> str:
    """Return the suffix of a file name in lower case."""
    return PurePosixPath(inside).suffix.lower()


def files_with_suffix(path: str, suffixes: Container[str], plural: str) -> list[tuple[str, File]]:
    """Return those of `files_in` that have one of the suffixes; warn of the others.

    Args:
        path: a folder or .zip file.
        suffixes: with the dot, in lower case.
        plural: what such files are called in messages.

    Raises:
        ValueError: if there is no such folder, or none of these files in it.
    """
    every = files_in(path)
    found = [(inside, file) for inside, file in every if suffix_of(inside) in suffixes]
    others = [inside for inside, _ in every if suffix_of(inside) not in suffixes]
    if not found:
        raise ValueError(f"no {plural} ({', '.join(sorted(suffixes))}) in {path}")
    if others:
        warnings.warn(f"skipped {len(others)} files that are no {plural}, e.g. {others[0]}", stacklevel=3)
    return found


def rows_by_folder(path: str, files: Sequence[tuple[str, File]], hint: str = "") -> list[Row]:
    """Return the rows of files in class folders; below train, validation and test if there is a folder train.

    Raises:
        ValueError: for fewer than two such folders; `hint` is added to the message.
    """
    parts = below_one_folder([(inside.split("/"), file) for inside, file in files])
    if any(names[0] == "train" and names[1:] for names, _ in parts):
        rows = [Row(file, names[1], SPLITS[names[0]]) for names, file in parts if names[0] in SPLITS and names[2:]]
    else:
        rows = [Row(file, names[0], "train") for names, file in parts if names[1:]]
    labels = sorted({row.label for row in rows})
    if len(labels) < 2:
        found = ", ".join(labels) or "none"
        raise ValueError(
            f"expected at least 2 class folders below {path}, found {found}; the first file is {files[0][0]}{hint}"
        )
    if len(rows) < len(files):
        other = next(inside for inside, file in files if file not in {row.file for row in rows})
        warnings.warn(f"skipped {len(files) - len(rows)} files that are in no class folder, e.g. {other}", stacklevel=3)
    return rows


def below_one_folder(parts: list[tuple[list[str], File]]) -> list[tuple[list[str], File]]:
    """Remove the common top-level folder of a .zip file, if there is one."""
    tops = {names[0] for names, _ in parts}
    if len(tops) == 1 and tops != {"train"} and isinstance(parts[0][1], zipfile.Path):
        return [(names[1:] or names, file) for names, file in parts]
    return parts


def classes_and_splits(rows: Sequence[Row]) -> tuple[tuple[str, ...], dict[str, list[Row]]]:
    """Return the class names, and the rows of each split that is not empty.

    Raises:
        ValueError: for fewer than two classes, or no training files.
    """
    class_names = sorted({row.label for row in rows})
    if len(class_names) < 2:
        raise ValueError(f"{rows[0].file} and all other files are of one class, {class_names[0]}; expected at least 2")
    splits = {split: [row for row in rows if row.split == split] for split in ("train", "validation", "test")}
    if not splits["train"]:
        raise ValueError(f"no files are left to train on; {rows[0].file} and all others are held out")
    return tuple(class_names), {split: part for split, part in splits.items() if part}


def read_each(read: Callable[[S], T], files: Iterable[S]) -> Iterator[T]:
    """Read files, or the files of rows, in parallel and yield the results in order.

    Raises:
        ValueError: at the end, naming the files that cannot be read.
    """

    def attempt(file: S) -> T | ValueError:
        try:
            return read(file)
        except ValueError as error:
            return error

    broken = []
    with ThreadPoolExecutor() as pool:
        for result in pool.map(attempt, files):
            if isinstance(result, ValueError):
                broken.append(result)
            elif not broken:
                yield result
    if broken:
        more = f" (and {len(broken) - 5} more files)" if len(broken) > 5 else ""
        raise ValueError("; ".join(str(error) for error in broken[:5]) + more)
