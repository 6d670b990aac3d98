"""Addresses of weights, layouts of tensors, and mismatches."""

import re

import keras
import numpy as np
import pytest
from networks import weights_without_values

import kzoo
from kzoo.nn.layers import batch_norm, conv, dense, depthwise_conv, dropout, flatten, global_avg_pool, scope
from kzoo.nn.naming import NEMO, Rule, key_mapping
from kzoo.zoo.weights import load_weights, matched, wanted_names

CONV = "kernel"
BIASED = "kernel bias"
NORM = "gamma beta moving_mean moving_variance"

# Files of weights outlive the code: an address may be added, never changed.
GOLDEN = {
    "resnet8": {
        "stem.conv1": BIASED,
        "stem.norm1": NORM,
        "stage1.block0.conv1": BIASED,
        "stage1.block0.norm1": NORM,
        "stage1.block0.conv2": BIASED,
        "stage1.block0.norm2": NORM,
        "stage2.block0.conv1": BIASED,
        "stage2.block0.norm1": NORM,
        "stage2.block0.conv2": BIASED,
        "stage2.block0.norm2": NORM,
        "stage2.block0.shortcut.conv1": BIASED,
        "stage3.block0.conv1": BIASED,
        "stage3.block0.norm1": NORM,
        "stage3.block0.conv2": BIASED,
        "stage3.block0.norm2": NORM,
        "stage3.block0.shortcut.conv1": BIASED,
        "logits": BIASED,
    },
    "resnet18": {
        "stem.conv1": CONV,
        "stem.norm1": NORM,
        "stage1.block0.conv1": CONV,
        "stage1.block0.norm1": NORM,
        "stage1.block0.conv2": CONV,
        "stage1.block0.norm2": NORM,
        "stage1.block1.conv1": CONV,
        "stage1.block1.norm1": NORM,
        "stage1.block1.conv2": CONV,
        "stage1.block1.norm2": NORM,
        "stage2.block0.conv1": CONV,
        "stage2.block0.norm1": NORM,
        "stage2.block0.conv2": CONV,
        "stage2.block0.norm2": NORM,
        "stage2.block0.shortcut.conv1": CONV,
        "stage2.block0.shortcut.norm1": NORM,
        "logits": BIASED,
    },
    "resnet50d": {
        "stem.conv1": CONV,
        "stem.norm1": NORM,
        "stem.conv2": CONV,
        "stem.norm2": NORM,
        "stem.conv3": CONV,
        "stem.norm3": NORM,
        "stage1.block0.conv1": CONV,
        "stage1.block0.norm1": NORM,
        "stage1.block0.conv2": CONV,
        "stage1.block0.norm2": NORM,
        "stage1.block0.conv3": CONV,
        "stage1.block0.norm3": NORM,
        "stage1.block0.se.conv1": BIASED,
        "stage1.block0.se.conv2": BIASED,
        "stage1.block0.shortcut.conv1": CONV,
        "stage1.block0.shortcut.norm1": NORM,
        "logits": BIASED,
    },
    "resnetv2_50": {
        "stem.conv1": CONV,
        "stage1.block0.norm1": NORM,
        "stage1.block0.conv1": CONV,
        "stage1.block0.norm2": NORM,
        "stage1.block0.conv2": CONV,
        "stage1.block0.norm3": NORM,
        "stage1.block0.conv3": CONV,
        "stage1.block0.shortcut.conv1": CONV,
        "head.norm1": NORM,
        "logits": BIASED,
    },
    "vgg11_bn": {
        "stage1.conv1": BIASED,
        "stage1.norm1": NORM,
        "stage2.conv1": BIASED,
        "stage2.norm1": NORM,
        "stage3.conv1": BIASED,
        "stage3.norm1": NORM,
        "stage3.conv2": BIASED,
        "stage3.norm2": NORM,
        "stage4.conv1": BIASED,
        "stage4.norm1": NORM,
        "stage4.conv2": BIASED,
        "stage4.norm2": NORM,
        "stage5.conv1": BIASED,
        "stage5.norm1": NORM,
        "stage5.conv2": BIASED,
        "stage5.norm2": NORM,
        "head.dense1": BIASED,
        "head.dense2": BIASED,
        "logits": BIASED,
    },
}
NARROW = {
    "resnet8": {},
    "resnet18": {"width": 4, "depths": (2, 1)},
    "resnet50d": {"width": 4, "depths": (1,), "se_ratio": 0.5},
    "resnetv2_50": {"width": 4, "stem_width": 4, "depths": (1,)},
    "vgg11_bn": {"width": 4, "dense_units": (8, 8)},
}


def narrow(name: str) -> keras.Model:
    return kzoo.create_model(name, (32, 32, 3), 10, **NARROW[name])


@pytest.mark.parametrize("name", GOLDEN)
def test_weights_keep_their_addresses(name):
    expected = [f"{layer}/{weight}" for layer, weights in GOLDEN[name].items() for weight in weights.split()]
    assert sorted(weight.path for weight in narrow(name).weights) == sorted(expected)


# The same layers in the same order, read off the state dicts of timm 1.0 and torchvision 0.28.
VGG11_BN_FEATURES = """
    features.0 features.1 features.4 features.5 features.8 features.9 features.11 features.12
    features.15 features.16 features.18 features.19 features.22 features.23 features.25 features.26"""
REFERENCES = [
    (
        "resnet18",  # both
        """conv1 bn1
        layer1.0.conv1 layer1.0.bn1 layer1.0.conv2 layer1.0.bn2
        layer1.1.conv1 layer1.1.bn1 layer1.1.conv2 layer1.1.bn2
        layer2.0.conv1 layer2.0.bn1 layer2.0.conv2 layer2.0.bn2 layer2.0.downsample.0 layer2.0.downsample.1
        fc""",
    ),
    (
        "resnet50d",  # timm
        """conv1.0 conv1.1 conv1.3 conv1.4 conv1.6 bn1
        layer1.0.conv1 layer1.0.bn1 layer1.0.conv2 layer1.0.bn2 layer1.0.conv3 layer1.0.bn3
        layer1.0.se.fc1 layer1.0.se.fc2 layer1.0.downsample.1 layer1.0.downsample.2
        fc""",
    ),
    (
        "resnetv2_50",  # timm
        """stem.conv
        stages.0.blocks.0.norm1 stages.0.blocks.0.conv1 stages.0.blocks.0.norm2 stages.0.blocks.0.conv2
        stages.0.blocks.0.norm3 stages.0.blocks.0.conv3 stages.0.blocks.0.downsample.conv
        norm head.fc""",
    ),
    ("vgg11_bn", f"{VGG11_BN_FEATURES} pre_logits.fc1 pre_logits.fc2 head.fc"),  # timm
    ("vgg11_bn", f"{VGG11_BN_FEATURES} classifier.0 classifier.3 classifier.6"),  # torchvision
]


@pytest.mark.parametrize("name, reference", REFERENCES)
def test_rules_give_the_names_of_the_reference(name, reference):
    rules, expected = kzoo.model_card(name).key_mapping, reference.split()
    names = key_mapping(list(GOLDEN[name]), rules, [f"{layer}.weight" for layer in expected])
    assert list(names.values()) == expected


def test_blocks_of_nemo_are_counted_as_their_modules_are():
    """A layer is a convolution (or two), a normalisation, an activation and dropout; a gate stands after the last."""
    layers = ["stem.dwconv1", "stem.conv1", "stem.norm1", "stem.se.conv1", "stage1.block0.dwconv1"]
    layers += ["stage1.block0.conv1", "stage1.block0.norm1", "stage1.block0.dwconv2", "stage1.block0.se.conv2"]
    layers += ["stage1.block0.shortcut.norm1", "stage2.conv2", "stage2.norm2", "stage2.pane1.shortcut.conv1", "logits"]
    expected = [f"encoder.encoder.0.mconv.{place}" for place in ("0.conv", "1.conv", "2", "3.fc.0")]
    expected += [f"encoder.encoder.1.mconv.{place}" for place in ("0.conv", "1.conv", "2", "5.conv", "8.fc.2")]
    expected += [f"encoder.encoder.{place}" for place in ("1.res.0.1", "2.mconv.4.conv", "2.mconv.5", "2.res.1.0.conv")]
    assert list(key_mapping(layers, NEMO, []).values()) == [*expected, "decoder.decoder_layers.0"]


# repeats, kernel, expansion, inputs and outputs of each stage of B0, in EfficientNet-PyTorch by Luke Melas-Kyriazi.
B0_STAGES = [
    (1, 3, 1, 32, 16),
    (2, 3, 6, 16, 24),
    (2, 5, 6, 24, 40),
    (3, 3, 6, 40, 80),
    (3, 5, 6, 80, 112),
    (4, 5, 6, 112, 192),
    (1, 3, 6, 192, 320),
]


def b0_shapes() -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the tensors of EfficientNet-PyTorch's `efficientnet-b0`."""
    convs = {"_conv_stem": (32, 3, 3, 3), "_conv_head": (1280, 320, 1, 1)}
    norms, blocks = {"_bn0": 32, "_bn1": 1280}, 0
    for repeats, kernel, expansion, inputs, outputs in B0_STAGES:
        for channels in [inputs] + [outputs] * (repeats - 1):
            block, hidden, squeezed = f"_blocks.{blocks}.", expansion * channels, channels // 4
            if expansion > 1:
                convs[f"{block}_expand_conv"], norms[f"{block}_bn0"] = (hidden, channels, 1, 1), hidden
            convs[f"{block}_depthwise_conv"], norms[f"{block}_bn1"] = (hidden, 1, kernel, kernel), hidden
            convs[f"{block}_se_reduce"], convs[f"{block}_se_expand"] = (
                (squeezed, hidden, 1, 1),
                (hidden, squeezed, 1, 1),
            )
            convs[f"{block}_project_conv"], norms[f"{block}_bn2"] = (outputs, hidden, 1, 1), outputs
            blocks += 1
    shapes = {f"{name}.weight": shape for name, shape in convs.items()} | {"_fc.weight": (1000, 1280)}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in convs.items() if "_se_" in name} | {"_fc.bias": (1000,)}
    return shapes | {f"{name}.{part}": (size,) for name, size in norms.items() for part in STATISTICS}


STATISTICS = ("weight", "bias", "running_mean", "running_var")


@pytest.mark.parametrize("name", ["efficientnet_b0", "tf_efficientnet_b0"])
def test_the_names_of_efficientnet_pytorch_are_known(name):
    with weights_without_values():
        model = kzoo.create_model(name, (32, 32, 3), 1000)
        tensors = {key: np.broadcast_to(np.float32(0), shape) for key, shape in b0_shapes().items()}
        rules = kzoo.model_card(name).key_mapping
        report, values = matched(model, tensors, "pytorch", rules, adapt=False)
        wanted = wanted_names(model, tensors, "pytorch", rules)
    assert not report.misfits
    assert len(values) == len(model.weights) == len(tensors)
    places = {"_blocks.0._bn1.bias": "stage1.block0.norm1/beta", "_blocks.2._bn0.weight": "stage2.block1.norm1/gamma"}
    places |= {"_blocks.0._project_conv.weight": "stage1.block0.conv1/kernel", "_bn1.bias": "head.norm1/beta"}
    assert {key: wanted[key][1].path for key in places} == places


def test_vgg_without_normalisation_counts_fewer_modules():
    layers = [layer for layer in GOLDEN["vgg11_bn"] if ".conv" in layer]
    places = [0, 3, 6, 8, 11, 13, 16, 18]  # torchvision's vgg11
    assert list(key_mapping(layers, kzoo.model_card("vgg11").key_mapping, []).values()) == [
        f"features.{place}" for place in places
    ]


def test_rules_that_merge_two_layers_are_refused():
    with pytest.raises(ValueError, match=r"stem\.norm1 and stem\.norm2 one name, stem\.bn"):
        key_mapping(["stem.norm1", "stem.norm2"], [Rule(r"norm\d", "bn")], [])


def build(*layers, shape=(4, 4, 3)) -> keras.Model:
    """Return the network of layer functions in a row, named as in a `block`."""
    x = inputs = keras.Input(shape)
    with scope("block"):
        for layer in layers:
            x = layer(x)
    return keras.Model(inputs, x, name="network")


def loaded(model: keras.Model, tensor: np.ndarray) -> np.ndarray:
    """Return the only kernel of `model` after loading a tensor into it."""
    (kernel,) = [weight for weight in model.weights if weight.name == "kernel"]
    layer = kernel.path.removesuffix("/kernel")
    load_weights(model, {f"{layer}.weight": tensor, f"{layer}.bias": np.zeros(len(tensor))})
    return keras.ops.convert_to_numpy(kernel)


def numbered(*shape: int) -> np.ndarray:
    """Return a tensor in which every value says where it was."""
    return np.arange(np.prod(shape), dtype="float32").reshape(shape)


def test_convolution_goes_from_out_in_window_to_window_in_out():
    tensor = numbered(6, 3, 3, 5)
    kernel = loaded(build(lambda x: conv(x, 6, (3, 5))), tensor)
    assert kernel[1, 4, 2, 5] == tensor[5, 2, 1, 4]


def test_convolution_in_one_dimension_does_too():
    tensor = numbered(6, 3, 5)
    kernel = loaded(build(lambda x: conv(x, 6, 5), shape=(8, 3)), tensor)
    assert kernel[4, 2, 5] == tensor[5, 2, 4]


def test_grouped_convolution_keeps_the_inputs_of_one_group():
    tensor = numbered(6, 1, 3, 3)
    kernel = loaded(build(lambda x: conv(x, 6, 3, groups=3)), tensor)
    assert kernel[1, 2, 0, 5] == tensor[5, 0, 1, 2]


def test_depthwise_convolution_has_its_outputs_by_channel():
    tensor = numbered(6, 1, 3, 3)
    kernel = loaded(build(lambda x: depthwise_conv(x, 3, multiplier=2)), tensor)
    assert kernel[1, 2, 2, 1] == tensor[2 * 2 + 1, 0, 1, 2]


@pytest.mark.parametrize("window", [(), (1,), (1, 1)])
def test_dense_layer_may_be_a_convolution_in_the_reference(window):
    tensor = numbered(5, 3, *window)
    kernel = loaded(build(global_avg_pool, lambda x: dense(x, 5)), tensor)
    np.testing.assert_array_equal(kernel, tensor.reshape(5, 3).T)


def test_pointwise_convolution_may_be_a_dense_layer_in_the_reference():
    tensor = numbered(5, 3)
    kernel = loaded(build(lambda x: conv(x, 5, 1)), tensor)
    np.testing.assert_array_equal(kernel, tensor.T[None, None])


@pytest.mark.parametrize("shape", [(5, 3 * 2 * 4), (5, 3, 2, 4)], ids=["linear", "convolution"])
def test_dense_layer_behind_a_map_reads_channels_last_what_the_reference_reads_channels_first(shape):
    model = build(flatten, lambda x: dropout(x, 0.5), lambda x: dense(x, 5), shape=(2, 4, 3))
    tensor = numbered(*shape)
    loaded(model, tensor)
    images = numbered(1, 2, 4, 3) % 7
    expected = images.transpose(0, 3, 1, 2).reshape(1, -1) @ tensor.reshape(5, -1).T
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(images)), expected)


def small_network() -> keras.Model:
    return build(lambda x: conv(x, 6, 3), batch_norm, global_avg_pool, lambda x: dense(x, 5))


def fitting_tensors() -> dict[str, np.ndarray]:
    """Return a state dict of `small_network` as PyTorch would write it."""
    random = np.random.default_rng(0)
    tensors = {f"block.norm1.{name}": random.random(6) for name in ("weight", "bias", "running_mean", "running_var")}
    tensors |= {"block.conv1.weight": random.random((6, 3, 3, 3)), "block.conv1.bias": random.random(6)}
    tensors |= {"block.dense1.weight": random.random((5, 6)), "block.dense1.bias": random.random(5)}
    return tensors | {"block.norm1.num_batches_tracked": np.array(7)}


def test_every_tensor_finds_its_weight():
    model, tensors = small_network(), fitting_tensors()
    load_weights(model, tensors)
    weights = {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
    for ours, theirs in {
        "norm1/gamma": "norm1.weight",
        "norm1/beta": "norm1.bias",
        "norm1/moving_mean": "norm1.running_mean",
        "norm1/moving_variance": "norm1.running_var",
        "conv1/bias": "conv1.bias",
        "dense1/bias": "dense1.bias",
    }.items():
        np.testing.assert_allclose(weights[f"block.{ours}"], tensors[f"block.{theirs}"], rtol=1e-6)
    assert not any(np.array_equal(weight, np.zeros(weight.shape)) for weight in weights.values())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"block.norm1.bias": None}, "the tensors do not fit network: missing block.norm1.bias (our block.norm1/beta)"),
        ({"fc.weight": np.ones((5, 6))}, "the tensors do not fit network: unexpected fc.weight"),
        (
            {"block.conv1.weight": np.ones((3, 3, 3, 6))},
            "mis-shaped block.conv1.weight (our block.conv1/kernel is (3, 3, 3, 6), this would be (3, 6, 3, 3))",
        ),
        (
            {"block.dense1.weight": np.ones((5, 3, 2, 1))},
            "mis-shaped block.dense1.weight (our block.dense1/kernel is (6, 5), this would be (2, 1, 3, 5))",
        ),
        (
            {"block.dense1.bias": None, "fc.bias": np.ones(5), "block.conv1.bias": np.ones(7)},
            "missing block.dense1.bias (our block.dense1/bias); unexpected fc.bias; mis-shaped block.conv1.bias (our",
        ),
        ({f"fc{i}.bias": np.ones(5) for i in range(9)}, "unexpected fc0.bias, fc1.bias, fc2.bias, fc3.bias and 5 more"),
    ],
    ids=["missing", "unexpected", "mis-shaped", "window", "all three", "many"],
)
def test_tensors_that_do_not_fit_are_named_and_nothing_is_assigned(change, message):
    model = small_network()
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights]
    tensors = {name: tensor for name, tensor in (fitting_tensors() | change).items() if tensor is not None}
    with pytest.raises(ValueError, match=re.escape(message)):
        load_weights(model, tensors)
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), old)


def test_network_inside_another_is_refused():
    outer = keras.Sequential([keras.Input((4, 4, 3)), small_network()])
    with pytest.raises(ValueError, match=r"unknown layer"):
        load_weights(outer, fitting_tensors())
