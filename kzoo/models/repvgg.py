"""RepVGG: multi-branch blocks in training that fuse into a plain stack of 3x3 convolutions for inference."""

from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import branched_conv, stages
from kzoo.nn.layers import act, scope
from kzoo.nn.naming import Rule, from_zero, logits_to

DING_2021 = Paper(
    "Ding, Xiaohan and Zhang, Xiangyu and Ma, Ningning and Han, Jungong and Ding, Guiguang and Sun, Jian",
    2021,
    "RepVGG: Making VGG-style ConvNets Great Again",
    "https://arxiv.org/abs/2101.03697",
    "CVPR",
)

KEY_MAPPING = (
    Rule(r"^stage(\d+)\.block(\d+)", from_zero("stages.{}.{}")),
    Rule(r"^(stem|stages\.\d+\.\d+)\.conv1$", r"\1.reparam_conv"),  # the re-parameterised network
    Rule(r"\.branch0\.", ".conv_kxk."),
    Rule(r"\.pointwise\.", ".conv_1x1."),
    Rule(r"\.identity\.norm1$", ".identity"),
    Rule(r"\.conv1$", ".conv"),
    Rule(r"\.norm1$", ".bn"),
    logits_to("head.fc"),
)


@register_model("repvgg_a0", DING_2021, 9_108_968, depths=(2, 4, 14, 1), filters=(48, 96, 192, 1280), stem_width=48)
@register_model("repvgg_a1", DING_2021, 14_092_264, depths=(2, 4, 14, 1), filters=(64, 128, 256, 1280))
@register_model("repvgg_a2", DING_2021, 28_210_600, depths=(2, 4, 14, 1), filters=(96, 192, 384, 1408))
@register_model("repvgg_b0", DING_2021, 15_817_960, depths=(4, 6, 16, 1), filters=(64, 128, 256, 1280))
@register_model("repvgg_b1", DING_2021, 57_415_016, depths=(4, 6, 16, 1), filters=(128, 256, 512, 2048))
@register_model("repvgg_b2", DING_2021, 89_022_376, depths=(4, 6, 16, 1), filters=(160, 320, 640, 2560))
@register_model("repvgg_b3", DING_2021, 123_085_288, depths=(4, 6, 16, 1), filters=(192, 384, 768, 2560))
@dataclass(frozen=True)
class RepVGG:
    """Stages of multi-branch convolutions, each stage beginning with stride 2.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n is named
    `stage<n>`. `kzoo.zoo.reparameterize` fuses the branches of the trained model into the plain stack.

    Args:
        depths: number of blocks in each stage.
        filters: output channels of each stage.
        stem_width: filters of the stem, a block with stride 2.
        kernel: kernel size of the convolutions; 1-D inputs often want more than 3.

    Raises:
        ValueError: if `depths` and `filters` differ in length.
    """

    depths: tuple[int, ...]
    filters: tuple[int, ...]
    stem_width: int = 64
    kernel: int = 3

    def __call__(self, x):
        with scope("stem"):
            x = self.block(x, 2, self.stem_width)
        strides = (2,) * len(self.depths)
        return stages(x, self.block, depths=self.depths, strides=strides, filters=self.filters)

    def block(self, x, stride: int, filters: int):
        return act(branched_conv(x, filters, self.kernel, stride=stride))
