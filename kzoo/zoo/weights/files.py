"""Weight files: reading .safetensors, .npz and .h5, writing .safetensors; no code in a file is ever executed.

Pickles (`.pth`, `.pt`, `.ckpt`, `.bin`, `.th`, `.tar`, `.pkl`) can execute any code when they are opened: they are
refused.
"""

from __future__ import annotations

import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path

from kzoo.core.archives import MAX_BYTES, check_complete, read_npz, reason_to_refuse
from kzoo.core.files import check_file, reading, user_path, write_file
from kzoo.core.lazy import lazy_import, np
from kzoo.core.registry import lookup

h5py = lazy_import("h5py")
ml_dtypes = lazy_import("ml_dtypes")  # adds bfloat16 to numpy
safetensors = lazy_import("safetensors")
safetensors_numpy = lazy_import("safetensors.numpy")

PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".th", ".tar", ".pkl", ".pickle")  # and so .pth.tar
NEMO = ".nemo"  # of NVIDIA NeMo: a tar file of its configuration and a pickle


def read_tensors(path: str | Path, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Return the arrays of a file by their names; a file that claims to hold more than `max_bytes` is refused.

    Raises:
        ValueError: for a file that is missing, damaged, a pickle or of an unknown type, or holds NaN or infinity.
    """
    file = user_path(path)
    check_file(file)
    suffix = file.suffix.lower()
    if suffix in PICKLES:
        raise ValueError(
            f"{file} is a pickle, which can execute any code when it is opened; convert its tensors instead: "
            f"{conversion(file)}"
        )
    if suffix == NEMO:
        raise ValueError(
            f"{file} is an archive with a pickle, which can execute any code when it is opened; convert its tensors "
            f"instead: tar -xf {shlex.quote(str(file))} ./model_weights.ckpt && kzoo convert model_weights.ckpt "
            f"{shlex.quote(file.stem)}.safetensors"
        )
    read = lookup("type of weights file", suffix, READERS)
    with reading(file):
        tensors = read(file, max_bytes)
    check_finite(file, tensors)
    return tensors


def conversion(file: Path) -> str:
    """Return the command that converts a pickle."""
    target = file
    while target.suffix.lower() in PICKLES:
        target = target.with_suffix("")
    return shlex.join(["kzoo", "convert", str(file), f"{target}.safetensors"])


def read_safetensors(file: Path, max_bytes: int) -> dict[str, np.ndarray]:
    """Read a safetensors file; 16-bit numbers become float32."""
    reason = reason_to_refuse(file, file.stat().st_size, max_bytes)  # a header cannot claim more than follows it
    if reason:
        raise ValueError(f"{file} is refused: {reason}")
    try:
        tensors = {
            name: as_array(entry["dtype"], entry["shape"], entry["data"])
            for name, entry in safetensors.deserialize(file.read_bytes())
        }
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{file} is damaged or no safetensors file: {error}") from error
    return tensors


DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32"}


def as_array(dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    """Return the bytes of one tensor as an array."""
    name = lookup("type of tensor", dtype, DTYPES)
    array = np.frombuffer(data, ml_dtypes.bfloat16 if name == "bfloat16" else name).reshape(shape)
    return array.astype("float32") if name in ("float16", "bfloat16") else array


def read_h5(file: Path, max_bytes: int) -> dict[str, np.ndarray]:
    """Read the arrays of an .h5 file by their paths inside; nothing else in Keras's own files is needed."""
    try:
        with h5py.File(file, "r") as content:
            reason = reason_to_refuse_h5(content, file, max_bytes)
            if not reason:
                return {name.removesuffix(":0"): entry[()] for name, entry in datasets(content).items()}
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged or no .h5 file: {error}") from error
    raise ValueError(f"{file} is refused: {reason}")


def check_keras_file(file: Path, max_bytes: int = MAX_BYTES) -> None:
    """Raise a ValueError for a .keras file that is damaged, refers to other files or claims more than `max_bytes`.

    Nothing of it is unpacked but the structure of its weights.
    """
    with reading(file, " as a .keras file"), zipfile.ZipFile(file) as archive:
        check_complete(archive)
        members = archive.infolist()
        reason = reason_to_refuse(file, sum(member.file_size for member in members), max_bytes)
        damaged = None if reason else archive.testzip()
        if damaged:
            raise ValueError(f"{damaged} in it is damaged")
        for member in [] if reason else [member for member in members if member.filename.endswith(".h5")]:
            with archive.open(member) as stream, h5py.File(stream, "r") as content:
                reason = reason or reason_to_refuse_h5(content, file, max_bytes)
    if reason:
        raise ValueError(f"{file} is refused: {reason}")


def reason_to_refuse_h5(content: h5py.File, file: Path, max_bytes: int) -> str | None:
    """Return why the arrays of an .h5 file, or of one inside `file`, are not read; None if they may be."""
    reason = reason_to_refuse_links(content)
    if reason:
        return reason
    found = datasets(content)
    claimed = sum(entry.nbytes for entry in found.values())
    return reason_to_refuse_datasets(found) or reason_to_refuse(file, claimed, max_bytes)


def reason_to_refuse_links(content: h5py.File) -> str | None:
    """Return which entry of an .h5 file stands for another one, perhaps of another file; None if there is none."""
    kinds = {h5py.SoftLink: "a soft link", h5py.ExternalLink: "an external link"}

    def reason(name: str, link) -> str | None:
        target = ":".join(filter(None, (getattr(link, "filename", None), getattr(link, "path", None))))
        return f"{name} is {kinds[type(link)]}, to {target}" if type(link) in kinds else None

    return content.visititems_links(reason)  # follows no link, ends at the first reason


def datasets(content: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the arrays of an .h5 file, none of them read yet; single values are left out."""
    found = {}

    def keep(name: str, entry) -> None:
        if isinstance(entry, h5py.Dataset) and entry.shape:
            found[name] = entry

    content.visititems(keep)
    return found


def reason_to_refuse_datasets(found: Mapping[str, h5py.Dataset]) -> str | None:
    """Return which array lies outside the file, is made of others, or holds no numbers; None if there is none."""
    for name, entry in found.items():
        if entry.external:
            return f"{name} has external storage, in {entry.external[0][0]}"
        if entry.is_virtual:
            return f"{name} is a virtual dataset, of {entry.virtual_sources()[0].file_name}"
        if entry.dtype.kind not in "fiu":
            return f"{name} holds {entry.dtype} in place of numbers"
    return None


READERS = {".safetensors": read_safetensors, ".npz": read_npz, ".h5": read_h5}


def check_finite(file: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise a ValueError that names the first tensor that is not numeric, or holds NaN or infinity."""
    if not tensors:
        raise ValueError(f"{file} holds no weights")
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in "fiu":
            raise ValueError(f"{name} in {file} holds {tensor.dtype} in place of numbers")
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ValueError(f"{name} in {file} holds NaN or infinity")


def write_safetensors(path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays as a safetensors file, atomically."""
    content = safetensors_numpy.save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, dict(metadata))
    write_file(Path(path), lambda file: file.write(content))
