"""Tagging: any number of labels an example, none included.

The report has the average precision and F1 of all tags and of each, with intervals, how tags occur together, and the
most confident mistakes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.lazy import figures, keras, metrics, np, rich_table, special
from kzoo.core.numbers import percent, significant
from kzoo.core.shown import listed, table
from kzoo.tasks.class_weights import BALANCED, weight_per_class
from kzoo.tasks.task import (
    Report,
    Score,
    Section,
    Task,
    bootstrap_weights,
    draw_examples,
    keras_losses,
    keras_metrics,
    mistake_section,
)

TOGETHER, MISTAKES = "together.png", "mistakes.png"
NAMED = 40  # largest number of tags whose names fit into a picture
LONG = 20  # tags from which on their table is folded
SHOWN = 25  # mistakes


@dataclass(frozen=True)
class Tagging(Task):
    """Any number of tags an example; targets are 0 and 1, float (n, tags).

    Args:
        tag_names: in the order of the outputs.
        thresholds: probability from which on each tag is given; `kzoo.fit` chooses those of the highest F1 on
            validation. () for 0.5.

    Raises:
        ValueError: without a tag, or for thresholds that are not one fraction for each tag.
    """

    tag_names: tuple[str, ...]
    thresholds: tuple[float, ...] = ()
    key: ClassVar[str] = "tagging"
    noun: ClassVar[str] = "tags"
    score: ClassVar[Score] = Score("average_precision")
    answer: ClassVar[str] = "probabilities"
    drawn: ClassVar[tuple[str, ...]] = (TOGETHER, MISTAKES)
    quantity: ClassVar[str] = "probability"
    stability: ClassVar[Score] = Score("consistency")
    summed: ClassVar[bool] = False  # whether the losses of the tags are summed, not averaged

    def __post_init__(self):
        if not self.tag_names:
            raise ValueError("tagging needs at least one tag, got none")
        wrong = [value for value in self.thresholds if not 0 <= value <= 1]
        if wrong or len(self.thresholds) not in (0, self.outputs):
            got = f"got {wrong[0]:g}" if wrong else f"got {len(self.thresholds)}"
            raise ValueError(f"thresholds must be one number from 0 to 1 for each of {self.outputs} tags, {got}")

    @property
    def names(self):
        return self.tag_names

    @property
    def limits(self) -> np.ndarray:
        """The threshold of each tag, float32."""
        return np.asarray(self.thresholds or (0.5,) * self.outputs, "float32")

    def check(self, split, targets):
        rows = np.asarray(targets)
        if rows.ndim != 2 or rows.shape[1] != self.outputs:
            expected = f"expected (n, {self.outputs}) for {listed(list(self.tag_names))}"
            raise ValueError(f"the tags of the {split} split have shape {rows.shape}, {expected}")
        wrong = np.argwhere((rows != 0) & (rows != 1))
        if len(wrong):
            row, column = wrong[0]
            raise ValueError(
                f"example {row} of the {split} split has {rows[row, column]:g} for {self.tag_names[column]!r}, "
                "expected 0 or 1"
            )

    def fitted(self, targets):
        never = np.flatnonzero(~np.asarray(targets).any(axis=0))
        if never.size:
            names = listed([self.tag_names[column] for column in never])
            raise ValueError(f"no training example has the tag {names}; leave it out, or hold out fewer examples")
        return self

    def tag_rows(self, targets):
        return np.asarray(targets)

    def loss(self, targets=None, *, label_smoothing=0.0, class_weights=None, focal_gamma=0.0):
        if class_weights == BALANCED:
            present = self.decisions(targets).mean(axis=0)
            if not present.all():
                name = self.tag_names[present.argmin()]
                raise ValueError(f"balanced class_weights need an example of each tag; {name!r} has none")
            class_weights = tuple(((1 - present) / present).tolist())
        elif class_weights is not None:
            class_weights = weight_per_class(class_weights, self.tag_names)
        return keras_losses.TaggingLoss(label_smoothing, class_weights, focal_gamma, summed=self.summed)

    def decisions(self, targets: np.ndarray) -> np.ndarray:
        """Return targets with a row for each time that all tags are decided, (n, tags)."""
        return np.asarray(targets)

    def metrics(self):
        return [keras_metrics.TaggingAveragePrecision(self.outputs), keras_metrics.TaggingCrossEntropy()]

    def decode(self, outputs):
        probabilities = keras.ops.sigmoid(keras.ops.cast(outputs, "float32"))
        given = keras.ops.cast(probabilities >= self.limits, "int32")
        return {self.answer: probabilities, "tags": given * np.arange(1, self.outputs + 1, dtype="int32")}

    def answers(self, outputs):
        return special.expit(outputs.astype("float64"))

    @property
    def vocabulary(self):
        return {"tags": ("", *self.tag_names)}

    def describe(self, answer):
        if answer is None:
            return {"tags": [], self.answer: {}}
        return {"tags": self.given(np.asarray(answer) >= self.limits)} | super().describe(answer)

    def cells(self, described):
        given = {name: described[self.answer][name] for name in described["tags"]}
        return {"tags": ", ".join(f"{name} ({percent(value, 0)})" for name, value in given.items())}

    def shown(self, value):
        return percent(value, 0)

    def explained(self, answer):
        return int(answer.argmax())

    def which(self, output):
        return "the most probable tag" if output is None else f"the tag {self.names[output]!r}"

    def caption(self, answer, output=None, target=None):
        index = self.explained(answer) if output is None else output
        words = [] if target is None else [f"true {', '.join(self.given(target)) or 'none'}"]
        return ", ".join([*words, f"{self.names[index]} ({self.shown(answer[index])})"])

    def given(self, present: np.ndarray) -> list[str]:
        """Return the tags of one example by which of them are there."""
        return [name for name, there in zip(self.names, present, strict=True) if there]

    def shades(self, answers, targets):
        return (answers if targets is None else np.where(targets, answers, answers - 1)).argmax(axis=-1)

    def averaged(self, outputs):
        mean = keras.ops.mean(keras.ops.stack([keras.ops.sigmoid(logits) for logits in outputs]), axis=0)
        mean = keras.ops.clip(mean, 1e-7, 1 - 1e-7)
        return keras.ops.log(mean) - keras.ops.log1p(-mean)

    def joined(self, tasks):
        """Return the task with the mean of each tag's thresholds, which every network has chosen for itself."""
        if any(dataclasses.replace(task, thresholds=self.thresholds) != self for task in tasks):
            return None
        return dataclasses.replace(self, thresholds=tuple(np.mean([task.limits for task in tasks], axis=0).tolist()))

    def measured(self, targets, answers):
        once = np.ones((1, len(targets)))
        each = [average_precisions(*tag, once) for tag in zip(np.asarray(targets).T, answers.T, strict=True)]
        return float(mean_of_numbers(np.stack(each))[0])

    def agreement(self, before, after):
        return float(((before >= self.limits) == (after >= self.limits)).all(axis=-1).mean())

    def confidence(self, targets, answers):
        return answers[np.asarray(targets, bool)]

    def matched(self, other, targets):
        found = np.zeros((*np.shape(targets)[:-1], self.outputs), "float32")
        found[..., [self.names.index(name) for name in other.names]] = targets
        return found

    def calibrated(self, targets, answers):
        best = [best_threshold(*columns) for columns in zip(np.asarray(targets).T, answers.T, strict=True)]
        return dataclasses.replace(self, thresholds=tuple(best))

    def report(self, split, targets, answers, speed):
        return tagging_report(self, split, np.asarray(targets), answers, speed)


def best_threshold(present: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the threshold of the highest F1, in the middle between two probabilities; 0.5 for a tag of no example."""
    if not present.any():
        return 0.5
    precision, recall, thresholds = metrics.precision_recall_curve(present, probabilities)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = f1[:-1].argmax()
    return float(thresholds[best] + (thresholds[best - 1] if best else 0.0)) / 2


@dataclass(frozen=True)
class TagMistake:
    """A tag that an example has and is least probable, or has not and is most: the example, its tag, the probability.

    `tags` are all those that the example has, `present` whether the tag is one of them.
    """

    example: int
    tag: str
    present: bool
    probability: float
    tags: tuple[str, ...]


@dataclass(frozen=True, repr=False, kw_only=True)
class TaggingReport(Report):
    """Metrics of a tagger on one split; tags that no example of it has count for none of the means.

    Attributes:
        average_precision: mean over the tags of the average precision (mAP), in [0, 1].
        average_precision_interval: its 95 % confidence interval, of a bootstrap of the examples.
        macro_f1: mean over the tags of the F1 score at their thresholds, in [0, 1].
        micro_f1: F1 score of all decisions together, in [0, 1].
        auc: mean over the tags of the area under the receiver operating characteristic, in [0, 1]; None if undefined.
        loss: mean binary cross-entropy of a decision, in nats.
        per_tag: average precision with its interval, threshold, precision, recall, F1 and number of examples of each.
        together: number of examples with both tags, (tags, tags); on the diagonal of those with the tag.
        mistakes: the most confident mistakes, in descending order of confidence.
    """

    task: ClassVar[type[Task]] = Tagging
    average_precision: float
    average_precision_interval: tuple[float, float]
    macro_f1: float
    micro_f1: float
    auc: float | None
    loss: float
    per_tag: dict[str, dict]
    together: list[list[int]]
    mistakes: list[TagMistake]

    @classmethod
    def from_dict(cls, content):
        mistakes = [TagMistake(**mistake | {"tags": tuple(mistake["tags"])}) for mistake in content["mistakes"]]
        return super().from_dict(content | {"mistakes": mistakes})

    def others(self):
        return {
            "macro-F1": percent(self.macro_f1),
            "micro-F1": percent(self.micro_f1),
            "AUC": self.auc and significant(self.auc),
            "binary cross-entropy": significant(self.loss),
        }

    def tables(self):
        yield self.tag_table()

    def tag_table(self) -> rich_table.Table:
        """Return the scores of each tag as a table."""
        rows = [
            (
                name,
                percent(row["average_precision"]),
                interval(row["interval"]),
                f"{row['threshold']:.3f}",
                *(percent(row[key]) for key in ("precision", "recall", "f1")),
                f"{row['examples']:,}",
            )
            for name, row in self.per_tag.items()
        ]
        columns = ("tag", "average precision", "95 % interval", "threshold", "precision", "recall", "F1", "examples")
        return table(columns, rows)

    def mistake_table(self) -> rich_table.Table:
        """Return the most confident mistakes as a table."""
        rows = [
            (m.tag, "missed" if m.present else "wrong", ", ".join(m.tags), percent(m.probability), f"{m.example}")
            for m in self.mistakes
        ]
        return table(("tag", "mistake", "true tags", "probability", "example"), rows, words=3)

    def sections(self) -> Iterator[Section]:
        folded = f"The {len(self.per_tag)} tags" if len(self.per_tag) > LONG else ""
        yield Section("Tags", table=self.tag_table(), folded=folded)
        words = f"Most frequent pairs: {', '.join(self.frequent_pairs()) or 'none'}."
        yield Section("Tags that occur together", words, TOGETHER, f"Co-occurrence of tags. {words}")
        yield mistake_section(self.mistakes, MISTAKES, self.mistake_table())

    def frequent_pairs(self, most: int = 5) -> list[str]:
        """Return the pairs of tags that most examples have, in words."""
        names, counts = list(self.per_tag), np.triu(self.together, 1)
        order = np.argsort(-counts, axis=None, kind="stable")[:most]
        pairs = [divmod(int(index), len(names)) for index in order]
        return [f"{names[a]} and {names[b]} ({counts[a, b]:,})" for a, b in pairs if counts[a, b]]

    def pictures(self, draw):
        return {TOGETHER: draw_together(self), MISTAKES: draw_mistakes(self, draw)}


def interval(ends: tuple[float, float] | None) -> str:
    """Return an interval of fractions as text."""
    return " to ".join(map(percent, ends)) if ends else "-"


def tagging_report(
    task: Tagging, split: str, targets: np.ndarray, probabilities: np.ndarray, speed: float
) -> TaggingReport:
    """Return the report for tags (n, tags), 0 and 1, and predicted probabilities (n, tags)."""
    known = targets.any(axis=0)
    if not known.any():
        raise ValueError(f"no example of the {split} split has a tag; there is nothing to measure")
    weights = bootstrap_weights(len(targets))
    draws = np.stack([average_precisions(*tag, weights) for tag in zip(targets.T, probabilities.T, strict=True)])
    given = probabilities >= task.limits
    scores = decision_scores(targets, given)
    means = mean_of_numbers(draws)
    both = known & ~targets.all(axis=0)
    clipped = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return TaggingReport(
        split=split,
        examples=len(targets),
        average_precision=float(means[0]),
        average_precision_interval=percentiles(means[1:]),
        macro_f1=float(scores["f1"][known].mean()),
        micro_f1=float(2 * (targets * given).sum() / (targets.sum() + given.sum())),
        auc=float(metrics.roc_auc_score(targets[:, both], probabilities[:, both])) if both.any() else None,
        loss=float(-np.mean(targets * np.log(clipped) + (1 - targets) * np.log1p(-clipped))),
        per_tag={name: scores_of(column, draws, scores, task) for column, name in enumerate(task.names)},
        together=(targets.T @ targets).astype(int).tolist(),
        mistakes=confident_mistakes(task, targets, probabilities),
        examples_per_second=speed,
    )


def scores_of(column: int, draws: np.ndarray, scores: dict[str, np.ndarray], task: Tagging) -> dict:
    """Return the scores of one tag; one that no example has, has no average precision."""
    precision, *drawn = draws[column]
    found = not np.isnan(precision)
    return {
        "average_precision": float(precision) if found else None,
        "interval": percentiles(drawn) if found else None,
        "threshold": float(task.limits[column]),
        **{key: values[column].item() for key, values in scores.items()},
    }


def decision_scores(targets: np.ndarray, given: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision, recall, F1 (0 where undefined) and number of examples of each tag."""
    hits, found, examples = (targets * given).sum(axis=0), given.sum(axis=0), targets.sum(axis=0)
    return {
        "precision": hits / np.maximum(found, 1),
        "recall": hits / np.maximum(examples, 1),
        "f1": 2 * hits / np.maximum(found + examples, 1),
        "examples": examples.astype(int),
    }


def mean_of_numbers(draws: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis of what is not NaN, NaN where all is."""
    count = np.isfinite(draws).sum(axis=0)
    return np.nansum(draws, axis=0) / np.where(count, count, np.nan)


def average_precisions(present: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the average precision of one tag for several weightings of the examples, NaN without a positive one.

    It is the sum of precisions, each weighted by the rise in recall, as scikit-learn's `average_precision_score`.

    Args:
        present: 0 or 1, (n,).
        probabilities: (n,).
        weights: from 0, (draws, n).
    """
    order = np.argsort(-probabilities, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(probabilities[order])), len(order) - 1)  # of equal probabilities
    drawn = weights[:, order]
    hits, counted = (np.cumsum(part, axis=1)[:, ends] for part in (drawn * present[order], drawn))
    rises = np.diff(hits, axis=1, prepend=0)
    total = np.where(hits[:, -1] > 0, hits[:, -1], np.nan)
    return (rises * hits / np.maximum(counted, 1)).sum(axis=1) / total


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of values of a bootstrap."""
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return float(low), float(high)


def confident_mistakes(task: Tagging, targets: np.ndarray, probabilities: np.ndarray) -> list[TagMistake]:
    """Return the decisions that are furthest on the wrong side of their threshold, in descending order.

    How far is the fraction of the way from the threshold to 0, of a tag that was missed, or to 1.
    """
    wrong = (probabilities >= task.limits) != targets.astype(bool)
    way = np.where(targets, task.limits, 1 - task.limits)
    confidence = np.where(wrong, np.abs(probabilities - task.limits) / np.maximum(way, 1e-12), -1.0)
    order = np.argsort(-confidence, axis=None, kind="stable")[: min(SHOWN, int(wrong.sum()))]
    return [
        TagMistake(
            int(row),
            task.names[column],
            bool(targets[row, column]),
            float(probabilities[row, column]),
            tuple(task.given(targets[row])),
        )
        for row, column in zip(*np.unravel_index(order, targets.shape), strict=True)
    ]


def draw_together(report: TaggingReport) -> figures.Figure:
    """Draw how often tags occur together: the fraction of the row's tag that has the column's."""
    counts = np.array(report.together)
    names = list(report.per_tag)
    fractions = counts / np.maximum(counts.diagonal()[:, None], 1)
    size = min(max(5, 0.4 * len(names) + 2), 20)
    figure = figures.Figure(figsize=(size + 0.6, 0.9 * size), layout="constrained")
    axes = figure.subplots()
    figure.colorbar(axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1), label="fraction of the row's tag", shrink=0.6)
    if len(names) <= NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="also tagged", ylabel="tag", title=f"tags of the {report.split} split that occur together")
    return figure


def draw_mistakes(report: TaggingReport, draw: Callable) -> figures.Figure:
    """Draw the examples of the most confident mistakes, each with the tag and its probability."""
    captions = []
    for mistake in report.mistakes:
        what = f"{'missed' if mistake.present else 'wrong'} {mistake.tag} ({percent(mistake.probability, 0)})"
        captions.append((mistake.example, f"{what}\ntags: {', '.join(mistake.tags) or 'none'}"))
    return draw_examples(f"most confident mistakes on the {report.split} split", captions, draw)
