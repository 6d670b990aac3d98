"""Transcription: from a signal to a text, by connectionist temporal classification.

The report has the error rates of words, characters and tokens with intervals over the utterances, and the alignments of
the worst of them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.lazy import figures, keras, lazy_import, np, rich_table
from kzoo.core.numbers import percent
from kzoo.core.registry import did_you_mean
from kzoo.core.shown import table
from kzoo.tasks.task import Report, Score, Section, Task, bootstrap, keras_losses, keras_metrics

jiwer = lazy_import("jiwer")

BLANK = "<blank>"
TOKENS = ("characters", "words")
NOTHING = -1  # at positions where no token begins
SPACE = " "
WORST = "worst.png"
SHOWN = 25  # worst utterances in a table
PICTURED = 8  # of them in the picture
WIDTH = 128  # characters of a line of the picture
MARGIN = 12  # characters before a line, for its title
COLOURS = {"equal": "#444444", "substitute": "#c05000", "delete": "#b00020", "insert": "#0050b0"}
GAP = "·"  # stands for no word in an alignment


@dataclass(frozen=True)
class Transcription(Task):
    """A text for each example; targets are texts, an array of strings (n,).

    A network has an output for each symbol, and one for the blank of connectionist temporal classification (Graves et
    al., 2006, https://doi.org/10.1145/1143844.1143891), the last, at each of its positions. Answers are token indices,
    int32 (n, positions), at the position where each token begins, and -1 at all others.

    Args:
        symbols: the tokens: characters, or whole words.
        words: whether symbols are words, between which are spaces in a text.
        longest: number of tokens of the longest text, to which targets are padded; so those of all splits are alike.
        steps: length of what a network takes at once, in samples or steps; 0 where it is not known.
        rate: of them in a second; 1 for series, whose times are in steps.
        first: the sample or step in the middle of what a network's first position sees.
        stride: samples or steps from one position to the next; 0 before a training.
    """

    symbols: tuple[str, ...]
    words: bool = False
    longest: int = 0
    steps: int = 0
    rate: float = 1
    first: float = 0
    stride: float = 0
    key: ClassVar[str] = "transcription"
    head: ClassVar[str] = "frames"
    dims: ClassVar[tuple[int, ...]] = (1,)
    noun: ClassVar[str] = "tokens"
    score: ClassVar[Score] = Score("token_error_rate", up=False)
    answer: ClassVar[str] = "tokens"
    drawn: ClassVar[tuple[str, ...]] = (WORST,)
    mixes: ClassVar[bool] = False
    overlap: ClassVar[float] = 0.5

    @property
    def names(self):
        return (*self.symbols, BLANK)

    @property
    def target_names(self):
        """No names: a text is matched as it is, whatever the symbols of the data that it is from."""
        return ()

    @property
    def output_axes(self):
        return ("batch", "positions", "num_symbols + 1")

    def positions(self, sizes):
        return (None,) * len(sizes)

    def placed(self, steps, rate):
        return dataclasses.replace(self, steps=steps, rate=rate)

    def located(self, first, stride):
        return dataclasses.replace(self, first=first, stride=stride)

    def tokens(self, text: str) -> list[str]:
        """Return the tokens of a text, known or not."""
        return text.split() if self.words else list(text)

    def unknown(self, texts: Sequence[str]) -> tuple[int, str] | None:
        """Return the first token that is no symbol, after the index of its text; None if all are symbols."""
        known = set(self.symbols)
        tokens = ((index, token) for index, text in enumerate(texts) for token in self.tokens(text))
        return next((found for found in tokens if found[1] not in known), None)

    def text(self, answer: np.ndarray) -> str:
        """Return the text of an answer, (positions,)."""
        found = [self.symbols[int(index)] for index in np.asarray(answer).tolist() if index != NOTHING]
        return (SPACE if self.words else "").join(found).strip()

    def check(self, split, targets):
        for index, text in enumerate(np.asarray(targets).tolist()):
            if not isinstance(text, str):
                raise ValueError(f"example {index} of the {split} split has {text!r}, expected a text")
            if not text.strip():
                raise ValueError(f"example {index} of the {split} split has an empty transcript; leave it out")
        wrong = self.unknown(np.asarray(targets).tolist())
        if wrong:
            index, token = wrong
            hint = did_you_mean(token, self.symbols) if self.words else f"name all of them, or drop {token!r}"
            raise ValueError(
                f"example {index} of the {split} split has {token!r}, which is none of the symbols (those of the "
                f"training transcripts, unless they are named); {hint}"
            )

    def encode(self, targets):
        index = {symbol: number for number, symbol in enumerate(self.symbols)}
        rows = [[index[token] for token in self.tokens(text)] for text in np.asarray(targets).tolist()]
        found = np.full((len(rows), max([self.longest, *map(len, rows)])), NOTHING, "int32")
        for row, tokens in zip(found, rows, strict=True):
            row[: len(tokens)] = tokens
        return found

    def check_outputs(self, split, targets, called, positions):
        """Raise a ValueError for a transcript that cannot be aligned: equal neighbours need a blank between them."""
        for index, text in enumerate(np.asarray(targets).tolist()):
            tokens = self.tokens(text)
            least = len(tokens) + sum(one == other for one, other in itertools.pairwise(tokens))
            if least > positions:
                raise ValueError(
                    f"{called(index)} of the {split} split has a transcript of {len(tokens)} tokens, which needs "
                    f"{least} positions, but the network has outputs at {positions}; give a network of smaller "
                    "strides, a smaller hop_ms, or leave it out"
                )

    def loss(self, targets=None):
        return keras_losses.TranscriptionLoss()

    def metrics(self):
        return [keras_metrics.TokenErrorRate()]

    def decode(self, outputs):
        return {self.answer: keras_metrics.greedy(outputs)}

    @property
    def spelling(self):
        return tuple(f"{symbol}{SPACE * self.words}" for symbol in self.symbols)

    def answers(self, outputs):
        return keras.ops.convert_to_numpy(self.decode(outputs)[self.answer])

    def places(self, positions: int) -> tuple[float, float]:
        """Return the sample of the first of some positions and their distance; evenly in a clip if it is not known."""
        even = self.steps / positions or 1
        return (self.first, self.stride) if self.stride else (even / 2, even)

    def over_windows(self, answers, spans):
        """Return the tokens of a whole example; where windows overlap, each has those up to the middle of the overlap.

        Args:
            answers: of each window, (positions,) each.
            spans: where each of them begins and ends in the example, in samples or steps.
        """
        if len(answers) == 1:
            return np.asarray(answers[0])
        first, stride = self.places(len(answers[0]))
        cuts = [(end + start) / 2 for (_, end), (start, _) in itertools.pairwise(spans)]
        found = np.full(max(round((spans[-1][1] - first) / stride), 0) + 1, NOTHING, "int32")
        for tokens, (start, _), low, high in zip(answers, spans, [0, *cuts], [*cuts, np.inf], strict=True):
            heard = np.flatnonzero(np.asarray(tokens) != NOTHING)
            samples = start + first + heard * stride
            own = (samples >= low) & (samples < min(high, spans[-1][1]))
            found[np.round((samples[own] - first) / stride).astype(int)] = np.asarray(tokens)[heard[own]]
        return found

    def spoken(self, answer: np.ndarray) -> Iterator[dict]:
        """Yield each word of an answer with the times at which its first token begins, and its last one ends."""
        places, (start, stride) = np.flatnonzero(np.asarray(answer) != NOTHING).tolist(), self.places(len(answer))
        tokens = [(self.symbols[int(answer[place])], place) for place in places]
        for group in [[one] for one in tokens] if self.words else words_of(tokens):
            (_, first), (_, last) = group[0], group[-1]
            times = (round((start + place * stride) / self.rate, 3) for place in (first, last + 1))
            yield dict(zip(("word", "start", "end"), ("".join(symbol for symbol, _ in group), *times), strict=True))

    def describe(self, answer):
        if answer is None:
            return {"text": "", "words": []}
        return {"text": self.text(answer), "words": list(self.spoken(answer))}

    def cells(self, described):
        return {"text": described["text"]}

    def caption(self, answer, output=None, target=None):
        true = [] if target is None else [f"true {str(target)!r}"]
        return ", ".join([*true, repr(self.text(answer))])

    def shades(self, answers, targets):
        return (np.asarray(answers) != NOTHING).sum(axis=-1).astype("float64")

    def averaged(self, outputs):
        probabilities = [keras.ops.softmax(each) for each in outputs]
        return keras.ops.log(keras.ops.mean(keras.ops.stack(probabilities), axis=0))

    def joined(self, tasks):
        return self if all(task.symbols == self.symbols and task.words == self.words for task in tasks) else None

    def agreement(self, before, after):
        return float((np.asarray(before) != np.asarray(after)).mean())

    def difference(self, expected, found):
        return float((expected != found).mean())  # a token that begins at another position

    def matched(self, other, targets):
        self.check("given", targets)
        return targets

    def report(self, split, targets, answers, speed):
        return transcription_report(self, split, list(map(str, targets)), list(map(self.text, answers)), speed)


def words_of(tokens: Sequence[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    """Yield the tokens of each word, between spaces."""
    for space, group in itertools.groupby(tokens, lambda token: token[0] == SPACE):
        if not space:
            yield list(group)


def transcription_of(
    splits: Mapping[str, Sequence[str]], symbols: Sequence[str] | None = None, words: bool = False
) -> Transcription:
    """Return the task for the texts of each split.

    Args:
        splits: texts of "train" and, if there, "validation" and "test".
        symbols: the tokens; the different characters or words of the training texts, sorted, if not given.
        words: whether they are words.
    """
    task = Transcription((), words)
    found = sorted({token for text in splits["train"] for token in task.tokens(text)})
    longest = max(len(task.tokens(text)) for part in splits.values() for text in part)
    return dataclasses.replace(task, symbols=tuple(found if symbols is None else map(str, symbols)), longest=longest)


@dataclass(frozen=True, repr=False, kw_only=True)
class TranscriptionReport(Report):
    """Metrics of a transcription on one split.

    Rates are numbers of substitutions, deletions and insertions, over the numbers of words, characters or tokens of the
    references, of all utterances together; they may exceed 1. Intervals are those of a bootstrap of the utterances.

    Attributes:
        token_error_rate: of the symbols of the network: characters or words.
        token_error_rate_interval: its 95 % confidence interval.
        word_error_rate: of words.
        word_error_rate_interval: its interval.
        character_error_rate: of characters, spaces included.
        character_error_rate_interval: its interval.
        words: number of words of the references.
        substitutions: number of words in whose place is another one.
        deletions: number of words that are missing.
        insertions: number of words that are not in the references.
        worst: the utterances with most wrong words: index, errors, reference and hypothesis.
    """

    task: ClassVar[type[Task]] = Transcription
    token_error_rate: float
    token_error_rate_interval: tuple[float, float]
    word_error_rate: float
    word_error_rate_interval: tuple[float, float]
    character_error_rate: float
    character_error_rate_interval: tuple[float, float]
    words: int
    substitutions: int
    deletions: int
    insertions: int
    worst: list[dict]

    def others(self):
        wrong = self.substitutions + self.deletions + self.insertions
        counts = f"{self.substitutions} substituted, {self.deletions} deleted, {self.insertions} inserted"
        interval = " to ".join(map(percent, self.word_error_rate_interval))
        return {
            "word error rate": f"{percent(self.word_error_rate)} (95 % interval {interval})",
            "character error rate": percent(self.character_error_rate),
            "wrong words": f"{wrong:,} of {self.words:,} ({counts})",
        }

    def tables(self):
        if self.worst:
            yield self.worst_table()

    def worst_table(self) -> rich_table.Table:
        """Return the utterances with most wrong words as a table."""
        rows = [(str(row["example"]), str(row["errors"]), row["reference"], row["hypothesis"]) for row in self.worst]
        return table(("example", "wrong words", "reference", "hypothesis"), rows)

    def sections(self):
        title = "Utterances with most wrong words"
        if not self.worst:
            yield Section(title, "None.")
            return
        words = "Reference above hypothesis, word by word; substituted, deleted and inserted words are coloured."
        yield Section(title, words, WORST, words, True, True, self.worst_table(), f"All {len(self.worst)} as a table")

    def pictures(self, draw: Callable):
        return {WORST: draw_alignments(self)} if self.worst else {}


def transcription_report(
    task: Transcription, split: str, references: Sequence[str], hypotheses: Sequence[str], speed: float
) -> TranscriptionReport:
    """Return the report for references and hypotheses, a text for each utterance."""
    words, characters = (errors(measure, references, hypotheses) for measure in MEASURES)
    rates = {"word_error_rate": words, "character_error_rate": characters}
    rates["token_error_rate"] = words if task.words else characters
    wrong = words[:, :3].sum(axis=1)
    order = [int(row) for row in np.argsort(-wrong, kind="stable")[:SHOWN] if wrong[row]]
    kinds = dict(zip(("substitutions", "deletions", "insertions", "words"), words.sum(axis=0).tolist(), strict=True))
    return TranscriptionReport(
        split=split,
        examples=len(references),
        **{name: rate_of(counts) for name, counts in rates.items()},
        **{f"{name}_interval": bootstrap(rate_of, counts) for name, counts in rates.items()},
        **kinds,
        worst=[
            {"example": row, "errors": int(wrong[row])} | {"reference": references[row], "hypothesis": hypotheses[row]}
            for row in order
        ],
        examples_per_second=speed,
    )


MEASURES = ("process_words", "process_characters")  # of jiwer


def errors(measure: str, references: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
    """Return substitutions, deletions, insertions, and words or characters of the reference, of each utterance."""
    each = map(getattr(jiwer, measure), references, hypotheses)
    return np.array([[o.substitutions, o.deletions, o.insertions, len(o.references[0])] for o in each])


def rate_of(counts: np.ndarray) -> float:
    """Return the error rate of all utterances together, given what `errors` returned."""
    return float(counts[:, :3].sum() / counts[:, 3].sum())


def aligned(reference: str, hypothesis: str) -> Iterator[tuple[str, str, str]]:
    """Yield how words of the reference became words of the hypothesis, and both; "" for no word."""
    found = jiwer.process_words(reference, hypothesis)
    for chunk in found.alignments[0]:
        ours = found.references[0][chunk.ref_start_idx : chunk.ref_end_idx]
        theirs = found.hypotheses[0][chunk.hyp_start_idx : chunk.hyp_end_idx]
        for one, other in itertools.zip_longest(ours, theirs, fillvalue=""):
            yield chunk.type, one, other


def draw_alignments(report: TranscriptionReport) -> figures.Figure:
    """Draw the utterances with most wrong words: the reference above the hypothesis, a column for each word."""
    lines = [line for row in report.worst[:PICTURED] for line in lines_of(row)]
    figure = figures.Figure(figsize=(10, 0.22 * 3 * len(lines) + 0.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, WIDTH + MARGIN), ylim=(3 * len(lines), -0.5))
    axes.set_axis_off()
    axes.set_title(f"Most wrong words of the {report.split} split (reference above hypothesis)", fontsize=10)
    for number, (title, words) in enumerate(lines):
        axes.text(0, 3 * number + 0.5, title, fontsize=7, color=COLOURS["equal"])
        column = MARGIN
        for kind, *pair in words:
            for below, word in enumerate(pair):
                style = {"color": COLOURS[kind], "weight": "normal" if kind == "equal" else "bold"}
                axes.text(column, 3 * number + below, word or GAP, fontsize=8, family="monospace", **style)
            column += width_of(pair)
    for kind, name in (("substitute", "substituted"), ("delete", "deleted"), ("insert", "inserted")):
        axes.plot([], [], color=COLOURS[kind], linewidth=4, label=name)
    axes.legend(ncols=3, fontsize=7, loc="lower right")
    return figure


def width_of(pair: Sequence[str]) -> int:
    """Return the characters of a column."""
    return max(map(len, pair)) + 2


def lines_of(row: Mapping) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Yield the aligned words of an utterance in lines that are not too long, the first with its title."""
    title, line, length = f"example {row['example']}", [], 0
    for kind, *pair in aligned(row["reference"], row["hypothesis"]):
        if line and length + width_of(pair) > WIDTH:
            yield title, line
            title, line, length = "", [], 0
        line.append((kind, *pair))
        length += width_of(pair)
    yield title, line
