"""StarNet: the elementwise product (star operation) of two linear projections in place of an activation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import residual_stages
from kzoo.nn.layers import act, batch_norm, conv, conv_norm_act, depthwise_conv, drop_path, scope
from kzoo.nn.naming import Rule, logits_to

MA_2024 = Paper(
    "Ma, Xu and Dai, Xiyang and Bai, Yue and Wang, Yizhou and Fu, Yun",
    2024,
    "Rewrite the Stars",
    "https://arxiv.org/abs/2403.19967",
    "CVPR",
)


def place_in_stage(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name, where a stage is one sequence: the downsampling, then its blocks."""
    place = 0 if match["step"] else int(match["block"]) + 1
    return f"stages.{int(match['stage']) - 1}.{place}."


KEY_MAPPING = (
    Rule(r"^stem\.", "stem.0."),
    Rule(r"^stage(?P<stage>\d+)\.block(?P<block>\d+)\.(?P<step>downsample\.)?", place_in_stage),
    Rule(r"^(stem\.0|stages\.\d+\.0)\.conv1$", r"\1.conv"),
    Rule(r"^(stem\.0|stages\.\d+\.0)\.norm1$", r"\1.bn"),
    Rule(r"\.dwconv1$", ".dwconv.conv"),
    Rule(r"\.norm1$", ".dwconv.bn"),
    Rule(r"\.conv1$", ".f1.conv"),
    Rule(r"\.conv2$", ".f2.conv"),
    Rule(r"\.conv3$", ".g.conv"),
    Rule(r"\.norm2$", ".g.bn"),
    Rule(r"\.dwconv2$", ".dwconv2.conv"),
    Rule(r"^head\.dwconv\.bn$", "norm"),
    logits_to("head"),
)


@register_model("starnet_s1", MA_2024, 2_869_168, depths=(2, 2, 8, 3), width=24)
@register_model("starnet_s2", MA_2024, 3_682_024, depths=(1, 2, 6, 2), width=32)
@register_model("starnet_s3", MA_2024, 5_750_792, depths=(2, 2, 8, 4), width=32)
@register_model("starnet_s4", MA_2024, 7_482_728, depths=(3, 3, 12, 5), width=32)
@register_model("starnet_s050", MA_2024, 542_728, depths=(1, 1, 3, 1), width=16, expansion=3)
@dataclass(frozen=True)
class StarNet:
    """Stages of residual blocks: depthwise convolutions around the product of two wider projections.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n is named
    `stage<n>`.

    Args:
        depths: number of blocks in each stage.
        width: filters of the first stage; each later stage doubles them.
        stem_width: filters of the stem.
        kernel: kernel size of the depthwise convolutions.
        expansion: channels of the two projections as a multiple of the block's channels.
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).
    """

    depths: tuple[int, ...]
    width: int
    stem_width: int = 32
    kernel: int = 7
    expansion: int = 4
    drop_path: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 3, stride=2, use_bias=True, activation="relu6")
        x = residual_stages(x, self.block, self.depths, self.width, self.drop_path, first_stride=2)
        with scope("head"):
            return batch_norm(x)

    def block(self, x, stride: int, filters: int, drop_rate: float):
        if stride > 1:
            with scope("downsample"):
                x = conv_norm_act(x, filters, 3, stride=stride, use_bias=True, activation=None)
        y = batch_norm(depthwise_conv(x, self.kernel))
        y = depthwise_conv(self.star(y, filters), self.kernel)
        return keras.layers.add([x, drop_path(y, drop_rate)])

    def star(self, x, filters: int):
        gate = act(conv(x, self.expansion * filters, 1), "relu6")
        y = keras.layers.multiply([gate, conv(x, self.expansion * filters, 1)])
        return conv_norm_act(y, filters, 1, use_bias=True, activation=None)
