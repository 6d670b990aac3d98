"""Raw data of other sizes than in training are answered alike by a run, a Keras file and a SavedModel; odd arrays."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from served import CLASSES, EACH_STEP, IMAGES, NAMES, PIXELS, SERIES, TEXTS, WAVES, series, sound, text

import kzoo
from kzoo.core.files import write_json
from kzoo.data.serving import Serving
from kzoo.serving.export import FORMATS, PACKAGES, SUFFIXES, described
from kzoo.serving.serve import Predictor, predictor_of, sidecar
from kzoo.tasks import Segmentation

RANDOM = np.random.default_rng(1)
SMALL = {"padding": "same", "filters": (4,)}
ZOOMED = dataclasses.replace(IMAGES, crop=0.75)  # images are stored at 21 x 21


def predictors(folder, modality, preprocess, task, examples, name="convnet", **options) -> dict[str, Predictor]:
    """Return the predictor of an untrained network, and those of its exports in the formats that are installed."""
    keras.utils.set_random_seed(0)
    model = kzoo.create_model(name, preprocess.input_shape, task.outputs, **options or SMALL)
    serving, found = Serving(modality, preprocess, task, examples), {"run": predictor_of(model, preprocess, task)}
    for format in ("keras", "saved_model", "onnx"):
        if all(map(installed, PACKAGES.get(format, ()))):
            path = folder / f"export{SUFFIXES.get(format, '')}"
            FORMATS[format](model, serving, path)
            write_json(sidecar(path), described(serving, format))
            found[format] = kzoo.load_predictor(path)
    return found


def installed(package: str) -> bool:
    """Return whether a package can be imported."""
    try:
        return bool(__import__(package))
    except ImportError:
        return False


def agree(found: dict[str, Predictor], raw, tolerance: float, of_one_size: float | None = None) -> None:
    """Check that all answers are those of the run; formats of one size are given what numpy or Pillow resized."""
    expected = found["run"].predict(raw)
    for format, predictor in found.items():
        answers = predictor.predict(raw)
        assert answers.shape == expected.shape, format
        if predictor.any_size or of_one_size is None:
            np.testing.assert_allclose(answers, expected, atol=tolerance, err_msg=format)
        else:
            assert np.abs(answers - expected).mean() < of_one_size, format


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> dict[str, Predictor]:
    folder = tmp_path_factory.mktemp("images")
    return predictors(folder, "image", ZOOMED, CLASSES, PIXELS.repeat(2, 1).repeat(2, 2)[:, :21, :21])


@pytest.mark.parametrize("size", [(16, 16), (21, 21), (40, 24), (5, 9)])
def test_images(size, images, tmp_path):
    raw = RANDOM.integers(0, 256, (3, *size, 3), dtype="uint8")
    agree(images, raw, 1e-5, of_one_size=0.02)
    Image.fromarray(raw[0]).save(tmp_path / "photo.png")
    for predictor in images.values():
        of_file = predictor.predict(tmp_path / "photo.png").array
        np.testing.assert_allclose(of_file, predictor.predict(raw[:1])[0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(16, 16), (21, 21), (40, 24)])
@pytest.mark.parametrize("crop", [1.0, 0.75])
def test_maps_of_classes_are_at_the_pixels_of_the_image(crop, size, tmp_path):
    step, task = dataclasses.replace(IMAGES, crop=crop), Segmentation(NAMES)
    stored = PIXELS if crop == 1 else PIXELS.repeat(2, 1).repeat(2, 2)[:, :21, :21]
    found = predictors(tmp_path, "image", step, task, stored, "unet", encoder="resnet8", filters=(4, 4))
    raw = RANDOM.integers(0, 256, (2, *size, 3), dtype="uint8")
    expected = found["run"].predict(raw)
    assert expected.shape == raw.shape[:3]
    assert (expected == 255).any() == (crop < 1 or size[0] != size[1])
    for predictor in found.values():
        answers = predictor.predict(raw)
        assert answers.shape == expected.shape
        assert ((answers == 255) == (expected == 255)).mean() > 0.9
        if predictor.any_size:
            np.testing.assert_array_equal(answers, expected)


@pytest.mark.slow
def test_sound_and_series_and_texts(tmp_path):
    for number, (kind, step, examples, others) in enumerate(
        [
            ("audio", sound(), WAVES, [RANDOM.integers(-3000, 3000, (2, n), dtype="int16") for n in (700, 1600, 2500)]),
            ("timeseries", dataclasses.replace(series(), unequal="resample"), SERIES, lengths(2)),
            ("timeseries", dataclasses.replace(series(), unequal="pad", mask=True), SERIES, lengths(2)),
            ("text", text(), TEXTS, [["a", "so so film, isn't it?"], np.array(["\u6620"])]),
        ]
    ):
        (folder := tmp_path / str(number)).mkdir()
        options = {"vocab_size": step.vocab_size, "embed_dim": 4, **SMALL} if kind == "text" else {}
        found = predictors(folder, kind, step, CLASSES, examples, **options)
        for raw in others:
            agree(found, raw, 1e-5)


def lengths(count: int) -> list[np.ndarray]:
    """Return batches of series of several lengths."""
    return [RANDOM.normal(size=(count, length, 2)).astype("float32") for length in (10, 24, 50)]


@pytest.mark.parametrize(
    "raw, message",
    [
        (
            PIXELS.astype("float32"),
            r"raw must be uint8, whole numbers up to 255, got float32; .* raw.astype\('uint8'\)",
        ),
        (PIXELS / 255, r"got float64; .* or \(raw \* 255\).round\(\).astype\('uint8'\) if its values are up to 1"),
        (PIXELS[0], r"shape \(batch, any, any, 3\), got \(16, 16, 3\); for this single example give raw\[None\]"),
        (PIXELS[..., :1], r"shape \(batch, any, any, 3\), got \(4, 16, 16, 1\)$"),
        (PIXELS[:, :0], r"got \(4, 0, 16, 3\)$"),
        (["a", "b"], r"shape \(batch, any, any, 3\), got \(2,\)$"),
    ],
)
def test_arrays_that_are_no_batch_of_images_are_explained(raw, message, images):
    for predictor in images.values():
        with pytest.raises(ValueError, match=message):
            predictor.predict(raw)


def test_arrays_of_other_kinds():
    model = kzoo.create_model("fcn", (24, 2), 3, filters=(4, 4), kernels=(5, 3), head="positions")
    predictor = predictor_of(model, series(), EACH_STEP)
    expected = predictor.predict(SERIES)
    np.testing.assert_array_equal(predictor.predict(SERIES.astype("float64")), expected)
    np.testing.assert_array_equal(predictor.predict(tf.constant(SERIES)), expected)
    assert predictor.predict(np.concatenate([SERIES, SERIES], axis=1)).shape == (4, 48, 3)
    with pytest.raises(ValueError, match=r"\(batch, 24, 2\), got \(4, 23, 2\)$"):
        predictor.predict(SERIES[:, 1:])
    with pytest.raises(ValueError, match="raw must be float32, got complex64"):
        predictor.predict(SERIES.astype("complex64"))
    words = predictor._replace(preprocess=text(), answers=len)
    assert words.predict(["a", "b"]) == 2
    with pytest.raises(ValueError, match=r"shape \(batch\), got \(\); for this single example give \[raw\]"):
        words.predict(np.array("a"))
    with pytest.raises(ValueError, match="raw must be texts, got int64"):
        words.predict([1, 2])
