"""Augmentation of images: what each change does to a batch, and that a seed decides all of it."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from kzoo.data.image.affine import affine_bilinear, affine_nearest
from kzoo.data.image.augment import ImageAugment
from kzoo.data.image.randaugment import OPERATIONS, operate, randaugment

scipy_ndimage = pytest.importorskip("scipy.ndimage")
SEED = tf.constant([1, 2])


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(64, 9, 7, 3)).astype("uint8")


def pictures(channels: int = 3) -> np.ndarray:
    """Return images with few values in their middle range, as natural images have them."""
    rng = np.random.default_rng(0)
    waves = np.sin(np.arange(31)[:, None, None] / 5 + rng.normal(size=(8, 1, 27, channels)).cumsum(axis=2))
    return (120 + 60 * waves + rng.normal(size=waves.shape) * 8).clip(0, 255).astype("uint8")


def test_the_same_seed_gives_the_same_batch(images):
    augment = ImageAugment(flip=True, shift=2, rotation=20, cutout=3, randaugment=9, erase=0.5)
    first, again, other = (augment(images, seed).numpy() for seed in (SEED, SEED, SEED + 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.shape == images.shape


def test_nothing_asked_for_changes_nothing(images):
    np.testing.assert_array_equal(ImageAugment()(images, SEED), images)


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_a_flip_mirrors_about_half_of_the_images(images, kind):
    images = images.astype(kind)
    flipped = ImageAugment(flip=True)(images, SEED).numpy()
    mirrored = [(a == b[:, ::-1]).all() for a, b in zip(flipped, images, strict=True)]
    same = [(a == b).all() for a, b in zip(flipped, images, strict=True)]
    assert all(a or b for a, b in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48
    assert flipped.dtype == kind


@pytest.mark.parametrize("size", [(9, 9), (8, 10)])
def test_a_shift_moves_by_whole_pixels_and_fills_with_zero(size):
    image = np.zeros((200, *size, 1), "uint8")
    image[:, 4, 4] = 255
    shifted = ImageAugment(shift=2)(image, SEED).numpy()
    assert set(np.unique(shifted)) == {0.0, 255.0}
    places = {tuple(np.argwhere(picture[..., 0])[0] - 4) for picture in shifted}
    assert places == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def test_flips_and_shifts_are_those_of_numpy(images):
    moved = affine_nearest(
        images[:2], tf.constant([[1.0, 0, 0, 1], [-1, 0, 0, 1]]), tf.fill([2], 2.0), tf.fill([2], -1.0)
    )
    for got, image in zip(moved.numpy(), (images[0], images[1][:, ::-1]), strict=True):
        expected = np.zeros_like(image)
        expected[:-1, 2:] = image[1:, :-2]
        np.testing.assert_array_equal(got, expected)


def test_a_rotation_keeps_the_centre():
    image = np.zeros((16, 9, 9, 1), "uint8")
    image[:, 4, 4] = 255
    np.testing.assert_allclose(ImageAugment(rotation=90)(image, SEED).numpy()[:, 4, 4], 255, rtol=1e-2)


@pytest.mark.parametrize("function, order", [(affine_nearest, 0), (affine_bilinear, 1)])
def test_affine_maps_are_those_of_scipy(function, order):
    images, rng = pictures().astype("float32"), np.random.default_rng(1)
    matrix = (np.array([1, 0, 0, 1]) + rng.normal(size=(8, 4)) * 0.2).astype("float32")
    right, down = rng.normal(size=(2, 8)).astype("float32") * 3
    moved = function(images, matrix, right, down).numpy()
    for number, image in enumerate(images):
        rows_first = matrix[number].reshape(2, 2)[::-1, ::-1]
        middle = (np.array(image.shape[:2]) - 1) / 2
        offset = middle - rows_first @ (middle + np.array([down[number], right[number]]))
        for channel in range(3):
            expected = scipy_ndimage.affine_transform(
                image[..., channel], rows_first, offset, order=order, mode="grid-constant"
            )
            differing = np.abs(moved[number, ..., channel] - expected) > 0.1
            assert differing.mean() < 0.01  # pixels halfway between two, or on the very edge


@pytest.mark.parametrize("side", [2, 3])
def test_cutout_covers_one_square(side):
    images = np.random.default_rng(0).integers(100, 200, size=(100, 20, 20, 1)).astype("float32")
    changed = ImageAugment(cutout=side)(images, SEED).numpy()
    assert (changed != images).sum(axis=(1, 2, 3)).max() == side * side
    np.testing.assert_allclose(changed[changed != images], images.mean(), rtol=1e-5)


class TestErase:
    def holes(self, size=(40, 30), **options):
        """Return which pixels were erased, (batch, height, width)."""
        images = np.full((800, *size, 3), 7, "uint8")
        images[:400] = 250
        changed = ImageAugment(erase_fill="mean", **options)(images, SEED).numpy()
        return (changed[400:] != 7).any(axis=-1)

    def test_it_is_a_rectangle_of_the_given_area_and_aspect_inside_the_image(self):
        holes = self.holes(erase=1.0, erase_area=(0.05, 0.3), erase_aspect=0.4)
        rows, columns = holes.any(axis=2).sum(axis=1), holes.any(axis=1).sum(axis=1)
        np.testing.assert_array_equal(rows * columns, holes.sum(axis=(1, 2)))
        area, aspect = rows * columns / 1200, rows / columns
        assert 0.04 < area.min() < 0.07
        assert 0.28 < area.max() < 0.32
        assert 0.35 < aspect.min() < 0.55
        assert 1.8 < aspect.max() < 2.8
        assert holes.any(axis=0).all()  # every place is reached

    def test_the_probability_is_that_of_an_image(self):
        assert 0.2 < self.holes(erase=0.25).any(axis=(1, 2)).mean() < 0.3

    def test_rectangles_of_every_area_fit(self):
        holes = self.holes(size=(12, 40), erase=1.0, erase_area=(0.5, 0.9))
        assert 0.45 < holes.mean(axis=(1, 2)).min() < holes.mean(axis=(1, 2)).max() < 0.95

    @pytest.mark.parametrize("kind, highest", [("uint8", 255), ("float32", 3.0)])
    def test_noise_fills_the_range_of_the_values(self, kind, highest):
        images = np.zeros((300, 10, 11, 1), kind)
        images[0, 0, 0] = highest
        erased = ImageAugment(erase=1.0)(images, SEED).numpy()
        values = erased[1:][erased[1:] != 0]
        assert erased.dtype == kind
        assert 0.99 * highest < values.max() <= highest
        assert abs(values.mean() / highest - 0.5) < 0.02

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"erase": 2}, "augment.erase must lie between 0 and 1"),
            ({"erase_area": (0.4, 0.1)}, "augment.erase_area must be .smallest, largest"),
            ({"erase_aspect": 0}, "augment.erase_aspect must be above 0"),
            ({"erase_fill": "noisy"}, "did you mean noise"),
        ],
    )
    def test_mistakes_are_explained(self, options, message):
        with pytest.raises(ValueError, match=message):
            ImageAugment(**options)


def moved_by_pillow(image: Image.Image, a=1.0, b=0.0, c=0.0, d=1.0, right=0.0, down=0.0) -> Image.Image:
    """Move an image by a matrix about its centre, as `randaugment.warp` does."""
    x, y = image.width / 2, image.height / 2
    numbers = (a, b, x - a * (x + right) - b * (y + down), c, d, y - c * (x + right) - d * (y + down))
    return image.transform(image.size, Image.Transform.AFFINE, numbers)


PILLOW = {
    "identity": lambda image, s: image,
    "auto_contrast": lambda image, s: ImageOps.autocontrast(image),
    "equalize": lambda image, s: ImageOps.equalize(image),
    "rotate": lambda image, s: image.rotate(30 * s),
    "posterize": lambda image, s: ImageOps.posterize(image, 8 - round(4 * abs(s))),
    "sharpness": lambda image, s: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * s),
    "solarize": lambda image, s: ImageOps.solarize(image, 256 * (1 - abs(s))),
    "colour": lambda image, s: ImageEnhance.Color(image).enhance(1 + 0.9 * s),
    "contrast": lambda image, s: ImageEnhance.Contrast(image).enhance(1 + 0.9 * s),
    "brightness": lambda image, s: ImageEnhance.Brightness(image).enhance(1 + 0.9 * s),
    "shear_x": lambda image, s: moved_by_pillow(image, b=0.3 * s),
    "shear_y": lambda image, s: moved_by_pillow(image, c=0.3 * s),
    "translate_x": lambda image, s: moved_by_pillow(image, right=s * image.width / 3),
    "translate_y": lambda image, s: moved_by_pillow(image, down=s * image.height / 3),
}


class TestRandAugment:
    @pytest.mark.parametrize("strength", [-0.97, -0.35, 0.0, 0.45, 1.0])
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("name", OPERATIONS)
    def test_each_operation_is_that_of_pillow(self, name, channels, strength):
        images = pictures(channels)
        changed = OPERATIONS[name](tf.constant(images), tf.fill([len(images)], strength)).numpy()
        assert changed.dtype == np.uint8
        for got, image in zip(changed, images, strict=True):
            expected = np.asarray(PILLOW[name](Image.fromarray(image.squeeze()), strength), int).reshape(image.shape)
            differing = np.abs(got - expected) > 1
            assert differing.mean() < 0.01  # pixels halfway between two
        if name != "identity" and strength > 0.5 and (channels == 3 or name != "colour"):
            assert (changed != images).mean() > 0.1

    @pytest.mark.parametrize("channels", [2, 4])
    @pytest.mark.parametrize("name", OPERATIONS)
    def test_operations_take_any_number_of_channels_and_no_image_at_all(self, images, name, channels):
        for batch in (np.resize(images, (3, 9, 7, channels)), np.zeros((0, 9, 7, channels), "uint8")):
            assert OPERATIONS[name](tf.constant(batch), tf.ones(len(batch))).shape == batch.shape

    def test_equal_images_and_values_stay(self):
        flat = tf.fill([2, 20, 20, 3], tf.constant(77, tf.uint8))
        for name in ("auto_contrast", "equalize", "sharpness", "colour", "contrast"):
            np.testing.assert_array_equal(OPERATIONS[name](flat, tf.ones(2)), flat)

    def test_each_image_gets_the_operation_and_strength_it_drew(self):
        images = pictures()
        choice, strength = np.array([3, 7, 3, 0, 13, 2, 6, 7]), np.linspace(-1, 1, 8).astype("float32")
        changed = operate(tf.constant(images), tf.constant(choice, tf.int32), tf.constant(strength)).numpy()
        names = list(OPERATIONS)
        for number, image in enumerate(images):
            alone = OPERATIONS[names[choice[number]]](tf.constant(image[None]), tf.constant(strength[number, None]))
            np.testing.assert_array_equal(changed[number], alone[0])

    def test_all_operations_are_drawn_about_equally_often(self):
        images = np.repeat(pictures()[:1], 1400, axis=0)
        changed = randaugment(tf.constant(images), 15, SEED, operations=1).numpy()
        different, counts = np.unique(changed.reshape(len(changed), -1), axis=0, return_counts=True)
        assert 14 <= len(different) <= 26  # those with a direction are two; some leave this image as it is
        assert counts.max() < 300

    def test_it_is_the_same_in_a_graph(self):
        images = tf.constant(pictures())
        traced = tf.function(
            lambda batch: randaugment(batch, 9, SEED), input_signature=[tf.TensorSpec((None, 31, 27, 3), tf.uint8)]
        )
        np.testing.assert_array_equal(traced(images), randaugment(images, 9, SEED))

    def test_images_that_are_not_8_bit_are_refused(self, images):
        with pytest.raises(ValueError, match="randaugment is for 8-bit images, these are float32"):
            ImageAugment(randaugment=9)(images.astype("float32"), SEED)
