"""Datasets of the arrays in an .npz file."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kzoo.core.archives import MAX_BYTES, read_npz
from kzoo.core.files import reading, user_path
from kzoo.core.lazy import np
from kzoo.core.registry import did_you_mean
from kzoo.core.shown import listed
from kzoo.core.warn import warn_caller
from kzoo.data.folders import split_of
from kzoo.data.image.geometry import Geometry, takes_geometry
from kzoo.data.in_memory import read_each_split
from kzoo.data.labels import modality_of
from kzoo.data.splits import DATASETS, DatasetCard, RawData, first_line, register_detected
from kzoo.data.targets import check_task_options, given, targets_as
from kzoo.data.weights import read_weights

OF_TRAINING = ("groups", "weights")  # kinds of arrays that are of the train split if their names do not say it
KINDS = {  # of arrays, and the words for them
    "x": ("x", "image", "images", "data", "input", "inputs", "features", "texts", "series"),
    "y": ("y", "label", "labels", "target", "targets"),
    "groups": ("group", "groups"),
    "weights": ("weight", "weights"),
}
TIMES = 20  # more than so many times larger values are said


class Place(NamedTuple):
    """What an array is: a key of `KINDS`, and of which split; "" where its name says none."""

    kind: str
    split: str


def place_of(name: str) -> Place | None:
    """Return what an array is by its name, such as x_train, X_val or test_labels; None if its name does not say."""
    words = name.lower().split("_")
    kind = next((kind for kind, spellings in KINDS.items() for word in words if word in spellings), None)
    if kind is None:
        return None
    rest = "_".join(word for word in words if word not in (*KINDS[kind], "sample"))
    split = split_of(rest) if rest else "train" if kind in OF_TRAINING else ""
    return None if split is None else Place(kind, split)


def named_arrays(path: str, names: list[str]) -> dict[Place, str]:
    """Return the name of each array that is used; a warning names the others.

    Raises:
        ValueError: if there is no training array, an array has no labels, or two arrays are the same part of the data.
    """
    found = {}
    for name in names:
        place = place_of(name)
        if found.setdefault(place, name) != name and place is not None:
            raise ValueError(f"{path} contains {found[place]} and {name}, both the {place.kind} of one split")
    found.pop(None, None)
    if Place("x", "train") not in found:
        found = {Place(place.kind, place.split or "train"): name for place, name in found.items()}
    for (kind, split), name in list(found.items()):
        if kind == "x" and split and Place("y", split) not in found:
            expected = f"y_{split}" if name.lower() == f"x_{split}" else f"the labels of {split}"
            raise ValueError(f"the .npz file contains {name} but not {expected}; {did_you_mean(f'y_{split}', names)}")
    if Place("x", "train") not in found:
        raise ValueError(f"{path} contains {', '.join(sorted(names)) or 'nothing'}; expected x_train and y_train")
    return found


def headers(file: Path) -> dict[str, np.ndarray]:
    """Return, for each array of an .npz file, one of its shape and type that takes no memory."""
    found = {}
    with reading(file, " as an .npz file"), zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            with archive.open(member) as content:
                version = np.lib.format.read_magic(content)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(content)
                found[member.removesuffix(".npy")] = np.broadcast_to(np.zeros((), dtype), shape)
    return found


@register_detected("npz:", ("image", "timeseries", "text"), "your own files")
def npz(path: str, *, modality: str | None = None) -> DatasetCard:
    """Arrays in an .npz file: x_train, y_train and, if there, those of validation and test, groups, and class_names.

    `weights` (or `sample_weight`) are numbers that the training loss of each training example is multiplied by. Without
    splits the arrays may be named x, y or image, label; other common spellings are known, too. Strings are texts; 8-bit
    arrays and floats (n, height, width, channels) are images; (n, length) and (n, length, channels) are series.

    Args:
        path: the file.
        modality: "image", "timeseries" or "text", where the shape does not say it.

    Raises:
        ValueError: for a missing or damaged file, missing arrays, or arrays that may be images or series.
    """
    file = user_path(path)
    arrays = headers(file) if file.is_file() else read_npz(file)
    name = named_arrays(path, list(arrays))[Place("x", "train")]
    found = modality_of(arrays[name], name, modality)
    return DatasetCard("npz:", found, first_line(npz), DATASETS["npz:"].source, LOADERS[found])


@takes_geometry
def images(
    path: str,
    geometry: Geometry,
    *,
    channels_first: bool | None = None,
    modality: str | None = None,
    task: str | None = None,
    quantiles: Sequence[float] | None = None,
    masked: bool | None = None,
    void: int | None = None,
    max_bytes: int = MAX_BYTES,
) -> RawData:
    """Images in an .npz file; see `npz`.

    Args:
        path: the file.
        geometry: of 8-bit images.
        channels_first: whether the axis of channels is the first of an image; told by the shape if not given.
        modality: see `npz`.
        task: "classification" if not given, "tagging" of rows of 0 and 1, "regression", or "segmentation", of class
            indices (n, height, width); `class_names` in the file are the names of the tags, numbers or classes.
        quantiles: for regression, see `kzoo.data.table_sets.table`.
        masked: for regression, whether NaN are numbers that are not known.
        void: for segmentation, the value of pixels whose class is not known.
        max_bytes: a file whose arrays would take more is refused before memory is taken.
    """
    options = vars(geometry) | {"channels_first": channels_first}
    return loaded(path, "image", asked(task, quantiles, masked, void), max_bytes, options)


def series(
    path: str,
    *,
    channels_first: bool | None = None,
    modality: str | None = None,
    task: str | None = None,
    quantiles: Sequence[float] | None = None,
    masked: bool | None = None,
    max_bytes: int = MAX_BYTES,
) -> RawData:
    """Series in an .npz file; see `npz` and `images`."""
    return loaded(path, "timeseries", asked(task, quantiles, masked), max_bytes, {"channels_first": channels_first})


def texts(
    path: str,
    *,
    modality: str | None = None,
    task: str | None = None,
    quantiles: Sequence[float] | None = None,
    masked: bool | None = None,
    max_bytes: int = MAX_BYTES,
) -> RawData:
    """Texts in an .npz file; see `npz` and `images`."""
    return loaded(path, "text", asked(task, quantiles, masked), max_bytes, {})


LOADERS = {"image": images, "timeseries": series, "text": texts}


def asked(task: str | None, quantiles: Sequence[float] | None, masked: bool | None, void: int | None = None) -> dict:
    """Return how targets are read, as keyword arguments of `targets_as`.

    Raises:
        ValueError: for an option that the task does not have.
    """
    options = given({"quantiles": quantiles, "masked": masked, "void": void})
    check_task_options(task, options)
    return {"task": task} | options


def loaded(path: str, modality: str, targets: Mapping, max_bytes: int, options: Mapping) -> RawData:
    """Return the arrays of a file as examples.

    Raises:
        ValueError: for a damaged or too large file, pickled objects (never loaded), labels of another kind, or splits
            that differ in shape or type.
    """
    arrays = read_npz(user_path(path), max_bytes)
    class_names = arrays.pop("class_names", None)
    used = named_arrays(path, list(arrays))
    inputs, labels = (
        {split: arrays[used[kind, split]] for split in RawData._fields[:3] if (kind, split) in used} for kind in "xy"
    )
    warn_of_arrays(path, arrays, used, inputs)
    parts = {split: labels[split] for split in inputs}
    task, targets = targets_as(splits=parts, names=class_names, where=path, **targets)
    inputs = {split: part.astype(object) if part.dtype.kind in "SU" else part for split, part in inputs.items()}
    examples = read_each_split(modality, inputs, targets, options)
    weights = arrays.get(used.get(("weights", "train")))
    if weights is not None:
        examples[0] = dataclasses.replace(examples[0], weights=read_weights(weights, len(examples[0])))
    return RawData(*examples, task.names, arrays.get(used.get(("groups", "train"))), task)


def warn_of_arrays(path: str, arrays: Mapping, used: Mapping[Place, str], inputs: Mapping[str, np.ndarray]) -> None:
    """Warn of arrays that are not used, and of splits with much larger or smaller values than the train split."""
    splits = {"x": inputs, "y": inputs, **dict.fromkeys(OF_TRAINING, ("train",))}
    needed = {name for (kind, split), name in used.items() if split in splits[kind]}
    if set(arrays) - needed:
        warn_caller(f"{path} contains arrays that are not used: {listed(sorted(set(arrays) - needed))}")
    largest = {split: float(np.abs(part).max(initial=0)) for split, part in inputs.items() if part.dtype.kind in "uif"}
    for split, most in largest.items():
        low, high = sorted((most, largest["train"]))
        if high > TIMES * low > 0:
            warn_caller(f"x of {split} in {path} reaches {most:g}, but x of train {largest['train']:g}: other units?")
