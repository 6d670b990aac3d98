"""Checkpoints: the whole state of a training in files, written atomically and verified by checksums.

A checkpoint is two files named after the number of steps done: the state's arrays, and a manifest with their sha256
that is written when they are on the disk. A state without its manifest is ignored.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kzoo.core.files import write_file, write_json
from kzoo.core.lazy import lazy_import, np
from kzoo.core.ranges import check_range
from kzoo.core.yaml import flatten

safetensors = lazy_import("safetensors")
safetensors_numpy = lazy_import("safetensors.numpy")

STATE, MANIFEST = ".safetensors", ".json"
TEMPORARY = re.compile(r"\.(\d{9,}|training)(\.json|\.safetensors)\.[a-z0-9_]{8}(\.json|\.safetensors)")
FACTS = "facts"  # the array that holds them, as the bytes of their JSON


@dataclass(frozen=True)
class Checkpointing:
    """How often the state of a training is saved: the arguments `checkpoint_*` of `fit`.

    Raises:
        ValueError: for a value out of its range.
    """

    steps: int | None = None
    minutes: float = 1.0
    kept: int = 2

    def __post_init__(self):
        check_range("checkpoint_steps", self.steps, "a positive integer", none=True)
        check_range("checkpoint_minutes", self.minutes, "a number from 0")
        check_range("checkpoints_kept", self.kept, "a positive integer")


class Checkpoint(NamedTuple):
    """The state of a training after a number of steps.

    Attributes:
        step: batches that were trained on, over all epochs.
        arrays: of variables, by name.
        facts: everything else, as JSON.
    """

    step: int
    arrays: dict[str, np.ndarray]
    facts: dict


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> None:
    """Write a checkpoint into a directory, then delete all but the newest `keep`.

    Raises:
        OSError: if it cannot be written; the older ones are then complete.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in checkpoint.arrays.items()}
    arrays[FACTS] = np.frombuffer(json.dumps(checkpoint.facts).encode(), "uint8")
    state = safetensors_numpy.save(arrays)
    path = folder / f"{checkpoint.step:09d}{STATE}"
    write_file(path, lambda file: file.write(state))
    write_json(path.with_suffix(MANIFEST), {"sha256": hashlib.sha256(state).hexdigest()})
    for old in steps(folder)[:-keep]:
        delete(folder, old)


def delete(folder: Path, step: int) -> None:
    """Delete one checkpoint, its manifest first."""
    for suffix in (MANIFEST, STATE):
        (folder / f"{step:09d}{suffix}").unlink(missing_ok=True)


def steps(folder: Path) -> list[int]:
    """Return the steps at which there are checkpoints with a manifest, the oldest first."""
    return sorted(int(path.stem) for path in folder.glob(f"*{MANIFEST}") if is_own(path))


def is_own(path: Path) -> bool:
    """Return whether a file has the name of a checkpoint, which is its step in at least nine digits."""
    return path.stem.isdecimal() and path.stem == f"{int(path.stem):09d}"


def newest(folder: Path) -> Checkpoint | None:
    """Return the newest intact checkpoint, None if there is none; warn of each damaged one, by name."""
    for step in reversed(steps(folder)):
        try:
            return read(folder, step)
        except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
            warnings.warn(
                f"checkpoint {step} in {folder} is damaged ({error}); going back to the one before it", stacklevel=2
            )
    return None


def read(folder: Path, step: int) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        ValueError: if its bytes are not those that were written; or another error of a damaged file.
    """
    path = folder / f"{step:09d}{STATE}"
    state = path.read_bytes()
    if hashlib.sha256(state).hexdigest() != json.loads(path.with_suffix(MANIFEST).read_text())["sha256"]:
        raise ValueError(f"{path.name} does not have the sha256 of its manifest")
    arrays = safetensors_numpy.load(state)
    return Checkpoint(step, arrays, json.loads(arrays.pop(FACTS).tobytes()))


def clear(folder: Path) -> None:
    """Delete all checkpoints."""
    for step in steps(folder):
        delete(folder, step)


def sweep(folder: Path) -> None:
    """Delete what interrupted writes left, temporary files and states without manifest; other files are kept."""
    for path in folder.glob(f"*{STATE}"):
        if is_own(path) and not path.with_suffix(MANIFEST).exists():
            path.unlink()
    for path in folder.glob(".*"):
        if TEMPORARY.fullmatch(path.name):
            path.unlink()


def differences(before: Mapping, now: Mapping) -> list[str]:
    """Return the differences of two nested mappings, as `key: before, now`."""
    old, new = flatten(before), flatten(now)
    keys = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return [f"{key}: {old.get(key)!r} there, {new.get(key)!r} now" for key in keys]
