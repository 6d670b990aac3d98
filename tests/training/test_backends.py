"""The other backends: they train networks of every modality, on arrays, and what they train is used on another one.

Run as a program (`main`), this file is what a process with another backend does.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import kzoo
from kzoo.data.audio.files import Recordings
from kzoo.data.batches import shuffled_places
from kzoo.data.splits import MODALITIES, Examples, Splits
from kzoo.data.timeseries import SeriesExamples

BACKENDS = [
    pytest.param(
        backend,
        marks=[pytest.mark.skipif(not importlib.util.find_spec(backend), reason=f"{backend} is not here"), *marks],
    )
    for backend, marks in (("jax", []), ("torch", [pytest.mark.slow]))
]
NETWORKS = {
    "image": ("resnet8", {}),
    "audio": ("convnet", {"filters": (4,), "padding": "same"}),
    "text": ("textcnn", {"filters": 8}),
    "timeseries": ("fcn", {"filters": (8, 8, 8)}),
}
AUGMENT = {
    "image": {"shift": 1, "rotation": 10, "mixup": 0.2},
    "audio": {"noise": 0.01, "time_mask": 4},
    "text": {"word_dropout": 0.1},
    "timeseries": {"jitter": 0.1, "scale": 0.1},
}
COUNT = 40


def raw(modality) -> Examples:
    """Return examples of two classes that are easy to tell apart."""
    random, labels = np.random.default_rng(0), np.arange(COUNT, dtype="int32") % 2
    if modality == "image":
        images = random.integers(0, 200, (COUNT, 8, 8, 3)) + 50 * labels[:, None, None, None]
        return Examples(images.astype("uint8"), labels)
    if modality == "audio":
        waves = 3000 * np.sin(np.arange(2000) * (0.05 + 0.1 * labels[:, None])) + random.normal(size=(COUNT, 2000))
        return Recordings(waves.astype("int16"), labels, 8000)
    if modality == "text":
        words = (("good", "fine", "nice"), ("bad", "poor", "ugly"))
        return Examples(np.array([" ".join(random.choice(words[label], 8)) for label in labels], object), labels)
    series = random.normal(size=(COUNT, 24, 2)) + labels[:, None, None]
    return SeriesExamples(series.astype("float32"), labels)


def small_splits(modality, augment=None) -> Splits:
    """Return them as a dataset: 5 batches of 8, and 10 examples to validate and test on."""
    examples, kind = raw(modality), MODALITIES[modality]
    few = examples.take(np.arange(10))
    preprocess = kind.preprocess.fit(examples)
    change = kind.augment(**augment) if augment else None
    change = change.prepared(preprocess) if hasattr(change, "prepared") else change
    splits = {"train": examples, "validation": few, "test": few}
    return Splits(modality, modality, splits, ("no", "yes"), preprocess, change, batch_size=8)


def small_model(splits):
    keras.utils.set_random_seed(0)
    name, hyperparameters = NETWORKS[splits.modality]
    shape, words = splits.input_shape, splits.vocab_size
    return kzoo.create_model(name, shape, splits.num_classes, vocab_size=words, **hyperparameters)


def main(folder, *modalities):
    """Train on each modality, without and with augmentation; leave run folders, batches and probabilities."""
    for modality in modalities:
        for name, augment in (("plain", None), ("augmented", AUGMENT[modality])):
            splits = small_splits(modality, augment)
            run = folder / modality / name
            model = small_model(splits)
            history = kzoo.fit(model, splits, epochs=1, run_dir=run, verbose=False)
            assert np.isfinite(history["loss"]).all()
            report = kzoo.evaluate(model, splits, run_dir=run)
            batches = [part for batch in splits.train_batches(3).take(4) for part in map(np.asarray, batch)]
            (folder / modality / f"{name}.json").write_text(json.dumps(report.to_dict()))
            np.savez(folder / modality / f"{name}.npz", *batches, logits=logits(model, splits))


def logits(model, splits):
    return model.predict(splits.test, verbose=0)


def in_backend(backend, *command):
    """Run Python with another backend."""
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-4000:]
    return found.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that trains on all modalities with a backend, once, and returns the folder."""
    folders = {}

    def train(backend):
        if backend not in folders:
            folders[backend] = tmp_path_factory.mktemp(backend)
            in_backend(backend, __file__, str(folders[backend]), *NETWORKS)
        return folders[backend]

    return train


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("modality", NETWORKS)
@pytest.mark.parametrize("name", ["plain", "augmented"])
def test_what_another_backend_trained_on_is_what_tensorflow_trains_on(trained, backend, modality, name):
    """The same examples in the same order, changed alike, over the boundary of an epoch."""
    splits = small_splits(modality, AUGMENT[modality] if name == "augmented" else None)
    ours = [np.asarray(part) for batch in splits.train_batches(3).take(4) for part in batch]
    with np.load(trained(backend) / modality / f"{name}.npz") as file:
        for place, part in enumerate(ours):
            assert file[f"arr_{place}"].dtype == part.dtype
            np.testing.assert_allclose(file[f"arr_{place}"], part, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("modality", NETWORKS)
def test_what_another_backend_trained_is_evaluated_and_exported_on_tensorflow(trained, backend, modality, tmp_path):
    folder = trained(backend) / modality
    splits = small_splits(modality)
    model, serving = kzoo.load_run(folder / "plain")
    with np.load(folder / "plain.npz") as file:
        theirs = keras.ops.softmax(file["logits"])
    np.testing.assert_allclose(keras.ops.softmax(logits(model, splits)), theirs, atol=1e-5)
    report = kzoo.evaluate(model, splits)
    there = json.loads((folder / "plain.json").read_text())
    assert report.accuracy == there["accuracy"]
    assert report.loss == pytest.approx(there["loss"], abs=1e-5)
    assert kzoo.export(model, tmp_path / "saved", data=serving).max_difference < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_tensorflow_is_in_the_path_of_arrays(backend):
    """What is neither augmented nor text is trained and validated on where TensorFlow cannot be imported."""
    program = """
import sys
from importlib.machinery import ModuleSpec
class Nowhere:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name.split(".")[0] == "tensorflow" else None
    def create_module(self, spec):
        raise ImportError("no TensorFlow here")
    def exec_module(self, module):
        pass
sys.meta_path.insert(0, Nowhere())
import numpy as np
from test_backends import small_model, small_splits
import kzoo
for modality in ("image", "audio", "timeseries"):
    splits = small_splits(modality)
    model = small_model(splits)
    assert np.isfinite(kzoo.fit(model, splits, epochs=2, verbose=False)["val_loss"]).all()
    assert kzoo.evaluate(model, splits).examples == 10
    assert model.evaluate(splits.train, verbose=0)
assert "tensorflow" not in sys.modules
"""
    in_backend(backend, "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{program}")


@pytest.mark.parametrize("count", [1, 2, 5, 1293, 60_000])
@pytest.mark.parametrize("seed, epoch", [(0, 0), (3, 1), (-1, 77), (2**40 + 5, 2)])
def test_the_order_without_tensorflow_is_that_of_tensorflow(count, seed, epoch):
    import tensorflow as tf

    pair = tf.constant([seed, epoch], tf.int64)
    expected = tf.random.experimental.stateless_shuffle(tf.range(count), seed=pair)
    np.testing.assert_array_equal(shuffled_places(count, seed, epoch), expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "file", ["nn/test_layers.py", "models/test_models.py", "tasks/test_tasks.py", "training/test_train.py"]
)
@pytest.mark.slow
def test_the_core_passes_its_tests(backend, file):
    """All but the counts of parameters, which no backend changes and PyTorch takes an hour for."""
    options = ["-p", "no:cacheprovider", "-k", "not parameter_count"]
    in_backend(backend, "-m", "pytest", *options, str(Path(__file__).parents[1] / file))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
