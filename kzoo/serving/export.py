"""Model export: SavedModel, Keras, ONNX, LiteRT and OpenVINO, with the preprocessing inside.

An exported model takes raw data and returns the answers of its task, such as probabilities.
"""

from __future__ import annotations

import functools
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
from kzoo.serving.serve import SIDECAR, from_model, load_description, shortened, sidecar, taken, takes_raw
from kzoo.serving.step_export import STEPS, check_step_format, example_chunks, from_keras, streamed, write_step, zeros
from kzoo.serving.stream import stream
from kzoo.tasks import Task
from kzoo.training import runs
from kzoo.training.train import check_logits

# The files in the directory of an export: of kzoo, of a SavedModel, of OpenVINO.
EXPORTED_FILES = re.compile(
    rf"{re.escape(SIDECAR)}|(saved_model|fingerprint|keras_metadata)\.pb|assets|variables"
    r"|variables/variables\.(index|data-\d{5}-of-\d{5})|model\.(xml|bin|tflite|h|c)"
    rf"|{re.escape(EXTRA)}(/{re.escape(NAMES)}|/{WARMUP})?"
)


class Exported(NamedTuple):
    """An export, and the largest absolute difference of its answers to the Keras model's on examples.

    `answer` is the name of the answers, such as "probabilities", `noun` what the model was verified on, `quantized`
    what fewer bits cost and save.
    """

    path: Path
    format: str
    max_difference: float
    examples: int
    answer: str
    noun: str = "real examples"
    quantized: Quantized | None = None

    def __str__(self) -> str:
        said = (
            f"wrote {self.path} ({self.format}); loaded in a new process, its {self.answer} differ from the Keras "
            f"model's by at most {self.max_difference:.1e} on {self.examples} {self.noun}"
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
    streaming: bool = False,
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
        streaming: write the step model of `kzoo.stream` from samples to answers, with its state as inputs and outputs;
            as "saved_model", "onnx" or "litert". `kzoo.serving.step_export` says what they are called.
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
    if streaming:
        draft = streamed_draft(model, serving, format, bits)
    else:
        draft = whole_draft(model, serving, format) if bits is None else quantized_draft(model, serving, format, bits)
    try:
        difference, quantized = write_checked(draft, target, overwrite)
    except (OSError, tf.errors.OpError) as error:  # a full disk, most often
        reason = getattr(error, "strerror", None) or shortened(error)
        raise ValueError(f"the export {target} cannot be written: {reason}; nothing was changed") from error
    return Exported(target, format, difference, draft.count, serving.task.answer, draft.noun, quantized)


class Draft(NamedTuple):
    """An export that is to be written.

    Attributes:
        format: key of `FORMATS`.
        write: function of a path.
        verify: function of the path of what has been written; returns the largest absolute difference of its answers.
        description: for `kzoo.json`.
        count: of what it is verified on.
        noun: what that is.
        measure: function of the path that returns what fewer bits cost and save; None for float32.
    """

    format: str
    write: Callable[[Path], None]
    verify: Callable[[Path], float]
    description: dict
    count: int
    noun: str = "real examples"
    measure: Callable[[Path], Quantized] | None = None

    def write_described(self, path: Path) -> None:
        """Write the export and its description."""
        self.write(path)
        write_json(sidecar(path), self.description | {"format": self.format, "files": digests(path)})


def whole_draft(model: keras.Model, serving: Serving, format: str) -> Draft:
    """Return the export of a model from raw examples to answers."""
    write = functools.partial(FORMATS[format], model, serving)
    verify = functools.partial(compare, model, serving)
    noun = f"{'real' if serving.real else 'random'} examples"
    return Draft(format, write, verify, described(serving, format), len(serving.examples), noun)


def quantized_draft(model: keras.Model, serving: Serving, format: str, bits: Bits) -> Draft:
    """Return the export of a model with fewer bits, which is measured beside the one in float32."""
    bits = bits._replace(data=as_trained(model, bits.data))
    whole = whole_draft(model, serving, format if format in FORMATS else "litert")

    def measure(path: Path) -> Quantized:
        plain = path.with_name(f"float32{SUFFIXES[whole.format]}")
        whole.write_described(plain)
        return measured(bits, (plain, path))

    return whole._replace(
        format=format,
        write=functools.partial(QUANTIZED[format], model, serving, bits=bits),
        verify=functools.partial(compare, model, serving, exact=False),
        description=whole.description | {"quantize": bits.mode, "takes": bits.input},
        measure=measure,
    )


def streamed_draft(model: keras.Model, serving: Serving, format: str, bits: Bits | None) -> Draft:
    """Return the export of a step model from samples to answers."""
    check_step_format(format)
    if bits is not None:
        raise ValueError(f"a stream is exported in float32, got quantize={bits.mode!r}")
    step, answer = stream(model, serving), serving.task.answer
    description = {"streaming": {tensor.name: list(tensor.shape[1:]) for tensor in step.inputs}}

    def verify(path: Path) -> float:
        chunks = example_chunks(step, serving.examples)
        state, name = zeros(step), step.inputs[0].name
        expected = np.stack([*streamed(from_keras(step, answer), state, name, chunks)])
        return difference_in_new_process(expected, chunks, "kzoo.serving.step_export", path, [format], serving.task)

    write = functools.partial(write_step, step, answer, format=format)
    return Draft(format, write, verify, serving.to_dict() | description, STEPS, "steps of real sound")


def write_checked(draft: Draft, target: Path, overwrite: bool) -> tuple[float, Quantized | None]:
    """Write an export into a temporary directory, verify it, then move it to its path.

    Returns:
        The difference of its answers to Keras's, and what fewer bits cost and save.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".kzoo-export-") as folder:
        beside = Path(folder) / target.name
        draft.write_described(beside)
        difference = draft.verify(beside)
        quantized = draft.measure and draft.measure(beside)
        check_target(target, draft.format, overwrite)  # again: all that took time
        exchange(beside, target, Path(folder) / ".old")
    return difference, quantized


def described(serving: Serving, format: str) -> dict:
    """Return the description of an export; where it takes token ids, with the tokeniser that makes them."""
    tokenizer = {} if takes_raw(serving.preprocess, format) else {"tokenizer": serving.preprocess.tokenizer}
    return serving.to_dict() | {"format": format} | tokenizer


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
        ValueError: if it cannot be loaded there, or, with `exact`, the difference is above 1e-3.
    """
    expected, task = from_model(model, serving.preprocess, serving.task)(serving.examples), load_description(path)[1]
    description = read_json(sidecar(path))
    given, what = taken(serving.preprocess, serving.examples, description), [description["format"], task.answer]
    return difference_in_new_process(expected, given, "kzoo.serving.serve", path, what, task, exact)


def difference_in_new_process(
    expected: np.ndarray, raw: np.ndarray, module: str, path: Path, what: list[str], task: Task, exact: bool = True
) -> float:
    """Let a module answer raw examples by an export, in a new process; return the largest absolute difference.

    Args:
        expected: the answers of Keras.
        raw: the examples.
        module: called with the path of the export, those of the examples and of the answers, and `what`.
        path: of the export.
        what: further arguments of the module.
        task: of the network.
        exact: refuse a difference above 1e-3.

    Raises:
        ValueError: if the export cannot be loaded there, or the difference is too large.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "raw.npy", Path(folder) / "answers.npy"
        np.save(given, raw)
        command = [sys.executable, "-m", module, *map(str, (path, given, out)), *what]
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if result.returncode:
            raise ValueError(f"the export cannot be loaded: {last_line(result.stderr)}")
        difference = task.difference(expected, np.load(out))
    if exact and not difference < 1e-3:
        raise ValueError(
            f"the exported model's {task.answer} differ by up to {difference:.1e}, more than 1e-3; nothing was written"
        )
    return difference


def last_line(text: str) -> str:
    """Return the last line of a text, "" of an empty one."""
    return "".join(text.splitlines()[-1:])
