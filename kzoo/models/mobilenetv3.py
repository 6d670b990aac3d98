"""MobileNet v3: inverted residuals with gates where they pay and a cheap swish, and a last layer behind the pooling."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.registry import IMAGENET, PYTORCH, TENSORFLOW, Paper, register_model
from kzoo.models.mobilenetv2 import TIMM, TIMM_BLOCKS, place_after_blocks, place_among_blocks, place_in_pairs
from kzoo.nn.blocks import divisible, inverted_residual, rising_rates, squeeze_excite, stages
from kzoo.nn.layers import conv_norm_act, dense, dropout, global_avg_pool, scope
from kzoo.nn.naming import Rule

HOWARD_2019 = Paper(
    "Howard, Andrew and Sandler, Mark and Chu, Grace and Chen, Liang-Chieh and Chen, Bo and Tan, Mingxing and "
    "Wang, Weijun and Zhu, Yukun and Pang, Ruoming and Vasudevan, Vijay and Le, Quoc V. and Adam, Hartwig",
    2019,
    "Searching for MobileNetV3",
    "https://arxiv.org/abs/1905.02244",
    "ICCV",
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


def scaled(network: dict, multiplier: float) -> dict:
    """Return the channels of the convolutions times `multiplier`; the stem of a small network keeps its own."""
    return network | {
        "filters": tuple(divisible(filters * multiplier) for filters in network["filters"]),
        "stem_width": 16 if multiplier < 0.75 else divisible(16 * multiplier),
        "width": divisible(network["width"] * multiplier),
    }


def minimal(network: dict) -> dict:
    """Return the network without what some hardware lacks: gates, swish and kernels of 5."""
    stages = len(network["depths"])
    return network | {"kernels": (3,) * stages, "se_ratios": (0,) * stages, "relu_stages": stages, "activation": "relu"}


def place_as_stage(match: re.Match, layers: Sequence[str]) -> str:
    """timm's name of the convolution before the pooling: one more stage."""
    depth = len(set(re.findall(r"stage\d+", " ".join(layers))))
    return f"blocks.{depth}.0.{'conv' if match[1] == 'conv' else 'bn1'}"


KEY_MAPPING = (
    *TIMM_BLOCKS,
    Rule(r"^head\.(conv|norm)1$", place_as_stage, where=TIMM),
    Rule(r"^head\.dense1$", "conv_head", where=TIMM),
    # torchvision
    Rule(r"^(stage\d+\.block\d+)\.(.+)$", place_in_pairs),
    Rule(r"^(stage\d+\.block\d+)\.", r"\1.block."),
    Rule(r"^stage\d+\.block\d+", place_among_blocks),
    Rule(r"^stem\.conv1$", "features.0.0"),
    Rule(r"^stem\.norm1$", "features.0.1"),
    Rule(r"^head\.(conv|norm)1$", place_after_blocks),
    Rule(r"^head\.dense1$", "classifier.0"),
    Rule(r"^logits$", "classifier.3"),
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
# torchvision's
@register_model("mobilenet_v3_small", HOWARD_2019, 2_542_856, TORCHVISION, **SMALL)
@register_model("mobilenet_v3_large", HOWARD_2019, 5_483_032, TORCHVISION, **LARGE)
@dataclass(frozen=True)
class MobileNetV3:
    """Stages of inverted residuals, one more convolution, the mean of its output, and a wide dense layer.

    Maps a feature map to a vector of `units` values. The output of stage n is named `stage<n>`.

    Args:
        depths: number of blocks in each stage.
        filters: channels that each stage gives.
        strides: step of the first block of each stage.
        kernels: size of the depthwise convolutions of each stage.
        expansions: hidden channels of the blocks of each stage, as a multiple of the channels that come in; or one
            such number for each block, of which the last stands for all after it.
        se_ratios: hidden channels of the gates of each stage as a fraction of a block's hidden ones, 0 for no gates.
        relu_stages: number of stages, from the first, whose blocks have ReLU in place of `activation`.
        width: filters of the last convolution.
        units: outputs of the dense layer before the logits.
        activation: of all layers but those that end a block.
        stem_width: filters of the first convolution, at stride 2.
        dropout: fraction of the vector dropped in training, in [0, 1).
        drop_path: rate of stochastic depth that rises to this from none at the first block, in [0, 1).

    Raises:
        ValueError: for stages that are not described by equally many entries.
    """

    depths: tuple[int, ...]
    filters: tuple[int, ...]
    strides: tuple[int, ...]
    kernels: tuple[int, ...]
    expansions: tuple[float | tuple[float, ...], ...]
    se_ratios: tuple[float, ...]
    relu_stages: int
    width: int
    units: int
    activation: str = "hard_silu"
    stem_width: int = 16
    dropout: float = 0.2
    drop_path: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 3, stride=2, activation=self.activation)
        later = len(self.depths) - self.relu_stages
        x = stages(
            x,
            self.block,
            depths=self.depths,
            strides=self.strides,
            filters=self.filters,
            kernels=self.kernels,
            expansions=self.expansions,
            se_ratios=self.se_ratios,
            activations=["relu"] * self.relu_stages + [self.activation] * later,
            drop_rates=rising_rates(self.drop_path, self.depths),
        )
        with scope("head"):
            x = global_avg_pool(conv_norm_act(x, self.width, 1, activation=self.activation))
            return dropout(dense(x, self.units, self.activation), self.dropout)

    def block(
        self,
        x,
        stride: int,
        filters: int,
        kernel: int,
        expansion: float,
        se_ratio: float,
        activation: str,
        drop_rate: float,
    ):
        def excite(hidden):
            return squeeze_excite(hidden, se_ratio, divisor=8, gate="hard_sigmoid") if se_ratio else hidden

        return inverted_residual(
            x,
            filters,
            kernel,
            stride=stride,
            expansion=expansion,
            activation=activation,
            excite=excite,
            drop_rate=drop_rate,
        )
