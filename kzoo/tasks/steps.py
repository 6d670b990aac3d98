"""Tags or classes at each step of a sequence.

The report has scores over all known steps, with intervals over the sequences, and how they change along the sequence.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.lazy import figures, metrics, np, rich_table
from kzoo.core.numbers import percent, significant
from kzoo.core.shown import table
from kzoo.tasks.classification import (
    CONFUSION,
    MISTAKES,
    Classification,
    ClassificationReport,
    Mistake,
    classification_report,
)
from kzoo.tasks.tagging import LONG, Tagging
from kzoo.tasks.task import (
    Report,
    Score,
    Section,
    Task,
    bootstrap,
    draw_examples,
    keras_losses,
    keras_metrics,
    metric_text,
)

ALONG, WORST = "along_steps.png", "worst.png"
SHOWN = 25  # mistakes, or worst sequences
POINTS = 100  # of the curve along the sequence
COMMON = 5  # classes or tags of a sequence in a table


class Steps:
    """Mixin: what tasks with a target at each step of a sequence have in common."""

    head = "positions"
    dims = (1,)
    exclusive = False
    position = "step"

    @property
    def output_axes(self):
        return ("batch", "length", "num_outputs")

    def over_windows(self, answers, spans):
        """Return the answers at each step of a whole example; where windows overlap, the mean of theirs."""
        steps, outputs = max(end for _, end in spans), np.shape(answers[0])[-1]
        total = np.zeros((*np.shape(answers[0])[:-2], steps, outputs))
        count = np.zeros((steps, 1))
        for rows, (start, end) in zip(answers, spans, strict=True):
            total[..., start:end, :] += rows[..., : end - start, :]
            count[start:end] += 1
        return total / count

    def check_shape(self, split: str, targets: np.ndarray, expected: str, axes: int) -> None:
        """Raise a ValueError for targets of another number of axes."""
        if targets.ndim != axes:
            raise ValueError(f"the targets of the {split} split have shape {targets.shape}, expected {expected}")

    def check_known(self, split: str, known: np.ndarray, unknown: str) -> None:
        """Raise a ValueError if not one step of a split is known."""
        if not known.any():
            raise ValueError(
                f"no {self.position} of the {split} split has {self.noun}: all of its targets are {unknown}"
            )


@dataclass(frozen=True)
class StepTagging(Steps, Tagging):
    """Any number of tags at each step of a sequence; targets are 0 and 1, float (n, length, tags).

    NaN stands for a step, or a tag at a step, that is not known, such as a padded step, and counts for nothing.
    """

    key: ClassVar[str] = "step_tagging"
    score: ClassVar[Score] = Score("negative_log_likelihood", up=False)
    drawn: ClassVar[tuple[str, ...]] = (ALONG, WORST)
    summed: ClassVar[bool] = True

    def check(self, split, targets):
        rows = np.asarray(targets)
        self.check_shape(split, rows, f"(n, length, {self.outputs})", 3)
        if rows.shape[2] != self.outputs:
            raise ValueError(f"the {split} split has {rows.shape[2]} tags at each step, expected {self.outputs}")
        wrong = np.argwhere((rows != 0) & (rows != 1) & ~np.isnan(rows))
        if len(wrong):
            example, step, tag = wrong[0]
            raise ValueError(
                f"example {example} of the {split} split has {rows[example, step, tag]:g} for {self.tag_names[tag]!r} "
                f"at step {step}, expected 0, 1, or NaN where it is not known"
            )

    def check_some(self, split, targets):
        self.check_known(split, ~np.isnan(targets), "NaN")

    def tag_rows(self, targets):
        return None

    def fitted(self, targets):
        return self

    def decisions(self, targets):
        rows = np.asarray(targets)
        return rows[~np.isnan(rows).any(axis=-1)]

    def metrics(self):
        return [keras_metrics.StepNegativeLogLikelihood()]

    def describe(self, answer):
        if answer is None:
            return {"tags": [], self.answer: {}}
        tags = [self.given(row) for row in np.asarray(answer) >= self.limits]
        return {"tags": tags} | Task.describe(self, answer)

    def cells(self, described):
        return {"tags": most_frequent(tag for tags in described["tags"] for tag in tags)}

    def matched(self, other, targets):
        found = super().matched(other, targets)
        return np.where(np.isnan(targets).all(axis=-1, keepdims=True), np.float32("nan"), found)

    def calibrated(self, targets, answers):
        known = ~np.isnan(targets).any(axis=-1)
        return super().calibrated(targets[known], answers[known])

    def measured(self, targets, answers):
        losses, known = step_losses(np.asarray(targets), answers)
        return ratio(losses, known)

    def report(self, split, targets, answers, speed):
        return step_tagging_report(self, split, np.asarray(targets), answers, speed)


@dataclass(frozen=True)
class StepClassification(Steps, Classification):
    """One class at each step of a sequence; targets are class indices, int (n, length).

    -1 stands for a step that is not known, such as a padded one, and counts for nothing.
    """

    key: ClassVar[str] = "step_classification"
    drawn: ClassVar[tuple[str, ...]] = (CONFUSION, MISTAKES, ALONG)
    exclusive: ClassVar[bool] = False

    def check(self, split, targets):
        labels = np.asarray(targets)
        self.check_shape(split, labels, "(n, length)", 2)
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"the labels of the {split} split must be integers, got {labels.dtype}")
        wrong = np.argwhere((labels < -1) | (labels >= self.outputs))
        if len(wrong):
            example, step = wrong[0]
            raise ValueError(
                f"example {example} of the {split} split has label {labels[example, step]} at step {step}, "
                f"expected 0 to {self.outputs - 1}, or -1 where it is not known"
            )

    def check_some(self, split, targets):
        self.check_known(split, np.asarray(targets) >= 0, "-1")

    def strata(self, targets):
        return None

    @property
    def loss_type(self):
        return keras_losses.StepClassificationLoss

    def decisions(self, targets):
        labels = np.asarray(targets)
        return labels[labels >= 0]

    def metrics(self):
        return [keras_metrics.StepAccuracy(), keras_metrics.StepCrossEntropy()]

    def describe(self, answer):
        if answer is None:
            return {"label": [], self.answer: {}}
        labels = [self.class_names[index] for index in np.argmax(answer, axis=-1)]
        return {"label": labels} | Task.describe(self, answer)

    def cells(self, described):
        return {"classes": most_frequent(described["label"])}

    def rows(self, described):
        """Return a row for each segment of equal classes: its first step, the step after its last, and its class."""
        if not described["label"]:
            return [{"label": "", "probability": ""}]
        return [
            {"start": str(start), "end": str(end), "label": label, "probability": percent(mean, 1)}
            for start, end, label, mean in segments(described["label"], described[self.answer])
        ]

    def matched(self, other, targets):
        return np.where(np.asarray(targets) < 0, -1, super().matched(other, targets))

    def measured(self, targets, answers):
        known = np.asarray(targets) >= 0
        return ratio((answers.argmax(axis=-1) == targets) & known, known)

    def report(self, split, targets, answers, speed):
        return step_classification_report(self, split, np.asarray(targets), answers, speed)


def segments(
    labels: Sequence[str], probabilities: Mapping[str, Sequence[float]]
) -> Iterator[tuple[int, int, str, float]]:
    """Yield onset, offset (the step after the last), class, and mean probability of each run of equal classes."""
    start = 0
    for label, run in itertools.groupby(labels):
        end = start + len(list(run))
        yield start, end, label, float(np.mean(probabilities[label][start:end]))
        start = end


def most_frequent(names: Sequence[str]) -> str:
    """Return the most frequent names of the steps of a sequence in words, each with its number of steps."""
    counts = Counter(names).most_common(COMMON)
    return ", ".join(f"{name} ({count:,})" for name, count in counts)


@dataclass(frozen=True, repr=False, kw_only=True)
class StepReport(Report):
    """What the reports of both tasks have in common.

    Attributes:
        steps: number of known steps.
        along: the first step of each part of the sequence, and the score of the known steps in it.
    """

    steps: int
    along: list[list[float]]

    def others(self):
        return {"steps": f"{self.steps:,}"} | super().others()

    def along_section(self) -> Section:
        """Return the score along the sequence as a part of the HTML page."""
        name, (first, last) = self.task.score.name, (self.along[0], self.along[-1])
        words = f"{metric_text(name, first[1])} from step {first[0]}, {metric_text(name, last[1])} from step {last[0]}."
        return Section("Along the sequence", f"{self.task.score.words.capitalize()}: {words}", ALONG, words)


def draw_along(report: StepReport) -> figures.Figure:
    """Draw the score along the sequence."""
    figure = figures.Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*report.along, strict=True), marker=".")
    words = report.task.score.words
    axes.set(xlabel="step", ylabel=words, title=f"{words} along the sequences of the {report.split} split")
    return figure


@dataclass(frozen=True, repr=False, kw_only=True)
class StepClassificationReport(StepReport, ClassificationReport):
    """Metrics of a classifier of steps on one split: those of a classification over all known steps.

    `examples` are sequences. The interval is that of a bootstrap of the sequences, whose steps depend on each other;
    `mistakes` has the most confident one of each sequence.
    """

    task: ClassVar[type[Task]] = StepClassification
    counted: ClassVar[str] = "steps"

    def sections(self):
        yield from super().sections()
        yield self.along_section()

    def pictures(self, draw):
        return super().pictures(draw) | {ALONG: draw_along(self)}


def step_classification_report(
    task: StepClassification,
    split: str,
    targets: np.ndarray,
    probabilities: np.ndarray,
    speed: float,
) -> StepClassificationReport:
    """Return the report for class indices (n, length) and predicted probabilities (n, length, classes)."""
    known = targets >= 0
    flat = classification_report(split, targets[known], probabilities[known], task.names, speed)
    right = (probabilities.argmax(axis=-1) == targets) & known
    changes = {
        "examples": len(targets),
        "accuracy_interval": bootstrap(ratio, right.sum(axis=1), known.sum(axis=1)),
        "mistakes": mistakes_of_each(task, targets, probabilities),
    }
    return StepClassificationReport(**vars(flat) | changes, steps=int(known.sum()), along=along(right, known))


def ratio(values: np.ndarray, counts: np.ndarray) -> float:
    """Return the mean of a value over all steps, given sums and numbers of the steps of each sequence."""
    return float(values.sum() / counts.sum()) if counts.any() else math.nan


def along(values: np.ndarray, known: np.ndarray) -> list[list[float]]:
    """Return the first step of each part of the sequence, and the mean of the values at the known steps in it.

    Args:
        values: (n, length); 0 where they are not known.
        known: booleans, likewise.
    """
    length = known.shape[1]
    width = math.ceil(length / POINTS)
    parts = [(start, slice(start, start + width)) for start in range(0, length, width)]
    return [[start, ratio(values[:, part], known[:, part])] for start, part in parts if known[:, part].any()]


def mistakes_of_each(task: StepClassification, targets: np.ndarray, probabilities: np.ndarray) -> list[Mistake]:
    """Return the most confident mistake of each sequence that has some, in descending order of confidence."""
    predicted = probabilities.argmax(axis=-1)
    confidence = np.where((predicted != targets) & (targets >= 0), probabilities.max(axis=-1), -1.0)
    steps, most = confidence.argmax(axis=1), confidence.max(axis=1)
    order = [int(row) for row in np.argsort(-most, kind="stable")[:SHOWN] if most[row] >= 0]
    return [
        Mistake(
            row,
            task.names[targets[row, step]],
            task.names[predicted[row, step]],
            float(most[row]),
            int(step),
        )
        for row, step in ((row, steps[row]) for row in order)
    ]


@dataclass(frozen=True, repr=False, kw_only=True)
class StepTaggingReport(StepReport):
    """Metrics of a tagger of steps on one split; `examples` are sequences.

    Attributes:
        negative_log_likelihood: of a step in nats: the sum over the tags, the mean over all known steps.
        negative_log_likelihood_interval: its 95 % confidence interval, of a bootstrap of the sequences.
        macro_f1: mean over the tags that some step has of the F1 score at their thresholds, in [0, 1].
        micro_f1: F1 score of all decisions together, in [0, 1].
        per_tag: threshold, precision, recall, F1 and number of steps of each.
        worst: the sequences with the highest negative log-likelihood of a step, and that.
    """

    task: ClassVar[type[Task]] = StepTagging
    negative_log_likelihood: float
    negative_log_likelihood_interval: tuple[float, float]
    macro_f1: float
    micro_f1: float
    per_tag: dict[str, dict[str, float]]
    worst: list[list[float]]

    def others(self):
        return super().others() | {"macro-F1": percent(self.macro_f1), "micro-F1": percent(self.micro_f1)}

    def tables(self):
        yield self.tag_table()

    def tag_table(self) -> rich_table.Table:
        """Return the scores of each tag that some step has as a table."""
        rows = [
            (name, f"{row['threshold']:.3f}", *(percent(row[key]) for key in SCORES[:3]), f"{row['steps']:,}")
            for name, row in self.per_tag.items()
            if row["steps"]
        ]
        return table(("tag", "threshold", "precision", "recall", "F1", "steps"), rows)

    def sections(self) -> Iterator[Section]:
        folded = f"The {len(self.per_tag)} tags" if len(self.per_tag) > LONG else ""
        yield Section("Tags", table=self.tag_table(), folded=folded)
        yield self.along_section()
        title = f"The {len(self.worst)} sequences with the highest negative log-likelihood"
        yield Section("Worst sequences", "", WORST, title, True, True)

    def pictures(self, draw):
        return {ALONG: draw_along(self), WORST: draw_worst(self, draw)}


SCORES = ("precision", "recall", "f1", "steps")


def step_tagging_report(
    task: StepTagging, split: str, targets: np.ndarray, probabilities: np.ndarray, speed: float
) -> StepTaggingReport:
    """Return the report for tags (n, length, tags), 0, 1 or NaN, and predicted probabilities of this shape."""
    losses, known = step_losses(targets, probabilities)
    sums, counts = losses.sum(axis=1), known.sum(axis=1)
    per_tag = {
        name: {"threshold": float(limit)} | tag_scores(targets[..., column], probabilities[..., column] >= limit)
        for column, (name, limit) in enumerate(zip(task.names, task.limits, strict=True))
    }
    f1 = [row["f1"] for row in per_tag.values() if row["steps"]]
    decided = ~np.isnan(targets)
    given = (probabilities >= task.limits)[decided]
    means = sums / np.maximum(counts, 1)
    return StepTaggingReport(
        split=split,
        examples=len(targets),
        steps=int(counts.sum()),
        along=along(losses, known),
        negative_log_likelihood=ratio(sums, counts),
        negative_log_likelihood_interval=bootstrap(ratio, sums, counts),
        macro_f1=float(np.mean(f1)) if f1 else 0.0,
        micro_f1=float(metrics.f1_score(targets[decided], given, zero_division=0)),
        per_tag=per_tag,
        worst=[[int(row), float(means[row])] for row in np.argsort(-means, kind="stable")[:SHOWN]],
        examples_per_second=speed,
    )


def step_losses(targets: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the negative log-likelihood of each step, 0 of one that is not known, and which are, (n, length) each."""
    right = np.where(targets == 1, probabilities, 1 - probabilities)
    losses = np.where(np.isnan(targets), 0.0, -np.log(np.maximum(right, 1e-7)))
    return losses.sum(axis=-1), ~np.isnan(targets).all(axis=-1)


def tag_scores(targets: np.ndarray, given: np.ndarray) -> dict[str, float]:
    """Return precision, recall, F1 and number of steps of one tag."""
    known = ~np.isnan(targets)
    present, given = targets[known] == 1, given[known]
    found = metrics.precision_recall_fscore_support(present, given, average="binary", zero_division=0)[:3]
    return dict(zip(SCORES, (*map(float, found), int(present.sum())), strict=True))


def draw_worst(report: StepTaggingReport, draw: Callable) -> figures.Figure:
    """Draw the sequences with the highest negative log-likelihood of a step."""
    captions = [(example, f"{significant(value)} nats a step") for example, value in report.worst]
    return draw_examples(f"worst sequences of the {report.split} split", captions, draw)
