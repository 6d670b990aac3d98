"""Learning-rate schedules as Keras objects: a function of the step, and a callback that follows the history.

This module imports Keras at once; `kzoo.training.optimizers` imports it when training begins.
"""

import math
from collections.abc import Callable, Mapping

import keras

from kzoo.training.optimizers import SCHEDULES, plateau_rate


@keras.saving.register_keras_serializable("kzoo")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up from 0 to `peak`, then one of the curves of `kzoo.training.optimizers.SCHEDULES`.

    Keras has a warm-up for the cosine only.

    Args:
        name: of the curve.
        peak: learning rate at the end of the warm-up.
        steps: number of steps of the whole training; after them the learning rate is constant.
        warmup_steps: number of first steps in which the learning rate rises.
    """

    def __init__(self, name: str, peak: float, steps: int, warmup_steps: int = 0):
        self.name, self.peak, self.steps, self.warmup_steps = name, peak, steps, warmup_steps

    def __call__(self, step):
        ops, step = keras.ops, keras.ops.cast(step, "float32")
        progress = ops.clip((step - self.warmup_steps) / max(1, self.steps - self.warmup_steps), 0.0, 1.0)
        rise = step / max(1, self.warmup_steps)
        return self.peak * ops.where(step < self.warmup_steps, rise, SCHEDULES[self.name](progress))

    def get_config(self) -> dict:
        return {name: getattr(self, name) for name in ("name", "peak", "steps", "warmup_steps")}


class Plateau(keras.callbacks.Callback):
    """Lower the learning rate when the validation loss stops falling, after a linear warm-up from 0.

    The optimizer's learning rate must be a number, not a schedule. It depends only on the history and the index of the
    batch.

    Args:
        history: returns the metrics of each epoch so far; called at the beginning of an epoch.
        peak: learning rate at the end of the warm-up.
        steps_per_epoch: batches of an epoch.
        warmup_steps: batches of the warm-up; epochs that begin in it do not count for the patience.
        patience: see `kzoo.training.optimizers.plateau_rate`; so is `factor`.
        factor: see `patience`.
    """

    def __init__(
        self,
        history: Callable[[], Mapping[str, list[float]]],
        peak: float,
        steps_per_epoch: int,
        *,
        warmup_steps: int = 0,
        patience: int = 5,
        factor: float = 0.1,
    ):
        super().__init__()
        self.history, self.peak, self.warmup_steps = history, peak, warmup_steps
        warmup_epochs = math.ceil(warmup_steps / steps_per_epoch)
        self.options = {"patience": patience, "factor": factor, "warmup_epochs": warmup_epochs}
        plateau_rate({}, peak, **self.options)  # raises for a wrong value now

    def on_epoch_begin(self, epoch, logs=None):
        self.rate = plateau_rate(self.history(), self.peak, **self.options)
        self.model.optimizer.learning_rate = self.rate
        self.warming = self.warmup_steps > 0

    def on_train_batch_begin(self, batch, logs=None):
        if not self.warming:
            return
        if hasattr(self.model, "jax_state_sync"):  # JAX's loop reads the variables only after a sync
            self.model.jax_state_sync()
        done = batches_done(self.model.optimizer)
        self.warming = done < self.warmup_steps
        self.model.optimizer.learning_rate = self.peak * done / self.warmup_steps if self.warming else self.rate


def batches_done(optimizer: keras.optimizers.Optimizer) -> int:
    """Return how many batches an optimizer has seen, with those it only accumulated, unlike its `iterations`."""
    return int(getattr(optimizer, "inner_optimizer", optimizer).variables[0])
