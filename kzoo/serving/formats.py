"""Keras, ONNX, LiteRT and OpenVINO files with the preprocessing inside; of texts they take token ids.

The last three are converted from one function without variables: whatever its layers hold as a tensor is a constant of
the graph, so that the raw data are its only input.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from kzoo.core.lazy import keras, lazy_import, tf
from kzoo.data.serving import Serving, network_outputs
from kzoo.nn.precision import uncompiled
from kzoo.serving.serve import shortened
from kzoo.tasks import Task
from kzoo.training import runs

freezing = lazy_import("tensorflow.python.framework.convert_to_constants")


def write_keras(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write a Keras file."""
    runs.save_model(serving_model(model, serving), path)


def serving_model(model: keras.Model, serving: Serving) -> keras.Model:
    """Return a Keras model from raw data of any size, or token ids, to answers."""
    name, shape, dtype = serving.plain_input(any_size=True)
    raw = keras.Input(shape, dtype=dtype, name=name)
    network = uncompiled(model)  # a file would hold its loss and schedule, which Keras alone cannot load
    outputs = network_outputs(network, serving.preprocess, raw)
    answer = serving.task.answer
    answers = keras.layers.Identity(dtype="float32", name=answer)(serving.task.decode(outputs)[answer])
    return renumbered(keras.Model(raw, answers, name=model.name), keep=(name, answer, model.name))


def renumbered(model: keras.Model, keep: Sequence[str]) -> keras.Model:
    """Number the layers around the network from 0; Keras counts those of the whole process, so names would vary."""
    layers = [layer for layer in model.operations if layer.name not in keep]
    for index, layer in enumerate(layers):
        layer.name = f"preprocess{index}"
    return model


def plain_function(model: keras.Model, serving: Serving) -> tf.types.experimental.GenericFunction:
    """Return the function from raw data of the training's size, or token ids, to the answer, by its name.

    Its weights, and what its layers hold as tensors, are constants: an exporter would take them for inputs.
    """
    name, shape, dtype = serving.plain_input(any_size=False)
    spec = tf.TensorSpec((None, *shape), dtype, name=name)
    return without_variables(lambda raw: network_outputs(model, serving.preprocess, raw), spec, serving.task)


def without_variables(outputs: Callable, spec: tf.TensorSpec, task: Task) -> tf.types.experimental.GenericFunction:
    """Return the function from what a function of network outputs takes to the answer of a task, by its name."""
    traced = tf.function(lambda x: task.decode(outputs(x))[task.answer])
    frozen = freezing.convert_variables_to_constants_v2(traced.get_concrete_function(spec))
    return tf.function(lambda x: {task.answer: frozen(x)[0]}, input_signature=[spec])


def write_onnx(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write an ONNX file.

    Raises:
        ValueError: naming an operation that ONNX does not have.
    """
    path.write_bytes(in_onnx(plain_function(model, serving)))


def in_onnx(function: tf.types.experimental.GenericFunction) -> bytes:
    """Return the content of an ONNX file; see `write_onnx`."""
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # it reports what is refused below
    content, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature)
    unknown = {node.op_type for node in content.graph.node if not onnx.defs.has(node.op_type)}
    if unknown:
        raise without_operations("onnx", unknown)
    return content.SerializeToString()


def write_litert(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write a LiteRT file.

    Raises:
        ValueError: naming an operation that LiteRT does not have.
    """
    path.write_bytes(in_litert(plain_function(model, serving)))


def in_litert(function: tf.types.experimental.GenericFunction, integers: bool = False, **options) -> bytes:
    """Return the content of a LiteRT file; see `write_litert`.

    Args:
        function: made by `without_variables`.
        integers: use operations in 8-bit integers alone; otherwise LiteRT's own, which every interpreter of it has.
        **options: attributes of `tf.lite.TFLiteConverter`.
    """
    module = tf.Module()
    module.predict = function  # from there the names of input and output are taken
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    operations = tf.lite.OpsSet.TFLITE_BUILTINS_INT8 if integers else tf.lite.OpsSet.TFLITE_BUILTINS
    converter.target_spec.supported_ops = [operations]
    for name, value in options.items():
        setattr(converter, name, value)
    try:
        return converter.convert()
    except Exception as error:  # of a class without a public name
        raise refused("litert", error) from error


def write_openvino(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write OpenVINO's pair of files, model.xml and model.bin, into a directory.

    Raises:
        ValueError: naming an operation that OpenVINO does not have.
    """
    import openvino

    try:
        converted = openvino.convert_model(plain_function(model, serving))
    except openvino.frontend.OpConversionFailure as error:
        raise refused("openvino", error) from error
    path.mkdir()
    openvino.save_model(converted, path / "model.xml", compress_to_fp16=False)


def without_operations(format: str, names: Iterable[str]) -> ValueError:
    """Return the error for a network with operations that a format does not have."""
    listed = ", ".join(sorted(names))
    return ValueError(f"format {format!r} has no operation {listed}; saved_model and keras take every network")


def refused(format: str, error: Exception) -> ValueError:
    """Return the error for a network that a converter refused; most often it names the operations in a line."""
    names = re.findall(r"(?:ops|operations): (.*)", str(error))
    return without_operations(format, names) if names else ValueError(f"format {format!r}: {shortened(error)}")
