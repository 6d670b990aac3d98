"""Image datasets by name, from scikit-learn and tensorflow-datasets."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

from kzoo.core.lazy import lazy_import, np, tfds
from kzoo.core.ranges import Extent
from kzoo.core.registry import lookup
from kzoo.data.arrays import MEMORY_LIMIT, collect
from kzoo.data.image.files import read_image
from kzoo.data.image.geometry import Geometry, resized, takes_geometry
from kzoo.data.image.source import ImageFiles
from kzoo.data.splits import DatasetRow, Examples, RawData, register_dataset, register_datasets
from kzoo.data.tfds import (
    Builder,
    find_builder,
    input_and_label,
    is_several,
    is_tfrecord,
    official_splits,
    prepare,
    records,
    targets_of,
)
from kzoo.tasks import Regression, Segmentation, Tagging

ndimage = lazy_import("scipy.ndimage")
sklearn_datasets = lazy_import("sklearn.datasets")

DIGITS = "scikit-learn (UCI, E. Alpaydin, C. Kaynak); public; inside the package"
MOST_DIGITS = 4  # in a scene
INK = 32  # grey level from which on a pixel is part of a digit
READ_AT_ONCE = 256  # images of one size per batch: reads MNIST in 6 s, one by one takes 17 s


@register_dataset("digits", "image", DIGITS)
@takes_geometry
def digits(geometry: Geometry) -> RawData:
    """1,797 handwritten digits, 8 x 8 grey, 10 classes; needs no download."""
    bunch = sklearn_datasets.load_digits()
    images = np.round(bunch.images * 255 / 16).astype("uint8")[..., None]
    images = resized(images, geometry)
    train, test = np.split(np.random.default_rng(0).permutation(len(images)), [1437])
    examples = Examples(images, bunch.target.astype("int32"))
    return RawData(examples.take(train), None, examples.take(test), tuple("0123456789"))


@register_dataset("digit_scenes", "image", DIGITS, Tagging)
def digit_scenes(*, size: Extent = 24, scenes: Extent = 2000, scene_seed: int = 0, task: str = Tagging.key) -> RawData:
    """Up to four handwritten digits at random positions, grey, 10 tags: which are there? Needs no download.

    Scenes of the train and of the test split are made of the digits of these splits of `digits`. With
    `task="segmentation"` their pixels have classes: background, or the digit whose ink covers at least an eighth of it.

    Args:
        size: height and width of a scene; digits are 8 x 8, and do not overlap.
        scenes: training scenes; a quarter of it for the test split.
        scene_seed: of number, choice and positions of the digits.
        task: "tagging" or "segmentation".

    Raises:
        ValueError: for a size below 8, or another task.
    """
    if size < 8:
        raise ValueError(f"size must be at least 8, the size of a digit, got {size}")
    raw, asked = digits(), lookup("task of digit_scenes", task, SCENES)

    def split(pool: Examples, count: int, index: int) -> Examples:
        rng = np.random.default_rng([scene_seed, index])
        made = [digit_scene(pool, size, rng) for _ in range(count)]
        images, tags, masks = map(np.stack, zip(*made, strict=True))
        return Examples(images, masks if task == Segmentation.key else tags)

    test = split(raw.test, max(scenes // 4, 1), 1)
    return RawData(split(raw.train, scenes, 0), None, test, asked.names, task=asked)


SCENES = {
    Tagging.key: Tagging(tuple("0123456789")),
    Segmentation.key: Segmentation(("background", *"0123456789")),
}


def digit_scene(pool: Examples, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a scene, uint8 (size, size, 1), which digits are there, and the class of each pixel, 0 for none.

    Digits that find no room are left out.
    """
    scene, taken, tags = np.zeros((size, size, 1), "uint8"), np.zeros((size, size), bool), np.zeros(10, "float32")
    mask = np.zeros((size, size), "uint8")
    for digit in rng.choice(len(pool), rng.integers(MOST_DIGITS + 1), replace=False):
        room = np.argwhere(~np.lib.stride_tricks.sliding_window_view(taken, (8, 8)).any(axis=(2, 3)))
        if len(room):
            row, column = room[rng.integers(len(room))]
            scene[row : row + 8, column : column + 8] = pool.inputs[digit]
            taken[row : row + 8, column : column + 8] = True
            tags[pool.labels[digit]] = 1
            inked = pool.inputs[digit, ..., 0] >= INK
            mask[row : row + 8, column : column + 8] = inked * (pool.labels[digit] + 1)
    return scene, tags, mask


@register_dataset("digit_rotation", "image", DIGITS, Regression)
@takes_geometry
def digit_rotation(geometry: Geometry, *, quantiles: Sequence[float] | None = None) -> RawData:
    """1,797 handwritten digits, 16 x 16 grey: by how many degrees is each turned? Needs no download.

    The digits of `digits`, enlarged to twice their size and turned counterclockwise by an angle from -60 to 60 degrees,
    which is drawn with a fixed seed.

    Args:
        geometry: of the images.
        quantiles: for intervals, see `kzoo.data.table_sets.table`.
    """
    raw, rng = digits(), np.random.default_rng(0)

    def split(pool: Examples) -> Examples:
        degrees = rng.uniform(-60, 60, (len(pool), 1))
        large = pool.inputs.repeat(2, axis=1).repeat(2, axis=2)
        turned = [rotated(image, float(angle)) for image, angle in zip(large, degrees[:, 0], strict=True)]
        return Examples(resized(np.stack(turned), geometry), degrees)

    task = Regression(("degrees",), quantiles=tuple(quantiles or ()))
    return RawData(split(raw.train), None, split(raw.test), task.names, task=task)


def rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    """Return an image turned counterclockwise about its centre, of the same size."""
    return ndimage.rotate(image, degrees, reshape=False, order=1)


@takes_geometry
def images_from_tfds(name: str, geometry: Geometry, *, data_dir: str | None = None, download: bool = True) -> RawData:
    """Any image classification dataset of tensorflow-datasets, by its name there.

    Images that differ in size, or take more than 4 GiB, are decoded when they are needed, whether the dataset was
    prepared as TFRecord or as ArrayRecord, in which kzoo prepares images that differ in size.

    Args:
        name: e.g. "horses_or_humans" or "imagenet_v2".
        geometry: `image_size` is required if the images differ in size; `resize`, `crop` and `interpolation` too.
        data_dir: directory of prepared datasets; that of tensorflow-datasets (~/tensorflow_datasets) if not given.
            Original files in `data_dir/name/` replace the download, once their checksums are verified.
        download: False never uses the network.

    Raises:
        ValueError: for an unknown name, a dataset without images and labels, or files that are missing and cannot
            be downloaded (naming them, and where to put them).
    """
    builder = find_builder(name, data_dir)
    _, image_key, label_key = input_and_label(builder, "image")
    if None in builder.info.features[image_key].shape and not builder.is_prepared():
        builder = find_builder(name, data_dir, "array_record")
    prepare(builder, download)
    read = read_images if is_tfrecord(builder) and are_small(builder, image_key) else image_records
    return official_splits(builder, label_key, lambda split: read(builder, split, image_key, label_key, geometry))


def are_small(builder: Builder, image_key: str) -> bool:
    """Return whether the images of a dataset are of one size and fit into memory, so that all are decoded at once."""
    shape = builder.info.features[image_key].shape
    largest = max(each.num_examples for each in builder.info.splits.values())
    return None not in shape and largest * math.prod(shape) <= MEMORY_LIMIT


def image_records(builder: Builder, split: str, image_key: str, label_key: str, geometry: Geometry) -> Examples:
    """Return the images of a split, which are decoded when they are needed, and their class indices."""
    found, labels = records(builder, split, image_key, label_key)
    channels = builder.info.features[image_key].shape[-1] or 3
    return Examples(ImageFiles.of(found, functools.partial(read_image, channels=channels), geometry), labels)


def read_images(builder: Builder, split: str, image_key: str, label_key: str, geometry: Geometry) -> Examples:
    """Decode one split, whose images are of one size, into arrays, in the order of the dataset."""
    count = builder.info.splits[split].num_examples
    together = 1 if is_several(builder.info.features[label_key]) else READ_AT_ONCE
    batches = builder.as_dataset(split=split, shuffle_files=False, batch_size=together)
    labels = []

    def images() -> Iterator[np.ndarray]:
        for batch in tfds.as_numpy(batches):
            labels.extend(batch[label_key])
            yield from (resized(image, geometry) for image in batch[image_key])

    images = collect(images(), count, f"reading {builder.name} {split}")
    return Examples(images, targets_of(builder, label_key, labels))


register_datasets(
    "image",
    images_from_tfds,
    DatasetRow(
        "mnist", "70,000 handwritten digits, 28 x 28 grey, 10 classes.", "Y. LeCun, C. Cortes, C. Burges; public"
    ),
    DatasetRow(
        "fashion_mnist",
        "70,000 pieces of clothing, 28 x 28 grey, 10 classes.",
        "H. Xiao, K. Rasul, R. Vollgraf, Zalando; MIT licence",
    ),
    DatasetRow("cifar10", "60,000 images, 32 x 32 colour, 10 classes.", "A. Krizhevsky, V. Nair, G. Hinton"),
    DatasetRow("cifar100", "60,000 images, 32 x 32 colour, 100 classes.", "A. Krizhevsky, V. Nair, G. Hinton"),
)
