"""Regression: loss, metric and report against formulas, a training end to end, and targets that cannot be."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from sklearn import metrics

import kzoo
from kzoo.data.assemble import Assembly
from kzoo.data.holdout import HoldOut
from kzoo.data.serving import Serving
from kzoo.data.splits import RawData
from kzoo.data.timeseries import SeriesExamples
from kzoo.serving.formats import serving_model
from kzoo.serving.measure import report_on
from kzoo.serving.serve import load_predictor
from kzoo.tasks import Regression, report_from, task_from
from kzoo.tasks.losses import RegressionLoss
from kzoo.tasks.metrics import MeanAbsoluteError
from kzoo.tasks.regression import SCATTER, WORST, regression_report, scores
from kzoo.training.records import read_record
from kzoo.training.report_html import page

TRUE = np.array([[1.0, -2.0], [0.5, np.nan], [np.nan, np.nan], [4.0, 0.0]], "float32")
GIVEN = np.array([[0.5, -2.0], [3.5, 7.0], [1.0, 1.0], [0.0, -0.25]], "float32")
COLUMNS = ("height", "slope")
QUANTILES = (0.1, 0.5, 0.9)


def examples(count=60, seed=0) -> SeriesExamples:
    """Return series of a height and a slope, which are the targets, in units of their own."""
    random = np.random.default_rng(seed)
    targets = random.normal(size=(count, 2)) * (5, 0.2) + (170, -1)
    steps = np.linspace(-1, 1, 24)
    series = targets[:, :1] + 20 * targets[:, 1:] * steps + random.normal(size=(count, 24))
    return SeriesExamples(series[..., None].astype("float32"), targets)


def numbers(task=None, targets=None, batch_size=16):
    """Return the dataset of these series: 40 to train on, 10 to validate, 10 to test."""
    whole = examples()
    whole = whole if targets is None else dataclasses.replace(whole, labels=targets)
    parts = (whole.take(part) for part in np.split(np.arange(60), [40, 50]))
    raw = RawData(*parts, COLUMNS, None, task or Regression(COLUMNS))
    return Assembly("lines", "timeseries", HoldOut(0.1, None), batch_size, None, None, 0, {})(raw)


def network(outputs, length=24):
    """Return a linear network, which is compiled at once."""
    keras.utils.set_random_seed(0)
    series = keras.Input((length, 1), name="inputs")
    return keras.Model(series, keras.layers.Dense(outputs)(keras.layers.Flatten()(series)), name="linear")


def fit(data, **options):
    model = network(data.num_outputs)
    return model, kzoo.fit(model, data, **{"epochs": 2, "learning_rate": 3e-3, "verbose": False} | options)


@pytest.fixture(scope="module")
def data():
    return numbers()


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run directory of three epochs, its model, its history and its report on the test split."""
    folder = tmp_path_factory.mktemp("numbers") / "run"
    model, history = fit(data, epochs=3, run_dir=folder)
    return folder, model, history, kzoo.evaluate(model, data, run_dir=folder)


def loss_of(kind="mse", quantiles=(), true=TRUE, given=GIVEN):
    return keras.ops.convert_to_numpy(RegressionLoss(kind, quantiles).call(true, given))


def huber(errors):
    return np.where(np.abs(errors) <= 1, errors**2 / 2, np.abs(errors) - 0.5)


@pytest.mark.parametrize("kind, error", [("mse", np.square), ("mae", np.abs), ("huber", huber)])
def test_losses_leave_unknown_targets_out(kind, error):
    known = error(GIVEN - TRUE)
    expected = [known[0].mean(), known[1, 0], 0, known[3].mean()]
    np.testing.assert_allclose(loss_of(kind), expected, rtol=1e-6)


def test_the_pinball_loss_is_that_of_scikit_learn():
    given = np.concatenate([GIVEN[:, :1] - 1, GIVEN[:, :1], GIVEN[:, :1] + 2], axis=1)
    found = loss_of(quantiles=QUANTILES, true=TRUE[:, :1], given=given)
    each = [
        [metrics.mean_pinball_loss(true, row[n : n + 1], alpha=level) for n, level in enumerate(QUANTILES)]
        for true, row in zip(TRUE[[0, 1, 3], :1], given[[0, 1, 3]], strict=True)
    ]
    np.testing.assert_allclose(found[[0, 1, 3]], np.mean(each, axis=1), rtol=1e-6)
    assert found[2] == 0


def test_quantiles_of_several_numbers_stand_side_by_side():
    given = np.stack([GIVEN - 1, GIVEN, GIVEN + 2], axis=2).reshape(4, 6)
    both = loss_of(quantiles=QUANTILES, given=given)
    each = [loss_of(quantiles=QUANTILES, true=TRUE[:, n : n + 1], given=given[:, 3 * n : 3 * n + 3]) for n in (0, 1)]
    np.testing.assert_allclose(both, [np.mean(each, axis=0)[0], each[0][1], 0, np.mean(each, axis=0)[3]], rtol=1e-6)


@pytest.mark.parametrize("delta", [0.25, 3.0])
def test_the_huber_loss_of_any_delta_is_that_of_keras(delta):
    found = RegressionLoss("huber", delta=delta).call(TRUE[:1], GIVEN[:1])
    np.testing.assert_allclose(found, keras.losses.huber(TRUE[:1], GIVEN[:1], delta=delta), rtol=1e-6)


def test_delta_is_a_value_of_a_config(data):
    task = data.task
    assert task.loss(loss="huber", huber_delta=0.5).get_config()["delta"] == 0.5
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(task.loss(loss="huber")))
    assert again.delta == 1.0
    with pytest.raises(ValueError, match="huber_delta=2 is of loss='huber', not of loss='mse'"):
        fit(data, huber_delta=2)
    with pytest.raises(ValueError, match="huber_delta must be a positive number, got 0"):
        fit(data, loss="huber", huber_delta=0)


def test_quantiles_of_columns_that_stand_side_by_side():
    given = np.stack([GIVEN - 1, GIVEN, GIVEN + 2], axis=2)  # (examples, columns, quantiles)
    expected = loss_of(quantiles=QUANTILES, given=given.reshape(4, 6))
    turned = given.transpose(0, 2, 1).reshape(4, 6)
    found = RegressionLoss(quantiles=QUANTILES, columns=2).call(TRUE, turned)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_unknown_targets_have_no_gradient():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes the gradient with TensorFlow")
    import tensorflow as tf

    for kind in ("mse", "mae", "huber"):
        outputs = tf.constant(GIVEN)
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            losses = RegressionLoss(kind)(TRUE, outputs)
        gradient = tape.gradient(losses, outputs).numpy()
        assert np.isfinite(gradient).all()
        assert (gradient[np.isnan(TRUE)] == 0).all()
        assert gradient[0, 0] < 0


def test_the_metric_is_the_mean_over_the_columns_in_their_units():
    metric = MeanAbsoluteError((10.0, 0.5))
    assert (metric.name, metric._direction) == ("mae", "down")
    for rows in (slice(0, 1), slice(1, 4)):
        metric.update_state(TRUE[rows], GIVEN[rows])
    errors = np.nanmean(np.abs(TRUE - GIVEN), axis=0) * (10, 0.5)
    assert float(metric.result()) == pytest.approx(errors.mean())


def test_the_metric_leaves_columns_out_of_which_nothing_is_known():
    metric = MeanAbsoluteError((10.0, 0.5))
    metric.update_state(TRUE[1:3], GIVEN[1:3])
    assert float(metric.result()) == pytest.approx(30.0)


def test_the_metric_of_quantiles_is_that_of_the_median():
    metric = MeanAbsoluteError((2.0,), every=3)
    metric.update_state(np.zeros((2, 1)), np.array([[-9.0, 1.0, 9.0], [-9.0, 3.0, 9.0]]))
    assert float(metric.result()) == 4.0


def test_loss_and_metric_are_saved():
    task = Regression(COLUMNS, (1.0, 2.0), (3.0, 4.0), QUANTILES)
    for kept, module in ((task.loss(), keras.losses), (task.metrics()[0], keras.metrics)):
        assert module.deserialize(module.serialize(kept)).get_config() == kept.get_config()
    assert task_from(json.loads(json.dumps(task.to_dict()))) == task


def test_targets_are_standardised_by_those_of_training(data):
    targets = data.examples["train"].labels
    np.testing.assert_allclose(data.task.mean, targets.mean(axis=0))
    np.testing.assert_allclose(data.task.deviation, targets.std(axis=0))
    encoded = data.task.encode(targets)
    assert encoded.dtype == "float32"
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(encoded.std(axis=0), 1, atol=1e-5)
    answers = keras.ops.convert_to_numpy(data.task.decode(encoded)["values"])
    np.testing.assert_allclose(answers, targets, rtol=1e-5)
    np.testing.assert_allclose(data.task.answers(encoded), targets, rtol=1e-6)


def test_scores_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    true = random.normal(size=(50, 2)) * (3, 1)
    given = true + random.normal(size=(50, 2))
    options = {"multioutput": "raw_values"}
    expected = np.stack(
        [
            metrics.mean_absolute_error(true, given, **options),
            metrics.root_mean_squared_error(true, given, **options),
            metrics.r2_score(true, given, **options),
        ]
    )
    np.testing.assert_allclose(scores(true, given), np.c_[expected, expected.mean(axis=1)])


def report_of(task, true, given):
    return regression_report(task, "test", true, given, 1.0)


def test_intervals_contain_the_value():
    random = np.random.default_rng(0)
    true = random.normal(size=(200, 2)) * (30, 1) + (100, 0)
    given = true + random.normal(size=(200, 2)) * (3, 0.5)
    report = report_of(Regression(COLUMNS, (100.0, 0.0), (30.0, 1.0)), true, given)
    for row in (vars(report) | {"rmse_interval": None}, *report.per_column.values()):
        for key in ("mae", "rmse", "r2"):
            low, high = row.get(f"{key}_interval") or (row[key], row[key])
            assert low <= row[key] <= high
    low, high = report.per_column["height"]["mae_interval"]  # the mean of |N(0, 3)| is 2.39, its standard error 0.13
    assert high - low == pytest.approx(4 * 3 * np.sqrt(1 - 2 / np.pi) / np.sqrt(200), rel=0.15)
    assert report.mae == pytest.approx(np.mean([row["mae"] for row in report.per_column.values()]))


def test_coverage_is_the_fraction_between_the_outermost_quantiles():
    true = np.array([[0.0], [1.0], [5.0], [-3.0], [np.nan]])
    given = np.tile([-1.0, 0.5, 2.0], (5, 1))
    report = report_of(Regression(("x",), (0.0,), (1.0,), QUANTILES, masked=True), true, given)
    assert report.per_column["x"]["coverage"] == 0.5
    assert report.per_column["x"]["examples"] == 4
    assert report.mae == pytest.approx((0.5 + 0.5 + 4.5 + 3.5) / 4)


def test_quantiles_of_the_targets_have_the_least_pinball_loss():
    targets = np.random.default_rng(0).exponential(size=(501, 1)).astype("float32")
    best = np.quantile(targets, QUANTILES)
    least = loss_of(quantiles=QUANTILES, true=targets, given=np.tile(best, (501, 1))).mean()
    for change in 0.1 * np.concatenate([np.eye(3), -np.eye(3)]):
        other = np.tile(best + change, (501, 1))
        assert loss_of(quantiles=QUANTILES, true=targets, given=other).mean() > least


def test_unknown_targets_count_for_nothing_in_the_report():
    task = Regression(COLUMNS, (0.0, 0.0), (1.0, 1.0), masked=True)
    report = report_of(task, np.float64(TRUE), np.float64(GIVEN))
    assert report.per_column["height"]["mae"] == pytest.approx(7.5 / 3)
    assert [miss.example for miss in report.worst] == [3, 1, 0, 3, 0]
    again = report_from(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert json.dumps(again.to_dict()) == json.dumps(report.to_dict())
    nothing = report_of(task, np.c_[np.float64(TRUE[:, 0]), [np.nan] * 4], np.float64(GIVEN))
    assert list(nothing.per_column) == ["height"]
    assert nothing.mae == report.per_column["height"]["mae"]
    assert list(nothing.pictures(lambda axes, example: None)) == [SCATTER, WORST]


def test_r_squared_of_targets_that_do_not_vary_is_none():
    report = report_of(Regression(("x",), (0.0,), (1.0,)), np.ones((4, 1)), GIVEN[:, :1])
    assert report.r2 is None
    assert "R squared" not in report.headline()
    json.dumps(report.to_dict(), allow_nan=False)
    assert "-" in str([*report.column_table().columns[3].cells])


def test_a_network_is_trained_evaluated_and_shown(run, data):
    folder, _, history, report = run
    assert {"loss", "mae", "val_loss", "val_mae"} <= set(history)
    assert (report.main, report.examples) == (report.mae, 10)
    assert report.headline().startswith("test MAE ")
    assert {SCATTER, WORST, "report.html", "config.yaml", "model.keras"} <= {path.name for path in folder.iterdir()}
    html = page(read_record(folder))
    for words in ("Numbers", "Predictions and residuals", "Worst examples", "height", "R squared"):
        assert words in html
    assert report_from(read_record(folder).metrics).mae == report.mae


def test_the_metric_of_validation_is_that_of_the_report(run, data):
    _, model, history, _ = run
    report = kzoo.evaluate(model, data, split="validation")
    assert report.mae == pytest.approx(min(history["val_mae"]), rel=1e-4)


def test_the_report_is_of_the_models_outputs_in_the_original_unit(run, data):
    _, model, _, report = run
    inputs = keras.ops.convert_to_numpy(data.preprocess(data.examples["test"].inputs))
    outputs = model.predict(inputs, verbose=0) * data.task.deviation + data.task.mean
    true = data.examples["test"].labels
    assert report.rmse == pytest.approx(metrics.root_mean_squared_error(true, outputs), rel=1e-4)
    assert report.r2 == pytest.approx(metrics.r2_score(true, outputs), rel=1e-3)


@pytest.mark.slow
def test_an_export_gives_numbers_in_the_original_unit(run, data, tmp_path):
    _, model, _, report = run
    exported = kzoo.export(model, tmp_path / "export", data=data)
    assert exported.answer == "values"
    predictor, test = load_predictor(tmp_path / "export"), data.examples["test"]
    answers = predictor.predict(test.inputs)
    assert np.abs(answers - test.labels).mean() == pytest.approx(report.mae, rel=1e-4)
    other = dataclasses.replace(test, labels=test.labels[:, ::-1])  # whose columns are matched by name
    raw = RawData(other, None, None, COLUMNS[::-1], None, Regression(COLUMNS[::-1]))
    assert report_on(predictor, "export", "lines", raw).mae == pytest.approx(report.mae, rel=1e-4)


def test_a_keras_file_gives_numbers_in_the_original_unit(run, data, tmp_path):
    _, model, _, report = run
    serving_model(model, Serving.of(data)).save(tmp_path / "numbers.keras")
    answers = keras.models.load_model(tmp_path / "numbers.keras").predict(data.examples["test"].inputs, verbose=0)
    assert np.abs(answers - data.examples["test"].labels).mean() == pytest.approx(report.mae, rel=1e-4)


def test_files_are_answered_with_numbers_and_their_names(run, data, tmp_path):
    folder, *_ = run
    np.save(tmp_path / "one.npy", data.examples["test"].inputs[0])
    (found,) = kzoo.predict_files(folder, [tmp_path / "one.npy"])
    assert list(found.values) == list(COLUMNS)
    assert set(found.rows()[0]) == set(COLUMNS)
    assert json.loads(json.dumps(found.to_dict()))["values"] == found.values
    answers = load_predictor(folder).predict(data.examples["test"].inputs[:1])
    np.testing.assert_allclose(list(found.values.values()), answers[0], rtol=1e-6)


def test_a_run_with_quantiles(tmp_path):
    data = numbers(Regression(COLUMNS, quantiles=QUANTILES))
    assert data.num_outputs == 6
    assert data.class_names[:3] == ("height 10 %", "height 50 %", "height 90 %")
    model, _ = fit(data, run_dir=tmp_path / "run")
    report = kzoo.evaluate(model, data)
    assert 0 <= report.per_column["slope"]["coverage"] <= 1
    assert "coverage" in [str(column.header) for column in report.column_table().columns]
    plain = RawData(data.examples["test"], None, None, COLUMNS, None, Regression(COLUMNS))
    found = report_on(load_predictor(tmp_path / "run"), "run", "lines", plain)
    assert found.mae == pytest.approx(report.mae, rel=1e-4)


def test_a_run_with_unknown_targets():
    targets = examples().labels.copy()
    targets[::3, 0] = np.nan
    with pytest.raises(ValueError, match="example 0 of the train split has nan for 'height', expected a number; leave"):
        numbers(targets=targets)
    data = numbers(Regression(COLUMNS, masked=True), targets)
    model, history = fit(data)
    report = kzoo.evaluate(model, data, split="validation")
    assert report.mae == pytest.approx(min(history["val_mae"]), rel=1e-4)
    assert np.isfinite(history["loss"]).all()
    assert report.per_column["height"]["examples"] < 10


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t[:, :1], r"the targets of the train split have shape \(40, 1\), expected \(n, 2\)"),
        (lambda t: t[:, 0], r"the targets of the train split have shape \(40,\), expected \(n, 2\)"),
        (lambda t: t.astype(str), "the targets of the train split are .*; expected numbers"),
        (lambda t: t * (1, 0) + (0, 3), "all training targets of 'slope' are 3; there is nothing to learn"),
        (lambda t: t * (1e-9, 0), "all training targets of 'slope' are 0; there is nothing to learn"),
        (lambda t: np.where(t == t[7], np.inf, t), "example 7 of the train split has inf for 'height', expected a num"),
    ],
)
def test_targets_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        numbers(targets=change(examples().labels))


def test_small_targets_are_no_constant_ones():
    data = numbers(targets=examples().labels * 1e-15)
    assert np.isfinite(data.task.encode(data.examples["train"].labels)).all()


def test_a_column_that_is_never_known():
    masked, targets = Regression(COLUMNS, masked=True), examples().labels.copy()
    with pytest.raises(ValueError, match="no target of the train split is known"):
        numbers(masked, targets * np.nan)
    with pytest.raises(ValueError, match="all training targets of 'slope' are unknown"):
        numbers(masked, targets * (1, np.nan))


@pytest.mark.parametrize("quantiles", [(0.5, 0.1), (0.1, 0.9), (0.0, 0.5, 1.0), (0.1, 0.2, 0.9), (0.5, 0.5, 0.5), (5,)])
def test_quantiles_that_cannot_be(quantiles):
    with pytest.raises(ValueError, match=r"quantiles must be ascending fractions in \(0, 1\) with 0.5 in the middle"):
        Regression(COLUMNS, quantiles=quantiles)


def test_quantiles_have_one_loss():
    data = numbers(Regression(COLUMNS, quantiles=QUANTILES))
    with pytest.raises(ValueError, match="with quantiles the loss is the pinball loss; leave out loss='mae'"):
        fit(data, loss="mae")


def test_a_network_must_have_as_many_outputs_as_there_are_numbers(data):
    with pytest.raises(ValueError, match="5 outputs but lines has 2 numbers; build it with num_classes=2"):
        kzoo.fit(network(5), data, verbose=False)


@pytest.mark.parametrize("option", [{"label_smoothing": 0.1}, {"class_weights": "balanced"}, {"focal_gamma": 2.0}])
def test_options_of_other_losses_are_refused(data, option):
    (name,) = option
    with pytest.raises(
        ValueError, match=f"unknown option of the loss for regression, '{name}'; did you mean (huber_delta or )?loss"
    ):
        fit(data, **option)


def test_a_classification_is_not_evaluated_on_numbers(data, tmp_path):
    labels = (data.examples["train"].labels[:, 0] > 170).astype(int)
    classes = kzoo.from_arrays(data.examples["train"].inputs, labels, batch_size=16)
    model, _ = fit(classes, epochs=1, run_dir=tmp_path / "run")
    raw = RawData(data.examples["test"], None, None, COLUMNS, None, Regression(COLUMNS))
    with pytest.raises(ValueError, match="run was trained for classification, but lines is for regression"):
        report_on(load_predictor(tmp_path / "run"), "run", "lines", raw)
    with pytest.raises(ValueError, match="was trained for classification, but lines is for regression"):
        kzoo.evaluate(model, data)
