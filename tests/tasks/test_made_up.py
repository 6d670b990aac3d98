"""A task is one class and one row of `TASKS`: ordinal classes are trained, evaluated, exported, served and shown."""

import json
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import kzoo
from kzoo.data.splits import DATASETS, DatasetCard, Examples, RawData
from kzoo.tasks import TASKS, Classification, Task, report_from
from kzoo.tasks.classification import ClassificationReport
from kzoo.tasks.losses import TaggingLoss


@dataclass(frozen=True)
class Ordinal(Classification):
    """Classes in an order: output n says whether the class is above the n-th (Frank and Hall, 2001)."""

    key: ClassVar[str] = "ordinal"
    outputs = property(lambda self: len(self.names) - 1)

    def answers(self, outputs):
        rows = Task.answers(self, outputs)
        return rows / rows.sum(axis=-1, keepdims=True)

    def encode(self, targets):
        return (np.asarray(targets)[:, None] > np.arange(self.outputs)).astype("float32")

    def loss(self, targets=None):
        return TaggingLoss()

    def metrics(self):
        return [keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)]

    def decode(self, outputs):
        above = keras.ops.sigmoid(keras.ops.cast(outputs, "float32"))
        ends = keras.ops.ones_like(above[:, :1]), keras.ops.zeros_like(above[:, :1])
        steps = keras.ops.concatenate([ends[0], above, ends[1]], axis=-1)
        return {self.answer: keras.ops.relu(steps[:, :-1] - steps[:, 1:])}

    def report(self, *arguments):
        return OrdinalReport(**vars(super().report(*arguments)))


@dataclass(frozen=True, repr=False, kw_only=True)
class OrdinalReport(ClassificationReport):
    """The report of a classification."""

    task: ClassVar[type[Task]] = Ordinal


NAMES = ("none", "one", "two", "three")


def few_digits() -> RawData:
    """Digits from 0 to 3."""
    images, labels = load_digits(n_class=4, return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) * 15).astype("uint8")
    return RawData(Examples(images, labels.astype("int32")), None, None, NAMES, task=Ordinal(NAMES))


@pytest.fixture
def registered(monkeypatch):
    """Make the task and its dataset known, one row each."""
    monkeypatch.setitem(TASKS, Ordinal.key, Ordinal)
    card = DatasetCard("few_digits", "image", "Digits from 0 to 3.", "scikit-learn", few_digits)
    monkeypatch.setitem(DATASETS, card.name, card)


def test_a_task_made_up_by_the_user_goes_all_the_way(registered, tmp_path, capsys):
    config = tmp_path / "few.yaml"
    config.write_text(
        "data: {name: few_digits, batch_size: 64}\n"
        "model: {name: convnet, filters: [16], padding: same}\ntrain: {epochs: 4, learning_rate: 1e-2}\n"
    )
    run = tmp_path / "run"
    report = kzoo.run_experiment(kzoo.load_experiment(config), run, verbose=False)
    assert isinstance(report, OrdinalReport)
    assert report.accuracy > 0.8
    assert report_from(json.loads((run / "metrics.json").read_text())).accuracy == report.accuracy
    assert "Confusion matrix" in (run / "report.html").read_text()
    model, serving = kzoo.load_run(run)
    assert (serving.task, model.output_shape) == (Ordinal(NAMES), (None, 3))
    exported = kzoo.export(model, tmp_path / "export", data=serving)
    assert exported.max_difference < 1e-4
    rows = kzoo.load_predictor(tmp_path / "export").predict(serving.examples)
    assert rows.shape == (16, 4)
    np.testing.assert_allclose(rows, kzoo.load_predictor(run).predict(serving.examples), atol=1e-4)
    answer = serving.task.describe(rows[0])
    assert answer["label"] in NAMES
    assert set(serving.task.cells(answer)) == {"label", "probability"}
    print(kzoo.load_dataset("few_digits"))
    print(report)
    shown = capsys.readouterr().out
    assert "task ordinal" in shown
    assert "4 classes: none, one, two, three" in shown
    assert f"test accuracy {100 * report.accuracy:.2f} %" in shown


def test_it_is_unknown_without_its_row():
    with pytest.raises(ValueError, match="unknown task 'ordinal'"):
        report_from({"task": "ordinal"})
