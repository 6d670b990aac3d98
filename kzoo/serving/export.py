"""Model export: SavedModel, Keras, ONNX, LiteRT and OpenVINO, with the preprocessing inside.

An exported model takes raw data and returns probabilities.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from kzoo.core.files import write_json
from kzoo.core.lazy import keras, np, tf
from kzoo.core.registry import lookup
from kzoo.data.serving import Serving
from kzoo.data.splits import Splits
from kzoo.nn.precision import in_float32, uncompiled
from kzoo.serving.serve import from_model, sidecar
from kzoo.training import runs
from kzoo.training.train import check_logits

INPUT, OUTPUT = "raw", "probabilities"


class Exported(NamedTuple):
    """An export, and the largest absolute difference of its probabilities to the Keras model's on real examples."""

    path: Path
    format: str
    max_difference: float
    examples: int

    def __str__(self) -> str:
        return (
            f"wrote {self.path} ({self.format}); loaded in a new process, its probabilities differ from the Keras "
            f"model's by at most {self.max_difference:.1e} on {self.examples} real examples"
        )


def export(
    model: keras.Model,
    path: str | Path,
    *,
    data: Splits | Serving,
    format: str = "saved_model",
    overwrite: bool = False,
) -> Exported:
    """Write a model that takes raw data, load it in a new process, and compare its probabilities with Keras's.

    A SavedModel's signature `serve` takes `raw`, a batch of raw inputs (uint8 images of any size, waveforms, strings,
    series), and returns `probabilities` (batch, classes), `label` (batch,) and `class_names` (classes,). A ".keras"
    file takes the same and returns the probabilities. The other formats name their input and output likewise; they take
    raw inputs of the size used in training. `kzoo.json`, beside the file or in the directory, holds the class names.

    Args:
        model: a classifier that returns logits.
        path: file or directory to write.
        data: the dataset it was trained on, or its `Serving` (`kzoo.load_run`).
        format: "saved_model", "keras", "onnx", "litert" or "openvino"; the last three need the extra `export`.
        overwrite: replace an existing file or directory.

    Raises:
        ValueError: for an unknown format, a model that ends in a softmax, a package that is not installed, an existing
            path, or an exported model that gives other probabilities.
    """
    target = Path(path).expanduser()
    check_target(target, format, overwrite)
    check_logits(model)
    write = FORMATS[format]
    serving = data if isinstance(data, Serving) else Serving.of(data)
    model = in_float32(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".kzoo-export-") as folder:
        beside = Path(folder) / target.name
        write(model, serving, beside)
        write_json(sidecar(beside), serving.to_dict() | {"format": format})
        difference = compare(model, serving, beside)
        for old, new in ((target, beside), (sidecar(target), sidecar(beside))):
            put(new, old) if new.exists() else None
    return Exported(target, format, difference, len(serving.examples))


def check_target(target: Path, format: str, overwrite: bool) -> None:
    """Raise a ValueError if an export cannot be written: an unknown format, an existing path, a missing package."""
    lookup("format", format, FORMATS)
    if target.exists() and not overwrite:
        raise ValueError(f"{target} exists already; choose another path, or overwrite it (--overwrite)")
    if target.suffix != SUFFIXES.get(format, target.suffix):
        raise ValueError(f"a path for format {format!r} must end in {SUFFIXES[format]}, got {target}")
    check_packages(format)


def put(new: Path, old: Path) -> None:
    """Move a file or directory to a path, and delete what was there."""
    if old.is_dir():
        shutil.rmtree(old)
    os.replace(new, old)


def check_packages(format: str) -> None:
    """Raise a ValueError that says what to install, if the format needs a package that is not installed."""
    for package in PACKAGES.get(format, ()):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"format {format!r} needs the package {package}; pip install 'kzoo[export]'")


def serving_model(model: keras.Model, serving: Serving, *, any_size: bool) -> keras.Model:
    """Return a Keras model from raw data to probabilities; without `any_size`, for the size used in training only."""
    preprocess = serving.preprocess
    shape = preprocess.raw_shape if any_size else serving.examples.shape[1:]
    raw = keras.Input(shape, dtype=preprocess.raw_dtype, name=INPUT)
    network = uncompiled(model)  # a file would hold its loss and schedule, which Keras alone cannot load
    logits = network(preprocess(raw), training=False)  # else Keras's Resizing turns training on for all that follow
    probabilities = keras.layers.Activation("softmax", dtype="float32", name=OUTPUT)(logits)
    return renumbered(keras.Model(raw, probabilities, name=model.name), keep=(INPUT, OUTPUT, model.name))


def renumbered(model: keras.Model, keep: Sequence[str]) -> keras.Model:
    """Number the layers of the preprocessing from 0; Keras counts those of the whole process, so names would vary."""
    layers = [layer for layer in model.operations if layer.name not in keep]
    for index, layer in enumerate(layers):
        layer.name = f"preprocess{index}"
    return model


def write_saved_model(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write a TensorFlow SavedModel with the signature `serve`."""
    names = tf.constant(serving.class_names)

    def serve(raw):
        # Without training=False Keras's Resizing layer would turn training on for all layers after it.
        logits = model(serving.preprocess(raw), training=False)
        probabilities = keras.ops.softmax(keras.ops.cast(logits, "float32"))
        return {
            "probabilities": probabilities,
            "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
            "class_names": names,
        }

    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = tf.TensorSpec((None, *serving.preprocess.raw_shape), serving.preprocess.raw_dtype, name=INPUT)
    archive.add_endpoint("serve", serve, input_signature=[spec])
    archive.write_out(str(path), verbose=False)


def write_keras(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write a Keras file with the preprocessing inside."""
    runs.save_model(serving_model(model, serving, any_size=True), path)


def write_by_keras(model: keras.Model, serving: Serving, path: Path, format: str) -> None:
    """Write one of the formats that `keras.Model.export` offers."""
    whole = serving_model(model, serving, any_size=False)
    whole = keras.Model(whole.input, {OUTPUT: whole.output}, name=model.name)  # a dictionary names the output
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
    """Load an export in a new process; return the largest absolute difference of its probabilities to Keras's.

    Raises:
        ValueError: if it cannot be loaded there, or the difference is above 1e-3.
    """
    expected = from_model(model, serving.preprocess)(serving.examples)
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder) / "raw.npy", Path(folder) / "probabilities.npy"
        np.save(raw, serving.examples)
        command = [sys.executable, "-m", "kzoo.serving.serve", str(path), str(raw), str(out)]
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if result.returncode:
            raise ValueError(f"the export cannot be loaded: {last_line(result.stderr)}")
        difference = float(np.abs(np.load(out) - expected).max())
    if not difference < 1e-3:
        raise ValueError(
            f"the exported model's probabilities differ by up to {difference:.1e}, more than 1e-3; nothing was written"
        )
    return difference


def last_line(text: str) -> str:
    """Return the last line of a text, "" of an empty one."""
    return "".join(text.splitlines()[-1:])
