"""Dataset loading by name: train, validation and test splits of (input, label) batches."""

import fnmatch
from collections.abc import Callable, Mapping

from kzoo.core.registry import check_keywords, did_you_mean, keywords, lookup
from kzoo.data import audio, autodetect, image, text, timeseries  # noqa: F401  (register their datasets)
from kzoo.data.holdout import complete, limited
from kzoo.data.splits import DATASETS, MODALITIES, DatasetCard, RawData, Splits, check_examples

__all__ = ["DatasetCard", "RawData", "Splits", "dataset_card", "list_datasets", "load_dataset"]

CALLED = {"train": "training"}  # splits, in messages


def list_datasets(pattern: str = "*") -> list[str]:
    """Return the sorted dataset names that match a shell pattern; one that ends in ":" takes an argument."""
    return sorted(fnmatch.filter(DATASETS, pattern))


def dataset_card(name: str) -> DatasetCard:
    """Return what the zoo knows about a dataset: modality, description, source.

    The modality of `folder:PATH` and `tfds:NAME` is detected; `folder:...` and `tfds:...` stand for any argument.

    Raises:
        ValueError: for an unknown name, or an argument that does not exist.
    """
    prefix, colon, argument = name.partition(":")
    if colon and not argument:
        raise ValueError(f"{name!r} needs an argument: {name}NAME" if prefix == "tfds" else f"{name!r} needs a path")
    if prefix + colon not in DATASETS and colon:
        raise ValueError(f"unknown dataset {name!r}; {did_you_mean(prefix + colon, DATASETS)}")
    card = lookup("dataset", prefix + colon, DATASETS)
    return card if card.detect is None or argument == "..." else card.detect(argument)


def taken_by(function: Callable, options: Mapping) -> dict:
    """Return those of the options that a function takes as keywords."""
    return {key: options[key] for key in options if key in keywords(function)}


def load_dataset(
    name: str,
    *,
    batch_size: int = 128,
    validation: float = 0.1,
    augment: Mapping | None = None,
    limit: int | None = None,
    seed: int = 0,
    **options,
) -> Splits:
    """Load a dataset as train, validation and test splits that are ready to train on.

    Args:
        name: one of `list_datasets()`; `tfds:NAME`, `folder:PATH` and `npz:PATH` take any dataset, folder or file.
        batch_size: examples per batch.
        validation: fraction of each class in (0, 1) that is held out from the train split, where the dataset has no
            validation split; likewise for a test split. The same examples are held out every time. 0 holds nothing
            out and validates on the train split itself, as is common for the small datasets of the UCR archive: the
            best epoch is then that of the highest training accuracy, and the validation metrics say nothing about
            new examples.
        augment: data augmentation of the train split, as keyword arguments of `kzoo.data.image.ImageAugment`,
            `audio.AudioAugment`, `text.TextAugment` or `timeseries.SeriesAugment`: `{"flip": True, "shift": 4}`.
            With `mixup` or `cutmix` (see `kzoo.data.mixing.Mixing`; not for texts) the labels of training batches are
            probabilities (batch, num_classes).
        limit: largest number of training examples, a stratified subset; the same examples every time.
        seed: of the shuffling and the augmentation, which are a pure function of (seed, epoch).
        **options: of the dataset's loader and of its preprocessing: `image_size` for images, `data_dir` and
            `download` for tensorflow-datasets.

    Raises:
        ValueError: for an unknown name or option, labels out of range, values that are not finite, or files that
            are missing or damaged.
    """
    card = dataset_card(name)
    modality = lookup("modality", card.modality, MODALITIES)
    check_keywords(f"option of dataset {name!r},", options, load_dataset, card.load, modality.preprocess.fit)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
    check_keywords(f"augmentation of {card.modality} data,", augment or {}, modality.augment)
    augmentation = modality.augment(**augment) if augment else None
    raw = card.load(*name.split(":", 1)[1:], **taken_by(card.load, options))
    for split, examples in zip(RawData._fields, raw[:3], strict=False):
        if examples is not None:
            check_examples(split, examples, len(raw.class_names))
    examples = limited(complete(raw, validation), limit)
    preprocess = modality.preprocess.fit(examples["train"], **taken_by(modality.preprocess.fit, options))
    if hasattr(preprocess, "warn_of_losses"):
        preprocess.warn_of_losses({CALLED.get(name, name): part.inputs for name, part in examples.items()})
    if augmentation is not None:
        augmentation = augmentation.prepared(preprocess)
    return Splits(name, card.modality, examples, raw.class_names, preprocess, augmentation, batch_size, seed)
