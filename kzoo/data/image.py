"""Image sets: reading files, the step from raw images to the model's input, and the loaders."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from kzoo.data.splits import MODALITIES, Examples, Modality, RawData, register_dataset
from kzoo.data.transforms import ImageAugment
from kzoo.lazy import lazy_import
from kzoo.registry import did_you_mean

keras = lazy_import("keras")
np = lazy_import("numpy")
PIL_Image = lazy_import("PIL.Image")
PIL_ImageOps = lazy_import("PIL.ImageOps")
rich_progress = lazy_import("rich.progress")
sklearn_datasets = lazy_import("sklearn.datasets")

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif"}
MEMORY_LIMIT = 4 * 2**30  # bytes; a larger split is kept in a temporary file

Size = int | Sequence[int]


@dataclass(frozen=True)
class ImagePreprocess:
    """From raw images, 8-bit of any size, to the model's input: resize, subtract the mean, divide by the deviation.

    Resizing is bilinear with antialiasing and rounds to whole numbers, so that an image resized ahead of a
    training and one resized when a model is served are the same. Raw input that is not 8-bit is never resized.

    Args:
        image_size: height and width of the model's input.
        channels: 1 for grey, 3 for red, green, blue.
        mean: of each channel over the training split, in raw units (0 to 255 for 8-bit images).
        std: standard deviation of each channel, likewise.
        raw_dtype: "uint8" or "float32".
    """

    image_size: tuple[int, ...]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    raw_dtype: str = "uint8"

    @classmethod
    def fit(cls, train: Examples) -> ImagePreprocess:
        """Take size and statistics from the raw training images, shape (n, *image_size, channels)."""
        mean, std = statistics(train.inputs)
        size, channels = train.inputs.shape[1:-1], train.inputs.shape[-1]
        return cls(tuple(size), channels, mean, std, str(train.inputs.dtype))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the model's input."""
        return (*self.image_size, self.channels)

    @property
    def raw_shape(self) -> tuple[int | None, ...]:
        """Shape of one raw image; None where any size is accepted."""
        return (None, None, self.channels) if self.raw_dtype == "uint8" else self.input_shape

    def __call__(self, raw):
        """Prepare a batch of raw images; a tensor of a data pipeline, an array, or a symbolic Keras tensor."""
        if tuple(raw.shape[1:-1]) != tuple(self.image_size):
            raw = keras.ops.round(resize(raw, self.image_size))
        scale = [1 / std for std in self.std]
        offset = [-mean / std for mean, std in zip(self.mean, self.std, strict=True)]
        return keras.layers.Rescaling(scale, offset, dtype="float32")(raw)

    def read(self, path: str | Path) -> np.ndarray:
        """Read one image file as a raw image, (height, width, channels) in 8 bits.

        Raises:
            ValueError: if it is not an image, or the model does not take 8-bit images.
        """
        if self.raw_dtype != "uint8":
            raise ValueError(
                f"cannot read {path}: this model was trained on {self.raw_dtype} arrays, not on image files"
            )
        return read_image(path, self.channels)

    def sized(self, raw: np.ndarray) -> np.ndarray:
        """Return one raw image at the training's size."""
        return resized(raw, self.image_size)

    def draw(self, axes, raw: np.ndarray) -> None:
        """Show one raw example on matplotlib axes."""
        axes.imshow(raw.squeeze(), cmap="gray") if raw.ndim == 3 else axes.plot(raw)
        axes.set_axis_off()


MODALITIES["image"] = Modality(ImagePreprocess, ImageAugment)


def statistics(inputs: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel; a constant channel gets deviation 1.

    Sums are taken over a thousand examples at a time, so that nothing is converted to floats as a whole.
    """

    def average(function):
        chunks = (inputs[start : start + 1000].astype("float64") for start in range(0, len(inputs), 1000))
        return (
            sum(function(chunk).sum(tuple(range(inputs.ndim - 1))) for chunk in chunks) * inputs.shape[-1] / inputs.size
        )

    mean = average(lambda chunk: chunk)
    variance = average(lambda chunk: (chunk - mean) ** 2)
    return tuple(mean.tolist()), tuple(np.where(variance > 0, np.sqrt(variance), 1.0).tolist())


def resize(images, image_size: Sequence[int]):
    """Resize a batch of images (batch, height, width, channels); the result is float."""
    return keras.layers.Resizing(*image_size, interpolation="bilinear", antialias=True, dtype="float32")(images)


def resized(image: np.ndarray, image_size: Sequence[int] | None) -> np.ndarray:
    """Return one 8-bit image, or a batch of them, at another size; None keeps the size."""
    if image_size is None or image.shape[-3:-1] == tuple(image_size):
        return image
    batch = image if image.ndim == 4 else image[None]
    result = np.round(keras.ops.convert_to_numpy(resize(batch, image_size))).astype("uint8")
    return result if image.ndim == 4 else result[0]


def height_and_width(image_size: Size | None) -> tuple[int, int] | None:
    """Return (height, width) for one number or a pair.

    Raises:
        ValueError: if it is neither, or not positive.
    """
    if image_size is None:
        return None
    pair = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(pair) != 2 or not all(isinstance(size, int) and size > 0 for size in pair):
        raise ValueError(f"image_size must be a positive integer or (height, width), got {image_size}")
    return pair


def read_image(path: str | Path, channels: int) -> np.ndarray:
    """Read an image file as 8-bit grey (1 channel) or red, green, blue (3 channels), turned upright.

    16-bit values are divided by 257, CMYK and palettes converted, transparency dropped; of an animation the
    first picture is read.

    Raises:
        ValueError: if the file is missing, broken or not an image.
    """
    try:
        with PIL_Image.open(path) as image:
            image.load()
            upright = PIL_ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                upright = PIL_Image.fromarray((np.asarray(upright) / 257).round().clip(0, 255).astype("uint8"))
            array = np.asarray(upright.convert("L" if channels == 1 else "RGB"))
    except (OSError, SyntaxError, ValueError, PIL_Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    return array.reshape(*array.shape[:2], channels)


def is_grey(path: Path) -> bool:
    """Tell from a file's header whether it holds grey values; a broken file is left for `read_image` to report."""
    try:
        with PIL_Image.open(path) as image:
            return image.mode in ("1", "L", "LA", "I", "I;16", "I;16B")
    except (OSError, SyntaxError, ValueError):
        return True


def collect(images: Iterable[np.ndarray], count: int, what: str) -> np.ndarray:
    """Stack images of one shape into an array, in memory or, if large, mapped from a temporary file.

    Raises:
        ValueError: if the images differ in size.
    """
    stack = None
    for place, image in enumerate(rich_progress.track(images, what, count, transient=True)):
        if stack is None:
            stack = allocate((count, *image.shape), image.dtype)
        if image.shape != stack.shape[1:]:
            raise ValueError(
                f"the images differ in size (the first is {stack.shape[1:]}, number {place + 1} is {image.shape}); "
                "give image_size"
            )
        stack[place] = image
    return stack


def allocate(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Return an empty array; one above `MEMORY_LIMIT` is a file that vanishes with the process."""
    if np.prod(shape, dtype="int64") * np.dtype(dtype).itemsize <= MEMORY_LIMIT:
        return np.empty(shape, dtype)
    return np.memmap(TemporaryFile(), dtype, "w+", shape=shape)


@register_dataset("digits", "image", "scikit-learn (UCI, E. Alpaydin, C. Kaynak); public; inside the package")
def digits(*, image_size: Size | None = None) -> RawData:
    """1,797 handwritten digits, 8 x 8 grey, 10 classes; needs no download."""
    bunch = sklearn_datasets.load_digits()
    images = np.round(bunch.images * 255 / 16).astype("uint8")[..., None]
    images = resized(images, height_and_width(image_size))
    train, test = np.split(np.random.default_rng(0).permutation(len(images)), [1437])
    examples = Examples(images, bunch.target.astype("int32"))
    return RawData(examples.take(train), None, examples.take(test), tuple("0123456789"))


@register_dataset("folder:", "image", "your own files")
def folder(path: str, *, image_size: Size | None = None) -> RawData:
    """PNG, JPEG, BMP or GIF files in one folder per class: PATH/CLASS/*, or PATH/train, validation, test/CLASS/*.

    Args:
        path: the folder.
        image_size: (height, width) or one number; needed where the images differ in size.

    Raises:
        ValueError: for a missing folder, fewer than two classes, no images, or broken files (each by name).
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}")
    parts = {"train": root / "train", "validation": first_folder(root, "validation", "val"), "test": root / "test"}
    if not parts["train"].is_dir():
        parts = {"train": root}
    files = {split: class_files(part) for split, part in parts.items() if part.is_dir()}
    class_names = sorted({label for split in files.values() for _, label in split})
    if len(class_names) < 2:
        raise ValueError(f"{root} holds {len(class_names)} class folders with images; expected at least 2")
    channels = 1 if all(is_grey(path) for split in files.values() for path, _ in split) else 3
    size = height_and_width(image_size)
    loaded = {split: read_files(rows, class_names, channels, size) for split, rows in files.items()}
    return RawData(loaded["train"], loaded.get("validation"), loaded.get("test"), tuple(class_names))


def first_folder(root: Path, *names: str) -> Path:
    """Return the first of the named sub-folders that exists, or the first name."""
    return next((root / name for name in names if (root / name).is_dir()), root / names[0])


def class_files(part: Path) -> list[tuple[Path, str]]:
    """Return (file, class) for each image below the class folders; warn of files that are passed over."""
    rows, others = [], []
    for directory in sorted(path for path in part.iterdir() if path.is_dir()):
        for file in sorted(path for path in directory.rglob("*") if path.is_file() and path.name[0] != "."):
            rows.append((file, directory.name)) if file.suffix.lower() in SUFFIXES else others.append(file)
    if not rows:
        raise ValueError(f"no images ({', '.join(sorted(SUFFIXES))}) in class folders below {part}")
    if others:
        warnings.warn(f"passed over {len(others)} files that are no images, e.g. {others[0]}", stacklevel=2)
    return rows


def read_files(
    rows: list[tuple[Path, str]], class_names: Sequence[str], channels: int, image_size: tuple[int, int] | None
) -> Examples:
    """Read image files in parallel.

    Raises:
        ValueError: naming every file that cannot be read.
    """

    def read(path: Path) -> np.ndarray | ValueError:
        try:
            return resized(read_image(path, channels), image_size)
        except ValueError as error:
            return error

    broken = []

    def good(images):
        for image in images:
            broken.append(image) if isinstance(image, ValueError) else None
            if not broken:
                yield image

    with ThreadPoolExecutor() as pool:
        inputs = collect(good(pool.map(read, [path for path, _ in rows])), len(rows), "reading images")
    if broken:
        more = f" (and {len(broken) - 5} more files)" if len(broken) > 5 else ""
        raise ValueError("; ".join(str(error) for error in broken[:5]) + more)
    return Examples(inputs, np.array([class_names.index(label) for _, label in rows], "int32"))


@register_dataset("npz:", "image", "your own files")
def npz(path: str, *, image_size: Size | None = None) -> RawData:
    """Arrays in an .npz file: x_train, y_train and, if there, x_validation, y_validation, x_test, y_test, class_names.

    One set that is not split may be called x, y or image, label. 8-bit arrays are images, (n, height, width) or
    (n, height, width, channels); float arrays are feature maps of one or two axes and channels.

    Raises:
        ValueError: for a missing or broken file, pickled objects (never loaded), or arrays missing.
    """
    arrays = read_npz(Path(path).expanduser())
    size = height_and_width(image_size)
    names = ("train", "validation", "test")
    splits = {name: npz_split(arrays, f"x_{name}", f"y_{name}", size) for name in names if f"x_{name}" in arrays}
    whole = next((pair for pair in (("x", "y"), ("image", "label")) if pair[0] in arrays), None)
    if "train" not in splits and whole is not None:
        splits["train"] = npz_split(arrays, *whole, size)
    if "train" not in splits:
        raise ValueError(f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}; expected x_train and y_train")
    count = 1 + max(int(split.labels.max(initial=0)) for split in splits.values())
    class_names = arrays.get("class_names", np.arange(count)).astype(str).tolist()
    return RawData(splits["train"], splits.get("validation"), splits.get("test"), tuple(class_names))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file; objects are refused, since reading them would run code."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise ValueError(f"{path} holds pickled objects, which are never loaded; save plain arrays") from error
        raise ValueError(f"{path} cannot be read as an .npz file: {error}") from error


def npz_split(arrays: dict[str, np.ndarray], x: str, y: str, image_size: tuple[int, int] | None) -> Examples:
    """Return one split of an .npz file with its channel axis, at the size asked for."""
    if y not in arrays:
        raise ValueError(f"the .npz file holds {x} but not {y}; {did_you_mean(y, arrays)}")
    inputs, labels = arrays[x], arrays[y].reshape(-1)
    if inputs.dtype == "uint8":
        inputs = resized(inputs[..., None] if inputs.ndim == 3 else inputs, image_size)
    elif image_size is not None:
        raise ValueError(f"image_size is for 8-bit images; {x} is {inputs.dtype}")
    else:
        inputs = inputs.astype("float32")
    if inputs.ndim not in (3, 4):
        raise ValueError(
            f"{x} has shape {arrays[x].shape}; expected (n, height, width, channels) or (n, length, channels)"
        )
    return Examples(inputs, labels)
