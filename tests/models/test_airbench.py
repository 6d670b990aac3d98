"""Whitening layer of airbench: its fit to the training inputs, and that a run saves it."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.nn.handcrafted import WhitenedConv


@pytest.mark.parametrize("shape", [(40, 2), (9, 9, 1)])
def test_outputs_are_uncorrelated_and_of_equal_variance(shape):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(500, *shape)).cumsum(axis=1).astype("float32")
    layer = WhitenedConv(kernel=2, least=0.0)
    layer.build((None, *shape))
    layer.adapt(inputs)
    outputs = keras.ops.convert_to_numpy(layer(inputs))
    assert outputs.shape == layer.compute_output_shape(inputs.shape)
    half = outputs.shape[-1] // 2
    covariance = np.cov(outputs.reshape(-1, 2 * half)[:, :half], rowvar=False)
    np.testing.assert_allclose(covariance, np.eye(half), atol=1e-2)
    np.testing.assert_allclose(outputs[..., half:], -outputs[..., :half], rtol=1e-4, atol=1e-4)


def test_the_filters_do_not_depend_on_the_order_of_the_classes():
    """Files are often sorted by class: the first 5,000 of these images hardly vary, the last do."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(6000, 4, 4, 1)) * np.repeat([0.1, 1.0], [5500, 500])[:, None, None, None]
    layer, other = WhitenedConv(kernel=2), WhitenedConv(kernel=2)
    variances = []
    for whitened, seed in ((layer, 0), (other, 1)):
        whitened.build((None, 4, 4, 1))
        whitened.adapt(inputs.astype("float32"), seed=seed)
        variances.append(np.var(whitened(inputs.astype("float32"))))
    assert variances == pytest.approx([1, 1], rel=0.1)
    assert variances[0] != variances[1]  # another sample


def test_fit_sets_the_whitening_filters_and_a_run_saves_them(tmp_path):
    model = kzoo.models.airbench94((16, 16, 1), 10, widths=(8, 8))
    digits = kzoo.load_dataset("digits", image_size=16, batch_size=128)
    before = np.array(model.get_layer("stem.conv1").kernel)
    kzoo.fit(model, digits, epochs=1, run_dir=tmp_path, verbose=False)
    after = np.array(model.get_layer("stem.conv1").kernel)
    assert np.abs(before - after).max() > 0.1
    loaded, _ = kzoo.load_run(tmp_path)
    np.testing.assert_array_equal(loaded.get_layer("stem.conv1").kernel, after)
