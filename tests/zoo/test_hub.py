"""Pretrained weights by name: from a directory laid out like the hub, from a cache, and errors."""

import functools
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hub_files import STEPS, fill_cache, name_imagenet_classes, write_repository
from PIL import Image

import kzoo
from kzoo.data.image import ImagePreprocess
from kzoo.data.splits import Examples, Splits
from kzoo.data.trained import warn_of_order
from kzoo.tasks import Classification
from kzoo.training.experiment import load_data
from kzoo.zoo import applications, hub


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    keras.utils.set_random_seed(0)
    return kzoo.models.resnet8((32, 32, 3), 4)


def weights_equal(first: keras.Model, second: keras.Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


def test_a_factory_takes_weights(trained, tmp_path):
    write_repository(tmp_path / "hub", trained)
    model = kzoo.models.resnet8((32, 32, 3), 4, weights=tmp_path / "hub")
    assert weights_equal(model, trained)
    assert weights_equal(kzoo.models.resnet8((32, 32, 3), 4, weights=tmp_path / "hub" / "model.safetensors"), trained)


@pytest.mark.parametrize(
    "shape, classes, said",
    [
        ((32, 32, 1), 4, "the sum over 3 input channels"),
        ((32, 32, 3), 9, "4 classes in place of 9"),
        ((32, 32, 3), 0, "this model has no classes"),
    ],
)
def test_other_channels_and_classes_are_adapted_with_a_warning(trained, tmp_path, shape, classes, said):
    write_repository(tmp_path / "hub", trained)
    with pytest.warns(UserWarning, match=said):
        kzoo.models.resnet8(shape, classes, weights=tmp_path / "hub")


def test_a_model_is_asked_about_an_image(trained, tmp_path):
    write_repository(tmp_path / "hub", trained)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype="uint8")
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    prediction = kzoo.load_model(tmp_path / "hub").predict(tmp_path / "photo.png")
    assert set(prediction.probabilities) == set("abcd")
    # by hand: shorter side to 32 / 0.8 = 40, the middle 32, then (x / 255 - mean) / std
    scaled = Image.fromarray(pixels).resize((56, 40), Image.Resampling.BICUBIC)
    middle = np.asarray(scaled, "float32")[4:36, 12:44]
    inputs = (middle / 255 - STEPS["mean"]) / STEPS["std"]
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(trained(inputs[None], training=False)))[0]
    np.testing.assert_allclose(list(prediction.probabilities.values()), expected, atol=0.02)


@pytest.mark.parametrize("labels", [list("dcba"), None])
def test_published_weights_bring_their_preprocessing_and_the_names_of_their_classes(labels, trained, tmp_path):
    write_repository(tmp_path / "hub", trained, label_names=labels)
    model = kzoo.models.resnet8((32, 32, 3), 4, weights=tmp_path / "hub")
    rng = np.random.default_rng(0)
    raw = Examples(rng.integers(0, 256, (40, 32, 32, 3), dtype="uint8"), np.arange(40, dtype="int32") % 4)
    own = ImagePreprocess.fit(raw)
    data = Splits(
        "mine", "image", dict.fromkeys(("train", "validation", "test"), raw), Classification(tuple("abcd")), own
    )
    inputs = (raw.inputs / 255 - STEPS["mean"]) / STEPS["std"]
    predicted = trained.predict(inputs, verbose=0).argmax(-1)
    with pytest.warns(UserWarning, match="mine has another preprocessing .* than resnet8 was trained with"):
        report = kzoo.evaluate(model, data)
    order = 3 - raw.labels if labels else raw.labels  # classes in another order are mapped by their names
    assert report.accuracy == pytest.approx((predicted == order).mean())
    assert list(report.per_class) == (labels or list("abcd"))


@pytest.mark.filterwarnings("ignore:.*(4 classes|the sum over)")
@pytest.mark.parametrize("shape, classes", [((32, 32, 3), 9), ((32, 32, 1), 4)])
def test_adapted_weights_bring_no_preprocessing(shape, classes, trained, tmp_path):
    write_repository(tmp_path / "hub", trained)
    assert not hasattr(kzoo.models.resnet8(shape, classes, weights=tmp_path / "hub"), "trained_with")


def test_a_run_is_loaded_too(run):
    assert kzoo.load_model(run).class_names == tuple("0123456789")


@pytest.fixture
def cache(trained, tmp_path, monkeypatch) -> Path:
    """Return the blob of the weights in a cache of huggingface_hub, which is told that there is no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return fill_cache(tmp_path / "cache", write_repository(tmp_path / "hub", trained))


def test_weights_come_from_the_cache_without_a_network(cache, trained):
    model = kzoo.models.resnet8((32, 32, 3), 4, weights="timm/resnet8.test")
    assert weights_equal(model, trained)


def test_a_wrong_checksum_is_refused(cache):
    content = bytearray(cache.read_bytes())
    content[-1] ^= 1
    cache.write_bytes(content)
    with pytest.raises(ValueError, match=f"is damaged: its sha256 is .*, expected {cache.name}"):
        hub.find("timm/resnet8.test")


def test_no_network_says_what_to_do(cache):
    with pytest.raises(ValueError, match="config.json of timm/resnet9.test cannot be downloaded.*into a directory"):
        hub.find("timm/resnet9.test")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"architecture": "resnet9"}, "are weights of resnet9, not of resnet8"),
        ({"pretrained_cfg": {}}, "cannot be read as timm's description of a network: KeyError"),
    ],
)
def test_descriptions_of_something_else(trained, tmp_path, changes, message):
    write_repository(tmp_path, trained, **changes)
    with pytest.raises(ValueError, match=message):
        kzoo.models.resnet8((32, 32, 3), 4, weights=str(tmp_path))


def test_a_folder_without_a_description(trained, tmp_path):
    write_repository(tmp_path, trained)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"holds no config.json; expected config.json and model.safetensors"):
        hub.find(tmp_path)


@pytest.mark.parametrize("name", ["resnet50", "timm/a/b", "somewhere/else", "keras/", "keras"])
def test_names_that_are_none(name):
    with pytest.raises(ValueError, match="expected weights as timm/NAME.TAG"):
        hub.find(name)


def test_names_of_torchvision_stand_for_the_copies_of_timm(cache, trained, monkeypatch):
    name = "torchvision/ResNet8_Weights.IMAGENET1K_V2"
    monkeypatch.setitem(hub.COPIES, "ResNet8_Weights.IMAGENET1K_V2", "resnet8.test")
    assert weights_equal(kzoo.models.resnet8((32, 32, 3), 4, weights=name), trained)
    preprocess = hub.find(name).preprocess
    assert preprocess.image_size == (224, 224)
    assert (preprocess.crop, preprocess.interpolation) == (0.965, "bilinear")  # 232 pixels, of which the middle 224
    assert preprocess.mean == tuple(255 * value for value in STEPS["mean"])


@pytest.mark.parametrize(
    "name, message",
    [
        ("ResNet50_Weights.IMAGENET1K_V3", "did you mean ResNet50_Weights.IMAGENET1K_V2"),
        (
            "MobileNet_V2_Weights.IMAGENET1K_V1",
            "timm has no copy of .*opens no pickles.*kzoo convert FILE.pth FILE.safetensors",
        ),
    ],
)
def test_weights_of_torchvision_that_are_pickles_alone(name, message):
    with pytest.raises(ValueError, match=message):
        hub.find(f"torchvision/{name}")


def test_a_bias_before_a_normalisation_is_folded_into_its_mean():
    inputs = keras.Input((8, 8, 3))
    convolved = keras.layers.Conv2D(4, 3, bias_initializer="random_normal")(inputs)
    normalised = keras.layers.BatchNormalization()(convolved)
    biased = keras.layers.Conv2D(4, 3, bias_initializer="random_normal", activation="relu")(normalised)
    model = keras.Model(inputs, [normalised, biased])
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    before = model(x, training=False)
    bias = model.layers[1].bias
    assert applications.fold_biases(model) == {bias.path}
    bias.assign(np.zeros(4))
    for found, expected in zip(model(x, training=False), before, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_classes_of_one_name_are_distinguished():
    """ImageNet has two classes "crane", the bird and the machine, and two "maillot"."""
    names = hub.unique_names([("crane", "n02012849"), ("dog", "n1"), ("crane", "n03126707")])
    assert names == ("crane (n02012849)", "dog", "crane (n03126707)")


def test_errors_of_a_download_are_not_cut_inside_a_word(monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")

    def fail(repository, file, revision):
        raise OSError("unreachable " * 100)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(ValueError, match=r"\(OSError: (unreachable )+\.\.\.\); without a network"):
        hub.find("timm/resnet8.test")


def test_every_network_of_the_tables_is_one_of_ours():
    copied = {name.partition("_Weights")[0].lower() for name in hub.COPIES}
    assert copied | applications.APPLICATIONS.keys() <= set(kzoo.list_models())
    for name, application in applications.APPLICATIONS.items():
        own = {"dialect", *kzoo.model_card(name).hyperparameters}
        assert application.hyperparameters.keys() <= own


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory) -> tuple[keras.Model, Path]:
    """Return a network of keras.applications, no weight as it was initialised, and its file."""
    keras.utils.set_random_seed(0)
    options = {"alpha": 0.35, "weights": None, "classifier_activation": None}
    network = keras.applications.MobileNetV2((224, 224, 3), **options)
    network.set_weights(
        [weight + 0.1 * np.random.default_rng(0).random(weight.shape) for weight in network.get_weights()]
    )
    file = tmp_path_factory.mktemp("applications") / "mobilenet.h5"
    network.save(file)
    return network, file


@pytest.fixture
def origin(mobilenet, tmp_path, monkeypatch) -> Path:
    """Return the file where Keras downloads it from, which is a directory here; its cache is another."""
    utils = sys.modules[keras.utils.get_file.__module__]
    monkeypatch.setattr(utils, "get_file", functools.partial(keras.utils.get_file, cache_dir=tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    builder = sys.modules[keras.applications.MobileNetV2.__module__]
    monkeypatch.setattr(builder, "BASE_WEIGHT_PATH", f"{tmp_path.as_uri()}/origin/")
    file = tmp_path / "origin" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224.h5"
    file.parent.mkdir()
    shutil.copy(mobilenet[1], file)
    return file


def test_weights_of_keras_are_fetched_once(mobilenet, origin):
    model = kzoo.models.mobilenetv2_035((224, 224, 3), 1000, dialect="tensorflow", weights="keras/imagenet")
    origin.unlink()
    again = kzoo.models.mobilenetv2_035((224, 224, 3), 1000, dialect="tensorflow", weights="keras/mobilenetv2_035")
    assert weights_equal(model, again)
    images = np.random.default_rng(0).normal(size=(2, 224, 224, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(mobilenet[0](images, training=False))
    logits = keras.ops.convert_to_numpy(model(images, training=False))
    np.testing.assert_allclose(logits, expected, atol=1e-4 * expected.std())


def test_a_model_of_keras_is_asked_about_an_image(mobilenet, origin, tmp_path, monkeypatch):
    name_imagenet_classes(monkeypatch)
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype="uint8")
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    prediction = kzoo.load_model("keras/mobilenetv2_035").predict(tmp_path / "photo.png")
    inputs = keras.applications.mobilenet_v2.preprocess_input(pixels[None].astype("float32"))
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(mobilenet[0](inputs, training=False)))[0]
    np.testing.assert_allclose([prediction.probabilities[f"name {n}"] for n in range(1000)], expected, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:keras/imagenet. logits")
def test_channels_and_classes_of_keras_are_adapted_with_a_warning(mobilenet, origin):
    with pytest.warns(UserWarning, match="the sum over 3 input channels"):
        model = kzoo.models.mobilenetv2_035((96, 96, 1), 0, dialect="tensorflow", weights="keras/imagenet")
    kernel = mobilenet[0].get_weights()[0].sum(axis=2, keepdims=True)
    np.testing.assert_allclose(model.get_weights()[0], kernel, rtol=1e-5)


def test_another_dialect_than_that_of_the_weights_is_refused(origin):
    with pytest.raises(ValueError, match="are weights of mobilenetv2_035 with dialect='tensorflow'"):
        kzoo.models.mobilenetv2_035((224, 224, 3), 1000, dialect="pytorch", weights="keras/imagenet")


def test_a_failed_download_of_keras_says_what_to_do(origin):
    origin.unlink()
    with pytest.raises(
        ValueError, match="MobileNetV2 cannot be loaded .*origin.* into the directory `models` of KERAS"
    ):
        kzoo.load_model("keras/mobilenetv2_035")


@pytest.mark.parametrize(
    "name, message",
    [
        ("keras/densenet12", "no weights for 'densenet12'.*did you mean densenet121"),
        ("keras/resnet18", "no weights for 'resnet18'"),
        ("keras/imagenet", "no weights for 'imagenet'.*convnext_base or .*vgg19"),
    ],
)
def test_networks_that_keras_does_not_have(name, message):
    with pytest.raises(ValueError, match=message):
        kzoo.load_model(name)


def test_names_are_spelt_as_here_or_in_keras():
    for spelt, ours in {"InceptionV3": "inception_v3", "MobileNetV2": "mobilenetv2_100", "vgg16": "vgg16"}.items():
        assert applications.find(spelt)[0] == ours


def test_fine_tuning_uses_the_preprocessing_of_the_weights(trained, tmp_path):
    write_repository(tmp_path / "hub", trained)
    model = kzoo.models.resnet8((32, 32, 3), 2, weights=tmp_path / "hub")
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.random.default_rng(number).integers(0, 256, (50, 70, 3), dtype="uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    data = kzoo.load_dataset(f"folder:{tmp_path / 'photos'}", validation=0.2, like=model)
    assert data.preprocess == hub.preprocessing(STEPS)
    assert data.examples["train"].inputs.shape[1:] == (40, 40, 3)  # 32 / 0.8
    again = kzoo.load_dataset(f"folder:{tmp_path / 'photos'}", validation=0.2, like=data, image_size=16, crop=1.0)
    assert again.input_shape == (16, 16, 3)
    assert again.preprocess.mean == data.preprocess.mean
    sections = {"data": {"name": f"folder:{tmp_path / 'photos'}"}, "model": {"name": "resnet8"}, "seed": 0}
    sections["model"]["weights"] = str(tmp_path / "hub")
    assert load_data(sections).preprocess == data.preprocess
    own = kzoo.load_dataset(f"folder:{tmp_path / 'photos'}", validation=0.2, image_size=32)
    with pytest.warns(UserWarning, match=r"another preprocessing \(mean, std, crop\) than the pretrained weights"):
        warn_of_order(model, own)
    with pytest.raises(ValueError, match="like= takes channels 3, but the data have 1"):
        kzoo.load_dataset("digits", like=model)
    with pytest.raises(ValueError, match="like=resnet8 has no preprocessing"):
        kzoo.load_dataset("digits", like=trained)


def test_a_grey_network_has_the_mean_of_the_colours(trained, tmp_path):
    write_repository(tmp_path / "hub", trained)
    with pytest.warns(UserWarning, match="the sum over 3 input channels"):
        grey = kzoo.models.resnet8((32, 32, 1), 10, weights=tmp_path / "hub")
    data = kzoo.load_dataset("digits", like=grey)
    assert data.input_shape == (32, 32, 1)
    assert data.preprocess.mean == pytest.approx((255 * 0.4,))
