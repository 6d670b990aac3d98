"""Export of step models, with state as inputs and outputs, and their use by the runtime of the format alone.

An input is called as in the step model, `samples` or `inputs` and `state1`, `state2` and so on; the outputs are the
answers, and `next_state1`, `next_state2` and so on, which are the state of the next step. State is zeros before the
first step. `python -m kzoo.serving.step_export EXPORT chunks.npy answers.npy FORMAT` runs a stream; every export is
verified by it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kzoo.core.lazy import keras, np
from kzoo.core.registry import lookup
from kzoo.nn.causality import sized

KERAS_NAMES = {"saved_model": "tf_saved_model", "onnx": "onnx", "litert": "litert"}
STEPS = 12  # of a stream by which an export is verified
Step = Callable[[Mapping[str, Any]], Mapping[str, Any]]  # arrays by name


def check_step_format(format: str) -> None:
    """Raise a ValueError for a format in which step models are not written."""
    lookup("format of a stream", format, KERAS_NAMES)


def named(step: keras.Model, answer: str) -> keras.Model:
    """Return a step model whose inputs and outputs are dictionaries: formats take their names."""
    names = [answer, *(f"next_{tensor.name}" for tensor in step.inputs[1:])]
    inputs = {tensor.name: tensor for tensor in step.inputs}
    return keras.Model(inputs, dict(zip(names, step.outputs, strict=True)), name=step.name)


def zeros(step: keras.Model) -> dict[str, np.ndarray]:
    """Return the state before the first step, for one stream."""
    return {tensor.name: np.zeros((1, *tensor.shape[1:]), tensor.dtype) for tensor in step.inputs[1:]}


def write_step(step: keras.Model, answer: str, path: Path, format: str) -> None:
    """Write a step model; `answer` is the name of its first output."""
    model = named(step, answer)
    model({tensor.name: np.zeros((1, *sized(tensor.shape[1:])), tensor.dtype) for tensor in step.inputs})
    model.export(str(path), format=KERAS_NAMES[format], verbose=False)


def streamed(run: Step, state: dict[str, np.ndarray], name: str, chunks: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the answer of each step of a stream.

    Args:
        run: a step by a runtime, from inputs to outputs by name.
        state: before the first step.
        name: of the input that is not state.
        chunks: of one stream, (steps, ...).
    """
    for chunk in chunks:
        made = run({name: chunk[None], **state})
        (answer,) = made.keys() - {f"next_{key}" for key in state}
        state = {key: made[f"next_{key}"] for key in state}
        yield made[answer][0]


def from_keras(step: keras.Model, answer: str) -> Step:
    """Return a step by Keras."""
    model = named(step, answer)

    def run(inputs):
        made = model({name: keras.ops.convert_to_tensor(array) for name, array in inputs.items()}, training=False)
        return {name: keras.ops.convert_to_numpy(tensor) for name, tensor in made.items()}

    return run


def from_saved_model(path: Path) -> tuple[Step, dict[str, tuple]]:
    """Return a step by TensorFlow, and the shape and type of each input."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # which the signature does not keep alive
    signature = loaded.signatures["serving_default"]

    def run(inputs):
        made = loaded.signatures["serving_default"](**{name: tf.constant(array) for name, array in inputs.items()})
        return {name: tensor.numpy() for name, tensor in made.items()}

    specs = signature.structured_input_signature[1].items()
    return run, {name: (spec.shape[1:], spec.dtype.as_numpy_dtype) for name, spec in specs}


def from_onnx(path: Path) -> tuple[Step, dict[str, tuple]]:
    """Return a step by ONNX Runtime, and the shape and type of each input."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    types = {"tensor(float)": "float32"}
    inputs = {one.name: (one.shape[1:], types.get(one.type, one.type[7:-1])) for one in session.get_inputs()}
    return lambda given: dict(zip(names, session.run(names, given), strict=True)), inputs


def from_litert(path: Path) -> tuple[Step, dict[str, tuple]]:
    """Return a step by LiteRT, and the shape and type of each input."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    inputs = {name: (detail["shape"][1:], detail["dtype"]) for name, detail in runner.get_input_details().items()}
    return lambda given: runner(**given), inputs


LOADERS = {"saved_model": from_saved_model, "onnx": from_onnx, "litert": from_litert}


def run_exported(path: Path, format: str, chunks: np.ndarray) -> np.ndarray:
    """Return the answers of an export for the chunks of a stream, by its runtime alone."""
    run, inputs = LOADERS[format](path)
    state = {name: np.zeros((1, *shape), dtype) for name, (shape, dtype) in inputs.items() if name.startswith("state")}
    (name,) = inputs.keys() - state.keys()
    return np.stack([*streamed(run, state, name, chunks)])


def example_chunks(step: keras.Model, waves: np.ndarray) -> np.ndarray:
    """Return the first chunks of a stream of real waveforms, (steps, samples)."""
    samples = step.inputs[0].shape[1]
    sound = np.resize(waves.reshape(-1), STEPS * samples)
    return sound.reshape(STEPS, samples)


if __name__ == "__main__":
    _, _export, _chunks, _answers, _format = sys.argv
    np.save(_answers, run_exported(Path(_export), _format, np.load(_chunks, allow_pickle=False)))
