"""Atomic writing of files."""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
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


def write_json(path: Path, content) -> None:
    """Write indented JSON."""
    write_text(path, json.dumps(content, indent=1) + "\n")
