"""Pretrained weights by name, from timm, torchvision, keras.applications and the hub, with the preprocessing of each.

- `timm/NAME.TAG` from the Hugging Face Hub, or a directory laid out like a repository there: `config.json`, which names
  the network and its preprocessing, and `model.safetensors`. Downloads are cached by huggingface_hub (`HF_HOME`,
  `HF_HUB_OFFLINE`) and verified by their sha256.
- `torchvision/ResNet50_Weights.IMAGENET1K_V2` from timm's copy there, since torchvision's own files are pickles.
- `keras/NAME`, NAME spelt as here or in keras.applications, or `keras/imagenet` where a network is given. Downloads are
  cached by Keras (`KERAS_HOME`) and verified by the checksums that it knows; it knows none for MobileNet v1 and v2.
- `hf://user/name`, or `hf://user/name@revision`: any repository of the Hugging Face Hub with these two files.
"""

import dataclasses
import hashlib
import importlib.util
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kzoo.core.arguments import check_arguments
from kzoo.core.extras import missing_package
from kzoo.core.files import reading, shortened, user_path
from kzoo.core.lazy import keras, lazy_import, np
from kzoo.core.registry import ModelCard, did_you_mean, lookup
from kzoo.data.image import Geometry, ImagePreprocess
from kzoo.zoo import applications

huggingface_hub = lazy_import("huggingface_hub")

CONFIG, WEIGHTS = "config.json", "model.safetensors"
HUB = "hf://"
REPOSITORY = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
CROP_MODES = {"center": "crop", "squash": "squash"}  # of timm; its "border" pads with the mean colour
SHA256 = re.compile(r"[0-9a-f]{64}")

# Networks of torchvision whose weights timm has as safetensors: of both versions, of the first, under another name.
BOTH = ("ResNet50", "ResNet101", "ResNet152", "ResNeXt50_32X4D", "ResNeXt101_32X8D")
BOTH += ("Wide_ResNet50_2", "Wide_ResNet101_2")
FIRST = ("ResNet18", "ResNet34", "DenseNet121", "DenseNet161", "DenseNet169", "DenseNet201", "Inception_V3")
FIRST += ("ResNeXt101_64X4D", "VGG11", "VGG13", "VGG16", "VGG19", "VGG11_BN", "VGG13_BN", "VGG16_BN", "VGG19_BN")
REGNETS = {
    "RegNet_X_400MF": "regnetx_004_tv",
    "RegNet_X_800MF": "regnetx_008",
    "RegNet_X_1_6GF": "regnetx_016",
    "RegNet_X_3_2GF": "regnetx_032",
    "RegNet_X_8GF": "regnetx_080",
    "RegNet_X_16GF": "regnetx_160",
    "RegNet_X_32GF": "regnetx_320",
    "RegNet_Y_400MF": "regnety_004",
    "RegNet_Y_800MF": "regnety_008_tv",
    "RegNet_Y_1_6GF": "regnety_016",
    "RegNet_Y_3_2GF": "regnety_032",
    "RegNet_Y_8GF": "regnety_080_tv",
    "RegNet_Y_16GF": "regnety_160",
    "RegNet_Y_32GF": "regnety_320",
}
SIZES = {"Inception_V3": (299, 0.874), "ResNeXt101_64X4D": (224, 0.965)}  # and the fraction of the shorter side
COPIES = {f"{network}_Weights.IMAGENET1K_V1": f"{network.lower()}.tv_in1k" for network in (*FIRST, *BOTH)}
COPIES |= {f"{network}_Weights.IMAGENET1K_V2": f"{network.lower()}.tv2_in1k" for network in BOTH}
COPIES |= {f"{network}_Weights.IMAGENET1K_V2": f"{copy}.tv2_in1k" for network, copy in REGNETS.items()}


class Pretrained(NamedTuple):
    """Pretrained weights with their preprocessing and class names.

    Attributes:
        architecture: name of the network, as in timm.
        file: the weights; None for those of keras.applications, which Keras downloads.
        preprocess: from images to the network's input.
        num_classes: number of outputs.
        class_names: of the outputs; None where the source does not name them.
        application: the row of `kzoo.zoo.applications`; None for safetensors.
    """

    architecture: str
    file: Path | None
    preprocess: ImagePreprocess
    num_classes: int
    class_names: tuple[str, ...] | None
    application: applications.Application | None = None

    @property
    def hyperparameters(self) -> dict:
        """Hyperparameters that our network must be built with, framework convention included."""
        return dict(self.application.hyperparameters) if self.application else {}


def find(name: str | Path, architecture: str | None = None) -> Pretrained:
    """Return pretrained weights by name, from the cache or the network, or from a directory.

    Args:
        name: `timm/resnet50.a1_in1k`, `torchvision/ResNet50_Weights.IMAGENET1K_V2`, `keras/densenet121`,
            `hf://user/name`, or the path of a directory with `config.json` and `model.safetensors`.
        architecture: the network that `keras/imagenet` stands for.

    Raises:
        ValueError: for an unknown name, a failed download, or weights that do not match their checksum.
    """
    if is_repository(name):
        return described(*from_repository(name))
    folder = user_path(name)
    if folder.is_dir():
        return described(folder / CONFIG, folder / WEIGHTS)
    owner, _, rest = str(name).partition("/")
    if not rest or "/" in rest or owner not in OWNERS:
        raise ValueError(
            "expected weights as timm/NAME.TAG, e.g. timm/resnet50.a1_in1k, "
            "torchvision/ResNet50_Weights.IMAGENET1K_V2, keras/densenet121, hf://user/name, or a directory; got "
            f"{str(name)!r}"
        )
    return OWNERS[owner](architecture if architecture and str(name) == "keras/imagenet" else rest)


def known_weights(card: ModelCard) -> list[str]:
    """Return the names of the published weights of a network, most usual first; `TAG` stands for timm's own tags."""
    keras_names = ["keras/imagenet"] if card.name in applications.APPLICATIONS else []
    copies = {name: copy for name, copy in COPIES.items() if name.partition("_Weights")[0].lower() == card.name}
    of_timm = sorted({f"timm/{copy}" for copy in COPIES.values() if copy.partition(".")[0] == card.name})
    if not of_timm and card.key_mapping:
        of_timm = [f"timm/{card.name}.TAG"]
    return [*keras_names, *(f"torchvision/{name}" for name in copies), *of_timm]


def of_timm(name: str) -> Pretrained:
    """Return weights of timm by NAME.TAG."""
    return described(*from_repository(f"{HUB}timm/{name}"))


def is_repository(name: str | Path) -> bool:
    """Return whether a name is that of a repository of the Hugging Face Hub."""
    return str(name).startswith(HUB)


def parse_repository(name: str | Path) -> tuple[str, str | None]:
    """Return the repository and the revision in `hf://user/name@revision`, None for the newest.

    Raises:
        ValueError: for anything else.
    """
    found = REPOSITORY.fullmatch(str(name).removeprefix(HUB)) if is_repository(name) else None
    if found is None:
        raise ValueError(f"expected a repository of the Hugging Face Hub as hf://user/name, got {str(name)!r}")
    return found["repository"], found["revision"]


def from_repository(name: str) -> tuple[Path, Path]:
    """Return `config.json` and `model.safetensors` of a repository of the Hugging Face Hub, which lie in one folder.

    Raises:
        ValueError: without the package huggingface_hub, for a failed download or a damaged file.
    """
    repository, revision = parse_repository(name)
    check_hub_is_there(name)
    config, weights = (download(repository, file, revision) for file in (CONFIG, WEIGHTS))
    return config, weights


def check_hub_is_there(purpose: str) -> None:
    """Raise a ValueError that says what to install, if the package huggingface_hub is missing."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise missing_package(purpose, "huggingface_hub", "hub")


def of_torchvision(name: str) -> Pretrained:
    """Return weights of torchvision by their name there, from timm's copy, with torchvision's preprocessing.

    Raises:
        ValueError: for weights that timm has no copy of.
    """
    if name not in COPIES:
        raise ValueError(
            f"timm has no copy of torchvision/{name}, and kzoo opens no pickles; {did_you_mean(name, COPIES)} "
            "Otherwise convert torchvision's file, kzoo convert FILE.pth FILE.safetensors, and kzoo.load_weights that"
        )
    found, network = of_timm(COPIES[name]), name.partition("_Weights")[0]
    size, crop = SIZES.get(network, (224, 0.965 if name.endswith("V2") else 0.875))
    changes = {"image_size": (size, size), "crop": crop, "interpolation": "bilinear"}
    return found._replace(architecture=network.lower(), preprocess=dataclasses.replace(found.preprocess, **changes))


def of_keras(name: str) -> Pretrained:
    """Return weights of keras.applications by our name or theirs."""
    architecture, application = applications.find(name)
    return Pretrained(architecture, None, application.preprocess, 1000, None, application)


OWNERS = {"timm": of_timm, "torchvision": of_torchvision, "keras": of_keras}


def download(repository: str, file: str, revision: str | None = None) -> Path:
    """Return one file of a repository of the Hugging Face Hub, from the cache if it is there.

    Raises:
        ValueError: if it cannot be downloaded, or is damaged.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        path = Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
    except (OSError, HfHubHTTPError, ValueError) as error:
        said = f"{type(error).__name__}: {shortened(str(error))}"
        raise ValueError(
            f"{file} of {repository} cannot be downloaded ({said}); without a network, copy "
            f"{CONFIG} and {WEIGHTS} of that repository into a directory and pass its path"
        ) from error
    check_sha256(path)
    return path


def check_sha256(path: Path) -> None:
    """Raise a ValueError if a large file of the cache does not match its sha256, which is its name."""
    blob = path.resolve()
    if SHA256.fullmatch(blob.name):
        with blob.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != blob.name:
            raise ValueError(f"{path} is damaged: its sha256 is {found}, expected {blob.name}; delete it and try again")


def described(config: Path, weights: Path) -> Pretrained:
    """Return pretrained weights as timm's `config.json` describes them.

    Raises:
        ValueError: if a file is missing, or the description is not in timm's format.
    """
    for file in (config, weights):
        if not file.is_file():
            raise ValueError(f"{file.parent} holds no {file.name}; expected {CONFIG} and {WEIGHTS}")
    with reading(config, " as timm's description of a network"):
        content = json.loads(config.read_text(encoding="utf-8"))
        steps = content["pretrained_cfg"]
        names = content.get("label_names") or steps.get("label_names")
        found = Pretrained(
            content["architecture"],
            weights,
            preprocessing(steps),
            content["num_classes"],
            tuple(names) if names else None,
        )
        check_arguments(Pretrained, found._asdict())
    return found


def preprocessing(steps: dict) -> ImagePreprocess:
    """Return timm's preprocessing: resize the shorter side to size / crop_pct, centre crop, standardise.

    Raises:
        ValueError: for a way of cropping or an interpolation that is unknown here.
    """
    channels, *size = steps["input_size"]
    scaled = [tuple(255 * value for value in steps[key]) for key in ("mean", "std")]
    geometry = Geometry(
        tuple(size),
        lookup("crop_mode of timm,", steps.get("crop_mode", "center"), CROP_MODES),
        steps.get("crop_pct", 0.875),
        steps["interpolation"],
    )
    step = ImagePreprocess(channels=channels, mean=scaled[0], std=scaled[1], **vars(geometry))
    check_arguments(ImagePreprocess, vars(step))
    return step


def steps_of(preprocess: ImagePreprocess) -> dict | None:
    """Return the preprocessing of 8-bit images as timm describes it; None for one that it cannot describe."""
    modes = {ours: theirs for theirs, ours in CROP_MODES.items()}
    sized = preprocess.geometry is not None and None not in preprocess.image_size
    if not sized or preprocess.resize not in modes:
        return None
    return {
        "input_size": [preprocess.channels, *preprocess.image_size],
        "mean": [value / 255 for value in preprocess.mean],
        "std": [value / 255 for value in preprocess.std],
        "crop_pct": preprocess.crop,
        "crop_mode": modes[preprocess.resize],
        "interpolation": preprocess.interpolation,
    }


def preprocessing_of(weights: str, architecture: str) -> ImagePreprocess | None:
    """Return the preprocessing of pretrained weights by name; None for a file of weights, which has none."""
    return None if user_path(weights).is_file() else find(weights, architecture).preprocess


def for_input(preprocess: ImagePreprocess, shape: Sequence[int | None]) -> ImagePreprocess:
    """Return a preprocessing for a network of another input shape: its size, and grey in place of colours."""
    *size, channels = shape
    changes = {} if None in size else {"image_size": tuple(size)}
    if channels == 1 != preprocess.channels:
        changes |= {key: (sum(getattr(preprocess, key)) / preprocess.channels,) for key in ("mean", "std")}
        changes["channels"] = 1
    return dataclasses.replace(preprocess, **changes)


def class_names(pretrained: Pretrained) -> tuple[str, ...]:
    """Return a name for each class: the source's own, those of ImageNet if there are 1,000, or "class 0" and so on.

    Raises:
        ValueError: if the names of ImageNet are not in Keras's cache and cannot be downloaded.
    """
    if pretrained.class_names:
        return pretrained.class_names
    if pretrained.num_classes != 1000:
        return tuple(f"class {index}" for index in range(pretrained.num_classes))
    try:
        (classes,) = keras.applications.imagenet_utils.decode_predictions(-np.arange(1000.0)[None], top=1000)
    except Exception as error:  # Keras raises a plain one for whatever goes wrong in a download
        raise ValueError(f"the names of ImageNet's classes cannot be downloaded: {shortened(str(error))}") from error
    return unique_names([(name, wordnet_id) for wordnet_id, name, _ in classes])


def unique_names(classes: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return the names of classes, with the identifier in brackets where two have the same, as ImageNet's "crane"."""
    counts = Counter(name for name, _ in classes)
    return tuple(name if counts[name] == 1 else f"{name} ({identifier})" for name, identifier in classes)
