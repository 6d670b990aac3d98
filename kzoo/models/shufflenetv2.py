"""ShuffleNetV2: channel split and channel shuffle in place of grouped pointwise convolutions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import depthwise_norm_act, stages
from kzoo.nn.layers import conv_norm_act, max_pool, scope
from kzoo.nn.naming import Rule, logits_to

MA_2018 = Paper(
    "Ma, Ningning and Zhang, Xiangyu and Zheng, Hai-Tao and Sun, Jian",
    2018,
    "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
    "https://arxiv.org/abs/1807.11164",
    "ECCV",
)


def channel_shuffle(x, groups: int):
    """Channel shuffle: interleave the channels of the groups.

    Zhang et al., 2017, ShuffleNet, https://arxiv.org/abs/1707.01083.
    """
    # Not a transposition between two reshapings: they would need all spatial sizes but one.
    size = x.shape[-1] // groups
    return keras.ops.take(x, [group * size + n for n in range(size) for group in range(groups)], axis=-1)


def stage_from_two(match: re.Match, layers: Sequence[str]) -> str:
    """Return torchvision's name of a unit: as in the paper's table, the stem is the first stage."""
    return f"stage{int(match[1]) + 1}.{match[2]}"


SHORTCUT = {"dwconv1": 0, "norm1": 1, "conv1": 2, "norm2": 3}
BRANCH = {"conv1": 0, "norm1": 1, "dwconv1": 3, "norm2": 4, "conv2": 5, "norm3": 6}  # 2 and 7 are activations
KEY_MAPPING = (
    Rule(r"^stem\.conv1$", "conv1.0"),
    Rule(r"^stem\.norm1$", "conv1.1"),
    *(Rule(rf"\.shortcut\.{layer}$", f".branch1.{place}") for layer, place in SHORTCUT.items()),
    *(Rule(rf"(block\d+)\.{layer}$", rf"\1.branch2.{place}") for layer, place in BRANCH.items()),
    Rule(r"^stage(\d+)\.block(\d+)", stage_from_two),
    Rule(r"^head\.conv1$", "conv5.0"),
    Rule(r"^head\.norm1$", "conv5.1"),
    logits_to("fc"),
)


@register_model("shufflenet_v2_x0_5", MA_2018, 1_366_792, filters=(48, 96, 192))
@register_model("shufflenet_v2_x1_0", MA_2018, 2_278_604, filters=(116, 232, 464))
@register_model("shufflenet_v2_x1_5", MA_2018, 3_503_624, filters=(176, 352, 704))
@register_model("shufflenet_v2_x2_0", MA_2018, 7_393_996, filters=(244, 488, 976), width=2048)
@dataclass(frozen=True)
class ShuffleNetV2:
    """Strided convolution and max pooling, stages of shuffle units, and a pointwise convolution.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 2)`. The output of stage n is named
    `stage<n>`.

    Args:
        filters: channels of each stage, even numbers.
        depths: number of units in each stage.
        stem_width: filters of the first convolution, at stride 2.
        width: filters of the last, pointwise convolution.
        kernel: kernel size of the depthwise convolutions; 1-D inputs often want more than 3.

    Raises:
        ValueError: if the hyperparameters with one entry per stage differ in length.
    """

    filters: tuple[int, ...]
    depths: tuple[int, ...] = (4, 8, 4)
    stem_width: int = 24
    width: int = 1024
    kernel: int = 3

    def __call__(self, x):
        with scope("stem"):
            x = max_pool(conv_norm_act(x, self.stem_width, 3, stride=2), 3, stride=2)
        strides = (2,) * len(self.depths)
        x = stages(x, self.unit, depths=self.depths, strides=strides, filters=self.filters)
        with scope("head"):
            return conv_norm_act(x, self.width, 1)

    def unit(self, x, stride: int, filters: int):
        if stride == 1:
            kept, x = keras.ops.split(x, 2, axis=-1)
        else:
            kept = self.shortcut(x, stride, filters // 2)
        x = conv_norm_act(x, filters // 2, 1)
        x = depthwise_norm_act(x, self.kernel, stride=stride, activation=None)
        x = conv_norm_act(x, filters // 2, 1)
        return channel_shuffle(keras.layers.concatenate([kept, x]), groups=2)

    def shortcut(self, x, stride: int, filters: int):
        with scope("shortcut"):
            x = depthwise_norm_act(x, self.kernel, stride=stride, activation=None)
            return conv_norm_act(x, filters, 1)
