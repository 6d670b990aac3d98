"""Pretrained word vectors: files of word2vec (text and binary), GloVe and fastText (.vec), also with .gz."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from kzoo.core.arguments import checked
from kzoo.core.files import reading, user_path
from kzoo.core.lazy import np
from kzoo.core.numbers import percent
from kzoo.core.warn import warn_caller
from kzoo.data.splits import Splits
from kzoo.data.text.preprocess import UNKNOWN

MAX_LINE = 2**20  # bytes of a line
MAX_WORD = 4096  # bytes of a word in a binary file
MAX_DIMENSIONS = 4096
CHUNK = 2**20  # bytes of a binary file that are read at a time
CONTROL = {*range(32), 127} - set(b"\t\n\r")  # characters that no text has
FASTTEXT_MODEL = (793712314).to_bytes(4, "little")  # what a model of fastText begins with

Record = tuple[int, bytes, bytes]  # number of the line or vector, word, numbers


@checked
def load_word_vectors(path: str | Path, data: Splits) -> np.ndarray:
    """Read pretrained vectors of the words of a dataset's vocabulary, for `kzoo.create_model(..., embedding=...)`.

    The format is recognised: word2vec (text or binary), GloVe and fastText `.vec`; a name that ends in `.gz` is
    unpacked while it is read. Only vectors of words of the vocabulary are kept in memory. The vocabulary is in lower
    case: where a file lacks a word, the vector of its first spelling with capitals is taken. Words that the file lacks,
    and the token of unknown words, get values from U[-a, a] with the variance of the vectors found (Kim, 2014), drawn
    by the seed of the data; padding is zero. A warning says which share of the words was found.

    Args:
        path: the file.
        data: a text dataset of words.

    Returns:
        One row for each token id, (vocab_size, dimensions), float32.

    Raises:
        ValueError: for data without a vocabulary of words, a file that is missing, damaged or of another format, naming
            the line (of a binary file the number of the vector), or one with none of the words.
    """
    words = words_of(data)
    vectors = read_vectors(user_path(path), frozenset(words))
    if not vectors:
        raise ValueError(f"{path} has a vector for none of the {len(words):,} words of {data.name}; another language?")
    if len(vectors) < len(words):
        share = percent(len(vectors) / len(words), 1)
        warn_caller(f"{path} has vectors for {share} of the {len(words):,} words of {data.name}; others are random")
    return one_row_each(vectors, words, data.seed)


def words_of(data: Splits) -> Sequence[str]:
    """Return the vocabulary of a dataset.

    Raises:
        ValueError: if it has none, or one of characters.
    """
    if data.modality != "text":
        raise ValueError(f"word vectors are for texts, but {data.name} is {data.modality} data")
    if data.preprocess.level != "words":
        raise ValueError(f"word vectors need level='words', but {data.name} is read with {data.preprocess.level!r}")
    return data.preprocess.vocabulary


def one_row_each(vectors: Mapping[str, np.ndarray], words: Sequence[str], seed: int) -> np.ndarray:
    """Return the rows of padding (zero), of unknown words, and of each word, (2 + words, dimensions)."""
    found = np.stack(list(vectors.values()))
    # Four digits of the largest value: the last ones of a variance depend on the processor.
    limit = float(f"{math.sqrt(3) * found.std(dtype='float64'):.4g}")
    rows = np.zeros((UNKNOWN + 1 + len(words), found.shape[1]), "float32")
    rows[UNKNOWN:] = limit * (2 * np.random.default_rng(seed).random(rows[UNKNOWN:].shape, "float32") - 1)
    for index, word in enumerate(words, start=UNKNOWN + 1):
        rows[index] = vectors.get(word, rows[index])
    return rows


def read_vectors(path: Path, words: Collection[str]) -> dict[str, np.ndarray]:
    """Return the vectors of some words in lower case; of two the first, of spellings that in lower case first."""
    exact, folded, count = {}, {}, 0
    with reading(path, " as word vectors"), opened(path) as file:
        stated, dimensions = shape_of(file)
        layout = BINARY if stated is not None and is_binary(file, dimensions) else TEXT
        for number, word, values in layout.records(file, dimensions, 1 if stated is None else 2):
            count += 1
            name = word.decode(errors="replace")
            known, name = (exact, name) if name in words else (folded, name.lower())
            wanted = name in words and name not in known
            if wanted or count == 1:  # of the first it is checked whether it is a vector at all
                vector = parsed(layout, values, dimensions, number)
            if wanted:
                known[name] = vector
        if stated not in (None, count):
            raise ValueError(f"line 1 states {stated:,} vectors, but there are {count:,}; is it cut short?")
    return folded | exact


def opened(path: Path) -> IO[bytes]:
    """Open a file, which is unpacked while it is read if it ends in .gz."""
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def shape_of(file: IO[bytes]) -> tuple[int | None, int]:
    """Return the number of vectors that the first line states, None without such a line, and their dimensions.

    The file is then at the first vector.
    """
    line = next(numbered_lines(file, 1), (1, b""))[1]
    if line.startswith(FASTTEXT_MODEL):
        raise ValueError("it is a model of fastText; give the .vec file beside it")
    cells = line.split()
    stated = len(cells) == 2 and all(map(bytes.isdigit, cells))
    if not stated:
        file.seek(0)
    dimensions = int(cells[1]) if stated else len(cells) - 1
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise ValueError(f"line 1 is no word with its numbers (1 to {MAX_DIMENSIONS:,}), nor a count of both")
    return int(cells[0]) if stated else None, dimensions


def is_binary(file: IO[bytes], dimensions: int) -> bool:
    """Return whether the numbers of the first vector are binary, and leave the file where it is."""
    start = file.tell()
    head = file.read(MAX_WORD + 4 * dimensions)
    file.seek(start)
    values = head.partition(b" ")[2][: 4 * dimensions]
    return bool(CONTROL.intersection(values or head)) or not values.partition(b"\n")[0].isascii()


def numbered_lines(file: IO[bytes], first: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their numbers, which begin at `first`.

    Raises:
        ValueError: for a line that is too long for a vector.
    """
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), start=first):
        if len(line) == MAX_LINE:
            raise ValueError(f"line {number} is longer than {MAX_LINE:,} bytes")
        yield number, line


def text_records(file: IO[bytes], dimensions: int, first: int) -> Iterator[Record]:
    """Yield the words of a text file, which may contain spaces, and their numbers as text.

    Raises:
        ValueError: for a line of another number of dimensions.
    """
    for number, line in numbered_lines(file, first):
        line = line.rstrip()
        if line.count(b" ") == dimensions:
            word, _, values = line.partition(b" ")
            yield number, word, values
        elif line:
            cells = line.split()
            given = cells[1:-dimensions]
            if len(cells) <= dimensions or (given and all(map(is_number, given))):
                raise ValueError(f"line {number} has {len(cells) - 1} numbers, expected {dimensions}")
            yield number, b" ".join(cells[:-dimensions]), b" ".join(cells[-dimensions:])


def is_number(cell: bytes) -> bool:
    """Return whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def binary_records(file: IO[bytes], dimensions: int, first: int) -> Iterator[Record]:
    """Yield the words of a binary file and their numbers as bytes; vectors are counted from 1.

    Raises:
        ValueError: for a word that is too long, or a vector that is cut short.
    """
    number, start, buffer, more = 1, 0, b"", b"\n"
    while more:
        more = file.read(CHUNK)
        buffer, start = buffer[start:] + more, 0
        while 0 <= (space := buffer.find(b" ", start, start + MAX_WORD)) < len(buffer) - 4 * dimensions:
            end = space + 1 + 4 * dimensions
            yield number, buffer[start:space].lstrip(b"\n"), buffer[space + 1 : end]
            number, start = number + 1, end
        if space < 0 and len(buffer) - start >= MAX_WORD:
            raise ValueError(f"vector {number} has a word of more than {MAX_WORD:,} bytes")
    if buffer[start:].strip():
        raise ValueError(f"vector {number} is cut short")


class Layout(NamedTuple):
    """How vectors are written: what an error counts, the reader of the records, and that of the numbers of one."""

    unit: str
    records: Callable[[IO[bytes], int, int], Iterator[Record]]
    parse: Callable[[bytes], np.ndarray]


TEXT = Layout("line", text_records, lambda values: np.array(values.split(), dtype=bytes).astype("float32"))
BINARY = Layout("vector", binary_records, lambda values: np.frombuffer(values, "<f4").astype("float32"))


def parsed(layout: Layout, values: bytes, dimensions: int, number: int) -> np.ndarray:
    """Return the numbers of one vector.

    Raises:
        ValueError: that names the line, if they are none, too few, or not finite.
    """
    try:
        with np.errstate(over="ignore"):
            vector = layout.parse(values)
    except ValueError:
        vector = np.empty(0)
    if len(vector) != dimensions:
        raise ValueError(f"{layout.unit} {number} is no word with {dimensions} numbers")
    if not np.isfinite(vector).all():
        raise ValueError(f"{layout.unit} {number} contains NaN or infinity")
    return vector
