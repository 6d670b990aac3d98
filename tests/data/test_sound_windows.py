"""Audio files that are read when they are needed, and windows of recordings that are longer than a clip."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.data import cache
from kzoo.data.audio import files, source
from kzoo.data.audio.frontends import resampled
from kzoo.data.audio.source import AudioFiles, AudioWindows
from kzoo.data.sources import array_of
from kzoo.data.splits import divided
from kzoo.data.windows import Windows, mean_over_windows
from kzoo.serving.measure import answers_of
from kzoo.serving.serve import Predictor
from kzoo.training.evaluate import mean_over_views

soundfile = pytest.importorskip("soundfile")

RATE = 2000
LOW, HIGH = 100, 400  # hertz


def tone(hertz, seconds, rate=RATE):
    """Return a sine wave."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def hertz_of(clip):
    """Return the frequencies of a clip that hold much of its energy."""
    spectrum = np.abs(np.fft.rfft(np.asarray(clip, float).ravel()))
    return {hertz for hertz in (LOW, HIGH) if spectrum[hertz * len(clip) // RATE] > 0.2 * spectrum.max()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return class folders: "rising" is low in the first second and high in the second, "short" half a second low."""
    root = tmp_path_factory.mktemp("sounds")
    for name in ("rising", "short"):
        (root / name).mkdir()
    for number in range(10):
        rising = np.concatenate([tone(LOW, 1), tone(HIGH, 1 + number / 20)])
        soundfile.write(root / "rising" / f"{number}.wav", rising, RATE)
        soundfile.write(root / "short" / f"{number}.wav", tone(LOW, 0.5), RATE)
    return root


def loaded(folder, **options):
    return kzoo.load_dataset(
        f"audio_folder:{folder}", batch_size=4, validation=0.2, **{"hop": 0.5, "feature": "waveform"} | options
    )


def batches_of(data, first=0, count=None):
    found = data.train_batches(first).take(count or 3 * data.steps_per_epoch)
    return [[np.asarray(part) for part in batch] for batch in found]


@pytest.fixture(scope="module")
def network():
    inputs = keras.Input((RATE, 1))
    strided = keras.layers.Conv1D(
        4, 9, strides=3, activation="relu", kernel_initializer=keras.initializers.GlorotNormal(1)
    )
    outputs = keras.layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(0, 8, seed=2))
    return keras.Model(inputs, outputs(keras.layers.GlobalAveragePooling1D()(strided(inputs))))


@pytest.mark.parametrize("old, new", [(8000, 8000), (8000, 16000), (16000, 8000), (11025, 8000), (8000, 11025)])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_part_of_a_file_is_that_of_the_whole_file(tmp_path, old, new, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.random.default_rng(0).normal(size=(3 * old, 1 if suffix == "ogg" else 2)) * 0.1, old)
    sound = files.read_audio(path)
    whole = resampled(sound.wave, sound.sample_rate, new)
    for start in (0, 1, 777, len(whole) // 2, len(whole) - new // 2):
        expected = whole[start : start + new]
        np.testing.assert_allclose(files.read_part(path, start, new, new), expected, atol=2e-7)


def test_only_a_window_of_a_file_is_read(folder, monkeypatch):
    found = loaded(folder).examples["train"].inputs
    monkeypatch.setattr(source, "read_audio", None)
    frames, seen = soundfile.SoundFile.read, []
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **how: seen.append(n) or frames(self, n, **how))
    assert found[:].shape == (len(found), RATE)
    assert max(seen) < RATE + 50


def test_training_sees_windows_at_random_and_short_recordings_padded(folder):
    data = loaded(folder)
    rising = data.class_names.index("rising")
    batches = batches_of(data, count=12 * data.steps_per_epoch)
    seen = [hertz_of(clip) for inputs, labels in batches for clip in inputs[labels == rising]]
    assert all(frequencies in seen for frequencies in ({LOW}, {HIGH}, {LOW, HIGH}))
    short = np.stack([clip for inputs, labels in batches for clip in inputs[labels != rising]])
    assert np.ptp(short[:, RATE // 2 :]) == 0
    assert np.array_equal(short, np.broadcast_to(short[0], short.shape))


@pytest.mark.parametrize("augment", [None, {"gain": 0.3}])
def test_windows_are_a_function_of_seed_epoch_and_index(folder, augment):
    data = loaded(folder, augment=augment)
    first, again = batches_of(data), batches_of(loaded(folder, augment=augment))
    assert all(
        np.array_equal(a, b) for one, other in zip(first, again, strict=True) for a, b in zip(one, other, strict=True)
    )
    for resumed, (expected, _) in zip(batches_of(data, 4, 3), first[4:7], strict=True):
        np.testing.assert_array_equal(resumed[0], expected)
    other = batches_of(loaded(folder, augment=augment, seed=1))
    assert not all(np.array_equal(one[0], two[0]) for one, two in zip(first, other, strict=True))


def test_a_window_does_not_depend_on_the_batch(folder):
    found = loaded(folder).examples["train"].inputs
    seeds = np.arange(2 * len(found)).reshape(-1, 2)
    together = found.drawn(np.arange(len(found)), seeds).numpy()
    alone = [found.drawn(np.array([n]), seeds[n : n + 1]).numpy()[0] for n in range(len(found))]
    np.testing.assert_array_equal(together, alone)


def test_validation_sees_the_central_window(folder):
    examples = loaded(folder).examples["validation"]
    whole, _ = soundfile.read(examples.inputs.files[0], dtype="int16")
    start = max(len(whole) - RATE, 0) // 2
    np.testing.assert_array_equal(examples.inputs[0][: len(whole)], whole[start : start + RATE])


def test_evaluation_is_the_mean_over_windows_with_a_hop(folder, network):
    data = loaded(folder)
    found, _ = mean_over_views(network, data, "test", {})
    for probabilities, file in zip(found, data.examples["test"].inputs.files, strict=True):
        wave, _ = soundfile.read(file, dtype="int16")
        starts = [0] if len(wave) <= RATE else [*range(0, len(wave) - RATE, RATE // 2), len(wave) - RATE]
        windows = np.stack([np.pad(wave[s : s + RATE], (0, max(0, RATE - len(wave)))) for s in starts])
        logits = np.asarray(network(data.preprocess(windows)), "float64")
        each = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(probabilities, each.mean(axis=0), rtol=1e-4)
    assert kzoo.evaluate(network, data).examples == len(data.examples["test"])


def test_evaluation_on_other_data_is_that_of_predicted_files(folder, network):
    data = loaded(folder, hop=0.3)
    softmax = lambda raw: np.asarray(keras.ops.softmax(network(data.preprocess(raw))))  # noqa: E731
    predictor = Predictor(softmax, data.preprocess, data.task, True)
    examples = data.examples["train"]
    predicted = predictor.predict_files([*map(str, examples.inputs.files)], hop=0.3)
    expected = [[one.probabilities[name] for name in data.class_names] for one in predicted]
    np.testing.assert_allclose(answers_of(predictor, examples), expected, rtol=1e-5)
    assert max(len(one.windows) for one in predicted) > 4


def test_examples_without_windows_are_not_divided(folder):
    examples = loaded(folder, hop=None).examples["test"]
    assert divided(examples) == (examples, None)
    rows = np.ones((2, 3), "float32")
    assert mean_over_windows(rows, None) is rows
    mean = mean_over_windows(np.array([[1], [3], [7]], "float32"), np.array([2, 1]))
    assert mean.dtype == "float32"
    np.testing.assert_array_equal(mean, [[2], [7]])


def test_formats_without_seeking_have_windows(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(LOW, 3, 8000), 8000, subtype="GSM610")
    header = files.read_header(path)
    found = AudioWindows.of(AudioFiles(array_of([path]), 8000, 8000), 8000, [header])
    assert not header.seekable
    assert found.windows == Windows(8000, 8000, 8000)
    whole = files.to_int16(files.read_audio(path).wave)
    np.testing.assert_array_equal(found.window(0, 5000), whole[5000:13000])
    assert len(whole) == found.lengths[0]


def test_a_file_that_gets_shorter_is_named(folder, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(LOW, 3), RATE)
    found = AudioWindows.of(AudioFiles(array_of([path]), RATE, RATE), RATE, [files.read_header(path)])
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"a.wav .*truncated|a.wav cannot be read"):
        found.window(0, 2 * RATE)


@pytest.mark.parametrize("hop, message", [(1.5, "hop must be at most the window, 1,"), (0, "hop must be")])
def test_mistakes_are_explained(folder, hop, message):
    with pytest.raises(ValueError, match=message):
        loaded(folder, hop=hop)


def test_a_table_of_recordings_has_windows(folder):
    rows = [f"{name}/{number}.wav,{name}" for name in ("rising", "short") for number in range(10)]
    (folder / "table.csv").write_text("\n".join(["file,label", *rows]))
    data = kzoo.load_dataset(f"table:{folder / 'table.csv'}", hop=0.5, validation=0.2)
    assert data.examples["train"].inputs.hop == RATE // 2


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """Return the list of the files that are decoded, in a set too large to be decoded at once."""
    found = []
    monkeypatch.setattr(source, "read_audio", lambda path: found.append(path) or files.read_audio(path))
    monkeypatch.setattr(cache, "EAGER", 0)
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    return found


@pytest.mark.filterwarnings("ignore:.*are cut to 1 s")
@pytest.mark.parametrize("where", ["auto", "memory", "disk", None])
def test_clips_are_the_same_whatever_is_cached(folder, where, reads, monkeypatch):
    data = loaded(folder, hop=None, cache=where)
    reads.clear()
    lazy = batches_of(data)
    assert (len(reads) > 12) == (where is None)
    monkeypatch.setattr(cache, "EAGER", 2000)
    for (found, _), (expected, _) in zip(lazy, batches_of(loaded(folder, hop=None)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*are cut to 1 s")
def test_only_what_is_asked_for_is_decoded(folder, reads):
    data = loaded(folder, hop=None, cache=None)
    reads.clear()
    next(iter(data.eval_batches("test")))
    assert 0 < len(reads) <= len(data.examples["test"])


@pytest.mark.filterwarnings("ignore:.*are cut to 1 s")
def test_a_limit_decodes_no_more(folder, reads):
    loaded(folder, hop=None, limit=6, cache=None)
    assert len(reads) == 6  # for the mean and the standard deviation
