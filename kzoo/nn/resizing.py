"""Keras layers that resize feature maps: padding to a multiple, cropping, linear interpolation; of any size.

This module imports Keras eagerly; others import it when a network is built or loaded.
"""

import keras
import numpy as np


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


def spatial(x) -> list:
    """Return the sizes of the spatial axes: integers, or tensors where a size is known only when it runs."""
    return list(keras.ops.shape(x)[1:-1])


def cut(x, sizes):
    """Return the first positions of each spatial axis."""
    return x[(slice(None), *(slice(None, size) for size in sizes))]
