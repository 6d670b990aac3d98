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
    data = kzoo.from_batches([(IMAGES[:8], np.array(labels))], PARTS, class_names=["dark", "light"])
    with pytest.raises(ValueError, match=message):
        next(iter(data.train))


def test_it_is_a_dataset_like_others():
    data = kzoo.from_batches(PARTS, PARTS)
    assert "<Splits batches: 40 train, 40 validation; input (6, 6, 3), 2 classes>" in repr(data)
    assert dataclasses.replace(data, seed=1).steps_per_epoch == 5
