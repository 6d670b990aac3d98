"""Xception: residual blocks of depthwise separable convolutions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import projection_shortcut, separable_conv, stages
from kzoo.nn.layers import act, batch_norm, conv_norm_act, max_pool, scope
from kzoo.nn.naming import Rule, logits_to

CHOLLET_2017 = Paper(
    "Chollet, François",
    2017,
    "Xception: Deep Learning with Depthwise Separable Convolutions",
    "https://arxiv.org/abs/1610.02357",
    "CVPR",
)

LAYERS = {"dwconv": ".conv1", "conv": ".pointwise", "norm": ""}


def place_of_block(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name of a block; it counts the blocks of all stages from 1."""
    blocks = list(dict.fromkeys(".".join(layer.split(".")[:2]) for layer in layers if layer.startswith("stage")))
    return f"block{blocks.index(match[0]) + 1}"


def place_in_block(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name in a block: activation (but in the first), separable convolution, normalisation, in turn."""
    before = 3 * (int(match["layer"]) - 1) + (match["block"] != "1")
    return f"block{match['block']}.rep.{before + (match['kind'] == 'norm')}{LAYERS[match['kind']]}"


def layer_of_head(match: re.Match, layers: Sequence[str]) -> str:
    number = int(match["layer"]) + 2
    return f"bn{number}" if match["kind"] == "norm" else f"conv{number}{LAYERS[match['kind']]}"


KEY_MAPPING = (
    Rule(r"^stem\.conv(\d)$", r"conv\1"),
    Rule(r"^stem\.norm(\d)$", r"bn\1"),
    Rule(r"^stage\d+\.block\d+", place_of_block),
    Rule(r"\.shortcut\.conv1$", ".skip"),
    Rule(r"\.shortcut\.norm1$", ".skipbn"),
    Rule(r"^block(?P<block>\d+)\.(?P<kind>dwconv|conv|norm)(?P<layer>\d)$", place_in_block),
    Rule(r"^head\.(?P<kind>dwconv|conv|norm)(?P<layer>\d)$", layer_of_head),
    logits_to("fc"),
)


@register_model("legacy_xception", CHOLLET_2017, 22_855_952, Reference((299, 299, 3), 1000))
@dataclass(frozen=True)
class Xception:
    """Residual blocks of separable convolutions: entry, middle and exit flow.

    Maps a feature map to one whose spatial axes are divided by about 32. The output of stage n is named `stage<n>`.
    With `dialect="tensorflow"` it is keras.applications' Xception.

    Args:
        filters: filters of the convolutions of each block of each stage, of which the last stand for all blocks after.
        depths: number of blocks in each stage, of which the first ends in max pooling at stride 2.
        stem_width: filters of the first convolution; the second has twice as many.
        units: filters of the separable convolutions after the blocks.

    Raises:
        ValueError: if `filters` and `depths` differ in length.
    """

    filters: tuple[tuple[tuple[int, ...], ...], ...] = (
        ((128, 128),),
        ((256, 256),),
        ((728, 728), (728, 728, 728)),
        ((728, 1024),),
    )
    depths: tuple[int, ...] = (1, 1, 9, 1)
    stem_width: int = 32
    units: tuple[int, ...] = (1536, 2048)

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 3, stride=2, padding="valid")
            x = conv_norm_act(x, 2 * self.stem_width, 3, padding="valid")
        x = stages(x, self.block, depths=self.depths, strides=(2,) * len(self.depths), filters=self.filters)
        with scope("head"):
            for filters in self.units:
                x = act(batch_norm(separable_conv(x, filters)))
        return x

    def block(self, x, stride: int, filters: Sequence[int]):
        y = x
        for width in filters:
            y = batch_norm(separable_conv(act(y), width))
        if stride > 1:
            y = max_pool(y, 3, stride=stride)
            x = projection_shortcut(x, y.shape[-1], stride)
        return keras.layers.add([x, y])
