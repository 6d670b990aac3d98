"""Results of a shift test, of one network or of several side by side: tables, numbers, figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kzoo.analysis.shift.stages import StageError
from kzoo.core.lazy import figures, np, rich_table, rich_text
from kzoo.core.pictures import Drawn, run_styles
from kzoo.core.ranges import evenly_spaced
from kzoo.core.shown import Shown, table
from kzoo.tasks.task import Task, metric_text
from kzoo.zoo.profile import sizes

ROWS = 10  # largest number of distances in a table
COLUMNS = 5  # heat maps side by side
PROBABILITY = "true probability, points"


class Robustness(NamedTuple):
    """Robustness of a network to one transformation of its input.

    Attributes:
        consistency: what `agreement` of the task measures: the fraction of examples whose predicted class, or set of
            tags, does not change, in [0, 1]; for numbers their mean absolute change in standard deviations, from 0.
        probability_change: mean change of the probabilities of what is true, in [-1, 1]; None for numbers.
        score: of the task on the transformed examples, such as the accuracy.
    """

    consistency: float
    probability_change: float | None
    score: float

    def to_dict(self, task: type[Task]) -> dict[str, float]:
        """Return all numbers by the names that they have for a task."""
        known = {} if self.probability_change is None else {"probability_change": self.probability_change}
        return {task.stability.name: self.consistency} | known | {task.score.name: self.score}

    def cells(self, task: type[Task]) -> dict[str, str]:
        """Return all numbers as the columns of a table."""
        known = {} if self.probability_change is None else {PROBABILITY: points(self)}
        measured = metric_text(task.stability.name, self.consistency)
        return {steadiness(task): measured} | known | {task.score.words: metric_text(task.score.name, self.score)}


def steadiness(task: type[Task]) -> str:
    """Return what `consistency` is for a task, in words."""
    return task.stability.words if task.stability.up else f"{task.stability.words}, standard deviations"


def mean(results: Sequence[Robustness]) -> Robustness:
    """Return the mean of several results."""
    columns = zip(*results, strict=True)
    return Robustness(*(None if None in column else sum(column) / len(results) for column in columns))


@dataclass(frozen=True, repr=False)
class ShiftReport(Drawn, Shown):
    """Robustness of a network's predictions to shifts and other transformations, and equivariance of its features.

    Attributes:
        model: name of the network.
        dataset: name of the dataset.
        split: "train", "validation" or "test".
        task: of the network.
        examples: number of examples.
        score: of the task on the original examples, such as the accuracy.
        unit: of the shifts: pixels, samples, frames, steps or tokens.
        filled: what fills the positions at the border, in words.
        shifts: robustness to each shift, in whole units along each shifted axis (down and right in images), positive
            towards the end.
        changes: robustness to other transformations, by name and amount; see
            `kzoo.analysis.shift.changes.changes_of`.
        units: of those amounts, by name.
        stages: equivariance error of each stage that has positions.
    """

    model: str
    dataset: str
    split: str
    task: type[Task]
    examples: int
    score: float
    unit: str
    filled: str
    shifts: dict[tuple[int, ...], Robustness]
    changes: dict[str, dict[float, Robustness]]
    units: dict[str, str]
    stages: tuple[StageError, ...]

    @property
    def max_shift(self) -> int:
        """The largest distance."""
        return max(map(distance, self.shifts))

    @property
    def by_distance(self) -> dict[int, Robustness]:
        """Mean robustness to all shifts of each distance (the maximum over the axes)."""
        rings = {step: [] for step in range(1, self.max_shift + 1)}
        for by, result in self.shifts.items():
            if any(by):
                rings[distance(by)].append(result)
        return {step: mean(results) for step, results in rings.items()}

    def to_dict(self) -> dict:
        """Return all numbers, ready for JSON."""
        names = ("model", "dataset", "split", "examples", "unit", "filled")

        def numbers(result):
            return result.to_dict(self.task)

        return {
            **{name: getattr(self, name) for name in names},
            "task": self.task.key,
            self.task.score.name: self.score,
            "by_distance": [{"distance": step} | numbers(result) for step, result in self.by_distance.items()],
            "shifts": [{"by": list(by)} | numbers(result) for by, result in self.shifts.items()],
            "changes": {
                name: [{"amount": amount, "unit": self.units[name]} | numbers(result) for amount, result in row.items()]
                for name, row in self.changes.items()
            },
            "stages": [stage.to_dict() for stage in self.stages],
        }

    def headline(self) -> str:
        """Return what was tested, in one line."""
        where = f"{self.model} on {self.examples:,} examples of the {self.split} split of {self.dataset}"
        return f"{where}, {self.task.score.words} {self.measured}; the border is filled with {self.filled}"

    @property
    def measured(self) -> str:
        """The score as text."""
        return metric_text(self.task.score.name, self.score)

    def __rich_console__(self, console, options):
        yield rich_text.Text(self.headline())
        rows = [{"transformation": name} | result.cells(self.task) for name, result in self.rows()]
        yield table(list(rows[0]), [list(row.values()) for row in rows])
        if self.stages:
            yield rich_text.Text("\nequivariance error of features under shifts: 0 exactly equivariant, 1 unrelated")
            yield self.stage_table()
        if not all(stage.inside for stage in self.stages):
            yield rich_text.Text("* border included: no receptive field lies inside the input after the largest shift")

    def rows(self) -> Iterator[tuple[str, Robustness]]:
        """Yield each transformation and the robustness to it, of shifts the mean over each distance."""
        by_distance = self.by_distance
        for step in shown(self.max_shift):
            yield f"shift by {counted(step, self.unit)}", by_distance[step]
        for name, row in self.changes.items():
            for amount, result in row.items():
                yield f"{name} {amount:g} {self.units[name]}", result

    def stage_table(self) -> rich_table.Table:
        """Return the equivariance errors of each stage as a table."""
        steps = shown(self.max_shift)
        rows = []
        for stage in self.stages:
            errors = [stage.at_stride, *(stage.errors[step] for step in steps)]
            name = stage.name if stage.inside else f"{stage.name}*"
            rows.append((name, sizes(stage.stride), *("-" if error is None else f"{error:.3f}" for error in errors)))
        return table(("stage", "stride", "one stride", *(counted(step, self.unit) for step in steps)), rows)

    def figure(self) -> figures.Figure:
        """Return curves over the distance, errors of the stages and, for images, a heat map of all shifts."""
        return draw_reports([self.model], [self])


@dataclass(frozen=True, repr=False)
class ShiftComparison(Drawn, Shown):
    """Shift tests of one or more runs.

    Attributes:
        names: of the runs.
        reports: of the runs.
    """

    names: tuple[str, ...]
    reports: tuple[ShiftReport, ...]

    def notes(self) -> list[str]:
        """Return remarks on the table: different datasets."""
        found = sorted({report.dataset for report in self.reports})
        return [f"the runs use different datasets ({', '.join(found)})"] if len(found) > 1 else []

    def to_dict(self) -> dict:
        """Return the numbers of all runs, ready for JSON."""
        each = zip(self.names, self.reports, strict=True)
        return {"runs": [{"run": name} | report.to_dict() for name, report in each], "notes": self.notes()}

    def __rich_console__(self, console, options):
        if len(self.reports) == 1:
            yield self.reports[0]
            return
        first = self.reports[0]
        steps, others = shown(first.max_shift), list(first.changes)
        what = steadiness(first.task)
        yield rich_text.Text(f"{what} of predictions under shifts, in {first.unit}, and other transformations")
        rows = []
        for name, report in zip(self.names, self.reports, strict=True):
            by_distance = report.by_distance
            found = [by_distance[step] for step in steps]
            found += [mean(list(report.changes[other].values())) for other in others]
            cells = [metric_text(first.task.stability.name, one.consistency) for one in found]
            rows.append((name, report.measured, *cells, points(by_distance[steps[-1]])))
        shift = points(first.by_distance[steps[-1]])
        columns = ("run", first.task.score.words, *map(str, steps), *others, PROBABILITY)
        yield table(columns if shift else columns[:-1], rows if shift else [row[:-1] for row in rows])
        last = f"last column: at {counted(steps[-1], first.unit)}; " if shift else ""
        for note in [f"{last}the border is filled with {first.filled}", *self.notes()]:
            yield rich_text.Text(note)

    def figure(self) -> figures.Figure:
        """Return the curves of all runs and, for images, their heat maps side by side."""
        return draw_reports(self.names, self.reports)


def points(result: Robustness) -> str:
    """Return the change of the probability of what is true in percentage points, "" if it is not known."""
    return "" if result.probability_change is None else f"{100 * result.probability_change:+.2f}"


def distance(by: Sequence[int]) -> int:
    """Return the largest shift along an axis."""
    return max(map(abs, by))


def shown(most: int) -> list[int]:
    """Return the distances that a table shows: all, or ten evenly spaced ones."""
    return (1 + evenly_spaced(most, ROWS)).tolist()


def counted(number: int, unit: str) -> str:
    """Return e.g. "1 pixel" or "3 pixels"."""
    first, *rest = unit.split(" ", 1)
    return " ".join([str(number), first.removesuffix("s") if number == 1 else first, *rest])


def draw_reports(names: Sequence[str], reports: Sequence[ShiftReport]) -> figures.Figure:
    """Return curves, one for each report, and below them heat maps for images."""
    planes = [(name, report) for name, report in zip(names, reports, strict=True) if is_plane(report)]
    heights = [3.2, 2.6, *[2.4] * -(-len(planes) // COLUMNS)]
    figure = figures.Figure(figsize=(12, sum(heights) + 0.5 + 0.1 * len(reports)), layout="constrained")
    above, between, *below = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    styles = run_styles(len(reports))
    draw_curves(above, names, reports, styles)
    draw_changes(between, reports, styles)
    found = [result.consistency for _, report in planes for result in report.shifts.values()]
    for row, part in enumerate(below):
        draw_heat_maps(part, planes[row * COLUMNS :][:COLUMNS], (min(found), max(found)))
    return figure


def is_plane(report: ShiftReport) -> bool:
    """Return whether shifts are along two axes."""
    return len(next(iter(report.shifts))) == 2


def draw_curves(figure, names: Sequence[str], reports: Sequence[ShiftReport], styles: Sequence[dict]) -> None:
    """Draw the consistency, the change of the probability and the equivariance errors of the stages."""
    consistency, change, error = figure.subplots(1, 3)
    for name, report, style in zip(names, reports, styles, strict=True):
        results = along_axis(report)
        consistency.plot(list(results), [r.consistency for r in results.values()], marker=".", label=name, **style)
        changes = [np.nan if r.probability_change is None else r.probability_change for r in results.values()]
        change.plot(list(results), changes, marker=".", **style)
        errors = [np.nan if stage.errors[1] is None else stage.errors[1] for stage in report.stages]
        error.plot(errors, marker=".", **style)
    unit, stages = reports[0].unit, max((report.stages for report in reports), key=len)
    consistency.set(xlabel=f"shift in {unit}", ylabel=steadiness(reports[0].task))
    change.set(xlabel=f"shift in {unit}", ylabel="change of the true probability")
    error.set(ylabel=f"equivariance error, shift of {counted(1, unit)}", ylim=(0, None))
    error.set_xticks(range(len(stages)), [stage.name for stage in stages], rotation=30, ha="right", fontsize="small")
    for axes in (consistency, change):
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (consistency, change, error):
        axes.grid(alpha=0.3)
    figures.add_legend(figure, consistency.lines, loc="outside upper center", ncols=min(len(reports), 6))


def along_axis(report: ShiftReport) -> dict[int, Robustness]:
    """Return the robustness by distance, or by signed shift where there is one axis."""
    if is_plane(report):
        return {0: report.shifts[0, 0]} | report.by_distance
    return {by: result for (by,), result in report.shifts.items()}


def draw_changes(figure, reports: Sequence[ShiftReport], styles: Sequence[dict]) -> None:
    """Draw the consistency over the amount of each other transformation."""
    for axes, (name, unit) in zip(figure.subplots(1, 3, sharey=True), reports[0].units.items(), strict=False):
        for report, style in zip(reports, styles, strict=True):
            results = report.changes[name]
            axes.plot(list(results), [result.consistency for result in results.values()], marker=".", **style)
        axes.set(xlabel=f"{name}, {unit}", ylabel=steadiness(reports[0].task))
        axes.grid(alpha=0.3)
    for axes in figure.axes[len(reports[0].units) :]:
        axes.set_axis_off()


def draw_heat_maps(figure, planes: Sequence[tuple[str, ShiftReport]], ends: tuple[float, float]) -> None:
    """Draw the consistency under every shift of images, side by side, with one colour scale."""
    row = figure.subplots(1, COLUMNS)
    for axes in row[len(planes) :]:
        axes.set_axis_off()
    for axes, (name, report) in zip(row, planes, strict=False):
        most = report.max_shift
        steps = range(-most, most + 1)
        values = [[report.shifts[down, right].consistency for right in steps] for down in steps]
        extent = (-most - 0.5, most + 0.5, most + 0.5, -most - 0.5)
        image = axes.imshow(values, extent=extent, vmin=ends[0], vmax=ends[1], cmap="viridis")
        axes.set_title(name, fontsize="small")
        axes.set(xlabel="right", ylabel="down")
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)
    figure.colorbar(image, ax=list(row), label=steadiness(planes[0][1].task))
