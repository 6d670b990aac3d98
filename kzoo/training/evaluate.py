"""Evaluation of a classifier on a split: metrics, confusion matrix, most confident mistakes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kzoo.core import pictures
from kzoo.core.arguments import checked
from kzoo.core.files import write_json, writing
from kzoo.core.lazy import figures, keras, lazy_import, np
from kzoo.core.numbers import percent
from kzoo.data.in_memory import check_is_dataset
from kzoo.data.pipeline import own_errors
from kzoo.data.splits import Splits, divided
from kzoo.data.trained import as_trained
from kzoo.data.tta import views_of
from kzoo.data.windows import mean_over_windows
from kzoo.nn.precision import in_float32
from kzoo.training import runs
from kzoo.training.report import Report, classification_report
from kzoo.training.report_html import refresh_html
from kzoo.training.train import check_model

special = lazy_import("scipy.special")

COLUMNS, TITLE = 5, 34  # mistakes side by side, and characters above each
NAMED, COUNTED = 40, 20  # largest numbers of classes whose names, and whose counts, fit into a confusion matrix


@checked
def evaluate(
    model: keras.Model,
    data: Splits,
    *,
    split: str = "test",
    tta: Mapping | None = None,
    run_dir: str | Path | None = None,
) -> Report:
    """Evaluate a classifier that returns logits on one split of a dataset, in float32.

    A model that `kzoo.fit` trained or `kzoo.load_run` loaded is evaluated with its own preprocessing and order of
    classes; where those of the data differ, a warning says so.

    Args:
        model: takes the data's input, returns one logit per class.
        data: the dataset.
        split: "validation" or "test".
        tta: test-time augmentation, the mean of the probabilities over several views of each example, as keyword
            arguments of `kzoo.data.tta.image_views`, `series_views` or `audio_views`: `{"flip": True, "shift": 1}`.
        run_dir: directory to write `metrics.json`, `confusion.png` and `mistakes.png` into; in a run directory of
            `kzoo.fit`, `report.html` as well.

    Raises:
        ValueError: for an unknown split, a model that does not fit the data or has other classes, views that the data
            do not have, or a folder that cannot be written.
    """
    check_is_dataset(data, "evaluate")
    check_split(data, split)
    data = as_trained(model, data)
    check_model(model, data)
    model = in_float32(model)
    probabilities, seconds = mean_over_views(model, data, split, tta or {})
    labels, groups = np.asarray(data.examples[split].labels), getattr(data.examples[split], "groups", None)
    report = classification_report(split, labels, probabilities, data.class_names, len(labels) / seconds, groups)
    report = replace(report, tta=dict(tta) if tta else None)
    if run_dir is not None:
        write_report(Path(run_dir), report, data)
    return report


def check_split(data: Splits, split: str) -> None:
    """Raise a ValueError for a split that cannot be evaluated, or that the data do not have."""
    if split not in ("validation", "test"):
        raise ValueError(f"split must be 'validation' or 'test', got {split!r}")
    if split not in data.examples:
        raise ValueError(f"{data.name} has no {split} split; evaluate split='validation', or hold one out: test=0.1")


def mean_over_views(model: keras.Model, data: Splits, split: str, tta: Mapping) -> tuple[np.ndarray, float]:
    """Return the mean of the probabilities over the views and windows of each example, and the seconds of inference."""
    views = views_of(data.modality, tta) if tta else [lambda raw: raw]
    examples, counts = divided(data.examples[split])
    windows = replace(data, examples={**data.examples, split: examples})
    total, seconds = 0.0, 0.0
    for view in views:
        seen = replace(windows, preprocess=lambda raw, view=view: data.preprocess(view(raw)))
        logits, took = predict(model, seen.eval_batches(split))
        total, seconds = total + special.softmax(logits.astype("float64"), axis=-1), seconds + took
    return mean_over_windows(total / len(views), counts), seconds


@own_errors()
def predict(model: keras.Model, batches) -> tuple[np.ndarray, float]:
    """Return the logits of all batches, and the seconds of inference without compilation."""
    for inputs, _ in batches.take(1):
        model.predict_on_batch(np.asarray(inputs))
    start = time.perf_counter()
    logits = model.predict(batches, verbose=0)
    return logits, time.perf_counter() - start


def write_report(run: Path, report: Report, data: Splits) -> None:
    """Write the numbers, the pictures and, in a run directory, the HTML page."""
    measured = report.to_dict()
    del measured["examples_per_second"]  # differs from run to run
    confusion, mistakes = draw_confusion(report), draw_mistakes(report, data)
    with writing(run):
        run.mkdir(parents=True, exist_ok=True)
        write_json(run / runs.METRICS, measured)
        pictures.save(confusion, run / runs.CONFUSION)
        pictures.save(mistakes, run / runs.MISTAKES)
    refresh_html(run)


def draw_confusion(report: Report) -> figures.Figure:
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


def draw_mistakes(report: Report, data: Splits) -> figures.Figure:
    """Draw the most confident mistakes, each with its true and its predicted class and the latter's probability."""
    found = report.mistakes
    columns = min(len(found), COLUMNS) or 1
    rows = math.ceil(len(found) / columns)
    figure = figures.Figure(figsize=(max(2.2 * columns, 4.4), 2.5 * rows + 0.4), layout="constrained")
    if not found:
        figure.suptitle(f"no mistakes on the {report.split} split", fontsize=10)
        return figure
    figure.suptitle(f"most confident mistakes on the {report.split} split", fontsize=10)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.set_axis_off()
    for axes, mistake in zip(figure.axes, found, strict=False):
        kept = data.examples[report.split].inputs
        if mistake.example < len(kept):  # of batches of the user's own only the first examples are
            data.preprocess.draw(axes, kept[mistake.example])
        true, predicted = f"true {mistake.label}", f"predicted {mistake.predicted} ({percent(mistake.probability, 0)})"
        between = ", " if len(true) + len(predicted) < TITLE else ",\n"
        axes.set_title(f"{true}{between}{predicted}", fontsize=8)
    return figure
