"""Image file reading, and image datasets from class folders and .npz files."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.archives import MAX_MEMBER
from kzoo.core.files import reading
from kzoo.core.lazy import PIL_Image, lazy_import, np
from kzoo.core.ranges import PositiveInt, evenly_spaced
from kzoo.core.warn import warn_caller
from kzoo.data.folders import (
    File,
    Row,
    classes_and_splits,
    files_with_suffix,
    read_bytes,
    read_each,
    rows_by_folder,
    without_broken,
)
from kzoo.data.image.geometry import MAX_PIXELS, Geometry, takes_geometry
from kzoo.data.image.pixels import DEEPEST, WHITE, as_colour, eight_bit, guessed_range, is_deep
from kzoo.data.image.source import ImageFiles
from kzoo.data.labels import class_indices
from kzoo.data.sources import array_of
from kzoo.data.splits import SPLITS, Examples, RawData, register_dataset

PIL_ImageOps = lazy_import("PIL.ImageOps")

SUFFIXES = {  # of images that Pillow reads; HEIF is refused with what to do
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".jpx", ".webp", ".avif", ".tif", ".tiff"),
    *(".bmp", ".dib", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx", ".sgi", ".ico", ".qoi", ".heic", ".heif"),
}
SAMPLE = 100  # images that the range of values is guessed from


@dataclass(frozen=True)
class Pictures(Examples):
    """Raw images, uint8 of shape (n, height, width, channels), and how files were read; see `read_image`."""

    background: tuple[int, ...] = WHITE
    value_range: float = DEEPEST


def read_image(
    path: str | File,
    channels: int,
    background: int | Sequence[int] = WHITE,
    value_range: float = DEEPEST,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Read an image file as 8-bit grey (1 channel) or RGB (3 channels), rotated as its EXIF orientation says.

    Images of more than 8 bits are scaled, transparent ones are composed on the background, CMYK and palettes are
    converted; of an animation the first frame is read.

    Args:
        path: of the file.
        channels: 1 or 3.
        background: a grey level or (red, green, blue), 0 to 255.
        value_range: the value that becomes 255 in images of more than 8 bits.
        max_pixels: limit on the pixels that a file claims to hold.

    Raises:
        ValueError: if the file is missing, damaged or not an image, has a value outside of the range, or claims more
            than `max_pixels`.
    """
    if max_pixels > MAX_PIXELS:  # Pillow has one limit for the process
        PIL_Image.MAX_IMAGE_PIXELS = max(max_pixels, PIL_Image.MAX_IMAGE_PIXELS or 0)
    kind = (
        " as an image; convert it to PNG or JPEG" if str(path).lower().endswith((".heic", ".heif")) else " as an image"
    )
    with reading(path, kind), PIL_Image.open(readable(path)) as image:
        check_pixels(image.size, max_pixels)
        image.load()
        return eight_bit(PIL_ImageOps.exif_transpose(image), channels, background, value_range)


def check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    """Raise a ValueError for an image that claims too many pixels; none of them are unpacked yet."""
    if math.prod(size) > max_pixels:
        claim = f"it claims {size[0]:,} x {size[1]:,} pixels"
        raise ValueError(f"{claim}, more than max_pixels={max_pixels:,}; raise that if you trust it")


def readable(path: str | File) -> str | Path | io.BytesIO:
    """Return what Pillow can open: the path, or a buffer with the bytes of a file in a .zip file or a record."""
    return path if isinstance(path, (str, Path)) else io.BytesIO(read_bytes(path))


def is_grey(path: File) -> bool:
    """Return whether the header says that an image is grey; `read_image` reports damaged files."""
    try:
        with reading(path), PIL_Image.open(readable(path)) as image:
            return image.mode in ("1", "L", "LA") or is_deep(image.mode)
    except ValueError:
        return True


def guess_value_range(rows: Sequence[Row]) -> float:
    """Return the range of values of images of more than 8 bits, from the largest in a sample; a warning says it."""

    def largest(row: Row) -> float:
        try:
            with reading(row.file), PIL_Image.open(readable(row.file)) as image:
                check_pixels(image.size, MAX_PIXELS)
                return float(np.max(np.asarray(image))) if is_deep(image.mode) else 0
        except ValueError:
            return 0

    most = max(read_each(largest, [rows[index] for index in evenly_spaced(len(rows), SAMPLE)]))
    value_range = guessed_range(most) if most else DEEPEST
    if value_range != DEEPEST:
        warn_caller(
            f"images of more than 8 bits have values up to {most:g} and are read with value_range={value_range:g}; "
            "another value_range can be given"
        )
    return value_range


@register_dataset("image_folder:", "image", "your own files")
@takes_geometry
def image_folder(
    path: str,
    geometry: Geometry,
    *,
    classes: Sequence[str] | None = None,
    channels: int | None = None,
    skip_broken: bool = False,
    background: int | Sequence[int] = WHITE,
    value_range: float | None = None,
    max_pixels: PositiveInt = MAX_PIXELS,
    max_bytes: PositiveInt = MAX_MEMBER,
) -> RawData:
    """Images (PNG, JPEG, WebP, TIFF ...), a folder per class: PATH/CLASS/*, or PATH/train, validation, test/CLASS/*.

    Args:
        path: the folder, or a .zip file of it.
        geometry: `image_size` is required if the images differ in size; `resize`, `crop` and `interpolation` say how
            they are brought to it.
        classes: the classes to read, in the order of their indices; all if not given.
        channels: 1 to read all as grey, 3 as red, green and blue; grey if all images are, by default.
        skip_broken: leave out files that cannot be read, with a warning; a run lists them in `skipped_files.txt`.
        background: what transparent images are composed on, a grey level or (red, green, blue) from 0 to 255.
        value_range: the value that becomes 255 in images of more than 8 bits, as 4095 of a 12-bit camera; guessed from
            a sample if not given.
        max_pixels: limit on the pixels that a file claims to hold.
        max_bytes: limit on the size that a file in a .zip file claims to have.

    Raises:
        ValueError: for a missing folder, fewer than two classes, no images, or damaged files (each by name).
    """
    rows = rows_by_folder(path, files_with_suffix(path, SUFFIXES, "images", max_bytes), classes=classes)
    how = {"background": as_colour(background), "value_range": value_range or guess_value_range(rows)}
    rows, skipped = without_broken(lambda row: read_image(row.file, 3, max_pixels=max_pixels, **how), rows, skip_broken)
    class_names, splits = classes_and_splits(rows, classes)
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels!r}")
    parts = pictures(splits, class_names, geometry, channels, max_pixels, **how)
    return RawData(*map(parts.get, SPLITS), class_names, skipped=skipped)


def pictures(
    splits: Mapping[str, Sequence[Row]],
    class_names: Sequence[str],
    geometry: Geometry,
    channels: int | None = None,
    max_pixels: int = MAX_PIXELS,
    **how,
) -> dict[str, Pictures]:
    """Return the image files of each split, which are decoded when they are needed.

    Args:
        splits: rows of each split.
        class_names: in the order of the class indices.
        geometry: how they are brought to one size.
        channels: 1 for grey, 3 for colour, None for what the files are.
        max_pixels: see `read_image`.
        **how: further arguments of `read_image`.
    """
    files = [row.file for rows in splits.values() for row in rows]
    channels = channels or (1 if are_grey(files) else 3)
    decode = functools.partial(read_image, channels=channels, max_pixels=max_pixels, **how)
    source = ImageFiles.of(files, decode, geometry)

    def of(rows: Sequence[Row]) -> Pictures:
        labels = class_indices([row.label for row in rows], class_names)
        return Pictures(dataclasses.replace(source, files=array_of([row.file for row in rows])), labels, **how)

    return {split: of(rows) for split, rows in splits.items()}


def are_grey(files: Sequence[File]) -> bool:
    """Return whether all images are grey; a sample is enough to tell a dataset in colour."""
    sample = [files[index] for index in evenly_spaced(len(files), SAMPLE)]
    return all(read_each(is_grey, sample)) and all(read_each(is_grey, files))
