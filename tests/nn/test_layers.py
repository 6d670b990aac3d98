"""Layer functions: what each of them does beyond the Keras layer that it builds."""

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from kzoo.core.registry import PYTORCH, TENSORFLOW
from kzoo.nn import layers, standardized


def run(function, x: np.ndarray) -> np.ndarray:
    """Apply a layer function to an array."""
    inputs = keras.Input(x.shape[1:])
    return keras.ops.convert_to_numpy(keras.Model(inputs, function(inputs))(x, training=False))


@pytest.mark.parametrize("shape", [(1, 8, 1), (1, 9, 1)])
def test_symmetric_padding_centres_a_strided_window(shape):
    x = np.arange(shape[1], dtype="float32").reshape(shape)

    def pooled(dialect):
        with layers.written_in(dialect):
            return run(lambda t: layers.max_pool(t, 3, stride=2), x).ravel().tolist()

    assert pooled(PYTORCH) == [1, 3, 5, 7] if shape[1] == 8 else [1, 3, 5, 7, 8]
    assert pooled(TENSORFLOW) == ([2, 4, 6, 7] if shape[1] == 8 else [1, 3, 5, 7, 8])


def test_average_pooling_does_not_count_padding():
    x = np.ones((1, 5, 5, 1), "float32")
    assert run(lambda t: layers.avg_pool(t, 2), x).min() == 1.0


@pytest.mark.parametrize("length", range(3, 12))
@pytest.mark.parametrize("size, stride", [(2, 2), (3, 2), (3, 1), (3, 3)])
def test_ceil_mode_max_pooling_includes_the_incomplete_last_window(length, size, stride):
    values = np.random.default_rng(length).normal(size=length).astype("float32") - 10
    windows = -(-(length - size) // stride) + 1  # rounded up
    expected = [values[stride * n : stride * n + size].max() for n in range(windows)]
    found = run(lambda t: layers.max_pool(t, size, stride=stride, padding="ceil"), values.reshape(1, length, 1))
    np.testing.assert_array_equal(found.ravel(), np.array(expected, "float32"))


@pytest.mark.parametrize("length", range(1, 12))
@pytest.mark.parametrize("size, stride", [(1, 2), (1, 4), (2, 3), (2, 5), (3, 4)])
def test_ceil_mode_max_pooling_starts_no_window_beyond_the_end(length, size, stride):
    values = np.random.default_rng(length).normal(size=length).astype("float32") - 10
    expected = [values[start : start + size].max() for start in range(0, length, stride)]
    found = run(lambda t: layers.max_pool(t, size, stride=stride, padding="ceil"), values.reshape(1, length, 1))
    np.testing.assert_array_equal(found.ravel(), np.array(expected, "float32"))


def test_ceil_mode_max_pooling_on_images():
    x = np.random.default_rng(0).normal(size=(2, 8, 7, 3)).astype("float32") - 10
    found = run(lambda t: layers.max_pool(t, 3, stride=2, padding="ceil"), x)
    assert found.shape == (2, 4, 3, 3)
    for row in range(4):
        for column in range(3):
            window = x[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            np.testing.assert_array_equal(found[:, row, column], window.max(axis=(1, 2)))


@pytest.mark.parametrize("factor", [2, 3])
def test_upsampling_repeats_each_position(factor):
    signal, image = (
        np.random.default_rng(0).normal(size=shape).astype("float32") for shape in [(2, 5, 3), (2, 4, 5, 3)]
    )
    np.testing.assert_array_equal(run(lambda t: layers.upsample(t, factor), signal), signal.repeat(factor, axis=1))
    larger = image.repeat(factor, axis=1).repeat(factor, axis=2)
    np.testing.assert_array_equal(run(lambda t: layers.upsample(t, factor), image), larger)
    tall = run(lambda t: layers.upsample(t, (factor, 1)), image)
    np.testing.assert_array_equal(tall, image.repeat(factor, axis=1))


def test_subsampling_keeps_the_first_position_of_each_stride():
    x = np.arange(7, dtype="float32").reshape(1, 7, 1)
    assert run(lambda t: layers.subsample(t, 3), x).ravel().tolist() == [0, 3, 6]


def test_a_strided_pointwise_convolution_equals_one_on_the_subsampled_input():
    x = np.random.default_rng(0).normal(size=(2, 9, 9, 3)).astype("float32")
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layers.conv(inputs, 4, 1, stride=2))
    (convolution,) = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert convolution.strides == (1, 1)
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in convolution.weights)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(x)), x[:, ::2, ::2] @ kernel[0, 0] + bias, rtol=1e-4, atol=1e-5
    )


def test_kernels_of_one_network_differ():
    inputs = keras.Input((8, 4))
    model = keras.Model(inputs, layers.conv(layers.conv(inputs, 4), 4))
    first, second = (layer.kernel for layer in model.layers[1:])
    assert np.abs(np.asarray(first) - np.asarray(second)).max() > 0


@pytest.mark.parametrize("shape", [(8, 256), (8, 8, 256)])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_kernels_are_initialised_by_the_inputs_of_one_output(shape, multiplier):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layers.depthwise_conv(inputs, 3, multiplier=multiplier))
    kernel, _ = map(keras.ops.convert_to_numpy, model.weights)
    assert kernel.std() == pytest.approx((2 / 3 ** (len(shape) - 1)) ** 0.5, rel=0.05)
    assert model.layers[1].get_config()["depthwise_initializer"]["module"] == "keras.initializers"  # needs no kzoo


@pytest.mark.parametrize("shape", [(8, 256), (8, 8, 256)])
def test_grouped_kernels_are_initialised_by_the_inputs_of_one_output(shape):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    kernel = keras.ops.convert_to_numpy(keras.Model(inputs, layers.conv(inputs, 256, groups=32)).weights[0])
    assert kernel.std() == pytest.approx((2 / (8 * 3 ** (len(shape) - 1))) ** 0.5, rel=0.05)


@pytest.mark.parametrize("shape", [(8, 2), (8, 8, 2)])
def test_the_norm_of_each_depthwise_kernel_is_bounded(shape):
    inputs = keras.Input(shape)
    layer = keras.Model(inputs, layers.depthwise_conv(inputs, 3, multiplier=3, max_norm=0.5)).layers[-1]
    kernel = keras.ops.convert_to_numpy(layer.kernel.constraint(10 * layer.kernel))
    np.testing.assert_allclose(np.linalg.norm(kernel.reshape(-1, 6), axis=0), 0.5, rtol=1e-4)


def test_depthwise_kernels_of_one_network_differ():
    inputs = keras.Input((8, 4))
    model = keras.Model(inputs, layers.depthwise_conv(layers.depthwise_conv(inputs)))
    first, second = (keras.ops.convert_to_numpy(layer.kernel) for layer in model.layers[1:])
    assert np.abs(first - second).max() > 0


def test_a_gain_that_a_standardised_kernel_gets_later_is_read_back_in_its_place():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4)).astype("float32")
    layer = standardized.StandardizedConv(4, (3,), (1,), use_bias=True)
    layer.build((None, 8, 1))
    layer.set_weights([kernel.sum(axis=1, keepdims=True), np.ones(4)])
    layer.rescale(kernel)
    copy = standardized.StandardizedConv.from_config(layer.get_config())
    copy.build((None, 8, 1))
    copy.set_weights(layer.get_weights())
    x = np.random.default_rng(1).normal(size=(2, 8, 1)).astype("float32")
    np.testing.assert_array_equal(copy(x), layer(x))
    original = standardized.StandardizedConv(4, (3,), (1,), use_bias=True)
    original.build((None, 8, 3))
    original.set_weights([kernel, np.ones(4)])
    np.testing.assert_allclose(layer(x), original(x.repeat(3, axis=-1)), rtol=1e-4, atol=1e-5)


def test_drop_path_drops_whole_examples():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 2))
    model = keras.Model(inputs, layers.drop_path(inputs, 0.5))
    y = np.asarray(model(np.ones((64, 5, 2)), training=True))
    assert {tuple(np.unique(example)) for example in y} == {(0.0,), (2.0,)}


@pytest.mark.parametrize("kind", ["none", "batch", "layer", "group"])
def test_norms_by_name(kind):
    x = np.random.default_rng(0).normal(3, 2, size=(4, 6, 16)).astype("float32")
    y = run(lambda t: layers.norm(t, kind), x)
    axes = {"layer": -1, "group": (1, 2)}.get(kind)
    if axes is None:
        np.testing.assert_allclose(y, x if kind == "none" else x / np.sqrt(1 + 1e-5), rtol=1e-5)
    else:
        grouped = y if kind == "layer" else y.reshape(4, 6, 8, 2).transpose(0, 2, 1, 3).reshape(32, 6, 2)
        np.testing.assert_allclose(grouped.mean(axes), 0, atol=1e-5)


@pytest.mark.parametrize("function", ["conv", "depthwise_conv"])
@pytest.mark.parametrize("shape", [(9, 3), (9, 9, 3)])
def test_kernel_stride_and_dilation_per_axis(function, shape):
    x = np.ones((1, *shape), "float32")
    arguments = (4,) if function == "conv" else ()
    strided = run(lambda t: getattr(layers, function)(t, *arguments, kernel=3, stride=2), x)
    dilated = run(lambda t: getattr(layers, function)(t, *arguments, kernel=3, dilation=2, padding="valid"), x)
    assert strided.shape[1] == 5
    assert dilated.shape[1] == 5
    if len(shape) == 3:
        tall = run(lambda t: getattr(layers, function)(t, *arguments, kernel=(3, 1), stride=(2, 1)), x)
        assert tall.shape[1:3] == (5, 9)


@pytest.mark.parametrize("dialect", [TENSORFLOW, PYTORCH])
@pytest.mark.parametrize("rows", [6, 7])
@pytest.mark.parametrize("kernel", [3, 5])
def test_depthwise_strides_may_differ_without_onednn(kernel, rows, dialect):
    """On one channel a depthwise convolution equals a convolution; oneDNN supports any stride, but no float64."""
    keras.config.set_dtype_policy("float64")
    try:
        inputs = keras.Input((rows, 5, 1))
        with layers.written_in(dialect):
            outputs = [
                layers.conv(inputs, 1, kernel, stride=(2, 1), use_bias=False),
                layers.depthwise_conv(inputs, kernel, stride=(2, 1), use_bias=False),
            ]
        model = keras.Model(inputs, outputs)
    finally:
        keras.config.set_dtype_policy("float32")
    dense, depthwise = model.weights
    depthwise.assign(dense)
    expected, found = map(keras.ops.convert_to_numpy, model(np.random.default_rng(0).normal(size=(2, rows, 5, 1))))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


FUNCTIONS = {
    "conv": lambda x, kernel, **options: layers.conv(x, 2, kernel, **options),
    "depthwise": layers.depthwise_conv,
    "max": layers.max_pool,
    "avg": layers.avg_pool,
    "avg of zeros": lambda x, size, **options: layers.avg_pool(x, size, count_padding=True, **options),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dialect", [TENSORFLOW, PYTORCH], ids=["tensorflow", "pytorch"])
@pytest.mark.parametrize("stride", [1, 2, (2, 1)])
def test_each_axis_is_divided_by_its_stride_and_rounded_up_for_odd_and_even_kernels(stride, dialect, function):
    down, right = layers.per_axis(keras.Input((15, 14, 2)), stride)
    for kernel in range(2, 8):
        for rows, columns in ((15, 14), (14, 15)):
            with layers.written_in(dialect), keras.StatelessScope(initialize_variables=False):
                y = FUNCTIONS[function](keras.Input((rows, columns, 2)), kernel, stride=stride)
            assert y.shape[1:] == (-(-rows // down), -(-columns // right), 2), kernel


@pytest.mark.parametrize("stride", [2, (2, 1)])
@pytest.mark.parametrize("kernel", [2, 4, 5])
def test_in_pytorchs_convention_a_strided_window_is_every_second_one_of_stride_1(kernel, stride):
    x = np.random.default_rng(0).normal(size=(1, 9, 8, 2)).astype("float32") - 9
    down, right = layers.per_axis(keras.Input(x.shape[1:]), stride)
    pooled = run(lambda t: layers.max_pool(t, kernel, stride=1), x)
    np.testing.assert_array_equal(
        run(lambda t: layers.max_pool(t, kernel, stride=stride), x), pooled[:, ::down, ::right]
    )
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, [layers.conv(inputs, 3, kernel), layers.conv(inputs, 3, kernel, stride=stride)])
    model.set_weights(model.get_weights()[:2] * 2)
    whole, strided = map(keras.ops.convert_to_numpy, model(x))
    np.testing.assert_allclose(strided, whole[:, ::down, ::right], rtol=1e-4, atol=1e-4)


def test_a_1d_input_takes_the_first_of_two_sizes():
    signal, image = keras.Input((9, 3)), keras.Input((9, 9, 3))
    for function in (layers.avg_pool, layers.max_pool):
        assert function(image, (4, 3), padding="valid").shape[1:] == (2, 3, 3)
        assert function(signal, (4, 3), padding="valid").shape[1:] == (2, 3)


def test_kernels_along_the_first_axis_process_each_column_independently():
    x = np.random.default_rng(0).normal(size=(2, 9, 5, 3)).astype("float32")
    with layers.along_first_axis():
        inputs = keras.Input(x.shape[1:])
        model = keras.Model(inputs, layers.max_pool(layers.conv(inputs, 4, 3, stride=2), (3, 2), stride=2))
    y = keras.ops.convert_to_numpy(model(x))
    assert y.shape == (2, 3, 5, 4)
    permuted = keras.ops.convert_to_numpy(model(x[:, :, ::-1]))
    np.testing.assert_allclose(permuted, y[:, :, ::-1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_batch_norm_has_the_requested_parameters(scale, center):
    inputs = keras.Input((9, 3))
    model = keras.Model(inputs, layers.batch_norm(inputs, scale=scale, center=center))
    learnt = [name for name, wanted in (("gamma", scale), ("beta", center)) if wanted]
    assert [weight.name for weight in model.trainable_weights] == learnt


def test_a_window_larger_than_its_input_raises():
    with pytest.raises(layers.InputTooSmall, match="a window of 5 does not fit"):
        layers.conv(keras.Input((4, 1)), 2, 3, dilation=2, padding="valid")


def test_a_vector_is_not_a_feature_map():
    with pytest.raises(ValueError, match="expected a feature map"):
        layers.conv(keras.Input((4,)), 2)


STRIDED = {
    "resnet18": {"block": "bottleneck"},
    "resnet8": {},
    "resnetv2_50": {},
    "resnet50d": {},
    "wrn_28_10": {"depths": (1, 1)},
    "seresnet50": {},
}
FEW, ALL = list(STRIDED)[:1], list(STRIDED)


@pytest.mark.parametrize("dim, names", [(1, FEW), *[pytest.param(dim, ALL, marks=pytest.mark.slow) for dim in (1, 2)]])
def test_strided_blocks_train_on_odd_batches(dim, names):
    """A strided pointwise convolution corrupts the heap in TensorFlow 2.21: run in a subprocess."""
    program = f"""
        import keras, numpy as np, kzoo
        for name, options in {[(name, STRIDED[name]) for name in names]}:
            options = dict(depths=(1, 1), width=8) | options
            model = kzoo.create_model(name, (16,) * {dim} + (8,), 3, **options)
            model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
            x, y = np.random.normal(size=(89, *model.input_shape[1:])), np.arange(89) % 3
            model.fit(x, y, batch_size=32, epochs=4, verbose=0)
        print("whole")
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "whole", result.stderr[-2000:]
