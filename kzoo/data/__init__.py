"""Dataset loading by name: train, validation and test splits of (input, label) batches."""

import fnmatch
from collections.abc import Mapping, Sequence

from kzoo.core.arguments import check_arguments, checked
from kzoo.core.ranges import Extent, PositiveInt, Seed
from kzoo.core.registry import check_keywords, did_you_mean, keywords, lookup
from kzoo.data import audio, autodetect, image, npz, text, timeseries  # noqa: F401  (register their datasets)
from kzoo.data.assemble import Assembly, taken_by
from kzoo.data.audio import transcripts  # noqa: F401  (registers its datasets)
from kzoo.data.holdout import HoldOut
from kzoo.data.in_memory import from_arrays
from kzoo.data.own_batches import from_batches
from kzoo.data.splits import DATASETS, MODALITIES, DatasetCard, RawData, Splits
from kzoo.data.table_sets import from_frame
from kzoo.data.trained import preprocess_of

__all__ = [
    "DatasetCard",
    "RawData",
    "Splits",
    "dataset_card",
    "from_arrays",
    "from_batches",
    "from_frame",
    "list_datasets",
    "load_dataset",
]


def list_datasets(pattern: str = "*") -> list[str]:
    """Return the sorted dataset names that match a shell pattern; one that ends in ":" takes an argument."""
    return sorted(fnmatch.filter(DATASETS, pattern))


@checked
def dataset_card(name: str, **options) -> DatasetCard:
    """Return what the zoo knows about a dataset: modality, description, source.

    The modality of `folder:PATH`, `table:PATH` and `tfds:NAME` is detected; `folder:...` stands for any argument.
    `options` are those of `load_dataset`, such as the column of a table that is the input.

    Raises:
        ValueError: for an unknown name, or an argument that does not exist.
    """
    prefix, colon, argument = name.partition(":")
    if colon and not argument:
        raise ValueError(f"{name!r} needs an argument: {name}NAME" if prefix == "tfds" else f"{name!r} needs a path")
    if prefix + colon not in DATASETS and colon:
        raise ValueError(f"unknown dataset {name!r}; {did_you_mean(prefix + colon, DATASETS)}")
    card = lookup("dataset", prefix + colon, DATASETS)
    return card if card.detect is None or argument == "..." else card.detect(argument, **taken_by(card.detect, options))


@checked
def load_dataset(
    name: str,
    *,
    batch_size: Extent = 128,
    validation: float | str = 0.1,
    test: float | str | None = None,
    fold: Sequence[int] | None = None,
    group: str | bool | None = True,
    stratify: bool = True,
    augment: Mapping | None = None,
    limit: PositiveInt | None = None,
    cache: str | None = "auto",
    seed: Seed = 0,
    like=None,
    **options,
) -> Splits:
    """Load a dataset as train, validation and test splits that are ready to train on.

    Args:
        name: one of `list_datasets()`; `tfds:NAME`, `folder:PATH` and `npz:PATH` take any dataset, folder or file.
        batch_size: examples per batch.
        validation: fraction in (0, 1) that is held out from the train split, where the dataset has no validation
            split. The same examples are held out every time. 0 holds nothing out and validates on the train split
            itself, as is common for the small datasets of the UCR archive: the best epoch is then that of the highest
            training accuracy, and the validation metrics say nothing about new examples. For `csv:` and `labelled:`
            also the path of a file.
        test: likewise for the test split; None for the fraction of `validation`, 0 for no test split.
        fold: (number, folds): hold out this fold of the train split, counted from 0, as the test split or, where there
            is one already or `test` is 0, as the validation split.
        group: whether all examples of one group, such as a speaker, are held out together, where the dataset knows
            groups; or the column of a table with the groups. False or None divides within groups.
        stratify: whether each class is divided in the same proportion, and each tag in about the same.
        augment: data augmentation of the train split, as keyword arguments of `kzoo.data.image.ImageAugment`,
            `audio.AudioAugment`, `text.TextAugment` or `timeseries.SeriesAugment`: `{"flip": True, "shift": 4}`.
            With `mixup` or `cutmix` (see `kzoo.data.mixing.Mixing`; not for texts) the labels of training batches are
            probabilities (batch, num_classes).
        limit: largest number of training examples, a stratified subset; the same examples every time.
        cache: where decoded image and audio files are kept: "memory", "disk" (`kzoo cache` shows it), None for decoding
            them anew in each epoch, or "auto": in memory if they take at most a quarter of what is available, otherwise
            None.
            Training examples that are crops of the original images, and windows of recordings (`hop`), are always
            decoded anew.
        seed: of the shuffling and the augmentation, which are a pure function of (seed, epoch).
        like: a pretrained or trained model (or a dataset) whose preprocessing is used, for fine-tuning: size, cropping
            and normalisation are those of its weights, except for options that are given.
        **options: of the dataset's loader and of its preprocessing: `image_size` for images, `data_dir` and
            `download` for tensorflow-datasets.

    Raises:
        ValueError: for an unknown name or option, labels out of range, values that are not finite, files that are
            missing or damaged, or too few examples, classes or groups to be divided.
    """
    card = dataset_card(name, **options | {"group": group})
    preprocess = lookup("modality", card.modality, MODALITIES).preprocess
    check_keywords(f"option of dataset {name!r},", options, load_dataset, card.load, preprocess.fit)
    for function in (card.load, preprocess.fit):
        options |= check_arguments(function, taken_by(function, options))
    parts = {"validation": validation, "test": test, "group": group}
    named = {key: value for key, value in parts.items() if isinstance(value, str)}
    for key in named.keys() - set(keywords(card.load)):
        what = "no column of groups" if key == "group" else f"no file for {key}"
        raise ValueError(f"{name} takes {what}, got {key}={named[key]!r}")
    own = None if like is None else preprocess_of(like)
    options = {key: getattr(own, key) for key in keywords(card.load) if hasattr(own, key)} | options
    how = HoldOut.of(validation, test, fold, bool(group), stratify)
    assembly = Assembly(name, card.modality, how, batch_size, augment, limit, seed, options, own, cache)
    return assembly(card.load(*name.split(":", 1)[1:], **taken_by(card.load, options | named)))
