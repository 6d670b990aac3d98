"""DS-CNN: depthwise separable CNN for keyword spotting on microcontrollers."""

from dataclasses import dataclass

from kzoo.core.registry import TENSORFLOW, Paper, Reference, register_model
from kzoo.models.resnet import BANBURY_2021
from kzoo.nn.blocks import separable_norm_act, stage_sequence
from kzoo.nn.layers import conv_norm_act, dropout, named_output, scope

ZHANG_2017 = Paper(
    "Zhang, Yundong and Suda, Naveen and Lai, Liangzhen and Chandra, Vikas",
    2017,
    "Hello Edge: Keyword Spotting on Microcontrollers",
    "https://arxiv.org/abs/1711.07128",
)

# 10 MFCCs of 1 second, in windows of 40 milliseconds every 20; ten words, silence and unknown
HELLO_EDGE = Reference((49, 10, 1), 12, TENSORFLOW._replace(bn_momentum=0.96))
MLPERF_TINY = Reference((49, 10, 1), 12, TENSORFLOW)


# With f filters and n separable blocks, all convolutions with biases: 40*f + f, n*(9*f + f + f*f + f), 12*f + 12. The
# paper's table gives these at one byte each, plus the two largest activations (f*250 and f*65 bytes, for S twice
# f*125): 22,604 + 16,000, 135,032 + 54,180 and 410,700 + 86,940 are its 38.6, 189.2 and 497.6 KB exactly. There the
# normalisations were folded into the convolutions; the graphs that the authors released train an offset for each, f
# a normalisation, and no scale. MLPerf Tiny trains both: 2*f a normalisation, 23,756 of its 24,908 parameters.
@register_model("ds_cnn_s", ZHANG_2017, 23_180, HELLO_EDGE, norm_scale=False)
@register_model(
    "ds_cnn_m",
    ZHANG_2017,
    136_580,
    HELLO_EDGE,
    width=172,
    stem_stride=(2, 1),
    strides=(2, 1, 1, 1),
    norm_scale=False,
)
@register_model(
    "ds_cnn_l",
    ZHANG_2017,
    413_736,
    HELLO_EDGE,
    width=276,
    stem_stride=(2, 1),
    strides=(2, 1, 1, 1, 1),
    norm_scale=False,
)
@register_model("ds_cnn", BANBURY_2021, 23_756, MLPERF_TINY, stem_dropout=0.2, dropout=0.4)
@dataclass(frozen=True)
class DSCNN:
    """Convolution over time and frequency, then depthwise separable convolutions of the same width.

    Maps a spectrogram `(batch, time, frequency, 1)`, or any feature map, to one of `width` channels. The output of the
    first convolution is named `stem`, that of block n `stage<n>`. MLPerf Tiny's script averages 24 of the 25 frames
    that are left; here the head averages all, as the paper and the network that MLPerf Tiny released do.

    Args:
        width: filters of every layer.
        strides: stride of the depthwise convolution of each block; there are as many blocks as entries.
        stem_kernel: kernel size of the first convolution over time and frequency; a 1-D input takes that over time.
        stem_stride: stride of the first convolution over time and frequency; a 1-D input takes that over time.
        kernel: kernel size of the depthwise convolutions.
        norm_scale: learn a scale (gamma) in batch normalisation.
        stem_dropout: dropout rate after the first convolution, in [0, 1).
        dropout: dropout rate after the last block, in [0, 1).
    """

    width: int = 64
    strides: tuple[int, ...] = (1, 1, 1, 1)
    stem_kernel: tuple[int, int] = (10, 4)
    stem_stride: tuple[int, int] = (2, 2)
    kernel: int = 3
    norm_scale: bool = True
    stem_dropout: float = 0.0
    dropout: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            options = {"stride": self.stem_stride, "use_bias": True, "scale": self.norm_scale}
            x = conv_norm_act(x, self.width, self.stem_kernel, **options)
        x = named_output(dropout(x, self.stem_dropout), "stem")
        return dropout(stage_sequence(x, self.block, strides=self.strides), self.dropout)

    def block(self, x, stride: int):
        return separable_norm_act(x, self.width, self.kernel, stride=stride, use_bias=True, scale=self.norm_scale)
