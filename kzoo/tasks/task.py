"""What every task and every report have: the contract between a network's outputs and the world."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from kzoo.core.lazy import figures, keras, lazy_import, np, rich_table, rich_text
from kzoo.core.numbers import in_words, percent, significant
from kzoo.core.shown import Shown, listed, table

# Metrics, with or without a prefix, that are fractions and shown in percent.
FRACTIONS = ("accuracy", "average_precision", "f1", "consistency", "iou", "dice", "error_rate")

keras_losses = lazy_import("kzoo.tasks.losses")
keras_metrics = lazy_import("kzoo.tasks.metrics")


class Score(NamedTuple):
    """A metric that decides which epoch is the best and which run is better.

    Attributes:
        name: of the metric, as in the history of a training without its prefix, and of the report's field.
        up: whether higher values are better.
    """

    name: str
    up: bool = True

    @property
    def words(self) -> str:
        """The name in words."""
        return in_words(self.name)


def metric_text(name: str, value: float | None) -> str:
    """Return the value of a metric as text: in percent if it is a fraction."""
    if value is None:
        return "-"
    return percent(value) if name.lower().replace(" ", "_").endswith(FRACTIONS) else significant(value)


@dataclass(frozen=True)
class Task:
    """From raw targets to what the loss compares with, and from a network's outputs to answers.

    A frozen dataclass derives from it for each task, whose fields are plain values: they are written as JSON beside a
    trained model and are part of every export. One row of `kzoo.tasks.TASKS` makes it known.

    Attributes:
        key: name of the task, the key in `TASKS`.
        head: "pooled" for one vector of outputs an example, "positions" for one at each position.
        dims: numbers of spatial axes that the inputs may have.
        noun: what the outputs are, in messages and tables.
        score: the metric of validation that decides which epoch is the best.
        answer: name of the answers in exports and predictions.
        drawn: names of the files of the report's pictures.
        losses: names of the losses that `loss` takes as `loss=`, the default first; () for a single one.
        exclusive: whether exactly one output holds for each example, of which the target is the index; linear
            classifiers and nearest neighbours need that.
        quantity: what one number of an answer is.
        mixes: whether targets of two examples can be mixed, as mixup does.
        overlap: of the windows of longer examples by default, as a fraction of a window.
        stability: what `agreement` measures, 1 for equal answers if higher values are better, else 0.
        reported: the class of its reports, which names the task as its `task`.
    """

    key: ClassVar[str]
    head: ClassVar[str] = "pooled"
    dims: ClassVar[tuple[int, ...]] = (1, 2)
    noun: ClassVar[str] = "outputs"
    score: ClassVar[Score]
    answer: ClassVar[str] = "values"
    drawn: ClassVar[tuple[str, ...]] = ()
    losses: ClassVar[tuple[str, ...]] = ()
    exclusive: ClassVar[bool] = False
    quantity: ClassVar[str] = "value"
    mixes: ClassVar[bool] = True
    overlap: ClassVar[float] = 0.0
    stability: ClassVar[Score] = Score("change", up=False)
    reported: ClassVar[type[Report]]

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each output."""
        raise NotImplementedError

    @property
    def target_names(self) -> tuple[str, ...]:
        """The names by which data are matched with those of a training: of the outputs, unless a target has several."""
        return self.names

    @property
    def output_axes(self) -> tuple[str, ...]:
        """The axes of a network's output, in words."""
        return ("batch", "num_outputs")

    def positions(self, sizes: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the sizes of the axes of positions of a target, for those of an input; None where any is possible."""
        return tuple(sizes)

    @property
    def outputs(self) -> int:
        """Width of the network's last axis."""
        return len(self.names)

    def fitted(self, targets: np.ndarray) -> Task:
        """Return the task with statistics of the training targets alone."""
        return self

    def placed(self, steps: int, rate: float) -> Task:
        """Return the task that knows the length of its inputs, and how many of their steps are in a unit of time."""
        return self

    def located(self, first: float, stride: float) -> Task:
        """Return the task that knows the steps of the input that a network's first position, and the others, stand for.

        Args:
            first: the step in the middle of what the first position sees.
            stride: steps from one position to the next.
        """
        return self

    def check_outputs(self, split: str, targets: np.ndarray, called: Callable[[int], str], positions: int) -> None:
        """Raise a ValueError that names the first example whose target has no place in a network's outputs.

        Args:
            split: the name of the split.
            targets: raw ones.
            called: returns what an example is called, given its index.
            positions: at how many a network has outputs.
        """

    def check_architecture(self, name: str, architecture) -> None:
        """Raise a ValueError for an architecture of the zoo that cannot do what the task asks.

        Args:
            name: of the network.
            architecture: the dataclass that built it; None for a network of the user's own.
        """

    def check(self, split: str, targets: np.ndarray) -> None:
        """Raise a ValueError that names the first raw target of a split that is none."""

    def check_some(self, split: str, targets: np.ndarray) -> None:
        """Raise a ValueError for a split of which no raw target is known."""

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Return what the loss compares with."""
        return np.asarray(targets, "float32")

    def strata(self, targets: np.ndarray) -> np.ndarray | None:
        """Return the class index of each target, which held-out splits are stratified by; None for no classes."""
        return None

    def tag_rows(self, targets: np.ndarray) -> np.ndarray | None:
        """Return which tags each target has, (n, tags), which held-out splits are stratified by; None for no tags."""
        return None

    def loss(self, targets: np.ndarray | None = None) -> keras.losses.Loss:
        """Return a new loss, a registered Keras object; keyword arguments are those of `kzoo.fit` that it takes.

        Args:
            targets: raw targets of training, for losses that depend on their frequencies.
        """
        raise NotImplementedError

    def has_loss(self, name: str) -> bool:
        """Return whether a name is that of one of the task's own losses."""
        return name in self.losses

    def metrics(self) -> list[keras.metrics.Metric]:
        """Return new metrics, registered Keras objects; one of them has the name of the score."""
        raise NotImplementedError

    def decode(self, outputs) -> dict[str, Any]:
        """Return the answers as named tensors that share the batch axis, the first one called `answer`.

        Only `keras.ops`: it is part of exported graphs.
        """
        return {self.answer: keras.ops.cast(outputs, "float32")}

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """Return the first tensor of `decode` as an array of float64."""
        return keras.ops.convert_to_numpy(self.decode(outputs)[self.answer]).astype("float64")

    def over_windows(self, answers: Sequence[np.ndarray], spans: Sequence[tuple[int, int]]) -> np.ndarray:
        """Return the answer for a whole example from those for its windows, the mean.

        Args:
            answers: of each window.
            spans: where each of them begins and ends in the example, in steps.
        """
        return np.mean(answers, axis=0, dtype="float64")

    @property
    def vocabulary(self) -> Mapping[str, tuple[str, ...]]:
        """For tensors of `decode` that are indices of names: the names, which formats with strings write instead."""
        return {}

    @property
    def spelling(self) -> tuple[str, ...]:
        """What each token adds to a text, if answers are tokens, -1 for none; formats with strings write the text.

        A word ends with a token that ends with a space. `places` then says where positions are.
        """
        return ()

    def describe(self, answer: np.ndarray | None) -> dict[str, Any]:
        """Return the answer for one example as JSON-serialisable values, by name; None gives values of nothing."""
        values = {} if answer is None else dict(zip(self.names, np.asarray(answer).T.tolist(), strict=True))
        return {self.answer: values}

    def cells(self, described: Mapping) -> dict[str, str]:
        """Return the columns of a table for what `describe` returned."""
        return {name: significant(value) for name, value in described[self.answer].items()}

    def shown(self, value: float) -> str:
        """Return one number of an answer as text."""
        return significant(value)

    def explained(self, answer: np.ndarray) -> int:
        """Return the index of the output that is explained of an example unless another one is asked for."""
        return 0

    def which(self, output: int | None) -> str:
        """Return an output, by its index, or the one that is explained if none is asked for, in words."""
        return repr(self.names[output or 0])

    def caption(self, answer: np.ndarray, output: int | None = None, target=None) -> str:
        """Return an answer for one example in a few words, with that of an output and the raw target where given."""
        index = self.explained(answer) if output is None else output
        true = [] if target is None else [f"true {', '.join(map(significant, np.ravel(target).tolist()))}"]
        return ", ".join([*true, f"{self.names[index]} {self.shown(answer[index])}"])

    def shades(self, answers: np.ndarray, targets: np.ndarray | None) -> np.ndarray:
        """Return what colours examples: the index of a name each as integers (n,), or a number each as floats (n,).

        Args:
            answers: for the examples.
            targets: raw ones, which go before the answers; None where they are not known.
        """
        rows = answers if targets is None else np.asarray(targets, "float64")
        return rows.reshape(len(rows), -1)[:, 0]

    def averaged(self, outputs: Sequence):
        """Return the outputs of an ensemble, whose answers are the mean of those for the outputs of its networks.

        Only `keras.ops`: it is part of a network.
        """
        return keras.ops.mean(keras.ops.stack(outputs), axis=0)

    def joined(self, tasks: Sequence[Task]) -> Task | None:
        """Return the task of an ensemble of networks that were trained for these; None if they have none in common."""
        return self if all(task == self for task in tasks) else None

    def measured(self, targets: np.ndarray, answers: np.ndarray) -> float:
        """Return the score of the task, without the rest of a report."""
        return self.report("test", targets, answers, None).main

    def agreement(self, before: np.ndarray, after: np.ndarray) -> float:
        """Return how far answers stay the same after a change of the inputs; see `stability`.

        Here it is their mean absolute change in standard deviations of the answers before.
        """
        return float(np.mean(np.abs(after - before)) / (before.std(axis=0).mean() or 1))

    def difference(self, expected: np.ndarray, found: np.ndarray) -> float:
        """Return how far answers of an export differ from those of its network; up to 1e-3 is taken for rounding."""
        return float(np.abs(found - expected).max())

    def picture(self, answer: np.ndarray):
        """Return the answer for one example as an image of Pillow, for tasks whose answers are images."""
        raise NotImplementedError

    def legends(self) -> dict[str, figures.Figure]:
        """Return what explains the pictures, by the name of its file."""
        return {}

    def confidence(self, targets: np.ndarray, answers: np.ndarray) -> np.ndarray | None:
        """Return the probability of each thing that is true of the examples, (n,); None without probabilities."""
        return None

    def rows(self, described: Mapping) -> list[dict[str, str]]:
        """Return the rows of a table for what `describe` returned: a single one, unless an answer has several steps."""
        return [self.cells(described)]

    def matched(self, other: Task, targets: np.ndarray) -> np.ndarray:
        """Return raw targets of another task, whose names are among those of this one, as targets of this one."""
        return targets

    def calibrated(self, targets: np.ndarray, answers: np.ndarray) -> Task:
        """Return the task with what is chosen on validation after a training, such as thresholds."""
        return self

    def report(self, split: str, targets: np.ndarray, answers: np.ndarray, speed: float) -> Report:
        """Return the report for raw targets and `answers`."""
        raise NotImplementedError

    def report_with_groups(self, split: str, targets, answers, speed: float, groups: np.ndarray | None) -> Report:
        """Return the report with the score of each group, given the group of each example; None for no groups."""
        found = self.report(split, targets, answers, speed)
        return (
            found if groups is None else dataclasses.replace(found, per_group=self.by_group(targets, answers, groups))
        )

    def by_group(self, targets: np.ndarray, answers: np.ndarray, groups: np.ndarray) -> dict[str, dict]:
        """Return the score of each group, None where it is not defined, and its number of examples."""
        names, which, counts = np.unique(groups, return_inverse=True, return_counts=True)
        parts = np.split(np.argsort(which, kind="stable"), np.cumsum(counts)[:-1])
        values = [float(self.measured(targets[part], answers[part])) for part in parts]
        return {
            str(name): {self.score.name: None if math.isnan(value) else value, "examples": int(count)}
            for name, value, count in zip(names, values, counts, strict=True)
        }

    def compared(self, report: Report, parts: Sequence, train=None) -> Report:
        """Return a report beside what needs no network, where the task knows such a thing.

        Args:
            report: what `report` returned.
            parts: the raw examples that were evaluated, `kzoo.data.splits.Examples`, one or more in their order.
            train: those of training; None where they are not known.
        """
        return report

    def to_dict(self) -> dict:
        """Return the task as JSON-serialisable values."""
        return {"name": self.key} | dataclasses.asdict(self)


def check_pooled(task: Task, purpose: str) -> None:
    """Raise a ValueError for a task with more than one vector of outputs an example."""
    if len(task.output_axes) != 2:
        raise ValueError(
            f"{purpose} is for networks with one vector of outputs an example; {task.key} has outputs of shape "
            f"({', '.join(task.output_axes)})"
        )


def check_pictures(task: Task) -> None:
    """Raise a ValueError for a task whose answers are no images."""
    if type(task).picture is Task.picture:
        raise ValueError(f"answers of {task.key} are no images; leave out the folder to write them into (--out)")


def check_exclusive(task: Task, purpose: str) -> None:
    """Raise a ValueError for a task whose targets are not one class an example."""
    if not task.exclusive:
        raise ValueError(f"{purpose} is for one class an example, not for {task.key}")


def check_names(model: str, task: Task, dataset: str, found: Sequence[str]) -> None:
    """Raise a ValueError if a dataset has other classes, tags or columns than a network was trained with."""
    own = task.target_names
    unknown, missing = (sorted(set(one) - set(other)) for one, other in ((found, own), (own, found)))
    if unknown or missing:
        parts = [f"{dataset} also has {listed(unknown)}"] if unknown else []
        parts += [f"{dataset} lacks {listed(missing)}"] if missing else []
        raise ValueError(f"{model} was trained on other {task.noun}: {', and '.join(parts)}")


class Section(NamedTuple):
    """A part of the HTML page of a run.

    Attributes:
        title: heading.
        words: a sentence; "" for none.
        picture: name of a file in the run directory; None for none.
        alt: what the picture shows, in words.
        examples: whether the picture shows examples, whose colours are their own.
        wide: whether the picture scrolls on small screens.
        table: shown below the words; None for none.
        folded: words on which the table is unfolded; "" for a table that is always shown.
    """

    title: str
    words: str = ""
    picture: str | None = None
    alt: str = ""
    examples: bool = False
    wide: bool = False
    table: rich_table.Table | None = None
    folded: str = ""


@dataclass(frozen=True, repr=False, kw_only=True)
class Report(Shown):
    """Metrics of a network on one split.

    Attributes:
        split: "validation" or "test", or the name of a dataset of which all splits were taken together.
        examples: number of examples.
        examples_per_second: inference speed on this machine, the data pipeline included; all views of an example
            count as one. None for a report that was read from a file.
        tta: the options of test-time augmentation; None for none.
        per_group: the task's score and the number of examples of each group, such as a speaker; None for a dataset
            without groups.
    """

    task: ClassVar[type[Task]]
    split: str
    examples: int
    examples_per_second: float | None = None
    tta: Mapping | None = None
    per_group: Mapping[str, Mapping] | None = None

    def __init_subclass__(cls):
        if "task" in vars(cls):
            cls.task.reported = cls

    @property
    def main(self) -> float:
        """Value of the task's score."""
        return getattr(self, self.task.score.name)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the task's score; None where none is computed."""
        return getattr(self, f"{self.task.score.name}_interval", None)

    def to_dict(self) -> dict:
        """Return all numbers, ready for JSON."""
        return {"task": self.task.key} | dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping) -> Report:
        """Return the report that `to_dict` described."""
        return cls(**{field.name: content.get(field.name) for field in dataclasses.fields(cls)})

    def __rich_console__(self, console, options):
        yield rich_text.Text(self.headline())
        yield from (*self.tables(), *self.group_tables())

    def __str__(self) -> str:
        return self.headline()

    def interval_text(self) -> str:
        """Return the interval of the score in words."""
        return " to ".join(metric_text(self.task.score.name, end) for end in self.interval)

    def headline(self) -> str:
        """Return the main numbers in one line."""
        (_, score), *found = self.measures()
        others = [f"{name} {value}" for name, value in found if name not in IN_BRACKETS]
        interval = f"95 % interval {self.interval_text()}, " if self.interval else ""
        main = f"{self.split} {self.task.score.words} {score} ({interval}{self.examples:,} examples)"
        return "  ".join([main, *others])

    def measures(self) -> list[tuple[str, str]]:
        """Return the name and the value of each metric of the whole split, as text, the score first."""
        score = self.task.score
        found = {score.words: metric_text(score.name, self.main)}
        found |= {"95 % interval": self.interval and self.interval_text()}
        found |= {"examples": f"{self.examples:,}"} | self.others()
        found["examples/s"] = self.examples_per_second and f"{self.examples_per_second:,.0f}"
        found["test-time augmentation"] = self.tta and ", ".join(f"{key} {value}" for key, value in self.tta.items())
        return [(name, value) for name, value in found.items() if value]

    def others(self) -> dict[str, str | None]:
        """Return the other metrics of the whole split, as text by name; None leaves one out."""
        return {}

    def tables(self) -> Iterator[rich_table.Table]:
        """Yield the tables that follow the headline."""
        yield from ()

    def group_tables(self) -> list[rich_table.Table]:
        """Return the score of each group as a table, the worst first; none without groups."""
        name, up = self.task.score
        known = [row for row in (self.per_group or {}).items() if row[1][name] is not None]
        rows = sorted(known, key=lambda row: row[1][name], reverse=not up)
        rows += [row for row in (self.per_group or {}).items() if row[1][name] is None]
        cells = [(group, metric_text(name, row[name]), f"{row['examples']:,}") for group, row in rows]
        return [table(("group", self.task.score.words, "examples"), cells)] if cells else []

    def sections(self) -> Iterator[Section]:
        """Yield the parts of the HTML page that follow the main numbers."""
        yield from ()

    def pictures(self, draw: Callable) -> dict[str, figures.Figure]:
        """Return the pictures by the name of their file.

        Args:
            draw: function of matplotlib axes and the index of an example, which draws it where it is known.
        """
        return {}


def mistake_section(mistakes: Sequence, picture: str, found: rich_table.Table) -> Section:
    """Return the most confident mistakes as a part of the HTML page, with their picture and their table."""
    title = "Most confident mistakes"
    if not mistakes:
        return Section(title, "None.")
    words = f"The {len(mistakes)} most confident mistakes"
    alt, folded = f"{words}; the table below lists them.", f"{words} as a table"
    return Section(title, "", picture, alt, True, True, found, folded)


COLUMNS = 5  # examples side by side


def draw_examples(title: str, captions: Sequence[tuple[int, str]], draw: Callable) -> figures.Figure:
    """Draw examples in a grid, each below its caption.

    Args:
        title: of the whole figure.
        captions: the index of each example, and what to write above it.
        draw: function of matplotlib axes and the index of an example.
    """
    columns = min(len(captions), COLUMNS) or 1
    rows = math.ceil(len(captions) / columns)
    figure = figures.Figure(figsize=(max(2.2 * columns, 4.4), 2.5 * rows + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for axes in figure.subplots(rows, columns, squeeze=False).flat if captions else ():
        axes.set_axis_off()
    for axes, (example, caption) in zip(figure.axes, captions, strict=False):
        draw(axes, example)
        axes.set_title(caption, fontsize=8)
    return figure


IN_BRACKETS = ("95 % interval", "examples")  # measures, in the headline


def bootstrap_weights(count: int, draws: int = 200) -> np.ndarray:
    """Return how often each of some examples is drawn by a bootstrap with a fixed seed, (1 + draws, count).

    The first row is the examples themselves, each once.
    """
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return np.vstack([np.ones((1, count), drawn.dtype), drawn])


def bootstrap(statistic: Callable, *columns: np.ndarray, draws: int = 1000) -> tuple:
    """Return the ends of the 95 % interval of a statistic of examples by the percentile bootstrap, with a fixed seed.

    Args:
        statistic: function of the columns' drawn rows that returns a number, or an array for an interval of each entry;
            draws in which one is NaN do not count for it.
        *columns: arrays whose first axis is the examples.
        draws: number of samples with replacement.
    """
    rng, count = np.random.default_rng(0), len(columns[0])
    picks = (rng.integers(0, count, count) for _ in range(draws))
    drawn = np.array([statistic(*(column[pick] for column in columns)) for pick in picks])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        low, high = np.nanpercentile(drawn, (2.5, 97.5), axis=0).tolist()
    return low, high
