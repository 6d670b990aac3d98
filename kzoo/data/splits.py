"""Dataset splits: raw examples, batches that are shuffled, augmented and preprocessed, and the dataset registry."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from kzoo.core.lazy import keras, lazy_import, np, tf
from kzoo.data.augment import Augment
from kzoo.data.display import DatasetCardTable, SplitsTable
from kzoo.data.pipeline import as_written, computed, encoded, reader
from kzoo.data.random import fold, seeds_at
from kzoo.data.sources import Source, as_targets
from kzoo.data.windows import Divisible, Drawn
from kzoo.tasks import Classification, Task

batches = lazy_import("kzoo.data.batches")


@dataclass(frozen=True, repr=False)
class Examples:
    """Raw examples in a fixed order: `inputs` of shape (n, *raw_shape), and their raw targets.

    The inputs are an array in memory, or a source that reads them from files at indices. `labels` are the targets of
    the dataset's task, with one row for each example: class indices (n,) of a classification. Targets at each position
    may be a source as well, such as masks (n, height, width) in files.

    Args:
        groups: name of the group of each example, such as the speaker; None where it is not known.
        weights: what the training loss of each example is multiplied by, float32 (n,); None for 1.
        names: what each example is called in messages, such as its file, an array of strings (n,); None for nothing.
    """

    inputs: np.ndarray | Source
    labels: np.ndarray | Source
    groups: np.ndarray | None = dataclasses.field(default=None, kw_only=True)
    weights: np.ndarray | None = dataclasses.field(default=None, kw_only=True)
    names: np.ndarray | None = dataclasses.field(default=None, kw_only=True)
    complete: ClassVar[bool] = True  # whether all inputs are known, not the first few alone

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<Examples: {len(self):,} of shape {tuple(self.inputs.shape[1:])}, {self.inputs.dtype}>"

    def take(self, indices: np.ndarray) -> Examples:
        """Return the examples at these indices."""
        rows = {name: getattr(self, name) for name in ("inputs", "labels", "groups", "weights", "names")}
        kept = {name: taken(part, indices) for name, part in rows.items() if part is not None}
        return dataclasses.replace(self, **kept)

    def called(self, index: int) -> str:
        """Return what an example is called in messages."""
        return f"example {index}" if self.names is None else f"example {index} ({self.names[index]})"


def taken(inputs: np.ndarray | Source, indices: np.ndarray) -> np.ndarray | Source:
    """Return the inputs at indices: a copy of an array, a view of a source."""
    return inputs.take(indices) if isinstance(inputs, Source) else inputs[indices]


def divided(examples: Examples) -> tuple[Examples, np.ndarray | None]:
    """Return each part of examples as an example, and the number of parts of each; None if they are read as a whole."""
    if not isinstance(examples.inputs, Divisible):
        return examples, None
    inputs, counts = examples.inputs.divided()
    labels = examples.labels
    return Examples(inputs, labels.divided()[0] if isinstance(labels, Divisible) else np.repeat(labels, counts)), counts


def joined(examples: Examples, task: Task, rows: np.ndarray, counts: np.ndarray | None) -> Sequence[np.ndarray]:
    """Return the answers for whole examples from those for what `divided` returned."""
    return rows if counts is None else examples.inputs.joined(task, rows, counts)


def whole_targets(examples: Examples) -> Sequence[np.ndarray]:
    """Return the raw targets of whole examples."""
    return wholes(as_targets(examples.labels))


def wholes(part: np.ndarray | Source) -> Sequence[np.ndarray]:
    """Return whole inputs or targets, of what is read in tiles."""
    return part.wholes() if isinstance(part, Divisible) else part


class RawData(NamedTuple):
    """What a loader returns; a split that the dataset does not define is None and is held out from `train`.

    `groups` names the group, such as the patient, of each training example, unless the examples themselves do. `task`
    is what is asked of a network; None for the classification of `class_names`. `skipped` says of each file that
    `skip_broken` left out why.
    """

    train: Examples
    validation: Examples | None
    test: Examples | None
    class_names: tuple[str, ...]
    groups: np.ndarray | None = None
    task: Task | None = None
    skipped: tuple[str, ...] = ()

    @property
    def asked(self) -> Task:
        """The task, without statistics of the targets."""
        return self.task or Classification(tuple(self.class_names))

    @property
    def splits(self) -> dict[str, Examples]:
        """The splits that the dataset defines, by name."""
        return {name: part for name in SPLITS if (part := getattr(self, name)) is not None}


SPLITS = ("train", "validation", "test")


class Preprocess(Protocol):
    """Preprocessing from raw examples to the model's input; a frozen dataclass, saved as JSON with the model.

    Attributes:
        input_shape: shape of one preprocessed example.
        raw_shape: shape of one raw example; None where any size is accepted.
        raw_dtype: name of the data type of raw examples.
    """

    input_shape: tuple[int | None, ...]
    raw_shape: tuple[int | None, ...]
    raw_dtype: str

    @classmethod
    def fit(cls, train: Examples) -> Preprocess:
        """Return the preprocessing with sizes and statistics of the raw training examples."""

    def __call__(self, raw):
        """Preprocess a batch, in a data pipeline or as part of a Keras model."""

    def read(self, path: str):
        """Read one file as a raw example."""

    def sized(self, raw):
        """Return one raw example in the shape of the training examples."""

    def draw(self, axes, raw) -> None:
        """Draw a thumbnail of one raw example on matplotlib axes."""


class Shard(NamedTuple):
    """The rows of each training batch that this process reads, in data-parallel training.

    Attributes:
        index: of this process, from 0.
        num_shards: number of processes.
        devices: number of devices of all processes together, over which a batch is divided; equal in each process.
    """

    index: int = 0
    num_shards: int = 1
    devices: int = 1

    def divisible(self, count):
        """Return the largest number of rows, at most `count`, that is divisible by the number of devices."""
        return count - count % self.devices

    def rows_of(self, rows, count):
        """Return this process's slice of the first `count` rows of a tensor or an array."""
        size = count // self.num_shards
        return rows[self.index * size : (self.index + 1) * size]


UNSHARDED = Shard()


@dataclass(frozen=True, repr=False)
class Splits(SplitsTable):
    """A dataset that is ready to train on.

    `train`, `validation` and `test` are `tf.data.Dataset`s of (input, label) batches. On the JAX and PyTorch backends
    they are `kzoo.data.batches.Batches` of numpy arrays, which need no TensorFlow, except for texts and augmented
    examples. The order of the training examples and their augmentation are a pure function of (seed, epoch). Labels
    are what the task's loss compares with: class indices (batch,), int32, of a classification; with mixup or cutmix
    those of training batches are probabilities (batch, num_classes), float32. Where examples have weights, training
    batches, and only they, have them as a third part, by which Keras multiplies the loss of each example.

    Attributes:
        name: of the dataset, as given to `load_dataset`.
        modality: a key of `MODALITIES`.
        examples: the raw examples of "train", "validation" and "test".
        task: from raw targets to what the loss compares with, and from a network's outputs to answers.
        preprocess: from raw examples to the model's input; saved and exported with a model.
        augment: random augmentation of training batches; None for none.
        batch_size: examples per batch; the last batch of an epoch may be smaller, but is not a single example.
        seed: of shuffling and augmentation.
        shard: the rows of training batches that this process reads, in data-parallel training. The last batch of an
            epoch is cut to a multiple of the number of devices. Augmentation is drawn for whole batches, so that it
            does not depend on the number of processes.
        skipped: of each file that was left out because it could not be read, why.

    Raises:
        ValueError: if two classes, tags or columns have one name, with which results and exports could not be told
            apart.
    """

    name: str
    modality: str
    examples: Mapping[str, Examples]
    task: Task
    preprocess: Preprocess
    augment: Augment | None = None
    batch_size: int = 128
    seed: int = 0
    shard: Shard = UNSHARDED
    skipped: tuple[str, ...] = ()

    def __post_init__(self):
        check_distinct(self.name, self.task)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of one preprocessed example."""
        return self.preprocess.input_shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name for each output of a network, in their order: the classes, tags or columns of the task."""
        return self.task.names

    @property
    def num_outputs(self) -> int:
        """Number of outputs that a network needs."""
        return self.task.outputs

    @property
    def num_classes(self) -> int:
        """The same as `num_outputs`."""
        return self.num_outputs

    @property
    def vocab_size(self) -> int | None:
        """Number of token ids; None if the model's input is not token ids."""
        return getattr(self.preprocess, "vocab_size", None)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in one epoch of the train split.

        A last batch of a single example for a device is left out, unless it is the only one: batch normalisation would
        see no variance. Shuffling leaves out other examples in each epoch.
        """
        whole, rest = divmod(len(self.examples["train"]), self.batch_size)
        least = 2 * self.shard.devices if whole else self.shard.devices
        return whole + (rest >= least)

    @functools.cached_property
    def train(self) -> tf.data.Dataset:
        """One epoch of shuffled batches; the n-th iteration over it is epoch n, counted from 0."""
        if self.indexed:
            return self.epoch_after_epoch()
        epoch = tf.Variable(-1, dtype=tf.int64, trainable=False)
        once = tf.data.Dataset.from_tensors(0).flat_map(as_written(lambda _: self.shuffled(epoch.assign_add(1))))
        return self.training_batches(once).apply(tf.data.experimental.assert_cardinality(self.steps_per_epoch))

    def epoch_after_epoch(self) -> batches.Batches:
        """Return the batches of one epoch; each new iteration returns those of the next epoch."""
        epoch = -1

        def make(index):
            nonlocal epoch
            epoch += index == 0
            return self.training_batch(epoch * self.steps_per_epoch + index)

        return batches.Batches(make, self.steps_per_epoch)

    def train_batches(self, first_step: int = 0) -> tf.data.Dataset:
        """Return an infinite sequence of batches from `first_step` on, which is counted over all epochs."""
        if self.indexed:
            return batches.Batches(lambda index: self.training_batch(first_step + index))
        first_epoch, done = divmod(first_step, self.steps_per_epoch)

        def rest(epoch):
            return self.shuffled(epoch).skip(tf.where(epoch == first_epoch, tf.constant(done, tf.int64), 0))

        return self.training_batches(tf.data.Dataset.counter(first_epoch).flat_map(as_written(rest)))

    @functools.cached_property
    def validation(self) -> tf.data.Dataset:
        """The validation split in a fixed order, never augmented."""
        return self.eval_batches("validation")

    @functools.cached_property
    def test(self) -> tf.data.Dataset:
        """The test split in a fixed order, never augmented and never trained on."""
        return self.eval_batches("test")

    def eval_batches(self, split: str) -> tf.data.Dataset:
        """Return the preprocessed batches of a split in its fixed order."""
        if self.without_tensorflow:
            count, size = len(self.examples[split]), self.at_a_time(split)
            order = np.arange(count)
            return batches.Batches(
                lambda index: self.load_batch(split, order[index * size :][:size]), math.ceil(count / size)
            )
        examples = self.examples[split]
        read, read_targets = reader(examples.inputs), target_reader(examples.labels, self.task, reader)

        def prepared(indices):
            return self.preprocess(read(indices)), read_targets(indices)

        indices = tf.data.Dataset.range(len(self.examples[split])).batch(self.at_a_time(split))
        return indices.map(as_written(prepared), num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def at_a_time(self, split: str) -> int:
        """Return how many examples of a split are measured in a batch: one if they differ in size."""
        return 1 if None in self.examples[split].inputs.shape[1:] else self.batch_size

    @property
    def without_tensorflow(self) -> bool:
        """Whether batches are made without TensorFlow: on the JAX and PyTorch backends, except for texts."""
        return keras.backend.backend() != "tensorflow" and self.examples["train"].inputs.dtype.kind in "biuf"

    @property
    def indexed(self) -> bool:
        """Whether training batches are made without TensorFlow: nothing about them is random but their order."""
        whole = not isinstance(self.examples["train"].inputs, Drawn)
        return self.without_tensorflow and self.augment is None and whole

    def training_batch(self, step: int) -> tuple[np.ndarray, ...]:
        """Return a training batch as arrays, with its weights if there are any; the step is counted over all epochs."""
        epoch, index = divmod(step, self.steps_per_epoch)
        order = batches.shuffled_indices(len(self.examples["train"]), self.seed, epoch)
        whole = order[index * self.batch_size :][: self.batch_size]
        chosen, weights = self.shard.rows_of(whole, self.shard.divisible(len(whole))), self.examples["train"].weights
        return self.load_batch("train", chosen) + (() if weights is None else (weights[chosen],))

    def load_batch(self, split: str, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the preprocessed examples at these indices, and their labels."""
        examples = self.examples[split]
        labels = self.task.encode(as_targets(examples.labels)[indices])
        return keras.ops.convert_to_numpy(self.preprocess(examples.inputs[indices])), labels

    def prepared(self, raw):
        """Apply the preprocessing in a `tf.data` pipeline."""
        if not self.without_tensorflow:
            return self.preprocess(raw)
        return computed(self.preprocess, (None, *self.preprocess.input_shape), raw)

    def shuffled(self, epoch) -> tf.data.Dataset:
        """Return (epoch, step, indices) for each batch of one epoch."""
        indices = tf.range(len(self.examples["train"]), dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(indices, seed=tf.stack([self.seed, epoch]))
        groups = tf.data.Dataset.from_tensor_slices(order).batch(self.batch_size).take(self.steps_per_epoch)
        return groups.enumerate().map(as_written(lambda step, indices: (epoch, step, indices)))

    def training_batches(self, groups: tf.data.Dataset) -> tf.data.Dataset:
        """Turn (epoch, step, indices) into augmented and preprocessed batches, or this process's slice of them."""
        examples = self.examples["train"]
        weights = None if examples.weights is None else tf.constant(examples.weights)
        reading = (self.augment or Augment()).reading
        read, augment = reading(examples.inputs)
        read_targets = target_reader(examples.labels, self.task, lambda labels: reading(labels)[0])

        def prepared(epoch, step, indices):
            count = self.shard.divisible(tf.shape(indices)[0])
            chosen = self.shard.rows_of(indices, count) if self.augment is None else indices[:count]
            seed = tf.stack([self.seed, epoch])
            each = chosen, seeds_at(chosen, fold(seed, -1))
            inputs, targets = read(*each), read_targets(*each)
            weighted = () if weights is None else (tf.gather(weights, chosen),)
            if self.augment is None:
                return self.prepared(inputs), targets, *weighted
            batch = self.augmented(inputs, targets, fold(seed, step), augment, *weighted)
            return tuple(self.shard.rows_of(part, count) for part in batch)

        return groups.map(as_written(prepared), num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def augmented(self, inputs, labels, seed, augment: Augment | None = None, weights=None):
        """Augment a raw batch (as `self.augment`), preprocess it, augment the features, mix them and their labels.

        Weights of examples, (batch,), are mixed as their labels are.
        """
        augment = augment or self.augment
        if self.task.head == "positions":
            labels = tf.ensure_shape(augment.follow(labels, seed), labels.shape)
        features = self.prepared(tf.ensure_shape(augment(inputs, seed), inputs.shape))
        features = augment.features(features, fold(seed, 1), self.preprocess)
        mixed = augment.mix(features, labels, self.num_outputs, fold(seed, 2), self.preprocess)
        if weights is None:
            return mixed
        _, column = augment.mix(features, weights[:, None], 1, fold(seed, 2), self.preprocess)
        return *mixed, column[:, 0]


def target_reader(labels: np.ndarray | Source, task: Task, reading: Callable) -> Callable:
    """Return a function from a tensor of indices to what the loss compares with; further arguments are for the reading.

    Targets at each position are encoded when they are read, smaller ones at once.

    Args:
        labels: raw targets.
        task: that encodes them.
        reading: function from targets to a function that reads them in a `tf.data` pipeline.
    """
    if isinstance(labels, Source) or np.ndim(labels) > 2:
        return encoded(reading(labels), task.encode, labels[:1])
    whole = tf.constant(task.encode(labels))
    return lambda indices, *_: tf.gather(whole, indices)


def check_distinct(dataset: str, task: Task) -> None:
    """Raise a ValueError that names the first two classes, tags or columns of one name."""
    first = {}
    for index, name in enumerate(task.names):
        if first.setdefault(name, index) != index:
            raise ValueError(f"{dataset} has two {task.noun} named {name!r} (indices {first[name]} and {index})")


def check_examples(name: str, examples: Examples, task: Task) -> None:
    """Raise a ValueError that names the first example with a target out of range or a value that is not finite."""
    labels = as_targets(examples.labels)
    if len(examples) == 0:
        raise ValueError(f"the {name} split has no examples")
    if len(examples.inputs) != len(labels):
        raise ValueError(f"the {name} split has {len(examples.inputs)} inputs but {len(labels)} labels")
    if not isinstance(labels, Source):  # which checks what it reads
        task.check(name, labels)
        task.check_some(name, labels)
    if isinstance(examples.inputs, np.ndarray) and np.issubdtype(examples.inputs.dtype, np.floating):
        finite = np.isfinite(examples.inputs).reshape(len(examples), -1).all(axis=1)
        if not finite.all():
            broken = np.flatnonzero(~finite)
            raise ValueError(
                f"example {broken[0]} of the {name} split contains NaN or infinity ({broken.size} examples do)"
            )


class Modality(NamedTuple):
    """What all datasets of one modality share: the dataclasses of their preprocessing and of their augmentation."""

    preprocess: type[Preprocess]
    augment: type[Augment]


MODALITIES: dict[str, Modality] = {}


@dataclass(frozen=True, repr=False)
class DatasetCard(DatasetCardTable):
    """What the zoo knows about a dataset.

    Attributes:
        name: as listed; one that ends in ":" takes an argument.
        modality: of its examples; several, as "image, audio", where it depends on the argument.
        description: one line.
        source: author and licence.
        load: the loader.
        detect: returns the card for one argument, where the modality depends on it.
        task: a key of `kzoo.tasks.TASKS`; a loader that takes `task=` has this one by default.
    """

    name: str
    modality: str
    description: str
    source: str
    load: Callable[..., RawData]
    detect: Callable[[str], DatasetCard] | None = None
    task: str = Classification.key


DATASETS: dict[str, DatasetCard] = {}


def register_dataset(name: str, modality: str, source: str, task: type[Task] = Classification):
    """Register a loader function as a dataset; the first line of its docstring is the description.

    A name that ends in ":" is a prefix; what follows it is the loader's first argument.
    """

    def decorator(load: Callable[..., RawData]) -> Callable[..., RawData]:
        DATASETS[name] = DatasetCard(name, modality, first_line(load), source, load, task=task.key)
        return load

    return decorator


class DatasetRow(NamedTuple):
    """A dataset that needs no code of its own.

    Attributes:
        name: as listed, and the first argument of the loader.
        description: one line.
        source: author and licence.
        options: default values of the loader's options that differ for this dataset.
    """

    name: str
    description: str
    source: str
    options: Mapping = {}


def register_datasets(
    modality: str, load: Callable[..., RawData], *rows: DatasetRow, task: type[Task] = Classification
) -> None:
    """Register a dataset for each row, all read by one loader and of one task."""
    for row in rows:
        loader = functools.partial(load, row.name, **row.options)
        DATASETS[row.name] = DatasetCard(row.name, modality, row.description, row.source, loader, task=task.key)


def register_detected(name: str, modalities: tuple[str, ...], source: str):
    """Register a function that detects the modality of a name's argument and returns the card to load it by."""

    def decorator(detect: Callable[[str], DatasetCard]) -> Callable[[str], DatasetCard]:
        def load(argument: str, **options) -> RawData:
            return detect(argument).load(argument, **options)

        DATASETS[name] = DatasetCard(name, ", ".join(modalities), first_line(detect), source, load, detect)
        return detect

    return decorator


def first_line(function: Callable) -> str:
    """Return the first line of a function's docstring."""
    return inspect.getdoc(function).splitlines()[0]
