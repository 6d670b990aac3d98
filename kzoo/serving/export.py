"""Model export: SavedModel, Keras, ONNX, LiteRT and OpenVINO, with the preprocessing inside.

An exported model takes raw data and returns the answers of its task, such as probabilities.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from kzoo.core.arguments import checked
from kzoo.core.extras import missing_package
from kzoo.core.files import digests, read_json, write_json
from kzoo.core.lazy import keras, np, tf
from kzoo.core.registry import lookup
from kzoo.data.serving import Serving, network_outputs
from kzoo.data.splits import Splits
from kzoo.data.trained import as_trained
from kzoo.nn.precision import in_float32, uncompiled
from kzoo.serving.serve import SIDECAR, from_model, load_description, shortened, sidecar
from kzoo.tasks import Task
from kzoo.training import runs
from kzoo.training.train import check_logits

INPUT = "raw"
# The files in the directory of an export: of kzoo, of a SavedModel, of OpenVINO.
EXPORTED_FILES = re.compile(
    rf"{re.escape(SIDECAR)}|(saved_model|fingerprint|keras_metadata)\.pb|assets|variables"
    r"|variables/variables\.(index|data-\d{5}-of-\d{5})|model\.(xml|bin)"
)


class Exported(NamedTuple):
    """An export, and the largest absolute difference of its answers to the Keras model's on examples.

    `answer` is the name of the answers, such as "probabilities"; `real` tells whether the examples are of the data, or
    random.
    """

    path: Path
    format: str
    max_difference: float
    examples: int
    answer: str
    real: bool = True

    def __str__(self) -> str:
        kind = "real" if self.real else "random"
        return (
            f"wrote {self.path} ({self.format}); loaded in a new process, its {self.answer} differ from the Keras "
            f"model's by at most {self.max_difference:.1e} on {self.examples} {kind} examples"
        )


@checked
def export(
    model: keras.Model,
    path: str | Path,
    *,
    data: Splits | Serving,
    format: str = "saved_model",
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
        format: "saved_model", "keras", "onnx", "litert" or "openvino"; the last three need the extra `export`.
        overwrite: replace an earlier export at that path, after the new one has been verified; anything else is kept.

    Raises:
        ValueError: for an unknown format, a model that ends in a softmax or a sigmoid, a package that is not installed,
            an existing path, with `overwrite` one that is no export of kzoo or holds other files too, a full disk, or
            an exported model that gives other answers.
    """
    target = Path(path).expanduser()
    check_target(target, format, overwrite)
    check_logits(model)
    serving = as_trained(model, data if isinstance(data, Serving) else Serving.of(data))
    model = in_float32(model)
    try:
        difference = write_checked(model, serving, target, format, overwrite)
    except (OSError, tf.errors.OpError) as error:  # a full disk, most often
        reason = getattr(error, "strerror", None) or shortened(error)
        raise ValueError(f"the export {target} cannot be written: {reason}; nothing was changed") from error
    return Exported(target, format, difference, len(serving.examples), serving.task.answer, serving.real)


def write_checked(model: keras.Model, serving: Serving, target: Path, format: str, overwrite: bool) -> float:
    """Write an export into a temporary directory, verify it, then move it to its path; return the difference."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".kzoo-export-") as folder:
        beside = Path(folder) / target.name
        FORMATS[format](model, serving, beside)
        write_json(sidecar(beside), serving.to_dict() | {"format": format, "files": digests(beside)})
        difference = compare(model, serving, beside)
        check_target(target, format, overwrite)  # again: all that took time
        exchange(beside, target, Path(folder) / ".old")
    return difference


def check_target(target: Path, format: str, overwrite: bool) -> None:
    """Raise a ValueError if an export cannot be written: an unknown format, an existing path, a missing package."""
    lookup("format", format, FORMATS)
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
        return content["format"] in FORMATS and {"preprocess", "modality"} <= content.keys()
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


def serving_model(model: keras.Model, serving: Serving, *, any_size: bool) -> keras.Model:
    """Return a Keras model from raw data to answers; without `any_size`, for the size used in training only."""
    preprocess = serving.preprocess
    shape = preprocess.raw_shape if any_size else serving.examples.shape[1:]
    raw = keras.Input(shape, dtype=preprocess.raw_dtype, name=INPUT)
    network = uncompiled(model)  # a file would hold its loss and schedule, which Keras alone cannot load
    outputs = network_outputs(network, preprocess, raw)
    answer = serving.task.answer
    answers = keras.layers.Identity(dtype="float32", name=answer)(serving.task.decode(outputs)[answer])
    return renumbered(keras.Model(raw, answers, name=model.name), keep=(INPUT, answer, model.name))


def renumbered(model: keras.Model, keep: Sequence[str]) -> keras.Model:
    """Number the layers around the network from 0; Keras counts those of the whole process, so names would vary."""
    layers = [layer for layer in model.operations if layer.name not in keep]
    for index, layer in enumerate(layers):
        layer.name = f"preprocess{index}"
    return model


def write_saved_model(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write a TensorFlow SavedModel with the signature `serve`."""
    task = serving.task

    def serve(raw):
        check_raw(raw, serving.preprocess.raw_shape)
        answers = task.decode(network_outputs(model, serving.preprocess, raw))
        known = finite(raw)
        named = {name: names for name, names in task.vocabulary.items() if name in answers}
        answers |= {name: tf.gather(tf.constant(names), answers[name]) for name, names in named.items()}
        answers |= spelled(answers[task.answer], task) if task.spelling else {}
        answers = {name: as_served(values, known) for name, values in answers.items()}
        return answers | {"class_names": tf.constant(task.names)}

    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = tf.TensorSpec((None, *serving.preprocess.raw_shape), serving.preprocess.raw_dtype, name=INPUT)
    archive.add_endpoint("serve", serve, input_signature=[spec])
    archive.write_out(str(path), verbose=False)


def spelled(tokens: tf.Tensor, task: Task) -> dict[str, tf.Tensor]:
    """Return the texts of tokens, their words, and the seconds at which each word begins and ends.

    Args:
        tokens: int32 (batch, positions), -1 where none begins.
        task: that spells them.

    Returns:
        `text`, strings (batch,); `words`, strings (batch, most words), "" after the last one; `starts` and `ends`,
        float32 of the same shape, NaN after the last one.
    """
    parts = tf.gather(tf.constant([*task.spelling, ""]), tokens % (len(task.spelling) + 1))
    text = tf.strings.strip(tf.strings.reduce_join(parts, axis=-1))
    heard = tf.logical_and(tokens >= 0, parts != " ")
    number = tf.cumsum(tf.cast(tf.strings.regex_full_match(parts, ".* "), tf.int32), axis=1, exclusive=True)  # of words
    places = tf.where(heard)
    keys = places[:, 0] * tokens.shape[1] + tf.cast(tf.boolean_mask(number, heard), tf.int64)
    changes = keys[1:] != keys[:-1]
    first, stride = task.places(tokens.shape[1])

    def times(chosen: tf.Tensor, later: int) -> tf.Tensor:
        """Return the times of the chosen tokens of each example."""
        rows, positions = tf.unstack(tf.boolean_mask(places, chosen), num=2, axis=1)
        seconds = (tf.cast(positions + later, tf.float32) * stride + first) / task.rate
        ragged = tf.RaggedTensor.from_value_rowids(seconds, rows, tf.shape(tokens, tf.int64)[0])
        return ragged.to_tensor(math.nan)

    edge = tf.ones([tf.minimum(tf.size(keys), 1)], tf.bool)
    starts, ends = times(tf.concat([edge, changes], 0), 0), times(tf.concat([changes, edge], 0), 1)
    return {"text": text, "words": tf.strings.split(text).to_tensor(""), "starts": starts, "ends": ends}


def as_served(values: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Return an answer with NaN, "" or, of integers, the largest value for examples that are not known."""
    known = tf.reshape(known, [-1] + [1] * (len(values.shape) - 1))
    unknown = "" if values.dtype == tf.string else math.nan if values.dtype.is_floating else values.dtype.max
    return tf.where(known, values, unknown)


def check_raw(raw: tf.Tensor, shape: Sequence[int | None]) -> None:
    """Let a graph refuse a batch of another shape, or of examples without values; signatures check the type alone."""
    expected = tf.constant([-1 if size is None else size for size in shape], tf.int32)
    found = tf.shape(raw)[1:]
    fits = tf.reduce_all((found > 0) & ((expected < 0) | (found == expected)))
    tf.debugging.Assert(fits, ["raw must be a batch of examples of shape", expected, "(-1: any size), got", found])


def finite(raw: tf.Tensor) -> tf.Tensor:
    """Return which examples of a batch have finite values alone, (batch,)."""
    if not raw.dtype.is_floating:
        return tf.ones(tf.shape(raw)[:1], tf.bool)
    return tf.reduce_all(tf.math.is_finite(raw), axis=list(range(1, raw.shape.rank)))


def write_keras(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write a Keras file with the preprocessing inside."""
    runs.save_model(serving_model(model, serving, any_size=True), path)


def write_by_keras(model: keras.Model, serving: Serving, path: Path, format: str) -> None:
    """Write one of the formats that `keras.Model.export` offers."""
    whole = serving_model(model, serving, any_size=False)
    whole = keras.Model(
        whole.input, {serving.task.answer: whole.output}, name=model.name
    )  # a dictionary names the output
    whole(serving.examples)  # Keras refuses to export a model that was never called
    whole.export(str(path), format=format, verbose=False)


def write_openvino(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write OpenVINO's pair of files, model.xml and model.bin, into a directory."""
    path.mkdir()
    write_by_keras(model, serving, path / "model.xml", "openvino")


FORMATS: dict[str, Callable[[keras.Model, Serving, Path], None]] = {
    "saved_model": write_saved_model,
    "keras": write_keras,
    "onnx": lambda model, serving, path: write_by_keras(model, serving, path, "onnx"),
    "litert": lambda model, serving, path: write_by_keras(model, serving, path, "litert"),
    "openvino": write_openvino,
}
SUFFIXES = {"keras": ".keras", "onnx": ".onnx", "litert": ".tflite"}
PACKAGES = {"onnx": ("tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",), "openvino": ("openvino",)}


def compare(model: keras.Model, serving: Serving, path: Path) -> float:
    """Load an export in a new process; return the largest absolute difference of its answers to Keras's.

    Raises:
        ValueError: if it cannot be loaded there, or the difference is above 1e-3.
    """
    expected, task = from_model(model, serving.preprocess, serving.task)(serving.examples), load_description(path)[1]
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder) / "raw.npy", Path(folder) / "answers.npy"
        np.save(raw, serving.examples)
        what = [*map(str, (path, raw, out)), read_json(sidecar(path))["format"], task.answer]
        command = [sys.executable, "-m", "kzoo.serving.serve", *what]
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if result.returncode:
            raise ValueError(f"the export cannot be loaded: {last_line(result.stderr)}")
        difference = task.difference(expected, np.load(out))
    if not difference < 1e-3:
        raise ValueError(
            f"the exported model's {serving.task.answer} differ by up to {difference:.1e}, more than 1e-3; "
            "nothing was written"
        )
    return difference


def last_line(text: str) -> str:
    """Return the last line of a text, "" of an empty one."""
    return "".join(text.splitlines()[-1:])
