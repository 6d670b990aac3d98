"""TC-ResNet: temporal convolutions with frequency bands as channels, for keyword spotting."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import TENSORFLOW, Paper, Reference, register_model
from kzoo.nn.blocks import projection_shortcut, stages
from kzoo.nn.layers import act, conv_norm_act, dropout, scope

CHOI_2019 = Paper(
    "Choi, Seungwoo and Seo, Seokjun and Shin, Beomjun and Byun, Hyeongmin and Kersner, Martin and Kim, Beomsu and "
    "Kim, Dongyoung and Ha, Sungjoo",
    2019,
    "Temporal Convolution for Real-time Keyword Spotting on Mobile Devices",
    "https://arxiv.org/abs/1904.03814",
    "Interspeech",
)

# 40 MFCCs of 1 second, in windows of 30 milliseconds every 10; ten words, silence and unknown
SPEECH_COMMANDS = Reference((98, 40), 12, TENSORFLOW._replace(bn_momentum=0.997))

WIDER = {"filters": (24, 36, 48, 72)}  # 1.5 times


# A block from i to f channels has 9*i*f + 9*f*f + 4*f; if it is the first of its stage, i*f + 2*f more for the
# shortcut. The stem has 3*40*f + 2*f, the logits 12*f + 12. The published 66, 145, 137 and 305 thousand are these and
# the batch-norm statistics, 656, 984, 1,072 and 1,608 (the authors' logits have no bias: 12 fewer).
@register_model("tc_resnet8", CHOI_2019, 65_180, SPEECH_COMMANDS)
@register_model("tc_resnet8_15", CHOI_2019, 144_276, SPEECH_COMMANDS, **WIDER)
@register_model("tc_resnet14", CHOI_2019, 135_868, SPEECH_COMMANDS, depth=2)
@register_model("tc_resnet14_15", CHOI_2019, 303_012, SPEECH_COMMANDS, depth=2, **WIDER)
@dataclass(frozen=True)
class TCResNet:
    """Residual network of temporal convolutions; every stage halves the frame rate and widens.

    Maps a spectrogram as a signal `(batch, time, bands)`, or any feature map, to one whose spatial axes are divided by
    8. The output of stage n is named `stage<n>`.

    Args:
        filters: filters of the first convolution, then of each stage.
        depth: number of residual blocks in each stage.
        kernel: kernel size of the convolutions in the blocks.
        stem_kernel: kernel size of the first convolution.
        dropout: dropout rate after the last stage, in [0, 1).
    """

    filters: tuple[int, ...] = (16, 24, 32, 48)
    depth: int = 1
    kernel: int = 9
    stem_kernel: int = 3
    dropout: float = 0.5

    def __call__(self, x):
        stem_width, *filters = self.filters
        with scope("stem"):
            x = conv_norm_act(x, stem_width, self.stem_kernel)
        depths, strides = (self.depth,) * len(filters), (2,) * len(filters)
        x = stages(x, self.residual_block, depths=depths, strides=strides, filters=filters)
        return dropout(x, self.dropout)

    def residual_block(self, x, stride: int, filters: int):
        y = conv_norm_act(x, filters, self.kernel, stride=stride)
        y = conv_norm_act(y, filters, self.kernel, activation=None)
        if stride > 1:
            x = projection_shortcut(x, filters, stride, "relu")
        return act(keras.layers.add([y, x]))
