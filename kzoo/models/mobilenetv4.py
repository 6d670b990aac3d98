"""MobileNetV4: universal inverted bottlenecks, with an optional depthwise convolution before and after expansion."""

from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.models.efficientnet import sized
from kzoo.models.mobilenetv2 import TIMM_BLOCKS
from kzoo.models.mobilenetv3 import place_as_stage
from kzoo.nn.blocks import add_where_shape_is_kept, depthwise_norm_act, divisible, rising_rates, scaled_widths, stages
from kzoo.nn.layers import conv_norm_act, dropout, global_avg_pool, scope
from kzoo.nn.naming import Rule

QIN_2024 = Paper(
    "Qin, Danfeng and Leichner, Chas and Delakis, Manolis and others",
    2024,
    "MobileNetV4: Universal Models for the Mobile Ecosystem",
    "https://arxiv.org/abs/2404.10518",
    "ECCV",
)

SMALL = {
    "filters": (32, 64, 96, 128),
    "blocks": (
        ((0, 3, 1),),
        ((0, 3, 3),),
        ((5, 5, 3), *((0, 3, 2),) * 4, (3, 0, 4)),
        ((3, 3, 6), (5, 5, 4), (0, 5, 4), (0, 5, 3), (0, 3, 4), (0, 3, 4)),
    ),
    "fused": 2,
    "linear": False,
}
MEDIUM = {
    "filters": (48, 80, 160, 256),
    "blocks": (
        ((0, 3, 4),),
        ((3, 5, 4), (3, 3, 2)),
        ((3, 5, 6), (3, 3, 4), (3, 3, 4), (3, 5, 4), (3, 3, 4), (3, 0, 4), (0, 0, 2), (3, 0, 4)),
        (
            *((5, 5, 6), (5, 5, 4), (3, 5, 4), (3, 5, 4), (0, 0, 4), (3, 0, 4)),
            *((3, 5, 2), (5, 5, 4), (0, 0, 4), (0, 0, 4), (5, 0, 2)),
        ),
    ),
}
LARGE = {
    "filters": (48, 96, 192, 512),
    "blocks": (
        ((0, 3, 4),),
        ((3, 5, 4), (3, 3, 4)),
        ((3, 5, 4), *((3, 3, 4),) * 3, (3, 5, 4), *((5, 3, 4),) * 5, (3, 0, 4)),
        (
            *(*((5, 5, 4),) * 4, (5, 0, 4), (5, 3, 4), (5, 0, 4), (5, 0, 4)),
            *((5, 3, 4), (5, 5, 4), (5, 0, 4), (5, 0, 4), (5, 0, 4)),
        ),
    ),
    "stem_width": 24,
}


def thinner(multiplier: float, fused_expansions: tuple[float, float]) -> dict:
    """Return the small network with all channels but the stem's times `multiplier`."""
    first, second = fused_expansions
    return SMALL | {
        "filters": scaled_widths(SMALL["filters"], multiplier),
        "blocks": (((0, 3, first),), ((0, 3, second),), *SMALL["blocks"][2:]),
        "width": divisible(960 * multiplier),
    }


PAIRS = r"^blocks\.0\.1\.conv\."  # in timm, a fused block of the small network is two blocks

KEY_MAPPING = (
    Rule(r"^(stage[12])\.block0\.conv1$", r"\1.block0.conv", where=PAIRS),
    Rule(r"^(stage[12])\.block0\.norm1$", r"\1.block0.bn1", where=PAIRS),
    Rule(r"^(stage[12])\.block0\.conv2$", r"\1.block1.conv", where=PAIRS),
    Rule(r"^(stage[12])\.block0\.norm2$", r"\1.block1.bn1", where=PAIRS),
    Rule(r"^(stage1\.block0)\.conv1$", r"\1.conv_exp"),
    Rule(r"\.(start|middle)\.dwconv1$", r".\1.conv"),
    Rule(r"\.(expand|project)\.conv1$", r".\1.conv"),
    Rule(r"\.(start|expand|middle|project)\.norm1$", r".\1.bn"),
    Rule(r"\.start\.", ".dw_start."),
    Rule(r"\.expand\.", ".pw_exp."),
    Rule(r"\.middle\.", ".dw_mid."),
    Rule(r"\.project\.", ".pw_proj."),
    Rule(r"^head\.(conv|norm)1$", place_as_stage),
    Rule(r"^head\.conv2$", "conv_head"),
    Rule(r"^head\.norm2$", "norm_head"),
    *TIMM_BLOCKS,
)


@register_model("mobilenetv4_conv_small_035", QIN_2024, 1_905_384, **thinner(0.35, (0.5, 2)))
@register_model("mobilenetv4_conv_small_050", QIN_2024, 2_238_952, **thinner(0.5, (0.5, 3)))
@register_model("mobilenetv4_conv_small", QIN_2024, 3_774_024, **SMALL)
@register_model("mobilenetv4_conv_medium", QIN_2024, 9_715_512, sized(256), **MEDIUM)
@register_model("mobilenetv4_conv_large", QIN_2024, 32_590_864, sized(384), **LARGE)
@dataclass(frozen=True)
class MobileNetV4:
    """Stages of universal inverted bottlenecks, of which the first one or two are fused.

    Maps a feature map to a vector of `units` values. The output of stage n is named `stage<n>`.

    Args:
        filters: output channels of each stage.
        blocks: for each block of each stage the kernel size of the depthwise convolution before the expansion and of
            that after it, 0 for none, and the expansion ratio.
        fused: number of stages, from the first, whose blocks have one dense convolution in place of the expansion and
            the depthwise convolution after it, and no shortcut.
        linear: no activation after the projections of the fused blocks, as after all others.
        strides: stride of the first block of each stage.
        stem_width: filters of the first convolution, at stride 2.
        width: filters of the last convolution before the pooling.
        units: filters of the pointwise convolution after the pooling.
        dropout: dropout rate before the classifier, in [0, 1).
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).

    Raises:
        ValueError: if the hyperparameters with one entry per stage differ in length.
    """

    filters: tuple[int, ...]
    blocks: tuple[tuple[tuple[float, ...], ...], ...]
    fused: int = 1
    linear: bool = True
    strides: tuple[int, ...] = (2, 2, 2, 2)
    stem_width: int = 32
    width: int = 960
    units: int = 1280
    dropout: float = 0.2
    drop_path: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 3, stride=2)
        depths = [len(blocks) for blocks in self.blocks]
        x = stages(
            x,
            self.block,
            depths=depths,
            strides=self.strides,
            filters=self.filters,
            blocks=self.blocks,
            fused=[stage < self.fused for stage in range(len(self.blocks))],
            drop_rates=rising_rates(self.drop_path, depths),
        )
        with scope("head"):
            x = global_avg_pool(conv_norm_act(x, self.width, 1), keepdims=True)
            x = conv_norm_act(x, self.units, 1)
        return dropout(global_avg_pool(x), self.dropout)

    def block(self, x, stride: int, filters: int, sizes: tuple[float, ...], fused: bool, drop_rate: float):
        start, middle, expansion = sizes
        hidden = divisible(x.shape[-1] * expansion)
        if fused:
            x = conv_norm_act(x, hidden, middle, stride=stride)
            return conv_norm_act(x, filters, 1, activation=None if self.linear else "relu")
        y = self.branch(x, stride, filters, start, middle, hidden)
        return add_where_shape_is_kept(x, y, stride, drop_rate)

    def branch(self, x, stride: int, filters: int, start: int, middle: int, hidden: int):
        """Universal inverted bottleneck; the later of its depthwise convolutions is strided."""
        if start:
            with scope("start"):
                x = depthwise_norm_act(x, start, stride=1 if middle else stride, activation=None)
        with scope("expand"):
            x = conv_norm_act(x, hidden, 1)
        if middle:
            with scope("middle"):
                x = depthwise_norm_act(x, middle, stride=stride)
        with scope("project"):
            return conv_norm_act(x, filters, 1, activation=None)
