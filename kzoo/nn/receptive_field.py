"""Receptive fields, computed from the layer graph.

Windows act on each axis independently, so that a receptive field is one interval for each axis. Intervals are followed
for every position from layer to layer, because upsampled, sliced and concatenated positions see windows of unequal
sizes and distances.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kzoo.core.lazy import np
from kzoo.nn.graph import INPUT, Call

Interval = tuple[int, int]


class ReceptiveField(NamedTuple):
    """Receptive field of the middle position of a feature map; one number for each spatial axis of the input.

    Attributes:
        size: input positions from the first to the last that it depends on. Padding inside its windows is counted, so
            that it can be larger than the input, except where a mean over all positions, a gate or a dense layer widens
            it.
        window: the size through windows alone, without gates and normalisations over all positions; None where
            positions have been pooled globally, flattened or reduced.
        stride: cumulative stride (jump): input positions between the windows of two neighbours; None like `window`.
        centre: input position of the centre of the first position's window, from 0; that of position i is i strides
            further (after an upsampling, to within the stride before it). None like `window`.
        whole: every position depends on the whole input.
    """

    size: tuple[int, ...]
    window: tuple[int | None, ...]
    stride: tuple[float | None, ...]
    centre: tuple[float | None, ...]
    whole: bool


class Axis(NamedTuple):
    """What a feature map sees of one axis of the input, of `length` positions.

    Attributes:
        first: for each position of the feature map, where its window begins, perhaps before the input; None if no axis
            of the feature map runs along this one any more.
        last: where that window ends, inclusive.
        stride: between neighbours.
        joined: what all positions see in common, besides their windows; None for nothing.
        length: of the input.
    """

    first: np.ndarray | None
    last: np.ndarray | None
    stride: float
    joined: Interval | None
    length: int

    def seen(self) -> Interval:
        """Return the part of the input that all positions together see."""
        if self.first is None:
            return self.joined
        ends = (int(self.first.min()), int(self.last.max()))
        return hull(ends, self.joined, most=self.length)

    def collapsed(self) -> Axis:
        """Reduce all positions to one."""
        return Axis(None, None, 0, self.seen(), self.length)

    def mixed(self) -> Axis:
        """Let every position see what any of them sees, as a normalisation over positions does."""
        return self._replace(joined=self.seen())

    def through(self, first: np.ndarray, last: np.ndarray, stride: float) -> Axis:
        """Return new positions, which see the old ones from `first` to `last` and are `stride` old ones apart."""
        return self._replace(
            first=continued(self.first, first, self.stride),
            last=continued(self.last, last, self.stride),
            stride=self.stride * stride,
        )

    def slid(self, count: int, reach: int, stride: int = 1, before: int = 0) -> Axis:
        """Slide a window of `reach` positions `count` times, starting `before` positions before the first."""
        starts = np.arange(count) * stride - before
        return self.through(starts, starts + reach - 1, stride)


def continued(values: np.ndarray, indices: np.ndarray, stride: float) -> np.ndarray:
    """Return the values at these indices, extrapolated beyond both ends in steps of the stride."""
    inside = np.clip(indices, 0, len(values) - 1)
    return values[inside] + (indices - inside) * stride


def hull(*intervals: Interval | None, most: int) -> Interval | None:
    """Return the smallest interval around those that are not None, within an axis of `most` positions."""
    known = [interval for interval in intervals if interval is not None]
    if not known:
        return None
    first, last = min(first for first, _ in known), max(last for _, last in known)
    return min(max(first, 0), most - 1), max(min(last, most - 1), 0)


class View(NamedTuple):
    """What a feature map sees of the input.

    Attributes:
        axes: one for each spatial axis of the input.
        place: for each axis of the feature map but the batch, the axis of the input that it runs along; None for
            channels.
    """

    axes: tuple[Axis, ...]
    place: tuple[int | None, ...]

    def along(self, axis: int, change: Callable[[Axis], Axis]) -> View:
        """Change what is seen along an axis of the feature map, unless that is one of channels."""
        if self.place[axis] is None:
            return self
        axes = list(self.axes)
        axes[self.place[axis]] = change(axes[self.place[axis]])
        return self._replace(axes=tuple(axes))

    def collapsed(self, axes: Sequence[int], keepdims: bool = False) -> View:
        """Reduce these axes of the feature map, which are dropped or, with `keepdims`, become one wide."""
        axes, view = {axis % len(self.place) for axis in axes}, self
        for axis in axes:
            view = view.along(axis, Axis.collapsed)
        kept = [None if n in axes else place for n, place in enumerate(view.place) if keepdims or n not in axes]
        return view._replace(place=tuple(kept))

    def placed(self, place: Sequence[int | None]) -> View:
        """Rearrange the axes of the feature map; those of the input that none runs along any more are reduced."""
        lost = [n for n, old in enumerate(self.place) if old is not None and old not in place]
        return self.collapsed(lost, keepdims=True)._replace(place=tuple(place))

    def field(self) -> ReceptiveField:
        """Return the receptive field in numbers."""
        size, window, strides, centres = [], [], [], []
        for axis in self.axes:
            local = axis.first is not None
            n = len(axis.first) // 2 if local else 0
            middle = (int(axis.first[n]), int(axis.last[n])) if local else None
            seen = middle if axis.joined is None else hull(middle, axis.joined, most=axis.length)
            size.append(seen[1] - seen[0] + 1)
            window.append(middle[1] - middle[0] + 1 if local else None)
            strides.append(tidy(axis.stride) if local else None)
            centres.append(tidy((axis.first[0] + axis.last[0]) / 2) if local else None)
        return ReceptiveField(*map(tuple, (size, window, strides, centres)), all(map(sees_all, self.axes)))


def sees_all(axis: Axis) -> bool:
    """Return whether every position depends on the whole axis of the input."""
    first, last = axis.joined or (axis.length, -1)
    if axis.first is not None:
        first, last = np.minimum(axis.first, first).max(), np.maximum(axis.last, last).min()
    return bool(first <= 0 and last >= axis.length - 1)


def tidy(number: float) -> float:
    """Return a whole number as an integer."""
    return int(number) if number == int(number) else float(number)


def view_of_input(shape: Sequence[int], spatial: int) -> View:
    """Return what the input sees of itself.

    Args:
        shape: of one example.
        spatial: how many of its axes, from the first, have positions; what follows are channels.
    """
    axes = tuple(Axis(np.arange(size), np.arange(size), 1, None, size) for size in shape[:spatial])
    return View(axes, (*range(len(axes)), *(None,) * (len(shape) - len(axes))))


def views_in(calls: Sequence[Call], shape: Sequence[int]) -> dict[int, View | None]:
    """Return what each tensor of a graph sees of the input, by its number; None where kzoo does not know it.

    Args:
        calls: see `kzoo.nn.graph.calls`.
        shape: of one example.
    """
    views: dict[int, View | None] = {INPUT: view_of_input(shape, spatial_axes(calls, shape))}
    for call in calls:
        seen = [views[number] for number in call.sources]
        outputs = [None] * len(call.made) if None in seen else views_after(call, seen)
        views |= zip(call.targets, outputs, strict=True)
    return views


def spatial_axes(calls: Sequence[Call], shape: Sequence[int]) -> int:
    """Return how many axes of the input have positions: all but the channels, if it has some."""
    ranks = [int(match[1]) for call in calls if (match := re.search(r"(\d)D(Transpose)?$", call.type))]
    return min(len(shape), max([1, len(shape) - 1, *ranks]))


def views_after(call: Call, views: list[View]) -> list[View | None]:
    """Return what each output of a call sees of the input; None where kzoo does not know it."""
    rule = RULES.get(call.type) or getattr(call.operation, "receptive_field", unknown)
    if getattr(call.operation, "data_format", None) == "channels_first":
        rule = unknown
    found = rule(call, views)
    found = found if isinstance(found, list) else [found] * len(call.made)
    pairs = zip(found, call.made, strict=True)
    found = [view if view is not None and len(view.place) == len(made) else None for view, made in pairs]
    if None in found and all(place is None for view in views for place in view.place):
        found = [joined(views, shape) for shape in call.made]  # no positions are left, whatever the operation does
    return found


def unknown(call: Call, views: list[View]) -> None:
    """Return None for an operation that is not among the `RULES` and has no method `receptive_field`."""


def joined(views: Sequence[View], made: Sequence[int]) -> View:
    """Return what an operation sees whose every output depends on all positions of its inputs."""
    views = [view.placed([None] * len(view.place)) for view in views]
    return union(views, (None,) * len(made))


def union(views: Sequence[View], place: Sequence[int | None]) -> View:
    """Return what at least one of several views of the same positions sees."""
    axes = []
    for several in zip(*(view.axes for view in views), strict=True):
        local = [axis for axis in several if axis.first is not None]
        joined = hull(*(axis.joined for axis in several), most=several[0].length)
        if local:
            first = np.min(np.broadcast_arrays(*(axis.first for axis in local)), axis=0)
            last = np.max(np.broadcast_arrays(*(axis.last for axis in local)), axis=0)
            stride = max(axis.stride for axis in local)
            axes.append(Axis(first, last, stride, joined, several[0].length))
        else:
            axes.append(several[0]._replace(joined=joined))
    return View(tuple(axes), tuple(place))


def same(call: Call, views: list[View]) -> View:
    """Element-wise operations on one feature map, or on several, which are broadcast."""
    rank = max(len(view.place) for view in views)
    places = [(None,) * (rank - len(view.place)) + view.place for view in views]
    return union(views, [next((p for p in column if p is not None), None) for column in zip(*places, strict=True)])


def windows(call: Call, views: list[View]) -> View:
    """Convolutions and pooling."""
    layer, view = call.operation, views[0]
    sizes = getattr(layer, "kernel_size", None) or layer.pool_size
    rank = len(call.given[0]) - 1
    steps, gaps = (getattr(layer, name, 1) for name in ("strides", "dilation_rate"))
    sizes, strides, gaps = (per_axis(size, rank) for size in (sizes, steps, gaps))
    padding = getattr(layer, "padding", "valid")
    for axis, (size, stride, gap) in enumerate(zip(sizes, strides, gaps, strict=True)):
        reach, count = gap * (size - 1) + 1, call.made[0][axis]
        before = padding_before(padding, call.given[0][axis], count, reach, stride)
        view = view.along(axis, lambda a, n=count, r=reach, s=stride, b=before: a.slid(n, r, s, b))
    return through_channels(view)


def per_axis(sizes: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """Return a size for each axis."""
    return (sizes,) * rank if isinstance(sizes, int) else tuple(sizes)


def padding_before(padding: str, have: int, count: int, reach: int, stride: int) -> int:
    """Return how many positions are padded before the first, for `count` windows on `have` positions."""
    total = {"valid": 0, "causal": 2 * (reach - 1), "same": max((count - 1) * stride + reach - have, 0)}[padding]
    return total // 2


def through_channels(view: View) -> View:
    """Reduce the last axis, which a convolution and a dense layer sum over, and make it one of channels."""
    return view.along(-1, Axis.collapsed)._replace(place=(*view.place[:-1], None))


def transposed(call: Call, views: list[View]) -> View:
    """Transposed convolutions: position i of the input is spread over a window of the output from i strides on."""
    layer, view, rank = call.operation, views[0], len(call.given[0]) - 1
    sizes, strides, gaps = (per_axis(s, rank) for s in (layer.kernel_size, layer.strides, layer.dilation_rate))
    for axis, (size, stride, gap) in enumerate(zip(sizes, strides, gaps, strict=True)):
        reach, have, count = gap * (size - 1) + 1, call.given[0][axis], call.made[0][axis]
        before = max((have - 1) * stride + reach - count, 0) // 2 if layer.padding == "same" else 0
        outputs = np.arange(count) + before
        first, last = -(-(outputs - reach + 1) // stride), outputs // stride
        view = view.along(axis, lambda a, f=first, n=last, s=stride: a.through(np.minimum(f, n), n, 1 / s))
    return through_channels(view)


def dense(call: Call, views: list[View]) -> View:
    """Sums over the last axis."""
    return through_channels(views[0])


def upsampled(call: Call, views: list[View]) -> View:
    """Repeated or interpolated positions."""
    view, factors = views[0], per_axis(call.operation.size, len(call.given[0]) - 1)
    nearest = getattr(call.operation, "interpolation", "nearest") == "nearest"
    if not nearest and call.operation.interpolation != "bilinear":
        return None
    for axis, factor in enumerate(factors):
        middles = (np.arange(call.made[0][axis]) + 0.5) / factor - 0.5
        first, last = np.floor(middles).astype(int), np.ceil(middles).astype(int)
        if nearest:
            first = last = np.arange(call.made[0][axis]) // factor
        view = view.along(axis, lambda a, f=first, n=last, s=factor: a.through(f, n, 1 / s))
    return view


def adapted(call: Call, views: list[View]) -> View:
    """Adaptive pooling, to a given number of windows."""
    view = views[0]
    for axis, count in enumerate(call.made[0][:-1]):
        have = call.given[0][axis]
        first, last = np.arange(count) * have // count, -(-np.arange(1, count + 1) * have // count) - 1
        view = view.along(axis, lambda a, f=first, n=last, s=have / count: a.through(f, n, s))
    return view


def padded(call: Call, views: list[View]) -> View:
    """Padding and cropping."""
    operation, view = call.operation, views[0]
    widths = getattr(operation, "pad_width", None)
    if widths is None:
        sign, widths = (1, operation.padding) if hasattr(operation, "padding") else (-1, operation.cropping)
        widths = [widths] if isinstance(widths[0], int) else widths
        befores = [sign * before for before, _ in widths]
    else:
        befores = [before for before, _ in (widths * len(call.given[0]) if len(widths) == 1 else widths[1:])]
    for axis, before in enumerate(befores):
        view = view.along(axis, lambda a, n=call.made[0][axis], b=before: a.slid(n, 1, 1, b))
    return view


def reduced(call: Call, views: list[View]) -> View:
    """Sums, means and maxima over some axes; of global pooling, over all but the channels."""
    rank = len(call.given[0])
    axes = call.operation.axis if hasattr(call.operation, "axis") else range(1, rank)
    axes = range(rank + 1) if axes is None else (axes,) if isinstance(axes, int) else axes
    return views[0].collapsed([without_batch(a, rank) for a in axes if a % (rank + 1)], call.operation.keepdims)


def without_batch(axis: int, rank: int) -> int:
    """Return an axis counted without the batch, of a feature map that has `rank` others."""
    return axis % (rank + 1) - 1


def reshaped(call: Call, views: list[View]) -> View:
    """Reshaping: an axis is kept if the new shape has one of its size with as many values before it."""
    view, given, made = views[0], call.given[0], call.made[0]
    place: list[int | None] = [None] * len(made)
    for axis, old in enumerate(view.place):
        for n, size in enumerate(made):
            if (
                old is not None
                and old not in place
                and size == given[axis]
                and values_before(made, n) == values_before(given, axis)
            ):
                place[n] = old
    return view.placed(place)


def values_before(shape: Sequence[int], axis: int) -> int:
    """Return the product of the sizes before an axis."""
    return math.prod(shape[:axis])


def permuted(call: Call, views: list[View]) -> View:
    """Transposition of axes."""
    operation, rank = call.operation, len(call.given[0])
    if hasattr(operation, "dims"):
        order = list(operation.dims)
    elif hasattr(operation, "axis1"):
        order = list(range(rank + 1))
        one, two = operation.axis1 % (rank + 1), operation.axis2 % (rank + 1)
        order[one], order[two] = order[two], order[one]
        order = order[1:]
    else:
        order = list(range(rank, 0, -1)) if operation.axes is None else [a % (rank + 1) for a in operation.axes][1:]
    return None if 0 in order else views[0]._replace(place=tuple(views[0].place[a - 1] for a in order))


def concatenated(call: Call, views: list[View]) -> View | None:
    """Concatenation, along channels or along positions."""
    axis = without_batch(call.operation.axis, len(call.given[0]))
    places = {view.place[axis] for view in views}
    if None in places:
        return same(call, [view.collapsed([axis], keepdims=True) for view in views])
    if len(places) > 1 or len({view.place for view in views}) > 1:
        return None
    along = places.pop()
    joint = same(call, [view.along(axis, Axis.collapsed) for view in views])
    parts = [view.axes[along] for view in views]
    ends = [np.concatenate([getattr(part, end) for part in parts]) for end in ("first", "last")]
    common = hull(*(part.joined for part in parts), most=parts[0].length)
    axes = list(joint.axes)
    axes[along] = Axis(*ends, parts[0].stride, common, parts[0].length)
    return View(tuple(axes), views[0].place)


def stacked(call: Call, views: list[View]) -> View:
    """Stacking along a new axis."""
    view = same(call, views)
    new = call.operation.axis % (len(view.place) + 2) - 1
    return view._replace(place=(*view.place[:new], None, *view.place[new:]))


def split(call: Call, views: list[View]) -> list[View]:
    """Splitting into parts along an axis."""
    view, axis = views[0], without_batch(call.operation.axis, len(call.given[0]))
    ends = np.cumsum([shape[axis] for shape in call.made])
    return [
        view.along(axis, lambda a, n=shape[axis], b=end: a.slid(n, 1, 1, n - b))
        for shape, end in zip(call.made, ends.tolist(), strict=True)
    ]


def sliced(call: Call, views: list[View]) -> View | None:
    """Indexing by integers and slices, as `x[:, -1]` and `x[:, ::2]`."""
    keys = call.arguments[1]  # a list in a model that was loaded from a file
    keys = tuple(keys) if isinstance(keys, (tuple, list)) else (keys,)
    if Ellipsis in keys or not all(isinstance(key, (int, slice)) for key in keys) or keys[:1] != (slice(None),):
        return None
    view, dropped = views[0], []
    for axis, key in enumerate(keys[1:]):
        indices = np.atleast_1d(np.arange(call.given[0][axis])[key])
        step = (key.step or 1) if isinstance(key, slice) else 1
        view = view.along(axis, lambda a, i=indices, s=step: a.through(i, i, s))
        dropped += [axis] * isinstance(key, int)
    return view.collapsed(dropped)


def chosen(call: Call, views: list[View]) -> View | None:
    """Reordering along an axis, which is known for channels alone."""
    axis = getattr(call.operation, "axis", -1)
    moved = axis is None or views[0].place[without_batch(axis, len(call.given[0]))] is not None
    return None if moved else views[0]


def compared(call: Call, views: list[View]) -> View:
    """Selection along an axis by comparing all its values, such as the largest."""
    axis = without_batch(getattr(call.operation, "axis", -1), len(call.given[0]))
    return union(
        [view.placed([p if n != axis else None for n, p in enumerate(view.place)]) for view in views],
        [p if n != axis else None for n, p in enumerate(views[0].place)],
    )


def normalized(call: Call, views: list[View]) -> View:
    """Normalisation by statistics over some axes."""
    view, rank = views[0], len(call.given[0])
    axes = getattr(call.operation, "axis", -1)
    axes = (axes,) if isinstance(axes, int) else axes
    if call.type == "GroupNormalization":
        axes = range(1, rank + 1)
    for axis in axes:
        view = view.along(without_batch(axis, rank), Axis.mixed)
    return view


def embedded(call: Call, views: list[View]) -> View:
    """Embedding of token ids."""
    return views[0]._replace(place=(*views[0].place, None))


def everything(call: Call, views: list[View]) -> View:
    """Operations whose every output depends on all positions."""
    return joined(views, call.made[0])


# layers, then operations of keras.ops, that are element-wise
ALIKE = """
Activation ReLU LeakyReLU PReLU ELU Dropout AlphaDropout GaussianDropout GaussianNoise SpatialDropout1D SpatialDropout2D
SpatialDropout3D ActivityRegularization Identity BatchNormalization Rescaling Normalization Add Subtract Multiply
Average Maximum Minimum SkipGain CustomScaleLayer LayerScale StochasticDepth
Absolute Cast Celu Clip Divide Elu Erf Exp Gelu HardSigmoid HardSilu HardTanh LeakyRelu Log Log1p LogSigmoid Mish
Negative Power Reciprocal Relu Relu6 Rsqrt Selu Sigmoid Sign Silu Softplus Softsign Sqrt Square StopGradient Tanh
TrueDivide Where
"""


def ranked(*kinds: str) -> list[str]:
    """Return the names of layers for each number of spatial axes."""
    return [kind.replace("#", rank) for kind in kinds for rank in ("1D", "2D", "3D")]


RULES: dict[str, Callable[[Call, list[View]], View | list[View] | None]] = {
    **dict.fromkeys(ALIKE.split(), same),
    **dict.fromkeys(ranked("Conv#", "DepthwiseConv#", "SeparableConv#", "MaxPooling#", "AveragePooling#"), windows),
    **dict.fromkeys(ranked("AdaptiveMaxPooling#", "AdaptiveAveragePooling#"), adapted),
    **dict.fromkeys(ranked("GlobalMaxPooling#", "GlobalAveragePooling#"), reduced),
    **dict.fromkeys(ranked("Conv#Transpose"), transposed),
    **dict.fromkeys([*ranked("UpSampling#"), "PixelShuffle"], upsampled),
    **dict.fromkeys(ranked("ZeroPadding#", "Cropping#"), padded),
    **dict.fromkeys(("Sum", "Mean", "Max", "Min", "Prod", "Var", "Std", "Amax", "Amin"), reduced),
    **dict.fromkeys(("Reshape", "Flatten", "ExpandDims", "Squeeze"), reshaped),
    **dict.fromkeys(("Permute", "Transpose", "Swapaxes"), permuted),
    **dict.fromkeys(("LayerNormalization", "GroupNormalization", "UnitNormalization", "Softmax"), normalized),
    **dict.fromkeys(("Take", "Flip", "Roll", "Glu", "Repeat"), chosen),
    **dict.fromkeys(("TopK", "Sort", "TakeAlongAxis"), compared),
    "StandardizedConv": windows,
    "WhitenedConv": windows,
    "Dense": dense,
    "Pad": padded,
    "Concatenate": concatenated,
    "Stack": stacked,
    "Split": split,
    "GetItem": sliced,
    "Embedding": embedded,
}
