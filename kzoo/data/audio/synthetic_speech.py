"""Speech synthesis with eSpeak NG (a pip wheel): spoken words in many voices, without a download.

eSpeak NG keeps the state of its noise generator from one word to the next, even when it is initialised again.
Therefore each split is synthesised in its own process, always in the same order, which makes every sample reproducible.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from kzoo.core.extras import missing_package
from kzoo.core.lazy import lazy_import, np
from kzoo.data.audio.frontends import resampled

espeakng_loader = lazy_import("espeakng_loader")

ACCENTS = ("en", "en-US", "en-US-nyc", "en-GB-scotland", "en-GB-x-rp", "en-029")
FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}  # of the voices
UNNATURAL = ("robo", "robot", "demonic", "whisper", "croak", "fast", "klatt6", "storm")  # parts of voices' names

# espeak-ng/speak_lib.h
SYNCHRONOUS, UTF8, RATE, PITCH = 2, 1, 1, 3


class Utterance(NamedTuple):
    """A text with its voice (accent and variant), rate in words per minute, and pitch (0 to 100)."""

    text: str
    voice: str
    rate: int
    pitch: int


@functools.cache
def voices() -> tuple[str, ...]:
    """Return the names of eSpeak NG's voice variants that sound like people.

    Raises:
        ValueError: if the package is not installed.
    """
    if importlib.util.find_spec("espeakng_loader") is None:
        raise missing_package("synthetic speech", "espeakng-loader", "audio")
    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    return tuple(sorted(file.name for file in folder.iterdir() if not any(w in file.name.lower() for w in UNNATURAL)))


def voices_of(split: str) -> tuple[str, ...]:
    """Return the voices of "train", "validation" or "test"; always the same, and none in two of them."""
    order = np.random.default_rng(0).permutation(len(voices()))
    ends = np.round(np.cumsum([0, *FRACTIONS.values()]) * len(order)).astype(int)
    index = list(FRACTIONS).index(split)
    return tuple(voices()[voice] for voice in sorted(order[ends[index] : ends[index + 1]]))


def draw_utterances(words: list[str], split: str, rng: np.random.Generator) -> list[Utterance]:
    """Draw a voice, an accent, a rate and a pitch for each word."""
    variants = voices_of(split)

    def voice() -> str:
        return f"{ACCENTS[rng.integers(len(ACCENTS))]}+{variants[rng.integers(len(variants))]}"

    return [Utterance(word, voice(), int(rng.integers(120, 221)), int(rng.integers(20, 81))) for word in words]


def speak(utterances: list[Utterance], sample_rate: int) -> list[np.ndarray]:
    """Return each utterance as float32 between -1 and 1, with leading and trailing silence removed.

    Raises:
        ValueError: if eSpeak NG fails, with its message.
    """
    command = [sys.executable, "-c", "from kzoo.data.audio.synthetic_speech import main; main()"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    result = subprocess.run(
        command, input=json.dumps(utterances).encode(), capture_output=True, env=environment, check=False
    )
    if result.returncode:
        raise ValueError(f"eSpeak NG failed: {' '.join(result.stderr.decode().splitlines()[-1:])}")
    header, _, samples = result.stdout.partition(b"\n")
    rate, *lengths = json.loads(header)
    waves = np.split(np.frombuffer(samples, "int16"), np.cumsum(lengths)[:-1])
    return [resampled(trimmed(wave), rate, sample_rate) for wave in waves]


def trimmed(wave: np.ndarray, threshold: int = 100) -> np.ndarray:
    """Return 16-bit samples as floats, with leading and trailing silence removed."""
    loud = np.flatnonzero(np.abs(wave.astype("int32")) > threshold)
    return wave[loud[0] : loud[-1] + 1].astype("float32") / 32768 if loud.size else np.zeros(1, "float32")


def mix_into_clips(waves: list[np.ndarray], samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return clips of `samples` samples with a word at a random position and loudness, and faint noise; int16."""
    clips = np.zeros((len(waves), samples), "int16")
    for clip, wave in zip(clips, waves, strict=True):
        wave = wave[:samples] * rng.uniform(0.2, 0.9) / max(np.abs(wave).max(), 1e-6)
        start = rng.integers(samples - len(wave) + 1)
        noisy = rng.normal(size=samples) * 10 ** rng.uniform(-4, -2)
        noisy[start : start + len(wave)] += wave
        clip[:] = np.clip(np.round(noisy * 32767), -32768, 32767)
    return clips


def synthesise(utterances: list[Utterance]) -> tuple[int, list[np.ndarray]]:
    """Return eSpeak NG's sample rate and the 16-bit samples of each utterance, synthesised in this process."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    if rate <= 0:
        raise ValueError("eSpeak NG cannot be initialised")
    library.espeak_ng_SetRandSeed(ctypes.c_long(0))
    chunks = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def receive(samples, count, events):
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(utterance: Utterance) -> np.ndarray:
        chunks.clear()
        if library.espeak_SetVoiceByName(utterance.voice.encode()):
            raise ValueError(f"eSpeak NG has no voice {utterance.voice!r}")
        library.espeak_SetParameter(RATE, utterance.rate, 0)
        library.espeak_SetParameter(PITCH, utterance.pitch, 0)
        text = utterance.text.encode()
        failed = library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 1, 0, UTF8, None, None)
        if failed or not chunks:
            raise ValueError(f"eSpeak NG cannot say {utterance.text!r} in the voice {utterance.voice!r}")
        return np.concatenate(chunks)

    library.espeak_SetSynthCallback(receive)
    return rate, [say(utterance) for utterance in utterances]


def main() -> None:
    """Read utterances as JSON; write a line of JSON (rate and lengths) and the samples of all of them."""
    rate, waves = synthesise([Utterance(*row) for row in json.load(sys.stdin)])
    header = json.dumps([rate, *map(len, waves)]).encode() + b"\n"
    sys.stdout.buffer.write(header + np.concatenate(waves).tobytes())


if __name__ == "__main__":
    main()
