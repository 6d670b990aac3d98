"""What `kzoo.fit` does beside Keras's own training: keep the best weights, stop at NaN, show the progress.

This module imports Keras at once; `kzoo.train` imports it when training begins.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

from kzoo import runs


class TrainingDiverged(ValueError):
    """The loss is no longer a number."""


class KeepBest(keras.callbacks.Callback):
    """Keep the history and the weights of the best epoch, in memory and in the run folder.

    The best epoch is the one of highest validation accuracy, of lowest validation loss among equals.

    Args:
        run: the run folder, or None.
        patience: epochs without a better one after which training ends, or None.
    """

    def __init__(self, run: Path | None, patience: int | None):
        super().__init__()
        self.run, self.patience = run, patience
        self.history: dict[str, list[float]] = {}
        self.best_epoch, self.best_score, self.best_weights = 0, (-math.inf, -math.inf), None

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

    def on_epoch_end(self, epoch, logs=None):
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        score = (logs["val_accuracy"], -logs["val_loss"])
        if score > self.best_score:
            self.best_epoch, self.best_score, self.best_weights = epoch + 1, score, self.model.get_weights()
            if self.run:
                runs.save_model(self.model, self.run / runs.MODEL)
        if self.run:
            runs.write_history(self.run, self.history)
        if self.patience and epoch + 1 - self.best_epoch >= self.patience:
            self.model.stop_training = True

    def finish(self):
        """Give the model its best weights, or leave those of an interrupted first epoch; draw the curves."""
        if self.model is None:  # training never began
            return
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
        if self.run and not (self.run / runs.MODEL).exists():
            runs.save_model(self.model, self.run / runs.MODEL)
        if self.run and self.history:
            runs.draw_curves(self.run, self.history, self.best_epoch)


class ProgressBar(keras.callbacks.Callback):
    """Show epoch, loss and time left in a bar, where the output is a terminal, and a line for each epoch done."""

    def __init__(self, epochs: int, steps_per_epoch: int):
        super().__init__()
        self.epochs = epochs
        console = Console()
        columns = ("{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), "left")
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=epochs * steps_per_epoch)

    def on_train_begin(self, logs=None):
        self.bar.start()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.start = epoch + 1, time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        description = f"epoch {self.epoch}/{self.epochs}  loss {logs['loss']:.4f}"
        self.bar.update(self.task, advance=1, description=description)

    def on_epoch_end(self, epoch, logs=None):
        values = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        seconds = time.perf_counter() - self.start
        self.bar.console.print(
            f"epoch {self.epoch}/{self.epochs}  {values}  {seconds:.1f} s", highlight=False, soft_wrap=True
        )

    def on_train_end(self, logs=None):
        self.stop()

    def stop(self):
        """Take the bar away."""
        self.bar.stop()
