"""Augmentation: what each change does to a batch, and that a seed decides all of it."""

import numpy as np
import pytest
import tensorflow as tf

from kzoo.data.image.augment import OPERATIONS, ImageAugment, operate

SEED = tf.constant([1, 2])


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(64, 9, 7, 3)).astype("uint8")


def test_the_same_seed_gives_the_same_batch(images):
    augment = ImageAugment(flip=True, shift=2, rotation=20, cutout=3, randaugment=9)
    first, again, other = (augment(images, seed).numpy() for seed in (SEED, SEED, SEED + 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.shape == images.shape


def test_nothing_asked_for_changes_nothing(images):
    np.testing.assert_array_equal(ImageAugment()(images, SEED), images)


def test_a_flip_mirrors_about_half_of_the_images(images):
    flipped = ImageAugment(flip=True)(images, SEED).numpy()
    mirrored = [(a == b[:, ::-1]).all() for a, b in zip(flipped, images, strict=True)]
    same = [(a == b).all() for a, b in zip(flipped, images, strict=True)]
    assert all(a or b for a, b in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48


def test_a_shift_moves_by_whole_pixels_and_fills_with_zero():
    image = np.zeros((200, 9, 9, 1), "uint8")
    image[:, 4, 4] = 255
    shifted = ImageAugment(shift=2)(image, SEED).numpy()
    assert set(np.unique(shifted)) == {0.0, 255.0}
    places = {tuple(np.argwhere(picture[..., 0])[0] - 4) for picture in shifted}
    assert places == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def test_a_rotation_keeps_the_centre():
    image = np.zeros((16, 9, 9, 1), "uint8")
    image[:, 4, 4] = 255
    np.testing.assert_allclose(ImageAugment(rotation=90)(image, SEED).numpy()[:, 4, 4], 255, rtol=1e-3)


@pytest.mark.parametrize("side", [2, 3])
def test_cutout_covers_one_square(side):
    images = np.random.default_rng(0).integers(100, 200, size=(100, 20, 20, 1)).astype("float32")
    changed = ImageAugment(cutout=side)(images, SEED).numpy() != images
    assert changed.sum(axis=(1, 2, 3)).max() == side * side


@pytest.mark.parametrize("operation", range(len(OPERATIONS)))
@pytest.mark.parametrize("strength", [-1.0, 0.0, 1.0])
def test_operations_stay_in_range(images, operation, strength):
    image = tf.cast(images[0], tf.float32)
    changed = operate((image, tf.constant(operation), tf.constant(strength))).numpy()
    assert changed.shape == image.shape
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_equalize_spreads_the_values():
    dark = tf.reshape(tf.range(64.0), (8, 8, 1))
    assert OPERATIONS[2](dark, 0.0).numpy().max() == 255
