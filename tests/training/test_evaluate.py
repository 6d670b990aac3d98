"""Evaluation: each metric against a value worked out by hand, the pictures, test-time augmentation."""

import dataclasses
import errno
import io
import json
import os
import shutil

import numpy as np
import pytest
from rich.console import Console
from scipy.special import softmax
from sklearn.metrics import f1_score

import kzoo
from kzoo.data.tta import views_of
from kzoo.tasks import Classification, Regression, StepClassification, StepTagging, Tagging, report_from
from kzoo.tasks.classification import (
    ClassificationReport,
    calibration_error,
    classification_report,
    draw_confusion,
    draw_mistakes,
)
from kzoo.training import runs
from kzoo.training.evaluate import mean_over_views, write_report

LABELS = np.array([0, 0, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])


@pytest.fixture
def report():
    return classification_report("test", LABELS, PROBABILITIES, ("cat", "dog"), 10.0)


def test_numbers(report):
    assert report.accuracy == 0.75
    assert report.accuracy_interval == pytest.approx((0.3006, 0.9544), abs=1e-4)  # Wilson, 3 of 4
    assert report.loss == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.7]).mean())
    assert report.per_class["cat"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "examples": 2}
    assert report.confusion == [[1, 1], [0, 2]]
    assert report.top5_accuracy is None
    assert report.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert report.per_group is None


@pytest.mark.parametrize("labels", [[0, 0, 1, 3, 3], [0, 0, 2, 2, 2]])
def test_macro_f1_is_that_of_scikit_learn_without_classes_that_neither_occur_nor_are_predicted(labels):
    """Predicted are 0, 0, 1, 1, 3: of five classes the last is never there; others are only predicted, or missed."""
    predicted, names = np.array([0, 0, 1, 1, 3]), ("a", "b", "c", "d", "e")
    report = classification_report("test", np.array(labels), np.eye(5)[predicted], names, 1.0)
    assert report.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    defined = f1_score(labels, predicted, average=None, labels=range(5), zero_division=np.nan)
    assert report.macro_f1 == pytest.approx(np.nanmean(defined))
    assert report.per_class["e"]["f1"] == 0


def test_accuracy_of_each_group():
    speakers = np.array(["ann", "bob", "bob", "ann"])
    task = Classification(("cat", "dog"))
    report = task.report_with_groups("test", LABELS, PROBABILITIES, 10.0, speakers)
    expected = {"ann": {"accuracy": 1.0, "examples": 2}, "bob": {"accuracy": 0.5, "examples": 2}}
    assert report.per_group == expected
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(report)
    text = console.export_text()
    assert text.index("bob") < text.index("ann")  # the lowest first


GROUPS = np.array(["ann", "bob", "bob", "ann"])
NAN = float("nan")
OF_EACH_TASK = [  # targets, answers, and the score of each group
    (Classification(("cat", "dog")), LABELS, PROBABILITIES, {"ann": 1.0, "bob": 0.5}),
    (Tagging(("a", "b")), np.array([[1, 0], [0, 0], [0, 0], [0, 1]]), PROBABILITIES, {"ann": 1.0, "bob": None}),
    (
        Regression(("a",)),
        np.array([[1.0], [2], [3], [NAN]]),
        np.array([[2.0], [2], [5], [5]]),
        {"ann": 1.0, "bob": 1.0},
    ),
    (
        StepClassification(("cat", "dog")),
        np.array([[0, -1], [1, 0], [0, -1], [1, 0]]),
        np.tile(PROBABILITIES[:, None], (1, 2, 1)),
        {"ann": 2 / 3, "bob": 1 / 3},
    ),
    (
        StepTagging(("a", "b")),
        np.array([[[1, 0], [NAN, NAN]], [[1, 0], [1, 0]], [[0, 1], [NAN, NAN]], [[NAN, NAN], [1, 0]]]),
        np.tile(PROBABILITIES[:, None], (1, 2, 1)),
        {"ann": -(2 * np.log(0.9) + 2 * np.log(0.3)) / 2, "bob": -(4 * np.log(0.4) + 2 * np.log(0.8)) / 3},
    ),
]


@pytest.mark.parametrize("task, targets, answers, expected", OF_EACH_TASK, ids=lambda value: getattr(value, "key", ""))
def test_each_task_has_a_score_of_each_group(task, targets, answers, expected):
    found = task.by_group(targets, answers, GROUPS)
    assert [row["examples"] for row in found.values()] == [2, 2]
    for name, value in expected.items():
        assert found[name][task.score.name] == (value if value is None else pytest.approx(value))


def test_groups_of_held_out_images_are_in_the_report(tmp_path):
    images, groups = np.zeros((40, 4, 4, 1), "uint8"), np.arange(40) // 4
    with pytest.warns(UserWarning, match="each of the 10 groups"):
        data = kzoo.from_arrays(images, np.arange(40) % 2, groups=groups, validation=0.2, test=0.2)
    report = kzoo.evaluate(kzoo.create_model("mlp", data.input_shape, 2), data, run_dir=tmp_path)
    assert {int(name) for name in report.per_group} == set(data.examples["test"].groups)
    assert all(row["examples"] == 4 for row in report.per_group.values())
    assert report_from(json.loads((tmp_path / "metrics.json").read_text())).per_group == report.per_group


def test_the_most_confident_mistake_comes_first(report):
    (mistake,) = report.mistakes
    assert mistake.example == 1
    assert (mistake.label, mistake.predicted, mistake.probability) == ("cat", "dog", 0.6)


def test_top_5_from_ten_classes_on():
    probabilities = np.tile(np.linspace(0.01, 0.19, 10), (2, 1))
    report = classification_report("test", np.array([5, 4]), probabilities, tuple("abcdefghij"), 1.0)
    assert report.top5_accuracy == 0.5


@pytest.mark.parametrize(
    "confidence, right, expected",
    [([1.0, 1.0], [1, 1], 0.0), ([1.0, 1.0], [0, 0], 1.0), ([0.75] * 4, [1, 1, 1, 0], 0.0), ([0.9, 0.5], [1, 0], 0.3)],
)
def test_calibration_error(confidence, right, expected):
    assert calibration_error(np.array(confidence), np.array(right)) == pytest.approx(expected)


def test_a_run_has_numbers_and_pictures(run):
    numbers = json.loads((run / "metrics.json").read_text())
    assert numbers["accuracy"] > 0.8
    assert numbers["accuracy_interval"][0] < numbers["accuracy"] < numbers["accuracy_interval"][1]
    assert np.sum(numbers["confusion"]) == numbers["examples"] == 360
    for picture in ("curves.png", "confusion.png", "mistakes.png"):
        assert (run / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def drawer(digits):
    """Return the function that draws an example of the test split."""
    return lambda axes, example: digits.preprocess.draw(axes, digits.examples["test"].inputs[example])


@pytest.mark.parametrize("count, cells, columns", [(3, 3, 3), (7, 10, 5), (0, 0, 0)])
def test_the_picture_of_the_mistakes_is_as_large_as_they_are(report, digits, count, cells, columns):
    mistake = dataclasses.replace(report.mistakes[0], label="6", predicted="8", probability=0.391)
    figure = draw_mistakes(dataclasses.replace(report, mistakes=[mistake] * count), drawer(digits))
    assert len(figure.axes) == cells
    assert len([axes for axes in figure.axes if axes.images]) == count
    assert {axes.get_title() for axes in figure.axes if axes.images} <= {"true 6, predicted 8 (39 %)"}
    assert not columns or figure.axes[0].get_gridspec().ncols == columns


def test_zeros_of_the_confusion_matrix_are_empty(report):
    assert report.confusion == [[1, 1], [0, 2]]
    assert sorted(text.get_text() for text in draw_confusion(report).axes[0].texts) == ["1", "1", "2"]


def test_a_report_comes_back_from_its_dictionary(report):
    assert ClassificationReport.from_dict(json.loads(json.dumps(report.to_dict()))).to_dict() == json.loads(
        json.dumps(report.to_dict())
    )


def test_frequent_confusions(report):
    assert report.frequent_confusions() == [("cat", "dog", 1)]


def test_a_notebook_shows_tables(report):
    page = dataclasses.replace(report, per_class={"<b>": report.per_class["cat"]})._repr_html_()
    assert page.count("<table>") == 1
    assert "&lt;b&gt;" in page
    assert "66.67 %" in page


def test_the_report_equals_keras_on_the_same_split(run, digits):
    model, _ = kzoo.load_run(run)
    model.compile(metrics=["accuracy"], loss="sparse_categorical_crossentropy")
    keras_accuracy = model.evaluate(digits.test, verbose=0, return_dict=True)["accuracy"]
    assert kzoo.evaluate(model, digits).accuracy == pytest.approx(keras_accuracy)


def test_it_prints_a_line_and_a_table(report):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(report)
    text = console.export_text()
    assert "test accuracy 75.00 %" in text
    assert "precision" in text
    assert str(report).startswith("test accuracy 75.00 % (95 % interval 30.06 % to 95.44 %, 4 examples)")


def test_mistakes_are_explained(digits, run):
    model, _ = kzoo.load_run(run)
    with pytest.raises(ValueError, match="split must be 'validation' or 'test', got 'train'"):
        kzoo.evaluate(model, digits, split="train")


class TestViews:
    """Test-time augmentation: which views there are, and that their probabilities are averaged."""

    def test_views_of_an_image(self):
        image = np.arange(1, 7, dtype="uint8").reshape(1, 2, 3, 1)
        views = [np.asarray(view(image))[0, :, :, 0].tolist() for view in views_of("image", {"flip": True, "shift": 1})]
        assert len(views) == 18
        assert views[0] == [[1, 2, 3], [4, 5, 6]]
        assert views[9] == [[3, 2, 1], [6, 5, 4]]
        assert [[2, 3, 0], [5, 6, 0]] in views
        assert [[0, 0, 0], [0, 1, 2]] in views
        assert len({str(view) for view in views}) == 18

    def test_views_of_a_series(self):
        series = np.array([[[1.0], [2.0], [3.0], [0.0]]])
        views = [np.asarray(view(series))[0, :, 0].tolist() for view in views_of("timeseries", {"shift": 1})]
        assert views == [[1, 2, 3, 0], [2, 3, 0, 0], [1, 1, 2, 3]]

    def test_views_of_a_recording(self):
        wave = np.arange(1, 11, dtype="int16")[None]
        views = [np.asarray(view(wave))[0].tolist() for view in views_of("audio", {"shift": 0.2})]
        assert views == [[*range(1, 11)], [*range(3, 11), 0, 0], [0, 0, *range(1, 9)]]

    def test_probabilities_are_averaged(self, run, digits):
        model, _ = kzoo.load_run(run)
        images = digits.examples["test"].inputs
        seen = [images, images[:, :, ::-1]]
        logits = [model.predict(np.asarray(digits.preprocess(part)), verbose=0) for part in seen]
        expected = np.mean([softmax(part, axis=-1) for part in logits], axis=0)
        found, _ = mean_over_views(model, digits, "test", {"flip": True})
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_the_report_says_so(self, run, digits, report):
        model, _ = kzoo.load_run(run)
        assert report.to_dict()["tta"] is None
        report = kzoo.evaluate(model, digits, tta={"shift": 1})
        assert json.loads(json.dumps(report.to_dict()))["tta"] == {"shift": 1}
        assert "test-time augmentation shift 1" in str(report)

    @pytest.mark.parametrize(
        "modality, tta, message",
        [
            ("text", {"shift": 1}, "unknown modality with test-time augmentation 'text'"),
            ("image", {"flop": True}, "unknown test-time augmentation of image data, 'flop'; did you mean flip"),
            ("image", {"shift": 0.5}, "tta.shift must be an integer from 0, got 0.5"),
            ("image", {"flip": 2}, "tta.flip must be true or false, got 2"),
            ("audio", {"shift": 1}, r"tta.shift must be a fraction in \[0, 1\), got 1"),
            ("timeseries", {"shift": -1}, "tta.shift must be an integer from 0, got -1"),
        ],
    )
    def test_mistakes_are_explained(self, modality, tta, message):
        with pytest.raises(ValueError, match=message):
            views_of(modality, tta)


@pytest.mark.parametrize("allowed", range(4))
def test_a_full_disk_is_one_line_and_leaves_each_file_whole(allowed, run, digits, tmp_path, monkeypatch):
    """Whichever of the writes it is that fails: of the numbers, of two pictures, of the page."""
    for path in run.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    report = classification_report("test", LABELS, PROBABILITIES, ("cat", "dog"), 10.0)
    replace, done = os.replace, []

    def full(*paths):
        done.append(paths)
        if len(done) > allowed:
            raise OSError(errno.ENOSPC, "No space left on device", str(paths[0]))
        replace(*paths)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ValueError, match="cannot be written: No space left on device"):
        write_report(tmp_path, report, digits)
    assert {path.name for path in tmp_path.iterdir()} == before
    json.loads((tmp_path / "metrics.json").read_text())


def test_a_model_that_cannot_be_written_leaves_no_temporary_file(run, tmp_path, monkeypatch):
    model, _ = kzoo.load_run(run)

    def full(path, write):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(runs, "write_file", full)
    with pytest.raises(OSError, match="No space left"):
        runs.save_model(model, tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


def test_without_a_test_split_it_says_what_to_do(digits):
    model = kzoo.models.mlp(digits.input_shape, digits.num_classes)
    splits = {name: part for name, part in digits.examples.items() if name != "test"}
    data = dataclasses.replace(digits, examples=splits)
    with pytest.raises(ValueError, match="digits has no test split; evaluate split='validation', or .* test=0.1"):
        kzoo.evaluate(model, data)
    assert kzoo.evaluate(model, data, split="validation").examples == 144
