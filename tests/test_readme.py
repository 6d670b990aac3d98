"""The README: its snippets and commands run in the order printed, from an empty directory."""

import configparser
import importlib.util
import re
from pathlib import Path

import pytest
from hub_files import fill_cache, name_imagenet_classes, write_repository
from snippets import NEEDS, blocks, run

import kzoo

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"


@pytest.fixture
def empty_directory(tmp_path, monkeypatch):
    """Work in an empty directory, where the weights that the README downloads are in the cache already."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    if importlib.util.find_spec("huggingface_hub"):
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        steps = {"input_size": [3, 224, 224], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
        model = kzoo.models.resnet18((224, 224, 3), 1000)
        folder = write_repository(tmp_path / "hub", model, num_classes=1000, label_names=None, pretrained_cfg=steps)
        fill_cache(tmp_path / "cache", folder, "timm/resnet18.a1_in1k")
    name_imagenet_classes(monkeypatch)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["one epoch", "as printed"])
def test_its_snippets_and_commands_run_in_the_order_printed(empty_directory, quick):
    assert {block.language for block in blocks(README)} == {"python", "sh"}
    run(README, shell=True, quick=quick)


def test_an_extra_that_a_snippet_needs_is_named_above_it():
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    extras, parts = config["options.extras_require"], re.split(r"```\w*\n", README.read_text())
    for above, code in zip(parts[::2], parts[1::2], strict=False):
        named = [extras[name] for names in re.findall(r"'\.\[([\w,]+)\]'", above) for name in names.split(",")]
        needed = [packages[0].replace("_", "-") for word, packages in NEEDS.items() if word in code]
        assert [package for package in needed if not any(package in extra for extra in named)] == [], code


def test_it_shows_the_headline_of_a_report():
    headline = r"\ntest accuracy [\d.]+ % \(95 % interval [\d.]+ % to [\d.]+ %, 360 examples\)  macro-F1 "
    assert re.search(headline, README.read_text())


def test_it_stays_short():
    assert len(README.read_text().splitlines()) <= 200


@pytest.mark.parametrize("command", [r"pip install \. && kzoo train image/resnet8_digits", r"pip install '\.\[test\]'"])
def test_it_names_the_two_commands(command):
    assert re.search(command, README.read_text())


def test_its_links_lead_to_files():
    for page in (README, REPOSITORY / "CONTRIBUTING.md"):
        targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
        local = [target for target in targets if not target.startswith("http")]
        assert [target for target in local if not (REPOSITORY / target).exists()] == []


def test_it_links_every_family():
    linked = set(re.findall(r"kzoo/models/(\w+)\.py", README.read_text()))
    assert linked == {path.stem for path in (REPOSITORY / "kzoo" / "models").glob("*.py")} - {"__init__"}


def test_it_counts_the_networks():
    networks, families = re.search(r"(\d+) in (\d+) families", README.read_text()).groups()
    names = kzoo.list_models()
    assert abs(len(names) - int(networks)) < 10
    assert len({kzoo.model_card(name).family for name in names}) == int(families)
