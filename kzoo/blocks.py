"""Blocks that more than one architecture uses, written in the vocabulary of `kzoo.layers`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from kzoo.layers import (
    Size,
    act,
    batch_norm,
    conv,
    conv_norm_act,
    dense,
    depthwise_conv,
    drop_path,
    dropout,
    global_avg_pool,
    scope,
    tap,
)
from kzoo.lazy import lazy_import

keras = lazy_import("keras")


def squeeze_excite(x, ratio: float, *, divisor: int = 1, activation: str = "relu", gate: str = "sigmoid"):
    """Scale each channel by a gate computed from the global mean of all channels.

    Hu, Shen, Sun, 2018, Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507.

    Args:
        x: feature map with C channels.
        ratio: hidden channels of the gate as a fraction of C, in (0, 1].
        divisor: what the hidden channels are rounded to a multiple of.
        activation: of the hidden channels.
        gate: activation that makes the factors.
    """
    channels = x.shape[-1]
    hidden = max(1, round(channels * ratio)) if divisor == 1 else divisible(channels * ratio, divisor)
    y = global_avg_pool(x, keepdims=True)
    with scope("se"):
        y = conv(y, hidden, 1, activation=activation)
        y = conv(y, channels, 1, activation=gate)
    return keras.layers.multiply([x, y])


def divisible(channels: float, divisor: int = 8, least: float = 0.9) -> int:
    """Round scaled channels to a multiple of `divisor` that is at least one, and `least` of what was asked for."""
    rounded = max(1, math.floor(channels / divisor + 0.5)) * divisor
    return rounded if rounded >= least * channels else rounded + divisor


def together(**fields: Sequence) -> zip:
    """Go through hyperparameters that have one entry each for every stage.

    Raises:
        ValueError: if they differ in length.
    """
    if len({len(entries) for entries in fields.values()}) > 1:
        given = " and ".join(str(entries) for entries in fields.values())
        raise ValueError(f"{' and '.join(fields)} must have equally many entries, got {given}")
    return zip(*fields.values(), strict=True)


def stages(x, block: Callable, *, depths: Sequence[int], strides: Sequence[int], **fields: Sequence):
    """Make the blocks of each stage in turn: the body of an architecture that is written as a table.

    A block is `block(x, stride, ...)` with the stage's entry of each field; the first one of a stage takes its stride.
    The output of stage n is named `stage<n>`.

    Args:
        x: feature map.
        block: a function from feature map to feature map.
        depths: number of blocks in each stage.
        strides: step of each stage.
        **fields: what else the blocks are given. An entry that is a tuple has a value for each block of its stage, of
            which the last stands for all blocks after it.

    Raises:
        ValueError: if the fields differ in length.
    """
    for stage, (depth, stride, *row) in enumerate(together(depths=depths, strides=strides, **fields), start=1):
        for n in range(depth):
            values = [entry[min(n, len(entry) - 1)] if isinstance(entry, tuple) else entry for entry in row]
            with scope(f"stage{stage}.block{n}"):
                x = block(x, stride if n == 0 else 1, *values)
        x = tap(x, f"stage{stage}")
    return x


def rising_rates(rate: float, depths: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """Return a rate of stochastic depth for each block of each stage: none for the first, nearly `rate` for the last.

    Huang et al., 2016, Deep Networks with Stochastic Depth, https://arxiv.org/abs/1603.09382.
    """
    firsts = [sum(depths[:stage]) for stage in range(len(depths))]
    return tuple(
        tuple(rate * (first + block) / sum(depths) for block in range(depth))
        for first, depth in zip(firsts, depths, strict=True)
    )


def inverted_residual(
    x,
    filters: int,
    kernel: Size = 3,
    *,
    stride: Size = 1,
    expansion: float = 6,
    activation: str = "relu6",
    excite: Callable = lambda x: x,
    drop_rate: float = 0.0,
):
    """Expand the channels, convolve each on its own, project them back: the block of mobile networks.

    Sandler et al., 2018, MobileNetV2, https://arxiv.org/abs/1801.04381.

    Args:
        x: feature map with C channels.
        filters: channels of the result; if they are C, at stride 1, `x` is added.
        kernel: size of the depthwise convolution.
        stride: step of the depthwise convolution.
        expansion: hidden channels as a multiple of C; 1 leaves out the expanding convolution.
        activation: of the hidden channels; the result has none.
        excite: what is done to the hidden channels before the projection.
        drop_rate: fraction of the examples that go without this block in training.
    """
    y = conv_norm_act(x, divisible(x.shape[-1] * expansion), 1, activation=activation) if expansion != 1 else x
    y = excite(depthwise_norm_act(y, kernel, stride=stride, activation=activation))
    y = conv_norm_act(y, filters, 1, activation=None)
    return add_where_shape_is_kept(x, y, stride, drop_rate)


def fused_inverted_residual(
    x,
    filters: int,
    kernel: Size = 3,
    *,
    stride: Size = 1,
    expansion: float = 4,
    activation: str = "silu",
    drop_rate: float = 0.0,
):
    """Inverted residual whose expansion and depthwise convolution are one dense convolution; see there.

    Tan, Le, 2021, EfficientNetV2, https://arxiv.org/abs/2104.00298. Expansion 1 leaves out the projection.
    """
    if expansion == 1:
        y = conv_norm_act(x, filters, kernel, stride=stride, activation=activation)
    else:
        y = conv_norm_act(x, divisible(x.shape[-1] * expansion), kernel, stride=stride, activation=activation)
        y = conv_norm_act(y, filters, 1, activation=None)
    return add_where_shape_is_kept(x, y, stride, drop_rate)


def add_where_shape_is_kept(x, y, stride: Size, drop_rate: float = 0.0):
    """Return `y`, the output of a branch, plus its input where they are of one shape."""
    return keras.layers.add([x, drop_path(y, drop_rate)]) if stride == 1 and x.shape[-1] == y.shape[-1] else y


def depthwise_norm_act(x, kernel: Size = 3, *, stride: Size = 1, activation: str | None = "relu"):
    """Depthwise convolution, batch normalisation, activation."""
    return act(batch_norm(depthwise_conv(x, kernel, stride=stride, use_bias=False)), activation)


def separable_conv(x, filters: int, kernel: Size = 3, *, dilation: Size = 1):
    """Convolve each channel on its own, then mix the channels at each position; no bias."""
    x = depthwise_conv(x, kernel, dilation=dilation, use_bias=False)
    return conv(x, filters, 1, use_bias=False)


def separable_norm_act(
    x, filters: int, kernel: Size = 3, *, stride: Size = 1, use_bias: bool = False, scale: bool = True
):
    """Separable convolution with normalisation and ReLU after each of its two steps.

    Howard et al., 2017, MobileNets, https://arxiv.org/abs/1704.04861.

    Args:
        x: feature map.
        filters: channels of the result.
        kernel: size of the depthwise convolution.
        stride: step of the depthwise convolution.
        use_bias: biases in both convolutions, although a normalisation follows.
        scale: learn a scale in both normalisations.
    """
    x = act(batch_norm(depthwise_conv(x, kernel, stride=stride, use_bias=use_bias), scale=scale))
    return conv_norm_act(x, filters, 1, use_bias=use_bias, scale=scale)


def dense_layers(x, units: Sequence[int], dropout_rate: float = 0.0, activation: str = "relu"):
    """Connect a vector to fully connected layers in turn, of so many `units`, each followed by dropout."""
    for width in units:
        x = dropout(dense(x, width, activation), dropout_rate)
    return x
