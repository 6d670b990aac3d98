"""The table of pretrained weights: it names what the loader knows, and networks are listed by it."""

import pytest

import kzoo
from kzoo.core.registry import MODELS
from kzoo.zoo import applications, hub, published


def named(owner: str) -> set[str]:
    """Return the names in the table after that of their owner."""
    return {row.weights.partition("/")[2] for row in published.published() if row.weights.startswith(f"{owner}/")}


def test_the_table_names_what_the_loader_knows():
    assert named("torchvision") == set(hub.COPIES)
    assert named("keras") == set(applications.APPLICATIONS)
    ours = {copy for copy in hub.COPIES.values() if copy.partition(".")[0] in MODELS}  # timm has some by another name
    assert ours <= named("timm")
    assert len(named("timm") | named("torchvision") | named("keras")) == len(published.published())
    for row in published.published():
        card = MODELS[row.network]
        owner, _, name = row.weights.partition("/")
        assert owner != "timm" or (name.partition(".")[0] == row.network and card.key_mapping)
        assert owner != "torchvision" or name.partition("_Weights")[0].lower() == row.network


def test_the_numbers_of_the_table_are_plausible():
    for row in published.published():
        assert row.top1 is None or 30 < row.top1 < 91, row
        assert 32 <= row.resolution <= 640, row
        assert row.params == pytest.approx(MODELS[row.network].params, rel=0.03), row


def test_accuracies_are_the_published_ones():
    found = {row.weights: row.top1 for row in published.published()}
    assert found["torchvision/ResNet50_Weights.IMAGENET1K_V2"] == 80.858
    assert found["keras/vgg16"] == 71.3
    assert found["timm/resnet50.a1_in1k"] == 81.24


def test_networks_are_listed_by_size_modality_and_accuracy():
    small = kzoo.list_models(max_params=5_000_000, max_macs=300_000_000, sort="top1")
    best = published.best_top1()
    assert all(MODELS[name].params <= 5e6 and published.macs()[name] <= 3e8 for name in small)
    known = [best[name] for name in small if name in best]
    assert known == sorted(known, reverse=True)
    assert [name in best for name in small] == sorted((name in best for name in small), reverse=True)
    assert kzoo.list_models(family="vgg", sort="params")[0] == "vgg11"
    for modality in ("image", "audio", "text", "timeseries"):
        names = kzoo.list_models(modality=modality)
        assert names
        assert {kzoo.model_card(name).modality for name in names} == {modality}
    assert "ds_cnn" in kzoo.list_models(modality="audio")
    assert "textcnn" in kzoo.list_models(modality="text")
    assert "inceptiontime" in kzoo.list_models(modality="timeseries")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sort": "top5"}, "unknown order 'top5'; did you mean top1"),
        ({"modality": "images"}, "unknown modality 'images'; did you mean image"),
        ({"max_params": 0}, "max_params must be a positive integer or None, got 0"),
    ],
)
def test_mistakes_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        kzoo.list_models(**options)


@pytest.mark.parametrize(
    "modality, names",
    [
        ("image", ["resnet18", "segnet", "fast_scnn", "lenet5"]),
        ("timeseries", ["eegnex", "eeg_simple_conv", "ecg_resnet", "sleep_stager_blanco", "tcn", "modern_tcn"]),
        ("audio", ["m5", "yamnet", "bc_resnet_1", "quartznet_5x5", "mn04"]),
        ("text", ["textcnn", "vdcnn9", "fasttext"]),
    ],
)
def test_the_modality_is_that_of_what_was_published(modality, names):
    assert {name: kzoo.model_card(name).modality for name in names} == dict.fromkeys(names, modality)
