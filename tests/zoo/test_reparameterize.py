"""The deploy form is the same function, written with plain convolutions."""

import keras
import numpy as np
import pytest
from networks import narrow

import kzoo
from kzoo.nn.blocks import branched_conv
from kzoo.nn.layers import scope
from kzoo.zoo.reparameterize import reparameterize

SMALL = [("repvgg_a0", {}), ("mobileone_s0", {}), ("mobileone_s1", {}), ("mobileone_s4", {"filters": (16, 16, 32, 32)})]


def randomised(model: keras.Model) -> keras.Model:
    """Draw everything that starts as a constant, the statistics too."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


def branched(name: str, input_shape: tuple = (33, 33, 3), **options) -> keras.Model:
    return randomised(kzoo.create_model(name, input_shape, 5, **narrow(name) | options))


def relative_difference(model: keras.Model, other: keras.Model, shape: tuple) -> float:
    """Return the largest difference between two outputs in standard deviations, on random images."""
    images = np.random.default_rng(1).normal(size=(3, *shape)).astype("float32")
    expected, seen = (keras.ops.convert_to_numpy(m(images, training=False)) for m in (model, other))
    return np.abs(seen - expected).max() / expected.std()


@pytest.mark.parametrize("name, options", SMALL)
@pytest.mark.parametrize("shape", [(33, 33, 3), pytest.param((32, 48, 1), marks=pytest.mark.slow), (64, 2)])
def test_the_deploy_form_gives_the_same_logits(name, options, shape):
    model = branched(name, shape, **options)
    deployed = reparameterize(model)
    assert deployed.input_shape == model.input_shape
    assert relative_difference(model, deployed, shape) < 1e-4


@pytest.mark.parametrize("name, options", SMALL)
def test_the_deploy_form_is_made_of_convolutions_with_a_bias(name, options):
    deployed = reparameterize(branched(name, **options))
    assert not [layer for layer in deployed.layers if isinstance(layer, keras.layers.BatchNormalization)]
    convs = [layer for layer in deployed.layers if "conv" in layer.name]
    assert convs
    assert all(layer.use_bias for layer in convs)


def test_the_deploy_form_has_stable_addresses():
    deployed = reparameterize(branched("mobileone_s0", filters=(8,), depths=(1,), se_blocks=(0,)))
    layers = ["stem.conv1", "stage1.block0.look.dwconv1", "stage1.block0.mix.conv1", "logits"]
    assert [weight.path for weight in deployed.weights] == [f"{x}/{w}" for x in layers for w in ("kernel", "bias")]


@pytest.mark.parametrize("shape", [(33, 33, 3), (32, 32, 3), (31, 64, 3)])
@pytest.mark.parametrize("name", ["repvgg_a0", "mobileone_s0"])
def test_the_padding_of_tensorflow_is_kept(name, shape):
    model = branched(name, shape, dialect="tensorflow")
    assert relative_difference(model, reparameterize(model), shape) < 1e-4


def test_the_padding_of_tensorflow_needs_a_known_size():
    with pytest.raises(ValueError, match="give input_shape in full"):
        reparameterize(branched("repvgg_a0", (None, None, 3), dialect="tensorflow"))


def test_an_input_of_unknown_size_serves_every_size():
    model = branched("repvgg_a0", (None, None, 3))
    deployed = reparameterize(model)
    assert all(relative_difference(model, deployed, (size, size, 3)) < 1e-4 for size in (32, 47))


@pytest.mark.parametrize("filters, groups", [(8, 2), (8, 1), (8, 8), (16, 4)])
@pytest.mark.parametrize("kernel, stride", [(5, 1), (4, 2)])
def test_groups_and_wide_kernels_are_folded(kernel, stride, filters, groups):
    inputs = keras.Input((20, 20, 8))
    with scope("stem"):
        outputs = branched_conv(inputs, filters, kernel, stride=stride, groups=groups, branches=2)
    model = randomised(keras.Model(inputs, outputs))
    assert relative_difference(model, reparameterize(model), (20, 20, 8)) < 1e-4


def test_the_stages_can_still_be_asked_for():
    model = branched("repvgg_a0", features=("stage1", "stage3"))
    deployed = reparameterize(model)
    assert [output.shape for output in deployed.outputs] == [output.shape for output in model.outputs]
    for name in ("stage1", "stage3"):
        stage, folded_stage = (keras.Model(m.inputs, m.get_layer(name).output) for m in (model, deployed))
        assert relative_difference(stage, folded_stage, (33, 33, 3)) < 1e-4


def test_the_model_given_is_left_as_it_is():
    model = branched("repvgg_a0")
    before = model.get_weights()
    reparameterize(model).set_weights([0 * weight for weight in reparameterize(model).get_weights()])
    assert all((old == new).all() for old, new in zip(before, model.get_weights(), strict=True))


def test_the_deploy_form_is_saved_and_loaded(tmp_path):
    deployed = reparameterize(branched("mobileone_s1"))
    deployed.save(tmp_path / "deployed.keras")
    loaded = keras.models.load_model(tmp_path / "deployed.keras")
    assert relative_difference(deployed, loaded, (33, 33, 3)) < 1e-6


def test_a_model_without_branches_is_refused():
    with pytest.raises(ValueError, match="resnet18 has no branches to fold"):
        reparameterize(branched("resnet18"))
