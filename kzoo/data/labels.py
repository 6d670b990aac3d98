"""Labels as users have them (names, numbers, one-hot rows) as class indices, and the modality and layout of arrays."""

from __future__ import annotations

import collections
import math
from collections.abc import Collection, Mapping, Sequence

from kzoo.core.lazy import np
from kzoo.core.registry import lookup
from kzoo.core.shown import listed
from kzoo.core.warn import warn_caller

FEW = 16  # at most so many channels; an axis of more is time, height or width
AXES = {"image": (3, 4), "timeseries": (2, 3), "text": (1,)}  # of an array, by modality
SEVERAL = "; for several say task='tagging', for numbers task='regression'"
NUMBERS = "; to predict numbers say task='regression'"
CHOOSE = "; choose the classes with classes=[...]"


def class_indices(labels: Sequence[str], class_names: Sequence[str]) -> np.ndarray:
    """Return the index of each label among the class names, int32."""
    index = {name: number for number, name in enumerate(class_names)}
    return np.array([index[label] for label in labels], "int32")


def check_classes(
    labels: Mapping[str, Sequence[str]], where: str, empty: Collection[str] = (), hint: str = CHOOSE
) -> None:
    """Check the labels of each split ("train", "validation", "test") against each other.

    Warns of classes of the train split alone, of names that differ by case or leading zeros, and of `empty` classes.

    Args:
        labels: of all examples of each split or file, those of the train split first.
        where: what the labels belong to, for messages.
        empty: names of classes without examples.
        hint: how the classes can be chosen.

    Raises:
        ValueError: for fewer than two classes, a class that another split has and the train split has not, or a
            class for each example.
    """
    train, *others = found = [set(part) for part in labels.values()]
    if len(train) < 2:
        raise ValueError(f"expected at least 2 classes in {where}, found {listed(sorted(train)) or 'none'}")
    if len(train) == len(next(iter(labels.values()))) > 9:
        raise ValueError(
            f"each of the {len(train)} examples of {where} has a class of its own ({listed(sorted(train), 2)}); "
            f"expected labels that several examples share{NUMBERS if are_numbers(train) else ''}"
        )
    for split, names in zip(list(labels)[1:], others, strict=True):
        if names - train:
            raise ValueError(
                f"no training example of {where} has class {listed(sorted(names - train))} of {split}{hint}"
            )
        if train - names:
            warn_caller(f"{where} has no examples of {listed(sorted(train - names))} in {split}{hint}")
    warn_of_names(set().union(*found), where, empty, hint)


def are_numbers(names: Collection[str]) -> bool:
    """Return whether all names are numbers."""
    try:
        return all(math.isfinite(float(name)) for name in names)
    except ValueError:
        return False


def warn_of_names(names: set[str], where: str, empty: Collection[str], hint: str) -> None:
    """Warn of classes whose names differ by case or leading zeros only, and of classes without examples."""
    spellings = collections.defaultdict(list)
    for name in sorted(names):
        spellings[name.casefold().lstrip("0") or "0"].append(name)
    same = [name for alike in spellings.values() if len(alike) > 1 for name in alike]
    if same:
        warn_caller(f"{where} has classes whose names differ by case or leading zeros only: {listed(same)}{hint}")
    if set(empty) - names:
        warn_caller(f"{where} has classes without examples, left out: {listed(sorted(set(empty) - names))}")


def read_labels(
    splits: Mapping[str, np.ndarray], class_names: Sequence[str] | None = None, where: str = "the data"
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return the class names, and the labels of each split as class indices, int32.

    Labels are strings, booleans, whole numbers (floats, too) or one-hot rows. Without `class_names` the classes are
    the different labels of the train split, sorted. With them, numbers are class indices; those from 1 are read as
    such, with a warning.

    Args:
        splits: labels of "train" and, if there, "validation" and "test": arrays (n,), (n, 1) or one-hot (n, classes).
        class_names: in the order of the class indices.
        where: what the labels belong to, for messages.

    Raises:
        ValueError: for labels of another kind, or several a row; and see `check_classes`.
    """
    flat = {split: flat_labels(np.asarray(values), split) for split, values in splits.items()}
    if len({labels.dtype.kind for labels in flat.values()}) > 1:
        kinds = ", ".join(f"{'names' if labels.dtype.kind == 'U' else 'numbers'} in {s}" for s, labels in flat.items())
        raise ValueError(f"the labels of {where} differ in kind: {kinds}")
    if not len(flat["train"]):
        raise ValueError(f"the train split of {where} has no examples")
    if class_names is None:
        class_names = np.unique(flat["train"]).astype(str).tolist()
        names = {split: labels.astype(str).tolist() for split, labels in flat.items()}
        if "-1" in class_names and len(class_names) > 2:
            raise ValueError(
                f"{where} has labels -1 beside {len(class_names) - 1} others; leave out unlabelled examples"
            )
    else:
        class_names = np.asarray(class_names).astype(str).tolist()
        names = named(flat, class_names, where)
    check_classes(names, where, empty=class_names)
    return tuple(class_names), {split: class_indices(part, class_names) for split, part in names.items()}


def named(flat: Mapping[str, np.ndarray], class_names: Sequence[str], where: str) -> dict[str, list[str]]:
    """Return the labels of each split as names, of those that are given.

    Raises:
        ValueError: naming the first example whose label is none of them.
    """
    different = np.unique(np.concatenate(list(flat.values())))
    choices = dict(zip(class_names, class_names, strict=True))
    if different.dtype.kind != "U":
        first = int(different.size > 0 and different[0] >= 1 and different[-1] == len(class_names))
        if first:
            warn_caller(f"the labels of {where} start at 1 and are read as the {len(class_names)} class names in order")
        choices = {first + index: name for index, name in enumerate(class_names)}
    for split, labels in flat.items():
        wrong = np.flatnonzero(~np.isin(labels, list(choices)))
        if wrong.size:
            label, known = labels[wrong[0]], list(map(str, choices))
            expected = f"{known[0]} to {known[-1]}" if labels.dtype.kind != "U" else listed(known)
            raise ValueError(f"example {wrong[0]} of the {split} split has label {label}, expected {expected}")
    return {split: [choices[label] for label in labels.tolist()] for split, labels in flat.items()}


def flat_labels(labels: np.ndarray, split: str) -> np.ndarray:
    """Return labels as one name (dtype U) or one whole number (int64) for each example.

    Raises:
        ValueError: for labels that are neither, or several of one example.
    """
    what = f"the labels of the {split} split"
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = from_one_hot(labels, what)
    if labels.ndim > 2:
        raise ValueError(f"{what} have shape {labels.shape}; expected one label for each example")
    labels = labels.reshape(-1)
    if labels.dtype.kind == "O":
        labels = from_objects(labels, what)
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8")
    if labels.dtype.kind in "Ub":
        return labels.astype(str)
    if labels.dtype.kind not in "iuf":
        raise ValueError(f"{what} are {labels.dtype}; expected names or whole numbers")
    wrong = np.flatnonzero(~np.isfinite(labels) | (labels != np.round(labels)))
    if wrong.size:
        raise ValueError(
            f"{what} must be integers or names: example {wrong[0]} has {labels[wrong[0]]:g}; to predict numbers say "
            "task='regression', for classes of a measured value divide it into ranges first"
        )
    return labels.astype("int64")


def from_objects(labels: np.ndarray, what: str) -> np.ndarray:
    """Return labels of Python objects, as pandas has them, as an array of names or numbers.

    Raises:
        ValueError: naming the first example whose label is missing or of another kind.
    """
    kinds = {str: "U", bytes: "S", bool: "b", int: "i", float: "f"}
    first = type(labels[0]) if len(labels) else str
    wrong = next((number for number, label in enumerate(labels) if type(label) is not first), None)
    if first not in kinds or wrong is not None:
        wrong = wrong or 0
        raise ValueError(f"{what} must be all names or all numbers: example {wrong} has {labels[wrong]!r}")
    return labels.astype(kinds[first])


def from_one_hot(labels: np.ndarray, what: str) -> np.ndarray:
    """Return the column of the 1 in each row.

    Raises:
        ValueError: naming the first row that has no 1 or several, or other numbers.
    """
    rows = labels.astype("float64") if labels.dtype.kind in "biuf" else np.zeros(labels.shape)
    wrong = np.flatnonzero(((rows != 0) & (rows != 1)).any(axis=1) | (rows.sum(axis=1) != 1))
    if wrong.size:
        raise ValueError(
            f"{what} have shape {labels.shape}, but row {wrong[0]} is not one-hot: {labels[wrong[0]].tolist()[:5]}; "
            f"expected one label for each example{SEVERAL}"
        )
    return rows.argmax(axis=1)


def modality_of(inputs: np.ndarray, name: str, modality: str | None = None) -> str:
    """Return the modality of an array of examples: "image", "timeseries" or "text".

    Strings (n,) are texts; arrays with three axes an example, and 8-bit ones with two, are images; other numbers with
    one or two axes an example are series, (n, length) or (n, length, channels).

    Args:
        inputs: (n, ...).
        name: of the array, for messages.
        modality: what the user says it is; the shape is checked.

    Raises:
        ValueError: for an unknown modality, a shape that it cannot have, or one that may be images or series.
    """
    strings = inputs.dtype.kind in "OSU"
    if modality is not None:
        axes = lookup("modality of arrays", modality, AXES)
    else:
        axes = AXES["text"] if strings else (2, 3, 4)
    if inputs.ndim not in axes or strings != (axes == AXES["text"]) or inputs.dtype.kind not in "biufOSU":
        raise ValueError(
            f"{name} is {inputs.dtype} of shape {inputs.shape}; expected (n, height, width, channels) or "
            "(n, height, width) of images, (n, length, channels) or (n, length) of series, or (n,) of texts"
        )
    return modality or ("text" if strings else image_or_series(inputs, name))


def image_or_series(inputs: np.ndarray, name: str) -> str:
    """Return the modality of an array of numbers; a ValueError asks where it may be either."""
    sides, pixels = inputs.shape[1:], inputs.dtype == "uint8"
    if len(sides) == 3 or (pixels and len(sides) == 2):
        return "image"
    if pixels or (len(sides) == 2 and min(sides) > FEW and max(sides) <= 2 * min(sides)):
        how = "say modality='image' or modality='timeseries'"
        if pixels:
            how = "reshape it to (n, height, width), or say modality='timeseries'"
        raise ValueError(f"{name} is {inputs.dtype} of shape {inputs.shape}: images or series? {how}")
    return "timeseries"


def channels_last(inputs: np.ndarray, modality: str, name: str, first: bool | None = None) -> np.ndarray:
    """Return images (n, height, width, channels) or series (n, length, channels), or texts as they are.

    Args:
        inputs: with or without an axis of channels.
        modality: "image", "timeseries" or "text".
        name: of the array, for messages.
        first: whether the channels come first; None to tell by the shape, with a warning if they do.
    """
    axes = {"image": 4, "timeseries": 3}.get(modality)
    if inputs.ndim != axes:
        return inputs if axes is None else inputs[..., None]
    if first is None and few_first(inputs.shape[1:], modality):
        warn_caller(f"{name}, {inputs.shape}, is read with channels first; say channels_first=False if they are last")
        first = True
    return np.moveaxis(inputs, 1, -1) if first else inputs


def few_first(sides: Sequence[int], modality: str) -> bool:
    """Return whether the first of an example's axes looks like channels: 1, 3 or 4 of an image, few of a series."""
    if modality == "image":
        return sides[0] in (1, 3, 4) and sides[-1] not in (1, 3, 4)
    return sides[0] <= FEW and sides[1] > 2 * sides[0]
