"""Jasper: 1-D convolutions in blocks with dense residual connections, for speech recognition."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import PYTORCH, Paper, Reference, register_model
from kzoo.nn.blocks import projection_shortcut, repeated_branch, stage_sequence
from kzoo.nn.layers import act, batch_norm, conv, conv_norm_act, dropout, scope
from kzoo.nn.naming import NEMO

LI_2019 = Paper(
    "Li, Jason and Lavrukhin, Vitaly and Ginsburg, Boris and Leary, Ryan and Kuchaiev, Oleksii and Cohen, Jonathan M. "
    "and Nguyen, Huyen and Gadde, Ravi Teja",
    2019,
    "Jasper: An End-to-End Convolutional Neural Acoustic Model",
    "https://arxiv.org/abs/1904.03288",
    "Interspeech",
)

KEY_MAPPING = NEMO

# 64 log-mel bands of ten seconds, in windows of 20 milliseconds every 10; 26 letters, blank, apostrophe, CTC's blank
LIBRISPEECH = Reference((1000, 64), 29, PYTORCH._replace(bn_epsilon=1e-3))


@register_model(
    "jasper_10x5", LI_2019, 332_632_349, LIBRISPEECH, task="transcription", dims=(1,)
)  # counted in NVIDIA NeMo: 332,602,624 + 29,725
@dataclass(frozen=True)
class Jasper:
    """Blocks of repeated convolutions; each adds projections of the inputs of all blocks up to its own.

    Maps a spectrogram as a signal `(batch, time, bands)` to one of half the size. The output of
    block n is named `stage<n>`. NeMo also masks the padding of shorter recordings.

    Args:
        filters: filters of the layers of each block.
        kernels: kernel size of the layers of each block.
        rates: dropout rate after each layer of each block, in [0, 1).
        repeats: number of layers in each block.
        stem_width: filters of the first layer, which has stride 2.
        stem_kernel: kernel size of the first layer.
        tail_widths: filters of the last two layers; the first of them has dilation 2, the second kernel size 1.
        tail_kernel: kernel size of the last layer but one.
        stem_rate: dropout rate after the first layer, in [0, 1).
        tail_rate: dropout rate after the last two layers, in [0, 1).

    Raises:
        ValueError: if `filters`, `kernels` and `rates` differ in length.
    """

    filters: tuple[int, ...] = (256, 256, 384, 384, 512, 512, 640, 640, 768, 768)
    kernels: tuple[int, ...] = (11, 11, 13, 13, 17, 17, 21, 21, 25, 25)
    rates: tuple[float, ...] = (0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3)
    repeats: int = 5
    stem_width: int = 256
    stem_kernel: int = 11
    tail_widths: tuple[int, int] = (896, 1024)
    tail_kernel: int = 29
    stem_rate: float = 0.2
    tail_rate: float = 0.4

    def __call__(self, x):
        with scope("stem"):
            x = dropout(conv_norm_act(x, self.stem_width, self.stem_kernel, stride=2), self.stem_rate)
        earlier = []

        def block(x, filters: int, kernel: int, rate: float):
            earlier.append(x)
            return self.dense_block(earlier, filters, kernel, rate)

        x = stage_sequence(x, block, filters=self.filters, kernels=self.kernels, rates=self.rates)
        with scope("tail"):
            x = conv_norm_act(x, self.tail_widths[0], self.tail_kernel, dilation=2)
        with scope("last"):
            return dropout(conv_norm_act(dropout(x, self.tail_rate), self.tail_widths[1], 1), self.tail_rate)

    def dense_block(self, inputs: list, filters: int, kernel: int, rate: float):
        def layer(x):
            return batch_norm(conv(x, filters, kernel, use_bias=False))

        def finish(x):
            return dropout(act(x), rate)

        terms = [repeated_branch(inputs[-1], layer, self.repeats, finish)]
        for number, x in enumerate(inputs):
            with scope(f"pane{number}"):
                terms.append(projection_shortcut(x, filters))
        return finish(keras.layers.add(terms))
