"""MobileNet v1: depthwise separable convolutions in place of dense ones."""

from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.models.mobilenetv2 import TIMM_BLOCKS, TIMM_HEAD
from kzoo.nn.blocks import depthwise_norm_act, divisible, scaled_widths, stages
from kzoo.nn.layers import conv_norm_act, scope

HOWARD_2017 = Paper(
    "Howard, Andrew G. and Zhu, Menglong and Chen, Bo and Kalenichenko, Dmitry and Wang, Weijun and Weyand, Tobias "
    "and Andreetto, Marco and Adam, Hartwig",
    2017,
    "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    "https://arxiv.org/abs/1704.04861",
)

FILTERS = (64, 128, 256, 512, 1024)


def scaled(multiplier: float) -> dict:
    """Return the width-scaled network: all channels times `multiplier`."""
    filters = scaled_widths(FILTERS, multiplier)
    return {"filters": filters, "stem_width": divisible(32 * multiplier)}


KEY_MAPPING = (*TIMM_BLOCKS, *TIMM_HEAD)


@register_model("mobilenetv1_100", HOWARD_2017, 4_231_976)
@register_model("mobilenetv1_100h", HOWARD_2017, 5_282_600, width=1024)
@register_model("mobilenetv1_125", HOWARD_2017, 6_270_840, **scaled(1.25))
@dataclass(frozen=True)
class MobileNetV1:
    """Strided convolution, then stages of depthwise separable convolutions.

    Maps a feature map to one whose spatial axes are divided by 2 and by each of the `strides`. The output of stage n is
    named `stage<n>`.

    Args:
        depths: number of separable convolutions in each stage.
        filters: output channels of each stage.
        strides: stride of the first convolution of each stage.
        kernel: kernel size of the depthwise convolutions; 1-D inputs often want more than 3.
        stem_width: filters of the first convolution, at stride 2.
        width: filters of a last pointwise convolution, 0 for none.
        blur: anti-aliasing (Zhang, 2019, https://arxiv.org/abs/1904.11486): strided depthwise convolutions are computed
            at stride 1 and blurred before subsampling. The stem, as there, is strided without a blur.

    Raises:
        ValueError: if the hyperparameters with one entry per stage differ in length.
    """

    depths: tuple[int, ...] = (1, 2, 2, 6, 2)
    filters: tuple[int, ...] = FILTERS
    strides: tuple[int, ...] = (1, 2, 2, 2, 2)
    kernel: int = 3
    stem_width: int = 32
    width: int = 0
    blur: bool = False

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 3, stride=2, activation="relu6")
        x = stages(x, self.block, depths=self.depths, strides=self.strides, filters=self.filters)
        with scope("head"):
            return conv_norm_act(x, self.width, 1, activation="relu6") if self.width else x

    def block(self, x, stride: int, filters: int):
        x = depthwise_norm_act(x, self.kernel, stride=stride, activation="relu6", blur=self.blur)
        return conv_norm_act(x, filters, 1, activation="relu6")
