"""Shared models: a folder brings a network back bit for bit, in a new process too; the hub is a folder with a name."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hub_files import fill_cache

import kzoo
from kzoo.core.onednn import onednn_is_on
from kzoo.core.yaml import parse_yaml
from kzoo.data.serving import Serving
from kzoo.serving import share
from kzoo.training.experiment import evaluate_run
from kzoo.zoo import hub, shared

LARGEST = 5e6  # bytes of all trained models in the package
PROGRAM = """
import sys, numpy as np, kzoo
np.save(sys.argv[3], kzoo.load_model(sys.argv[1]).answers(np.load(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory) -> Path:
    """A shared model of a run of the digits."""
    terms = {"license": "apache-2.0", "data_license": "public", "limitations": "It reads one digit a picture."}
    return kzoo.save_pretrained(run, tmp_path_factory.mktemp("shared") / "digits", **terms)


@pytest.fixture
def offline(tmp_path, monkeypatch) -> Path:
    """An empty cache of huggingface_hub, which is told that there is no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same_weights(first: keras.Model, second: keras.Model) -> bool:
    return all(map(np.array_equal, first.get_weights(), second.get_weights()))


def test_a_folder_brings_a_run_back_bit_for_bit(run, folder, digits):
    before, serving = kzoo.load_run(run)
    after, again = kzoo.load_run(folder)
    assert after.registered_name == before.registered_name
    assert (again.modality, again.preprocess, again.task) == (serving.modality, serving.preprocess, serving.task)
    raw = digits.examples["test"].inputs[:20]
    inputs = np.asarray(serving.preprocess(raw))
    np.testing.assert_array_equal(before.predict(inputs, verbose=0), after.predict(inputs, verbose=0))
    predictor = kzoo.load_model(folder)
    assert same_weights(predictor.model, before)
    np.testing.assert_array_equal(predictor.answers(raw), kzoo.load_model(run).answers(raw))
    assert [one.label for one in kzoo.load_predictor(folder).predict_files([])] == []


@pytest.mark.slow
def test_a_new_process_gives_the_same_answers(run, folder, digits, tmp_path):
    raw, out = tmp_path / "raw.npy", tmp_path / "answers.npy"
    np.save(raw, digits.examples["test"].inputs[:20])
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": str(int(onednn_is_on()))}  # the same arithmetic
    subprocess.run([sys.executable, "-c", PROGRAM, folder, raw, out], check=True, capture_output=True, env=environment)
    np.testing.assert_array_equal(np.load(out), kzoo.load_model(run).answers(np.load(raw)))


@pytest.mark.slow
def test_a_shared_model_is_exported_and_compared_on_random_examples(folder, tmp_path):
    model, serving = kzoo.load_run(folder)
    assert "on 16 random examples" in str(kzoo.export(model, tmp_path / "digits.keras", data=serving, format="keras"))


def test_a_shared_model_is_evaluated_on_the_data_it_was_trained_on(run, folder):
    assert evaluate_run(folder).accuracy == json.loads((run / "metrics.json").read_text())["accuracy"]
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}


def test_the_card_has_what_the_hub_reads_and_what_was_measured(run, folder):
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    fields, measured = parse_yaml(front), json.loads((run / "metrics.json").read_text())
    assert (fields["license"], fields["pipeline_tag"]) == ("apache-2.0", "image-classification")
    (result,) = fields["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": round(measured["accuracy"], 6)}]
    for part in ("| accuracy |", "```yaml\nseed: 0", "It reads one digit a picture.", "- Data: public", "`convnet`"):
        assert part in text


def test_half_the_digits_take_half_the_space(run, folder, tmp_path):
    small = kzoo.save_pretrained(run, tmp_path / "small", dtype="float16")
    sizes = [(path / "model.safetensors").stat().st_size for path in (folder, small)]
    assert sizes[1] < 0.6 * sizes[0]
    rounded = [value.astype("float16").astype("float32") for value in kzoo.load_run(run)[0].get_weights()]
    assert all(map(np.array_equal, kzoo.load_run(small)[0].get_weights(), rounded))
    assert same_weights(kzoo.load_run(kzoo.save_pretrained(small, tmp_path / "again"))[0], kzoo.load_run(small)[0])


def test_a_shared_model_is_what_a_network_starts_from(folder):
    with pytest.warns(UserWarning, match="10 classes in place of 3"):
        model = kzoo.models.convnet((8, 8, 1), 3, padding="same", dropout=0.0, weights=folder)
    trained = kzoo.load_run(folder)[0]
    assert np.array_equal(model.get_weights()[0], trained.get_weights()[0])
    assert model.preprocess == trained.trained_with.preprocess


def test_a_repository_is_a_folder_with_a_name(folder, offline):
    fill_cache(offline, folder, "me/digits")
    model, _ = kzoo.load_run("hf://me/digits")
    assert same_weights(model, kzoo.load_run(folder)[0])
    assert kzoo.load_model("hf://me/digits").class_names == tuple("0123456789")
    assert hub.find("hf://me/digits").num_classes == 10
    with pytest.raises(ValueError, match="config.json of me/letters cannot be downloaded"):
        kzoo.load_model("hf://me/letters")


class Api:
    """Stands for huggingface_hub's: it keeps what is uploaded, or refuses it."""

    uploaded = None
    error = None

    def create_repo(self, repo_id, *, private, exist_ok):
        if self.error:
            raise self.error
        self.uploaded["made"] = (repo_id, private, exist_ok)
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        self.uploaded[repo_id] = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}


def test_a_push_uploads_the_folder_under_its_name(run, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(Api, "uploaded", {})
    assert kzoo.push(run, "hf://me/digits", private=True, license="mit") == "https://huggingface.co/me/digits"
    assert Api.uploaded["made"] == ("me/digits", True, True)
    files = Api.uploaded["me/digits"]
    assert set(files) == {"config.json", "model.safetensors", "README.md"}
    assert b"kzoo predict hf://me/digits photo.png" in files["README.md"]
    assert b"license: mit" in files["README.md"]
    monkeypatch.setattr(Api, "error", OSError("401 Unauthorized"))
    with pytest.raises(
        ValueError, match=r"me/digits cannot be uploaded \(OSError: 401 Unauthorized\); `hf auth login`"
    ):
        kzoo.push(run, "hf://me/digits")


@pytest.mark.parametrize("name", ["me/digits", "hf://digits", "hf://me/digits/more", "hf://"])
def test_a_push_needs_the_name_of_a_repository(run, name):
    with pytest.raises(ValueError, match="expected a repository of the Hugging Face Hub as hf://user/name, got"):
        kzoo.push(run, name)


def test_what_is_damaged_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "shared")
    weights = tmp_path / "shared" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="model.safetensors is damaged: its sha256"):
        kzoo.load_model(tmp_path / "shared")
    description = tmp_path / "shared" / "config.json"
    description.write_text(description.read_text().replace('"classification"', '"tagging"'))
    with pytest.raises(ValueError, match="config.json cannot be read: it is damaged"):
        kzoo.load_run(tmp_path / "shared")


def test_nothing_is_replaced(run, folder):
    with pytest.raises(ValueError, match="is there already and not empty; choose another folder"):
        kzoo.save_pretrained(run, folder)


def test_mistakes_are_explained(run, folder, tmp_path):
    model, serving = kzoo.load_run(folder)
    with pytest.raises(ValueError, match="convnet is a network, whose preprocessing and task data= must give"):
        kzoo.save_pretrained(model, tmp_path / "a")
    with pytest.raises(ValueError, match="has data and metrics of its own"):
        kzoo.save_pretrained(run, tmp_path / "a", data=serving)
    with pytest.raises(ValueError, match="unknown dtype 'int4'"):
        kzoo.save_pretrained(run, tmp_path / "a", dtype="int4")
    with pytest.raises(ValueError, match="nowhere is not a run directory"):
        kzoo.save_pretrained("nowhere", tmp_path / "a")
    model.weights[0].assign(np.full(model.weights[0].shape, 1e6))
    with pytest.raises(ValueError, match="has values that float16 cannot hold"):
        kzoo.save_pretrained(model, tmp_path / "a", data=serving, dtype="float16")
    assert not any(tmp_path.iterdir())


def test_a_layer_of_ones_own_is_refused(digits, tmp_path):
    class Doubled(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(Doubled()(inputs))))
    with pytest.raises(ValueError, match="has a Doubled of .*, which another process would not know"):
        kzoo.save_pretrained(model, tmp_path / "a", data=Serving.of(digits))


def test_a_layer_that_holds_code_is_refused(folder, tmp_path):
    """`config.json` is data: a Lambda in it is not loaded."""
    inputs = keras.Input((8, 8, 1))
    evil = keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).to_json()
    shutil.copytree(folder, tmp_path / "shared")
    content = json.loads((folder / "config.json").read_text()) | {"graph": evil}
    shared.write_json(tmp_path / "shared" / "config.json", content)
    with pytest.raises(ValueError, match="config.json cannot be read: .*[Ll]ambda"):
        kzoo.load_model(tmp_path / "shared")


@pytest.mark.parametrize("name", kzoo.list_trained())
def test_the_trained_models_answer_after_the_installation(name):
    folder = shared.find(name)
    content, (model, serving) = shared.describe(folder), kzoo.load_run(name)
    answers = kzoo.load_model(name).answers(serving.examples[:2])
    assert len(answers) == 2
    assert np.isfinite(answers).all()
    assert content["dtype"] == "float16"
    assert 0 <= content["metrics"][content["metrics"]["score"]] <= 1
    assert all(content["terms"].values())
    assert model.count_params() * 2 < 2e6


def test_the_trained_models_are_small_and_part_of_the_wheel():
    files = [path for path in shared.TRAINED.rglob("*") if path.is_file()]
    assert files
    assert sum(path.stat().st_size for path in files) < LARGEST
    assert {path.name for path in files} == {"config.json", "model.safetensors", "README.md"}
    assert "kzoo.zoo = *.csv, trained/*/*" in (Path(kzoo.__file__).parents[1] / "setup.cfg").read_text()


@pytest.mark.slow
def test_the_figure_on_a_card_is_seen_again(shared_data, tmp_path):
    names = kzoo.load_model("kzoo/questions").class_names
    lines = (shared_data / "text" / "TREC.test.all").read_text("latin-1").strip().split("\n")
    (tmp_path / "questions").write_text("".join(f"{names[int(line[0])]}{line[1:]}\n" for line in lines))
    report = kzoo.evaluate_on("kzoo/questions", f"labelled:{tmp_path / 'questions'}")
    metrics = shared.describe(shared.find("kzoo/questions"))["metrics"]
    assert report.examples == metrics["examples"] == 500
    assert report.accuracy == metrics["accuracy"]


def test_metrics_of_a_report_leave_out_the_classes(run, digits):
    report = kzoo.evaluate(kzoo.load_run(run)[0], digits)
    found = share.metrics_of(report)
    assert found["accuracy"] == report.accuracy
    assert not {"per_class", "confusion", "mistakes", "examples_per_second"} & found.keys()
