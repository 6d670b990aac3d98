"""The mean of weights, and the statistics that fit it."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.nn.averaging import add, refresh_batch_norm


def test_the_mean_of_several_sets_of_weights():
    rng = np.random.default_rng(0)
    sets = [{"a": rng.normal(size=(3, 2)).astype("float32"), "b": rng.normal(size=4)} for _ in range(5)]
    average = {}
    for count, weights in enumerate(sets):
        average = add(average, count, weights)
    for path in ("a", "b"):
        np.testing.assert_allclose(average[path], np.mean([s[path] for s in sets], axis=0), rtol=1e-5)
    assert average["a"].dtype == np.float32


def test_the_first_set_is_copied():
    weight = np.zeros(3)
    average = add({}, 0, {"a": weight})
    weight += 1
    assert average["a"].tolist() == [0, 0, 0]


def normalised(momentum=0.9):
    """Return a network of one normalisation between two layers that change nothing."""
    x = keras.Input((3,))
    return keras.Model(x, keras.layers.BatchNormalization(momentum=momentum)(keras.layers.Identity()(x)))


def test_statistics_are_the_mean_over_all_batches():
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(size, 3)).astype("float32"), None) for size in (8, 8, 4)]
    model = normalised()
    refresh_batch_norm(model, batches)
    norm = model.layers[-1]
    inputs = np.concatenate([x for x, _ in batches])
    np.testing.assert_allclose(norm.moving_mean, inputs.mean(0), rtol=1e-4, atol=1e-6)
    variances = np.average([x.var(0) for x, _ in batches], axis=0, weights=(8, 8, 4))
    np.testing.assert_allclose(norm.moving_variance, variances, rtol=1e-4)
    assert norm.momentum == 0.9


def test_momentum_comes_back_when_the_batches_fail():
    def broken():
        yield np.zeros((2, 3), "float32"), None
        raise OSError("no more")

    model = normalised(0.7)
    with pytest.raises(OSError, match="no more"):
        refresh_batch_norm(model, broken())
    assert model.layers[-1].momentum == 0.7


def test_frozen_normalisations_keep_their_statistics():
    model = normalised()
    model.layers[-1].trainable = False
    refresh_batch_norm(model, [(np.ones((4, 3), "float32"), None)])
    np.testing.assert_array_equal(model.layers[-1].moving_mean, np.zeros(3))


def test_normalisations_within_a_model_in_a_model():
    x, inner = keras.Input((3,)), normalised()
    refresh_batch_norm(keras.Model(x, inner(x)), [(np.ones((4, 3), "float32"), None)])
    np.testing.assert_allclose(inner.layers[-1].moving_mean, np.ones(3))


@pytest.mark.slow
def test_spoilt_statistics_of_a_trained_network_are_found_again(digits):
    keras.utils.set_random_seed(0)
    model = kzoo.models.resnet8(digits.input_shape, 10, width=8, dialect="pytorch")
    kzoo.fit(model, digits, epochs=3, learning_rate=1e-2, verbose=False)
    before = kzoo.evaluate(model, digits).accuracy
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(layer.moving_mean + 3)
            layer.moving_variance.assign(layer.moving_variance * 10)
    assert kzoo.evaluate(model, digits).accuracy < before - 0.2
    refresh_batch_norm(model, digits.train)
    assert kzoo.evaluate(model, digits).accuracy > before - 0.02
