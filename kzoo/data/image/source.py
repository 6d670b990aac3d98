"""Image files as a source: each is decoded and resized when it is read."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kzoo.core.lazy import PIL_Image, np, tf
from kzoo.data.folders import File, read_bytes
from kzoo.data.image.geometry import Geometry, resized
from kzoo.data.random import generator_of
from kzoo.data.sources import Source, array_of, described, hash_of

ORIENTATION = 0x0112  # tag of EXIF
ATTEMPTS = 10
END_OF_JPEG = b"\xff\xd9"
FRAMES = (0xC0, 0xC1, 0xC2)  # markers of a baseline, extended or progressive frame
UNPLAIN = (0xE1, 0xE2, 0xFF)  # of EXIF, of several pictures or a colour profile, and padding: Pillow looks at these


@dataclass(frozen=True, eq=False)
class ImageFiles(Source):
    """Image files, read as 8-bit images of one size.

    Args:
        files: paths, one an example, an array of objects.
        decode: function from a path to an image of any size, (height, width, channels) in 8 bits.
        geometry: how files are brought to one size.
        resize: whether files of another size are resized; otherwise they are an error.
    """

    files: np.ndarray
    decode: functools.partial
    geometry: Geometry
    resize: bool = True

    @classmethod
    def of(cls, files: Sequence[File], decode: functools.partial, geometry: Geometry) -> ImageFiles:
        """Return a source; without a size in the geometry all files have to have that of the first.

        Raises:
            ValueError: if the first file cannot be read.
        """
        if geometry.image_size is not None:
            return cls(array_of(files), decode, geometry)
        size = decode(files[0]).shape[:2]
        return cls(array_of(files), decode, dataclasses.replace(geometry, image_size=size), resize=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.files), *self.geometry.margin_size, self.decode.keywords["channels"])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype("uint8")

    def read(self, index: int) -> np.ndarray:
        image = self.decode(self.files[index])
        if not self.resize and image.shape[:2] != self.shape[1:3]:
            raise ValueError(
                f"the images differ in size (the first is {size_text(self.shape[1:3])}, {self.files[index]} is "
                f"{size_text(image.shape[:2])}); give image_size"
            )
        return resized(image, self.geometry)

    def whole(self, index: int) -> np.ndarray:
        """Return an image in its own size."""
        return self.decode(self.files[index])

    def take(self, indices: np.ndarray) -> ImageFiles:
        return dataclasses.replace(self, files=self.files[indices])

    def fingerprint(self) -> str:
        options = f"{self.decode.keywords} {self.geometry} {self.resize}"
        return hash_of(options, *map(described, self.files))

    def cropped(self, indices, seeds, draw: Callable[[Sequence[int], np.random.Generator], Crop]):
        """Return a batch of crops of the original images, resized to the size of examples, as a TensorFlow tensor.

        Only the part of a JPEG file that is seen is decoded. A crop of more than twice the size is antialiased.

        Args:
            indices: integer tensor (batch,).
            seeds: one of each example, integers (batch, 2).
            draw: function from (height, width) and a generator of random numbers to a crop.
        """

        def read(indices, seeds):
            opened = [self.opened(*each, draw) for each in zip(indices, seeds, strict=True)]
            data, crops, images = zip(*opened, strict=True)
            others = [image for image in images if image is not None]
            where = np.cumsum([image is not None for image in images]) - 1
            pixels = np.stack(others) if others else np.empty((0, *self.shape[1:]), "uint8")
            windows, cubic = (np.array(part) for part in zip(*crops, strict=True))
            return np.array(data, object), windows.astype("int32"), cubic, where, pixels

        def crop(example):
            data, window, cubic, where = example
            return tf.cond(
                tf.strings.length(data) > 0, lambda: self.decoded(data, window, cubic), lambda: pixels[where]
            )

        types = [tf.string, tf.int32, tf.bool, tf.int64, tf.uint8]
        *batch, pixels = tf.numpy_function(read, [indices, seeds], types)
        pixels = tf.ensure_shape(pixels, (None, *self.shape[1:]))
        crops = tf.map_fn(crop, tuple(batch), fn_output_signature=tf.uint8)
        return tf.ensure_shape(crops, (None, *self.shape[1:]))

    def opened(self, index: int, seed: np.ndarray, draw: Callable) -> tuple[bytes, Crop, np.ndarray | None]:
        """Return a JPEG file's bytes and its crop; of another image no bytes, but the pixels of the crop."""
        file = self.files[index]
        data = read_bytes(file)
        size = upright_jpeg_size(data)
        generator = generator_of(seed)
        if size is not None and math.prod(size) <= self.decode.keywords.get("max_pixels", math.inf):
            return data, draw(size, generator), None
        image = self.decode(file)
        crop = draw(image.shape[:2], generator)
        top, left, height, width = crop.window
        part = image[top : top + height, left : left + width]
        return b"", crop, fitted(part, self.shape[1:3], crop.cubic).numpy()

    def decoded(self, data, window, cubic):
        """Decode the part of a JPEG file in a window, to the pixels that Pillow gives, and resize it."""
        image = tf.io.decode_and_crop_jpeg(data, window, channels=self.shape[-1], dct_method="INTEGER_ACCURATE")
        return fitted(image, self.shape[1:3], cubic)


class Crop(NamedTuple):
    """A part of an image: (top, left, height, width), and whether it is resized by bicubic interpolation."""

    window: tuple[int, int, int, int]
    cubic: bool = False


def crop_box(
    size: Sequence[int], generator: np.random.Generator, area: Sequence[float], aspect: Sequence[float]
) -> tuple[int, int, int, int]:
    """Draw a crop of an image: its top, left, height and width.

    Area and aspect ratio are drawn up to ten times, until the crop fits into the image, as in the training of Inception
    (Szegedy et al., 2014, https://arxiv.org/abs/1409.4842); otherwise it is the largest central crop of an aspect ratio
    in the range.

    Args:
        size: height and width of the image.
        generator: of random numbers.
        area: smallest and largest fraction of the image.
        aspect: smallest and largest width divided by height, drawn on a logarithmic scale.
    """
    height, width = size
    shares = generator.uniform(*area, ATTEMPTS).tolist()
    ratios = generator.uniform(*map(math.log, aspect), ATTEMPTS).tolist()
    for share, ratio in zip(shares, map(math.exp, ratios), strict=True):
        rows, columns = (round(math.sqrt(height * width * share * part)) for part in (1 / ratio, ratio))
        if 0 < rows <= height and 0 < columns <= width:
            top, left = generator.integers((height - rows + 1, width - columns + 1)).tolist()
            return top, left, rows, columns
    rows, columns = min(height, round(width / aspect[0])), min(width, round(height * aspect[1]))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def upright_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return the height and width of a grey or RGB JPEG file that is whole and not to be rotated; None for others."""
    size = plain_jpeg_size(data)
    if size is not None:
        return size if END_OF_JPEG in data[-1024:] else None
    try:
        with PIL_Image.open(io.BytesIO(data)) as image:
            plain = image.format == "JPEG" and image.mode in ("L", "RGB")
            upright = plain and image.getexif().get(ORIENTATION, 1) == 1
            return image.size[::-1] if upright and END_OF_JPEG in data[-1024:] else None
    except (OSError, SyntaxError, ValueError, PIL_Image.DecompressionBombError):
        return None


def plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return the height and width of a grey or RGB JPEG file without EXIF, ten times as fast as Pillow; else None."""
    place = 2 if data[:2] == b"\xff\xd8" else len(data)
    while place + 10 < len(data) and data[place] == 0xFF and data[place + 1] not in UNPLAIN:
        if data[place + 1] in FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, place + 4)
            return (height, width) if bits == 8 and height and width and channels in (1, 3) else None
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return None


def fitted(image, image_size: tuple[int, int], cubic=False):
    """Return an 8-bit image resized without keeping its proportions; antialiased if it is more than twice as large."""

    def by(method: str, antialias: bool):
        def resized():
            pixels = tf.image.resize(image, image_size, method, antialias=antialias)
            return tf.clip_by_value(pixels, 0, 255) if method == "bicubic" else pixels

        return resized

    cubic = tf.convert_to_tensor(cubic)
    ratio = tf.reduce_max(tf.shape(image)[:2] / tf.constant(image_size))
    chosen = tf.case(
        [
            (cubic & (ratio > 2), by("bicubic", True)),
            (cubic, by("bicubic", False)),
            (ratio > 2, by("bilinear", True)),
        ],
        by("bilinear", False),
    )
    return tf.cast(tf.round(chosen), tf.uint8)


def size_text(size: Sequence[int]) -> str:
    """Return e.g. "480 x 640"."""
    return " x ".join(map(str, size))
