"""Text preprocessing: tokenisation into words, characters or bytes, and the vocabulary."""

from __future__ import annotations

import collections
import functools
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.arguments import checked
from kzoo.core.lazy import np, tf
from kzoo.core.numbers import percent
from kzoo.core.ranges import Extent, PositiveInt, evenly_spaced
from kzoo.core.registry import lookup
from kzoo.core.warn import warn_caller
from kzoo.data.splits import Examples
from kzoo.data.text.files import SEPARATORS, SUFFIXES, read_document, table_texts

# X. Zhang, J. Zhao, Y. LeCun, 2015, section 2.2: 26 letters, 10 digits, 33 other characters, the new line. They count
# the hyphen twice, and so do we, to have 70; its second index is never used.
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{}\n"
LONGEST = {"words": 256, "characters": 1014, "bytes": 1024}  # largest default length, in tokens
LENGTH_UNITS = {"characters": "UTF8_CHAR", "bytes": "BYTE"}
PADDING, UNKNOWN = 0, 1  # ids before those of the vocabulary
LEARNED = 0.01  # share of characters outside of the alphabet from which on they are learned
MOST_CHARACTERS = 2**31 - 1  # of one text
CHUNK = 1000  # texts that are split at a time when a vocabulary is learned
SAID_FROM = 0.05  # fraction of texts that are cut, or of tokens that are unknown, above which a warning says so
COUNTED = 5000  # texts of a split in which they are counted, evenly spaced


@dataclass(frozen=True)
class TextPreprocess:
    """From strings to token ids, truncated or padded with zeros to one length.

    Words are in lower case; `, ! ? ( )`, emoji and other symbols, and English contractions ("it 's", "do n't") are
    separate words, other punctuation and ASCII symbols are separators. Each character of a script without spaces, such
    as Chinese, is a word. Characters are in lower case too. Id 0 is padding, 1 is every token that is not in the
    vocabulary (at the level of characters also the space), then follows the vocabulary. The ids of bytes are the bytes
    of UTF-8. Invalid UTF-8 is an unknown character, and a separator of words.

    Args:
        level: "words", "characters" or "bytes".
        length: tokens per text.
        vocabulary: the known words, the most frequent first, or characters; empty for bytes.
    """

    level: str
    length: int
    vocabulary: tuple[str, ...] = ()

    suffixes = (*SUFFIXES, *SEPARATORS)
    tables = tuple(SEPARATORS)  # suffixes of files with a text in each row

    @classmethod
    @checked
    def fit(
        cls,
        train: Examples,
        *,
        level: str = "words",
        length: Extent | None = None,
        max_tokens: Extent = 20_000,
        min_count: PositiveInt = 1,
    ) -> TextPreprocess:
        """Learn the vocabulary from the raw training texts, and only from them.

        Args:
            train: the training split, inputs of shape (n,) of strings.
            level: "words", "characters" (the 70 of Zhang, Zhao, LeCun, 2015, and those of the training texts if more
                than 1 % are others) or "bytes".
            length: tokens per text; None for those of the longest training text, at most 256 words, 1,014
                characters or 1,024 bytes.
            max_tokens: largest size of the vocabulary; the most frequent words or characters are kept.
            min_count: smallest number of occurrences of a word of the vocabulary in the training split.

        Raises:
            ValueError: for an unknown level, or an empty vocabulary.
        """
        longest = lookup("level", level, LONGEST)
        if level == "words":
            counts, most = count_tokens(train.inputs, split_words)
            vocabulary = most_frequent(counts, max_tokens, min_count)
        else:
            vocabulary = characters_of(train.inputs, max_tokens, min_count) if level == "characters" else ()
            most = int(tf.reduce_max(tf.strings.length(train.inputs, LENGTH_UNITS[level])))
        length = max(1, min(longest, most)) if length is None else length
        return cls(level, length, vocabulary)

    @property
    def input_shape(self) -> tuple[int]:
        """Shape of the model's input: token ids."""
        return (self.length,)

    @property
    def raw_shape(self) -> tuple[()]:
        """Shape of one text: a string has no axes."""
        return ()

    @property
    def raw_dtype(self) -> str:
        """Type of one text."""
        return "string"

    @property
    def vocab_size(self) -> int:
        """Number of token ids that the model can be given."""
        return 256 if self.level == "bytes" else UNKNOWN + 1 + len(self.vocabulary)

    def __call__(self, raw):
        """Return the token ids of a batch of strings (batch,), as int32 of shape (batch, length).

        Token ids are returned as they are: formats without strings are given them.
        """
        if tf.as_dtype(getattr(raw, "dtype", "string")).is_integer:
            return raw
        raw = tf.convert_to_tensor(raw, tf.string)
        if self.level == "bytes":
            values = tf.io.decode_raw(raw, tf.uint8, fixed_length=self.length)
            return tf.ensure_shape(tf.cast(values, tf.int32), (None, self.length))
        tokens = split_words(raw) if self.level == "words" else split_characters(raw, self.length)
        return tokens.with_flat_values(self.ids(tokens.flat_values)).to_tensor(PADDING, shape=(None, self.length))

    def ids(self, tokens):
        """Return the ids of a vector of tokens; a binary search, since a table would be state outside the graph."""
        known, numbers = self.table
        wanted = fingerprint(tokens)
        index = tf.minimum(tf.searchsorted(known, wanted), len(known) - 1)
        return tf.where(tf.gather(known, index) == wanted, tf.gather(numbers, index), UNKNOWN)

    @functools.cached_property
    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """The sorted fingerprints of the vocabulary, and the id of each."""
        with tf.init_scope():  # values, even while a graph is being built
            known = fingerprint(tf.constant(self.vocabulary)).numpy()
        order = np.argsort(known, kind="stable")
        return known[order], (order + UNKNOWN + 1).astype("int32")

    @property
    def tokenizer(self) -> dict:
        """How token ids are made, as JSON-serialisable values for other languages; see docs/serving.md.

        `level` and `length` are those of the preprocessing. `replacements` are made in a text in lower case, one after
        the other: a pattern as Python's package `regex` and JavaScript understand it, and what every match becomes.
        Then words are between spaces. `ids` has the id of each token of the vocabulary, by its text.
        """
        cleaning = [portable(*pair) for pair in WORDS] if self.level == "words" else []
        ids = {}
        for number, token in enumerate(self.vocabulary, UNKNOWN + 1):
            ids.setdefault(token, number)  # the alphabet has the hyphen twice
        return {"level": self.level, "length": self.length, "replacements": cleaning, "ids": ids}

    def warn_of_losses(self, texts: Mapping[str, np.ndarray]) -> None:
        """Warn in one line if more than 5 % of the texts are cut, or of their tokens unknown; spaces do not count.

        Args:
            texts: by what they are called, such as "training"; of many, evenly spaced ones are looked at.
        """
        found = {name: self.losses(part[evenly_spaced(len(part), COUNTED)]) for name, part in texts.items()}
        cut = [f"{percent(lost, 1)} of the {name} texts" for name, (lost, _) in found.items() if lost > SAID_FROM]
        unknown = [
            f"{percent(lost, 1)} of the {self.level} of the {name} texts"
            for name, (_, lost) in found.items()
            if lost > SAID_FROM
        ]
        remarks = {f"are cut to length={self.length} {self.level}": cut, "are not in the vocabulary": unknown}
        if cut or unknown:
            warn_caller("; ".join(f"{', '.join(parts)} {what}" for what, parts in remarks.items() if parts))

    def losses(self, texts: np.ndarray) -> tuple[float, float]:
        """Return the fraction of texts that are cut, and the fraction of the tokens left that are unknown."""
        chunks = (texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK))
        cut, tokens, unknown = np.sum([self.counts(tf.convert_to_tensor(chunk, tf.string)) for chunk in chunks], axis=0)
        return cut / len(texts), unknown / max(tokens, 1)

    def counts(self, raw) -> tuple[int, int, int]:
        """Return the numbers of texts that are cut, of tokens left, spaces apart, and of unknown ones among them."""
        if self.level == "words":
            words = split_words(raw)
            lengths, tokens = words.row_lengths(), words[:, : self.length].flat_values
        else:
            lengths = tf.strings.length(raw, LENGTH_UNITS[self.level])
            tokens = split_characters(raw, self.length).flat_values
        tokens = tokens[:0] if self.level == "bytes" else tf.boolean_mask(tokens, tokens != " ")
        unknown = len(tokens) and tf.math.count_nonzero(self.ids(tokens) == UNKNOWN)
        return int(tf.math.count_nonzero(lengths > self.length)), len(tokens), int(unknown)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Return the tokens of the ids of one text for display; "?" for an unknown token."""
        if self.level == "bytes":
            return [chr(number) if 32 <= number < 127 else f"<{number:02x}>" for number in ids if number != PADDING]
        return [(None, "?", *self.vocabulary)[number] for number in ids if number != PADDING]

    def read(self, path: str | Path) -> np.ndarray:
        """Read one UTF-8 file as one text, without the end of its last line.

        Raises:
            ValueError: if it is missing, not UTF-8 (naming the byte), or contains no text.
        """
        text = read_document(Path(path), "utf-8")
        if not text.strip():
            raise ValueError(f"{path} contains no text")
        return np.array(text, dtype=object)

    def read_rows(self, path: str | Path, column: str) -> list[tuple[int, np.ndarray | ValueError]]:
        """Read a table as (first line, raw text or what is wrong with the row) for each row."""
        rows = table_texts(Path(path).expanduser(), column)
        return [(line, np.array(text, dtype=object) if isinstance(text, str) else text) for line, text in rows]

    def sized(self, raw):
        """Return one text unchanged: the length is counted in tokens."""
        return raw

    def draw(self, axes, raw) -> None:
        """Draw the beginning of one text on matplotlib axes."""
        text = raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
        lines = textwrap.wrap(text[:1000], 24, max_lines=7, placeholder=" ...") or ["(empty)"]
        axes.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=7)
        axes.set_axis_off()


def fingerprint(tokens):
    """Return 64-bit fingerprints: two words of a vocabulary of a million share one with probability 1e-7."""
    return tf.strings.to_hash_bucket_fast(tokens, 2**63 - 1)


def split_words(texts):
    """Return the words of each text, ragged (batch, None)."""
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
    texts = tf.strings.lower(texts, encoding="utf-8")
    for pattern, replacement in WORDS:
        texts = tf.strings.regex_replace(texts, pattern, replacement)
    return tf.strings.split(texts)


UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # scripts without spaces between words
TINTED = r"\p{S}[\x{FE0F}\x{1F3FB}-\x{1F3FF}]*"  # an emoji with its style and colour of skin
EMOJI = rf"[\x{{1F1E6}}-\x{{1F1FF}}]{{2}}|{TINTED}(?:\x{{200D}}{TINTED})*"  # a flag, or one or several joined to one
WORDS = (  # similar to the cleaning in Kim's code, but letters, digits and symbols of every script are kept
    ("[\u2019\u02bc]", "'"),
    (r"""[\x00-\x20"-&*+\-./:->@\[-`{-\x7f\x{FFFD}]+""", " "),
    (r"[^\p{L}\p{M}\p{N}\p{S}\x{200C}\x{200D}'(),!?]+", " "),
    (rf"[(),!?]|[{UNSPACED}]\p{{M}}*|{EMOJI}", r" \0 "),
    (r"n't(\s|$)", r" n't\1"),
    (r"'(s|m|d|re|ve|ll)(\s|$)", r" '\1\2"),
)


def portable(pattern: str, replacement: str) -> tuple[str, str]:
    """Return a replacement of TensorFlow's for other languages: without numbers of characters, and \\1 for \\0."""
    if r"\0" in replacement:
        pattern, replacement = f"({pattern})", replacement.replace(r"\0", r"\1")
    pattern = re.sub(r"\\x\{(\w+)\}", lambda match: chr(int(match[1], 16)), pattern)
    return re.sub(r"\\p\{(\w{2,})\}", r"\\p{Script=\1}", pattern), replacement


def split_characters(texts, length: int):
    """Return the first `length` characters of each text, in lower case, ragged (batch, None)."""
    texts = tf.strings.lower(tf.strings.substr(texts, 0, length, unit="UTF8_CHAR"), encoding="utf-8")
    return tf.strings.unicode_split(texts, "UTF-8", errors="replace")


def characters_of(texts: np.ndarray, max_tokens: int, min_count: int) -> tuple[str, ...]:
    """Return the alphabet and, if more than 1 % of the characters of the texts are others, these, by frequency."""
    counts, _ = count_tokens(texts, lambda chunk: split_characters(chunk, MOST_CHARACTERS))
    counts = {character.decode(): count for character, count in counts.items()}
    others = {
        name: count for name, count in counts.items() if name not in ALPHABET and name.strip() and name != "\ufffd"
    }
    if sum(others.values()) <= LEARNED * sum(counts.values()):
        return tuple(ALPHABET)
    frequent = sorted((-count, name) for name, count in others.items() if count >= min_count)
    return (*ALPHABET, *(name for _, name in frequent))[: max(max_tokens, len(ALPHABET))]


def count_tokens(texts: np.ndarray, split: Callable) -> tuple[collections.Counter, int]:
    """Return how often each token occurs in all texts, and the number of tokens of the longest text."""
    counts, longest = collections.Counter(), 0
    for start in range(0, len(texts), CHUNK):
        words = split(texts[start : start + CHUNK])
        longest = max(longest, int(tf.reduce_max(words.row_lengths())))
        different, _, times = tf.unique_with_counts(words.flat_values)
        counts.update(dict(zip(different.numpy().tolist(), times.numpy().tolist(), strict=True)))
    return counts, longest


def most_frequent(counts: collections.Counter, max_tokens: int, min_count: int) -> tuple[str, ...]:
    """Return the words that occur often enough, the most frequent first, ties in alphabetical order.

    Raises:
        ValueError: if there is none.
    """
    frequent = sorted((-count, word) for word, count in counts.items() if count >= min_count)
    if not frequent:
        most = max(counts.values(), default=0)
        raise ValueError(f"no word occurs {min_count} times in the training texts; the most frequent occurs {most}")
    return tuple(word.decode() for _, word in frequent[:max_tokens])
