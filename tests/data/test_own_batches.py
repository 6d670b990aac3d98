"""Batches of the user's own: what they may be, fit, evaluate and export on them, and what is said of bad ones."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import kzoo
from kzoo.data.image import ImagePreprocess

pytestmark = pytest.mark.filterwarnings("ignore:batches. a training that resumes")

RNG = np.random.default_rng(0)
LABELS = np.arange(40) % 2
IMAGES = (RNG.uniform(0, 1, (40, 6, 6, 3)) + LABELS[:, None, None, None]).astype("float32")
PARTS = [(IMAGES[start : start + 8], LABELS[start : start + 8]) for start in range(0, 40, 8)]


class Indexed(keras.utils.PyDataset):
    def __init__(self):
        super().__init__()

    def __len__(self):
        return len(PARTS)

    def __getitem__(self, index):
        return PARTS[index]


class Tensor:
    """Stand for a tensor of PyTorch."""

    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    def cpu(self):
        return self.array


class Loader:
    """Stand for a `DataLoader` of PyTorch, with its channels first."""

    def __len__(self):
        return len(PARTS)

    def __iter__(self):
        return ((Tensor(np.moveaxis(x, -1, 1)), Tensor(y)) for x, y in PARTS)


def generate():
    yield from PARTS


SOURCES = {
    "tf.data": lambda: tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(8),
    "PyDataset": Indexed,
    "DataLoader": Loader,
    "list": lambda: PARTS,
    "function": lambda: generate,
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.filterwarnings("ignore:.*is read with channels first")
def test_what_batches_may_be(kind):
    data = kzoo.from_batches(SOURCES[kind](), SOURCES[kind](), class_names=["dark", "light"])
    assert (data.modality, data.input_shape, data.steps_per_epoch, data.batch_size) == ("image", (6, 6, 3), 5, 8)
    inputs, labels = zip(*data.validation, strict=True)
    np.testing.assert_array_equal(np.concatenate(inputs), IMAGES)
    np.testing.assert_array_equal(np.concatenate(labels), LABELS)
    resumed = [labels for _, labels in data.train_batches(8).take(4)]
    assert [part.tolist() for part in resumed] == [PARTS[index][1].tolist() for index in (3, 4, 0, 1)]


def test_fit_evaluate_and_export(tmp_path):
    keras.utils.set_random_seed(0)
    pipeline = tf.data.Dataset.from_tensor_slices((IMAGES, tf.one_hot(LABELS, 2)))
    shuffled = pipeline.shuffle(40, reshuffle_each_iteration=True).batch(8)
    with pytest.warns(UserWarning, match="batches: a training that resumes within an epoch sees other batches, and"):
        data = kzoo.from_batches(shuffled, pipeline.batch(8), shuffled, class_names=["dark", "light"])
    model = kzoo.models.mlp(data.input_shape, data.num_classes)
    options = {"epochs": 12, "learning_rate": 2e-2, "class_weights": "balanced", "verbose": False}
    history = kzoo.fit(model, data, **options, run_dir=tmp_path / "run")
    assert max(history["val_accuracy"]) > 0.8
    report = kzoo.evaluate(model, data, run_dir=tmp_path / "run")
    assert report.accuracy == pytest.approx(max(history["val_accuracy"]))  # of the same examples, in another order
    assert report.examples == 40
    assert kzoo.fit(model, data, **options, run_dir=tmp_path / "run") == history  # complete: nothing is trained
    assert kzoo.export(model, tmp_path / "model", data=data).max_difference < 1e-4


def test_mistakes_beyond_the_kept_examples_have_no_picture(tmp_path):
    data = kzoo.from_batches(PARTS, PARTS, PARTS)
    report = kzoo.evaluate(kzoo.models.mlp(data.input_shape, 2), data, run_dir=tmp_path)
    assert any(mistake.example >= 16 for mistake in report.mistakes)
    assert (tmp_path / "mistakes.png").exists()


def test_a_preprocessing_of_kzoo_is_applied(digits):
    raw = digits.examples["train"]
    parts = [(raw.inputs[start : start + 32], raw.labels[start : start + 32]) for start in (0, 32)]
    data = kzoo.from_batches(parts, class_names=digits.class_names, preprocess=digits.preprocess)
    np.testing.assert_array_equal(next(iter(data.train))[0], digits.preprocess(parts[0][0]))
    names = [(x, np.array([digits.class_names[label] for label in y])) for x, y in parts]
    named = kzoo.from_batches(names, class_names=digits.class_names, preprocess=digits.preprocess)
    assert next(iter(named.train))[1].tolist() == parts[0][1].tolist()


def test_classes_and_validation_may_be_left_out():
    data = kzoo.from_batches(PARTS)
    assert data.class_names == ("0", "1")
    assert data.examples["validation"] is data.examples["train"]
    assert isinstance(data.preprocess, ImagePreprocess)
    with pytest.raises(ValueError, match="batches has no test split"):
        kzoo.evaluate(kzoo.models.mlp(data.input_shape, 2), data)
    endless = tf.data.Dataset.from_tensors(PARTS[0]).repeat()
    assert kzoo.from_batches(endless, PARTS, steps_per_epoch=3).steps_per_epoch == 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"train": generate()}, "train is a generator, which can be read only once; give the function that makes it"),
        ({"train": 3}, "train must be batches: a tf.data.Dataset, .* got int"),
        ({"train": []}, "train has no batches"),
        ({"train": [IMAGES]}, r"batches of train must be pairs \(inputs, labels\), got a ndarray"),
        ({"train": [(IMAGES, LABELS, LABELS)]}, r"must be pairs \(inputs, labels\), got a tuple of 3"),
        ({"train": [{"x": IMAGES}]}, r"must be pairs \(inputs, labels\), got a dict"),
        ({"train": [(IMAGES, LABELS[:3])]}, "a batch of train has 40 inputs but 3 labels"),
        ({"train": [(IMAGES[:, 0, 0], LABELS)]}, r"shape \(40, 3\) need preprocess="),
        ({"modality": "timeseries"}, r"inputs of shape \(8, 6, 6, 3\) are no timeseries data"),
        ({"modality": "video"}, "unknown modality of batches 'video'"),
        ({"train": tf.data.Dataset.from_tensors(PARTS[0]).repeat()}, "train has no end; give steps_per_epoch"),
    ],
)
def test_mistakes_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        kzoo.from_batches(**{"train": PARTS} | arguments)


@pytest.mark.parametrize(
    "labels, message", [([5] * 8, "has the label 5, expected 0 to 1"), (["cow"] * 8, "class 'cow'")]
)
def test_unknown_labels_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        kzoo.from_batches([(IMAGES[:8], np.array(labels))], PARTS, class_names=["dark", "light"])


def test_it_is_a_dataset_like_others():
    data = kzoo.from_batches(PARTS, PARTS)
    assert "<Splits batches: 40 train, 40 validation; input (6, 6, 3), 2 classes>" in repr(data)
    assert dataclasses.replace(data, seed=1).steps_per_epoch == 5


SERIES = RNG.normal(size=(40, 12, 2)).astype("float32")
NUMBERS = np.stack([SERIES[..., 0].max(axis=1), 100 * SERIES[..., 1].mean(axis=1)], axis=1)
TAGS = (np.median(NUMBERS, axis=0) < NUMBERS).astype(int)
STEPS = np.where(SERIES[..., 0] > 0, 1, 0)
OF_TASKS = {  # inputs, targets, options, a network
    "tagging": (SERIES, TAGS, {"class_names": ["high", "wide"]}, "fcn"),
    "regression": (SERIES, NUMBERS, {"class_names": ["peak", "mean"], "quantiles": [0.1, 0.5, 0.9]}, "fcn"),
    "step_classification": (SERIES, STEPS, {}, "fcn"),
    "step_tagging": (SERIES, np.stack([STEPS, 1 - STEPS], axis=2), {}, "fcn"),
    "segmentation": (IMAGES, (IMAGES[..., 0] > 1).astype(int), {"class_names": ["low", "high"]}, "fcn"),
    "restoration": (SERIES, 3 * SERIES, {}, "fcn"),
}


def divided(inputs, targets) -> list[tuple]:
    return [(inputs[start : start + 8], targets[start : start + 8]) for start in range(0, 40, 8)]


def own(task, inputs, targets, validation=None, **options):
    parts = divided(inputs, targets)
    return kzoo.from_batches(parts, validation or parts, parts, task=task, **options)


@pytest.mark.parametrize("task", OF_TASKS)
def test_batches_of_a_task_are_those_of_arrays(task):
    inputs, targets, options, _ = OF_TASKS[task]
    data = own(task, inputs, targets, **options)
    pairs = {"validation": (inputs, targets), "test": (inputs, targets)}
    arrays = kzoo.from_arrays(inputs, targets, task=task, batch_size=8, **pairs, **options)
    assert data.task == arrays.task
    for (_, found), (_, expected) in zip(data.validation, arrays.validation.as_numpy_iterator(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(data.examples["test"].labels), arrays.examples["test"].labels)


@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=() if task == "tagging" else pytest.mark.slow) for task in OF_TASKS]
)
def test_a_network_is_trained_on_batches_of_a_task(task, tmp_path):
    inputs, targets, options, name = OF_TASKS[task]
    data = own(task, inputs, targets, **options)
    small = {"filters": (4,), "kernels": (3,), "head": data.task.head}
    model = kzoo.create_model(name, data.input_shape, data.num_outputs, **small)
    kzoo.fit(model, data, epochs=1, run_dir=tmp_path / "run", verbose=False)
    report = kzoo.evaluate(model, data, run_dir=tmp_path / "run")
    assert (report.examples, report.task.key) == (40, task)
    _, serving = kzoo.load_run(tmp_path / "run")
    assert serving.task.key == task
    assert serving.task.names == data.task.names


@pytest.mark.parametrize(
    "task, targets, options, message",
    [
        ("tagging", 2 * TAGS, {}, "of the train split has 2 for '0', expected 0 or 1"),
        ("tagging", TAGS[:, :1] * 0, {}, "no training example has the tag '0'"),
        ("tagging", LABELS, {}, "example 0 of the train split has 0; expected a row of 0 and 1"),
        ("regression", np.where(NUMBERS.min() < NUMBERS, NUMBERS, np.nan), {}, "expected a number; leave the example"),
        ("step_classification", STEPS[:, :5], {}, "the train split has targets at 5 positions, but inputs of 12"),
        ("taging", TAGS, {}, "unknown task 'taging'; did you mean tagging"),
        ("tagging", TAGS, {"quantiles": [0.5]}, "unknown option of batches for tagging, 'quantiles'"),
        ("transcription", TAGS, {}, "transcripts are given to kzoo.from_arrays"),
    ],
)
def test_targets_of_another_kind_are_refused(task, targets, options, message):
    with pytest.raises(ValueError, match=message):
        own(task, SERIES, targets, **options)


def test_bad_targets_of_a_later_batch_are_named():
    wrong = TAGS.copy()
    wrong[33, 1] = 7
    data = own("tagging", SERIES, TAGS, validation=divided(SERIES, wrong), class_names=["high", "wide"])
    with pytest.raises(ValueError, match="example 1 of a batch of validation has 7 for 'wide', expected 0 or 1"):
        list(data.validation)


def test_a_batch_without_a_known_number_is_fine():
    numbers = NUMBERS.copy()
    numbers[8:16] = np.nan
    data = own("regression", SERIES, numbers, masked=True)
    assert np.isnan(list(data.validation)[1][1]).all()
