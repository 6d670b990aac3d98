"""The exported SavedModel under load and with odd inputs: the answers and errors that docs/serving.md states."""

import concurrent.futures
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import kzoo
from kzoo.data.audio import AudioPreprocess
from kzoo.data.audio.folder import Recordings
from kzoo.data.image import ImagePreprocess
from kzoo.data.serving import Serving
from kzoo.data.splits import Examples
from kzoo.data.text import TextPreprocess
from kzoo.data.timeseries.preprocess import SeriesPreprocess
from kzoo.serving.export import write_saved_model
from kzoo.serving.serve import from_model
from kzoo.tasks import Classification

NAMES = ("no", "yes", "perhaps")
RNG = np.random.default_rng(0)


class Served(NamedTuple):
    """The signature of an export, and the prediction of the Keras model that was exported."""

    signature: object
    expected: object

    def __call__(self, raw) -> np.ndarray:
        return self.signature(raw=tf.constant(raw))["probabilities"].numpy()


def export(folder, modality: str, name: str, preprocess, examples: np.ndarray, **options) -> Served:
    """Export an untrained network."""
    keras.utils.set_random_seed(0)
    model = kzoo.create_model(name, preprocess.input_shape, len(NAMES), **options)
    write_saved_model(model, Serving(modality, preprocess, Classification(NAMES), examples), folder)
    return Served(
        tf.saved_model.load(str(folder)).signatures["serve"], from_model(model, preprocess, Classification(NAMES))
    )


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Served:
    step = ImagePreprocess((8, 8), 3, (120.0,) * 3, (60.0,) * 3, crop=0.8)
    folder = tmp_path_factory.mktemp("image")
    return export(folder, "image", "convnet", step, np.zeros((1, 10, 10, 3), "uint8"), padding="same", filters=(4, 4))


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> Served:
    waves = (RNG.normal(size=(6, 1600)) * 0.1).astype("float32")
    step = AudioPreprocess.fit(Recordings(waves, np.zeros(6, "int32"), 1600), n_mels=8)
    return export(tmp_path_factory.mktemp("audio"), "audio", "convnet", step, waves, padding="same", filters=(4,))


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Served:
    texts = np.array(["a good film", "a bad one", "so so"], object)
    step = TextPreprocess.fit(Examples(texts, np.arange(3)), length=8)
    options = {"vocab_size": step.vocab_size, "embed_dim": 4, "filters": 4}
    return export(tmp_path_factory.mktemp("text"), "text", "textcnn", step, texts, **options)


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Served:
    steps = RNG.normal(size=(6, 20, 2)).astype("float32")
    step = SeriesPreprocess.fit(Examples(steps, np.zeros(6, "int32")))
    return export(tmp_path_factory.mktemp("series"), "timeseries", "convnet", step, steps, padding="same", filters=(4,))


def images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (count, height, width, 3), dtype="uint8")


def test_eight_threads_with_varying_batches_and_sizes(image):
    sizes = [(count, 5 + 3 * count, 31 - 2 * count) for count in range(1, 9)]
    alone = {size: image(images(*size)) for size in sizes}
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda size: image(images(*size)), sizes * 10))
    for size, probabilities in zip(sizes * 10, found, strict=True):
        np.testing.assert_allclose(probabilities, alone[size], atol=1e-6)
        assert probabilities.shape == (size[0], 3)


@pytest.mark.parametrize("size", [(1, 1), (10_000, 3), (3, 10_000), (2000, 1500)])
def test_images_of_any_size_are_answered_as_keras_does(size, image):
    raw = images(1, *size)
    np.testing.assert_allclose(image(raw), image.expected(raw), atol=5e-3)  # a level in a few pixels


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_an_image_without_pixels_is_refused(size, image):
    with pytest.raises(tf.errors.InvalidArgumentError, match="raw must be a batch of examples of shape"):
        image(images(1, *size))
    with pytest.raises(ValueError, match="have no pixels"):
        image.expected(images(1, *size))


@pytest.mark.parametrize(
    "modality, shape, kind",
    [("image", (0, 9, 7, 3), "uint8"), ("audio", (0, 1600), "float32"), ("series", (0, 20, 2), "float32")],
)
def test_an_empty_batch_has_an_empty_answer(modality, shape, kind, request):
    assert request.getfixturevalue(modality)(np.zeros(shape, kind)).shape == (0, 3)


def test_an_empty_batch_of_texts_too(text):
    assert text(tf.zeros([0], tf.string)).shape == (0, 3)


@pytest.mark.parametrize(
    "modality, raw",
    [
        ("image", np.zeros((1, 8, 8, 3), "float32")),
        ("image", np.zeros((1, 8, 8, 3), "int64")),
        ("audio", np.zeros((1, 1600), "float64")),
        ("audio", np.zeros((1, 1600), "int16")),
        ("series", np.zeros((1, 20, 2), "int32")),
        ("text", np.zeros((1,), "uint8")),
    ],
)
def test_another_type_is_refused(modality, raw, request):
    with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError), match="(?i)type|as input"):
        request.getfixturevalue(modality)(raw)


@pytest.mark.parametrize(
    "modality, raw",
    [
        ("image", np.zeros((8, 8, 3), "uint8")),
        ("image", np.zeros((1, 8, 8, 1), "uint8")),
        ("series", np.zeros((1, 20, 3), "float32")),
        ("text", np.array([["a"]])),
    ],
)
def test_another_shape_is_refused(modality, raw, request):
    with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError), match="(?i)shape"):
        request.getfixturevalue(modality)(raw)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_give_nan_for_their_example_alone(value, audio, series):
    for served, shape in ((audio, (2, 1600)), (series, (2, 20, 2))):
        raw = (np.random.default_rng(1).normal(size=shape) * 0.1).astype("float32")
        clean = served(raw)
        raw[1, 3] = value
        found = served(raw)
        assert np.isnan(found[1]).all()
        labels = served.signature(raw=tf.constant(raw))["label"].numpy().tolist()
        assert labels[0].decode() in NAMES
        assert labels[1] == b""
        np.testing.assert_allclose(found[0], clean[0], atol=1e-6)


def test_waveforms_of_any_length(audio):
    for length in (1, 100, 1600, 50_000):
        raw = np.full((1, length), 0.1, "float32")
        np.testing.assert_allclose(audio(raw), audio.expected(raw), atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="raw must be a batch of examples of shape"):
        audio(np.zeros((1, 0), "float32"))


@pytest.mark.parametrize("words", ["", " ", "\n", "\0", "unknown words alone", "a" * 100_000, b"\xff\xfe"])
def test_any_text_is_answered(words, text):
    found = text(np.array([words, "a good film"], object))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found[1], text(np.array(["a good film"], object))[0], atol=1e-6)
