"""Held-out splits, folds and stratified subsets: the same examples every time, and no group on both sides."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kzoo.core.lazy import model_selection, np
from kzoo.core.ranges import check_range
from kzoo.core.shown import listed
from kzoo.core.warn import warn_caller
from kzoo.data.splits import Examples, RawData
from kzoo.data.stratification import stratified_parts
from kzoo.tasks import Task

SPLIT_SEED = 0  # the held-out examples do not depend on the seed of a training
LEAVE_OUT = "; stratify=False divides without regard to classes"
MANY_GROUPS = 1000  # from which whole groups at random hold the classes in about equal proportions; seeking takes long
MIX = "; group=False divides within groups"


@dataclass(frozen=True)
class HoldOut:
    """How splits that a dataset lacks are held out from its train split.

    Args:
        validation: fraction in (0, 1) for the validation split; 0 validates on the train split.
        test: fraction for the test split; 0 for no test split, None for that of `validation`.
        fold: (number, folds): hold out this fold of the train split, counted from 0, as the test split or, where there
            is one already or none is wanted, as the validation split.
        grouped: whether all examples of one group stay in one split, where groups are known.
        stratify: whether each class, or tag, is divided in the same proportion.

    Raises:
        ValueError: for a value out of its range.
    """

    validation: float = 0.1
    test: float | None = None
    fold: Sequence[int] | None = None
    grouped: bool = True
    stratify: bool = True

    def __post_init__(self):
        for what, fraction in (("validation", self.validation), ("test", self.test)):
            if fraction:
                check_fraction(what, fraction)
        if self.fold is not None:
            check_fold(self.fold)

    @classmethod
    def of(cls, validation, test, fold: Sequence[int] | None, grouped: bool, stratify: bool) -> HoldOut:
        """Return it for arguments that may hold a split, or the path of its file, in place of a fraction."""
        fractions = validation if is_fraction(validation) else cls.validation, test if is_fraction(test) else None
        return cls(*fractions, fold, grouped, stratify)

    def fraction(self, split: str) -> float:
        """Return the fraction of the train split that one of the other splits takes."""
        return self.test if split == "test" and self.test is not None else self.validation


@dataclass(frozen=True)
class Pool:
    """What examples are divided by: their classes, their groups where these are to stay together, and class names.

    Examples of a task without classes are all of one, and not stratified, unless they have tags.

    Args:
        labels: the class index of each example.
        groups: their groups; None for none.
        class_names: by the class indices.
        stratify: whether the examples are stratified by their classes.
        tags: which tags each example has, (n, tags), if they are stratified by these.
    """

    labels: np.ndarray
    groups: np.ndarray | None
    class_names: Sequence[str]
    stratify: bool = True
    tags: np.ndarray | None = None

    @classmethod
    def of(cls, raw: RawData, how: HoldOut) -> Pool:
        """Return the pool of a dataset's train split."""
        groups = raw.train.groups
        pool = cls.of_targets(raw.train.labels, raw.asked)
        if groups is not None and how.grouped and pool.stratify and pool.classes_are(groups):
            warn_caller("each class is of one group alone, so groups are divided")
            groups = None
        tags = pool.tags if how.stratify else None
        return replace(pool, groups=groups if how.grouped else None, stratify=pool.stratify and how.stratify, tags=tags)

    @classmethod
    def of_targets(cls, targets: np.ndarray, task: Task) -> Pool:
        """Return the pool of raw targets, without groups."""
        strata = task.strata(targets)
        labels = np.zeros(len(targets), "int32") if strata is None else strata
        return cls(labels, None, task.names, strata is not None, task.tag_rows(targets))

    def classes_are(self, groups: np.ndarray) -> bool:
        """Return whether each class is of one group alone."""
        return len(set(zip(self.labels, groups, strict=True))) == len(set(self.labels))

    def take(self, indices: np.ndarray) -> Pool:
        """Return the pool of the examples at these indices."""
        parts = {"groups": self.groups, "tags": self.tags}
        found = {name: None if part is None else part[indices] for name, part in parts.items()}
        return replace(self, labels=self.labels[indices], **found)

    def hold_out(self, fraction: float, what: str) -> np.ndarray:
        """Return the indices that are held out for a split, sorted.

        Raises:
            ValueError: if there are too few examples or groups, naming at most five classes.
        """
        check_fraction(what, fraction)
        count = len(self.labels)
        refused = f"cannot hold out {fraction:g} of {count} examples for {what}: "
        if self.groups is not None:
            return self.hold_out_groups(fraction, refused)
        if self.tags is not None:
            held, left = self.by_tags(fraction, 1 - fraction)
            if len(held) and len(left):
                return held
        if self.stratify:
            self.check_classes(2, refused, LEAVE_OUT)
            self.check_room(min(np.ceil(fraction * count), count - np.ceil(fraction * count)), refused, LEAVE_OUT)
        try:
            _, held = model_selection.train_test_split(
                np.arange(count), test_size=fraction, stratify=self.strata, random_state=SPLIT_SEED
            )
        except ValueError as error:
            raise ValueError(f"{refused}{error}") from error
        return np.sort(held)

    def held_out(self, splits: Sequence[str], how: HoldOut) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return the indices that are held out for each split, in this order, and those that are left."""
        held, rest = {}, np.arange(len(self.labels))
        for split in splits:
            left = self.take(rest)
            if how.fold and split == splits[0]:
                part = left.fold(*how.fold)
            elif split == "validation" and not how.validation:
                continue
            else:
                part = left.hold_out(how.fraction(split), split)
            held[split], rest = rest[part], np.delete(rest, part)
        return held, rest

    def by_tags(self, *fractions: float) -> list[np.ndarray]:
        """Return the indices of parts of these fractions, with about equal proportions of the tags."""
        return stratified_parts(self.tags, fractions, SPLIT_SEED)

    def subset(self, count: int) -> np.ndarray:
        """Return the indices of a stratified subset, sorted; by tags of about this size, at most."""
        examples = np.arange(len(self.labels))
        if self.tags is not None:
            return self.by_tags(count / len(examples), 1 - count / len(examples))[0][:count]
        kept, _ = model_selection.train_test_split(
            examples, train_size=count, stratify=self.strata, random_state=SPLIT_SEED
        )
        return np.sort(kept)

    @property
    def strata(self) -> np.ndarray | None:
        """What is divided in the same proportion: the labels, or nothing."""
        return self.labels if self.stratify else None

    def hold_out_groups(self, fraction: float, refused: str) -> np.ndarray:
        """Return the indices of whole groups that are about a fraction of all examples.

        Raises:
            ValueError: if there is one group, or a class would have no training example.
        """
        groups = len(np.unique(self.groups))
        if groups < 2:
            raise ValueError(f"{refused}all are of one group, {str(self.groups[0])!r}{MIX}")
        if self.stratify and groups < MANY_GROUPS:
            held = self.best_of_folds(fraction, groups)
        else:
            splitter = model_selection.GroupShuffleSplit(1, test_size=fraction, random_state=SPLIT_SEED)
            held = np.sort(next(splitter.split(self.labels, groups=self.groups))[1])
        lost = [self.class_names[index] for index in self.lost_by(held)] if self.stratify else []
        if lost:
            raise ValueError(f"{refused}without their groups no training examples of {listed(lost)} are left{MIX}")
        return held

    def best_of_folds(self, fraction: float, groups: int) -> np.ndarray:
        """Return the fold of about this size that leaves all classes in the rest, and holds most of them itself."""
        largest, wanted = int(np.bincount(self.labels).max()), fraction * len(self.labels)

        def badness(part: np.ndarray) -> tuple[int, int, float]:
            return len(self.lost_by(part)), -len(np.unique(self.labels[part])), abs(len(part) - wanted)

        return min(self.stratified_folds(max(2, min(round(1 / fraction), groups, largest))), key=badness)

    def lost_by(self, held: np.ndarray) -> np.ndarray:
        """Return the classes that have no example but those that are held out."""
        return np.setdiff1d(self.labels, np.delete(self.labels, held))

    def stratified_folds(self, folds: int) -> list[np.ndarray]:
        """Return the indices of each fold of whole groups, with about equal proportions of the classes."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of classes with fewer examples than folds
            splitter = model_selection.StratifiedGroupKFold(folds, shuffle=True, random_state=SPLIT_SEED)
            return [held for _, held in splitter.split(self.labels, self.labels, self.groups)]

    def fold(self, number: int, folds: int) -> np.ndarray:
        """Return the indices of one fold, sorted.

        Raises:
            ValueError: if there are fewer examples, or groups, or examples of a class, than folds.
        """
        refused = f"cannot make {folds} folds: "
        if self.groups is not None:
            self.check_groups(folds, refused)
            if self.stratify:
                return self.stratified_folds(folds)[number]
            splitter = model_selection.GroupKFold(folds)
        elif self.tags is not None:
            self.check_examples(folds, refused)
            return self.by_tags(*[1 / folds] * folds)[number]
        elif self.stratify:
            self.check_classes(folds, refused, LEAVE_OUT)
            splitter = model_selection.StratifiedKFold(folds, shuffle=True, random_state=SPLIT_SEED)
        else:
            splitter = model_selection.KFold(folds, shuffle=True, random_state=SPLIT_SEED)
        return list(splitter.split(self.labels, self.labels, self.groups))[number][1]

    def check_examples(self, folds: int, refused: str) -> None:
        """Raise a ValueError if there are fewer examples than folds."""
        if len(self.labels) < folds:
            raise ValueError(f"{refused}there are {len(self.labels)} examples")

    def check_groups(self, folds: int, refused: str) -> None:
        """Raise a ValueError if there are fewer groups than folds, or no class has as many examples."""
        groups = np.unique(self.groups).astype(str)
        if len(groups) < folds:
            raise ValueError(f"{refused}there are {len(groups)} groups, {listed(groups.tolist())}{MIX}")
        if self.stratify and np.bincount(self.labels).max() < folds:
            raise ValueError(f"{refused}no class has so many examples{LEAVE_OUT}")

    def check_classes(self, fewest: int, refused: str, hint: str) -> None:
        """Raise a ValueError that names at most five classes with fewer examples than are needed."""
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        few = [self.class_names[index] for index in np.flatnonzero((counts > 0) & (counts < fewest))]
        if few:
            raise ValueError(f"{refused}each class needs {fewest} examples, fewer are of {listed(few)}{hint}")

    def check_room(self, room: float, refused: str, hint: str) -> None:
        """Raise a ValueError if a part is smaller than the number of classes."""
        classes = len(np.unique(self.labels))
        if room < classes:
            raise ValueError(f"{refused}{room:g} examples cannot be of all {classes} classes{hint}")


def is_fraction(part) -> bool:
    """Return whether a split is given as a fraction, or not at all."""
    return part is None or isinstance(part, (int, float))


def check_fraction(what: str, fraction: float) -> None:
    """Raise a ValueError if a fraction of the train split is not in (0, 1)."""
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        hint = "; give test=0.1, or test=0 for no test split" if what == "test" else ""
        raise ValueError(f"the {what} fraction must lie between 0 and 1, got {fraction!r}{hint}")


def check_fold(fold: Sequence[int]) -> None:
    """Raise a ValueError if a fold is not (number, folds)."""
    if not isinstance(fold, (list, tuple)) or len(fold) != 2 or not all(isinstance(n, int) for n in fold):
        raise ValueError(f"fold must be (number, folds), e.g. (0, 10), got {fold!r}")
    number, folds = fold
    if folds < 2 or not 0 <= number < folds:
        raise ValueError(f"fold (number, folds) needs 2 or more folds and 0 <= number < folds, got {tuple(fold)}")


class Divided(dict):
    """Examples by their split; a split that there is not is explained."""

    def __missing__(self, split: str):
        raise ValueError(f"there is no {split} split, only {' and '.join(self)}; hold one out: test=0.1")


def complete(raw: RawData, how: HoldOut) -> Divided:
    """Return a dataset's splits; those that it lacks are held out from `train`, first the test split.

    Raises:
        ValueError: if there are too few examples, or a split is to be held out that the dataset has.
    """
    if raw.groups is not None:
        raw = raw._replace(train=replace(raw.train, groups=raw.groups))
    given = {split: part for split, part in (("validation", raw.validation), ("test", raw.test)) if part is not None}
    missing = [split for split in ("test", "validation") if split not in given and (split, how.test) != ("test", 0)]
    check_missing(how, given, missing)
    if how.grouped:
        warn_of_shared_groups({split: part.groups for split, part in {"train": raw.train, **given}.items()})
    train, held = held_out(raw, how, missing) if missing else (raw.train, {})
    splits = {"train": train, "validation": train, **given, **held}
    return Divided({split: splits[split] for split in ("train", "validation", "test") if split in splits})


def held_out(raw: RawData, how: HoldOut, missing: Sequence[str]) -> tuple[Examples, dict[str, Examples]]:
    """Return what is left of the train split, and the splits that are held out from it."""
    pool = Pool.of(raw, how)
    held, rest = pool.held_out(missing, how)
    if not held:
        return raw.train, {}
    say_groups(pool, held)
    return raw.train.take(rest), {split: raw.train.take(part) for split, part in held.items()}


def check_missing(how: HoldOut, given: Mapping[str, Examples], missing: Sequence[str]) -> None:
    """Raise a ValueError if a split is asked for that the dataset has already."""
    if how.test is not None and "test" in given:
        raise ValueError(f"the dataset has a test split of its own; leave out test={how.test!r}")
    if how.fold is not None and not missing:
        raise ValueError(f"the dataset has validation and test splits of its own; leave out fold={list(how.fold)}")


def say_groups(pool: Pool, held: Mapping[str, np.ndarray]) -> None:
    """Say in one line that groups were kept together."""
    if pool.groups is not None:
        counts = [f"{len(np.unique(pool.groups[part]))} for {split}" for split, part in held.items()]
        total = len(np.unique(pool.groups))
        warn_caller(f"each of the {total} groups is in one split, {' and '.join(counts)}{MIX}")


def warn_of_shared_groups(groups: Mapping[str, np.ndarray | None]) -> None:
    """Warn of groups of the train split that are in other splits, too, as a dataset's own splits may have them."""
    known = {split: set(part.tolist()) for split, part in groups.items() if part is not None}
    for split in known.keys() - {"train"}:
        shared = sorted(known.get("train", set()) & known[split])
        if shared:
            warn_caller(f"{len(shared)} groups of the train split are in the {split} split, too: {listed(shared)}")


def limited(examples: Mapping[str, Examples], limit: int | None, task: Task) -> Mapping[str, Examples]:
    """Return splits whose train split is a stratified subset of at most `limit` examples; None for all.

    Raises:
        ValueError: if the limit is not a positive integer, or too low for the number of classes.
    """
    check_range("limit", limit, "a positive integer", none=True)
    train = examples["train"]
    if limit is None or limit >= len(train):
        return examples
    pool, refused = Pool.of_targets(train.labels, task), f"cannot take {limit} of {len(train)} training examples: "
    if pool.stratify:
        pool.check_classes(2, refused, "; give no limit")
        pool.check_room(min(limit, len(train) - limit), refused, "")
    fewer = train.take(pool.subset(limit))
    return Divided({name: fewer if split is train else split for name, split in examples.items()})
