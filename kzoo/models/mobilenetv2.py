"""MobileNetV2: inverted residuals with linear bottlenecks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import divisible, inverted_residual, rising_rates, scaled_widths, squeeze_excite, stages
from kzoo.nn.layers import conv_norm_act, dropout, global_avg_pool, noted, scope
from kzoo.nn.naming import Rule, from_zero, logits_to

SANDLER_2018 = Paper(
    "Sandler, Mark and Howard, Andrew and Zhu, Menglong and Zhmoginov, Andrey and Chen, Liang-Chieh",
    2018,
    "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    "https://arxiv.org/abs/1801.04381",
    "CVPR",
)

FILTERS = (16, 24, 32, 64, 96, 160, 320)


def scaled(multiplier: float) -> dict:
    """Return the width-scaled network: channels times `multiplier`; the last layer is never narrower than 1280."""
    filters = scaled_widths(FILTERS, multiplier)
    return {
        "filters": filters,
        "stem_width": divisible(32 * multiplier),
        "width": max(1280, divisible(1280 * multiplier)),
    }


def deeper(multiplier: float, depths: tuple[int, ...]) -> dict:
    """Return a deeper network, of which the stages alone are width-scaled."""
    return {"depths": depths, "filters": scaled(multiplier)["filters"]}


def convolutions_of(block: str, layers: Sequence[str]) -> list[str]:
    """Return the convolutions of a block and "se", in order, without the normalisations."""
    inside = [layer.removeprefix(f"{block}.") for layer in layers if layer.startswith(f"{block}.")]
    return list(dict.fromkeys(layer.partition(".")[0] for layer in inside if not layer.startswith("norm")))


def place_in_pairs(match: re.Match, layers: Sequence[str]) -> str:
    """Return torchvision's name in a block: a sequence of pairs (convolution, normalisation) and maybe an "se"."""
    block, layer = match.groups()
    parts = convolutions_of(block, layers)
    if layer.startswith("se."):
        return f"{block}.{parts.index('se')}.fc{layer[-1]}"
    if layer.startswith("norm"):
        convolution = [part for part in parts if part != "se"][int(layer[-1]) - 1]
        return f"{block}.{parts.index(convolution)}.1"
    return f"{block}.{parts.index(layer)}.0"


def place_among_blocks(match: re.Match, layers: Sequence[str]) -> str:
    """Return torchvision's name of a block, where the stem and all blocks form one sequence."""
    blocks = dict.fromkeys(re.findall(r"stage\d+\.block\d+", " ".join(layers)))
    return f"features.{list(blocks).index(match[0]) + 1}"


def place_after_blocks(match: re.Match, layers: Sequence[str]) -> str:
    """Return torchvision's name of the head: the pair that ends the sequence of all blocks."""
    blocks = set(re.findall(r"stage\d+\.block\d+", " ".join(layers)))
    return f"features.{len(blocks) + 1}.{int(match[1] == 'norm')}"


TIMM = r"^conv_stem\."
TIMM_BLOCKS = (
    Rule(r"\.dwconv1$", ".conv_dw", where=TIMM),
    Rule(r"\.se\.conv1$", ".se.conv_reduce", where=TIMM),
    Rule(r"\.se\.conv2$", ".se.conv_expand", where=TIMM),
    Rule(r"^(stage.*)\.conv1$", r"\1.conv_pw", where=TIMM),
    Rule(r"^(stage.*)\.conv2$", r"\1.conv_pwl", where=TIMM),
    Rule(r"^(stage.*)\.norm(\d)$", r"\1.bn\2", where=TIMM),
    Rule(r"^stage(\d+)\.block(\d+)", from_zero("blocks.{}.{}"), where=TIMM),
    Rule(r"^stem\.conv1$", "conv_stem", where=TIMM),
    Rule(r"^stem\.norm1$", "bn1", where=TIMM),
    Rule(r"^logits$", "classifier", where=TIMM),
)
TIMM_HEAD = (
    Rule(r"^head\.conv1$", "conv_head", where=TIMM),
    Rule(r"^head\.norm1$", "bn2", where=TIMM),
)
TORCHVISION_STEM = (
    Rule(r"^stem\.conv1$", "features.0.0"),
    Rule(r"^stem\.norm1$", "features.0.1"),
)

KEY_MAPPING = (
    *TIMM_BLOCKS,
    *TIMM_HEAD,
    # torchvision; the projection is not a pair there.
    Rule(r"^(stage\d+\.block\d+)\.conv2$", r"\1.conv.2"),
    Rule(r"^(stage\d+\.block\d+)\.norm3$", r"\1.conv.3"),
    Rule(r"^(stage1\.block0)\.conv1$", r"\1.conv.1"),
    Rule(r"^(stage1\.block0)\.norm2$", r"\1.conv.2"),
    Rule(r"^(stage\d+\.block\d+)\.((?:dwconv|norm|conv)\d)$", place_in_pairs),
    Rule(r"^(stage\d+\.block\d+)\.(\d)", r"\1.conv.\2"),
    Rule(r"^stage\d+\.block\d+", place_among_blocks),
    *TORCHVISION_STEM,
    Rule(r"^head\.(conv|norm)1$", place_after_blocks),
    logits_to("classifier.1"),
)


@dataclass(frozen=True, kw_only=True)
class InvertedResidualNet:
    """Strided convolution, stages of inverted residual blocks, a 1x1 convolution and global average pooling.

    Base of the mobile networks; `stage_fields` lists what else differs between their stages. Maps a feature map to a
    vector of `width` values. The output of stage n is named `stage<n>`.

    Args:
        depths: number of blocks in each stage.
        filters: output channels of each stage.
        strides: stride of the first block of each stage.
        expansions: expansion ratio of the blocks of each stage: hidden channels as a multiple of the input channels; or
            one ratio for each block, of which the last stands for all after it.
        stem_width: filters of the first convolution, at stride 2.
        width: filters of the last convolution.
        dropout: dropout rate before the classifier, in [0, 1).
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).

    Raises:
        ValueError: if the hyperparameters with one entry per stage differ in length.
    """

    depths: tuple[int, ...]
    filters: tuple[int, ...]
    strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)
    expansions: tuple[float | tuple[float, ...], ...]
    stem_width: int = 32
    width: int = 1280
    dropout: float = 0.2
    drop_path: float = 0.0

    activation = "relu"  # a field in the families that let the user choose

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 3, stride=2, activation=self.activation)
        x = stages(
            x,
            self.block,
            depths=self.depths,
            strides=self.strides,
            filters=self.filters,
            expansions=self.expansions,
            drop_rates=rising_rates(self.drop_path, self.depths),
            **self.stage_fields(),
        )
        with scope("head"):
            x = global_avg_pool(noted(conv_norm_act(x, self.width, 1, activation=self.activation), "head"))
            return dropout(self.embedding(x), self.dropout)

    def stage_fields(self) -> dict[str, Sequence]:
        """Return what `block` is given after the drop rate, one entry for each stage."""
        raise NotImplementedError

    def block(
        self,
        x,
        stride: int,
        filters: int,
        expansion: float,
        drop_rate: float,
        kernel: int,
        se_ratio: float = 0.0,
        activation: str | None = None,
    ):
        def excite(hidden):
            return self.excited(hidden, se_ratio, expansion) if se_ratio else hidden

        return inverted_residual(
            x,
            filters,
            kernel,
            stride=stride,
            expansion=expansion,
            activation=activation or self.activation,
            excite=excite,
            drop_rate=drop_rate,
        )

    def excited(self, x, se_ratio: float, expansion: float):
        """Apply squeeze-and-excitation whose bottleneck is `se_ratio` of the channels before the expansion."""
        return squeeze_excite(x, se_ratio / expansion, activation=self.activation)

    def embedding(self, x):
        """Map the pooled vector to the input of the classifier."""
        return x


@register_model("mobilenetv2_035", SANDLER_2018, 1_677_128, **scaled(0.35))
@register_model("mobilenetv2_050", SANDLER_2018, 1_968_680, **scaled(0.5))
@register_model("mobilenetv2_075", SANDLER_2018, 2_636_424, **scaled(0.75))
@register_model("mobilenetv2_100", SANDLER_2018, 3_504_872)
@register_model("mobilenetv2_140", SANDLER_2018, 6_108_776, **scaled(1.4))
@register_model("mobilenetv2_110d", SANDLER_2018, 4_516_520, **deeper(1.1, depths=(1, 3, 4, 5, 4, 4, 1)))
@register_model("mobilenetv2_120d", SANDLER_2018, 5_831_144, **deeper(1.2, depths=(1, 3, 5, 6, 5, 5, 1)))
@register_model("mobilenet_v2", SANDLER_2018, 3_504_872)  # torchvision's name for mobilenetv2_100
@dataclass(frozen=True, kw_only=True)
class MobileNetV2(InvertedResidualNet):
    """Seven stages of inverted residual blocks with ReLU6 and linear bottlenecks.

    Maps a feature map to a vector of `width` values. The output of stage n is named `stage<n>`.

    Args:
        kernel: kernel size of the depthwise convolutions; 1-D inputs often want more than 3.
        blur: anti-aliasing (Zhang, 2019, https://arxiv.org/abs/1904.11486): strided depthwise convolutions are computed
            at stride 1 and blurred before subsampling. The stem, as there, is strided without a blur.
    """

    depths: tuple[int, ...] = (1, 2, 3, 4, 3, 3, 1)
    filters: tuple[int, ...] = FILTERS
    expansions: tuple[float, ...] = (1, 6, 6, 6, 6, 6, 6)
    kernel: int = 3
    blur: bool = False

    activation = "relu6"

    def stage_fields(self) -> dict[str, Sequence]:
        return {}

    def block(self, x, stride: int, filters: int, expansion: float, drop_rate: float):
        options = {"stride": stride, "expansion": expansion, "drop_rate": drop_rate, "blur": self.blur}
        return inverted_residual(x, filters, self.kernel, **options)
