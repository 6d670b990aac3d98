"""Tagging: its loss and metrics against formulas and scikit-learn, and a training from the data to the exports."""

import json
import math

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

import kzoo
from kzoo.serving.export import write_keras, write_saved_model
from kzoo.serving.measure import check_outputs
from kzoo.serving.serve import Predictor, from_keras, from_model, from_saved_model
from kzoo.tasks import Classification, Tagging, report_from, task_from
from kzoo.tasks.losses import TaggingLoss
from kzoo.tasks.metrics import TaggingAveragePrecision
from kzoo.tasks.tagging import average_precisions, best_threshold, tagging_report
from kzoo.training.runs import load_run

LOGITS = np.array([[2.0, 0.0, -1.0], [0.5, -0.5, 1.0], [-3.0, 4.0, 0.0]], "float32")
TAGS = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 1]], "float32")
MIXED = np.array([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]], "float32")
NAMES = ("live", "rock", "pop")
TASK = Tagging(NAMES)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype("float64")))


def loss(targets, *arguments, **options):
    return keras.ops.convert_to_numpy(TaggingLoss(*arguments, **options).call(targets, LOGITS))


class TestLoss:
    @pytest.mark.parametrize("targets", [TAGS, MIXED])
    def test_it_is_the_binary_crossentropy(self, targets):
        p = sigmoid(LOGITS)
        expected = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean(axis=1)
        np.testing.assert_allclose(loss(targets), expected, rtol=1e-5)
        np.testing.assert_allclose(
            loss(targets, 0.1),
            keras.losses.binary_crossentropy(targets, LOGITS, from_logits=True, label_smoothing=0.1),
            rtol=1e-5,
        )

    @pytest.mark.parametrize("gamma", [0.5, 2.0])
    def test_the_focal_loss_is_that_of_keras(self, gamma):
        theirs = keras.losses.binary_focal_crossentropy(TAGS, LOGITS, gamma=gamma, from_logits=True)
        np.testing.assert_allclose(loss(TAGS, focal_gamma=gamma), theirs, rtol=1e-5)

    def test_a_weight_counts_where_the_tag_is_present(self):
        p, weights = sigmoid(LOGITS), np.array([1.0, 5.0, 0.5])
        expected = -(weights * TAGS * np.log(p) + (1 - TAGS) * np.log(1 - p)).mean(axis=1)
        np.testing.assert_allclose(loss(TAGS, class_weights=weights), expected, rtol=1e-5)

    def test_balanced_weights_make_a_tag_weigh_as_much_as_its_absence(self):
        balanced = TASK.loss(TAGS, class_weights="balanced")
        np.testing.assert_allclose(balanced.class_weights, [0.5, 2, 2])
        assert TASK.loss(TAGS, class_weights={"rock": 3.0}).class_weights == [1, 3, 1]
        with pytest.raises(ValueError, match="unknown class in class_weights 'rok'; did you mean rock"):
            TASK.loss(TAGS, class_weights={"rok": 3.0})

    def test_hopeless_tags_keep_a_finite_loss(self):
        extreme = np.array([[-200.0, 200.0]], "float32")
        found = keras.ops.convert_to_numpy(TaggingLoss(focal_gamma=2.0).call(np.array([[1.0, 0.0]]), extreme))
        np.testing.assert_allclose(found, [200.0], rtol=1e-5)

    def test_loss_and_metrics_are_saved(self):
        own = TaggingLoss(0.1, (1.0, 2.0, 3.0), 2.0)
        again = keras.losses.deserialize(keras.losses.serialize(own))
        assert again.get_config() == own.get_config()
        for metric in TASK.metrics():
            again = keras.metrics.deserialize(keras.metrics.serialize(metric))
            assert (type(again), again.get_config()) == (type(metric), metric.get_config())


def test_the_metric_of_training_is_close_to_the_average_precision():
    rng = np.random.default_rng(0)
    targets = (rng.random((500, 2)) < 0.3).astype("float32")
    logits = (rng.normal(size=(500, 2)) + 2 * targets).astype("float32")
    metric = TaggingAveragePrecision(2)
    metric.update_state(targets, logits)
    assert float(metric.result()) == pytest.approx(metrics.average_precision_score(targets, logits), abs=0.01)
    assert Tagging(("a", "b")).score == ("average_precision", True)


class TestReport:
    def test_average_precision_is_that_of_scikit_learn_with_ties_and_weights(self):
        rng = np.random.default_rng(0)
        present = (rng.random(200) < 0.3).astype("float64")
        scores = np.round(rng.random(200), 1)  # eleven different ones
        weights = rng.integers(0, 4, (3, 200))
        expected = [metrics.average_precision_score(present, scores, sample_weight=row) for row in weights]
        np.testing.assert_allclose(average_precisions(present, scores, weights), expected, rtol=1e-9)

    def test_all_numbers_are_those_of_scikit_learn(self):
        rng = np.random.default_rng(1)
        targets = (rng.random((300, 3)) < [0.5, 0.2, 0.05]).astype("float32")
        scores = np.clip(rng.random((300, 3)) + 0.3 * targets, 0, 1)
        task = Tagging(NAMES, (0.5, 0.9, 0.7))
        report = tagging_report(task, "test", targets, scores, 1.0)
        given = scores >= task.limits
        assert report.average_precision == pytest.approx(metrics.average_precision_score(targets, scores))
        assert report.macro_f1 == pytest.approx(metrics.f1_score(targets, given, average="macro"))
        assert report.micro_f1 == pytest.approx(metrics.f1_score(targets, given, average="micro"))
        assert report.auc == pytest.approx(metrics.roc_auc_score(targets, scores))
        assert report.loss == pytest.approx(metrics.log_loss(targets.ravel(), scores.ravel(), labels=[0, 1]), rel=1e-5)
        low, high = report.average_precision_interval
        assert low < report.average_precision < high
        scores = metrics.precision_recall_fscore_support(targets, given)
        for column, name in enumerate(NAMES):
            row = report.per_tag[name]
            found = [row[key] for key in ("precision", "recall", "f1", "examples")]
            assert found == pytest.approx([part[column] for part in scores])
        np.testing.assert_array_equal(report.together, targets.T @ targets)

    def test_a_random_tagger_has_the_frequency_of_the_tags_and_a_perfect_one_100_percent(self):
        rng = np.random.default_rng(0)
        targets = (rng.random((4000, 3)) < [0.5, 0.2, 0.1]).astype("float32")
        random = tagging_report(TASK, "test", targets, rng.random((4000, 3)), 1.0)
        assert random.average_precision == pytest.approx(np.mean([0.5, 0.2, 0.1]), abs=0.02)
        assert random.auc == pytest.approx(0.5, abs=0.02)
        perfect = tagging_report(TASK, "test", targets, 0.9 * targets + 0.05, 1.0)
        assert (perfect.average_precision, perfect.macro_f1, perfect.micro_f1, perfect.auc) == (1, 1, 1, 1)
        assert perfect.mistakes == []
        assert [section.words for section in perfect.sections()][-1] == "None."

    def test_a_tag_of_no_example_counts_for_no_mean(self):
        targets = np.array([[1, 0], [0, 0], [1, 0]], "float32")
        scores = np.array([[0.9, 0.1], [0.2, 0.6], [0.8, 0.2]])
        report = tagging_report(Tagging(("a", "b")), "test", targets, scores, 1.0)
        assert (report.average_precision, report.macro_f1, report.auc) == (1, 1, 1)
        assert report.per_tag["b"]["average_precision"] is None
        assert "-" in str(list(report.tag_table().columns[1].cells))

    def test_a_single_tag(self):
        targets = np.array([[1], [0], [1], [0]], "float32")
        scores = np.array([[0.9], [0.8], [0.7], [0.1]])
        report = tagging_report(Tagging(("siren",)), "test", targets, scores, 1.0)
        assert report.average_precision == pytest.approx(metrics.average_precision_score(targets, scores))
        assert report.per_tag["siren"]["precision"] == pytest.approx(2 / 3)
        assert report.auc == pytest.approx(0.75)

    def test_the_most_confident_mistakes_come_first(self):
        targets = np.array([[1, 0], [0, 0], [1, 1]], "float32")
        scores = np.array([[0.01, 0.2], [0.9, 0.0], [0.3, 0.99]])
        report = tagging_report(Tagging(("a", "b"), (0.4, 0.5)), "test", targets, scores, 1.0)
        found = [(mistake.example, mistake.tag, mistake.present) for mistake in report.mistakes]
        assert found == [(0, "a", True), (1, "a", False), (2, "a", True)]
        assert report.mistakes[0].tags == ("a",)
        assert report.mistakes[1].tags == ()

    def test_it_is_the_same_from_json(self):
        targets = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0]], "float32")
        report = tagging_report(TASK, "test", targets, 1 - targets, 1.0)
        again = report_from(json.loads(json.dumps(report.to_dict())))
        assert again.mistakes == report.mistakes
        assert str(again) == str(report)
        assert json.dumps(again.to_dict() | {"examples_per_second": 1.0}) == json.dumps(report.to_dict())

    def test_a_split_without_a_tag_is_refused(self):
        with pytest.raises(ValueError, match="no example of the test split has a tag; there is nothing to measure"):
            tagging_report(TASK, "test", np.zeros((4, 3), "float32"), np.full((4, 3), 0.5), 1.0)


class TestThresholds:
    def test_they_have_the_highest_f1_and_lie_between_two_probabilities(self):
        present = np.array([0, 0, 1, 0, 1, 1])
        scores = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.8])
        threshold = best_threshold(present, scores)
        assert threshold == pytest.approx(0.25)
        every = [metrics.f1_score(present, scores >= limit) for limit in scores]
        assert metrics.f1_score(present, scores >= threshold) == max(every)
        assert best_threshold(np.array([1, 1]), np.array([0.4, 0.6])) == pytest.approx(0.2)
        assert best_threshold(np.array([0, 0]), np.array([0.4, 0.6])) == 0.5

    def test_they_are_chosen_for_each_tag_and_remembered(self):
        targets = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], "float32")
        scores = np.array([[0.3, 0.4], [0.1, 0.4], [0.2, 0.4], [0.1, 0.4]])
        task = Tagging(("a", "b")).calibrated(targets, scores)
        assert task.thresholds == pytest.approx((0.15, 0.5))
        assert task_from(json.loads(json.dumps(task.to_dict()))) == task

    @pytest.mark.parametrize(
        "thresholds, message", [((0.5,), "for each of 3 tags, got 1"), ((0.5, 1.5, 0.1), "from 0 to 1.*got 1.5")]
    )
    def test_others_are_refused(self, thresholds, message):
        with pytest.raises(ValueError, match=message):
            Tagging(NAMES, thresholds)


class TestAnswers:
    def test_decode_gives_probabilities_and_tags(self):
        task = Tagging(NAMES, (0.5, 0.5, 0.2))
        found = task.decode(LOGITS)
        np.testing.assert_allclose(found["probabilities"], sigmoid(LOGITS), rtol=1e-5)
        np.testing.assert_array_equal(found["tags"], [[1, 2, 3], [1, 0, 3], [0, 2, 3]])
        np.testing.assert_allclose(task.answers(LOGITS), sigmoid(LOGITS))

    def test_an_answer_is_described_and_shown(self):
        described = Tagging(NAMES, (0.5, 0.5, 0.2)).describe(np.array([0.75, 0.4, 0.25]))
        assert described == {"tags": ["live", "pop"], "probabilities": {"live": 0.75, "rock": 0.4, "pop": 0.25}}
        assert TASK.cells(described) == {"tags": "live (75 %), pop (25 %)"}
        assert TASK.cells(TASK.describe(np.zeros(3))) == {"tags": ""}
        assert TASK.describe(None) == {"tags": [], "probabilities": {}}
        assert TASK.cells(TASK.describe(None)) == {"tags": ""}

    def test_targets_of_fewer_tags_in_another_order(self):
        other = Tagging(("pop", "live"))
        np.testing.assert_array_equal(TASK.matched(other, np.array([[1, 0], [1, 1]])), [[0, 0, 1], [1, 0, 1]])


class TestBadInput:
    @pytest.mark.parametrize(
        "targets, message",
        [
            (np.zeros((2, 2)), r"shape \(2, 2\), expected \(n, 3\) for 'live', 'rock', 'pop'"),
            (np.array([[0, 1, 0], [0, 0.5, 0]]), "example 1 of the train split has 0.5 for 'rock', expected 0 or 1"),
            (np.array([[0, 1, math.nan]]), "example 0 of the train split has nan for 'pop'"),
        ],
    )
    def test_targets_that_are_no_tags(self, targets, message):
        with pytest.raises(ValueError, match=message):
            TASK.check("train", targets)

    def test_examples_without_a_tag_are_allowed_and_tags_without_an_example_are_not(self):
        rows = np.array([[0, 0, 0], [1, 0, 1]])
        TASK.check("train", rows)
        with pytest.raises(ValueError, match="no training example has the tag 'rock'; leave it out"):
            TASK.fitted(rows)
        assert TASK.fitted(np.array([[0, 0, 0], [1, 1, 1]])) == TASK
        with pytest.raises(ValueError, match="at least one tag"):
            Tagging(())


@pytest.fixture(scope="module")
def scenes():
    return kzoo.load_dataset("digit_scenes", size=16, scenes=200, batch_size=32)


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    """A network that was trained for two epochs, evaluated, and its run directory."""
    run = tmp_path_factory.mktemp("tagging") / "run"
    model = kzoo.create_model("convnet", scenes.input_shape, scenes.num_outputs, filters=(8,), padding="same")
    history = kzoo.fit(model, scenes, epochs=2, run_dir=run, verbose=False)
    report = kzoo.evaluate(model, scenes, run_dir=run)
    return model, history, report, run


class TestTraining:
    def test_the_metrics_of_the_epochs(self, trained):
        _, history, report, _ = trained
        assert {"loss", "average_precision", "crossentropy", "val_average_precision"} <= set(history)
        assert 0 < report.average_precision <= 1
        assert report.headline().startswith("test average precision ")

    def test_the_run_directory(self, trained):
        *_, report, run = trained
        metrics = json.loads((run / "metrics.json").read_text())
        assert report_from(metrics.get("test", metrics)).average_precision == report.average_precision
        assert {"together.png", "mistakes.png"} <= {file.name for file in run.iterdir()}
        page = (run / "report.html").read_text()
        for words in ("Tags that occur together", "Most confident mistakes", "95 % interval", "macro-F1"):
            assert words in page

    def test_a_loaded_run_has_the_thresholds_that_were_chosen(self, trained, scenes):
        model, _, report, run = trained
        loaded, serving = load_run(run)
        assert len(serving.task.thresholds) == 10
        assert set(serving.task.thresholds) != {0.5}
        assert model.trained_with.task == serving.task
        again = kzoo.evaluate(loaded, scenes)
        assert [row["threshold"] for row in again.per_tag.values()] == pytest.approx(serving.task.thresholds, abs=1e-6)
        assert again.macro_f1 == report.macro_f1

    def test_a_complete_training_is_read_with_its_thresholds(self, trained, scenes):
        model, history, _, run = trained
        again = kzoo.create_model("convnet", scenes.input_shape, scenes.num_outputs, filters=(8,), padding="same")
        assert kzoo.fit(again, scenes, epochs=2, run_dir=run, verbose=False).keys() == history.keys()
        assert again.trained_with.task == model.trained_with.task

    def test_predictions_of_files(self, trained, scenes, tmp_path):
        *_, run = trained
        Image.fromarray(scenes.examples["test"].inputs[0][..., 0]).save(tmp_path / "scene.png")
        predictor = kzoo.load_predictor(run)
        found = predictor.predict(tmp_path / "scene.png")
        (probabilities,) = predictor.answers(scenes.examples["test"].inputs[:1])
        assert list(found.answer["probabilities"].values()) == pytest.approx(probabilities.tolist(), abs=1e-5)
        given = np.flatnonzero(probabilities >= predictor.task.limits)
        assert found.answer["tags"] == [str(digit) for digit in given]

    def test_exports_agree_and_write_the_names_of_the_tags(self, trained, scenes, tmp_path):
        *_, run = trained
        model, serving = load_run(run)
        raw = scenes.examples["test"].inputs[:8]
        expected = from_model(model, serving.preprocess, serving.task)(raw)
        write_keras(model, serving, tmp_path / "model.keras")
        np.testing.assert_allclose(from_keras(tmp_path / "model.keras")(raw, "probabilities"), expected, atol=1e-6)
        if keras.backend.backend() != "tensorflow":
            return
        write_saved_model(model, serving, tmp_path / "saved")
        served = from_saved_model(tmp_path / "saved")
        np.testing.assert_allclose(served(raw, "probabilities"), expected, atol=1e-6)
        names = np.where(expected >= serving.task.limits, list("0123456789"), "")
        np.testing.assert_array_equal(served(raw, "tags").astype(str), names)

    def test_a_network_of_another_number_of_outputs_is_refused(self, scenes):
        model = kzoo.create_model("convnet", scenes.input_shape, 3, filters=(4,), padding="same")
        with pytest.raises(ValueError, match="has 3 outputs but digit_scenes has 10 tags"):
            kzoo.fit(model, scenes, epochs=1)

    def test_a_run_of_another_task_is_refused(self, trained):
        *_, run = trained
        with pytest.raises(ValueError, match="was trained for tagging, but digits is for classification"):
            kzoo.evaluate_on(run, "digits")

    def test_a_run_of_classes_is_refused_on_tags(self, scenes):
        predictor = Predictor(None, scenes.preprocess, Classification(tuple("0123456789")), True)
        with pytest.raises(ValueError, match="run was trained for classification, but digit_scenes is for tagging"):
            check_outputs(predictor, "run", "digit_scenes", scenes.task)

    def test_a_table_is_read_for_the_task_of_the_run(self, trained, scenes, tmp_path):
        *_, run = trained
        part = scenes.examples["test"].take(np.arange(6))
        lines = ["file,tags"]
        for number, (image, row) in enumerate(zip(part.inputs, part.labels, strict=True)):
            Image.fromarray(image[..., 0]).save(tmp_path / f"{number}.png")
            lines.append(f"{number}.png,{';'.join(map(str, np.flatnonzero(row)))}")
        (tmp_path / "scenes.csv").write_text("\n".join(lines))
        with pytest.warns(UserWarning, match="scenes.csv lacks .* of the 10 tags"):
            report = kzoo.evaluate_on(run, f"table:{tmp_path / 'scenes.csv'}", input="file", target="tags")
        assert report.task is Tagging
        assert [row["examples"] for row in report.per_tag.values()] == part.labels.sum(axis=0).tolist()
