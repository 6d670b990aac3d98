"""QuartzNet: 1-D time-channel separable convolutions in residual blocks, for speech recognition."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import PYTORCH, Paper, Reference, register_model
from kzoo.nn.blocks import projection_shortcut, repeated_branch, separable_norm, stages
from kzoo.nn.layers import act, conv_norm_act, dropout, scope
from kzoo.nn.naming import NEMO

KRIMAN_2019 = Paper(
    "Kriman, Samuel and Beliaev, Stanislav and Ginsburg, Boris and Huang, Jocelyn and Kuchaiev, Oleksii and Lavrukhin, "
    "Vitaly and Leary, Ryan and Li, Jason and Zhang, Yang",
    2019,
    "QuartzNet: Deep Automatic Speech Recognition with 1D Time-Channel Separable Convolutions",
    "https://arxiv.org/abs/1910.10261",
    "ICASSP",
)

KEY_MAPPING = NEMO

# 64 log-mel bands of ten seconds, in windows of 20 milliseconds every 10; 26 letters, blank, apostrophe, CTC's blank
LIBRISPEECH = Reference((1000, 64), 29, PYTORCH._replace(bn_epsilon=1e-3))


# A separable layer of kernel k from i to f channels has k*i + i*f + 2*f, a shortcut i*f + 2*f. The encoder of 15x5 has
# 18,894,656 in NVIDIA NeMo, the logits 29,725; 5x5 and 10x5 follow by the same rule (the paper: 6.7 and 12.8 million).
@register_model("quartznet_5x5", KRIMAN_2019, 6_713_181, LIBRISPEECH, task="transcription", dims=(1,))
@register_model("quartznet_10x5", KRIMAN_2019, 12_818_781, LIBRISPEECH, task="transcription", dims=(1,), depth=2)
@register_model("quartznet_15x5", KRIMAN_2019, 18_924_381, LIBRISPEECH, task="transcription", dims=(1,), depth=3)
@dataclass(frozen=True)
class QuartzNet:
    """Residual blocks of repeated separable convolutions whose kernels grow from stage to stage.

    Maps a spectrogram as a signal `(batch, time, bands)` to one of half the size. The output of
    stage n is named `stage<n>`. NeMo also masks the padding of shorter recordings.

    Args:
        filters: filters of the blocks of each stage.
        kernels: kernel size of the blocks of each stage.
        depth: number of blocks in each stage.
        repeats: number of layers in each block.
        stem_width: filters of the first layer, which has stride 2.
        stem_kernel: kernel size of the first layer.
        tail_width: filters of the last layer, of kernel size 1; the layer before it has half as many.
        tail_kernel: kernel size of the last layer but one, whose dilation is 2.
        dropout: dropout rate after each layer, in [0, 1).

    Raises:
        ValueError: if `filters` and `kernels` differ in length.
    """

    filters: tuple[int, ...] = (256, 256, 512, 512, 512)
    kernels: tuple[int, ...] = (33, 39, 51, 63, 75)
    depth: int = 1
    repeats: int = 5
    stem_width: int = 256
    stem_kernel: int = 33
    tail_width: int = 1024
    tail_kernel: int = 87
    dropout: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = self.finish(separable_norm(x, self.stem_width, self.stem_kernel, stride=2))
        depths, strides = ((entry,) * len(self.filters) for entry in (self.depth, 1))
        fields = {"filters": self.filters, "kernels": self.kernels}
        x = stages(x, self.residual_block, depths=depths, strides=strides, **fields)
        with scope("tail"):
            x = self.finish(separable_norm(x, self.tail_width // 2, self.tail_kernel, dilation=2))
        with scope("last"):
            return dropout(conv_norm_act(x, self.tail_width, 1), self.dropout)

    def residual_block(self, x, stride: int, filters: int, kernel: int):
        y = repeated_branch(x, lambda x: separable_norm(x, filters, kernel), self.repeats, self.finish)
        return self.finish(keras.layers.add([y, projection_shortcut(x, filters, stride)]))

    def finish(self, x):
        return dropout(act(x), self.dropout)
