"""Image datasets for restoration: files that are degraded when they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kzoo.core.archives import MAX_MEMBER
from kzoo.core.lazy import np
from kzoo.core.ranges import Extent, PositiveInt
from kzoo.core.shown import listed
from kzoo.data.degrade import check_degradations, scale_of
from kzoo.data.folders import File, Listing, files_with_suffix, path_in, read_each, split_of
from kzoo.data.image.files import SUFFIXES, are_grey, read_image
from kzoo.data.image.geometry import MAX_PIXELS
from kzoo.data.image.preprocess import NeverResized
from kzoo.data.image.sets import DIGITS, digits
from kzoo.data.pairs import pairs
from kzoo.data.splits import RawData, register_dataset
from kzoo.tasks import Restoration

CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}
NOISE, MORE_NOISE = {"noise": 25.0}, {"noise": 60.0}
PART = 1_000_003  # between the seeds of the splits


@register_dataset("restore:", "image", "your own files", Restoration)
def restore_folder(
    path: str,
    *,
    degrade: Mapping = NOISE,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    channels: int | None = None,
    patch: Extent | None = 48,
    patches: PositiveInt = 16,
    enlarge: bool = False,
    luminance: bool = False,
    degrade_seed: int = 0,
    max_pixels: PositiveInt = MAX_PIXELS,
    max_bytes: PositiveInt = MAX_MEMBER,
) -> RawData:
    """Images of any size in a folder or .zip file, to be restored from noise, blur, reduction or missing pixels.

    All images are kept in memory. Training sees patches, whose noise is drawn anew in each epoch; the other splits are
    whole images with the same noise every time. A split without a folder is held out from the images for training.

    Args:
        path: the folder, or a .zip file of it.
        degrade: what is done to images, in this order: `noise` (standard deviation, of 255), `blur` (standard deviation
            of a Gaussian in pixels), `reduce` (factor of a bicubic reduction, for super-resolution), `missing`
            (fraction of the pixels that are black); `{}` for images that are reconstructed as they are.
        train: folder of the images for training; that called train, or all images if there is none.
        validation: folder of the images for validation, likewise.
        test: folder of the images for the test split, likewise.
        channels: 1 to read all as grey, 3 as red, green and blue; grey if all images are, by default.
        patch: height and width of the patches for training; None for whole images, all of one size then.
        patches: number of patches of an image in an epoch.
        enlarge: enlarge reduced images to their former size, for networks that keep the size.
        luminance: measure images in colour by their luminance alone.
        degrade_seed: of the noise in validation and test.
        max_pixels: limit on the pixels that a file claims to hold.
        max_bytes: limit on the size that a file in a .zip file claims to have.

    Raises:
        ValueError: for a missing folder, an unknown degradation, images smaller than a patch, or damaged files.
    """
    check_degradations(degrade)
    scale = scale_of(degrade)
    if patch is not None and patch % scale:
        raise ValueError(f"patch must be a multiple of {scale}, the factor of degrade.reduce, got {patch}")
    listing = files_with_suffix(path, SUFFIXES, "images", max_bytes)
    files = files_of_splits(path, listing, {"train": train, "validation": validation, "test": test})
    channels = channels or (1 if are_grey([file for part in files.values() for file in part]) else 3)
    if channels not in CHANNELS:
        raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels!r}")
    wholes = {
        split: list(read_each(lambda file: read_image(file, channels, max_pixels=max_pixels), part))
        for split, part in files.items()
    }
    check_patch(files["train"], wholes["train"], patch)
    sizes = {whole.shape[:2] for part in wholes.values() for whole in part} if patch is None else {}
    size = tuple(have // (1 if enlarge else scale) for have in next(iter(sizes))) if len(sizes) == 1 else (None, None)

    def examples(split: str, number: int) -> NeverResized | None:
        if split not in wholes:
            return None
        cut = {"patch": patch, "patches": patches} if split == "train" and patch else {}
        seed = degrade_seed + number * PART
        found = pairs(wholes[split], dict(degrade), enlarge=enlarge, seed=seed, **cut)
        groups = np.repeat(np.arange(len(wholes[split])), patches) if cut else None  # of one image, held out together
        return NeverResized(*found, size, groups=groups)

    each = [examples(split, number) for number, split in enumerate(("train", "validation", "test"))]
    task = restoration_of(channels, 1 if enlarge else scale, border=scale if scale > 1 else 0, luminance=luminance)
    return RawData(*each, task.names, task=task)


def restoration_of(channels: int, scale: int = 1, **options) -> Restoration:
    """Return the task for images of values from 0 to 255, which networks see divided by 255."""
    zeros, whole = (0.0,) * channels, (255.0,) * channels
    return Restoration(
        CHANNELS[channels], mean=zeros, deviation=whole, peak=255.0, limits=(0.0, 255.0), scale=scale, **options
    )


def files_of_splits(path: str, listing: Listing, named: Mapping[str, str | None]) -> dict[str, list[File]]:
    """Return the files of each split, by the folders that the user named, or that are called after splits.

    Raises:
        ValueError: for a folder that is not there or has no images.
    """
    own = {split: [f for f in listing.folders if under(f, name)] for split, name in named.items() if name}
    if not own:
        own = {s: [f for f in listing.folders if s in map(split_of, f.split("/"))] for s in named}
        own = {split: folders for split, folders in own.items() if folders}
    own.setdefault("train", list(listing.folders))
    found = {
        split: [each for folder in folders for each in files_in_folder(listing, folder)]
        for split, folders in own.items()
    }
    for split, files in found.items():
        if not files:
            names = listed([folder for folder, inside in listing.folders.items() if inside])
            raise ValueError(f"{path} has no images for {split}={named[split]!r}; there are images in {names}")
    return found


def under(folder: str, name: str) -> bool:
    """Return whether a folder is one of that name or path, or inside of it."""
    return f"/{folder}/".find(f"/{name.strip('/')}/") >= 0


def files_in_folder(listing: Listing, folder: str) -> list[File]:
    """Return the files that lie in a folder of a listing."""
    return [path_in(listing.root, f"{folder}/{name}".lstrip("/")) for name in listing.folders[folder]]


def check_patch(files: Sequence[File], wholes: Sequence[np.ndarray], patch: int | None) -> None:
    """Raise a ValueError for images that are smaller than a patch, or differ in size without one."""
    for file, whole in zip(files, wholes, strict=True):
        size = f"{whole.shape[0]} x {whole.shape[1]}"
        if patch is not None and min(whole.shape[:2]) < patch:
            raise ValueError(f"{file} is {size}, smaller than patch={patch}; give a smaller patch")
        if patch is None and whole.shape != wholes[0].shape:
            raise ValueError(f"{file} is {size}, but {files[0]} is of another size; give a patch")


@register_dataset("noisy_digits", "image", DIGITS, Restoration)
def noisy_digits(*, degrade: Mapping = MORE_NOISE, enlarge: bool = False, degrade_seed: int = 0) -> RawData:
    """1,797 handwritten digits, 8 x 8 grey, to be restored from noise; needs no download.

    Args:
        degrade: what is done to them; see `restore:`.
        enlarge: see `restore:`.
        degrade_seed: of the noise in validation and test.

    Raises:
        ValueError: for an unknown degradation.
    """
    check_degradations(degrade)
    scale, raw = scale_of(degrade), digits()
    size = (8 // (1 if enlarge else scale),) * 2

    def examples(part, number: int) -> NeverResized:
        found = pairs(list(part.inputs), dict(degrade), enlarge=enlarge, seed=degrade_seed + number * PART)
        return NeverResized(*found, size)

    task = restoration_of(1, 1 if enlarge else scale)
    return RawData(examples(raw.train, 0), None, examples(raw.test, 2), task.names, task=task)
