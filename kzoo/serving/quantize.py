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

from kzoo.core.files import read_json
from kzoo.core.lazy import keras, lazy_import, np, tf
from kzoo.core.numbers import in_words
from kzoo.core.ranges import evenly_spaced
from kzoo.core.registry import lookup
from kzoo.data.serving import INPUT, NETWORK_INPUT, Serving, network_outputs
from kzoo.data.splits import Preprocess, Splits, divided, whole_targets
from kzoo.serving.formats import in_litert, in_onnx, plain_function, without_variables
from kzoo.serving.measure import answers_of
from kzoo.serving.microcontroller import MODEL, write_sources
from kzoo.serving.serve import load_format, load_predictor, sidecar, taken
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
        takes: "raw" data, or the "network_input": then the preprocessing is not part of the file.
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
        (large, small), (slow, fast) = (size / 2**10 for size in self.sizes), self.latencies
        return (
            f"{self.mode}: {in_words(self.score)} {before} to {after} ({self.examples:,} {self.split} examples), size "
            f"{large:,.0f} to {small:,.0f} KiB, latency of one example {slow:.2f} to {fast:.2f} ms; it takes "
            f"{'raw data' if self.takes == INPUT else 'the input of the network'}"
        )


class Bits(NamedTuple):
    """How an export is quantised: the mode, and the dataset on which it is calibrated and measured."""

    mode: str
    data: Splits

    @property
    def calibrated(self) -> bool:
        """Whether all is computed in integers, by ranges that are measured on training examples."""
        return self.mode in CALIBRATED

    @property
    def input(self) -> str:
        """What the export takes: `INPUT`, raw data, or `NETWORK_INPUT`, when the preprocessing is outside."""
        return NETWORK_INPUT if self.mode in INTEGERS and not takes_pixels(self.data.preprocess) else INPUT

    def sample(self) -> np.ndarray:
        """Return training examples, evenly spaced, as `function_of` takes them; of longer ones windows."""
        examples, _ = divided(self.data.examples["train"])
        raw = np.asarray(examples.inputs[evenly_spaced(len(examples), CALIBRATION)])
        return raw.astype("float32") if self.input == INPUT else np.asarray(self.data.preprocess(raw))


CALIBRATED = ("int8", "int8_float_io")  # all is computed in integers
INTEGERS = (*CALIBRATED, "dynamic")  # weights are
MODES = {
    "litert": ("int8", "int8_float_io", "float16", "dynamic"),
    "onnx": ("int8_float_io", "dynamic"),
    "c": ("int8",),
}


def check_mode(format: str, quantize: str | None) -> None:
    """Raise a ValueError for an unknown mode of quantisation, or one that a format does not have."""
    if quantize is None:
        return
    lookup("quantize", quantize, dict.fromkeys(MODES["litert"]))
    if quantize not in MODES.get(format, ()):
        having = " and ".join(name for name, modes in MODES.items() if quantize in modes)
        raise ValueError(f"format {format!r} has no quantize={quantize!r}; it is for {having}")


def bits_of(format: str, quantize: str | None, data: Splits | Serving) -> Bits | None:
    """Return how an export in a format is quantised; None for not at all.

    Raises:
        ValueError: see `check_mode`; or for data without examples to calibrate on.
    """
    check_mode(format, quantize)
    mode = quantize or {"c": "int8"}.get(format)
    if mode is not None and not isinstance(data, Splits):
        raise ValueError(f"quantize={mode!r} calibrates on training examples: give data=the dataset, not its Serving")
    return mode and Bits(mode, data)


def takes_pixels(preprocess: Preprocess) -> bool:
    """Return whether integers hold the preprocessing: they scale the pixels of images, but are no front-end."""
    return preprocess.raw_dtype == "uint8"


def function_of(model: keras.Model, serving: Serving, bits: Bits, batch: int | None = None):
    """Return the function that is quantised, from raw data, pixels as float32, or the network's input to the answer.

    Args:
        model: the network, in float32.
        serving: its preprocessing, task and examples.
        bits: how it is quantised.
        batch: number of examples; any if None.
    """
    if bits.input == INPUT and not bits.calibrated:
        return plain_function(model, serving)
    if bits.input == INPUT:
        spec = tf.TensorSpec((batch, *serving.examples.shape[1:]), "float32", name=INPUT)
        return without_variables(lambda x: network_outputs(model, serving.preprocess, x), spec, serving.task)
    (tensor,) = model.inputs
    spec = tf.TensorSpec((batch, *tensor.shape[1:]), tensor.dtype, name=NETWORK_INPUT)
    return without_variables(lambda x: model(x, training=False), spec, serving.task)


def write_litert(model: keras.Model, serving: Serving, path: Path, bits: Bits, batch: int | None = None) -> None:
    """Write a LiteRT file with fewer bits."""
    options = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    if bits.mode == "float16":
        options["target_spec"] = tf.lite.TargetSpec(supported_types=[tf.float16])
    if bits.calibrated:
        sample = bits.sample()
        options["representative_dataset"] = lambda: one_by_one(sample)
        if bits.mode == "int8" and sample.dtype.kind == "f":
            options |= {"inference_input_type": tf.int8, "inference_output_type": tf.int8}
    path.write_bytes(in_litert(function_of(model, serving, bits, batch), integers=bits.calibrated, **options))


def one_by_one(sample: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yield batches of one example."""
    for start in range(len(sample)):
        yield [sample[start : start + 1]]


def write_onnx(model: keras.Model, serving: Serving, path: Path, bits: Bits) -> None:
    """Write an ONNX file: with nodes that quantise and dequantise (QDQ), or with ranges measured at each call."""
    plain, eight_bits = path.with_name("float.onnx"), ort_quantization.QuantType.QInt8
    function = function_of(model, serving, bits)
    plain.write_bytes(in_onnx(function))
    if not bits.calibrated:
        ort_quantization.quantize_dynamic(str(plain), str(path), per_channel=True)
    else:
        ort_shapes.quant_pre_process(str(plain), str(plain), skip_symbolic_shape=True)
        (spec,) = function.input_signature
        batches = Calibration(spec.name, bits.sample())
        types = {"activation_type": eight_bits, "weight_type": eight_bits, "per_channel": True, "reduce_range": True}
        ort_quantization.quantize_static(str(plain), str(path), batches, op_types_to_quantize=PRODUCTS, **types)
    plain.unlink()


PRODUCTS = ["Conv", "Gemm", "MatMul", "MaxPool"]  # not sums with constants, such as the mean of the pixels


class Calibration:
    """The examples of a calibration as ONNX Runtime asks for them."""

    def __init__(self, name: str, sample: np.ndarray):
        self.batches = ({name: batch} for (batch,) in one_by_one(sample))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, None after the last."""
        return next(self.batches, None)


def write_c(model: keras.Model, serving: Serving, path: Path, bits: Bits) -> None:
    """Write a directory of C sources for a microcontroller, beside the LiteRT file that they hold."""
    path.mkdir()
    write_litert(model, serving, path / MODEL, bits, batch=1)
    write_sources(path, model.name, serving.task.names)


WRITERS = {"litert": write_litert, "onnx": write_onnx, "c": write_c}


def measured(bits: Bits, paths: tuple[Path, Path]) -> Quantized:
    """Measure an export in float32 and one with fewer bits: the score on test examples, the size, the latency.

    Without a test split the score is that of validation.
    """
    data, predictors = bits.data, [load_predictor(path) for path in paths]
    split = "test" if "test" in data.examples else "validation"
    examples = data.examples[split]
    examples = examples.take(evenly_spaced(len(examples), MEASURED))
    labels, score = whole_targets(examples), data.task.score.name
    reports = [data.task.report(split, labels, answers_of(each, examples), math.nan) for each in predictors]
    return Quantized(
        bits.mode,
        split,
        len(examples),
        score,
        tuple(getattr(report, score) for report in reports),
        tuple(map(size_of, paths)),
        tuple(latency(path, data.preprocess, examples.inputs[:1]) for path in paths),
        bits.input,
    )


def size_of(path: Path) -> int:
    """Return the bytes of an export: of a file, or of the LiteRT file in a directory."""
    return (path / MODEL if path.is_dir() else path).stat().st_size


def latency(path: Path, preprocess: Preprocess, raw: np.ndarray) -> float:
    """Return the median time that the runtime of an export takes for a batch of one example, in milliseconds."""
    description, times = read_json(sidecar(path)), []
    predict, inputs = load_format(path, description["format"]), taken(preprocess, raw, description)
    predict(inputs, "")
    for _ in range(CALLS):
        start = time.perf_counter()
        predict(inputs, "")
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))
