"""Tags and classes at each step of a sequence: masked losses and scores, training, serving, reading, mistakes."""

import json

import keras
import numpy as np
import pytest

import kzoo
from kzoo.cli import prediction_rows
from kzoo.data.targets import targets_as
from kzoo.data.timeseries.music import KEYS, SPLITS
from kzoo.serving.export import write_saved_model
from kzoo.serving.serve import PredictedWindow, Prediction
from kzoo.tasks import StepClassification, StepTagging, report_from, task_from
from kzoo.tasks.losses import StepClassificationLoss, TaggingLoss
from kzoo.tasks.metrics import StepAccuracy, StepCrossEntropy, StepNegativeLogLikelihood

LENGTH = 12
NAMES = {"step_classification": ["down", "up"], "step_tagging": ["first", "second"]}
SMALL = {"filters": (8,), "kernel": 2, "dropout": 0.0}


def sequences(task: str, count: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Return padded series of two channels, and at each step which of them are positive (or the first alone)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, LENGTH, 2)).astype("float32")
    padded = np.arange(LENGTH) >= rng.integers(4, LENGTH, count)[:, None]
    positive = x > 0
    x[padded] = 0
    if task == "step_classification":
        return x, np.where(padded, -1, positive[..., 0])
    return x, np.where(padded[..., None], np.nan, positive)


def dataset(task: str, **options):
    x, y = sequences(task)
    options = {"class_names": NAMES[task], "unequal": "pad", "validation": 0.2, "batch_size": 8} | options
    return kzoo.from_arrays(x, y, task=task, **options)


@pytest.fixture(scope="module", params=NAMES)
def trained(request, tmp_path_factory):
    data, run = dataset(request.param), tmp_path_factory.mktemp("run") / "run"
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("tcn", data.input_shape, 2, head="positions", **SMALL)
    kzoo.fit(model, data, epochs=10, learning_rate=5e-2, run_dir=run, verbose=False)
    return model, data, run, kzoo.evaluate(model, data, run_dir=run)


def test_it_is_trained_and_what_it_learned_is_reported(trained):
    _, data, run, report = trained
    known = data.examples["test"].labels >= 0
    known = known.any(axis=-1) if known.ndim == 3 else known
    assert (report.examples, report.steps) == (16, known.sum())
    assert [start for start, _ in report.along] == np.flatnonzero(known.any(axis=0)).tolist()
    assert report.macro_f1 > 0.85
    low, high = report.interval
    assert low <= report.main <= high
    assert all((run / name).exists() for name in data.task.drawn)
    written = json.loads((run / "metrics.json").read_text())
    expected = json.loads(json.dumps(report.to_dict() | {"examples_per_second": None}))
    assert json.loads(json.dumps(report_from(written).to_dict())) == expected
    assert f"steps {report.steps}" in str(report)
    assert "Along the sequence" in (run / "report.html").read_text()
    assert task_from(json.loads((run / "data.json").read_text())["task"]).key == data.task.key


def test_the_report_is_what_validation_measured(trained):
    model, data, _, _ = trained
    measured = model.evaluate(data.validation, return_dict=True, verbose=0)
    report = kzoo.evaluate(model, data, split="validation")
    assert measured[data.task.score.name] == pytest.approx(report.main, rel=1e-4)


def test_files_are_answered_at_each_of_their_own_steps(trained, tmp_path):
    _, data, run, _ = trained
    x, _ = sequences(data.task.key)
    short, long = x[0, :3] + 0.1, np.concatenate([x[1, :4], x[2, :4], x[3, :4], x[4, :4]]) + 0.1
    np.save(tmp_path / "short.npy", short)
    np.save(tmp_path / "long.npy", long)
    predictor = kzoo.load_predictor(run)
    with pytest.warns(UserWarning, match="padded to 12 steps"):
        one = predictor.predict(tmp_path / "short.npy")
    two = predictor.predict(tmp_path / "long.npy", hop=2)
    for prediction, steps in ((one, 3), (two, 16)):
        values = next(iter(prediction.answer.values()))
        assert len(values) == steps
        assert {len(part) for part in prediction.probabilities.values()} == {steps}
    raw = np.zeros((1, LENGTH, 2), "float32")
    raw[0, :3] = short
    rows = predictor.predict(raw)
    assert rows.shape == (1, LENGTH, 2)
    found = np.stack([one.probabilities[name] for name in data.task.names], axis=-1)
    np.testing.assert_allclose(found, rows[0, :3], atol=1e-6)
    assert [(window.start, window.end) for window in two.windows] == [(0, 12), (2, 14), (4, 16)]
    whole = predictor.predict(long[None])
    np.testing.assert_allclose(whole[0, :2], predictor.predict(long[None, :12])[0, :2], atol=1e-6)
    assert whole.shape == (1, 16, 2)
    assert set(predictor.task.cells(one.answer)) == {"classes" if "label" in one.answer else "tags"}


def test_a_table_of_a_prediction_has_its_segments():
    task = StepClassification(("rest", "run"))
    answer = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]])
    described = task.describe(answer)
    assert task.rows(described) == [
        {"start": "0", "end": "2", "label": "rest", "probability": "80.0 %"},
        {"start": "2", "end": "3", "label": "run", "probability": "80.0 %"},
        {"start": "3", "end": "4", "label": "rest", "probability": "60.0 %"},
    ]
    windows = (PredictedWindow(task=task, answer=described, start=0, end=4),) * 2
    found = Prediction(task=task, answer=described, file="walk.npy", windows=windows)
    assert [row["label"] for row in prediction_rows(found)] == ["rest", "run", "rest"]
    failed = Prediction(task=task, answer=task.describe(None), file="walk.npy", error="broken")
    (row,) = prediction_rows(failed)
    assert row == {"file": "walk.npy", "start": "", "end": "", "label": "", "probability": "", "error": "broken"}


def test_a_saved_model_serves_probabilities_at_each_step(trained, tmp_path):
    import tensorflow as tf

    _, _, run, _ = trained
    model, serving = kzoo.load_run(run)
    write_saved_model(model, serving, tmp_path / "export")
    answers = tf.saved_model.load(str(tmp_path / "export")).signatures["serve"](raw=tf.constant(serving.examples))
    assert answers["probabilities"].shape == (len(serving.examples), LENGTH, 2)
    names = answers["label" if "label" in answers else "tags"].numpy()
    assert set(np.unique(names)) <= {name.encode() for name in (*serving.task.names, "")}
    expected = kzoo.load_predictor(run).predict(serving.examples)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)


def test_steps_that_are_not_known_count_for_nothing():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 5, 3)).astype("float32")
    labels = np.array([[0, 2, 1, -1, -1], [1, 1, 0, 2, 2]])
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    each = -np.take_along_axis(log_p, np.maximum(labels, 0)[..., None], axis=-1)[..., 0]
    found = keras.ops.convert_to_numpy(StepClassificationLoss().call(labels, logits))
    np.testing.assert_allclose(found, [each[0, :3].mean(), each[1].mean()], rtol=1e-5)
    known = labels >= 0
    for metric, expected in (
        (StepCrossEntropy(), each[known].mean()),
        (StepAccuracy(), (logits.argmax(-1) == labels)[known].mean()),
    ):
        metric.update_state(labels, logits)
        assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_the_likelihood_of_a_step_is_the_product_over_its_known_tags():
    logits = np.array([[[0.0, 2.0], [1.0, -1.0], [5.0, 5.0]]], "float32")
    tags = np.array([[[1.0, 0.0], [1.0, np.nan], [np.nan, np.nan]]], "float32")
    each = np.array([np.log(2) + np.log1p(np.exp(2)), np.log1p(np.exp(-1))])
    metric = StepNegativeLogLikelihood()
    metric.update_state(tags, logits)
    assert float(metric.result()) == pytest.approx(each.mean(), rel=1e-5)
    assert float(TaggingLoss(summed=True)(tags, logits)) == pytest.approx(each.mean(), rel=1e-5)
    task = StepTagging(("a", "b"))
    report = task.report("test", tags, task.answers(logits), 1.0)
    assert report.negative_log_likelihood == pytest.approx(each.mean(), rel=1e-5)
    assert (report.steps, report.examples) == (2, 1)
    assert report.per_tag["a"] == {"threshold": 0.5, "precision": 1.0, "recall": 1.0, "f1": 1.0, "steps": 2}


def test_weights_are_balanced_over_the_known_steps():
    task = StepClassification(("a", "b"))
    loss = task.loss(np.array([[0, 1, -1], [0, 0, -1]]), class_weights="balanced", label_smoothing=0.1)
    assert isinstance(loss, StepClassificationLoss)
    assert loss.class_weights == pytest.approx([4 / 6, 2.0])
    tags = np.array([[[1, 0], [0, 1], [0, 0], [np.nan, np.nan]]])
    assert StepTagging(("a", "b")).loss(tags, class_weights="balanced").class_weights == pytest.approx([2, 2])
    with pytest.raises(ValueError, match="balanced class_weights need an example of each tag; 'b' has none"):
        StepTagging(("a", "b")).loss(tags[:, :1], class_weights="balanced")


def test_overlapping_windows_are_averaged_at_each_step():
    task = StepClassification(("a", "b"))
    first, second = np.ones((4, 2)), np.full((4, 2), 3.0)
    np.testing.assert_array_equal(task.over_windows([first, second], [(0, 4), (2, 5)])[:, 0], [1, 1, 2, 2, 3])


def test_names_and_numbers_are_read_with_what_is_not_known():
    numbers = {"train": np.array([[1.0, 3.0, np.nan], [3.0, -1, 1.0]])}
    task, read = targets_as("step_classification", numbers)
    assert task.names == ("1", "3")
    np.testing.assert_array_equal(read["train"], [[0, 1, -1], [1, -1, 0]])
    task, read = targets_as("step_classification", {"train": [["run", "walk", ""], ["walk", "run", "run"]]})
    assert task.names == ("run", "walk")
    np.testing.assert_array_equal(read["train"], [[0, 1, -1], [1, 0, 0]])


def test_the_classes_of_other_data_are_matched_in_their_order():
    one, two = StepClassification(("a", "b")), StepClassification(("b", "a"))
    np.testing.assert_array_equal(one.matched(two, np.array([[0, 1, -1]])), [[1, 0, -1]])
    one, two = StepTagging(("a", "b")), StepTagging(("b", "a"))
    tags = np.array([[[1, 0], [np.nan, np.nan]]], "float32")
    np.testing.assert_array_equal(one.matched(two, tags), [[[0, 1], [np.nan, np.nan]]])


@pytest.mark.parametrize("task", NAMES)
def test_inputs_and_targets_of_other_lengths_are_refused(task):
    x, y = sequences(task)
    with pytest.raises(ValueError, match="the train split has targets at 11 positions, but inputs of 12"):
        kzoo.from_arrays(x, y[:, 1:], task=task, class_names=NAMES[task])


@pytest.mark.parametrize(
    "task, change, message",
    [
        ("step_classification", lambda y: np.full_like(y, -1), "no step of the train split has classes: .* are -1"),
        ("step_tagging", lambda y: np.full_like(y, np.nan), "no step of the train split has tags: .* are NaN"),
        (
            "step_classification",
            lambda y: y + 1,
            "example 0 of the train split has label 2 at step .*, expected 0 to 1",
        ),
        ("step_classification", lambda y: y + 0.5, "has -0.5 at step .*, expected a whole number|has .*5 at step"),
        ("step_classification", lambda y: y[:, 0], r"of shape \(80,\); expected one at each step, \(n, length\)"),
        ("step_tagging", lambda y: 2 * y, "has 2 for '.*' at step .*, expected 0, 1, or NaN where it is not known"),
        ("step_tagging", lambda y: y[..., 0], r"of shape \(80, 12\); expected numbers \(n, length, tags\)"),
        ("step_tagging", lambda y: y[..., :1], "the train split has 1 tags at each step, expected 2"),
    ],
)
def test_targets_that_are_none_are_named(task, change, message):
    x, y = sequences(task)
    with pytest.raises(ValueError, match=message):
        kzoo.from_arrays(x, change(y), task=task, class_names=NAMES[task])


def test_a_set_without_known_steps_and_names_is_refused():
    with pytest.raises(ValueError, match="no step of the train split of the data has a class: all are -1, NaN or ''"):
        targets_as("step_classification", {"train": np.full((3, 4), np.nan)})


@pytest.mark.parametrize("augment", [{"mixup": 0.2}, {"cutmix": 1.0}, {"time_warp": 0.5}, {"permutation": 3}])
def test_augmentation_that_moves_or_mixes_steps_is_refused(augment):
    (name,) = augment
    message = f"step_tagging has a target at each position, and augment.{name} moves or mixes them; jitter, scale,"
    with pytest.raises(ValueError, match=message):
        dataset("step_tagging", augment=augment)


def test_augmentation_in_place_leaves_the_targets():
    data = dataset("step_tagging", augment={"jitter": 0.1, "mask": 0.2})
    _, targets = next(iter(data.train_batches().as_numpy_iterator()))
    assert targets.shape == (8, LENGTH, 2)


def test_a_pooled_network_is_told_what_to_build():
    data = dataset("step_tagging")
    model = kzoo.create_model("tcn", data.input_shape, 2, **SMALL)
    message = r"with one output \(batch, length, num_outputs\); tcn has \(None, 2\); build it with head='positions'"
    for function in (kzoo.fit, kzoo.evaluate):
        with pytest.raises(ValueError, match=message):
            function(model, data)


def test_a_network_of_positions_is_told_what_to_build_for_one_class():
    x, _ = sequences("step_tagging")
    data = kzoo.from_arrays(x, np.arange(80) % 2)
    model = kzoo.create_model("tcn", data.input_shape, 2, head="positions", **SMALL)
    with pytest.raises(ValueError, match="tcn has .*12, 2.*; build it with head='pooled'"):
        kzoo.fit(model, data)


def test_views_and_solvers_are_refused():
    data = dataset("step_classification")
    model = kzoo.create_model("tcn", data.input_shape, 2, head="positions", **SMALL)
    with pytest.raises(ValueError, match="test-time augmentation is for networks with one vector of outputs"):
        kzoo.evaluate(model, data, tta={"shift": 1})
    with pytest.raises(ValueError, match="solver 'ridge' is for one class an example, not for step_classification"):
        kzoo.fit(model, data, solver="ridge")


@pytest.fixture
def rolls(tmp_path):
    """Write piano rolls of three short pieces for each split; return the path."""
    io = pytest.importorskip("scipy.io")
    rng = np.random.default_rng(0)
    pieces = {name: np.empty((1, 3), object) for name in SPLITS}
    for part in pieces.values():
        for number in range(3):
            part[0, number] = (rng.random((6 + number, KEYS)) < 0.1).astype("uint8")
    io.savemat(tmp_path / "rolls.mat", pieces)
    return tmp_path / "rolls.mat"


def test_piano_rolls_are_the_frames_and_those_that_follow(rolls):
    data = kzoo.load_dataset(f"music:{rolls}", normalise="none", batch_size=1)
    assert data.input_shape == (7, KEYS)
    assert (data.task.names[0], data.task.names[39], data.task.names[-1]) == ("A0", "C4", "C8")
    inputs, targets = data.examples["test"].inputs, data.examples["test"].labels
    assert np.isnan(targets).any(axis=-1).sum(axis=1).tolist() == [2, 1, 0]
    np.testing.assert_array_equal(inputs[2, 1:], targets[2, :-1])
    assert not inputs[0, 5:].any()
    batch, _ = next(iter(data.validation))
    np.testing.assert_array_equal(batch[0], data.examples["validation"].inputs[0])


@pytest.mark.slow
def test_a_config_builds_the_network_at_each_step(rolls, tmp_path):
    overrides = [f"data.name=music:{rolls}", "train.epochs=1", "model.filters=[4, 4]"]
    experiment = kzoo.load_experiment("timeseries/tcn_jsb_chorales", overrides)
    report = kzoo.run_experiment(experiment, tmp_path / "run", verbose=False)
    assert 0 < report.negative_log_likelihood < 88
    assert kzoo.evaluate_run(tmp_path / "run").main == pytest.approx(report.main)


def test_files_that_are_no_piano_rolls_are_refused(rolls, tmp_path):
    io = pytest.importorskip("scipy.io")
    with pytest.raises(ValueError, match=r"is a folder; name rolls.mat"):
        kzoo.load_dataset(f"music:{tmp_path}")
    with pytest.raises(ValueError, match="there is no file"):
        kzoo.load_dataset(f"music:{tmp_path / 'none.mat'}")
    (tmp_path / "text.mat").write_text("no rolls")
    with pytest.raises(ValueError, match="text.mat cannot be read as a .mat file with traindata"):
        kzoo.load_dataset(f"music:{tmp_path / 'text.mat'}")
    wrong = np.empty((1, 1), object)
    wrong[0, 0] = np.zeros((5, 60))
    io.savemat(tmp_path / "narrow.mat", dict.fromkeys(SPLITS, wrong))
    with pytest.raises(ValueError, match=r"piece 0 of traindata has shape \(5, 60\), expected .* 88 keys, each 0 or 1"):
        kzoo.load_dataset(f"music:{tmp_path / 'narrow.mat'}")
