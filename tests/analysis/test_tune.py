"""Hyperparameter search: fields and ranges in YAML, kept in a directory, resumed, pruned by validation."""

import csv
from types import SimpleNamespace

import pytest

import kzoo
from kzoo.analysis import tune as module
from kzoo.tasks.task import Score

CONFIG = """
data: {name: digits, limit: 100, batch_size: 50}
model: {name: mlp, units: [8]}
train: {epochs: 2}
tune:
  train.learning_rate: {low: 1e-4, high: 1e-1, log: true}
  train.optimizer: [adam, sgd]
"""


@pytest.fixture
def config(tmp_path):
    """Return the path of an experiment with a search space."""
    (tmp_path / "small.yaml").write_text(CONFIG)
    return tmp_path / "small.yaml"


def test_a_search_is_kept_and_resumed(config, tmp_path, capsys):
    pytest.importorskip("optuna")
    first = kzoo.tune(config, out=tmp_path / "search", trials=2)
    assert [trial.number for trial in first.trials] == [0, 1]
    assert "trial 1 reached" in capsys.readouterr().out
    found = kzoo.tune(config, out=tmp_path / "search", trials=3)
    assert found.trials[:2] == first.trials
    assert len(found.trials) == 3
    for trial in found.trials:
        assert 1e-4 <= trial.parameters["train.learning_rate"] <= 1e-1
        assert trial.parameters["train.optimizer"] in ("adam", "sgd")
    assert found.best.score == max(trial.score for trial in found.trials)
    with (tmp_path / "search" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["accuracy"]) == found.best.score
    assert (tmp_path / "search" / "tune.png").stat().st_size > 5000
    assert f'train.optimizer="{found.best.parameters["train.optimizer"]}"' in found.command
    assert "3 trials: 3 complete; validation accuracy" in str(found)
    config.write_text(CONFIG.replace("1e-4", "1e-3"))
    with pytest.raises(ValueError, match="holds a search of another experiment or space"):
        kzoo.tune(config, out=tmp_path / "search", trials=4)


@pytest.mark.parametrize("up, best", [(True, 0.8), (False, 0.2)])
def test_a_trial_that_is_to_be_pruned_stops(up, best):
    reported = {}
    trial = SimpleNamespace(
        report=lambda value, epoch: reported.update({epoch: value}), should_prune=lambda: len(reported) == 2
    )
    watch = module.watching(trial, Score("accuracy", up))
    watch.set_model(SimpleNamespace(stop_training=False))
    for epoch, value in enumerate((0.8, 0.2)):
        assert not watch.model.stop_training
        watch.on_epoch_end(epoch, {"val_accuracy": value})
    assert (watch.best, watch.pruned, watch.model.stop_training) == (best, True, True)
    assert reported == {0: 0.8, 1: 0.2}


def test_the_space_is_no_part_of_a_run(config):
    assert "tune" not in kzoo.load_experiment(config)


@pytest.mark.parametrize(
    "before, after, message",
    [
        ("tune:", "tun:", "has no section tune with fields and their ranges"),
        ("train.optimizer", "train.optimiser", "unknown key 'optimiser' in 'train'"),
        ("[adam, sgd]", "[adam, sgdd]", "unknown optimizer 'sgdd'"),
        ("[adam, sgd]", "adam", "train.optimizer must be a list of values, or have low and high, got 'adam'"),
        ("[adam, sgd]", "[adam]", "must be a list of values"),
        ("high: 1e-1", "hihg: 1e-1", "must be a list of values, or have low and high"),
        ("log: true", "lgo: true", "unknown key 'lgo' of the range of train.learning_rate; did you mean lo"),
        ("low: 1e-4", "low: 1", "needs low < high and a positive step"),
        ("low: 1e-4", "low: 0", "with log needs positive values and no step"),
        ("low: 1e-4", "low: small", "low, high and step of train.learning_rate must be numbers"),
    ],
)
def test_mistakes_are_explained_before_any_training(before, after, message, config):
    config.write_text(CONFIG.replace(before, after))
    with pytest.raises(ValueError, match=message):
        module.prepare(config, ())


def test_a_config_without_a_space_says_so():
    with pytest.raises(ValueError, match="image/resnet8_digits has no section tune"):
        module.prepare("image/resnet8_digits", ())
