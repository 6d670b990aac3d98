"""Blocks that more than one architecture uses, written in the vocabulary of `kzoo.layers`."""

from __future__ import annotations

from kzoo.layers import conv, global_avg_pool, scope
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
