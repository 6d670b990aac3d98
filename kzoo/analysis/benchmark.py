"""Speed benchmark of a network: training, inference, latency, memory, and the fraction of the machine's peak."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from kzoo.core.arguments import checked
from kzoo.core.lazy import keras, lazy_import, np, psutil, rich_console, rich_table, rich_text
from kzoo.core.numbers import percent
from kzoo.core.ranges import Extent, PositiveFloat
from kzoo.core.registry import MODELS, registered_name
from kzoo.core.shown import Shown
from kzoo.nn.graph import calls, full_shape, rebuilt
from kzoo.nn.precision import computing_in
from kzoo.tasks import Classification, Restoration, StepClassification, Tagging, Task
from kzoo.training import runs
from kzoo.training.optimizers import build_optimizer, jit_compile
from kzoo.training.recipes import Recipe
from kzoo.zoo.factory import create_model, model_card
from kzoo.zoo.profile import call_macs, total_macs

fused = lazy_import("kzoo.nn.fused")

WARM_UP = 2  # calls that are not timed: the first compiles
FEWEST = 3  # calls that are timed however long they take
MATRIX, PRODUCTS, ROUNDS = 2048, 4, 4  # of the machine's peak: size, products in one timing, timings


@dataclass(frozen=True, repr=False)
class Benchmark(Shown):
    """Measurements of one network on one machine.

    Attributes:
        model: its name.
        input_shape: of one example.
        batch_size: of training and inference; latency is that of one example.
        precision: the policy that the network computes with.
        backend: of Keras.
        device: name of the accelerator or the processor.
        parameters: trainable ones.
        macs: multiply-accumulates of a forward pass for one example; None if a layer cannot be counted.
        training_examples_per_second: forward, backward, AdamW's step; batches come from the host's memory.
        inference_examples_per_second: forward passes of whole batches.
        latency_ms: 50th, 90th and 99th percentile of the time from an array of one example to its result.
        latency_calls: how many calls the percentiles are of; the 99th says little below some hundreds.
        inference_memory_mib: peak resident memory of the process up to the end of inference, in MiB.
        training_memory_mib: the same up to the end of training.
        peak_flops: floating-point operations per second of the best of some products of two matrices of 2048 x 2048,
            in the precision that the network computes with.
        training_utilization: fraction of `peak_flops` that training reaches, at 6 operations per MAC; None without
            `macs`.
        inference_utilization: the same of inference, at 2 operations. It can exceed 1: libraries compute some
            convolutions with fewer multiplications (Winograd), and other work may slow the measurement of the peak.
    """

    model: str
    input_shape: tuple[int, ...]
    batch_size: int
    precision: str
    backend: str
    device: str
    parameters: int
    macs: int | None
    training_examples_per_second: float
    inference_examples_per_second: float
    latency_ms: dict[str, float]
    latency_calls: int
    inference_memory_mib: float
    training_memory_mib: float
    peak_flops: float
    training_utilization: float | None
    inference_utilization: float | None

    def to_dict(self) -> dict:
        """Return all numbers, ready for JSON."""
        return asdict(self)

    def __rich_console__(self, console, options):
        shape = " x ".join(map(str, self.input_shape))
        yield rich_text.Text(f"{self.model}, input {shape}, {self.precision}, {self.backend}, {self.device}")
        table = rich_table.Table("what", rich_table.Column("value", justify="right"), "unit", box=None, pad_edge=False)
        for row in self.rows():
            table.add_row(*row)
        yield table

    def rows(self) -> list[tuple[str, str, str]]:
        """Return each number with its name and unit."""
        of_batch = f"examples/s, batches of {self.batch_size}"
        latencies = [(f"latency, {key}", f"{value:,.2f}", "ms") for key, value in self.latency_ms.items()]
        return [
            ("parameters", f"{self.parameters:,}", "trainable"),
            ("forward pass", "-" if self.macs is None else f"{self.macs:,}", "MACs per example"),
            ("training", f"{self.training_examples_per_second:,.1f}", of_batch),
            ("inference", f"{self.inference_examples_per_second:,.1f}", of_batch),
            *latencies,
            ("peak memory, inference", f"{self.inference_memory_mib:,.0f}", "MiB of the process"),
            ("peak memory, training", f"{self.training_memory_mib:,.0f}", "MiB of the process"),
            ("peak of the machine", f"{self.peak_flops / 1e9:,.1f}", "GFLOP/s, measured"),
            ("training reaches", percent(self.training_utilization, 1), "of that peak, 6 FLOP per MAC"),
            ("inference reaches", percent(self.inference_utilization, 1), "of that peak, 2 FLOP per MAC"),
        ]


@checked
def benchmark(
    model: str | keras.Model,
    input_shape: Sequence[int | None] | None = None,
    *,
    num_classes: int | None = None,
    batch_size: Extent = 32,
    seconds: PositiveFloat = 5.0,
    precision: str | None = None,
    verbose: bool = False,
) -> Benchmark:
    """Measure training, inference and latency of a network on random inputs.

    Other work on the machine makes the numbers smaller: run it alone.

    Args:
        model: a name of the zoo, or a network that returns logits or values, of which a copy is measured.
        input_shape: of one example; a network's published one if not given.
        num_classes: of a network by name; the published ones if not given.
        batch_size: examples in a batch of training and inference.
        seconds: about how long each of the three is measured; their compilation comes on top.
        precision: "float32", "mixed_bfloat16" or "mixed_float16" for a network by name; Keras's policy if not given.
        verbose: show what is being done, where the output is a terminal.

    Raises:
        ValueError: for an unknown name, a value out of its range, or an input of unknown size.
    """
    with rich_console.Console(stderr=True, quiet=not verbose).status("building the network") as status:
        network = prepared(model, input_shape, num_classes, precision)
        return measured(network, batch_size, seconds, status.update)


def prepared(model: str | keras.Model, input_shape, num_classes: int | None, precision: str | None) -> keras.Model:
    """Return the network to measure: a new one, or a copy."""
    if isinstance(model, str):
        reference = model_card(model).reference
        with computing_in(precision):
            classes = reference.num_classes if num_classes is None else num_classes
            return create_model(model, reference.input_shape if input_shape is None else input_shape, classes)
    if precision is not None or num_classes is not None:
        raise ValueError("precision and num_classes are for networks by name; build the model as it is to be measured")
    return rebuilt(model, full_shape(model, input_shape))


def measured(model: keras.Model, batch_size: int, seconds: float, say: Callable[[str], None]) -> Benchmark:
    """Measure a network; `say` is called with what is being done."""
    say("counting MACs")
    counted = total_macs(map(call_macs, calls(model)))
    inputs, targets = random_batch(model, batch_size)
    task = task_of(model)
    compile_as_trained(model, task)
    targets = task.encode(targets)
    policy = policy_of(model)
    say("the machine's peak")
    peak = peak_flops(policy.compute_dtype)
    say("inference in batches")
    batches = durations(lambda: model.predict_on_batch(inputs), seconds)
    model.make_predict_function(force=True)  # one that is compiled for batches of 1 alone
    say("latency of one example")
    singles = durations(lambda: model.predict_on_batch(inputs[:1]), seconds)
    inference_memory = peak_memory()
    say("training")
    with fused.batch_normalisation(model):
        steps = durations(lambda: model.train_on_batch(inputs, targets), seconds)
    training_memory = peak_memory()
    say("the machine's peak, again")
    peak = max(peak, peak_flops(policy.compute_dtype))  # other work may have slowed one of them
    inference, training = batch_size * len(batches) / sum(batches), batch_size * len(steps) / sum(steps)
    return Benchmark(
        model=model.name,
        input_shape=tuple(model.input_shape[1:]),
        batch_size=batch_size,
        precision=policy.name,
        backend=keras.backend.backend(),
        device=", ".join(runs.accelerators()) or runs.processor(),
        parameters=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        macs=counted,
        training_examples_per_second=training,
        inference_examples_per_second=inference,
        latency_ms={f"p{part}": float(np.percentile(singles, part)) * 1e3 for part in (50, 90, 99)},
        latency_calls=len(singles),
        inference_memory_mib=inference_memory,
        training_memory_mib=training_memory,
        peak_flops=peak,
        training_utilization=None if counted is None else 6 * counted * training / peak,
        inference_utilization=None if counted is None else 2 * counted * inference / peak,
    )


def task_of(model: keras.Model) -> Task:
    """Return a task that a network can be trained for: tagging or restoration if it is published for it, or classes."""
    name, names = registered_name(model), tuple(map(str, range(model.output_shape[-1])))
    published = MODELS[name].task if name in MODELS else Classification.key
    if published == Tagging.key:
        return Tagging(names)
    if published == Restoration.key:
        return Restoration(names, mean=(0.0,) * len(names), deviation=(1.0,) * len(names), peak=1.0)
    return StepClassification(names) if len(model.output_shape) > 2 else Classification(names)


def compile_as_trained(model: keras.Model, task: Task) -> None:
    """Compile a network as `kzoo.fit` does by default."""
    recipe = Recipe()
    optimizer = build_optimizer(model, recipe, recipe.learning_rate)
    model.compile(optimizer, task.loss(), metrics=task.metrics(), jit_compile=jit_compile())


def policy_of(model: keras.Model) -> keras.DTypePolicy:
    """Return the precision of the first layer with weights; the last one always computes in float32."""
    return next((layer.dtype_policy for layer in model.layers if layer.weights), model.dtype_policy)


def random_batch(model: keras.Model, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (size, ...), token ids where the model embeds them, and raw targets of `task_of`."""
    rng, shape = np.random.default_rng(0), (size, *model.input_shape[1:])
    tokens = [layer.input_dim for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    inputs = rng.integers(0, tokens[0], shape) if tokens else rng.normal(size=shape)
    task, shape = task_of(model), (size, *model.output_shape[1:])
    if isinstance(task, Classification):
        return inputs.astype("float32"), rng.integers(0, task.outputs, shape[:-1]).astype("int32")
    targets = rng.integers(0, 2, shape) if isinstance(task, Tagging) else rng.normal(size=shape)
    return inputs.astype("float32"), targets.astype("float32")


def durations(work: Callable[[], object], seconds: float) -> list[float]:
    """Return the durations of repeated calls in seconds; each ends with its result in the host's memory."""
    for _ in range(WARM_UP):
        work()
    times: list[float] = []
    while len(times) < FEWEST or sum(times) < seconds:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def peak_memory() -> float:
    """Return the peak memory of this process, in MiB."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 2**10  # bytes or KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def peak_flops(dtype: str = "float32") -> float:
    """Return the floating-point operations per second of the fastest of several products of large matrices."""
    matrix = keras.random.normal((MATRIX, MATRIX), stddev=MATRIX**-0.5, dtype=dtype)

    def work():
        product = matrix
        for _ in range(PRODUCTS):
            product = keras.ops.matmul(matrix, product)
        return keras.ops.convert_to_numpy(keras.ops.cast(product[0, 0], "float32"))  # waits for all of them

    work()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return PRODUCTS * 2 * MATRIX**3 / min(times)
