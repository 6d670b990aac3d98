"""Blocks that more than one architecture uses, written in the vocabulary of `kzoo.layers`."""

from __future__ import annotations

from collections.abc import Sequence

from kzoo.layers import (
    Size,
    act,
    batch_norm,
    conv,
    conv_norm_act,
    dense,
    depthwise_conv,
    dropout,
    global_avg_pool,
    scope,
)
from kzoo.lazy import lazy_import

keras = lazy_import("keras")


def squeeze_excite(x, ratio: float):
    """Scale each channel by a gate computed from the global mean of all channels.

    Hu, Shen, Sun, 2018, Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507.

    Args:
        x: feature map with C channels.
        ratio: hidden channels of the gate as a fraction of C, in (0, 1].
    """
    channels = x.shape[-1]
    gate = global_avg_pool(x, keepdims=True)
    with scope("se"):
        gate = conv(gate, max(1, round(channels * ratio)), 1, activation="relu")
        gate = conv(gate, channels, 1, activation="sigmoid")
    return keras.layers.multiply([x, gate])


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
