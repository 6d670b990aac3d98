"""`folder:` and `tfds:`, names that stand for images, audio and text: which of them is found by looking."""

from kzoo.data.audio.files import SUFFIXES as AUDIO
from kzoo.data.audio.sets import audio_from_tfds
from kzoo.data.folders import files_in, suffix_of
from kzoo.data.image.files import SUFFIXES as IMAGES
from kzoo.data.image.sets import images_from_tfds
from kzoo.data.splits import DATASETS, DatasetCard, card_of, register_kinds
from kzoo.data.text.files import SUFFIXES as TEXTS
from kzoo.data.text.sets import texts_from_tfds
from kzoo.data.tfds import find_builder, input_and_label

SUFFIXES = {"image": IMAGES, "audio": AUDIO, "text": TEXTS}
FROM_TFDS = {"image": images_from_tfds, "audio": audio_from_tfds, "text": texts_from_tfds}


@register_kinds("folder:", tuple(SUFFIXES), "your own files")
def folder(path: str) -> DatasetCard:
    """Images, recordings or .txt files, PATH/CLASS/* (a folder or .zip file): whichever are there.

    Text files beside images or recordings count as notes.

    Raises:
        ValueError: if there is no such folder, or none of these in it, or images and recordings.
    """
    first = {}
    for inside, _ in files_in(path):
        for kind, suffixes in SUFFIXES.items():
            if suffix_of(inside) in suffixes:
                first.setdefault(kind, inside)
    if {"image", "audio"} <= first.keys():
        raise ValueError(
            f"{path} holds images (e.g. {first['image']}) and recordings (e.g. {first['audio']}); say which, "
            "with image_folder: or audio_folder: in place of folder:"
        )
    if not first:
        expected = ", ".join(sorted(suffix for suffixes in SUFFIXES.values() for suffix in suffixes))
        raise ValueError(f"no images, recordings or texts ({expected}) in {path}")
    return DATASETS[f"{next(kind for kind in SUFFIXES if kind in first)}_folder:"]


@register_kinds("tfds:", tuple(FROM_TFDS), "tensorflow-datasets; each set has its own licence")
def tfds(name: str) -> DatasetCard:
    """Any image, audio or text classification set of tensorflow-datasets, by its name there.

    Raises:
        ValueError: for an unknown name, or a set of something else, naming its features.
    """
    builder = find_builder(name, None)
    kind, *_ = input_and_label(builder, *FROM_TFDS)
    return card_of("tfds:", kind, "tensorflow-datasets; each set has its own licence", FROM_TFDS[kind])
