"""Classification: one class an example.

The report has accuracy with its interval, F1, calibration, scores of each class, confusions and mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.lazy import figures, keras, lazy_import, metrics, np, rich_table, special
from kzoo.core.numbers import percent, significant
from kzoo.core.shown import table
from kzoo.nn.portable import argmax
from kzoo.tasks.class_weights import BALANCED, balanced_weights, weight_per_class
from kzoo.tasks.task import Report, Score, Section, Task, draw_examples, keras_losses, keras_metrics, mistake_section

scipy_stats = lazy_import("scipy.stats")

TOP5_FROM = 10  # smallest number of classes for which a top-5 accuracy means anything
TITLE = 34  # characters above a mistake
NAMED, COUNTED = 40, 20  # largest numbers of classes whose names, and whose counts, fit into a confusion matrix
LONG = 20  # classes from which on their table is folded
CONFUSION, MISTAKES = "confusion.png", "mistakes.png"


@dataclass(frozen=True)
class Classification(Task):
    """One class an example; targets are class indices.

    Args:
        class_names: in the order of the class indices.
    """

    class_names: tuple[str, ...]
    key: ClassVar[str] = "classification"
    noun: ClassVar[str] = "classes"
    score: ClassVar[Score] = Score("accuracy")
    answer: ClassVar[str] = "probabilities"
    drawn: ClassVar[tuple[str, ...]] = (CONFUSION, MISTAKES)
    exclusive: ClassVar[bool] = True
    quantity: ClassVar[str] = "probability"
    stability: ClassVar[Score] = Score("consistency")

    @property
    def names(self) -> tuple[str, ...]:
        return self.class_names

    @property
    def output_axes(self):
        return ("batch", "num_classes")

    def check(self, split, targets):
        labels = np.asarray(targets)
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"the labels of the {split} split must be integers, got {labels.dtype}")
        wrong = np.flatnonzero((labels < 0) | (labels >= len(self.names)))
        if wrong.size:
            raise ValueError(
                f"example {wrong[0]} of the {split} split has label {labels[wrong[0]]}, "
                f"expected 0 to {len(self.names) - 1}"
            )

    def encode(self, targets):
        return np.asarray(targets).astype("int32")

    def strata(self, targets):
        return np.asarray(targets)

    def loss(self, targets=None, *, label_smoothing=0.0, class_weights=None, focal_gamma=0.0):
        if class_weights == BALANCED:
            class_weights = balanced_weights(self.decisions(targets), len(self.names))
        elif class_weights is not None:
            class_weights = weight_per_class(class_weights, self.class_names)
        return self.loss_type(label_smoothing, class_weights, focal_gamma)

    @property
    def loss_type(self) -> type[keras.losses.Loss]:
        """The class of the loss."""
        return keras_losses.ClassificationLoss

    def decisions(self, targets: np.ndarray) -> np.ndarray:
        """Return the class index of each thing that is classified, (n,)."""
        return np.asarray(targets)

    def metrics(self):
        return [keras_metrics.ClassificationAccuracy(), keras_metrics.ClassificationCrossEntropy()]

    def decode(self, outputs):
        probabilities = keras.ops.softmax(keras.ops.cast(outputs, "float32"))
        return {self.answer: probabilities, "label": argmax(probabilities)}

    def answers(self, outputs):
        return special.softmax(outputs.astype("float64"), axis=-1)

    @property
    def vocabulary(self):
        return {"label": self.class_names}

    def describe(self, answer):
        if answer is None:
            return {"label": None, "probability": None, self.answer: {}}
        named = super().describe(answer)[self.answer]
        label = max(named, key=named.get)
        return {"label": label, "probability": named[label], self.answer: named}

    def cells(self, described):
        return {"label": described["label"] or "", "probability": percent(described["probability"], 1)}

    def shown(self, value):
        return percent(value, 0)

    def explained(self, answer):
        return int(answer.argmax())

    def which(self, output):
        return "the predicted class" if output is None else f"the {self.names[output]!r} class"

    def caption(self, answer, output=None, target=None):
        predicted = self.explained(answer)
        words = [] if target is None else [f"true {self.names[target]}"]
        words.append(f"predicted {self.names[predicted]} ({self.shown(answer[predicted])})")
        if output not in (None, predicted):
            words.append(f"{self.names[output]} ({self.shown(answer[output])})")
        return ", ".join(words)

    def shades(self, answers, targets):
        return answers.argmax(axis=-1) if targets is None else self.strata(targets)

    def averaged(self, outputs):
        mean = keras.ops.mean(keras.ops.stack([keras.ops.softmax(logits) for logits in outputs]), axis=0)
        return keras.ops.log(keras.ops.maximum(mean, 1e-30))

    def measured(self, targets, answers):
        return float((answers.argmax(axis=-1) == targets).mean())

    def agreement(self, before, after):
        return float((before.argmax(axis=-1) == after.argmax(axis=-1)).mean())

    def confidence(self, targets, answers):
        return answers[np.arange(len(targets)), targets]

    def matched(self, other, targets):
        return np.array([self.names.index(name) for name in other.names], "int32")[np.asarray(targets)]

    def report(self, split, targets, answers, speed):
        return classification_report(split, np.asarray(targets), answers, self.class_names, speed)


@dataclass(frozen=True)
class Mistake:
    """A misclassified example: its index in the split, true class, predicted class, and the latter's probability.

    `step` is the one in a sequence that has a class at each step.
    """

    example: int
    label: str
    predicted: str
    probability: float
    step: int | None = None


@dataclass(frozen=True, repr=False, kw_only=True)
class ClassificationReport(Report):
    """Metrics of a classifier on one split.

    Attributes:
        accuracy: fraction of examples whose most probable class is right, in [0, 1].
        accuracy_interval: its 95 % confidence interval (Wilson).
        macro_f1: unweighted mean of the F1 scores of all classes that have an example or are predicted, in [0, 1], as
            scikit-learn's `f1_score(average="macro")`.
        top5_accuracy: fraction whose class is among the five most probable, in [0, 1]; None below 10 classes.
        loss: mean cross-entropy, in nats.
        calibration_error: expected calibration error over 15 equal bins of confidence (Guo et al., 2017,
            https://arxiv.org/abs/1706.04599), in [0, 1].
        per_class: precision, recall, F1 and number of examples of each class.
        confusion: number of examples by true class (row) and predicted class (column).
        mistakes: misclassified examples, in descending order of confidence.
    """

    task: ClassVar[type[Task]] = Classification
    counted: ClassVar[str] = "examples"  # of a class, in its table
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    top5_accuracy: float | None
    loss: float
    calibration_error: float
    per_class: dict[str, dict[str, float]]
    confusion: list[list[int]]
    mistakes: list[Mistake]

    @classmethod
    def from_dict(cls, content):
        mistakes = [Mistake(**mistake) for mistake in content["mistakes"]]
        return super().from_dict(content | {"mistakes": mistakes})

    def others(self):
        return {
            "macro-F1": percent(self.macro_f1),
            "top-5 accuracy": self.top5_accuracy and percent(self.top5_accuracy),
            "cross-entropy": significant(self.loss),
            "calibration error": percent(self.calibration_error),
        }

    def tables(self):
        yield self.class_table()

    def sections(self) -> Iterator[Section]:
        folded = f"The {len(self.per_class)} classes" if len(self.per_class) > LONG else ""
        yield Section("Classes", table=self.class_table(), folded=folded)
        found = [f"{true} predicted as {guess} ({count:,})" for true, guess, count in self.frequent_confusions()]
        words = f"Most frequent: {', '.join(found)}." if found else "No example was misclassified."
        alt = f"Confusion matrix: true classes in rows, predicted classes in columns. {words}"
        yield Section("Confusion matrix", words, CONFUSION, alt)
        yield mistake_section(self.mistakes, MISTAKES, self.mistake_table())

    def pictures(self, draw):
        return {CONFUSION: draw_confusion(self), MISTAKES: draw_mistakes(self, draw)}

    def class_table(self) -> rich_table.Table:
        """Return precision, recall and F1 of each class as a table."""
        rows = [
            (name, *(percent(row[key]) for key in ("precision", "recall", "f1")), f"{row['examples']:,}")
            for name, row in self.per_class.items()
        ]
        return table(("class", "precision", "recall", "F1", self.counted), rows)

    def mistake_table(self) -> rich_table.Table:
        """Return the most confident mistakes as a table."""
        rows = [(m.label, m.predicted, percent(m.probability), f"{m.example}{at(m.step)}") for m in self.mistakes]
        return table(("true class", "predicted", "probability", "example"), rows, words=2)

    def frequent_confusions(self, most: int = 5) -> list[tuple[str, str, int]]:
        """Return the most frequent confusions: the true class, the predicted class, and how many examples."""
        names, counts = list(self.per_class), np.array(self.confusion)
        np.fill_diagonal(counts, 0)
        order = np.argsort(-counts, axis=None, kind="stable")[:most]
        pairs = [divmod(int(index), len(names)) for index in order]
        return [
            (names[true], names[predicted], int(counts[true, predicted]))
            for true, predicted in pairs
            if counts[true, predicted]
        ]


def at(step: int | None) -> str:
    """Return the step of a mistake in words, "" for none."""
    return "" if step is None else f", step {step}"


def classification_report(
    split: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: tuple[str, ...],
    speed: float,
) -> ClassificationReport:
    """Return the report for class indices (n,) and predicted probabilities (n, classes)."""
    classes = list(range(len(class_names)))
    predicted = probabilities.argmax(axis=-1)
    right = int((predicted == labels).sum())
    interval = scipy_stats.binomtest(right, len(labels)).proportion_ci(0.95, method="wilson")
    top5 = None
    if len(classes) >= TOP5_FROM:
        top5 = float(metrics.top_k_accuracy_score(labels, probabilities, k=5, labels=classes))
    scores = metrics.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    keys = ("precision", "recall", "f1", "examples")
    per_class = {
        name: {key: column.item() for key, column in zip(keys, row, strict=True)}
        for name, row in zip(class_names, zip(*scores, strict=True), strict=True)
    }
    return ClassificationReport(
        split=split,
        examples=len(labels),
        accuracy=right / len(labels),
        accuracy_interval=(float(interval.low), float(interval.high)),
        macro_f1=float(metrics.f1_score(labels, predicted, average="macro")),
        top5_accuracy=top5,
        loss=float(metrics.log_loss(labels, summing_to_one(probabilities), labels=classes)),
        calibration_error=calibration_error(probabilities.max(axis=-1), predicted == labels),
        per_class=per_class,
        confusion=metrics.confusion_matrix(labels, predicted, labels=classes).tolist(),
        mistakes=confident_mistakes(labels, predicted, probabilities, class_names),
        examples_per_second=speed,
    )


def summing_to_one(probabilities: np.ndarray) -> np.ndarray:
    """Return rows of probabilities that sum to 1; those of a network in 8-bit integers do not quite."""
    return probabilities / probabilities.sum(axis=-1, keepdims=True)


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy over bins of equal width."""
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(bin_of, confidence, bins) - np.bincount(bin_of, right, bins)
    return float(np.abs(gap).sum() / len(confidence))


def confident_mistakes(
    labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray, class_names: tuple[str, ...], most: int = 25
) -> list[Mistake]:
    """Return the misclassified examples with the highest probability of the wrong class, in descending order."""
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:most]
    return [
        Mistake(int(i), class_names[labels[i]], class_names[predicted[i]], float(probabilities[i, predicted[i]]))
        for i in wrong
    ]


def draw_confusion(report: ClassificationReport) -> figures.Figure:
    """Draw the confusion matrix: colours are fractions of the true class, counts are written where there is room."""
    names, counts = list(report.per_class), np.array(report.confusion)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(max(5, 0.5 * len(names) + 2), 20)
    figure = figures.Figure(figsize=(size + 0.6, 0.9 * size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="fraction of the true class", shrink=0.6)
    if len(names) <= NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_yticks(range(len(names)), names)
    if len(names) <= COUNTED:
        for row, column in np.argwhere(counts):
            colour = "white" if fractions[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour, fontsize=8)
    axes.set(xlabel="predicted", ylabel="true", title=f"{report.split} accuracy {percent(report.accuracy)}")
    return figure


def draw_mistakes(report: ClassificationReport, draw: Callable) -> figures.Figure:
    """Draw the most confident mistakes, each with its true and its predicted class and the latter's probability."""
    if not report.mistakes:
        return draw_examples(f"no mistakes on the {report.split} split", [], draw)
    captions = []
    for mistake in report.mistakes:
        true, predicted = f"true {mistake.label}", f"predicted {mistake.predicted} ({percent(mistake.probability, 0)})"
        between = ", " if len(true) + len(predicted) < TITLE else ",\n"
        captions.append((mistake.example, f"{true}{between}{predicted}{at(mistake.step)}"))
    return draw_examples(f"most confident mistakes on the {report.split} split", captions, draw)
