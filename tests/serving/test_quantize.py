"""Exports with fewer bits: what they take, what they cost, and the C sources for a microcontroller."""

import json
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest

import kzoo
from kzoo.data.serving import Serving
from kzoo.serving.export import SUFFIXES
from kzoo.serving.microcontroller import Anatomy, Tensor, header, method, source
from kzoo.serving.quantize import MODES
from kzoo.serving.serve import as_integers, as_reals
from kzoo.tasks.classification import summing_to_one

EVERY_MODE = [(format, mode) for format, modes in MODES.items() for mode in modes]
PACKAGE = {"litert": "ai_edge_litert", "c": "ai_edge_litert", "onnx": "onnxruntime"}


@pytest.fixture(scope="module")
def trained(digits):
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("convnet", digits.input_shape, 10, padding="same", filters=(8, 16), dropout=0.0)
    kzoo.fit(model, digits, epochs=5, learning_rate=3e-3, verbose=False)
    return model


@pytest.fixture(scope="module")
def tones():
    """Short tones of two pitches, and a network that tells them apart."""
    rng, time = np.random.default_rng(0), np.arange(2000) / 8000
    labels = np.arange(60) % 2
    waves = np.stack([8000 * np.sin(2 * np.pi * (500 + 900 * c + rng.normal(0, 30)) * time) for c in labels])
    data = kzoo.from_arrays(
        waves.astype("int16"), labels, modality="audio", sample_rate=8000, test=0.3, validation=0.2, batch_size=8
    )
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("convnet", data.input_shape, 2, padding="same", filters=(4, 4), dropout=0.0)
    kzoo.fit(model, data, epochs=4, learning_rate=1e-2, verbose=False)
    return model, data


@pytest.mark.parametrize(
    "format, quantize, message",
    [
        ("litert", "int4", "unknown quantize 'int4'; did you mean int8"),
        ("keras", "int8", "format 'keras' has no quantize='int8'; it is for litert and c"),
        ("onnx", "float16", "format 'onnx' has no quantize='float16'; it is for litert$"),
    ],
)
def test_a_mode_that_a_format_does_not_have_is_refused(format, quantize, message, digits, trained, tmp_path):
    pytest.importorskip(PACKAGE.get(format, "keras"))
    with pytest.raises(ValueError, match=message):
        kzoo.export(trained, tmp_path / f"m{SUFFIXES[format]}", data=digits, format=format, quantize=quantize)
    assert not list(tmp_path.iterdir())


def test_calibration_needs_the_dataset(digits, trained, tmp_path):
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(ValueError, match="quantize='int8' calibrates on training examples: give data=the dataset"):
        kzoo.export(trained, tmp_path / "m", data=Serving.of(digits), format="c")


@pytest.mark.parametrize("format, mode", EVERY_MODE)
@pytest.mark.slow
def test_an_export_with_fewer_bits_is_smaller_and_nearly_as_good(format, mode, digits, trained, tmp_path):
    pytest.importorskip(PACKAGE[format])
    path = tmp_path / f"m{SUFFIXES.get(format, '')}"
    exported = kzoo.export(trained, path, data=digits, format=format, quantize=mode)
    found = exported.quantized
    assert (found.mode, found.examples, found.takes) == (mode, 360, "raw")
    assert found.scores[0] == pytest.approx(kzoo.evaluate(trained, digits).accuracy)
    assert abs(found.scores[1] - found.scores[0]) < 0.02
    assert format == "onnx" or found.sizes[1] < found.sizes[0]
    assert exported.max_difference < 0.05
    assert f"{mode}: accuracy" in str(exported)
    answers = kzoo.load_predictor(path).predict(digits.examples["test"].inputs)
    assert np.mean(answers.argmax(1) == digits.examples["test"].labels) == pytest.approx(found.scores[1])


@pytest.mark.slow
def test_the_front_end_of_sound_stays_outside(tones, tmp_path):
    pytest.importorskip("ai_edge_litert")
    model, data = tones
    exported = kzoo.export(model, tmp_path / "m.tflite", data=data, format="litert", quantize="int8")
    assert exported.quantized.takes == "network_input"
    assert json.loads((tmp_path / "m.tflite.kzoo.json").read_text())["takes"] == "network_input"
    assert exported.quantized.scores == (1, 1)
    assert exported.max_difference < 0.05


@pytest.mark.slow
def test_c_sources_hold_the_network(digits, trained, tmp_path):
    """The array, read back by a C program, is the LiteRT file; names and scales are those of the network."""
    pytest.importorskip("ai_edge_litert")
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler here")
    folder = tmp_path / "board"
    kzoo.export(trained, folder, data=digits, format="c")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "model.h"\n'
        "static const char *const names[] = KZOO_CLASS_NAMES;\n"
        "int main(void) { fwrite(kzoo_model, 1, KZOO_MODEL_SIZE, stdout);"
        ' fprintf(stderr, "%s %d %g", names[9], KZOO_INPUT_ZERO_POINT, KZOO_INPUT_SCALE); return 0; }\n'
    )
    program = str(tmp_path / "main")
    sources = [str(tmp_path / "main.c"), str(folder / "model.c")]
    subprocess.run(["gcc", "-Wall", "-Werror", "-I", str(folder), *sources, "-o", program], check=True)
    result = subprocess.run([program], capture_output=True, check=True)
    assert result.stdout == (folder / "model.tflite").read_bytes()
    assert result.stderr == b"9 -128 1"
    text = (folder / "model.h").read_text()
    assert "(resolver).AddConv2D();" in text
    assert 64 * 8 < int(re.search(r"ARENA_SIZE (\d+)", text)[1]) < 20_000
    assert kzoo.export(trained, folder, data=digits, format="c", overwrite=True).path == folder


def test_the_header_names_what_a_program_needs():
    found = Anatomy(Tensor((1, 8, 8, 1), 0.5, -128, "int8_t"), Tensor((1, 2), 0.25, 3, "int8_t"), ("CONV_2D",), 4096)
    text = header("net", ['a "b"', "c\\d"], found, 10)
    for line in (
        "#define KZOO_MODEL_SIZE 10",
        "#define KZOO_INPUT_SIZE 64 /* 1 x 8 x 8 x 1 */",
        "#define KZOO_OUTPUT_ZERO_POINT (3)",
        "#define KZOO_ARENA_SIZE 4096",
        "#define KZOO_ADD_OPERATORS(resolver) (resolver).AddConv2D();",
        r'#define KZOO_CLASS_NAMES {"a \"b\"", "c\\d"}',
    ):
        assert line in text
    assert "0x00, 0x01,\n  0x02" in source(bytes([0] * 11 + [1, 2]))


@pytest.mark.parametrize(
    "operator, name",
    [("CONV_2D", "AddConv2D"), ("DEPTHWISE_CONV_2D", "AddDepthwiseConv2D"), ("FULLY_CONNECTED", "AddFullyConnected")],
)
def test_operators_are_called_as_the_resolver_calls_them(operator, name):
    assert method(operator) == name


def test_integers_stand_for_reals():
    tensor = {"quantization": (0.5, -10), "dtype": np.int8}
    integers = as_integers(np.array([0.0, 1.0, 1.2, 1000.0]), tensor)
    assert integers.tolist() == [-10, -8, -8, 127]
    np.testing.assert_allclose(as_reals(integers[:3], tensor), [0, 1, 1])
    plain = {"quantization": (0.0, 0), "dtype": np.float32}
    assert as_integers(np.array([3], "uint8"), plain).dtype == np.float32


def test_probabilities_in_integers_are_made_to_sum_to_one():
    np.testing.assert_allclose(summing_to_one(np.array([[0.5, 0.49]])).sum(), 1)
