"""Trained weights by name: `timm/NAME.TAG` from the Hugging Face hub, or a folder that is laid out like it.

Such a folder holds `config.json`, which says which network it is and how images are prepared for it, and
`model.safetensors`. Downloads are cached by huggingface_hub (`HF_HOME`, `HF_HUB_OFFLINE`) and checked by their sha256.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from pathlib import Path
from typing import NamedTuple

from kzoo.data.image import ImagePreprocess
from kzoo.lazy import lazy_import

huggingface_hub = lazy_import("huggingface_hub")
keras = lazy_import("keras")

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SHA256 = re.compile(r"[0-9a-f]{64}")
IMAGENET_NAMES = "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json"
IMAGENET_NAMES_MD5 = "c2c37ea517e94d9795004a39431a14cb"


class Pretrained(NamedTuple):
    """Trained weights, and what belongs to them.

    Attributes:
        architecture: name of the network, as in timm.
        file: the weights.
        preprocess: from photographs to the network's input.
        num_classes: outputs.
        class_names: of the outputs; None where the source does not name them.
    """

    architecture: str
    file: Path
    preprocess: ImagePreprocess
    num_classes: int
    class_names: tuple[str, ...] | None


def find(name: str | Path) -> Pretrained:
    """Return trained weights by name, from the cache or the network, or from a folder.

    Args:
        name: `timm/resnet50.a1_in1k`, or the path of a folder with `config.json` and `model.safetensors`.

    Raises:
        ValueError: for a name that is neither, files that cannot be had, or weights that are not those of the checksum.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return described(folder / CONFIG, folder / WEIGHTS)
    owner, slash, repository = str(name).partition("/")
    if not (slash and repository) or owner != "timm" or str(name).count("/") > 1:
        raise ValueError(
            f"expected weights as timm/NAME.TAG, e.g. timm/resnet50.a1_in1k, or a folder; got {str(name)!r}"
        )
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ValueError(f"{name} needs the package huggingface_hub; pip install 'kzoo[hub]'")
    config, weights = (download(str(name), file) for file in (CONFIG, WEIGHTS))
    return described(config, weights)


def download(repository: str, file: str) -> Path:
    """Return one file of a repository of the Hugging Face hub, from the cache where it is there.

    Raises:
        ValueError: if it is not there and cannot be downloaded, or is damaged.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        path = Path(huggingface_hub.hf_hub_download(repository, file))
    except (OSError, HfHubHTTPError, ValueError) as error:
        gist = " ".join(str(error).split())[:150]
        raise ValueError(
            f"{file} of {repository} cannot be had ({type(error).__name__}: {gist}); where there is no network, copy "
            f"{CONFIG} and {WEIGHTS} of that repository into a folder and give its path"
        ) from error
    check_sum(path)
    return path


def check_sum(path: Path) -> None:
    """Raise a ValueError if a large file of the cache, which is named by its sha256, does not have it."""
    blob = path.resolve()
    if SHA256.fullmatch(blob.name):
        with blob.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != blob.name:
            raise ValueError(f"{path} is damaged: its sha256 is {found}, expected {blob.name}; delete it and try again")


def described(config: Path, weights: Path) -> Pretrained:
    """Return what timm's description of a network says of it.

    Raises:
        ValueError: if the files are missing, or the description is not one of timm's.
    """
    for file in (config, weights):
        if not file.is_file():
            raise ValueError(f"{file.parent} holds no {file.name}; expected {CONFIG} and {WEIGHTS}")
    try:
        content = json.loads(config.read_text())
        steps = content["pretrained_cfg"]
        names = content.get("label_names") or steps.get("label_names")
        return Pretrained(
            content["architecture"],
            weights,
            photograph_steps(steps),
            content["num_classes"],
            tuple(names) if names else None,
        )
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{config} does not describe a network as timm does: {type(error).__name__} {error}"
        ) from error


def photograph_steps(steps: dict) -> ImagePreprocess:
    """Return timm's preparation of photographs: shorter side to size / crop_pct, the middle, mean and deviation."""
    channels, *size = steps["input_size"]
    scaled = [tuple(255 * value for value in steps[key]) for key in ("mean", "std")]
    return ImagePreprocess(
        tuple(size), channels, *scaled, crop=steps.get("crop_pct", 0.875), interpolation=steps["interpolation"]
    )


def class_names(pretrained: Pretrained) -> tuple[str, ...]:
    """Return a name for each class: the source's own, those of ImageNet if there are 1,000, or numbers.

    Raises:
        ValueError: if the names of ImageNet are not in Keras's cache and cannot be downloaded.
    """
    if pretrained.class_names:
        return pretrained.class_names
    if pretrained.num_classes != 1000:
        return tuple(f"class {number}" for number in range(pretrained.num_classes))
    try:
        file = keras.utils.get_file(
            "imagenet_class_index.json", IMAGENET_NAMES, cache_subdir="models", file_hash=IMAGENET_NAMES_MD5
        )
    except Exception as error:  # Keras raises a plain one for whatever goes wrong
        raise ValueError(f"the names of ImageNet's classes cannot be had from {IMAGENET_NAMES}: {error}") from error
    content = json.loads(Path(file).read_text())
    return tuple(content[str(number)][1] for number in range(1000))
