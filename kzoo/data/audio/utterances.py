"""Utterances whose transcripts are known: synthetic speech, and recorded digits that are said one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from kzoo.core.lazy import np
from kzoo.core.ranges import Extent, PositiveInt, SampleRate
from kzoo.core.registry import lookup
from kzoo.data.audio.files import SUFFIXES, Recordings, read_audio, to_int16
from kzoo.data.audio.folder import rows_by_pattern
from kzoo.data.audio.frontends import resampled
from kzoo.data.audio.speech_commands import DIGITS
from kzoo.data.audio.synthetic_speech import draw_utterances, mix_into_clips, speak
from kzoo.data.folders import Row, files_with_suffix, read_each
from kzoo.data.splits import RawData, register_dataset
from kzoo.tasks import Transcription
from kzoo.tasks.transcription import TOKENS, transcription_of

TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SENTENCES = (  # one word of each, as in the matrix sentence tests of audiology
    ["anna", "ben", "clara", "david", "emma", "frank", "grace", "henry", "irene", "jack"],
    ["bought", "found", "gave", "kept", "lost", "moved", "painted", "saw", "sold", "washed"],
    ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve"],
    ["big", "cheap", "dark", "green", "heavy", "large", "new", "old", "pretty", "white"],
    ["boxes", "chairs", "cups", "desks", "flowers", "houses", "rings", "ships", "shoes", "spoons"],
)
MARGIN = 0.1  # seconds of a clip that the longest utterance leaves free


def in_words(number: int) -> str:
    """Return a number from 0 to 999 in English words."""
    hundreds, rest = divmod(number, 100)
    tens, units = divmod(rest, 10)
    small = DIGITS[units] if tens == 0 else TEENS[units] if tens == 1 else TENS[tens - 2]
    small = f"{small} {DIGITS[units]}" if tens > 1 and units else small
    if not hundreds:
        return small
    return f"{DIGITS[hundreds]} hundred and {small}" if rest else f"{DIGITS[hundreds]} hundred"


@register_dataset("spoken_numbers_synthetic", "audio", "spoken by eSpeak NG (GPL-3.0, a pip package)", Transcription)
def spoken_numbers_synthetic(
    *, sample_rate: SampleRate = 8000, utterances: Extent = 1000, voice_seed: int = 0
) -> RawData:
    """Numbers from 0 to 999 in English with their transcripts, 87 synthetic voices; needs no download.

    The voices of the train, validation and test splits are disjoint.

    Args:
        sample_rate: samples per second.
        utterances: training recordings; a fifth of it for validation, two fifths for the test split.
        voice_seed: seed of the numbers, voices, accents, rates, pitches, positions, loudness and noise.

    Raises:
        ValueError: if the package espeakng-loader is not installed.
    """
    return uttered(lambda rng: in_words(int(rng.integers(1000))), sample_rate, utterances, voice_seed)


@register_dataset("spoken_sentences_synthetic", "audio", "spoken by eSpeak NG (GPL-3.0, a pip package)", Transcription)
def spoken_sentences_synthetic(
    *, sample_rate: SampleRate = 8000, utterances: Extent = 1000, voice_seed: int = 0
) -> RawData:
    """Sentences of five of 50 English words with their transcripts, 87 synthetic voices; needs no download.

    Name, verb, number, adjective and noun, ten of each, so that there are 100,000 sentences and no word is told by the
    others. The voices of the train, validation and test splits are disjoint.

    Args:
        sample_rate: samples per second.
        utterances: training recordings; a fifth of it for validation, two fifths for the test split.
        voice_seed: seed of the sentences, voices, accents, rates, pitches, positions, loudness and noise.

    Raises:
        ValueError: if the package espeakng-loader is not installed.
    """

    def sentence(rng: np.random.Generator) -> str:
        return " ".join(words[rng.integers(len(words))] for words in SENTENCES)

    return uttered(sentence, sample_rate, utterances, voice_seed)


def uttered(compose: Callable[[np.random.Generator], str], sample_rate: int, utterances: int, seed: int) -> RawData:
    """Return texts spoken by eSpeak NG, in clips of the length of the longest utterance."""
    counts = {"train": utterances, "validation": max(utterances // 5, 1), "test": max(2 * utterances // 5, 1)}
    generators = [np.random.default_rng([seed, index]) for index in range(len(counts))]
    texts = [[compose(rng) for _ in range(n)] for rng, n in zip(generators, counts.values(), strict=True)]
    waves = [
        speak(draw_utterances(said, split, rng), sample_rate)
        for split, said, rng in zip(counts, texts, generators, strict=True)
    ]
    samples = longest_of(wave for part in waves for wave in part) + round(MARGIN * sample_rate)
    parts = [
        Recordings(mix_into_clips(part, samples, rng), np.array(said, object), sample_rate)
        for part, said, rng in zip(waves, texts, generators, strict=True)
    ]
    return spelled(dict(zip(counts, parts, strict=True)))


def longest_of(waves: Iterator[np.ndarray]) -> int:
    """Return the length of the longest waveform."""
    return max(map(len, waves))


def spelled(parts: Mapping[str, Recordings], words: bool = False) -> RawData:
    """Return a dataset of recordings and their texts, whose symbols are the characters or words of the training."""
    task = transcription_of({split: part.labels for split, part in parts.items()}, words=words)
    return RawData(*parts.values(), task.names, task=task)


@register_dataset("chained_digits:", "audio", "Free Spoken Digit Dataset, CC-BY-SA-4.0; your copy of it", Transcription)
def chained_digits(
    path: str,
    *,
    test_speakers: Sequence[str] = ("theo",),
    validation_speakers: Sequence[str] = ("lucas",),
    digits: tuple[int, int] = (3, 7),
    tokens: str = "characters",
    utterances: Extent = 1000,
    pause: float = 0.2,
    sample_rate: SampleRate = 8000,
    chain_seed: int = 0,
    pattern: str = "{digit}_{speaker}_{index}.wav",
    max_bytes: PositiveInt = 2**30,
) -> RawData:
    """Recordings of single digits by several speakers, said one after the other, with their transcripts.

    Each utterance is of one speaker; those of the validation and the test split are in no other one.

    Args:
        path: the folder, or a .zip file of it, with `0_jackson_0.wav` and so on, as of the Free Spoken Digit Dataset.
        test_speakers: of the test split.
        validation_speakers: of the validation split.
        digits: fewest and most of an utterance.
        tokens: "characters", or "words" for an output for each of the ten words.
        utterances: training utterances; a fifth of it for validation, two fifths for the test split.
        pause: longest silence between two digits in seconds.
        sample_rate: samples per second.
        chain_seed: of the digits, recordings and pauses.
        pattern: of the names of the files.
        max_bytes: limit on the size that a file in a .zip file claims to have.

    Raises:
        ValueError: for a missing folder, other names, an unknown speaker, or no speaker left to train on.
    """
    lookup("tokens", tokens, dict.fromkeys(TOKENS))
    if not 1 <= digits[0] <= digits[1] or pause < 0:
        raise ValueError(f"digits must be (fewest, most) from 1 on and pause at least 0, got {digits!r} and {pause!r}")
    files = files_with_suffix(path, SUFFIXES, "audio files", max_bytes)
    rows = rows_by_pattern(path, files, pattern, "digit", "speaker", {})
    other = [row.inside for row in rows if row.label not in map(str, range(len(DIGITS)))]
    if other:
        raise ValueError(f"{other[0]} does not begin with a digit, which {pattern} says")
    people = speakers_of_splits(rows, validation_speakers, test_speakers)
    sounds = list(read_each(lambda row: read_audio(row.file), rows))
    spoken = [resampled(sound.wave, sound.sample_rate, sample_rate) for sound in sounds]
    counts = {"train": utterances, "validation": max(utterances // 5, 1), "test": max(2 * utterances // 5, 1)}
    generators = [np.random.default_rng([chain_seed, index]) for index in range(len(counts))]
    chains = [
        [chained(rows, spoken, people[split], digits, round(pause * sample_rate), rng) for _ in range(count)]
        for rng, (split, count) in zip(generators, counts.items(), strict=True)
    ]
    samples = longest_of(wave for part in chains for wave, _, _ in part)
    parts = [as_recordings(part, samples, sample_rate) for part in chains]
    return spelled(dict(zip(counts, parts, strict=True)), tokens == "words")


def speakers_of_splits(rows: Sequence[Row], validation: Sequence[str], test: Sequence[str]) -> dict[str, list[str]]:
    """Return the speakers of each split; a ValueError names one that is unknown, or says that none is left to train."""
    known = sorted({row.group for row in rows})
    for name in (*validation, *test):
        lookup("speaker", name, dict.fromkeys(known))
    train = [name for name in known if name not in (*validation, *test)]
    if not train:
        raise ValueError(f"no speaker is left to train on; there are {', '.join(known)}")
    return {"train": train, "validation": list(validation), "test": list(test)}


def chained(
    rows: Sequence[Row], spoken: Sequence[np.ndarray], speakers: Sequence[str], digits: tuple[int, int], pause: int, rng
) -> tuple[np.ndarray, str, str]:
    """Return the waveform of digits that one speaker says, their words, and the speaker."""
    speaker = speakers[rng.integers(len(speakers))]
    own = [index for index, row in enumerate(rows) if row.group == speaker]
    chosen = [own[rng.integers(len(own))] for _ in range(rng.integers(digits[0], digits[1] + 1))]
    parts = [part for index in chosen for part in (np.zeros(rng.integers(pause + 1), "float32"), spoken[index])]
    return np.concatenate(parts), " ".join(DIGITS[int(rows[index].label)] for index in chosen), speaker


def as_recordings(chains: Sequence[tuple[np.ndarray, str, str]], samples: int, sample_rate: int) -> Recordings:
    """Return utterances as recordings of one length, with silence at the end."""
    waves, texts, speakers = zip(*chains, strict=True)
    clips = np.stack([np.pad(wave, (0, samples - len(wave))) for wave in waves])
    targets = np.array(texts, object)
    return Recordings(to_int16(clips), targets, sample_rate, groups=np.array(speakers))
