"""Measure a classifier on a split: one report of numbers and pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kzoo.core.files import write_file, write_json
from kzoo.core.lazy import keras, lazy_import, np, rich_table
from kzoo.core.shown import Shown
from kzoo.data.splits import Splits
from kzoo.data.tta import views_of
from kzoo.nn.precision import in_float32
from kzoo.training import runs
from kzoo.training.train import check_model

matplotlib_figure = lazy_import("matplotlib.figure")
metrics = lazy_import("sklearn.metrics")
scipy_stats = lazy_import("scipy.stats")

TOP5_FROM = 10  # fewest classes for which the top five say something


@dataclass(frozen=True)
class Mistake:
    """One example whose class was taken for another: its place in the split, both names, and the probability."""

    example: int
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Report(Shown):
    """How well a classifier does on one split.

    Attributes:
        split: "validation" or "test".
        examples: how many were measured.
        accuracy: share of examples whose most probable class is right, in [0, 1].
        accuracy_interval: its 95 % interval (Wilson), which tells what another test set of this size could give.
        macro_f1: mean of the classes' F1 scores, each class counting the same, in [0, 1].
        top5_accuracy: share whose class is among the five most probable; None below 10 classes.
        loss: mean cross-entropy, in nats.
        calibration_error: expected difference between confidence and accuracy over 15 equal bins of confidence
            (Guo et al., 2017, https://arxiv.org/abs/1706.04599), in [0, 1].
        per_class: precision, recall, F1 and number of examples of each class.
        per_group: accuracy and number of examples of each group, such as a speaker; None where the set has no groups.
        confusion: examples by true class (row) and predicted class (column).
        mistakes: the most confident ones first.
        examples_per_second: speed of prediction, of this machine, the data pipeline included; all views of an example
            together count as one.
        tta: the test-time augmentation, as it was asked for; None for none.
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
    examples_per_second: float
    tta: Mapping | None = None

    def to_dict(self) -> dict:
        """Return all numbers, ready for JSON."""
        return asdict(self)

    def __rich_console__(self, console, options):
        yield self.headline()
        yield self.class_table()
        if self.per_group:
            yield self.group_table()

    def __str__(self) -> str:
        return self.headline()

    def headline(self) -> str:
        """Return the main numbers in one line."""
        low, high = self.accuracy_interval
        views = f"mean over views ({', '.join(f'{k} {v}' for k, v in self.tta.items())})  " if self.tta else ""
        top5 = "" if self.top5_accuracy is None else f"top-5 {self.top5_accuracy:.2%}  "
        return (
            f"{self.split} accuracy {self.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, {self.examples:,} "
            f"examples)  {views}macro-F1 {self.macro_f1:.4f}  {top5}loss {self.loss:.4f}  "
            f"calibration error {self.calibration_error:.4f}  {self.examples_per_second:,.0f} examples/s"
        )

    def class_table(self) -> rich_table.Table:
        """Return precision, recall and F1 of each class as a table."""
        table = rich_table.Table("class", "precision", "recall", "F1", "examples")
        for name, row in self.per_class.items():
            shares = [f"{row[key]:.4f}" for key in ("precision", "recall", "f1")]
            table.add_row(name, *shares, f"{row['examples']:,}")
        return table

    def group_table(self) -> rich_table.Table:
        """Return the accuracy of each group as a table, the lowest first."""
        table = rich_table.Table("group", "accuracy", "examples")
        for name, row in sorted(self.per_group.items(), key=lambda item: item[1]["accuracy"]):
            table.add_row(name, f"{row['accuracy']:.4f}", f"{row['examples']:,}")
        return table


def evaluate(
    model: keras.Model,
    data: Splits,
    *,
    split: str = "test",
    tta: Mapping | None = None,
    run_dir: str | Path | None = None,
) -> Report:
    """Measure a classifier that returns logits on one split of a dataset, in float32.

    Args:
        model: takes the data's input, returns one logit per class.
        data: the dataset.
        split: "validation" or "test".
        tta: test-time augmentation, the mean of the probabilities over several views of each example, as keyword
            arguments of `kzoo.data.tta.image_views`, `series_views` or `audio_views`: `{"flip": True, "shift": 1}`.
        run_dir: folder to write `metrics.json`, `confusion.png` and `mistakes.png` into.

    Raises:
        ValueError: for an unknown split, a model that does not fit the data, or views that the data do not have.
    """
    if split not in ("validation", "test"):
        raise ValueError(f"split must be 'validation' or 'test', got {split!r}")
    check_model(model, data)
    model = in_float32(model)
    labels, groups = np.asarray(data.examples[split].labels), getattr(data.examples[split], "groups", None)
    probabilities, seconds = mean_over_views(model, data, split, tta or {})
    report = classification_report(split, labels, probabilities, data.class_names, len(labels) / seconds, groups)
    report = replace(report, tta=dict(tta) if tta else None)
    if run_dir is not None:
        write_report(Path(run_dir), report, data)
    return report


def mean_over_views(model: keras.Model, data: Splits, split: str, tta: Mapping) -> tuple[np.ndarray, float]:
    """Return the mean of the probabilities over the views of each example, and the seconds that they took."""
    views = views_of(data.modality, tta) if tta else [lambda raw: raw]
    total, seconds = 0.0, 0.0
    for view in views:
        seen = replace(data, preprocess=lambda raw, view=view: data.preprocess(view(raw)))
        logits, took = predict(model, seen.eval_batches(split))
        total, seconds = total + softmax(logits), seconds + took
    return total / len(views), seconds


def predict(model: keras.Model, batches) -> tuple[np.ndarray, float]:
    """Return the logits of all batches and the seconds they took, the first batch's compilation left out."""
    for inputs, _ in batches.take(1):
        model.predict_on_batch(np.asarray(inputs))
    start = time.perf_counter()
    logits = model.predict(batches, verbose=0)
    return logits, time.perf_counter() - start


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, in double precision."""
    exponentials = np.exp(logits.astype("float64") - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def classification_report(
    split: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: tuple[str, ...],
    speed: float,
    groups: np.ndarray | None = None,
) -> Report:
    """Return the report for true class numbers (n,), predicted probabilities (n, classes) and names of groups (n,)."""
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
        macro_f1=float(scores[2].mean()),
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
    """Return the accuracy and the size of each group."""
    return {
        str(name): {"accuracy": float(right[groups == name].mean()), "examples": int((groups == name).sum())}
        for name in np.unique(groups)
    }


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy over bins of equal width, weighted by examples."""
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(bin_of, confidence, bins) - np.bincount(bin_of, right, bins)
    return float(np.abs(gap).sum() / len(confidence))


def confident_mistakes(
    labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray, class_names: tuple[str, ...], most: int = 25
) -> list[Mistake]:
    """Return the mistakes with the highest probability of the wrong class."""
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:most]
    return [
        Mistake(int(i), class_names[labels[i]], class_names[predicted[i]], float(probabilities[i, predicted[i]]))
        for i in wrong
    ]


def write_report(run: Path, report: Report, data: Splits) -> None:
    """Write the numbers and draw the pictures into a folder."""
    run.mkdir(parents=True, exist_ok=True)
    measured = report.to_dict()
    del measured["examples_per_second"]  # the machine's, and another one each time
    write_json(run / runs.METRICS, measured)
    pictures = {runs.CONFUSION: draw_confusion(report), runs.MISTAKES: draw_mistakes(report, data)}
    for name, figure in pictures.items():
        write_file(run / name, lambda file, figure=figure: figure.savefig(file, format="png", dpi=100))


def draw_confusion(report: Report) -> matplotlib_figure.Figure:
    """Draw the confusion matrix, each row as shares of the true class, with counts where there is room."""
    names, counts = list(report.per_class), np.array(report.confusion)
    size = min(max(5, 0.5 * len(names) + 2), 20)
    figure = matplotlib_figure.Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 40:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    if len(names) <= 20:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if count > counts[row].sum() / 2 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)
    axes.set(xlabel="predicted", ylabel="true", title=f"{report.split} accuracy {report.accuracy:.2%}")
    return figure


def draw_mistakes(report: Report, data: Splits) -> matplotlib_figure.Figure:
    """Draw the most confident mistakes, each with its true and its predicted class."""
    figure = matplotlib_figure.Figure(figsize=(10, 10.5), layout="constrained")
    figure.suptitle(f"the most confident mistakes on the {report.split} split" if report.mistakes else "no mistakes")
    grid = list(figure.subplots(5, 5).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, mistake in zip(grid, report.mistakes, strict=False):
        data.preprocess.draw(axes, data.examples[report.split].inputs[mistake.example])
        title = f"{mistake.label}, not {mistake.predicted}\n(example {mistake.example}, {mistake.probability:.0%})"
        axes.set_title(title, fontsize=8)
    return figure
