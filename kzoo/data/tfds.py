"""What the sets of tensorflow-datasets share: prepared from the network or from files that the user put in place."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from kzoo.core.lazy import tfds
from kzoo.core.registry import did_you_mean
from kzoo.data.splits import Examples, RawData

Builder = "tfds.core.DatasetBuilder"


def find_builder(name: str, data_dir: str | None) -> Builder:
    """Return the builder of a set that ships with tensorflow-datasets, without touching the network."""
    known = tfds.list_builders(with_community_datasets=False)
    if name.split("/")[0].split(":")[0] not in known:
        raise ValueError(f"unknown dataset 'tfds:{name}'; {did_you_mean(name, known)}")
    return tfds.builder(name, data_dir=None if data_dir is None else str(Path(data_dir).expanduser()))


def input_and_label(builder: Builder, *kinds: str) -> tuple[str, str, str]:
    """Return which of the kinds the set is of, and the names of the input and of the label in its features.

    They are what the set itself calls its input and label, or else its first of the first kind.

    Args:
        builder: of the set.
        kinds: of "image", "audio", "text".

    Raises:
        ValueError: if it has none of them or no class label, naming its features.
    """
    features = builder.info.features
    types = {kind: getattr(tfds.features, kind.capitalize()) for kind in kinds}
    kind_of = {key: kind for kind in kinds for key in features if isinstance(features[key], types[kind])}
    labels = [key for key in features if isinstance(features[key], tfds.features.ClassLabel)]
    key, *_, label = builder.info.supervised_keys or (next(iter(kind_of), None), next(iter(labels), None))
    if key not in list(kind_of) or label not in labels:
        what = " or ".join(kinds)
        raise ValueError(
            f"tfds:{builder.name} has no {what} with a class label; its features are {', '.join(features)}"
        )
    return kind_of[key], key, label


def official_splits(builder: Builder, label_key: str, read: Callable[[str], Examples]) -> RawData:
    """Read the train, validation and test split of a prepared set.

    Where the labels of the test split are hidden (-1, as in GLUE), the validation split is the test split.
    """
    names = [split for split in ("train", "validation", "test") if split in builder.info.splits]
    if "train" not in names:
        raise ValueError(f"tfds:{builder.name} has no train split, only {', '.join(builder.info.splits)}")
    parts = {split: read(split) for split in names}
    train, validation, test = (parts.get(split) for split in ("train", "validation", "test"))
    if test is not None and (test.labels < 0).all():
        validation, test = None, validation
    return RawData(train, validation, test, tuple(builder.info.features[label_key].names))


def prepare(builder: Builder, download: bool) -> None:
    """Write the set into its data_dir if it is not there, from the original files in `data_dir/name/` if these are.

    Each set has its own folders for original and for extracted files: MNIST and Fashion-MNIST use the same
    file names, and with a shared folder one would silently get the pixels of the other.

    Raises:
        ValueError: if files are missing and `download` is False or fails.
    """
    if builder.is_prepared():
        return
    own = original_files(builder)
    if builder.url_infos is None:  # no list of files and checksums, as of gtzan
        missing, instead = [builder.info.homepage], "unpack its files yourself and read them as folder:PATH"
    else:
        missing = {url: name for url, name in wanted_files(builder).items() if not (own / name).exists()}
        instead = f"put {', '.join(sorted(missing.values())) or 'the original files'} into {own}"
    if missing and not download:
        raise ValueError(f"{builder.name} is not prepared in {builder.data_dir} and download=False; {instead}")
    download_and_prepare(builder, own, next(iter(missing), None), instead)


def original_files(builder: Builder) -> Path:
    """Return the folder `data_dir/name`, for files that the user has."""
    return Path(builder.data_dir).parents[len(Path(builder.info.full_name).parts) - 2]


def wanted_files(builder: Builder) -> dict[str, str]:
    """Return the address and name of each original file; of a set in variants, as GLUE, only the variant's own.

    Where tensorflow-datasets has no name for a file, as for those of TREC, it is given that in its address.
    """
    for url, info in builder.url_infos.items():
        builder.url_infos[url] = dataclasses.replace(info, filename=info.filename or url.rpartition("/")[2])
    names = {url: info.filename for url, info in builder.url_infos.items()}
    variant = [value for value in vars(builder.builder_config or object).values() if isinstance(value, str)]
    return {url: name for url, name in names.items() if url in variant} or names


def download_and_prepare(builder: Builder, own: Path, address: str | None, instead: str) -> None:
    """Let tensorflow-datasets do it, after a look whether `address` can be reached.

    Raises:
        ValueError: if that fails, in one line that ends in what to do instead.
    """
    from requests import RequestException, head
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.util import DownloadError

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(manual_dir=own, extract_dir=own / "extracted")
    try:
        if address is not None:
            head(address, timeout=20)  # tensorflow-datasets itself tries for minutes
        builder.download_and_prepare(download_config=config)
    except NonMatchingChecksumError as error:
        raise ValueError(f"a file of {builder.name} in {own} is damaged or another set's; {gist(error)}") from error
    except (OSError, RequestException, DownloadError) as error:
        raise ValueError(f"{builder.name} cannot be downloaded ({gist(error)}); {instead}") from error


def gist(error: Exception) -> str:
    """Return the kind and the first 100 characters of an error."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
