"""Audio: reading files of every kind, front-ends, augmentation, preprocessing, and the sets that need no network."""

import importlib.util
import io
import tarfile
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

import kzoo
from kzoo.data.audio import (
    AudioAugment,
    AudioPreprocess,
    Recordings,
    files,
    folder,
    frontends,
    sets,
    speech_commands,
    synthetic_speech,
)
from kzoo.data.audio.augment import Background
from kzoo.data.audio.frontends import FEATURE_STYLES, FrontEnd
from kzoo.data.folders import files_with_suffix
from kzoo.data.serving import Serving, preprocess_from
from kzoo.tasks import Classification

soundfile = pytest.importorskip("soundfile")

RATE = 8000


def tone(hertz=440.0, seconds=0.5, rate=RATE, loudness=0.5) -> np.ndarray:
    """A sine wave, float32."""
    return (loudness * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("float32")


def write_folder(folder, classes=("high", "low"), count=10, rate=RATE, suffix=".wav"):
    """Write tones into class folders; return the folder."""
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            wave = tone(300 * (place + 1) + 10 * number, seconds=0.3 + 0.05 * number, rate=rate)
            soundfile.write(folder / name / f"{number}{suffix}", wave, rate)
    return folder


def write_takes(folder):
    """Write tones called {digit}_{speaker}_{index}.wav; return the folder."""
    folder.mkdir()
    for digit in range(2):
        for person, speaker in enumerate(("ann", "bob", "cleo")):
            for index in range(5):
                wave = tone(300 * (digit + 1) + 20 * person + index, seconds=0.3)
                soundfile.write(folder / f"{digit}_{speaker}_{index}.wav", wave, RATE)
    return folder


def recordings(count=6, samples=RATE) -> Recordings:
    """Noise of several loudnesses."""
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(count, samples)) * np.linspace(300, 6000, count)[:, None]
    return Recordings(np.clip(waves, -32768, 32767).astype("int16"), np.arange(count, dtype="int32") % 2, RATE)


class TestReading:
    @pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
    def test_every_sample_format_gives_the_same_wave(self, tmp_path, subtype):
        soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype=subtype)
        sound = files.read_audio(tmp_path / "a.wav")
        assert sound.sample_rate == RATE
        np.testing.assert_allclose(sound.wave, tone(), atol=2 / 256 if subtype == "PCM_U8" else 2 / 32768)

    @pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
    def test_every_file_format(self, tmp_path, suffix):
        soundfile.write(tmp_path / f"a{suffix}", tone(seconds=1.0), RATE)
        wave = files.read_audio(tmp_path / f"a{suffix}").wave
        assert abs(np.sqrt(np.mean(wave**2)) - 0.5 / np.sqrt(2)) < 0.05

    def test_stereo_is_mixed_down_with_a_warning(self, tmp_path):
        preprocess = AudioPreprocess.fit(recordings())
        soundfile.write(tmp_path / "a.wav", np.stack([tone(), np.zeros_like(tone())], 1), RATE)
        with pytest.warns(UserWarning, match="1 file with 2 channels, mixed down to one, e.g. .*a.wav"):
            wave = preprocess.read(tmp_path / "a.wav")
        np.testing.assert_allclose(wave / 32768, tone() / 2, atol=2 / 32768)

    def test_another_rate_is_resampled_with_a_warning(self, tmp_path):
        preprocess = AudioPreprocess.fit(recordings())
        soundfile.write(tmp_path / "a.wav", tone(rate=44100), 44100)
        with pytest.warns(UserWarning, match="1 file at 44100 Hz, resampled to 8000 Hz, e.g. .*a.wav"):
            wave = preprocess.read(tmp_path / "a.wav")
        assert len(wave) == 4000
        np.testing.assert_allclose(wave[100:-100] / 32768, tone()[100:-100], atol=2e-3)

    def test_an_mp3_named_wav_is_read_with_a_warning(self, tmp_path):
        soundfile.write(tmp_path / "a.mp3", tone(), RATE)
        (tmp_path / "a.mp3").rename(tmp_path / "a.wav")
        with pytest.warns(UserWarning, match="1 file in another format than their suffix says, MP3, e.g. .*a.wav"):
            wave = AudioPreprocess.fit(recordings()).read(tmp_path / "a.wav")
        assert len(wave) >= 4000

    def test_silence_and_clipping_are_reported(self, tmp_path):
        preprocess = AudioPreprocess.fit(recordings())
        soundfile.write(tmp_path / "quiet.wav", np.zeros(4000), RATE)
        soundfile.write(tmp_path / "loud.wav", tone(loudness=3), RATE, subtype="FLOAT")
        with pytest.warns(UserWarning, match="1 file with nothing but silence, e.g. .*quiet.wav"):
            assert preprocess.read(tmp_path / "quiet.wav").max() == 0
        with pytest.warns(UserWarning, match="1 file louder than full scale, clipped, e.g. .*loud.wav"):
            assert preprocess.read(tmp_path / "loud.wav").max() == 32767

    def test_a_good_file_is_read_in_silence(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", tone(), RATE)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            wave = AudioPreprocess.fit(recordings()).read(tmp_path / "a.wav")
        assert wave.dtype == "int16"

    def test_broken_files_are_explained(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", tone(), RATE)
        soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
        soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), RATE, subtype="FLOAT")
        whole = (tmp_path / "a.wav").read_bytes()
        contents = {"empty.wav": b"", "cut.wav": whole[:3000], "head.wav": whole[:30], "text.wav": b"not audio" * 9}
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
        messages = {
            "empty.wav": "is empty, 0 bytes",
            "cut.wav": "is truncated: it has 2956 of 8000 bytes of samples",
            "head.wav": "is truncated: it has no samples",
            "text.wav": "cannot be read as audio",
            "none.wav": "contains no samples",
            "nan.wav": "contains NaN or infinity",
        }
        for name, message in messages.items():
            with pytest.raises(ValueError, match=f"{name} {message}") as error:
                files.read_audio(tmp_path / name)
            assert "\n" not in str(error.value)
        with pytest.raises(ValueError, match=r"there is no file .*nowhere.wav"):
            files.read_audio(tmp_path / "nowhere.wav")

    @pytest.mark.parametrize("size", [0, 2147479552, 2**31, 2**32 - 1])  # sox writes the second
    @pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
    def test_a_wav_whose_header_was_never_finished_is_whole(self, tmp_path, size, subtype):
        soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype=subtype)
        whole = files.read_audio(tmp_path / "a.wav").wave
        data = bytearray((tmp_path / "a.wav").read_bytes())
        start = data.index(b"data") + 4
        data[4:8] = min(size + start - 4, 2**32 - 1).to_bytes(4, "little")
        data[start : start + 4] = size.to_bytes(4, "little")
        (tmp_path / "a.wav").write_bytes(data)
        np.testing.assert_array_equal(files.read_audio(tmp_path / "a.wav").wave, whole)
        assert len(whole) == 4000

    @pytest.mark.parametrize("subtype, name", [("GSM610", "a.wav"), ("G721_32", "a.wav"), ("G721_32", "a.au")])
    def test_formats_without_seeking_are_read(self, tmp_path, subtype, name):
        soundfile.write(tmp_path / name, tone(), RATE, subtype=subtype)
        wave = files.read_audio(tmp_path / name).wave[:4000]
        assert np.corrcoef(wave, tone())[0, 1] > 0.9

    @pytest.mark.parametrize("name", ["a.aiff", "a.aif", "a.AU", "a.caf", "a.w64", "a.oga"])
    def test_more_formats_of_libsndfile_are_read_in_silence(self, tmp_path, name):
        formats = {"aiff": "AIFF", "aif": "AIFF", "au": "AU", "caf": "CAF", "w64": "W64", "oga": "OGG"}
        soundfile.write(tmp_path / name, tone(), RATE, format=formats[name.lower()[2:]])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            files.warn_of_changes([files.read_audio(tmp_path / name)], RATE)

    @pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "PCM_24", "PCM_32", "FLOAT", "ULAW"])
    @pytest.mark.parametrize("channels, title", [(1, None), (2, "a title"), (1, "long" * 2000)])
    def test_a_header_read_directly_is_that_of_libsndfile(self, tmp_path, subtype, channels, title):
        path = tmp_path / "a.wav"
        with soundfile.SoundFile(path, "w", 11025, channels, subtype) as file:
            if title:
                file.title = title
            file.write(np.zeros((777, channels)))
        data = path.read_bytes()
        assert files.read_header(path) == files.Header(str(path), 11025, channels, "WAV", 777, True)
        assert (files.plain_wav_header(path) is not None) == (subtype[:3] == "PCM" and len(title or "") < files.HEADER)
        start = data.index(b"data")
        path.write_bytes(data[: start + 4] + b"\xff\xff\xff\x7f" + data[start + 8 :])  # as if written to a pipe
        assert files.plain_wav_header(path) is None
        path.write_bytes(data[: start + 60])
        with pytest.raises(ValueError, match=r"a.wav is truncated: it has 52 of \d+ bytes of samples"):
            files.read_header(path)

    @pytest.mark.parametrize("name", ["a.m4a", "a.AAC", "a.wma"])
    def test_formats_that_are_not_read_are_named_with_what_to_do(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"not read")
        with pytest.raises(ValueError, match=f"{name} is in a format that is not read, .*ffmpeg -i {name} a.wav"):
            files.read_audio(tmp_path / name)
        write_folder(tmp_path / "set")
        (tmp_path / name).rename(tmp_path / "set" / "low" / name)
        with pytest.raises(ValueError, match=f"{name} is in a format that is not read"):
            kzoo.load_dataset(f"folder:{tmp_path / 'set'}")
        with pytest.warns(UserWarning, match=f"skipped 1 broken files: .*{name} is in a format that is not read"):
            splits = kzoo.load_dataset(f"folder:{tmp_path / 'set'}", skip_broken=True, validation=0.2)
        assert sum(map(len, splits.examples.values())) == 20

    def test_a_flac_file_without_a_length_is_refused_with_what_to_do(self, tmp_path):
        soundfile.write(tmp_path / "a.flac", tone(), RATE)
        data = bytearray((tmp_path / "a.flac").read_bytes())
        data[21] &= 0xF0  # number of samples, 36 bits of STREAMINFO
        data[22:26] = bytes(4)
        (tmp_path / "a.flac").write_bytes(data)
        with pytest.raises(ValueError, match=r"a.flac does not state its length.*ffmpeg -i a.flac a.wav"):
            files.read_audio(tmp_path / "a.flac")

    def test_without_soundfile_the_error_names_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ValueError, match=r"needs the package soundfile; .*pip install '\.\[audio\]'"):
            kzoo.load_dataset(f"audio_folder:{tmp_path}")


class TestFrontEnds:
    def test_mfcc_and_spectrogram_are_those_of_tensorflows_speech_commands_kernels(self):
        wave = tone(seconds=1.0, rate=16000) + 0.01 * np.random.default_rng(0).normal(size=16000).astype("float32")
        ours = FrontEnd(16000, 480, 320, 512, 40, 20.0, 4000.0, 10, "speech_commands")
        spectrogram = tf.raw_ops.AudioSpectrogram(
            input=wave[:, None], window_size=480, stride=320, magnitude_squared=True
        )
        expected = tf.raw_ops.Mfcc(
            spectrogram=spectrogram,
            sample_rate=16000,
            upper_frequency_limit=4000,
            lower_frequency_limit=20,
            filterbank_channel_count=40,
            dct_coefficient_count=10,
        )
        power, mfcc = np.asarray(ours.power(wave[None])), np.asarray(ours.mfcc(wave[None]))
        np.testing.assert_allclose(power, spectrogram, atol=1e-4 * np.max(spectrogram), rtol=1e-4)
        np.testing.assert_allclose(mfcc, expected, atol=1e-4 * np.abs(expected).max())

    @pytest.mark.parametrize("style, frames", [("librosa", 101), ("kaldi", 98), ("speech_commands", 98)])
    def test_number_of_frames(self, style, frames):
        ours = FrontEnd(16000, 400, 160, 512, 40, 20.0, 8000.0, 13, style)
        assert ours.frames(16000) == frames
        assert ours.mfcc(np.zeros((2, 16000), "float32")).shape == (2, frames, 13)

    def test_a_tone_lies_in_its_band(self):
        ours = FrontEnd(RATE, 200, 80, 256, 40, 20.0, 4000.0, 13)
        centres = frontends.mel_to_hertz(np.linspace(*frontends.hertz_to_mel([20, 4000], "slaney"), 42), "slaney")[1:-1]
        loudest = np.asarray(ours.log_mel(tone(1000.0)[None]))[0].mean(0).argmax()
        assert abs(centres[loudest] - 1000) < 60

    @pytest.mark.parametrize("scale", ["htk", "slaney"])
    def test_mel_scale_is_inverted(self, scale):
        hertz = np.linspace(0, 8000, 50)
        np.testing.assert_allclose(frontends.mel_to_hertz(frontends.hertz_to_mel(hertz, scale), scale), hertz)
        np.testing.assert_allclose(frontends.hertz_to_mel(1000, scale), {"htk": 1000, "slaney": 15}[scale], rtol=1e-4)

    @pytest.mark.parametrize("old, new", [(22050, 16000), (8000, 16000), (44100, 8000), (16000, 8000), (8000, 8000)])
    def test_resampling_is_scipys(self, old, new):
        wave = np.random.default_rng(0).normal(size=1501).astype("float32")
        common = np.gcd(old, new)
        expected = scipy.signal.resample_poly(wave, new // common, old // common)
        np.testing.assert_allclose(frontends.resampled(wave, old, new), expected, atol=1e-5)

    def test_length(self):
        waves = np.arange(6, dtype="float32").reshape(1, 6)
        assert np.asarray(frontends.fit_length(waves, 4)).tolist() == [[0, 1, 2, 3]]
        assert np.asarray(frontends.fit_length(waves, 8)).tolist() == [[0, 1, 2, 3, 4, 5, 0, 0]]

    def test_each_is_normalised_and_a_constant_becomes_zero(self):
        features = np.random.default_rng(0).normal(3, 2, size=(4, 50, 3)).astype("float32")
        features[0] = 7
        result = np.asarray(frontends.normalise_each(features))
        np.testing.assert_allclose(result[1:].std(1), 1, rtol=1e-3)
        assert result[0].tolist() == np.zeros((50, 3)).tolist()

    @pytest.mark.parametrize("normalise", ["set", "example"])
    def test_filled_silence_is_as_the_quietest_frames_and_counts_for_no_statistics(self, normalise):
        wave = np.random.default_rng(0).normal(0, 1, (2, RATE)) * np.linspace(100, 3000, RATE)
        padded = np.pad(wave[:, : RATE // 2], ((0, 0), (RATE // 4, RATE // 4))).astype("int16")
        labels, options = np.zeros(2, "int32"), {"normalise": normalise, "layout": "time"}
        step = AudioPreprocess.fit(Recordings(padded, labels, RATE), fill_silence=True, **options)
        found = np.asarray(step(padded))
        filled, inside = found[:, np.r_[0:25, 75:101]], found[:, 25:75]
        np.testing.assert_allclose(filled, np.broadcast_to(filled[:, :1], filled.shape), atol=1e-5)
        quietest = np.sort(inside.mean(-1), axis=1)[:, :5].mean(1)
        np.testing.assert_allclose(filled.mean((1, 2)), quietest, atol=0.3)
        if normalise == "set":
            assert abs(inside.mean()) < 1e-3
            assert inside.std() == pytest.approx(1, abs=0.05)
        assert np.isfinite(step(np.zeros((1, RATE), "int16"))).all()

    @pytest.mark.parametrize(
        "options",
        [{"feature": feature, "feature_style": style} for feature in ("log_mel", "mfcc") for style in FEATURE_STYLES]
        + [{"feature": "waveform"}],
        ids=lambda options: "-".join(options.values()),
    )
    def test_silence_is_zero_when_each_clip_is_normalised_by_itself(self, options):
        silent = np.zeros((1, RATE), "int16")
        step = AudioPreprocess.fit(Recordings(silent, np.zeros(1, "int32"), RATE), normalise="example", **options)
        assert np.abs(step(silent)).max() == 0

    def test_faster_speech_is_higher(self):
        waves = np.repeat(tone(400.0, seconds=1.0)[None], 2, 0)
        moved = np.asarray(frontends.move_in_time(waves, np.zeros(2, "float32"), np.array([1.0, 1.25], "float32")))
        np.testing.assert_allclose(moved[0], waves[0], atol=1e-4)
        assert np.abs(np.fft.rfft(moved[1])).argmax() == pytest.approx(500, abs=2)

    def test_shift_is_in_samples(self):
        waves = tone()[None]
        moved = np.asarray(frontends.move_in_time(waves, np.array([100.0], "float32"), np.ones(1, "float32")))
        np.testing.assert_allclose(moved[0, 100:], waves[0, :-100], atol=1e-4)
        assert np.abs(moved[0, :99]).max() == 0

    def test_noise_has_the_ratio_asked_for(self):
        noise = np.random.default_rng(0).normal(size=(1, 4000)).astype("float32")
        added = np.asarray(frontends.add_noise(tone()[None], noise, np.array([0.1], "float32"))) - tone()
        assert added.std() / tone().std() == pytest.approx(0.1, rel=0.01)

    @pytest.mark.parametrize(
        "changes, message",
        [
            ({"feature_style": "libroza"}, "unknown feature_style 'libroza'; did you mean librosa"),
            ({"n_fft": 128}, "n_fft must be even and at least win_length, 200 samples; got 128"),
            ({"fmax": 5000.0}, "half the sample rate, 4000 Hz; got 20 to 5000"),
            ({"n_mfcc": 50}, "n_mfcc must be at most n_mels, 40; got 50"),
            ({"hop_length": 0}, "hop_length must be at least 1, got 0"),
        ],
    )
    def test_mistakes_are_explained(self, changes, message):
        values = {"sample_rate": RATE, "win_length": 200, "hop_length": 80, "n_fft": 256, "n_mels": 40}
        values |= {"fmin": 20.0, "fmax": 4000.0, "n_mfcc": 13}
        with pytest.raises(ValueError, match=message):
            FrontEnd(**values | changes)


class TestPreprocess:
    @pytest.mark.parametrize(
        "options, shape",
        [
            ({}, (101, 40, 1)),
            ({"layout": "frequency_time"}, (40, 101, 1)),
            ({"layout": "time", "n_mels": 20}, (101, 20)),
            ({"feature": "mfcc", "feature_style": "kaldi"}, (98, 13, 1)),
            (
                {"feature": "mfcc", "feature_style": "speech_commands", "window_ms": 40, "hop_ms": 20},
                (49, 13, 1),
            ),
            ({"feature": "waveform"}, (RATE, 1)),
        ],
    )
    @pytest.mark.parametrize("normalise", ["set", "example", "none"])
    def test_shape_and_statistics(self, options, shape, normalise):
        train = recordings()
        preprocess = AudioPreprocess.fit(train, normalise=normalise, **options)
        assert preprocess.input_shape == shape
        prepared = np.asarray(preprocess(train.inputs))
        assert prepared.shape == (6, *shape)
        assert prepared.dtype == "float32"
        if normalise != "none":
            assert abs(prepared.mean()) < 1e-3
            assert abs(prepared.std() - 1) < 1e-2

    @pytest.mark.parametrize("normalise", ["set", "example"])
    @pytest.mark.parametrize("feature", ["waveform", "log_mel", "mfcc"])
    def test_silence_gives_numbers(self, feature, normalise):
        silent = Recordings(np.zeros((4, 4000), "int16"), np.zeros(4, "int32"), RATE)
        preprocess = AudioPreprocess.fit(silent, feature=feature, normalise=normalise)
        assert np.isfinite(preprocess(silent.inputs)).all()

    def test_arrays_tensors_graphs_and_keras_models_give_the_same(self):
        train = recordings()
        preprocess = AudioPreprocess.fit(train, feature="mfcc")
        expected = np.asarray(preprocess(train.inputs))
        graph = tf.function(preprocess, input_signature=[tf.TensorSpec((None, None), "int16")])
        raw = keras.Input(preprocess.raw_shape, dtype=preprocess.raw_dtype)
        for function in (graph, keras.Model(raw, preprocess(raw))):
            np.testing.assert_allclose(function(tf.constant(train.inputs)), expected, atol=1e-3)

    def test_any_length_is_accepted_and_the_training_s_is_used(self):
        train = recordings()
        preprocess = AudioPreprocess.fit(train)
        graph = tf.function(preprocess, input_signature=[tf.TensorSpec((None, None), "int16")])
        for samples in (1000, 20000):
            raw = np.random.default_rng(1).integers(-9999, 9999, (2, samples)).astype("int16")
            sized = np.stack([preprocess.sized(wave) for wave in raw])
            assert sized.shape == (2, RATE)
            np.testing.assert_allclose(graph(raw), preprocess(sized), atol=1e-4)

    def test_it_is_saved_as_json(self, tmp_path):
        train = recordings()
        preprocess = AudioPreprocess.fit(train, feature="mfcc", layout="time")
        serving = Serving("audio", preprocess, Classification(("a", "b")), train.inputs)
        serving.save(tmp_path / "a.json", tmp_path / "a.npz")
        assert Serving.load(tmp_path / "a.json", tmp_path / "a.npz").preprocess == preprocess
        assert preprocess_from(serving.to_dict()) == preprocess

    def test_the_sample_rate_of_serving_is_that_of_training(self, tmp_path):
        """A file at any rate comes to the model at the training's: there is no way to give another one."""
        preprocess = AudioPreprocess.fit(recordings())
        features = {}
        for rate in (RATE, 16000, 44100):
            soundfile.write(tmp_path / "a.wav", tone(500.0, seconds=1.0, rate=rate), rate)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                features[rate] = np.asarray(preprocess(preprocess.read(tmp_path / "a.wav")[None]))
        loud = features[RATE] > features[RATE].max() - 1
        for rate in (16000, 44100):
            np.testing.assert_allclose(features[rate][loud], features[RATE][loud], atol=0.05)

    def test_pictures(self):
        from matplotlib.figure import Figure

        train = recordings()
        for feature in ("waveform", "log_mel"):
            axes = Figure().subplots()
            AudioPreprocess.fit(train, feature=feature).draw(axes, train.inputs[0])
            assert axes.lines or axes.images

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"feature": "mel"}, "unknown feature 'mel'; did you mean"),
            ({"layout": "times"}, "unknown layout 'times'; did you mean time"),
            ({"normalise": "sets"}, "unknown normalise 'sets'; did you mean set"),
            ({"window_ms": 2000, "feature_style": "kaldi"}, "a frame has 16000 samples, but the recordings only 8000"),
            ({"fmax": 9000}, "half the sample rate"),
        ],
    )
    def test_mistakes_are_explained(self, options, message):
        with pytest.raises(ValueError, match=message):
            AudioPreprocess.fit(recordings(), **options)


CHANGES = {"shift": 0.1, "speed": 0.1, "gain": 0.5, "noise": 0.2}


class TestAugment:
    @pytest.mark.parametrize("kept", [False, True])
    def test_padding_stays_silent_if_asked(self, kept):
        waves = np.zeros((3, RATE), "int16")
        waves[:, 1000:5000] = np.random.default_rng(0).normal(0, 3000, (3, 4000))
        noisy = np.asarray(AudioAugment(noise=0.5, keep_silence=kept)(tf.constant(waves), tf.constant([0, 3])))
        assert (np.abs(noisy[:, :1000]).max() == 0) == (np.abs(noisy[:, 5000:]).max() == 0) == kept
        assert np.abs(noisy[:, 1000:5000] - waves[:, 1000:5000]).max() > 100

    def test_it_is_a_function_of_the_seed(self):
        train, augment = recordings(), AudioAugment(**CHANGES)
        once, again, other = (np.asarray(augment(train.inputs, tf.constant([0, seed]))) for seed in (1, 1, 2))
        np.testing.assert_array_equal(once, again)
        assert np.abs(once - other).max() > 100
        assert once.shape == train.inputs.shape

    @pytest.mark.parametrize("name, value", CHANGES.items())
    def test_each_change_does_something_to_each_example_of_its_own(self, name, value):
        inputs = np.repeat(recordings(1).inputs, 4, 0)
        changed = np.asarray(AudioAugment(**{name: value})(inputs, tf.constant([0, 0])))
        assert len(np.unique(changed.round(), axis=0)) == 4
        assert np.isfinite(changed).all()

    @pytest.mark.parametrize("layout, time, band", [("time_frequency", 1, 2), ("frequency_time", 2, 1), ("time", 1, 2)])
    def test_masks_hide_whole_frames_and_bands(self, layout, time, band):
        train = recordings()
        preprocess = AudioPreprocess.fit(train, layout=layout)
        features = preprocess(train.inputs)
        for axis, other, changes in ((time, band, {"time_mask": 30}), (band, time, {"frequency_mask": 15})):
            augment = AudioAugment(**changes)
            masked = np.asarray(augment.features(features, tf.constant([0, 3]), preprocess))
            in_graph = tf.function(augment.features)(features, tf.constant([0, 3]), preprocess)
            np.testing.assert_array_equal(in_graph, masked)
            hidden = (masked.reshape(masked.shape[:3]) == 0).all(axis=other)
            assert 0 < hidden.sum(axis=1).max() <= next(iter(changes.values()))
            assert hidden.shape[1] == features.shape[axis]

    def test_masks_of_a_waveform_are_refused(self):
        preprocess = AudioPreprocess.fit(recordings(), feature="waveform")
        with pytest.raises(ValueError, match="time_mask and frequency_mask are for spectrograms"):
            AudioAugment(time_mask=3).features(np.zeros((1, RATE, 1)), tf.constant([0, 0]), preprocess)

    def test_ranges(self):
        with pytest.raises(ValueError, match="augment.speed must lie between 0 and 0.5, got 2"):
            AudioAugment(speed=2)


class TestBackground:
    """Recorded noise that is mixed in."""

    @pytest.fixture
    def noise(self, tmp_path):
        (tmp_path / "noise").mkdir()
        rng = np.random.default_rng(0)
        for name, rate, seconds in (("long.wav", RATE, 3.0), ("short.wav", RATE, 0.25)):
            soundfile.write(tmp_path / "noise" / name, 0.1 * rng.normal(size=round(rate * seconds)), rate)
        return tmp_path / "noise"

    def test_segments_begin_anywhere_and_lie_within_one_recording(self):
        samples = np.concatenate([np.arange(100), 1000 + np.arange(50)]).astype("int16")
        segments = np.asarray(Background(samples, (100, 50)).segments(5000, 30, tf.constant([0, 1])))
        assert (np.diff(segments, axis=1) == 1).all()
        assert set(segments[:, 0]) == {*range(71), *range(1000, 1021)}

    def test_the_ratio_is_drawn_for_each_recording(self, noise):
        train = recordings(200)
        augment = AudioAugment(background=str(noise), background_snr=(5, 15)).prepared(AudioPreprocess.fit(train))
        added = np.asarray(augment(train.inputs, tf.constant([0, 0]))) - train.inputs
        snr = 20 * np.log10(train.inputs.astype("float64").std(axis=1) / added.std(axis=1))
        assert 4.9 < snr.min() < 5.5
        assert 14.5 < snr.max() < 15.1

    def test_a_file_alone_at_another_rate_is_resampled_with_a_warning(self, noise, tmp_path):
        soundfile.write(tmp_path / "tone.wav", tone(500.0, seconds=2.0, rate=16000), 16000)
        augment = AudioAugment(background=str(tmp_path / "tone.wav"))
        with pytest.warns(UserWarning, match="1 file at 16000 Hz, resampled to 8000 Hz"):
            background = augment.prepared(AudioPreprocess.fit(recordings())).background
        assert background.lengths == (16000,)
        assert np.abs(np.fft.rfft(background.samples)).argmax() == 1000

    def test_what_is_shorter_than_a_clip_is_repeated(self, noise):
        background = AudioAugment(background=str(noise)).prepared(AudioPreprocess.fit(recordings())).background
        assert background.lengths == (24000, 8000)
        np.testing.assert_array_equal(background.samples[24000:26000], background.samples[26000:28000])

    def test_load_dataset_reads_it_and_the_batches_are_a_function_of_the_seed(self, noise, tmp_path):
        path = write_folder(tmp_path / "words")

        def features(seed, **augment):
            splits = kzoo.load_dataset(
                f"audio_folder:{path}", validation=0.2, seed=seed, augment=augment, feature="mfcc"
            )
            return np.concatenate([x for x, _ in splits.train]), np.concatenate([x for x, _ in splits.test])

        (first, test), (again, _), (other, _) = (features(seed, background=str(noise)) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert np.abs(np.sort(first.ravel()) - np.sort(other.ravel())).max() > 0.01
        plain, clean = features(0)
        assert np.abs(first - plain).max() > 0.1
        np.testing.assert_array_equal(test, clean)

    def test_mistakes_are_explained(self, tmp_path):
        (tmp_path / "notes.txt").write_text("x")
        preprocess = AudioPreprocess.fit(recordings())
        with pytest.raises(ValueError, match="augment.background: there is no file or folder nowhere"):
            AudioAugment(background="nowhere")
        with pytest.raises(ValueError, match="no audio files .* in"):
            AudioAugment(background=str(tmp_path)).prepared(preprocess)
        with pytest.raises(ValueError, match="notes.txt cannot be read as audio"):
            AudioAugment(background=str(tmp_path / "notes.txt")).prepared(preprocess)
        for snr in ((20, 0), 10, (0, 10, 20)):
            with pytest.raises(ValueError, match="background_snr must be .* got"):
                AudioAugment(background_snr=snr)
        with pytest.raises(ValueError, match="not read yet"):
            AudioAugment(background=str(tmp_path))(recordings().inputs, tf.constant([0, 0]))


class TestFolder:
    def test_classes_are_the_folders(self, tmp_path):
        splits = kzoo.load_dataset(f"audio_folder:{write_folder(tmp_path)}", validation=0.2)
        assert splits.class_names == ("high", "low")
        assert splits.preprocess.sample_rate == RATE
        assert {name: len(part) for name, part in splits.examples.items()} == {"train": 12, "validation": 4, "test": 4}
        assert next(iter(splits.train))[0].shape == (12, 101, 40, 1)

    def test_given_splits_and_a_zip_file(self, tmp_path):
        for split, count in (("train", 8), ("val", 3), ("test", 5)):
            write_folder(tmp_path / "set" / split, count=count)
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for file in (tmp_path / "set").rglob("*.wav"):
                archive.write(file, file.relative_to(tmp_path / "set"))
        folder, zipped = (kzoo.load_dataset(f"audio_folder:{tmp_path / name}") for name in ("set", "set.zip"))
        for splits in (folder, zipped):
            sizes = {name: len(part) for name, part in splits.examples.items()}
            assert sizes == {"train": 16, "validation": 6, "test": 10}
        np.testing.assert_array_equal(folder.examples["test"].inputs, zipped.examples["test"].inputs)

    def test_most_files_give_the_rate_and_the_others_are_reported(self, tmp_path):
        write_folder(tmp_path)
        soundfile.write(tmp_path / "low" / "other.wav", tone(rate=11025), 11025)
        soundfile.write(tmp_path / "low" / "stereo.wav", np.stack([tone()] * 2, 1), RATE)
        soundfile.write(tmp_path / "low" / "long.wav", tone(seconds=1.5), RATE)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            splits = kzoo.load_dataset(f"audio_folder:{tmp_path}", validation=0.2)
        messages = " | ".join(str(warning.message) for warning in said)
        assert splits.preprocess.sample_rate == RATE
        assert "1 file at 11025 Hz, resampled to 8000 Hz, e.g." in messages
        assert "1 file with 2 channels, mixed down to one" in messages
        assert "1 of 23 files are cut to 1 s, e.g." in messages

    def test_length_and_rate_are_options(self, tmp_path):
        with pytest.warns(UserWarning, match="20 files at 8000 Hz, resampled to 4000 Hz"):
            splits = kzoo.load_dataset(
                f"audio_folder:{write_folder(tmp_path)}", seconds=0.8, sample_rate=4000, validation=0.2
            )
        assert splits.examples["train"].inputs.shape[1] == 3200

    def test_the_lists_and_the_noise_of_speech_commands_are_followed(self, tmp_path):
        for word in ("up", "down", "_background_noise_"):
            (tmp_path / word).mkdir()
            for speaker in ("0a", "1b", "2c", "3d"):
                soundfile.write(tmp_path / word / f"{speaker}_nohash_0.wav", tone(), RATE)
        (tmp_path / "validation_list.txt").write_text("up/1b_nohash_0.wav\ndown/1b_nohash_0.wav\n")
        (tmp_path / "testing_list.txt").write_text("up/2c_nohash_0.wav\ndown/2c_nohash_0.wav\n")
        with pytest.warns(UserWarning, match="_background_noise_ in .* is noise, not a class"):
            splits = kzoo.load_dataset(f"folder:{tmp_path}")
        assert splits.class_names == ("down", "up")
        speakers = {split: sorted(set(part.groups)) for split, part in splits.examples.items()}
        assert speakers == {"train": ["0a", "3d"], "validation": ["1b"], "test": ["2c"]}

    def test_the_sample_rate_is_read_from_the_headers(self, tmp_path, monkeypatch):
        rows = folder.rows_by_folder("", files_with_suffix(str(write_folder(tmp_path)), files.SUFFIXES, "audio files"))
        monkeypatch.setattr(Path, "read_bytes", None)
        assert folder.Clips.of(rows, 1.0).sample_rate == RATE

    def test_fractional_rates(self, tmp_path):
        path = f"audio_folder:{write_folder(tmp_path)}"
        with pytest.raises(ValueError, match="sample_rate must be a rate from 100 to 1,000,000 Hz or None, got 8000.5"):
            kzoo.load_dataset(path, sample_rate=8000.5)
        assert kzoo.load_dataset(path, sample_rate=8e3, validation=0.2).preprocess.sample_rate == 8000

    def test_broken_files_are_all_named(self, tmp_path):
        write_folder(tmp_path)
        (tmp_path / "low" / "text.wav").write_text("text")
        (tmp_path / "high" / "cut.wav").write_bytes((tmp_path / "high" / "0.wav").read_bytes()[:1000])
        with pytest.raises(ValueError) as error:
            kzoo.load_dataset(f"audio_folder:{tmp_path}")
        assert "text.wav cannot be read as audio" in str(error.value)
        assert "cut.wav is truncated" in str(error.value)

    def test_other_files_are_skipped_with_a_warning(self, tmp_path):
        (write_folder(tmp_path) / "low" / "notes.txt").write_text("x")
        with pytest.warns(UserWarning, match="skipped 1 files that are no audio files, e.g. low/notes.txt"):
            kzoo.load_dataset(f"audio_folder:{tmp_path}", validation=0.2)

    def test_missing_empty_and_single_class_folders(self, tmp_path):
        (tmp_path / "empty").mkdir()
        write_folder(tmp_path / "one", classes=("a",))
        messages = {
            "nowhere": "there is no folder",
            "empty": "no audio files",
            "one": "found a; the first file is a/0.wav; if the class is in the file names, give a pattern",
        }
        for name, message in messages.items():
            with pytest.raises(ValueError, match=message):
                kzoo.load_dataset(f"audio_folder:{tmp_path / name}")


class TestPattern:
    PATTERN = "{digit}_{speaker}_{index}.wav"

    def test_a_rule_makes_the_test_split(self, tmp_path):
        splits = kzoo.load_dataset(
            f"audio_folder:{write_takes(tmp_path / 'a')}", pattern=self.PATTERN, test_rule="index<2", validation=0.2
        )
        assert splits.class_names == ("0", "1")
        assert len(splits.examples["test"]) == 12
        assert set(splits.examples["test"].groups) == {"ann", "bob", "cleo"}

    def test_a_speaker_is_left_out(self, tmp_path):
        splits = kzoo.load_dataset(
            f"audio_folder:{write_takes(tmp_path / 'a')}",
            pattern=self.PATTERN,
            test_rule="speaker=bob",
            validation_rule="speaker=ann",
        )
        assert {name: set(part.groups) for name, part in splits.examples.items()} == {
            "train": {"cleo"},
            "validation": {"ann"},
            "test": {"bob"},
        }

    def test_every_split_knows_its_speakers(self, tmp_path):
        path = write_takes(tmp_path / "a")
        splits = kzoo.load_dataset(f"audio_folder:{path}", pattern=self.PATTERN, validation=0.2)
        for part in splits.examples.values():
            assert set(part.groups) <= {"ann", "bob", "cleo"}
            assert len(part.groups) == len(part) > 0

    def test_another_part_is_the_label(self, tmp_path):
        splits = kzoo.load_dataset(
            f"audio_folder:{write_takes(tmp_path / 'a')}",
            pattern=self.PATTERN,
            label="speaker",
            test_rule="index>=3",
            validation=0.2,
        )
        assert splits.class_names == ("ann", "bob", "cleo")

    def test_folders_in_a_pattern(self, tmp_path):
        splits = kzoo.load_dataset(
            f"audio_folder:{write_folder(tmp_path)}", pattern="{word}/{index}.wav", test_rule="index<2"
        )
        assert splits.class_names == ("high", "low")
        assert len(splits.examples["test"]) == 4

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"pattern": "digit.wav"}, "a pattern has fields, each of another name"),
            ({"pattern": "{a}-{b}.wav"}, "no file in .* matches {a}-{b}.wav; the first is 0_ann_0.wav"),
            ({"label": "didgit"}, "has no field 'didgit'; did you mean digit"),
            ({"test_rule": "index"}, "cannot parse the rule 'index'; expected e.g. index<5"),
            ({"test_rule": "indx<5"}, "unknown field 'indx' in the rule 'indx<5'; did you mean index"),
            ({"test_rule": "index<five"}, "compares numbers, but it has 'five'"),
            ({"test_rule": "speaker<5"}, "compares numbers, but 0_ann_0.wav has 'ann'"),
            ({"test_rule": "speaker=dora"}, "no file matches the test_rule 'speaker=dora'"),
            ({"test_rule": "index>=0"}, "no files are left to train on"),
            ({"pattern": None, "test_rule": "index<5"}, "give the pattern, too"),
            ({"seconds": 0}, "seconds must be a positive number, at most 3,600, got 0"),
            ({"sample_rate": -1}, "sample_rate must be a rate from 100 to 1,000,000 Hz or None, got -1"),
        ],
    )
    def test_mistakes_are_explained(self, tmp_path, options, message):
        path = write_takes(tmp_path / "a")
        with pytest.raises(ValueError, match=message):
            kzoo.load_dataset(f"audio_folder:{path}", **{"pattern": self.PATTERN} | options)

    def test_free_spoken_digits_official_split(self, shared_data):
        found = files_with_suffix(str(shared_data / "free_spoken_digits.zip"), files.SUFFIXES, "audio files")
        rows = folder.rows_by_pattern("zip", found, self.PATTERN, None, "speaker", {"test": "index<5"})
        assert [sum(row.split == split for row in rows) for split in ("train", "test")] == [2700, 300]
        assert len({row.group for row in rows}) == 6
        few = [row for row in rows if row.file.name.endswith("_9.wav")]
        assert len(folder.recorded(few, folder.Clips.of(few, 1.0)).train) == 60


class TestSyntheticSpeech:
    @pytest.fixture(scope="class")
    def digits(self):
        pytest.importorskip("espeakng_loader")
        return kzoo.load_dataset("spoken_digits_synthetic", per_class=10, batch_size=32)

    def test_test_voices_are_never_heard_in_training(self, digits):
        voices = [set(digits.examples[split].groups) for split in ("train", "validation", "test")]
        assert not (voices[0] | voices[1]) & voices[2]
        assert not voices[0] & voices[1]
        assert [len(digits.examples[split]) for split in ("train", "validation", "test")] == [100, 20, 40]
        assert len(voices[0]) > 30

    def test_every_sample_is_the_same_each_time(self, digits):
        again = kzoo.load_dataset("spoken_digits_synthetic", per_class=10)
        other = kzoo.load_dataset("spoken_digits_synthetic", per_class=10, voice_seed=1)
        for split in ("train", "test"):
            np.testing.assert_array_equal(digits.examples[split].inputs, again.examples[split].inputs)
            assert (digits.examples[split].inputs != other.examples[split].inputs).any(axis=1).all()

    def test_every_recording_is_heard(self, digits):
        waves = digits.examples["train"].inputs.astype("float64")
        assert (np.abs(waves).max(axis=1) > 3000).all()
        assert waves.shape[1] == 8000

    def test_commands_have_silence_and_unknown_words(self):
        pytest.importorskip("espeakng_loader")
        raw = kzoo.dataset_card("spoken_commands_synthetic").load(per_class=5, sample_rate=8000)
        assert raw.class_names == (*speech_commands.COMMANDS, "_silence_", "_unknown_")
        loudness = np.abs(raw.train.inputs.astype("int32")).max(axis=1)
        assert loudness[raw.train.labels == 10].max() < loudness[raw.train.labels != 10].min()

    def test_mistakes_are_explained(self):
        with pytest.raises(ValueError, match="classes must be one of 10, 12, 35, got 11"):
            kzoo.load_dataset("spoken_commands_synthetic", classes=11)
        with pytest.raises(ValueError, match="per_class must be at least 5"):
            kzoo.load_dataset("spoken_digits_synthetic", per_class=1)

    def test_without_the_package_the_error_names_what_to_install(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        synthetic_speech.voices.cache_clear()
        with pytest.raises(ValueError, match=r"needs the package espeakng-loader; .*pip install '\.\[audio\]'"):
            kzoo.load_dataset("spoken_digits_synthetic")

    def test_errors_of_espeak_are_reported(self):
        pytest.importorskip("espeakng_loader")
        with pytest.raises(ValueError, match="eSpeak NG has no voice 'xx\\+f1'"):
            synthetic_speech.speak([synthetic_speech.Utterance("one", "xx+f1", 160, 50)], RATE)


class TestTensorflowDatasets:
    @pytest.mark.parametrize("name", ["speech_commands", "spoken_digit"])
    def test_without_download_the_wanted_files_are_named(self, name, tmp_path, monkeypatch):
        found = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda package: package == "pydub" or found(package))
        with pytest.raises(ValueError, match=f"{name} is not prepared in .* and download=False; put .*tar.gz") as error:
            kzoo.load_dataset(name, data_dir=str(tmp_path), download=False)
        assert "\n" not in str(error.value)

    def test_a_set_without_listed_files(self, tmp_path, monkeypatch):
        import requests

        def no_network(*arguments, **options):
            raise requests.ConnectionError("Name or service not known")

        found = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda package: package == "pydub" or found(package))
        monkeypatch.setattr(requests, "head", no_network)
        with pytest.raises(ValueError, match="gtzan is not prepared in .* and download=False; unpack its files"):
            kzoo.load_dataset("gtzan", data_dir=str(tmp_path), download=False)
        with pytest.raises(ValueError, match=r"gtzan cannot be downloaded \(ConnectionError.*; unpack its files"):
            kzoo.load_dataset("gtzan", data_dir=str(tmp_path))

    def test_without_pydub_the_error_names_what_to_install(self, tmp_path, monkeypatch):
        found = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pydub" else found(name))
        with pytest.raises(ValueError, match=r"preparing gtzan needs the package pydub; .*pip install '\.\[audio\]'"):
            kzoo.load_dataset("gtzan", data_dir=str(tmp_path))

    def test_spoken_digit_has_the_official_split(self, monkeypatch):
        """The set itself is replaced by ten tones, as tensorflow-datasets would give them."""
        from types import SimpleNamespace

        import tensorflow_datasets as tfds

        names = [f"{index % 2}_jackson_{index}.wav" for index in range(10)]
        content = {
            "audio": np.stack([np.round(tone(300 + 10 * index) * 32768) for index in range(10)]).astype("int64"),
            "label": np.arange(10) % 2,
            "audio/filename": names,
        }
        features = {"audio": tfds.features.Audio(sample_rate=8000), "label": tfds.features.ClassLabel(names=["0", "1"])}
        builder = SimpleNamespace(
            name="spoken_digit",
            is_prepared=lambda: True,
            as_dataset=lambda **options: tf.data.Dataset.from_tensor_slices(content),
            info=SimpleNamespace(
                splits={"train": SimpleNamespace(num_examples=10)},
                features=features,
                supervised_keys=None,
            ),
        )
        monkeypatch.setattr(sets, "find_builder", lambda name, data_dir: builder)
        raw = kzoo.dataset_card("spoken_digit").load()
        assert (len(raw.train), len(raw.test)) == (5, 5)
        assert raw.test.labels.tolist() == [0, 1, 0, 1, 0]
        assert set(raw.train.groups) == {"jackson"}
        np.testing.assert_array_equal(raw.test.inputs[0, :4000], np.round(tone(300) * 32768))

    def test_any_set_says_its_speakers_and_its_rate(self, monkeypatch):
        """As crema_d, of six recordings in two channels of floats."""
        builder = fake_builder({"speaker_id": [b"ann", b"bob"] * 3}, stereo=True)
        monkeypatch.setattr(sets, "find_builder", lambda name, data_dir: builder)
        raw = sets.audio_from_tfds("crema_d", seconds=0.25)
        assert raw.train.groups.tolist() == ["ann", "bob"] * 3
        assert raw.train.inputs.shape == (6, 2000)
        np.testing.assert_allclose(raw.train.inputs[1] / 32768, tone(310)[:2000] / 2, atol=2 / 32768)
        assert sets.audio_from_tfds("crema_d", speaker="who").train.groups is None

    def test_a_sample_rate_that_is_not_known_or_wrong(self, monkeypatch):
        monkeypatch.setattr(sets, "find_builder", lambda name, data_dir: fake_builder({}, rate=rate))
        rate = None
        with pytest.raises(ValueError, match="does not state the sample rate of crema_d; give sample_rate"):
            sets.audio_from_tfds("crema_d")
        assert sets.audio_from_tfds("crema_d", sample_rate=4000).train.sample_rate == 4000
        rate = 16000
        with pytest.raises(ValueError, match="of crema_d have 16000 samples a second, not 8000"):
            sets.audio_from_tfds("crema_d", sample_rate=8000)

    def test_all_words_without_a_network(self, tmp_path, monkeypatch):
        import requests

        def no_network(*arguments, **options):
            raise requests.ConnectionError("Name or service not known")

        monkeypatch.setattr(requests, "head", no_network)
        wanted = "put speech_commands_v0.02.tar.gz into .*speech_commands"
        with pytest.raises(ValueError, match=f"download=False; {wanted}"):
            kzoo.load_dataset("speech_commands", classes=35, data_dir=str(tmp_path), download=False)
        with pytest.raises(ValueError, match=f"cannot be downloaded .*{wanted}"):
            kzoo.load_dataset("speech_commands", classes=35, data_dir=str(tmp_path))

    def test_all_words_from_an_archive_with_the_official_splits(self, tmp_path):
        (tmp_path / "speech_commands").mkdir()
        words = speech_commands.class_names_of(35, (35,))
        people = {"train": "aa", "validation": "bb", "test": "cc"}
        contents = {
            "./validation_list.txt": "\n".join(f"{word}/bb_nohash_0.wav" for word in words).encode(),
            "./testing_list.txt": "\n".join(f"{word}/cc_nohash_0.wav" for word in words).encode(),
            "./_background_noise_/tap.wav": b"noise",
        }
        for place, word in enumerate(words):
            for person in people.values():
                file = io.BytesIO()
                soundfile.write(file, tone(200 + 50 * place, seconds=0.9, rate=16000), 16000, format="WAV")
                contents[f"./{word}/{person}_nohash_0.wav"] = file.getvalue()
        with tarfile.open(tmp_path / "speech_commands" / "speech_commands_v0.02.tar.gz", "w:gz") as tar:
            for name, content in contents.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        raw = kzoo.dataset_card("speech_commands").load(classes=35, data_dir=str(tmp_path), download=False)
        assert len(raw.class_names) == 35
        for split, person in people.items():
            examples = getattr(raw, split)
            assert sorted(examples.labels) == list(range(35))
            assert set(examples.groups) == {person}
            assert examples.inputs.shape == (35, 16000)

    def test_a_broken_archive(self, tmp_path):
        (tmp_path / "speech_commands").mkdir()
        (tmp_path / "speech_commands" / "speech_commands_v0.02.tar.gz").write_text("text")
        with pytest.raises(ValueError, match="cannot be read as an archive"):
            kzoo.load_dataset("speech_commands", classes=35, data_dir=str(tmp_path), download=False)


def fake_builder(more, stereo=False, rate=RATE):
    """Return what stands for the builder of a prepared set of six tones, with more features."""
    from types import SimpleNamespace

    import tensorflow_datasets as tfds

    waves = np.stack([tone(300 + 10 * index) for index in range(6)])
    waves = np.stack([waves, 0 * waves], -1) if stereo else (waves * 32767).astype("int64")
    content = {"audio": waves, "label": np.arange(6) % 2} | more
    features = {"audio": tfds.features.Audio(sample_rate=rate), "label": tfds.features.ClassLabel(names=["0", "1"])}
    splits = {"train": SimpleNamespace(num_examples=6)}
    return SimpleNamespace(
        name="crema_d",
        is_prepared=lambda: True,
        as_dataset=lambda **options: tf.data.Dataset.from_tensor_slices(content),
        info=SimpleNamespace(splits=splits, features=features, supervised_keys=None),
    )
