"""Image sets by name: inside scikit-learn, and through tensorflow-datasets."""

from __future__ import annotations

from collections.abc import Iterator

from kzoo.core.lazy import lazy_import, np, tfds
from kzoo.data.arrays import collect
from kzoo.data.image.sizes import Size, height_and_width, resized
from kzoo.data.splits import Examples, RawData, register_dataset
from kzoo.data.tfds import Builder, find_builder, input_and_label, official_splits, prepare

sklearn_datasets = lazy_import("sklearn.datasets")

READ_AT_ONCE = 256  # images of one size; MNIST took 17 s one by one, 6 s so


@register_dataset("digits", "image", "scikit-learn (UCI, E. Alpaydin, C. Kaynak); public; inside the package")
def digits(*, image_size: Size | None = None) -> RawData:
    """1,797 handwritten digits, 8 x 8 grey, 10 classes; needs no download."""
    bunch = sklearn_datasets.load_digits()
    images = np.round(bunch.images * 255 / 16).astype("uint8")[..., None]
    images = resized(images, height_and_width(image_size))
    train, test = np.split(np.random.default_rng(0).permutation(len(images)), [1437])
    examples = Examples(images, bunch.target.astype("int32"))
    return RawData(examples.take(train), None, examples.take(test), tuple("0123456789"))


@register_dataset("mnist", "image", "Y. LeCun, C. Cortes, C. Burges; public")
def mnist(*, image_size: Size | None = None, data_dir: str | None = None, download: bool = True) -> RawData:
    """70,000 handwritten digits, 28 x 28 grey, 10 classes."""
    return images_from_tfds("mnist", image_size=image_size, data_dir=data_dir, download=download)


@register_dataset("fashion_mnist", "image", "H. Xiao, K. Rasul, R. Vollgraf, Zalando; MIT licence")
def fashion_mnist(*, image_size: Size | None = None, data_dir: str | None = None, download: bool = True) -> RawData:
    """70,000 pieces of clothing, 28 x 28 grey, 10 classes."""
    return images_from_tfds("fashion_mnist", image_size=image_size, data_dir=data_dir, download=download)


@register_dataset("cifar10", "image", "A. Krizhevsky, V. Nair, G. Hinton")
def cifar10(*, image_size: Size | None = None, data_dir: str | None = None, download: bool = True) -> RawData:
    """60,000 photographs, 32 x 32 colour, 10 classes."""
    return images_from_tfds("cifar10", image_size=image_size, data_dir=data_dir, download=download)


@register_dataset("cifar100", "image", "A. Krizhevsky, V. Nair, G. Hinton")
def cifar100(*, image_size: Size | None = None, data_dir: str | None = None, download: bool = True) -> RawData:
    """60,000 photographs, 32 x 32 colour, 100 classes."""
    return images_from_tfds("cifar100", image_size=image_size, data_dir=data_dir, download=download)


def images_from_tfds(
    name: str, *, image_size: Size | None = None, data_dir: str | None = None, download: bool = True
) -> RawData:
    """Any image classification set of tensorflow-datasets, by its name there.

    Args:
        name: e.g. "horses_or_humans" or "imagenet_v2".
        image_size: (height, width) or one number; needed where the images differ in size.
        data_dir: folder of prepared sets; tensorflow-datasets's own (~/tensorflow_datasets) if not given. Original
            files that were put into `data_dir/name/` are used in place of a download, after their checksums.
        download: False never touches the network.

    Raises:
        ValueError: for an unknown name, a set without images and labels, or files that are neither here nor
            to be had (naming them, and where to put them).
    """
    size = height_and_width(image_size)
    builder = find_builder(name, data_dir)
    _, image_key, label_key = input_and_label(builder, "image")
    prepare(builder, download)
    return official_splits(builder, label_key, lambda split: read_images(builder, split, image_key, label_key, size))


def read_images(
    builder: Builder, split: str, image_key: str, label_key: str, image_size: tuple[int, int] | None
) -> Examples:
    """Decode one split into arrays, in the set's own order."""
    count = builder.info.splits[split].num_examples
    of_one_size = None not in builder.info.features[image_key].shape
    batches = builder.as_dataset(split=split, shuffle_files=False, batch_size=READ_AT_ONCE if of_one_size else 1)
    labels = []

    def images() -> Iterator[np.ndarray]:
        for batch in tfds.as_numpy(batches):
            labels.extend(batch[label_key])
            yield from (resized(image, image_size) for image in batch[image_key])

    images = collect(images(), count, f"reading {builder.name} {split}")
    return Examples(images, np.array(labels, "int32"))
