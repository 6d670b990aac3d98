"""ResNeSt: a convolution gives several answers, and attention chooses between them for each channel."""

from __future__ import annotations

from dataclasses import dataclass

from kzoo.core.lazy import lazy_import
from kzoo.core.registry import Paper, lookup, register_model
from kzoo.models.resnet import KEY_MAPPING as RESNET_NAMES
from kzoo.models.resnet import STEMS, add_shortcut
from kzoo.nn.blocks import divisible, residual_stages, split_attention
from kzoo.nn.layers import avg_pool, conv_norm_act, scope
from kzoo.nn.naming import Rule

keras = lazy_import("keras")

ZHANG_2022 = Paper(
    "Zhang, Hang and Wu, Chongruo and Zhang, Zhongyue and Zhu, Yi and Lin, Haibin and Zhang, Zhi and Sun, Yue and "
    "He, Tong and Mueller, Jonas and Manmatha, R. and Li, Mu and Smola, Alexander",
    2022,
    "ResNeSt: Split-Attention Networks",
    "https://arxiv.org/abs/2004.08955",
    "CVPRW",
)

KEY_MAPPING = (
    Rule(r"(block\d+)\.(conv|norm)2$", r"\1.\g<2>3"),
    Rule(r"\.splits\.conv1$", ".conv2.conv"),
    Rule(r"\.splits\.norm1$", ".conv2.bn0"),
    Rule(r"\.splits\.attention\.conv(\d)$", r".conv2.fc\1"),
    Rule(r"\.splits\.attention\.norm1$", ".conv2.bn1"),
    *RESNET_NAMES,
)


@register_model("resnest14d", ZHANG_2022, 10_611_688, depths=(1, 1, 1, 1))
@register_model("resnest26d", ZHANG_2022, 17_069_448, depths=(2, 2, 2, 2))
@register_model("resnest50d", ZHANG_2022, 27_483_240, depths=(3, 4, 6, 3))
@dataclass(frozen=True)
class ResNeSt:
    """Residual network of bottlenecks with split attention in their middle.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n is named
    `stage<n>`.

    Args:
        depths: number of residual blocks in each stage.
        width: filters of the first stage; each later stage doubles them.
        radix: answers that are chosen from, 2 or more, each to its own part of the channels.
        stem: as of ResNet, "deep" or "conv7".
        shortcut: as of ResNet, "pooled" or "projection".
        kernel: size of the spatial convolutions; signals often want more than 3.
        drop_path: rate of stochastic depth that rises to this from none at the first block, in [0, 1).

    Raises:
        ValueError: for an unknown stem or shortcut, or nothing to choose from.
    """

    depths: tuple[int, ...]
    width: int = 64
    radix: int = 2
    stem: str = "deep"
    shortcut: str = "pooled"
    kernel: int = 3
    drop_path: float = 0.0

    def __call__(self, x):
        if self.radix < 2:
            raise ValueError(f"attention needs a radix of 2 or more to choose from, got {self.radix}")
        with scope("stem"):
            x = lookup("stem", self.stem, STEMS)(x, self.width)
        return residual_stages(x, self.residual_block, self.depths, self.width, self.drop_path)

    def residual_block(self, x, stride: int, filters: int, drop_rate: float):
        y = self.splits(conv_norm_act(x, filters, 1), filters)
        y = avg_pool(y, 3, stride=stride, count_padding=True) if stride > 1 else y
        y = conv_norm_act(y, 4 * filters, 1, activation=None, zero_gamma=True)
        return add_shortcut(x, y, stride, self.shortcut, drop_rate)

    def splits(self, x, filters: int):
        with scope("splits"):
            x = conv_norm_act(x, filters * self.radix, self.kernel, groups=self.radix)
            answers = keras.ops.split(x, self.radix, axis=-1)
            return split_attention(answers, max(32, divisible(filters * self.radix / 4)))
