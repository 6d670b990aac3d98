"""Configs: every one that comes with kzoo is valid, says what was seen, and runs."""

import json

import keras
import numpy as np
import pytest

import kzoo
from kzoo.experiment import find_config
from kzoo.yaml import parse_yaml

NO_DOWNLOAD = ("digits",)


@pytest.mark.parametrize("name", kzoo.list_configs())
def test_config_is_valid_and_says_what_was_seen(name):
    experiment = kzoo.load_experiment(name)
    modality = kzoo.dataset_card(experiment["data"]["name"]).modality
    model, dataset = experiment["model"]["name"], experiment["data"]["name"]
    assert name == f"{modality}/{model}_{dataset}".lower()
    head = find_config(name).read_text().split("seed:")[0]
    assert f"kzoo train {name}" in head
    assert "%" in head
    assert "seed 0" in head
    assert "cores" in head


@pytest.mark.parametrize("name", [c for c in kzoo.list_configs() if c.endswith(NO_DOWNLOAD)])
def test_config_runs(name, tmp_path):
    experiment = kzoo.load_experiment(name, ["train.epochs=1", "model.width=8"])
    report = kzoo.run_experiment(experiment, tmp_path / "run", verbose=False)
    assert 0 < report.accuracy <= 1
    again = kzoo.load_experiment(tmp_path / "run" / "config.yaml")
    assert again == experiment
    assert kzoo.evaluate_run(tmp_path / "run").accuracy == report.accuracy


@pytest.mark.parametrize("name", kzoo.list_configs())
def test_config_builds_its_model_on_a_stand_in_for_its_data(name):
    options = dict(kzoo.load_experiment(name)["model"])
    shape = (28, 28, 1) if name.startswith("image/") else (150, 1)
    model = kzoo.create_model(options.pop("name"), shape, 10, **options)
    assert isinstance(model, keras.Model)


def test_overrides_are_yaml():
    overrides = ["train.learning_rate=1e-4", "data.augment.flip=true", "seed=5", "model.depths=[1, 1]"]
    experiment = kzoo.load_experiment("image/resnet8_digits", overrides)
    assert experiment["train"]["learning_rate"] == 1e-4
    assert experiment["data"]["augment"]["flip"] is True
    assert experiment["seed"] == 5
    assert experiment["model"]["depths"] == [1, 1]


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


def test_one_run_for_each_value(tmp_path):
    overrides = ["train.epochs=1", "model.width=8"]
    reports = kzoo.run_each("image/resnet8_digits", overrides, "seed=[0, 1]", tmp_path, verbose=False)
    assert list(reports) == ["seed=0", "seed=1"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["mean"] == pytest.approx(np.mean([r.accuracy for r in reports.values()]))
    assert summary["accuracy"] == {name: report.accuracy for name, report in reports.items()}
    assert json.loads((tmp_path / "seed=1" / "environment.json").read_text())["seed"] == 1
    with pytest.raises(ValueError, match=r"expected section.key=\[VALUE, VALUE, ...\], got 'seed=3'"):
        kzoo.run_each("image/resnet8_digits", [], "seed=3", tmp_path)
