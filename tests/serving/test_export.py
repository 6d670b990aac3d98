"""Export: every format gives the probabilities of the Keras model; stable names; errors."""

import contextlib
import dataclasses
import errno
import importlib.util
import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from networks import sampled

import kzoo
from kzoo.serving.export import (
    FORMATS,
    PACKAGES,
    SUFFIXES,
    check_target,
    exchange,
    write_saved_model,
)
from kzoo.serving.formats import serving_model
from kzoo.serving.serve import LOADERS
from kzoo.zoo.weights.files import PICKLES, READERS


@pytest.fixture(scope="module")
def model_and_serving(run):
    return kzoo.load_run(run)


@pytest.mark.parametrize("format", [pytest.param(f, marks=pytest.mark.slow) if f == "keras" else f for f in FORMATS])
def test_each_format_gives_the_answers_of_keras(format, model_and_serving, digits, tmp_path):
    for package in PACKAGES.get(format, ()):
        pytest.importorskip(package)
    model, serving = model_and_serving
    path = tmp_path / f"export{SUFFIXES.get(format, '')}"
    exported = kzoo.export(model, path, data=serving, format=format)
    assert exported.max_difference < 1e-5
    assert exported.examples == 16
    predictor = kzoo.load_predictor(path)
    raw = digits.examples["test"].inputs[:7]
    expected = keras.ops.softmax(model(digits.preprocess(keras.ops.convert_to_tensor(raw)), training=False))
    np.testing.assert_allclose(predictor.predict(raw), expected, atol=1e-5)
    assert {p.name for p in tmp_path.iterdir()} <= {path.name, f"{path.name}.kzoo.json"}


def test_a_model_that_was_trained_in_this_process_is_exported(digits, tmp_path):
    """Its loss and its schedule, which Keras alone cannot load, stay out of the file."""
    few = {split: examples.take(np.arange(64)) for split, examples in digits.examples.items()}
    data = dataclasses.replace(digits, examples=few)
    model = kzoo.create_model("convnet", data.input_shape, 10, padding="same", filters=(4,))
    kzoo.fit(model, data, epochs=1, verbose=False)
    exported = kzoo.export(model, tmp_path / "m.keras", data=data, format="keras")
    assert exported.max_difference < 1e-5
    assert "differ from the Keras model's by at most" in str(exported)


def test_names_do_not_depend_on_what_the_process_built_before(model_and_serving):
    first, second = (serving_model(*model_and_serving) for _ in range(2))
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
    assert first.layers[0].name == first.inputs[0].name == "raw"
    assert first.layers[-1].name == "probabilities"
    network = first.get_layer(model_and_serving[0].name)
    assert [layer.name for layer in network.layers] == [layer.name for layer in model_and_serving[0].layers]


def test_two_saved_models_of_one_process_have_one_signature(model_and_serving, tmp_path):
    import tensorflow as tf

    signatures = []
    for name in ("first", "second"):
        write_saved_model(*model_and_serving, tmp_path / name)
        serve = tf.saved_model.load(str(tmp_path / name)).signatures["serve"]
        signatures.append((str(serve.structured_input_signature), str(sorted(serve.structured_outputs.items()))))
    assert signatures[0] == signatures[1]
    assert "'raw': TensorSpec(shape=(None, None, None, 1), dtype=tf.uint8, name='raw')" in signatures[0][0]


def test_onnx_and_litert_name_input_and_output(model_and_serving, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    model, serving = model_and_serving
    FORMATS["onnx"](model, serving, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert [each.name for each in (*session.get_inputs(), *session.get_outputs())] == ["raw", "probabilities"]
    FORMATS["litert"](model, serving, tmp_path / "m.tflite")
    signature = interpreter.Interpreter(str(tmp_path / "m.tflite")).get_signature_list()["serving_default"]
    assert signature == {"inputs": ["raw"], "outputs": ["probabilities"]}


def test_the_served_signature_takes_images_of_any_size_and_names_its_answer(model_and_serving, tmp_path):
    import tensorflow as tf

    model, serving = model_and_serving
    write_saved_model(model, serving, tmp_path / "saved")
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serve"]
    for size in (8, 13, 31):
        answer = serve(raw=tf.zeros((3, size, size + 1, 1), tf.uint8))
        assert set(answer) == {"probabilities", "label", "class_names"}
        assert answer["probabilities"].shape == (3, 10)
        best = answer["probabilities"].numpy().argmax(axis=-1)
        assert answer["label"].numpy().tolist() == answer["class_names"].numpy()[best].tolist()
    assert answer["class_names"].numpy().tolist() == [name.encode() for name in serving.class_names]


def test_an_image_resized_ahead_equals_one_resized_when_served(model_and_serving, tmp_path):
    from kzoo.data.image import Geometry, resized
    from kzoo.serving.serve import from_model

    model, serving = model_and_serving
    predict = from_model(model, serving.preprocess, serving.task)
    raw = np.random.default_rng(0).integers(0, 256, size=(2, 30, 20, 1), dtype="uint8")
    np.testing.assert_allclose(predict(raw), predict(resized(raw, Geometry(8))), atol=5e-3)  # a level in a few pixels


def test_an_existing_path_is_kept(model_and_serving, tmp_path):
    model, serving = model_and_serving
    (tmp_path / "m.keras").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        kzoo.export(model, tmp_path / "m.keras", data=serving, format="keras")
    with pytest.raises(ValueError, match=r"m.keras has no description by kzoo beside it .m.keras.kzoo.json.; only an "):
        kzoo.export(model, tmp_path / "m.keras", data=serving, format="keras", overwrite=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"m.keras": "mine"}


@pytest.mark.parametrize("format", sampled([("keras",), ("saved_model",)], ("keras",)))
@pytest.mark.slow
def test_an_earlier_export_is_replaced(format, model_and_serving, tmp_path):
    model, serving = model_and_serving
    target = tmp_path / f"m{SUFFIXES.get(format, '')}"
    for _ in range(2):
        kzoo.export(model, target, data=serving, format=format, overwrite=True)
    assert kzoo.load_predictor(target).class_names == serving.class_names
    assert {path.name for path in tmp_path.iterdir()} <= {target.name, f"{target.name}.kzoo.json"}


def own_files(folder: Path, description: Path) -> None:
    """Write what an export consists of, for all that the check of a target looks at."""
    content = {"format": "saved_model", "class_names": [], "preprocess": {}, "modality": "image"}
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("")
    description.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "add, reason",
    [
        (lambda folder: None, None),
        (lambda folder: (folder / "kzoo.json").unlink(), "has no description by kzoo in it .kzoo.json."),
        (lambda folder: (folder / "kzoo.json").write_text("[]"), "has no description by kzoo in it"),
        (lambda folder: (folder / "kzoo.json").write_text('{"format": []}'), "has no description by kzoo in it"),
        (lambda folder: (folder / "notes.txt").write_text(""), "a file that is no part of an export, notes.txt"),
        (lambda folder: (folder / "variables/x.csv").write_text(""), "no part of an export, variables/x.csv"),
        (lambda folder: (folder / "model.keras").write_text(""), "is a run directory"),
        (lambda folder: (folder / "checkpoints").mkdir(), "is a run directory"),
        (lambda folder: (folder / "runs/a").mkdir(parents=True), "no part of an export, runs"),
    ],
)
def test_only_an_export_of_kzoo_is_ever_replaced(add, reason, tmp_path):
    folder = tmp_path / "served"
    own_files(folder, folder / "kzoo.json")
    add(folder)
    with contextlib.nullcontext() if reason is None else pytest.raises(ValueError, match=reason):
        check_target(folder, "saved_model", overwrite=True)


def test_links_and_the_working_directory_with_its_parents_are_never_replaced(tmp_path, monkeypatch):
    folder = tmp_path / "served"
    own_files(folder, folder / "kzoo.json")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ValueError, match="link is a symbolic link"):
        check_target(tmp_path / "link", "saved_model", overwrite=True)
    for place in (folder, folder / "variables"):
        monkeypatch.chdir(place)
        for target in (folder, Path(os.path.relpath(folder))):
            with pytest.raises(ValueError, match="is the working directory, or a parent of it"):
                check_target(target, "saved_model", overwrite=True)


def test_the_run_itself_is_not_replaced(run, model_and_serving):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    model, serving = model_and_serving
    for target, format in ((run, "saved_model"), (run / "model.keras", "keras"), (run.parent, "saved_model")):
        with pytest.raises(ValueError, match="only an export of kzoo is ever replaced"):
            kzoo.export(model, target, data=serving, format=format, overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


@pytest.mark.parametrize("fail_at", [1, 2, 3, 4])
def test_an_export_that_cannot_be_moved_leaves_the_old_one(fail_at, tmp_path, monkeypatch):
    """Any of the four renames may fail: of the old file and its description, and of the new ones."""
    new, target = tmp_path / "new" / "m.keras", tmp_path / "m.keras"
    new.parent.mkdir()
    for path in (new, target):
        path.write_text(path.parent.name)
        path.with_name("m.keras.kzoo.json").write_text(path.parent.name)
    calls = []

    def rename(origin, destination):
        calls.append(origin)
        if len(calls) == fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.replace(origin, destination)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="No space left"):
        exchange(new, target, tmp_path / "new" / ".old")
    assert target.read_text() == target.with_name("m.keras.kzoo.json").read_text() == tmp_path.name


def test_mistakes_are_explained(model_and_serving, tmp_path, monkeypatch):
    model, serving = model_and_serving
    with pytest.raises(ValueError, match="unknown format 'onx'; did you mean onnx"):
        kzoo.export(model, tmp_path / "x", data=serving, format="onx")
    with pytest.raises(ValueError, match="must end in .onnx"):
        kzoo.export(model, tmp_path / "x", data=serving, format="onnx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package openvino; .*pip install '\.\[export\]'"):
        kzoo.export(model, tmp_path / "x", data=serving, format="openvino")


def test_a_wrong_export_is_not_written(model_and_serving, tmp_path, monkeypatch):
    model, serving = model_and_serving
    other = kzoo.create_model("convnet", (8, 8, 1), 10, padding="same")
    original = FORMATS["keras"]
    monkeypatch.setitem(FORMATS, "keras", lambda _, serving, path: original(other, serving, path))
    with pytest.raises(ValueError, match="probabilities, by up to|probabilities differ by up to"):
        kzoo.export(model, tmp_path / "m.keras", data=serving, format="keras")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_leaves_what_was_there(exists, model_and_serving, tmp_path, monkeypatch):
    def write_half(model, serving, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    model, serving = model_and_serving
    target = tmp_path / "m.keras"
    if exists:
        kzoo.export(model, target, data=serving, format="keras")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setitem(FORMATS, "keras", write_half)
    with pytest.raises(ValueError, match="m.keras cannot be written: No space left on device; nothing was changed"):
        kzoo.export(model, target, data=serving, format="keras", overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_documentation_says_of_each_format_whether_it_can_run_code():
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    trust = page.partition("## Trust")[2]
    assert "Only load SavedModels that you trust" in trust
    named = {name for row in trust.splitlines() if row.startswith("|") for name in re.findall("`(.*?)`", row)}
    assert named >= {*FORMATS, *READERS, *PICKLES} - {".pickle"}


def changed_weights(path: Path, out: Path, change) -> None:
    """Copy a .keras file, with a change of the HDF5 file inside."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "a") as content:
        change(content)
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in (members | {"model.weights.h5": weights.getvalue()}).items():
            archive.writestr(name, content)


def bomb(content: h5py.File) -> None:
    content.create_dataset("bomb", (10**9,), "float32", chunks=(1000,))


def link(content: h5py.File) -> None:
    content["link"] = h5py.ExternalLink("/etc/passwd", "/")


@pytest.mark.parametrize(
    "change, message",
    [(bomb, "would unpack to 4,000,"), (link, "link is an external link, to /etc/passwd:/"), (None, "not a zip")],
)
def test_a_keras_file_is_checked_before_keras_reads_it(change, message, run, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    if change:
        changed_weights(run / "model.keras", copied / "model.keras", change)
    else:
        (copied / "model.keras").write_bytes((run / "model.keras").read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"model.keras .*{message}"):
        kzoo.load_run(copied)
    with pytest.raises(ValueError, match=f"model.keras .*{message}"):
        LOADERS["keras"][0](copied / "model.keras")
