"""Keras callbacks of `kzoo.fit`: best weights, checkpoints, weight averages, progress bar, stop at NaN.

This module imports Keras at once; `kzoo.training.train` imports it when training begins.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

from kzoo.core import pictures
from kzoo.data.splits import UNSHARDED, Splits
from kzoo.nn import averaging
from kzoo.tasks.task import Score
from kzoo.training import checkpoint, distributed, runs
from kzoo.training.checkpoint import Checkpoint, Checkpointing
from kzoo.training.records import NEVER_BEST, epoch_score
from kzoo.training.report_html import refresh_html

STATISTICS = 2048  # examples for the batch normalisation statistics of averaged weights: 1,000 to 10,000 are enough
COST = 40  # minimum interval between timed checkpoints, in multiples of the time that writing one takes


class TrainingDiverged(ValueError):
    """The loss became NaN or infinite."""


class BestCheckpoint(keras.callbacks.Callback):
    """Keep the history and the weights of the best epoch, in memory and in the run directory.

    The best epoch is the one of the best score on validation, and among equals of lowest validation loss. An epoch
    whose validation loss is NaN or infinite is never the best, and weights that are not finite are never kept or
    written.

    Args:
        run: the run directory, or None.
        patience: epochs without improvement after which training stops, or None.
        score: the metric of validation that epochs are ordered by.
    """

    def __init__(self, run: Path | None, patience: int | None, score: Score):
        super().__init__()
        self.run, self.patience, self.score = run, patience, score
        self.history: dict[str, list[float]] = {}
        self.best_epoch, self.best_score, self.best_weights, self.saved = 0, NEVER_BEST, None, False
        self.first_weights = None

    def on_train_begin(self, logs=None):
        self.first_weights = self.model.get_weights()

    def on_train_batch_end(self, batch, logs=None):
        if math.isfinite(logs["loss"]):
            return
        self.best_weights = self.best_weights or self.first_weights
        epoch = 1 + len(self.history.get("loss", []))
        raise TrainingDiverged(
            f"the loss became {logs['loss']} at step {batch + 1} of epoch {epoch}; the model keeps the weights of "
            f"epoch {self.best_epoch}. Try a lower learning_rate, a warmup, or look for extreme values in the data"
        )

    @property
    def out_of_patience(self) -> bool:
        """Whether training stops because `patience` epochs brought no improvement."""
        return bool(self.patience) and len(self.history.get("loss", [])) - self.best_epoch >= self.patience

    def on_epoch_end(self, epoch, logs=None):
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        for name, value in (logs | {"learning_rate": rate}).items():
            self.history.setdefault(name, []).append(float(value))
        self.consider(logs)
        if self.run:
            written(lambda: runs.write_history(self.run, self.history))
        if self.out_of_patience:
            self.model.stop_training = True

    def consider(self, logs: dict) -> None:
        """Keep the model's weights if they are better than all before."""
        score = epoch_score(self.score, logs[f"val_{self.score.name}"], logs["val_loss"])
        if score > self.best_score and are_finite(self.model):
            self.best_epoch, self.best_score = len(self.history["loss"]), score
            self.best_weights = copies(self.model.weights)
            self.saved = bool(self.run) and written(lambda: runs.save_model(self.model, self.run / runs.MODEL))

    def finish(self):
        """Restore the best weights and write the remaining results.

        Without a best epoch the model keeps its last weights, or its first where the last are not finite.

        Raises:
            ValueError: if the run directory cannot be written.
        """
        if self.model is None:  # training never began
            return
        if self.best_weights is None and not are_finite(self.model):
            self.best_weights = self.first_weights
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
        if self.history and not self.best_epoch:
            warnings.warn(
                f"none of {len(self.history['loss'])} epochs had a finite validation loss and finite weights, so none "
                f"is the best; the model has the weights of {'the start' if self.best_weights else 'the last step'}",
                stacklevel=2,
            )
        if not self.run:
            return
        try:
            if not self.saved:
                runs.save_model(self.model, self.run / runs.MODEL)
            if self.history:
                runs.write_history(self.run, self.history)
                pictures.draw_curves(self.run / runs.CURVES, self.history, self.best_epoch)
            refresh_html(self.run)
        except OSError as error:
            raise ValueError(f"the results cannot be written to {self.run}: {error.strerror or error}") from error

    def state(self) -> tuple[dict, dict]:
        """Return the state to resume from: arrays, and facts as JSON."""
        facts = {"history": self.history, "best_epoch": self.best_epoch, "best_score": self.best_score}
        return dict(enumerated("best", self.best_weights or ())), facts

    def restore(self, arrays: dict[str, np.ndarray], facts: dict) -> None:
        """Resume from a state."""
        self.history, self.best_epoch = facts["history"], facts["best_epoch"]
        self.best_score = tuple(facts["best_score"])
        self.best_weights = numbered("best", arrays) or None


def are_finite(model: keras.Model) -> bool:
    """Return whether all weights of a model are finite numbers."""
    return all(np.isfinite(keras.ops.convert_to_numpy(weight)).all() for weight in model.weights)


def written(write: Callable[[], None]) -> bool:
    """Write, and return whether that succeeded; if not, training continues, with a warning."""
    try:
        write()
    except OSError as error:
        warnings.warn(
            f"{error.filename or 'a file'} cannot be written ({error.strerror or error}); training continues, and the "
            "existing files are left as they are",
            stacklevel=2,
        )
        return False
    return True


def enumerated(kind: str, values: Sequence) -> Iterator[tuple[str, object]]:
    """Name values by their index."""
    return ((f"{kind}.{index:05d}", value) for index, value in enumerate(values))


def numbered(kind: str, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the arrays of one kind in their order."""
    return [arrays[name] for name in sorted(arrays) if name.startswith(f"{kind}.")]


class SaveState(keras.callbacks.Callback):
    """Save the whole state of a training periodically, and when the process is asked to stop; resume from a state.

    The state is all variables (weights, statistics, seeds, the optimizer's with its step, averages and loss scale, the
    running metrics), the position in the data, and the state of some callbacks, not including those of the user.

    Of several processes, which all have the same state, the first one saves it, and sends it to the others to resume.

    Args:
        folder: of the checkpoints; None in all processes but the first.
        parts: callbacks whose `state()` is part of it.
        metrics: those whose running values are part of it.
        steps_per_epoch: batches.
        saving: how often to save, and how many checkpoints to keep.
        received_signals: numbers of the signals received; with one in it, the state is saved and the process stopped.
    """

    def __init__(
        self,
        folder: Path | None,
        parts: Sequence[BestCheckpoint | AverageLast],
        metrics: Sequence[keras.metrics.Metric],
        steps_per_epoch: int,
        saving: Checkpointing,
        received_signals: list[int],
    ):
        super().__init__()
        self.folder, self.parts, self.metrics, self.steps_per_epoch = folder, parts, metrics, steps_per_epoch
        self.saving, self.received_signals = saving, received_signals
        self.skipped, self.last_step, self.last_time, self.duration = 0, 0, time.monotonic(), 0.0

    def resume(self, model: keras.Model) -> int:
        """Restore the newest checkpoint into a compiled model, if there is one; return the number of steps done."""
        self.set_model(model)
        self.start = distributed.broadcast_object(lambda: checkpoint.newest(self.folder))
        if self.start is None:
            return 0
        self.skipped, self.last_step = self.start.step % self.steps_per_epoch, self.start.step
        self.restore("model")
        self.restore("optimizer")
        for part, facts in zip(self.parts, self.start.facts["parts"], strict=True):
            part.restore(self.start.arrays, facts)
        return self.start.step

    def variables(self) -> dict[str, Sequence[keras.Variable]]:
        """Return the variables of each kind, in a fixed order."""
        running = [variable for metric in self.metrics for variable in metric.variables]
        return {"model": self.model.variables, "optimizer": self.model.optimizer.variables, "metric": running}

    def restore(self, kind: str) -> None:
        """Give the variables of one kind their saved values."""
        assign(self.variables()[kind], numbered(kind, self.start.arrays))

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.skipped:
            self.restore("metric")

    def on_train_batch_end(self, batch, logs=None):
        done = self.skipped + batch + 1
        if done < self.steps_per_epoch:
            self.save_if_due(done)
        elif self.skipped:  # otherwise Keras runs as many batches more as were skipped
            self.model.stop_training = True

    def on_test_begin(self, logs=None):
        if self.skipped:  # from here on complete epochs
            self.model.stop_training, self.skipped = False, 0

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch + 1
        self.save_if_due(0)

    def save_if_due(self, done: int) -> None:
        """Save the state after `done` batches of this epoch if it is time to; stop if the process was asked to."""
        number = distributed.stop_signal(self.received_signals)
        step = self.epoch * self.steps_per_epoch + done
        steps, waited = self.saving.steps, time.monotonic() - self.last_time
        by_clock = waited > max(60 * self.saving.minutes, COST * self.duration)
        by_steps = steps and step // steps > self.last_step // steps
        self.last_step = step
        if self.folder and (number or by_clock or by_steps):  # of several processes, the first one saves
            began, state = time.monotonic(), self.state(step)
            if all(np.isfinite(weight).all() for weight in numbered("model", state.arrays)):  # else none would recover
                written(lambda: checkpoint.save(self.folder, state, self.saving.kept))
            self.last_time = time.monotonic()
            self.duration = self.last_time - began
        if number:
            raise distributed.interruption(number)

    def state(self, step: int) -> Checkpoint:
        """Return the whole state as arrays and facts."""
        if hasattr(self.model, "jax_state_sync"):  # JAX trains on copies
            self.model.jax_state_sync()
        arrays = {
            name: keras.ops.convert_to_numpy(variable)
            for kind, variables in self.variables().items()
            for name, variable in enumerated(kind, variables)
        }
        facts = []
        for part in self.parts:
            own_arrays, own_facts = part.state()
            arrays |= own_arrays
            facts.append(own_facts)
        return Checkpoint(step, arrays, {"parts": facts})


@contextlib.contextmanager
def signals_noted() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list, so that a step is completed and saved; a second one stops at once.

    Only the main thread receives signals; in others the list stays empty.
    """
    received_signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received_signals
        return

    def note(number, frame):
        if received_signals:  # in this process alone
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        received_signals.append(number)

    numbers = (signal.SIGINT,) if distributed.process()[1] > 1 else (signal.SIGINT, signal.SIGTERM)  # JAX takes SIGTERM
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received_signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def copies(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Return copies of the values of variables."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: Sequence[keras.Variable], values: Sequence[np.ndarray]) -> None:
    """Give variables their values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


class MovingAverage(keras.callbacks.Callback):
    """Replace the weights by the optimizer's moving average of them, from validation to the end of the epoch.

    Its batch normalisation statistics are those of about 2,000 training examples, the same ones in each epoch
    (Wu, Johnson, 2021, Rethinking "Batch" in BatchNorm, https://arxiv.org/abs/2105.07576): the moving statistics are
    of other weights. Callbacks before this one see the average at the end of an epoch, those after it the weights.

    Args:
        data: what is trained on.
    """

    def __init__(self, data: Splits):
        super().__init__()
        whole = dataclasses.replace(data, shard=UNSHARDED)
        self.batches = whole.train_batches().take(min(whole.steps_per_epoch, math.ceil(STATISTICS / whole.batch_size)))

    def on_train_begin(self, logs=None):
        self.forward = averaging.TrainingMode(self.model)

    def on_test_begin(self, logs=None):
        self.trained = copies(self.model.variables)
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        assign(self.model.variables, copies(self.model.variables))  # JAX would use up the optimizer's own
        averaging.refresh_batch_norm(self.model, self.batches, self.forward)

    def on_epoch_end(self, epoch, logs=None):
        assign(self.model.variables, self.trained)


class AverageLast(keras.callbacks.Callback):
    """Average the weights of the last epochs (see `kzoo.nn.averaging.add`).

    Args:
        count: number of epochs, or None for no average.
        epochs: largest number of epochs of the training.
        stops_early: whether it may end before; the weights of the last `count` epochs are then kept one by one, because
            only its end shows which ones are the last.
    """

    def __init__(self, count: int | None, epochs: int, stops_early: bool = False):
        super().__init__()
        self.count, self.epochs, self.stops_early = count or 0, epochs, stops_early
        self.first_epoch = 0 if stops_early and self.count else epochs - self.count
        self.average, self.added = {}, 0
        self.recent: list[list[np.ndarray]] = []

    def on_epoch_end(self, epoch, logs=None):
        if epoch >= self.first_epoch:
            self.recent = [*self.recent, self.model.get_weights()][-self.count :]
            if not self.stops_early:
                self.add_recent()

    def add_recent(self) -> None:
        """Add the weights that are kept one by one to the average."""
        for weights in self.recent:
            self.average = averaging.add(self.average, self.added, dict(enumerated("average", weights)))
            self.added += 1
        self.recent = []

    def offer(self, best: BestCheckpoint, data: Splits) -> None:
        """Give the model the average, if there is one, and keep it if it is better than the best epoch."""
        self.add_recent()
        if not self.added:
            return
        self.model.set_weights(list(self.average.values()))
        whole = dataclasses.replace(data, shard=UNSHARDED)
        last = (self.epochs - 1) * whole.steps_per_epoch
        averaging.refresh_batch_norm(self.model, whole.train_batches(last).take(whole.steps_per_epoch))
        measured = self.model.evaluate(data.validation, return_dict=True, verbose=0)
        best.consider({f"val_{name}": value for name, value in measured.items()})

    def state(self) -> tuple[dict, dict]:
        """Return the state to resume from: arrays, and facts as JSON."""
        recent = [dict(enumerated(f"recent{number:03d}", weights)) for number, weights in enumerate(self.recent)]
        arrays = {name: array for weights in recent for name, array in weights.items()}
        return self.average | arrays, {"added": self.added, "recent": len(recent)}

    def restore(self, arrays: dict[str, np.ndarray], facts: dict) -> None:
        """Resume from a state."""
        self.average, self.added = dict(enumerated("average", numbered("average", arrays))), facts["added"]
        self.recent = [numbered(f"recent{number:03d}", arrays) for number in range(facts["recent"])]


class ProgressBar(keras.callbacks.Callback):
    """Show epoch, loss and remaining time in a bar, where the output is a terminal, and a line for each epoch."""

    def __init__(self, epochs: int, steps_per_epoch: int, done: int = 0):
        super().__init__()
        self.epochs = epochs
        console = Console()
        columns = ("{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), "left")
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=epochs * steps_per_epoch, completed=done)
        if done:
            epoch, step = divmod(done, steps_per_epoch)
            console.print(f"resuming at epoch {epoch + 1}, step {step + 1} of {steps_per_epoch}", highlight=False)

    def on_train_begin(self, logs=None):
        self.bar.start()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.start, self.batches = epoch + 1, time.perf_counter(), 0

    def on_train_batch_end(self, batch, logs=None):
        description = f"epoch {self.epoch}/{self.epochs}  loss {logs['loss']:.4f}"
        self.bar.update(self.task, advance=batch + 1 - self.batches, description=description)
        self.batches = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        shown = [name for name in logs if "crossentropy" not in name]  # the loss says nearly the same
        values = "  ".join(f"{name} {logs[name]:.4f}" for name in shown)
        seconds = time.perf_counter() - self.start
        self.bar.console.print(
            f"epoch {self.epoch}/{self.epochs}  {values}  {seconds:.1f} s",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def on_train_end(self, logs=None):
        self.stop()

    def stop(self):
        """Remove the bar."""
        self.bar.stop()
