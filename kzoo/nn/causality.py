"""Causality along time, checked on the layer graph: which positions of a feature map depend on input to come."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from kzoo.core.lazy import keras, np
from kzoo.nn.graph import Call, calls, rebuilt
from kzoo.nn.receptive_field import View, views_in

ANY_LENGTH = 1024  # of an axis without a size, where one is needed
SHIFTS = {"Pad", "GetItem"}  # what moves positions before a window; the window after it is what counts


def sized(shape: Iterable[int | None]) -> tuple[int, ...]:
    """Return the shape of an example in which every size is known."""
    return tuple(ANY_LENGTH if size is None else size for size in shape)


def graph_of(model: keras.Model) -> tuple[list[Call], Mapping[int, View | None]]:
    """Return the calls of a model, and what each of their tensors sees of its input, which is `sized`."""
    shape = sized(model.inputs[0].shape[1:])
    found = calls(model, shape)
    return found, views_in(found, shape)


def at_known_size(model: keras.Model) -> keras.Model:
    """Return a model with the same weights whose input has a size, `ANY_LENGTH` where it is unknown."""
    shape = tuple(model.inputs[0].shape[1:])
    if None not in shape:
        return model
    known = rebuilt(model, sized(shape))
    known.set_weights(model.get_weights())
    return known


def time_of(view: View | None, axis: int) -> int | None:
    """Return the axis of time of a tensor, counted with the batch, from that of the input; None if it has none."""
    return view.place.index(axis - 1) + 1 if view is not None and axis - 1 in view.place else None


def common_stride(views: Iterable[View | None], axis: int) -> int:
    """Return the number of input positions after which every layer has new positions to compute."""
    strides = [view.axes[axis - 1].stride for view in views if time_of(view, axis) is not None]
    return math.lcm(*(int(stride) for stride in strides if stride >= 1))


def check_causal(name: str, model: keras.Model, axis: int) -> None:
    """Raise a ValueError that names the layer by which a network depends on input to come.

    An output at each position may see its input up to the end of the stride that it stands for.

    Args:
        name: of the network.
        model: the network.
        axis: of time in its input, counted with the batch.
    """
    found, views = graph_of(model)
    step = common_stride(views.values(), axis)
    for call in found:
        for view in map(views.get, call.targets):
            if view is None:
                raise ValueError(f"{name} cannot be causal: kzoo does not know what {call.name} ({call.type}) sees")
            if call.type not in SHIFTS and looks_ahead(view, axis, step):
                raise ValueError(f"{name} cannot be causal: {call.name} ({call.type}) depends on input to come")


def looks_ahead(view: View, axis: int, step: int) -> bool:
    """Return whether a position sees beyond its block of `step` input positions; a tensor without positions does not.

    Args:
        view: what a tensor sees.
        axis: of time in the input, counted with the batch.
        step: from `common_stride`.
    """
    if time_of(view, axis) is None:
        return False
    along = view.axes[axis - 1]
    blocks = np.arange(len(along.last)) * along.stride // step
    return along.joined is not None or bool((along.last >= (blocks + 1) * step).any())
