"""Streaming: the outputs of a step model are those of the whole network, for every network with a causal form."""

import re

import keras
import numpy as np
import pytest
from networks import FAMILIES, narrow

import kzoo

STEPS, BATCH = 6, 2
TOLERANCE = 1e-6  # of the largest absolute output: rounding in float32, whose epsilon is 1.2e-7
SPOTTERS = {  # keyword spotting and others for sound: input of a clip, and hyperparameters of a small network
    "tcn": ((20, 4), {"filters": (6, 6, 8), "kernel": 3}),
    "tc_resnet8": ((48, 10), {}),
    "ds_cnn": ((20, 10, 1), {"width": 8}),
    "matchboxnet_3x1x64": ((20, 8), {"width": 8, "stem_width": 12}),
    "bc_resnet_1": ((20, 20, 1), {"depths": (2,), "stage_widths": (1,), "strides": (1,)}),
    "m5": ((2048, 1), {"width": 8, "depths": (1, 1)}),
    "quartznet_5x5": ((20, 8), {"filters": (8, 12), "kernels": (5, 7), "repeats": 2, "stem_width": 8, "tail_width": 8}),
    "tdnn_ctc": ((5, 6), {}),
    "res8_narrow": ((24, 12, 1), {}),
}
FAST = ("tcn", "ds_cnn", "bc_resnet_1", "m5")
MODEL_PARAMETERS = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in SPOTTERS]


def trained(name: str, shape: tuple, **options) -> keras.Model:
    """Return a causal network whose normalisations and biases have other values than the initial ones."""
    keras.utils.set_random_seed(0)
    model = kzoo.create_model(name, shape, 3, causal=True, **options)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.endswith(("moving_variance", "gamma")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.path.endswith(("moving_mean", "beta", "bias")):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return model


def streamed(step: keras.Model, frames: np.ndarray, axis: int = 1) -> list[np.ndarray]:
    """Return the outputs of each step for frames, from a state of zeros."""
    size = step.inputs[0].shape[axis]
    state = [np.zeros((len(frames), *tensor.shape[1:]), tensor.dtype) for tensor in step.inputs[1:]]
    outputs = []
    for start in range(0, frames.shape[axis] - size + 1, size):
        given = [frames.take(range(start, start + size), axis), *state]
        made = step([keras.ops.convert_to_tensor(array) for array in given])
        output, *state = map(keras.ops.convert_to_numpy, made if isinstance(made, (list, tuple)) else [made])
        outputs.append(output)
    return outputs


def outputs_of(model: keras.Model, frames: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(frames, training=False))


def resized(model: keras.Model, shape: tuple) -> keras.Model:
    """Return the same network for another input shape."""
    other = keras.models.clone_model(model, input_tensors=keras.Input(shape))
    other.set_weights(model.get_weights())
    return other


def noise(shape: tuple) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(BATCH, *shape)).astype("float32")


def at_length(shape: tuple, axis: int, length: int) -> tuple:
    return (*shape[: axis - 1], length, *shape[axis:])


def axis_of(name: str) -> int:
    return getattr(kzoo.model_card(name).architecture, "time_axis", 1)


def check_frames(name: str, shape: tuple, tolerance: float = TOLERANCE, **options) -> None:
    """Check that streamed frames are those of the network that sees the whole recording at once."""
    axis = axis_of(name)
    model = trained(name, shape, head="frames", **options)
    if model.output_shape[axis] == 1:
        pytest.skip(f"{name} pools all positions before its head")
    step = kzoo.stream(model)
    whole = at_length(shape, axis, STEPS * step.inputs[0].shape[axis])
    frames = noise(whole)
    expected = outputs_of(resized(model, whole), frames)
    found = np.concatenate(streamed(step, frames, axis), axis=axis)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("name", MODEL_PARAMETERS)
def test_streamed_frames_are_those_of_the_whole_network(name):
    shape, small = SPOTTERS[name]
    check_frames(name, shape, **small)


ROUNDING = {"starnet_s050": 50}  # its blocks multiply two branches, which doubles relative errors in each


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_is_streamed_or_refused_with_a_reason(name):
    card = kzoo.model_card(name)
    shape = (512, 3) if 1 in card.dims else (64, 512, 3) if axis_of(name) == 2 else (512, 64, 3)
    try:
        check_frames(name, shape, ROUNDING.get(name, 10) * TOLERANCE, **narrow(name))  # deep ones round more often
    except ValueError as error:
        reason = re.search(
            "cannot be causal: |cannot be streamed: |head='frames' needs|head of |smallest that", str(error)
        )
        if reason is None:
            raise


@pytest.mark.parametrize("name", ["tdnn_ctc", *(pytest.param(name, marks=pytest.mark.slow) for name in SPOTTERS)])
def test_a_pooled_network_gives_at_each_step_what_it_gives_for_all_that_was_heard_of_a_clip(name):
    shape, small = SPOTTERS[name]
    axis = axis_of(name)
    model = trained(name, shape, head="pooled", **small)
    step = kzoo.stream(model)
    size = step.inputs[0].shape[axis]
    frames = noise(shape)
    for number, output in enumerate(streamed(step, frames, axis), start=1):
        heard = at_length(shape, axis, number * size)
        expected = outputs_of(resized(model, heard), frames.take(range(number * size), axis))
        assert np.abs(output - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_the_mean_of_a_pooled_network_is_over_the_last_clip():
    model = keras.Sequential([keras.Input((4, 1)), keras.layers.GlobalAveragePooling1D()])
    found = streamed(kzoo.stream(model), np.arange(1.0, 8.0, dtype="float32").reshape(1, 7, 1))
    np.testing.assert_allclose(np.squeeze(found), [1, 1.5, 2, 2.5, 3.5, 4.5, 5.5])


def test_the_maximum_of_a_pooled_network_is_over_the_last_clip_and_may_be_negative():
    model = keras.Sequential([keras.Input((3, 1)), keras.layers.GlobalMaxPooling1D()])
    found = streamed(kzoo.stream(model), np.array([-3, -2, -5, -4, -6, -7], "float32").reshape(1, 6, 1))
    np.testing.assert_allclose(np.squeeze(found), [-3, -2, -2, -2, -4, -4])


def test_overlapping_pooling_is_padded_with_what_it_ignores():
    x = inputs = keras.Input((None, 1))
    x = keras.ops.pad(x, ((0, 0), (2, 0), (0, 0)), constant_values=-float("inf"))
    model = keras.Model(inputs, keras.layers.MaxPooling1D(3, strides=1)(x))
    found = streamed(kzoo.stream(model), np.array([-3, -2, -5, -4, -6, -7], "float32").reshape(1, 6, 1))
    np.testing.assert_allclose(np.squeeze(found), [-3, -2, -2, -2, -4, -4])


def test_layers_of_keras_alone_are_streamed_with_shared_layers_having_a_state_for_each_call():
    shared = keras.layers.Conv1D(4, 3, padding="causal", dilation_rate=2)
    x = inputs = keras.Input((None, 4), name="x")
    x = keras.layers.add([x, shared(shared(x))])
    x = keras.layers.LayerNormalization()(keras.layers.SeparableConv1D(6, 2, strides=2, padding="same")(x))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    step = kzoo.stream(model)
    assert [tensor.name for tensor in step.inputs] == ["inputs", "state1", "state2"]
    frames = noise((12, 4))
    found = np.concatenate(streamed(step, frames), axis=1)
    np.testing.assert_allclose(found, outputs_of(model, frames), atol=1e-6)


def test_token_ids_are_streamed():
    model = kzoo.create_model("tcn", (10,), 3, head="frames", vocab_size=7, embed_dim=4, filters=(5,), kernel=3)
    ids = np.random.default_rng(0).integers(0, 7, (2, 10)).astype("int32")
    found = np.concatenate(streamed(kzoo.stream(model), ids), axis=1)
    np.testing.assert_allclose(found, outputs_of(model, ids), atol=1e-6)


def test_a_network_of_half_precision_is_streamed_in_float32():
    model = kzoo.create_model("tcn", (8, 1), 2, head="frames", precision="mixed_bfloat16", filters=(4,), dropout=0.5)
    assert {tensor.dtype for tensor in kzoo.stream(model).inputs} == {"float32"}


def built(*layers, shape=(16, 4)) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *layers])


@pytest.mark.parametrize(
    "model, reason",
    [
        (lambda: built(keras.layers.Conv1D(4, 3, padding="same")), "padding='same' looks at inputs to come; kzoo.cr"),
        (lambda: built(keras.layers.Conv1D(4, 3)), "it needs 2 inputs to come; kzoo.create_model\\(..., causal=True"),
        (lambda: built(keras.layers.ZeroPadding1D(1)), "kzoo does not know how it works in time"),
        (lambda: built(keras.layers.GlobalAveragePooling1D(), shape=(None, 4)), "has the length of a clip"),
        (lambda: built(keras.layers.GroupNormalization(2)), "kzoo does not know how it works in time"),
        (lambda: built(keras.layers.Flatten()), "it flattens all positions into one vector"),
        (lambda: built(keras.layers.LSTM(3)), "kzoo does not know how it works in time"),
        (lambda: built(keras.layers.LayerNormalization(axis=1)), "it works along time, over the whole recording"),
        (lambda: kzoo.create_model("ds_cnn", (49, 10, 1), 3, width=4), "padding='same' looks at"),
    ],
)
def test_what_cannot_be_streamed_is_refused_by_name(model, reason):
    with pytest.raises(ValueError, match=rf"cannot be streamed: \S+ \(\w+\): .*{reason}"):
        kzoo.stream(model())


def test_squeeze_and_excitation_is_refused_by_its_reason():
    inputs = keras.Input((16, 4))
    gate = keras.layers.GlobalAveragePooling1D(keepdims=True)(inputs)
    with pytest.raises(ValueError, match=r"multiply\S* \(Multiply\): it applies a mean over the whole recording"):
        kzoo.stream(keras.Model(inputs, keras.layers.multiply([inputs, gate])))


def test_other_mistakes_are_explained():
    model = kzoo.create_model("tcn", (16, 4), 3, filters=(4,))
    with pytest.raises(ValueError, match=r"time_axis must be a spatial axis of the input \(16, 4\), .*; got 2"):
        kzoo.stream(model, time_axis=2)
    with pytest.raises(ValueError, match="only a network with one output"):
        kzoo.stream(keras.Model(model.input, [model.output, model.output]))
