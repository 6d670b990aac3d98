"""Evaluation of a network on a split: the report of its task, with pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kzoo.core import pictures
from kzoo.core.arguments import checked
from kzoo.core.files import write_json, writing
from kzoo.core.lazy import keras, np
from kzoo.data.in_memory import check_is_dataset
from kzoo.data.pipeline import own_errors
from kzoo.data.splits import Splits, divided, joined, whole_targets, wholes
from kzoo.data.trained import as_trained
from kzoo.data.tta import views_of
from kzoo.nn.precision import in_float32
from kzoo.tasks import Task
from kzoo.tasks.task import Report, check_pooled
from kzoo.training import runs
from kzoo.training.report_html import refresh_html
from kzoo.training.train import check_model


@checked
def evaluate(
    model: keras.Model,
    data: Splits,
    *,
    split: str = "test",
    tta: Mapping | None = None,
    run_dir: str | Path | None = None,
) -> Report:
    """Evaluate a network on one split of a dataset, in float32; the report is that of the data's task.

    A model that `kzoo.fit` trained or `kzoo.load_run` loaded is evaluated with its own preprocessing and order of
    classes; where those of the data differ, a warning says so.

    Args:
        model: takes the data's input, returns logits or values.
        data: the dataset.
        split: "validation" or "test".
        tta: test-time augmentation, the mean of the answers over several views of each example, as keyword
            arguments of `kzoo.data.tta.image_views`, `series_views` or `audio_views`: `{"flip": True, "shift": 1}`.
        run_dir: directory to write `metrics.json` and the task's pictures into, such as `confusion.png` and
            `mistakes.png`; in a run directory of `kzoo.fit`, `report.html` as well.

    Raises:
        ValueError: for an unknown split, a model that does not fit the data or has other classes, views that the data
            do not have, or a folder that cannot be written.
    """
    check_is_dataset(data, "evaluate")
    check_split(data, split)
    data = as_trained(model, data)
    if tta:
        check_pooled(data.task, "test-time augmentation")
    check_model(model, data)
    model = in_float32(model)
    answers, seconds = mean_over_views(model, data, split, tta or {})
    labels, groups = whole_targets(data.examples[split]), data.examples[split].groups
    report = data.task.report_with_groups(split, labels, answers, len(labels) / seconds, groups)
    if data.examples[split].complete:
        report = data.task.compared(report, [data.examples[split]], data.examples["train"])
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
    """Return the mean of the answers over the views and windows of each example, and the seconds of inference."""
    views = views_of(data.modality, tta) if tta else [unchanged]
    examples, counts = divided(data.examples[split])
    windows = replace(data, examples={**data.examples, split: examples})
    found = []
    for view in views:
        seen = replace(windows, preprocess=lambda raw, view=view: data.preprocess(view(raw)))
        found.append(predict(model, seen.eval_batches(split), data.task))
    answers, seconds = zip(*found, strict=True)
    rows = sum(answers) / len(views) if tta else answers[0]
    return joined(data.examples[split], data.task, rows, counts), sum(seconds)


def unchanged(raw):
    """Return raw examples as they are."""
    return raw


@own_errors()
def predict(model: keras.Model, batches, task: Task) -> tuple[np.ndarray, float]:
    """Return the answers for all batches, and the seconds of inference without compilation.

    Maps of outputs are answered batch by batch: those of all examples may not fit into memory.
    """
    for inputs, _ in batches.take(1):
        model.predict_on_batch(np.asarray(inputs))
    start = time.perf_counter()
    if len(task.output_axes) > 3:
        rows = [task.answers(model.predict_on_batch(np.asarray(inputs))) for inputs, _ in batches]
        return rows_of(rows), time.perf_counter() - start
    outputs = model.predict(batches, verbose=0)
    seconds = time.perf_counter() - start
    return task.answers(outputs), seconds


def rows_of(batches: Sequence[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    """Return the rows of batches as an array; as a list if they differ in shape."""
    if len({batch.shape[1:] for batch in batches}) == 1:
        return np.concatenate(batches)
    return [row for batch in batches for row in batch]


def write_report(run: Path, report: Report, data: Splits) -> None:
    """Write the numbers, the pictures and, in a run directory, the HTML page."""
    measured = report.to_dict()
    del measured["examples_per_second"]  # differs from run to run
    inputs = wholes(data.examples[report.split].inputs)

    def draw(axes, example: int) -> None:
        if example < len(inputs):  # of batches of the user's own only the first examples are
            data.preprocess.draw(axes, inputs[example])

    drawn = report.pictures(draw)
    with writing(run):
        run.mkdir(parents=True, exist_ok=True)
        write_json(run / runs.METRICS, measured)
        for name, figure in drawn.items():
            pictures.save(figure, run / name)
    refresh_html(run)
