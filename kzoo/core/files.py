"""Writing so that nothing is lost: a file is whole and new, or it is the old one."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_file(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let `write` fill a file beside `path`, bring it to the disk, then put it in the place of `path`."""
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


def current_umask() -> int:
    """Return the mask of permissions for new files, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text."""
    data = text.encode()
    write_file(path, lambda file: file.write(data))


def write_json(path: Path, content) -> None:
    """Write JSON that people can read."""
    write_text(path, json.dumps(content, indent=1) + "\n")
