"""Layer graph of a Keras model: each call of a layer, in the order of computation, with its shapes."""

from __future__ import annotations

import concurrent.futures
import itertools
import math
import random
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from kzoo.core.lazy import keras

Shape = tuple[int | None, ...]
T = TypeVar("T")
INPUT = 0  # the number of the model's input among the tensors of its calls


class Call(NamedTuple):
    """One call of a layer, or of an operation of `keras.ops`.

    Attributes:
        name: of the operation; inside a model that is used as a layer, `model/layer`.
        operation: what is called.
        sources: the numbers of the tensors that it is called with; `INPUT` is the model's input.
        targets: the numbers of the tensors that it returns.
        given: shapes of what it is called with, without the batch.
        made: shapes of what it returns, without the batch.
        arguments: positional arguments.
        refilled: function of other tensors, as many as `sources`, that returns positional arguments and keywords.
        first: it was not called before, so that its weights are new.
    """

    name: str
    operation: keras.Operation
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    given: tuple[Shape, ...]
    made: tuple[Shape, ...]
    arguments: tuple[Any, ...]
    refilled: Callable[[Sequence], tuple[tuple, dict]]
    first: bool

    @property
    def type(self) -> str:
        """The name of the operation's class."""
        return type(self.operation).__name__


def calls(model: keras.Model, input_shape: Sequence[int] | None = None) -> list[Call]:
    """Return the calls of a model's layers in the order of computation; models that are layers are opened.

    Args:
        model: built of Keras layers, with one input.
        input_shape: of one example, in place of the model's own; needed where that has None.

    Raises:
        ValueError: for a model whose layers are not known before it runs, or an input of unknown size.
    """
    return list(calls_in(model, full_shape(model, input_shape), INPUT, itertools.count(INPUT + 1)))


def full_shape(model: keras.Model, input_shape: Sequence[int] | None = None) -> tuple[int, ...]:
    """Return the shape of one example, `input_shape` if it is given; raise a ValueError if a size is unknown."""
    check_graph(model)
    shape = tuple(model.inputs[0].shape[1:] if input_shape is None else input_shape)
    if None in shape:
        raise ValueError(f"{model.name} takes inputs {shape} of any size; give the input_shape to count for")
    return shape


def check_graph(model: keras.Model) -> None:
    """Raise a ValueError for a model whose layers are not known before it runs, or of several inputs."""
    if not isinstance(model, (keras.Sequential, keras.Model)) or not getattr(model, "inputs", None):
        raise ValueError("only a built model of Keras layers can be counted: keras.Model(inputs, outputs), Sequential")
    if len(model.inputs) != 1:
        raise ValueError(f"only networks with one input can be counted; {model.name} has {len(model.inputs)}")


def calls_in(
    model: keras.Model, shape: Shape, source: int, numbers: Iterator[int], first: bool = True, prefix: str = ""
) -> Generator[Call, None, tuple[int, ...]]:
    """Yield the calls of a model that is given tensor number `source`; return the numbers of its outputs."""
    check_graph(model)
    graph = functional(model if tuple(model.inputs[0].shape[1:]) == shape else rebuilt(model, shape))
    number, seen = {id(graph.inputs[0]): source}, set()
    for node in nodes(graph):
        sources = tuple(number[id(tensor)] for tensor in node.input_tensors)
        given, made = (tuple(map(shape_of, tensors)) for tensors in (node.input_tensors, node.output_tensors))
        new, name = first and node.operation not in seen, prefix + node.operation.name
        if isinstance(node.operation, keras.Model):
            targets = yield from calls_in(node.operation, given[0], sources[0], numbers, new, f"{name}/")
        else:
            targets = tuple(itertools.islice(numbers, len(made)))
            yield Call(name, node.operation, sources, targets, given, made, node.arguments.args, refilled(node), new)
        number |= zip(map(id, node.output_tensors), targets, strict=True)
        seen.add(node.operation)
    return tuple(number[id(tensor)] for tensor in graph.outputs)


def functional(model: keras.Model) -> keras.Model:
    """Return the same model with a graph of its own; a Sequential has none."""
    return model if hasattr(model, "_nodes_by_depth") else keras.Model(model.inputs, model.outputs)


def refilled(node) -> Callable[[Sequence], tuple[tuple, dict]]:
    """Return the function from other tensors to the arguments of a call of an operation."""
    keys = tuple(map(id, node.input_tensors))
    return lambda tensors: node.arguments.fill_in(dict(zip(keys, tensors, strict=True)))


def nodes(graph: keras.Model) -> Iterator:
    """Yield each call of an operation, in the order of computation."""
    # Keras has no public list of the calls, in which a layer that is used twice is there twice; summary() reads this.
    by_depth = graph._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        yield from (node for node in by_depth[depth] if not node.is_input)


def rebuilt(model: keras.Model, input_shape: Shape) -> keras.Model:
    """Return an untrained copy of a network for inputs of another shape.

    Raises:
        ValueError: if its layers cannot be built for that shape.
    """
    try:
        return keras.models.clone_model(model, input_tensors=keras.Input(input_shape, dtype=model.inputs[0].dtype))
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{model.name} cannot be built for an input {input_shape}: {reason}") from error


def shape_of(tensor: keras.KerasTensor) -> Shape:
    """Return the shape of a tensor without the batch."""
    return tuple(tensor.shape[1:])


def is_channel_scale(operation: keras.Operation) -> bool:
    """Whether an operation is one of `kzoo.nn.layers.channel_scale`: factors, stored as a depthwise convolution."""
    return bool(re.search(r"(^|[._])scale\d+$", operation.name)) and type(operation).__name__.startswith("Depthwise")


def matrices(layer: keras.Operation) -> list[tuple[int, ...]]:
    """Return the shapes of the kernels of a convolution or a dense layer: one, or two if it is separable."""
    names = ("depthwise_kernel", "pointwise_kernel", "kernel")
    return [tuple(getattr(layer, name).shape) for name in names if hasattr(layer, name)]


def size_of(shape: Shape) -> int:
    """Return the number of values in a tensor of this shape; an axis of unknown size counts once."""
    return math.prod(size or 1 for size in shape)


def without_values(build: Callable[[], T]) -> T:
    """Call a function whose new weights get shapes but no values, and return its result.

    Keras keeps a list, one for each thread, of weights that are still to get values; the function is called in a thread
    of its own, which takes its list along when it ends. The state of Python's random numbers is restored.
    """

    def work() -> T:
        with keras.StatelessScope(initialize_variables=False):
            return build()

    state = random.getstate()
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(work).result()
    finally:
        random.setstate(state)
