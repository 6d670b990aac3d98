"""Saving: what `fit` leaves on a model is saved by Keras, and loaded in a process that only imports kzoo."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from networks import random_batch, smallest_working

import kzoo
from kzoo.training.registration import MODULES

PACKAGE = Path(kzoo.__file__).parent
OWN_LAYERS = ("airbench94", "filter_bank", "hog_svm", "mfcc_svm", "minirocket", "nearest_neighbour", "sinc_filters")
OWN_LAYERS += ("tfidf", "nfnet_f0", "resnetv2_50x1_bit", "h_inceptiontime", "hydra")
LOAD = """
import sys
from pathlib import Path
import {}
import numpy as np
for path in sorted(Path(sys.argv[1]).glob("*.keras")):
    model = keras.models.load_model(path, compile={})
    outputs = model(np.load(path.with_suffix(".input.npy")), training=False)
    np.save(path.with_suffix(".found.npy"), keras.ops.convert_to_numpy(outputs))
    if model.compiled:
        print(type(model.loss).__name__, type(model.optimizer).__name__, int(model.optimizer.iterations))
"""


def keep(model: keras.Model, folder: Path, inputs: np.ndarray) -> None:
    """Save a model with an input and its outputs."""
    path = folder / f"{len(list(folder.glob('*.keras'))):04d}_{model.name}.keras"
    model.save(path)
    np.save(path.with_suffix(".input.npy"), inputs)
    np.save(path.with_suffix(".expected.npy"), keras.ops.convert_to_numpy(model(inputs, training=False)))


def loaded_elsewhere(folder: Path, imports: str = "kzoo, keras", compile: bool = True) -> str:
    """Load all saved models in a new process, compare their outputs, and return what it printed."""
    command = [sys.executable, "-c", LOAD.format(imports, compile), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    errors = {}
    for path in folder.glob("*.expected.npy"):
        expected, found = np.load(path), np.load(str(path).replace("expected", "found"))
        errors[path.name] = np.abs(found - expected).max() / max(np.abs(expected).max(), 1)
    assert max(errors.values()) < 1e-5, {name: error for name, error in errors.items() if error >= 1e-5}
    return result.stdout


@pytest.fixture(scope="module")
def fitted(digits):
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("convnet", digits.input_shape, 10, filters=(8,), padding="same", dropout=0.0)
    options = {"optimizer": "muon", "weight_decay": 0.1, "label_smoothing": 0.1, "class_weights": "balanced"}
    kzoo.fit(model, digits, epochs=2, verbose=False, **options)
    return model


def test_a_fitted_model_is_loaded_compiled_where_kzoo_is_imported(fitted, digits, tmp_path):
    keep(fitted, tmp_path, next(digits.test.as_numpy_iterator())[0])
    steps = 2 * digits.steps_per_epoch
    assert loaded_elsewhere(tmp_path) == f"ClassificationLoss ConvMuon {steps}\n"


def test_a_fitted_model_is_loaded_as_a_network_where_kzoo_is_not(fitted, digits, tmp_path):
    keep(fitted, tmp_path, next(digits.test.as_numpy_iterator())[0])
    loaded_elsewhere(tmp_path, "keras", compile=False)


def test_training_continues_after_loading_as_without(fitted, digits, tmp_path):
    fitted.save(tmp_path / "model.keras")
    inputs, labels = next(digits.train_batches().as_numpy_iterator())
    loaded = keras.models.load_model(tmp_path / "model.keras")  # Keras saves no seeds of dropout, so there is none
    before = loaded.get_weights()
    for model in (fitted, loaded):
        model.optimizer.iterations.assign(10)  # a step of the schedule at which the learning rate is not 0
        model.fit(inputs, labels, epochs=2, verbose=0, shuffle=False)
    for ours, theirs in zip(loaded.get_weights(), fitted.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert any(np.abs(ours - old).max() > 1e-3 for ours, old in zip(loaded.get_weights(), before, strict=True))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports through TensorFlow")
def test_a_fitted_model_is_exported_as_keras_in_the_same_process(fitted, digits, tmp_path):
    exported = kzoo.export(fitted, tmp_path / "model.keras", data=digits, format="keras")
    assert exported.max_difference < 1e-5


@pytest.mark.parametrize("names", [OWN_LAYERS, pytest.param(kzoo.list_models(), marks=pytest.mark.slow)])
@pytest.mark.slow
def test_networks_are_loaded_where_only_kzoo_and_keras_are_imported(names, tmp_path):
    for name in names:
        model = smallest_working(name, kzoo.model_card(name).dims[-1])
        keep(model, tmp_path, random_batch(model))
        keras.backend.clear_session()
    loaded_elsewhere(tmp_path)


def test_every_module_that_registers_an_object_is_imported_with_keras():
    registering = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if "@keras.saving.register_keras_serializable" in path.read_text()
    }
    assert registering
    assert {module for module in registering if not module.startswith(MODULES)} == set()


@pytest.mark.slow
@pytest.mark.parametrize("imports", ["import keras, kzoo", "import kzoo, keras"])
def test_the_order_of_the_imports_does_not_matter(imports):
    program = f"{imports}; import json; print(json.dumps(sorted(keras.saving.get_custom_objects())))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"kzoo>AdamW", "kzoo>ClassificationLoss", "kzoo>Schedule", "kzoo>HOG"} <= set(json.loads(result.stdout))
