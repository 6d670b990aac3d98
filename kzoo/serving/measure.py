"""Evaluation of a run or an export on other data than its own."""

from __future__ import annotations

import time
from pathlib import Path

from kzoo.core.lazy import np
from kzoo.core.registry import check_keywords
from kzoo.core.warn import warn_caller
from kzoo.data import dataset_card, taken_by
from kzoo.data.labels import listed
from kzoo.data.splits import MODALITIES, Examples, RawData, check_examples, divided
from kzoo.data.trained import check_classes, check_raw
from kzoo.data.windows import mean_over_windows
from kzoo.serving.serve import BATCH, Predictor, find_description, load_predictor
from kzoo.training.report import Report, classification_report


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
    own = getattr(predictor.preprocess, "loader_options", {})
    raw = card.load(*data.split(":", 1)[1:], **taken_by(card.load, own) | options)
    return report_on(predictor, str(path), data, raw)


def report_on(predictor: Predictor, path: str, name: str, raw: RawData) -> Report:
    """Return the report of a predictor, loaded from a path, on all splits of raw data together."""
    numbers = class_numbers(predictor, path, name, raw.class_names)
    splits = {split: part for split, part in zip(RawData._fields, raw[:3], strict=False) if part is not None}
    for split, part in splits.items():
        check_examples(split, part, len(raw.class_names))
        check_raw(path, predictor.preprocess, name, part)
    if hasattr(predictor.preprocess, "warn_of_losses"):
        predictor.preprocess.warn_of_losses({name: np.concatenate([part.inputs for part in splits.values()])})
    start = time.perf_counter()
    probabilities = np.concatenate([probabilities_of(predictor, part) for part in splits.values()])
    speed = len(probabilities) / (time.perf_counter() - start)
    labels = numbers[np.concatenate([np.asarray(part.labels) for part in splits.values()])]
    groups = [getattr(part, "groups", None) for part in splits.values()]
    groups = None if any(group is None for group in groups) else np.concatenate(groups)
    return classification_report(name, labels, probabilities, predictor.class_names, speed, groups)


def class_numbers(predictor: Predictor, path: str, name: str, found: tuple[str, ...]) -> np.ndarray:
    """Return the network's class index of each class of the data; warn of classes that the data lack."""
    known = predictor.class_names
    missing = sorted(set(known) - set(found))
    check_classes(path, known, name, (*found, *missing))
    if missing:
        warn_caller(f"{name} lacks {listed(missing)} of the {len(known)} classes of {path}")
    return np.array([known.index(one) for one in found], "int32")


def probabilities_of(predictor: Predictor, examples: Examples) -> np.ndarray:
    """Return the probabilities of all raw examples, the mean over windows where they are read so."""
    windows, counts = divided(examples)
    starts = range(0, len(windows), BATCH)
    rows = np.concatenate([predictor.probabilities(np.asarray(windows.inputs[n : n + BATCH])) for n in starts])
    return mean_over_windows(rows, counts)
