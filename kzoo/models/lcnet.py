"""PP-LCNet: a MobileNet tuned for CPU latency, with hard swish and late large kernels and squeeze-and-excitation."""

from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.models.mobilenetv2 import TIMM_BLOCKS
from kzoo.nn.blocks import depthwise_norm_act, divisible, scaled_widths, squeeze_excite, stages
from kzoo.nn.layers import conv_norm_act, dense, dropout, global_avg_pool, scope
from kzoo.nn.naming import Rule

CUI_2021 = Paper(
    "Cui, Cheng and Gao, Tingquan and Wei, Shengyu and others",
    2021,
    "PP-LCNet: A Lightweight CPU Convolutional Neural Network",
    "https://arxiv.org/abs/2109.15099",
)

FILTERS = (32, 64, 128, 256, 256, 512)


def scaled(multiplier: float) -> dict:
    """Return the width-scaled network: channels of all convolutions times `multiplier`."""
    filters = scaled_widths(FILTERS, multiplier)
    return {"filters": filters, "stem_width": divisible(16 * multiplier)}


KEY_MAPPING = (*TIMM_BLOCKS, Rule(r"^head\.dense1$", "conv_head"))


@register_model("lcnet_035", CUI_2021, 1_644_370, **scaled(0.35))
@register_model("lcnet_050", CUI_2021, 1_880_856, **scaled(0.5))
@register_model("lcnet_075", CUI_2021, 2_358_288, **scaled(0.75))
@register_model("lcnet_100", CUI_2021, 2_953_800)
@register_model("lcnet_150", CUI_2021, 4_501_112, **scaled(1.5))
@dataclass(frozen=True)
class LCNet:
    """Strided convolution, stages of depthwise separable convolutions, global average pooling and a wide dense layer.

    Maps a feature map to a vector of `units` values. The output of stage n is named `stage<n>`.

    Args:
        depths: number of separable convolutions in each stage.
        filters: output channels of each stage.
        strides: stride of the first convolution of each stage.
        kernels: kernel size of the depthwise convolutions of each stage; or a tuple with one for each block, of which
            the last stands for all after it.
        se_ratios: squeeze-and-excitation ratio of each stage, 0 for none.
        stem_width: filters of the first convolution, at stride 2.
        units: outputs of the dense layer before the logits.
        dropout: dropout rate before the classifier, in [0, 1).

    Raises:
        ValueError: if the hyperparameters with one entry per stage differ in length.
    """

    depths: tuple[int, ...] = (1, 2, 2, 2, 4, 2)
    filters: tuple[int, ...] = FILTERS
    strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2)
    kernels: tuple[int | tuple[int, ...], ...] = (3, 3, 3, (3, 5), 5, 5)
    se_ratios: tuple[float, ...] = (0, 0, 0, 0, 0, 0.25)
    stem_width: int = 16
    units: int = 1280
    dropout: float = 0.2

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 3, stride=2, activation="hard_silu")
        x = stages(
            x,
            self.block,
            depths=self.depths,
            strides=self.strides,
            filters=self.filters,
            kernels=self.kernels,
            se_ratios=self.se_ratios,
        )
        with scope("head"):
            return dropout(dense(global_avg_pool(x), self.units, "hard_silu"), self.dropout)

    def block(self, x, stride: int, filters: int, kernel: int, se_ratio: float):
        x = depthwise_norm_act(x, kernel, stride=stride, activation="hard_silu")
        if se_ratio:
            x = squeeze_excite(x, se_ratio, gate="hard_sigmoid")
        return conv_norm_act(x, filters, 1, activation="hard_silu")
