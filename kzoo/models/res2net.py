"""Res2Net: hierarchical residual connections inside a block, for several receptive-field sizes at once."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.models.resnet import KEY_MAPPING as RESNET_NAMES
from kzoo.models.resnet import RESNET_D, ResidualNet
from kzoo.nn.layers import avg_pool, conv_norm_act, scope
from kzoo.nn.naming import Rule, from_zero

GAO_2021 = Paper(
    "Gao, Shang-Hua and Cheng, Ming-Ming and Zhao, Kai and Zhang, Xin-Yu and Yang, Ming-Hsuan and Torr, Philip",
    2021,
    "Res2Net: A New Multi-scale Backbone Architecture",
    "https://arxiv.org/abs/1904.01169",
    "TPAMI",
)

KEY_MAPPING = (
    Rule(r"(block\d+)\.(conv|norm)2$", r"\1.\g<2>3"),
    Rule(r"\.scales\.conv(\d+)$", from_zero(".convs.{}")),
    Rule(r"\.scales\.norm(\d+)$", from_zero(".bns.{}")),
    *RESNET_NAMES,
)


@register_model("res2net50_26w_4s", GAO_2021, 25_699_120, depths=(3, 4, 6, 3))
@register_model("res2net50_26w_6s", GAO_2021, 37_051_448, depths=(3, 4, 6, 3), scales=6)
@register_model("res2net50_26w_8s", GAO_2021, 48_403_776, depths=(3, 4, 6, 3), scales=8)
@register_model("res2net50_48w_2s", GAO_2021, 25_287_304, depths=(3, 4, 6, 3), scales=2, scale_width=48)
@register_model("res2net50_14w_8s", GAO_2021, 25_059_816, depths=(3, 4, 6, 3), scales=8, scale_width=14)
@register_model("res2net101_26w_4s", GAO_2021, 45_206_688, depths=(3, 4, 23, 3))
@register_model("res2net50d", GAO_2021, 25_718_352, depths=(3, 4, 6, 3), **RESNET_D)
@register_model("res2next50", GAO_2021, 24_671_464, depths=(3, 4, 6, 3), scale_width=4, groups=8)
@dataclass(frozen=True, kw_only=True)
class Res2Net(ResidualNet):
    """Residual network of bottlenecks whose middle is a hierarchy of small convolutions.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n is named
    `stage<n>`.

    Args:
        scales: number of groups that the channels are split into, 2 or more; all but the last are convolved.
        scale_width: channels of one of them, or of one group of it, for every 64 filters of the stage.
        groups: groups of each convolution.

    Raises:
        ValueError: for an unknown stem or shortcut, or fewer than 2 scales.
    """

    scales: int = 4
    scale_width: int = 26
    groups: int = 1

    def __post_init__(self):
        if self.scales < 2:
            raise ValueError(f"scales must be 2 or more, got {self.scales}")

    def branch(self, x, filters: int, stride: int):
        inner = filters * self.scale_width // 64 * self.groups
        first = stride > 1 or x.shape[-1] != 4 * filters
        y = conv_norm_act(x, inner * self.scales, 1)
        y = self.steps(y, inner, stride) if first else self.hierarchy(y, inner)
        return conv_norm_act(y, 4 * filters, 1, activation=None, zero_gamma=True)

    def hierarchy(self, x, inner: int):
        first, *parts, last = keras.ops.split(x, self.scales, axis=-1)
        with scope("scales"):
            made = [self.conv(first, inner)]
            for part in parts:
                made.append(self.conv(keras.layers.add([made[-1], part]), inner))
        return keras.layers.concatenate([*made, last])

    def steps(self, x, inner: int, stride: int):
        """Convolve the groups of channels independently, as the first block of a stage does."""
        *parts, last = keras.ops.split(x, self.scales, axis=-1)
        with scope("scales"):
            made = [self.conv(part, inner, stride) for part in parts]
        return keras.layers.concatenate([*made, avg_pool(last, 3, stride=stride, count_padding=True)])

    def conv(self, x, inner: int, stride: int = 1):
        return conv_norm_act(x, inner, self.kernel, stride=stride, groups=self.groups)
