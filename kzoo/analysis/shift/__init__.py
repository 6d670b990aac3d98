"""Robustness of predictions to shifts, rotation, scaling and noise, and shift equivariance of each stage."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kzoo.analysis.shift.changes import Changes, changes_of
from kzoo.analysis.shift.report import Robustness, ShiftComparison, ShiftReport
from kzoo.analysis.shift.stages import StageError, find_stages, shifts_of, stage_errors
from kzoo.core.arguments import checked
from kzoo.core.lazy import keras, np, rich_console, rich_progress
from kzoo.core.ranges import PositiveInt, evenly_spaced
from kzoo.core.registry import lookup
from kzoo.data.splits import Splits
from kzoo.data.trained import as_trained
from kzoo.nn.graph import check_graph
from kzoo.nn.inspection import BATCH
from kzoo.nn.precision import in_float32
from kzoo.tasks.task import check_pooled
from kzoo.training import runs
from kzoo.training.experiment import load_data, load_experiment
from kzoo.training.records import check_same_task, distinct_runs, read_record
from kzoo.training.train import check_model

__all__ = ["Robustness", "ShiftComparison", "ShiftReport", "StageError", "changes_of", "shift_runs", "shift_test"]

STAGE_EXAMPLES = 128  # largest number of examples whose features are compared


@checked
def shift_test(
    model: keras.Model,
    data: Splits,
    *,
    split: str = "test",
    max_shift: PositiveInt = 3,
    examples: PositiveInt = 1000,
    verbose: bool = True,
) -> ShiftReport:
    """Measure the robustness of a network to shifts and other small transformations of its input.

    Every shift up to `max_shift` is applied, to images every pair of one down and one right. Consistency is the
    fraction of examples whose predicted class, or set of tags, does not change (Zhang, 2019, Making Convolutional
    Networks Shift-Invariant Again, https://arxiv.org/abs/1904.11486). For numbers it is replaced by their mean absolute
    change in standard deviations of the training targets. Rotation, scaling and noise are applied to images, other
    transformations to other kinds of data; `kzoo.analysis.shift.changes_of` defines them, their units and how the
    border is filled. The equivariance error of each stage is defined by `kzoo.analysis.shift.StageError`.

    A shift moves part of the input out of sight, so consistency falls with the distance for every network: compare
    networks on the same examples rather than distances.

    Args:
        model: takes the data's input, returns logits or values.
        data: images, recordings, series or texts.
        split: "train", "validation" or "test".
        max_shift: the largest shift, in pixels, samples, frames, steps or tokens.
        examples: largest number of examples, evenly spaced over the split; equivariance is measured on at most 128.
        verbose: show a progress bar if the output is a terminal.

    Returns:
        The report: a table for rich and notebooks, `to_dict()`, `draw(path)`.

    Raises:
        ValueError: for a model that does not fit the data or whose layers are not known, an unknown split, a number
            that is not a positive integer, a shift that leaves nothing of the input, or a task without one vector of
            outputs an example.
    """
    lookup("split", split, data.examples)
    check_graph(model)
    data = as_trained(model, data)
    check_pooled(data.task, "a shift test")
    check_model(model, data)
    changes = changes_of(data)
    check_size(max_shift, data, changes)
    chosen = evenly_spaced(len(data.examples[split].inputs), examples)
    raw, targets = data.examples[split].inputs[chosen], np.asarray(data.examples[split].labels)[chosen]
    tested = Tested(in_float32(model), data, changes, raw, targets)
    with progress(verbose) as bar:
        shifts = tested.shifts(max_shift, bar)
        return ShiftReport(
            model=model.name,
            dataset=data.name,
            split=split,
            task=type(data.task),
            examples=len(tested.targets),
            score=next(result.score for by, result in shifts.items() if not any(by)),
            unit=changes.unit,
            filled=changes.filled,
            shifts=shifts,
            changes=tested.others(bar),
            units={name: change.unit for name, change in changes.others.items()},
            stages=tuple(tested.stages(max_shift, bar)),
        )


def shift_runs(paths: Sequence[str | Path], **options) -> ShiftComparison:
    """Test the best models of one or more runs, each on the data of its configuration.

    Args:
        paths: run directories.
        **options: of `shift_test`.

    Raises:
        ValueError: for no run or one that is given twice, runs of different tasks or whose data are shifted in
            different units, and as `shift_test`.
    """
    found = distinct_runs(paths, "a shift test")
    check_same_task("a shift test", found, [read_record(run) for run in found.values()])
    loaded = [(runs.load_run(run)[0], load_experiment(run / runs.CONFIG)) for run in found.values()]
    reports = tuple(shift_test(model, load_data(experiment), **options) for model, experiment in loaded)
    units = sorted({report.unit for report in reports})
    if len(units) > 1:
        raise ValueError(f"shifts by {' and by '.join(units)} cannot be compared; test these runs one by one")
    return ShiftComparison(tuple(found), reports)


def check_size(max_shift: int, data: Splits, changes: Changes) -> None:
    """Raise a ValueError for a shift that leaves nothing of the input."""
    least = min(data.input_shape[axis] for axis in changes.axes)
    if max_shift >= least:
        raise ValueError(
            f"max_shift must be below the {least} {changes.unit} of the input of {data.name}, got {max_shift}: "
            "nothing would be left"
        )


@contextlib.contextmanager
def progress(verbose: bool) -> Iterator[rich_progress.Progress]:
    """Show a progress bar if the error stream is a terminal."""
    console = rich_console.Console(stderr=True)
    with rich_progress.Progress(console=console, transient=True, disable=not (verbose and console.is_terminal)) as bar:
        yield bar


@dataclass(frozen=True)
class Tested:
    """A network and the raw examples that it is tested on, with their raw targets."""

    model: keras.Model
    data: Splits
    changes: Changes
    raw: np.ndarray
    targets: np.ndarray

    def shifts(self, most: int, bar: rich_progress.Progress) -> dict[tuple[int, ...], Robustness]:
        """Return the robustness to every shift."""
        every = list(itertools.product(range(-most, most + 1), repeat=len(self.changes.axes)))
        return {
            by: self.robustness(lambda batch, rng, by=by: self.changes.shift(batch, by))
            for by in bar.track(every, description="shifts")
        }

    def others(self, bar: rich_progress.Progress) -> dict[str, dict[float, Robustness]]:
        """Return the robustness to all other transformations."""
        return {
            name: {
                amount: self.robustness(lambda batch, rng, one=change, a=amount: one.apply(batch, a, rng))
                for amount in bar.track(change.amounts, description=name)
            }
            for name, change in self.changes.others.items()
        }

    def stages(self, most: int, bar: rich_progress.Progress) -> list[StageError]:
        """Return the equivariance errors of all stages."""
        axes = self.changes.axes
        found = find_stages(self.model, self.data.input_shape, axes, self.changes.margin)
        some = self.raw[evenly_spaced(len(self.raw), STAGE_EXAMPLES)]
        batches = [self.moving(some[start : start + BATCH]) for start in range(0, len(some), BATCH)]
        task = bar.add_task("stages", total=len(batches) * len(shifts_of(found, axes, most)))
        return stage_errors(self.model, found, batches, axes, most, lambda: bar.advance(task))

    def moving(self, batch: np.ndarray) -> Callable[[tuple[int, ...] | None], np.ndarray]:
        """Return a function from a shift to the model's input for a batch."""
        return lambda by: self.inputs(batch, lambda some: some if by is None else self.changes.shift(some, by))

    def inputs(self, batch: np.ndarray, change: Callable) -> np.ndarray:
        """Return the model's input for raw examples after a transformation."""
        step = self.data.preprocess
        made = change(keras.ops.convert_to_numpy(step(batch))) if self.changes.of_input else step(change(batch))
        return keras.ops.convert_to_numpy(made)

    def robustness(self, change: Callable) -> Robustness:
        """Return the robustness to a transformation, a function of a batch and a random generator."""
        before, after, task = self.unchanged, self.answers(change), self.data.task
        then, now = (task.confidence(self.targets, answers) for answers in (before, after))
        return Robustness(
            consistency=task.agreement(before, after),
            probability_change=None if now is None or not now.size else float((now - then).mean()),
            score=task.measured(self.targets, after),
        )

    @functools.cached_property
    def unchanged(self) -> np.ndarray:
        """The answers for the original examples."""
        return self.answers(lambda batch, rng: batch)

    def answers(self, change: Callable) -> np.ndarray:
        """Return the answers after a transformation, (n, outputs)."""
        size, outputs = self.data.batch_size, []
        for start in range(0, len(self.raw), size):
            rng = np.random.default_rng(start)  # the same noise for every network and at every amount
            made = self.inputs(self.raw[start : start + size], lambda batch, rng=rng: change(batch, rng))
            outputs.append(keras.ops.convert_to_numpy(self.model.predict_on_batch(made)))
        return self.data.task.answers(np.concatenate(outputs))
