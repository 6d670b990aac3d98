"""Reading .npz archives, and limits on the memory that a file may ask for."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

from kzoo.core.files import reading
from kzoo.core.lazy import np

MAX_BYTES = 8 * 2**30  # of the arrays in one file; the largest published convolutional networks have 4 GiB
MAX_MEMBER = 2**30  # of one file in a .zip file of many
EXPANSION, FLOOR = 1000, 2**20  # deflate makes at most 1,032 bytes of one, and that of constants only
HEADERS = {(1, 0): "read_array_header_1_0", (2, 0): "read_array_header_2_0"}  # of NumPy, by version of the format


def reason_to_refuse(file: Path, claimed: int, max_bytes: int) -> str | None:
    """Return why a file is not unpacked, None if it may be.

    Args:
        file: its length bounds what it can hold.
        claimed: bytes of the arrays that it claims to hold.
        max_bytes: the limit on those.
    """
    packed = file.stat().st_size
    if claimed > EXPANSION * packed + FLOOR:
        return f"{packed:,} bytes would unpack to {claimed:,}, as those of a decompression bomb"
    if claimed > max_bytes:
        return f"it holds {claimed:,} bytes of arrays, more than max_bytes={max_bytes:,}; raise that if you trust it"
    return None


def check_complete(archive: zipfile.ZipFile) -> None:
    """Raise a ValueError if the directory of a .zip file is damaged so that files of it are not seen."""
    archive.fp.seek(archive.start_dir)
    listed, seen = archive.fp.read().count(b"PK\1\2"), len(archive.infolist())
    if listed != seen:
        raise ValueError(f"its directory is damaged: it lists {listed} files, of which {seen} can be found")


def check_members(archive: zipfile.ZipFile, max_bytes: int) -> None:
    """Raise a ValueError for the first file in a .zip file that claims more than a limit, or too much for its length.

    Args:
        archive: of which nothing has been unpacked.
        max_bytes: the limit on each file.
    """
    for member in archive.infolist():
        claim = f"{member.filename} in {archive.filename} claims {member.file_size:,} bytes"
        if member.file_size > EXPANSION * member.compress_size + FLOOR:
            raise ValueError(f"{claim}, packed into {member.compress_size:,}, as those of a decompression bomb")
        if member.file_size > max_bytes:
            raise ValueError(f"{claim}, more than max_bytes={max_bytes:,}; raise that if you trust it")


def read_npz(file: Path, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file; pickled objects are refused, since loading them would run code.

    Raises:
        ValueError: for a file that is missing, damaged or no .npz file, or holds objects or more than `max_bytes`.
    """
    with reading(file, " as an .npz file"):
        with zipfile.ZipFile(file) as archive:
            reason = reason_to_refuse(file, claimed_by(archive), max_bytes)
        if reason:
            raise ValueError(reason)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def claimed_by(archive: zipfile.ZipFile) -> int:
    """Return how many bytes the members of an .npz archive claim to hold.

    Raises:
        ValueError: for a member that is no array, holds objects, or is shorter than its own header claims.
    """
    check_complete(archive)
    for member in archive.infolist():
        with archive.open(member) as content:
            if not member.filename.endswith(".npy"):
                raise ValueError(f"{member.filename} in it is no array")
            version = np.lib.format.read_magic(content)
            if version not in HEADERS:
                raise ValueError(f"{member.filename} in it has version {version} of the format, known are {[*HEADERS]}")
            shape, _, dtype = getattr(np.lib.format, HEADERS[version])(content)
            if dtype.hasobject:
                raise ValueError(f"{member.filename} in it contains pickled objects, which are never loaded")
            claimed, held = math.prod(shape) * dtype.itemsize, member.file_size - content.tell()
            if claimed > held:
                raise ValueError(f"{member.filename} in it claims {claimed:,} bytes and holds {held:,}")
    return sum(member.file_size for member in archive.infolist())
