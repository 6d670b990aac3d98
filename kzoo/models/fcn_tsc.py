"""FCN: fully convolutional network for time-series classification, without downsampling."""

from dataclasses import dataclass

from kzoo.core.registry import TENSORFLOW, Paper, Reference, register_model
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import conv_norm_act

WANG_2017 = Paper(
    "Wang, Zhiguang and Yan, Weizhong and Oates, Tim",
    2017,
    "Time Series Classification from Scratch with Deep Neural Networks: A Strong Baseline",
    "https://arxiv.org/abs/1611.06455",
    "IJCNN",
)

# Input and classes of the UCR dataset GunPoint, for which time-series networks publish their parameter counts.
GUNPOINT = Reference((150, 1), 2, TENSORFLOW)


# The count is that of dl-4-tsc and aeon: 265,986 with the 1,024 batch-norm statistics.
@register_model("fcn", WANG_2017, 264_962, GUNPOINT)
@dataclass(frozen=True)
class FCN:
    """Convolution, batch normalisation and ReLU in turn, without any pooling.

    Maps a feature map to one of the same size. The output of layer n is named `stage<n>`.

    Args:
        filters: kernels of each layer; there are as many layers as entries.
        kernels: kernel size of each layer.

    Raises:
        ValueError: if `filters` and `kernels` differ in length.
    """

    filters: tuple[int, ...] = (128, 256, 128)
    kernels: tuple[int, ...] = (8, 5, 3)

    keeps_positions = True

    def __call__(self, x):
        return stage_sequence(x, self.layer, filters=self.filters, kernels=self.kernels)

    def layer(self, x, filters: int, kernel: int):
        return conv_norm_act(x, filters, kernel, use_bias=True)
