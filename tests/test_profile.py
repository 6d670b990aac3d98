"""The cost of a network, from its shapes, against what others counted or a sum by hand."""

import csv
from pathlib import Path

import keras
import pytest
from test_models import FAMILIES, sampled, weights_without_values

import kzoo
from kzoo.profile import layer_profiles, macs

# Multiplications of the networks of timm 1.0.31 with 1000 classes, as counted in PyTorch.
with (Path(__file__).parent / "macs.csv").open(newline="") as file:
    OF_TIMM = [(row["name"], int(row["size"]), int(row["macs"])) for row in csv.DictReader(file)]
# At the published input: MLPerf Tiny's benchmark models, and the series networks counted in aeon and tsai.
PUBLISHED = {
    "ds_cnn": 2_656_768,
    "resnet8": 12_501_632,
    "fcn": 39_475_456,
    "resnet_tsc": 75_043_456,
    "inceptiontime": 62_721_856,
    "lite": 1_484_764,
    "omniscale_cnn": 39_431_510,
    "time_cnn": 27_552,
}
BY_DEFAULT = {"resnet50", *FAMILIES}


@pytest.mark.parametrize("name, size, expected", sampled(OF_TIMM, BY_DEFAULT))
def test_multiplications_are_those_of_timm(name, size, expected):
    with weights_without_values():
        assert macs(kzoo.create_model(name, (size, size, 3), 1000)) == expected


@pytest.mark.parametrize("name", PUBLISHED)
def test_multiplications_are_the_published_ones(name):
    reference = kzoo.model_card(name).reference
    with weights_without_values():
        assert macs(kzoo.create_model(name, reference.input_shape, reference.num_classes)) == PUBLISHED[name]


def test_every_family_can_be_counted():
    for name in FAMILIES:
        reference = kzoo.model_card(name).reference
        with weights_without_values():
            model = kzoo.create_model(name, reference.input_shape, reference.num_classes)
            assert macs(model) > 0, name


def functional(*layers, shape=(8, 8, 2)) -> keras.Model:
    inputs = x = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    "layer, expected",
    [
        (keras.layers.Conv2D(6, 3, strides=2, padding="same", groups=2), 4 * 4 * 6 * 9),
        (keras.layers.Conv2D(6, (1, 5), dilation_rate=(1, 2), padding="same"), 64 * 6 * 5 * 2),
        (keras.layers.Conv2DTranspose(6, 3, strides=2, padding="same"), 64 * 9 * 2 * 6),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2, padding="valid"), 36 * 9 * 2 * 2),
        (keras.layers.SeparableConv2D(6, 3, depth_multiplier=2, padding="valid"), 36 * (9 * 2 * 2 + 4 * 6)),
        (keras.layers.Dense(6), 64 * 2 * 6),
        (keras.layers.BatchNormalization(), 0),
        (keras.layers.PReLU(), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_layers_against_a_sum_by_hand(layer, expected):
    (profile,) = layer_profiles(functional(layer))
    assert profile.macs == expected
    assert profile.params == layer.count_params()
    assert profile.type == type(layer).__name__


def test_a_token_costs_no_multiplication():
    model = kzoo.models.textcnn((20,), 3, vocab_size=50)
    profiles = {profile.name: profile for profile in layer_profiles(model)}
    assert (profiles["embedding"].macs, profiles["embedding"].params) == (0, 50 * 128)


def test_parameters_add_up():
    model = kzoo.models.resnet18((32, 32, 3), 10, width=8)
    assert sum(profile.params for profile in layer_profiles(model)) == model.count_params()
    assert layer_profiles(model)[-1].output_shape == (10,)


def test_a_layer_that_is_called_twice_is_computed_twice_and_stored_once():
    conv = keras.layers.Conv2D(2, 3, padding="same")
    first, second = layer_profiles(functional(conv, conv))
    assert first.macs == second.macs == 64 * 2 * 9 * 2
    assert (first.params, second.params) == (conv.count_params(), 0)


def test_models_inside_models_are_counted():
    models = [kzoo.models.lenet5((28, 28, 1), 10) for _ in range(2)]
    both = kzoo.ensemble(models)
    assert macs(both) == 2 * macs(models[0])
    assert any(profile.name == "lenet5_1/logits" for profile in layer_profiles(both))


def test_sequential_models_are_counted():
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    assert macs(model) == 64 * 3


def test_another_input_shape_is_counted_and_the_model_left_alone():
    model = kzoo.models.resnet18((None, None, 3), 10, width=8)
    fixed = kzoo.models.resnet18((64, 48, 3), 10, width=8)
    before = [weight.path for weight in model.weights]
    assert macs(model, (64, 48, 3)) == macs(fixed) == macs(kzoo.models.resnet18((32, 32, 3), 10, width=8), (64, 48, 3))
    assert [weight.path for weight in model.weights] == before
    assert model.input_shape == (None, None, None, 3)


def test_what_cannot_be_counted_is_said():
    model = functional(keras.layers.LSTM(4, name="memory"), keras.layers.Dense(2), shape=(8, 2))
    assert [profile.macs for profile in layer_profiles(model)] == [None, 8]
    with pytest.raises(ValueError, match=r"cannot count the multiplications of memory \(LSTM\)"):
        macs(model)
    inputs = keras.Input((8, 2))
    attention = keras.Model(inputs, keras.ops.matmul(inputs, keras.ops.transpose(inputs, (0, 2, 1))))
    with pytest.raises(ValueError, match="cannot count"):
        macs(attention)


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match="resnet18 takes input .* of any size; say the input_shape"):
        macs(kzoo.models.resnet18((None, None, 3), 10, width=8))
    with pytest.raises(ValueError, match="cannot be built for an input"):
        macs(functional(keras.layers.Conv2D(4, 5)), (3, 3, 2))
    a, b = keras.Input((3,)), keras.Input((3,))
    with pytest.raises(ValueError, match="one input can be counted; .* has 2"):
        macs(keras.Model([a, b], keras.layers.add([a, b])))

    class Subclassed(keras.Model):
        pass

    with pytest.raises(ValueError, match="only a built model of Keras layers"):
        macs(Subclassed())
