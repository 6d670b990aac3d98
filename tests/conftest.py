"""Quiet TensorFlow's start-up log (set before any test module imports it), and say where the shared data lie."""

import gc
import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
if workers > 1:  # each its share of the cores: threads that wait for each other took an eighth of the time
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, str(max(os.cpu_count() // workers, 1)))
gc.set_threshold(50_000, 20, 100)  # Keras leaves so many objects that looking for cycles takes a tenth of the time

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data beside the checkout; skip where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the shared data are not on this machine")
    return SHARED / "data"


@pytest.fixture(scope="session")
def digits():
    """The digits in batches of 32."""
    import kzoo

    return kzoo.load_dataset("digits", batch_size=32)


@pytest.fixture(scope="session")
def run(digits, tmp_path_factory) -> Path:
    """A run folder of a network that was trained on the digits for three epochs."""
    import keras

    import kzoo

    folder = tmp_path_factory.mktemp("runs") / "digits"
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("convnet", digits.input_shape, digits.num_classes, padding="same", dropout=0.0)
    kzoo.fit(model, digits, epochs=3, learning_rate=3e-3, run_dir=folder, verbose=False)
    kzoo.evaluate(model, digits, run_dir=folder)
    return folder
