"""Reading audio files of any format, saying what was changed."""

from __future__ import annotations

import collections
import dataclasses
import importlib.util
import io
import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kzoo.core.lazy import np, soundfile
from kzoo.data.splits import Examples

SUFFIXES = {  # of files, and what libsndfile calls the formats that they promise
    ".wav": ("WAV", "WAVEX", "RF64"),
    ".flac": ("FLAC",),
    ".ogg": ("OGG",),
    ".mp3": ("MP3", "MPEG"),
}
FULL_SCALE = 32768  # a 16-bit sample of this size would be 1.0


@dataclass(frozen=True)
class Recordings(Examples):
    """Raw recordings: int16 of shape (n, samples), all at one sample rate.

    Args:
        sample_rate: samples per second.
        groups: who speaks, a name for each recording, or None where that is not known.
    """

    sample_rate: int = 16000
    groups: np.ndarray | None = None

    def take(self, indices: np.ndarray) -> Recordings:
        """Return the recordings at these places."""
        groups = None if self.groups is None else self.groups[indices]
        return dataclasses.replace(self, inputs=self.inputs[indices], labels=self.labels[indices], groups=groups)


class Sound(NamedTuple):
    """One file as it was read: mono, float32 between -1 and 1, and what the file was."""

    path: str
    wave: np.ndarray
    sample_rate: int
    channels: int
    format: str


def check_soundfile() -> None:
    """Raise a ValueError that says what to install, if audio files cannot be read."""
    if importlib.util.find_spec("soundfile") is None:
        raise ValueError("reading audio files needs the package soundfile; pip install 'kzoo[audio]'")


def read_audio(path: Path | zipfile.Path) -> Sound:
    """Read a WAV, FLAC, OGG or MP3 file of any sample format; several channels are mixed down to their mean.

    Raises:
        ValueError: if the file is missing, empty, cut short or not audio, or holds NaN.
    """
    check_soundfile()
    try:
        data = path.read_bytes()
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not data:
        raise ValueError(f"{path} is empty, 0 bytes")
    check_whole_wav(path, data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            samples = file.read(dtype="float32", always_2d=True)
            rate, channels, format, frames = file.samplerate, file.channels, file.format, file.frames
    except soundfile.SoundFileError as error:
        raise ValueError(f"{path} cannot be read as audio: {error}") from error
    if len(samples) == 0:
        raise ValueError(f"{path} holds no samples")
    if len(samples) < frames:
        raise ValueError(f"{path} is cut short: {len(samples)} of {frames} samples are there")
    if not np.isfinite(samples).all():
        raise ValueError(f"{path} holds NaN or infinity")
    return Sound(str(path), samples.mean(axis=1), rate, channels, format)


def check_whole_wav(path, data: bytes) -> None:
    """Raise a ValueError if a WAV file ends before the samples that it announces; libsndfile would not say so."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return
    place = 12
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] == b"data":
            there = len(data) - place - 8
            if there < size < 2**32 - 2**12:  # programs that write to a pipe announce the most there can be
                raise ValueError(f"{path} is cut short: {there} of {size} bytes of samples are there")
            return
        place += 8 + size + size % 2
    raise ValueError(f"{path} is cut short: it ends before its samples")


def warn_of_changes(sounds: Iterable[Sound], sample_rate: int) -> None:
    """Warn, once for each kind, of what was changed in files and of what may be wrong with them."""
    said = collections.defaultdict(list)
    for sound in sounds:
        if sound.channels > 1:
            said[f"with {sound.channels} channels, mixed down to one"].append(sound.path)
        if sound.sample_rate != sample_rate:
            said[f"at {sound.sample_rate} Hz, resampled to {sample_rate} Hz"].append(sound.path)
        if sound.format not in SUFFIXES.get(Path(sound.path).suffix.lower(), sound.format):
            said[f"of another format than the name says, {sound.format}"].append(sound.path)
        loudest = np.abs(sound.wave).max()
        if loudest == 0:
            said["of nothing but silence"].append(sound.path)
        if loudest > 1.0001:
            said["louder than full scale, clipped"].append(sound.path)
    for what, paths in said.items():
        warnings.warn(f"{len(paths)} file{'s' * (len(paths) > 1)} {what}, e.g. {paths[0]}", stacklevel=3)


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Return a waveform between -1 and 1 as 16-bit samples."""
    return np.clip(np.round(wave * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("int16")


def cut_or_pad(wave: np.ndarray, samples: int) -> np.ndarray:
    """Return the beginning of a waveform, or all of it and silence."""
    return np.pad(wave[:samples], (0, max(0, samples - len(wave))))


def clip_samples(seconds: float, sample_rate: int) -> int:
    """Return the samples of a clip.

    Raises:
        ValueError: if one of the two is not positive.
    """
    for name, value in (("seconds", seconds), ("sample_rate", sample_rate)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ValueError(f"{name} must be a positive number, got {value!r}")
    return max(1, round(seconds * sample_rate))
