"""Prediction from files: windows, tables of texts, folders, and files that cannot be read."""

import json

import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.data.audio import AudioPreprocess
from kzoo.data.image import ImagePreprocess
from kzoo.data.splits import Examples
from kzoo.data.text import TextPreprocess
from kzoo.data.timeseries import SeriesPreprocess
from kzoo.data.windows import Windows
from kzoo.serving import serve
from kzoo.serving.serve import Part, Predictor, failures, grouped
from kzoo.tasks import Classification

RATE = 100


def brightness(raw: np.ndarray) -> np.ndarray:
    """Probabilities of "dark" and "bright": the mean of each raw example, between 0 and 1."""
    bright = np.stack([np.mean(example) for example in raw])
    return np.stack([1 - bright, bright], axis=-1).astype("float32")


def predictor(preprocess, probabilities=brightness, any_size=True) -> Predictor:
    return Predictor(probabilities, preprocess, Classification(("dark", "bright")), any_size)


@pytest.fixture
def sound():
    """A network that takes two seconds of waveforms at 100 Hz."""
    preprocess = AudioPreprocess(RATE, 2 * RATE, "waveform", "time", "none", (0.0,), (1.0,), None, "float32")
    return predictor(preprocess)


def write_sound(path, *levels: float, seconds: float = 1.0):
    """Write a recording whose samples have each level for some seconds."""
    soundfile = pytest.importorskip("soundfile")
    wave = np.repeat(np.array(levels), round(seconds * RATE))
    soundfile.write(path, wave, RATE, subtype="FLOAT")
    return path


def series(length: int, unequal: str | None) -> Predictor:
    return predictor(SeriesPreprocess(length, (0.0,), (1.0,), "none", unequal))


class TestWindows:
    @pytest.mark.parametrize(
        "steps, hop, starts",
        [(3, 4, [0]), (4, 4, [0]), (5, 4, [0, 1]), (8, 4, [0, 4]), (9, 4, [0, 4, 5]), (8, 2, [0, 2, 4])],
    )
    def test_each_step_is_in_a_window_and_the_last_window_ends_with_the_example(self, steps, hop, starts):
        assert Windows(4, hop).starts(steps) == starts

    def test_a_recording_is_heard_to_its_end(self, sound, tmp_path):
        found = sound.predict(write_sound(tmp_path / "long.wav", 0.1, 0.1, 0.3, 0.3, 0.8))
        assert [(w.start, w.end) for w in found.windows] == [(0, 2), (2, 4), (3, 5)]
        np.testing.assert_allclose([w.probabilities["bright"] for w in found.windows], [0.1, 0.3, 0.55], atol=1e-6)
        assert found.probabilities["bright"] == pytest.approx((0.1 + 0.3 + 0.55) / 3)
        assert (found.label, found.probability) == ("dark", found.probabilities["dark"])
        assert found.windows[2].label == "bright"

    def test_window_and_hop_are_in_seconds(self, sound, tmp_path):
        path = write_sound(tmp_path / "long.wav", 0.2, 0.4, 0.6)
        found = sound.predict(path, window=1, hop=0.5)
        assert [w.start for w in found.windows] == [0, 0.5, 1, 1.5, 2]
        # a second of sound and one of silence, as in training
        np.testing.assert_allclose(
            [w.probabilities["bright"] for w in found.windows], [0.1, 0.15, 0.2, 0.25, 0.3], atol=1e-6
        )

    def test_a_recording_that_fits_has_no_windows(self, sound, tmp_path):
        found = sound.predict(write_sound(tmp_path / "short.wav", 0.5))
        assert found.windows == ()
        assert found.probabilities["bright"] == pytest.approx(0.25)

    def test_a_batch_is_heard_to_its_end_too(self, sound):
        raw = np.repeat([[0.1, 0.1, 0.3, 0.3, 0.8]] * 3, RATE, axis=1).astype("float32")
        assert sound.predict(raw)[:, 1].tolist() == pytest.approx([(0.1 + 0.3 + 0.55) / 3] * 3)
        assert sound.predict(raw[:, :RATE])[:, 1].tolist() == pytest.approx([0.1] * 3)

    @pytest.mark.parametrize("unequal", [None, "pad"])
    def test_a_long_series_is_seen_to_its_end(self, unequal, tmp_path):
        np.save(tmp_path / "long.npy", np.array([0.2, 0.2, 0.4, 0.4, 0.6]))
        found = series(2, unequal).predict(tmp_path / "long.npy")
        assert [(w.start, w.end) for w in found.windows] == [(0, 2), (2, 4), (3, 5)]
        assert found.probabilities["bright"] == pytest.approx((0.2 + 0.4 + 0.5) / 3)

    @pytest.mark.filterwarnings("ignore:1 file of another length")
    def test_a_series_that_is_resampled_has_windows_only_when_asked_for(self, tmp_path):
        np.save(tmp_path / "long.npy", np.linspace(0, 1, 101))
        assert series(3, "resample").predict(tmp_path / "long.npy").windows == ()
        found = series(3, "resample").predict(tmp_path / "long.npy", window=51, hop=50)
        assert [(w.start, w.end) for w in found.windows] == [(0, 51), (50, 101)]
        np.testing.assert_allclose([w.probabilities["bright"] for w in found.windows], [0.25, 0.75], atol=1e-6)

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"window": 0}, "window must be a positive number or None, got 0"),
            ({"hop": float("nan")}, "hop must be a positive number or None, got nan"),
            ({"window": 3}, "window must be at most 2, what the network takes, got 3"),
            ({"window": 1, "hop": 1.5}, "hop must be at most the window, 1, or parts are skipped; got 1.5"),
        ],
    )
    def test_windows_that_would_lose_something_are_refused(self, options, message, sound):
        with pytest.raises(ValueError, match=message):
            sound.predict_files(["a.wav"], **options)

    def test_other_windows_than_a_series_network_takes_are_refused(self):
        with pytest.raises(ValueError, match="window must be 12, the steps that this model takes, got 6"):
            series(12, None).predict_files(["a.csv"], window=6)
        with pytest.raises(ValueError, match="give a window with the hop"):
            series(12, "resample").predict_files(["a.csv"], hop=6)

    def test_changes_of_many_files_are_said_once(self, sound, tmp_path):
        soundfile = pytest.importorskip("soundfile")
        for number in range(3):
            soundfile.write(tmp_path / f"{number}.wav", np.full((RATE, 2), 0.5), RATE)
        with pytest.warns(UserWarning, match="3 files with 2 channels, mixed down to one, e.g. .*0.wav") as said:
            sound.predict_files([tmp_path])
        assert len(said) == 1


class TestTables:
    @pytest.fixture
    def reader(self):
        train = Examples(np.array(["good film", "bad film"], dtype=object), np.zeros(2, "int32"))
        preprocess = TextPreprocess.fit(train)
        known = preprocess.vocabulary.index("good") + 2
        return predictor(preprocess, lambda raw: brightness(np.asarray(preprocess(raw)) == known))

    def test_each_row_is_one_text(self, reader, tmp_path):
        (tmp_path / "reviews.csv").write_text('id,review\n1,good good\n2,"bad\nfilm"\n3\n4,\n5,good film\n')
        found = reader.predict(tmp_path / "reviews.csv", text_column="review")
        assert [one.line for one in found] == [2, 3, 5, 6, 7]
        assert [one.label for one in found] == ["bright", "dark", None, None, "dark"]
        assert "line 5 of" in found[2].error
        assert "has 1 columns, the header has 2" in found[2].error
        assert "contains no review" in found[3].error
        assert found[0].probabilities["bright"] == 1
        assert found[4].probabilities["bright"] == 0.5

    def test_a_missing_column_and_an_empty_table_are_said(self, reader, tmp_path):
        (tmp_path / "a.tsv").write_text("review\tid\ngood\t1\n")
        (tmp_path / "b.csv").write_text("text\n")
        (tmp_path / "c.csv").write_text("")
        found = reader.predict_files([tmp_path])
        assert "unknown column of" in found[0].error
        assert "did you mean id or review?" in found[0].error
        assert found[1].error.endswith("b.csv holds no rows")
        assert "unknown column of" in found[2].error

    def test_texts_that_are_cut_or_unknown_are_said(self, reader, tmp_path):
        (tmp_path / "a.txt").write_text("good film of the year\n")
        (tmp_path / "b.txt").write_text("new words\n")
        said = "^50.0 % of the given texts are cut to length=2 words; 50.0 % of the words of the given texts are not in"
        with pytest.warns(UserWarning, match=said):
            reader.predict_files([tmp_path / "a.txt", tmp_path / "b.txt"])


class TestFiles:
    @pytest.fixture
    def grey(self):
        return predictor(
            ImagePreprocess((2, 2), 1, (0.0,), (1.0,)), lambda raw: brightness(raw.astype("float32") / 255)
        )

    def test_a_folder_stands_for_its_files(self, grey, tmp_path):
        places = ["b/c/1.png", "b/2.PNG", "a.png", "b/notes.txt", ".hidden.png", ".git/3.png", "b/.cache/4.png"]
        for level, place in enumerate(places):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (3 + level, 4), 40 * level).save(tmp_path / place, "png")
        found = grey.predict(tmp_path)
        assert [one.file.removeprefix(f"{tmp_path}/") for one in found] == ["a.png", "b/2.PNG", "b/c/1.png"]
        np.testing.assert_allclose([one.probabilities["bright"] for one in found], np.array([80, 40, 0]) / 255)

    def test_a_bad_file_does_not_take_the_answers_of_others(self, grey, tmp_path):
        Image.new("L", (2, 2), 255).save(tmp_path / "good.png")
        (tmp_path / "bad.png").write_text("text")
        (tmp_path / "empty").mkdir()
        names = ["bad.png", "good.png", "nowhere.png", "empty", "good.png", "x" * 300]
        found = grey.predict_files([tmp_path / name for name in names])
        assert [one.label for one in found] == [None, "bright", None, None, "bright", None]
        said = ["be read as an image", None, "there is no file", "holds no file that", None, "there is no file"]
        assert [message and message in one.error for one, message in zip(found, said, strict=True)] == [
            message and True for message in said
        ]
        rows = json.loads(json.dumps([one.to_dict() for one in found]))
        assert "bad.png cannot be read as an image" in rows[0]["error"]
        assert (rows[1]["error"], rows[1]["probabilities"]) == (None, {"dark": 0, "bright": 1})

    def test_python_says_how_many_failed_and_one_file_alone_raises(self, grey, tmp_path, monkeypatch):
        monkeypatch.setattr(serve, "load_description", lambda path: (grey.preprocess, grey.task))
        monkeypatch.setattr(serve, "load_predictor", lambda path: grey)
        with pytest.warns(UserWarning, match="1 of 1 files could not be read: there is no file nowhere.png"):
            assert kzoo.predict_files("run", ["nowhere.png"])[0].error == "there is no file nowhere.png"
        with pytest.raises(ValueError, match="there is no file nowhere.png"):
            grey.predict("nowhere.png")

    def test_failures_are_known_without_a_model(self, grey, tmp_path):
        Image.new("L", (2, 2), 255).save(tmp_path / "good.png")
        assert [one.error for one in failures(grey.preprocess, grey.task, ["a.png", "b.png"])] == [
            "there is no file a.png",
            "there is no file b.png",
        ]
        assert failures(grey.preprocess, grey.task, ["a.png", tmp_path / "good.png"]) is None

    def test_examples_of_one_shape_are_classified_together(self):
        parts = [Part(n, np.zeros((1 + n % 2, 4), "uint8")) for n in range(70)]
        assert [len(batch) for batch in grouped(parts)] == [32, 32, 3, 3]
        large = [Part(n, np.zeros(2**24, "uint8")) for n in range(5)]
        assert [len(batch) for batch in grouped(large)] == [2, 2, 1]
        assert sorted(part.source for batch in grouped(parts) for part in batch) == list(range(70))

    def test_many_files_leave_their_order_and_nothing_in_the_output(self, grey, tmp_path, capfd):
        for number in range(50):
            Image.new("L", (2, 2 + number % 3), 5 * number).save(tmp_path / f"{number:02}.png")
        found = grey.predict_files([tmp_path])
        np.testing.assert_allclose([one.probabilities["bright"] for one in found], np.arange(50) * 5 / 255, rtol=1e-6)
        assert capfd.readouterr() == ("", "")


def test_runs_and_exports_classify_files(run, digits, tmp_path):
    part = digits.examples["test"]
    for number in range(5):
        Image.fromarray(part.inputs[number].squeeze()).save(tmp_path / f"{number}.png")
    predictions = kzoo.predict_files(run, [tmp_path])
    assert [p.file for p in predictions] == [str(tmp_path / f"{number}.png") for number in range(5)]
    assert all(p.label == max(p.probabilities, key=p.probabilities.get) for p in predictions)
    expected = kzoo.load_predictor(run).predict(part.inputs[:5])
    np.testing.assert_allclose([list(p.probabilities.values()) for p in predictions], expected, atol=1e-5)


def test_models_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match="there is no run or export at"):
        kzoo.predict_files(tmp_path / "nowhere", ["x.png"])
    with pytest.raises(ValueError, match="is neither a run directory nor an export of kzoo"):
        kzoo.predict_files(tmp_path, ["x.png"])
