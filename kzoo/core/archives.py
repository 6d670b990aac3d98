"""Reading .npz archives, and limits on the memory that a file may ask for."""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from pathlib import Path

from kzoo.core.lazy import np

MAX_BYTES = 8 * 2**30  # of the arrays in one file; the largest published convolutional networks have 4 GiB
EXPANSION, FLOOR = 1000, 2**20  # deflate makes at most 1,032 bytes of one, and that of constants only
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, KeyError)
DAMAGED += (OSError, ValueError, TypeError, OverflowError)
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


def read_npz(file: Path, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file; pickled objects are refused, since loading them would run code.

    Raises:
        ValueError: for a file that is missing, damaged or no .npz file, or holds objects or more than `max_bytes`.
    """
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    try:
        with zipfile.ZipFile(file) as archive:
            reason = reason_to_refuse(file, claimed_by(archive), max_bytes)
        if reason is None:
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except DAMAGED as error:
        reason = error
    raise ValueError(f"{file} cannot be read as an .npz file: {reason}")


def claimed_by(archive: zipfile.ZipFile) -> int:
    """Return how many bytes the members of an .npz archive claim to hold.

    Raises:
        ValueError: for a member that is no array, holds objects, or is shorter than its own header claims.
    """
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
