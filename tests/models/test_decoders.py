"""Networks with an encoder and a decoder: pyramids, dilation, sizes, pretrained encoders, mistakes."""

import keras
import numpy as np
import pytest
from hub_files import STEPS, write_repository
from networks import sampled, weights_without_values

import kzoo
from kzoo.models.unet_2015 import PADDINGS
from kzoo.nn.layers import interpolate_by, max_unpool
from kzoo.nn.pyramid import Encoder, Level, of_last, steps_up
from kzoo.zoo.weights import save_weights

SMALL = {"encoder": "resnet8", "filters": (8, 8)}  # strides 1, 2, 4


def maps_of(name: str, shape=(64, 64, 3), **options) -> list[Level]:
    with weights_without_values():
        return Encoder(name, **options)(keras.Input(shape))


@pytest.mark.parametrize(
    "name, strides, channels",
    sampled(
        [
            ("resnet18", [2, 4, 8, 16, 32], [64, 64, 128, 256, 512]),
            ("mobilenetv2_100", [2, 4, 8, 16, 32], [16, 24, 32, 96, 320]),
            ("convnext_tiny", [4, 8, 16, 32], [96, 192, 384, 768]),
            ("hrnet_w18_small", [2, 4, 8, 16, 32], [64, 16, 32, 64, 128]),
            ("vgg11", [2, 4, 8, 16, 32], [64, 128, 256, 512, 512]),
            ("resnet20", [1, 2, 4], [16, 32, 64]),
        ],
        ("resnet18", "resnet20", "vgg11"),
    ),
)
def test_a_pyramid_has_the_last_map_of_each_resolution(name, strides, channels):
    levels = maps_of(name)
    assert [level.stride for level in levels] == [(stride, stride) for stride in strides]
    assert [level.map.shape[-1] for level in levels] == channels
    assert [level.map.shape[1] for level in levels] == [64 // stride for stride in strides]


DILATED = (
    "resnet18",
    "resnext50_32x4d",
    "mobilenetv2_100",
    "convnext_tiny",
    "resnet50d",
    "efficientnet_b0",
    "vgg11_bn",
)


@pytest.mark.parametrize(
    "name, output_stride", sampled([(name, limit) for name in DILATED for limit in (8, 16)], DILATED[:1])
)
def test_strides_are_replaced_by_dilation(name, output_stride):
    levels = maps_of(name, output_stride=output_stride)
    assert [level.map.shape[1] for level in levels[-3:]] == [64 // min(n, output_stride) for n in (8, 16, 32)]


def test_dilated_layers_see_what_the_strided_ones_saw():
    """Every second position of a dilated stage has the value that the strided stage gives, weight for weight."""
    x = np.random.default_rng(0).normal(size=(2, 64, 3)).astype("float32")
    inputs = keras.Input((64, 3))
    strided, dense = (
        keras.Model(inputs, Encoder("resnet20", output_stride=limit)(inputs)[-1].map) for limit in (None, 1)
    )
    values = {weight.path: weight for weight in strided.weights}
    for weight in dense.weights:
        weight.assign(values[weight.path])
    np.testing.assert_allclose(dense(x)[:, ::4], strided(x), rtol=1e-4, atol=1e-5)
    assert dense.output.shape[1] == 64


@pytest.mark.parametrize("shape", [(37, 3), (37, 50, 3), (None, 3), (None, None, 3)])
def test_logits_have_the_size_of_any_input(shape):
    model = kzoo.create_model("unet", shape, 5, **SMALL)
    given = [37, 50][: len(shape) - 1]
    assert model(np.zeros((2, *given, 3))).shape == (2, *given, 5)
    assert model.output.dtype == "float32"
    assert model.output.shape == (None, *shape[:-1], 5)


def test_an_input_of_unknown_size_is_padded_like_one_of_known_size(tmp_path):
    fixed = kzoo.create_model("unet", (37, 50, 3), 2, **SMALL)
    free = kzoo.create_model("unet", (None, None, 3), 2, **SMALL)
    free.set_weights(fixed.get_weights())
    free.save(tmp_path / "free.keras")
    x = np.random.default_rng(0).normal(size=(2, 37, 50, 3)).astype("float32")
    for model in (free, keras.models.load_model(tmp_path / "free.keras")):
        np.testing.assert_allclose(model(x), fixed(x), rtol=1e-4, atol=1e-5)


def test_layers_are_addressed_by_encoder_and_decoder():
    model = kzoo.create_model("unet", (32, 3), 2, **SMALL)
    separator = "_" if keras.backend.backend() == "torch" else "."
    owners = {weight.path.partition(separator)[0] for weight in model.weights}
    assert owners == {"encoder", "decoder", "logits/kernel", "logits/bias"}
    maps = kzoo.create_model("unet", (32, 3), 2, features="encoder.stage2", **SMALL)
    assert [tuple(x.shape) for x in maps.outputs] == [(None, 16, 32)]
    assert kzoo.create_model("unet", (32, 3), 0, **SMALL).output_shape == (None, 32, 8)


def test_an_encoder_has_the_weights_of_its_own_network(tmp_path):
    classifier = kzoo.create_model("resnet8", (32, 32, 3), 10)
    file = save_weights(classifier, tmp_path / "resnet8.safetensors")
    model = kzoo.create_model("unet", (40, 36, 3), 2, encoder_weights=file, **SMALL)
    values = {weight.path: np.asarray(weight) for weight in classifier.weights}
    inside = [weight for weight in model.weights if weight.path.startswith("encoder")]
    assert len(inside) == len(values) - 2
    for weight in inside:
        np.testing.assert_array_equal(weight, values[weight.path.removeprefix("encoder.")])


def test_a_pretrained_encoder_brings_its_preprocessing(tmp_path):
    """That of its own repository, at the network's size; the classes are not the decoder's."""
    folder = write_repository(tmp_path / "resnet8", kzoo.create_model("resnet8", (32, 32, 3), 4))
    model = kzoo.create_model("unet", (48, 40, 3), 2, encoder_weights=folder, **SMALL)
    assert model.preprocess.image_size == (48, 40)
    assert model.preprocess.mean == pytest.approx([255 * mean for mean in STEPS["mean"]])
    assert model.trained_with.preprocess == model.preprocess
    assert model.trained_with.task is None
    with pytest.raises(ValueError, match="are weights of resnet8, not of the encoder resnet20"):
        kzoo.create_model("unet", (48, 40, 3), 2, encoder="resnet20", encoder_weights=folder)


@pytest.mark.parametrize("head", [None, "positions"])
def test_decoders_have_positions_without_being_asked(head):
    assert kzoo.create_model("unet", (32, 3), 2, head=head, **SMALL).output_shape == (None, 32, 2)
    assert {"segmentation", "step_classification"} <= set(kzoo.model_card("unet").tasks)
    assert "classification" not in kzoo.model_card("unet").tasks
    assert "unet" in kzoo.list_models(task="segmentation")


DECODERS = ["fpn", "linknet", "pspnet", "deeplabv3", "deeplabv3plus", "pan", "unetpp"]
SIZES = {"signal": (37,), "image": (41, 50), "any": (None, None)}


@pytest.mark.parametrize("kind, family", sampled([(kind, family) for family in DECODERS for kind in SIZES], ["signal"]))
def test_every_decoder_answers_at_each_position(kind, family):
    shape = SIZES[kind]
    model = kzoo.create_model(family, (*shape, 3), 4, encoder="resnet8")
    given = tuple(size or 45 for size in shape)
    assert model(np.zeros((2, *given, 3))).shape == (2, *given, 4)


@pytest.mark.parametrize("shape", [(37,), (50, 37)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_first_unet_has_logits_at_each_position(shape, padding):
    model = kzoo.create_model("unet_2015", (*shape, 1), 3, filters=(4, 4, 4), padding=padding)
    assert model.output.shape == (None, *shape, 3)


def test_paddings_of_the_first_unet_agree_inside():
    """Away from the borders neither zeros nor mirrored values are seen."""
    same, valid = (kzoo.create_model("unet_2015", (41, 1), 2, filters=(4, 4), padding=name) for name in PADDINGS)
    valid.set_weights(same.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 41, 1)).astype("float32")
    ours, theirs = (keras.ops.convert_to_numpy(model(x))[:, 10:-10] for model in (same, valid))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="padding='valid' needs an input of known size"):
        kzoo.create_model("unet_2015", (None, 1), 2, filters=(4, 4), padding="valid")


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size, factor", [(5, 3), (1, 4), (6, 2)])
def test_interpolation_is_linear_between_positions(size, factor, align_corners):
    x = np.random.default_rng(0).normal(size=(1, size, 2, 3)).astype("float32")
    found = interpolate_by(keras.ops.convert_to_tensor(x), (factor, 1), align_corners=align_corners)
    ends = (0, size - 1) if align_corners else (0.5 / factor - 0.5, size - 0.5 / factor - 0.5)
    places = np.linspace(*ends, size * factor)
    expected = np.apply_along_axis(lambda values: np.interp(places, np.arange(size), values), 1, x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_unpooling_returns_the_maxima_to_their_places():
    before = np.random.default_rng(0).integers(0, 3, (2, 4, 6, 3)).astype("float32")  # with equal values
    pooled = before.reshape(2, 2, 2, 3, 2, 3).max((2, 4))
    found = keras.ops.convert_to_numpy(max_unpool(*map(keras.ops.convert_to_tensor, (pooled, before))))
    for batch, row, column, channel in np.ndindex(pooled.shape):
        window = before[batch, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2, channel].ravel()
        made = found[batch, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2, channel].ravel()
        expected = np.where(np.arange(4) == window.argmax(), window.max(), 0)
        np.testing.assert_array_equal(made, expected)


def test_steps_up_pass_through_all_levels():
    def level(*stride):
        return Level(stride, None)

    twice = [((2,), (4,)), ((2,), (2,)), ((2,), (1,))]
    assert steps_up([level(2), level(8)]) == twice
    assert steps_up([level(3), level(6)]) == [((2,), (3,)), ((3,), (1,))]
    assert steps_up([level(1, 1), level(4, 2)]) == [((2, 2), (2, 1)), ((2, 1), (1, 1))]
    assert of_last((256, 128, 64), 2) == [128, 64]
    assert of_last((256, 128, 64), 4) == [256, 256, 128, 64]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"encoder": "resnet19"}, "unknown encoder 'resnet19'; did you mean resnet18"),
        ({"encoder": "mlp"}, "encoder mlp has no stages whose sizes divide that of the input; networks that have"),
        ({"encoder": "inception_v3"}, "encoder inception_v3 has no stages"),
        ({"encoder": "unet_resnet18"}, "encoder unet_resnet18 has no stages"),
        ({"encoder": "eegnet"}, "encoder eegnet takes 1-D feature maps"),
        ({"encoder": "tcn", "input_shape": (64, 3)}, "encoder tcn keeps the resolution of its input"),
        ({"output_stride": 12}, r"output_stride of encoder resnet18 must be one of \[2, 4, 8, 16, 32\], got 12"),
        ({"output_stride": 2}, "encoder resnet18 cannot be dilated to output_stride 2"),
        ({"encoder": "nf_resnet26", "output_stride": 8}, "weight standardisation cannot be dilated"),
        ({"input_shape": (20, 64, 3)}, r"too small for unet; the smallest that works is \(32, 32, 3\)"),
        ({"head": "pooled"}, "unknown head of unet 'pooled'; did you mean positions"),
        ({"encoder_weights": "keras/imagenet"}, "encoder_weights are timm's, torchvision's or a file"),
        ({"encoder_weights": "timm/a.b", "weights": "timm/a.b"}, "not both: the weights hold an encoder"),
        ({"name": "resnet18", "encoder": None, "encoder_weights": "timm/a.b"}, "resnet18 has no encoder; give weights"),
    ],
)
def test_mistakes_are_explained(options, message):
    given = {"name": "unet", "input_shape": (64, 64, 3), "num_classes": 2, "encoder": "resnet18"} | options
    with pytest.raises(ValueError, match=message):
        kzoo.create_model(**{key: value for key, value in given.items() if value is not None})


def test_weights_of_another_network_are_refused(tmp_path):
    file = save_weights(kzoo.create_model("resnet20", (32, 32, 3), 10), tmp_path / "resnet20.safetensors")
    with pytest.raises(ValueError, match="do not fit the encoder resnet18"):
        kzoo.create_model("unet_resnet18", (32, 32, 3), 2, encoder_weights=file)
