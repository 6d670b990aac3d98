"""Batch normalisation in one operation: what Keras computes, and gone when the training is over."""

import contextlib
import importlib

import keras
import numpy as np
import pytest

import kzoo
from kzoo.data.image import ImagePreprocess
from kzoo.data.splits import Examples, Splits
from kzoo.tasks import Classification

fused = importlib.import_module("kzoo.nn.fused")
tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an operation of TensorFlow")

SHAPES = [(7, 6), (7, 5, 6), (7, 5, 4, 6), (1, 1, 1, 6)]


def trained_once(layer, inputs, upstream):
    """Return the output, the gradients and the statistics after one call in training."""
    inputs = tf.Variable(inputs)
    with tf.GradientTape() as tape:
        outputs = layer(inputs, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, "float32") * upstream)
    gradients = tape.gradient(loss, [inputs, *(variable.value for variable in layer.trainable_variables)])
    return [np.asarray(part, "float32") for part in (outputs, *gradients, *layer.non_trainable_variables)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"scale": False}, {"center": False}, {"momentum": 0.5, "epsilon": 0.1}], ids=str
)
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_it_computes_what_keras_computes(shape, options, precision, monkeypatch):
    random = np.random.default_rng(0)
    inputs = (3 * random.normal(size=shape) + 2).astype("float32")
    upstream = random.normal(size=shape).astype("float32")
    calls, one = [], fused.fused
    monkeypatch.setattr(fused, "fused", lambda layer, inputs: calls.append(layer) or one(layer, inputs))
    found = []
    for way in (lambda model: contextlib.nullcontext(), fused.batch_normalisation):
        layer = keras.layers.BatchNormalization(**options, dtype=precision)
        layer.build(shape)
        for place, variable in enumerate(layer.weights):
            variable.assign(np.linspace(0.5, 1.5 + place, 6))
        with way(keras.Sequential([layer])):
            found.append(trained_once(layer, inputs, upstream))
    assert calls == [layer]
    # One value of bfloat16 is about 4e-3 of it; a channel of a single value is divided by the root of epsilon.
    tolerance = 0.03 if precision == "mixed_bfloat16" else 1e-4
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=tolerance)


@pytest.fixture
def image_splits():
    """Return 89 images in batches of 32: the last one is not full."""
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (89, 8, 8, 1), dtype="uint8"), np.arange(89, dtype="int32") % 2
    examples = Examples(images, labels)
    parts = {"train": examples, "validation": examples.take(np.arange(9)), "test": examples.take(np.arange(9))}
    return Splits("noise", "image", parts, Classification(("no", "yes")), ImagePreprocess.fit(examples), batch_size=32)


def test_the_training_uses_it_and_leaves_the_layers_as_they_were(image_splits, monkeypatch):
    calls, one = [], fused.fused
    monkeypatch.setattr(fused, "fused", lambda layer, inputs: calls.append(layer.name) or one(layer, inputs))
    model = kzoo.models.resnet8(image_splits.input_shape, 2)
    kzoo.fit(model, image_splits, epochs=2, verbose=False)
    norms = [layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert set(calls) == set(norms)
    assert not [layer.name for layer in model.layers if "call" in vars(layer)]


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.BatchNormalization(renorm=True),
        keras.layers.BatchNormalization(axis=1),
        keras.layers.BatchNormalization(trainable=False),
        keras.layers.BatchNormalization(dtype="float64"),
    ],
    ids=["renorm", "axis", "frozen", "float64"],
)
def test_what_it_cannot_do_is_left_to_keras(layer, monkeypatch):
    monkeypatch.setattr(fused, "fused", lambda layer, inputs: pytest.fail("computed at once"))
    inputs = np.random.default_rng(0).normal(size=(5, 4, 3))
    expected = layer(inputs, training=False)
    with fused.batch_normalisation(keras.Sequential([layer])):
        np.testing.assert_array_equal(layer(inputs, training=False), expected)
        layer(inputs, training=True)
