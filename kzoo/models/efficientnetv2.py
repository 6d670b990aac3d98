"""EfficientNetV2: EfficientNet with fused inverted residuals (dense convolutions) in its early stages."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.registry import PYTORCH, TENSORFLOW, Paper, register_model
from kzoo.models import efficientnet
from kzoo.models.efficientnet import sized
from kzoo.models.mobilenetv2 import TIMM, InvertedResidualNet
from kzoo.nn.blocks import add_where_shape_is_kept, divisible, scaled_widths
from kzoo.nn.layers import conv_norm_act
from kzoo.nn.naming import Rule

TAN_2021 = Paper(
    "Tan, Mingxing and Le, Quoc V.",
    2021,
    "EfficientNetV2: Smaller Models and Faster Training",
    "https://arxiv.org/abs/2104.00298",
    "ICML",
)

B0 = {"depths": (1, 2, 2, 3, 5, 8), "filters": (16, 32, 48, 96, 112, 192)}
SEVEN = {"strides": (1, 2, 2, 2, 1, 2, 1), "expansions": (1, 4, 4, 4, 6, 6, 6)}
MEDIUM = {"depths": (3, 5, 5, 7, 14, 18, 5), "filters": (24, 48, 80, 160, 176, 304, 512), "dropout": 0.3} | SEVEN
LARGE = {"depths": (4, 7, 7, 10, 19, 25, 7), "filters": (32, 64, 96, 192, 224, 384, 640), "dropout": 0.4} | SEVEN
LARGE |= {"stem_width": 32}
TORCHVISION = PYTORCH._replace(bn_epsilon=1e-3)


def compound(width: float, depth: float, dropout: float) -> dict:
    """Return B0 with all channels times `width`, rounded to the nearest 8, and depths times `depth`, rounded up."""
    return {
        "depths": tuple(math.ceil(blocks * depth) for blocks in B0["depths"]),
        "filters": scaled_widths(B0["filters"], width, least=0),
        "stem_width": divisible(32 * width, least=0),
        "width": divisible(1280 * width, least=0),
        "dropout": dropout,
    }


def first_convolution(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name of a block's first convolution: plain, fused (expansion) or before a depthwise one."""
    block = match[1]
    if f"{block}.dwconv1" in layers:
        return f"{block}.conv_pw"
    return f"{block}.conv_exp" if f"{block}.conv2" in layers else f"{block}.conv"


KEY_MAPPING = (
    Rule(r"^(stage\d+\.block\d+)\.conv1$", first_convolution, where=TIMM),
    *efficientnet.KEY_MAPPING,
)


@register_model("efficientnetv2_s", TAN_2021, 21_458_488, sized(288))
@register_model("efficientnetv2_m", TAN_2021, 54_139_356, sized(320), **MEDIUM)
@register_model("efficientnetv2_l", TAN_2021, 118_515_272, sized(384), **LARGE)
@register_model("tf_efficientnetv2_s", TAN_2021, 21_458_488, sized(300, TENSORFLOW))
@register_model("tf_efficientnetv2_m", TAN_2021, 54_139_356, sized(384, TENSORFLOW), **MEDIUM)
@register_model("tf_efficientnetv2_l", TAN_2021, 118_515_272, sized(384, TENSORFLOW), **LARGE)
@register_model("tf_efficientnetv2_b0", TAN_2021, 7_139_704, sized(192, TENSORFLOW), **compound(1.0, 1.0, 0.2))
@register_model("tf_efficientnetv2_b1", TAN_2021, 8_141_052, sized(192, TENSORFLOW), **compound(1.0, 1.1, 0.2))
@register_model("tf_efficientnetv2_b2", TAN_2021, 10_096_086, sized(208, TENSORFLOW), **compound(1.1, 1.2, 0.3))
@register_model("tf_efficientnetv2_b3", TAN_2021, 14_358_406, sized(240, TENSORFLOW), **compound(1.2, 1.4, 0.3))
# torchvision's
@register_model("efficientnet_v2_s", TAN_2021, 21_458_488, sized(384, TORCHVISION))
@register_model("efficientnet_v2_m", TAN_2021, 54_139_356, sized(480, TORCHVISION), **MEDIUM)
@register_model("efficientnet_v2_l", TAN_2021, 118_515_272, sized(480, TORCHVISION), **LARGE)
@dataclass(frozen=True, kw_only=True)
class EfficientNetV2(InvertedResidualNet):
    """Stages of fused inverted residuals, then of inverted residuals with squeeze-and-excitation; the defaults are S.

    Maps a feature map to a vector of `width` values. The output of stage n is named `stage<n>`.

    Args:
        fused: number of stages, from the first, whose blocks are fused (one dense convolution in place of expansion and
            depthwise convolution); those have no squeeze-and-excitation.
        kernel: kernel size of the spatial convolutions; 1-D inputs often want more than 3.
        se_ratio: squeeze-and-excitation ratio: bottleneck channels as a fraction of a block's input channels.
    """

    depths: tuple[int, ...] = (2, 4, 4, 6, 9, 15)
    filters: tuple[int, ...] = (24, 48, 64, 128, 160, 256)
    strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2)
    expansions: tuple[float, ...] = (1, 4, 4, 4, 6, 6)
    fused: int = 3
    kernel: int = 3
    stem_width: int = 24
    se_ratio: float = 0.25
    drop_path: float = 0.2

    activation = "silu"

    def stage_fields(self) -> dict[str, Sequence]:
        return {"fused": [stage < self.fused for stage in range(len(self.depths))]}

    def block(self, x, stride: int, filters: int, expansion: float, drop_rate: float, fused: bool):
        if not fused:
            return super().block(x, stride, filters, expansion, drop_rate, self.kernel, self.se_ratio)
        y = self.fused_branch(x, stride, filters, expansion)
        return add_where_shape_is_kept(x, y, stride, drop_rate)

    def fused_branch(self, x, stride: int, filters: int, expansion: float):
        """Expand by a spatial convolution, then project; an expansion ratio of 1 leaves out the projection."""
        if expansion == 1:
            return conv_norm_act(x, filters, self.kernel, stride=stride, activation="silu")
        hidden = divisible(x.shape[-1] * expansion)
        x = conv_norm_act(x, hidden, self.kernel, stride=stride, activation="silu")
        return conv_norm_act(x, filters, 1, activation=None)
