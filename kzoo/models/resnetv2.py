"""ResNetV2: pre-activation residual networks with identity shortcuts; also Wide ResNet and Big Transfer (BiT)."""

import math
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import CIFAR10, Paper, lookup, register_model
from kzoo.models.resnet import ZAGORUYKO_2016
from kzoo.nn.blocks import residual_stages
from kzoo.nn.layers import (
    act,
    batch_norm,
    conv,
    drop_path,
    dropout,
    group_norm,
    max_pool,
    pad,
    scope,
    standardized_conv,
    subsample,
)
from kzoo.nn.naming import STAGES_AND_BLOCKS, Rule, logits_to

HE_2016B = Paper(
    "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
    2016,
    "Identity Mappings in Deep Residual Networks",
    "https://arxiv.org/abs/1603.05027",
    "ECCV",
)

KOLESNIKOV_2020 = Paper(
    "Kolesnikov, Alexander and Beyer, Lucas and Zhai, Xiaohua and Puigcerver, Joan and Yung, Jessica and Gelly, "
    "Sylvain and Houlsby, Neil",
    2020,
    "Big Transfer (BiT): General Visual Representation Learning",
    "https://arxiv.org/abs/1912.11370",
    "ECCV",
)

STEMS = {
    "conv7": lambda x, width, conv: max_pool(conv(x, width, 7, stride=2), 3, stride=2),
    "conv7_zeros": lambda x, width, conv: zero_max_pool(conv(x, width, 7, stride=2)),
    "conv3": lambda x, width, conv: conv(x, width, 3),
}


def zero_max_pool(x):
    """Max pooling of the ImageNet stem with zero padding."""
    x, padding = pad(x, 3, stride=2)
    return max_pool(x, 3, stride=2, padding=padding)


def group_norm32(x):
    return group_norm(x, math.gcd(32, x.shape[-1]))


NORMS = {"batch": batch_norm, "group": group_norm32}

BIT = {"stem": "conv7_zeros", "norm": "group", "standardized": True}


KEY_MAPPING = (
    Rule(r"^stem\.conv1$", "stem.conv"),
    STAGES_AND_BLOCKS,
    Rule(r"\.shortcut\.conv1$", ".downsample.conv"),
    Rule(r"^head\.norm1$", "norm"),
    logits_to("head.fc"),
)


@register_model("resnetv2_18", HE_2016B, 11_687_720, depths=(2, 2, 2, 2), block="basic")
@register_model("resnetv2_50", HE_2016B, 25_549_352, depths=(3, 4, 6, 3))
@register_model("resnetv2_101", HE_2016B, 44_541_480, depths=(3, 4, 23, 3))
# The count is that of keras.applications, 60,236,904, less the 51,776 biases that it has in addition.
@register_model("resnetv2_152", HE_2016B, 60_185_128, depths=(3, 8, 36, 3))
@register_model("resnetv2_50x1_bit", KOLESNIKOV_2020, 25_549_352, depths=(3, 4, 6, 3), **BIT)
@register_model("resnetv2_101x1_bit", KOLESNIKOV_2020, 44_541_480, depths=(3, 4, 23, 3), **BIT)
@register_model(
    "resnetv2_50x3_bit", KOLESNIKOV_2020, 217_319_080, depths=(3, 4, 6, 3), width=192, stem_width=192, **BIT
)
@register_model(
    "resnetv2_101x3_bit", KOLESNIKOV_2020, 387_934_888, depths=(3, 4, 23, 3), width=192, stem_width=192, **BIT
)
@register_model(
    "resnetv2_152x2_bit", KOLESNIKOV_2020, 236_335_208, depths=(3, 8, 36, 3), width=128, stem_width=128, **BIT
)
@register_model(
    "wrn_28_10",
    ZAGORUYKO_2016,
    36_479_194,
    CIFAR10,
    depths=(4, 4, 4),
    block="basic",
    width=160,
    stem="conv3",
    stem_width=16,
)
@dataclass(frozen=True)
class ResNetV2:
    """Pre-activation residual network, also in its wide form and as Big Transfer's, without batch statistics.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)` (by `2 ** (len(depths) - 1)`
    with the "conv3" stem). The output of stage n is named `stage<n>`.

    Args:
        depths: number of residual blocks in each stage.
        block: "basic" (two convolutions) or "bottleneck" (1, `kernel`, 1; expands channels by 4).
        width: filters of the first stage; each later stage doubles them.
        stem: "conv7" (ImageNet), "conv7_zeros" (with zero padding in the max pooling) or "conv3" (CIFAR: keeps the
            resolution).
        stem_width: filters of the stem.
        kernel: kernel size of the spatial convolutions; 1-D inputs often want more than 3.
        dropout: dropout rate between the convolutions of a basic block, in [0, 1).
        norm: "batch" or "group" normalisation; the latter with 32 groups where they divide the channels.
        standardized: weight standardisation: each kernel is normalised to mean 0 and variance 1 when it is used.
        use_bias: biases in the convolutions that are not directly followed by a normalisation.
        stride_in_last: the last block of each stage but the last is strided, without a projection, not the first of the
            next stage.
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).

    Raises:
        ValueError: for an unknown block, stem or norm.
    """

    depths: tuple[int, ...]
    block: str = "bottleneck"
    width: int = 64
    stem: str = "conv7"
    stem_width: int = 64
    kernel: int = 3
    dropout: float = 0.0
    norm: str = "batch"
    standardized: bool = False
    use_bias: bool = False
    stride_in_last: bool = False
    drop_path: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = lookup("stem", self.stem, STEMS)(x, self.stem_width, self.last_conv)
        options = {"drop_path": self.drop_path, "stride_in_last": self.stride_in_last}
        x = residual_stages(x, self.residual_block, self.depths, self.width, **options)
        with scope("head"):
            return self.norm_act(x)

    def residual_block(self, x, stride: int, filters: int, drop_rate: float):
        branches = {"basic": self.basic_branch, "bottleneck": self.bottleneck_branch}
        branch = lookup("block", self.block, branches)
        active = self.norm_act(x)
        y = branch(active, filters, stride)
        if x.shape[-1] != y.shape[-1] or (stride > 1 and not self.stride_in_last):
            with scope("shortcut"):
                x = self.last_conv(active, y.shape[-1], 1, stride=stride)
        elif stride > 1:
            x = subsample(x, stride)
        return keras.layers.add([drop_path(y, drop_rate), x])

    def basic_branch(self, x, filters: int, stride: int):
        x = self.conv(x, filters, self.kernel, stride=stride)
        x = dropout(self.norm_act(x), self.dropout)
        return self.last_conv(x, filters, self.kernel)

    def bottleneck_branch(self, x, filters: int, stride: int):
        x = self.norm_act(self.conv(x, filters, 1))
        x = self.norm_act(self.conv(x, filters, self.kernel, stride=stride))
        return self.last_conv(x, 4 * filters, 1)

    def norm_act(self, x):
        return act(lookup("norm", self.norm, NORMS)(x))

    def last_conv(self, x, filters: int, kernel: int, *, stride: int = 1):
        """Last convolution of a stem, branch or shortcut, not directly followed by a normalisation."""
        return self.conv(x, filters, kernel, stride=stride, use_bias=self.use_bias)

    def conv(self, x, filters: int, kernel: int, *, stride: int = 1, use_bias: bool = False):
        if self.standardized:
            return standardized_conv(x, filters, kernel, stride=stride, use_bias=use_bias, epsilon=1e-8)
        return conv(x, filters, kernel, stride=stride, use_bias=use_bias)
