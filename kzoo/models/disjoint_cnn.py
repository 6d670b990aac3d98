"""Disjoint-CNN: multivariate time series by temporal convolutions factorised from convolutions over the channels."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.nn.blocks import across_channels, channels_as_axis, stage_sequence
from kzoo.nn.layers import act, batch_norm, conv, dense, global_avg_pool, max_pool, scope

FOUMANI_2021 = Paper(
    "Foumani, Seyed Navid Mohammadi and Tan, Chang Wei and Salehi, Mahsa",
    2021,
    "Disjoint-CNN for Multivariate Time Series Classification",
    "https://doi.org/10.1109/ICDMW53433.2021.00099",
    "ICDMW",
)


# The count is aeon's: 794,946 with the 1,024 batch-norm statistics. With one mean per filter, as in the
# authors' code, the hidden layer has 64 inputs in place of 1: 793,922 + 63 * 128 = 801,986.
@register_model("disjoint_cnn", FOUMANI_2021, 793_922, GUNPOINT, dims=(1,))
@dataclass(frozen=True)
class DisjointCNN:
    """Layers of a temporal and a spatial convolution, where space is the channels of the series.

    Maps a feature map (batch, length, channels) to a vector of `units` values. Layer n is named `stage<n>`. 1-D inputs
    only: the channels are the second axis of its two-dimensional convolutions.

    Args:
        filters: kernels of each temporal and each spatial convolution; there are as many layers as entries.
        kernels: kernel size of the temporal convolution of each layer.
        pool: size and stride of the pooling after the last layer.
        units: outputs of the fully connected layer.
        pool_filters: average over the filters too, as in aeon, so that the fully connected layer sees a single number;
            otherwise one mean per filter, as in the authors' code.

    Raises:
        ValueError: if `filters` and `kernels` differ in length, or for an input shorter than `pool`.
    """

    filters: tuple[int, ...] = (64, 64, 64, 64)
    kernels: tuple[int, ...] = (8, 5, 5, 3)
    pool: int = 5
    units: int = 128
    pool_filters: bool = True

    def __call__(self, x):
        x = stage_sequence(x, self.disjoint_conv, filters=self.filters, kernels=self.kernels)
        x = global_avg_pool(max_pool(x, self.pool, padding="valid"))
        if self.pool_filters:
            x = keras.ops.mean(x, axis=-1, keepdims=True)
        with scope("head"):
            return dense(x, self.units, "relu")

    def disjoint_conv(self, x, filters: int, kernel: int):
        x = act(batch_norm(conv(channels_as_axis(x), filters, (kernel, 1))), "elu")
        return act(batch_norm(across_channels(conv, x, filters=filters)), "elu")
