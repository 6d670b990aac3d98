"""ResNeSt: residual networks with split attention over groups of feature maps."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.models.resnet import KEY_MAPPING as RESNET_NAMES
from kzoo.models.resnet import ResidualNet
from kzoo.nn.blocks import divisible, split_attention
from kzoo.nn.layers import avg_pool, conv_norm_act, scope
from kzoo.nn.naming import Rule

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
@dataclass(frozen=True, kw_only=True)
class ResNeSt(ResidualNet):
    """Residual network of bottlenecks with split attention in their middle.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n is named
    `stage<n>`.

    Args:
        radix: number of splits, 2 or more: feature maps of the same shape that attention weighs against each other.

    Raises:
        ValueError: for an unknown stem or shortcut, or a radix below 2.
    """

    radix: int = 2
    stem: str = "deep"
    shortcut: str = "pooled"

    def __post_init__(self):
        if self.radix < 2:
            raise ValueError(f"radix must be 2 or more, got {self.radix}")

    def branch(self, x, filters: int, stride: int):
        y = self.splits(conv_norm_act(x, filters, 1), filters)
        y = avg_pool(y, 3, stride=stride, count_padding=True) if stride > 1 else y
        return conv_norm_act(y, 4 * filters, 1, activation=None, zero_gamma=True)

    def splits(self, x, filters: int):
        with scope("splits"):
            x = conv_norm_act(x, filters * self.radix, self.kernel, groups=self.radix)
            maps = keras.ops.split(x, self.radix, axis=-1)
            return split_attention(maps, max(32, divisible(filters * self.radix / 4)))
