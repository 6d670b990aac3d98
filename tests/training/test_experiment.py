"""Configs: every one that comes with kzoo is valid, says what was seen, and runs."""

import importlib.util
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from networks import sampled
from PIL import Image

import kzoo
from kzoo.core.yaml import parse_yaml
from kzoo.data.assemble import suited, taken_by
from kzoo.data.audio import Recordings
from kzoo.data.splits import MODALITIES, Examples
from kzoo.data.timeseries.forecast import RowWindows, WindowExamples
from kzoo.data.timeseries.times import Step
from kzoo.tasks import TASKS
from kzoo.training.experiment import find_config

# One for each modality that trains in seconds on data that needs no download, and what makes it cheap.
QUICK = {
    "image/resnet8_digits": ["train.epochs=1", "model.width=8"],
    "text/charcnn_small_language_names": ["train.epochs=1", "model.filters=8", "model.dense_units=[8]"],
    "audio/bc_resnet_1_spoken_digits_synthetic": ["train.epochs=1", "data.per_class=5", "data.batch_size=8"],
    "timeseries/minirocket_italypowerdemand": ["model.num_features=500"],
}
FOLDERS = {"forecast": "timeseries"}  # of configs, where its name is not that of the modality
NEEDS = {"text": ("babel",), "audio": ("espeakng_loader",), "timeseries": ("sktime", "aeon")}


def stand_in(modality: str):
    """Return a few raw training examples in place of a set that is not here."""
    rng, labels = np.random.default_rng(0), np.arange(20, dtype="int32") % 2
    if modality == "text":
        return Examples(np.array(["a few words, and a few more"] * 20, dtype=object), labels)
    if modality == "forecast":
        windows = RowWindows(rng.normal(size=(40, 2)).astype("float32"), np.arange(20), 10)
        about = ("one", "two"), "time", Step(1.0, "numbers"), (0.0, 0.0), (1.0, 1.0)
        return WindowExamples(windows, np.zeros((20, 5, 2)), *about)
    if modality == "audio":
        return Recordings(rng.integers(-9999, 9999, (20, 8000)).astype("int16"), labels, 8000)
    shape = (28, 28, 1) if modality == "image" else (150, 1)
    return Examples(rng.integers(0, 256, (20, *shape)).astype("uint8" if modality == "image" else "float32"), labels)


@pytest.mark.parametrize("name", kzoo.list_configs())
def test_config_is_valid_and_says_what_was_seen(name):
    experiment = kzoo.load_experiment(name)
    model, dataset = experiment["model"]["name"], experiment["data"]["name"]
    called = Path(dataset.rpartition(":")[2]).name.split(".")[0].removesuffix("2012")
    modality = kzoo.dataset_card(dataset).modality
    folder = FOLDERS.get(modality, modality)
    short = f"{folder}/{kzoo.model_card(model).family}_{called.removesuffix('_synthetic')}"
    names = (f"{folder}/{model}_{called}", f"{folder}/{called}_record", f"{folder}/shift_{model}_{called}", short)
    assert name in [each.lower() for each in names]
    head = find_config(name).read_text().split("seed:")[0]
    assert f"kzoo train {name}" in head
    assert "%" in head or "MSE" in head
    assert "seed 0" in head
    assert "cores" in head


@pytest.mark.parametrize("name", sampled([(name,) for name in QUICK], list(QUICK)[:1]))
def test_config_runs(name, tmp_path):
    needs = NEEDS.get(name.split("/")[0])
    if needs and not any(map(importlib.util.find_spec, needs)):
        pytest.skip(f"needs {' or '.join(needs)}")
    experiment = kzoo.load_experiment(name, QUICK[name])
    report = kzoo.run_experiment(experiment, tmp_path / "run", verbose=False)
    assert 0 <= report.accuracy <= 1
    again = kzoo.load_experiment(tmp_path / "run" / "config.yaml")
    assert again == experiment
    assert kzoo.evaluate_run(tmp_path / "run").accuracy == report.accuracy


@pytest.mark.parametrize("name", kzoo.list_configs())
def test_config_builds_its_model_on_a_stand_in_for_its_data(name):
    experiment = kzoo.load_experiment(name)
    card = kzoo.dataset_card(experiment["data"]["name"])
    modality = card.modality
    fit = MODALITIES[modality].preprocess.fit
    preprocess = fit(stand_in(modality), **taken_by(fit, suited(TASKS[card.task]) | experiment["data"]))
    vocab_size = getattr(preprocess, "vocab_size", None)
    outputs = preprocess.input_shape[-1] if card.task == "restoration" else 10
    model = kzoo.create_model(
        input_shape=preprocess.input_shape, num_classes=outputs, vocab_size=vocab_size, **experiment["model"]
    )
    assert isinstance(model, keras.Model)


@pytest.mark.slow
def test_the_imagenet_config_takes_21_steps_on_a_folder_in_its_layout(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 4)):
        for name in ("n01440764", "n01443537", "n01484850", "n01491361"):
            folder = tmp_path / "imagenet" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                size = (60 + index, 50 + index)
                pixels = rng.integers(0, 256, (5, 6, 3), "uint8")
                Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(folder / f"{name}_{index}.JPEG")
    overrides = [f"data.name=folder:{tmp_path / 'imagenet'}", "data.batch_size=16", "data.image_size=32"]
    overrides += ["data.test=0.25", "model.width=8", "train.epochs=7", "train.gradient_accumulation_steps=2"]
    experiment = kzoo.load_experiment("image/resnet50_imagenet", overrides)
    report = kzoo.run_experiment(experiment, tmp_path / "run", verbose=False)
    assert 0 <= report.accuracy <= 1
    history = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert len(history) == 8  # seven epochs of three steps
    assert all(np.isfinite(float(cell)) for row in history[1:] for cell in row.split(",") if cell)


def test_overrides_are_yaml():
    overrides = ["train.learning_rate=1e-4", "data.augment.flip=true", "seed=5", "model.depths=[1, 1]"]
    experiment = kzoo.load_experiment("image/resnet8_digits", overrides)
    assert experiment["train"]["learning_rate"] == 1e-4
    assert experiment["data"]["augment"]["flip"] is True
    assert experiment["seed"] == 5
    assert experiment["model"]["depths"] == [1, 1]


@pytest.mark.parametrize("data", ["masks:photos", "csv:words.csv"])
def test_splits_of_files_may_be_fractions_as_well(data, tmp_path):
    """Their loaders take files or names alone, `load_dataset` a fraction, too."""
    text = "data: {name: 'NAME', validation: 0, test: 0.25}\nmodel: {name: fcn}\n".replace("NAME", data)
    (tmp_path / "config.yaml").write_text(text)
    experiment = kzoo.load_experiment(tmp_path / "config.yaml")
    assert (experiment["data"]["validation"], experiment["data"]["test"]) == (0, 0.25)
    with pytest.raises(ValueError, match="data.test must be a number, a string or None"):
        kzoo.load_experiment(tmp_path / "config.yaml", ["data.test=[1]"])


def test_numbers_are_those_of_yaml_1_2():
    assert parse_yaml("{a: 1e-3, b: 0o10, c: no}") == {"a": 1e-3, "b": 8, "c": "no"}


@pytest.mark.parametrize(
    "text, message",
    [("[1, 2]", "is not an experiment"), ("data: 3", "section 'data' must hold"), ("a: [", "not valid YAML")],
)
def test_files_that_are_no_experiment(text, message, tmp_path):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        kzoo.load_experiment(tmp_path / "x.yaml")


@pytest.mark.slow
def test_one_run_for_each_value(tmp_path):
    overrides = ["train.epochs=1", "model.width=8"]
    reports = kzoo.run_each("image/resnet8_digits", overrides, "seed=[0, 1]", tmp_path, verbose=False)
    assert list(reports) == ["seed=0", "seed=1"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["mean"] == pytest.approx(np.mean([r.accuracy for r in reports.values()]))
    assert summary["standard_deviation"] == pytest.approx(np.std([r.accuracy for r in reports.values()], ddof=1))
    assert summary["accuracy"] == {name: report.accuracy for name, report in reports.items()}
    assert json.loads((tmp_path / "seed=1" / "environment.json").read_text())["seed"] == 1
    with pytest.raises(ValueError, match=r"expected section.key=\[VALUE, VALUE, ...\], got 'seed=3'"):
        kzoo.run_each("image/resnet8_digits", [], "seed=3", tmp_path)
