"""Histograms of oriented gradients (HOG), hand-crafted features of images.

Dalal, Triggs, 2005, Histograms of Oriented Gradients for Human Detection, as `skimage.feature.hog` computes them.
"""

import itertools
import math

import keras

from kzoo.nn.graph import Call
from kzoo.nn.handcrafted.layer import FixedFeatures
from kzoo.nn.portable import argmax
from kzoo.nn.receptive_field import View, through_channels

EPSILON = 1e-5  # a block without gradients stays 0
CLIP = 0.2  # of a normalised block, before it is normalised again


@keras.saving.register_keras_serializable("kzoo")
class HOG(FixedFeatures):
    """Histogram of gradient orientations in each cell, normalised over blocks of cells.

    Maps images (batch, height, width, channels) to (batch, rows, columns, block x block x orientations), with the rows
    and columns of blocks. Of several channels, the one with the largest gradient magnitude is used, pixel by pixel. A
    gradient adds its magnitude to one orientation bin. Pixels beyond the last complete cell are ignored.

    Args:
        cell: pixels along a side of a cell.
        block: cells along a side of a block, which are normalised together; blocks overlap by all but one cell.
        orientations: bins of the angle, from 0 to 180 degrees.
        block_norm: "l2_hys" or "l1_sqrt"; see `BLOCK_NORMS`.
    """

    ARGUMENTS = ("cell", "block", "orientations", "block_norm")

    def __init__(self, cell: int = 4, block: int = 2, orientations: int = 9, block_norm: str = "l2_hys", **options):
        super().__init__(**options)
        self.cell, self.block, self.orientations, self.block_norm = cell, block, orientations, block_norm

    def compute_output_shape(self, input_shape):
        blocks = [size and size // self.cell - self.block + 1 for size in input_shape[1:3]]
        return (input_shape[0], *blocks, self.block**2 * self.orientations)

    def receptive_field(self, call: Call, views: list[View]) -> View:
        """Return what the blocks see: their cells, one cell apart, and the neighbours of their pixels."""
        view, reach = views[0], self.cell * self.block + 2
        for axis, count in enumerate(call.made[0][:-1]):
            view = view.along(axis, lambda a, n=count: a.slid(n, reach, self.cell, 1))
        return through_channels(view)

    def call(self, x):
        down, right = steepest(*gradients(x))
        votes = orientation_votes(down, right, self.orientations)
        size = (self.cell, self.cell)
        cells = keras.ops.average_pool(votes, size, size, padding="valid", data_format="channels_last")
        return BLOCK_NORMS[self.block_norm](blocks_of(cells, self.block))


def gradients(x):
    """Return the differences between the neighbours below and above, right and left; 0 at the border."""
    down = keras.ops.pad(x[:, 2:] - x[:, :-2], ((0, 0), (1, 1), (0, 0), (0, 0)))
    right = keras.ops.pad(x[:, :, 2:] - x[:, :, :-2], ((0, 0), (0, 0), (1, 1), (0, 0)))
    return down, right


def steepest(down, right):
    """Return the gradients of the channel with the largest magnitude, at each pixel: (batch, height, width, 1)."""
    if down.shape[-1] == 1:
        return down, right
    longest = argmax(keras.ops.square(down) + keras.ops.square(right))[..., None]
    return keras.ops.take_along_axis(down, longest, -1), keras.ops.take_along_axis(right, longest, -1)


def orientation_votes(down, right, orientations: int):
    """Return the magnitude of each gradient in the bin of its orientation, (batch, height, width, orientations).

    A gradient and its opposite have the same orientation. Bins are found by the side of their edges on which a gradient
    lies, without computing angles.
    """
    opposite = (down < 0) | ((down == 0) & (right < 0))
    up, across = keras.ops.abs(down), keras.ops.where(opposite, -right, right)
    edges = [math.pi * number / orientations for number in range(1, orientations)]
    passed = [keras.ops.cast(up * math.cos(edge) >= across * math.sin(edge), "float32") for edge in edges]
    passed = [keras.ops.ones_like(up), *passed, keras.ops.zeros_like(up)]
    inside = keras.ops.concatenate([low - high for low, high in itertools.pairwise(passed)], axis=-1)
    return inside * length(down, right)


def length(down, right):
    """Return the magnitude of each gradient; 0 is excluded from the root, whose derivative is infinite there."""
    squares = keras.ops.square(down) + keras.ops.square(right)
    return keras.ops.where(squares > 0, keras.ops.sqrt(keras.ops.where(squares > 0, squares, 1.0)), 0.0)


def blocks_of(cells, block: int):
    """Return the concatenated cells of each block, (batch, rows, columns, block^2 x orientations)."""
    rows, columns = (size - block + 1 for size in cells.shape[1:3])
    offsets = [(row, column) for row in range(block) for column in range(block)]
    return keras.ops.concatenate([cells[:, i : i + rows, j : j + columns] for i, j in offsets], axis=-1)


def l2_hys(blocks):
    """Return L2-normalised blocks, clipped at 0.2 and normalised again (Lowe, 2004)."""
    return unit_length(keras.ops.minimum(unit_length(blocks), CLIP))


def l1_sqrt(blocks):
    """Return the roots of L1-normalised blocks, whose dot products are Bhattacharyya coefficients."""
    fractions = blocks / (keras.ops.sum(blocks, axis=-1, keepdims=True) + EPSILON)
    return keras.ops.sqrt(keras.ops.maximum(fractions, 1e-30))


def unit_length(x):
    """Divide by the L2 norm along the last axis."""
    return x / keras.ops.sqrt(keras.ops.sum(keras.ops.square(x), axis=-1, keepdims=True) + EPSILON**2)


BLOCK_NORMS = {"l2_hys": l2_hys, "l1_sqrt": l1_sqrt}  # two of the paper's
