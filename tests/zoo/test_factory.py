"""Factories: names, arguments of other libraries, the plain model's signature, several networks in one model."""

import re
import warnings

import keras
import numpy as np
import pytest
from networks import FAMILIES, narrow, sampled, share

import kzoo
from kzoo.core.registry import MODELS, registered_name
from kzoo.core.yaml import parse_yaml
from kzoo.nn.graph import without_values
from kzoo.zoo.weights import rules_of

IMAGE = (32, 32, 3)


@pytest.fixture(scope="module")
def resnet8():
    return kzoo.models.resnet8(IMAGE, 4)


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ("ResNet50", "resnet50"),
        ("resnet_50", "resnet50"),
        ("ResNet50V2", "resnetv2_50"),
        ("MobileNetV2", "mobilenetv2_100"),
        ("EfficientNetB0", "efficientnet_b0"),
        ("VGG-16", "vgg16"),
        ("resnet5", "resnet50"),
    ],
)
def test_names_of_other_libraries_suggest_the_closest_registered_name(theirs, ours):
    with pytest.raises(AttributeError, match=rf"'{theirs}'; did you mean .*\b{ours}\b"):
        getattr(kzoo.models, theirs)
    with pytest.raises(ValueError, match=rf"unknown model '{theirs}'; did you mean .*\b{ours}\b"):
        kzoo.create_model(theirs, IMAGE, 4)
    with pytest.raises(ValueError, match=rf"did you mean .*\b{ours}\b"):
        kzoo.model_card(theirs)


@pytest.mark.parametrize(
    "name, arguments, advice",
    [
        ("resnet18", {"include_top": False}, "num_classes=0 returns the feature vector"),
        ("resnet18", {"classes": 7}, "write num_classes=7"),
        ("resnet18", {"pooling": "avg"}, "num_classes=0"),
        ("resnet18", {"pretrained": True}, "weights='torchvision/ResNet18_Weights.IMAGENET1K_V1'"),
        ("resnet50", {"weights": "imagenet"}, "write weights='keras/imagenet' or 'torchvision/ResNet50_Weights"),
        ("convnext_tiny", {"weights": "DEFAULT"}, "weights='keras/imagenet' or 'timm/convnext_tiny.TAG'"),
        ("convnet", {"weights": "imagenet"}, "no published weights are known"),
        ("resnet18", {"in_chans": 1}, r"last entry of input_shape: \(height, width, 1\)"),
        ("resnet18", {"num_channels": 1}, "last entry of input_shape"),
        ("resnet18", {"input_tensor": None}, r"model\(x\)"),
        ("resnet18", {"global_pool": "avg"}, "features="),
        ("convnet", {"drop_rate": 0.1}, "here it is dropout"),
        ("resnet18", {"drop_rate": 0.1}, "this architecture has no dropout"),
        ("resnet18", {"drop_path_rate": 0.1}, "here it is drop_path"),
    ],
)
def test_arguments_of_other_libraries_are_answered_by_what_to_type_here(name, arguments, advice):
    for create in (getattr(kzoo.models, name), lambda **given: kzoo.create_model(name, **given)):
        with pytest.raises(ValueError, match=advice) as error:
            create(**arguments)
        assert "\n" not in str(error.value)


def test_a_hyperparameter_of_the_same_name_is_the_architectures_own():
    model = kzoo.models.convnet((16, 16, 1), 3, pooling="avg", filters=(4,))
    assert isinstance(model.get_layer("average_pooling1"), keras.layers.AveragePooling2D)


@pytest.mark.parametrize(
    "input_shape, num_classes, message",
    [
        (IMAGE, "10", "num_classes must be a positive integer, or 0 for the feature vector, got '10'"),
        (IMAGE, ["cat", "dog"], "did you mean 2?"),
        (IMAGE, True, "num_classes must be a positive integer"),
        (224, 10, r"expected input_shape \(length, channels\) or \(height, width, channels\), e.g. .*; got 224"),
        ((None, 32, 32, 3), 10, r"leave out the batch axis: \(32, 32, 3\)"),
        ((32, 32, None), 10, "number of channels"),
    ],
)
def test_a_wrong_shape_or_number_of_classes_is_explained(input_shape, num_classes, message):
    with pytest.raises(ValueError, match=message):
        kzoo.models.resnet8(input_shape, num_classes)


def test_integers_of_numpy_are_integers():
    assert kzoo.models.lenet5((np.int64(28), np.int32(28), 1), np.int64(3)).output_shape == (None, 3)


@pytest.mark.parametrize(
    "input_shape, suggestion",
    [((32, 32), (32, 32, 3)), ((3, 32, 32), (32, 32, 3)), ((1, 28, 28), (28, 28, 1)), ((1, 640), (640, 1))],
)
def test_missing_or_leading_channels_are_warned_of_at_the_users_line(input_shape, suggestion):
    with pytest.warns(UserWarning, match=re.escape(str(suggestion))) as caught:
        kzoo.models.resnet8(input_shape, 4, width=4)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name, input_shape", [("resnet8", (32, 32, 3)), ("resnet8", (98, 40)), ("m5", (64, 64))])
def test_ordinary_shapes_are_not_warned_of(name, input_shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kzoo.create_model(name, input_shape, 4, width=4)


def test_two_networks_of_one_architecture_fit_into_one_model(tmp_path):
    left, right = (kzoo.models.resnet8(IMAGE, 0, width=4, name=side) for side in ("left", "right"))
    inputs = [keras.Input(IMAGE, name="a"), keras.Input(IMAGE, name="b")]
    distance = keras.layers.Subtract()([left(inputs[0]), right(inputs[1])])
    siamese = keras.Model(inputs, distance)
    siamese.save(tmp_path / "siamese.keras")
    x = [np.random.default_rng(0).normal(size=(2, *IMAGE)).astype("float32")] * 2
    loaded = keras.models.load_model(tmp_path / "siamese.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), siamese.predict(x, verbose=0), atol=1e-6)


def test_the_registered_name_is_remembered_beside_the_models_own(resnet8):
    model = kzoo.create_model("resnet8", IMAGE, 4, model_name="mine")
    assert (model.name, registered_name(model)) == ("mine", "resnet8")
    assert (resnet8.name, registered_name(resnet8)) == ("resnet8", "resnet8")
    assert registered_name(kzoo.models.resnet8(IMAGE, 4, name="mine", features=("stage1",))) == "resnet8"
    with pytest.raises(ValueError, match="model_name"):
        kzoo.create_model("resnet8", IMAGE, 4, name="mine")


def test_weights_of_another_library_load_whatever_the_model_is_called():
    mine, usual = (kzoo.models.resnet18((32, 32, 3), 4, width=4, name=name) for name in ("mine", None))
    assert rules_of(mine) == rules_of(usual) != ()


def test_a_run_remembers_the_registered_name_of_a_renamed_model(tmp_path):
    data = kzoo.load_dataset("digits", limit=64)
    model = kzoo.models.convnet(data.input_shape, data.num_classes, filters=(4,), padding="same", name="mine")
    kzoo.fit(model, data, epochs=1, run_dir=tmp_path / "run", verbose=False)
    loaded, _ = kzoo.load_run(tmp_path / "run")
    assert (loaded.name, registered_name(loaded)) == ("mine", "convnet")
    assert parse_yaml((tmp_path / "run" / "config.yaml").read_text())["model"]["name"] == "convnet"


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_classifier_activation_is_applied_to_the_logits(activation, resnet8):
    model = kzoo.models.resnet8(IMAGE, 4, classifier_activation=activation)
    model.set_weights(resnet8.get_weights())
    x = np.random.default_rng(0).normal(size=(2, *IMAGE)).astype("float32")
    expected = getattr(keras.ops, activation)(resnet8.predict(x, verbose=0))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)
    assert [weight.path for weight in model.weights] == [weight.path for weight in resnet8.weights]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"classifier_activation": "softmx"}, "did you mean softmax"),
        ({"classifier_activation": "softmax", "num_classes": 0}, "not in features"),
        ({"classifier_activation": "softmax", "features": ("stage1",)}, "not in features"),
    ],
)
def test_a_wrong_classifier_activation_is_explained(options, message):
    with pytest.raises(ValueError, match=message):
        kzoo.models.resnet8(IMAGE, **{"num_classes": 4} | options)


def test_help_says_that_logits_are_returned_and_explains_every_argument():
    text = kzoo.models.resnet18.__doc__
    assert "Returns logits" in text
    assert "He et al., 2016" in text
    for argument in ("input_shape", "num_classes", "weights", "classifier_activation", "name", "depths", "stem"):
        assert f"\n    {argument}: " in text


def test_the_plain_models_signature_is_stable():
    image, tokens = kzoo.models.resnet8(IMAGE, 4), kzoo.models.textcnn((20,), 3, vocab_size=50, filters=4)
    assert [tensor.name for tensor in (*image.inputs, *tokens.inputs)] == ["inputs", "inputs"]
    assert [tensor.dtype for tensor in (*image.inputs, *tokens.inputs)] == ["float32", "int32"]
    assert image.output_names == tokens.output_names == ["logits"]
    assert kzoo.models.resnet8(IMAGE, 0).output_names == ["features"]
    assert kzoo.models.resnet8(IMAGE, 4, features=("stage1", "stage2")).output_names == ["stage1", "stage2"]


@pytest.mark.parametrize("name", sampled([(name,) for name in FAMILIES], share(0)))
def test_no_layer_is_named_by_counting_what_the_process_built(name):
    shape, outputs, _ = kzoo.model_card(name).reference
    model = without_values(lambda: kzoo.create_model(name, shape, outputs, **narrow(name)))
    named_by_us = re.compile(r".*\..*|inputs|logits|features|embedding|[a-z_]*[a-z]\d+")
    others = [one for one in model.operations if not isinstance(one, keras.layers.Identity)]  # these are named outputs
    assert [one.name for one in others if not named_by_us.fullmatch(one.name)] == []


@pytest.mark.parametrize("name", ["convnet", pytest.param("resnet8", marks=pytest.mark.slow)])
def test_a_network_built_twice_has_equal_configs(name):
    first, second = (kzoo.create_model(name, IMAGE, 4) for _ in range(2))
    assert second.get_config() == first.get_config()
    keras.backend.clear_session()
    assert kzoo.create_model(name, IMAGE, 4).get_config() == first.get_config()


def test_a_network_can_be_extended_after_the_session_was_cleared(resnet8):
    keras.backend.clear_session()
    keras.Model(resnet8.input, keras.layers.Activation("softmax")(resnet8.output))


def test_a_model_of_feature_maps_takes_a_tensor_without_a_warning():
    maps = kzoo.models.resnet8(IMAGE, 4, width=4, features=("stage1", "stage2"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [found.shape[-1] for found in maps(np.zeros((1, *IMAGE), "float32"))] == [4, 8]


def test_completion_lists_factories_and_public_names():
    assert dir(kzoo.models) == kzoo.list_models()
    assert "resnet18" in dir(kzoo.models)
    assert not {"vgg", "importlib", "pkgutil"} & set(dir(kzoo.models))
    assert dir(kzoo) == sorted(kzoo.__all__)
    assert not {"core", "zoo", "training"} & set(dir(kzoo))


def test_a_card_is_readable_at_a_prompt_and_in_a_notebook():
    card = kzoo.model_card("resnet18")
    assert len(repr(card)) < 200
    assert all(word in repr(card) for word in ("resnet18", "11,689,512", "He et al., 2016"))
    assert all(word in str(card) for word in ("hyperparameter", "depths", "residual blocks", "PyTorch"))
    assert "<table" in card._repr_html_()
    assert "depths" in card._repr_html_()


@pytest.mark.parametrize("name", MODELS)
def test_every_card_has_a_short_repr(name):
    assert len(repr(MODELS[name])) < 250
