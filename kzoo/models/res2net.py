"""Res2Net: inside a block, each part of the channels also sees what the part before it made: ever wider windows."""

from __future__ import annotations

from dataclasses import dataclass

from kzoo.core.lazy import lazy_import
from kzoo.core.registry import Paper, lookup, register_model
from kzoo.models.resnet import KEY_MAPPING as RESNET_NAMES
from kzoo.models.resnet import RESNET_D, STEMS, add_shortcut
from kzoo.nn.blocks import residual_stages
from kzoo.nn.layers import avg_pool, conv_norm_act, scope
from kzoo.nn.naming import Rule, from_zero

keras = lazy_import("keras")

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
@dataclass(frozen=True)
class Res2Net:
    """Residual network of bottlenecks whose middle is a hierarchy of small convolutions.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n is named
    `stage<n>`.

    Args:
        depths: number of residual blocks in each stage.
        width: filters of the first stage; each later stage doubles them.
        scales: parts of the channels, 2 or more; all but the last are convolved.
        scale_width: channels of one part, or of one group of it, for every 64 filters of the stage.
        groups: groups of each convolution.
        stem: as of ResNet, "conv7" or "deep".
        shortcut: as of ResNet, "projection" or "pooled".
        kernel: size of the spatial convolutions; signals often want more than 3.
        drop_path: rate of stochastic depth that rises to this from none at the first block, in [0, 1).

    Raises:
        ValueError: for an unknown stem or shortcut, or fewer than 2 scales.
    """

    depths: tuple[int, ...]
    width: int = 64
    scales: int = 4
    scale_width: int = 26
    groups: int = 1
    stem: str = "conv7"
    shortcut: str = "projection"
    kernel: int = 3
    drop_path: float = 0.0

    def __call__(self, x):
        if self.scales < 2:
            raise ValueError(f"a hierarchy needs 2 or more scales, got {self.scales}")
        with scope("stem"):
            x = lookup("stem", self.stem, STEMS)(x, self.width)
        return residual_stages(x, self.residual_block, self.depths, self.width, self.drop_path)

    def residual_block(self, x, stride: int, filters: int, drop_rate: float):
        inner = filters * self.scale_width // 64 * self.groups
        first = stride > 1 or x.shape[-1] != 4 * filters
        y = conv_norm_act(x, inner * self.scales, 1)
        y = self.steps(y, inner, stride) if first else self.hierarchy(y, inner)
        y = conv_norm_act(y, 4 * filters, 1, activation=None, zero_gamma=True)
        return add_shortcut(x, y, stride, self.shortcut, drop_rate)

    def hierarchy(self, x, inner: int):
        first, *parts, last = keras.ops.split(x, self.scales, axis=-1)
        with scope("scales"):
            made = [self.conv(first, inner)]
            for part in parts:
                made.append(self.conv(keras.layers.add([made[-1], part]), inner))
        return keras.layers.concatenate([*made, last])

    def steps(self, x, inner: int, stride: int):
        """Return the parts side by side, as the first block of a stage has them."""
        *parts, last = keras.ops.split(x, self.scales, axis=-1)
        with scope("scales"):
            made = [self.conv(part, inner, stride) for part in parts]
        return keras.layers.concatenate([*made, avg_pool(last, 3, stride=stride, count_padding=True)])

    def conv(self, x, inner: int, stride: int = 1):
        return conv_norm_act(x, inner, self.kernel, stride=stride, groups=self.groups)
