"""Forecasting: the next steps of one or more series, from the steps before them.

The report has errors as the literature gives them, of standardised values, and in the original unit, beside those of
forecasts without a network: the last value, the last season, and a linear layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from kzoo.core.lazy import figures, keras, np, rich_table
from kzoo.core.numbers import percent, significant
from kzoo.core.ranges import check_range, evenly_spaced
from kzoo.core.shown import table
from kzoo.tasks.quantiles import check_quantiles, inside, level_names, numeric_loss
from kzoo.tasks.task import Report, Score, Section, Task, keras_metrics

FORECASTS, BY_STEP = "forecasts.png", "errors_by_step.png"
MODEL, NAIVE, SEASONAL, LINEAR = "network", "naive", "seasonal naive", "linear layer"
AT_ONCE = 256  # windows that are read at a time
PENALTY = 1.0  # of the ridge regression, on standardised values
DRAWN, CHANNELS = 3, 4  # windows and channels in the picture
STEPS, COLUMNS = 8, 10  # steps and columns in the tables of errors by step


@dataclass(frozen=True)
class Forecasting(Task):
    """The next rows of a table, standardised by its training rows; targets are float (n, horizon, columns).

    A network has an output for each step and column, the columns of one step side by side; with quantiles an output for
    each step, quantile and column in this order.

    Args:
        columns: names of the series.
        horizon: steps that are forecast.
        mean: of each column over the training rows.
        deviation: standard deviation of each column, likewise.
        season: steps of a season, for the report's forecast by the last season.
        known: names of further channels of the inputs, which are known over the horizon; inputs then are look-back and
            horizon, (lookback + horizon, columns + known).
        quantiles: ascending, in (0, 1), with the median in the middle, for intervals, learned with the pinball loss; ()
            for one value.

    Raises:
        ValueError: for a horizon or a season below 1, or other quantiles.
    """

    columns: tuple[str, ...]
    horizon: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    season: int = 1
    known: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    key: ClassVar[str] = "forecasting"
    noun: ClassVar[str] = "values (horizon x columns)"
    score: ClassVar[Score] = Score("mse", up=False)
    answer: ClassVar[str] = "forecast"
    drawn: ClassVar[tuple[str, ...]] = (FORECASTS, BY_STEP)
    losses: ClassVar[tuple[str, ...]] = ("mse", "mae", "huber")

    def __post_init__(self):
        check_range("horizon", self.horizon, "a positive integer")
        check_range("season", self.season, "a positive integer")
        check_quantiles(self.quantiles)

    @property
    def names(self):
        levels = [f" {level}" for level in level_names(self.quantiles)] or [""]
        steps = range(1, self.horizon + 1)
        return tuple(f"{column} +{step}{level}" for step in steps for level in levels for column in self.columns)

    @property
    def target_names(self):
        return dataclasses.replace(self, quantiles=()).names if self.quantiles else self.names

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of one answer: (horizon, columns), or (horizon, quantiles, columns)."""
        return (self.horizon, *([len(self.quantiles)] if self.quantiles else []), len(self.columns))

    def medians(self, answers: np.ndarray) -> np.ndarray:
        """Return what is forecast in the end, (..., horizon, columns), of answers (..., *shape)."""
        return answers[..., len(self.quantiles) // 2, :] if self.quantiles else answers

    def check(self, split, targets):
        rows = np.asarray(targets)
        if rows.shape[1:] != (self.horizon, len(self.columns)):
            expected = f"(n, {self.horizon}, {len(self.columns)}), rows of the horizon and columns"
            raise ValueError(f"the targets of the {split} split have shape {rows.shape}, expected {expected}")
        finite = np.isfinite(rows).all(axis=(1, 2))
        if not finite.all():
            raise ValueError(f"a target of example {finite.argmin()} of the {split} split is no finite number")

    def standardised(self, values: np.ndarray) -> np.ndarray:
        """Return values (..., columns) in the original unit as standardised ones, float32."""
        return (np.asarray(values, "float32") - np.float32(self.mean)) / np.float32(self.deviation)

    def encode(self, targets):
        return self.standardised(targets).reshape(len(targets), -1)

    def loss(self, targets=None, *, loss=None, huber_delta=1.0):
        return numeric_loss(loss, huber_delta, self.quantiles, len(self.columns))

    def metrics(self):
        if self.quantiles:
            counts = len(self.quantiles), len(self.columns)
            return [keras_metrics.MedianError(kind, *counts) for kind in ("mse", "mae")]
        return [keras.metrics.MeanSquaredError("mse"), keras.metrics.MeanAbsoluteError("mae")]

    def decode(self, outputs):
        steps = keras.ops.reshape(keras.ops.cast(outputs, "float32"), (-1, *self.shape))
        return {self.answer: steps * np.asarray(self.deviation, "float32") + np.asarray(self.mean, "float32")}

    def answers(self, outputs):
        return np.reshape(outputs, (-1, *self.shape)) * np.float32(self.deviation) + np.float32(self.mean)

    def describe(self, answer):
        values = np.empty((0, *self.shape[1:])) if answer is None else answer
        described = {self.answer: self.series(self.medians(values))}
        if self.quantiles:
            each = zip(level_names(self.quantiles), np.moveaxis(values, -2, 0), strict=True)
            described["quantiles"] = {level: self.series(steps) for level, steps in each}
        return described

    def series(self, steps: np.ndarray) -> dict[str, list[float]]:
        """Return values (horizon, columns) as lists by the name of the column."""
        return {name: steps[:, n].tolist() for n, name in enumerate(self.columns)}

    def rows(self, described):
        series = dict(described[self.answer])
        for level, columns in described.get("quantiles", {}).items():
            series |= {f"{name} {level}": values for name, values in columns.items()}
        times = described.get("times", [f"+{step}" for step in range(1, self.horizon + 1)])
        count = len(next(iter(series.values())))
        empty = {"time": ""} | dict.fromkeys(series, "")
        return [
            {"time": times[step]} | {name: significant(values[step]) for name, values in series.items()}
            for step in range(count)
        ] or [empty]

    def explained(self, answer):
        return len(self.quantiles) // 2 * len(self.columns)

    def which(self, output):
        return repr(self.names[self.explained(None) if output is None else output])

    def caption(self, answer, output=None, target=None):
        index = self.explained(answer) if output is None else output
        step, *_, column = np.unravel_index(index, self.shape)
        true = [] if target is None else [f"true {significant(target[step, column])}"]
        return ", ".join([*true, f"{self.names[index]} {significant(np.ravel(answer)[index])}"])

    def matched(self, other, targets):
        if other.columns != self.columns:
            raise ValueError(f"the columns are in another order than in training; give columns={list(self.columns)}")
        return targets

    def report(self, split, targets, answers, speed):
        errors = Errors.of(self, [(targets, self.medians(answers))])
        shown = evenly_spaced(len(targets), DRAWN)
        columns = evenly_spaced(len(self.columns), CHANNELS)
        return ForecastingReport(
            split=split,
            examples=len(targets),
            mse=float(np.mean(errors.mse)),
            mae=float(np.mean(errors.mae)),
            deviation=dict(zip(self.columns, self.deviation, strict=True)),
            season=self.season,
            errors={MODEL: errors},
            interval_levels=[self.quantiles[0], self.quantiles[-1]] if self.quantiles else None,
            coverage=self.covered(targets, answers).mean(axis=0).tolist() if self.quantiles else None,
            windows=[Window.of(self, int(n), int(c), targets[n], answers[n]) for c in columns for n in shown],
            examples_per_second=speed,
        )

    def check_architecture(self, name, architecture):
        if self.known and getattr(architecture, "channelwise", False):
            raise ValueError(
                f"{name} forecasts every channel of its input, and {', '.join(self.known)} need no forecast; leave out "
                "known=, or take another network such as inceptiontime"
            )

    def seen(self, inputs: np.ndarray) -> np.ndarray:
        """Return the columns of raw inputs (n, rows, channels) in the look-back, (n, lookback, columns)."""
        return inputs[:, : -self.horizon, : len(self.columns)] if self.known else inputs

    def covered(self, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Return whether targets (n, horizon, columns) lie between the outermost two quantiles."""
        return inside(targets, answers[:, :, 0], answers[:, :, -1])

    def compared(self, report, parts, train=None):
        lookback = self.seen(parts[0].inputs[:1]).shape[1]
        forecasters = {NAIVE: last_value(self)}
        if self.season <= lookback:
            forecasters[SEASONAL] = last_season(self)
        if train is not None:
            forecasters[LINEAR] = linear_layer(self, train)
        found = {
            name: Errors.of(self, ((y, forecaster(x)) for part in parts for x, y in batches(self, part)))
            for name, forecaster in forecasters.items()
        }
        windows = [window.with_lookback(self, parts) for window in report.windows]
        return dataclasses.replace(report, errors=report.errors | found, windows=windows)


class Errors(NamedTuple):
    """Mean squared and mean absolute errors of standardised values, (horizon, columns) as lists."""

    mse: list[list[float]]
    mae: list[list[float]]

    @classmethod
    def of(cls, task: Forecasting, pairs) -> Errors:
        """Return the errors of pairs of true and forecast values in the original unit, (n, horizon, columns)."""
        squared, absolute, count = 0.0, 0.0, 0
        for true, forecast in pairs:
            errors = task.standardised(forecast) - task.standardised(true)
            squared += np.sum(errors * errors, axis=0, dtype="float64")
            absolute += np.sum(np.abs(errors), axis=0, dtype="float64")
            count += len(errors)
        return cls((squared / count).tolist(), (absolute / count).tolist())


def batches(task: Forecasting, examples) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the look-backs and the targets of some windows at a time."""
    for start in range(0, len(examples), AT_ONCE):
        chosen = slice(start, start + AT_ONCE)
        yield task.seen(np.asarray(examples.inputs[chosen])), examples.labels[chosen]


def last_value(task: Forecasting) -> Callable:
    """Return the naive forecast: the last value of the look-back, (n, lookback, columns) to (n, horizon, columns)."""
    return lambda lookback: np.repeat(lookback[:, -1:], task.horizon, axis=1)


def last_season(task: Forecasting) -> Callable:
    """Return the seasonal naive forecast: the values of the last season of the look-back, again and again."""
    steps = np.arange(task.horizon) % task.season
    return lambda lookback: lookback[:, lookback.shape[1] - task.season + steps]


def linear_layer(task: Forecasting, train) -> Callable:
    """Return the forecast by a linear layer with biases from the look-back to the horizon, the same for all columns.

    It is fitted to the training windows by ridge regression of standardised values with a penalty of 1, as
    scikit-learn's, whose biases are not penalised.
    """
    size = task.seen(train.inputs[:1]).shape[1] + 1
    products, targets = np.zeros((size, size)), np.zeros((size, task.horizon))
    for lookback, following in batches(task, train):
        x, y = with_ones(task, lookback), by_column(task, following)
        products, targets = products + x.T @ x, targets + x.T @ y
    penalty = PENALTY * np.eye(size)
    penalty[-1, -1] = 0.0
    weights = np.linalg.solve(products + penalty, targets)

    def forecast(lookback):
        steps = (with_ones(task, lookback) @ weights).reshape(len(lookback), -1, task.horizon).transpose(0, 2, 1)
        return steps * task.deviation + task.mean

    return forecast


def by_column(task: Forecasting, values: np.ndarray) -> np.ndarray:
    """Return standardised values (n, steps, columns) as a row for each column, float64 (n x columns, steps)."""
    return task.standardised(values).transpose(0, 2, 1).reshape(-1, values.shape[1]).astype("float64")


def with_ones(task: Forecasting, lookback: np.ndarray) -> np.ndarray:
    """Return look-backs as rows for `linear_layer`, with a column of ones for the biases."""
    rows = by_column(task, lookback)
    return np.hstack([rows, np.ones((len(rows), 1))])


@dataclass(frozen=True)
class Window:
    """A window that is drawn: one column of an example's look-back, what followed it and what was forecast."""

    example: int
    column: str
    true: list[float]
    forecast: list[float]
    lookback: list[float] = ()
    low: list[float] | None = None
    high: list[float] | None = None

    @classmethod
    def of(cls, task: Forecasting, example: int, column: int, true: np.ndarray, answer: np.ndarray) -> Window:
        """Return a window without its look-back, for a target (horizon, columns) and its answer."""
        ends = {"low": answer[:, 0], "high": answer[:, -1]} if task.quantiles else {}
        steps = {"true": true, "forecast": task.medians(answer)} | ends
        series = {name: values[:, column].tolist() for name, values in steps.items()}
        return cls(example, task.columns[column], **series)

    def with_lookback(self, task: Forecasting, parts: Sequence) -> Window:
        """Return the window with at most two horizons of its look-back."""
        index, parts = self.example, iter(parts)
        part = next(parts)
        while index >= len(part):
            index, part = index - len(part), next(parts)
        seen = task.seen(np.asarray(part.inputs[index])[None])[0]
        before = seen[-2 * task.horizon :, task.columns.index(self.column)]
        return dataclasses.replace(self, lookback=before.tolist())


@dataclass(frozen=True, repr=False, kw_only=True)
class ForecastingReport(Report):
    """Errors of forecasts on one split, beside those of forecasts without a network.

    Attributes:
        mse: mean squared error of standardised values, over all windows, steps and columns, as the literature has it.
        mae: mean absolute error, likewise.
        deviation: standard deviation of each column, by which its values were divided.
        season: steps of a season of the seasonal naive forecast.
        errors: of the network and of the naive, the seasonal naive and the linear forecast, by step and column.
        windows: that are drawn.
        interval_levels: the outermost two quantiles; None for a forecast without quantiles.
        coverage: fraction of the values between them, by step and column, in [0, 1]; None likewise.
    """

    task: ClassVar[type[Task]] = Forecasting
    mse: float
    mae: float
    deviation: dict[str, float]
    season: int
    errors: dict[str, Errors]
    windows: list[Window]
    interval_levels: list[float] | None = None
    coverage: list[list[float]] | None = None

    @classmethod
    def from_dict(cls, content):
        errors = {name: Errors(*values) for name, values in content["errors"].items()}
        return super().from_dict(content | {"errors": errors, "windows": [Window(**one) for one in content["windows"]]})

    def called(self, name: str) -> str:
        """Return the name of a forecast in words."""
        return f"{name} ({self.season} steps)" if name == SEASONAL else name

    def others(self):
        found = {"mae": significant(self.mae)}
        found |= {f"coverage ({self.interval_words})": percent(np.mean(self.coverage))} if self.coverage else {}
        found |= {f"{name} mse": significant(np.mean(found.mse)) for name, found in self.references.items()}
        return found

    @property
    def interval_words(self) -> str:
        """The outermost two quantiles in words."""
        return " to ".join(level_names(self.interval_levels))

    def coverages(self, axis: int) -> tuple[list[str], list[list[str]]]:
        """Return a heading and a cell for each row of a table of columns or steps; none without quantiles.

        Args:
            axis: over which the mean is taken: 0 for a row for each column, 1 for each step.
        """
        if not self.coverage:
            return [], [[]] * np.shape(self.errors[MODEL].mse)[1 - axis]
        return [f"coverage ({self.interval_words})"], [[percent(value)] for value in np.mean(self.coverage, axis=axis)]

    @property
    def references(self) -> Mapping[str, Errors]:
        """The errors of forecasts without a network."""
        return {name: errors for name, errors in self.errors.items() if name != MODEL}

    def tables(self):
        yield self.forecast_table()
        yield self.column_table()
        yield self.step_table()
        yield self.unit_table()

    def forecast_table(self) -> rich_table.Table:
        """Return the errors of all forecasts, of standardised values."""
        rows = [
            (self.called(name), significant(np.mean(errors.mse)), significant(np.mean(errors.mae)))
            for name, errors in self.errors.items()
        ]
        if SEASONAL not in self.errors:
            rows.append((f"{self.called(SEASONAL)}: longer than the look-back", "-", "-"))
        return table(("forecast by", "MSE", "MAE"), rows)

    def column_table(self) -> rich_table.Table:
        """Return the errors of each column, of standardised values and in the unit of the column."""
        mse = {name: np.mean(errors.mse, axis=0) for name, errors in self.errors.items()}
        mae = np.mean(self.errors[MODEL].mae, axis=0)
        heading, covered = self.coverages(0)
        rows = []
        for n, (column, deviation) in enumerate(self.deviation.items()):
            others = (mse[name][n] for name in self.references)
            own, others = (mse[MODEL][n], mae[n], mae[n] * deviation), map(significant, others)
            rows.append((column, *map(significant, own), *covered[n], *others))
        others = (f"{self.called(name)} MSE" for name in self.references)
        return table(("column", "MSE", "MAE", "MAE in the unit", *heading, *others), rows)

    def step_table(self) -> rich_table.Table:
        """Return the errors of a few steps, of standardised values, the mean over the columns."""
        means = {name: np.mean(errors.mse, axis=1) for name, errors in self.errors.items()}
        mae = np.mean(self.errors[MODEL].mae, axis=1)
        heading, covered = self.coverages(1)
        others = [(f"{self.called(name)} MSE", means[name]) for name in self.references]
        rows = [
            (
                f"{n + 1}",
                *map(significant, (means[MODEL][n], mae[n])),
                *covered[n],
                *(significant(values[n]) for _, values in others),
            )
            for n in evenly_spaced(len(mae), STEPS)
        ]
        return table(("step", "MSE", "MAE", *heading, *(name for name, _ in others)), rows)

    def unit_table(self) -> rich_table.Table:
        """Return the mean absolute error of a few steps in the unit of each of the first columns."""
        mae = np.array(self.errors[MODEL].mae) * list(self.deviation.values())
        rows = [(f"{n + 1}", *map(significant, mae[n, :COLUMNS])) for n in evenly_spaced(len(mae), STEPS)]
        return table(("step, MAE in the unit of", *list(self.deviation)[:COLUMNS]), rows)

    def sections(self) -> Iterator[Section]:
        words = "Errors of standardised values. The linear layer is the same for all columns, fitted to the training "
        words += "windows by ridge regression."
        yield Section("Forecasts", words, table=self.forecast_table())
        alt = f"Windows of the {self.split} split: look-back, what followed, and the forecast."
        yield Section("Windows", alt, FORECASTS, alt, wide=True)
        yield Section("Columns", table=self.column_table())
        alt = "Errors by step of the horizon, the mean over the columns."
        yield Section("Steps", alt, BY_STEP, alt, wide=True, table=self.step_table())
        yield Section("Steps in the unit", table=self.unit_table())

    def pictures(self, draw):
        return {FORECASTS: draw_windows(self), BY_STEP: draw_errors(self)}


def draw_windows(report: ForecastingReport) -> figures.Figure:
    """Draw windows with the truth and the forecast, a row for each column and a column for each window."""
    columns = list(dict.fromkeys(window.column for window in report.windows))
    across = len(report.windows) // len(columns)
    figure = figures.Figure(figsize=(4.5 * across, 2.4 * len(columns) + 0.4), layout="constrained")
    for window, axes in zip(report.windows, figure.subplots(len(columns), across, squeeze=False).flat, strict=True):
        before, steps = len(window.lookback), len(window.true)
        axes.plot(range(1 - before, 1), window.lookback, color="grey", linewidth=1)
        axes.plot(range(1, steps + 1), window.true, linewidth=1, label="truth")
        axes.plot(range(1, steps + 1), window.forecast, linewidth=1, label="forecast")
        if window.low:
            band = {"alpha": 0.25, "linewidth": 0, "color": "C1", "label": report.interval_words}
            axes.fill_between(range(1, steps + 1), window.low, window.high, **band)
        axes.axvline(0.5, color="lightgrey", linewidth=1)
        axes.set_title(f"{window.column}, example {window.example}", fontsize=8)
    figure.axes[0].legend(fontsize=8)
    return figure


def draw_errors(report: ForecastingReport) -> figures.Figure:
    """Draw the errors of all forecasts by step of the horizon."""
    figure = figures.Figure(figsize=(9, 3.6), layout="constrained")
    for axes, what in zip(figure.subplots(1, 2), Errors._fields, strict=True):
        for name, errors in report.errors.items():
            by_step = np.mean(getattr(errors, what), axis=1)
            style = "-" if name == MODEL else "--"
            axes.plot(range(1, len(by_step) + 1), by_step, style, marker=".", label=report.called(name))
        axes.set(xlabel="step of the horizon", ylabel=f"{what.upper()} of standardised values", ylim=(0, None))
    axes.legend(fontsize=8)
    return figure
