"""Ship a model: raw data in, named probabilities out, in the format of the place where it will run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from kzoo.core.files import write_json
from kzoo.core.lazy import keras, np, tf
from kzoo.core.registry import lookup
from kzoo.data.serving import Serving
from kzoo.data.splits import Splits
from kzoo.nn.precision import in_float32
from kzoo.serving.serve import from_model, sidecar
from kzoo.training import runs


class Exported(NamedTuple):
    """What was written, and the largest difference of a probability to the Keras model's on real examples."""

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
    """Write a model that takes raw data, load it back in a new process and compare it with the Keras model.

    A SavedModel's `serve` signature takes a batch of raw input (8-bit images of any size) and returns
    `probabilities` (batch, classes), `label` (batch,) and `class_names` (classes,). A ".keras" file takes the same
    and returns the probabilities. The other formats take images of the training's size, as 8-bit numbers.
    Beside a file (within a folder) lies `kzoo.json` with the class names.

    Args:
        model: a classifier that returns logits.
        path: file or folder to write.
        data: the dataset it was trained on, or what a run keeps of it.
        format: "saved_model", "keras", "onnx", "litert" or "openvino"; the last three need the extra `export`.
        overwrite: replace what is at `path`.

    Raises:
        ValueError: for an unknown format, a package that is not installed, a path that is in use, or an exported
            model that gives other probabilities.
    """
    write = lookup("format", format, FORMATS)
    target = Path(path).expanduser()
    serving = data if isinstance(data, Serving) else Serving.of(data)
    if target.exists() and not overwrite:
        raise ValueError(f"{target} exists already; choose another path, or overwrite it")
    if target.suffix != SUFFIXES.get(format, target.suffix):
        raise ValueError(f"a path for format {format!r} must end in {SUFFIXES[format]}, got {target}")
    check_packages(format)
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


def put(new: Path, old: Path) -> None:
    """Put a file or folder in the place of another."""
    if old.is_dir():
        shutil.rmtree(old)
    os.replace(new, old)


def check_packages(format: str) -> None:
    """Raise a ValueError that says what to install, if the format needs a package that is not here."""
    for package in PACKAGES.get(format, ()):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"format {format!r} needs the package {package}; pip install 'kzoo[export]'")


def serving_model(model: keras.Model, serving: Serving, *, any_size: bool) -> keras.Model:
    """Return a Keras model from raw data to probabilities; without `any_size`, of the training's size only."""
    preprocess = serving.preprocess
    shape = preprocess.raw_shape if any_size else serving.examples.shape[1:]
    raw = keras.Input(shape, dtype=preprocess.raw_dtype, name="raw")
    logits = model(preprocess(raw), training=False)  # else Keras's Resizing layer turns training on for all that follow
    probabilities = keras.layers.Activation("softmax", dtype="float32", name="probabilities")(logits)
    return keras.Model(raw, probabilities, name=model.name)


def write_saved_model(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write a TensorFlow SavedModel with the signature `serve`."""
    names = tf.constant(serving.class_names)

    def serve(raw):
        # Not training: Keras's Resizing layer would turn it on for all that follow.
        logits = model(serving.preprocess(raw), training=False)
        probabilities = keras.ops.softmax(keras.ops.cast(logits, "float32"))
        return {
            "probabilities": probabilities,
            "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
            "class_names": names,
        }

    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = tf.TensorSpec((None, *serving.preprocess.raw_shape), serving.preprocess.raw_dtype, name="raw")
    archive.add_endpoint("serve", serve, input_signature=[spec])
    archive.write_out(str(path), verbose=False)


def write_keras(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write a Keras file with the preprocessing inside."""
    runs.save_model(serving_model(model, serving, any_size=True), path)


def write_by_keras(model: keras.Model, serving: Serving, path: Path, format: str) -> None:
    """Write one of the formats that Keras exports itself."""
    whole = serving_model(model, serving, any_size=False)
    whole(serving.examples)  # Keras refuses to export a model that was never called
    whole.export(str(path), format=format, verbose=False)


def write_openvino(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write OpenVINO's pair of files, model.xml and model.bin, into a folder."""
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
    """Return the largest difference between the exported model's probabilities, in a new process, and Keras's.

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
            raise ValueError(f"the export cannot be loaded: {' '.join(result.stderr.splitlines()[-1:])}")
        difference = float(np.abs(np.load(out) - expected).max())
    if not difference < 1e-3:
        raise ValueError(
            f"the exported model gives other probabilities, by up to {difference:.1e}; nothing was written"
        )
    return difference
