"""MatchboxNet: 1-D time-channel separable convolutions in residual blocks, for keyword spotting."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import PYTORCH, Paper, Reference, register_model
from kzoo.nn.blocks import projection_shortcut, repeated_branch, separable_norm, stage_sequence
from kzoo.nn.layers import act, conv_norm_act, dropout, scope

MAJUMDAR_2020 = Paper(
    "Majumdar, Somshubra and Ginsburg, Boris",
    2020,
    "MatchboxNet: 1D Time-Channel Separable Convolutional Neural Network Architecture for Speech Commands Recognition",
    "https://arxiv.org/abs/2004.08531",
    "Interspeech",
)

# 64 MFCCs of 1.28 seconds, in windows of 25 milliseconds every 10; the 30 words of Speech Commands v1
SPEECH_COMMANDS = Reference((128, 64), 30, PYTORCH._replace(bn_epsilon=1e-3))


# A separable layer of kernel k from i to f channels has k*i + i*f + 2*f, a shortcut i*f + 2*f. By NVIDIA NeMo's
# matchboxnet_3x1x64_v1.yaml: 9,152 for the first layer, 18,304 + 9,408 + 9,536 for the blocks, 10,304 and 16,640 for
# the last two, 3,870 for the logits; each further repeat adds 5,056 + 5,184 + 5,312. The paper: 77 and 93 thousand.
@register_model("matchboxnet_3x1x64", MAJUMDAR_2020, 77_214, SPEECH_COMMANDS)
@register_model("matchboxnet_3x2x64", MAJUMDAR_2020, 92_766, SPEECH_COMMANDS, repeats=2)
@dataclass(frozen=True)
class MatchboxNet:
    """Residual blocks of separable convolutions between a wide first layer and two wide last ones.

    Maps a spectrogram as a signal `(batch, time, bands)`, or any feature map, to one of the same size. The output of
    block n is named `stage<n>`. NeMo also masks the padding of shorter clips; here all clips have the same length.

    Args:
        kernels: kernel size of the layers of each block; there are as many blocks as entries.
        repeats: number of layers in each block.
        width: filters of the blocks.
        stem_width: filters of the first layer and of the last two.
        stem_kernel: kernel size of the first layer.
        tail_kernel: kernel size of the last layer but one; that of the last is 1.
        tail_dilation: dilation of the last layer but one.
        dropout: dropout rate after each layer, in [0, 1).
    """

    kernels: tuple[int, ...] = (13, 15, 17)
    repeats: int = 1
    width: int = 64
    stem_width: int = 128
    stem_kernel: int = 11
    tail_kernel: int = 29
    tail_dilation: int = 2
    dropout: float = 0.0

    keeps_positions = True

    def __call__(self, x):
        with scope("stem"):
            x = self.finish(separable_norm(x, self.stem_width, self.stem_kernel))
        x = stage_sequence(x, self.residual_block, kernels=self.kernels)
        with scope("tail"):
            x = self.finish(separable_norm(x, self.stem_width, self.tail_kernel, dilation=self.tail_dilation))
            return dropout(conv_norm_act(x, self.stem_width, 1), self.dropout)

    def residual_block(self, x, kernel: int):
        y = repeated_branch(x, lambda x: separable_norm(x, self.width, kernel), self.repeats, self.finish)
        return self.finish(keras.layers.add([y, projection_shortcut(x, self.width)]))

    def finish(self, x):
        return dropout(act(x), self.dropout)
