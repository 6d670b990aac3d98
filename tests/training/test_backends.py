"""The JAX and PyTorch backends: training on every modality, and the use of what they trained on TensorFlow.

Run as a program (`main`), this file is what the process with another backend does.
"""

import functools
import importlib.util
import json
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
from small_data import AUGMENT, NETWORKS, small_model, small_splits

import kzoo
from kzoo.data.batches import shuffled_indices

BACKENDS = [
    pytest.param(
        backend,
        marks=[pytest.mark.skipif(not importlib.util.find_spec(backend), reason=f"{backend} is not here"), *marks],
    )
    for backend, marks in (("jax", []), ("torch", [pytest.mark.slow]))
]


QUICK = ("image", "text")  # the other two with `-m slow`


class NoTensorFlow:
    """An import hook with which TensorFlow cannot be imported."""

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name.split(".")[0] == "tensorflow" else None

    def create_module(self, spec):
        raise ImportError("no TensorFlow here")

    def exec_module(self, module):
        pass


def main(folder: Path, *, everything: bool) -> None:
    """Train on each modality and write run directories, reports, batches and logits.

    What is neither augmented nor text is trained and evaluated first, where TensorFlow cannot be imported. Without
    `everything` the networks are trained for images and text.
    """
    chosen = NETWORKS if everything else QUICK
    sys.meta_path.insert(0, hook := NoTensorFlow())
    with mock.patch("keras.callbacks.TensorBoard", return_value=keras.callbacks.Callback()):  # it is TensorFlow's
        for modality in [modality for modality in chosen if modality != "text"]:
            train(folder, modality, "plain")
    assert "tensorflow" not in sys.modules
    sys.meta_path.remove(hook)
    train(folder, "text", "plain")
    for modality in chosen:
        train(folder, modality, "augmented", fit=everything or modality == "image")


def train(folder: Path, modality: str, name: str, *, fit: bool = True) -> None:
    """Write the batches of a dataset, and train a network on it and write what the tests compare."""
    data = small_splits(modality, AUGMENT[modality] if name == "augmented" else None)
    run = folder / modality / name
    run.parent.mkdir(exist_ok=True)
    batches = [part for batch in data.train_batches(3).take(4) for part in map(np.asarray, batch)]
    np.savez(run.with_suffix(".npz"), *batches)
    if fit:
        model = small_model(data)
        history = kzoo.fit(model, data, epochs=1, ema_momentum=0.5, run_dir=run, verbose=False)
        assert np.isfinite([*history["loss"], *history["val_loss"]]).all()
        assert np.isfinite(model.evaluate(data.train, verbose=0)).all()
        report = kzoo.evaluate(model, data)
        run.with_suffix(".json").write_text(json.dumps(report.to_dict()))
        np.save(run.with_suffix(".npy"), logits(model, data))


def logits(model, data):
    return model.predict(data.test, verbose=0)


def quick(*names):
    """Return the modalities as pytest parameters, all but those named marked as slow."""
    return [pytest.param(name, marks=() if name in names else pytest.mark.slow) for name in NETWORKS]


def in_backend(backend, *command):
    """Run Python with another backend."""
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-4000:]
    return found.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory, request):
    """Return a function that trains on all modalities with a backend, in one process, and returns its directory."""
    slow = "not slow" not in request.config.getoption("markexpr")

    @functools.cache
    def run(backend):
        folder = tmp_path_factory.mktemp(backend)
        in_backend(backend, __file__, str(folder), *["everything"] * slow)
        return folder

    return run


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("modality", quick("image", "text"))
@pytest.mark.parametrize("name", [pytest.param("plain", marks=pytest.mark.slow), "augmented"])
def test_what_another_backend_trained_on_is_what_tensorflow_trains_on(trained, backend, modality, name):
    """The same examples in the same order, augmented alike, across the boundary of an epoch."""
    data = small_splits(modality, AUGMENT[modality] if name == "augmented" else None)
    ours = [np.asarray(part) for batch in data.train_batches(3).take(4) for part in batch]
    with np.load(trained(backend) / modality / f"{name}.npz") as file:
        for index, part in enumerate(ours):
            assert file[f"arr_{index}"].dtype == part.dtype
            np.testing.assert_allclose(file[f"arr_{index}"], part, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("modality", quick("image", "text"))
def test_what_another_backend_trained_is_evaluated_on_tensorflow(trained, backend, modality):
    folder = trained(backend) / modality
    data = small_splits(modality)
    model, _ = kzoo.load_run(folder / "plain")
    theirs = keras.ops.softmax(np.load(folder / "plain.npy"))
    np.testing.assert_allclose(keras.ops.softmax(logits(model, data)), theirs, atol=1e-5)
    report = kzoo.evaluate(model, data)
    there = json.loads((folder / "plain.json").read_text())
    assert report.accuracy == there["accuracy"]
    assert report.loss == pytest.approx(there["loss"], abs=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("modality", quick("text"))
def test_what_another_backend_trained_is_exported_on_tensorflow(trained, backend, modality, tmp_path):
    model, serving = kzoo.load_run(trained(backend) / modality / "plain")
    assert kzoo.export(model, tmp_path / "saved", data=serving).max_difference < 1e-5


@pytest.mark.parametrize("count", [1, 2, 5, 1293, 60_000])
@pytest.mark.parametrize("seed, epoch", [(0, 0), (3, 1), (-1, 77), (2**40 + 5, 2)])
def test_the_order_without_tensorflow_is_that_of_tensorflow(count, seed, epoch):
    import tensorflow as tf

    pair = tf.constant([seed, epoch], tf.int64)
    expected = tf.random.experimental.stateless_shuffle(tf.range(count), seed=pair)
    np.testing.assert_array_equal(shuffled_indices(count, seed, epoch), expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "file",
    [
        "nn/test_layers.py",
        "models/test_models.py",
        "tasks/test_tasks.py",
        "tasks/test_transcription.py",
        "training/test_train.py",
    ],
)
@pytest.mark.slow
def test_the_core_passes_its_tests(backend, file):
    """All but the counts of parameters, which no backend changes and PyTorch takes an hour for."""
    options = ["-p", "no:cacheprovider", "-k", "not parameter_count"]
    in_backend(backend, "-m", "pytest", *options, str(Path(__file__).parents[1] / file))


if __name__ == "__main__":
    main(Path(sys.argv[1]), everything=sys.argv[2:] == ["everything"])
