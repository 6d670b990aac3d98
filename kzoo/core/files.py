"""Atomic writing of files, and reading of files that a user named: whatever is wrong is one line with the name."""

import contextlib
import hashlib
import json
import os
import re
import stat
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO


def write_file(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file atomically: let `write` fill a temporary file, sync it to disk, and rename it to `path`."""
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix, delete=False
    ) as file:
        try:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o666 & ~current_umask())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def temporary_files(folder: Path, name: str) -> list[Path]:
    """Return the temporary files that interrupted calls of `write_file` for a file of this name left."""
    pattern = re.compile(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}{re.escape(Path(name).suffix)}")
    return [path for path in folder.glob(f".{name}.*") if pattern.fullmatch(path.name)]


def current_umask() -> int:
    """Return the umask of the process, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    data = text.encode()
    write_file(path, lambda file: file.write(data))


def write_path(path: str | Path, write: Callable[[Path], None]) -> Path:
    """Call `write` with a path that a user named, whose directories are made first; return the path.

    Raises:
        ValueError: if it cannot be written.
    """
    target = Path(path).expanduser()
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write(target)
    return target


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system's error, such as a full disk, into a ValueError that names what could not be written."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error


def user_path(path: str | Path) -> Path:
    """Return a path that a user named, with its `~` replaced.

    Raises:
        ValueError: for a name that the system does not take, such as one that is too long.
    """
    try:
        target = Path(path).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            target.lstat()
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{shortened(str(path), 80)} cannot be read: {reason(error)}") from error
    return target


def check_file(path: Path) -> None:
    """Raise a ValueError unless a path is that of a file; a pipe or a device, which may never end, is none."""
    target = user_path(path)
    if not target.exists():
        raise ValueError(f"there is no file {path}")
    if not stat.S_ISREG(target.stat().st_mode):
        raise ValueError(f"{path} is {'a directory' if target.is_dir() else 'a pipe or a device'}, expected a file")


@contextlib.contextmanager
def reading(path, kind: str = "") -> Iterator[None]:
    """Turn whatever is raised while a user's file is read into a ValueError of one line that names the file.

    The libraries that read files raise errors of many types for damaged ones, and not only those that they document.

    Args:
        path: the file; a `zipfile.Path` is one that was found in its .zip file.
        kind: added to "cannot be read": " as an image".
    """
    if isinstance(path, (str, Path)):
        check_file(Path(path))
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f"{path} cannot be read{kind}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Return what an error says, in one line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = shortened(str(getattr(error, "strerror", None) or error))
    return said if said and not isinstance(error, KeyError) else f"{type(error).__name__} {said}".strip()


def shortened(text: str, most: int = 300) -> str:
    """Return a text as one line of at most `most` characters, which ends at a word where it has short ones."""
    line = " ".join(text.split())
    return textwrap.shorten(line, most, placeholder=" ...") if len(line.split(" ")[0]) < most else f"{line[:most]} ..."


DIGITS = 64  # of a sha256
CHECKSUM = "checksum"  # key of a JSON file's sha256, of what it holds besides


def write_json(path: Path, content: dict) -> None:
    """Write indented JSON with a checksum, by which `read_json` notices damage."""
    content = {key: value for key, value in content.items() if key != CHECKSUM}
    write_text(path, json.dumps(content | {CHECKSUM: checksum(content)}, indent=1) + "\n")


def read_json(path: Path) -> dict:
    """Return the content of a JSON file, without its checksum.

    Raises:
        ValueError: if it is missing, damaged, or no JSON file with keys and values.
    """
    with reading(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("expected keys and values")
        unnamed = CHECKSUM not in content and any(len(str(value)) == DIGITS for value in content.values())
        if unnamed or content.pop(CHECKSUM, checksum(content)) != checksum(content):
            raise ValueError(f"it is damaged, or was changed without deleting its {CHECKSUM}")
    return content


def checksum(content: dict) -> str:
    """Return the sha256 of what a JSON file holds."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def digests(path: Path) -> dict[str, str]:
    """Return the sha256 of each file in a directory by its path in there, or that of a file, which is called "."."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return {file.relative_to(path).as_posix(): digest(file) for file in files}


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digests(folder: Path, expected: Mapping[str, str]) -> None:
    """Raise a ValueError that names the first file that is missing or has not the sha256 that was recorded."""
    for name, recorded in expected.items():
        check_file(folder / name)
        if digest(folder / name) != recorded:
            raise ValueError(f"{folder / name} is damaged: its sha256 is not the one that was recorded")
