"""Model export: SavedModel, Keras, ONNX, LiteRT and OpenVINO, with the preprocessing inside.

An exported model takes raw data and returns the answers of its task, such as probabilities.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from kzoo.core.arguments import checked
from kzoo.core.extras import missing_package
from kzoo.core.files import digests, read_json, write_json
from kzoo.core.lazy import keras, np, tf
from kzoo.core.registry import lookup
from kzoo.data.serving import Serving
from kzoo.data.splits import Splits
from kzoo.data.trained import as_trained
from kzoo.nn.precision import in_float32
from kzoo.serving.formats import write_keras, write_litert, write_onnx, write_openvino
from kzoo.serving.quantize import WRITERS as QUANTIZED
from kzoo.serving.quantize import Bits, Quantized, bits_of, measured
from kzoo.serving.saved_model import EXTRA, NAMES, WARMUP, write_saved_model
from kzoo.serving.serve import SIDECAR, from_model, load_description, shortened, sidecar, taken
from kzoo.training import runs
from kzoo.training.train import check_logits

# The files in the directory of an export: of kzoo, of a SavedModel, of OpenVINO.
EXPORTED_FILES = re.compile(
    rf"{re.escape(SIDECAR)}|(saved_model|fingerprint|keras_metadata)\.pb|assets|variables"
    r"|variables/variables\.(index|data-\d{5}-of-\d{5})|model\.(xml|bin|tflite|h|c)"
    rf"|{re.escape(EXTRA)}(/{re.escape(NAMES)}|/{WARMUP})?"
)


class Exported(NamedTuple):
    """An export, and the largest absolute difference of its answers to the Keras model's on real examples.

    `answer` is the name of the answers, such as "probabilities"; `quantized` what fewer bits cost and save.
    """

    path: Path
    format: str
    max_difference: float
    examples: int
    answer: str
    quantized: Quantized | None = None

    def __str__(self) -> str:
        said = (
            f"wrote {self.path} ({self.format}); loaded in a new process, its {self.answer} differ from the Keras "
            f"model's by at most {self.max_difference:.1e} on {self.examples} real examples"
        )
        return said if self.quantized is None else f"{said}\n{self.quantized}"


@checked
def export(
    model: keras.Model,
    path: str | Path,
    *,
    data: Splits | Serving,
    format: str = "saved_model",
    quantize: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a model that takes raw data, load it in a new process, and compare its answers with Keras's.

    A SavedModel's signature `serve` takes `raw`, a batch of raw inputs (uint8 images of any size, waveforms, strings,
    series), and returns the answers of the task (see `decode` of the task) and `class_names`, the names of the outputs:
    for a classification `probabilities` (batch, classes) and `label` (batch,). A ".keras" file takes the same and
    returns the first of them. The other formats name their input and output likewise; they take raw inputs of the size
    used in training. `kzoo.json`, beside the file or in the directory, holds the task with its names.

    Args:
        model: returns logits or values.
        path: file or directory to write.
        data: the dataset it was trained on, or its `Serving` (`kzoo.load_run`).
        format: "saved_model", "keras", "onnx", "litert", "openvino", or "c" for C sources of a network in 8-bit
            integers for microcontrollers; the last four need the extra `export`.
        quantize: fewer bits, measured beside the export in float32: "float16" and "dynamic" (8-bit integers) for the
            weights, "int8_float_io" for all that is computed, "int8" for input and output as well (see the
            documentation, "Fewer bits"). It needs the dataset, whose training examples give the ranges.
        overwrite: replace an earlier export at that path, after the new one has been verified; anything else is kept.

    Raises:
        ValueError: for an unknown format, a model that ends in a softmax or a sigmoid, a package that is not installed,
            an existing path, with `overwrite` one that is no export of kzoo or holds other files too, a full disk, or
            an exported model that gives other answers, or a quantisation that the format does not have.
    """
    target = Path(path).expanduser()
    check_target(target, format, overwrite)
    bits = bits_of(format, quantize, data)
    check_logits(model)
    serving = as_trained(model, data if isinstance(data, Serving) else Serving.of(data))
    model = in_float32(model)
    try:
        difference, quantized = write_checked(model, serving, target, format, overwrite, bits)
    except (OSError, tf.errors.OpError) as error:  # a full disk, most often
        reason = getattr(error, "strerror", None) or shortened(error)
        raise ValueError(f"the export {target} cannot be written: {reason}; nothing was changed") from error
    return Exported(target, format, difference, len(serving.examples), serving.task.answer, quantized)


def write_checked(
    model: keras.Model, serving: Serving, target: Path, format: str, overwrite: bool, bits: Bits | None
) -> tuple[float, Quantized | None]:
    """Write an export into a temporary directory, verify it, then move it to its path.

    Returns:
        The difference of its answers to Keras's, and what fewer bits cost and save.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".kzoo-export-") as folder:
        beside, quantized = Path(folder) / target.name, None
        write_described(model, serving, beside, format, bits)
        difference = compare(model, serving, beside, exact=bits is None)
        if bits is not None:
            twin = format if format in FORMATS else "litert"
            plain = Path(folder) / f"float32{SUFFIXES[twin]}"
            write_described(model, serving, plain, twin, None)
            quantized = measured(bits, (plain, beside))
        check_target(target, format, overwrite)  # again: all that took time
        exchange(beside, target, Path(folder) / ".old")
    return difference, quantized


def write_described(model: keras.Model, serving: Serving, path: Path, format: str, bits: Bits | None) -> None:
    """Write an export and its description."""
    extra = {}
    if bits is None:
        FORMATS[format](model, serving, path)
    else:
        QUANTIZED[format](model, serving, path, bits)
        extra = {"quantize": bits.mode, "takes": bits.input}
    write_json(sidecar(path), serving.to_dict() | {"format": format, "files": digests(path)} | extra)


def check_target(target: Path, format: str, overwrite: bool) -> None:
    """Raise a ValueError if an export cannot be written: an unknown format, an existing path, a missing package."""
    lookup("format", format, dict.fromkeys(NAMES_OF_FORMATS))
    if target.suffix != SUFFIXES.get(format, target.suffix):
        raise ValueError(f"a path for format {format!r} must end in {SUFFIXES[format]}, got {target}")
    if target.exists() and not overwrite:
        raise ValueError(f"{target} exists already; choose another path, or overwrite it (--overwrite)")
    for path in filter(os.path.lexists, paths_of(target)):
        check_replaceable(path)
    check_packages(format)


def paths_of(target: Path) -> tuple[Path, Path]:
    """Return the paths that an export may take: its own, and that of the description beside a file."""
    target = Path(os.path.abspath(target))  # "." has no name
    return target, target.with_name(f"{target.name}.{SIDECAR}")


def check_replaceable(path: Path) -> None:
    """Raise a ValueError that says why a path is not replaced, unless it is an export of kzoo or its description.

    An export carries kzoo's description, and holds nothing but the files that an export consists of.
    """
    reason = reason_to_keep(path)
    if reason:
        raise ValueError(f"{path} {reason}; only an export of kzoo is ever replaced, choose another path")


def reason_to_keep(path: Path) -> str | None:
    """Return why a path is not replaced, None for an export of kzoo or the description of one."""
    if path.is_symlink():
        return "is a symbolic link"
    if not path.is_dir():
        described = is_description(path) or (path.is_file() and is_description(sidecar(path)))
        return None if described else f"has no description by kzoo beside it ({sidecar(path).name})"
    if Path.cwd().is_relative_to(path.resolve()):
        return "is the working directory, or a parent of it"
    if any((path / name).exists() for name in (runs.MODEL, runs.CHECKPOINTS, runs.CONFIG)):
        return "is a run directory"
    if not is_description(sidecar(path)):
        return f"has no description by kzoo in it ({SIDECAR})"
    names = (entry.relative_to(path).as_posix() for entry in sorted(path.rglob("*")))
    foreign = next((name for name in names if not EXPORTED_FILES.fullmatch(name)), None)
    return f"holds a file that is no part of an export, {foreign}" if foreign else None


def is_description(path: Path) -> bool:
    """Return whether a file is kzoo's description of an export."""
    try:
        content = json.loads(path.read_text())
        return content["format"] in NAMES_OF_FORMATS and {"preprocess", "modality"} <= content.keys()
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False


def exchange(new: Path, target: Path, aside: Path) -> None:
    """Move an export to its path; what was there goes to the directory `aside`, and back again if that fails."""
    aside.mkdir()
    moves = [(old, aside / old.name) for old in paths_of(target) if old.exists()]
    moves += [(path, to) for path, to in zip(paths_of(new), paths_of(target), strict=True) if path.exists()]
    done = []
    try:
        for origin, destination in moves:
            os.rename(origin, destination)
            done.append((origin, destination))
    except BaseException:
        for origin, destination in reversed(done):
            os.rename(destination, origin)
        raise


def check_packages(format: str) -> None:
    """Raise a ValueError that says what to install, if the format needs a package that is not installed."""
    for package in PACKAGES.get(format, ()):
        if importlib.util.find_spec(package) is None:
            raise missing_package(f"format {format!r}", package, "export")


FORMATS: dict[str, Callable[[keras.Model, Serving, Path], None]] = {
    "saved_model": write_saved_model,
    "keras": write_keras,
    "onnx": write_onnx,
    "litert": write_litert,
    "openvino": write_openvino,
}
NAMES_OF_FORMATS = tuple(dict.fromkeys([*FORMATS, *QUANTIZED]))
SUFFIXES = {"keras": ".keras", "onnx": ".onnx", "litert": ".tflite"}
PACKAGES = {"onnx": ("tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",), "openvino": ("openvino",)}
PACKAGES["c"] = PACKAGES["litert"]


def compare(model: keras.Model, serving: Serving, path: Path, exact: bool = True) -> float:
    """Load an export in a new process; return the largest absolute difference of its answers to Keras's.

    Raises:
        ValueError: if it cannot be loaded there, or with `exact`, the difference is above 1e-3.
    """
    expected, task = from_model(model, serving.preprocess, serving.task)(serving.examples), load_description(path)[1]
    description = read_json(sidecar(path))
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder) / "raw.npy", Path(folder) / "answers.npy"
        np.save(raw, taken(serving.preprocess, serving.examples, description))
        what = [*map(str, (path, raw, out)), description["format"], task.answer]
        command = [sys.executable, "-m", "kzoo.serving.serve", *what]
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if result.returncode:
            raise ValueError(f"the export cannot be loaded: {last_line(result.stderr)}")
        difference = task.difference(expected, np.load(out))
    if exact and not difference < 1e-3:
        raise ValueError(
            f"the exported model's {serving.task.answer} differ by up to {difference:.1e}, more than 1e-3; "
            "nothing was written"
        )
    return difference


def last_line(text: str) -> str:
    """Return the last line of a text, "" of an empty one."""
    return "".join(text.splitlines()[-1:])
