"""1-D and 2-D networks agree: on images of one column, the 2-D network equals the 1-D network with its weights.

Checked for each model that takes both ranks, by equal logits.
"""

import math

import keras
import numpy as np
import pytest
from networks import narrow, sampled, share, smallest_working

import kzoo
from kzoo.nn.layers import along_first_axis

TWINS = [(name,) for name in kzoo.list_models() if kzoo.model_card(name).dims == (1, 2)]


@pytest.mark.parametrize("name", sampled(TWINS, share(3, 20)))
def test_a_signal_is_an_image_of_one_column(name, double_precision):
    signal_model = smallest_working(name, dim=1)
    length, channels = signal_model.input_shape[1:]
    with along_first_axis():
        image_model = kzoo.create_model(name, (length, 1, channels), num_classes=3, **narrow(name))
    signal = np.random.default_rng(0).normal(size=(4, length, channels))
    randomise(signal_model, signal)
    copy_weights(signal_model, image_model)
    logits, twin_logits = predict(signal_model, signal), predict(image_model, signal[:, :, None])
    twin_logits = twin_logits.reshape(logits.shape)  # those at each position have a column, too
    assert np.abs(twin_logits - logits).max() < 1e-5 * logits.std()
    assert logits.std(axis=0).max() > 1e-3 * logits.std()  # they depend on the signal, so that this was a test


@pytest.fixture
def double_precision():
    """Compute in float64: in float32 a deep network amplifies rounding errors beyond the tolerance."""
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def randomise(model: keras.Model, x: np.ndarray) -> None:
    """Draw random weights, and set the batch-norm statistics to those of `x`."""
    random = np.random.default_rng(1)
    for layer in model.layers:
        for weight in layer.trainable_weights:
            inputs = weight.shape[: -2 if isinstance(layer, keras.layers.DepthwiseConv1D) else -1]
            std = (2 / math.prod(inputs)) ** 0.5 if inputs else 0.5
            weight.assign(random.normal("gamma" in weight.path, std, weight.shape))
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(x, training=True)


def copy_weights(model: keras.Model, twin: keras.Model) -> None:
    """Copy weights by address, reshaped to those of the twin."""
    weights = {weight.path: weight for weight in model.weights}
    assert len(weights) == len(model.weights) == len(twin.weights)
    for weight in twin.weights:
        weight.assign(np.reshape(weights[weight.path], weight.shape))


def predict(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(x, training=False))
