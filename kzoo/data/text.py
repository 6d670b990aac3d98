"""Text: reading files, the step from strings to token ids, random changes, and the loaders."""

from __future__ import annotations

import collections
import csv
import functools
import io
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kzoo.data.splits import MODALITIES, SPLIT_SEED, Examples, Modality, RawData, register_dataset
from kzoo.data.tfds import find_builder, prepare
from kzoo.data.transforms import fold as fold_in
from kzoo.lazy import lazy_import
from kzoo.registry import lookup

babel = lazy_import("babel")
keras = lazy_import("keras")
model_selection = lazy_import("sklearn.model_selection")
np = lazy_import("numpy")
tf = lazy_import("tensorflow")
tfds = lazy_import("tensorflow_datasets")

# X. Zhang, J. Zhao, Y. LeCun, 2015, section 2.2: 26 letters, 10 digits, 33 other characters, the new line. They count
# the hyphen twice, and so do we, to have 70; its second place is never used.
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{}\n"
LONGEST = {"words": 256, "characters": 1014, "bytes": 1024}  # tokens per text where no length is asked for
LENGTH_UNITS = {"characters": "UTF8_CHAR", "bytes": "BYTE"}
PADDING, UNKNOWN = 0, 1  # ids before those of the vocabulary
CHUNK = 1000  # texts that are split at a time when a vocabulary is learned

LANGUAGES = {
    "Latin": ("cs", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "pl", "pt", "ro", "sv", "tr", "vi"),
    "Cyrillic": ("bg", "ru", "sr", "uk"),
}


@dataclass(frozen=True)
class TextPreprocess:
    """From strings to token ids of one length; what is longer is cut off, what is shorter is followed by zeros.

    Words are in lower case; `, ! ? ( )` and English contractions ("it 's", "do n't") are words of their own, other
    punctuation separates. Characters are in lower case too. Id 0 is padding, 1 every token that is not in the
    vocabulary (among characters also the space), then come those of the vocabulary. The ids of bytes are the bytes
    of UTF-8 themselves. Bytes that are not UTF-8 count as unknown characters, and separate words.

    Args:
        level: "words", "characters" or "bytes".
        length: tokens per text.
        vocabulary: the known words, the most frequent first, or characters; empty for bytes.
    """

    level: str
    length: int
    vocabulary: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        train: Examples,
        *,
        level: str = "words",
        length: int | None = None,
        max_tokens: int = 20_000,
        min_count: int = 1,
    ) -> TextPreprocess:
        """Learn the vocabulary from the raw training texts, and only from them.

        Args:
            train: the training split, inputs of shape (n,) of strings.
            level: "words", "characters" (the 70 of Zhang, Zhao, LeCun, 2015) or "bytes".
            length: tokens per text; None for those of the longest training text, at most 256 words, 1,014
                characters or 1,024 bytes.
            max_tokens: size of the vocabulary of words at most; the most frequent are kept.
            min_count: how often a word of the vocabulary occurs in the training split at least.

        Raises:
            ValueError: for an unknown level, a number that is not a positive integer, or no word to learn.
        """
        longest = lookup("level", level, LONGEST)
        for name, value in {"length": length, "max_tokens": max_tokens, "min_count": min_count}.items():
            if not (value is None and name == "length") and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be a positive integer, got {value!r}")
        if level == "words":
            counts, most = count_words(train.inputs)
            vocabulary = most_frequent(counts, max_tokens, min_count)
        else:
            vocabulary = tuple(ALPHABET) if level == "characters" else ()
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

        Raises:
            ValueError: for a symbolic Keras tensor; Keras models take no strings, SavedModels do.
        """
        if isinstance(raw, keras.KerasTensor):
            raise ValueError("a model of text is exported with format 'saved_model'; other formats take no strings")
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
        place = tf.minimum(tf.searchsorted(known, wanted), len(known) - 1)
        return tf.where(tf.gather(known, place) == wanted, tf.gather(numbers, place), UNKNOWN)

    @functools.cached_property
    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """The sorted fingerprints of the vocabulary, and the id of each."""
        with tf.init_scope():  # values, even while a graph is being built
            known = fingerprint(tf.constant(self.vocabulary)).numpy()
        order = np.argsort(known, kind="stable")
        return known[order], (order + UNKNOWN + 1).astype("int32")

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Return the tokens behind the ids of one text, for people to read; "?" for an unknown one."""
        if self.level == "bytes":
            return [chr(number) if 32 <= number < 127 else f"<{number:02x}>" for number in ids if number != PADDING]
        return [(None, "?", *self.vocabulary)[number] for number in ids if number != PADDING]

    def read(self, path: str | Path) -> np.ndarray:
        """Read one UTF-8 file as one text.

        Raises:
            ValueError: if it is missing, not UTF-8 (naming the byte), or holds no text.
        """
        text = read_text(Path(path), "utf-8")
        if not text.strip():
            raise ValueError(f"{path} holds no text")
        return np.array(text, dtype=object)

    def sized(self, raw):
        """Return one text as it is: its length is a matter of tokens."""
        return raw

    def draw(self, axes, raw) -> None:
        """Show the beginning of one text on matplotlib axes."""
        text = raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
        lines = textwrap.wrap(text[:1000], 24, max_lines=7, placeholder=" ...") or ["(empty)"]
        axes.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=7, parse_math=False)
        axes.set_axis_off()


@dataclass(frozen=True)
class TextAugment:
    """Leave out words or characters of each text of a batch, at random; a text of which nothing is left stays whole.

    Args:
        word_dropout: fraction of the words, in [0, 1); what is left is joined by single spaces.
        character_dropout: fraction of the characters, in [0, 1).

    Raises:
        ValueError: for a value out of its range.
    """

    word_dropout: float = 0.0
    character_dropout: float = 0.0

    def __post_init__(self):
        for name in ("word_dropout", "character_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"augment.{name} must be at least 0 and below 1, got {getattr(self, name)}")

    def __call__(self, texts, seed):
        """Return a changed batch of strings (batch,), a pure function of the batch and the seed (2,)."""
        texts = tf.convert_to_tensor(texts, tf.string)
        if self.word_dropout:
            texts = thinned(texts, tf.strings.split(texts), " ", self.word_dropout, fold_in(seed, 1))
        if self.character_dropout:
            characters = tf.strings.unicode_split(texts, "UTF-8", errors="replace")
            texts = thinned(texts, characters, "", self.character_dropout, fold_in(seed, 2))
        return texts


MODALITIES["text"] = Modality(TextPreprocess, TextAugment)


def thinned(texts, tokens, separator: str, fraction: float, seed):
    """Join what a random choice leaves of the tokens of each text."""
    keep = tf.random.stateless_uniform(tf.shape(tokens.flat_values), seed) >= fraction
    kept = tf.ragged.boolean_mask(tokens, tokens.with_flat_values(keep))
    joined = tf.strings.reduce_join(kept, axis=-1, separator=separator)
    return tf.where(kept.row_lengths() > 0, joined, texts)


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


WORDS = (  # after the idea of the cleaning in Kim's code, but letters and digits of every script are kept
    ("[\u2019\u02bc]", "'"),
    (r"[^\p{L}\p{M}\p{N}'(),!?]+", " "),
    (r"[(),!?]", r" \0 "),
    (r"n't(\s|$)", r" n't\1"),
    (r"'(s|m|d|re|ve|ll)(\s|$)", r" '\1\2"),
)


def split_characters(texts, length: int):
    """Return the first `length` characters of each text, in lower case, ragged (batch, None)."""
    texts = tf.strings.lower(tf.strings.substr(texts, 0, length, unit="UTF8_CHAR"), encoding="utf-8")
    return tf.strings.unicode_split(texts, "UTF-8", errors="replace")


def count_words(texts: np.ndarray) -> tuple[collections.Counter, int]:
    """Return how often each word occurs in all texts, and the number of words of the longest text."""
    counts, longest = collections.Counter(), 0
    for start in range(0, len(texts), CHUNK):
        words = split_words(texts[start : start + CHUNK])
        longest = max(longest, int(tf.reduce_max(words.row_lengths())))
        different, _, times = tf.unique_with_counts(words.flat_values)
        counts.update(dict(zip(different.numpy().tolist(), times.numpy().tolist(), strict=True)))
    return counts, longest


def most_frequent(counts: collections.Counter, max_tokens: int, min_count: int) -> tuple[str, ...]:
    """Return the words that occur often enough, the most frequent first, words of one frequency by the alphabet.

    Raises:
        ValueError: if there is none.
    """
    frequent = sorted((-count, word) for word, count in counts.items() if count >= min_count)
    if not frequent:
        most = max(counts.values(), default=0)
        raise ValueError(f"no word occurs {min_count} times in the training texts; the most frequent occurs {most}")
    return tuple(word.decode() for _, word in frequent[:max_tokens])


def read_text(path: Path, encoding: str) -> str:
    """Read a whole file, without the byte-order mark that some editors begin it with.

    Raises:
        ValueError: for a missing file, an unknown encoding, or a byte that has no meaning in it, by its place.
    """
    try:
        content = path.expanduser().read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise ValueError(
            f"unknown encoding {encoding!r}; expected 'utf-8', 'latin-1' or another of Python's"
        ) from error
    except UnicodeDecodeError as error:
        byte, line = content[error.start], content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} is not {encoding}: byte {error.start} (0x{byte:02x}, line {line}); convert the file, "
            "or give the encoding it is in, e.g. 'latin-1'"
        ) from error


class Row(NamedTuple):
    """One example of a file, and the line it begins in, counted from 1."""

    line: int
    label: str
    text: str


@register_dataset("csv:", "text", "your own files")
def csv_file(
    path: str,
    *,
    text_column: str = "text",
    label_column: str = "label",
    test: str | None = None,
    fold: Sequence[int] | None = None,
    encoding: str = "utf-8",
    quoting: bool = True,
) -> RawData:
    """A .csv (commas) or .tsv (tabs) file whose first row names the columns, one of text and one of labels.

    Args:
        path: the file.
        text_column: name of the column with the texts.
        label_column: name of the column with the labels; the classes are those of the training rows, sorted.
        test: a second file of test rows; held out from the first if not given.
        fold: (number, folds): hold out that part, counted from 0, of so many of the file as the test split.
        encoding: of both files.
        quoting: whether quotation marks enclose texts that hold separators or line ends; False reads them as they are.

    Raises:
        ValueError: naming file and line, for bytes that are not in the encoding, a missing column, a row with too
            few or too many columns, a row without a label, or a label that only the test file has.
    """
    separator = lookup(f"kind of table, {path},", Path(path).suffix.lower(), {".csv": ",", ".tsv": "\t"})

    def read(file: str) -> list[Row]:
        return list(
            table_rows(Path(file), read_text(Path(file), encoding), separator, text_column, label_column, quoting)
        )

    return from_files(read, path, test, fold)


@register_dataset("labelled:", "text", "your own files")
def labelled(
    path: str, *, test: str | None = None, fold: Sequence[int] | None = None, encoding: str = "utf-8"
) -> RawData:
    """A file of lines `label text`, as TREC and MR are handed around; the label ends at the first space or tab.

    Args:
        path: the file; its lines end in "\\n" or "\\r\\n", other line separators are part of a text.
        test: a second file of test lines; held out from the first if not given.
        fold: (number, folds): hold out that part, counted from 0, of so many of the file as the test split.
        encoding: of both files.

    Raises:
        ValueError: naming file and line, for bytes that are not in the encoding, a line without a label, or a
            label that only the test file has.
    """
    return from_files(lambda file: labelled_rows(Path(file), read_text(Path(file), encoding)), path, test, fold)


def labelled_rows(path: Path, content: str) -> list[Row]:
    """Return the examples of lines `label text`; blank lines are passed over."""
    rows = []
    for number, line in enumerate(content.split("\n"), start=1):
        if line[:1].isspace() and line.strip():
            raise ValueError(f"line {number} of {path} begins with a space; expected a label and then its text")
        if line.strip():
            label, *text = line.split(maxsplit=1)
            rows.append(Row(number, label, text[0].rstrip("\r") if text else ""))
    return rows


def table_rows(
    path: Path, content: str, separator: str, text_column: str, label_column: str, quoting: bool
) -> Iterator[Row]:
    """Yield the examples of a table; blank lines are passed over.

    Raises:
        ValueError: for a table without the columns, a ragged row, a row without a label, or a quotation without end.
    """
    places, header = None, []
    for number, cells in numbered_cells(path, content, separator, quoting):
        if places is None:
            header = [cell.strip() for cell in cells]
            columns = {cell: place for place, cell in enumerate(header)}
            places = [lookup(f"column of {path},", name, columns) for name in (text_column, label_column)]
            continue
        if len(cells) != len(header):
            raise ValueError(f"line {number} of {path} has {len(cells)} columns, the header has {len(header)}")
        text, label = (cells[place] for place in places)
        if not label.strip():
            raise ValueError(f"line {number} of {path} has no {label_column}")
        yield Row(number, label.strip(), text)


def numbered_cells(path: Path, content: str, separator: str, quoting: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, cells) for each row that is not blank, whatever the length of a cell."""
    style = csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, quoting=style, strict=True)
    limit = csv.field_size_limit(2**31 - 1)
    try:
        line = 1
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"the row that begins in line {line} of {path} cannot be read: {error}") from error
    finally:
        csv.field_size_limit(limit)


def from_files(read: Callable[[str], list[Row]], path: str, test: str | None, fold: Sequence[int] | None) -> RawData:
    """Return the splits of a file of training rows and, if given, another of test rows."""
    if test is not None and fold is not None:
        raise ValueError("give either test, a file, or fold, a part of the training file; got both")
    rows = {file: read(file) for file in (path, test) if file is not None}
    labels = {row.label for row in rows[path]}
    names = sorted(labels, key=int if all(label.isdecimal() for label in labels) else None)
    if len(names) < 2:
        raise ValueError(
            f"{path} holds {len(rows[path])} examples of {len(names)} classes; expected at least 2 classes"
        )
    for file in rows:
        warn_of_empty_texts(file, rows[file])
    train = as_examples(path, rows[path], names)
    if fold is not None:
        return RawData(*one_fold(train, fold), tuple(names))
    return RawData(train, None, None if test is None else as_examples(test, rows[test], names), tuple(names))


def warn_of_empty_texts(path: str, rows: list[Row]) -> None:
    """Say how many texts are empty; they are examples like any other, of padding alone."""
    empty = [row.line for row in rows if not row.text.strip()]
    if empty:
        warnings.warn(f"{len(empty)} of {len(rows)} texts of {path} are empty, e.g. in line {empty[0]}", stacklevel=2)


def as_examples(path: str, rows: list[Row], names: Sequence[str]) -> Examples:
    """Return rows as arrays.

    Raises:
        ValueError: naming the line with a label that is not among `names`.
    """
    numbers = {name: number for number, name in enumerate(names)}
    for row in rows:
        if row.label not in numbers:
            known = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            raise ValueError(
                f"line {row.line} of {path} has label {row.label!r}, which no training example has: {known}"
            )
    labels = np.array([numbers[row.label] for row in rows], "int32")
    return Examples(np.array([row.text for row in rows], dtype=object), labels)


def one_fold(examples: Examples, fold: Sequence[int]) -> tuple[Examples, None, Examples]:
    """Return (train, None, test) with one of several parts of equal size and shares of the classes held out.

    Raises:
        ValueError: if `fold` is not (number, folds), or a class has fewer examples than there are folds.
    """
    if not isinstance(fold, (list, tuple)) or len(fold) != 2 or not all(isinstance(n, int) for n in fold):
        raise ValueError(f"fold must be (number, folds), e.g. (0, 10), got {fold!r}")
    number, folds = fold
    if folds < 2 or not 0 <= number < folds:
        raise ValueError(f"fold (number, folds) needs 2 or more folds and 0 <= number < folds, got {tuple(fold)}")
    fewest = int(np.bincount(examples.labels).min())
    if fewest < folds:
        raise ValueError(f"cannot make {folds} folds: a class has {fewest} examples")
    parts = model_selection.StratifiedKFold(folds, shuffle=True, random_state=SPLIT_SEED)
    train, test = list(parts.split(np.zeros(len(examples)), examples.labels))[number]
    return examples.take(train), None, examples.take(test)


@register_dataset("language_names", "text", "Unicode CLDR (Unicode licence) in the package Babel (BSD licence)")
def language_names(*, scripts: Sequence[str] = tuple(LANGUAGES)) -> RawData:
    """15,000 names of countries, languages, months and currencies in 20 languages, to tell which; needs no download.

    The names are those of the installed Babel, whose releases follow CLDR's: another release has slightly other
    names. A name that two of the languages share is left out, so that each has one answer. Every fifth name of a
    fixed random order is a test example.

    Args:
        scripts: of the languages, "Latin" (16) or "Cyrillic" (4) or both.

    Raises:
        ValueError: if Babel is not installed, or for an unknown script.
    """
    scripts = (scripts,) if isinstance(scripts, str) else scripts
    codes = [code for script in scripts for code in lookup("script", script, LANGUAGES)]
    try:
        names = {code: cldr_names(code) for code in codes}
        languages = tuple(babel.Locale("en").languages[code] for code in codes)
    except ImportError as error:
        raise ValueError("language_names needs the package babel; pip install 'kzoo[text]'") from error
    times = collections.Counter(key for own in names.values() for key in own)
    rows = [(own[key], label) for label, own in enumerate(names.values()) for key in sorted(own) if times[key] == 1]
    inputs = np.array([name for name, _ in rows], dtype=object)
    examples = Examples(inputs, np.array([label for _, label in rows], "int32"))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    test = np.arange(len(rows)) % 5 == 0
    return RawData(examples.take(order[~test]), None, examples.take(order[test]), languages)


def cldr_names(code: str) -> dict[str, str]:
    """Return the names that CLDR has in one language, by themselves without regard to case."""
    locale = babel.Locale(code)
    tables = [locale.territories, locale.languages, locale.currencies, locale.months["stand-alone"]["wide"]]
    names = sorted({name for table in tables for name in table.values()})
    return {name.casefold(): name for name in names if sum(map(str.isalpha, name)) >= 3}


@register_dataset("ag_news_subset", "text", "A. Gulli; X. Zhang, J. Zhao, Y. LeCun, 2015; non-commercial")
def ag_news_subset(*, data_dir: str | None = None, download: bool = True) -> RawData:
    """127,600 descriptions of news articles, 4 topics."""
    return load_texts("ag_news_subset", data_dir=data_dir, download=download)


@register_dataset("imdb_reviews", "text", "A. Maas and others, 2011, Stanford")
def imdb_reviews(*, data_dir: str | None = None, download: bool = True) -> RawData:
    """50,000 film reviews, for or against."""
    return load_texts("imdb_reviews", data_dir=data_dir, download=download)


@register_dataset("yelp_polarity_reviews", "text", "Yelp; X. Zhang, J. Zhao, Y. LeCun, 2015")
def yelp_polarity_reviews(*, data_dir: str | None = None, download: bool = True) -> RawData:
    """598,000 reviews of businesses, for or against."""
    return load_texts("yelp_polarity_reviews", data_dir=data_dir, download=download)


@register_dataset("glue/sst2", "text", "R. Socher and others, 2013, Stanford; GLUE")
def glue_sst2(*, data_dir: str | None = None, download: bool = True) -> RawData:
    """68,221 phrases and sentences of film reviews, for or against; the test split is GLUE's validation split."""
    return load_texts("glue/sst2", data_dir=data_dir, download=download)


@register_dataset("trec", "text", "X. Li, D. Roth, 2002; UIUC")
def trec(*, data_dir: str | None = None, download: bool = True) -> RawData:
    """5,952 questions, 6 kinds of answer."""
    return load_texts("trec", data_dir=data_dir, download=download)


def load_texts(name: str, *, data_dir: str | None = None, download: bool = True) -> RawData:
    """Load a text classification set of tensorflow-datasets, by its name there.

    Where the labels of the test split are hidden (-1, as in GLUE), the validation split is the test split.

    Args:
        name: e.g. "ag_news_subset" or "glue/sst2".
        data_dir: folder of prepared sets; tensorflow-datasets's own (~/tensorflow_datasets) if not given. Original
            files that were put into `data_dir/name/` are used in place of a download, after their checksums.
        download: False never touches the network.

    Raises:
        ValueError: for an unknown name, a set without text and labels, or files that are neither here nor to be had.
    """
    builder = find_builder(name, data_dir)
    text_key, label_key = text_keys(builder)
    if not builder.is_prepared():
        prepare(builder, download)
    parts = {
        split: read_texts(builder, split, text_key, label_key)
        for split in ("train", "validation", "test")
        if split in builder.info.splits
    }
    if "train" not in parts:
        raise ValueError(f"tfds:{name} has no train split, only {', '.join(builder.info.splits)}")
    train, validation, test = (parts.get(split) for split in ("train", "validation", "test"))
    if test is not None and (test.labels < 0).all():
        validation, test = None, validation
    return RawData(train, validation, test, tuple(builder.info.features[label_key].names))


def text_keys(builder: tfds.core.DatasetBuilder) -> tuple[str, str]:
    """Return the names of the text and of the label in the set's features."""
    features = builder.info.features
    texts = [key for key, feature in features.items() if isinstance(feature, tfds.features.Text)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    chosen = builder.info.supervised_keys or (next(iter(texts), None), next(iter(labels), None))
    if chosen[0] not in texts or chosen[1] not in labels:
        raise ValueError(f"tfds:{builder.name} has no text with a class label; its features are {', '.join(features)}")
    return chosen[0], chosen[1]


def read_texts(builder: tfds.core.DatasetBuilder, split: str, text_key: str, label_key: str) -> Examples:
    """Read one split into arrays, in the set's own order."""
    rows = tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False))
    texts, labels = zip(*((row[text_key].decode(), row[label_key]) for row in rows), strict=True)
    return Examples(np.array(texts, dtype=object), np.array(labels, "int32"))
