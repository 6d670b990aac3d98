"""Keyword spotting in a stream: detections with their times, from a recording or a microphone."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kzoo.core.arguments import checked
from kzoo.core.extras import missing_package
from kzoo.core.files import user_path
from kzoo.core.lazy import keras, lazy_import, np, rich_console, rich_progress
from kzoo.core.ranges import NonNegativeFloat, OpenFraction
from kzoo.data.audio.preprocess import AudioPreprocess
from kzoo.data.splits import Preprocess
from kzoo.serving.inputs import check_file
from kzoo.serving.stream import check_streamed_data, stream
from kzoo.tasks import Classification, Tagging, Task
from kzoo.training import runs

sounddevice = lazy_import("sounddevice")


class Detection(NamedTuple):
    """A word that was heard: when, in seconds from the beginning, its class, and its smoothed probability."""

    time: float
    label: str
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-serialisable values."""
        return self._asdict()


@dataclass(frozen=True)
class Spotter:
    """Decides from the probabilities of each step what was heard.

    The probability of a class, averaged over a window, must reach a threshold; then the class is not reported again
    until it has fallen below, and nothing is within a refractory time. Classes whose names begin with an underscore,
    as `_silence_` and `_unknown_` of Speech Commands, are never reported.

    Args:
        names: of the classes.
        seconds: length of a step.
        threshold: of the averaged probability, between 0 and 1.
        smoothing: length of the window over which probabilities are averaged, in seconds; before the first step they
            are 0.
        refractory: seconds after a detection in which there is no other.
    """

    names: Sequence[str]
    seconds: float
    threshold: float = 0.8
    smoothing: float = 0.3
    refractory: float = 0.5

    def detections(self, probabilities: Iterable[np.ndarray]) -> Iterator[Detection]:
        """Yield what is heard as soon as it is, from the probabilities (classes,) of each step."""
        recent = collections.deque(maxlen=max(1, round(self.smoothing / self.seconds)))
        watched = np.array([not name.startswith("_") for name in self.names])
        reported, last = np.zeros(len(self.names), bool), -np.inf
        for step, row in enumerate(probabilities, start=1):
            recent.append(row)
            smooth, now = np.sum(recent, axis=0) / recent.maxlen, step * self.seconds
            high = smooth >= self.threshold
            new = np.flatnonzero(high & watched & ~reported)
            if len(new) and now - last >= self.refractory - 1e-9:
                best = new[smooth[new].argmax()]
                yield Detection(round(now, 3), self.names[best], float(smooth[best]))
                reported[best], last = True, now
            reported &= high


@checked
def listen(
    run: str | Path,
    sound: str | Path | None = None,
    *,
    threshold: OpenFraction = 0.8,
    smoothing: NonNegativeFloat = 0.3,
    refractory: NonNegativeFloat = 0.5,
) -> Iterator[Detection]:
    """Return an iterator of what a network hears in a recording, or in the microphone, as it goes.

    The network is run as a stream (`kzoo.stream`): each step takes the next samples, and sees no later ones. A
    detection has the time of the end of the step at which it was made, after the word.

    Args:
        run: a run directory of a causal network for classes or tags of sound.
        sound: an audio file, of any length and sample rate; it is followed by as much silence as probabilities are
            smoothed over. None for the microphone, which needs the extra `microphone`, until the iterator is closed.
        threshold: what the averaged probability of a class must reach, between 0 and 1.
        smoothing: seconds over which probabilities are averaged; 0 for no averaging.
        refractory: seconds after a detection in which there is no other; the same class is not reported again before
            its averaged probability has fallen below the threshold.

    Raises:
        ValueError: for a run of another task or that cannot be streamed, a broken file, or a missing microphone.
    """
    model, serving = runs.load_run(run)
    check_spotting(serving.preprocess, serving.task)
    step = stream(model, serving)
    samples, rate = step.inputs[0].shape[1], serving.preprocess.sample_rate
    chunks = microphone(serving.preprocess, samples)
    if sound is not None:
        chunks = with_progress(recording(serving.preprocess, sound, samples, smoothing))
    spotter = Spotter(serving.task.names, samples / rate, threshold, smoothing, refractory)
    return spotter.detections(probabilities(step, chunks))


def check_sound(path: str) -> None:
    """Raise a ValueError for a path that is no file of sound."""
    check_file(AudioPreprocess, user_path(path))


def check_spotting(preprocess: Preprocess, task: Task) -> None:
    """Raise a ValueError for a network that hears no words."""
    check_streamed_data(preprocess, task)
    if not isinstance(task, (Classification, Tagging)):
        raise ValueError(f"only classes and tags can be listened for, but the network was trained for {task.key}")


def probabilities(step: keras.Model, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the probabilities (classes,) after each chunk of samples."""
    state = [np.zeros((1, *tensor.shape[1:]), tensor.dtype) for tensor in step.inputs[1:]]
    for chunk in chunks:
        made, *state = step.predict_on_batch([chunk[None], *state])
        yield made[0]


def recording(preprocess: AudioPreprocess, path: str | Path, samples: int, silence: float) -> list[np.ndarray]:
    """Return a recording in chunks of as many samples, followed by at least so many seconds of silence."""
    wave = preprocess.read(path)
    length = len(wave) + round(silence * preprocess.sample_rate)
    padded = np.zeros(-(-length // samples) * samples, preprocess.raw_dtype)
    padded[: len(wave)] = wave
    return list(padded.reshape(-1, samples))


def with_progress(chunks: list[np.ndarray]) -> Iterable[np.ndarray]:
    """Return chunks that show in a terminal how far they have been heard."""
    console = rich_console.Console(stderr=True)
    return rich_progress.track(chunks, "listening", console=console, transient=True, disable=not console.is_terminal)


def microphone(preprocess: AudioPreprocess, samples: int) -> Iterator[np.ndarray]:
    """Yield chunks of as many samples from the microphone, for ever.

    Raises:
        ValueError: where the package or a microphone is missing.
    """
    try:
        options = {"samplerate": preprocess.sample_rate, "channels": 1, "dtype": preprocess.raw_dtype}
        with sounddevice.InputStream(**options) as source:
            while True:
                yield source.read(samples)[0][:, 0]
    except ImportError as error:
        raise missing_package("listening to the microphone", "sounddevice", "microphone") from error
    except OSError as error:  # PortAudio is not installed
        raise ValueError(f"the microphone cannot be used: {error}; give an audio file") from error
    except RuntimeError as error:
        raise ValueError(f"the microphone cannot be opened: {error}; give an audio file") from error
