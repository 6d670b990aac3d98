"""ModernTCN: its forecasts follow level and scale, and its parts are those of the paper."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.nn.grouped import GroupedDense

SMALL = {"depths": (1, 1), "filters": (4, 6), "kernels": (7, 7), "dropout": 0.0}


def series(length: int = 29, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, length, channels)).astype("float32")


def outputs(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(x, training=False))


def test_a_grouped_dense_layer_is_a_pointwise_grouped_convolution():
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 4)).astype("float32")
    layer, conv = GroupedDense(6), keras.layers.Conv1D(18, 1, groups=3)
    found, flat = keras.ops.convert_to_numpy(layer(x)), x.reshape(2, 5, 12)
    conv.build(flat.shape)
    kernel, bias = map(keras.ops.convert_to_numpy, (layer.kernel, layer.bias))
    conv.set_weights([kernel.transpose(1, 0, 2).reshape(1, 4, 18), bias.reshape(18)])
    np.testing.assert_allclose(found.reshape(2, 5, 18), keras.ops.convert_to_numpy(conv(flat)), rtol=1e-4, atol=1e-5)


def test_forecasts_follow_the_level_and_the_scale_of_each_channel():
    model = kzoo.models.modern_tcn_forecaster((29, 3), 4 * 3, **SMALL)
    x, scale, level = series(), np.array([1.0, 10.0, 0.5]), np.array([0.0, -3.0, 7.0])
    low, high = (outputs(model, part.astype("float32")).reshape(5, 4, 3) for part in (x, x * scale + level))
    np.testing.assert_allclose(high, low * scale + level, rtol=1e-3, atol=1e-3)


def test_positions_are_a_stride_apart_and_the_last_value_is_repeated():
    model = kzoo.models.modern_tcn((29, 3), 2, features=("stage1", "stage2"), **SMALL)
    assert [tuple(maps.shape[1:]) for maps in model.outputs] == [(7, 3, 4), (4, 3, 6)]


def test_channels_are_joined_by_the_second_feed_forward_part_alone():
    model = kzoo.models.modern_tcn((29, 3), 2, features=("stage1",), **SMALL)
    x = series()
    other = x.copy()
    other[..., 1] += 1.0
    for layer in model.layers:
        if ".channels.dense2" in layer.name:
            layer.kernel.assign(np.zeros(layer.kernel.shape))
    changed = np.abs(outputs(model, x) - outputs(model, other)).max(axis=(0, 1, 3))
    assert changed[1] > 1e-3 > changed[0]


def test_the_small_kernel_is_folded_into_the_large_one():
    model = kzoo.models.modern_tcn((29, 3), 2, **SMALL)
    folded = kzoo.reparameterize(model)
    assert len(folded.weights) < len(model.weights)
    np.testing.assert_allclose(outputs(folded, series()), outputs(model, series()), rtol=1e-3, atol=1e-4)


def test_outputs_are_a_multiple_of_the_channels():
    with pytest.raises(ValueError, match="modern_tcn_forecaster forecasts each of the 3 channels: num_classes must be"):
        kzoo.models.modern_tcn_forecaster((29, 3), 4, **SMALL)
    with pytest.raises(ValueError, match=r"too small for modern_tcn; the smallest that works is \(4, 1\)"):
        kzoo.models.modern_tcn((2, 1), 4, **SMALL)
