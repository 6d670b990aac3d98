"""Hydra's layer against plain loops."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.nn.handcrafted import HydraFeatures


@pytest.mark.parametrize("channels", [1, 5])
def test_hydra_counts_the_winners_of_each_group(channels):
    series = np.random.default_rng(0).normal(size=(2, 30, channels)).astype("float32")
    layer = HydraFeatures(groups=4, kernels=3)
    features = keras.ops.convert_to_numpy(layer(series))
    kernels, used = (keras.ops.convert_to_numpy(weight) for weight in (layer.patterns, layer.channels))
    np.testing.assert_allclose(np.abs(kernels).sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(kernels.sum(axis=-1), 0, atol=1e-6)
    signal = np.pad(np.diff(series[0], axis=0) @ used[1, 1, 0], 8)  # of the second dilation, 2; the first group
    responses = [[kernel @ signal[step : step + 17 : 2] for kernel in kernels[1, 1, 0]] for step in range(29)]
    largest, smallest = np.argmax(responses, axis=1), np.argmin(responses, axis=1)
    at = (2 + 1) * 12  # after both of dilation 1 and the series at dilation 2
    counts = [np.sum(np.max(responses, axis=1)[largest == kernel]) for kernel in range(3)]
    np.testing.assert_allclose(features[0, at : at + 3], counts, rtol=1e-4)
    np.testing.assert_allclose(features[0, at + 6 : at + 9], [np.sum(smallest == kernel) for kernel in range(3)])


def test_series_that_are_too_short_are_explained():
    with pytest.raises(ValueError, match=r"the smallest that works is \(10, 1\)"):
        kzoo.models.hydra((8, 1), 2)
