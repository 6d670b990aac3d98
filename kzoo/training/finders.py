"""Learning-rate range test and batch-size search, by short trainings that leave the weights unchanged."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kzoo.core.arguments import checked
from kzoo.core.lazy import figures, keras, lazy_import, np, psutil, rich_table
from kzoo.core.pictures import Drawn
from kzoo.core.ranges import Extent, PositiveFloat, PositiveInt
from kzoo.core.shown import Shown
from kzoo.data.splits import Splits
from kzoo.tasks import Task
from kzoo.training.optimizers import build_optimizer, jit_compile
from kzoo.training.recipes import Recipe

fused = lazy_import("kzoo.nn.fused")

SMOOTHING = 0.9  # weight of the earlier losses in the running mean of the range test
DIVERGED = 4.0  # the range test ends where the mean loss is this multiple of the lowest
BELOW_LEAST = 10.0  # the suggested rate is that of the lowest loss divided by this
GAIN = 1.05  # least speed-up that a larger batch must bring
SECONDS = 1.0  # of measurement for each batch size, after the first step


@dataclasses.dataclass(frozen=True)
class RateFinding(Drawn):
    """Result of a learning-rate range test.

    Attributes:
        rates: the learning rate of each step, rising.
        losses: exponential moving average of the loss after each step, bias-corrected.
        suggestion: a learning rate to train with.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float

    def __str__(self) -> str:
        return f"learning rate {self.suggestion:.1e}, from {len(self.rates)} steps up to {self.rates[-1]:.1e}"

    def figure(self) -> figures.Figure:
        """Return the loss over the learning rate, with the suggestion."""
        picture = figures.Figure(figsize=(6, 4), layout="constrained")
        axes = picture.subplots()
        axes.plot(self.rates, self.losses)
        axes.axvline(self.suggestion, color="grey", linestyle=":", label=f"suggestion {self.suggestion:.1e}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss (running mean)")
        axes.legend()
        return picture


@checked
def find_learning_rate(
    model: keras.Model,
    data: Splits,
    *,
    optimizer: str = "adamw",
    weight_decay: float = 0.0,
    lowest: PositiveFloat = 1e-6,
    highest: PositiveFloat = 10.0,
    steps: PositiveInt = 100,
) -> RateFinding:
    """Run a learning-rate range test: train for a few steps at an exponentially rising rate, and record the loss.

    The range test of Smith, 2017, Cyclical Learning Rates, https://arxiv.org/abs/1506.01186. The suggestion, a tenth
    of the rate of the lowest mean loss, is meant as the peak of a schedule with warm-up and decay; a constant rate
    should be lower. It holds for this optimizer, batch size and augmentation.

    Args:
        model: as for `kzoo.fit`; it is left compiled with another optimizer, its weights are unchanged.
        data: of which the training batches are used.
        optimizer: a name, as for `kzoo.fit`.
        weight_decay: likewise.
        lowest: learning rate of the first step.
        highest: of the last one; the test ends earlier where the loss rises to several times its lowest value.
        steps: number of steps.

    Raises:
        ValueError: for a value out of its range, or if the loss of the first step is not finite.
    """
    if not lowest < highest:
        raise ValueError(f"highest must be above lowest, {lowest}, got {highest}")
    rates = [lowest * (highest / lowest) ** (step / max(1, steps - 1)) for step in range(steps)]
    recipe = Recipe(optimizer=optimizer, weight_decay=weight_decay)
    with unchanged(model), fused.batch_normalisation(model):
        losses = range_test(model, data, build_optimizer(model, recipe, lowest), rates)
    if not losses:
        raise ValueError(f"the loss of {model.name} is not a number at the learning rate {lowest}; try a lower one")
    least = rates[losses.index(min(losses))]
    return RateFinding(tuple(rates[: len(losses)]), tuple(losses), max(lowest, least / BELOW_LEAST))


def range_test(model: keras.Model, data: Splits, optimizer, rates: list[float]) -> list[float]:
    """Take a step at each learning rate; return the running mean of the loss until it diverges."""
    compile_for_steps(model, optimizer, data.task)
    mean, losses = 0.0, []
    for number, (rate, batch) in enumerate(zip(rates, data.train_batches().as_numpy_iterator(), strict=False), 1):
        model.optimizer.learning_rate = rate
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss_of_step(model, batch)
        smooth = mean / (1 - SMOOTHING**number)  # bias correction of the moving average
        if not smooth < DIVERGED * min(losses, default=math.inf):
            break
        losses.append(smooth)
    return losses


def loss_of_step(model: keras.Model, batch: Sequence[np.ndarray]) -> float:
    """Take one step of training; return the loss of its batch before it."""
    model.reset_metrics()  # else Keras returns the mean over all steps
    return float(model.train_on_batch(*batch, return_dict=True)["loss"])


class BatchSpeed(NamedTuple):
    """Training speed at one batch size; None if it does not fit in memory."""

    batch_size: int
    examples_per_second: float | None


@dataclasses.dataclass(frozen=True, repr=False)
class BatchFinding(Shown):
    """Result of a batch-size search.

    Attributes:
        speeds: of each size tried, in rising order.
        suggestion: the smallest size that is about as fast as the fastest.
        reason: why no larger one was tried.
    """

    speeds: tuple[BatchSpeed, ...]
    suggestion: int
    reason: str

    def __str__(self) -> str:
        return f"batch size {self.suggestion}; {self.reason}"

    def __rich_console__(self, console, options):
        table = rich_table.Table("batch size", "examples/s")
        for size, speed in self.speeds:
            table.add_row(f"{size:,}", "out of memory" if speed is None else f"{speed:,.0f}")
        yield table
        yield str(self)


@checked
def find_batch_size(
    model: keras.Model, data: Splits, *, optimizer: str = "adamw", smallest: Extent = 8, largest: Extent = 4096
) -> BatchFinding:
    """Double the batch size until memory runs out or the speed no longer rises.

    A larger batch means fewer steps: the learning rate should rise with it. Only the training steps are timed, not the
    input pipeline. Without an accelerator, running out of memory ends the process, so there a size is skipped if the
    machine has less memory left than twice what the size before took.

    Args:
        model: as for `kzoo.fit`; it is left compiled with another optimizer, its weights are unchanged.
        data: of which the training examples are used.
        optimizer: a name, as for `kzoo.fit`.
        smallest: first batch size.
        largest: largest batch size; at most the size of the train split.

    Raises:
        ValueError: for a value out of its range, or if there is no memory even for the smallest size.
    """
    if largest < smallest:
        raise ValueError(f"largest must be at least smallest, {smallest}, got {largest}")
    largest = min(largest, max(smallest, len(data.examples["train"])))
    with unchanged(model), fused.batch_normalisation(model):
        compile_for_steps(model, build_optimizer(model, Recipe(optimizer=optimizer), 0.0), data.task)
        speeds, reason = double(lambda size: training_speed(model, data, size), smallest, largest)
    fitting = [speed for speed in speeds if speed.examples_per_second is not None]
    if not fitting:
        raise ValueError(f"there is no memory for {model.name} with a batch of {smallest}")
    fastest = max(speed.examples_per_second for speed in fitting)
    suggestion = next(speed.batch_size for speed in fitting if speed.examples_per_second * GAIN >= fastest)
    return BatchFinding(tuple(speeds), suggestion, reason)


def double(measure: Callable[[int], float | None], smallest: int, largest: int) -> tuple[list[BatchSpeed], str]:
    """Measure sizes from `smallest` up; return their speeds and why it ended.

    Args:
        measure: returns the examples per second at a size, or None if it does not fit in memory.
        smallest: the first size.
        largest: no size is above it.
    """
    speeds, size, before = [], smallest, memory_used()
    while size <= largest:
        speeds.append(BatchSpeed(size, measure(size)))
        if speeds[-1].examples_per_second is None:
            return speeds, f"{size} did not fit in the memory"
        if len(speeds) > 1 and speeds[-1].examples_per_second < GAIN * speeds[-2].examples_per_second:
            return speeds, f"{size} was no faster than {size // 2}"
        if psutil.virtual_memory().available < 2 * (memory_used() - before):
            return speeds, f"{2 * size} might not fit in the memory"
        size *= 2
    return speeds, f"{size} is above {largest}"


def memory_used() -> int:
    """Return the bytes of the machine's memory that this process holds."""
    return psutil.Process().memory_info().rss


def training_speed(model: keras.Model, data: Splits, batch_size: int) -> float | None:
    """Return the examples per second of training steps with one batch, or None if it does not fit in the memory."""
    batches = dataclasses.replace(data, batch_size=batch_size).train_batches().as_numpy_iterator()
    batch = next(batches)
    try:
        loss_of_step(model, batch)
        times = [math.inf]
        while len(times) == 1 or sum(times[1:]) < SECONDS:
            start = time.perf_counter()
            loss_of_step(model, batch)
            times.append(time.perf_counter() - start)
    except Exception as error:
        if is_out_of_memory(error):
            return None
        raise
    return len(batch[0]) / min(times)  # other work on the machine makes steps longer, never shorter


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error of TensorFlow, JAX or PyTorch says that memory is exhausted."""
    text = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(
        words in text for words in ("resource_exhausted", "resourceexhausted", "out of memory", "outofmemory")
    )


def compile_for_steps(model: keras.Model, optimizer: keras.optimizers.Optimizer, task: Task) -> None:
    """Compile a model with an optimizer and the loss of its task."""
    model.compile(optimizer=optimizer, loss=task.loss(), jit_compile=jit_compile())


@contextlib.contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Restore the weights, the statistics and the seeds of a model afterwards."""
    kept = [(variable, keras.ops.convert_to_numpy(variable)) for variable in model.variables]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)
