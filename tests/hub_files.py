"""Files laid out as the Hugging Face hub and its cache have them."""

import hashlib
import json
import sys
from pathlib import Path

import keras

import kzoo

STEPS = {
    "input_size": [3, 32, 32],
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.25, 0.3],
    "crop_pct": 0.8,
    "interpolation": "bicubic",
}


def write_repository(folder: Path, model: keras.Model, **changes) -> Path:
    """Write what the hub has of a network."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"architecture": model.name, "num_classes": 4, "label_names": list("abcd"), "pretrained_cfg": STEPS}
    (folder / "config.json").write_text(json.dumps(content | changes))
    kzoo.save_weights(model, folder / "model.safetensors")
    return folder


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


def name_imagenet_classes(monkeypatch) -> None:
    """Let keras.applications know the names of ImageNet's classes, "name 0" to "name 999", without a download."""
    module = sys.modules[keras.applications.imagenet_utils.decode_predictions.__module__]
    names = {str(index): [f"n{index}", f"name {index}"] for index in range(1000)}
    monkeypatch.setattr(module, "CLASS_INDEX", names)
