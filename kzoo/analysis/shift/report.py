"""What a shift test found, of one network and of several beside each other: tables, numbers, pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kzoo.analysis.shift.stages import StageError
from kzoo.core.lazy import figures, np, rich_table, rich_text
from kzoo.core.pictures import run_styles, save
from kzoo.core.shown import Shown
from kzoo.zoo.profile import sizes, written

ROWS = 10  # distances that a table shows at most
COLUMNS = 5  # heat maps beside each other


class Answer(NamedTuple):
    """How a network answers to a change of its input.

    Attributes:
        equal: share of the examples whose predicted class stays the same, in [0, 1].
        change: of the probability of the right class, mean over the examples, in [-1, 1].
        accuracy: on the changed examples, in [0, 1].
    """

    equal: float
    change: float
    accuracy: float


def mean(answers: Sequence[Answer]) -> Answer:
    """Return the mean of several answers."""
    return Answer(*(sum(column) / len(answers) for column in zip(*answers, strict=True)))


@dataclass(frozen=True)
class ShiftReport(Shown):
    """How steady the predictions of a network are, and how its features move, when its input does.

    Attributes:
        model: its name.
        dataset: the examples' set.
        split: "train", "validation" or "test".
        examples: how many were measured.
        accuracy: on the examples as they are, in [0, 1].
        unit: of the shifts: pixels, samples, frames, steps or tokens.
        filled: what comes in at the ends, in words.
        shifts: the answer to each shift, whole numbers of units along each moved axis (down and right in images),
            positive towards the end.
        changes: the answers to other changes, by name and amount; see `kzoo.analysis.shift.changes.changes_of`.
        units: of those amounts, by name.
        stages: how equivariant the features of each stage are that has positions.
    """

    model: str
    dataset: str
    split: str
    examples: int
    accuracy: float
    unit: str
    filled: str
    shifts: dict[tuple[int, ...], Answer]
    changes: dict[str, dict[float, Answer]]
    units: dict[str, str]
    stages: tuple[StageError, ...]

    @property
    def max_shift(self) -> int:
        """The greatest distance."""
        return max(map(distance, self.shifts))

    @property
    def by_distance(self) -> dict[int, Answer]:
        """The mean answer to all shifts of each distance, the larger of those along the axes."""
        rings = {step: [] for step in range(1, self.max_shift + 1)}
        for by, answer in self.shifts.items():
            if any(by):
                rings[distance(by)].append(answer)
        return {step: mean(answers) for step, answers in rings.items()}

    def to_dict(self) -> dict:
        """Return all numbers, ready for JSON."""
        names = ("model", "dataset", "split", "examples", "accuracy", "unit", "filled")
        return {
            **{name: getattr(self, name) for name in names},
            "by_distance": [{"distance": step} | answer._asdict() for step, answer in self.by_distance.items()],
            "shifts": [{"by": list(by)} | answer._asdict() for by, answer in self.shifts.items()],
            "changes": {
                name: [
                    {"amount": amount, "unit": self.units[name]} | answer._asdict() for amount, answer in row.items()
                ]
                for name, row in self.changes.items()
            },
            "stages": [stage.to_dict() for stage in self.stages],
        }

    def headline(self) -> str:
        """Return what was measured, in one line."""
        return (
            f"{self.model} on {self.examples:,} examples of the {self.split} split of {self.dataset}, accuracy "
            f"{self.accuracy:.2%}; {self.filled} comes in"
        )

    def __rich_console__(self, console, options):
        yield rich_text.Text(self.headline())
        table = as_table("change", "equal predictions", "right class's probability", "accuracy")
        for name, answer in self.rows():
            table.add_row(name, f"{answer.equal:.2%}", f"{answer.change:+.4f}", f"{answer.accuracy:.2%}")
        yield table
        if self.stages:
            yield rich_text.Text("\nerror of features that should move with the input: 0 they do exactly, 1 not at all")
            yield self.stage_table()
        if not all(stage.inside for stage in self.stages):
            yield rich_text.Text("* at the ends as well: no window lies inside the input after the greatest shift")

    def rows(self) -> Iterator[tuple[str, Answer]]:
        """Yield each change and the answer to it, of shifts the mean over each distance."""
        by_distance = self.by_distance
        for step in shown(self.max_shift):
            yield f"shift by {counted(step, self.unit)}", by_distance[step]
        for name, row in self.changes.items():
            for amount, answer in row.items():
                yield f"{name} {amount:g} {self.units[name]}", answer

    def stage_table(self) -> rich_table.Table:
        """Return the errors of each stage as a table."""
        steps = shown(self.max_shift)
        table = as_table("stage", "stride", "one stride", *(counted(step, self.unit) for step in steps))
        for stage in self.stages:
            cells = [stage.at_stride, *(stage.errors[step] for step in steps)]
            name = stage.name if stage.inside else f"{stage.name}*"
            table.add_row(name, sizes(stage.stride), *("-" if cell is None else f"{cell:.3f}" for cell in cells))
        return table

    def figure(self) -> figures.Figure:
        """Return the curves over the distance, the errors of the stages and, of images, a heat map of all shifts."""
        return draw_reports([self.model], [self])

    def draw(self, path: str | Path) -> Path:
        """Draw `figure()` into a file.

        Raises:
            ValueError: if the picture cannot be written, or not in the format that its ending asks for.
        """
        return written(path, lambda target: save(self.figure(), target))


@dataclass(frozen=True)
class ShiftComparison(Shown):
    """The shift tests of one or more runs.

    Attributes:
        names: what each run is called.
        reports: of each.
    """

    names: tuple[str, ...]
    reports: tuple[ShiftReport, ...]

    def notes(self) -> list[str]:
        """Return what has to be known to read the table."""
        found = sorted({report.dataset for report in self.reports})
        return [f"the runs are of different datasets ({', '.join(found)})"] if len(found) > 1 else []

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
        yield rich_text.Text(f"share of equal predictions after shifts by so many {first.unit}, and other changes")
        table = as_table("run", "accuracy", *map(str, steps), *others, "right class's probability")
        for name, report in zip(self.names, self.reports, strict=True):
            answers = report.by_distance
            cells = [report.accuracy, *(answers[step].equal for step in steps)]
            cells += [mean(list(report.changes[other].values())).equal for other in others]
            table.add_row(name, *(f"{cell:.2%}" for cell in cells), f"{answers[steps[-1]].change:+.4f}")
        yield table
        last = f"the last column is the change at {counted(steps[-1], first.unit)}; {first.filled} comes in"
        for note in [last, *self.notes()]:
            yield rich_text.Text(note)

    def figure(self) -> figures.Figure:
        """Return the curves of all runs and, of images, their heat maps beside each other."""
        return draw_reports(self.names, self.reports)

    def draw(self, path: str | Path) -> Path:
        """Draw `figure()` into a file.

        Raises:
            ValueError: if the picture cannot be written, or not in the format that its ending asks for.
        """
        return written(path, lambda target: save(self.figure(), target))


def distance(by: Sequence[int]) -> int:
    """Return the larger of the shifts along the axes."""
    return max(map(abs, by))


def shown(most: int) -> list[int]:
    """Return the distances that a table shows: all, or some evenly."""
    return (
        sorted({round(1 + (most - 1) * n / (ROWS - 1)) for n in range(ROWS)}) if most > ROWS else [*range(1, most + 1)]
    )


def as_table(first: str, *others: str) -> rich_table.Table:
    """Return an empty table, of a column of words and others of numbers."""
    columns = [rich_table.Column(rich_text.Text(name), justify="right") for name in others]
    return rich_table.Table(first, *columns, box=None, pad_edge=False, header_style="bold")


def counted(number: int, unit: str) -> str:
    """Return e.g. "1 pixel" or "3 pixels"."""
    first, *rest = unit.split(" ", 1)
    return " ".join([str(number), first.removesuffix("s") if number == 1 else first, *rest])


def draw_reports(names: Sequence[str], reports: Sequence[ShiftReport]) -> figures.Figure:
    """Draw curves, one for each report, and under them the heat maps of images."""
    planes = [(name, report) for name, report in zip(names, reports, strict=True) if is_plane(report)]
    heights = [3.2, 2.6, *[2.4] * -(-len(planes) // COLUMNS)]
    figure = figures.Figure(figsize=(12, sum(heights) + 0.5 + 0.1 * len(reports)), layout="constrained")
    above, between, *below = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    styles = run_styles(len(reports))
    draw_curves(above, names, reports, styles)
    draw_changes(between, reports, styles)
    least = min((answer.equal for _, report in planes for answer in report.shifts.values()), default=0)
    for row, part in enumerate(below):
        draw_heat_maps(part, planes[row * COLUMNS :][:COLUMNS], least)
    return figure


def is_plane(report: ShiftReport) -> bool:
    """Tell whether shifts go along two axes."""
    return len(next(iter(report.shifts))) == 2


def draw_curves(figure, names: Sequence[str], reports: Sequence[ShiftReport], styles: Sequence[dict]) -> None:
    """Draw the share of equal predictions, the change of the probability and the errors of the stages."""
    equal, change, error = figure.subplots(1, 3)
    for name, report, style in zip(names, reports, styles, strict=True):
        answers = along_axis(report)
        equal.plot(list(answers), [answer.equal for answer in answers.values()], marker=".", label=name, **style)
        change.plot(list(answers), [answer.change for answer in answers.values()], marker=".", **style)
        errors = [np.nan if stage.errors[1] is None else stage.errors[1] for stage in report.stages]
        error.plot(errors, marker=".", **style)
    unit, stages = reports[0].unit, max((report.stages for report in reports), key=len)
    equal.set(xlabel=f"shift in {unit}", ylabel="equal predictions")
    change.set(xlabel=f"shift in {unit}", ylabel="change of right class's probability")
    error.set(ylabel=f"error of features, shift of {counted(1, unit)}", ylim=(0, None))
    error.set_xticks(range(len(stages)), [stage.name for stage in stages], rotation=30, ha="right", fontsize="small")
    for axes in (equal, change):
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (equal, change, error):
        axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=min(len(reports), 6))


def along_axis(report: ShiftReport) -> dict[int, Answer]:
    """Return the answers over the distance, or over the shift to both sides where there is one axis."""
    if is_plane(report):
        return {0: report.shifts[0, 0]} | report.by_distance
    return {by: answer for (by,), answer in report.shifts.items()}


def draw_changes(figure, reports: Sequence[ShiftReport], styles: Sequence[dict]) -> None:
    """Draw the share of equal predictions over the amount of each other change."""
    for axes, (name, unit) in zip(figure.subplots(1, 3, sharey=True), reports[0].units.items(), strict=False):
        for report, style in zip(reports, styles, strict=True):
            answers = report.changes[name]
            axes.plot(list(answers), [answer.equal for answer in answers.values()], marker=".", **style)
        axes.set(xlabel=f"{name}, {unit}", ylabel="equal predictions")
        axes.grid(alpha=0.3)
    for axes in figure.axes[len(reports[0].units) :]:
        axes.set_axis_off()


def draw_heat_maps(figure, planes: Sequence[tuple[str, ShiftReport]], least: float) -> None:
    """Draw the share of equal predictions for every shift of images, beside each other, in one range of colours."""
    row = figure.subplots(1, COLUMNS)
    for axes in row[len(planes) :]:
        axes.set_axis_off()
    for axes, (name, report) in zip(row, planes, strict=False):
        most = report.max_shift
        steps = range(-most, most + 1)
        shares = [[report.shifts[down, right].equal for right in steps] for down in steps]
        place = (-most - 0.5, most + 0.5, most + 0.5, -most - 0.5)
        image = axes.imshow(shares, extent=place, vmin=least, vmax=1, cmap="viridis")
        axes.set_title(name, fontsize="small", parse_math=False)
        axes.set(xlabel="right", ylabel="down")
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)
    figure.colorbar(image, ax=list(row), label="equal predictions")
