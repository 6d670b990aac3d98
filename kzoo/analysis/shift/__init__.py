"""How steady a network is when what it sees moves: its predictions, and the features of each of its stages."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kzoo.analysis.shift.changes import Changes, changes_of
from kzoo.analysis.shift.report import Answer, ShiftComparison, ShiftReport
from kzoo.analysis.shift.stages import StageError, find_stages, shifts_of, stage_errors
from kzoo.analysis.visualize.inside import BATCH
from kzoo.core.lazy import keras, np, rich_console, rich_progress
from kzoo.core.ranges import check_range
from kzoo.core.registry import lookup
from kzoo.data.splits import Splits
from kzoo.nn.graph import check_graph
from kzoo.nn.precision import in_float32
from kzoo.training import runs
from kzoo.training.evaluate import softmax
from kzoo.training.experiment import load_data, load_experiment
from kzoo.training.train import check_model

__all__ = ["Answer", "ShiftComparison", "ShiftReport", "StageError", "changes_of", "shift_runs", "shift_test"]

STAGE_EXAMPLES = 128  # whose features are compared at most


def shift_test(
    model: keras.Model,
    data: Splits,
    *,
    split: str = "test",
    max_shift: int = 3,
    examples: int = 1000,
    verbose: bool = True,
) -> ShiftReport:
    """Measure how steady a classifier is when its input moves: a table for rich, `to_dict()`, `draw(path)`.

    Every shift up to `max_shift` is tried, in images all pairs of one down and one right: which share of the examples
    keeps its predicted class, and how the probability of the right class changes. So are small rotations, changes of
    scale, noise and their like in other kinds of data. Of each stage it is measured how far its features are from
    moving with the input (Zhang, 2019, Making Convolutional Networks Shift-Invariant Again,
    https://arxiv.org/abs/1904.11486, compares them so too). What comes in at the ends, what the changes are and their
    units, is defined by `kzoo.analysis.shift.changes_of`, the errors of stages by `kzoo.shift.StageError`.

    What leaves the input at one end cannot be seen by any network, so that no network whose answer is right stays at
    1: compare networks, on the same examples, rather than distances.

    Args:
        model: takes the data's input, returns one logit per class.
        data: images, recordings, series or texts.
        split: "train", "validation" or "test".
        max_shift: the greatest shift, in pixels, samples, frames, steps or tokens.
        examples: that are measured at most, evenly from the whole split; of stages at most 128 of them.
        verbose: show a progress bar, where the output is a terminal.

    Raises:
        ValueError: for a model that does not fit the data or whose layers are not known, an unknown split, a number
            that is not a positive whole one, or a shift that leaves nothing of the input.
    """
    check_range("max_shift", max_shift, "a positive integer")
    check_range("examples", examples, "a positive integer")
    lookup("split", split, data.examples)
    check_graph(model)
    check_model(model, data)
    changes = changes_of(data)
    check_size(max_shift, data, changes)
    tested = Tested(in_float32(model), data, changes, *chosen(data, split, examples))
    with progress(verbose) as bar:
        shifts = tested.shifts(max_shift, bar)
        return ShiftReport(
            model=model.name,
            dataset=data.name,
            split=split,
            examples=len(tested.labels),
            accuracy=next(answer.accuracy for by, answer in shifts.items() if not any(by)),
            unit=changes.unit,
            filled=changes.filled,
            shifts=shifts,
            changes=tested.others(bar),
            units={name: change.unit for name, change in changes.others.items()},
            stages=tuple(tested.stages(max_shift, bar)),
        )


def shift_runs(paths: Sequence[str | Path], **options) -> ShiftComparison:
    """Measure the best models of one or more runs, each on the data of its config.

    Args:
        paths: run folders.
        **options: as of `shift_test`.

    Raises:
        ValueError: for no run or one that is given twice, runs of kinds of data that shift in different units, and as
            `shift_test`.
    """
    folders = [Path(path).expanduser() for path in paths]
    if not folders or len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError(f"a shift test needs different runs, got {', '.join(map(str, paths)) or 'none'}")
    names = [folder.resolve().name for folder in folders]
    names = [str(folder) if names.count(name) > 1 else name for folder, name in zip(folders, names, strict=True)]
    loaded = [(runs.load_run(folder)[0], load_experiment(folder / runs.CONFIG)) for folder in folders]
    reports = tuple(shift_test(model, load_data(experiment), **options) for model, experiment in loaded)
    units = sorted({report.unit for report in reports})
    if len(units) > 1:
        raise ValueError(f"shifts by {' and by '.join(units)} do not compare; test these runs one by one")
    return ShiftComparison(tuple(names), reports)


def check_size(max_shift: int, data: Splits, changes: Changes) -> None:
    """Raise a ValueError for a shift that leaves nothing of the input."""
    least = min(data.input_shape[axis] for axis in changes.axes)
    if max_shift >= least:
        raise ValueError(
            f"max_shift must be below the {least} {changes.unit} of the input of {data.name}, got {max_shift}: "
            "nothing would be left"
        )


def chosen(data: Splits, split: str, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return raw examples and their class numbers, evenly from a split."""
    examples = data.examples[split]
    places = np.linspace(0, len(examples) - 1, min(most, len(examples))).round().astype(int)
    return examples.inputs[places], np.asarray(examples.labels)[places]


@contextlib.contextmanager
def progress(verbose: bool) -> Iterator[rich_progress.Progress]:
    """Show how far a measurement is, where the error stream is a terminal."""
    console = rich_console.Console(stderr=True)
    with rich_progress.Progress(console=console, transient=True, disable=not (verbose and console.is_terminal)) as bar:
        yield bar


@dataclass(frozen=True)
class Tested:
    """A network and the raw examples that it is tested on, with their class numbers."""

    model: keras.Model
    data: Splits
    changes: Changes
    raw: np.ndarray
    labels: np.ndarray

    def shifts(self, most: int, bar: rich_progress.Progress) -> dict[tuple[int, ...], Answer]:
        """Return the answer to every shift."""
        every = list(itertools.product(range(-most, most + 1), repeat=len(self.changes.axes)))
        return {
            by: self.answer(lambda batch, rng, by=by: self.changes.shift(batch, by))
            for by in bar.track(every, description="shifts")
        }

    def others(self, bar: rich_progress.Progress) -> dict[str, dict[float, Answer]]:
        """Return the answers to all other changes."""
        return {
            name: {
                amount: self.answer(lambda batch, rng, one=change, a=amount: one.apply(batch, a, rng))
                for amount in bar.track(change.amounts, description=name)
            }
            for name, change in self.changes.others.items()
        }

    def stages(self, most: int, bar: rich_progress.Progress) -> list[StageError]:
        """Return the errors of all stages."""
        axes = self.changes.axes
        found = find_stages(self.model, self.data.input_shape, axes, self.changes.margin)
        some = self.raw[np.linspace(0, len(self.raw) - 1, min(STAGE_EXAMPLES, len(self.raw))).round().astype(int)]
        batches = [self.moving(some[start : start + BATCH]) for start in range(0, len(some), BATCH)]
        task = bar.add_task("stages", total=len(batches) * len(shifts_of(found, axes, most)))
        return stage_errors(self.model, found, batches, axes, most, lambda: bar.advance(task))

    def moving(self, batch: np.ndarray) -> Callable[[tuple[int, ...] | None], np.ndarray]:
        """Return a function from a shift to what the model is given for a batch."""
        return lambda by: self.inputs(batch, lambda some: some if by is None else self.changes.shift(some, by))

    def inputs(self, batch: np.ndarray, change: Callable) -> np.ndarray:
        """Return what the model is given for raw examples after a change."""
        step = self.data.preprocess
        made = change(keras.ops.convert_to_numpy(step(batch))) if self.changes.of_input else step(change(batch))
        return keras.ops.convert_to_numpy(made)

    def answer(self, change: Callable) -> Answer:
        """Return how the network answers to a change, a function of a batch and random numbers."""
        before, after = self.unchanged, self.probabilities(change)
        rows = np.arange(len(self.labels))
        return Answer(
            equal=float((before.argmax(-1) == after.argmax(-1)).mean()),
            change=float((after - before)[rows, self.labels].mean()),
            accuracy=float((after.argmax(-1) == self.labels).mean()),
        )

    @functools.cached_property
    def unchanged(self) -> np.ndarray:
        """The probabilities of the classes for the examples as they are."""
        return self.probabilities(lambda batch, rng: batch)

    def probabilities(self, change: Callable) -> np.ndarray:
        """Return the probabilities of the classes after a change, (n, classes)."""
        size, logits = self.data.batch_size, []
        for start in range(0, len(self.raw), size):
            rng = np.random.default_rng(start)  # the same noise for every network and at every amount
            made = self.inputs(self.raw[start : start + size], lambda batch, rng=rng: change(batch, rng))
            logits.append(keras.ops.convert_to_numpy(self.model.predict_on_batch(made)))
        return softmax(np.concatenate(logits))
