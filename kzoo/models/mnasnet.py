"""MnasNet: inverted residuals found by platform-aware architecture search for latency on a phone."""

from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.registry import IMAGENET, PYTORCH, Paper, register_model
from kzoo.models.mobilenetv2 import TIMM_BLOCKS, TIMM_HEAD, InvertedResidualNet
from kzoo.nn.blocks import divisible, scaled_widths
from kzoo.nn.naming import Rule, logits_to

TAN_2019 = Paper(
    "Tan, Mingxing and Chen, Bo and Pang, Ruoming and Vasudevan, Vijay and Sandler, Mark and Howard, Andrew and "
    "Le, Quoc V.",
    2019,
    "MnasNet: Platform-Aware Neural Architecture Search for Mobile",
    "https://arxiv.org/abs/1807.11626",
    "CVPR",
)

A1 = {
    "depths": (1, 2, 3, 4, 2, 3, 1),
    "filters": (16, 24, 40, 80, 112, 160, 320),
    "kernels": (3, 3, 5, 3, 3, 5, 3),
    "expansions": (1, 6, 3, 6, 6, 6, 6),
    "se_ratios": (0, 0, 0.25, 0, 0.25, 0.25, 0),
}
B1 = {
    "depths": (1, 3, 3, 3, 2, 4, 1),
    "filters": (16, 24, 40, 80, 96, 192, 320),
    "kernels": (3, 3, 5, 5, 3, 5, 3),
    "expansions": (1, 3, 3, 6, 6, 6, 6),
    "se_ratios": (0, 0, 0, 0, 0, 0, 0),
}
SMALL = {
    "depths": (1, 1, 2, 4, 3, 3, 1),
    "filters": (8, 16, 16, 32, 32, 88, 144),
    "kernels": (3, 3, 3, 5, 3, 5, 3),
    "expansions": (1, 3, 6, 6, 6, 6, 6),
    "se_ratios": (0, 0, 0, 0.25, 0.25, 0.25, 0),
    "stem_width": 8,
}
# The paper's momentum, 0.9997 in Keras's sense; timm has the same default in all networks.
TORCHVISION = IMAGENET._replace(dialect=PYTORCH._replace(bn_momentum=0.9997))


def scaled(network: dict, multiplier: float) -> dict:
    """Return a network whose stem and stages have `multiplier` times the channels; the last layer is fixed."""
    filters = scaled_widths(network["filters"], multiplier)
    return network | {"filters": filters, "stem_width": divisible(32 * multiplier)}


KEY_MAPPING = (
    *TIMM_BLOCKS,
    *TIMM_HEAD,
    # torchvision counts every layer, the activations too.
    Rule(r"^stem\.conv1$", "layers.0"),
    Rule(r"^stem\.norm1$", "layers.1"),
    Rule(r"^stage1\.block0\.dwconv1$", "layers.3"),
    Rule(r"^stage1\.block0\.norm1$", "layers.4"),
    Rule(r"^stage1\.block0\.conv1$", "layers.6"),
    Rule(r"^stage1\.block0\.norm2$", "layers.7"),
    Rule(r"^stage(\d+)\.block(\d+)\.", lambda match, layers: f"layers.{int(match[1]) + 6}.{match[2]}.layers."),
    Rule(r"\.layers\.conv1$", ".layers.0"),
    Rule(r"\.layers\.norm1$", ".layers.1"),
    Rule(r"\.layers\.dwconv1$", ".layers.3"),
    Rule(r"\.layers\.norm2$", ".layers.4"),
    Rule(r"\.layers\.conv2$", ".layers.6"),
    Rule(r"\.layers\.norm3$", ".layers.7"),
    Rule(r"^head\.conv1$", "layers.14"),
    Rule(r"^head\.norm1$", "layers.15"),
    logits_to("classifier.1"),
)


@register_model("mnasnet_050", TAN_2019, 2_218_512, **scaled(B1, 0.5))
@register_model("mnasnet_075", TAN_2019, 3_170_208, **scaled(B1, 0.75))
@register_model("mnasnet_100", TAN_2019, 4_383_312, **B1)
@register_model("mnasnet_140", TAN_2019, 7_115_728, **scaled(B1, 1.4))
@register_model("semnasnet_050", TAN_2019, 2_082_006, **scaled(A1, 0.5))
@register_model("semnasnet_075", TAN_2019, 2_912_278, **scaled(A1, 0.75))
@register_model("semnasnet_100", TAN_2019, 3_887_038, **A1)
@register_model("semnasnet_140", TAN_2019, 6_105_992, **scaled(A1, 1.4))
@register_model("mnasnet_small", TAN_2019, 2_030_264, **SMALL)
# torchvision's
@register_model("mnasnet0_5", TAN_2019, 2_218_512, TORCHVISION, **scaled(B1, 0.5))
@register_model("mnasnet0_75", TAN_2019, 3_170_208, TORCHVISION, **scaled(B1, 0.75))
@register_model("mnasnet1_0", TAN_2019, 4_383_312, TORCHVISION, **B1)
@register_model("mnasnet1_3", TAN_2019, 6_282_256, TORCHVISION, **scaled(B1, 1.3))
@dataclass(frozen=True, kw_only=True)
class MnasNet(InvertedResidualNet):
    """Stages of inverted residuals whose kernel size, expansion and squeeze-and-excitation were searched.

    Maps a feature map to a vector of `width` values. The output of stage n is named `stage<n>`.

    Args:
        kernels: kernel size of the depthwise convolutions of each stage.
        se_ratios: squeeze-and-excitation ratio of each stage: bottleneck channels as a fraction of the block's input
            channels, 0 for none.
    """

    kernels: tuple[int, ...]
    se_ratios: tuple[float, ...]

    def stage_fields(self) -> dict[str, Sequence]:
        return {"kernels": self.kernels, "se_ratios": self.se_ratios}
