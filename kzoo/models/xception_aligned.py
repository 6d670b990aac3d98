"""Aligned Xception: the deeper, strided Xception of DeepLabv3+."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.models.inception_v3 import PIXELS_299
from kzoo.nn.blocks import projection_shortcut, separable_norm_act, stages
from kzoo.nn.layers import act, conv_norm_act, scope
from kzoo.nn.naming import Rule, from_zero, logits_to

CHEN_2018 = Paper(
    "Chen, Liang-Chieh and Zhu, Yukun and Papandreou, George and Schroff, Florian and Adam, Hartwig",
    2018,
    "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
    "https://arxiv.org/abs/1802.02611",
    "ECCV",
)


def place_of_block(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name of a block; it counts the blocks of all stages, and the head is the last."""
    blocks = list(dict.fromkeys(re.findall(match.re, "\n".join(layers))))
    return f"blocks.{blocks.index(match[0])}"


def norm_of_stack(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name of a normalisation: a separable convolution has one after each of its two steps."""
    convolution, step = divmod(int(match[1]) - 1, 2)
    return f".stack.conv{convolution + 1}.bn_{('dw', 'pw')[step]}"


KEY_MAPPING = (
    Rule(r"^stem\.conv(\d)$", from_zero("stem.{}.conv")),
    Rule(r"^stem\.norm(\d)$", from_zero("stem.{}.bn")),
    Rule(r"(?m)^(?:stage\d+\.block\d+|head)(?=\.)", place_of_block),
    Rule(r"\.shortcut\.conv1$", ".shortcut.conv"),
    Rule(r"\.shortcut\.norm1$", ".shortcut.bn"),
    Rule(r"\.dwconv(\d)$", r".stack.conv\1.conv_dw"),
    Rule(r"(?<=\d)\.conv(\d)$", r".stack.conv\1.conv_pw"),
    Rule(r"\.norm(\d)$", norm_of_stack),
    logits_to("head.fc"),
)


def alike(filters: int) -> tuple[int, int, int]:
    """Return the filters of the three convolutions of a block."""
    return filters, filters, filters


EXIT = ((728, 1024, 1024),)
SMALL = ((alike(128),), (alike(256),), (alike(728),), EXIT)
LARGE = ((alike(128), alike(256)), (alike(256), alike(728)), (alike(728),), EXIT)


@register_model("xception41", CHEN_2018, 26_969_560, PIXELS_299, depths=(1, 1, 9, 1), filters=SMALL)
@register_model("xception65", CHEN_2018, 39_916_312, PIXELS_299, depths=(1, 1, 17, 1), filters=SMALL)
@register_model("xception71", CHEN_2018, 42_338_736, PIXELS_299, depths=(2, 2, 17, 1), filters=LARGE)
@dataclass(frozen=True)
class AlignedXception:
    """Residual blocks of three separable convolutions, of which the last is strided at the start of a stage.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n is named
    `stage<n>`.

    Args:
        depths: number of blocks in each stage.
        filters: filters of the convolutions of each block of each stage, of which the last stand for all blocks after.
        stem_width: filters of the first convolution; the second has twice as many.
        units: filters of the separable convolutions after the blocks, which activate after both of their steps.

    Raises:
        ValueError: if `depths` and `filters` differ in length.
    """

    depths: tuple[int, ...]
    filters: tuple[tuple[tuple[int, ...], ...], ...]
    stem_width: int = 32
    units: tuple[int, ...] = (1536, 1536, 2048)

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 3, stride=2)
            x = conv_norm_act(x, 2 * self.stem_width, 3)
        x = stages(x, self.block, depths=self.depths, strides=(2,) * len(self.depths), filters=self.filters)
        with scope("head"):
            for filters in self.units:
                x = separable_norm_act(x, filters)
        return x

    def block(self, x, stride: int, filters: Sequence[int]):
        y = x
        for width in filters[:-1]:
            y = separable_norm_act(act(y), width, activation=None)
        y = separable_norm_act(act(y), filters[-1], stride=stride, activation=None)
        if stride > 1 or x.shape[-1] != y.shape[-1]:
            x = projection_shortcut(x, y.shape[-1], stride)
        return keras.layers.add([x, y])
