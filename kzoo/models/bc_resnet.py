"""BC-ResNet: keyword spotting by broadcasted residuals, temporal convolutions on features averaged over frequency."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import doubling, stages
from kzoo.nn.layers import act, batch_norm, check_fits, conv, conv_norm_act, depthwise_conv, ranked, scope

KIM_2021 = Paper(
    "Kim, Byeonggeun and Chang, Simyung and Lee, Jinkyu and Sung, Dooyong",
    2021,
    "Broadcasted Residual Learning for Efficient Keyword Spotting",
    "https://arxiv.org/abs/2106.04140",
    "Interspeech",
)

# 40 log-mel bands of 1 second, in windows of 30 milliseconds every 10; ten words, silence and unknown
SPEECH_COMMANDS = Reference((40, 101, 1), 12)


def sub_band_norm(x, most: int):
    """Sub-spectral normalisation: batch normalisation of `most` frequency bands, each with statistics of its own.

    There are fewer bands where the rows do not divide evenly into `most`. The bands are concatenated as channels while
    they are normalised: all channels of the first, then of the second.

    Chang, Park, Park, Kim, Hwang, 2021, SubSpectral Normalization for Neural Audio Data Processing,
    https://arxiv.org/abs/2103.13620.

    Raises:
        ValueError: if the number of rows is unknown.
    """
    rows = x.shape[1]
    if rows is None:
        raise ValueError("BC-ResNet normalises ranges of frequency and needs a fixed number of rows, got None")
    bands = max(number for number in range(1, most + 1) if rows % number == 0)
    x = keras.ops.concatenate(keras.ops.split(x, bands, axis=1), axis=-1)
    return keras.ops.concatenate(keras.ops.split(batch_norm(x), bands, axis=-1), axis=1)


# The counts are those of the authors' implementation (Qualcomm-AI-research/bcresnet).
@register_model("bc_resnet_1", KIM_2021, 9_232, SPEECH_COMMANDS, dims=(2,))
@register_model("bc_resnet_1_5", KIM_2021, 17_154, SPEECH_COMMANDS, dims=(2,), width=12)
@register_model("bc_resnet_2", KIM_2021, 27_284, SPEECH_COMMANDS, dims=(2,), width=16)
@register_model("bc_resnet_3", KIM_2021, 54_168, SPEECH_COMMANDS, dims=(2,), width=24)
@register_model("bc_resnet_6", KIM_2021, 187_812, SPEECH_COMMANDS, dims=(2,), width=48)
@register_model("bc_resnet_8", KIM_2021, 321_068, SPEECH_COMMANDS, dims=(2,), width=64)
@dataclass(frozen=True)
class BCResNet:
    """Residual blocks with a frequency branch and, on its mean over frequency, a temporal branch.

    Maps a spectrogram `(batch, frequency, time, 1)` to a feature map whose frequency axis is divided by 8 less
    `tail_kernel - 1` rows, and whose time axis keeps its length. The output of stage n is named `stage<n>`.

    Args:
        width: filters of the first stage; the others are its multiples by `stage_widths`, the first convolution
            has twice and the last four times as many.
        depths: number of blocks in each stage; the temporal branch of stage n has dilation `2 ** (n - 1)`.
        stage_widths: filters of each stage as a multiple of `width`.
        strides: stride over frequency of the first block of each stage.
        bands: number of sub-bands of sub-spectral normalisation; fewer where the rows do not divide evenly.
        kernel: kernel size of the depthwise convolutions of the blocks, in frequency or in time.
        tail_kernel: kernel size of the depthwise convolution after the stages, unpadded over frequency.
        dropout: spatial dropout rate of the temporal branch, in [0, 1).

    Raises:
        ValueError: for an input with too few rows, or an unknown number of them; for tuples of different lengths.
    """

    width: int = 8
    depths: tuple[int, ...] = (2, 2, 4, 4)
    stage_widths: tuple[float, ...] = (1, 1.5, 2, 2.5)
    strides: tuple[int, ...] = (1, 2, 2, 1)
    bands: int = 5
    kernel: int = 3
    tail_kernel: int = 5
    dropout: float = 0.1

    time_axis = 2

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, 2 * self.width, 5, stride=(2, 1))
        x = stages(
            x,
            self.block,
            depths=self.depths,
            strides=self.strides,
            filters=[int(self.width * multiple) for multiple in self.stage_widths],
            dilations=doubling(1, self.depths),
            first=[(True, False)] * len(self.depths),
        )
        with scope("tail"):
            return self.tail(x)

    def block(self, x, stride: int, filters: int, dilation: int, first: bool):
        """Apply a transition block, which changes the shape and has no shortcut, or a normal block."""
        y = conv_norm_act(x, filters, 1) if first else x
        y = self.frequency_branch(y, stride)
        y = keras.ops.add(y, self.time_branch(y, dilation))  # to each row
        return act(y if first else keras.layers.add([y, x]))

    def frequency_branch(self, x, stride: int):
        with scope("frequency"):
            x = depthwise_conv(x, (self.kernel, 1), stride=(stride, 1), use_bias=False)
            return sub_band_norm(x, self.bands)

    def time_branch(self, x, dilation: int):
        with scope("time"):
            x = keras.ops.mean(x, axis=1, keepdims=True)
            x = depthwise_conv(x, (1, self.kernel), dilation=(1, dilation), use_bias=False)
            x = conv(act(batch_norm(x), "silu"), x.shape[-1], 1, use_bias=False)
            return ranked("SpatialDropout", x)(self.dropout)(x) if self.dropout else x

    def tail(self, x):
        size, margin = self.tail_kernel, self.tail_kernel // 2
        check_fits(x, (size, 1))
        x = depthwise_conv(x, size, padding=(0, margin), use_bias=False)
        return conv_norm_act(x, 4 * self.width, 1)
