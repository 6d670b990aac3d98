"""Datasets of tensorflow-datasets: download or offline files, input and label features, official splits."""

from __future__ import annotations

import contextlib
import dataclasses
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kzoo.core.files import reading
from kzoo.core.lazy import np, rich_progress, tfds
from kzoo.core.registry import did_you_mean
from kzoo.data.cache import remembered
from kzoo.data.sources import described, hash_of
from kzoo.data.splits import Examples, RawData
from kzoo.tasks import Tagging

Builder = "tfds.core.DatasetBuilder"


def find_builder(name: str, data_dir: str | None, file_format: str | None = None) -> Builder:
    """Return the builder of a dataset of tensorflow-datasets, without using the network.

    Args:
        name: of the dataset.
        data_dir: directory of prepared datasets; None for the usual one.
        file_format: in which it is to be prepared: "array_record", whose examples can be read at indices, or
            "tfrecord", which is read in order.
    """
    known = tfds.list_builders(with_community_datasets=False)
    if name.split("/")[0].split(":")[0] not in known:
        raise ValueError(f"unknown dataset 'tfds:{name}'; {did_you_mean(name, known)}")
    directory = None if data_dir is None else str(Path(data_dir).expanduser())
    return tfds.builder(name, data_dir=directory, **({} if file_format is None else {"file_format": file_format}))


def input_and_label(builder: Builder, *modalities: str) -> tuple[str, str, str]:
    """Return the modality of a dataset, and the names of its input and label features.

    These are the dataset's supervised keys, otherwise the first feature of one of the modalities and the first label:
    a class, or where there is none a sequence of classes, which are tags.

    Args:
        builder: of the dataset.
        modalities: to choose from: "image", "audio", "text".

    Raises:
        ValueError: if it has no feature of these modalities or no class label, naming its features.
    """
    features = builder.info.features
    types = {modality: getattr(tfds.features, modality.capitalize()) for modality in modalities}
    modality_of = {key: name for name in modalities for key in features if isinstance(features[key], types[name])}
    labels = sorted((key for key in features if label_names(features[key])), key=lambda key: is_several(features[key]))
    key, *_, label = builder.info.supervised_keys or (next(iter(modality_of), None), next(iter(labels), None))
    if key not in list(modality_of) or label not in labels:
        what = " or ".join(modalities)
        raise ValueError(
            f"tfds:{builder.name} has no {what} with a class label; its features are {', '.join(features)}"
        )
    return modality_of[key], key, label


def is_several(feature) -> bool:
    """Return whether a feature is a sequence of others."""
    return isinstance(feature, tfds.features.Sequence)


def label_names(feature) -> tuple[str, ...]:
    """Return the names of the classes of a class label, or of a sequence of them; () of another feature."""
    one = feature.feature if is_several(feature) else feature
    return tuple(one.names) if isinstance(one, tfds.features.ClassLabel) else ()


def targets_of(builder: Builder, label_key: str, labels: Sequence) -> np.ndarray:
    """Return raw labels as class indices, int32 (n,), or sequences of them as rows of 0 and 1, float32 (n, tags)."""
    feature = builder.info.features[label_key]
    if not is_several(feature):
        return np.array(labels, "int32")
    found = np.zeros((len(labels), len(label_names(feature))), "float32")
    for row, label in zip(found, labels, strict=True):
        row[np.asarray(label, int)] = 1
    return found


def official_splits(builder: Builder, label_key: str, read: Callable[[str], Examples]) -> RawData:
    """Read the train, validation and test splits of a prepared dataset.

    Where the labels of the test split are hidden (-1, as in GLUE), the validation split is the test split.
    """
    names = [split for split in ("train", "validation", "test") if split in builder.info.splits]
    if "train" not in names:
        raise ValueError(f"tfds:{builder.name} has no train split, only {', '.join(builder.info.splits)}")
    parts = {split: read(split) for split in names}
    train, validation, test = (parts.get(split) for split in ("train", "validation", "test"))
    if test is not None and (test.labels < 0).all():
        validation, test = None, validation
    feature = builder.info.features[label_key]
    names = label_names(feature)
    return RawData(train, validation, test, names, task=Tagging(names) if is_several(feature) else None)


def prepare(builder: Builder, download: bool) -> None:
    """Prepare the dataset in its data_dir unless it is there, from original files in `data_dir/name/` or a download.

    Each dataset has its own directories for original and for extracted files: MNIST and Fashion-MNIST use the same
    file names, and with a shared directory one would silently get the pixels of the other.

    Raises:
        ValueError: if files are missing and `download` is False or fails.
    """
    if builder.is_prepared():
        return
    own = original_files(builder)
    if builder.url_infos is None:  # no list of files and checksums, as for gtzan
        missing, instead = [builder.info.homepage], "unpack its files yourself and read them as folder:PATH"
    else:
        missing = {url: name for url, name in wanted_files(builder).items() if not (own / name).exists()}
        instead = f"put {', '.join(sorted(missing.values())) or 'the original files'} into {own}"
    if missing and not download:
        raise ValueError(f"{builder.name} is not prepared in {builder.data_dir} and download=False; {instead}")
    download_and_prepare(builder, own, next(iter(missing), None), instead)


def original_files(builder: Builder) -> Path:
    """Return the directory `data_dir/name` for original files."""
    return Path(builder.data_dir).parents[len(Path(builder.info.full_name).parts) - 2]


def wanted_files(builder: Builder) -> dict[str, str]:
    """Return the URL and name of each original file; of a dataset with configurations (GLUE), only those of this one.

    Where tensorflow-datasets has no name for a file, as for TREC, it is named as in its URL.
    """
    for url, info in builder.url_infos.items():
        builder.url_infos[url] = dataclasses.replace(info, filename=info.filename or url.rpartition("/")[2])
    names = {url: info.filename for url, info in builder.url_infos.items()}
    config = [value for value in vars(builder.builder_config or object).values() if isinstance(value, str)]
    return {url: name for url, name in names.items() if url in config} or names


def download_and_prepare(builder: Builder, own: Path, address: str | None, instead: str) -> None:
    """Download and prepare with tensorflow-datasets, after checking that `address` can be reached.

    Raises:
        ValueError: if that fails, in one line that ends with what to do instead.
    """
    from requests import RequestException, head
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.util import DownloadError

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(manual_dir=own, extract_dir=own / "extracted")
    try:
        if address is not None:
            head(address, timeout=20)  # tensorflow-datasets itself retries for minutes
        with contextlib.redirect_stdout(sys.stderr):  # what it says is no result of a command
            builder.download_and_prepare(download_config=config)
    except NonMatchingChecksumError as error:
        raise ValueError(
            f"a file of {builder.name} in {own} is damaged or of another dataset; {gist(error)}"
        ) from error
    except (OSError, RequestException, DownloadError) as error:
        raise ValueError(f"{builder.name} cannot be downloaded ({gist(error)}); {instead}") from error


def gist(error: Exception) -> str:
    """Return the type and the first 100 characters of an error."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"


class Record(NamedTuple):
    """An encoded feature of an example of a prepared dataset, with the methods of a path that reading files needs."""

    examples: Sequence[dict]
    index: int
    key: str
    split: str

    def read_bytes(self) -> bytes:
        """Return the encoded feature."""
        return self.examples[self.index][self.key]

    def __str__(self) -> str:
        return f"{self.split} example {self.index}"


@dataclass(frozen=True, eq=False)
class TFRecords(Sequence):
    """The examples of a split that was prepared as TFRecord, read at indices: where each begins is looked up once.

    Args:
        files: of the split, in order.
        parse: function from the bytes of a record to an example.
        places: of each record its file, first byte and number of bytes, int64 (n, 3).
    """

    files: Sequence[Path]
    parse: Callable[[bytes], dict]
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict:
        shard, start, length = self.places[index].tolist()
        with reading(self.files[shard]), self.files[shard].open("rb") as file:
            file.seek(start)
            return self.parse(file.read(length))


def is_tfrecord(builder: Builder) -> bool:
    """Return whether a dataset is prepared as TFRecord, in the order of whose files it is read fastest."""
    return builder.info.file_format == tfds.core.file_adapters.FileFormat.TFRECORD


HEADER, CHECKSUM = struct.Struct("<QI"), 4  # of a TFRecord: the length and its checksum, then data and their checksum


def places_of(files: Sequence[Path]) -> np.ndarray:
    """Return where the records of TFRecord files are, see `TFRecords`; only their lengths are read.

    Raises:
        ValueError: for a file that ends within a record.
    """
    found = []
    for shard, path in enumerate(files):
        end, size = 0, path.stat().st_size
        with reading(path), path.open("rb") as file:
            while end < size:
                file.seek(end)
                head = file.read(HEADER.size)
                length = HEADER.unpack(head)[0] if len(head) == HEADER.size else size
                found.append((shard, end + HEADER.size, length))
                end += HEADER.size + length + CHECKSUM
        if end > size:
            raise ValueError(f"{path} is truncated: its last record needs {end - size} more bytes")
    return np.array(found, "int64").reshape(-1, 3)


def examples_of(builder: Builder, split: str, key: str) -> Sequence[dict]:
    """Return the examples of a split of a prepared dataset, read at indices, with one feature as it was encoded."""
    undecoded = {key: tfds.decode.SkipDecoding()}
    if not is_tfrecord(builder):
        return builder.as_data_source(split=split, decoders=undecoded)
    features, files = builder.info.features, [Path(path) for path in builder.info.splits[split].filepaths]
    places = remembered(
        hash_of("places", *map(described, files)),
        f"records of {builder.info.full_name} {split}",
        lambda: places_of(files),
    )
    return TFRecords(files, lambda data: features.deserialize_example_np(data, decoders=undecoded), places)


def records(builder: Builder, split: str, key: str, label_key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the records of a split, an array of objects, and their targets, which are read only once."""
    examples = examples_of(builder, split, key)
    name = f"{builder.info.full_name} {split}"
    found = np.empty(len(examples), object)
    found[:] = [Record(examples, index, key, name) for index in range(len(examples))]
    directory = str(builder.data_dir)
    labels = remembered(
        hash_of("labels", directory, name, label_key),
        f"labels of {name}",
        lambda: targets_of(
            builder,
            label_key,
            [example[label_key] for example in rich_progress.track(examples, f"reading labels of {name}")],
        ),
    )
    return found, labels
