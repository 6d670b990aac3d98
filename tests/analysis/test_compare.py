"""Comparison of runs: the table, the differences, the picture, and errors."""

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

import kzoo
from kzoo.analysis.compare import compare, differences
from kzoo.core.files import write_json
from kzoo.core.yaml import parse_yaml, write_yaml
from kzoo.training.records import read_record
from kzoo.training.runs import CHECKPOINTS


def changed(run: Path, copy: Path, **values) -> Path:
    """Copy a run, with other values in sections of its config."""
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("tensorboard"))
    config = parse_yaml((copy / "config.yaml").read_text())
    for section, entries in values.items():
        config[section] = config[section] | entries if isinstance(entries, dict) else entries
    write_yaml(copy / "config.yaml", config)
    return copy


@pytest.fixture
def other(run, tmp_path) -> Path:
    """A run like `run` with another learning rate and seed."""
    return changed(run, tmp_path / "other", seed=7, train={"learning_rate": 0.5})


def printed(comparison) -> str:
    console = Console(width=250, record=True, file=io.StringIO())
    console.print(comparison)
    return console.export_text()


def test_the_table_has_results_and_what_differs(run, other):
    first, second = compare([run, other]).rows()
    numbers = json.loads((run / "metrics.json").read_text())
    assert (first["run"], first["model"], first["dataset"], first["epochs"]) == ("digits", "convnet", "digits", 3)
    model, _ = kzoo.load_run(run)
    assert first["parameters"] == sum(weight.numpy().size for weight in model.trainable_weights)
    assert first["test accuracy"] == numbers["accuracy"]
    assert first["95 % interval"] == numbers["accuracy_interval"]
    assert {key: second[key] for key in list(second)[9:]} == {"seed": 7, "train.learning_rate": 0.5}
    assert list(first) == list(second)


def test_the_best_epoch_is_the_one_that_fit_kept(run):
    record = read_record(run)
    model, _ = kzoo.load_run(run)
    data = kzoo.load_dataset("digits", batch_size=32)
    report = kzoo.evaluate(model, data, split="validation")
    assert record.at_best("val_accuracy") == pytest.approx(report.accuracy)
    assert record.at_best("val_crossentropy") == pytest.approx(report.loss, rel=1e-4)


def test_it_prints_one_table_and_the_notes(run, other):
    text = printed(compare([run, other]))
    assert "train.learning_rate" in text
    assert "validation accuracy" in text
    assert "key" not in text
    assert "different datasets" not in text


def test_many_differing_keys_get_lines_of_their_own(run, tmp_path):
    far = changed(
        run, tmp_path / "far", seed=1, train=dict.fromkeys(("epochs", "learning_rate", "warmup_ratio", "a[b]"), 9)
    )
    text = printed(compare([run, far]))
    header = next(line for line in text.splitlines() if line.startswith("key"))
    assert header.split() == ["key", "digits", "far"]
    assert "train.a[b]" in text


def test_a_key_that_is_not_set_has_its_default():
    configs = [
        {"train": {"epochs": 20}, "model": {"name": "resnet8", "width": 16}, "data": {"name": "digits"}},
        {"train": {}, "model": {"name": "resnet8"}, "data": {"name": "digits", "batch_size": 128, "image_size": 9}},
    ]
    assert differences(configs) == [{"data.image_size": None}, {"data.image_size": 9}]


def test_different_datasets_are_reported(run, tmp_path):
    other = changed(run, tmp_path / "other", data={"name": "mnist"})
    assert compare([run, other]).notes() == [
        "the runs use different datasets (digits, mnist): accuracies cannot be compared"
    ]


def test_a_run_that_was_not_evaluated(run, other, tmp_path):
    (other / "metrics.json").unlink()
    comparison = compare([run, other])
    assert comparison.rows()[1]["test accuracy"] is None
    assert "other is not evaluated yet: kzoo evaluate" in comparison.notes()[0]
    assert "  -  " in printed(comparison)
    assert comparison.draw(tmp_path / "both.png").stat().st_size > 1000


def test_a_run_that_was_measured_on_its_validation_split(run, other):
    metrics = json.loads((other / "metrics.json").read_text()) | {"split": "validation"}
    write_json(other / "metrics.json", metrics)
    comparison = compare([run, other])
    assert comparison.rows()[1]["test accuracy"] is None
    assert "last evaluated on its validation split" in comparison.notes()[0]


def test_a_run_that_was_measured_over_views(run, other):
    metrics = json.loads((other / "metrics.json").read_text()) | {"tta": {"flip": True}}
    write_json(other / "metrics.json", metrics)
    assert compare([run, other]).notes() == ["other was evaluated with test-time augmentation"]


def test_a_run_without_a_whole_epoch(run, other):
    (other / "history.csv").unlink()
    shutil.rmtree(other / CHECKPOINTS)  # the record of a complete training
    assert compare([run, other]).rows()[1]["epochs"] == 0


def test_runs_of_one_name_are_distinguished(run, other):
    twin = other.parent / "deeper" / "other"
    shutil.copytree(other, twin)
    assert compare([run, other, twin]).names == ("digits", str(other), str(twin))


def test_the_picture(run, other, tmp_path):
    comparison = compare([run, other])
    assert comparison.figure().axes[0].get_ylabel() == "validation cross-entropy"  # which `fit` records
    path = comparison.draw(tmp_path / "new" / "compare.png")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_json(run, other):
    content = json.loads(json.dumps(compare([run, other]).to_dict()))
    assert [row["run"] for row in content["runs"]] == ["digits", "other"]


def test_mistakes_are_explained(run, tmp_path):
    with pytest.raises(ValueError, match="compare needs two or more different runs, got .*digits"):
        compare([run])
    with pytest.raises(ValueError, match="two or more different runs"):
        compare([run, run])
    with pytest.raises(ValueError, match="two or more different runs, got none"):
        compare([])
    with pytest.raises(ValueError, match=r"is not a run directory of kzoo: it has no config.yaml"):
        compare([run, tmp_path])
    with pytest.raises(ValueError, match="cannot be written"):
        compare([run, changed(run, tmp_path / "b")]).draw(run / "config.yaml" / "a.png")


@pytest.mark.parametrize(
    "file, text", [("history.csv", "epoch,val_loss\n1,x\n"), ("metrics.json", "{"), ("config.yaml", "a")]
)
def test_a_damaged_file_is_named(file, text, run, other):
    (other / file).write_text(text)
    with pytest.raises(ValueError, match=file):
        compare([run, other])
