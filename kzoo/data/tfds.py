"""Image sets of tensorflow-datasets, prepared from the network or from files that the user put in place."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

from kzoo.data.image import Size, collect, height_and_width, resized
from kzoo.data.splits import Examples, RawData, register_dataset
from kzoo.lazy import lazy_import
from kzoo.registry import did_you_mean

np = lazy_import("numpy")
tfds = lazy_import("tensorflow_datasets")

Builder = "tfds.core.DatasetBuilder"


@register_dataset("mnist", "image", "Y. LeCun, C. Cortes, C. Burges; public")
def mnist(*, image_size: Size | None = None, data_dir: str | None = None, download: bool = True) -> RawData:
    """70,000 handwritten digits, 28 x 28 grey, 10 classes."""
    return load("mnist", image_size=image_size, data_dir=data_dir, download=download)


@register_dataset("fashion_mnist", "image", "H. Xiao, K. Rasul, R. Vollgraf, Zalando; MIT licence")
def fashion_mnist(*, image_size: Size | None = None, data_dir: str | None = None, download: bool = True) -> RawData:
    """70,000 pieces of clothing, 28 x 28 grey, 10 classes."""
    return load("fashion_mnist", image_size=image_size, data_dir=data_dir, download=download)


@register_dataset("cifar10", "image", "A. Krizhevsky, V. Nair, G. Hinton")
def cifar10(*, image_size: Size | None = None, data_dir: str | None = None, download: bool = True) -> RawData:
    """60,000 photographs, 32 x 32 colour, 10 classes."""
    return load("cifar10", image_size=image_size, data_dir=data_dir, download=download)


@register_dataset("cifar100", "image", "A. Krizhevsky, V. Nair, G. Hinton")
def cifar100(*, image_size: Size | None = None, data_dir: str | None = None, download: bool = True) -> RawData:
    """60,000 photographs, 32 x 32 colour, 100 classes."""
    return load("cifar100", image_size=image_size, data_dir=data_dir, download=download)


@register_dataset("tfds:", "image", "tensorflow-datasets; each set has its own licence")
def load(name: str, *, image_size: Size | None = None, data_dir: str | None = None, download: bool = True) -> RawData:
    """Any image classification set of tensorflow-datasets, by its name there.

    Args:
        name: e.g. "horses_or_humans" or "imagenet_v2".
        image_size: (height, width) or one number; needed where the images differ in size.
        data_dir: folder of prepared sets; tensorflow-datasets's own (~/tensorflow_datasets) if not given. Original
            files that were put into `data_dir/name/` are used in place of a download, after their checksums.
        download: False never touches the network.

    Raises:
        ValueError: for an unknown name, a set without images and labels, or files that are neither here nor
            to be had (naming them, and where to put them).
    """
    builder = find_builder(name, data_dir)
    image_key, label_key = feature_keys(builder)
    if not builder.is_prepared():
        prepare(builder, download)
    splits = {
        split: read_split(builder, split, image_key, label_key, height_and_width(image_size))
        for split in ("train", "validation", "test")
        if split in builder.info.splits
    }
    if "train" not in splits:
        raise ValueError(f"tfds:{name} has no train split, only {', '.join(builder.info.splits)}")
    class_names = tuple(builder.info.features[label_key].names)
    return RawData(splits["train"], splits.get("validation"), splits.get("test"), class_names)


def find_builder(name: str, data_dir: str | None) -> Builder:
    """Return the builder of a set that ships with tensorflow-datasets, without touching the network."""
    known = tfds.list_builders(with_community_datasets=False)
    if name.split("/")[0].split(":")[0] not in known:
        raise ValueError(f"unknown dataset 'tfds:{name}'; {did_you_mean(name, known)}")
    return tfds.builder(name, data_dir=None if data_dir is None else str(Path(data_dir).expanduser()))


def prepare(builder: Builder, download: bool) -> None:
    """Write the set into its data_dir, from the original files in `data_dir/name/` where they are.

    Each set has its own folders for original and for extracted files: MNIST and Fashion-MNIST use the same
    file names, and with a shared folder one would silently get the pixels of the other.

    Raises:
        ValueError: if files are missing and `download` is False or fails.
    """
    from requests import RequestException, head
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.util import DownloadError

    own = Path(builder.data_dir).parents[len(Path(builder.info.full_name).parts) - 2]
    name_files(builder)
    missing = {url: info.filename for url, info in builder.url_infos.items() if not (own / info.filename).exists()}
    what_to_do = f"put {', '.join(sorted(missing.values())) or 'the original files'} into {own}"
    if missing and not download:
        raise ValueError(f"{builder.name} is not prepared in {builder.data_dir} and download=False; {what_to_do}")
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(manual_dir=own, extract_dir=own / "extracted")
    try:
        if missing:
            head(next(iter(missing)), timeout=20)  # tensorflow-datasets itself tries for minutes
        builder.download_and_prepare(download_config=config)
    except NonMatchingChecksumError as error:
        raise ValueError(f"a file of {builder.name} in {own} is damaged or another set's; {gist(error)}") from error
    except (OSError, RequestException, DownloadError) as error:
        raise ValueError(f"{builder.name} cannot be downloaded ({gist(error)}); {what_to_do}") from error


def name_files(builder: Builder) -> None:
    """Name original files as in their addresses where tensorflow-datasets has no name for them, as those of TREC."""
    for url, info in builder.url_infos.items():
        name = info.filename or url.rpartition("/")[2]
        builder.url_infos[url] = dataclasses.replace(info, filename=name)


def gist(error: Exception) -> str:
    """Return the kind and the first 100 characters of an error."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"


def feature_keys(builder: Builder) -> tuple[str, str]:
    """Return the names of the image and of the label in the set's features."""
    features = builder.info.features
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    chosen = builder.info.supervised_keys or (next(iter(images), None), next(iter(labels), None))
    if chosen[0] not in images or chosen[1] not in labels:
        raise ValueError(f"tfds:{builder.name} has no image with a class label; its features are {', '.join(features)}")
    return chosen[0], chosen[1]


def read_split(
    builder: Builder, split: str, image_key: str, label_key: str, image_size: tuple[int, int] | None
) -> Examples:
    """Decode one split into arrays, in the set's own order."""
    count = builder.info.splits[split].num_examples
    labels = np.empty(count, "int32")

    def images() -> Iterator[np.ndarray]:
        for place, example in enumerate(tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False))):
            labels[place] = example[label_key]
            yield resized(example[image_key], image_size)

    return Examples(collect(images(), count, f"reading {builder.name} {split}"), labels)
