"""MobileNetV3: searched inverted residuals with squeeze-and-excitation and hard swish."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.registry import IMAGENET, PYTORCH, TENSORFLOW, Paper, Reference, register_model
from kzoo.models.mobilenetv2 import (
    TIMM,
    TIMM_BLOCKS,
    TORCHVISION_STEM,
    InvertedResidualNet,
    place_after_blocks,
    place_among_blocks,
    place_in_pairs,
)
from kzoo.nn.blocks import divisible, scaled_widths, squeeze_excite
from kzoo.nn.layers import dense
from kzoo.nn.naming import Rule, logits_to

HOWARD_2019 = Paper(
    "Howard, Andrew and Sandler, Mark and Chu, Grace and Chen, Liang-Chieh and Chen, Bo and Tan, Mingxing and "
    "Wang, Weijun and Zhu, Yukun and Pang, Ruoming and Vasudevan, Vijay and Le, Quoc V. and Adam, Hartwig",
    2019,
    "Searching for MobileNetV3",
    "https://arxiv.org/abs/1905.02244",
    "ICCV",
)
SCHMID_2023 = Paper(
    "Schmid, Florian and Koutini, Khaled and Widmer, Gerhard",
    2023,
    "Efficient Large-Scale Audio Tagging Via Transformer-to-CNN Knowledge Distillation",
    "https://arxiv.org/abs/2211.04772",
    "ICASSP",
)

LARGE = {
    "depths": (1, 2, 3, 4, 2, 3),
    "filters": (16, 24, 40, 80, 112, 160),
    "strides": (1, 2, 2, 2, 1, 2),
    "kernels": (3, 3, 5, 3, 3, 5),
    "expansions": (1, (4, 3), 3, (6, 2.5, 2.3), 6, 6),
    "se_ratios": (0, 0, 0.25, 0, 0.25, 0.25),
    "relu_stages": 3,
    "width": 960,
    "units": 1280,
}
MN04 = (1, (3, 2), (2, 3), (6, 2.5, 2.25), (6, 17 / 3), (17 / 3, 6))
SMALL = {
    "depths": (1, 2, 3, 2, 3),
    "filters": (16, 24, 40, 48, 96),
    "strides": (2, 2, 2, 1, 2),
    "kernels": (3, 3, 5, 5, 5),
    "expansions": (1, (4.5, 3.67), (4, 6), 3, 6),
    "se_ratios": (0.25, 0, 0.25, 0.25, 0.25),
    "relu_stages": 2,
    "width": 576,
    "units": 1024,
}
TF = IMAGENET._replace(dialect=TENSORFLOW)
TORCHVISION = IMAGENET._replace(dialect=PYTORCH._replace(bn_epsilon=1e-3, bn_momentum=0.99))

# 128 mel bands of 10 seconds at 32 kHz, every 10 milliseconds; the classes of AudioSet
AUDIO_SET = Reference((128, 1000, 1), 527, TORCHVISION.dialect)


def scaled(network: dict, multiplier: float) -> dict:
    """Return the width-scaled network: channels times `multiplier`; the stem of a narrow network is fixed."""
    return network | {
        "filters": scaled_widths(network["filters"], multiplier),
        "stem_width": 16 if multiplier < 0.75 else divisible(16 * multiplier),
        "width": divisible(network["width"] * multiplier),
    }


def minimal(network: dict) -> dict:
    """Return the minimalistic network: without squeeze-and-excitation, hard swish and 5x5 kernels."""
    stages = len(network["depths"])
    return network | {"kernels": (3,) * stages, "se_ratios": (0,) * stages, "relu_stages": stages, "activation": "relu"}


def tagger(network: dict, multiplier: float = 1.0) -> dict:
    """Return the network of EfficientAT, whose gates are sigmoids and whose last layers are scaled as well."""
    filters = scaled_widths(network["filters"], multiplier)
    sizes = {"stem_width": filters[0], "width": 6 * filters[-1], "units": divisible(network["units"] * multiplier)}
    return network | sizes | {"filters": filters, "gate": "sigmoid"}


def place_as_stage(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name of the convolution before the pooling, which is a stage of its own."""
    depth = len(set(re.findall(r"stage\d+", " ".join(layers))))
    return f"blocks.{depth}.0.{'conv' if match[1] == 'conv' else 'bn1'}"


EFFICIENT_AT = r"\.conc_se_layers\."  # a name that its checkpoints alone have

KEY_MAPPING = (
    *TIMM_BLOCKS,
    Rule(r"^head\.(conv|norm)1$", place_as_stage, where=TIMM),
    Rule(r"^head\.dense1$", "conv_head", where=TIMM),
    # torchvision
    Rule(r"^(stage\d+\.block\d+)\.(.+)$", place_in_pairs),
    Rule(r"^(stage\d+\.block\d+)\.", r"\1.block."),
    Rule(r"^stage\d+\.block\d+", place_among_blocks),
    *TORCHVISION_STEM,
    Rule(r"^head\.(conv|norm)1$", place_after_blocks),
    Rule(r"^head\.dense1$", "classifier.0"),
    logits_to("classifier.3"),
    # EfficientAT, which is torchvision's but for its squeeze-and-excitation and the places of the classifier
    Rule(r"\.(fc[12])$", r".conc_se_layers.0.\1", where=EFFICIENT_AT),
    Rule(r"^classifier\.0$", "classifier.2", where=EFFICIENT_AT),
    Rule(r"^classifier\.3$", "classifier.5", where=EFFICIENT_AT),
)


@register_model("mobilenetv3_small_050", HOWARD_2019, 1_593_224, **scaled(SMALL, 0.5))
@register_model("mobilenetv3_small_075", HOWARD_2019, 2_041_872, **scaled(SMALL, 0.75))
@register_model("mobilenetv3_small_100", HOWARD_2019, 2_542_856, **SMALL)
@register_model("mobilenetv3_large_075", HOWARD_2019, 3_993_528, **scaled(LARGE, 0.75))
@register_model("mobilenetv3_large_100", HOWARD_2019, 5_483_032, **LARGE)
@register_model("tf_mobilenetv3_small_075", HOWARD_2019, 2_041_872, TF, **scaled(SMALL, 0.75))
@register_model("tf_mobilenetv3_small_100", HOWARD_2019, 2_542_856, TF, **SMALL)
@register_model("tf_mobilenetv3_small_minimal_100", HOWARD_2019, 2_044_736, TF, **minimal(SMALL))
@register_model("tf_mobilenetv3_large_075", HOWARD_2019, 3_993_528, TF, **scaled(LARGE, 0.75))
@register_model("tf_mobilenetv3_large_100", HOWARD_2019, 5_483_032, TF, **LARGE)
@register_model("tf_mobilenetv3_large_minimal_100", HOWARD_2019, 3_924_288, TF, **minimal(LARGE))
# EfficientAT's; in mn04 the hidden channels are rounded to multiples of 8, which gives ratios of its own. The counts
# are those of the authors' code (fschmid56/EfficientAT).
@register_model("mn04", SCHMID_2023, 983_599, AUDIO_SET, task="tagging", **tagger(LARGE, 0.4) | {"expansions": MN04})
@register_model("mn10", SCHMID_2023, 4_876_831, AUDIO_SET, task="tagging", **tagger(LARGE))
# torchvision's
@register_model("mobilenet_v3_small", HOWARD_2019, 2_542_856, TORCHVISION, **SMALL)
@register_model("mobilenet_v3_large", HOWARD_2019, 5_483_032, TORCHVISION, **LARGE)
@dataclass(frozen=True, kw_only=True)
class MobileNetV3(InvertedResidualNet):
    """Inverted residuals with hard swish and squeeze-and-excitation, and a dense layer after the pooling.

    Maps a feature map to a vector of `units` values. The output of stage n is named `stage<n>`.

    Args:
        kernels: kernel size of the depthwise convolutions of each stage.
        se_ratios: squeeze-and-excitation ratio of each stage: bottleneck channels as a fraction of a block's hidden
            channels, 0 for none.
        relu_stages: number of stages, from the first, whose blocks use ReLU instead of `activation`.
        units: outputs of the dense layer before the logits.
        activation: Keras name of the activation of all layers but the projections.
        gate: Keras name of the activation of the gates of squeeze-and-excitation.
    """

    kernels: tuple[int, ...]
    se_ratios: tuple[float, ...]
    relu_stages: int
    units: int
    activation: str = "hard_silu"
    stem_width: int = 16
    gate: str = "hard_sigmoid"

    def stage_fields(self) -> dict[str, Sequence]:
        later = len(self.depths) - self.relu_stages
        activations = ["relu"] * self.relu_stages + [self.activation] * later
        return {"kernels": self.kernels, "se_ratios": self.se_ratios, "activations": activations}

    def excited(self, x, se_ratio: float, expansion: float):
        return squeeze_excite(x, se_ratio, divisor=8, gate=self.gate)

    def embedding(self, x):
        return dense(x, self.units, self.activation)
