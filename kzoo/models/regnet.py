"""RegNet: residual networks whose stage widths follow a quantised linear function, from a design-space study."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import add_to_shortcut, bottleneck_branch, divisible, rising_rates, squeeze_excite, stages
from kzoo.nn.layers import conv_norm_act, scope
from kzoo.nn.naming import Rule

RADOSAVOVIC_2020 = Paper(
    "Radosavovic, Ilija and Kosaraju, Raj Prateek and Girshick, Ross and He, Kaiming and Dollár, Piotr",
    2020,
    "Designing Network Design Spaces",
    "https://arxiv.org/abs/2003.13678",
    "CVPR",
)


def nearest(channels: int, divisor: int) -> int:
    """Round to the nearest multiple of `divisor`, halves to an even one."""
    return round(channels / divisor) * divisor


def designed(
    depth: int, width: int, slope: float, growth: float, group_width: int, multiple: Callable = nearest
) -> dict:
    """Return the stages of the quantised linear parameterisation.

    Block n of the network would have `width + slope * n` channels. It gets the `width` times a power of `growth` that
    is nearest to it, in multiples of 8; blocks of the same width form a stage.

    Args:
        depth: number of blocks of the network (the paper's d).
        width: channels of the first block (w_0).
        slope: channels that each block adds (w_a).
        growth: ratio of the widths of neighbouring stages (w_m).
        group_width: channels of a group (g).
        multiple: rounds the channels of a stage to a multiple of those of a group.
    """
    powers = [round(math.log1p(slope * block / width) / math.log(growth)) for block in range(depth)]
    widths = Counter(8 * round(width * growth**power / 8) for power in powers)
    filters = tuple(multiple(channels, min(group_width, channels)) for channels in widths)
    return {"depths": tuple(widths.values()), "filters": filters, "group_width": group_width}


def block_from_one(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name of a block; it counts from 1."""
    return f"s{match[1]}.b{int(match[2]) + 1}"


def lettered(match: re.Match, layers: Sequence[str]) -> str:
    """Return torchvision's name in a block: its convolutions are a, b and c, each a pair with its normalisation."""
    return f".f.{'abc'[int(match[2]) - 1]}.{int(match[1] == 'norm')}"


TIMM, TORCHVISION = r"^s1\.b1\.", r"^trunk_output\."
KEY_MAPPING = (
    Rule(r"^stem\.conv1$", "stem.conv", where=TIMM),
    Rule(r"^stem\.norm1$", "stem.bn", where=TIMM),
    Rule(r"\.se\.conv", ".se.fc", where=TIMM),
    Rule(r"\.shortcut\.conv1$", ".downsample.conv", where=TIMM),
    Rule(r"\.shortcut\.norm1$", ".downsample.bn", where=TIMM),
    Rule(r"\.conv(\d)$", r".conv\1.conv", where=TIMM),
    Rule(r"\.norm(\d)$", r".conv\1.bn", where=TIMM),
    Rule(r"^stage(\d+)\.block(\d+)", block_from_one, where=TIMM),
    Rule(r"^logits$", "head.fc", where=TIMM),
    Rule(r"^stem\.conv1$", "stem.0", where=TORCHVISION),
    Rule(r"^stem\.norm1$", "stem.1", where=TORCHVISION),
    Rule(r"\.se\.conv", ".f.se.fc", where=TORCHVISION),
    Rule(r"\.shortcut\.conv1$", ".proj.0", where=TORCHVISION),
    Rule(r"\.shortcut\.norm1$", ".proj.1", where=TORCHVISION),
    Rule(r"\.(conv|norm)(\d)$", lettered, where=TORCHVISION),
    Rule(r"^stage(\d+)\.block(\d+)", r"trunk_output.block\1.block\1-\2", where=TORCHVISION),
    Rule(r"^logits$", "fc", where=TORCHVISION),
)


# timm's, as first published
@register_model("regnetx_002", RADOSAVOVIC_2020, 2_684_792, **designed(13, 24, 36.44, 2.49, 8))
@register_model("regnetx_004", RADOSAVOVIC_2020, 5_157_512, **designed(22, 24, 24.48, 2.54, 16))
@register_model("regnetx_006", RADOSAVOVIC_2020, 6_196_040, **designed(16, 48, 36.97, 2.24, 24))
@register_model("regnetx_008", RADOSAVOVIC_2020, 7_259_656, **designed(16, 56, 35.73, 2.28, 16))
@register_model("regnetx_016", RADOSAVOVIC_2020, 9_190_136, **designed(18, 80, 34.01, 2.25, 24))
@register_model("regnetx_032", RADOSAVOVIC_2020, 15_296_552, **designed(25, 88, 26.31, 2.25, 48))
@register_model("regnetx_040", RADOSAVOVIC_2020, 22_118_248, **designed(23, 96, 38.65, 2.43, 40))
@register_model("regnetx_064", RADOSAVOVIC_2020, 26_209_256, **designed(17, 184, 60.83, 2.07, 56))
@register_model("regnetx_080", RADOSAVOVIC_2020, 39_572_648, **designed(23, 80, 49.56, 2.88, 120))
@register_model("regnetx_120", RADOSAVOVIC_2020, 46_106_056, **designed(19, 168, 73.36, 2.37, 112))
@register_model("regnetx_160", RADOSAVOVIC_2020, 54_278_536, **designed(22, 216, 55.59, 2.1, 128))
@register_model("regnetx_320", RADOSAVOVIC_2020, 107_811_560, **designed(23, 320, 69.86, 2.0, 168))
@register_model("regnety_002", RADOSAVOVIC_2020, 3_162_996, se_ratio=0.25, **designed(13, 24, 36.44, 2.49, 8))
@register_model("regnety_004", RADOSAVOVIC_2020, 4_344_144, se_ratio=0.25, **designed(16, 48, 27.89, 2.09, 8))
@register_model("regnety_006", RADOSAVOVIC_2020, 6_055_160, se_ratio=0.25, **designed(15, 48, 32.54, 2.32, 16))
@register_model("regnety_008", RADOSAVOVIC_2020, 6_263_168, se_ratio=0.25, **designed(14, 56, 38.84, 2.4, 16))
@register_model("regnety_016", RADOSAVOVIC_2020, 11_202_430, se_ratio=0.25, **designed(27, 48, 20.71, 2.65, 24))
@register_model("regnety_032", RADOSAVOVIC_2020, 19_436_338, se_ratio=0.25, **designed(21, 80, 42.63, 2.66, 24))
@register_model("regnety_040", RADOSAVOVIC_2020, 20_646_656, se_ratio=0.25, **designed(22, 96, 31.41, 2.24, 64))
@register_model("regnety_064", RADOSAVOVIC_2020, 30_583_252, se_ratio=0.25, **designed(25, 112, 33.22, 2.27, 72))
@register_model("regnety_080", RADOSAVOVIC_2020, 39_180_068, se_ratio=0.25, **designed(17, 192, 76.82, 2.19, 56))
@register_model("regnety_120", RADOSAVOVIC_2020, 51_822_544, se_ratio=0.25, **designed(19, 168, 73.36, 2.37, 112))
@register_model("regnety_160", RADOSAVOVIC_2020, 83_590_140, se_ratio=0.25, **designed(18, 200, 106.23, 2.48, 112))
@register_model("regnety_320", RADOSAVOVIC_2020, 145_046_770, se_ratio=0.25, **designed(20, 232, 115.89, 2.53, 232))
# torchvision's, which round the channels of the groups in its own way
@register_model("regnet_x_400mf", RADOSAVOVIC_2020, 5_495_976, **designed(22, 24, 24.48, 2.54, 16, divisible))
@register_model("regnet_x_800mf", RADOSAVOVIC_2020, 7_259_656, **designed(16, 56, 35.73, 2.28, 16, divisible))
@register_model("regnet_x_1_6gf", RADOSAVOVIC_2020, 9_190_136, **designed(18, 80, 34.01, 2.25, 24, divisible))
@register_model("regnet_x_3_2gf", RADOSAVOVIC_2020, 15_296_552, **designed(25, 88, 26.31, 2.25, 48, divisible))
@register_model("regnet_x_8gf", RADOSAVOVIC_2020, 39_572_648, **designed(23, 80, 49.56, 2.88, 120, divisible))
@register_model("regnet_x_16gf", RADOSAVOVIC_2020, 54_278_536, **designed(22, 216, 55.59, 2.1, 128, divisible))
@register_model("regnet_x_32gf", RADOSAVOVIC_2020, 107_811_560, **designed(23, 320, 69.86, 2.0, 168, divisible))
@register_model(
    "regnet_y_400mf", RADOSAVOVIC_2020, 4_344_144, se_ratio=0.25, **designed(16, 48, 27.89, 2.09, 8, divisible)
)
@register_model(
    "regnet_y_800mf", RADOSAVOVIC_2020, 6_432_512, se_ratio=0.25, **designed(14, 56, 38.84, 2.4, 16, divisible)
)
@register_model(
    "regnet_y_1_6gf", RADOSAVOVIC_2020, 11_202_430, se_ratio=0.25, **designed(27, 48, 20.71, 2.65, 24, divisible)
)
@register_model(
    "regnet_y_3_2gf", RADOSAVOVIC_2020, 19_436_338, se_ratio=0.25, **designed(21, 80, 42.63, 2.66, 24, divisible)
)
@register_model(
    "regnet_y_8gf", RADOSAVOVIC_2020, 39_381_472, se_ratio=0.25, **designed(17, 192, 76.82, 2.19, 56, divisible)
)
@register_model(
    "regnet_y_16gf", RADOSAVOVIC_2020, 83_590_140, se_ratio=0.25, **designed(18, 200, 106.23, 2.48, 112, divisible)
)
@register_model(
    "regnet_y_32gf", RADOSAVOVIC_2020, 145_046_770, se_ratio=0.25, **designed(20, 232, 115.89, 2.53, 232, divisible)
)
@dataclass(frozen=True)
class RegNet:
    """Strided convolution, then stages of residual bottlenecks with grouped convolutions; RegNetY adds SE.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n is named
    `stage<n>`.

    Args:
        depths: number of blocks in each stage.
        filters: channels of each stage, in its bottlenecks too; a multiple of `group_width`, or less than it.
        group_width: channels of one group of the convolutions.
        se_ratio: squeeze-and-excitation ratio: bottleneck channels as a fraction of a block's input channels, 0 for
            none.
        stem_width: filters of the first convolution, at stride 2.
        kernel: kernel size of the convolutions; 1-D inputs often want more than 3.
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).

    Raises:
        ValueError: if the hyperparameters with one entry per stage differ in length.
    """

    depths: tuple[int, ...]
    filters: tuple[int, ...]
    group_width: int
    se_ratio: float = 0.0
    stem_width: int = 32
    kernel: int = 3
    drop_path: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 3, stride=2)
        return stages(
            x,
            self.block,
            depths=self.depths,
            strides=(2,) * len(self.depths),
            filters=self.filters,
            drop_rates=rising_rates(self.drop_path, self.depths),
        )

    def block(self, x, stride: int, filters: int, drop_rate: float):
        groups = max(1, filters // self.group_width)
        ratio = self.se_ratio * x.shape[-1] / filters

        def excite(y):
            return squeeze_excite(y, ratio) if ratio else y

        y = bottleneck_branch(
            x, filters, filters, self.kernel, stride=stride, groups=groups, excite=excite, zero_gamma=True
        )
        return add_to_shortcut(x, y, stride, drop_rate)
