"""Raw data as a dataset that is ready to train on: checked, divided, limited, and with its preprocessing fitted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kzoo.core.arguments import check_arguments
from kzoo.core.lazy import np
from kzoo.core.ranges import Extent, PositiveInt, Seed
from kzoo.core.registry import check_keywords, keywords, lookup
from kzoo.data.augment import Augment
from kzoo.data.cache import cached_splits, check_cache
from kzoo.data.holdout import HoldOut, complete, limited
from kzoo.data.splits import MODALITIES, Examples, Modality, Preprocess, RawData, Splits, check_examples
from kzoo.data.trained import adopted
from kzoo.data.weights import check_some_weight
from kzoo.tasks import Task

CALLED = {"train": "training"}  # splits, in messages


def taken_by(function: Callable, options: Mapping) -> dict:
    """Return those of the options that a function takes as keywords."""
    return {key: options[key] for key in options if key in keywords(function)}


def check_in_place(task: Task, augment: Augment | None) -> None:
    """Raise a ValueError for an augmentation that moves positions, if a task has a target at each."""
    if task.head == "positions" and augment is not None and augment.moving:
        fine = (*augment.followed, *augment.in_place)
        left = f"; {', '.join(fine)} leave them in place, or are followed" if fine else ""
        raise ValueError(
            f"{task.key} has a target at each position, and augment.{augment.moving[0]} moves or mixes them{left}"
        )


def check_axes(task: Task, preprocess: Preprocess) -> None:
    """Raise a ValueError for inputs of more or fewer spatial axes than a task is for."""
    axes = max(len(preprocess.input_shape) - 1, 1)
    if axes not in task.dims:
        names = " or ".join(map(str, task.dims))
        raise ValueError(
            f"{task.key} is for inputs with {names} spatial axes, (..., channels); these are {preprocess.input_shape}"
        )


def check_mixes(task: Task, augment: Augment | None) -> None:
    """Raise a ValueError for an augmentation that mixes examples whose targets cannot be mixed."""
    used = [name for name in ("mixup", "cutmix") if getattr(augment, name, 0)]
    if used and not task.mixes:
        raise ValueError(f"augment.{used[0]} mixes targets, and those of {task.key} cannot be mixed")


def clip_of(preprocess: Preprocess) -> tuple[int, float]:
    """Return the length of what a network takes at once, 0 for any, and how much of it is in a second; 1 of series."""
    shape = preprocess.input_shape
    return getattr(preprocess, "samples", shape[0] or 0), getattr(preprocess, "sample_rate", 1)


def suited(task: Task) -> dict:
    """Return options of the preprocessing that suit a task: a signal for one axis, padding that is not heard."""
    return ({"layout": "time"} if task.dims == (1,) else {}) | ({"fill_silence": True} if task.head == "frames" else {})


def check_positions(task: Task, preprocess: Preprocess, examples: Mapping[str, Examples]) -> None:
    """Raise a ValueError for targets at each position that are not as many as the positions of a network's input."""
    expected = task.positions(preprocess.input_shape[: max(len(preprocess.input_shape) - 1, 1)])
    for split, part in examples.items() if task.head == "positions" else ():
        found = np.shape(part.labels)[1 : 1 + len(expected)]
        if len(found) != len(expected) or any(
            size not in (None, one) for one, size in zip(found, expected, strict=False)
        ):
            given, needed = (" x ".join(map(str, shape)) for shape in (found, expected))
            raise ValueError(f"the {split} split has targets at {given} positions, but inputs of {needed}")


@dataclass(frozen=True)
class Assembly:
    """How the raw data of one modality become a dataset; what cannot be right is refused before they are read.

    Args:
        name: of the dataset.
        modality: a key of `MODALITIES`.
        how: how missing splits are held out.
        batch_size: examples per batch.
        augment: keyword arguments of the modality's augmentation; None or empty for none.
        limit: largest number of training examples.
        seed: of shuffling and augmentation.
        options: keyword arguments of the preprocessing; others are ignored.
        own: the preprocessing of a pretrained network, in place of one fitted to the data.
        cache: where decoded files are kept: "auto", "memory", "disk" or None.

    Raises:
        ValueError: for a value out of its range, or an unknown augmentation.
    """

    name: str
    modality: str
    how: HoldOut
    batch_size: Extent
    augment: Mapping | None
    limit: PositiveInt | None
    seed: Seed
    options: Mapping
    own: Preprocess | None = None
    cache: str | None = "auto"

    def __post_init__(self):
        check_arguments(Assembly, vars(self))
        check_keywords(f"augmentation of {self.modality} data,", self.augment or {}, self.of.augment)
        check_cache(self.cache)
        self.augmentation  # noqa: B018  (refuses values out of range)

    @property
    def of(self) -> Modality:
        """The modality's preprocessing and augmentation."""
        return lookup("modality", self.modality, MODALITIES)

    @property
    def augmentation(self) -> Augment | None:
        """The augmentation, before it has read anything."""
        return self.of.augment(**self.augment) if self.augment else None

    def __call__(self, raw: RawData) -> Splits:
        """Return the dataset.

        Raises:
            ValueError: for labels out of range, values that are not finite, or too few examples to be divided.
        """
        for split, examples in raw.splits.items():
            check_examples(split, examples, raw.asked)
        check_in_place(raw.asked, self.augmentation)
        check_mixes(raw.asked, self.augmentation)
        examples = limited(complete(raw, self.how), self.limit, raw.asked)
        check_some_weight(examples["train"])
        originals = self.augmentation is not None and self.augmentation.reads_originals
        cached_splits(examples, self.cache, self.name, originals)
        fit = self.of.preprocess.fit
        preprocess = fit(examples["train"], **taken_by(fit, suited(raw.asked) | self.options))
        if self.own is not None:
            preprocess = adopted(self.own, preprocess, self.options)
        check_axes(raw.asked, preprocess)
        check_positions(raw.asked, preprocess, examples)
        if hasattr(preprocess, "warn_of_losses"):
            preprocess.warn_of_losses({CALLED.get(name, name): part.inputs for name, part in examples.items()})
        augment = self.augmentation and self.augmentation.prepared(preprocess)
        task = raw.asked.fitted(examples["train"].labels).placed(*clip_of(preprocess))
        how = {"batch_size": self.batch_size, "seed": self.seed, "skipped": raw.skipped}
        return Splits(self.name, self.modality, examples, task, preprocess, augment, **how)
