"""Sound as a stream: frames from samples, exports of the step model, and what `kzoo listen` hears and when."""

import dataclasses
import json
import re
import sys

import keras
import numpy as np
import pytest
import soundfile
from test_stream import streamed

import kzoo
from kzoo.cli import listen_
from kzoo.data.audio.incremental import incremental, overlap, shift
from kzoo.data.audio.preprocess import AudioPreprocess
from kzoo.data.serving import Serving
from kzoo.serving.export import PACKAGES, SUFFIXES
from kzoo.serving.listen import Spotter
from kzoo.serving.step_export import KERAS_NAMES
from kzoo.serving.stream import Memory, finished
from kzoo.tasks import Classification
from kzoo.training.runs import load_run

RATE = 2000
OPTIONS = {"n_mels": 8, "n_mfcc": 6, "window_ms": 25.0, "hop_ms": 10.0}  # 50 samples every 20


def tone(pitch: float, seconds: float, seed: int = 0) -> np.ndarray:
    """Return a tone with a little noise, or noise alone for pitch 0, as 16-bit samples."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(0, 300, len(time))
    return (8000 * np.sin(2 * np.pi * pitch * time) * (pitch > 0) + noise).astype("int16")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small causal network that tells two tones from noise."""
    pitches = {"_silence_": 0, "low": 200, "high": 600}
    sounds = [
        tone(pitch * spread, 0.5, seed) for pitch in pitches.values() for seed, spread in enumerate([0.9, 1, 1.1] * 12)
    ]
    labels = np.repeat([*pitches], len(sounds) // 3)
    options = {"modality": "audio", "sample_rate": RATE, "layout": "time", **OPTIONS, "hop_ms": 50.0}
    data = kzoo.from_arrays(np.stack(sounds), labels, batch_size=16, **options)
    keras.utils.set_random_seed(0)
    model = kzoo.create_model(
        "tdnn_ctc", data.input_shape, 3, head="pooled", causal=True, kernels=(3, 3), dilations=(1, 2), width=8
    )
    folder = tmp_path_factory.mktemp("runs") / "tones"
    kzoo.fit(model, data, epochs=8, learning_rate=3e-2, run_dir=folder, verbose=False)
    return folder


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Noise, a low tone from 1 s to 1.6 s, noise, a high tone from 3 s to 3.6 s, noise to 4.5 s."""
    parts = [(0, 1), (200, 0.6), (0, 1.4), (600, 0.6), (0, 0.9)]
    path = tmp_path_factory.mktemp("sound") / "tones.wav"
    soundfile.write(path, np.concatenate([tone(*part, seed) for seed, part in enumerate(parts)]), RATE)
    return path


def prepared(**options) -> AudioPreprocess:
    sounds, labels = np.stack([tone(200, 0.5, seed) for seed in range(20)]), [0, 1] * 10
    return kzoo.from_arrays(sounds, labels, modality="audio", sample_rate=RATE, **OPTIONS | options).preprocess


def serving(preprocess: AudioPreprocess) -> Serving:
    return Serving("audio", preprocess, Classification(("a", "b", "c")), tone(200, 8)[None])


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "time", "hop_ms": 10.0},  # librosa: half a frame of silence before, 25 samples of 50, hop 20
        {"layout": "frequency_time", "hop_ms": 12.5},
        {"feature_style": "kaldi", "hop_ms": 10.0},
        {"feature_style": "speech_commands", "hop_ms": 30.0},  # samples between frames are skipped
        {"feature": "mfcc", "feature_style": "kaldi"},
        {"feature": "waveform"},
    ],
)
def test_frames_from_samples_are_those_of_the_whole_recording(options):
    check_features(prepared(**options))


def check_features(preprocess: AudioPreprocess) -> None:
    """Check the frames of a stream against those of a recording after the silence that `shift` says."""
    axis = 2 if preprocess.layout == "frequency_time" else 1
    inputs = keras.Input(preprocess.input_shape)
    pointwise = keras.Model(inputs, keras.layers.Identity()(inputs))
    features = step_of_features(pointwise, preprocess, axis)
    sound = tone(300, 0.25)[: 12 * preprocess.step]
    found = np.concatenate(streamed(features, sound[None]), axis=axis)
    heard = np.concatenate([np.zeros(max(shift(preprocess), 0), "int16"), sound])
    whole = dataclasses.replace(preprocess, samples=len(heard))
    expected = keras.ops.convert_to_numpy(whole(heard[None])).take(range(found.shape[axis]), axis)
    assert found.shape[axis] == len(sound) // preprocess.step
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


def step_of_features(model: keras.Model, preprocess: AudioPreprocess, axis: int) -> keras.Model:
    """Return the step model from samples to the features that a network is given."""
    memory = Memory()
    samples = keras.Input((preprocess.step,), dtype=preprocess.raw_dtype, name="samples")
    recent = memory.remembered(keras.ops.cast(samples, "float32"), overlap(preprocess), 1)
    return finished(model, samples, incremental(preprocess, 1)(recent), memory)


def test_answers_from_samples_are_those_of_the_network(run):
    model, known = load_run(run)
    step = kzoo.stream(model, known)
    sound = tone(200, 0.5)
    heard = np.concatenate([np.zeros(shift(known.preprocess), "int16"), sound])[: known.preprocess.samples]
    frames = known.preprocess(heard[None])
    count = len(sound) // known.preprocess.step
    whole = keras.models.clone_model(model, input_tensors=keras.Input((count, 8)))
    whole.set_weights(model.get_weights())
    expected = keras.ops.softmax(whole(frames[:, :count], training=False))
    np.testing.assert_allclose(streamed(step, sound[None])[-1], expected, atol=1e-6)


def test_a_residual_network_takes_samples_too():
    """Its own additions and those of the front-end have different names."""
    preprocess = prepared(layout="time")
    model = kzoo.create_model("tc_resnet8", preprocess.input_shape, 3, causal=True, filters=(4, 4, 4, 4))
    step = kzoo.stream(model, serving(preprocess))
    assert step.inputs[0].shape == (None, 8 * preprocess.step)
    assert step.outputs[0].shape == (None, 3)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"normalise": "example"}, "normalise='example' needs the whole recording; train with normalise='set'"),
        ({"fill_silence": True}, "fill_silence=True needs the whole recording"),
        ({"feature": "mfcc"}, "MFCCs of feature_style='librosa' are clipped relative to the loudest frame"),
    ],
)
def test_features_that_need_the_whole_recording_are_refused(change, reason):
    model = kzoo.create_model("tcn", (50, 8), 3, filters=(4,))
    with pytest.raises(ValueError, match=reason):
        kzoo.stream(model, serving(dataclasses.replace(prepared(), **change)))


@pytest.mark.slow
@pytest.mark.parametrize("format", KERAS_NAMES)
def test_each_format_streams_as_keras_does(format, run, tmp_path):
    for package in PACKAGES.get(format, ()):
        pytest.importorskip(package)
    model, known = load_run(run)
    path = tmp_path / f"step{SUFFIXES.get(format, '')}"
    exported = kzoo.export(model, path, data=known, format=format, streaming=True)
    assert exported.max_difference < 1e-5
    assert "differ from the Keras model's by at most" in str(exported)
    assert str(exported).endswith("on 12 steps of real sound")
    with pytest.raises(ValueError, match="is the step of a stream, which takes its state too"):
        kzoo.load_predictor(path)


def test_what_is_heard_has_its_time(run, recording):
    found = list(kzoo.listen(run, recording))
    assert [detection.label for detection in found] == ["low", "high"]
    assert 1 < found[0].time < 2.1
    assert 3 < found[1].time < 4.1
    assert min(detection.probability for detection in found) >= 0.8


def test_the_command_prints_each_detection(run, recording, capsys):
    listen_(str(run), str(recording), as_json=True)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["low", "high"]


@pytest.mark.slow
def test_the_command_prints_a_line_of_text_for_each_detection(run, recording, capsys):
    listen_(str(run), str(recording), threshold=0.9)
    assert re.fullmatch(r"( +\d\.\d\d  (low|high)  0\.9\d\d\n)+", capsys.readouterr().out)


def test_mistakes_are_explained(run, recording):
    with pytest.raises(ValueError, match="threshold must be a fraction in .0, 1., got 1.5"):
        kzoo.listen(run, recording, threshold=1.5)
    with pytest.raises(ValueError, match=r"there is no file|nowhere\.wav"):
        kzoo.listen(run, "nowhere.wav")


def test_a_microphone_needs_its_package(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ValueError, match=r"needs the package sounddevice; .*'\.\[microphone\]'"):
        next(kzoo.listen(run))


def steps(*runs: tuple[int, float, float]) -> list[np.ndarray]:
    """Return probabilities of two classes and silence, for runs of equal steps."""
    return [np.array([a, b, 1 - a - b]) for count, a, b in runs for _ in range(count)]


def heard(spotter: Spotter, *runs) -> list[tuple[float, str]]:
    return [(found.time, found.label) for found in spotter.detections(steps(*runs))]


def test_a_class_is_reported_once_while_it_lasts_and_again_after_a_pause():
    spotter = Spotter(("a", "b", "_silence_"), 0.1, threshold=0.5, smoothing=0, refractory=0.2)
    assert heard(spotter, (3, 0, 0), (20, 0.9, 0), (1, 0, 0), (1, 0.9, 0)) == [(0.4, "a"), (2.5, "a")]


def test_nothing_is_reported_within_the_refractory_time_but_what_lasts_is_after_it():
    spotter = Spotter(("a", "b", "_silence_"), 0.1, threshold=0.5, smoothing=0, refractory=1)
    assert heard(spotter, (2, 0.9, 0), (3, 0, 0.9), (20, 0, 0)) == [(0.1, "a")]
    assert heard(spotter, (2, 0.9, 0), (12, 0, 0.9)) == [(0.1, "a"), (1.1, "b")]


def test_probabilities_are_averaged_over_the_window_from_the_first_step_on():
    spotter = Spotter(("a", "b", "_silence_"), 0.1, threshold=0.5, smoothing=0.4)
    assert heard(spotter, (2, 0.9, 0), (4, 0, 0)) == []
    assert heard(spotter, (3, 0.9, 0), (4, 0, 0)) == [(0.3, "a")]
