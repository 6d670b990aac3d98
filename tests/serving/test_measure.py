"""Evaluation of runs and exports on other data."""

import json

import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.data.audio import AudioPreprocess
from kzoo.data.image import ImagePreprocess
from kzoo.data.text import TextPreprocess
from kzoo.data.timeseries import SeriesPreprocess
from kzoo.serving import measure
from kzoo.serving.serve import Predictor
from kzoo.tasks import Classification


def write_images(folder, images, labels, mode="L") -> None:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze()).convert(mode).save(folder / str(label) / f"{number}.png")


@pytest.fixture(scope="module")
def dark(digits, tmp_path_factory):
    """100 digits at a fifth of their brightness, in colour, the classes "0" to "7" alone, in two folders of splits."""
    part, folder = digits.examples["test"], tmp_path_factory.mktemp("dark")
    chosen = np.flatnonzero(part.labels < 8)[:100]
    images, labels = part.inputs[chosen] // 5, part.labels[chosen]
    write_images(folder / "train", images[:60], labels[:60], "RGB")
    write_images(folder / "test", images[60:], labels[60:], "RGB")
    return folder, images, labels


@pytest.mark.slow
def test_a_run_and_an_export_are_measured_on_all_files_with_their_own_preprocessing(run, digits, dark, tmp_path):
    folder, images, labels = dark
    model, serving = kzoo.load_run(run)
    logits = model.predict(np.asarray(serving.preprocess(images)), verbose=0)
    expected = (logits.argmax(-1) == labels).mean()
    own = type(digits.preprocess).fit(type(digits.examples["test"])(images, labels))
    assert abs(expected - (model.predict(np.asarray(own(images)), verbose=0).argmax(-1) == labels).mean()) > 0.05
    kzoo.export(model, tmp_path / "m.keras", data=serving, format="keras")
    for path in (run, tmp_path / "m.keras"):
        with pytest.warns(UserWarning, match="folder:.* lacks '8', '9' of the 10 classes of "):
            report = kzoo.evaluate_on(path, f"folder:{folder}")
        assert report.accuracy == pytest.approx(expected)
        assert (report.split, report.examples) == (f"folder:{folder}", 100)
        assert list(report.per_class) == list(digits.class_names)
        assert np.sum(report.confusion, axis=1).tolist() == np.bincount(labels, minlength=10).tolist()


def test_classes_that_a_network_does_not_know_are_refused(run, dark, tmp_path):
    write_images(tmp_path, dark[1][:2], ["0", "zero"])
    with pytest.raises(ValueError, match="was trained on other classes: folder:.* also has 'zero'"):
        kzoo.evaluate_on(run, f"folder:{tmp_path}")


def test_other_modalities_and_unknown_options_are_refused(run):
    with pytest.raises(ValueError, match="was trained on image data, but language_names is text data"):
        kzoo.evaluate_on(run, "language_names")
    with pytest.raises(ValueError, match="unknown option of dataset 'digits', 'imagesize'; did you mean image_size"):
        kzoo.evaluate_on(run, "digits", imagesize=8)


def described(preprocess, monkeypatch, probabilities) -> None:
    """Let any path be a predictor of the classes "b" and "a"."""
    monkeypatch.setattr(measure, "find_description", lambda path: path)
    monkeypatch.setattr(
        measure, "load_predictor", lambda path: Predictor(probabilities, preprocess, Classification(("b", "a")), True)
    )


def threshold(level: float):
    """Return probabilities that say "a" above a level of the mean, "b" below."""
    return lambda raw: np.eye(2)[[int(np.mean(one) > level) for one in raw]]


def test_recordings_are_read_at_the_rate_and_the_length_of_the_network(tmp_path, monkeypatch):
    soundfile = pytest.importorskip("soundfile")
    preprocess = AudioPreprocess(100, 250, "waveform", "time", "none", (0.0,), (1.0,), None)
    for label, level in (("a", 0.5), ("b", 0.1)):
        (tmp_path / label).mkdir()
        soundfile.write(tmp_path / label / "0.wav", np.full(500, level), 200)
    seen = []
    described(preprocess, monkeypatch, lambda raw: (seen.append(raw.shape), threshold(8000)(raw))[1])
    with pytest.warns(UserWarning, match="2 files at 200 Hz, resampled to 100 Hz"):
        assert kzoo.evaluate_on("x", f"folder:{tmp_path}").confusion == [[1, 0], [0, 1]]
    assert seen == [(2, 250)]


def test_series_of_another_length_are_resampled_only_by_a_network_that_does(tmp_path, monkeypatch):
    (tmp_path / "set.csv").write_text("a,1,1,1,1\nb,0,0,0,0\na,1,1,1,2\n")
    described(SeriesPreprocess(8, (0.0,), (1.0,), unequal="resample"), monkeypatch, threshold(0.5))
    assert kzoo.evaluate_on("x", f"series:{tmp_path / 'set.csv'}").accuracy == 1
    described(SeriesPreprocess(8, (0.0,), (1.0,)), monkeypatch, threshold(0.5))
    with pytest.raises(ValueError, match=r"x takes raw examples of shape \(8, 1\), but series:.* has \(4, 1\)"):
        kzoo.evaluate_on("x", f"series:{tmp_path / 'set.csv'}")


def test_tables_of_texts_take_options_and_unknown_words_are_said(tmp_path, monkeypatch):
    (tmp_path / "set.csv").write_text("body,label\nx,a\ny z,b\nx x,a\n")
    preprocess = TextPreprocess("words", 4, ("x", "y"))
    described(preprocess, monkeypatch, lambda raw: np.eye(2)[[int(text[0] == "x") for text in raw]])
    with pytest.warns(UserWarning, match="20.0 % of the words of the csv:.* texts are not in the vocabulary"):
        report = kzoo.evaluate_on("x", f"csv:{tmp_path / 'set.csv'}", text_column="body")
    assert report.accuracy == 1
    json.dumps(report.to_dict())


def test_arrays_of_another_type_are_refused(tmp_path, monkeypatch):
    described(ImagePreprocess((2, 2), 1, (0.0,), (1.0,), "float32"), monkeypatch, threshold(0.5))
    np.savez(tmp_path / "set.npz", x=np.zeros((4, 2, 2, 1), "uint8"), y=[0, 1, 0, 1], class_names=["a", "b"])
    with pytest.raises(
        ValueError, match="x was trained on data with raw_dtype float32, but npz:.* has raw_dtype uint8"
    ):
        kzoo.evaluate_on("x", f"npz:{tmp_path / 'set.npz'}")
