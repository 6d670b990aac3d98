"""SRCNN, ESPCN, FSRCNN: small networks for super-resolution, with the enlargement before or after them."""

import math
from dataclasses import dataclass

from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import block_sequence, named_stages, stage_sequence
from kzoo.nn.heads import Restorer, conv_readout
from kzoo.nn.layers import conv, conv_transpose, per_axis, pixel_shuffle, prelu, scope

DONG_2015 = Paper(
    "Dong, Chao and Loy, Chen Change and He, Kaiming and Tang, Xiaoou",
    2015,
    "Image Super-Resolution Using Deep Convolutional Networks",
    "https://arxiv.org/abs/1501.00092",
    "IEEE TPAMI",
)
SHI_2016 = Paper(
    "Shi, Wenzhe and Caballero, Jose and Huszár, Ferenc and Totz, Johannes and Aitken, Andrew P. and Bishop, Rob "
    "and Rueckert, Daniel and Wang, Zehan",
    2016,
    "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network",
    "https://arxiv.org/abs/1609.05158",
    "CVPR",
)
DONG_2016 = Paper(
    "Dong, Chao and Loy, Chen Change and Tang, Xiaoou",
    2016,
    "Accelerating the Super-Resolution Convolutional Neural Network",
    "https://arxiv.org/abs/1608.00367",
    "ECCV",
)

LUMINANCE = Reference((33, 33, 1), 1)


@register_model("srcnn", DONG_2015, 8_129, LUMINANCE, task="restoration")
@register_model("srcnn_955", DONG_2015, 57_281, LUMINANCE, task="restoration", kernels=(9, 5, 5))
@dataclass(frozen=True)
class SRCNN(Restorer):
    """Three convolutions on an image that was enlarged by bicubic interpolation.

    Maps a feature map to one of the same size, as does the whole network. The output of layer n is named `stage<n>`.

    Args:
        filters: kernels of each layer but the last.
        kernels: kernel size of each layer, the last included.
    """

    filters: tuple[int, ...] = (64, 32)
    kernels: tuple[int, ...] = (9, 1, 5)

    activation = "relu"

    def __call__(self, x):
        return stage_sequence(x, self.layer, filters=self.filters, kernels=self.kernels[:-1])

    def layer(self, x, filters: int, kernel: int):
        return conv(x, filters, kernel, activation=self.activation)

    def output_map(self, x, inputs, outputs: int):
        """Return the image, of the size of the input."""
        return conv_readout(x, outputs, self.kernels[-1])


@register_model("espcn_x3", SHI_2016, 22_729, LUMINANCE, task="restoration")
@dataclass(frozen=True)
class ESPCN(SRCNN):
    """Convolutions on the small image, the last of which has a channel for each position of the large one.

    Maps a feature map to one of the same size; the whole network returns an image of `scale` times the size, whose
    positions are taken from the channels (sub-pixel convolution). The output of layer n is named `stage<n>`.

    Args:
        scale: factor of the enlargement.
    """

    kernels: tuple[int, ...] = (5, 3, 3)
    scale: int = 3

    activation = "tanh"

    def output_map(self, x, inputs, outputs: int):
        """Return the image, `scale` times as large as the input."""
        block = math.prod(per_axis(x, self.scale))
        return pixel_shuffle(conv_readout(x, block * outputs, self.kernels[-1]), self.scale)


# Computed from the paper's figure, with biases and a slope for each channel: (25+2)*56 + (56+2)*12 + 4*(108+2)*12
# + (12+2)*56 + 81*56 + 1. The paper's 12,464 are the weights alone.
@register_model("fsrcnn_x3", DONG_2016, 12_809, LUMINANCE, task="restoration")
@dataclass(frozen=True)
class FSRCNN(Restorer):
    """Feature extraction, shrinking, mapping with few channels, expanding, and a transposed convolution that enlarges.

    Maps a feature map to one of the same size, named `stage2`; that of the mapping is named `stage1`. The whole network
    returns an image of `scale` times the size.

    Args:
        width: filters of the feature extraction and of the expansion; d of the paper.
        shrunk: filters of the mapping; s of the paper.
        depths: number of convolutions of the mapping; m of the paper.
        scale: factor of the enlargement.
    """

    width: int = 56
    shrunk: int = 12
    depths: int = 4
    scale: int = 3

    def __call__(self, x):
        with scope("stem"):
            x = self.layer(x, self.width, 5)
            x = self.layer(x, self.shrunk, 1)
        return named_stages(x, self.mapping, lambda x: self.layer(x, self.width, 1))

    def mapping(self, x):
        return block_sequence(x, self.layer, [(self.shrunk, 3)] * self.depths)

    def layer(self, x, filters: int, kernel: int):
        return prelu(conv(x, filters, kernel))

    def output_map(self, x, inputs, outputs: int):
        """Return the image, `scale` times as large as the input."""
        return conv_transpose(x, outputs, 9, stride=self.scale, dtype="float32", name="logits")
