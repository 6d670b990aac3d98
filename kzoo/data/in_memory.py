"""Arrays in memory as a dataset: images, series, texts or recordings with labels of any kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from kzoo.core.lazy import np
from kzoo.core.registry import check_keywords
from kzoo.data.arrays import to_array
from kzoo.data.assemble import Assembly, taken_by
from kzoo.data.audio.files import Recordings, to_int16
from kzoo.data.holdout import HoldOut, is_fraction
from kzoo.data.image.geometry import Geometry, resized, resized_targets, takes_geometry
from kzoo.data.labels import channels_last, modality_of
from kzoo.data.splits import MODALITIES, Examples, RawData, Splits
from kzoo.data.targets import reader_of, targets_as
from kzoo.data.timeseries.files import SeriesExamples, check_options
from kzoo.data.weights import read_weights


def from_arrays(
    x,
    y,
    *,
    task: str | None = None,
    validation: float | tuple = 0.1,
    test: float | tuple | None = None,
    class_names: Sequence[str] | None = None,
    modality: str | None = None,
    groups: Sequence | None = None,
    weights: Sequence | None = None,
    fold: Sequence[int] | None = None,
    stratify: bool = True,
    batch_size: int = 128,
    augment: Mapping | None = None,
    limit: int | None = None,
    seed: int = 0,
    name: str = "arrays",
    **options,
) -> Splits:
    """Make a dataset of arrays: numpy, lists, pandas, or tensors.

    Args:
        x: inputs of the train split: 8-bit images (n, height, width) or (n, height, width, channels), floats of the
            same shapes, series (n, length) or (n, length, channels), or n strings.
        y: labels: names, whole numbers (from 0 or not, as floats too), booleans, or one-hot rows (n, classes).
        task: "classification" if not given; "tagging", whose `y` are rows of 0 and 1, (n, tags), or a list of names of
            tags for each example; "regression", whose `y` are numbers, (n,) or (n, columns); "step_tagging", whose `y`
            are 0 and 1, or NaN where they are not known, (n, length, tags); "step_classification", whose `y` are
            labels, or -1 where they are not known, (n, length); "segmentation", whose `y` are masks: class indices
            (n, height, width), or -1 or `void` where they are not known; "restoration", whose `y` are images
            (n, height, width, channels) or series (n, length, channels) of values, `scale` times as large as `x`;
            "transcription", whose `y` are texts.
        validation: the pair (x, y) of the validation split, or as for `kzoo.load_dataset`; so is `test`.
        test: see `validation`.
        class_names: in the order of the class indices; the different labels, sorted, if not given. Of other tasks the
            names of the tags or numbers.
        modality: "image", "timeseries", "text" or "audio", where the arrays do not say it. Recordings, (n, samples) of
            16-bit integers or floats between -1 and 1, need `modality="audio"` and `sample_rate`.
        groups: group of each training example, such as the patient; one group is never divided.
        weights: number from 0 that the training loss of each training example is multiplied by; metrics, validation
            and evaluation do not use them.
        fold: as for `kzoo.load_dataset`; so are `stratify`, `batch_size`, `augment`, `limit` and `seed`.
        stratify: see `fold`.
        batch_size: see `fold`.
        augment: see `fold`.
        limit: see `fold`.
        seed: see `fold`.
        name: of the dataset, for tables and messages.
        **options: of the preprocessing; `image_size` for 8-bit images, `sample_rate` for recordings, and
            `channels_first=True` for images and series; `unequal` for series of several lengths: with "pad" the steps
            at the end in which all channels are 0 are padding, and the model takes series of any length. Those of the
            targets are of their task: `void`, the value of pixels without a class in masks, `quantiles` and `masked`
            of numbers, or `tokens`, `case` and `drop` of texts (see `kzoo.data.targets.transcripts`).

    Raises:
        ValueError: for arrays or labels of another kind, arrays that may be images or series, splits that differ, an
            unknown option, or too few examples to be divided.
    """
    parts = {"train": (x, y), "validation": validation, "test": test}
    pairs = {split: pair_of(split, part) for split, part in parts.items() if not is_fraction(part)}
    inputs = {split: to_array(pair[0]) for split, pair in pairs.items()}
    modality = modality if modality == "audio" else modality_of(inputs["train"], "x", modality)
    fit = MODALITIES[modality].preprocess.fit
    read = reader_of(task).values
    check_keywords(f"option of {modality} arrays,", options, from_arrays, READERS[modality], fit, read)
    fractions = [
        default if split in pairs else parts[split] for split, default in (("validation", 0.1), ("test", None))
    ]
    how = HoldOut(*fractions, fold, groups is not None, stratify)
    assembly = Assembly(name, modality, how, batch_size, augment, limit, seed, options)
    asked, targets = targets_as(task, {split: pair[1] for split, pair in pairs.items()}, class_names, name, **options)
    loaded = read_each_split(modality, inputs, targets, options)
    groups = None if groups is None else read_groups(groups, len(targets["train"]))
    if weights is not None:
        loaded[0] = dataclasses.replace(loaded[0], weights=read_weights(weights, len(loaded[0])))
    return assembly(RawData(*loaded, asked.names, groups, asked))


def read_each_split(
    modality: str, inputs: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], options: Mapping
) -> list[Examples | None]:
    """Return the train, validation and test examples, None for a split that is not given.

    Raises:
        ValueError: if splits differ in the shape of an example or in their kind of numbers.
    """
    read = READERS[modality]
    loaded = {
        split: read(array, labels[split], f"x of {split}", **taken_by(read, options)) for split, array in inputs.items()
    }
    train = loaded["train"].inputs
    for split, part in loaded.items():
        if part.inputs.shape[1:] != train.shape[1:] or part.inputs.dtype != train.dtype:
            raise ValueError(
                f"x of {split} is {inputs[split].dtype} of shape {inputs[split].shape}, but x of train is "
                f"{inputs['train'].dtype} of shape {inputs['train'].shape}"
            )
    return [loaded.get(split) for split in RawData._fields[:3]]


def read_groups(groups: Sequence, count: int) -> np.ndarray:
    """Return the groups as an array.

    Raises:
        ValueError: unless there is one for each training example.
    """
    array = to_array(groups)
    if array.shape != (count,):
        raise ValueError(f"groups has shape {array.shape}; expected one for each of the {count} training examples")
    return array


def pair_of(split: str, part) -> tuple:
    """Return the inputs and labels of a split.

    Raises:
        ValueError: if it is no pair.
    """
    if isinstance(part, (tuple, list)) and len(part) == 2:
        return tuple(part)
    raise ValueError(f"{split} must be a fraction or a pair (x, y), got {type(part).__name__}")


@takes_geometry
def as_images(
    inputs: np.ndarray,
    labels: np.ndarray,
    what: str,
    geometry: Geometry,
    *,
    channels_first: bool | None = None,
) -> Examples:
    """Return images with an axis of channels: integers up to 255 as 8-bit, others as float32."""
    images = channels_last(inputs, "image", what, channels_first)
    if images.dtype.kind in "iu" and images.size and images.min() >= 0 and images.max() <= 255:
        images = images.astype("uint8")
    if images.dtype == "uint8":
        if labels.ndim > 2 and geometry.image_size is not None:
            check_size_of_targets(what, images, labels)
        return Examples(resized(images, geometry), resized_targets(labels, geometry))
    if geometry.image_size is not None:
        raise ValueError(f"image_size is for 8-bit images; {what} is {images.dtype}")
    return Examples(images.astype("float32"), labels)


def check_size_of_targets(what: str, images: np.ndarray, targets: np.ndarray) -> None:
    """Raise a ValueError for targets at each pixel that are of another size than the images."""
    if images.shape[1:3] != targets.shape[1:3]:
        sizes = (" x ".join(map(str, array.shape[1:3])) for array in (images, targets))
        raise ValueError("the images of {} are {}, but their targets {}".format(what, *sizes))


def as_series(
    inputs: np.ndarray,
    labels: np.ndarray,
    what: str,
    *,
    channels_first: bool | None = None,
    unequal: str | None = None,
) -> SeriesExamples:
    """Return series, float32 of shape (n, length, channels)."""
    check_options(unequal, None, None)
    return SeriesExamples(channels_last(inputs, "timeseries", what, channels_first).astype("float32"), labels, unequal)


def as_texts(inputs: np.ndarray, labels: np.ndarray, what: str) -> Examples:
    """Return texts as an array of strings.

    Raises:
        ValueError: naming the first that is none.
    """
    texts = [text.decode() if isinstance(text, bytes) else text for text in inputs.tolist()]
    wrong = next((index for index, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise ValueError(f"example {wrong} of {what} is {texts[wrong]!r}, expected a text")
    return Examples(np.array(texts, dtype=object), labels)


def as_recordings(inputs: np.ndarray, labels: np.ndarray, what: str, *, sample_rate: int | None = None) -> Recordings:
    """Return recordings as 16-bit integers (n, samples).

    Raises:
        ValueError: without a sample rate, or for other shapes, integers of another size, or floats beyond 1.
    """
    waves = inputs[..., 0] if inputs.ndim == 3 and inputs.shape[2] == 1 else inputs
    if sample_rate is None:
        raise ValueError("recordings need sample_rate=, in samples per second")
    if waves.ndim != 2 or (waves.dtype != "int16" and waves.dtype.kind != "f"):
        raise ValueError(f"{what} is {inputs.dtype} of shape {inputs.shape}; expected (n, samples) of int16 or floats")
    if waves.dtype == "int16":
        return Recordings(waves, labels, sample_rate)
    loudest = np.abs(waves).max(initial=0)
    if not loudest <= 1.0001:
        raise ValueError(f"{what} reaches {loudest:g}; recordings of floats lie between -1 and 1")
    return Recordings(to_int16(waves), labels, sample_rate)


READERS = {"image": as_images, "timeseries": as_series, "text": as_texts, "audio": as_recordings}


def check_is_dataset(data, function: str) -> None:
    """Raise a ValueError that says how arrays, frames and pipelines of one's own become a dataset.

    Args:
        data: what was given as the dataset.
        function: that it was given to.
    """
    if isinstance(data, Splits):
        return
    how = "kzoo.from_batches(train, validation, test, class_names=...)"
    if isinstance(data, (str, bytes)):
        how = f"kzoo.load_dataset({data!r})"
    elif hasattr(data, "columns"):
        how = "kzoo.from_frame(frame, input=..., target=...)"
    elif isinstance(data, (tuple, list)) or hasattr(data, "dtype"):
        how = "kzoo.from_arrays(x, y)"
    raise ValueError(f"{function} takes a dataset, got {type(data).__name__}; make one with {how}")
