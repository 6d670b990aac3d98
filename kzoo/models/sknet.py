"""SKNet: selective kernels, channel-wise attention between two receptive-field sizes in each block."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, lookup, register_model
from kzoo.models.resnet import KEY_MAPPING as RESNET_NAMES
from kzoo.models.resnet import ResidualNet
from kzoo.nn.blocks import divisible, split_attention
from kzoo.nn.layers import conv_norm_act, scope, subsample
from kzoo.nn.naming import Rule

LI_2019 = Paper(
    "Li, Xiang and Wang, Wenhai and Hu, Xiaolin and Yang, Jian",
    2019,
    "Selective Kernel Networks",
    "https://arxiv.org/abs/1903.06586",
    "CVPR",
)

BASIC, BOTTLENECK = r"\.conv1\.paths\.", r"\.conv2\.paths\."

KEY_MAPPING = (
    # The selective kernel is the first layer of a basic block and the second of a bottleneck.
    Rule(r"(block\d+)\.(conv|norm)2$", r"\1.\g<2>3", where=BOTTLENECK),
    Rule(r"(block\d+)\.(conv|norm)1$", r"\1.\g<2>2", where=BASIC),
    Rule(r"(block\d+)\.conv(\d)$", r"\1.conv\2.conv"),
    Rule(r"(block\d+)\.norm(\d)$", r"\1.conv\2.bn"),
    Rule(r"\.choice\.", ".conv1.", where=BASIC),
    Rule(r"\.choice\.", ".conv2.", where=BOTTLENECK),
    Rule(r"\.window(\d)\.conv1$", r".paths.\1.conv"),
    Rule(r"\.window(\d)\.norm1$", r".paths.\1.bn"),
    Rule(r"\.attention\.conv1$", ".attn.fc_reduce"),
    Rule(r"\.attention\.norm1$", ".attn.bn"),
    Rule(r"\.attention\.conv2$", ".attn.fc_select"),
    *RESNET_NAMES,
)

# timm's own variants, which cost no more than a ResNet
LIGHT = {"split_input": True, "ratio": 1 / 8, "divisor": 16}


@register_model("skresnet18", LI_2019, 11_958_056, depths=(2, 2, 2, 2), block="basic", **LIGHT)
@register_model("skresnet34", LI_2019, 22_282_376, depths=(3, 4, 6, 3), block="basic", **LIGHT)
@register_model("skresnext50_32x4d", LI_2019, 27_479_784, depths=(3, 4, 6, 3), groups=32, width_per_group=4)
@dataclass(frozen=True, kw_only=True)
class SKNet(ResidualNet):
    """Residual network with a selective kernel in place of one convolution of each block.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n is named
    `stage<n>`.

    Args:
        block: "basic" (a selective kernel and a convolution) or "bottleneck" (a selective kernel between two 1x1
            convolutions, of which the last expands channels by 4).
        groups: groups of the convolutions that are selected from.
        width_per_group: filters of one such group in a bottleneck for every 64 filters of the stage.
        split_input: each of the two convolutions sees one half of the channels, not all.
        ratio: hidden channels of the attention as a fraction of the filters.
        divisor: the hidden channels are rounded to a multiple of this.
        kernel: kernel size of the spatial convolutions. The second one of a selective kernel has dilation 2, and so a
            receptive field of `2 * kernel - 1`.

    Raises:
        ValueError: for an unknown block, stem or shortcut.
    """

    block: str = "bottleneck"
    groups: int = 1
    width_per_group: int = 64
    split_input: bool = False
    ratio: float = 1 / 16
    divisor: int = 32

    def branch(self, x, filters: int, stride: int):
        branches = {"basic": self.basic_branch, "bottleneck": self.bottleneck_branch}
        return lookup("block", self.block, branches)(x, filters, stride)

    def basic_branch(self, x, filters: int, stride: int):
        return conv_norm_act(self.choice(x, filters, stride), filters, self.kernel, activation=None)

    def bottleneck_branch(self, x, filters: int, stride: int):
        inner = filters * self.width_per_group * self.groups // 64
        x = self.choice(conv_norm_act(x, inner, 1), inner, stride)
        return conv_norm_act(x, 4 * filters, 1, activation=None)

    def choice(self, x, filters: int, stride: int):
        seen = keras.ops.split(x, 2, axis=-1) if self.split_input else (x, x)
        with scope("choice"):
            maps = [self.window(part, n, filters, stride) for n, part in enumerate(seen)]
            return split_attention(maps, divisible(filters * self.ratio, self.divisor), use_bias=False)

    def window(self, x, n: int, filters: int, stride: int):
        dilation = n + 1
        if stride == dilation == 2:  # with equal stride and dilation, subsampling first is the same and cheaper
            x, stride, dilation = subsample(x, stride), 1, 1
        with scope(f"window{n}"):
            return conv_norm_act(x, filters, self.kernel, stride=stride, dilation=dilation, groups=self.groups)
