"""Equal to keras.applications in every logit: random weights and statistics through a file, by the door of users."""

import contextlib
import sys

import keras
import numpy as np
import pytest

import kzoo
from kzoo.zoo.applications import APPLICATIONS

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4  # of the logits' standard deviation


def randomise(model: keras.Model, images: np.ndarray) -> None:
    """Leave no weight or statistic at a default that would hide a mistake; kernels are random already.

    The statistics are near those of the images, or nothing of them would reach the logits.
    """
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:  # as in the published files, by its effect
            mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
            layer.set_weights([mean, std**2, *layer.get_weights()[2:]])
            layer.finalize_state()
            continue
        layer.momentum, layer.rate = 0.0, 0.0  # take statistics as they are, and drop nothing meanwhile
        for weight in layer.weights:
            if weight.name == "gamma":
                weight.assign(generator.uniform(0.5, 1.5, weight.shape))
            elif len(weight.shape) == 1 and not weight.name.startswith("moving"):
                weight.assign(generator.normal(0, 0.1, weight.shape))
    model(images, training=True)
    for weight in model.weights:
        if weight.name in ("moving_mean", "moving_variance"):
            weight.assign(weight * generator.uniform(0.8, 1.25, weight.shape))


def sizes(name: str) -> tuple[int, ...]:
    """Return the reference size and, but for a network that ends in dense layers, an odd one."""
    size = APPLICATIONS[name].size
    if name.startswith("vgg"):
        return (size,)
    return (size, size - 33 if size % 2 == 0 else size - 38)


def photos(size: int) -> np.ndarray:
    """Return two images of random colours, so unlike that a good part of a logit is due to the image."""
    generator = np.random.default_rng(1)
    tints, noise = generator.uniform(0, 255, (2, 1, 1, 3)), generator.uniform(0, 255, (2, size, size, 3))
    return ((tints + noise) / 2).astype("float32")


def theirs_at(size: int, name: str, weights=None) -> keras.Model:
    """Return the network of keras.applications for images of this size."""
    application = APPLICATIONS[name]
    builder = getattr(keras.applications, application.builder)
    return builder(input_shape=(size, size, 3), weights=weights, classifier_activation=None, **application.arguments)


@contextlib.contextmanager
def double_precision():
    """Build and run Keras models in float64, but for our logits."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def preprocess(name: str, raw: np.ndarray) -> np.ndarray:
    """Prepare images as keras.applications says for this network."""
    return sys.modules[getattr(keras.applications, APPLICATIONS[name].builder).__module__].preprocess_input(raw.copy())


def prepared(theirs: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return what their first convolution is given, but for padding: images may be prepared inside the network."""
    inside = [part for part in theirs.layers if isinstance(part, (keras.layers.Rescaling, keras.layers.Normalization))]
    return np.asarray(keras.Model(theirs.input, inside[-1].output)(images)) if inside else images


def relative_difference(name: str, size: int, file) -> float:
    """Return the largest difference between two logits, in standard deviations of the logits."""
    application = APPLICATIONS[name]
    theirs = theirs_at(size, name, file)
    ours = kzoo.create_model(name, (size, size, 3), 1000, weights="keras/imagenet", **application.hyperparameters)
    raw = photos(size)
    images = preprocess(name, raw)
    inputs = prepared(theirs, images)[..., :: -1 if application.pixels.blue_first else 1]
    expected_inputs = (raw - application.pixels.mean) / application.pixels.std
    np.testing.assert_allclose(inputs, expected_inputs, atol=1e-5 * expected_inputs.std())
    expected = np.asarray(theirs(images, training=False))
    assert (expected[0] - expected[1]).std() > 0.05 * expected.std()
    return np.abs(np.asarray(ours(inputs, training=False)) - expected).max() / expected.std()


@pytest.mark.parametrize("name", APPLICATIONS)
def test_logits_equal_those_of_keras_applications(name, tmp_path, monkeypatch, seen):
    keras.utils.set_random_seed(0)
    file, theirs = tmp_path / "weights.h5", theirs_at(APPLICATIONS[name].size, name)
    randomise(theirs, preprocess(name, photos(APPLICATIONS[name].size)))
    theirs.save(file)
    monkeypatch.setattr(sys.modules[keras.utils.get_file.__module__], "get_file", lambda *args, **kwargs: str(file))
    for size in sizes(name):
        difference, precision = relative_difference(name, size, file), "float32"
        if difference >= TOLERANCE:  # the deepest amplify float32's rounding, as with timm
            with double_precision():
                difference, precision = relative_difference(name, size, file), "float64"
        seen("keras.applications", name, size, difference, precision)
        assert difference < TOLERANCE
