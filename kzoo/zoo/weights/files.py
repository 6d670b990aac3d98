"""Weight files: reading .safetensors, .npz and .h5, writing .safetensors; no code in a file is ever executed.

Pickles (`.pth`, `.pt`, `.ckpt`, `.bin`, `.pkl`) can execute any code when they are opened, and are refused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from kzoo.core.files import write_file
from kzoo.core.lazy import lazy_import, np
from kzoo.core.registry import lookup

h5py = lazy_import("h5py")
ml_dtypes = lazy_import("ml_dtypes")  # adds bfloat16 to numpy
safetensors = lazy_import("safetensors")
safetensors_numpy = lazy_import("safetensors.numpy")

PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".pkl", ".pickle")
MOST_BYTES = 64 * 2**30  # of the arrays in an .npz file; more is a decompression bomb or a mistake


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file by their names.

    Raises:
        ValueError: for a file that is missing, damaged, a pickle or of an unknown type, or holds NaN or infinity.
    """
    file = Path(path).expanduser()
    suffix = file.suffix.lower()
    if suffix in PICKLES:
        raise ValueError(
            f"{file} is a pickle, which can execute any code when it is opened; if you trust it, convert it: python "
            f"-c \"import torch, safetensors.torch as s; s.save_file(torch.load('{file.name}', weights_only=True), "
            f"'{file.stem}.safetensors')\""
        )
    read = lookup("type of weights file", suffix, READERS)
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    tensors = read(file)
    check_finite(file, tensors)
    return tensors


def read_safetensors(file: Path) -> dict[str, np.ndarray]:
    """Read a safetensors file; 16-bit numbers become float32."""
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


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """Read an .npz file of plain arrays."""
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        packed = file.stat().st_size
        if size > MOST_BYTES or size > 1000 * packed + 2**20:
            raise ValueError(f"{packed:,} bytes would unpack to {size:,}")
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, ValueError) as error:
        what = "it holds pickled objects, which are never opened" if "allow_pickle" in str(error) else error
        raise ValueError(f"{file} cannot be read as an .npz file of weights: {what}") from error


def read_h5(file: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an .h5 file by their paths inside; nothing else in Keras's own files is needed."""
    tensors = {}

    def keep(name: str, entry) -> None:
        if isinstance(entry, h5py.Dataset):
            tensors[name.removesuffix(":0")] = entry[()]

    try:
        with h5py.File(file) as content:
            content.visititems(keep)
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{file} is damaged or no .h5 file: {error}") from error
    return {name: tensor for name, tensor in tensors.items() if isinstance(tensor, np.ndarray)}


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
