"""GhostNet: ghost modules, which compute half of the channels by cheap depthwise convolutions of the other half."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.models.mobilenetv2 import TIMM_BLOCKS
from kzoo.models.mobilenetv3 import place_as_stage
from kzoo.nn.blocks import depthwise_norm_act, divisible, squeeze_excite, stages
from kzoo.nn.layers import conv_norm_act, dense, dropout, global_avg_pool, scope
from kzoo.nn.naming import Rule

HAN_2020 = Paper(
    "Han, Kai and Wang, Yunhe and Tian, Qi and Guo, Jianyuan and Xu, Chunjing and Xu, Chang",
    2020,
    "GhostNet: More Features from Cheap Operations",
    "https://arxiv.org/abs/1911.11907",
    "CVPR",
)

FILTERS = (16, 24, 24, 40, 40, 80, (80, 80, 80, 112, 112), 160, 160)
WIDTH = (16, 48, 72, 72, 120, 240, (200, 184, 184, 480, 672), 672, 960)


def times(channels, multiplier: float):
    """Return channels, nested or not, times a multiplier, in multiples of 4."""
    if isinstance(channels, tuple):
        return tuple(times(entry, multiplier) for entry in channels)
    return divisible(channels * multiplier, 4)


def scaled(multiplier: float) -> dict:
    """Return the width-scaled network: channels of all convolutions times `multiplier`."""
    return {
        "filters": times(FILTERS, multiplier),
        "width": times(WIDTH, multiplier),
        "stem_width": times(16, multiplier),
    }


def place_in_sequence(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name in a shortcut, which is the sequence of dwconv1, norm1, conv1 and norm2."""
    return f"shortcut.{('dwconv1', 'norm1', 'conv1', 'norm2').index(match[1])}"


KEY_MAPPING = (
    Rule(r"(ghost\d)\.conv1$", r"\1.primary_conv.0"),
    Rule(r"(ghost\d)\.norm1$", r"\1.primary_conv.1"),
    Rule(r"(ghost\d)\.dwconv1$", r"\1.cheap_operation.0"),
    Rule(r"(ghost\d)\.norm2$", r"\1.cheap_operation.1"),
    Rule(r"shortcut\.(\w+)$", place_in_sequence),
    Rule(r"^(stage.*)\.norm1$", r"\1.bn_dw"),
    Rule(r"^head\.(conv|norm)1$", place_as_stage),
    Rule(r"^head\.dense1$", "conv_head"),
    *TIMM_BLOCKS,
)


@register_model("ghostnet_050", HAN_2020, 2_587_292, **scaled(0.5))
@register_model("ghostnet_100", HAN_2020, 5_182_508)
@register_model("ghostnet_130", HAN_2020, 7_358_820, **scaled(1.3))
@dataclass(frozen=True)
class GhostNet:
    """MobileNetV3's stages with ghost modules in place of pointwise convolutions.

    Maps a feature map to a vector of `units` values. The output of stage n is named `stage<n>`. Where the blocks of a
    stage differ, its entry is a tuple of one value for each block, of which the last stands for all after it.

    Args:
        depths: number of blocks in each stage.
        filters: output channels of the blocks of each stage.
        width: hidden channels of the blocks of each stage; the last entry is also the width of the last convolution.
        strides: stride of the first block of each stage.
        kernels: kernel size of the strided depthwise convolutions, in blocks and shortcuts, of each stage.
        se_ratios: squeeze-and-excitation ratio of each stage: bottleneck channels as a fraction of `width`, 0 for none.
        stem_width: filters of the first convolution, at stride 2.
        units: outputs of the dense layer before the logits.
        dropout: dropout rate before the classifier, in [0, 1).

    Raises:
        ValueError: if the hyperparameters with one entry per stage differ in length.
    """

    depths: tuple[int, ...] = (1, 1, 1, 1, 1, 1, 5, 1, 4)
    filters: tuple[int | tuple[int, ...], ...] = FILTERS
    width: tuple[int | tuple[int, ...], ...] = WIDTH
    strides: tuple[int, ...] = (1, 2, 1, 2, 1, 2, 1, 2, 1)
    kernels: tuple[int, ...] = (3, 3, 3, 5, 5, 3, 3, 5, 5)
    se_ratios: tuple[float | tuple[float, ...], ...] = (
        0,
        0,
        0,
        0.25,
        0.25,
        0,
        (0, 0, 0, 0.25),
        0.25,
        (0, 0.25, 0, 0.25),
    )
    stem_width: int = 16
    units: int = 1280
    dropout: float = 0.2

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 3, stride=2)
        x = stages(
            x,
            self.block,
            depths=self.depths,
            strides=self.strides,
            filters=self.filters,
            width=self.width,
            kernels=self.kernels,
            se_ratios=self.se_ratios,
        )
        last = self.width[-1]
        with scope("head"):
            x = global_avg_pool(conv_norm_act(x, last[-1] if isinstance(last, tuple) else last, 1))
            return dropout(dense(x, self.units, "relu"), self.dropout)

    def block(self, x, stride: int, filters: int, width: int, kernel: int, se_ratio: float):
        y = self.ghosts("ghost1", x, width, "relu")
        if stride > 1:
            y = depthwise_norm_act(y, kernel, stride=stride, activation=None)
        if se_ratio:
            y = squeeze_excite(y, se_ratio, divisor=4, gate="hard_sigmoid")
        y = self.ghosts("ghost2", y, filters, None)
        return keras.layers.add([y, self.shortcut(x, stride, filters, kernel)])

    def ghosts(self, name: str, x, filters: int, activation: str | None):
        """Ghost module: half of the channels by a pointwise convolution, the others from those by a depthwise one."""
        with scope(name):
            x = conv_norm_act(x, math.ceil(filters / 2), 1, activation=activation)
            y = keras.layers.concatenate([x, depthwise_norm_act(x, 3, activation=activation)])
        return y if y.shape[-1] == filters else y[..., :filters]

    def shortcut(self, x, stride: int, filters: int, kernel: int):
        if stride == 1 and x.shape[-1] == filters:
            return x
        with scope("shortcut"):
            x = depthwise_norm_act(x, kernel, stride=stride, activation=None)
            return conv_norm_act(x, filters, 1, activation=None)
