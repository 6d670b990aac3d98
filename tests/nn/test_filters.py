"""Hand-crafted filter banks: responses computed by hand, and filter banks as layers of a network."""

import itertools

import keras
import numpy as np
import pytest

import kzoo
from kzoo.nn import filters


def answers(kernels: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return the response of each kernel (height, width, 1, n) to an image of its own size."""
    return np.einsum("hwcn,hw->n", kernels, image)


def test_sobel_gives_twice_the_slope():
    rows, columns = np.mgrid[:3, :3]
    np.testing.assert_allclose(answers(filters.sobel(), 5.0 * rows + 2), [10, 0], atol=1e-12)
    np.testing.assert_allclose(answers(filters.sobel(), -3.0 * columns), [0, -6], atol=1e-12)


def test_the_laplacian_gives_the_sum_of_the_second_derivatives():
    rows, columns = np.mgrid[:3, :3] - 1
    np.testing.assert_allclose(answers(filters.laplacian(), rows**2 + 3 * columns**2 + rows), [2 + 6])


@pytest.mark.parametrize("name", filters.BANKS)
def test_a_constant_image_gives_zero(name):
    kernels = filters.BANKS[name]()
    assert kernels.shape[:3] == (len(kernels), len(kernels), 1)
    np.testing.assert_allclose(answers(kernels, np.ones(kernels.shape[:2])), 0, atol=1e-12)


def test_detectors_respond_to_rises_falls_and_peaks():
    kernels = filters.detectors((2, 4))[:, 0].T
    rises, falls, peak = kernels[:2], kernels[2:4], kernels[4]
    np.testing.assert_allclose(rises, [[0, 0, -1, 1, 0, 0], [0, -1, 1, -1, 1, 0]])
    np.testing.assert_allclose(falls, -rises)
    np.testing.assert_allclose(peak, [-1, -1, 2, 2, -1, -1])
    with pytest.raises(ValueError, match=r"powers of 2, got \(2, 6\)"):
        filters.detectors((2, 6))


def test_gabor_filters_respond_most_to_their_own_orientation_and_wavelength():
    kernels = filters.gabor(15, (4.0, 8.0), 4).reshape(15, 15, 1, 2, 4, 2)
    rows, columns = np.mgrid[:15, :15] - 7
    for wavelength, place in ((4.0, 0), (8.0, 1)):
        for number in range(4):
            angle = np.pi * number / 4
            stripes = np.cos(2 * np.pi * (columns * np.cos(angle) + rows * np.sin(angle)) / wavelength)
            found = np.einsum("hwclap,hw->lap", kernels, stripes)
            assert found[place, :, 0].argmax() == number
            assert abs(found[place, number, 1]) < 1e-6  # the sine is not moved by a cosine in its middle


def test_a_difference_of_gaussians_responds_most_to_a_blob_of_its_size():
    kernels = filters.difference_of_gaussians(21, (1.0, 3.0))
    rows, columns = np.mgrid[:21, :21] - 10
    spots = [np.exp(-(rows**2 + columns**2) / (2 * width**2)) / width**2 for width in (1.0, 3.0)]
    found = np.stack([answers(kernels, spot) for spot in spots])
    assert (found > 0).all()
    assert found[0, 0] > found[0, 1]
    assert found[1, 1] > found[1, 0]


def test_kernels_of_a_bank_have_one_size_and_unit_norm():
    kernels = filters.bank(["sobel", "gabor"])
    assert kernels.shape == (7, 7, 1, 18)
    np.testing.assert_allclose((kernels**2).sum((0, 1, 2)), 1)
    np.testing.assert_allclose(kernels[2:5, 2:5, :, :2] / kernels[4, 3, 0, 0], filters.sobel() / 0.5)


class TestSinc:
    """Band-pass filters as differences of two low-pass filters."""

    RATE = 16000

    def gains(self, kernels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return frequencies in hertz, (bins,), and the gain of each filter at each, (bins, filters)."""
        transform = np.abs(np.fft.rfft(kernels[:, 0], 8192, axis=0))
        return np.fft.rfftfreq(8192, 1 / self.RATE), transform

    def test_each_passes_its_band_and_stops_the_others(self):
        taps = 501
        edges = filters.mel_edges(10, 100, 7000, self.RATE)
        hertz, gains = self.gains(filters.sinc(10, taps, self.RATE, 100, 7000))
        slope = 3.3 * self.RATE / taps  # from pass to stop, with a Hamming window (Oppenheim, Schafer)
        for band, (low, high) in enumerate(itertools.pairwise(edges)):
            inside = (hertz > low + slope / 2) & (hertz < high - slope / 2)
            outside = (hertz < low - slope / 2) | (hertz > high + slope / 2)
            assert gains[outside, band].max() < 0.01
            if inside.any():
                assert np.abs(gains[inside, band] - 1).max() < 0.01

    def test_the_cut_offs_are_equally_far_apart_in_mel(self):
        edges = filters.mel_edges(8, 50, 8000, self.RATE)
        np.testing.assert_allclose(edges[[0, -1]], [50, 8000])
        np.testing.assert_allclose(np.diff(filters.hertz_to_mel(edges), 2), 0, atol=1e-9)

    def test_kernels_are_symmetric(self):
        kernels = filters.sinc(5, 31)
        np.testing.assert_allclose(kernels, kernels[::-1], atol=1e-15)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: filters.bank([]), "needs at least one name"),
        (lambda: filters.bank(["sobbel"]), "unknown filter bank 'sobbel'; did you mean sobel"),
        (lambda: filters.gabor(6), "odd number of pixels, got 6"),
        (lambda: filters.gabor(7, (1.5,)), "wavelengths of 2 pixels or more"),
        (lambda: filters.difference_of_gaussians(7, (0.0,)), "every sigma must be positive"),
        (lambda: filters.difference_of_gaussians(7, ratio=1), "the ratio above 1"),
        (lambda: filters.sinc(taps=250), "odd number of taps"),
        (lambda: filters.sinc(low=50, high=9000), "half the sample rate, 8000 Hz; got 50 to 9000"),
        (lambda: kzoo.models.fixed_filters((28, 28, 1), 3, banks=("gabbor",)), "did you mean gabor"),
        (lambda: kzoo.models.fixed_filters((3, 28, 1), 3), r"too small for fixed_filters; .* is \(4, 4, 1\)"),
        (lambda: kzoo.models.sinc_filters((400, 1), 3, low=9000.0), "got 9000 to 8000"),
        (lambda: kzoo.models.sinc_filters((100, 1), 3), r"too small for sinc_filters; .* is \(305, 1\)"),
        (lambda: kzoo.models.sinc_filters((28, 28, 1), 3), "takes 1-D feature maps"),
    ],
)
def test_mistakes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def build(name: str, **options) -> keras.Model:
    keras.utils.set_random_seed(0)
    shape = (8, 8, 1) if name == "fixed_filters" else (640, 1)
    return kzoo.create_model(name, shape, 10, **options)


ALL = ("sobel", "laplacian", "gabor", "difference_of_gaussians")
EXPECTED = {"fixed_filters": lambda: filters.bank(ALL), "sinc_filters": lambda: filters.sinc(40, 251, 16000, 30.0)}


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("name", EXPECTED)
def test_frozen_filters_stay_and_learned_ones_are_initialised_hand_crafted(name, learn):
    model = build(name, learn_filters=learn)
    kernel = model.get_layer("stem.bank1").kernel
    before = kernel.numpy()
    np.testing.assert_allclose(before, EXPECTED[name](), atol=1e-6)
    random = np.random.default_rng(0)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(random.normal(size=(32, *model.input_shape[1:])), random.integers(0, 10, 32), verbose=0)
    assert (np.abs(kernel.numpy() - before).max() > 0) == learn
    assert any(weight is kernel for weight in model.trainable_weights) == learn


@pytest.mark.parametrize("name, shape", [("fixed_filters", (8, 8)), ("sinc_filters", (640,))])
def test_each_channel_is_filtered_independently_by_the_same_bank(name, shape):
    model = kzoo.create_model(name, (*shape, 3), 2)
    bank = model.get_layer("stem.bank1")
    assert bank.kernel.shape[-2] == 1
    x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype("float32")
    joined = next(layer for layer in model.operations if "concatenate" in layer.name)
    together = keras.Model(model.input, joined.output)(x)
    alone = np.concatenate([bank(x[..., channel : channel + 1]) for channel in range(3)], axis=-1)
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_bank_is_saved_and_loaded(tmp_path):
    model = build("fixed_filters")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    np.testing.assert_allclose(loaded(x), model(x), atol=1e-6)
    assert not loaded.get_layer("stem.bank1").trainable
