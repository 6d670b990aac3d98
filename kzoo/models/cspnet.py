"""CSPNet: cross-stage partial networks, in which half of a stage's channels bypass its blocks; and DarkNet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import IMAGENET, Paper, lookup, register_model
from kzoo.nn.blocks import block_sequence, rising_rates, stage_sequence
from kzoo.nn.layers import conv_norm_act, drop_path, max_pool, scope
from kzoo.nn.naming import STAGES_AND_BLOCKS, Rule, from_zero, logits_to

WANG_2020 = Paper(
    "Wang, Chien-Yao and Liao, Hong-Yuan Mark and Yeh, I-Hau and Wu, Yueh-Hua and Chen, Ping-Yang and Hsieh, Jun-Wei",
    2020,
    "CSPNet: A New Backbone that can Enhance Learning Capability of CNN",
    "https://arxiv.org/abs/1911.11929",
    "CVPRW",
)
REDMON_2018 = Paper(
    "Redmon, Joseph and Farhadi, Ali",
    2018,
    "YOLOv3: An Incremental Improvement",
    "https://arxiv.org/abs/1804.02767",
)

AT_256 = IMAGENET._replace(input_shape=(256, 256, 3))
RESNET = {
    "depths": (3, 3, 5, 2),
    "strides": (1, 2, 2, 2),
    "stem": "conv7",
    "stem_width": 64,
    "block": "bottleneck",
    "linear": True,
}
DARKNET = {
    "depths": (1, 2, 8, 8, 4),
    "filters": (64, 128, 256, 512, 1024),
    "strides": (2,) * 5,
    "stem": "conv3",
    "stem_width": 32,
    "block": "dark",
    "down_growth": True,
}

KEY_MAPPING = (
    Rule(r"\.down\.(conv|norm)1$", r".conv_down.\1"),
    Rule(r"\.expand\.(conv|norm)1$", r".conv_exp.\1"),
    Rule(r"\.transition\.(conv|norm)1$", r".conv_transition_b.\1"),
    Rule(r"\.transition\.(conv|norm)2$", r".conv_transition.\1"),
    Rule(r"\.(conv|norm)(\d)$", r".conv\2.\1"),
    Rule(r"\.norm$", ".bn"),
    STAGES_AND_BLOCKS,
    Rule(r"^stage(\d+)\.", from_zero("stages.{}.")),
    logits_to("head.fc"),
)


@register_model(
    "cspresnet50",
    WANG_2020,
    21_616_168,
    AT_256,
    filters=(128, 256, 512, 1024),
    expansions=(2.0,) * 4,
    inner_ratios=(0.5,) * 4,
    **RESNET,
)
@register_model(
    "cspresnext50",
    WANG_2020,
    20_569_896,
    AT_256,
    filters=(256, 512, 1024, 2048),
    expansions=(1.0,) * 4,
    inner_ratios=(1.0,) * 4,
    groups=32,
    **RESNET,
)
@register_model(
    "cspdarknet53",
    WANG_2020,
    27_642_184,
    AT_256,
    expansions=(2.0, 1.0, 1.0, 1.0, 1.0),
    inner_ratios=(0.5, 1.0, 1.0, 1.0, 1.0),
    **DARKNET,
)
@register_model(
    "darknet53",
    REDMON_2018,
    41_609_928,
    AT_256,
    expansions=(0.0,) * 5,
    inner_ratios=(0.5,) * 5,
    **DARKNET,
)
@dataclass(frozen=True)
class CSPNet:
    """Stem, then stages whose input is split: one half passes the residual blocks, the other is concatenated after.

    Maps a feature map to one whose spatial axes are divided by the product of `strides` (by 4 times that with the
    "conv7" stem). The output of stage n is named `stage<n>`.

    Args:
        depths: number of residual blocks in each stage.
        filters: output channels of each stage.
        strides: stride of each stage; at 1, there is no convolution before the split.
        expansions: channels before the split of each stage as a multiple of its output channels; 0 for no split
            (DarkNet).
        inner_ratios: bottleneck channels of the blocks of each stage as a fraction of their input channels.
        stem: "conv7" (a convolution and max pooling, both at stride 2) or "conv3" (keeps the resolution).
        stem_width: filters of the stem.
        block: "bottleneck" (1, `kernel`, 1, activated after the addition) or "dark" (1, `kernel`, activated before it).
        down_growth: the convolution before the split outputs the channels of its stage, not those of its input.
        linear: no activation before the split.
        groups: groups of the spatial convolutions, or the largest number that divides them and the channels.
        slope: negative slope of the activation, a leaky ReLU.
        kernel: kernel size of the convolutions; 1-D inputs often want more than 3.
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).

    Raises:
        ValueError: for an unknown stem or block, or hyperparameters with one entry per stage that differ in length.
    """

    depths: tuple[int, ...]
    filters: tuple[int, ...]
    strides: tuple[int, ...]
    expansions: tuple[float, ...]
    inner_ratios: tuple[float, ...]
    stem: str
    stem_width: int
    block: str
    down_growth: bool = False
    linear: bool = False
    groups: int = 1
    slope: float = 0.01
    kernel: int = 3
    drop_path: float = 0.0

    def __call__(self, x):
        stems = {"conv7": self.conv7_stem, "conv3": self.conv3_stem}
        with scope("stem"):
            x = lookup("stem", self.stem, stems)(x)
        return stage_sequence(
            x,
            self.stage,
            depths=self.depths,
            filters=self.filters,
            strides=self.strides,
            expansions=self.expansions,
            inner_ratios=self.inner_ratios,
            drop_rates=rising_rates(self.drop_path, self.depths),
        )

    def stage(
        self, x, _depth: int, filters: int, stride: int, expansion: float, ratio: float, drop_rates: Sequence[float]
    ):
        x = self.downsample(x, filters, stride)
        if expansion:
            return self.cross_stage(x, drop_rates, filters, round(expansion * filters), ratio)
        return self.blocks(x, drop_rates, ratio)

    def conv7_stem(self, x):
        return max_pool(self.activated(conv_norm_act(x, self.stem_width, 7, stride=2, activation=None)), 3, stride=2)

    def conv3_stem(self, x):
        return self.activated(conv_norm_act(x, self.stem_width, 3, activation=None))

    def downsample(self, x, filters: int, stride: int):
        if stride == 1:
            return x
        with scope("down"):
            return self.convolution(x, filters if self.down_growth else x.shape[-1], stride=stride)

    def cross_stage(self, x, drop_rates: Sequence[float], filters: int, expanded: int, ratio: float):
        with scope("expand"):
            x = conv_norm_act(x, expanded, 1, activation=None)
        kept, x = keras.ops.split(x if self.linear else self.activated(x), 2, axis=-1)
        x = self.blocks(x, drop_rates, ratio)
        with scope("transition"):
            x = self.pointwise(x, expanded // 2)
            return self.pointwise(keras.layers.concatenate([kept, x]), filters)

    def blocks(self, x, drop_rates: Sequence[float], ratio: float):
        block = lookup("block", self.block, {"bottleneck": self.bottleneck, "dark": self.dark_block})
        return block_sequence(x, block, [(ratio, drop_rate) for drop_rate in drop_rates])

    def bottleneck(self, x, ratio: float, drop_rate: float):
        inner = round(ratio * x.shape[-1])
        y = self.convolution(self.pointwise(x, inner), inner)
        y = conv_norm_act(y, x.shape[-1], 1, activation=None, zero_gamma=True)
        return self.activated(keras.layers.add([drop_path(y, drop_rate), x]))

    def dark_block(self, x, ratio: float, drop_rate: float):
        y = self.pointwise(x, round(ratio * x.shape[-1]))
        y = self.convolution(y, x.shape[-1], zero_gamma=True)
        return keras.layers.add([drop_path(y, drop_rate), x])

    def pointwise(self, x, filters: int):
        return self.activated(conv_norm_act(x, filters, 1, activation=None))

    def convolution(self, x, filters: int, *, stride: int = 1, zero_gamma: bool = False):
        groups = math.gcd(self.groups, x.shape[-1], filters)
        y = conv_norm_act(x, filters, self.kernel, stride=stride, groups=groups, activation=None, zero_gamma=zero_gamma)
        return self.activated(y)

    def activated(self, x):
        return keras.layers.LeakyReLU(self.slope)(x)
