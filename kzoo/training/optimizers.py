"""How a network takes its steps: optimizers by name, and learning rates as functions of the step or the history."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from kzoo.core.lazy import keras, lazy_import
from kzoo.core.ranges import check_range
from kzoo.core.registry import lookup
from kzoo.nn.solvers import SOLVERS

muon = lazy_import("kzoo.training.muon")
schedules = lazy_import("kzoo.training.schedules")


def adamw(*, weight_decay: float | None, **arguments) -> keras.optimizers.Adam:
    """Return AdamW; without a decay that is Adam."""
    if weight_decay is None:
        return keras.optimizers.Adam(**arguments)
    return keras.optimizers.AdamW(weight_decay=weight_decay, **arguments)


OPTIMIZERS = {
    "adamw": lambda model, **arguments: adamw(**arguments),
    "adam": lambda model, **arguments: keras.optimizers.Adam(**arguments),
    "sgd": lambda model, **arguments: keras.optimizers.SGD(momentum=0.9, nesterov=True, **arguments),
    "lamb": lambda model, **arguments: keras.optimizers.Lamb(**arguments),
    "lion": lambda model, **arguments: keras.optimizers.Lion(**arguments),
    "muon": lambda model, **arguments: muon.ConvMuon(not_hidden(model), **arguments),
    **dict.fromkeys(SOLVERS, lambda model, **arguments: keras.optimizers.SGD(**arguments)),  # take no step
}
RISE = 0.45  # of a one-cycle training whose warm-up is not given


def cosine(share):
    return (1 + keras.ops.cos(math.pi * share)) / 2


def one_cycle(share):
    """Fall to a tenth, as long as Smith's cycle rises (45 % of a training), then, in its last 10 %, to a thousandth."""
    fall = RISE / (1 - RISE)
    return keras.ops.where(share < fall, 1 - 0.9 * share / fall, 0.1 - 0.099 * (share - fall) / (1 - fall))


def step(share):
    return keras.ops.where(share < 0.5, 1.0, keras.ops.where(share < 0.75, 0.1, 0.01))


def constant(share):
    return keras.ops.ones_like(share)


SCHEDULES = {  # from the share of the steps after the warm-up, in [0, 1], to that of the learning rate
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
    thousandth; its warm-up is 45 % of the steps unless another is given. Smith rises from a tenth, not from 0, and
    lowers the momentum meanwhile, which is not done here. "constant" stays; so does "plateau", whose rate
    `kzoo.training.schedules.Plateau` sets.

    Args:
        name: a key of `SCHEDULES`.
        peak: the learning rate at the end of the warm-up.
        steps: batches of the whole training, at least 1.
        warmup_steps: batches of the warm-up.

    Raises:
        ValueError: for an unknown name.
    """
    lookup("schedule", name, SCHEDULES)
    if name == "one_cycle" and not warmup_steps:
        warmup_steps = int(RISE * steps)
    return schedules.Schedule(name, peak, steps, warmup_steps)


def plateau_rate(
    history: Mapping[str, list[float]], peak: float, *, patience: int = 5, factor: float = 0.1, warmup_epochs: int = 0
) -> float:
    """Return the learning rate of the next epoch: it falls by `factor` when the validation loss no longer does.

    A function of the history alone, so that a training which is resumed goes on with the same rates.

    Args:
        history: "val_loss" of each epoch so far; a loss that is not a number is none that is better.
        peak: the learning rate to begin with.
        patience: epochs without a lower loss after which the rate falls; the count then begins again.
        factor: what the rate is multiplied by, in (0, 1).
        warmup_epochs: epochs at the beginning that are not counted.

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
    return peak * factor**falls


def build_optimizer(
    model: keras.Model,
    name: str,
    rate: float | schedules.Schedule,
    *,
    weight_decay: float = 0.0,
    global_clipnorm: float | None = None,
    gradient_accumulation_steps: int = 1,
    ema_momentum: float | None = None,
) -> keras.optimizers.Optimizer:
    """Return an optimizer for the weights of a model that can be trained.

    Args:
        model: has all its weights.
        name: a key of `OPTIMIZERS`. "sgd" has Nesterov's momentum of 0.9. "lion" wants a third to a tenth of AdamW's
            learning rate and as many times its weight decay (Chen et al., 2023, https://arxiv.org/abs/2302.06675).
            "muon" takes AdamW's of both: see `kzoo.training.muon`. "lamb" is You et al., 2020,
            https://arxiv.org/abs/1904.00962, without the weight decay in the trust ratio.
        rate: the learning rate, or a schedule, which counts batches.
        weight_decay: what each step takes away of the weights, times the learning rate, for every optimizer. With
            "sgd" that is a tenth of what the same number does where the decay goes through the momentum, as in
            PyTorch. Biases, normalisations and other variables of one axis are left alone.
        global_clipnorm: the gradient of all weights together is scaled down to this length where it is longer.
        gradient_accumulation_steps: batches whose gradients are averaged for one step.
        ema_momentum: momentum of an exponential moving average of the weights, per step, in (0, 1), not of the
            statistics of normalisations. Keras puts it in the place of the weights at the end of `model.fit`;
            `kzoo.training.callbacks.exponential_average` does meanwhile.

    Raises:
        ValueError: for an unknown name or a value out of its range.
    """
    check_range("weight_decay", weight_decay, "a number from 0")
    check_range("global_clipnorm", global_clipnorm, "a positive number", none=True)
    check_range("gradient_accumulation_steps", gradient_accumulation_steps, "a positive integer")
    check_range("ema_momentum", ema_momentum, "a fraction in (0, 1)", none=True)
    optimizer = lookup("optimizer", name, OPTIMIZERS)(
        model,
        learning_rate=float(rate) if isinstance(rate, int) else rate,
        weight_decay=float(weight_decay) or None,  # for 0.0 Keras would take nothing away from each weight
        global_clipnorm=global_clipnorm,
        gradient_accumulation_steps=gradient_accumulation_steps if gradient_accumulation_steps > 1 else None,
        use_ema=ema_momentum is not None,
        # Keras averages after every batch, also where it only accumulates: so many times for one step.
        ema_momentum=(ema_momentum or 0.0) ** (1 / gradient_accumulation_steps),
    )
    optimizer.exclude_from_weight_decay(var_list=[v for v in model.trainable_variables if is_vector(v)])
    return optimizer


def jit_compile() -> bool | str:
    """Return whether Keras is to compile steps by XLA.

    It makes TensorFlow's training on 2 cores up to 2.2 times slower (tests/benchmarks/jit.py).
    """
    return False if keras.backend.backend() == "tensorflow" else "auto"


def is_vector(variable: keras.Variable) -> bool:
    """Tell whether all axes of a variable but one have length 1, as of biases, normalisations and layer scales."""
    return math.prod(variable.shape) == max(variable.shape, default=1)


def not_hidden(model: keras.Model) -> list[str]:
    """Return a pattern of the weights that are no matrix between hidden features.

    Those are the vectors, embeddings, depthwise kernels and the last layer's.
    """
    kinds = (keras.layers.Embedding, keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
    layers = [layer for layer in model.layers if layer.trainable_variables]
    chosen = [layer for layer in layers if isinstance(layer, kinds)] + layers[-1:]
    variables = [v for layer in chosen for v in layer.trainable_variables]
    variables += [v for v in model.trainable_variables if is_vector(v)]
    return [f"^({'|'.join(re.escape(v.path) for v in variables)})$"]
