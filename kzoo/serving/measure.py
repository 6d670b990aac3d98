"""Evaluation of a run or an export on other data than its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from kzoo.core.lazy import np
from kzoo.core.registry import check_keywords
from kzoo.core.shown import listed
from kzoo.core.warn import warn_caller
from kzoo.data import dataset_card, taken_by
from kzoo.data.splits import MODALITIES, Examples, RawData, check_examples, divided, joined, whole_targets
from kzoo.data.trained import check_raw, check_task
from kzoo.serving.serve import BATCH, Predictor, find_description, load_predictor
from kzoo.tasks.task import Report, Task


def evaluate_on(path: str | Path, data: str, **options) -> Report:
    """Evaluate a run or an export on all examples of a dataset, of whatever split.

    The preprocessing is the network's own. Classes are matched by name; the dataset may lack some of them.

    Args:
        path: a run directory, or an export in any format.
        data: name of a dataset, such as `folder:PATH`.
        **options: of the dataset's loader; image size, channels, sample rate and length are those of the network.

    Raises:
        ValueError: for a model or a dataset that cannot be loaded, another modality, or a class that the network does
            not know.
    """
    find_description(path)
    card = dataset_card(data, **options)
    check_keywords(f"option of dataset {data!r},", options, card.load)
    predictor = load_predictor(path)
    (modality,) = (key for key, row in MODALITIES.items() if isinstance(predictor.preprocess, row.preprocess))
    if card.modality != modality:
        raise ValueError(f"{path} was trained on {modality} data, but {data} is {card.modality} data")
    own = {"task": predictor.task.key} | getattr(predictor.preprocess, "loader_options", {})
    raw = card.load(*data.split(":", 1)[1:], **taken_by(card.load, own) | options)
    return report_on(predictor, str(path), data, raw)


def report_on(predictor: Predictor, path: str, name: str, raw: RawData) -> Report:
    """Return the report of a predictor, loaded from a path, on all splits of raw data together."""
    check_outputs(predictor, path, name, raw.asked)
    task, splits = predictor.task, raw.splits
    for split, part in splits.items():
        check_examples(split, part, raw.asked)
        check_raw(path, predictor.preprocess, name, part)
    if hasattr(predictor.preprocess, "warn_of_losses"):
        predictor.preprocess.warn_of_losses({name: np.concatenate([part.inputs for part in splits.values()])})
    start = time.perf_counter()
    answers = chained([answers_of(predictor, part) for part in splits.values()])
    speed = len(answers) / (time.perf_counter() - start)
    targets = chained([matched(task, raw.asked, part) for part in splits.values()])
    groups = [part.groups for part in splits.values()]
    groups = None if any(group is None for group in groups) else np.concatenate(groups)
    return task.compared(task.report_with_groups(name, targets, answers, speed, groups), list(splits.values()))


def matched(task: Task, asked: Task, examples: Examples) -> Sequence[np.ndarray]:
    """Return the raw targets of examples of another task as targets of this one; whole maps are read one by one."""
    labels = whole_targets(examples)
    if isinstance(labels, np.ndarray):
        return task.matched(asked, labels)
    return [task.matched(asked, labels[index][None])[0] for index in range(len(labels))]


def chained(parts: Sequence) -> Sequence[np.ndarray]:
    """Return arrays in one, or a list of what is in lists."""
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return [row for part in parts for row in part]


def check_outputs(predictor: Predictor, path: str, name: str, asked: Task) -> None:
    """Raise a ValueError for data of another task, or with a class that is not known; warn of classes they lack."""
    own = predictor.task
    missing = sorted(set(own.target_names) - set(asked.target_names))
    check_task(path, own, name, asked, lacking=True)
    if missing:
        warn_caller(f"{name} lacks {listed(missing)} of the {len(own.target_names)} {own.noun} of {path}")


def answers_of(predictor: Predictor, examples: Examples) -> np.ndarray:
    """Return the answers for all raw examples, the mean over windows where they are read so."""
    windows, counts = divided(examples)
    starts = range(0, len(windows), BATCH)
    rows = np.concatenate([predictor.answers(np.asarray(windows.inputs[n : n + BATCH])) for n in starts])
    return joined(examples, predictor.task, rows, counts)
