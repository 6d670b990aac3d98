"""The README's Python snippets, run one after the other as a reader would."""

import importlib.util
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from hub_files import fill_cache, write_repository
from PIL import Image
from snippets import run, snippets

import kzoo

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def belongings(tmp_path, monkeypatch):
    """Put into the working folder what the README's reader has: recordings, a table, a photograph, cached weights."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype="uint8")).save("photo.jpg")
    Path("articles.csv").write_text("body,topic\n" + "the ball,sport\nthe vote,politics\n" * 20)
    if importlib.util.find_spec("soundfile"):
        import soundfile

        for word in ("yes", "no"):
            Path("recordings", word).mkdir(parents=True)
            for number in range(20):
                soundfile.write(f"recordings/{word}/{number}.wav", rng.normal(0, 0.1, 8000), 16000)
    if importlib.util.find_spec("huggingface_hub"):
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        steps = {"input_size": [3, 224, 224], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
        model = kzoo.models.resnet18((224, 224, 3), 1000)
        folder = write_repository(Path("hub"), model, num_classes=1000, label_names=None, pretrained_cfg=steps)
        fill_cache(tmp_path / "cache", folder, "timm/resnet18.a1_in1k")
        kzoo.save_weights(model, "checkpoint.safetensors")
    names = {str(number): [f"n{number}", f"name {number}"] for number in range(1000)}
    Path("names.json").write_text(json.dumps(names))
    monkeypatch.setattr(keras.utils, "get_file", lambda *args, **options: "names.json")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_snippets_run(belongings):
    assert snippets(REPOSITORY / "README.md")
    run(REPOSITORY / "README.md")


def test_it_stays_short():
    assert len((REPOSITORY / "README.md").read_text().splitlines()) < 250


@pytest.mark.parametrize("command", [r"pip install \. && kzoo train image/resnet8_digits", r"pip install '\.\[test\]'"])
def test_it_names_the_two_commands(command):
    assert re.search(command, (REPOSITORY / "README.md").read_text())
