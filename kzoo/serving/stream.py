"""Streaming inference: a causal network as a step function with explicit state.

The step model takes the next frames and the state, and returns the next outputs and the state after them. It is made by
walking the layer graph: what has no extent in time is called on the new frames alone, a convolution or pooling on them
and on the last inputs before them, which are its state.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kzoo.core.arguments import checked
from kzoo.core.lazy import keras
from kzoo.core.ranges import PositiveInt
from kzoo.core.registry import MODELS, registered_name
from kzoo.data.audio.incremental import check_incremental, incremental, overlap
from kzoo.data.audio.preprocess import AudioPreprocess
from kzoo.data.serving import Serving
from kzoo.data.splits import Preprocess, Splits
from kzoo.nn.causality import at_known_size, common_stride, graph_of, time_of
from kzoo.nn.graph import INPUT, Call, check_graph
from kzoo.nn.precision import in_float32
from kzoo.nn.receptive_field import ALIKE, View, padding_before, per_axis, ranked
from kzoo.tasks import Task

CAUSAL = "kzoo.create_model(..., causal=True) pads before alone"


class Flow(NamedTuple):
    """What a step computes of a tensor of the network.

    Attributes:
        tensor: its new positions, or one vector of all positions so far.
        time: its axis of time, counted with the batch; None for a vector.
        lead: how many positions of `fill` the network pads before the first one; negative for positions cut off there.
        fill: the value of that padding.
    """

    tensor: keras.KerasTensor
    time: int | None
    lead: int = 0
    fill: float = 0.0


@dataclasses.dataclass
class Memory:
    """The state of a step model, which is collected while it is built.

    Attributes:
        before: symbolic inputs, the state before a step.
        after: what the same state is after it.
        copies: copies of the network's layers, by identity.
    """

    before: list = dataclasses.field(default_factory=list)
    after: list = dataclasses.field(default_factory=list)
    copies: dict = dataclasses.field(default_factory=dict)

    def remembered(self, x, count: int, time: int, fill: float = 0.0):
        """Return `x` after the last `count` positions of the steps before, which are `fill` before the first step.

        State is zeros before the first step. Other values than zero are told by one more channel, of ones.
        """
        if count == 0:
            return x
        if not fill:
            return self.joined(x, count, time)
        ones = keras.ops.ones_like(x[..., :1])
        both = self.joined(keras.ops.concatenate([x, ones], axis=-1), count, time)
        return keras.ops.where(both[..., -1:] > 0, both[..., :-1], fill)

    def joined(self, x, count: int, time: int):
        """Return `x` after the last `count` positions of the steps before, along an axis; zeros before the first."""
        shape = (*x.shape[1:time], count, *x.shape[time + 1 :])
        state = keras.Input(shape, dtype=x.dtype, name=f"state{len(self.before) + 1}")
        both = keras.ops.concatenate([state, x], axis=time)
        self.before.append(state)
        self.after.append(both[along(time, slice(-count, None))])
        return both

    def copied(self, layer: keras.Operation, **changes):
        """Return a layer of the same weights, with changes of its configuration; an operation without any as it is."""
        if not isinstance(layer, keras.layers.Layer):
            return layer
        if id(layer) not in self.copies:
            copy = type(layer).from_config(layer.get_config() | changes)
            self.copies[id(layer)] = (layer, copy)
        return self.copies[id(layer)][1]

    def set_weights(self) -> None:
        """Give the copies the weights of their layers."""
        for layer, copy in self.copies.values():
            copy.set_weights(layer.get_weights())


@checked
def stream(
    model: keras.Model, data: Splits | Serving | None = None, *, time_axis: PositiveInt | None = None
) -> keras.Model:
    """Return a causal network as a step function with explicit state, itself a plain `keras.Model`.

    Its inputs are the next frames, (batch, frames, channels) or (batch, frames, frequency, channels), and the state, a
    list of tensors that are zeros before the first step; its outputs are what the network returns for these frames, and
    the state after them:

        step = kzoo.stream(model)
        state = [np.zeros((1, *tensor.shape[1:]), tensor.dtype) for tensor in step.inputs[1:]]
        output, *state = step([frames, *state])

    A step takes as many frames as the strides of the network multiply to. A network with `head="frames"` gives its
    next output, (batch, 1, outputs), what it would give there for the whole recording. Global pooling becomes a window
    that slides: the mean, or the maximum, over the last positions, as many as a clip of the length that the network was
    built for has, and over those so far while there are fewer; up to the end of the first clip that is what the network
    gives for what was heard. Dropout is left out. Weights are copied, in float32.

    Args:
        model: built of Keras layers, with one input, whose windows are padded before the first position alone:
            `create_model(..., causal=True)`, or `tcn`.
        data: the dataset it was trained on, or its `Serving` (`kzoo.load_run`): the step then takes the next samples of
            a raw waveform, (batch, samples), and returns answers, such as probabilities (batch, classes). Its frames
            are those of a recording with `kzoo.data.audio.incremental.shift` samples of silence before it.
        time_axis: the axis of time of the network's input, counted with the batch; that of the data's layout if not
            given, without data 1, and 2 for BC-ResNet.

    Raises:
        ValueError: for a network that cannot be streamed; it names the layer, and why. For data that cannot: features
            that depend on the whole recording, answers that do.
    """
    check_graph(model)
    model, memory = in_float32(model), Memory()
    if data is None:
        return stepped(model, time_axis or default_axis(model), memory)
    serving = data if isinstance(data, Serving) else Serving.of(data)
    check_streamed_data(serving.preprocess, serving.task)
    return stepped_from_samples(model, serving, time_axis or serving.preprocess.time_axis, memory)


def default_axis(model: keras.Model) -> int:
    """Return the axis of time that the architecture of a model has, known by its registered name."""
    card = MODELS.get(registered_name(model))
    return getattr(card and card.architecture, "time_axis", 1)


def stepped(model: keras.Model, axis: int, memory: Memory) -> keras.Model:
    """Return the step model from frames to outputs."""
    network = Network.of(model, axis)
    inputs = keras.Input(network.frames_shape, dtype=model.inputs[0].dtype, name="inputs")
    return finished(model, inputs, network.step(inputs, memory), memory)


def stepped_from_samples(model: keras.Model, serving: Serving, axis: int, memory: Memory) -> keras.Model:
    """Return the step model from samples to answers."""
    preprocess, network = serving.preprocess, Network.of(model, axis)
    frames = network.frames_shape[axis - 1]
    samples = keras.Input((frames * preprocess.step,), dtype=preprocess.raw_dtype, name="samples")
    recent = memory.remembered(keras.ops.cast(samples, "float32"), overlap(preprocess), 1)
    outputs = network.step(incremental(preprocess, frames)(recent), memory)
    answers = serving.task.decode(outputs)[serving.task.answer]
    return finished(model, samples, keras.ops.cast(answers, "float32"), memory)


def finished(model: keras.Model, inputs, outputs, memory: Memory) -> keras.Model:
    """Return the step model of what has been built; each state after a step is called as before it."""
    step = keras.Model([inputs, *memory.before], [outputs, *memory.after], name=model.name)
    memory.set_weights()
    return step


def check_streamed_data(preprocess: Preprocess, task: Task) -> None:
    """Raise a ValueError for data whose features or answers depend on the whole recording."""
    if not isinstance(preprocess, AudioPreprocess):
        raise ValueError(f"only recordings are streamed, not what {type(preprocess).__name__} takes; leave out data")
    if task.head != "pooled":
        raise ValueError(f"the answers of a {task.key} need the whole recording; leave out data for the outputs")
    check_incremental(preprocess)


class Network(NamedTuple):
    """A network to be streamed.

    Attributes:
        calls: of its layers, in the order of computation.
        views: what each of their tensors sees of the input.
        shape: of its input, without the batch; the axis of time may be None.
        axis: of time in the input, counted with the batch.
        stride: frames of a step.
        name: of the model.
        output: number of its output.
    """

    calls: list[Call]
    views: dict[int, View | None]
    shape: tuple[int | None, ...]
    axis: int
    stride: int
    name: str
    output: int

    @classmethod
    def of(cls, model: keras.Model, axis: int) -> Network:
        """Read the graph of a model; raise a ValueError for one with several outputs, or no such axis."""
        shape = tuple(model.inputs[0].shape[1:])
        if len(model.outputs) != 1:
            raise ValueError(f"only a network with one output can be streamed; {model.name} has {len(model.outputs)}")
        known = at_known_size(model)
        calls, views = graph_of(known)
        check_weights(calls, known)
        if time_of(views[INPUT], axis) is None:
            raise ValueError(f"time_axis must be a spatial axis of the input {shape}, counted from 1; got {axis}")
        return cls(calls, views, shape, axis, common_stride(views.values(), axis), model.name, calls[-1].targets[0])

    @property
    def frames_shape(self) -> tuple[int | None, ...]:
        """Shape of the frames of a step, without the batch."""
        return (*self.shape[: self.axis - 1], self.stride, *self.shape[self.axis :])

    def step(self, frames, memory: Memory):
        """Return the outputs for the frames of a step."""
        flows = {INPUT: Flow(frames, self.axis)}
        for call in self.calls:
            given = Given(self, call, [flows[number] for number in call.sources], memory)
            flows |= zip(call.targets, given.answer(), strict=True)
        found = flows[self.output]
        if found.lead:
            raise ValueError(f"{self.name} cannot be streamed: its outputs are padded or cut along time")
        return found.tensor


def check_weights(calls: Sequence[Call], model: keras.Model) -> None:
    """Raise a ValueError for calls of layers that are not the model's, but those of an untrained copy."""
    own = {id(weight) for weight in model.weights}
    foreign = [call.name for call in calls if not own.issuperset(map(id, getattr(call.operation, "weights", ())))]
    if foreign:
        raise ValueError(f"{model.name} cannot be streamed: the model inside it with {foreign[0]} has an unknown size")


class Given(NamedTuple):
    """A call of a layer, with what a step has for it."""

    network: Network
    call: Call
    flows: list[Flow]
    memory: Memory

    @property
    def flow(self) -> Flow:
        """The first of what the layer is called with."""
        return self.flows[0]

    def answer(self) -> list[Flow]:
        """Return what the step has of what the layer returns."""
        if all(flow.time is None for flow in self.flows):
            return self.as_it_is()
        rule = RULES.get(self.call.type)
        if rule is None or None in map(self.network.views.get, self.call.targets):
            raise self.refused("kzoo does not know how it works in time")
        return rule(self)

    def refused(self, reason: str) -> ValueError:
        """Return the error that says why a network cannot be streamed."""
        return ValueError(f"{self.network.name} cannot be streamed: {self.call.name} ({self.call.type}): {reason}")

    def made(self, *tensors, **changes) -> list[Flow]:
        """Return the new positions of what the layer returns."""
        views = [self.network.views[number] for number in self.call.targets]
        times = [time_of(view, self.network.axis) for view in views]
        return [Flow(tensor, time, **changes) for tensor, time in zip(tensors, times, strict=True)]

    def as_it_is(self, *tensors, **changes) -> list[Flow]:
        """Call the layer on the new positions alone, or on other tensors in place of them."""
        args, kwargs = self.call.refilled(tensors or [flow.tensor for flow in self.flows])
        made = self.memory.copied(self.call.operation, **changes)(*args, **kwargs)
        return self.made(*(made if isinstance(made, (list, tuple)) else [made]))

    def extent(self, sizes: int | Sequence[int]) -> int:
        """Return the size along time of a kernel, stride or dilation, given for each spatial axis or for all."""
        rank = len(self.flow.tensor.shape) - 2
        if self.flow.time > rank:
            raise self.refused("it sums over time")
        return per_axis(sizes, rank)[self.flow.time - 1]


def pointwise(given: Given) -> list[Flow]:
    """Layers that treat each position independently."""
    check_unpadded(given)
    if len({flow.time is None for flow in given.flows}) > 1:
        raise given.refused("it applies a mean over the whole recording to every position, known only at its end")
    return given.as_it_is()


def check_unpadded(given: Given) -> None:
    """Raise a ValueError for an input that is padded, which only windows see."""
    if any(flow.lead for flow in given.flows):
        raise given.refused("its input is padded along time, after which only a convolution or a pooling may follow")


def skipped(given: Given) -> list[Flow]:
    """Layers that do nothing in inference."""
    return given.flows


def windows(given: Given) -> list[Flow]:
    """Convolutions and poolings: their state is what their windows still see of the inputs before."""
    layer, (tensor, time, lead, fill) = given.call.operation, given.flow
    size = given.extent(getattr(layer, "kernel_size", None) or layer.pool_size)
    stride, gap = (given.extent(getattr(layer, name, 1)) for name in ("strides", "dilation_rate"))
    reach, padding = gap * (size - 1) + 1, getattr(layer, "padding", "valid")
    if padding == "same" and reach > stride:
        raise given.refused(f"padding='same' looks at inputs to come; {CAUSAL}")
    lead += padding_before(padding, 0, 0, reach, stride) if padding == "causal" else 0
    if lead < reach - stride:
        raise given.refused(f"it needs {reach - stride - lead} inputs to come; {CAUSAL}")
    if lead >= reach:
        raise given.refused(f"its first window lies in padding alone, {lead} positions before a window of {reach}")
    recent = given.memory.remembered(tensor, max(lead, 0), time, fill)
    recent = recent[along(time, slice(-lead, None))] if lead < 0 else recent
    return given.as_it_is(recent, **({"padding": "valid"} if padding == "causal" else {}))


def along(axis: int, part: slice) -> tuple[slice, ...]:
    """Return the index of a part of a tensor along an axis."""
    return (*[slice(None)] * axis, part)


def padded(given: Given) -> list[Flow]:
    """Padding: before the first position along time, of which the window after it knows; of other axes as it is."""
    operation, (tensor, time, lead, fill) = given.call.operation, given.flow
    _, options = given.call.refilled([tensor])
    value = options.get("constant_values") or 0.0
    widths = [tuple(width) for width in (operation.pad_width * len(tensor.shape))[: len(tensor.shape)]]
    before, after = widths[time]
    if after:
        raise given.refused(f"it pads {after} positions after the end of the recording; {CAUSAL}")
    if before and (operation.mode != "constant" or (lead and fill != value)):
        raise given.refused(f"its padding, {operation.mode!r}, depends on positions to come; {CAUSAL}")
    widths[time] = (0, 0)
    made = keras.ops.pad(tensor, widths, operation.mode, constant_values=value) if any(map(any, widths)) else tensor
    return given.made(made, lead=lead + before, fill=value if before else fill)


def sliced(given: Given) -> list[Flow]:
    """Indexing: along time the last position, or all but the first ones."""
    tensor, time, lead, fill = given.flow
    keys = given.call.arguments[1]
    keys = list(keys) if isinstance(keys, (tuple, list)) else [keys]
    keys += [slice(None)] * (time + 1 - len(keys))
    key = keys[time]
    if Ellipsis in keys[: time + 1] or not (key == -1 or (isinstance(key, slice) and from_start(key))):
        raise given.refused(f"of positions in time only [-1] and [start:] can be taken, not {key}")
    if key == -1:
        check_unpadded(given)
        return given.made(tensor[tuple(keys)])
    keys[time] = slice(None)
    return given.made(tensor[tuple(keys)], lead=lead - (key.start or 0), fill=fill)


def from_start(key: slice) -> bool:
    """Return whether a slice takes all positions from some place on."""
    return key.stop is None and key.step in (None, 1) and (key.start or 0) >= 0


def along_other_axes(given: Given) -> list[Flow]:
    """Layers that work along an axis, which must not be that of time."""
    rank = len(given.flow.tensor.shape)
    axes = getattr(given.call.operation, "axis", -1)
    axes = [axes] if isinstance(axes, int) else axes
    if axes is None or given.flow.time in [axis % rank for axis in axes]:
        raise given.refused("it works along time, over the whole recording")
    return pointwise(given)


def reduced(given: Given, over_time: Callable | None = None) -> list[Flow]:
    """Sums and the like over axes; the mean and the maximum over time are those of a window that slides.

    Args:
        given: the call.
        over_time: function of positions, of 1 for known ones and 0 for others, and of the axis of time; None for what
            has no such window.
    """
    rank = len(given.flow.tensor.shape)
    axes = getattr(given.call.operation, "axis", range(1, rank - 1))  # of global pooling
    axes = list(range(rank)) if axes is None else [axis % rank for axis in per_axis(axes, 1)]
    if given.flow.time not in axes:
        return pointwise(given)
    check_unpadded(given)
    if over_time is None or 0 in axes:
        raise given.refused("of all operations over time only the mean and the maximum have a window that slides")
    return given.made(windowed(given, axes, over_time))


def mean_of_known(values, known, time: int):
    """Return the mean over time of the positions that are known."""
    return keras.ops.sum(values * known, time, keepdims=True) / keras.ops.sum(known, time, keepdims=True)


def max_of_known(values, known, time: int):
    """Return the maximum over time of the positions that are known."""
    return keras.ops.max(keras.ops.where(known > 0, values, -float("inf")), axis=time, keepdims=True)


def windowed(given: Given, axes: Sequence[int], over_time: Callable):
    """Return the mean or the maximum over axes, one of which is time, of a window as long as the network's clip.

    Positions before the first one do not count.
    """
    tensor, time = given.flow.tensor, given.flow.time
    reduce = keras.ops.mean if over_time is mean_of_known else keras.ops.max
    if given.network.shape[given.network.axis - 1] is None:
        raise given.refused("its window has the length of a clip; build the network for one, or with head='frames'")
    positions = given.call.given[0][time - 1]
    others = [axis for axis in axes if axis != time]
    tensor = reduce(tensor, axis=others, keepdims=True) if others else tensor
    known = keras.ops.concatenate([tensor, keras.ops.ones_like(tensor[..., :1])], axis=-1)
    recent = given.memory.joined(known, max(positions - tensor.shape[time], 0), time)
    found = over_time(recent[..., :-1], recent[..., -1:], time)
    return found if given.call.operation.keepdims else keras.ops.squeeze(found, axis=axes)


def reshaped(given: Given) -> list[Flow]:
    """Reshaping that leaves the axis of time as it is."""
    check_unpadded(given)
    view = given.network.views[given.call.targets[0]]
    time = time_of(view, given.network.axis)
    if time is None:
        raise given.refused("it flattens all positions into one vector, of a fixed length")
    shape = [-1, *given.call.made[0]]
    shape[time] = given.flow.tensor.shape[given.flow.time]
    return given.made(keras.ops.reshape(given.flow.tensor, shape))


# layer or operation -> what a step does with it
RULES: dict[str, Callable[[Given], list[Flow]]] = {
    **dict.fromkeys(ALIKE.split(), pointwise),
    **dict.fromkeys(("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization"), skipped),
    **dict.fromkeys(ranked("SpatialDropout#"), skipped),
    **dict.fromkeys(ranked("Conv#", "DepthwiseConv#", "SeparableConv#", "MaxPooling#", "AveragePooling#"), windows),
    **dict.fromkeys(("StandardizedConv", "WhitenedConv"), windows),
    **dict.fromkeys(("Mean", *ranked("GlobalAveragePooling#")), functools.partial(reduced, over_time=mean_of_known)),
    **dict.fromkeys(("Max", *ranked("GlobalMaxPooling#")), functools.partial(reduced, over_time=max_of_known)),
    **dict.fromkeys(("Sum", "Min", "Prod", "Var", "Std", "Amax", "Amin"), reduced),
    **dict.fromkeys(("BatchNormalization", "LayerNormalization", "UnitNormalization", "Softmax"), along_other_axes),
    **dict.fromkeys(("Concatenate", "Split", "Take", "Flip", "Roll", "Glu", "Repeat"), along_other_axes),
    **dict.fromkeys(("Dense", "Embedding", "ExpandDims", "Squeeze", "Transpose", "Permute", "Swapaxes"), pointwise),
    **dict.fromkeys(ranked("UpSampling#"), pointwise),
    **dict.fromkeys(("Reshape", "Flatten"), reshaped),
    "Pad": padded,
    "GetItem": sliced,
}
