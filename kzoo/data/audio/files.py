"""Audio file reading: WAV, FLAC, OGG and MP3 as mono waveforms, with warnings about what was changed."""

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

from kzoo.core.extras import missing_package
from kzoo.core.lazy import np, soundfile
from kzoo.data.splits import Examples

SUFFIXES = {  # of files, and libsndfile's names of the formats that they stand for
    ".wav": ("WAV", "WAVEX", "RF64"),
    ".flac": ("FLAC",),
    ".ogg": ("OGG",),
    ".mp3": ("MP3", "MPEG"),
}
FULL_SCALE = 32768  # the 16-bit value that corresponds to 1.0


@dataclass(frozen=True)
class Recordings(Examples):
    """Raw recordings: int16 of shape (n, samples), all at one sample rate.

    Args:
        sample_rate: samples per second.
        groups: name of the speaker of each recording; None where it is not known.
    """

    sample_rate: int = 16000
    groups: np.ndarray | None = None

    def take(self, indices: np.ndarray) -> Recordings:
        """Return the recordings at these indices."""
        groups = None if self.groups is None else self.groups[indices]
        return dataclasses.replace(self, inputs=self.inputs[indices], labels=self.labels[indices], groups=groups)


class Sound(NamedTuple):
    """One audio file as it was read: mono, float32 between -1 and 1, and the file's own format."""

    path: str
    wave: np.ndarray
    sample_rate: int
    channels: int
    format: str


def check_soundfile() -> None:
    """Raise a ValueError with the package to install if audio files cannot be read."""
    if importlib.util.find_spec("soundfile") is None:
        raise missing_package("reading audio files", "soundfile", "audio")


def read_audio(path: Path | zipfile.Path) -> Sound:
    """Read a WAV, FLAC, OGG or MP3 file of any sample format; several channels are mixed down to mono (their mean).

    Raises:
        ValueError: if the file is missing, empty, truncated or not audio, or contains NaN.
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
        raise ValueError(f"{path} contains no samples")
    if len(samples) < frames:
        raise ValueError(f"{path} is truncated: it has {len(samples)} of {frames} samples")
    if not np.isfinite(samples).all():
        raise ValueError(f"{path} contains NaN or infinity")
    return Sound(str(path), samples.mean(axis=1), rate, channels, format)


def check_whole_wav(path, data: bytes) -> None:
    """Raise a ValueError if a WAV file is shorter than its header states; libsndfile does not report it."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return
    offset = 12
    while offset + 8 <= len(data):
        size = int.from_bytes(data[offset + 4 : offset + 8], "little")
        if data[offset : offset + 4] == b"data":
            actual = len(data) - offset - 8
            if actual < size < 2**32 - 2**12:  # programs that write to a pipe state the largest possible size
                raise ValueError(f"{path} is truncated: it has {actual} of {size} bytes of samples")
            return
        offset += 8 + size + size % 2
    raise ValueError(f"{path} is truncated: it has no samples")


def warn_of_changes(sounds: Iterable[Sound], sample_rate: int) -> None:
    """Warn once of each type of change that was made to files, and of what may be wrong with them."""
    found = collections.defaultdict(list)
    for sound in sounds:
        if sound.channels > 1:
            found[f"with {sound.channels} channels, mixed down to one"].append(sound.path)
        if sound.sample_rate != sample_rate:
            found[f"at {sound.sample_rate} Hz, resampled to {sample_rate} Hz"].append(sound.path)
        if sound.format not in SUFFIXES.get(Path(sound.path).suffix.lower(), sound.format):
            found[f"in another format than their suffix says, {sound.format}"].append(sound.path)
        loudest = np.abs(sound.wave).max()
        if loudest == 0:
            found["with nothing but silence"].append(sound.path)
        if loudest > 1.0001:
            found["louder than full scale, clipped"].append(sound.path)
    for what, paths in found.items():
        warnings.warn(f"{len(paths)} file{'s' * (len(paths) > 1)} {what}, e.g. {paths[0]}", stacklevel=3)


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Return a waveform between -1 and 1 as 16-bit samples."""
    return np.clip(np.round(wave * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("int16")


def cut_or_pad(wave: np.ndarray, samples: int) -> np.ndarray:
    """Return a waveform cut to `samples` samples, or padded with silence at the end."""
    return np.pad(wave[:samples], (0, max(0, samples - len(wave))))


def clip_samples(seconds: float, sample_rate: int) -> int:
    """Return the number of samples of a clip.

    Raises:
        ValueError: if one of the two is not a positive number.
    """
    for name, value in (("seconds", seconds), ("sample_rate", sample_rate)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ValueError(f"{name} must be a positive number, got {value!r}")
    return max(1, round(seconds * sample_rate))
