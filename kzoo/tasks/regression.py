"""Regression: one or more numbers an example.

The report has errors in the original unit with intervals, scatter and residual pictures, and the worst examples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.lazy import figures, keras, np, rich_table
from kzoo.core.numbers import percent, significant
from kzoo.core.shown import table
from kzoo.tasks.quantiles import check_quantiles, inside, level_names, numeric_loss
from kzoo.tasks.task import Report, Score, Section, Task, bootstrap, draw_examples, keras_metrics

SCATTER, WORST = "scatter.png", "worst.png"
SHOWN = 25  # worst examples
SCORES = ("mae", "rmse", "r2")
LEAST = 1e-12  # relative to the mean, the deviation below which targets are constant


@dataclass(frozen=True)
class Regression(Task):
    """One or more numbers an example, standardised by the training targets; targets are float (n, columns).

    Args:
        columns: names of the numbers.
        mean: of each column over the training targets.
        deviation: standard deviation, likewise.
        quantiles: ascending, in (0, 1), with the median in the middle, for intervals: a network has an output for each
            column and quantile, and learns them with the pinball loss. () for one output a column.
        masked: whether NaN stands for a target that is not known, and is left out of loss and metrics.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()
    masked: bool = False
    key: ClassVar[str] = "regression"
    noun: ClassVar[str] = "numbers"
    score: ClassVar[Score] = Score("mae", up=False)
    drawn: ClassVar[tuple[str, ...]] = (SCATTER, WORST)
    losses: ClassVar[tuple[str, ...]] = ("mse", "mae", "huber")

    def __post_init__(self):
        check_quantiles(self.quantiles)

    @property
    def names(self):
        if not self.quantiles:
            return self.columns
        return tuple(f"{column} {level}" for column in self.columns for level in level_names(self.quantiles))

    @property
    def target_names(self):
        return self.columns

    @property
    def every(self) -> int:
        """Number of outputs of each column."""
        return len(self.quantiles) or 1

    def check(self, split, targets):
        rows = np.asarray(targets)
        if rows.ndim != 2 or rows.shape[1] != len(self.columns):
            raise ValueError(
                f"the targets of the {split} split have shape {rows.shape}, expected (n, {len(self.columns)})"
            )
        if rows.dtype.kind not in "iuf":
            raise ValueError(f"the targets of the {split} split are {rows.dtype}; expected numbers")
        wrong = np.argwhere(np.isinf(rows) | (np.isnan(rows) & (not self.masked)))
        if len(wrong):
            row, column = wrong[0]
            hint = "" if self.masked else "; leave the example out, or leave such targets out of the loss: masked=True"
            raise ValueError(
                f"example {row} of the {split} split has {rows[row, column]:g} for {self.columns[column]!r}, "
                f"expected a number{hint}"
            )

    def check_some(self, split, targets):
        if not np.isfinite(targets).any():
            raise ValueError(f"no target of the {split} split is known")

    def fitted(self, targets):
        rows = np.asarray(targets, "float64")
        mean = mean_of_known(rows)
        deviation = np.sqrt(mean_of_known((rows - mean) ** 2))
        constant = np.flatnonzero(~(deviation > LEAST * np.abs(mean)))
        if constant.size:
            column = constant[0]
            found = "unknown" if np.isnan(mean[column]) else f"{mean[column]:g}"
            raise ValueError(f"all training targets of {self.columns[column]!r} are {found}; there is nothing to learn")
        return dataclasses.replace(self, mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()))

    def encode(self, targets):
        return ((np.asarray(targets, "float64") - self.mean) / self.deviation).astype("float32")

    def loss(self, targets=None, *, loss=None, huber_delta=1.0):
        return numeric_loss(loss, huber_delta, self.quantiles)

    def metrics(self):
        return [keras_metrics.MeanAbsoluteError(self.deviation, self.every)]

    def decode(self, outputs):
        scale, shift = (np.repeat(np.asarray(part, "float32"), self.every) for part in (self.deviation, self.mean))
        return {self.answer: keras.ops.cast(outputs, "float32") * scale + shift}

    def answers(self, outputs):
        return outputs.astype("float64") * np.repeat(self.deviation, self.every) + np.repeat(self.mean, self.every)

    def explained(self, answer):
        return self.every // 2

    def which(self, output):
        return repr(self.names[self.every // 2 if output is None else output])

    def caption(self, answer, output=None, target=None):
        index = self.explained(answer) if output is None else output
        name = f"{self.names[index]} " if self.outputs > 1 else ""
        true = "" if target is None else f"true {significant(np.ravel(target)[index // self.every])}, "
        return f"{name}{true}predicted {self.shown(answer[index])}"

    def shades(self, answers, targets):
        return answers[:, self.every // 2] if targets is None else np.asarray(targets, "float64")[:, 0]

    def measured(self, targets, answers):
        return float(scores(np.asarray(targets, "float64"), answers[:, self.every // 2 :: self.every])[0, -1])

    def agreement(self, before, after):
        """Return the mean absolute change of the answers in standard deviations of the training targets."""
        return float(np.mean(np.abs(after - before) / np.repeat(self.deviation, self.every)))

    def matched(self, other, targets):
        found = np.full((len(targets), len(self.columns)), np.nan)
        found[:, [self.columns.index(name) for name in other.columns]] = targets
        return found

    def report(self, split, targets, answers, speed):
        return regression_report(self, split, np.asarray(targets, "float64"), answers, speed)


@dataclass(frozen=True)
class Miss:
    """An example with a large error: its index in the split, the column, the true and the predicted number."""

    example: int
    column: str
    true: float
    predicted: float


@dataclass(frozen=True, repr=False, kw_only=True)
class RegressionReport(Report):
    """Metrics of a regression on one split, in the original units.

    Attributes:
        mae: mean absolute error, the mean over the columns.
        mae_interval: its 95 % confidence interval, of a bootstrap of the examples.
        rmse: root of the mean squared error, the mean over the columns.
        r2: fraction of the variance that is explained (R squared), the mean over the columns; at most 1. None where
            the targets do not vary.
        per_column: of each column with a known target `mae`, `rmse` and `r2`, each with its interval, and the number of
            known targets; with quantiles `coverage`, the fraction of targets between the outermost two.
        points: true and predicted numbers of at most 2,000 examples by column, for the pictures.
        worst: the largest errors relative to the column's deviation, in descending order.
    """

    task: ClassVar[type[Task]] = Regression
    mae: float
    mae_interval: tuple[float, float]
    rmse: float
    r2: float | None
    per_column: dict[str, dict]
    points: dict[str, list[list[float]]]
    worst: list[Miss]

    @classmethod
    def from_dict(cls, content):
        return super().from_dict(content | {"worst": [Miss(**miss) for miss in content["worst"]]})

    def others(self):
        return {"RMSE": significant(self.rmse), "R squared": None if self.r2 is None else significant(self.r2)}

    def tables(self):
        yield self.column_table()

    def column_table(self) -> rich_table.Table:
        """Return the errors of each column as a table."""
        covered = any(row["coverage"] is not None for row in self.per_column.values())
        rows = [
            (name, *(with_interval(row[key], row[f"{key}_interval"]) for key in SCORES))
            + ((percent(row["coverage"]),) if covered else ())
            + (f"{row['examples']:,}",)
            for name, row in self.per_column.items()
        ]
        names = ("number", "MAE (95 % interval)", "RMSE", "R squared", *(("coverage",) if covered else ()), "examples")
        return table(names, rows)

    def worst_table(self) -> rich_table.Table:
        """Return the largest errors as a table."""
        rows = [(m.column, significant(m.true), significant(m.predicted), f"{m.example}") for m in self.worst]
        return table(("number", "true", "predicted", "example"), rows)

    def sections(self) -> Iterator[Section]:
        yield Section("Numbers", table=self.column_table())
        words = f"Predicted against true numbers, and residuals, on the {self.split} split."
        yield Section("Predictions and residuals", words, SCATTER, words, wide=True)
        title = f"The {len(self.worst)} largest errors"
        alt, folded = f"{title}; the table below lists them.", f"{title} as a table"
        yield Section("Worst examples", "", WORST, alt, True, True, self.worst_table(), folded)

    def pictures(self, draw):
        return {SCATTER: draw_scatter(self), WORST: draw_worst(self, draw)}


def with_interval(value: float | None, ends: tuple[float, float] | None) -> str:
    """Return a number and its interval as text."""
    return "-" if value is None else f"{significant(value)} ({significant(ends[0])} to {significant(ends[1])})"


def mean_of_known(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean over an axis of the values that are not NaN, NaN where none is."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    return np.where(known, values, 0).sum(axis=axis) / np.where(count, count, np.nan)


def scores(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return MAE, RMSE and R squared of each column, then the mean over the columns, (3, columns + 1).

    R squared is NaN where the targets do not vary.
    """
    squared = mean_of_known((true - predicted) ** 2)
    variance = mean_of_known((true - mean_of_known(true)) ** 2)
    explained = 1 - squared / np.where(variance > 0, variance, np.nan)
    found = np.stack([mean_of_known(np.abs(true - predicted)), np.sqrt(squared), explained])
    return np.column_stack([found, mean_of_known(found, axis=1)])


def regression_report(
    task: Regression, split: str, targets: np.ndarray, answers: np.ndarray, speed: float
) -> RegressionReport:
    """Return the report for true numbers (n, columns) and outputs (n, columns x quantiles), in the original units."""
    predicted = answers[:, task.every // 2 :: task.every]
    found, (low, high) = scores(targets, predicted), np.array(bootstrap(scores, targets, predicted))
    rows = [scores_by_name(*parts) for parts in zip(found.T, low.T, high.T, strict=True)]
    outputs = answers.reshape(len(answers), -1, task.every)
    per_column = {
        name: rows[n] | counts(targets[:, n], outputs[:, n])
        for n, name in enumerate(task.columns)
        if not np.isnan(targets[:, n]).all()
    }
    return RegressionReport(
        split=split,
        examples=len(targets),
        per_column=per_column,
        points={
            name: points(targets[:, n], predicted[:, n]) for n, name in enumerate(task.columns) if name in per_column
        },
        worst=largest(task, targets, predicted),
        examples_per_second=speed,
        **{key: rows[-1][key] for key in ("mae", "mae_interval", "rmse", "r2")},
    )


def scores_by_name(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict:
    """Return MAE, RMSE and R squared, each with its interval; None for what is NaN."""
    found = {}
    for key, value, *ends in zip(SCORES, values, low, high, strict=True):
        known = not np.isnan(value)
        found |= {key: float(value) if known else None, f"{key}_interval": tuple(map(float, ends)) if known else None}
    return found


def counts(true: np.ndarray, quantiles: np.ndarray) -> dict:
    """Return the number of known targets of one column and, where there are several quantiles, their coverage."""
    known = ~np.isnan(true)
    found = inside(true, quantiles[:, 0], quantiles[:, -1])
    return {
        "coverage": float(found[known].mean()) if quantiles.shape[1] > 1 else None,
        "examples": int(known.sum()),
    }


def points(true: np.ndarray, predicted: np.ndarray, most: int = 2000) -> list[list[float]]:
    """Return pairs of known true and predicted numbers, evenly spaced over the examples."""
    known = np.flatnonzero(~np.isnan(true))
    chosen = known[np.linspace(0, len(known) - 1, min(most, len(known))).astype(int)]
    return np.stack([true[chosen], predicted[chosen]], axis=1).tolist()


def largest(task: Regression, targets: np.ndarray, predicted: np.ndarray) -> list[Miss]:
    """Return the largest errors relative to the deviation of the training targets, in descending order."""
    errors = np.abs(targets - predicted) / task.deviation
    order = np.argsort(-errors, axis=None, kind="stable")[: min(SHOWN, np.isfinite(errors).sum())]  # NaN come last
    return [
        Miss(int(row), task.columns[column], float(targets[row, column]), float(predicted[row, column]))
        for row, column in zip(*np.unravel_index(order, errors.shape), strict=True)
    ]


def draw_scatter(report: RegressionReport) -> figures.Figure:
    """Draw predicted against true numbers, and residuals against predictions, a row for each column."""
    rows = len(report.points)
    figure = figures.Figure(figsize=(9, 4 * rows), layout="constrained")
    for (name, pairs), (left, right) in zip(
        report.points.items(), figure.subplots(rows, 2, squeeze=False), strict=True
    ):
        true, predicted = np.array(pairs).T
        ends = [float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))]
        left.plot(ends, ends, color="grey", linewidth=1)
        left.scatter(true, predicted, s=8, alpha=0.5)
        left.set(
            xlabel=f"true {name}",
            ylabel=f"predicted {name}",
            title=f"MAE {significant(report.per_column[name]['mae'])}",
        )
        right.axhline(0, color="grey", linewidth=1)
        right.scatter(predicted, predicted - true, s=8, alpha=0.5)
        right.set(xlabel=f"predicted {name}", ylabel="predicted - true", title="residuals")
    return figure


def draw_worst(report: RegressionReport, draw: Callable) -> figures.Figure:
    """Draw the examples of the largest errors, each with its true and its predicted number."""
    captions = []
    for miss in report.worst:
        name = f"{miss.column} " if len(report.per_column) > 1 else ""
        captions.append((miss.example, f"{name}true {significant(miss.true)}\npredicted {significant(miss.predicted)}"))
    return draw_examples(f"largest errors on the {report.split} split", captions, draw)
