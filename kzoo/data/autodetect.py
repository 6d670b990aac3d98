"""Modality detection for `folder:PATH` and `tfds:NAME`: images, audio, text or series."""

from kzoo.data.audio.files import SUFFIXES as AUDIO
from kzoo.data.audio.sets import audio_from_tfds
from kzoo.data.folders import files_in
from kzoo.data.image.files import SUFFIXES as IMAGES
from kzoo.data.image.sets import images_from_tfds
from kzoo.data.splits import DATASETS, DatasetCard, first_line, register_detected
from kzoo.data.text.files import SUFFIXES as TEXTS
from kzoo.data.text.sets import texts_from_tfds
from kzoo.data.tfds import find_builder, input_and_label
from kzoo.data.timeseries.files import ONE_SERIES as SERIES

SUFFIXES = {"image": IMAGES, "audio": AUDIO, "text": TEXTS, "timeseries": SERIES}
FROM_TFDS = {"image": images_from_tfds, "audio": audio_from_tfds, "text": texts_from_tfds}


@register_detected("folder:", tuple(SUFFIXES), "your own files")
def folder(path: str) -> DatasetCard:
    """Images, audio, texts or series in class folders, PATH/CLASS/* (a folder or .zip file); the modality is detected.

    Texts and tables beside images or audio files are ignored, and tables of series beside texts.

    Raises:
        ValueError: if there is no such folder, no such files in it, or both images and audio files.
    """
    first, names = {}, list(files_in(path).names())
    names = [name for name in names if "/" in name] or names
    for modality, suffixes in SUFFIXES.items():
        name = next((name for name in names if name.lower().endswith(tuple(suffixes))), None)
        if name is not None:
            first[modality] = name
    if {"image", "audio"} <= first.keys():
        raise ValueError(
            f"{path} holds images (e.g. {first['image']}) and audio files (e.g. {first['audio']}); choose with "
            "image_folder: or audio_folder: in place of folder:"
        )
    if not first:
        expected = ", ".join(sorted(suffix for suffixes in SUFFIXES.values() for suffix in suffixes))
        raise ValueError(f"no images, audio files, texts or series ({expected}) in {path}")
    found = next(modality for modality in SUFFIXES if modality in first)
    return DATASETS["series_folder:" if found == "timeseries" else f"{found}_folder:"]


@register_detected("tfds:", tuple(FROM_TFDS), "tensorflow-datasets; each dataset has its own licence")
def tfds(name: str) -> DatasetCard:
    """Any image, audio or text classification dataset of tensorflow-datasets, by its name there.

    Raises:
        ValueError: for an unknown name, or a dataset of another modality, naming its features.
    """
    modality, *_ = input_and_label(find_builder(name, None), *FROM_TFDS)
    load = FROM_TFDS[modality]
    return DatasetCard("tfds:", modality, first_line(load), DATASETS["tfds:"].source, load)
