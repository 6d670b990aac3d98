"""Transcription: the loss and the error rate against their definitions, readers, and from recordings to served text."""

import itertools
import json
import zipfile

import jiwer
import keras
import numpy as np
import pytest

import kzoo
from kzoo.data.audio.transcripts import as_words, split_of_path
from kzoo.data.audio.utterances import SENTENCES, in_words
from kzoo.tasks import Transcription, report_from, task_from
from kzoo.tasks.losses import TranscriptionLoss
from kzoo.tasks.metrics import TokenErrorRate, edit_distances, greedy
from kzoo.tasks.transcription import aligned, transcription_of

soundfile = pytest.importorskip("soundfile")

RATE, TONES = 8000, {"a": 400, "b": 1000, "c": 2200, " ": 3400}
ABC = Transcription(tuple(sorted(TONES)), steps=8000, rate=8000)
RANDOM = np.random.default_rng(0)


def sound(text: str, seconds: float | None = None) -> np.ndarray:
    """Return a tone for each letter, 16-bit, with faint noise between them; padded with silence."""
    time = np.arange(round(0.08 * RATE)) / RATE
    parts = [np.concatenate([np.sin(2 * np.pi * TONES[letter] * time), np.zeros(240)]) for letter in text]
    wave = np.concatenate([np.zeros(400), *parts])
    wave = wave + np.random.default_rng(0).normal(0, 0.003, len(wave))  # as recordings have, else silence is infinite
    wave = wave if seconds is None else np.pad(wave, (0, max(0, round(seconds * RATE) - len(wave))))
    return np.round(8000 * wave).astype("int16")


def texts(count: int, longest: int = 6) -> list[str]:
    """Return texts of random letters, none of them twice in a row, and single spaces between words."""
    draw = np.random.default_rng(0)
    letters = [draw.choice(list("abc "), draw.integers(2, longest + 1)) for _ in range(count)]
    return ["".join(key for key, _ in itertools.groupby("".join(text).strip() or "a")) for text in letters]


def likelihood(logits: np.ndarray, tokens: list[int]) -> float:
    """Return the negative log-likelihood of tokens: the sum over all paths that are these tokens."""
    probabilities, blank = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), logits.shape[-1] - 1
    paths = itertools.product(range(blank + 1), repeat=len(logits))
    fit = [path for path in paths if [key for key, _ in itertools.groupby(path) if key != blank] == tokens]
    return -np.log(sum(np.prod(probabilities[range(len(logits)), path]) for path in fit))


class TestLossAndMetric:
    LOGITS = RANDOM.normal(size=(3, 5, 4)).astype("float32")
    TARGETS = np.array([[0, 0, -1], [2, 1, 0], [1, -1, -1]])

    def test_loss_is_that_of_all_paths(self):
        expected = [likelihood(*pair) for pair in zip(self.LOGITS, [[0, 0], [2, 1, 0], [1]], strict=True)]
        np.testing.assert_allclose(TranscriptionLoss().call(self.TARGETS, self.LOGITS), expected, rtol=1e-5)
        assert float(TranscriptionLoss()(self.TARGETS, self.LOGITS)) == pytest.approx(np.mean(expected), rel=1e-5)

    def test_greedy_path_has_each_token_where_it_begins(self):
        path = np.array([[3, 0, 0, 3, 0, 1, 1, 3]])
        found = greedy(np.eye(4, dtype="float32")[path])
        assert np.asarray(found).tolist() == [[-1, 0, -1, -1, 0, 1, -1, -1]]

    def test_distances_are_those_of_levenshtein(self):
        distance = pytest.importorskip("rapidfuzz.distance").Levenshtein.distance
        truth, found = RANDOM.integers(0, 3, (40, 9)).astype("int32"), RANDOM.integers(-1, 3, (40, 14)).astype("int32")
        for row, length in zip(truth, RANDOM.integers(0, 10, 40), strict=True):
            row[length:] = -1
        pairs = [[[token for token in row if token >= 0] for row in rows.tolist()] for rows in (truth, found)]
        assert np.asarray(edit_distances(truth, found)).tolist() == list(map(distance, *pairs))

    def test_error_rate_is_over_all_tokens(self):
        metric = TokenErrorRate()
        paths = np.array([[0, 3, 1, 3], [2, 2, 3, 3]])
        metric.update_state(np.array([[0, 1, 2], [1, -1, -1]]), np.eye(4, dtype="float32")[paths])
        assert float(metric.result()) == pytest.approx(2 / 4)


class TestTask:
    def test_texts_become_tokens_and_tokens_texts(self):
        assert ABC.encode(np.array(["ab", "c a"], object)).tolist() == [[1, 2, -1], [3, 0, 1]]
        assert ABC.text(np.array([-1, 3, -1, 0, 1, -1])) == "c a"
        words = Transcription(("no", "yes"), words=True)
        assert words.encode(np.array(["yes no"], object)).tolist() == [[1, 0]]
        assert words.text(np.array([1, -1, 0])) == "yes no"
        assert words.names == ("no", "yes", "<blank>")
        assert task_from(json.loads(json.dumps(words.to_dict()))) == words

    def test_words_have_times(self):
        answer = np.full(100, -1)
        answer[[10, 20, 30, 50]] = [1, 2, 0, 3]
        found = ABC.describe(answer)
        assert found["text"] == "ab c"
        assert found["words"] == [
            {"word": "ab", "start": 0.105, "end": 0.215},
            {"word": "c", "start": 0.505, "end": 0.515},
        ]
        assert ABC.describe(None) == {"text": "", "words": []}

    def test_times_follow_from_the_strides_of_a_network(self):
        answer = np.full(40, -1)
        answer[10] = 1
        words = ABC.located(first=800, stride=160).describe(answer)["words"]
        assert words == [{"word": "a", "start": 0.3, "end": 0.32}]

    def test_windows_are_joined_in_the_middle_of_their_overlap(self):
        first, second = np.full(100, -1), np.full(100, -1)
        first[[10, 60, 80]] = [1, 2, 3]  # at 0.1, 0.6 and 0.8 s; the windows overlap from 0.5 to 1 s
        second[[9, 31, 90]] = [1, 3, 0]  # at 0.59, 0.81 and 1.4 s
        found = ABC.over_windows([first, second], [(0, 8000), (4000, 12000)])
        assert [(int(place), int(found[place])) for place in np.flatnonzero(found >= 0)] == [
            (10, 1),
            (60, 2),
            (81, 3),
            (140, 0),
        ]

    @pytest.mark.parametrize(
        "targets, message",
        [
            ([3], "example 0 of the test split has 3, expected a text"),
            (["a", " "], "example 1 of the test split has an empty transcript"),
            (["a", "abd"], "example 1 of the test split has 'd', which is none of the symbols"),
        ],
    )
    def test_wrong_transcripts_are_refused(self, targets, message):
        with pytest.raises(ValueError, match=message):
            ABC.check("test", np.array(targets, object))

    def test_a_transcript_needs_a_position_for_each_token_and_a_blank_between_equal_ones(self):
        targets = np.array(["ab", "aab"], object)
        ABC.check_outputs("train", targets, "recording {}".format, 4)
        with pytest.raises(ValueError, match="recording 1 of the train split has .* 3 tokens, which needs 4 .* at 3;"):
            ABC.check_outputs("train", targets, "recording {}".format, 3)


class TestReport:
    def test_rates_are_those_of_their_definition(self):
        task = transcription_of({"train": ["the cat sat on it"]})
        index = {symbol: number for number, symbol in enumerate(task.symbols)}
        heard = ["the cat sit it", "the cat"]
        answers = [np.array([index[letter] for letter in text.ljust(20)]) for text in heard]
        report = task.report("test", np.array(["the cat sat on it", "the cat"], object), answers, 1.0)
        assert (report.words, report.substitutions, report.deletions, report.insertions) == (7, 1, 1, 0)
        assert report.word_error_rate == pytest.approx(2 / 7)
        assert report.character_error_rate == report.token_error_rate == pytest.approx(4 / 24)
        assert report.worst == [
            {"example": 0, "errors": 2, "reference": "the cat sat on it", "hypothesis": "the cat sit it"}
        ]
        assert "2 of 7 (1 substituted, 1 deleted, 0 inserted)" in str(report)
        assert report_from(report.to_dict()).main == report.main
        assert list(report.pictures(None)) == ["worst.png"]

    def test_words_are_aligned(self):
        assert list(aligned("a b c", "a x c d")) == [
            ("equal", "a", "a"),
            ("substitute", "b", "x"),
            ("equal", "c", "c"),
            ("insert", "", "d"),
        ]


class TestTexts:
    def test_numbers_are_read_as_in_english(self):
        assert [in_words(number) for number in (0, 7, 13, 40, 85, 300, 642)] == [
            "zero",
            "seven",
            "thirteen",
            "forty",
            "eighty five",
            "three hundred",
            "six hundred and forty two",
        ]
        assert len({in_words(number) for number in range(1000)}) == 1000
        assert sorted(map(len, SENTENCES)) == [10] * 5

    def test_names_of_files_and_folders(self):
        assert as_words("0_1_1", {"0": "no", "1": "yes"}) == "no yes yes"
        splits = {"train-clean-100": "train", "dev-other": "validation", "test": "test", "x": "train"}
        assert {folder: split_of_path(f"{folder}/1/2/1-2-3.flac") for folder in splits} == splits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings of tones, each with a text beside it; eight for training and two of a test split."""
    path = tmp_path_factory.mktemp("spoken")
    for split, count in (("train", 8), ("test", 2)):
        (path / split).mkdir()
        for number in range(count):
            text = "ab c"[: 2 + number % 3].strip()
            soundfile.write(path / split / f"{number}.wav", sound(text), RATE)
            (path / split / f"{number}.txt").write_text(text.upper() + "\n")
    return path


class TestReaders:
    def test_texts_beside_recordings(self, folder):
        data = kzoo.load_dataset(f"transcripts:{folder}", batch_size=4)
        assert data.task.symbols == (" ", "a", "b", "c")
        assert data.examples["test"].labels.tolist() == ["ab", "ab"]
        assert data.examples["train"].inputs.shape[1] == len(sound("ab c"))
        assert data.input_shape[1:] == (40,)

    def test_tables_and_manifests(self, folder, tmp_path):
        names = [f"train/{number}.wav" for number in range(8)]
        (tmp_path / "t.csv").write_text("path,sentence\n" + "".join(f"{name},a b\n" for name in names))
        lines = [json.dumps({"audio_filepath": str(folder / name), "text": "a b", "duration": 1.0}) for name in names]
        (tmp_path / "manifest.json").write_text("\n".join(lines))
        for name, options in (("t.csv", {"root": str(folder)}), ("manifest.json", {})):
            data = kzoo.load_dataset(f"transcripts:{tmp_path / name}", validation=0.25, test=0.25, **options)
            assert {split: part.labels.tolist() for split, part in data.examples.items()} == {
                "train": ["a b"] * 4,
                "validation": ["a b"] * 2,
                "test": ["a b"] * 2,
            }

    def test_the_tree_of_librispeech(self, tmp_path):
        for split, speaker in (("train-clean-100", 19), ("train-clean-100", 26), ("dev-clean", 84), ("test-clean", 61)):
            inside = tmp_path / split / str(speaker) / "1"
            inside.mkdir(parents=True)
            rows = [f"{speaker}-1-000{number} AB C" for number in range(2)]
            (inside / f"{speaker}-1.trans.txt").write_text("\n".join(rows))
            for number in range(2):
                soundfile.write(inside / f"{speaker}-1-000{number}.flac", sound("ab c"), RATE)
        data = kzoo.load_dataset(f"transcripts:{tmp_path}")
        assert {split: len(part) for split, part in data.examples.items()} == {"train": 4, "validation": 2, "test": 2}
        assert set(data.examples["train"].groups) == {"19", "26"}
        assert data.examples["test"].labels.tolist() == ["ab c", "ab c"]

    def test_names_that_are_transcripts(self, tmp_path):
        for name in ("0_1", "1_1", "1_0", "0_0"):
            soundfile.write(tmp_path / f"{name}.wav", sound("ab"), RATE)
        options = {"pattern": "{text}.wav", "words": {"0": "no", "1": "yes"}, "tokens": "words", "validation": 0.25}
        data = kzoo.load_dataset(f"transcripts:{tmp_path}", **options)
        assert data.task.symbols == ("no", "yes")
        assert set(data.examples["train"].labels) <= {"no yes", "yes yes", "yes no", "no no"}

    def test_yesno(self, shared_data):
        data = kzoo.load_dataset(f"yesno:{shared_data / 'yesno.zip'}")
        assert len(data.examples["test"]) == 30
        assert data.task.symbols == ("no", "yes")
        assert all(len(text.split()) == 8 for text in data.examples["test"].labels)

    def test_digits_are_chained_by_speaker(self, tmp_path):
        for digit, speaker in itertools.product(range(3), ("ann", "ben", "eve")):
            soundfile.write(tmp_path / f"{digit}_{speaker}_0.wav", sound("a"), RATE)
        options = {"test_speakers": ["eve"], "validation_speakers": ["ben"], "utterances": 10}
        data = kzoo.load_dataset(f"chained_digits:{tmp_path}", **options)
        assert {split: set(part.groups) for split, part in data.examples.items()} == {
            "train": {"ann"},
            "validation": {"ben"},
            "test": {"eve"},
        }
        assert all(3 <= len(text.split()) <= 7 for text in data.examples["train"].labels)
        with pytest.raises(ValueError, match="did you mean eve"):
            kzoo.load_dataset(f"chained_digits:{tmp_path}", **options | {"test_speakers": ["evee"]})
        with pytest.raises(ValueError, match=r"digits must be \(fewest, most\)"):
            kzoo.load_dataset(f"chained_digits:{tmp_path}", **options | {"digits": (7, 3)})

    def test_synthetic_speech(self):
        pytest.importorskip("espeakng_loader")
        data = kzoo.load_dataset("spoken_numbers_synthetic", utterances=10)
        assert {split: len(part) for split, part in data.examples.items()} == {"train": 10, "validation": 2, "test": 4}
        again = kzoo.load_dataset("spoken_numbers_synthetic", utterances=10)
        np.testing.assert_array_equal(data.examples["test"].inputs, again.examples["test"].inputs)


def broken(folder, tmp_path, change) -> str:
    """Return a copy of the recordings that a function of it has changed."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    change(copy)
    return f"transcripts:{copy}"


class TestErrors:
    @pytest.mark.parametrize(
        "change, message",
        [
            (lambda f: (f / "train/3.txt").unlink(), "1 of 10 recordings .* have no transcript, e.g. train/3.wav"),
            (lambda f: (f / "train/3.txt").write_text(" "), "1 recordings have an empty transcript, e.g. train/3.wav"),
            (lambda f: (f / "test/1.txt").write_text("é"), "test/1.wav has 'é', which is no symbol"),
            (lambda f: (f / "test/1.txt").write_bytes(b"\xff"), "test/1.txt is not UTF-8"),
            (lambda f: [file.unlink() for file in f.rglob("*.wav")], "no audio files"),
        ],
    )
    def test_files_are_named(self, folder, tmp_path, change, message):
        with pytest.raises(ValueError, match=message):
            kzoo.load_dataset(broken(folder, tmp_path, change))

    def test_recordings_that_are_too_long_are_named_and_left_out_only_when_asked(self, folder):
        with pytest.raises(ValueError, match=r"2 of 10 recordings are longer than seconds=0.4, e.g. .*2.wav \(0.5 s\)"):
            kzoo.load_dataset(f"transcripts:{folder}", seconds=0.4)
        with pytest.warns(UserWarning, match="left out 2 of 10 recordings longer than 0.4 s"):
            data = kzoo.load_dataset(f"transcripts:{folder}", seconds=0.4, skip_longer=True)
        assert len(data.skipped) == 2
        with pytest.raises(ValueError, match=r"no recording is left: all 10 are longer than seconds=0.01"):
            kzoo.load_dataset(f"transcripts:{folder}", seconds=0.01, skip_longer=True)

    def test_an_archive_that_claims_too_much(self, folder, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for file in folder.rglob("*.*"):
                archive.write(file, file.relative_to(folder))
        assert len(kzoo.load_dataset(f"transcripts:{tmp_path / 'a.zip'}").examples["test"]) == 2
        with pytest.raises(ValueError, match="max_bytes"):
            kzoo.load_dataset(f"transcripts:{tmp_path / 'a.zip'}", max_bytes=100)

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"tokens": "word"}, "did you mean words"),
            ({"case": "Lower"}, "did you mean lower"),
            ({"augment": {"mixup": 0.2}}, "augment.mixup mixes targets, and those of transcription cannot be mixed"),
            ({"seconds": 12000.0}, "seconds must be a positive number, at most 3,600"),
        ],
    )
    def test_options(self, folder, options, message):
        with pytest.raises(ValueError, match=message):
            kzoo.load_dataset(f"transcripts:{folder}", **options)

    def test_images_and_spectrograms_as_images(self, folder):
        with pytest.raises(ValueError, match=r"for inputs with 1 spatial axes, .* these are \(16, 16, 1\)"):
            kzoo.from_arrays(np.zeros((20, 16, 16), "uint8"), ["ab"] * 20, task="transcription")
        with pytest.raises(ValueError, match="for inputs with 1 spatial axes"):
            kzoo.load_dataset(f"transcripts:{folder}", layout="time_frequency")

    def test_a_table_of_another_reader(self, folder, tmp_path):
        (tmp_path / "t.csv").write_text("file,text\n" + "train/0.wav,ab\n" * 4)
        with pytest.raises(ValueError, match="transcripts of t.csv are read by transcripts:PATH"):
            kzoo.load_dataset(f"table:{tmp_path / 't.csv'}", task="transcription", root=str(folder))

    def test_columns(self, tmp_path):
        (tmp_path / "t.csv").write_text("wav,said\na.wav,b\n")
        with pytest.raises(ValueError, match="t.csv has no column 'audio_filepath' of files; name it"):
            kzoo.load_dataset(f"transcripts:{tmp_path / 't.csv'}")
        with pytest.raises(ValueError, match="did you mean said"):
            kzoo.load_dataset(f"transcripts:{tmp_path / 't.csv'}", file="wav", text="sad")

    def test_a_network_with_too_few_positions(self, folder):
        data = kzoo.load_dataset(f"transcripts:{folder}", hop_ms=200.0, window_ms=200.0)
        model = kzoo.create_model("fcn", data.input_shape, data.num_outputs, head="frames")
        with pytest.raises(ValueError, match=r"\(train/\d.wav\) of the train split has .* of 4 tokens"):
            kzoo.fit(model, data, epochs=1, verbose=False)

    def test_a_pooled_head(self, folder):
        data = kzoo.load_dataset(f"transcripts:{folder}")
        model = kzoo.create_model("fcn", data.input_shape, data.num_outputs)
        with pytest.raises(ValueError, match="build it with head='frames'"):
            kzoo.fit(model, data, epochs=1, verbose=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network that spells tones, with its data and run folder."""
    said = texts(400)
    waves = np.stack([sound(text, 0.8) for text in said])
    data = kzoo.from_arrays(
        waves, said, task="transcription", modality="audio", sample_rate=RATE, test=0.2, batch_size=8, n_mels=24
    )
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("tdnn_ctc", data.input_shape, data.num_outputs, head="frames", width=24)
    run = tmp_path_factory.mktemp("runs") / "tones"
    kzoo.fit(model, data, epochs=10, learning_rate=5e-3, warmup_ratio=0.2, run_dir=run, verbose=False)
    report = kzoo.evaluate(model, data, run_dir=run)
    return model, data, run, report


class TestTraining:
    def test_it_learns_to_spell(self, trained):
        _, _, run, report = trained
        assert report.token_error_rate < 0.05
        assert (run / "report.html").exists()

    def test_a_file_is_transcribed_with_times(self, trained, tmp_path):
        soundfile.write(tmp_path / "said.wav", sound("ab c"), RATE)
        found = kzoo.load_predictor(trained[2]).predict(tmp_path / "said.wav")
        assert found.text == "ab c"
        (first, second) = found.words
        assert (first["word"], second["word"]) == ("ab", "c")
        assert 0 <= first["start"] < first["end"] < second["start"] < 0.6

    def test_a_long_recording_is_read_in_overlapping_windows(self, trained, tmp_path):
        text = "a b c ab ac bc abc cab"
        soundfile.write(tmp_path / "long.wav", np.pad(sound(text), (0, 1600)), RATE)
        found = kzoo.load_predictor(trained[2]).predict(tmp_path / "long.wav")
        assert len(found.windows) > 4
        assert jiwer.cer(text, found.text) < 0.1
        assert found.words[-1]["end"] == pytest.approx(len(sound(text)) / RATE, abs=0.15)

    def test_silence_is_an_empty_text(self, trained, tmp_path):
        soundfile.write(tmp_path / "silence.wav", np.zeros(4000, "int16"), RATE)
        with pytest.warns(UserWarning, match="silence"):
            assert kzoo.load_predictor(trained[2]).predict(tmp_path / "silence.wav").text == ""

    @pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is written by TensorFlow")
    def test_an_export_serves_text_and_words_with_times(self, trained):
        import tensorflow as tf

        model, data, run, _ = trained
        exported = kzoo.export(model, run / "saved_model", data=data)
        said = [sound(text, 0.8) for text in ("ca b", "abc", " ")]
        served = tf.saved_model.load(str(exported.path)).signatures["serve"](raw=tf.constant(np.stack(said)))
        assert served["text"].numpy().tolist() == [b"ca b", b"abc", b""]
        assert served["words"].numpy().tolist() == [[b"ca", b"b"], [b"abc", b""], [b"", b""]]
        assert served["tokens"].shape == (3, model.output_shape[1])
        words = [data.task.located(13 * 80, 80).describe(tokens)["words"] for tokens in served["tokens"].numpy()]
        for times, name in ((served["starts"].numpy(), "start"), (served["ends"].numpy(), "end")):
            np.testing.assert_allclose(times[0], [word[name] for word in words[0]], atol=2e-3)
            np.testing.assert_array_equal(times < 0, [[False, False], [False, True], [True, True]])

    @pytest.mark.slow
    def test_a_keras_file_answers_with_tokens(self, trained, tmp_path):
        model, data, _, _ = trained
        exported = kzoo.export(model, tmp_path / "a.keras", data=data, format="keras")
        soundfile.write(tmp_path / "said.wav", sound("ab c"), RATE)
        assert kzoo.load_predictor(exported.path).predict(tmp_path / "said.wav").text == "ab c"

    def test_other_recordings_are_evaluated_by_their_texts(self, trained, folder):
        model, _, _, _ = trained
        data = kzoo.load_dataset(f"transcripts:{folder}", like=model)
        assert kzoo.evaluate(model, data).words == 2
