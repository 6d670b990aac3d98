"""Small networks for sleep stages of 30-second recordings: Chambon et al. 2018 and Fernandez-Blanco et al. 2020."""

import math
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import conv, dropout, flatten, max_pool, scope

CHAMBON_2018 = Paper(
    "Chambon, Stanislas and Galtier, Mathieu N. and Arnal, Pierrick J. and Wainrib, Gilles and Gramfort, Alexandre",
    2018,
    "A Deep Learning Architecture for Temporal Sleep Stage Classification Using Multivariate and Multimodal Time "
    "Series",
    "https://arxiv.org/abs/1707.03321",
    "TNSRE",
)
BLANCO_2020 = Paper(
    "Fernandez-Blanco, Enrique and Rivero, Daniel and Pazos, Alejandro",
    2020,
    "Convolutional Neural Networks for Sleep Stage Scoring on a Two-Channel EEG Signal",
    "https://doi.org/10.1007/s00500-019-04174-1",
    "Soft Computing",
)


# Counts are those of braindecode: 30 seconds at 128 and 100 Hz.
@register_model("sleep_stager_chambon", CHAMBON_2018, 5_835, Reference((3840, 2), 5), dims=(1,))
@dataclass(frozen=True)
class Chambon:
    """Virtual channels, each a mixture of all, and layers of temporal filters that all of them share.

    Maps recordings (batch, time, channels) of fixed length to a vector. The output of layer n is named `stage<n>`. The
    published sizes are for 128 Hz.

    Args:
        filters: temporal filters of each layer; there are as many layers as entries.
        kernel: kernel size in time; half of it is padded on both ends.
        pool: size and stride of the pooling of each layer.
        dropout: dropout rate before the logits, in [0, 1).

    Raises:
        ValueError: for a recording of unknown length or too short for the poolings.
    """

    filters: tuple[int, ...] = (8, 8)
    kernel: int = 64
    pool: int = 16
    dropout: float = 0.25

    def __call__(self, x):
        with scope("stem"):
            x = conv(x, x.shape[-1], 1) if x.shape[-1] > 1 else x
        channels = [x.shape[-1]] * len(self.filters)
        x = stage_sequence(x, self.layer, filters=self.filters, channels=channels)
        return dropout(flatten(x), self.dropout)

    def layer(self, x, filters: int, channels: int):
        x = keras.layers.Reshape((-1, channels, x.shape[-1] // channels))(x)
        x = conv(x, filters, (self.kernel, 1), padding=self.kernel // 2, activation="relu")
        x = max_pool(x, (self.pool, 1), padding="valid")
        return keras.layers.Reshape((-1, channels * filters))(x)


@register_model("sleep_stager_blanco", BLANCO_2020, 2_845, Reference((3000, 2), 5), dims=(1,))
@dataclass(frozen=True)
class Blanco:
    """Grouped convolutions, each max-pooled by 2: of each input channel first, then of each filter alone.

    Maps recordings (batch, time, channels) of fixed length to a vector. The output of layer n is named `stage<n>`.

    Args:
        filters: of every layer.
        kernels: kernel size of each layer; there are as many layers as entries.
        groups: groups of the first convolution, at most: the largest that divides both this and the input channels.
        pool: size and stride of every pooling.
        dropout: dropout rate before the logits, in [0, 1).

    Raises:
        ValueError: for a recording of unknown length or too short for the layers.
    """

    filters: int = 20
    kernels: tuple[int, ...] = (7, 7, 5, 5, 5, 3, 3)
    groups: int = 2
    pool: int = 2
    dropout: float = 0.5

    def __call__(self, x):
        groups = [math.gcd(self.groups, x.shape[-1]), *[self.filters] * (len(self.kernels) - 1)]
        x = stage_sequence(x, self.layer, kernels=self.kernels, groups=groups)
        return dropout(flatten(x), self.dropout)

    def layer(self, x, kernel: int, groups: int):
        x = conv(x, self.filters, kernel, groups=groups, padding="valid", activation="relu")
        return max_pool(x, self.pool, padding="valid")
