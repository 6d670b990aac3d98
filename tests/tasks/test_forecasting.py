"""Forecasts: windows of one table, the errors beside those of forecasts without a network, and what is served."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from typer.testing import CliRunner

import kzoo
from kzoo.cli import app
from kzoo.data.tables import read_table
from kzoo.data.timeseries.times import Step, read_times, step_of, written
from kzoo.tasks import report_from, task_from
from kzoo.tasks.forecasting import LINEAR, MODEL, NAIVE, SEASONAL, linear_layer

OPTIONS = {"lookback": 8, "horizon": 4, "split": [60, 20, 20], "batch_size": 16}


def hours(count: int) -> list[str]:
    start = np.datetime64("2020-02-28 00:00", "m")
    return [str(start + np.timedelta64(60 * n, "m")).replace("T", " ") for n in range(count)]


def write(path, times, *columns, names=("load", "oil")):
    rows = [",".join(map(str, row)) for row in zip(times, *columns, strict=True)]
    path.write_text("\n".join([",".join(["date", *names[: len(columns)]]), *rows]) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Return the path of 110 hours of two noisy waves with a period of 4."""
    rng, time = np.random.default_rng(0), np.arange(110)
    load = 50 + 10 * np.sin(time * np.pi / 2 + 0.3) + rng.normal(size=110)
    oil = -3 + np.cos(time * np.pi / 2 + 0.3) + 0.1 * rng.normal(size=110)
    return write(tmp_path_factory.mktemp("table") / "table.csv", hours(110), load.round(4), oil.round(4))


@pytest.fixture(scope="module")
def data(table):
    return kzoo.load_dataset(f"forecast:{table}", season=4, **OPTIONS)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Return a network, its run directory, and its report."""
    keras.utils.set_random_seed(0)
    run = tmp_path_factory.mktemp("run") / "run"
    model = kzoo.models.nlinear(data.input_shape, data.num_outputs)
    kzoo.fit(model, data, epochs=4, learning_rate=1e-2, run_dir=run, verbose=False)
    return model, run, kzoo.evaluate(model, data, run_dir=run)


def rows_of(table) -> np.ndarray:
    return np.loadtxt(table, delimiter=",", skiprows=1, usecols=(1, 2), dtype="float32")


def test_windows_of_a_split_reach_back_into_the_rows_before_it(data, table):
    rows = rows_of(table)
    assert {name: len(part) for name, part in data.examples.items()} == {"train": 49, "validation": 17, "test": 17}
    for name, first in (("train", 8), ("validation", 60), ("test", 80)):
        part = data.examples[name]
        np.testing.assert_array_equal(part.inputs[0], rows[first - 8 : first])
        np.testing.assert_array_equal(part.labels[0], rows[first : first + 4])
    np.testing.assert_array_equal(data.examples["test"].labels[-1], rows[96:100])


def test_no_window_is_a_copy(data):
    train = data.examples["train"]
    assert np.shares_memory(train.inputs[3], train.inputs[4])
    assert np.shares_memory(train.inputs[3], train.inputs.rows)
    assert np.shares_memory(train.labels, train.inputs.rows)


def test_values_are_standardised_by_the_training_rows(data, table):
    train = rows_of(table)[:60].astype("float64")
    assert data.task.mean == data.preprocess.mean == pytest.approx(train.mean(axis=0))
    assert data.task.deviation == data.preprocess.std == pytest.approx(train.std(axis=0))
    inputs, targets = next(data.eval_batches("test").as_numpy_iterator())
    np.testing.assert_allclose(inputs[0], (rows_of(table)[72:80] - train.mean(0)) / train.std(0), rtol=1e-4, atol=1e-5)
    expected = (rows_of(table)[80:84] - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(targets[0].reshape(4, 2), expected, rtol=1e-4, atol=1e-5)


def test_fractions_of_rows(table):
    data = kzoo.load_dataset(f"forecast:{table}", lookback=8, horizon=4)
    assert [len(part) for part in data.examples.values()] == [77 - 12 + 1, 11 - 4 + 1, 22 - 4 + 1]
    assert data.task.season == 24
    assert data.task.columns == ("load", "oil")


def test_the_report_has_the_errors_of_the_literature_beside_forecasts_without_a_network(trained, data):
    model, _, report = trained
    part = data.examples["test"]
    outputs = model.predict(data.test, verbose=0)
    errors = outputs - data.task.encode(part.labels)
    assert report.mse == pytest.approx(np.mean(errors**2), rel=1e-4)
    assert report.mae == pytest.approx(np.mean(np.abs(errors)), rel=1e-4)
    assert list(report.errors) == [MODEL, NAIVE, SEASONAL, LINEAR]
    inputs = part.inputs[:]
    naive = data.task.standardised(np.repeat(inputs[:, -1:], 4, axis=1)) - data.task.standardised(part.labels)
    seasonal = data.task.standardised(inputs[:, -4:]) - data.task.standardised(part.labels)
    np.testing.assert_allclose(report.errors[NAIVE].mse, np.mean(naive**2, axis=0), rtol=1e-4)
    np.testing.assert_allclose(report.errors[SEASONAL].mae, np.mean(np.abs(seasonal), axis=0), rtol=1e-4)
    assert np.mean(report.errors[SEASONAL].mse) < 0.1 * np.mean(report.errors[NAIVE].mse)
    for name in ("naive mse", "seasonal naive mse", "linear layer mse"):
        assert name in report.headline()
    assert "seasonal naive (4 steps)" in report.as_text()


def test_the_error_in_the_unit(trained, data):
    model, _, report = trained
    answers = data.task.answers(model.predict(data.test, verbose=0))
    load = np.abs(answers - data.examples["test"].labels)[..., 0]
    cells = report.column_table().columns[3]._cells
    assert float(str(cells[0])) == pytest.approx(load.mean(), rel=1e-3)


def test_the_linear_layer_is_a_ridge_regression_of_all_columns_together(data):
    train, test, task = data.examples["train"], data.examples["test"], data.task

    def by_column(values):
        return task.standardised(values).transpose(0, 2, 1).reshape(-1, values.shape[1])

    ridge = Ridge(1.0).fit(by_column(train.inputs[:]), by_column(train.labels))
    expected = ridge.predict(by_column(test.inputs[:])).reshape(-1, 2, 4).transpose(0, 2, 1)
    found = linear_layer(task, train)(test.inputs[:])
    np.testing.assert_allclose(task.standardised(found), expected, rtol=1e-3, atol=1e-4)


def test_a_season_longer_than_the_look_back_is_said(table):
    data = kzoo.load_dataset(f"forecast:{table}", **OPTIONS)
    report = kzoo.evaluate(kzoo.models.nlinear(data.input_shape, data.num_outputs), data)
    assert SEASONAL not in report.errors
    assert "seasonal naive (24 steps): longer than the look-back" in report.as_text()


def test_report_and_task_are_read_again(trained, data):
    _, run, report = trained
    again = report_from(json.loads((run / "metrics.json").read_text()))
    assert (again.mse, again.errors, again.windows) == (report.mse, report.errors, report.windows)
    assert task_from(json.loads(json.dumps(data.task.to_dict()))) == data.task
    assert {"forecasts.png", "errors_by_step.png"} <= {path.name for path in run.iterdir()}
    assert "seasonal naive" in (run / "report.html").read_text()


def test_what_comes_after_the_last_row_is_forecast_with_its_times(trained, data, table, tmp_path):
    model, run, _ = trained
    rows = rows_of(table)
    outputs = model.predict(data.preprocess(rows[None, -8:]), verbose=0)
    expected = data.task.answers(outputs)[0]
    (found,) = kzoo.predict_files(run, [table])
    assert found.times == ["2020-03-03 14:00", "2020-03-03 15:00", "2020-03-03 16:00", "2020-03-03 17:00"]
    np.testing.assert_allclose(found.forecast["oil"], expected[:, 1], rtol=1e-4)
    shown = CliRunner().invoke(app, ["predict", str(run), table]).output
    assert [line.split()[1:3] for line in shown.splitlines()[1:]] == [time.split() for time in found.times]
    content = json.loads(CliRunner().invoke(app, ["predict", str(run), table, "--json"]).output)
    assert content[0]["times"] == found.times
    other = write(tmp_path / "days.csv", [f"2020-01-{n:02}" for n in range(1, 20)], range(19), range(19))
    with pytest.warns(UserWarning, match="has a row each 1 days?; this model was trained on one each 1 hour"):
        assert kzoo.predict_files(run, [other])[0].forecast == {"load": [], "oil": []}


@pytest.mark.slow
def test_an_export_returns_the_forecast(trained, data, tmp_path):
    exported = kzoo.export(trained[0], tmp_path / "export", data=data)
    assert exported.answer == "forecast"
    assert exported.max_difference < 1e-4


def test_a_convolutional_network_forecasts_too(data):
    model = kzoo.models.tcn(data.input_shape, data.num_outputs, filters=(4, 4))
    history = kzoo.fit(model, data, epochs=1, loss="huber", verbose=False)
    assert np.isfinite(history["val_mse"]).all()


def test_outputs_that_do_not_fit_are_named(data):
    with pytest.raises(ValueError, match=r"has 6 outputs but .* has 8 values .*; build it with num_classes=8"):
        kzoo.fit(kzoo.models.nlinear(data.input_shape, 6), data, epochs=1)
    with pytest.raises(ValueError, match="num_classes must be horizon x 2, got 7"):
        kzoo.models.dlinear(data.input_shape, 7)


def test_dlinear_divides_a_series_into_its_moving_average_and_the_rest():
    x = np.random.default_rng(0).normal(size=(2, 9, 3)).astype("float32")
    model = kzoo.models.dlinear((9, 3), 6, kernel=5)
    parts = keras.Model(model.input, model.get_layer("stage1").output).predict(x, verbose=0)
    padded = np.concatenate([x[:, :1], x[:, :1], x, x[:, -1:], x[:, -1:]], axis=1)
    mean = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=1).mean(axis=-1)
    np.testing.assert_allclose(parts, np.concatenate([x - mean, mean], axis=-1), atol=1e-5)


def test_nlinear_follows_the_level():
    model = kzoo.models.nlinear((9, 2), 4)
    x = np.random.default_rng(0).normal(size=(3, 9, 2)).astype("float32")
    low, high = model.predict(x, verbose=0), model.predict(x + 5, verbose=0)
    np.testing.assert_allclose(high, low + 5, atol=1e-4)


@pytest.mark.parametrize(
    "cells, step, season, following",
    [
        (["2020-01-31 23:00", "2020-02-01 00:00"], "1 hour", 24, "2020-02-01 01:00"),
        (["2020-01-31T23:30:00", "2020-02-01T00:00:00"], "30 minutes", 48, "2020-02-01 00:30:00"),
        (["2020-02-27", "2020-02-28"], "1 day", 7, "2020-02-29"),
        (["2019-11", "2019-12"], "1 month", 12, "2020-01"),
        (["2019-12-31", "2020-01-31"], "1 month", 12, "2020-02-29"),
        (["1970 Q2", "1970 Q3"], "3 months", 4, "1970-10-01 00:00:00"),
        (["1991 Nov", "1991 Dec"], "1 month", 12, "1992-01-01 00:00:00"),
        (["1821", "1822"], "1 number", 1, "1823"),
        (["31.12.2019", "07.01.2020"], "7 days", 1, "2020-01-14 00:00:00"),
        (["2021-05-01 01:00:00+01:00", "2021-05-01 01:00:00+00:00"], "1 hour", 24, "2021-05-01 02:00:00"),
    ],
)
def test_time_stamps(cells, step, season, following, tmp_path):
    table = read_table(write(tmp_path / "table.csv", cells, range(2)))
    times = read_times(table, "date")
    found, joined = step_of(times)
    assert (str(found), found.season, joined.tolist()) == (step, season, [True])
    assert written(found.after(times[-1], 1), cells[-1]) == [following]


def test_months_of_unequal_length_are_no_gap():
    months = np.array([f"2019-{month:02}-15" for month in range(1, 13)], "datetime64[s]")
    step, joined = step_of(months)
    assert step == Step(1.0, "months from their start")
    assert joined.all()


def load(path, **options):
    return kzoo.load_dataset(f"forecast:{path}", **{"lookback": 4, "horizon": 2} | options)


def test_gaps_are_named_and_no_window_spans_one(tmp_path):
    times = hours(41)
    del times[20]
    path = write(tmp_path / "gap.csv", times, range(40))
    with pytest.warns(UserWarning, match=r"1 gaps? where rows are not 1 hour apart: line 21 \(2020-02-28 19:00\) to "):
        data = load(path, split=[30, 5, 5])
    starts = data.examples["train"].inputs.starts
    assert starts.tolist() == [*range(0, 15), *range(20, 25)]
    labels = data.examples["train"].labels[..., 0]
    np.testing.assert_array_equal(labels, starts[:, None] + [4, 5])


def test_columns_without_numbers_are_named(tmp_path):
    path = write(tmp_path / "words.csv", hours(40), range(40), ["a"] * 40)
    with pytest.warns(UserWarning, match="'oil' hold no numbers to forecast"):
        assert load(path).task.columns == ("load",)


@pytest.mark.parametrize(
    "change, options, message",
    [
        ({}, {"horizon": 0}, "horizon must be a positive integer, at most 1,000,000, got 0"),
        ({}, {"horizon": 60}, "bad.csv has 40 rows, but lookback=4 and horizon=60 take 64"),
        ({}, {"horizon": 6}, "the validation split of bad.csv has 4 rows, but horizon=6 takes 6"),
        ({}, {"columns": ["laod"]}, "unknown column of bad.csv, 'laod'; did you mean load"),
        ({}, {"time": "dat"}, "unknown column of bad.csv, 'dat'; did you mean date"),
        ({}, {"split": [40, 20, 20]}, r"split=\[40, 20, 20\] takes 80 rows, but bad.csv has 40"),
        ({}, {"split": [0.9, 0.1]}, "split must be three fractions such as"),
        ({"load": (7, "high")}, {}, "bad.csv has 'high' in line 9, column load; expected a number"),
        ({"load": (7, "")}, {}, "bad.csv has no load in line 9"),
        ({"date": (7, "soon")}, {}, "bad.csv has 'soon' in line 9, column date; expected numbers, or dates such as"),
        ({"date": (7, "2020-02-28 06:00")}, {}, r"line 9 \(2020-02-28 06:00\) repeats the time of line 8"),
        ({"date": (7, "2020-02-27 00:00")}, {}, r"line 9 \(2020-02-27 00:00\) is earlier than line 8"),
    ],
)
def test_bad_tables_are_explained(change, options, message, tmp_path):
    columns = {"date": hours(40), "load": list(range(40))}
    for name, (row, cell) in change.items():
        columns[name][row] = cell
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "bad.csv", columns["date"], columns["load"]), **options)


def test_constant_columns_and_tables_without_times(tmp_path):
    with pytest.raises(ValueError, match="all training rows have 3 in column load"):
        load(write(tmp_path / "same.csv", hours(40), [3] * 40))
    (tmp_path / "plain.csv").write_text("a,b\n" + "1,2\n" * 40)
    with pytest.raises(ValueError, match="no column of plain.csv holds times, of 'a', 'b'; name it: time=COLUMN"):
        load(tmp_path / "plain.csv")


def test_a_run_on_other_columns_is_refused(trained, table):
    other = kzoo.load_dataset(f"forecast:{table}", columns=["oil", "load"], season=4, **OPTIONS)
    with (
        pytest.warns(UserWarning, match="in another order"),
        pytest.raises(ValueError, match=r"give columns=\['load', 'oil'\]"),
    ):
        kzoo.evaluate(trained[0], other)


@pytest.mark.parametrize("recipe", ["fast", "standard", "strong"])
def test_recipes_leave_out_what_forecasts_have_not(recipe):
    experiment = kzoo.load_experiment("timeseries/nlinear_airline", [f"recipe={recipe}"])
    assert experiment["data"]["augment"] == {}
    assert "label_smoothing" not in experiment["train"]


def planned(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a load that is nothing but noise and a plan, and the plan, which is 1 at random hours."""
    rng = np.random.default_rng(1)
    plan = (rng.random(count) < 0.4).astype(int)
    return (10 + 5 * plan + 0.1 * rng.normal(size=count)).round(3), plan


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Return the path of 300 hours of a load and of its plan, which goes on for 6 hours."""
    load, plan = planned(306)
    load = [*load[:300], *[""] * 6]
    return write(tmp_path_factory.mktemp("plan") / "plan.csv", hours(306), load, plan, names=("load", "plan"))


KNOWN = {"known": "plan", "lookback": 6, "horizon": 3, "split": [200, 40, 60], "season": 3, "batch_size": 32}


@pytest.fixture(scope="module")
def planned_data(plan):
    return kzoo.load_dataset(f"forecast:{plan}", **KNOWN)


@pytest.fixture(scope="module")
def planner(planned_data, tmp_path_factory):
    """Return a network that has learned the plan, its run directory, and its report."""
    keras.utils.set_random_seed(0)
    run = tmp_path_factory.mktemp("run") / "run"
    model = kzoo.models.mlp(planned_data.input_shape, planned_data.num_outputs, units=(16,), dropout=0)
    kzoo.fit(model, planned_data, epochs=25, learning_rate=3e-2, run_dir=run, verbose=False)
    return model, run, kzoo.evaluate(model, planned_data, run_dir=run)


def test_known_columns_are_inputs_over_look_back_and_horizon(planned_data):
    load, plan = planned(306)
    data, part = planned_data, planned_data.examples["test"]
    assert (data.input_shape, data.task.columns, data.task.known) == ((9, 2), ("load",), ("plan",))
    np.testing.assert_allclose(part.inputs[0], np.stack([load, plan], axis=1)[234:243], rtol=1e-6)
    np.testing.assert_allclose(part.labels[0][:, 0], load[240:243], rtol=1e-6)
    assert len(part) == 60 - 3 + 1  # rows without a load are no targets
    inputs = data.preprocess(part.inputs[:1])[0].numpy() * data.preprocess.std + data.preprocess.mean
    np.testing.assert_allclose(inputs[:6, 0], load[234:240], rtol=1e-4)
    np.testing.assert_allclose(inputs[6:, 0], load[239], rtol=1e-4)  # what is to be forecast is not seen
    np.testing.assert_allclose(inputs[:, 1], plan[234:243], atol=1e-4)


def test_a_network_uses_what_is_known_ahead(planner):
    _, _, report = planner
    assert report.mse < 0.05 < 0.5 < np.mean(report.errors[LINEAR].mse)  # which sees the look-back alone
    assert len(report.windows[0].lookback) == 6
    assert report_from(json.loads(json.dumps(report.to_dict()))).mse == report.mse


def test_future_rows_of_known_columns_are_read_from_the_table(planner, planned_data, plan):
    model, run, _ = planner
    (found,) = kzoo.predict_files(run, [plan])
    load, plans = planned(306)
    assert found.times == hours(303)[300:]
    raw = np.stack([[*load[294:300], 0, 0, 0], plans[294:303]], axis=1).astype("float32")
    expected = planned_data.task.answers(model.predict(planned_data.preprocess(raw[None]), verbose=0))[0]
    np.testing.assert_allclose(found.forecast["load"], expected[:, 0], rtol=1e-4)


@pytest.mark.parametrize(
    "rows, changed, missing",
    [
        (300, {}, "plan at 2020-03-11 12:00, 2020-03-11 13:00, 2020-03-11 14:00$"),
        (302, {}, "plan at 2020-03-11 14:00$"),
        (303, {301: ""}, "plan at 2020-03-11 13:00$"),
    ],
)
def test_future_rows_that_are_missing_are_named(planner, rows, changed, missing, tmp_path):
    load, plans = planned(306)
    plans = [changed.get(row, cell) for row, cell in enumerate(plans)]
    cells = [*load[:300], *[""] * 6]
    path = write(tmp_path / "t.csv", hours(rows), cells[:rows], plans[:rows], names=("load", "plan"))
    expected = "t.csv needs plan for the 3 rows after 2020-03-11 11:00; missing: " + missing
    with pytest.raises(ValueError, match=expected):
        kzoo.load_predictor(planner[1]).predict(path)


@pytest.mark.slow
def test_an_export_takes_what_is_known_ahead(planner, planned_data, tmp_path):
    assert kzoo.export(planner[0], tmp_path / "export", data=planned_data).max_difference < 1e-4


def test_networks_that_forecast_every_channel_refuse_known_columns(planned_data):
    model = kzoo.models.nlinear(planned_data.input_shape, 4)
    with pytest.raises(ValueError, match="has 4 outputs but"):
        kzoo.fit(model, planned_data, epochs=1)
    even = {**KNOWN, "horizon": 4}
    data = kzoo.load_dataset(f"forecast:{planned_data.name.split(':', 1)[1]}", **even)
    with pytest.raises(
        ValueError, match="nlinear forecasts every channel of its input, and plan need no forecast; leave out"
    ):
        kzoo.fit(kzoo.models.nlinear(data.input_shape, data.num_outputs), data, epochs=1)


def test_columns_that_are_forecast_and_known_are_refused(plan):
    with pytest.raises(ValueError, match=r"column 'plan' of plan.csv is named in columns= and in known="):
        kzoo.load_dataset(f"forecast:{plan}", **KNOWN, columns=["plan", "load"])


def test_a_data_frame_is_read_as_a_table(planned_data, plan):
    pandas = pytest.importorskip("pandas")
    data = kzoo.from_frame(pandas.read_csv(plan), task="forecasting", target="load", **KNOWN)
    np.testing.assert_array_equal(data.examples["test"].inputs[:], planned_data.examples["test"].inputs[:])
    assert data.task == planned_data.task
    with pytest.raises(ValueError, match="forecasting of a frame takes no group"):
        kzoo.from_frame(pandas.read_csv(plan), task="forecasting", group="plan")
    with pytest.raises(ValueError, match="option of forecasting, 'lokback'; did you mean lookback"):
        kzoo.from_frame(pandas.read_csv(plan), task="forecasting", lokback=3)


LEVELS = {"quantiles": [0.1, 0.5, 0.9]}


@pytest.fixture(scope="module")
def wide(table):
    return kzoo.load_dataset(f"forecast:{table}", season=4, **OPTIONS | LEVELS)


@pytest.fixture(scope="module")
def interval(wide, tmp_path_factory):
    """Return a network with quantiles, its run directory, and its report."""
    keras.utils.set_random_seed(0)
    run = tmp_path_factory.mktemp("run") / "run"
    model = kzoo.models.nlinear(wide.input_shape, wide.num_outputs)
    kzoo.fit(model, wide, epochs=15, learning_rate=1e-2, run_dir=run, verbose=False)
    return model, run, kzoo.evaluate(model, wide, run_dir=run)


def test_quantiles_are_outputs_by_step_quantile_and_column(wide):
    assert wide.num_outputs == 4 * 3 * 2
    assert wide.task.names[:5] == ("load +1 10 %", "oil +1 10 %", "load +1 50 %", "oil +1 50 %", "load +1 90 %")
    assert wide.task.target_names == ("load +1", "oil +1", "load +2", "oil +2", *wide.task.target_names[4:])
    with pytest.raises(ValueError, match="quantiles must be ascending fractions"):
        dataclasses.replace(wide.task, quantiles=(0.9, 0.5, 0.1))
    with pytest.raises(ValueError, match="with quantiles the loss is the pinball loss; leave out loss='mae'"):
        wide.task.loss(loss="mae")


def test_the_report_has_the_coverage_and_errors_of_the_median(interval, wide):
    model, _, report = interval
    part = wide.examples["test"]
    answers = wide.task.answers(model.predict(wide.test, verbose=0))
    low, median, high = np.moveaxis(answers, 2, 0)
    errors = wide.task.standardised(median) - wide.task.standardised(part.labels)
    assert report.mse == pytest.approx(np.mean(errors**2), rel=1e-4)
    covered = (part.labels >= low) & (part.labels <= high)
    np.testing.assert_allclose(report.coverage, covered.mean(axis=0))
    assert 0.4 < np.mean(report.coverage) < 1
    assert "coverage (10 % to 90 %)" in report.headline()
    assert report_from(json.loads(json.dumps(report.to_dict()))).coverage == report.coverage
    assert np.mean(np.subtract(report.windows[0].high, report.windows[0].low)) > 0


def test_the_metrics_of_training_are_those_of_the_median(interval, wide):
    model, run, _ = interval
    found = model.evaluate(wide.validation, verbose=0, return_dict=True)
    report = kzoo.evaluate(model, wide, split="validation")
    assert (found["mse"], found["mae"]) == pytest.approx((report.mse, report.mae), rel=1e-4)
    assert task_from(json.loads((run / "data.json").read_text())["task"]) == wide.task


def test_quantiles_are_served_with_their_names(interval, table):
    (found,) = kzoo.predict_files(interval[1], [table])
    assert list(found.quantiles) == ["10 %", "50 %", "90 %"]
    assert found.quantiles["50 %"] == found.forecast
    assert len(found.quantiles["90 %"]["oil"]) == 4
    header, *rows = CliRunner().invoke(app, ["predict", str(interval[1]), table]).output.splitlines()
    assert "load 10 %" in header
    assert len(rows) == 4


@pytest.mark.slow
def test_an_export_returns_the_quantiles(interval, wide, tmp_path):
    assert kzoo.export(interval[0], tmp_path / "export", data=wide).max_difference < 1e-4
