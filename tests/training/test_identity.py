"""Identity of a training: what changes it, and what does not."""

import json

import keras
import numpy as np
import pytest

import kzoo
from kzoo.training.checkpoint import differences
from kzoo.training.identity import hash_of_array, identity


def recorded(model, data):
    return json.loads(json.dumps(identity(model, data, {})))


def own_network(activation="relu", kernel=3):
    """A network that is not of the zoo, with a network and operations inside."""
    inside = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, kernel, padding="same"),
            keras.layers.Activation(activation),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    x = keras.Input((8, 8, 1))
    y = inside(x)
    return keras.Model(x, y * 2 + keras.ops.relu(y))


class Subclassed(keras.Model):
    """A functional model whose class says nothing of its layers."""

    def __init__(self, units):
        x = keras.Input((8, 8, 1))
        super().__init__(x, keras.layers.Dense(10)(keras.layers.Dense(units)(keras.layers.Flatten()(x))))


@pytest.mark.parametrize("name", ["resnet8", "convnet", "mobilenetv2_100"])
def test_two_networks_of_one_name_are_the_same(digits, name):
    once, again = (kzoo.create_model(name, (32, 32, 1), 10) for _ in range(2))
    assert differences(recorded(once, digits), recorded(again, digits)) == []


def test_names_that_keras_counts_do_not_matter(digits):
    assert differences(recorded(own_network(), digits), recorded(own_network(), digits)) == []


@pytest.mark.parametrize("options", [{"activation": "tanh"}, {"kernel": 1}])
def test_a_layer_inside_a_network_matters(digits, options):
    found = differences(recorded(own_network(), digits), recorded(own_network(**options), digits))
    assert any(line.startswith("structure.sequential") for line in found)


def test_an_operation_matters(digits):
    def network(operation):
        x = keras.Input((8, 8, 1))
        return keras.Model(x, operation(keras.layers.Dense(10)(keras.layers.Flatten()(x))))

    double, triple = (recorded(network(lambda y, factor=factor: factor * y), digits) for factor in (2, 3))
    assert len(differences(double, triple)) == 1


def test_a_model_of_an_own_class_is_known_by_its_weights(digits):
    once, again, wider = (recorded(Subclassed(units), digits) for units in (4, 4, 5))
    assert differences(once, again) == []
    assert differences(once, wider)


@pytest.mark.parametrize(
    "one, other",
    [
        (np.zeros((3, 2), "uint8"), np.zeros((2, 3), "uint8")),
        (np.zeros(4, "uint8"), np.zeros(4, "int8")),
        (np.array(["ab", "c"], object), np.array(["a", "bc"], object)),
        (np.arange(2500), np.where(np.arange(2500) == 2499, 0, np.arange(2500))),
    ],
)
def test_arrays_of_other_shape_type_or_content_have_other_hashes(one, other):
    assert hash_of_array(one) == hash_of_array(one.copy())
    assert hash_of_array(one) != hash_of_array(other)
