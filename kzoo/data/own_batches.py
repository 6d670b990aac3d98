"""Batches of the user's own as a dataset: `tf.data.Dataset`, `PyDataset`, PyTorch's `DataLoader`, functions."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras, lazy_import, np
from kzoo.core.registry import check_keywords, lookup
from kzoo.core.shown import listed
from kzoo.core.warn import warn_caller
from kzoo.data.arrays import to_array
from kzoo.data.assemble import check_axes, check_positions
from kzoo.data.image import ImagePreprocess
from kzoo.data.labels import channels_last
from kzoo.data.splits import MODALITIES, Examples, Preprocess, Splits
from kzoo.data.targets import reader_of, targets_as
from kzoo.data.timeseries import SeriesPreprocess
from kzoo.tasks import Classification, Task, Transcription

batches = lazy_import("kzoo.data.batches")

AXES = {"image": 4, "timeseries": 3}  # of batches that need no preprocessing
KEPT = 16  # raw examples that are kept of a split, to check exports


def from_batches(
    train,
    validation=None,
    test=None,
    *,
    task: str | None = None,
    class_names: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    modality: str | None = None,
    channels_first: bool | None = None,
    steps_per_epoch: int | None = None,
    name: str = "batches",
    **options,
) -> Splits:
    """Make a dataset of batches (inputs, targets) of your own, to train, evaluate and export with.

    One pass over `train` is an epoch; its order and its augmentation are yours. A training that resumes within an epoch
    sees other batches than without an interruption, and reports draw no examples.

    Args:
        train: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a PyTorch `DataLoader`, a list of batches, or a function
            without arguments that returns batches. The targets of a classification are class indices, class names or
            one-hot rows.
        validation: likewise, in a fixed order; the train split if not given.
        test: likewise; None for no test split.
        task: "classification" if not given; otherwise as for `kzoo.from_arrays`, with the same targets for each batch:
            "tagging" (rows of 0 and 1), "regression", "step_tagging", "step_classification", "segmentation" or
            "restoration". All training batches are read once for their names and statistics.
        class_names: in the order of the class indices; the indices themselves if not given. Of other tasks the names of
            the tags or numbers.
        preprocess: a preprocessing of kzoo that is applied to the inputs, such as that of another dataset, and exported
            with the network. Without it the network takes the batches as they are.
        modality: "image" or "timeseries", where the shape of the inputs does not say it.
        channels_first: whether images and series have their channels first; None to tell by the shape.
        steps_per_epoch: batches of an epoch, where `train` has no end.
        name: of the dataset, for tables and messages.
        **options: of the task's targets, as for `kzoo.from_arrays`: `quantiles` and `masked` of numbers, `void` of
            masks, `scale` of restored images.

    Raises:
        ValueError: for another kind of object, batches that are no pairs, targets of another kind or out of range, or
            inputs that need a preprocessing.
    """
    check_known_task(task, options)
    parts = {"train": train, "validation": validation, "test": test}
    sources = {split: Source.of(split, part, channels_first) for split, part in parts.items() if part is not None}
    inputs, _ = sources["train"].first
    preprocess = preprocess or as_it_is(inputs, modality)
    modality = next(known for known, (kind, _) in MODALITIES.items() if isinstance(preprocess, kind))
    steps = {split: source.count(steps_per_epoch if split == "train" else None) for split, source in sources.items()}
    reading = reading_of(task, sources["train"], steps["train"], class_names, name, options)
    check_axes(reading.task, preprocess)
    first = {split: Examples(source.first[0], reading.raw(source.first[1], split)) for split, source in sources.items()}
    check_positions(reading.task, preprocess, first)
    examples = {split: OwnExamples.of(source, steps[split], reading) for split, source in sources.items()}
    if validation is None:
        examples["validation"], sources["validation"] = examples["train"], sources["train"]
    warn_caller(f"{name}: a training that resumes within an epoch sees other batches, and reports draw no examples")
    order = {split: examples[split] for split in ("train", "validation", "test") if split in examples}
    how = {"batch_size": len(inputs), "sources": sources, "reading": reading}
    return OwnBatches(name, modality, order, reading.task, preprocess, **how)


@dataclass(frozen=True, repr=False)
class OwnBatches(Splits):
    """A dataset of batches of the user's own; see `from_batches`.

    Attributes:
        sources: of the batches of each split.
        reading: of their targets.
    """

    sources: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    reading: Classes | Targets | None = None

    @property
    def steps_per_epoch(self) -> int:
        return self.examples["train"].steps

    @functools.cached_property
    def train(self) -> batches.Batches:
        return self.batches_of("train", self.steps_per_epoch)

    def train_batches(self, first_step: int = 0) -> batches.Batches:
        return self.batches_of("train", None, first_step % self.steps_per_epoch)

    def eval_batches(self, split: str) -> batches.Batches:
        examples = self.examples[split]
        return self.batches_of(split, examples.steps, heard=None if split == "train" else examples.labels.hear)

    def batches_of(
        self, split: str, count: int | None, skipped: int = 0, heard: Callable | None = None
    ) -> batches.Batches:
        """Return the prepared batches of a split; None for an endless sequence of training batches."""

        def prepared(inputs, labels):
            targets = self.reading.raw(labels, split, soft=count is None)
            if count is None:
                whole = self.shard.divisible(len(targets))
                inputs, targets = self.shard.rows_of(inputs, whole), self.shard.rows_of(targets, whole)
            return keras.ops.convert_to_numpy(self.preprocess(inputs)), targets

        source = InOrder(self.sources[split], prepared, self.reading.encoded, skipped, count, heard)
        return batches.Batches(source, count)


@dataclass(frozen=True)
class Source:
    """Batches that can be read again and again.

    Args:
        split: what they are, for messages.
        start: returns an iterator over raw batches.
        length: how many there are, which may be infinite; None if that is not known.
        channels_first: see `from_batches`.
    """

    split: str
    start: Callable[[], Iterator]
    length: float | None
    channels_first: bool | None

    @classmethod
    def of(cls, split: str, batches, channels_first: bool | None) -> Source:
        """Return the source of what a user has.

        Raises:
            ValueError: for what is no source of batches, or can be read only once.
        """
        if isinstance(batches, Iterator):
            raise ValueError(
                f"{split} is a {type(batches).__name__}, which can be read only once; give the function that makes it"
            )
        if isinstance(batches, keras.utils.PyDataset):
            length = math.inf if batches.num_batches is None else batches.num_batches
            found = cls(split, lambda: pairs_of(batches), length, channels_first)
        elif isinstance(batches, Iterable) and not isinstance(batches, (str, bytes, Mapping)):
            found = cls(split, lambda: iter(batches), length_of(batches), channels_first)
        elif callable(batches):
            found = cls(split, lambda: iter(batches()), None, channels_first)
        else:
            raise ValueError(
                f"{split} must be batches: a tf.data.Dataset, a PyDataset, a DataLoader, a list or a function, got "
                f"{type(batches).__name__}"
            )
        images = channels_first is None and found.first[0].ndim == 4
        if images:  # told once, from the first batch
            first = found.first[0]
            found = dataclasses.replace(found, channels_first=channels_last(first, "image", split).shape != first.shape)
        return found

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in self.start():
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                what = f"a {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, (tuple, list)) else "")
                raise ValueError(f"the batches of {self.split} must be pairs (inputs, labels), got {what}")
            inputs, labels = to_array(batch[0]), labels_in(batch[1], self.split)
            if len(inputs) != np.shape(labels)[0]:
                raise ValueError(f"a batch of {self.split} has {len(inputs)} inputs but {len(labels)} labels")
            yield np.moveaxis(inputs, 1, -1) if self.channels_first and inputs.ndim > 2 else inputs, labels

    @property
    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """The first batch.

        Raises:
            ValueError: if there is none.
        """
        for batch in self:
            return batch
        raise ValueError(f"{self.split} has no batches")

    def count(self, given: int | None) -> int:
        """Return the number of batches, that is given or known; they are read once if not.

        Raises:
            ValueError: if there is no end.
        """
        if given:
            return given
        if self.length == math.inf:
            how = "give steps_per_epoch" if self.split == "train" else "take as many batches as it has"
            raise ValueError(f"{self.split} has no end; {how}")
        return sum(1 for _ in self) if self.length is None else self.length


def labels_in(labels, split: str) -> np.ndarray:
    """Return the targets of a batch as an array; a ValueError says so if their rows differ in length."""
    try:
        return to_array(labels)
    except ValueError as error:
        raise ValueError(f"a batch of {split} has targets of different lengths; give rows of one length") from error


def pairs_of(dataset) -> Iterator:
    """Yield the batches of a `PyDataset`."""
    for index in range(dataset.num_batches) if dataset.num_batches is not None else itertools.count():
        yield dataset[index]
    dataset.on_epoch_end()


def length_of(batches) -> float | None:
    """Return the number of batches, infinity if there is no end, None if it is not known."""
    if hasattr(batches, "cardinality"):  # -1 is infinite, -2 not known
        count = int(batches.cardinality())
        return {-1: math.inf, -2: None}.get(count, count)
    try:
        return len(batches)
    except TypeError:
        return None


class InOrder:
    """Batches by their index, which are read in order; any other index starts a new pass.

    Args:
        source: of the batches.
        prepare: from raw inputs and labels to inputs of the network and raw targets.
        encoded: from raw targets to what the loss compares with.
        skipped: batches that are left out of the first pass.
        count: batches of a pass; None for pass after pass without an end.
        heard: called with the raw targets of a whole pass.
    """

    def __init__(
        self,
        source: Source,
        prepare: Callable,
        encoded: Callable,
        skipped: int,
        count: int | None,
        heard: Callable | None,
    ):
        self.source, self.prepare, self.encoded = source, prepare, encoded
        self.skipped, self.count, self.heard = skipped, count, heard
        self.next, self.iterator, self.labels = None, iter(()), []

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index != self.next:
            self.iterator = itertools.islice(self.source, self.skipped + index, None)
            self.next, self.labels = index, []
        batch = next(self.iterator, None)
        if batch is None and self.count is None:
            self.iterator = iter(self.source)
            batch = next(self.iterator, None)
        if batch is None:
            raise ValueError(f"{self.source.split} ended after {index} batches, expected {self.count or 'more'}")
        self.next += 1
        inputs, targets = self.prepare(*batch)
        if self.heard is not None:
            self.labels.append(targets)
            if self.next == self.count and len(self.labels) == self.count:
                self.heard(np.concatenate(self.labels))
        return inputs, self.encoded(targets)


class Labels:
    """The raw targets of a split, as they were in the last pass over it; the split is read if there was none."""

    def __init__(self, read: Callable[[], np.ndarray], about: int, change: Callable = lambda targets: targets):
        self.read, self.about, self.change, self.found = read, about, change, None

    def hear(self, targets: np.ndarray) -> None:
        """Take the targets of a whole pass."""
        self.found = self.change(targets)

    def mapped(self, function: Callable[[np.ndarray], np.ndarray]) -> Labels:
        """Return the targets as a function changes them, when they are read."""
        return Labels(self.read, self.about, lambda targets: function(self.change(targets)))

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if self.found is None:
            self.hear(self.read())
        return np.asarray(self.found, dtype)

    def __getitem__(self, index) -> np.ndarray:
        return np.asarray(self)[index]

    def __len__(self) -> int:
        return self.about if self.found is None else len(self.found)


@dataclass(frozen=True, repr=False)
class OwnExamples(Examples):
    """What is known of the examples of a split of batches: the first few, and the labels once they were read.

    Its length is that of full batches until the labels were read.

    Args:
        steps: number of batches.
    """

    steps: int = 0
    complete = False

    @classmethod
    def of(cls, source: Source, steps: int, reading: Classes | Targets) -> OwnExamples:
        """Return what is known before anything but the first batch was read."""

        def read() -> np.ndarray:
            parts = itertools.islice(source, steps)
            return np.concatenate([reading.raw(labels, source.split) for _, labels in parts])

        inputs, _ = source.first
        return cls(inputs[:KEPT], Labels(read, steps * len(inputs)), steps)

    @property
    def identity(self) -> dict[str, int]:
        """What tells this split from another in the record of a run; its batches are not looked at."""
        return {"steps": self.steps}


@dataclass(frozen=True)
class Classes:
    """How the labels of a classification are read.

    Args:
        task: with the names of the classes.
    """

    task: Classification

    def raw(self, labels: np.ndarray, split: str, *, soft: bool = False) -> np.ndarray:
        """Return the class indices of a batch; see `class_indices`."""
        return class_indices(labels, self.task.names, split, soft=soft)

    def encoded(self, targets: np.ndarray) -> np.ndarray:
        """Return class indices or probabilities as they are."""
        return targets


@dataclass(frozen=True)
class Targets:
    """How the targets of another task are read.

    Args:
        task: with its names, and statistics of the training targets.
        options: of the task's reader.
    """

    task: Task
    options: Mapping

    def raw(self, targets: np.ndarray, split: str, *, soft: bool = False) -> np.ndarray:
        """Return the raw targets of a batch.

        Raises:
            ValueError: for targets of another kind or shape, or out of range, naming the first example of the batch.
        """
        try:
            _, rows = targets_as(self.task.key, {"train": targets}, self.names, split, **self.options)
            self.task.check("train", rows["train"])
        except ValueError as error:
            raise ValueError(str(error).replace("the train split", f"a batch of {split}")) from None
        return rows["train"]

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the reader of the targets takes."""
        return self.task.target_names

    def encoded(self, targets: np.ndarray) -> np.ndarray:
        """Return what the loss compares with."""
        return self.task.encode(targets)


def check_known_task(task: str | None, options: Mapping) -> None:
    """Raise a ValueError for a task that batches cannot have, or an option that its targets do not have."""
    read = reader_of(task).values
    if task == Transcription.key:
        raise ValueError("recordings and their transcripts are given to kzoo.from_arrays, or read by transcripts:PATH")
    check_keywords(f"option of batches for {task or Classification.key},", options, from_batches, read)


def reading_of(
    task: str | None, train: Source, steps: int, names: Sequence[str] | None, where: str, options: Mapping
) -> Classes | Targets:
    """Return how targets are read, by the training batches, which are read once unless the classes are named.

    Raises:
        ValueError: for training targets that the task does not have.
    """
    if task in (None, Classification.key):
        if names is None:
            whole = itertools.islice(train, steps)
            names = range(1 + max(int(class_indices(labels, None, "train").max()) for _, labels in whole))
        return Classes(Classification(tuple(map(str, names))))
    whole = np.concatenate([labels for _, labels in itertools.islice(train, steps)])
    asked, rows = targets_as(task, {"train": whole}, names, where, **options)
    asked.check("train", rows["train"])
    asked.check_some("train", rows["train"])
    return Targets(asked.fitted(rows["train"]), options)


def class_indices(
    labels: np.ndarray, class_names: Sequence[str] | None, split: str, *, soft: bool = False
) -> np.ndarray:
    """Return the labels of a batch as class indices, int32; with `soft`, one-hot rows and probabilities stay, float32.

    Raises:
        ValueError: for names or indices of unknown classes.
    """
    if labels.ndim == 2 and labels.shape[1] > 1:
        return labels.astype("float32") if soft else labels.argmax(axis=1).astype("int32")
    flat = labels.reshape(-1)
    if flat.dtype.kind == "O":
        known = {name: index for index, name in enumerate(class_names or ())}
        names = [name.decode() if isinstance(name, bytes) else str(name) for name in flat]
        unknown = sorted(set(names) - known.keys())
        if unknown:
            raise ValueError(f"a batch of {split} has the class {listed(unknown)}; give all class_names=[...]")
        return np.array([known[name] for name in names], "int32")
    wrong = np.flatnonzero((flat < 0) | (flat >= len(class_names)) | (flat % 1 != 0)) if class_names else ()
    if len(wrong):
        raise ValueError(f"a batch of {split} has the label {flat[wrong[0]]}, expected 0 to {len(class_names) - 1}")
    return flat.astype("int32")


def as_it_is(inputs: np.ndarray, modality: str | None) -> Preprocess:
    """Return the preprocessing that changes nothing.

    Raises:
        ValueError: for inputs that only a preprocessing makes numbers of, or an unknown modality.
    """
    found = modality or next((known for known, axes in AXES.items() if axes == inputs.ndim), None)
    if found is None or inputs.dtype.kind not in "biuf":
        raise ValueError(
            f"inputs of type {inputs.dtype} and shape {inputs.shape} need preprocess=, such as that of a dataset of "
            "kzoo; images (n, height, width, channels) and series (n, length, channels) do not"
        )
    if inputs.ndim != lookup("modality of batches", found, AXES):
        raise ValueError(f"inputs of shape {inputs.shape} are no {found} data; expected an axis of channels")
    zeros, ones = (0.0,) * inputs.shape[-1], (1.0,) * inputs.shape[-1]
    if found == "timeseries":
        return SeriesPreprocess(inputs.shape[1], zeros, ones, "none")
    dtype = "uint8" if inputs.dtype == "uint8" else "float32"
    return ImagePreprocess(inputs.shape[1:3], inputs.shape[3], zeros, ones, dtype)
