"""Learning-rate schedules as Keras objects: a function of the step, and a callback that follows the history.

This module imports Keras at once; `kzoo.training.optimizers` imports it when training begins.
"""

from collections.abc import Callable, Mapping

import keras

from kzoo.training.optimizers import SCHEDULES, plateau_factor


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


@keras.saving.register_keras_serializable("kzoo")
class PlateauSchedule(Schedule):
    """A linear warm-up from 0 to `peak`, then `peak` times a factor that the callback `Plateau` lowers.

    The factor is a variable, which kzoo's optimizers track and thus save as one of theirs.

    Args:
        name: as for `Schedule`; so are `peak`, `steps` and `warmup_steps`.
        peak: see `name`.
        steps: see `name`.
        warmup_steps: see `name`.
    """

    def __init__(self, name: str, peak: float, steps: int, warmup_steps: int = 0):
        super().__init__(name, peak, steps, warmup_steps)
        self.factor = keras.Variable(1.0, trainable=False, name="factor", aggregation="only_first_replica")

    def __call__(self, step):
        return self.factor * super().__call__(step)


class Plateau(keras.callbacks.Callback):
    """Lower the learning rate when the validation loss stops falling.

    The optimizer's learning rate must be a `PlateauSchedule`, whose factor is set at the beginning of each epoch. It
    depends on the history only.

    Args:
        history: returns the metrics of each epoch so far; called at the beginning of an epoch.
        warmup_epochs: see `kzoo.training.optimizers.plateau_factor`; so are `patience` and `factor`.
        patience: see `warmup_epochs`.
        factor: see `warmup_epochs`.
    """

    def __init__(
        self,
        history: Callable[[], Mapping[str, list[float]]],
        *,
        warmup_epochs: int = 0,
        patience: int = 5,
        factor: float = 0.1,
    ):
        super().__init__()
        self.history = history
        self.options = {"patience": patience, "factor": factor, "warmup_epochs": warmup_epochs}
        plateau_factor({}, **self.options)  # raises for a wrong value now

    def on_epoch_begin(self, epoch, logs=None):
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        optimizer.plateau_factor.assign(plateau_factor(self.history(), **self.options))
