"""Size and aspect ratio of images: one function of the pixels, random crops, colours."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

import kzoo
from kzoo.data.image import Geometry, ImagePreprocess, resized
from kzoo.data.image.augment import ImageAugment, ResizedCrop
from kzoo.data.image.colour import CHANGES
from kzoo.data.image.geometry import Box, crop_and_resize, fitted, random_boxes, random_window, windowed
from kzoo.data.image.randaugment import trivialaugment

SEED = tf.constant([1, 2])


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(height * width)
    waves = np.sin(np.arange(height)[:, None, None] / 5 + rng.normal(size=(1, width, channels)).cumsum(axis=1))
    return (120 + 90 * waves + rng.normal(size=waves.shape) * 20).clip(0, 255).astype("uint8")


def identity(size, **options) -> ImagePreprocess:
    """Return a preprocessing that normalises by nothing."""
    return ImagePreprocess(size, 3, (0.0,) * 3, (1.0,) * 3, **options)


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("crop", [0.875, *(pytest.param(share, marks=pytest.mark.slow) for share in (1.0, 0.7))])
@pytest.mark.parametrize("size", [(24, 24), (27, 24), (50, 31)])
def test_it_is_the_same_for_static_and_dynamic_shapes_and_for_images_stored_before(resize, crop, size):
    step, image = identity((24, 24), resize=resize, crop=crop), picture(*size)[None]
    expected = np.asarray(step(image))
    assert expected.shape == (1, 24, 24, 3)
    dynamic = tf.function(step.__call__, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    differing = np.abs(dynamic(image) - expected)
    assert differing.max() <= 1
    assert differing.mean() < 0.005  # values halfway between two levels
    stored = step.sized(image)
    assert stored.shape[1:3] == step.geometry.margin_size
    assert np.abs(np.asarray(step(stored)) - expected).max() <= 1
    assert np.abs(dynamic(stored).numpy() - np.asarray(step(stored))).max() == 0


def test_the_centre_is_cropped_although_the_image_has_the_size_of_the_network():
    image = picture(24, 24)
    wide = np.asarray(Image.fromarray(image).resize((34, 34), Image.Resampling.BILINEAR), "float32")
    cropped = np.asarray(identity((24, 24), crop=0.7)(image[None]))[0]
    assert np.abs(cropped - wide[5:29, 5:29]).max() <= 1


def test_pad_keeps_all_of_the_image_on_black():
    image = np.full((30, 60, 3), 200, "uint8")
    made = resized(image, Geometry(20, "pad"))
    assert (made[5:15] == 200).all()
    assert (made[:5] == 0).all()
    assert (made[15:] == 0).all()
    np.testing.assert_array_equal(identity((20, 20), resize="pad")(image[None])[0], made)


def test_a_circle_stays_a_circle_unless_it_is_squashed():
    y, x = np.mgrid[:60, :120]
    image = np.repeat((((y - 29.5) ** 2 + (x - 59.5) ** 2 < 400) * 255).astype("uint8")[..., None], 3, axis=2)
    extent = {}
    for mode in ("crop", "pad", "squash"):
        rows, columns = np.nonzero(resized(image, Geometry(30, mode))[..., 0] > 127)
        extent[mode] = np.ptp(rows) / np.ptp(columns)
    assert 0.85 < extent["crop"] < 1.15
    assert 0.85 < extent["pad"] < 1.15
    assert 1.8 < extent["squash"] < 2.3


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 1000), (1, 40)])
def test_extreme_sizes(size, channels):
    image = picture(*size, channels)
    for mode in ("crop", "pad", "squash"):
        geometry = Geometry(16, mode)
        made = resized(image, geometry)
        assert made.shape == (16, 16, channels)
        assert np.abs(np.asarray(fitted(keras.ops, image[None], geometry))[0] - made).max() <= 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"resize": "croop"}, "unknown resize 'croop'; did you mean crop"),
        ({"interpolation": "cubic"}, "unknown interpolation 'cubic'; did you mean bicubic"),
        ({"crop": 1.5}, r"crop must be a fraction in \(0, 1\], got 1.5"),
        ({"crop": 0.9}, "crop=0.9 needs image_size"),
        ({"image_size": -1}, "image_size must be a positive integer"),
    ],
)
def test_mistakes_in_a_geometry_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        kzoo.load_dataset("digits", **options)


def test_a_run_of_an_earlier_version_squashes():
    step = ImagePreprocess((20, 20), 3, (0.0,) * 3, (1.0,) * 3, crop=None)
    assert (step.resize, step.crop) == ("squash", 1.0)
    assert ImagePreprocess((20, 20), 3, (0.0,) * 3, (1.0,) * 3, crop=0.875).resize == "crop"


def test_a_dataset_is_stored_with_its_margin_and_cropped_when_it_is_read(digits):
    data = kzoo.load_dataset("digits", image_size=28, crop=0.875)
    assert data.examples["train"].inputs.shape[1:] == (32, 32, 1)
    assert data.input_shape == (28, 28, 1)
    whole = resized(digits.examples["test"].inputs[:4], Geometry(32))
    np.testing.assert_array_equal(data.examples["test"].inputs[:4], whole)
    inside = (whole[:, 2:-2, 2:-2] - data.preprocess.mean[0]) / data.preprocess.std[0]
    np.testing.assert_allclose(next(iter(data.test))[0][:4], inside, atol=1e-5)


def test_an_archive_of_any_size_is_served_like_the_dataset():
    """The Keras layer is saved with a model, whose file takes images of any size."""
    step, image = identity((24, 24), crop=0.8), picture(40, 31)[None]
    raw = keras.Input(step.raw_shape, dtype="uint8")
    model = keras.Model(raw, step(raw))
    assert model.output_shape == (None, 24, 24, 3)
    copied = keras.Model.from_config(model.get_config())
    np.testing.assert_array_equal(copied(image), step(image))


class TestRandomCrop:
    def test_boxes_have_the_areas_and_aspects_and_lie_inside(self):
        boxes = Box(*(part.numpy() for part in random_boxes(4000, 60, 80, (0.08, 1.0), (3 / 4, 4 / 3), SEED)))
        area, aspect = boxes.height * boxes.width / 4800, boxes.width / boxes.height
        assert 0.07 < area.min() < 0.1
        assert 0.97 < area.max() <= 1.01
        assert abs(area.mean() - 0.54) < 0.02  # uniform
        assert 0.7 < np.percentile(aspect, 1) < 0.8
        assert 1.25 < np.percentile(aspect, 99) < 1.4
        assert boxes.top.min() == 0
        assert boxes.left.min() == 0
        assert (boxes.top + boxes.height).max() == 60
        assert (boxes.left + boxes.width).max() == 80

    def test_boxes_of_an_impossible_aspect_take_the_nearest(self):
        boxes = random_boxes(100, 10, 1000, (0.5, 0.5), (0.75, 1.33), SEED)
        assert set(boxes.height.numpy()) == {10.0}
        assert set(boxes.width.numpy()) == {500.0}

    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
    def test_a_crop_is_that_of_pillow(self, interpolation):
        images = np.stack([picture(40, 50), picture(40, 50)[::-1]])
        top, left, height, width = np.array([[3, 0], [7, 20], [30, 12], [11, 30]], "float32")
        crops = crop_and_resize(images, Box(top, left, height, width), (16, 20), interpolation).numpy()
        for number in range(2):
            box = left[number], top[number], left[number] + width[number], top[number] + height[number]
            part = Image.fromarray(images[number]).crop(tuple(map(int, box)))
            method = Image.Resampling[interpolation.upper()]
            expected = np.asarray(part.resize((20, part.height), method).resize((20, 16), method), int)
            assert np.abs(crops[number] - expected).max() <= 1

    @pytest.mark.parametrize("interpolation", ["bilinear", "random"])
    def test_a_seed_decides_all_in_a_graph_too(self, interpolation):
        images = np.stack([picture(31, 27)] * 8)
        augment = ImageAugment(
            resized_crop={"area": [0.2, 0.5], "interpolation": interpolation}, color_jitter={"hue": 0.1}
        )
        traced = tf.function(
            augment.__call__,
            input_signature=[tf.TensorSpec((None, 31, 27, 3), tf.uint8)] * 1 + [tf.TensorSpec((2,), tf.int32)],
        )
        first = augment(images, SEED).numpy()
        assert np.abs(traced(images, SEED).numpy().astype(int) - first).max() <= 1
        assert first.dtype == np.uint8
        assert (first != augment(images, SEED + 1).numpy()).any()
        assert (first[0] != first[1]).any()

    def test_a_random_window_is_a_crop_after_resizing_the_shorter_side(self):
        image, geometry = picture(40, 80), Geometry(20, crop=0.8)
        rows, columns = geometry.windows(tf, *image.shape[:2])
        places = set()
        for number in range(30):
            moved = [random_window(window, SEED + number + each) for each, window in enumerate((rows, columns))]
            places.add(int(moved[1].first))
            assert 0 <= int(moved[0].first) <= 5
        assert min(places) >= 0
        assert 20 < max(places) <= 30
        assert len(places) > 10
        whole = Image.fromarray(image).resize((50, 25), Image.Resampling.BILINEAR)
        top, left = (int(window.first) for window in moved)
        expected = np.asarray(whole, int)[top : top + 20, left : left + 20]
        assert np.abs(windowed(tf, image[None], moved, "bilinear").numpy()[0] - expected).max() <= 1

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"resized_crop": 1}, r"augment.resized_crop must be {argument: value}, {} for the defaults, got 1"),
            ({"resized_crop": {"areas": 1}}, "unknown argument of augment.resized_crop 'areas'; did you mean area"),
            ({"resized_crop": {"area": [1, 0.5]}}, r"augment.resized_crop.area must be \[smallest, largest\]"),
            ({"resized_crop": {"interpolation": "x"}}, "unknown augment.resized_crop.interpolation 'x'"),
            ({"color_jitter": {"hue": 0.7}}, "augment.color_jitter.hue must lie between 0 and 0.5, got 0.7"),
            ({"zoom": -1}, "augment.zoom must lie between 0"),
        ],
    )
    def test_mistakes_are_explained(self, options, message):
        with pytest.raises(ValueError, match=message):
            ImageAugment(**options)

    def test_floats_are_refused(self):
        with pytest.raises(ValueError, match="augment.resized_crop is for 8-bit images, these are float32"):
            ImageAugment(resized_crop=ResizedCrop())(np.zeros((1, 8, 8, 1), "float32"), SEED)


PILLOW = {
    "brightness": lambda image, by: ImageEnhance.Brightness(image).enhance(1 + by),
    "contrast": lambda image, by: ImageEnhance.Contrast(image).enhance(1 + by),
    "saturation": lambda image, by: ImageEnhance.Color(image).enhance(1 + by),
}


@pytest.mark.parametrize("by", [-0.9, -0.3, 0.0, 0.4, 1.0])
@pytest.mark.parametrize("name", PILLOW)
def test_colours_are_those_of_pillow(name, by):
    images = np.stack([picture(31, 27), picture(27, 31).transpose(1, 0, 2)])
    changed = CHANGES[name](tf.constant(images), tf.fill([2], by)).numpy()
    for got, image in zip(changed, images, strict=True):
        assert np.abs(got - np.asarray(PILLOW[name](Image.fromarray(image), by), int)).max() <= 1


def test_a_hue_goes_round_the_circle():
    red = np.zeros((3, 2, 2, 3), "uint8")
    red[..., 0] = 255
    shifted = CHANGES["hue"](tf.constant(red), tf.constant([1 / 3, -1 / 3, 1.0])).numpy()[:, 0, 0]
    np.testing.assert_array_equal(shifted, [[0, 255, 0], [0, 0, 255], [255, 0, 0]])


def test_a_zoom_is_about_the_centre():
    image = np.zeros((200, 21, 21, 1), "uint8")
    image[:, 7:14, 7:14] = 255
    zoomed = ImageAugment(zoom=0.5)(image, SEED).numpy()[..., 0] > 127
    sides = zoomed.any(axis=1).sum(axis=1)
    assert sides.min() in (4, 5)
    assert sides.max() in (9, 10, 11)
    np.testing.assert_array_equal(zoomed, zoomed[:, ::-1, ::-1])


def test_trivial_augment_draws_every_operation_once_an_image():
    images = np.repeat(picture(31, 27)[None], 600, axis=0)
    changed = trivialaugment(tf.constant(images), SEED).numpy()
    assert changed.shape == images.shape
    assert 300 < len(np.unique(changed.reshape(600, -1), axis=0)) < 590
    same = (changed == images).all(axis=(1, 2, 3)).mean()
    assert 1 / 14 - 0.03 < same < 0.2  # identity, and operations of strength near 0


def test_a_file_of_another_shape_is_cropped_not_squashed(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.fromarray(picture(20 + number, 40)).save(tmp_path / name / f"{number}.png")
    crop, squash = (
        kzoo.load_dataset(f"folder:{tmp_path}", image_size=16, resize=mode, validation=0.3)
        for mode in ("crop", "squash")
    )
    assert (crop.examples["train"].inputs != squash.examples["train"].inputs).any()
    with pytest.raises(ValueError, match="unknown option of dataset .*did you mean resize"):
        kzoo.load_dataset(f"folder:{tmp_path}", image_size=16, resise="crop")
