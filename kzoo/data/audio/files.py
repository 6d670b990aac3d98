"""Audio file reading: WAV, FLAC, OGG, MP3, AIFF and AU as mono waveforms, with warnings about what was changed."""

from __future__ import annotations

import importlib.util
import io
import mmap
import os
import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kzoo.core.extras import missing_package
from kzoo.core.files import reading
from kzoo.core.lazy import np, soundfile
from kzoo.data import folders
from kzoo.data.audio import frontends
from kzoo.data.folders import read_bytes
from kzoo.data.splits import Examples

SUFFIXES = {  # of files, and libsndfile's names of the formats that they stand for; none where it cannot read them
    ".wav": ("WAV", "WAVEX", "RF64", "NIST"),
    ".flac": ("FLAC",),
    ".ogg": ("OGG",),
    ".oga": ("OGG",),
    ".opus": ("OGG",),
    ".mp3": ("MP3", "MPEG"),
    ".aiff": ("AIFF",),
    ".aif": ("AIFF",),
    ".aifc": ("AIFF",),
    ".au": ("AU",),
    ".snd": ("AU",),
    ".caf": ("CAF",),
    ".sph": ("NIST",),
    ".w64": ("W64",),
    **dict.fromkeys((".m4a", ".aac", ".wma", ".amr"), ()),
}
UNFINISHED = 2**31 - 2**16  # bytes; a program that writes to a pipe states this size or a larger one, or 0
HEADER = 4096  # bytes in which the samples of a WAV file have to begin for its header to be read at once
NO_LENGTH = 2**63 - 1  # frames, where the header states none
MAX_SAMPLES = 2**26  # of one clip
MAX_READ = 2**28  # of all channels of a file: an hour in stereo at 37 kHz, and 1 GiB of memory
FULL_SCALE = 32768  # the 16-bit value that corresponds to 1.0


@dataclass(frozen=True)
class Recordings(Examples):
    """Raw recordings: int16 of shape (n, samples), all at one sample rate.

    Args:
        sample_rate: samples per second.
    """

    sample_rate: int = 16000


class Sound(NamedTuple):
    """One audio file as it was read: mono, float32 between -1 and 1, and the file's own format."""

    path: str
    wave: np.ndarray
    sample_rate: int
    channels: int
    format: str


class Header(NamedTuple):
    """What an audio file says about itself.

    Attributes:
        frames: samples of each channel; 0 where it is not known.
        seekable: whether a part can be read without what is before it.
    """

    path: str
    sample_rate: int
    channels: int
    format: str
    frames: int
    seekable: bool


def check_soundfile() -> None:
    """Raise a ValueError with the package to install if audio files cannot be read."""
    if importlib.util.find_spec("soundfile") is None:
        raise missing_package("reading audio files", "soundfile", "audio")


def read_audio(path: Path | zipfile.Path) -> Sound:
    """Read a WAV, FLAC, OGG, MP3, AIFF or AU file of any sample format; channels are mixed down to their mean.

    Raises:
        ValueError: if the file is missing, empty, truncated or not audio, or contains NaN.
    """
    check_soundfile()
    check_suffix(path)
    data = read_bytes(path)
    if not data:
        raise ValueError(f"{path} is empty, 0 bytes")
    data = finished_wav(path, data)
    with reading(path, " as audio"), soundfile.SoundFile(io.BytesIO(data)) as file:
        rate, channels, format, frames = file.samplerate, file.channels, file.format, file.frames
        if frames == NO_LENGTH:
            raise ValueError(f"{path} does not state its length, as if written to a pipe; {convert(path)}")
        if frames * channels > MAX_READ:
            raise ValueError(f"it claims {frames:,} samples in {channels} channels, more than {MAX_READ:,}")
        samples = file.read(frames, dtype="float32", always_2d=True)
    if len(samples) == 0:
        raise ValueError(f"{path} contains no samples")
    if len(samples) < frames:
        raise ValueError(f"{path} is truncated: it has {len(samples)} of {frames} samples")
    if not np.isfinite(samples).all():
        raise ValueError(f"{path} contains NaN or infinity")
    return Sound(str(path), samples.mean(axis=1), rate, channels, format)


def check_suffix(path: Path | zipfile.Path) -> None:
    """Raise a ValueError for a file that libsndfile cannot read, with what to do."""
    suffix = path.name[path.name.rfind(".") :].lower()
    if not SUFFIXES.get(suffix, "any"):
        raise ValueError(f"{path} is in a format that is not read, {suffix}; {convert(path)}")


def read_header(path: Path | zipfile.Path) -> Header:
    """Read what a file says about itself.

    Raises:
        ValueError: if it is missing, empty, a truncated WAV file or not audio.
    """
    check_suffix(path)
    plain = plain_wav_header(path) if isinstance(path, Path) else None
    if plain is not None:
        return plain
    finished = isinstance(path, Path) and is_finished(path)
    with reading(path, " as audio"), path.open("rb") as raw, soundfile.SoundFile(raw) as file:
        frames = 0 if file.frames == NO_LENGTH else file.frames
        return Header(str(path), file.samplerate, file.channels, file.format, frames, finished and file.seekable())


def plain_wav_header(path: Path) -> Header | None:
    """Return the header of a WAV file of integer samples that is whole, five times as fast as libsndfile; else None.

    Raises:
        ValueError: if it cannot be read.
    """
    with reading(path), path.open("rb", 0) as file:
        data, size = file.read(HEADER), os.fstat(file.fileno()).st_size
    if data[:4] != b"RIFF" or data[8:16] != b"WAVEfmt " or len(data) < 44:
        return None
    kind, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", data, 20)
    start = 20 + int.from_bytes(data[16:20], "little")
    while data[start : start + 4] not in (b"data", b""):
        length = int.from_bytes(data[start + 4 : start + 8], "little")
        start += 8 + length + length % 2
    length = int.from_bytes(data[start + 4 : start + 8], "little")
    plain = kind == 1 and bits in (8, 16, 24, 32) and channels and frame == channels * bits // 8
    whole = data[start : start + 4] == b"data" and 0 < length < UNFINISHED and start + 8 + length <= size
    return Header(str(path), rate, channels, "WAV", length // frame, True) if plain and rate and whole else None


def is_finished(path: Path) -> bool:
    """Return whether the header of a file, if it is a WAV file, states its true size; only the header is read.

    Raises:
        ValueError: if it is missing, empty, or shorter than its header states.
    """
    with reading(path), path.open("rb") as file:
        if not path.stat().st_size:
            raise ValueError(f"{path} is empty, 0 bytes")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return finished_wav(path, data) is data


def read_part(path: Path, start: int, length: int, sample_rate: int) -> np.ndarray:
    """Read a part of a file that can seek: the same samples as of the whole file, read and resampled.

    (On the last page of some Ogg Vorbis files in stereo libsndfile seeks to 64 samples too late.)

    Args:
        path: the file.
        start: first sample, at `sample_rate`.
        length: number of samples; fewer at the end of the file.
        sample_rate: to which the part is resampled.

    Raises:
        ValueError: if the part is truncated, or contains NaN.
    """
    with reading(path, " as audio"), soundfile.SoundFile(path) as file:
        part = frontends.part_of(start, length, file.samplerate, sample_rate)
        first, end = part.first, min(part.end, file.frames)
        file.seek(first)
        samples = file.read(end - first, dtype="float32", always_2d=True)
        rate = file.samplerate
    if len(samples) < end - first:
        raise ValueError(f"{path} is truncated: it has {first + len(samples)} of {end} samples")
    if not np.isfinite(samples).all():
        raise ValueError(f"{path} contains NaN or infinity")
    return frontends.resampled(samples.mean(axis=1), rate, sample_rate)[part.skipped :][:length]


def convert(path) -> str:
    """Return the advice to convert a file."""
    return f"convert it, e.g. ffmpeg -i {path.name} {path.name.rpartition('.')[0]}.wav"


def finished_wav(path, data: bytes) -> bytes:
    """Return the content of a file, with the true size in the header of a WAV file that was written to a pipe.

    Raises:
        ValueError: if a WAV file is shorter than its header states; libsndfile does not report it.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return data
    offset = 12
    while offset + 8 <= len(data):
        size = int.from_bytes(data[offset + 4 : offset + 8], "little")
        if data[offset : offset + 4] == b"data":
            actual = len(data) - offset - 8
            unfinished = size >= UNFINISHED or (size == 0 and int.from_bytes(data[4:8], "little") != len(data) - 8)
            if actual < size and not unfinished:
                raise ValueError(f"{path} is truncated: it has {actual} of {size} bytes of samples")
            if unfinished and actual < UNFINISHED:
                return data[: offset + 4] + actual.to_bytes(4, "little") + data[offset + 8 :]
            return data
        offset += 8 + size + size % 2
    raise ValueError(f"{path} is truncated: it has no samples")


def changes_of(sound: Sound, sample_rate: int) -> list[str]:
    """Return what is changed in a file, and what may be wrong with it, to complete "1 file ..."."""
    return changes_of_format(sound, sample_rate) + changes_of_level(np.abs(sound.wave).max())


def changes_of_format(sound: Sound | Header, sample_rate: int) -> list[str]:
    """Return what is changed in a file because of its format."""
    format = sound.format
    found = {
        f"with {sound.channels} channels, mixed down to one": sound.channels > 1,
        f"at {sound.sample_rate} Hz, resampled to {sample_rate} Hz": sound.sample_rate != sample_rate,
        f"in another format than their suffix says, {format}": format
        not in SUFFIXES.get(Path(sound.path).suffix.lower(), format),
    }
    return [what for what, holds in found.items() if holds]


def changes_of_level(loudest: float) -> list[str]:
    """Return what may be wrong with a file whose largest absolute sample is given; 1 is full scale."""
    found = {"with nothing but silence": loudest == 0, "louder than full scale, clipped": loudest > 1.0001}
    return [what for what, holds in found.items() if holds]


def warn_of_changes(sounds: Iterable[Sound], sample_rate: int) -> None:
    """Warn once of each type of change that was made to files, and of what may be wrong with them."""
    folders.warn_of_changes((sound.path, what) for sound in sounds for what in changes_of(sound, sample_rate))


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Return a waveform between -1 and 1 as 16-bit samples."""
    return np.clip(np.round(wave * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("int16")


def cut_or_pad(wave: np.ndarray, samples: int) -> np.ndarray:
    """Return a waveform cut to `samples` samples, or padded with silence at the end."""
    return np.pad(wave[:samples], (0, max(0, samples - len(wave))))


def clip_samples(seconds: float, sample_rate: int) -> int:
    """Return the number of samples of a clip.

    Raises:
        ValueError: for more than `MAX_SAMPLES`.
    """
    samples = max(1, round(seconds * sample_rate))
    if samples > MAX_SAMPLES:
        raise ValueError(
            f"a clip of {seconds:g} s at {sample_rate} Hz has {samples:,} samples, more than {MAX_SAMPLES:,}"
        )
    return samples
