"""Profiles of networks, against published counts, sums by hand, and gradients."""

import csv
import io
import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest
from networks import sampled, share, weights_without_values
from rich.console import Console

import kzoo
from kzoo.nn.receptive_field import ReceptiveField
from kzoo.zoo.profile import layer_profiles, macs, profile
from kzoo.zoo.published import MACS

# MACs of the networks of timm 1.0.31 with 1000 classes, as counted in PyTorch.
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
with MACS.open(newline="") as file:
    DOCUMENTED = {row["name"]: int(row["macs"]) for row in csv.DictReader(file)}
BY_DEFAULT = {"resnet50", *share(1, 2)}


@pytest.mark.parametrize("name, size, expected", sampled(OF_TIMM, BY_DEFAULT))
def test_macs_are_those_of_timm(name, size, expected):
    with weights_without_values():
        assert macs(kzoo.create_model(name, (size, size, 3), 1000)) == expected


@pytest.mark.parametrize("name", PUBLISHED)
def test_macs_are_the_published_ones(name):
    reference = kzoo.model_card(name).reference
    with weights_without_values():
        assert macs(kzoo.create_model(name, reference.input_shape, reference.num_classes)) == PUBLISHED[name]


@pytest.mark.parametrize("name", sampled([(name,) for name in DOCUMENTED], share(2)))
def test_macs_are_those_of_the_documentation(name):
    """`python docs/count_macs.py` writes the table; what is missing in it is counted when the site is built."""
    reference = kzoo.model_card(name).reference
    with weights_without_values():
        assert macs(kzoo.create_model(name, reference.input_shape, reference.num_classes)) == DOCUMENTED[name]


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


def test_a_token_costs_no_macs():
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


def test_what_cannot_be_counted_is_reported():
    model = functional(keras.layers.LSTM(4, name="memory"), keras.layers.Dense(2), shape=(8, 2))
    assert [profile.macs for profile in layer_profiles(model)] == [None, 8]
    with pytest.raises(ValueError, match=r"cannot count the MACs of memory \(LSTM\)"):
        macs(model)
    inputs = keras.Input((8, 2))
    attention = keras.Model(inputs, keras.ops.matmul(inputs, keras.ops.transpose(inputs, (0, 2, 1))))
    with pytest.raises(ValueError, match="cannot count"):
        macs(attention)


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match="resnet18 takes inputs .* of any size; give the input_shape"):
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


# --- formulas, and what is saved ---


def evaluated(formula: str) -> int:
    """Compute a formula such as `(3 x 3 x 3 + 1) x 64`, or nothing."""
    return eval(formula.replace(",", "").replace(" x ", " * ")) if formula else 0


@pytest.mark.parametrize("name", sampled([(name,) for name in kzoo.list_models()], share(3)))
def test_formulas_are_as_large_as_the_parameters(name):
    card = kzoo.model_card(name)
    with weights_without_values():
        found = profile(kzoo.create_model(name, *card.reference[:2]))
    assert [layer.name for layer in found.layers if evaluated(layer.formula) != layer.params] == []
    assert found.trainable == card.params
    assert found.unknown == ()


@pytest.mark.parametrize(
    "layer, formula, fully_connected",
    [
        (keras.layers.Conv2D(64, 3, padding="same"), "(3 x 3 x 6 + 1) x 64", (8 * 8 * 6 + 1) * 8 * 8 * 64),
        (keras.layers.Conv2D(64, 3, use_bias=False), "3 x 3 x 6 x 64", (8 * 8 * 6 + 1) * 6 * 6 * 64),
        (keras.layers.Conv2D(64, (5, 1), groups=2), "(5 x 1 x 3 + 1) x 64", (8 * 8 * 6 + 1) * 4 * 8 * 64),
        (keras.layers.DepthwiseConv2D(3), "(3 x 3 + 1) x 6", (8 * 8 * 6 + 1) * 6 * 6 * 6),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), "(3 x 3 + 1) x 6 x 2", (8 * 8 * 6 + 1) * 6 * 6 * 12),
        (keras.layers.SeparableConv2D(8, 3), "3 x 3 x 6 x 1 + (1 x 1 x 6 + 1) x 8", (8 * 8 * 6 + 1) * 6 * 6 * 8),
        (keras.layers.Conv2DTranspose(5, 2, strides=2), "(2 x 2 x 6 + 1) x 5", (8 * 8 * 6 + 1) * 16 * 16 * 5),
        (keras.layers.Dense(1000), "(6 + 1) x 1,000", (8 * 8 * 6 + 1) * 8 * 8 * 1000),
        (keras.layers.BatchNormalization(), "4 x 6", None),
        (keras.layers.BatchNormalization(scale=False, center=False), "2 x 6", None),
        (keras.layers.PReLU(shared_axes=(1, 2)), "1 x 1 x 6", None),
        (keras.layers.MaxPooling2D(), "", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, keras.Layer) else None,
)
def test_formula_and_fully_connected_layer_by_hand(layer, formula, fully_connected):
    (found,) = layer_profiles(functional(layer, shape=(8, 8, 6)))
    assert (found.formula, found.fully_connected) == (formula, fully_connected)
    assert found.saving == (None if fully_connected is None else fully_connected / layer.count_params())


def test_an_image_needs_28_parameters_for_a_filter_and_6220801_fully_connected():
    photograph = keras.Input((1080, 1920, 3))
    conv = keras.Model(photograph, keras.layers.Conv2D(1, 3, padding="same")(photograph))
    (found,) = profile(conv).layers
    assert (found.formula, found.params, found.per_filter) == ("(3 x 3 x 3 + 1) x 1", 28, 28)
    assert found.to_dict()["fully_connected_per_output"] == 6_220_801
    assert found.fully_connected == 6_220_801 * 1080 * 1920
    with weights_without_values():
        dense = keras.Model(photograph, keras.layers.Dense(1)(keras.layers.Flatten()(photograph)))
        found = profile(dense).layers[-1]
    assert (found.formula, found.params, found.saving) == ("(6,220,800 + 1) x 1", 6_220_801, 1)


def test_the_fully_connected_layer_is_the_same_in_every_framework_convention():
    for dialect in ("pytorch", "tensorflow"):
        with weights_without_values():
            found = profile(kzoo.models.resnet18((224, 224, 3), 10, dialect=dialect))
        first = next(layer for layer in found.layers if layer.params)
        assert first.to_dict()["fully_connected_per_output"] == 224 * 224 * 3 + 1 == 150_529


def test_totals_are_the_sums_of_the_layers():
    model = kzoo.models.resnet8((32, 32, 3), 10)
    found = profile(model)
    assert (found.params, found.macs) == (model.count_params(), 12_501_632)
    convolutions = [layer for layer in found.layers if "Conv" in layer.type]
    assert found.convolutions == convolutions
    # the stem and two convolutions; then two and a shortcut, each time of half the size
    assert sum(layer.activations for layer in convolutions) == 3 * 32 * 32 * 16 + 3 * 16 * 16 * 32 + 3 * 8 * 8 * 64
    linear = [*convolutions, found.layers[-1]]
    assert found.fully_connected == sum(layer.fully_connected for layer in linear)
    assert found.saving == found.fully_connected / sum(layer.params for layer in linear)


# --- receptive fields ---


def positive(model: keras.Model) -> keras.Model:
    """Give a network weights with which nothing cancels, and means in place of maxima, of which all have a share."""

    def with_means(layer):
        if not type(layer).__name__.startswith("MaxPooling"):
            return layer.from_config(layer.get_config())
        config = {key: layer.get_config()[key] for key in ("name", "pool_size", "strides", "padding")}
        return getattr(keras.layers, type(layer).__name__.replace("Max", "Average"))(**config)

    model = keras.models.clone_model(model, clone_function=with_means)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "kernel" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape) / math.prod(weight.shape[:-1]))
        elif "gamma" in weight.path:
            weight.assign(np.ones(weight.shape))
    return model


def seen_by_gradient(model: keras.Model) -> list[tuple[int, int]]:
    """Return, for each spatial axis, the first and the last input position that the middle of the output depends on."""
    import tensorflow as tf

    spatial = len(model.input_shape) - 2
    x = tf.constant(np.random.default_rng(0).uniform(0.5, 1, (1, *model.input_shape[1:])).astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=False)
        middle = y[(0, *(size // 2 for size in y.shape[1:-1]))]
        total = tf.reduce_sum(middle)
    gradient = np.abs(tape.gradient(total, x).numpy()[0])
    ends = []
    for axis in range(spatial):
        (places,) = np.nonzero(gradient.sum(axis=tuple(n for n in range(gradient.ndim) if n != axis)))
        ends.append((int(places.min()), int(places.max())))
    return ends


def seen_by_windows(model: keras.Model) -> list[tuple[int, int]]:
    """Return the same from the sizes, strides and centres that `profile` tells."""
    last = layer_profiles(model)[-1]
    field, lengths, ends = last.receptive_field, model.input_shape[1:-1], []
    for axis, length in enumerate(lengths):
        if field.whole or field.stride[axis] is None:
            assert field.size[axis] <= length
            ends.append((0, field.size[axis] - 1))
        else:
            centre = field.centre[axis] + last.output_shape[axis] // 2 * field.stride[axis]
            reach = (field.size[axis] - 1) / 2
            ends.append((max(0, int(centre - reach)), min(length - 1, int(centre + reach))))
    return ends


def concatenated(x):
    return keras.layers.Concatenate()([keras.layers.Conv2D(2, size, padding="same")(x) for size in (1, 3, 5)])


def residual(x):
    return keras.layers.Add()([x, keras.layers.Conv2D(2, 3, padding="same", dilation_rate=2)(x)])


L = keras.layers
BUILT = {
    "valid": ((40, 31, 2), [L.Conv2D(3, 5), L.Conv2D(3, (3, 2))]),
    "same": ((40, 31, 2), [L.Conv2D(3, 4, padding="same"), L.Conv2D(3, 3, padding="same")]),
    "strides": ((64, 61, 2), [L.Conv2D(3, 7, strides=2, padding="same"), L.Conv2D(3, 3, strides=(3, 2))]),
    "dilation": ((60, 50, 2), [L.Conv2D(3, 3, dilation_rate=(2, 4)), L.Conv2D(3, 3, dilation_rate=3, padding="same")]),
    "gaps": ((41, 41, 2), [L.Conv2D(3, 1, strides=3), L.Conv2D(3, 3, padding="same")]),
    "depthwise": ((40, 40, 2), [L.DepthwiseConv2D(5), L.SeparableConv2D(4, 3, strides=2, padding="same")]),
    "pooling": ((40, 43, 2), [L.Conv2D(3, 3), L.MaxPooling2D(2), L.AveragePooling2D(3, strides=2, padding="same")]),
    "transposed": ((20, 20, 2), [L.Conv2D(3, 3), L.Conv2DTranspose(3, 4, strides=2), L.Conv2D(2, 3)]),
    "transposed same": ((20, 21, 2), [L.Conv2DTranspose(3, 5, strides=(3, 2), padding="same"), L.Conv2D(2, 2)]),
    "upsampled": ((20, 21, 2), [L.Conv2D(3, 3, strides=2), L.UpSampling2D(2), L.Conv2D(2, 3)]),
    "bilinear": ((24, 22, 2), [L.Conv2D(3, 3), L.UpSampling2D(2, interpolation="bilinear"), L.Conv2D(2, 2)]),
    "borders": ((20, 20, 2), [L.ZeroPadding2D(((3, 1), (0, 2))), L.Conv2D(3, 4), L.Cropping2D(((1, 4), (2, 0)))]),
    "adaptive": ((30, 23, 2), [L.Conv2D(3, 3), L.AdaptiveAveragePooling2D((5, 4))]),
    "branches": ((30, 30, 2), [residual, concatenated, L.Conv2D(2, 1), residual]),
    "permuted": ((30, 20, 2), [L.Conv2D(3, (5, 1)), L.Permute((2, 1, 3)), L.Conv2D(3, (3, 1)), L.Permute((2, 1, 3))]),
    "sliced": ((30, 20, 2), [L.Conv2D(3, 3), lambda x: x[:, 4:, ::2], L.Conv2D(3, 3)]),
    "layer norm": ((30, 20, 2), [L.Conv2D(3, 3), L.LayerNormalization(), L.Conv2D(3, 3)]),
    "group norm": ((30, 20, 2), [L.Conv2D(4, 3), L.GroupNormalization(2), L.Conv2D(3, 3)]),
    "global": ((31, 20, 2), [L.Conv2D(3, 3), L.GlobalAveragePooling2D(keepdims=True), L.Conv2D(3, 1)]),
    "global, without the last": ((32, 20, 2), [L.Conv2D(3, 3, strides=2), L.GlobalAveragePooling2D(), L.Dense(2)]),
    "flattened": ((15, 12, 2), [L.Conv2D(3, 3), L.Flatten(), L.Dense(4)]),
    "signal": ((90, 2), [L.Conv1D(3, 9, strides=2), L.Conv1D(3, 3, dilation_rate=4, padding="same")]),
    "causal": ((90, 2), [L.Conv1D(3, 4, padding="causal"), L.Conv1D(3, 3, dilation_rate=5, padding="causal")]),
    "signal pooled": ((90, 2), [L.Conv1D(3, 3), L.MaxPooling1D(4, strides=3), L.UpSampling1D(2), L.Conv1D(2, 3)]),
    "last of a signal": ((30, 2), [L.Conv1D(3, 3, padding="causal"), lambda x: x[:, -1]]),
}


@pytest.mark.parametrize("name", BUILT)
def test_receptive_field_is_that_of_the_gradient(name):
    shape, layers = BUILT[name]
    model = positive(functional(*layers, shape=shape))
    expected = seen_by_gradient(model)
    if name == "last of a signal":
        assert (layer_profiles(model)[-1].receptive_field.size, expected) == ((3,), [(27, 29)])
    elif "UpSampling" in str(layers) or "Transpose" in str(layers):  # neighbours' windows are not equally far apart
        assert layer_profiles(model)[-1].receptive_field.size == tuple(last - first + 1 for first, last in expected)
        np.testing.assert_allclose(seen_by_windows(model), expected, atol=1)
    else:
        assert seen_by_windows(model) == expected


@pytest.mark.parametrize(
    "name, shape, stage, options",
    [
        ("resnet20", (96, 90, 1), "stage2", {"width": 4, "dialect": "tensorflow"}),
        ("resnet18", (260, 200, 1), "stage2", {"width": 4, "dialect": "tensorflow"}),
        ("resnet18", (500, 1), "stage2", {"width": 4, "dialect": "tensorflow"}),
        pytest.param(
            *("resnetblur50", (260, 200, 1), "stage1", {"width": 8, "dialect": "tensorflow"}), marks=pytest.mark.slow
        ),
        pytest.param(
            *("seresnet50", (64, 70, 1), "stage2", {"width": 8, "dialect": "tensorflow"}), marks=pytest.mark.slow
        ),
        ("convnet", (60, 50, 1), "stage2", {"filters": (4, 4)}),
        ("ds_cnn", (101, 60, 1), "stage2", {"width": 8}),
        pytest.param(
            *("hrnet_w18_small", (160, 160, 1), "stage2", {"width": 4, "filters": (8, 8, 8, 8), "stem_width": 8}),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("densenet121", (200, 200, 1), "stage1", {"filters": 4, "stem_width": 8, "dialect": "tensorflow"}),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("shufflenet_v2_x0_5", (150, 160, 1), "stage1", {"dialect": "tensorflow"}), marks=pytest.mark.slow
        ),
        pytest.param(
            *("res2net50_26w_4s", (200, 190, 1), "stage1", {"width": 16, "dialect": "tensorflow"}),
            marks=pytest.mark.slow,
        ),
        ("inceptiontime", (400, 1), "stage1", {"filters": 4, "width": 4}),
        ("tcn", (700, 1), "stage4", {"filters": (4, 4, 4, 4)}),
        ("m5", (3000, 1), "stage2", {"width": 4}),
    ],
)
def test_receptive_field_of_networks_is_that_of_the_gradient(name, shape, stage, options):
    model = positive(kzoo.create_model(name, shape, 3, features=(stage,), **options))
    assert seen_by_windows(model) == seen_by_gradient(model)


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_receptive_field_is_what_changes_the_output(name):
    """Maxima have no gradient but of the largest; what is made large is it. Padded on both sides, as in PyTorch."""
    model = positive_as_it_is(kzoo.create_model(name, (160, 16, 1), 3, features=("stage1",)))
    last = layer_profiles(model)[-1]
    place = last.output_shape[0] // 2
    each = np.ones((161, 160, 16, 1), "float32")
    each[np.arange(160), np.arange(160)] = 1e4  # a row of each example; none of the last
    outputs = np.asarray(model([each], training=False))[:, place].reshape(161, -1)
    (changed,) = np.nonzero((outputs[:-1] != outputs[-1]).any(axis=1))
    centre = last.receptive_field.centre[0] + place * last.receptive_field.stride[0]
    reach = (last.receptive_field.size[0] - 1) / 2
    assert (changed.min(), changed.max()) == (centre - reach, centre + reach)


def positive_as_it_is(model: keras.Model) -> keras.Model:
    for weight in model.weights:
        if "kernel" in weight.path:
            weight.assign(np.full(weight.shape, 1 / math.prod(weight.shape[:-1])))
        elif "gamma" in weight.path:
            weight.assign(np.ones(weight.shape))
    return model


@pytest.mark.parametrize(
    "name, size",
    [("alexnet", 195), ("vgg16", 212), ("mobilenetv1_100", 315), ("inception_v3", 1311), ("inception_resnet_v2", 3039)],
)
def test_receptive_field_is_the_published_one(name, size):
    """Araujo, Norris, Sim, 2019, Computing Receptive Fields of Convolutional Neural Networks, Distill, their table."""
    with weights_without_values():
        found = profile(kzoo.create_model(name, (224, 224, 3), 10))
    assert found.receptive_field == (size, size)


def test_stride_and_centre_of_positions():
    first, second, pooled = layer_profiles(
        functional(L.Conv2D(3, 7, strides=2, padding="same"), L.Conv2D(3, 3, strides=(3, 1)), L.GlobalMaxPooling2D())
    )
    assert first.receptive_field == ReceptiveField((7, 7), (7, 7), (2, 2), (1, 1), False)
    assert second.receptive_field == ReceptiveField((11, 11), (11, 11), (6, 2), (3, 3), True)
    assert pooled.receptive_field == ReceptiveField((8, 8), (None, None), (None, None), (None, None), True)


def test_gates_see_everything_and_windows_are_reported_separately():
    model = kzoo.create_model("seresnet50", (64, 64, 3), 2, width=8)
    layers = {layer.name: layer.receptive_field for layer in layer_profiles(model)}
    assert layers["stage1"].whole
    assert layers["stage1"].size == (64, 64)
    assert layers["stage1"].window == (35, 35)


# --- other people's models, tables, files ---


@pytest.mark.parametrize("name", ["VGG16", "MobileNet", "MobileNetV2", "DenseNet121", "EfficientNetB0", "NASNetMobile"])
def test_models_of_keras_applications_are_profiled(name):
    with weights_without_values():
        model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3), include_top=False)
        found = profile(model)
    assert found.unknown == ()
    assert found.params == model.count_params()
    assert [layer.name for layer in found.layers if evaluated(layer.formula) != layer.params] == []
    published = {"VGG16": (212, 212), "MobileNet": (315, 315)}
    assert found.receptive_field == published.get(name, found.receptive_field)


def test_models_inside_models_are_seen_through():
    inner = functional(L.Conv2D(2, 3), L.Conv2D(2, 3), shape=(16, 16, 2))
    last = layer_profiles(functional(L.Conv2D(2, 3, strides=2), inner, shape=(33, 33, 1)))[-1]
    assert (last.name, last.receptive_field.size) == (f"{inner.name}/{inner.layers[-1].name}", (11, 11))


def test_a_model_without_convolution_is_profiled_and_says_so():
    found = profile(kzoo.models.mlp((28, 28, 1), 10))
    assert (found.receptive_field, found.convolutions) == (None, [])
    assert found.layers[-1].receptive_field.whole
    assert (found.params, found.macs, found.saving) == (235_146 + 12_620, 247_272, 1)
    assert found.notes == ["mlp has no convolution, so nothing is saved"]
    assert "no convolution" in printed(found)


class Shifted(keras.layers.Layer):
    def build(self, input_shape):
        self.matrix = self.add_weight(shape=(input_shape[-1], input_shape[-1]), name="matrix")

    def call(self, x):
        return keras.ops.roll(keras.ops.matmul(x, self.matrix), 1, axis=1)


def test_unknown_layers_are_counted_and_named():
    model = functional(L.Conv2D(4, 3), Shifted(name="shifted"), L.Conv2D(4, 3), L.GlobalAveragePooling2D())
    found = profile(model)
    first, shifted, second, _ = found.layers
    assert first.receptive_field.size == (3, 3)
    assert (shifted.params, shifted.formula, shifted.macs, shifted.receptive_field) == (16, "4 x 4", None, None)
    assert second.receptive_field is None
    assert second.macs == 4 * 4 * 4 * 36
    assert found.macs is None
    assert found.unknown == ("MACs and receptive field of shifted (Shifted)",)
    assert "unknown: MACs and receptive field of shifted (Shifted)" in printed(found)


def printed(found) -> str:
    console = Console(file=io.StringIO(), width=250)
    console.print(found)
    return console.file.getvalue()


def test_the_table_spells_out_the_formula_and_the_saving():
    found = profile(functional(L.Conv2D(64, 3, padding="same"), shape=(32, 32, 3)))
    text = printed(found)
    assert "(3 x 3 x 3 + 1) x 64 = 1,792" in text
    assert "112,384 x" in text  # (3,072 + 1) x 65,536 / 1,792
    assert "28 parameters for every filter; fully connected, it would have 3,073 for every value of its output" in text


def test_numbers_are_ready_for_json_and_csv(tmp_path):
    found = profile(kzoo.models.resnet8((None, None, 3), 10), (32, 48, 3))
    numbers = json.loads(json.dumps(found.to_dict()))
    assert numbers["input_shape"] == [32, 48, 3]
    assert numbers["receptive_field"] == [25, 25]
    assert numbers["layers"][0]["receptive_field"] == [3, 3]
    path = found.write_csv(tmp_path / "new" / "profile.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.layers)
    assert (rows[0]["formula"], rows[0]["params"]) == ("(3 x 3 x 3 + 1) x 16", "448")
    assert (rows[0]["output_shape"], rows[0]["stride"]) == ("32 x 48 x 16", "1 x 1")


@pytest.mark.parametrize("name", ["resnet8", "mlp", "resnet50"])
def test_the_picture_has_a_bar_for_each_layer_with_weights(name, tmp_path):
    reference = kzoo.model_card(name).reference
    with weights_without_values():
        found = profile(kzoo.create_model(name, reference.input_shape, reference.num_classes))
    panels = found.figure().axes
    assert [axes.get_ylabel() for axes in panels] == ["parameters", "MACs", "activations"]
    layers = [layer for layer in found.layers if layer.inputs]
    assert [bar.get_height() for bar in panels[0].patches] == [layer.params for layer in layers]
    assert [bar.get_height() for bar in panels[1].patches] == [layer.macs for layer in layers]
    assert found.draw(tmp_path / "profile.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="cannot be written as profile.doc"):
        found.draw(tmp_path / "profile.doc")


def test_mistakes_of_profile_are_explained():
    with pytest.raises(ValueError, match="resnet18 takes inputs .* of any size; give the input_shape"):
        profile(kzoo.models.resnet18((None, None, 3), 10, width=8))

    class Subclassed(keras.Model):
        pass

    with pytest.raises(ValueError, match="only a built model of Keras layers"):
        profile(Subclassed())
