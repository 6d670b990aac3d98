"""EfficientNet: a searched baseline of inverted residuals, scaled in width, depth and resolution together."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.registry import IMAGENET, PYTORCH, TENSORFLOW, Dialect, Paper, Reference, register_model
from kzoo.models.mobilenetv2 import TIMM_BLOCKS, TIMM_HEAD, TORCHVISION_STEM, InvertedResidualNet, place_in_pairs
from kzoo.nn.blocks import divisible, scaled_widths
from kzoo.nn.naming import Rule, from_zero, logits_to

TAN_2019 = Paper(
    "Tan, Mingxing and Le, Quoc V.",
    2019,
    "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
    "https://arxiv.org/abs/1905.11946",
    "ICML",
)
LIU_2020 = Paper(
    "Liu, Renjie",
    2020,
    "Higher accuracy on vision models with EfficientNet-Lite",
    "https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html",
    "TensorFlow Blog",
)
HAN_2020 = Paper(
    "Han, Kai and Wang, Yunhe and Zhang, Qiulin and Zhang, Wei and Xu, Chunjing and Zhang, Tong",
    2020,
    "Model Rubik's Cube: Twisting Resolution, Depth and Width for TinyNets",
    "https://arxiv.org/abs/2010.14819",
    "NeurIPS",
)

DEPTHS = (1, 2, 2, 3, 3, 4, 1)
FILTERS = (16, 24, 40, 80, 112, 192, 320)


def sized(size: int, dialect: Dialect = PYTORCH) -> Reference:
    """Return the ImageNet reference at another image size."""
    return IMAGENET._replace(input_shape=(size, size, 3), dialect=dialect)


def compound(width: float, depth: float, dropout: float) -> dict:
    """Return compound scaling: all channels times `width`, the depth of each stage times `depth`, rounded up."""
    return {
        "depths": tuple(math.ceil(blocks * depth) for blocks in DEPTHS),
        "filters": scaled_widths(FILTERS, width),
        "stem_width": divisible(32 * width),
        "width": divisible(1280 * width),
        "dropout": dropout,
    }


def lite(width: float, depth: float, dropout: float) -> dict:
    """Return EfficientNet-Lite's scaling: a fixed stem and head, ReLU6, and no squeeze-and-excitation."""
    scaled = compound(width, depth, dropout)
    depths = (DEPTHS[0], *scaled["depths"][1:-1], DEPTHS[-1])
    return scaled | {"depths": depths, "stem_width": 32, "width": 1280, "activation": "relu6", "se_ratio": 0.0}


def tiny(width: float, depth: float) -> dict:
    """Return TinyNet's scaling: the depth of each stage is rounded; the stem and the head are fixed."""
    depths = tuple(max(1, round(blocks * depth)) for blocks in DEPTHS)
    return compound(width, 1.0, 0.2) | {"depths": depths, "stem_width": 32, "width": 1280}


def place_after_stages(match: re.Match, layers: Sequence[str]) -> str:
    """Return torchvision's name of the head: the pair that ends the sequence of the stem and the stages."""
    depth = len(set(re.findall(r"stage\d+", " ".join(layers))))
    return f"features.{depth + 1}.{int(match[1] == 'norm')}"


def place_among_all_blocks(match: re.Match, layers: Sequence[str]) -> str:
    """Return EfficientNet-PyTorch's name of a block, where the blocks of all stages form one sequence."""
    blocks = dict.fromkeys(re.findall(r"stage\d+\.block\d+", " ".join(layers)))
    return f"_blocks.{list(blocks).index(match[0])}"


EFFICIENTNET_PYTORCH = r"^_conv_stem\."
KEY_MAPPING = (
    *TIMM_BLOCKS,
    *TIMM_HEAD,
    # EfficientNet-PyTorch by Luke Melas-Kyriazi, https://github.com/lukemelas/EfficientNet-PyTorch; in a block,
    # normalisations are numbered from the expansion's, 0, which the first stage does without.
    Rule(r"^stem\.conv1$", "_conv_stem", where=EFFICIENTNET_PYTORCH),
    Rule(r"^stem\.norm1$", "_bn0", where=EFFICIENTNET_PYTORCH),
    Rule(r"^head\.conv1$", "_conv_head", where=EFFICIENTNET_PYTORCH),
    Rule(r"^head\.norm1$", "_bn1", where=EFFICIENTNET_PYTORCH),
    Rule(r"^logits$", "_fc", where=EFFICIENTNET_PYTORCH),
    Rule(r"\.dwconv1$", "._depthwise_conv", where=EFFICIENTNET_PYTORCH),
    Rule(r"\.se\.conv1$", "._se_reduce", where=EFFICIENTNET_PYTORCH),
    Rule(r"\.se\.conv2$", "._se_expand", where=EFFICIENTNET_PYTORCH),
    Rule(r"^(stage1\..*)\.conv1$", r"\1._project_conv", where=EFFICIENTNET_PYTORCH),
    Rule(r"^(stage1\..*)\.norm(\d)$", r"\1._bn\2", where=EFFICIENTNET_PYTORCH),
    Rule(r"\.conv1$", "._expand_conv", where=EFFICIENTNET_PYTORCH),
    Rule(r"\.conv2$", "._project_conv", where=EFFICIENTNET_PYTORCH),
    Rule(r"\.norm(\d)$", from_zero("._bn{}"), where=EFFICIENTNET_PYTORCH),
    Rule(r"^stage\d+\.block\d+", place_among_all_blocks, where=EFFICIENTNET_PYTORCH),
    # torchvision
    Rule(r"^(stage\d+\.block\d+)\.(.+)$", place_in_pairs),
    Rule(r"^stage(\d+)\.block(\d+)", r"features.\1.\2.block"),
    *TORCHVISION_STEM,
    Rule(r"^head\.(conv|norm)1$", place_after_stages),
    logits_to("classifier.1"),
)


@register_model("efficientnet_b0", TAN_2019, 5_288_548)
@register_model("efficientnet_b1", TAN_2019, 7_794_184, sized(240), **compound(1.0, 1.1, 0.2))
@register_model("efficientnet_b2", TAN_2019, 9_109_994, sized(256), **compound(1.1, 1.2, 0.3))
@register_model("efficientnet_b3", TAN_2019, 12_233_232, sized(288), **compound(1.2, 1.4, 0.3))
@register_model("efficientnet_b4", TAN_2019, 19_341_616, sized(320), **compound(1.4, 1.8, 0.4))
# torchvision's B5, B6 and B7, but not its others, have a BatchNorm epsilon of 1e-3.
@register_model("efficientnet_b5", TAN_2019, 30_389_784, sized(448), **compound(1.6, 2.2, 0.4))
@register_model("efficientnet_b6", TAN_2019, 43_040_704, sized(528), **compound(1.8, 2.6, 0.5))
@register_model("efficientnet_b7", TAN_2019, 66_347_960, sized(600), **compound(2.0, 3.1, 0.5))
@register_model("tf_efficientnet_b0", TAN_2019, 5_288_548, sized(224, TENSORFLOW))
@register_model("tf_efficientnet_b1", TAN_2019, 7_794_184, sized(240, TENSORFLOW), **compound(1.0, 1.1, 0.2))
@register_model("tf_efficientnet_b2", TAN_2019, 9_109_994, sized(260, TENSORFLOW), **compound(1.1, 1.2, 0.3))
@register_model("tf_efficientnet_b3", TAN_2019, 12_233_232, sized(300, TENSORFLOW), **compound(1.2, 1.4, 0.3))
@register_model("tf_efficientnet_b4", TAN_2019, 19_341_616, sized(380, TENSORFLOW), **compound(1.4, 1.8, 0.4))
@register_model("tf_efficientnet_b5", TAN_2019, 30_389_784, sized(456, TENSORFLOW), **compound(1.6, 2.2, 0.4))
@register_model("tf_efficientnet_b6", TAN_2019, 43_040_704, sized(528, TENSORFLOW), **compound(1.8, 2.6, 0.5))
@register_model("tf_efficientnet_b7", TAN_2019, 66_347_960, sized(600, TENSORFLOW), **compound(2.0, 3.1, 0.5))
@register_model("efficientnet_lite0", LIU_2020, 4_652_008, **lite(1.0, 1.0, 0.2))
@register_model("efficientnet_lite1", LIU_2020, 5_416_680, sized(240), **lite(1.0, 1.1, 0.2))
@register_model("efficientnet_lite2", LIU_2020, 6_092_072, sized(260), **lite(1.1, 1.2, 0.3))
@register_model("efficientnet_lite3", LIU_2020, 8_197_096, sized(300), **lite(1.2, 1.4, 0.3))
@register_model("efficientnet_lite4", LIU_2020, 13_006_568, sized(380), **lite(1.4, 1.8, 0.3))
@register_model("tf_efficientnet_lite0", LIU_2020, 4_652_008, sized(224, TENSORFLOW), **lite(1.0, 1.0, 0.2))
@register_model("tf_efficientnet_lite1", LIU_2020, 5_416_680, sized(240, TENSORFLOW), **lite(1.0, 1.1, 0.2))
@register_model("tf_efficientnet_lite2", LIU_2020, 6_092_072, sized(260, TENSORFLOW), **lite(1.1, 1.2, 0.3))
@register_model("tf_efficientnet_lite3", LIU_2020, 8_197_096, sized(300, TENSORFLOW), **lite(1.2, 1.4, 0.3))
@register_model("tf_efficientnet_lite4", LIU_2020, 13_006_568, sized(380, TENSORFLOW), **lite(1.4, 1.8, 0.3))
@register_model("tinynet_a", HAN_2020, 6_187_972, sized(192), **tiny(1.0, 1.2))
@register_model("tinynet_b", HAN_2020, 3_730_562, sized(188), **tiny(0.75, 1.1))
@register_model("tinynet_c", HAN_2020, 2_457_234, sized(184), **tiny(0.54, 0.85))
@register_model("tinynet_d", HAN_2020, 2_338_446, sized(152), **tiny(0.54, 0.695))
@register_model("tinynet_e", HAN_2020, 2_042_972, sized(106), **tiny(0.51, 0.6))
@dataclass(frozen=True, kw_only=True)
class EfficientNet(InvertedResidualNet):
    """Inverted residuals, each with squeeze-and-excitation; the defaults are B0.

    Maps a feature map to a vector of `width` values. The output of stage n is named `stage<n>`.

    Args:
        kernels: kernel size of the depthwise convolutions of each stage.
        activation: Keras name of the activation of all convolutions but the projections.
        se_ratio: squeeze-and-excitation ratio: bottleneck channels as a fraction of a block's input channels, 0 for
            none.
    """

    depths: tuple[int, ...] = DEPTHS
    filters: tuple[int, ...] = FILTERS
    kernels: tuple[int, ...] = (3, 3, 5, 3, 5, 5, 3)
    expansions: tuple[float, ...] = (1, 6, 6, 6, 6, 6, 6)
    activation: str = "silu"
    se_ratio: float = 0.25
    drop_path: float = 0.2

    def stage_fields(self) -> dict[str, Sequence]:
        return {"kernels": self.kernels, "se_ratios": (self.se_ratio,) * len(self.depths)}
