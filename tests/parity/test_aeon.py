"""Equal to aeon in every feature of a time-series network: random weights and statistics carried over."""

from collections import defaultdict

import keras
import numpy as np
import pytest

import kzoo
from kzoo.nn.handcrafted import HydraFeatures, MiniRocketFeatures, MultiRocketFeatures

pytest.importorskip("aeon")
networks = pytest.importorskip("aeon.networks")

pytestmark = pytest.mark.parity

# Of the features' standard deviation over the examples.
TOLERANCE = 1e-4

# Our name, and aeon's class with the arguments that make it the published network.
TWINS = {
    "disjoint_cnn": ("DisjointCNNNetwork", {}),
    "fcn": ("FCNNetwork", {}),
    "h_inceptiontime": ("InceptionNetwork", {"use_custom_filters": True}),
    "inceptiontime": ("InceptionNetwork", {}),
    "lite": ("LITENetwork", {}),
    "litemv": ("LITENetwork", {"use_litemv": True}),
    "mlp_tsc": ("MLPNetwork", {}),
    "resnet_tsc": ("ResNetNetwork", {}),
    "tcn": ("TCNNetwork", {"n_blocks": [25] * 8, "kernel_size": 7}),
    "time_cnn": ("TimeCNNNetwork", {}),
}

# Even and odd lengths, one channel and several; below 60 positions Time-CNN is padded.
SHAPES = [(150, 1), (97, 3), (45, 6)]


def aeon_features(name: str, shape: tuple[int, int]) -> keras.Model:
    """Return aeon's network from the series to what its classifier gets."""
    network, arguments = TWINS[name]
    inputs, outputs = getattr(networks, network)(**arguments).build_network(shape)
    model = keras.Model(inputs, outputs)
    if name == "tcn":  # ends in its own linear layer
        model = keras.Model(inputs, model.layers[-1].input)
    return model


def randomise(model: keras.Model, seed: int) -> None:
    """Leave no bias, scale or statistic at a default that would hide a mistake; kernels are random already."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(generator.normal(0, 0.1, weight.shape))
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))


def tinted_noise(shape: tuple[int, int]) -> np.ndarray:
    """Return eight series unlike enough that their means over time differ."""
    generator = np.random.default_rng(2)
    noise, tint = generator.normal(size=(8, *shape)), generator.normal(size=(8, 1, shape[-1]))
    return (noise + 3 * tint).astype("float32")


def without_third_projection(model: keras.Model) -> list:
    """Make aeon's projection between equal widths the identity, as published; return the layers that remain."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv1D) and layer.kernel.shape == (1, 128, 128):
            layer.set_weights([np.eye(128)[None], np.zeros(128)])
            return [other for other in model.layers if other is not layer]
    raise AssertionError("aeon's ResNet has changed: no projection between equal widths")


def in_order(layers) -> dict[tuple, list]:
    """Group the weights that training moves by the kind of their layer and their shape, in the network's order.

    Fixed patterns are left out: ours must be right by themselves.
    """
    groups = defaultdict(list)
    for layer in layers:
        kinds = [kind for kind in ("Conv", "Normalization", "Dense") if kind in type(layer).__name__]
        for weight in layer.weights if layer.trainable else []:
            groups[(*kinds, *weight.shape)].append(weight)
    return groups


def carry_over(layers, model: keras.Model) -> None:
    """Assign to our network the weights of aeon's layers, each of which must have its like."""
    theirs, ours = in_order(layers), in_order(model.layers)
    assert {key: len(group) for key, group in theirs.items()} == {key: len(group) for key, group in ours.items()}
    for key, group in theirs.items():
        for weight, value in zip(ours[key], group, strict=True):
            weight.assign(value)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", TWINS)
def test_features_equal_those_of_aeon(name, shape):
    keras.utils.set_random_seed(0)
    theirs, ours = aeon_features(name, shape), kzoo.create_model(name, shape, 0)
    randomise(theirs, seed=1)
    carry_over(without_third_projection(theirs) if name == "resnet_tsc" else theirs.layers, ours)
    series = tinted_noise(shape)
    expected, features = (np.asarray(model(series, training=False)) for model in (theirs, ours))
    spread = expected.std(axis=0).mean()
    assert spread > 1e-3
    assert np.abs(features - expected).max() < TOLERANCE * spread


def assign_rocket(layer: MiniRocketFeatures, series: np.ndarray, parameters: tuple) -> None:
    """Give a layer the dilations, thresholds and channels that aeon drew for series (n, length, channels)."""
    *drawn, steps, counts, thresholds = parameters
    if not layer.built:
        layer.build(series.shape)
    assert layer.dilations == list(zip(steps.tolist(), counts.tolist(), strict=True))
    layer.thresholds.assign(thresholds)
    if series.shape[2] > 1:
        numbers, seen = drawn
        kernels = np.split(seen, np.cumsum(numbers)[:-1])
        chosen = np.array([[channel in kernel for channel in range(series.shape[2])] for kernel in kernels])
        layer.channels.assign(chosen.reshape(len(steps), 84, -1).transpose(0, 2, 1))


@pytest.mark.parametrize("shape", [(150, 1), (97, 3), (24, 1)])
def test_features_of_minirocket(shape):
    convolution_based = pytest.importorskip("aeon.transformations.collection.convolution_based")
    series = tinted_noise(shape)
    theirs = convolution_based.MiniRocket(random_state=0)
    expected = theirs.fit_transform(series.transpose(0, 2, 1))
    layer = MiniRocketFeatures()
    assign_rocket(layer, series, theirs.parameters)
    difference = np.abs(keras.ops.convert_to_numpy(layer(series)) - expected)
    # A threshold is a quantile of answers. Where it is one of them, or between two equal ones, the order of the
    # additions decides whether an answer is above it, in aeon as here.
    assert (difference > 1e-5).mean() < 1e-3


@pytest.mark.parametrize("shape", [(150, 1), (97, 5), (24, 1)])
def test_features_of_hydra(shape):
    convolution_based = pytest.importorskip("aeon.transformations.collection.convolution_based")
    pytest.importorskip("torch")
    series = tinted_noise(shape)
    theirs = convolution_based.HydraTransformer(random_state=0, output_type="numpy")
    expected = theirs.fit_transform(series.transpose(0, 2, 1))
    layer, drawn = HydraFeatures(), theirs._hydra
    layer.build(series.shape)
    layer.patterns.assign(drawn.W.numpy().reshape(layer.patterns.shape))
    if shape[1] > 1:
        chosen = np.stack([index.numpy() for index in drawn.idx])
        layer.channels.assign((chosen[..., None] == np.arange(shape[1])).sum(axis=-2))
    found = keras.ops.convert_to_numpy(layer(series))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("shape", [(150, 1), (97, 3), (24, 1)])
def test_features_of_multirocket(shape):
    convolution_based = pytest.importorskip("aeon.transformations.collection.convolution_based")
    series = tinted_noise(shape)
    theirs = convolution_based.MultiRocket(n_kernels=1000, random_state=0)
    expected = theirs.fit_transform(series.transpose(0, 2, 1))
    layer = MultiRocketFeatures(1000)
    layer.build(series.shape)
    assign_rocket(layer.series, series, theirs.parameter)
    # aeon takes the channels of the series for its differences, too
    assign_rocket(layer.differences, np.diff(series, axis=1), (*theirs.parameter[:-3], *theirs.parameter1[-3:]))
    found = keras.ops.convert_to_numpy(layer(series))
    assert found.shape == expected.shape
    assert (np.abs(found - expected) > 1e-4 * (1 + np.abs(expected))).mean() < 2e-3  # as for MiniRocket
