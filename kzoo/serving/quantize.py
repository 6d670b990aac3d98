"""Smaller exports: weights of 16 or 8 bits, or integers throughout, calibrated on training examples.

Each is measured beside the export in float32: the task's score, the size, and the latency on this machine. Integers
hold 256 values of a range that is measured on training examples: Jacob et al., 2018, Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference, https://arxiv.org/abs/1712.05877.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kzoo.core.lazy import keras, lazy_import, np, tf
from kzoo.core.ranges import evenly_spaced
from kzoo.core.registry import lookup
from kzoo.core.shown import listed
from kzoo.data.serving import Serving, network_outputs
from kzoo.data.splits import Splits, divided, whole_targets
from kzoo.serving.measure import answers_of
from kzoo.serving.serve import Predictor
from kzoo.tasks.task import metric_text

ort_quantization = lazy_import("onnxruntime.quantization")
ort_shapes = lazy_import("onnxruntime.quantization.shape_inference")

CALIBRATION = 256  # training examples on which ranges are measured, evenly spaced
MEASURED = 2000  # most test examples on which the score is measured, evenly spaced
CALLS = 30  # timed for the latency


class Quantized(NamedTuple):
    """What an export with fewer bits costs and saves, beside the same export in float32.

    Attributes:
        mode: of the quantisation.
        split: on which the score was measured.
        examples: of it.
        score: the name of the task's score.
        scores: in float32, and with fewer bits.
        sizes: of the files, in bytes.
        latencies: medians for one example on this machine, in milliseconds.
        takes: "raw data", or "the network's input": then the preprocessing is not part of the file.
    """

    mode: str
    split: str
    examples: int
    score: str
    scores: tuple[float, float]
    sizes: tuple[int, int]
    latencies: tuple[float, float]
    takes: str

    def __str__(self) -> str:
        before, after = (metric_text(self.score, value) for value in self.scores)
        small, fast = "{:,.0f} to {:,.0f} KiB".format(*np.divide(self.sizes, 2**10)), "{:.2f} to {:.2f} ms"
        return (
            f"{self.mode}: {self.score} {before} to {after} ({self.examples:,} {self.split} examples), "
            f"size {small}, latency of one example {fast.format(*self.latencies)}; it takes {self.takes}"
        )


def check_quantize(format: str, quantize: str, data) -> None:
    """Raise a ValueError for an unknown mode, one that the format has not, or data without examples to measure on."""
    lookup("quantize", quantize, dict.fromkeys(MODES["litert"]))
    if quantize not in MODES.get(format, ()):
        having = [name for name, modes in MODES.items() if quantize in modes]
        raise ValueError(f"format {format!r} has no quantize={quantize!r}, but {listed(having)} has")
    if not isinstance(data, Splits):
        raise ValueError(
            f"quantize={quantize!r} calibrates and measures on examples: give data=the dataset, not its Serving"
        )


def takes_raw(serving: Serving, quantize: str | None) -> bool:
    """Return whether an export holds its preprocessing: integers can scale the pixels of images, but no front-end."""
    return quantize not in CALIBRATED or serving.preprocess.raw_dtype == "uint8"


def quantizable(model: keras.Model, serving: Serving, batch: int | None = None) -> keras.Model:
    """Return the model that is computed in integers: from images as float32 in [0, 255], or the network's input.

    Args:
        model: the network, in float32.
        serving: its preprocessing, task and examples.
        batch: number of examples; any if None.
    """
    raw, task = takes_raw(serving, "int8"), serving.task
    shape = serving.examples.shape[1:] if raw else model.input_shape[1:]
    x = keras.Input(batch_shape=(batch, *shape), dtype="float32" if raw else model.inputs[0].dtype, name="raw")
    outputs = network_outputs(model, serving.preprocess, x) if raw else model(x, training=False)
    answer = keras.layers.Identity(dtype="float32", name=task.answer)(task.decode(outputs)[task.answer])
    return keras.Model(x, {task.answer: answer}, name=model.name)


def network_input(serving: Serving, raw: np.ndarray) -> np.ndarray:
    """Return raw examples as `quantizable` takes them."""
    if takes_raw(serving, "int8"):
        return np.asarray(raw, "float32")
    return np.asarray(serving.preprocess(keras.ops.convert_to_tensor(raw)))


def calibration_examples(data: Splits) -> np.ndarray:
    """Return raw training examples, evenly spaced; of longer recordings and series windows."""
    examples, _ = divided(data.examples["train"])
    return np.asarray(examples.inputs[evenly_spaced(len(examples), CALIBRATION)])


def write_litert(model: keras.Model, sample: np.ndarray | None, path: Path, mode: str) -> None:
    """Write a LiteRT file; `sample` holds the calibration examples of modes that have them."""
    options = {"optimizations": [tf.lite.Optimize.DEFAULT], **converter_options(mode)}
    if sample is not None:
        options["representative_dataset"] = lambda: one_by_one(sample)
    model.export(str(path), format="litert", verbose=False, **options)


def converter_options(mode: str) -> dict:
    """Return the options of LiteRT's converter that make a mode."""
    integers = {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]}}
    return {
        "int8": integers | {"inference_input_type": tf.int8, "inference_output_type": tf.int8},
        "int8_float_io": integers,
        "float16": {"target_spec": {"supported_types": [tf.float16]}},
        "dynamic": {},
    }[mode]


def one_by_one(sample: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yield batches of one example."""
    for start in range(len(sample)):
        yield [sample[start : start + 1]]


def write_onnx(model: keras.Model, sample: np.ndarray | None, path: Path, mode: str) -> None:
    """Write an ONNX file: with nodes that quantise and dequantise (QDQ), or with ranges measured at each call."""
    plain, eight_bits = str(path.with_name("float.onnx")), ort_quantization.QuantType.QInt8
    model.export(plain, format="onnx", verbose=False)
    if sample is None:
        ort_quantization.quantize_dynamic(plain, str(path), per_channel=True)
        return
    ort_shapes.quant_pre_process(plain, plain, skip_symbolic_shape=True)
    batches = Calibration(model.inputs[0].name, sample)
    types = {"activation_type": eight_bits, "weight_type": eight_bits, "per_channel": True}
    ort_quantization.quantize_static(plain, str(path), batches, **types)


class Calibration:
    """The examples of a calibration as ONNX Runtime asks for them."""

    def __init__(self, name: str, sample: np.ndarray):
        self.batches = ({name: batch} for (batch,) in one_by_one(sample))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, None after the last."""
        return next(self.batches, None)


WRITERS = {"litert": write_litert, "onnx": write_onnx}
MODES = {"litert": ("int8", "int8_float_io", "float16", "dynamic"), "onnx": ("int8_float_io", "dynamic")}
CALIBRATED = ("int8", "int8_float_io")  # modes that compute in integers


def write_quantized(model: keras.Model, whole: keras.Model, data: Splits, path: Path, format: str, mode: str) -> None:
    """Write an export with fewer bits.

    Args:
        model: what is computed in integers, see `quantizable`.
        whole: from raw data to answers, for modes that need no calibration.
        data: the dataset.
        path: of the file.
        format: a key of `WRITERS`.
        mode: of it.
    """
    sample = None
    if mode in CALIBRATED:
        sample = network_input(Serving.of(data), calibration_examples(data))
        model(sample[:1])  # Keras refuses to export a model that was never called
    WRITERS[format](model if mode in CALIBRATED else whole, sample, path, mode)


def quantized(mode: str, data: Splits, plain: Predictor, small: Predictor, sizes: tuple[int, int]) -> Quantized:
    """Measure an export in float32 and one with fewer bits: the score on test examples, and the latency."""
    split = "test" if "test" in data.examples else "validation"
    examples = data.examples[split]
    examples = examples.take(evenly_spaced(len(examples), MEASURED))
    labels, score = whole_targets(examples), data.task.score.name
    scores = []
    for predictor in (plain, small):
        report = data.task.report(split, labels, answers_of(predictor, examples), math.nan)
        scores.append(getattr(report, score))
    latencies = tuple(latency(predictor, examples.inputs[:1]) for predictor in (plain, small))
    takes = "raw data" if takes_raw(Serving.of(data), mode) else "the network's input"
    return Quantized(mode, split, len(examples), score, tuple(scores), sizes, latencies, takes)


def latency(predictor: Predictor, raw: np.ndarray) -> float:
    """Return the median time of the answer for a batch of one example, in milliseconds."""
    predictor.answers(raw)
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        predictor.answers(raw)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))
