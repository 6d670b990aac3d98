"""Keras layers that resize feature maps: padding to a multiple, cropping, linear interpolation; of any size.

This module imports Keras eagerly; others import it when a network is built or loaded.
"""

import math

import keras
import numpy as np

from kzoo.nn.portable import argmax


@keras.saving.register_keras_serializable("kzoo")
class PadToMultiple(keras.layers.Layer):
    """Zero padding of each spatial axis at its end to a multiple of a size, for maps of a size that is not known.

    Args:
        multiples: for each spatial axis.
    """

    def __init__(self, multiples: tuple[int, ...], **options):
        super().__init__(**options)
        self.multiples = tuple(multiples)

    def get_config(self) -> dict:
        return super().get_config() | {"multiples": self.multiples}

    def call(self, x):
        sizes = [-(-have // size) * size for have, size in zip(spatial(x), self.multiples, strict=True)]
        x = keras.ops.pad(x, ((0, 0), *((0, size - 1) for size in self.multiples), (0, 0)))
        return cut(x, sizes)


@keras.saving.register_keras_serializable("kzoo")
class CropLike(keras.layers.Layer):
    """Cropping of a feature map at the ends of its axes to the size of a second one."""

    def call(self, inputs):
        x, like = inputs
        return cut(x, spatial(like))


@keras.saving.register_keras_serializable("kzoo")
class Interpolate(keras.layers.Layer):
    """Bilinear interpolation of images, linear interpolation of series, without antialiasing.

    It is given a feature map; without factors also a second one, whose size the result has.

    Args:
        factors: for each spatial axis, the size of the result over that of the input.
        align_corners: map the first and last positions onto each other, as in PyTorch; else the ends of the axis, half
            a position further out.
    """

    def __init__(self, factors: tuple[int, ...] | None = None, align_corners: bool = False, **options):
        super().__init__(**options)
        self.factors = None if factors is None else tuple(factors)
        self.align_corners = align_corners

    def get_config(self) -> dict:
        return super().get_config() | {"factors": self.factors, "align_corners": self.align_corners}

    def call(self, inputs):
        x, sizes = self.sized(inputs)
        for axis, size in enumerate(sizes, start=1):
            if not isinstance(size, int) or x.shape[axis] != size:
                x = self.along(x, axis, size)
        return x

    def sized(self, inputs):
        """Return the feature map and the size of the result."""
        if self.factors is None:
            return inputs[0], spatial(inputs[1])
        return inputs, [have * factor for have, factor in zip(spatial(inputs), self.factors, strict=True)]

    def along(self, x, axis: int, size):
        ops, have = keras.ops, spatial(x)[axis - 1]
        place = self.positions(have, size)
        low = ops.floor(place)
        shape = [-1 if n == axis else 1 for n in range(len(x.shape))]
        weight = ops.reshape(ops.cast(place - low, x.dtype), shape)
        low = ops.cast(low, "int32")
        high = ops.minimum(low + 1, have - 1)
        first, second = (ops.take(x, indices, axis=axis) for indices in (low, high))
        return first + (second - first) * weight

    def positions(self, have, size):
        """Return where in an axis of `have` positions each of `size` ones lies, from 0 to have - 1."""
        ops = keras.ops
        index = ops.cast(ops.arange(size), "float32")
        have, size = ops.cast(have, "float32"), ops.cast(size, "float32")
        if self.align_corners:
            place = index * ((have - 1) / ops.maximum(size - 1, 1))
        else:
            place = (index + 0.5) * (have / size) - 0.5
        return ops.clip(place, 0, have - 1)

    def receptive_field(self, call, views):
        """Return what the result sees of the input, for `kzoo.nn.receptive_field`."""
        view = views[0]
        for axis, (have, size) in enumerate(zip(call.given[0][:-1], call.made[0][:-1], strict=True)):
            if have != size:
                place = keras.ops.convert_to_numpy(self.positions(have, size))
                first, last = np.floor(place).astype(int), np.ceil(place).astype(int)
                view = view.along(axis, lambda a, f=first, n=last, s=have / size: a.through(f, n, s))
        return view


@keras.saving.register_keras_serializable("kzoo")
class MaxUnpool(keras.layers.Layer):
    """Inverse of max pooling over 2 positions of each axis: each value returns to where its maximum was, among zeros.

    It is given a feature map, and one of twice its size, before the pooling. Of equal maxima the first counts.

    Args:
        factors: size of the pooling along each spatial axis.
    """

    def __init__(self, factors: tuple[int, ...], **options):
        super().__init__(**options)
        self.factors = tuple(factors)

    def get_config(self) -> dict:
        return super().get_config() | {"factors": self.factors}

    def call(self, inputs):
        ops, (x, before) = keras.ops, inputs
        places = ops.reshape(ops.arange(math.prod(self.factors), dtype="int32"), (-1, 1))
        first = argmax(self.windows(before), axis=-2)
        chosen = ops.equal(places, ops.expand_dims(first, axis=-2))
        return self.joined(ops.cast(chosen, x.dtype) * ops.expand_dims(x, axis=-2))

    def windows(self, x):
        """Return (batch, ..., positions of a window, channels)."""
        batch, *sizes, channels = keras.ops.shape(x)
        pairs = [n for size, factor in zip(sizes, self.factors, strict=True) for n in (size // factor, factor)]
        x = keras.ops.reshape(x, (batch, *pairs, channels))
        rank = len(sizes)
        order = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1)
        x = keras.ops.transpose(x, order)
        return keras.ops.reshape(x, (batch, *pairs[::2], math.prod(self.factors), channels))

    def joined(self, x):
        """Return the feature map whose `windows` these are."""
        batch, *sizes, _, channels = keras.ops.shape(x)
        rank = len(sizes)
        x = keras.ops.reshape(x, (batch, *sizes, *self.factors, channels))
        pairs = [axis for n in range(1, rank + 1) for axis in (n, n + rank)]
        x = keras.ops.transpose(x, (0, *pairs, 2 * rank + 1))
        return keras.ops.reshape(x, (batch, *(s * f for s, f in zip(sizes, self.factors, strict=True)), channels))

    def receptive_field(self, call, views):
        """Return what the result sees of the input: its windows of the map before the pooling."""
        view = views[1]
        for axis, factor in enumerate(self.factors):
            place = np.arange(call.made[0][axis]) // factor * factor
            view = view.along(axis, lambda a, p=place, f=factor: a.through(p, p + f - 1, 1))
        return view


def spatial(x) -> list:
    """Return the sizes of the spatial axes: integers, or tensors where a size is known only when it runs."""
    return list(keras.ops.shape(x)[1:-1])


def cut(x, sizes):
    """Return the first positions of each spatial axis."""
    return x[(slice(None), *(slice(None, size) for size in sizes))]
