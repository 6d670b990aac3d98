"""Hand-made features and filters equal those of scikit-image and scipy."""

import itertools

import keras
import numpy as np
import pytest
from scipy import ndimage, signal

from kzoo.nn import filters
from kzoo.nn.handcrafted import HOG
from kzoo.tasks import Restoration
from kzoo.tasks.restoration import psnr, ssim

feature, sk_filters = (pytest.importorskip(f"skimage.{part}") for part in ("feature", "filters"))

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(24, 20))


def answers(kernel: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return what a kernel (height, width) answers at each place, the border left out."""
    edge = len(kernel) // 2
    return ndimage.correlate(image, kernel)[edge:-edge, edge:-edge]


@pytest.mark.parametrize("block_norm", ["l2_hys", "l1_sqrt"])
@pytest.mark.parametrize("kind", ["reals", "few grey levels", "flat areas"])
@pytest.mark.parametrize(
    "shape, cell, block, orientations",
    [
        ((40, 33, 1), 8, 3, 9),
        ((28, 28, 1), 4, 2, 9),
        ((28, 28, 3), 4, 2, 8),
        ((30, 28, 1), 5, 2, 12),
        ((9, 28, 2), 3, 1, 4),
    ],
)
def test_hog_is_that_of_scikit_image(shape, cell, block, orientations, kind, block_norm):
    random = np.random.default_rng(0)
    images = random.normal(size=(3, *shape)).astype("float32")
    if kind == "few grey levels":  # gradients on the edges of the bins
        images = random.integers(0, 6, images.shape).astype("float32")
    if kind == "flat areas":
        images = (images > 1.5).astype("float32")
    ours = keras.ops.convert_to_numpy(HOG(cell, block, orientations, block_norm)(images))
    options = {"orientations": orientations, "pixels_per_cell": (cell, cell), "cells_per_block": (block, block)}
    options["block_norm"] = {"l2_hys": "L2-Hys", "l1_sqrt": "L1-sqrt"}[block_norm]
    theirs = [feature.hog(image.astype("float64"), **options, channel_axis=-1) for image in images]
    np.testing.assert_allclose(ours.reshape(3, -1), theirs, atol=1e-5)


def test_sobel(image):
    down, right = np.moveaxis(filters.sobel()[:, :, 0], -1, 0)
    np.testing.assert_allclose(answers(down, image), sk_filters.sobel_h(image)[1:-1, 1:-1], atol=1e-12)
    np.testing.assert_allclose(answers(right, image), sk_filters.sobel_v(image)[1:-1, 1:-1], atol=1e-12)


def test_laplacian(image):
    ours = answers(filters.laplacian()[:, :, 0, 0], image)
    np.testing.assert_allclose(ours, ndimage.laplace(image)[1:-1, 1:-1], atol=1e-12)


@pytest.mark.parametrize("wavelength", [3.0, 5.0])
@pytest.mark.parametrize("number", range(4))
def test_gabor(wavelength, number):
    ours = filters.gabor(9, (wavelength,), 4)[:, :, 0].reshape(9, 9, 4, 2)[:, :, number]
    theirs = sk_filters.gabor_kernel(1 / wavelength, theta=np.pi * number / 4, n_stds=20)
    row, column = (size // 2 for size in theirs.shape)
    theirs = theirs[row - 4 : row + 5, column - 4 : column + 5]
    for part, kernel in zip((theirs.real, theirs.imag), np.moveaxis(ours, -1, 0), strict=True):
        np.testing.assert_allclose(kernel, part - part.mean(), atol=1e-12)


def test_difference_of_gaussians():
    point = np.zeros((21, 21))
    point[10, 10] = 1
    ours = filters.difference_of_gaussians(21, (1.5,))[:, :, 0, 0]
    narrow, wide = (ndimage.gaussian_filter(point, deviation, radius=10) for deviation in (1.5, 1.6 * 1.5))
    np.testing.assert_allclose(ours, narrow - wide, atol=1e-12)


def test_sinc_bands_have_the_response_of_scipy_firwin():
    edges = filters.mel_edges(6, 100, 7000, 16000)
    ours = filters.sinc(6, 251, 16000, 100, 7000)[:, 0]
    for band, (low, high) in enumerate(itertools.pairwise(edges)):
        theirs = signal.firwin(251, [low, high], pass_zero=False, window="hamming", scale=False, fs=16000)
        np.testing.assert_allclose(ours[:, band], theirs, atol=1e-12)


def test_ratio_and_similarity_of_restored_images():
    """Gaussian windows of 11 pixels and population covariances, as in the paper of Wang et al. (2004)."""
    metrics = pytest.importorskip("skimage.metrics")
    random = np.random.default_rng(0)
    clean = ndimage.gaussian_filter(random.uniform(0, 255, (50, 60)), 3)[..., None]
    noisy = clean + random.normal(0, 10, clean.shape)
    task = Restoration(("grey",), peak=255.0)
    assert psnr(task, clean, noisy) == pytest.approx(metrics.peak_signal_noise_ratio(clean, noisy, data_range=255))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    expected = metrics.structural_similarity(clean[..., 0], noisy[..., 0], **options)
    assert ssim(task, clean, noisy) == pytest.approx(expected, abs=1e-4)
