"""Prediction with exported models and run directories, by the runtime of the format alone.

`python -m kzoo.serving.serve EXPORT raw.npy probabilities.npy` predicts an array; every export is verified by it.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from kzoo.core.extras import missing_package
from kzoo.core.lazy import keras, np
from kzoo.core.registry import lookup
from kzoo.data.serving import preprocess_from
from kzoo.data.splits import Preprocess
from kzoo.training import runs
from kzoo.zoo.weights.files import check_keras_file

SIDECAR = "kzoo.json"


class Predictor(NamedTuple):
    """A loaded model with its preprocessing: `predict` takes a file, or a batch of raw data.

    Attributes:
        probabilities: function from a raw batch to probabilities, (batch, classes).
        preprocess: from raw data to the network's input; it also reads a raw example from a file.
        class_names: of the outputs.
        any_size: whether raw examples may differ in size from those of training.
    """

    probabilities: Callable[[np.ndarray], np.ndarray]
    preprocess: Preprocess
    class_names: tuple[str, ...]
    any_size: bool

    def predict(self, raw: str | Path | np.ndarray) -> Prediction | np.ndarray:
        """Return the prediction for one file, or the probabilities of a raw batch, (batch, classes).

        Raises:
            ValueError: for a file that is missing or broken.
        """
        return predict_file(self, str(raw)) if isinstance(raw, (str, Path)) else self.probabilities(raw)


class Prediction(NamedTuple):
    """The prediction for one file: the class of highest probability, and the probability of each class, in [0, 1]."""

    file: str
    label: str
    probability: float
    probabilities: dict[str, float]


def sidecar(path: Path) -> Path:
    """Return the path of an export's description: in its directory, or beside its file."""
    return path / SIDECAR if path.is_dir() else path.with_name(f"{path.name}.{SIDECAR}")


def find_description(path: str | Path) -> Path:
    """Return the JSON file that describes a run directory or an export; no model is loaded.

    Raises:
        ValueError: if the path is neither.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise ValueError(f"there is no run or export at {path}")
    if (path / runs.MODEL).exists():
        return runs.find_run(path) / runs.DATA
    if not sidecar(path).is_file():
        raise ValueError(
            f"{path} is neither a run directory nor an export of kzoo: it has no {runs.MODEL} and no {SIDECAR}"
        )
    return sidecar(path)


def load_predictor(path: str | Path) -> Predictor:
    """Load a run directory or an export.

    Raises:
        ValueError: if it is neither, is damaged, or needs a package that is not installed.
    """
    path = Path(path).expanduser()
    content = json.loads(find_description(path).read_text())
    if (path / runs.MODEL).exists():
        model, serving = runs.load_run(path)
        return Predictor(from_model(model, serving.preprocess), serving.preprocess, serving.class_names, True)
    load, any_size = lookup("format", content["format"], LOADERS)
    try:
        predict = load(path)
    except ImportError as error:
        raise missing_package(str(path), error.name, "export") from error
    except (OSError, RuntimeError) as error:
        raise ValueError(f"the export {path} cannot be loaded: {shortened(error)}") from error
    return Predictor(predict, preprocess_from(content), tuple(content["class_names"]), any_size)


def shortened(error: Exception) -> str:
    """Return an error's message as one line of at most 300 characters, which ends at a word."""
    return textwrap.shorten(str(error), 300, placeholder=" ...")


def from_model(model: keras.Model, preprocess: Preprocess) -> Callable:
    """Return the prediction of a Keras model that returns logits."""

    def predict(raw):
        logits = model(preprocess(raw), training=False)
        return keras.ops.convert_to_numpy(keras.ops.softmax(logits))

    return predict


def from_saved_model(path: Path) -> Callable:
    """Return the prediction of a SavedModel; Keras is not needed for it."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda raw: loaded.signatures["serve"](raw=tf.constant(raw))["probabilities"].numpy()


def from_keras(path: Path) -> Callable:
    """Return the prediction of a Keras file."""
    check_keras_file(path)
    model = keras.models.load_model(path)
    return lambda raw: keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(raw), training=False))


def from_onnx(path: Path) -> Callable:
    """Return the prediction of an ONNX file by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda raw: session.run(None, {session.get_inputs()[0].name: raw})[0]


def from_litert(path: Path) -> Callable:
    """Return the prediction of a LiteRT file."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    (name,) = runner.get_input_details()
    return lambda raw: next(iter(runner(**{name: raw}).values()))


def from_openvino(path: Path) -> Callable:
    """Return the prediction of an OpenVINO model."""
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # the default is bfloat16 where the processor has it
    compiled = openvino.Core().compile_model(str(path / "model.xml"), "CPU", exact)
    return lambda raw: compiled(raw)[0]


# of each format: how it is loaded, and whether it takes raw data of any size
LOADERS = {
    "saved_model": (from_saved_model, True),
    "keras": (from_keras, True),
    "onnx": (from_onnx, False),
    "litert": (from_litert, False),
    "openvino": (from_openvino, False),
}


def check_files(path: str | Path, files: Sequence[str | Path]) -> None:
    """Check that a model and the files to classify are there, and read the first; no model is loaded.

    Raises:
        ValueError: for a path that is no model, a missing file, or a first file that the model's preprocessing cannot
            read.
    """
    description = find_description(path)
    for file in files:
        if not Path(file).expanduser().is_file():
            raise ValueError(f"there is no file {file}")
    for file in files[:1]:
        preprocess_from(json.loads(description.read_text())).read(file)


def predict_files(path: str | Path, files: Sequence[str | Path]) -> list[Prediction]:
    """Classify files by a run or an export, in the order given.

    Raises:
        ValueError: for a file that is missing or broken, or a model that cannot be loaded.
    """
    check_files(path, files)
    predictor = load_predictor(path)
    return [predict_file(predictor, str(file)) for file in files]


def predict_file(predictor: Predictor, file: str) -> Prediction:
    """Classify one file."""
    raw = predictor.preprocess.read(file)
    if not predictor.any_size:
        raw = predictor.preprocess.sized(raw)
    probabilities = predictor.probabilities(raw[None])[0].tolist()
    named = dict(zip(predictor.class_names, probabilities, strict=True))
    label = max(named, key=named.get)
    return Prediction(file, label, named[label], named)


if __name__ == "__main__":
    np.save(sys.argv[3], load_predictor(sys.argv[1]).predict(np.load(sys.argv[2], allow_pickle=False)))
