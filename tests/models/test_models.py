"""Checks that hold for every registered model; a new model is covered by being registered."""

import math

import keras
import numpy as np
import pytest
from networks import FAMILIES, narrow, random_batch, sampled, smallest_working, weights_without_values

import kzoo
from kzoo.tasks import TASKS

every_model = pytest.mark.parametrize("name", kzoo.list_models())
MODELS_AND_DIMS = [(name, dim) for name in kzoo.list_models() for dim in kzoo.model_card(name).dims]


@pytest.mark.parametrize("name", sampled([(name,) for name in kzoo.list_models()]))
def test_parameter_count_is_the_published_one(name):
    card = kzoo.model_card(name)
    with weights_without_values():
        model = kzoo.create_model(name, *card.reference[:2])
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == card.params


@pytest.mark.parametrize("name, dim", sampled(MODELS_AND_DIMS, FAMILIES))
def test_model_is_built_trained_saved_and_loaded(name, dim, tmp_path):
    model = smallest_working(name, dim)
    x = random_batch(model)
    assert weights_without_gradient(model, x) == []
    assert badly_named_weights(model) == []
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(outputs_of(loaded, x), outputs_of(model, x), rtol=1e-4, atol=1e-5)


def weights_without_gradient(model: keras.Model, x: np.ndarray) -> list[str]:
    """Return the weights without a gradient, or one that is not a number (JAX gives zeros where there is none)."""
    gradients = GRADIENTS[keras.backend.backend()](model, x)
    missing = (gradient is None or not np.isfinite(np.asarray(gradient)).all() for gradient in gradients)
    return [weight.path for weight, without in zip(model.trainable_variables, missing, strict=True) if without]


def tensorflow_gradients(model, x):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x, training=True) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    return [gradient if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]


def torch_gradients(model, x):
    outputs = model(x, training=True)
    if model.trainable_variables:
        (outputs**2).sum().backward()
    return [weight.value.grad for weight in model.trainable_variables]


def jax_gradients(model, x):
    import jax

    def loss(weights):
        outputs, _ = model.stateless_call(weights, fixed, x, training=True)
        return (outputs**2).sum()

    fixed = [variable.value for variable in model.non_trainable_variables]
    return jax.jit(jax.grad(loss))([variable.value for variable in model.trainable_variables])


GRADIENTS = {"tensorflow": tensorflow_gradients, "torch": torch_gradients, "jax": jax_gradients}


def named_here(address: str) -> str:
    """Return an address as the backend has it: PyTorch allows no dots in names."""
    return address.replace(".", "_") if keras.backend.backend() == "torch" else address


def outputs_of(model: keras.Model, x: np.ndarray) -> np.ndarray:
    def outputs(x):
        return model(x, training=False)

    if keras.backend.backend() == "jax":  # which compiles one operation after the other otherwise
        import jax

        outputs = jax.jit(outputs)
    return keras.ops.convert_to_numpy(outputs(x))


def badly_named_weights(model: keras.Model) -> list[str]:
    """Return the weights that share a name or have one that Keras counted out."""
    paths = [weight.path for weight in model.weights if "seed_generator" not in weight.path]
    automatic = ("conv1d", "conv2d", "dense_", "batch_normalization", "depthwise_conv", "layer_normalization")
    return [path for path in paths if path.startswith(automatic) or paths.count(path) > 1]


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_float32_under_mixed_precision(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = smallest_working(name, kzoo.model_card(name).dims[-1])
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output.dtype == "float32"
    assert np.isfinite(outputs_of(model, random_batch(model))).all()


@pytest.mark.parametrize("name", [name for name in FAMILIES if "drop_path" in kzoo.model_card(name).hyperparameters])
def test_stochastic_depth_drops_whole_feature_maps_in_training_alone(name):
    keras.utils.set_random_seed(0)
    model, certain = (smallest_working(name, kzoo.model_card(name).dims[-1], drop_path=rate) for rate in (0.3, 0.0))
    drops, x = path_drops(model), random_batch(model, 32)
    rates = [drop.rate for drop in drops]
    assert rates == sorted(set(rates))
    assert all(0 < rate < 0.3 for rate in rates)
    assert not path_drops(certain)
    leave_nothing_at_zero(model)
    maps = keras.Model(model.input, [feature_map for drop in drops for feature_map in (drop.input, drop.output)])
    maps = [keras.ops.convert_to_numpy(y).reshape(len(x), -1) for y in keras.tree.flatten(maps(x, training=True))]
    lost = [~dropped.any(axis=1) for dropped in maps[1::2]]
    for before, after, gone, rate in zip(maps[::2], maps[1::2], lost, rates, strict=True):
        assert before.any(axis=1).all()
        np.testing.assert_allclose(after[~gone], before[~gone] / (1 - rate), rtol=1e-5, atol=1e-6)
    assert 0 < np.mean(lost) < 0.5
    values = {weight.path: weight for weight in model.weights}
    for weight in certain.weights:
        if "seed_generator" not in weight.path:
            weight.assign(values[weight.path])
    np.testing.assert_allclose(outputs_of(model, x), outputs_of(certain, x), rtol=1e-5, atol=1e-5)


def path_drops(model: keras.Model) -> list[keras.layers.Dropout]:
    """Return the layers that drop whole feature maps, in their order."""
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout) and layer.noise_shape]


def leave_nothing_at_zero(model: keras.Model) -> None:
    """Give weights that start as 0 other values, so that no branch is the zero function."""
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        if not keras.ops.any(weight):
            weight.assign(generator.normal(size=weight.shape))


@every_model
def test_card_explains_each_hyperparameter(name):
    card = kzoo.model_card(name)
    assert all(h.meaning for h in card.hyperparameters.values())
    assert card.paper.url.startswith("https://")
    assert card.task in TASKS
    assert name in kzoo.list_models(family=card.family, task=card.task, dim=card.dims[0])


@every_model
def test_factory_function_is_a_real_function(name):
    function = getattr(kzoo.models, name)
    assert function.__name__ == name
    assert all(h in function.__doc__ for h in kzoo.model_card(name).hyperparameters)


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d", "resnet50d", "convnet", "vgg11", "mlp", "wrn_28_10"])
@pytest.mark.parametrize(
    "input_shape, options",
    [
        ((28, 28, 1), {}),
        ((1600, 1), {}),
        ((64,), {"vocab_size": 50, "embed_dim": 8}),
        ((40, 101, 1), {}),
        ((150, 3), {}),
    ],
    ids=["grey image", "waveform", "tokens", "spectrogram", "series"],
)
def test_one_architecture_serves_every_input(name, input_shape, options):
    if name == "vgg11":  # halves five times
        input_shape = tuple(max(size, 32) if i < len(input_shape) - 1 else size for i, size in enumerate(input_shape))
    model = kzoo.create_model(name, input_shape, num_classes=3, **narrow(name), **options)
    assert model(np.ones((2, *input_shape))).shape == (2, 3)


@pytest.mark.parametrize("shape", [(None, 3), (None, None, 3)])
@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "lenet5", "resnetv2_50"])
def test_input_of_unknown_size(name, shape):
    model = kzoo.create_model(name, shape, num_classes=3, **narrow(name))
    for size in (64, 75):
        x = np.ones((2, *(size,) * (len(shape) - 1), 3))
        assert model(x).shape == (2, 3)


def test_no_classes_give_the_feature_vector():
    assert kzoo.models.resnet18((64, 64, 3), 0, width=8).output.shape == (None, 64)


def test_features_give_a_pyramid():
    model = kzoo.models.resnet18((64, 64, 3), 10, width=8, features=("stage2", "stage4"))
    assert [tuple(x.shape) for x in model.outputs] == [(None, 8, 8, 16), (None, 2, 2, 64)]


@pytest.mark.parametrize("shape", [(32, 3), (32, 32, 3)])
@pytest.mark.parametrize("name, field", [("resnet50", "stride_in_first"), ("resnetv2_50", "stride_in_last")])
def test_residual_networks_can_take_their_steps_earlier(name, field, shape):
    usual, earlier = (kzoo.create_model(name, shape, 2, width=4, depths=(2, 2), **{field: b}) for b in (False, True))
    before = named_here(f"stage2.block0.{'norm1' if name == 'resnet50' else 'norm2'}")
    assert usual.get_layer(before).output.shape[1] == 8
    assert earlier.get_layer(before).output.shape[1] == 4
    assert usual.output.shape == earlier.output.shape
    assert earlier.count_params() == usual.count_params()


def test_small_networks_have_the_golden_addresses():
    model = kzoo.models.resnet18((32, 32, 3), 2, depths=(1, 1), width=8)
    addresses = [
        "stem.conv1/kernel",
        "stem.norm1/gamma",
        "stem.norm1/beta",
        *[f"stage1.block0.{w}" for w in ("conv1/kernel", "norm1/gamma", "norm1/beta")],
        *[f"stage1.block0.{w}" for w in ("conv2/kernel", "norm2/gamma", "norm2/beta")],
        *[f"stage2.block0.{w}" for w in ("conv1/kernel", "norm1/gamma", "norm1/beta")],
        "stage2.block0.conv2/kernel",
        "stage2.block0.shortcut.conv1/kernel",
        *[f"stage2.block0.{w}" for w in ("norm2/gamma", "norm2/beta")],
        *[f"stage2.block0.shortcut.{w}" for w in ("norm1/gamma", "norm1/beta")],
        "logits/kernel",
        "logits/bias",
    ]
    assert [w.path for w in model.trainable_weights] == list(map(named_here, addresses))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "resnet5"}, "unknown model 'resnet5'; did you mean resnet5"),
        ({"widht": 8}, "unknown hyperparameter of resnet18 'widht'; did you mean width"),
        ({"stem": "conv8"}, "unknown stem 'conv8'; did you mean conv"),
        ({"block": "basik"}, "did you mean basic"),
        ({"shortcut": "zero"}, "did you mean zeros"),
        ({"dialect": "torch"}, "unknown dialect 'torch'; did you mean pytorch"),
        ({"features": ("stage9",)}, "unknown stage of resnet18 'stage9'; did you mean stage"),
        ({"groups": 2}, "no groups"),
        ({"input_shape": (32,)}, "token ids need vocab_size"),
        ({"input_shape": (32, 3), "vocab_size": 9}, "with vocab_size the input_shape is"),
        ({"input_shape": (8, 8, 8, 3)}, "expected input_shape"),
        ({"input_shape": (0, 3)}, "positive integer"),
        ({"input_shape": (-4, 3)}, "positive integer"),
        ({"input_shape": (32, None)}, "number of channels, the last entry of input_shape, must be known"),
        ({"num_classes": -1}, "num_classes must be a positive integer"),
        ({"name": "mlp", "input_shape": (None, 3)}, "fixed input size"),
        (
            {"name": "vgg11", "input_shape": (20, 32, 3)},
            r"too small for vgg11; .* is \(32, 32, 3\)",
        ),
        ({"name": "lenet5", "input_shape": (10, 1)}, r"smallest that works is \(28, 1\)"),
        (
            {"name": "fcn", "kernels": (8, 5)},
            r"filters and kernels must have equally many entries, got .* and \(8, 5\)",
        ),
        ({"name": "convnet", "pooling": "mean"}, "unknown pooling 'mean'"),
        ({"name": "convnet", "activation": "rellu"}, "unknown activation 'rellu'; did you mean relu"),
        ({"name": "convnet", "norm": "bacth"}, "unknown norm 'bacth'; did you mean batch"),
    ],
)
def test_mistakes_are_explained(options, message):
    if options.get("name") == "vgg11":
        options = options | {"width": 4, "dense_units": (8,)}
    with pytest.raises(ValueError, match=message):
        kzoo.create_model(**{"name": "resnet18", "input_shape": (32, 3), "num_classes": 2} | options)


def test_lists_are_filtered_and_wrong_filters_explained():
    assert kzoo.list_models("vgg1?") == ["vgg11", "vgg13", "vgg16", "vgg19"]
    assert "resnet50" in kzoo.list_models("*resnet*", family="resnet", dim=1)
    with pytest.raises(ValueError, match="unknown family 'vg'; did you mean vgg"):
        kzoo.list_models(family="vg")
