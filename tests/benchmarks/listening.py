"""Words that `kzoo listen` finds in one long recording of test words with pauses, and false alarms.

    python tests/benchmarks/listening.py RUN free_spoken_digits.zip [--threshold 0.8] [--smoothing 0.3] [--wav FILE]

The recording is made of the official test files (index 0 to 4) in random order, each after 0.7 to 1.5 seconds of
Gaussian noise, which is under the words too. A word is found by a detection of its class from its beginning to one
second after its end; every other detection is a false alarm. Also printed: the processor time for a second of sound.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import soundfile

import kzoo
from kzoo.serving.listen import Detection

RATE = 8000
PAUSES = (0.7, 1.5)  # seconds
LATE = 1.0  # seconds after its end in which a word counts as found


class Word(NamedTuple):
    """A word in the recording: its class, and where it begins and ends, in seconds."""

    label: str
    start: float
    end: float


def recording(archive: Path, noise: float) -> tuple[np.ndarray, list[Word]]:
    """Return the test files as one recording, int16, and where each lies; `noise` is its deviation in steps of it."""
    rng = np.random.default_rng(0)
    parts, words, length = [], [], 0
    with zipfile.ZipFile(archive) as files:
        names = [name for name in files.namelist() if name.endswith(tuple(f"_{index}.wav" for index in range(5)))]
        for name in rng.permutation(sorted(names)):
            with files.open(name) as file:
                sound, _ = soundfile.read(file, dtype="int16")
            pause = np.zeros(round(rng.uniform(*PAUSES) * RATE), "int16")
            parts += [pause, sound]
            start, length = length + len(pause), length + len(pause) + len(sound)
            words.append(Word(Path(name).name[0], start / RATE, length / RATE))
    whole = np.concatenate(parts)
    return np.clip(whole + rng.normal(0, noise, len(whole)), -32768, 32767).astype("int16"), words


def count(words: list[Word], detections: list[Detection]) -> tuple[int, int]:
    """Return how many words were found, and the number of false alarms."""
    found = set()
    for detection in detections:
        fits = (n for n, word in enumerate(words) if word.start <= detection.time <= word.end + LATE and n not in found)
        found |= {n for n in [next((n for n in fits if words[n].label == detection.label), None)] if n is not None}
    return len(found), len(detections) - len(found)


def main() -> None:
    """Make the recording, listen, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("archive", type=Path)
    for name, default in (("threshold", 0.8), ("smoothing", 0.3), ("refractory", 0.5), ("noise", 10.0)):
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--wav", type=Path, help="keep the recording in this file")
    options = parser.parse_args()
    sound, words = recording(options.archive, options.noise)
    with tempfile.TemporaryDirectory() as folder:
        path = options.wav or Path(folder) / "words.wav"
        soundfile.write(path, sound, RATE)
        settings = {name: getattr(options, name) for name in ("threshold", "smoothing", "refractory")}
        listening = kzoo.listen(options.run, path, **settings)
        start = time.process_time()
        detections = list(listening)
        seconds = time.process_time() - start
    found, false = count(words, detections)
    length = len(sound) / RATE
    print(f"{found} of {len(words)} words in {length:.0f} s, {false} false alarms; {settings}, noise {options.noise:g}")
    print(f"{1000 * seconds / length:.1f} ms of processor time for a second of sound")


if __name__ == "__main__":
    main()
