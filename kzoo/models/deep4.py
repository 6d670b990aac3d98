"""Deep4Net and ShallowFBCSPNet: convolutional networks for EEG that begin in a temporal and a spatial convolution."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import across_channels, channels_as_axis, named_stages, stage_sequence
from kzoo.nn.layers import act, avg_pool, batch_norm, conv, conv_norm_act, dropout, flatten, max_pool

SCHIRRMEISTER_2017 = Paper(
    "Schirrmeister, Robin Tibor and Springenberg, Jost Tobias and Fiederer, Lukas Dominique Josef and Glasstetter, "
    "Martin and Eggensperger, Katharina and Tangermann, Michael and Hutter, Frank and Burgard, Wolfram and Ball, Tonio",
    2017,
    "Deep Learning with Convolutional Neural Networks for EEG Decoding and Visualization",
    "https://arxiv.org/abs/1703.05051",
    "Human Brain Mapping",
)

# Four seconds of the BCI Competition IV 2a, at 250 Hz. Counts are those of braindecode, by the authors.
MOTOR_IMAGERY = Reference((1000, 22), 4)


def temporal_spatial(x, filters: int, kernel: int):
    """Convolve in time, then over all electrodes, without activation between; normalised."""
    x = conv(channels_as_axis(x), filters, (kernel, 1), padding="valid")
    return batch_norm(across_channels(conv, x, filters=filters, use_bias=False))


@register_model("deep4", SCHIRRMEISTER_2017, 282_879, MOTOR_IMAGERY, dims=(1,))
@dataclass(frozen=True)
class Deep4:
    """Temporal and spatial convolution, then convolutions in time, each max-pooled.

    Maps recordings (batch, time, electrodes) of fixed length to a vector. The output of block n is named `stage<n>`.

    Args:
        filters: kernels of each block; there are as many blocks as entries.
        kernel: kernel size in time of every convolution.
        pool: size and stride of every pooling.
        dropout: dropout rate before each block but the first, in [0, 1).

    Raises:
        ValueError: for a recording of unknown length or too short for the blocks.
    """

    filters: tuple[int, ...] = (25, 50, 100, 200)
    kernel: int = 10
    pool: int = 3
    dropout: float = 0.5

    def __call__(self, x):
        firsts = [number == 0 for number in range(len(self.filters))]
        return flatten(stage_sequence(x, self.block, filters=self.filters, firsts=firsts))

    def block(self, x, filters: int, first: bool):
        x = self.first(x, filters) if first else self.later(x, filters)
        return max_pool(x, self.pool, padding="valid")

    def first(self, x, filters: int):
        return act(temporal_spatial(x, filters, self.kernel), "elu")

    def later(self, x, filters: int):
        return conv_norm_act(dropout(x, self.dropout), filters, self.kernel, padding="valid", activation="elu")


@register_model("shallow_fbcsp", SCHIRRMEISTER_2017, 46_084, MOTOR_IMAGERY, dims=(1,))
@dataclass(frozen=True)
class ShallowFBCSP:
    """Log band power, as of filter-bank common spatial patterns: convolutions, squares, their mean over time, its log.

    Maps recordings (batch, time, electrodes) of fixed length to a vector. The log power is named `stage1`.

    Args:
        filters: temporal filters, and spatial filters.
        kernel: kernel size in time.
        pool: size of the average pooling.
        stride: its stride.
        dropout: dropout rate of the log power, in [0, 1).

    Raises:
        ValueError: for a recording of unknown length or shorter than the kernel and the pooling.
    """

    filters: int = 40
    kernel: int = 25
    pool: int = 75
    stride: int = 15
    dropout: float = 0.5

    def __call__(self, x):
        return flatten(named_stages(x, self.log_power))

    def log_power(self, x):
        x = keras.ops.square(temporal_spatial(x, self.filters, self.kernel))
        x = avg_pool(x, self.pool, stride=self.stride, padding="valid")
        return dropout(keras.ops.log(keras.ops.maximum(x, 1e-6)), self.dropout)
