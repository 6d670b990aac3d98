"""ConvNeXt: a ResNet modernised after Vision Transformers, with large depthwise kernels and layer normalisation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import global_response_norm, layer_scale, patches, residual_stages
from kzoo.nn.layers import dense, depthwise_conv, drop_path, global_avg_pool, layer_norm, scope
from kzoo.nn.naming import STEM_SEQUENCE, Rule, from_zero, logits_to

LIU_2022 = Paper(
    "Liu, Zhuang and Mao, Hanzi and Wu, Chao-Yuan and Feichtenhofer, Christoph and Darrell, Trevor and Xie, Saining",
    2022,
    "A ConvNet for the 2020s",
    "https://arxiv.org/abs/2201.03545",
    "CVPR",
)
WOO_2023 = Paper(
    "Woo, Sanghyun and Debnath, Shoubhik and Hu, Ronghang and Chen, Xinlei and Liu, Zhuang and Kweon, In So and "
    "Xie, Saining",
    2023,
    "ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders",
    "https://arxiv.org/abs/2301.00808",
    "CVPR",
)

V1 = {"layer_scale": 1e-6}
V2 = {"response_norm": True}

TORCHVISION = r"^features\."


def stages_and_steps(match: re.Match, layers: Sequence[str]) -> str:
    """Return torchvision's name in `features`: the stem, then the blocks of a stage and a downsampling in turn."""
    stage = int(match["stage"])
    return f"features.{2 * stage - 2}." if match["step"] else f"features.{2 * stage - 1}.{match['block']}."


KEY_MAPPING = (
    *STEM_SEQUENCE,
    Rule(r"\.downsample\.norm1$", ".downsample.0"),
    Rule(r"\.downsample\.conv1$", ".downsample.1"),
    # torchvision
    Rule(r"^stem\.", "features.0.", where=TORCHVISION),
    Rule(r"^stage(?P<stage>\d)\.block(?P<block>\d+)\.(?P<step>downsample\.)?", stages_and_steps, where=TORCHVISION),
    Rule(r"\.dwconv1$", ".block.0", where=TORCHVISION),
    Rule(r"\.norm1$", ".block.2", where=TORCHVISION),
    Rule(r"\.dense1$", ".block.3", where=TORCHVISION),
    Rule(r"\.dense2$", ".block.5", where=TORCHVISION),
    Rule(r"\.scale1$", ".layer_scale", where=TORCHVISION),
    Rule(r"^head\.block\.2$", "classifier.0", where=TORCHVISION),
    Rule(r"^logits$", "classifier.2", where=TORCHVISION),
    # timm
    Rule(r"^stage(\d)\.block0\.downsample", from_zero("stages.{}.downsample")),
    Rule(r"^stage(\d)\.block(\d+)", from_zero("stages.{}.blocks.{}")),
    Rule(r"\.dwconv1$", ".conv_dw"),
    Rule(r"\.norm1$", ".norm"),
    Rule(r"\.dense(\d)$", r".mlp.fc\1"),
    Rule(r"\.response\.scale1$", ".mlp.grn"),
    Rule(r"\.scale1$", ".gamma"),
    logits_to("head.fc"),
)


@register_model("convnext_atto", LIU_2022, 3_695_520, depths=(2, 2, 6, 2), width=40, **V1)
@register_model("convnext_femto", LIU_2022, 5_217_784, depths=(2, 2, 6, 2), width=48, **V1)
@register_model("convnext_pico", LIU_2022, 9_045_672, depths=(2, 2, 6, 2), width=64, **V1)
@register_model("convnext_nano", LIU_2022, 15_593_560, depths=(2, 2, 8, 2), width=80, **V1)
@register_model("convnext_tiny", LIU_2022, 28_589_128, depths=(3, 3, 9, 3), width=96, **V1)
@register_model("convnext_small", LIU_2022, 50_223_688, depths=(3, 3, 27, 3), width=96, **V1)
@register_model("convnext_base", LIU_2022, 88_591_464, depths=(3, 3, 27, 3), width=128, **V1)
@register_model("convnext_large", LIU_2022, 197_767_336, depths=(3, 3, 27, 3), width=192, **V1)
@register_model("convnextv2_atto", WOO_2023, 3_708_400, depths=(2, 2, 6, 2), width=40, **V2)
@register_model("convnextv2_femto", WOO_2023, 5_233_240, depths=(2, 2, 6, 2), width=48, **V2)
@register_model("convnextv2_pico", WOO_2023, 9_066_280, depths=(2, 2, 6, 2), width=64, **V2)
@register_model("convnextv2_nano", WOO_2023, 15_623_800, depths=(2, 2, 8, 2), width=80, **V2)
@register_model("convnextv2_tiny", WOO_2023, 28_635_496, depths=(3, 3, 9, 3), width=96, **V2)
@register_model("convnextv2_base", WOO_2023, 88_717_800, depths=(3, 3, 27, 3), width=128, **V2)
@register_model("convnextv2_large", WOO_2023, 197_956_840, depths=(3, 3, 27, 3), width=192, **V2)
@dataclass(frozen=True)
class ConvNeXt:
    """Patch embedding, then stages of residual blocks: a depthwise convolution and an inverted bottleneck.

    Maps a feature map to a vector. The output of stage n is named `stage<n>`; its spatial axes are those of the input
    divided by `patch * 2 ** (n - 1)`, rounded down.

    Args:
        depths: number of blocks in each stage.
        width: filters of the first stage; each later stage doubles them.
        patch: patch size: kernel size and stride of the stem.
        kernel: kernel size of the depthwise convolutions.
        expansion: expansion ratio: hidden channels of a block as a multiple of its input channels.
        layer_scale: initial value of layer scale in the residual branches; 0 for none.
        response_norm: global response normalisation inside the blocks (V2).
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).
    """

    depths: tuple[int, ...]
    width: int = 96
    patch: int = 4
    kernel: int = 7
    expansion: int = 4
    layer_scale: float = 0.0
    response_norm: bool = False
    drop_path: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = layer_norm(patches(x, self.width, self.patch))
        x = residual_stages(x, self.block, self.depths, self.width, self.drop_path)
        with scope("head"):
            return layer_norm(global_avg_pool(x))

    def block(self, x, stride: int, filters: int, drop_rate: float):
        if stride > 1:
            with scope("downsample"):
                x = patches(layer_norm(x), filters, stride)
        y = layer_norm(depthwise_conv(x, self.kernel))
        y = dense(y, self.expansion * filters, "gelu")
        if self.response_norm:
            y = global_response_norm(y)
        y = layer_scale(dense(y, filters), self.layer_scale)
        return keras.layers.add([x, drop_path(y, drop_rate)])
