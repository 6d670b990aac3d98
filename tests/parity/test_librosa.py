"""Mel spectrograms and MFCCs equal those of librosa and of Kaldi (kaldi-native-fbank)."""

import numpy as np
import pytest

from kzoo.data.audio.frontends import FrontEnd

pytestmark = pytest.mark.parity

RATE = 16000


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    """A rising tone in noise, one second."""
    time = np.arange(RATE) / RATE
    noise = np.random.default_rng(0).normal(size=RATE)
    return (0.3 * np.sin(2 * np.pi * 440 * time * (1 + time)) + 0.01 * noise).astype("float32")


def difference(ours, reference) -> float:
    """The largest difference, relative to the largest value."""
    assert ours.shape == reference.shape
    return float(np.abs(ours - reference).max() / np.abs(reference).max())


@pytest.mark.parametrize(
    "win_length, n_fft, hop_length", [(2048, 2048, 512), (400, 512, 160), (480, 512, 160), (641, 1024, 320)]
)
@pytest.mark.parametrize("n_mels, fmin, fmax", [(128, 0.0, 8000.0), (40, 20.0, 4000.0)])
def test_mel_and_mfcc_are_librosas(wave, win_length, n_fft, hop_length, n_mels, fmin, fmax):
    librosa = pytest.importorskip("librosa")
    ours = FrontEnd(RATE, win_length, hop_length, n_fft, n_mels, fmin, fmax, 20, "librosa")
    options = {"n_fft": n_fft, "win_length": win_length, "hop_length": hop_length}
    options |= {"n_mels": n_mels, "fmin": fmin, "fmax": fmax}
    mel = librosa.feature.melspectrogram(y=wave, sr=RATE, **options)
    mfcc = librosa.feature.mfcc(y=wave, sr=RATE, n_mfcc=20, **options)
    np.testing.assert_allclose(np.asarray(ours.mel(wave[None]))[0].T, mel, rtol=1e-4, atol=1e-6 * mel.max())
    decibel = librosa.power_to_db(mel, top_db=None)
    assert difference(np.asarray(ours.log_mel(wave[None]))[0].T, decibel) < 1e-4
    assert difference(np.asarray(ours.mfcc(wave[None]))[0].T, mfcc) < 1e-4


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_filters_are_librosas(scale):
    librosa = pytest.importorskip("librosa")
    from kzoo.data.audio.frontends import mel_filters

    for norm in (None, "slaney"):
        expected = librosa.filters.mel(sr=RATE, n_fft=512, n_mels=40, fmin=20, fmax=7600, htk=scale == "htk", norm=norm)
        ours = mel_filters(RATE, 512, 40, 20, 7600, scale, "hertz", norm == "slaney")
        np.testing.assert_allclose(ours.T, expected, atol=1e-6)


@pytest.mark.parametrize("n_mels, fmin, fmax", [(23, 20.0, 8000.0), (40, 60.0, 7600.0)])
def test_log_mel_and_mfcc_are_kaldis(wave, n_mels, fmin, fmax):
    kaldi = pytest.importorskip("kaldi_native_fbank")

    def computed(options, computer_class, **more):
        options.frame_opts.dither = 0
        options.frame_opts.samp_freq = RATE
        options.mel_opts.num_bins, options.mel_opts.low_freq, options.mel_opts.high_freq = n_mels, fmin, fmax
        for name, value in more.items():
            setattr(options, name, value)
        computer = computer_class(options)
        computer.accept_waveform(RATE, wave.tolist())
        computer.input_finished()
        return np.stack([computer.get_frame(number) for number in range(computer.num_frames_ready)])

    ours = FrontEnd(RATE, 400, 160, 512, n_mels, fmin, fmax, 13, "kaldi")
    log_mel = computed(kaldi.FbankOptions(), kaldi.OnlineFbank)
    mfcc = computed(kaldi.MfccOptions(), kaldi.OnlineMfcc, use_energy=False, num_ceps=13)
    assert difference(np.asarray(ours.log_mel(wave[None]))[0], log_mel) < 1e-4
    assert difference(np.asarray(ours.mfcc(wave[None]))[0], mfcc) < 1e-4
