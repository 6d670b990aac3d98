"""MobileNet v2: residual blocks turned inside out, thin where they are added and wide where they convolve."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import divisible, inverted_residual, rising_rates, stages
from kzoo.nn.layers import conv_norm_act, dropout, global_avg_pool, scope
from kzoo.nn.naming import Rule, from_zero

SANDLER_2018 = Paper(
    "Sandler, Mark and Howard, Andrew and Zhu, Menglong and Zhmoginov, Andrey and Chen, Liang-Chieh",
    2018,
    "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    "https://arxiv.org/abs/1801.04381",
    "CVPR",
)

FILTERS = (16, 24, 32, 64, 96, 160, 320)


def scaled(multiplier: float) -> dict:
    """Return the channels of the whole network times `multiplier`; the last layer gets wider, never thinner."""
    filters = tuple(divisible(width * multiplier) for width in FILTERS)
    return {
        "filters": filters,
        "stem_width": divisible(32 * multiplier),
        "width": max(1280, divisible(1280 * multiplier)),
    }


def deeper(multiplier: float, depths: tuple[int, ...]) -> dict:
    """Return a deeper network, whose stages alone are `multiplier` times as wide."""
    return {"depths": depths, "filters": scaled(multiplier)["filters"]}


def convolutions_of(block: str, layers: Sequence[str]) -> list[str]:
    """Return the parts of a block in order, "se" and its convolutions, without the normalisations."""
    inside = [layer.removeprefix(f"{block}.") for layer in layers if layer.startswith(f"{block}.")]
    return list(dict.fromkeys(layer.partition(".")[0] for layer in inside if not layer.startswith("norm")))


def place_in_pairs(match: re.Match, layers: Sequence[str]) -> str:
    """torchvision's name in a block that is a sequence of pairs, convolution and normalisation, and maybe an "se"."""
    block, layer = match.groups()
    parts = convolutions_of(block, layers)
    if layer.startswith("se."):
        return f"{block}.{parts.index('se')}.fc{layer[-1]}"
    if layer.startswith("norm"):
        convolution = [part for part in parts if part != "se"][int(layer[-1]) - 1]
        return f"{block}.{parts.index(convolution)}.1"
    return f"{block}.{parts.index(layer)}.0"


def place_among_blocks(match: re.Match, layers: Sequence[str]) -> str:
    """torchvision's number of a block where all blocks are one sequence, in which the stem is first."""
    blocks = dict.fromkeys(re.findall(r"stage\d+\.block\d+", " ".join(layers)))
    return f"features.{list(blocks).index(match[0]) + 1}"


def place_after_blocks(match: re.Match, layers: Sequence[str]) -> str:
    """torchvision's number of the pair that ends the sequence of all blocks."""
    blocks = set(re.findall(r"stage\d+\.block\d+", " ".join(layers)))
    return f"features.{len(blocks) + 1}.{int(match[1] == 'norm')}"


TIMM = r"^conv_stem\."
TIMM_BLOCKS = (
    Rule(r"\.dwconv1$", ".conv_dw", where=TIMM),
    Rule(r"\.se\.conv1$", ".se.conv_reduce", where=TIMM),
    Rule(r"\.se\.conv2$", ".se.conv_expand", where=TIMM),
    Rule(r"^(stage.*)\.conv1$", r"\1.conv_pw", where=TIMM),
    Rule(r"^(stage.*)\.conv2$", r"\1.conv_pwl", where=TIMM),
    Rule(r"^(stage.*)\.norm(\d)$", r"\1.bn\2", where=TIMM),
    Rule(r"^stage(\d+)\.block(\d+)", from_zero("blocks.{}.{}"), where=TIMM),
    Rule(r"^stem\.conv1$", "conv_stem", where=TIMM),
    Rule(r"^stem\.norm1$", "bn1", where=TIMM),
    Rule(r"^logits$", "classifier", where=TIMM),
)
TIMM_HEAD = (
    Rule(r"^head\.conv1$", "conv_head", where=TIMM),
    Rule(r"^head\.norm1$", "bn2", where=TIMM),
)

KEY_MAPPING = (
    *TIMM_BLOCKS,
    *TIMM_HEAD,
    # torchvision; what ends a block is not a pair there.
    Rule(r"^(stage\d+\.block\d+)\.conv2$", r"\1.conv.2"),
    Rule(r"^(stage\d+\.block\d+)\.norm3$", r"\1.conv.3"),
    Rule(r"^(stage1\.block0)\.conv1$", r"\1.conv.1"),
    Rule(r"^(stage1\.block0)\.norm2$", r"\1.conv.2"),
    Rule(r"^(stage\d+\.block\d+)\.((?:dwconv|norm|conv)\d)$", place_in_pairs),
    Rule(r"^(stage\d+\.block\d+)\.(\d)", r"\1.conv.\2"),
    Rule(r"^stage\d+\.block\d+", place_among_blocks),
    Rule(r"^stem\.conv1$", "features.0.0"),
    Rule(r"^stem\.norm1$", "features.0.1"),
    Rule(r"^head\.(conv|norm)1$", place_after_blocks),
    Rule(r"^logits$", "classifier.1"),
)


@register_model("mobilenetv2_035", SANDLER_2018, 1_677_128, **scaled(0.35))
@register_model("mobilenetv2_050", SANDLER_2018, 1_968_680, **scaled(0.5))
@register_model("mobilenetv2_075", SANDLER_2018, 2_636_424, **scaled(0.75))
@register_model("mobilenetv2_100", SANDLER_2018, 3_504_872)
@register_model("mobilenetv2_140", SANDLER_2018, 6_108_776, **scaled(1.4))
@register_model("mobilenetv2_110d", SANDLER_2018, 4_516_520, **deeper(1.1, depths=(1, 3, 4, 5, 4, 4, 1)))
@register_model("mobilenetv2_120d", SANDLER_2018, 5_831_144, **deeper(1.2, depths=(1, 3, 5, 6, 5, 5, 1)))
@register_model("mobilenet_v2", SANDLER_2018, 3_504_872)  # torchvision's name for mobilenetv2_100
@dataclass(frozen=True)
class MobileNetV2:
    """Seven stages of inverted residual blocks between a strided convolution and a wide 1-wide one.

    Maps a feature map to a vector of `width` values. The output of stage n is named `stage<n>`.

    Args:
        depths: number of blocks in each stage.
        filters: channels that each stage gives.
        strides: step of the first block of each stage.
        expansions: hidden channels of the blocks of each stage, as a multiple of the channels that come in.
        kernel: size of the depthwise convolutions; signals often want more than 3.
        stem_width: filters of the first convolution, at stride 2.
        width: filters of the last convolution.
        dropout: fraction of the vector dropped in training, in [0, 1).
        drop_path: rate of stochastic depth that rises to this from none at the first block, in [0, 1).
        blur: a depthwise convolution that takes steps sees every position, and a blur follows its activation before
            positions are left out: anti-aliased (Zhang, 2019, https://arxiv.org/abs/1904.11486). The stem, as there,
            takes its steps unblurred.

    Raises:
        ValueError: for stages that are not described by equally many numbers.
    """

    depths: tuple[int, ...] = (1, 2, 3, 4, 3, 3, 1)
    filters: tuple[int, ...] = FILTERS
    strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)
    expansions: tuple[float, ...] = (1, 6, 6, 6, 6, 6, 6)
    kernel: int = 3
    stem_width: int = 32
    width: int = 1280
    dropout: float = 0.2
    drop_path: float = 0.0
    blur: bool = False

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 3, stride=2, activation="relu6")
        x = stages(
            x,
            self.block,
            depths=self.depths,
            strides=self.strides,
            filters=self.filters,
            expansions=self.expansions,
            drop_rates=rising_rates(self.drop_path, self.depths),
        )
        with scope("head"):
            x = conv_norm_act(x, self.width, 1, activation="relu6")
        return dropout(global_avg_pool(x), self.dropout)

    def block(self, x, stride: int, filters: int, expansion: float, drop_rate: float):
        options = {"stride": stride, "expansion": expansion, "drop_rate": drop_rate, "blur": self.blur}
        return inverted_residual(x, filters, self.kernel, **options)
