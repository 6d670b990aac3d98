"""The Speech Commands dataset: its words, and its original archive with the official splits."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from kzoo.core.lazy import keras, np, soundfile
from kzoo.data import tfds as tfds_sets
from kzoo.data.arrays import collect
from kzoo.data.audio.files import Recordings, check_soundfile, cut_or_pad
from kzoo.data.splits import RawData

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

COMMANDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")

SILENCE, UNKNOWN = "_silence_", "_unknown_"
OTHER_WORDS = (
    *("backward", "bed", "bird", "cat", "dog", "follow", "forward", "happy", "house", "learn", "marvin", "sheila"),
    *("tree", "visual", "wow", *DIGITS),
)


def class_names_of(classes: int, choices: Sequence[int]) -> tuple[str, ...]:
    """Return the class names of the Speech Commands task with this number of classes."""
    names = {10: COMMANDS, 12: (*COMMANDS, SILENCE, UNKNOWN), 35: tuple(sorted((*COMMANDS, *OTHER_WORDS)))}
    if classes not in choices:
        raise ValueError(f"classes must be one of {', '.join(map(str, choices))}, got {classes!r}")
    return names[classes]


def commands_archive(data_dir: str | None, download: bool) -> Path:
    """Return the original archive of Speech Commands, from `data_dir/speech_commands` or from the network.

    Raises:
        ValueError: if it is missing and cannot be downloaded.
    """
    from requests import RequestException, head

    builder = tfds_sets.find_builder("speech_commands", data_dir)
    own = tfds_sets.original_files(builder)
    url, info = next(pair for pair in builder.url_infos.items() if "test_set" not in pair[0])
    file = own / Path(url).name
    what_to_do = f"put {file.name} into {own}"
    if file.exists():
        return file
    if not download:
        raise ValueError(f"speech_commands is not in {own} and download=False; {what_to_do}")
    try:
        head(url, timeout=20)
        keras.utils.get_file(file.name, url, file_hash=info.checksum, cache_dir=own, cache_subdir=".")
    except (OSError, RequestException) as error:
        raise ValueError(f"speech_commands cannot be downloaded ({tfds_sets.gist(error)}); {what_to_do}") from error
    return file


def read_archive(archive: Path, class_names: tuple[str, ...], samples: int) -> RawData:
    """Read the words of Speech Commands from its archive, with the official splits.

    Raises:
        ValueError: if the file is not that archive.
    """
    check_soundfile()
    try:
        with tarfile.open(archive) as tar:
            names = [member.name.removeprefix("./") for member in tar if member.isfile()]
            lists = {
                split: set(tar.extractfile(member).read().decode().split())
                for split, file in (("validation", "validation_list.txt"), ("test", "testing_list.txt"))
                for member in tar.getmembers()
                if member.name.removeprefix("./") == file
            }
            if len(lists) < 2:
                raise ValueError(f"{archive} has no validation_list.txt and testing_list.txt")
            words = [name for name in names if name.endswith(".wav") and name.split("/")[0] in class_names]
            split_of = {name: next((s for s, files in lists.items() if name in files), "train") for name in words}
            return RawData(*fill_splits(tar, split_of, class_names, samples), class_names)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{archive} cannot be read as an archive: {error}") from error


def fill_splits(
    tar: tarfile.TarFile, split_of: dict[str, str], class_names: tuple[str, ...], samples: int
) -> list[Recordings | None]:
    """Read the files of an archive in their order, and return the recordings of each split."""
    order = []

    def clips() -> Iterator[np.ndarray]:
        for member in tar.getmembers():
            name = member.name.removeprefix("./")
            if name in split_of:
                order.append(name)
                wave, rate = soundfile.read(io.BytesIO(tar.extractfile(member).read()), dtype="int16")
                if rate != 16000:
                    raise ValueError(f"{name} is at {rate} Hz, expected 16000 Hz")
                yield cut_or_pad(wave, samples)

    inputs = collect(clips(), len(split_of), "reading speech_commands")
    labels = np.array([class_names.index(name.split("/")[0]) for name in order], "int32")
    people = np.array([name.split("/")[1].split("_")[0] for name in order])
    whole = Recordings(inputs, labels, 16000, groups=people)
    indices = {split: [i for i, name in enumerate(order) if split_of[name] == split] for split in RawData._fields[:3]}
    return [whole.take(np.array(part)) if part else None for part in indices.values()]
