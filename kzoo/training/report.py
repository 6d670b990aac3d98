"""Classification report: accuracy with its interval, F1, calibration, scores of each class, confusions, mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from kzoo.core.lazy import lazy_import, np, rich_table, rich_text
from kzoo.core.numbers import percent, significant
from kzoo.core.shown import Shown, table

metrics = lazy_import("sklearn.metrics")
scipy_stats = lazy_import("scipy.stats")

TOP5_FROM = 10  # smallest number of classes for which a top-5 accuracy means anything


@dataclass(frozen=True)
class Mistake:
    """A misclassified example: its index in the split, true class, predicted class, and the latter's probability."""

    example: int
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """Metrics of a classifier on one split.

    Attributes:
        split: "validation" or "test", or the name of a dataset of which all splits were taken together.
        examples: number of examples.
        accuracy: fraction of examples whose most probable class is right, in [0, 1].
        accuracy_interval: its 95 % confidence interval (Wilson).
        macro_f1: unweighted mean of the F1 scores of all classes that have an example or are predicted, in [0, 1], as
            scikit-learn's `f1_score(average="macro")`.
        top5_accuracy: fraction whose class is among the five most probable, in [0, 1]; None below 10 classes.
        loss: mean cross-entropy, in nats.
        calibration_error: expected calibration error over 15 equal bins of confidence (Guo et al., 2017,
            https://arxiv.org/abs/1706.04599), in [0, 1].
        per_class: precision, recall, F1 and number of examples of each class.
        per_group: accuracy and number of examples of each group, such as a speaker; None for a dataset without groups.
        confusion: number of examples by true class (row) and predicted class (column).
        mistakes: misclassified examples, in descending order of confidence.
        examples_per_second: inference speed on this machine, the data pipeline included; all views of an example
            count as one. None for a report that was read from a file.
        tta: the options of test-time augmentation; None for none.
    """

    split: str
    examples: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    top5_accuracy: float | None
    loss: float
    calibration_error: float
    per_class: dict[str, dict[str, float]]
    per_group: dict[str, dict[str, float]] | None
    confusion: list[list[int]]
    mistakes: list[Mistake]
    examples_per_second: float | None
    tta: Mapping | None = None

    def to_dict(self) -> dict:
        """Return all numbers, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping) -> Report:
        """Return the report that `to_dict` described."""
        values = {field.name: content.get(field.name) for field in fields(cls)}
        return cls(**values | {"mistakes": [Mistake(**mistake) for mistake in content["mistakes"]]})

    def __rich_console__(self, console, options):
        yield rich_text.Text(self.headline())
        yield self.class_table()
        if self.per_group:
            yield self.group_table()

    def __str__(self) -> str:
        return self.headline()

    def headline(self) -> str:
        """Return the main numbers in one line."""
        (_, accuracy), (_, interval), _, *others = self.measures()
        main = f"{self.split} accuracy {accuracy} (95 % interval {interval}, {self.examples:,} examples)"
        return "  ".join([main, *(f"{name} {value}" for name, value in others)])

    def measures(self) -> list[tuple[str, str]]:
        """Return the name and the value of each metric of the whole split, as text."""
        low, high = self.accuracy_interval
        found = {
            "accuracy": percent(self.accuracy),
            "95 % interval": f"{percent(low)} to {percent(high)}",
            "examples": f"{self.examples:,}",
            "macro-F1": percent(self.macro_f1),
            "top-5 accuracy": self.top5_accuracy and percent(self.top5_accuracy),
            "cross-entropy": significant(self.loss),
            "calibration error": percent(self.calibration_error),
            "examples/s": self.examples_per_second and f"{self.examples_per_second:,.0f}",
            "test-time augmentation": self.tta and ", ".join(f"{key} {value}" for key, value in self.tta.items()),
        }
        return [(name, value) for name, value in found.items() if value]

    def class_table(self) -> rich_table.Table:
        """Return precision, recall and F1 of each class as a table."""
        rows = [
            (name, *(percent(row[key]) for key in ("precision", "recall", "f1")), f"{row['examples']:,}")
            for name, row in self.per_class.items()
        ]
        return table(("class", "precision", "recall", "F1", "examples"), rows)

    def group_table(self) -> rich_table.Table:
        """Return the accuracy of each group as a table, the lowest first."""
        groups = sorted(self.per_group.items(), key=lambda item: item[1]["accuracy"])
        rows = [(name, percent(row["accuracy"]), f"{row['examples']:,}") for name, row in groups]
        return table(("group", "accuracy", "examples"), rows)

    def mistake_table(self) -> rich_table.Table:
        """Return the most confident mistakes as a table."""
        rows = [(m.label, m.predicted, percent(m.probability), f"{m.example}") for m in self.mistakes]
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


def classification_report(
    split: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: tuple[str, ...],
    speed: float,
    groups: np.ndarray | None = None,
) -> Report:
    """Return the report for class indices (n,), predicted probabilities (n, classes) and names of groups (n,)."""
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
    return Report(
        split=split,
        examples=len(labels),
        accuracy=right / len(labels),
        accuracy_interval=(float(interval.low), float(interval.high)),
        macro_f1=float(metrics.f1_score(labels, predicted, average="macro")),
        top5_accuracy=top5,
        loss=float(metrics.log_loss(labels, probabilities, labels=classes)),
        calibration_error=calibration_error(probabilities.max(axis=-1), predicted == labels),
        per_class=per_class,
        per_group=None if groups is None else group_accuracy(groups, predicted == labels),
        confusion=metrics.confusion_matrix(labels, predicted, labels=classes).tolist(),
        mistakes=confident_mistakes(labels, predicted, probabilities, class_names),
        examples_per_second=speed,
    )


def group_accuracy(groups: np.ndarray, right: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the accuracy and the number of examples of each group."""
    return {
        str(name): {"accuracy": float(right[groups == name].mean()), "examples": int((groups == name).sum())}
        for name in np.unique(groups)
    }


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
