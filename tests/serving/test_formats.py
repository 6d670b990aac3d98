"""Every modality, task and format: exported, loaded by its own runtime without Keras, with the answers of Keras."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from served import CASES, MODALITIES, PIXELS, TEXTS, built, supported, text
from snippets import blocks

import kzoo
from kzoo.core.files import write_json
from kzoo.data.serving import Serving
from kzoo.serving.export import FORMATS, PACKAGES, SUFFIXES, described
from kzoo.serving.serve import from_model, load_format, sidecar, taken

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
PLAIN = ("onnx", "litert", "openvino")
# in another process: the file names of an export, of what it is given and of its answers, a line each
LOADER = """
import sys, numpy as np
from pathlib import Path
from kzoo.serving.serve import load_format
for line in sys.stdin.read().splitlines():
    path, given, answers, format, answer = line.split("|")
    np.save(answers, load_format(Path(path), format)(np.load(given, allow_pickle=False), answer))
print("keras" in sys.modules)
"""


def need(format: str) -> None:
    """Skip where a format's packages are not installed."""
    for package in PACKAGES.get(format, ()):
        pytest.importorskip(package)


def written(format: str, model: keras.Model, serving: Serving, folder: Path, name: str = "export") -> Path:
    """Write an export without the checks of `kzoo.export`, and return its path."""
    path = folder / f"{name}{SUFFIXES.get(format, '')}"
    FORMATS[format](model, serving, path)
    return path


def differences(format: str, chosen: list[tuple[str, str]], folder: Path) -> dict[tuple[str, str], float]:
    """Return how far the answers of exports that another process loads differ from those of Keras."""
    lines, expected = [], {}
    for modality, task in chosen:
        model, serving = built(modality, task)
        path = written(format, model, serving, folder, f"{modality}-{task}")
        given, answers = folder / f"{path.name}-given.npy", folder / f"{path.name}-answers.npy"
        raw = taken(serving.preprocess, serving.examples, described(serving, format))
        np.save(given, raw.astype("U") if raw.dtype == object else raw)
        lines.append("|".join([*map(str, (path, given, answers)), format, serving.task.answer]))
        expected[modality, task] = from_model(model, serving.preprocess, serving.task)(serving.examples), answers
    command = [sys.executable, "-c", LOADER]
    result = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split()[-1] == str(format not in PLAIN)  # TensorFlow imports Keras by itself
    return {
        key: CASES[key].task.difference(answer, np.load(answers)) / max(np.abs(answer).max(), 1)
        for key, (answer, answers) in expected.items()
    }


@pytest.mark.parametrize("format", PLAIN)
def test_sound_and_text_are_answered_without_keras(format, tmp_path):
    need(format)
    found = differences(format, [("audio", "classification"), ("text", "classification")], tmp_path)
    assert max(found.values()) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_every_task_of_every_modality_is_answered_as_by_keras(format, tmp_path):
    need(format)
    found = differences(format, list(CASES), tmp_path)
    assert {key: difference for key, difference in found.items() if not difference < 1e-5} == {}


def test_the_documented_table_is_that_of_the_networks_tested():
    assert supported() in PAGE.read_text()
    assert {modality for modality, _ in CASES} == set(MODALITIES)


def network_of_pixels(operation) -> tuple[keras.Model, Serving]:
    """Return a network with an operation of its own on what it is given, three outputs an image."""
    _, serving = built("image", "classification")
    inputs = keras.Input((16, 16, 3))
    outputs = keras.layers.GlobalAveragePooling2D()(operation(inputs))
    return keras.Model(inputs, outputs, name="own"), serving


@pytest.mark.parametrize("format", PLAIN)
def test_tensors_that_a_network_holds_are_constants_not_inputs(format, tmp_path):
    need(format)
    held = keras.ops.convert_to_tensor(np.linspace(-1, 1, 3, dtype="float32"))
    model, serving = network_of_pixels(lambda inputs: keras.ops.multiply(inputs, held))
    path = written(format, model, serving, tmp_path)
    expected = from_model(model, serving.preprocess, serving.task)(PIXELS)
    np.testing.assert_allclose(load_format(path, format)(PIXELS, "probabilities"), expected, atol=1e-5)


@pytest.mark.parametrize("format", PLAIN)
def test_an_operation_that_a_format_lacks_is_named_and_nothing_is_written(format, tmp_path):
    need(format)

    def with_bits(inputs):
        index = keras.ops.argmax(inputs, axis=-1, keepdims=True)  # looks at the sign bit of floats
        return inputs * keras.ops.cast(index, "float32")

    model, serving = network_of_pixels(with_bits)
    with pytest.raises(ValueError, match=f"format '{format}' has no operation Bit\\w+.*; saved_model and keras take"):
        kzoo.export(model, tmp_path / f"own{SUFFIXES.get(format, '')}", data=serving, format=format)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_a_network_for_images_of_any_size_takes_any_size_in_every_format(format, tmp_path):
    need(format)
    model, serving = built("image", "restoration")
    path = written(format, model, serving, tmp_path)
    raw = np.random.default_rng(1).uniform(0, 255, (2, 11, 19, 3)).astype("float32")
    expected = from_model(model, serving.preprocess, serving.task)(raw)
    np.testing.assert_allclose(load_format(path, format)(raw, "restored"), expected, atol=1e-2)


# -- token ids

ODD_TEXTS = [
    *TEXTS,
    "",
    "  \t\n",
    "DON'T: it's O\u2019Brien's \u2014 we'll see (really?) 3.14",
    "na\u00efve \u0130stanbul STRASSE \u039f\u0394\u039f\u03a3 \u1e9e",
    "\u65e5\u672c\u8a9e\u306e\u6620\u753b \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \ud55c\uad6d\uc5b4",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd\U0001f1e9\U0001f1ea\u2764\ufe0f\u20ac100",
    "x" * 50 + " end",
    "__proto__ constructor toString",
]


def in_python(tokenizer: dict, texts: list[str]) -> list[list[int]]:
    """Return token ids by the documented lines of Python."""
    namespace = {"regex": pytest.importorskip("regex"), "tokenizer": tokenizer}
    (page,) = [block.text for block in blocks(PAGE) if "def token_ids" in block.text]
    exec(re.search(r"^def token_ids.*?(?=\n\n\n)", page, re.DOTALL | re.MULTILINE)[0], namespace)
    return [namespace["token_ids"](text) for text in texts]


def in_javascript(tokenizer: dict, texts: list[str]) -> list[list[int]]:
    """Return token ids by the documented lines of JavaScript."""
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    code = PAGE.read_text().partition("```js\n")[2].partition("```")[0]
    ending = f"console.log(JSON.stringify({json.dumps(texts)}.map((text) => tokenIds(text, {json.dumps(tokenizer)}))))"
    result = subprocess.run(["node", "-e", code + ending], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("reproduced", [in_python, in_javascript])
@pytest.mark.parametrize("level", ["words", "characters", "bytes"])
def test_the_documented_lines_make_the_token_ids_of_the_preprocessing(level, reproduced):
    step = text(level=level) if level == "bytes" else text(level=level, texts=ODD_TEXTS)
    tokenizer = json.loads(json.dumps(step.tokenizer))
    for length in (3, 40):
        step = type(step)(step.level, length, step.vocabulary)
        found = reproduced(tokenizer | {"length": length}, ODD_TEXTS)
        np.testing.assert_array_equal(found, step(np.array(ODD_TEXTS, object)))


def test_an_export_of_texts_has_its_tokeniser_beside_it(tmp_path):
    model, serving = built("text", "classification")
    path = written("keras", model, serving, tmp_path)
    write_json(sidecar(path), described(serving, "keras"))
    content = json.loads((tmp_path / "export.keras.kzoo.json").read_text())
    assert content["tokenizer"] == json.loads(json.dumps(serving.preprocess.tokenizer))
    expected = from_model(model, serving.preprocess, serving.task)(TEXTS)
    np.testing.assert_allclose(kzoo.load_predictor(path).predict(TEXTS), expected, atol=1e-6)
    loaded = keras.models.load_model(path)
    assert (loaded.inputs[0].name, loaded.inputs[0].dtype) == ("token_ids", "int32")
    assert "tokenizer" not in described(serving, "saved_model")


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_texts_are_exported_checked_and_predicted(format, tmp_path):
    need(format)
    model, serving = built("text", "tagging")
    serving = dataclasses.replace(serving, examples=TEXTS.astype("U"))  # as `Serving.of` has them
    path = tmp_path / f"export{SUFFIXES.get(format, '')}"
    assert kzoo.export(model, path, data=serving, format=format).max_difference < 1e-5
    (tmp_path / "said.txt").write_text("so so, a good film")
    expected = from_model(model, serving.preprocess, serving.task)(np.array(["so so, a good film"]))
    np.testing.assert_allclose(kzoo.load_predictor(path).predict(tmp_path / "said.txt").array, expected[0], atol=1e-5)


def test_token_ids_are_returned_as_they_are():
    step = text()
    ids = step(TEXTS)
    np.testing.assert_array_equal(step(ids), ids)
    np.testing.assert_array_equal(step(np.asarray(ids)), ids)
