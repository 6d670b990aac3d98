"""Audio files as a source: their beginnings, or windows of whole recordings, are decoded when they are read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from kzoo.core.lazy import np
from kzoo.data.arrays import collect
from kzoo.data.audio.files import Header, Sound, changes_of_level, cut_or_pad, read_audio, read_part, to_int16
from kzoo.data.audio.frontends import resampled, resampled_length
from kzoo.data.folders import File, read_each, warn_of_changes
from kzoo.data.sources import Source, described, hash_of
from kzoo.data.windows import Windowed, Windows


@dataclass(frozen=True, eq=False)
class AudioFiles(Source):
    """Audio files, read as 16-bit clips of one length from their beginning.

    Args:
        files: paths, one an example, an array of objects.
        sample_rate: of the clips; files at another rate are resampled.
        samples: length of a clip; longer files are cut, shorter ones padded with silence at the end.
    """

    files: np.ndarray
    sample_rate: int
    samples: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.files), self.samples)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype("int16")

    def read(self, index: int) -> np.ndarray:
        return self.clip(read_audio(self.files[index]))

    def clip(self, sound: Sound) -> np.ndarray:
        """Return the clip of a file."""
        return cut_or_pad(self.whole(sound), self.samples)

    def whole(self, sound: Sound) -> np.ndarray:
        """Return a file as 16-bit samples at the sample rate of the clips."""
        return to_int16(resampled(sound.wave, sound.sample_rate, self.sample_rate))

    def load(self, what: str) -> np.ndarray:
        """Read all clips into an array; warn of files with nothing but silence, and of those that are clipped."""
        loudest = np.zeros(len(self))

        def read(index: int) -> np.ndarray:
            sound = read_audio(self.files[index])
            loudest[index] = np.abs(sound.wave).max()
            return self.clip(sound)

        clips = collect(read_each(read, range(len(self))), len(self), what)
        levels = zip(self.files, loudest, strict=True)
        warn_of_changes((str(file), change) for file, level in levels for change in changes_of_level(level))
        return clips

    def take(self, indices: np.ndarray) -> AudioFiles:
        return dataclasses.replace(self, files=self.files[indices])

    def fingerprint(self) -> str:
        return hash_of(f"{self.sample_rate} {self.samples}", *map(described, self.files))


@dataclass(frozen=True, eq=False)
class AudioWindows(Windowed, AudioFiles):
    """Audio files, of which 16-bit windows are read; where the format can seek, only that part of the file.

    Args:
        hop: samples from one window to the next, where all are read.
        lengths: of the whole recordings, in samples at the sample rate of the windows.
        seekable: whether a part of each file can be read.
    """

    hop: int
    lengths: np.ndarray
    seekable: np.ndarray

    @classmethod
    def of(cls, clips: AudioFiles, hop: int, headers: list[Header]) -> AudioWindows:
        """Return the windows of files whose clips and headers are given.

        Raises:
            ValueError: naming every file whose length is not in its header, and that cannot be read.
        """

        def length(pair: tuple[File, Header]) -> int:
            file, header = pair
            frames = header.frames if header.seekable and header.frames else len(read_audio(file).wave)
            return resampled_length(frames, header.sample_rate, clips.sample_rate)

        lengths = list(read_each(length, zip(clips.files, headers, strict=True)))
        seekable = np.array([header.seekable and header.frames > 0 for header in headers])
        return cls(clips.files, clips.sample_rate, clips.samples, hop, np.array(lengths), seekable)

    @property
    def windows(self) -> Windows:
        """Length and hop of the windows."""
        return Windows(self.samples, self.hop, self.sample_rate)

    def window(self, index: int, start: int) -> np.ndarray:
        file = self.files[index]
        if not self.seekable[index]:
            return cut_or_pad(self.whole(read_audio(file))[start:], self.samples)
        return cut_or_pad(to_int16(read_part(file, start, self.samples, self.sample_rate)), self.samples)

    load = Source.load

    def take(self, indices: np.ndarray) -> AudioWindows:
        kept = {name: getattr(self, name)[indices] for name in ("files", "lengths", "seekable")}
        return dataclasses.replace(self, **kept)

    def fingerprint(self) -> str:
        return hash_of(super().fingerprint(), str(self.hop))
