"""Held-out splits and stratified subsets: the same examples every time."""

from __future__ import annotations

from collections.abc import Mapping

from kzoo.core.lazy import model_selection, np
from kzoo.core.ranges import check_range
from kzoo.data.splits import Examples, RawData

SPLIT_SEED = 0  # the held-out examples do not depend on the seed of a training


def hold_out(examples: Examples, fraction: float, what: str) -> tuple[Examples, Examples]:
    """Split off a fraction of each class, always the same examples; return the rest and the held-out examples.

    Raises:
        ValueError: if the fraction is not in (0, 1), or a class has too few examples to be divided.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the {what} fraction must lie between 0 and 1, got {fraction}")
    try:
        kept, held = model_selection.train_test_split(
            np.arange(len(examples)), test_size=fraction, stratify=examples.labels, random_state=SPLIT_SEED
        )
    except ValueError as error:
        raise ValueError(f"cannot hold out {fraction} of {len(examples)} examples for {what}: {error}") from error
    return examples.take(np.sort(kept)), examples.take(np.sort(held))


def complete(raw: RawData, validation: float) -> dict[str, Examples]:
    """Return three splits; missing ones are held out from `train`; `validation=0` validates on `train`."""
    train, test = (raw.train, raw.test) if raw.test is not None else hold_out(raw.train, validation, "test")
    held = raw.validation
    if held is None:
        train, held = hold_out(train, validation, "validation") if validation else (train, train)
    return {"train": train, "validation": held, "test": test}


def limited(examples: Mapping[str, Examples], limit: int | None) -> Mapping[str, Examples]:
    """Return splits whose train split is a stratified subset of at most `limit` examples; None for all.

    Raises:
        ValueError: if the limit is not a positive integer, or too low for the number of classes.
    """
    check_range("limit", limit, "a positive integer", none=True)
    train = examples["train"]
    if limit is None or limit >= len(train):
        return examples
    try:
        kept, _ = model_selection.train_test_split(
            np.arange(len(train)), train_size=limit, stratify=train.labels, random_state=SPLIT_SEED
        )
    except ValueError as error:
        raise ValueError(f"cannot take {limit} of {len(train)} training examples: {error}") from error
    fewer = train.take(np.sort(kept))
    return {name: fewer if split is train else split for name, split in examples.items()}
