"""MobileOne: over-parameterised branches in training that fuse into one convolution for inference."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import branched_conv, squeeze_excite, stages, zip_stages
from kzoo.nn.layers import act, scope
from kzoo.nn.naming import Rule, logits_to

VASU_2023 = Paper(
    "Vasu, Pavan Kumar Anasosalu and Gabriel, James and Zhu, Jeff and Tuzel, Oncel and Ranjan, Anurag",
    2023,
    "MobileOne: An Improved One millisecond Mobile Backbone",
    "https://arxiv.org/abs/2206.04040",
    "CVPR",
)


def place_in_stage(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name, where the depthwise and the pointwise half of a block are blocks of their own."""
    half = match["half"] == "mix"
    return f"stages.{int(match['stage']) - 1}.{2 * int(match['block']) + half}."


KEY_MAPPING = (
    Rule(r"^stage(?P<stage>\d+)\.block(?P<block>\d+)\.(?P<half>look|mix)\.", place_in_stage),
    Rule(r"^(stem|stages\.\d+\.\d+)\.(dw)?conv1$", r"\1.reparam_conv"),  # the re-parameterised network
    Rule(r"\.branch(\d+)\.", r".conv_kxk.\1."),
    Rule(r"\.pointwise\.", ".conv_scale."),
    Rule(r"\.identity\.norm1$", ".identity"),
    Rule(r"\.se\.conv", ".attn.fc"),
    Rule(r"\.(dw)?conv1$", ".conv"),
    Rule(r"\.norm1$", ".bn"),
    logits_to("head.fc"),
)


@register_model("mobileone_s0", VASU_2023, 5_293_272, filters=(48, 128, 256, 1024), stem_width=48, branches=4)
@register_model("mobileone_s1", VASU_2023, 4_825_192, filters=(96, 192, 512, 1280))
@register_model("mobileone_s2", VASU_2023, 7_884_648, filters=(96, 256, 640, 2048))
@register_model("mobileone_s3", VASU_2023, 10_170_600, filters=(128, 320, 768, 2048))
@register_model("mobileone_s4", VASU_2023, 14_951_248, filters=(192, 448, 896, 2048), se_blocks=(0, 0, 5, 1))
@dataclass(frozen=True)
class MobileOne:
    """Stages of depthwise and pointwise convolutions in turn, all multi-branch; each stage begins with stride 2.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n is named
    `stage<n>`. `kzoo.zoo.reparameterize` fuses the branches of the trained model into plain convolutions.

    Args:
        filters: output channels of each stage.
        depths: number of blocks in each stage.
        stem_width: filters of the stem, a multi-branch convolution with stride 2.
        branches: number of parallel convolutions of the same kernel size.
        se_blocks: number of blocks, at the end of each stage, with squeeze-and-excitation.
        se_ratio: squeeze-and-excitation ratio of these blocks.
        kernel: kernel size of the depthwise convolutions; 1-D inputs often want more than 3.

    Raises:
        ValueError: if `filters`, `depths` and `se_blocks` differ in length.
    """

    filters: tuple[int, ...]
    depths: tuple[int, ...] = (2, 8, 10, 1)
    stem_width: int = 64
    branches: int = 1
    se_blocks: tuple[int, ...] = (0, 0, 0, 0)
    se_ratio: float = 1 / 16
    kernel: int = 3

    def __call__(self, x):
        with scope("stem"):
            # One 3x3 convolution, whatever `branches`.
            x = act(branched_conv(x, self.stem_width, self.kernel, stride=2))
        return stages(
            x,
            self.block,
            depths=self.depths,
            strides=(2,) * len(self.depths),
            filters=self.filters,
            gated=[
                tuple(n >= depth - gated for n in range(depth))
                for depth, gated in zip_stages(depths=self.depths, se_blocks=self.se_blocks)
            ],
        )

    def block(self, x, stride: int, filters: int, gated: bool):
        channels = x.shape[-1]
        with scope("look"):
            x = self.half(x, channels, gated, kernel=self.kernel, stride=stride, groups=channels)
        with scope("mix"):
            return self.half(x, filters, gated, kernel=1)

    def half(self, x, filters: int, gated: bool, **options):
        x = branched_conv(x, filters, branches=self.branches, **options)
        return act(squeeze_excite(x, self.se_ratio, divisor=8) if gated else x)
