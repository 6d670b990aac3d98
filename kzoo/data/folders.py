"""Class folders: files in one folder per class, in a folder or a .zip file."""

import collections
import dataclasses
import itertools
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from kzoo.core.archives import MAX_MEMBER, check_members
from kzoo.core.files import reading, user_path
from kzoo.core.registry import lookup
from kzoo.core.shown import listed
from kzoo.core.warn import warn_caller
from kzoo.data.labels import check_classes

S = TypeVar("S")
T = TypeVar("T")
File = Path | zipfile.Path

SPELLINGS = {  # of the name of a split's folder, in lower case
    "train": "train|training|trn",
    "validation": "validation|valid|val|dev|development",
    "test": "test|testing|tst",
}
SPLIT_NAME = re.compile(
    "(?:{})(?:[ _-]?(?:set|data|split|images))?".format("|".join(f"(?P<{k}>{v})" for k, v in SPELLINGS.items()))
)
SYSTEM = {
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "lost+found",
    "Thumbs.db",
    "desktop.ini",
}  # written by NAS, OS
NOISE = "_background_noise_"  # recordings that are mixed into others, in Speech Commands and sets like it
READ_AHEAD = 64  # files
TOGETHER = 8  # files that a thread reads at a time: handing out a single one costs as much as reading a header
MANY = 5  # files that a message names


class Row(NamedTuple):
    """One file of a dataset: where it is, its class, split, and group (such as the speaker) if that is known."""

    root: Path | zipfile.ZipFile
    inside: str
    label: str
    split: str
    group: str | None = None

    @property
    def file(self) -> File:
        """The file's path."""
        return path_in(self.root, self.inside)


@dataclass(frozen=True)
class Listing:
    """The files of a folder or .zip file, their names by folder, sorted; folders that are empty are there, too."""

    root: Path | zipfile.ZipFile
    folders: dict[str, list[str]]
    others: list[str]

    def names(self) -> Iterator[str]:
        """Yield each file's path relative to the root."""
        for folder, names in self.folders.items():
            yield from (f"{folder}/{name}" for name in names) if folder else names

    def files(self) -> list[File]:
        """Return the path of each file."""
        return [path_in(self.root, name) for name in self.names()]

    def __len__(self) -> int:
        return sum(map(len, self.folders.values()))


def path_in(root: Path | zipfile.ZipFile, inside: str) -> File:
    """Return the path of a file in a folder or .zip file."""
    return zipfile.Path(root, inside) if isinstance(root, zipfile.ZipFile) else root / inside


def hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or one that a system keeps for itself."""
    return name[0] == "." or name in SYSTEM


def files_in(path: str) -> Listing:
    """List a folder or .zip file in one pass; hidden files and folders are skipped, symbolic links are followed.

    Raises:
        ValueError: if there is no such folder, it cannot be read, or a link leads to a folder above itself.
    """
    root = user_path(path)
    if root.is_dir():
        return Listing(root, *walk(root))
    if root.is_file() and zipfile.is_zipfile(root):
        archive = zipfile.ZipFile(root)
        folders = {"": []}
        for name in archive.namelist():
            folder, _, file = name.rpartition("/")
            if not any(map(hidden, filter(None, name.split("/")))):
                folders.setdefault(folder, []).extend([file] if file else [])
        order = sorted(folders, key=lambda folder: folder.split("/"))
        return Listing(archive, {folder: sorted(folders[folder]) for folder in order}, [])
    raise ValueError(f"there is no folder {root}, and no .zip file")


def walk(root: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Return the names of all files below a folder, by folder, and the paths of pipes, devices and broken links.

    Raises:
        ValueError: for a folder that cannot be read, or a link to a folder above it.
    """
    folders, others, waiting = {}, [], [("", str(root), ())]
    while waiting:
        inside, folder, above = waiting.pop()
        folders[inside], special, below = scan(folder)
        prefix = f"{inside}/" if inside else ""
        others += [prefix + name for name in special]
        if below:
            here = (*above, own_place(folder))
            for name, linked in reversed(below):
                target = f"{folder}/{name}"
                if linked and own_place(target) in here:
                    raise ValueError(f"{target} is a symbolic link to a folder above it")
                waiting.append((prefix + name, target, here))
    return folders, others


def scan(folder: str) -> tuple[list[str], list[str], list[tuple[str, bool]]]:
    """Return the entries of a folder, sorted: names of files, of pipes and the like, (name, is a link) of folders."""
    files, others, below = [], [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if hidden(entry.name):
                    continue
                if entry.is_file():
                    files.append(entry.name)
                elif entry.is_dir():
                    below.append((entry.name, entry.is_symlink()))
                else:
                    others.append(entry.name)
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror}") from error
    return sorted(files), sorted(others), sorted(below)


def own_place(folder: str) -> tuple[int, int]:
    """Return what identifies a folder, whatever links lead to it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def files_with_suffix(path: str, suffixes: Iterable[str], plural: str, max_bytes: int = MAX_MEMBER) -> Listing:
    """Return the files of `files_in` that have one of the suffixes; warn of the others.

    Args:
        path: a folder or .zip file.
        suffixes: with the dot, in lower case.
        plural: what such files are called in messages.
        max_bytes: limit on the size that a file in a .zip file claims to have.

    Raises:
        ValueError: if there is no such folder, or none of these files in it, or a file in a .zip file that is too large
            or was compressed more than any real file.
    """
    every, endings = files_in(path), tuple(suffixes)
    if isinstance(every.root, zipfile.ZipFile):
        check_members(every.root, max_bytes)
    folders = {
        folder: [name for name in names if name.lower().endswith(endings)] for folder, names in every.folders.items()
    }
    found = dataclasses.replace(every, folders=folders)
    if not len(found):
        raise ValueError(f"no {plural} ({', '.join(sorted(endings))}) in {path}")
    if len(found) < len(every):
        first = next(name for name in every.names() if not name.lower().endswith(endings))
        warn_caller(f"skipped {len(every) - len(found)} files that are no {plural}, e.g. {first}")
    if every.others:
        what = "entries that are no files (pipes, devices or broken links)"
        warn_caller(f"skipped {len(every.others)} {what}, e.g. {every.others[0]}")
    return found


def split_of(name: str) -> str | None:
    """Return the split that a folder is named after ("train", "validation", "test"), None if it is another name."""
    match = SPLIT_NAME.fullmatch(name.lower())
    return match and match.lastgroup


def rows_by_folder(path: str, files: Listing, hint: str = "", classes: Sequence[str] | None = None) -> list[Row]:
    """Return the rows of files in class folders, PATH/CLASS/*, PATH/SPLIT/CLASS/* or PATH/CLASS/SPLIT/*.

    The folders of splits are called train, validation and test, or other common words for these. One outer folder is
    passed through. Warns of files and folders that are not read, and of classes without files.

    Args:
        path: as the user named it, for messages.
        files: in it.
        hint: added to the message if there are no class folders.
        classes: the classes to read; all if None.

    Raises:
        ValueError: for fewer than two class folders, folders of splits alone, or an unknown class.
    """
    places = {folder: tuple(folder.split("/")) if folder else () for folder in files.folders}
    outer = outer_folders(places, files)
    within = {folder: parts[len(outer) :] for folder, parts in places.items() if parts[: len(outer)] == outer}
    found = meanings("/".join((path, *outer)), within, files)
    labels = {label for folder, (label, _) in found.items() if files.folders[folder]}
    if len(labels - {NOISE}) < 2 and classes is None:
        names = ", ".join(sorted(labels)) or "none"
        first = next(files.names())
        raise ValueError(
            f"expected at least 2 class folders below {path}, found {names}; the first file is {first}{hint}"
        )
    if classes is None:
        warn_of_unread(path, files, found, labels)
    rows = [
        Row(files.root, f"{folder}/{name}", label, split)
        for folder, (label, split) in found.items()
        if label != NOISE or classes
        for name in files.folders[folder]
    ]
    return of_classes(path, rows, classes)


def of_classes(path: str, rows: list[Row], classes: Sequence[str] | None) -> list[Row]:
    """Return the rows of the classes that the user chose; all if None.

    Raises:
        ValueError: for a class that has no rows.
    """
    if classes is None:
        return rows
    labels = {row.label for row in rows}
    for name in classes:
        lookup(f"class of {path},", name, dict.fromkeys(labels))
    return [row for row in rows if row.label in set(classes)]


def outer_folders(places: dict[str, tuple[str, ...]], files: Listing) -> tuple[str, ...]:
    """Return the folders, one in the other, that hold all class folders and are neither a class nor a split."""
    outer, filled = (), [parts for folder, parts in places.items() if files.folders[folder]]
    while True:
        depth = len(outer)
        tops, below = {parts[depth : depth + 1] for parts in filled}, {parts[depth + 1 : depth + 2] for parts in filled}
        top = next(iter(tops))
        if len(tops) > 1 or not top or split_of(top[0]) or (() in below and len(below) < 3):
            return outer
        outer += top


def meanings(path: str, places: dict[str, tuple[str, ...]], files: Listing) -> dict[str, tuple[str, str]]:
    """Return the class and the split of each folder that belongs to a class.

    Raises:
        ValueError: if all folders are named after splits and none holds class folders for training.
    """
    deep: dict[str, bool] = collections.defaultdict(bool)
    for folder, parts in places.items():
        if parts and files.folders[folder]:
            deep[parts[0]] |= len(parts) > 1
    splits = {top: split_of(top) for top in deep if split_of(top)}
    unknown = [top for top in deep if top not in splits]
    if splits_outside(deep, splits):
        if unknown:
            warn_caller(
                f"skipped {listed(unknown)} in {path}, which is beside {listed(list(splits))} but names no split"
            )
        return {
            folder: (parts[1], splits[parts[0]]) for folder, parts in places.items() if parts[1:] and parts[0] in splits
        }
    if splits and not unknown:
        raise ValueError(
            f"the folders {listed(list(splits))} of {path} are splits, and there are no class folders to train on; "
            f"expected {path}/train/CLASS/*"
        )
    if splits:
        warn_caller(f"{listed(list(splits))} in {path} is read as a class, beside the classes {listed(unknown)}")
    inner = [parts for folder, parts in places.items() if files.folders[folder]]
    if all(parts[1:] and split_of(parts[1]) for parts in inner) and any(
        split_of(parts[1]) == "train" for parts in inner
    ):
        return {
            folder: (parts[0], split_of(parts[1]))
            for folder, parts in places.items()
            if parts[1:] and split_of(parts[1])
        }
    return {folder: (parts[0], "train") for folder, parts in places.items() if parts}


def splits_outside(deep: dict[str, bool], splits: dict[str, str]) -> bool:
    """Return whether top folders are splits: one for training holds folders, and no class is beside it.

    Args:
        deep: of each top folder, whether it holds folders with files.
        splits: the split that top folders are named after.
    """
    training = any(deep[top] for top, split in splits.items() if split == "train")
    return training and (len(set(splits.values())) > 1 or not any(deep[top] for top in deep if top not in splits))


def warn_of_unread(path: str, files: Listing, found: dict[str, tuple[str, str]], labels: set[str]) -> None:
    """Warn of files in no class folder, of class folders without files, and of a folder of noise."""
    unread = [
        f"{folder}/{names[0]}".strip("/") for folder, names in files.folders.items() if names and folder not in found
    ]
    if unread:
        count = sum(len(names) for folder, names in files.folders.items() if folder not in found)
        warn_caller(f"skipped {count} files that are in no class folder, e.g. {unread[0]}")
    empty = sorted({label for label, _ in found.values()} - labels)
    if empty:
        warn_caller(f"{path} has class folders without a file that is read: {listed(empty)}")
    if NOISE in labels:
        warn_caller(f"{NOISE} in {path} is noise, not a class; mix it in with augment={{'background': FOLDER}}")


def classes_and_splits(
    rows: Sequence[Row], classes: Sequence[str] | None = None
) -> tuple[tuple[str, ...], dict[str, list[Row]]]:
    """Return the class names, in the order of `classes` if given, and the rows of each split that is not empty.

    Raises:
        ValueError: for fewer than two classes, no training files, or a class without training files.
    """
    splits = {split: [row for row in rows if row.split == split] for split in SPELLINGS}
    if not splits["train"]:
        raise ValueError(f"no files are left to train on; {rows[0].file} and all others are held out")
    splits = {split: part for split, part in splits.items() if part}
    where = getattr(rows[0].root, "filename", rows[0].root)
    check_classes({split: [row.label for row in part] for split, part in splits.items()}, where)
    return tuple(classes or sorted({row.label for row in rows})), splits


def warn_of_changes(changes: Iterable[tuple[str, str]]) -> None:
    """Warn once of each type of change that was made to files.

    Args:
        changes: the path of a file, and what was changed, which completes "1 file ...".
    """
    found = collections.defaultdict(list)
    for path, what in changes:
        found[what].append(path)
    for what, paths in found.items():
        warn_caller(f"{len(paths)} file{'s' * (len(paths) > 1)} {what}, e.g. {paths[0]}")


def read_each(read: Callable[[S], T], files: Iterable[S]) -> Iterator[T]:
    """Read files, or the files of rows, in parallel, `READ_AHEAD` in advance, and yield the results in order.

    Raises:
        ValueError: at the end, naming the files that cannot be read.
    """
    broken = []
    for result in attempts(read, files):
        if isinstance(result, ValueError):
            broken.append(result)
        elif not broken:
            yield result
    if broken:
        raise ValueError(first_of(list(map(str, broken))))


def attempts(read: Callable[[S], T], files: Iterable[S]) -> Iterator[T | ValueError]:
    """Read files in parallel and yield the result of each, or its ValueError, in order."""

    def attempt(file: S) -> T | ValueError:
        try:
            return read(file)
        except ValueError as error:
            return error

    def attempt_each(files: list[S]) -> list[T | ValueError]:
        return [attempt(file) for file in files]

    remaining = iter(files)
    together = iter(lambda: list(itertools.islice(remaining, TOGETHER)), [])
    with ThreadPoolExecutor() as pool:
        ahead = itertools.islice(together, READ_AHEAD // TOGETHER)
        running = collections.deque(pool.submit(attempt_each, files) for files in ahead)
        try:
            while running:
                results = running.popleft().result()
                running.extend(pool.submit(attempt_each, files) for files in itertools.islice(together, 1))
                yield from results
        finally:
            for later in running:
                later.cancel()


def without_broken(read: Callable[[Row], T], rows: Sequence[Row], skip: bool) -> tuple[list[Row], tuple[str, ...]]:
    """Return the rows whose files can be read, and what is wrong with each other one; a warning names the first five.

    Without `skip` all rows are returned, and nothing is read.
    """
    results = zip(rows, attempts(read, rows) if skip else rows, strict=True)
    errors = {row: str(result) for row, result in results if isinstance(result, ValueError)}
    if errors:
        warn_caller(f"skipped {len(errors)} broken files: {first_of(list(errors.values()))}")
    return [row for row in rows if row not in errors], tuple(errors.values())


def first_of(messages: Sequence[str]) -> str:
    """Return the first five messages of files in one line, and how many there are more."""
    more = f" (and {len(messages) - MANY} more files)" if len(messages) > MANY else ""
    return "; ".join(messages[:MANY]) + more


def read_bytes(file: File) -> bytes:
    """Return the content of a file, in a folder or in a .zip file.

    Raises:
        ValueError: if it cannot be read, with the reason.
    """
    with reading(file):
        return file.read_bytes()
