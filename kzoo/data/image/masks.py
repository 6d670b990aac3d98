"""Masks: images of which each pixel says its class, in files beside the images."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple

from kzoo.core.archives import MAX_MEMBER
from kzoo.core.files import reading
from kzoo.core.lazy import PIL_Image, np, tf
from kzoo.core.ranges import PositiveInt
from kzoo.core.registry import did_you_mean
from kzoo.core.shown import listed
from kzoo.core.warn import warn_caller
from kzoo.data.folders import SPELLINGS, File, Listing, files_with_suffix, path_in, read_each, split_of
from kzoo.data.image.files import (
    SUFFIXES,
    Pictures,
    are_grey,
    check_pixels,
    read_image,
    readable,
)
from kzoo.data.image.geometry import (
    MAX_PIXELS,
    Geometry,
    Size,
    crop_of_map,
    height_and_width,
    resized_map,
    takes_geometry,
)
from kzoo.data.image.pixels import WHITE, as_colour
from kzoo.data.image.source import ORIENTATION, ImageFiles, size_text
from kzoo.data.image.tiles import Tiles, Tiling
from kzoo.data.random import generator_of
from kzoo.data.sources import array_of
from kzoo.data.splits import RawData, register_dataset
from kzoo.tasks.segmentation import MOST_CLASSES, VOID, Segmentation

LOSSY = ("JPEG", "MPO")  # formats that change the values of pixels
TURNED = 5  # from which orientation of EXIF on height and width are exchanged
Level = int | Sequence[int]


class Coding(NamedTuple):
    """What the pixels of masks stand for.

    Attributes:
        levels: the grey level, palette index or (red, green, blue) of each class; None where they are class indices.
        void: of pixels whose class is not known; None if there are none.
        num_classes: number of classes; None before it is known.
    """

    levels: tuple[Level, ...] | None = None
    void: Level | None = None
    num_classes: int | None = None

    @classmethod
    def of(cls, colours: Mapping[str, Level] | None, void: Level | None, names: Sequence[str] | None) -> Coding:
        """Return the coding for options of a loader.

        Raises:
            ValueError: for levels that are none, of two kinds, or that two classes share.
        """
        levels = None if colours is None else tuple(level_of(name, level) for name, level in colours.items())
        void = None if void is None else level_of("void", void)
        every = [*(levels or ()), *(() if void is None else (void,))]
        if len({isinstance(level, tuple) for level in every}) > 1 or len(set(every)) < len(every):
            raise ValueError(f"colours and void must be different grey levels, or different colours, got {every}")
        found = levels if names is None else names
        if found is not None and len(found) > MOST_CLASSES:
            raise ValueError(f"at most {MOST_CLASSES} classes fit into masks, got {len(found)}")
        return cls(levels, void, None if found is None else len(found))

    @property
    def in_colour(self) -> bool:
        """Whether masks are read as red, green and blue."""
        return isinstance((self.levels or (self.void,))[0], tuple)

    def classes(self, values: np.ndarray) -> np.ndarray:
        """Return the class of each pixel, 255 where it is not known, 8-bit (height, width).

        Args:
            values: grey levels, palette indices or colours as one number, (height, width).

        Raises:
            ValueError: naming the first value that is no class.
        """
        levels = range(self.num_classes) if self.levels is None else self.levels
        known = {as_number(level): index for index, level in enumerate(levels)}
        known |= {} if self.void is None else {as_number(self.void): VOID}
        found, inverse = np.unique(values, return_inverse=True)
        wrong = [value for value in found.tolist() if value not in known]
        if wrong:
            row, column = np.argwhere(values == wrong[0])[0]
            raise ValueError(
                f"it has {self.text(wrong[0])} at row {row}, column {column}, expected {self.expected(levels)}"
            )
        return np.array([known[value] for value in found.tolist()], "uint8")[inverse].reshape(values.shape)

    def text(self, value: int) -> str:
        """Return a value in words."""
        return f"the colour {(value >> 16, value >> 8 & 255, value & 255)}" if self.in_colour else f"the value {value}"

    def expected(self, levels: Sequence[Level]) -> str:
        """Return in words what pixels may be."""
        known = f"one of {list(levels)}" if self.levels else f"a class from 0 to {len(levels) - 1}"
        more = "" if self.void is None else f" or {self.void} for void"
        return known + (more or "; say void= for pixels without a class, or colours={name: value}")


def level_of(name: str, level: Level) -> Level:
    """Return a grey level from 0 to 255, or a colour as a tuple; raise a ValueError for anything else."""
    if isinstance(level, int) and not isinstance(level, bool) and 0 <= level <= 255:
        return level
    if isinstance(level, (tuple, list)) and len(level) == 3:
        return as_colour(level)
    raise ValueError(f"{name!r} must be a value from 0 to 255 or (red, green, blue), got {level!r}")


def as_number(level: Level) -> int:
    """Return a colour as one number; a grey level as it is."""
    return level if isinstance(level, int) else level[0] << 16 | level[1] << 8 | level[2]


def read_mask(path: File, *, coding: Coding, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a mask file as class indices, 8-bit (height, width), 255 where no class is known.

    Raises:
        ValueError: if it is missing, damaged, a JPEG, or has a value that is no class.
    """
    return mask_with(path, coding.classes, coding.in_colour, max_pixels)


def mask_with(path: File, function: Callable, in_colour: bool = False, max_pixels: int = MAX_PIXELS):
    """Return a function of the values of a mask file, (height, width); its errors name the file."""
    with reading(path, " as a mask"), PIL_Image.open(readable(path)) as image:
        check_pixels(image.size, max_pixels)
        if image.format in LOSSY:
            raise ValueError(f"it is a {image.format}, whose compression changes the values; save masks as PNG")
        return function(values_of(image, in_colour))


def values_of(image, in_colour: bool) -> np.ndarray:
    """Return the values of a Pillow image, (height, width): palette indices, grey levels, or colours as one number."""
    if in_colour:
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), "int32"), -1, 0)
        return red << 16 | green << 8 | blue
    if image.mode in ("RGB", "RGBA", "CMYK", "YCbCr"):
        raise ValueError("it is in colour; say which is which: colours={name: (red, green, blue)}")
    if image.mode == "F":
        raise ValueError("it holds floats, expected whole numbers")
    return np.asarray(image.getchannel("L") if image.mode == "LA" else image).astype("int64")


@dataclass(frozen=True, eq=False)
class MaskFiles(ImageFiles):
    """Mask files, read as 8-bit class indices (height, width) of one size, by nearest neighbour.

    Args:
        images: the files of the images that they belong to, whose size they have.
    """

    images: np.ndarray = dataclasses.field(kw_only=True)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.files), *self.geometry.margin_size)

    def read(self, index: int) -> np.ndarray:
        return resized_map(self.whole(index), self.geometry)

    def whole(self, index: int) -> np.ndarray:
        """Return a mask in its own size.

        Raises:
            ValueError: for a mask of another size than its image.
        """
        mask, size = self.decode(self.files[index]), size_of(self.images[index])
        if mask.shape != size:
            raise ValueError(
                f"the mask {self.files[index]} is {size_text(mask.shape)}, its image {self.images[index]} is "
                f"{size_text(size)}"
            )
        return mask

    def take(self, indices: np.ndarray) -> MaskFiles:
        return dataclasses.replace(self, files=self.files[indices], images=self.images[indices])

    def cropped(self, indices, seeds, draw: Callable):
        def read(indices, seeds):
            masks = [self.whole(index) for index in indices]
            windows = [draw(mask.shape, generator_of(seed)).window for mask, seed in zip(masks, seeds, strict=True)]
            return np.stack([crop_of_map(*each, self.shape[1:]) for each in zip(masks, windows, strict=True)])

        batch = tf.numpy_function(read, [indices, seeds], tf.uint8)
        return tf.ensure_shape(batch, (None, *self.shape[1:]))


def size_of(path: File) -> tuple[int, int]:
    """Return height and width of an image as its header and its EXIF orientation say."""
    with reading(path, " as an image"), PIL_Image.open(readable(path)) as image:
        turned = image.getexif().get(ORIENTATION, 1) >= TURNED
        return image.size if turned else image.size[::-1]


class Pair(NamedTuple):
    """An image, its mask, and the split that their folders name."""

    image: File
    mask: File
    split: str


@register_dataset("masks:", "image", "your own files", Segmentation)
@takes_geometry
def masks(
    path: str,
    geometry: Geometry,
    *,
    images: str = "images",
    masks: str = "masks",
    class_names: Sequence[str] | None = None,
    colours: Mapping[str, Level] | None = None,
    void: Level | None = None,
    validation: str | None = None,
    test: str | None = None,
    tile: Size | None = None,
    hop: PositiveInt | None = None,
    channels: int | None = None,
    max_pixels: PositiveInt = MAX_PIXELS,
    max_bytes: PositiveInt = MAX_MEMBER,
) -> RawData:
    """Images and masks of equal names: PATH/images/NAME.jpg, PATH/masks/NAME.png, or such folders in train, test.

    A mask says the class of each pixel of its image: by palette index, grey level, or colour.

    Args:
        path: the folder, or a .zip file of it.
        geometry: `image_size` is required if the images differ in size. Masks are resized by nearest neighbour.
        images: name of the folder of the images.
        masks: name of the folder of the masks.
        class_names: in the order of the class indices; the indices up to the largest if not given.
        colours: value of each class, by its name: a grey level or palette index, or (red, green, blue). If not given,
            values are class indices.
        void: value or colour of pixels whose class is not known, which count for nothing.
        validation: shell pattern of the names of images that are the validation split, without suffix.
        test: likewise for the test split, such as "2[5-9]"; fractions as for other datasets.
        tile: height and width of tiles, or one number, in place of `image_size`: images keep their resolution, training
            sees a random tile of each, and measuring and serving join overlapping ones.
        hop: pixels from one tile to the next, three quarters of a tile if not given.
        channels: 1 to read all images as grey, 3 in colour; grey if all images are, by default.
        max_pixels: limit on the pixels that a file claims to hold.
        max_bytes: limit on the size that a file in a .zip file claims to have.

    Raises:
        ValueError: for a missing folder, an image without a mask, a mask that is a JPEG, that has another size than its
            image or a value that is no class, or damaged files (each by name).
    """
    if class_names is not None and colours is not None:
        raise ValueError("class_names are the keys of colours; leave out one of them")
    coding = Coding.of(colours, void, class_names)
    pairs = pairs_in(path, files_with_suffix(path, SUFFIXES, "images", max_bytes), images, masks)
    for split, pattern in (("validation", validation), ("test", test)):
        pairs = pairs if pattern is None else moved_to(path, pairs, split, pattern)
    if coding.num_classes is None:
        coding = coding._replace(num_classes=largest_class(path, pairs, coding) + 1)
    names = tuple(map(str, colours or class_names or range(coding.num_classes)))
    table = tuple(level if isinstance(level, tuple) else (level,) * 3 for level in coding.levels or ())
    task = Segmentation(names, table if coding.in_colour else ())
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels!r}")
    channels = channels or (1 if are_grey([pair.image for pair in pairs]) else 3)
    decode = functools.partial(read_image, channels=channels, max_pixels=max_pixels, background=WHITE)
    tiling = tiling_of(tile, hop, geometry)
    size = geometry if tiling is None else Geometry(tiling.size)
    source = ImageFiles.of([pair.image for pair in pairs], decode, size)
    decode = functools.partial(read_mask, coding=coding, max_pixels=max_pixels)
    parts = {split: masked(source, decode, [pair for pair in pairs if pair.split == split]) for split in SPELLINGS}
    parts = parts if tiling is None else {split: part and tiled(part, tiling) for split, part in parts.items()}
    return RawData(*parts.values(), names, task=task)


def masked(source: ImageFiles, decode: functools.partial, pairs: Sequence[Pair]) -> Pictures | None:
    """Return the examples of pairs of files, as the images of a source are read; None for no pairs."""
    if not pairs:
        return None
    files, targets = array_of([pair.image for pair in pairs]), array_of([pair.mask for pair in pairs])
    inputs = dataclasses.replace(source, files=files)
    return Pictures(inputs, MaskFiles(targets, decode, inputs.geometry, inputs.resize, images=files))


def tiling_of(tile: Size | None, hop: int | None, geometry: Geometry) -> Tiling | None:
    """Return how images are divided into tiles; None if they are brought to one size.

    Raises:
        ValueError: for a hop without a tile, or a tile and a size.
    """
    if tile is None:
        if hop is not None:
            raise ValueError(f"hop={hop} is from one tile to the next; give tile, too")
        return None
    if geometry.image_size is not None:
        raise ValueError("tile keeps the resolution of images, image_size does not; leave out one of them")
    return Tiling.of(height_and_width(tile), hop)


def tiled(examples: Pictures, tiling: Tiling) -> Pictures:
    """Return examples of which tiles are read."""
    images, targets = examples.inputs, examples.labels
    sizes = np.array(list(read_each(size_of, images.files)))
    return dataclasses.replace(
        examples, inputs=Tiles(images, sizes, tiling), labels=Tiles(targets, sizes, tiling, outside=VOID)
    )


def pairs_in(path: str, files: Listing, images: str, masks: str) -> list[Pair]:
    """Return images and their masks, in the order of their names, numbers as such.

    Raises:
        ValueError: for no folder of images or of masks, or an image without a mask.
    """
    found = {images: {}, masks: {}}
    for name in files.names():
        parts = PurePath(name).parts
        kind = next((part for part in parts[:-1] if part in found), None)
        if kind is not None:
            rest = tuple(part for part in parts[:-1] if part != kind)
            found[kind].setdefault((*rest, PurePath(name).stem), name)
    for kind, members in found.items():
        if not members:
            folders = {part for folder in files.folders for part in folder.split("/") if part}
            hint = did_you_mean(kind, folders) if folders else "it has no folders"
            raise ValueError(f"{path} has no folder {kind!r} with images in it; {hint}")
    missing = [name for key, name in found[images].items() if key not in found[masks]]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(found[images])} images in {path} have no mask of the same name: {listed(missing)}"
        )
    unused = [name for key, name in found[masks].items() if key not in found[images]]
    if unused:
        warn_caller(f"skipped {len(unused)} masks in {path} without an image: {listed(unused)}")
    check_lossless(found[masks].values())
    return [
        Pair(path_in(files.root, found[images][key]), path_in(files.root, found[masks][key]), split_in(key[:-1]))
        for key in sorted(found[images], key=in_order)
    ]


def moved_to(path: str, pairs: Sequence[Pair], split: str, pattern: str) -> list[Pair]:
    """Return pairs, of which those whose name matches a shell pattern are of a split; a ValueError if none does."""
    names = [PurePath(pair.image.name).stem for pair in pairs]
    if not fnmatch.filter(names, pattern):
        raise ValueError(f"no image in {path} is called {pattern!r}, for {split}; {did_you_mean(pattern, names)}")
    return [
        pair._replace(split=split) if fnmatch.fnmatchcase(name, pattern) else pair
        for name, pair in zip(names, pairs, strict=True)
    ]


def check_lossless(names: Sequence[str]) -> None:
    """Raise a ValueError for masks that are JPEG files by their names; others are noticed when they are read."""
    lossy = [name for name in names if name.lower().endswith((".jpg", ".jpeg", ".jpe", ".jfif"))]
    if lossy:
        raise ValueError(f"{listed(lossy)}: JPEG compression changes the values of masks; save them as PNG")


def split_in(folders: Sequence[str]) -> str:
    """Return the split that one of the folders names, the train split if none does."""
    return next(filter(None, map(split_of, folders)), "train")


def in_order(key: Sequence[str]) -> list:
    """Return what sorts names, with numbers in them by their value."""
    return [[(int(text), "") if text.isdecimal() else (-1, text) for text in re.split(r"(\d+)", part)] for part in key]


def largest_class(path: str, pairs: Sequence[Pair], coding: Coding) -> int:
    """Return the largest value of the training masks that is not void, all of which are read once.

    Raises:
        ValueError: for a largest value that is no class index.
    """

    def largest(pair: Pair) -> int:
        return mask_with(pair.mask, lambda values: int(values[values != coding.void].max(initial=0)))

    most = max(read_each(largest, [pair for pair in pairs if pair.split == "train"]), default=0)
    if not 1 <= most < MOST_CLASSES:
        raise ValueError(
            f"the values of the masks in {path} reach {most}, expected class indices from 0 to 1 or more; say "
            "class_names=[...], void= for pixels without a class, or colours={name: value}"
        )
    return most
