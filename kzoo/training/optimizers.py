"""Optimizers by name, and learning-rate schedules as functions of the step or of the history."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from kzoo.core.lazy import keras, lazy_import
from kzoo.core.ranges import check_range
from kzoo.core.registry import lookup
from kzoo.training.recipes import Recipe

muon = lazy_import("kzoo.training.muon")
schedules = lazy_import("kzoo.training.schedules")
weight_decay = lazy_import("kzoo.training.weight_decay")


def adamw(model: keras.Model, **arguments) -> keras.optimizers.Adam:
    """Return AdamW; without weight decay that is Adam."""
    return (weight_decay.Adam if arguments["weight_decay"] is None else weight_decay.AdamW)(**arguments)


OPTIMIZERS = {
    "adamw": adamw,
    "adam": lambda model, **arguments: weight_decay.Adam(**arguments),
    "sgd": lambda model, **arguments: weight_decay.SGD(momentum=0.9, nesterov=True, **arguments),
    "lamb": lambda model, **arguments: weight_decay.Lamb(**arguments),
    "lion": lambda model, **arguments: weight_decay.Lion(**arguments),
    "muon": lambda model, **arguments: muon.ConvMuon(not_hidden(model), **arguments),
}
RISE = 0.45  # fraction of a one-cycle training that is warm-up unless another is given


def cosine(progress):
    return (1 + keras.ops.cos(math.pi * progress)) / 2


def one_cycle(progress):
    """Fall to a tenth, as long as Smith's cycle rises (45 % of a training), then, in its last 10 %, to a thousandth."""
    fall = RISE / (1 - RISE)
    return keras.ops.where(progress < fall, 1 - 0.9 * progress / fall, 0.1 - 0.099 * (progress - fall) / (1 - fall))


def step(progress):
    return keras.ops.where(progress < 0.5, 1.0, keras.ops.where(progress < 0.75, 0.1, 0.01))


def constant(progress):
    return keras.ops.ones_like(progress)


SCHEDULES = {  # from the progress after the warm-up, in [0, 1], to the fraction of the peak learning rate
    "cosine": cosine,
    "one_cycle": one_cycle,
    "step": step,
    "constant": constant,
    "plateau": constant,
}


def learning_rate_schedule(name: str, peak: float, steps: int, warmup_steps: int) -> schedules.Schedule:
    """Return the learning rate as a function of the step: a linear warm-up from 0, then the named curve.

    "cosine" falls to 0 (Loshchilov, Hutter, 2017, https://arxiv.org/abs/1608.03983). "step" falls to a tenth after
    half and after three quarters of the steps that follow the warm-up, where He et al. (2016,
    https://arxiv.org/abs/1512.03385) divide by ten for CIFAR-10. "one_cycle" (Smith, 2018,
    https://arxiv.org/abs/1803.09820) falls linearly to a tenth, then in the last tenth of the training to a
    thousandth; its warm-up is 45 % of the steps unless another is given. Smith starts from a tenth, not from 0, and
    lowers the momentum meanwhile, which is not done here. "constant" stays at the peak; so does "plateau", whose rate
    the callback `kzoo.training.schedules.Plateau` lowers.

    Args:
        name: a key of `SCHEDULES`.
        peak: learning rate at the end of the warm-up.
        steps: batches of the whole training, at least 1.
        warmup_steps: batches of the warm-up.

    Raises:
        ValueError: for an unknown name.
    """
    lookup("schedule", name, SCHEDULES)
    if name == "one_cycle" and not warmup_steps:
        warmup_steps = int(RISE * steps)
    kind = schedules.PlateauSchedule if name == "plateau" else schedules.Schedule
    return kind(name, peak, steps, warmup_steps)


def plateau_factor(
    history: Mapping[str, list[float]], *, patience: int = 5, factor: float = 0.1, warmup_epochs: int = 0
) -> float:
    """Return what the peak is multiplied by in the next epoch: `factor` each time the validation loss stops falling.

    A function of the history alone, so that a resumed training has the same learning rates.

    Args:
        history: "val_loss" of each epoch so far; NaN is never an improvement.
        patience: epochs without a lower loss after which the rate falls; then counting starts over.
        factor: what the rate is multiplied by, in (0, 1).
        warmup_epochs: first epochs that are not counted.

    Raises:
        ValueError: for a value out of its range.
    """
    check_range("patience", patience, "a positive integer")
    check_range("factor", factor, "a fraction in (0, 1)")
    best, waited, falls = math.inf, 0, 0
    for epoch, loss in enumerate(history.get("val_loss", ())):
        waited = 0 if loss < best or epoch < warmup_epochs else waited + 1
        best = min(best, loss)
        if waited == patience:
            waited, falls = 0, falls + 1
    return factor**falls


def build_optimizer(
    model: keras.Model, recipe: Recipe, learning_rate: float | schedules.Schedule
) -> keras.optimizers.Optimizer:
    """Return the optimizer of a recipe for the trainable weights of a model.

    The recipe's weight decay is applied at each step, times the learning rate, by every optimizer. With "sgd" that is a
    tenth of the effect of the same number where the decay goes through the momentum, as in PyTorch. Biases,
    normalisation parameters and other variables of one axis have none. The moving average of the weights leaves out the
    statistics of normalisations, which `kzoo.training.callbacks.MovingAverage` computes for it.

    Args:
        model: has all its weights.
        recipe: its optimizer is a key of `OPTIMIZERS`. "sgd" has Nesterov momentum 0.9. "lion" wants a third to a tenth
            of AdamW's learning rate and as many times its weight decay (Chen et al., 2023,
            https://arxiv.org/abs/2302.06675). "muon" takes AdamW's of both: see `kzoo.training.muon`. "lamb" is You et
            al., 2020, https://arxiv.org/abs/1904.00962, without the weight decay in the trust ratio.
        learning_rate: a number, or a schedule, which counts batches.

    Raises:
        ValueError: for an unknown optimizer.
    """
    accumulated = recipe.gradient_accumulation_steps
    return lookup("optimizer", recipe.optimizer, OPTIMIZERS)(
        model,
        learning_rate=float(learning_rate) if isinstance(learning_rate, int) else learning_rate,
        weight_decay=float(recipe.weight_decay) or None,  # for 0.0 Keras would subtract nothing from each weight
        global_clipnorm=recipe.global_clipnorm,
        gradient_accumulation_steps=accumulated if accumulated > 1 else None,
        use_ema=recipe.ema_momentum is not None,
        # Keras also averages after batches that it only accumulates: several times in one step.
        ema_momentum=(recipe.ema_momentum or 0.0) ** (1 / accumulated),
    )


def jit_compile() -> bool | str:
    """Return whether Keras is to compile training steps with XLA.

    It makes TensorFlow's training on 2 cores up to 2.2 times slower (tests/benchmarks/jit.py).
    """
    return False if keras.backend.backend() == "tensorflow" else "auto"


def is_vector(variable: keras.Variable) -> bool:
    """Return whether all axes of a variable but one have length 1: biases, normalisations and layer scales."""
    return math.prod(variable.shape) == max(variable.shape, default=1)


def not_hidden(model: keras.Model) -> list[str]:
    """Return a pattern of the paths of weights that are not matrices between hidden features.

    Those are vectors, embeddings, depthwise kernels and the weights of the last layer.
    """
    kinds = (keras.layers.Embedding, keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
    layers = [layer for layer in model.layers if layer.trainable_variables]
    chosen = [layer for layer in layers if isinstance(layer, kinds)] + layers[-1:]
    variables = [v for layer in chosen for v in layer.trainable_variables]
    variables += [v for v in model.trainable_variables if is_vector(v)]
    return [f"^({'|'.join(re.escape(v.path) for v in variables)})$"]
