"""Conversion of PyTorch checkpoints to safetensors.

A checkpoint of PyTorch is a pickle. It is opened with `weights_only=True`, which refuses code, in a process of its own:
`python -m kzoo.zoo.weights.convert CHECKPOINT OUT`.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from kzoo.core.extras import missing_package
from kzoo.core.files import user_path, write_file, writing
from kzoo.core.lazy import lazy_import, torch

safetensors_torch = lazy_import("safetensors.torch")

NESTED = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "net", "network", "params")
REFUSED = re.compile(r"GLOBAL ([\w.]+)")  # in PyTorch's message: a class or function that it does not call


def convert(path: str | Path, out: str | Path) -> str:
    """Write the tensors of a PyTorch checkpoint as safetensors; return a line that says what was written.

    Where the tensors lie in an entry `state_dict`, `model` or the like, as training scripts write them, those are
    taken. Views of one storage become copies, everything that is no tensor is left out.

    Args:
        path: a checkpoint, as `torch.save` writes it.
        out: the file to write; its name ends in .safetensors.

    Raises:
        ValueError: if PyTorch is not installed, the checkpoint is missing, damaged or holds anything but data, or
            `out` exists or cannot be written.
    """
    source, target = user_path(path), user_path(out)
    if target.suffix != ".safetensors":
        raise ValueError(f"weights are written as .safetensors, got {target.name}")
    if not source.is_file():
        raise ValueError(f"there is no file {source}")
    if target.exists():
        raise ValueError(f"{target} exists already; choose another name")
    if importlib.util.find_spec("torch") is None:
        raise missing_package("opening a checkpoint of PyTorch", "torch", "convert")
    command = [sys.executable, "-m", "kzoo.zoo.weights.convert", str(source), str(target)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        raise ValueError(f"{source} cannot be converted: {''.join(result.stderr.splitlines()[-1:])}")
    return result.stdout.strip()


def convert_here(source: Path, target: Path) -> str:
    """Convert a checkpoint in this process.

    Raises:
        ValueError: with the reason, without the name of the file, if it cannot be opened or written.
    """
    content, taken = state_dict(opened(source))
    tensors = {name: value for name, value in content.items() if torch.is_tensor(value)}
    if not tensors:
        raise ValueError("it holds no tensors under names")
    copies = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    data = safetensors_torch.save(copies, {"format": "pt"})
    with writing(target):
        write_file(target, lambda file: file.write(data))
    left_out = len(content) - len(tensors)
    remarks = [f"wrote {target}: {len(tensors)} tensors", f"of the entry {taken!r}" if taken else ""]
    return " ".join(filter(None, [*remarks, f"({left_out} entries that are no tensors left out)" if left_out else ""]))


def opened(source: Path) -> object:
    """Return the content of a checkpoint on the CPU, if it is data alone.

    Raises:
        ValueError: if it is damaged, or holds objects of other classes.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # holds values alone; scripts save their arguments
            return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever an unpickler makes of damaged bytes: IndexError, AssertionError and more
        name = REFUSED.search(str(error))
        if name:
            raise ValueError(f"it holds a {name[1]}, not data alone; nothing of it was executed") from error
        detail = str(error).rpartition("WeightsUnpickler error: ")[2]
        reason = textwrap.shorten(f"{type(error).__name__} {detail}", 300, placeholder=" ...")
        raise ValueError(f"it is damaged or no checkpoint of PyTorch: {reason}") from error


def state_dict(content: object) -> tuple[Mapping, str]:
    """Return the mapping that holds the tensors, and the dotted name of the entry that it is, "" for the whole.

    Raises:
        ValueError: if the content is no mapping.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"it holds a {type(content).__name__} in place of tensors by their names")
    name = next((name for name in NESTED if isinstance(content.get(name), Mapping)), None)
    if name is None:
        return content, ""
    inner, rest = state_dict(content[name])
    return inner, f"{name}.{rest}" if rest else name


def main(arguments: list[str]) -> None:
    """Convert one file; end with status 1 and a line on standard error if that fails."""
    try:
        print(convert_here(*map(Path, arguments)))
    except ValueError as error:
        raise SystemExit(" ".join(str(error).split())) from None


if __name__ == "__main__":
    main(sys.argv[1:])
