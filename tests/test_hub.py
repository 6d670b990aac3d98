"""Trained weights by name: from a folder laid out like the hub, from a cache, and what goes wrong."""

import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo import hub

STEPS = {
    "input_size": [3, 32, 32],
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.25, 0.3],
    "crop_pct": 0.8,
    "interpolation": "bicubic",
}


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    keras.utils.set_random_seed(0)
    return kzoo.models.resnet8((32, 32, 3), 4)


def write_repository(folder: Path, model: keras.Model, **changes) -> Path:
    """Write what the hub has of a network."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"architecture": model.name, "num_classes": 4, "label_names": list("abcd"), "pretrained_cfg": STEPS}
    (folder / "config.json").write_text(json.dumps(content | changes))
    kzoo.save_weights(model, folder / "model.safetensors")
    return folder


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


def test_a_model_is_asked_about_a_photograph(trained, tmp_path):
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


def test_a_run_is_loaded_too(run):
    assert kzoo.load_model(run).class_names == tuple("0123456789")


def fill_cache(cache: Path, repository: Path, name: str = "timm/resnet8.test") -> Path:
    """Lay out a repository as huggingface_hub caches it; return the blob of the weights."""
    root = cache / f"models--{name.replace('/', '--')}"
    snapshot = root / "snapshots" / "0123456789abcdef"
    for folder in (snapshot, root / "blobs", root / "refs"):
        folder.mkdir(parents=True)
    (root / "refs" / "main").write_text(snapshot.name)
    for file in ("config.json", "model.safetensors"):
        content = (repository / file).read_bytes()
        blob = root / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / file).symlink_to(blob)
    return blob


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
    with pytest.raises(ValueError, match="config.json of timm/resnet9.test cannot be had.*into a folder"):
        hub.find("timm/resnet9.test")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"architecture": "resnet9"}, "are weights of resnet9, not of resnet8"),
        ({"pretrained_cfg": {}}, "does not describe a network as timm does: KeyError"),
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


@pytest.mark.parametrize("name", ["resnet50", "timm/a/b", "somewhere/else"])
def test_names_that_are_none(name):
    with pytest.raises(ValueError, match="expected weights as timm/NAME.TAG"):
        hub.find(name)
