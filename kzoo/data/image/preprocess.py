"""Image preprocessing: resizing and normalisation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.lazy import keras, lazy_import, np
from kzoo.data.image.files import SUFFIXES, read_image
from kzoo.data.image.geometry import Geometry, centre, map_back, resized, takes_geometry
from kzoo.data.image.pixels import DEEPEST, WHITE
from kzoo.data.sources import sampled
from kzoo.data.splits import Examples

resizing = lazy_import("kzoo.data.image.resizing")

AT_ONCE = 100  # images whose values are counted together
tiles = lazy_import("kzoo.data.image.tiles")


@dataclass(frozen=True)
class NeverResized(Examples):
    """Images of values from 0 to 255 as floats, which may differ in size and keep it; `image_size` is what all have."""

    image_size: tuple[int | None, ...] = (None, None)

    def preprocess(self, kind: type[ImagePreprocess]) -> ImagePreprocess:
        """Return the preprocessing, which divides by 255."""
        channels = self.inputs.shape[-1]
        return kind(self.image_size, channels, (0.0,) * channels, (255.0,) * channels, "float32", resize="none")


@dataclass(frozen=True)
class ImagePreprocess:
    """From raw images, 8-bit of any size, to the model's input: resize, then normalise by mean and standard deviation.

    It is one function of the pixels, whether their size is known beforehand or not. Resizing is antialiased and rounds
    to integers, as in Pillow. Raw input that is not 8-bit is never resized.

    Args:
        image_size: height and width of the model's input; None for any.
        channels: 1 for grey, 3 for red, green, blue.
        mean: of each channel over the training split, in raw units (0 to 255 for 8-bit images).
        std: standard deviation of each channel, likewise.
        raw_dtype: "uint8" or "float32".
        crop: see `kzoo.data.image.geometry.Geometry`; None, as in runs of earlier versions, is `resize="squash"`.
        interpolation: likewise.
        resize: likewise; "none" for images that are never resized, of restoration.
        background: what transparent image files are composed on; see `kzoo.data.image.files.read_image`.
        value_range: the value that becomes 255 in image files of more than 8 bits.
        hop: rows and columns from one tile to the next, of images that are not resized, but of which the network sees
            tiles of `image_size`; None of others.
    """

    image_size: tuple[int | None, ...]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    raw_dtype: str = "uint8"
    crop: float | None = 1.0
    interpolation: str = "bilinear"
    background: tuple[int, ...] = WHITE
    value_range: float = DEEPEST
    resize: str = "crop"
    hop: tuple[int, ...] | None = None

    suffixes = tuple(SUFFIXES)

    def __post_init__(self):
        if self.crop is None:
            object.__setattr__(self, "crop", 1.0)
            object.__setattr__(self, "resize", "squash")

    @classmethod
    @takes_geometry
    def fit(cls, train: Examples, geometry: Geometry) -> ImagePreprocess:
        """Take statistics, and the size if none is given, from raw training images (n, height, width, channels).

        Of images that are not in memory a fixed sample is decoded for the statistics.
        """
        if isinstance(train, NeverResized):
            return train.preprocess(cls)
        mean, std = statistics(sampled(train.inputs))
        size = tuple(train.inputs.shape[1:-1]) if geometry.image_size is None else geometry.image_size
        how = {"crop": geometry.crop, "interpolation": geometry.interpolation, "resize": geometry.resize}
        how |= {name: getattr(train, name) for name in ("background", "value_range") if hasattr(train, name)}
        hop = getattr(getattr(train.inputs, "tiling", None), "hop", None)
        return cls(size, train.inputs.shape[-1], mean, std, str(train.inputs.dtype), **how, hop=hop)

    @property
    def geometry(self) -> Geometry | None:
        """How images are brought to the size of the model's input; None for feature maps, which are not resized."""
        if self.raw_dtype != "uint8" or len(self.image_size) != 2 or self.hop is not None:
            return None
        return Geometry(tuple(self.image_size), self.resize, self.crop, self.interpolation)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the model's input."""
        return (*self.image_size, self.channels)

    @property
    def raw_shape(self) -> tuple[int | None, ...]:
        """Shape of one raw image; None where any size is accepted."""
        return self.input_shape if self.raw_dtype != "uint8" or self.hop else (None, None, self.channels)

    @property
    def loader_options(self) -> dict:
        """Options with which a dataset's loader gives raw examples like those of the training."""
        if self.raw_dtype != "uint8":
            return {}
        size = ("resize", "crop", "interpolation") if self.hop is None else ()
        found = {name: getattr(self, name) for name in (*size, "channels", "background", "value_range")}
        return found | {"image_size" if self.hop is None else "tile": self.image_size}

    def __call__(self, raw):
        """Preprocess a batch of raw images: a tensor of a data pipeline, an array, or a symbolic Keras tensor."""
        raw = raw if self.geometry is None else fit_images(raw, self.geometry)
        across = [
            self.image_size[-1] or 1,
            1,
        ]  # one for each value of a row: TensorFlow broadcasts slowly over channels
        scale = np.tile([1 / std for std in self.std], across).tolist()
        offset = np.tile([-mean / std for mean, std in zip(self.mean, self.std, strict=True)], across).tolist()
        return keras.layers.Rescaling(scale, offset, dtype="float32")(raw)

    def unfit(self, outputs, raw):
        """Return outputs at each pixel of the network's input at each pixel of raw images; NaN of what is cropped away.

        Others, such as one vector of outputs an example, are returned as they are.
        """
        size = tuple(self.image_size)
        if self.geometry is None or tuple(outputs.shape[1:-1]) != size:
            return outputs
        if size == self.geometry.margin_size == tuple(raw.shape[1:-1]):
            return outputs
        return resizing.Unfitted(**vars(self.geometry))(outputs, raw)

    def map_back(self, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return class indices at each pixel of what `sized` returns, (height, width), at the pixels of an image."""
        if self.geometry is None:
            return values
        stored = dataclasses.replace(self.geometry, image_size=values.shape, crop=1.0)
        return map_back(values, stored, size)

    def read(self, path: str | Path) -> np.ndarray:
        """Read one image file as a raw image, (height, width, channels) in 8 bits.

        Raises:
            ValueError: if it is not an image, or the model does not take 8-bit images.
        """
        if self.resize == "none":
            return read_image(path, self.channels, self.background, self.value_range).astype("float32")
        if self.raw_dtype != "uint8":
            raise ValueError(
                f"cannot read {path}: this model was trained on {self.raw_dtype} arrays, not on image files"
            )
        return read_image(path, self.channels, self.background, self.value_range)

    def sized(self, raw: np.ndarray) -> np.ndarray:
        """Return one raw image at the training's size; a part of one is padded to a tile."""
        if self.hop is not None:
            return tiles.padded(raw[: self.image_size[0], : self.image_size[1]], self.image_size)
        return raw if self.geometry is None else resized(raw, self.geometry)

    def windows(self, window: float | None = None, hop: float | None = None) -> tiles.Tiling | None:
        """Return how images are divided into tiles, with another hop where one is given; None if they are resized."""
        if self.hop is None or window is not None:
            return None
        return tiles.Tiling(self.image_size, self.hop) if hop is None else tiles.Tiling.of(self.image_size, hop)

    def draw(self, axes, raw: np.ndarray) -> None:
        """Draw a thumbnail of one raw example on matplotlib axes."""
        raw = np.clip(raw / 255, 0, 1) if self.resize == "none" else raw  # floats, with noise
        axes.imshow(raw.squeeze(), cmap="gray") if raw.ndim == 3 else axes.plot(raw)
        axes.set_axis_off()


def fit_images(raw, geometry: Geometry):
    """Bring a batch of images to the size of a geometry: crop those that are stored at its `margin_size`.

    Raises:
        ValueError: for images without pixels.
    """
    if 0 in raw.shape[1:-1]:
        raise ValueError(f"images of shape {tuple(raw.shape[1:])} have no pixels")
    if tuple(raw.shape[1:-1]) != geometry.margin_size:
        return resizing.Fitted(**vars(geometry))(raw)
    (top, left), (height, width) = (
        [int(centre(np, whole - part)) for whole, part in zip(geometry.margin_size, geometry.image_size, strict=True)],
        geometry.image_size,
    )
    return raw[:, top : top + height, left : left + width]


def statistics(inputs: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel; that of a constant channel is 1.

    Sums are taken over a thousand examples at a time, so that the array is never converted to floats as a whole; of
    8-bit images the values are counted.
    """
    if inputs.dtype == "uint8":
        return statistics_of_counts(np.stack([counts_of(inputs[..., channel]) for channel in range(inputs.shape[-1])]))

    def average(function):
        chunks = (inputs[start : start + 1000].astype("float64") for start in range(0, len(inputs), 1000))
        return (
            sum(function(chunk).sum(tuple(range(inputs.ndim - 1))) for chunk in chunks) * inputs.shape[-1] / inputs.size
        )

    mean = average(lambda chunk: chunk)
    variance = average(lambda chunk: (chunk - mean) ** 2)
    return tuple(mean.tolist()), tuple(np.where(variance > 0, np.sqrt(variance), 1.0).tolist())


def counts_of(pixels: np.ndarray) -> np.ndarray:
    """Return how often each of the 256 values occurs."""
    chunks = (pixels[start : start + AT_ONCE] for start in range(0, len(pixels), AT_ONCE))
    return sum((np.bincount(chunk.ravel(), minlength=256) for chunk in chunks), np.zeros(256, "int64"))


def statistics_of_counts(counts: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel from the counts of its values, (channels, 256)."""
    values, sizes = np.arange(256), counts.sum(axis=1)
    mean = counts @ values / sizes
    variance = (counts * (values - mean[:, None]) ** 2).sum(axis=1) / sizes
    return tuple(mean.tolist()), tuple(np.where(variance > 0, np.sqrt(variance), 1.0).tolist())
