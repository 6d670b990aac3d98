"""Masks in files: folders, values and colours of classes, sizes, crops of the originals, and mistakes."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import kzoo
from kzoo.data.image.augment import ResizedCrop
from kzoo.data.image.masks import Coding, MaskFiles, read_mask
from kzoo.data.serving import Serving
from kzoo.data.sources import Source
from kzoo.data.splits import Examples, wholes
from kzoo.serving.serve import Predictor, predictor_of
from kzoo.tasks import Segmentation
from kzoo.tasks.segmentation import VOID

COLOURS = {"sky": (0, 0, 255), "tree": (0, 128, 0), "road": (90, 90, 90)}
LEVELS = np.array([[0, 0, 255], [0, 128, 0], [90, 90, 90]], "uint8")


def pair(index: int, size=(12, 16)) -> tuple[np.ndarray, np.ndarray]:
    """Return a colour image whose colours are those of its classes, and its mask."""
    mask = np.zeros(size, "uint8")
    mask[2 + index % 3 : 8] = 1
    mask[8:, index % 5 :] = 2
    return LEVELS[mask], mask


def written(folder, names, *, mask=Image.fromarray, images="images", masks="masks", size=(12, 16), suffix="png"):
    """Write images, and masks by a function from an array to an image."""
    for index, name in enumerate(names):
        image, classes = pair(index, size)
        for kind, picture, ending in ((images, Image.fromarray(image), "png"), (masks, mask(classes), suffix)):
            file = folder / kind / f"{name}.{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture.save(file)
    return folder


def palette(classes: np.ndarray) -> Image.Image:
    image = Image.fromarray(classes, "P")
    image.putpalette(LEVELS.tobytes())
    return image


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "set", [f"photo{index}" for index in range(12)])


def loaded(folder, **options):
    return kzoo.load_dataset(f"masks:{folder}", **{"batch_size": 4, "validation": 0.25, "test": 0.25} | options)


@pytest.mark.parametrize(
    "mask, options",
    [
        (Image.fromarray, {}),
        (palette, {"class_names": list(COLOURS)}),
        (lambda classes: Image.fromarray(LEVELS[classes]), {"colours": COLOURS}),
        (lambda classes: Image.fromarray(classes * 100), {"colours": {"sky": 0, "tree": 100, "road": 200}}),
        (lambda classes: Image.fromarray(classes.astype("uint16")), {}),
    ],
)
def test_values_palettes_and_colours_are_classes(tmp_path, mask, options):
    folder = written(tmp_path, [str(index) for index in range(12)], mask=mask)
    data = loaded(folder, test="1?", validation=0, **options)
    assert data.class_names == tuple(COLOURS if options else "012")
    assert data.task.colours == (tuple(COLOURS.values()) if options.get("colours") == COLOURS else ())
    test = data.examples["test"]
    assert len(test) == 2
    for row, index in enumerate((10, 11)):
        np.testing.assert_array_equal(test.labels[row], pair(index)[1])
        np.testing.assert_array_equal(test.inputs[row], pair(index)[0])


def test_folders_of_splits_are_on_either_side(tmp_path):
    for index, place in enumerate(("{kind}/train", "train/{kind}", "data/{kind}/training")):
        root, names = tmp_path / str(index), [f"a{n}" for n in range(6)]
        for split, these in (("train", names), ("val", names[:2]), ("test", names[:1])):
            parts = {kind: place.format(kind=kind).replace("training", split) for kind in ("images", "masks")}
            parts = {kind: part.replace("train", split) for kind, part in parts.items()}
            written(root, these, **parts)
        data = loaded(root, validation=0.1, test=None)
        assert [len(part) for part in data.examples.values()] == [6, 2, 1]
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in (tmp_path / "0").rglob("*.png"):
            archive.write(file, file.relative_to(tmp_path / "0"))
    assert len(loaded(tmp_path / "set.zip", validation=0.1, test=None).examples["train"]) == 6
    folder = written(tmp_path / "named", ["a", "b", "c", "d"], images="JPEGImages", masks="SegmentationClass")
    assert len(loaded(folder, images="JPEGImages", masks="SegmentationClass").examples["train"]) == 2


def test_void_counts_for_nothing(tmp_path):
    def with_void(classes):
        colours = LEVELS[classes]
        colours[0] = 224, 224, 192
        return Image.fromarray(colours)

    folder = written(tmp_path, "abcdefgh", mask=with_void)
    data = loaded(folder, colours=COLOURS, void=[224, 224, 192])
    assert (data.examples["train"].labels[:, 0] == VOID).all()
    _, y = next(iter(data.train.as_numpy_iterator()))
    assert (y[:, 0] == -1).all()


def test_images_and_masks_are_brought_to_one_size_together(tmp_path):
    written(tmp_path, "abcdef")
    written(tmp_path, "ghij", size=(24, 20))
    data = loaded(tmp_path, image_size=(16, 20), resize="pad", augment={"resized_crop": {"area": [0.3, 1]}}, cache=None)
    for split in ("train", "validation"):
        assert isinstance(data.examples[split].labels, Source)
    for x, y in [*data.train.as_numpy_iterator(), *data.validation.as_numpy_iterator()]:
        assert x.shape[1:] == (16, 20, 3)
        assert y.shape[1:] == (16, 20)
        raw = x * np.array(data.preprocess.std) + data.preprocess.mean
        assert (y >= 0).mean() > 0.5
        wrong = np.abs(raw[y >= 0] - LEVELS[y[y >= 0]]).max(-1) > 70  # others are between two classes
        assert wrong.mean() < 0.15


def test_crops_of_the_originals_are_those_of_the_images(tmp_path):
    folder = written(tmp_path, "abcdef", size=(48, 64))
    data = loaded(folder, image_size=24, resize="squash", cache=None)
    inputs, labels = data.examples["train"].inputs, data.examples["train"].labels
    assert isinstance(labels, MaskFiles)
    draw = ResizedCrop((0.2, 0.6)).draw
    indices, seeds = tf.range(3), tf.constant([[0, 1], [0, 2], [0, 3]], tf.int64)
    crops, masks = inputs.cropped(indices, seeds, draw).numpy(), labels.cropped(indices, seeds, draw).numpy()
    assert (np.abs(crops.astype(int) - LEVELS[masks]).max(-1) > 70).mean() < 0.1
    assert (masks != labels[:3]).any()


def test_a_cache_on_the_disk_holds_masks_too(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kzoo.data.cache.EAGER", 0)
    data = loaded(folder, cache="disk")
    for part in data.examples.values():
        assert part.labels[:].shape == part.inputs.shape[:3]
    again = loaded(folder, cache="disk").examples["train"].labels
    assert again.known.all()
    np.testing.assert_array_equal(again[0], data.examples["train"].labels[0])


def test_a_dataset_of_masks_is_listed_with_its_task(folder):
    card = kzoo.dataset_card(f"masks:{folder}")
    assert (card.modality, card.task) == ("image", "segmentation")
    assert Serving.of(loaded(folder)).task == Segmentation(("0", "1", "2"))


def broken(folder, name: str, content) -> None:
    """Replace a mask."""
    (folder / "masks" / f"{name}.png").unlink()
    if content is not None:
        content.save(folder / "masks" / f"{name}.png")


@pytest.mark.parametrize(
    "name, content, options, message",
    [
        ("photo3", None, {}, "1 of 12 images in .* have no mask of the same name: 'images/photo3.png'"),
        (
            "photo3",
            Image.new("L", (16, 11)),
            {},
            "the mask .*photo3.png is 11 x 16, its image .*photo3.png is 12 x 16",
        ),
        (
            "photo3",
            Image.new("L", (16, 12), 7),
            {"class_names": list(COLOURS)},
            "photo3.png cannot be read as a mask: it has the value 7 at row 0, column 0, expected a class from 0 to 2",
        ),
        (
            "photo3",
            Image.new("RGB", (16, 12), (1, 2, 3)),
            {"class_names": list(COLOURS)},
            r"photo3.png cannot be read as a mask: it is in colour; say which is which: colours=\{name",
        ),
        (
            "photo3",
            Image.new("RGB", (16, 12), (1, 2, 3)),
            {"colours": COLOURS},
            r"photo3.png cannot be read as a mask: it has the colour \(1, 2, 3\) at row 0, column 0",
        ),
        (
            "photo3",
            Image.new("L", (16, 12), 255),
            {},
            "values of the masks in .* reach 255, expected class indices",
        ),
        ("photo3", Image.new("F", (16, 12), 0.5), {}, "cannot be"),
    ],
)
def test_masks_that_are_none_are_named(tmp_path, name, content, options, message):
    mask = (lambda classes: Image.fromarray(LEVELS[classes])) if options.get("colours") else Image.fromarray
    folder = written(tmp_path, [f"photo{index}" for index in range(12)], mask=mask)
    if content is not None and content.mode == "F":
        (folder / "masks" / f"{name}.png").unlink()
        content.save(folder / "masks" / f"{name}.tiff")
    else:
        broken(folder, name, content)
    with pytest.raises(ValueError, match=message):
        loaded(folder, **options)


def test_jpeg_masks_are_refused_whatever_they_are_called(folder):
    _, classes = pair(0)
    Image.fromarray(classes).save(folder / "masks" / "photo3.jpg")
    (folder / "masks" / "photo3.png").unlink()
    with pytest.raises(ValueError, match="masks/photo3.jpg': JPEG compression changes the values of masks"):
        loaded(folder)
    (folder / "masks" / "photo3.jpg").rename(folder / "masks" / "photo3.png")
    with pytest.raises(ValueError, match="photo3.png cannot be read as a mask: it is a JPEG, whose"):
        loaded(folder)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"masks": "labels"}, "has no folder 'labels' with images in it; did you mean"),
        ({"colours": COLOURS, "class_names": ["a"]}, "class_names are the keys of colours; leave out one of them"),
        ({"colours": {"a": 0, "b": (1, 2, 3)}}, "colours and void must be different grey levels, or different colours"),
        ({"colours": {"a": 0, "b": 0}}, "colours and void must be different grey levels, or different colours"),
        ({"void": 300}, "'void' must be a value from 0 to 255 or"),
        ({"channels": 2}, "channels must be 1"),
        ({"test": "1*"}, r"no image in .* is called '1\*', for test; did you mean photo0"),
    ],
)
def test_options_that_cannot_be_are_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        loaded(folder, **options)


def test_masks_without_images_are_skipped(folder):
    Image.new("L", (16, 12)).save(folder / "masks" / "other.png")
    with pytest.warns(UserWarning, match="skipped 1 masks in .* without an image: 'masks/other.png'"):
        loaded(folder)


def test_a_mask_keeps_its_values(tmp_path):
    values = np.array([[0, 1, 255], [2, 2, 255]], "uint8")
    Image.fromarray(values).save(tmp_path / "mask.png")
    found = read_mask(tmp_path / "mask.png", coding=Coding.of(None, 255, "abc"))
    np.testing.assert_array_equal(found, np.where(values == 255, VOID, values))


def test_arrays_in_a_file_are_masks(tmp_path):
    pairs = [pair(index) for index in range(12)]
    x, y = map(np.stack, zip(*pairs, strict=True))
    np.savez(tmp_path / "set.npz", x=x, y=y, class_names=list(COLOURS))
    data = kzoo.load_dataset(
        f"npz:{tmp_path / 'set.npz'}", task="segmentation", batch_size=4, validation=0.25, test=0.25
    )
    assert (data.task, data.input_shape) == (Segmentation(tuple(COLOURS)), (12, 16, 3))
    assert isinstance(data.examples["train"], Examples)


class TestTiles:
    """Images of several sizes, of which tiles are read."""

    @pytest.fixture(scope="class")
    def data(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("tiles")
        written(folder, "abcd", size=(30, 26))
        written(folder, "efg", size=(20, 45))
        written(folder, "h", size=(12, 12))
        return loaded(folder, tile=16, hop=10, validation="[bfh]", test=0.2, augment={"flip": True})

    def test_training_sees_a_random_tile_of_each(self, data):
        assert data.input_shape == (16, 16, 3)
        first, second = (list(data.train.as_numpy_iterator()) for _ in range(2))
        for x, y in first:
            raw = x * np.array(data.preprocess.std) + data.preprocess.mean
            np.testing.assert_allclose(raw[y >= 0], LEVELS[y[y >= 0]], atol=0.1)
        assert any(
            one[1].shape != two[1].shape or (one[1] != two[1]).any() for one, two in zip(first, second, strict=True)
        )
        for x, y in data.validation.as_numpy_iterator():
            assert (x.shape[1:], y.shape[1:]) == ((16, 16, 3), (16, 16))

    def test_whole_masks_are_measured_by_joining_tiles(self, data):
        """A network that knows the colour of each class is right everywhere, in whatever tile."""
        inputs = keras.Input((16, 16, 3))
        model = keras.Model(inputs, keras.layers.Conv2D(3, 1, name="logits")(inputs), name="colours")
        levels = (LEVELS - np.array(data.preprocess.mean)) / data.preprocess.std
        model.get_layer("logits").set_weights([2 * levels.T[None, None], -(levels**2).sum(1)])
        report = kzoo.evaluate(model, data, split="validation")
        assert report.mean_iou == 1
        assert np.sum(report.confusion) == 30 * 26 + 20 * 45 + 12 * 12
        drawn = wholes(data.examples["validation"].inputs)  # beside the whole masks in the report's picture
        assert [drawn[index].shape for index in range(3)] == [(30, 26, 3), (20, 45, 3), (12, 12, 3)]
        predictor = predictor_of(model, data.preprocess, data.task)
        image, mask = pair(3, (37, 50))
        np.testing.assert_array_equal(predictor.predict(image[None])[0], mask)
        np.testing.assert_array_equal(predictor.predict(image[None, :16, :16])[0], mask[:16, :16])

    def test_photos_are_predicted_tile_by_tile(self, data, tmp_path):
        image, mask = pair(3, (37, 50))
        Image.fromarray(image).save(tmp_path / "photo.png")

        def colours(raw):
            assert raw.shape[1:] == (16, 16, 3)
            return np.abs(raw[..., None, :].astype(int) - LEVELS).sum(-1).argmin(-1).astype("uint8")

        predictor = Predictor(colours, data.preprocess, data.task, False)
        for hop in (None, 5):
            found = predictor.predict(tmp_path / "photo.png", hop=hop)
            np.testing.assert_array_equal(found.array, mask)
            assert found.windows == ()
        with pytest.raises(ValueError, match="hop must be from 1 to the tile, 16 x 16, or parts are skipped"):
            predictor.predict(tmp_path / "photo.png", hop=20)

    def test_pixels_are_taken_from_the_tile_in_which_they_are_furthest_inside(self):
        task = Segmentation(("a", "b"))
        one, two = np.zeros((4, 4), "uint8"), np.ones((4, 4), "uint8")
        found = task.over_windows([one, two], [((0, 4), (0, 4)), ((0, 4), (2, 6))])
        np.testing.assert_array_equal(found[1], [0, 0, 0, 1, 1, 1])

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"hop": 4}, "hop=4 is from one tile to the next; give tile, too"),
            ({"tile": 16, "image_size": 32}, "tile keeps the resolution of images, image_size does not"),
            ({"tile": 16, "hop": 17}, "hop must be from 1 to the tile, 16 x 16"),
        ],
    )
    def test_tiles_that_cannot_be_are_refused(self, folder, options, message):
        with pytest.raises(ValueError, match=message):
            loaded(folder, **options)
