"""ResNet for time-series classification: residual blocks of three convolutions, without downsampling."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import register_model
from kzoo.models.fcn_tsc import GUNPOINT, WANG_2017
from kzoo.nn.blocks import rising_rates, stage_sequence
from kzoo.nn.layers import act, batch_norm, conv, conv_norm_act, drop_path, scope


# The count is that of dl-4-tsc: 506,818 with the 2,560 batch-norm statistics.
@register_model("resnet_tsc", WANG_2017, 504_258, GUNPOINT)
@dataclass(frozen=True)
class ResNetTSC:
    """Residual blocks without any pooling; the shortcut is normalised too.

    Maps a feature map to one of the same size. The output of block n is named `stage<n>`.

    Args:
        filters: kernels of every convolution of each block; there are as many blocks as entries.
        kernels: kernel size of each convolution in a block.
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).

    Raises:
        ValueError: if `kernels` is empty.
    """

    filters: tuple[int, ...] = (64, 128, 128)
    kernels: tuple[int, ...] = (8, 5, 3)
    drop_path: float = 0.0

    keeps_positions = True

    def __post_init__(self):
        if not self.kernels:
            raise ValueError("a residual block needs at least one convolution, got kernels ()")

    def __call__(self, x):
        (rates,) = rising_rates(self.drop_path, [len(self.filters)])
        return stage_sequence(x, self.residual_block, filters=self.filters, drop_rates=rates)

    def residual_block(self, x, filters: int, drop_rate: float):
        y = x
        for kernel in self.kernels[:-1]:
            y = conv_norm_act(y, filters, kernel, use_bias=True)
        y = conv_norm_act(y, filters, self.kernels[-1], use_bias=True, activation=None)
        return act(keras.layers.add([drop_path(y, drop_rate), self.shortcut(x, filters)]))

    def shortcut(self, x, filters: int):
        with scope("shortcut"):
            if x.shape[-1] != filters:
                x = conv(x, filters, 1)
            return batch_norm(x)
