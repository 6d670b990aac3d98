"""EEGNet and EEGNeX: temporal convolutions, depthwise ones over all electrodes, and a few filters after them."""

from dataclasses import dataclass

from kzoo.core.registry import PYTORCH, TENSORFLOW, Paper, Reference, register_model
from kzoo.nn.blocks import across_channels, channels_as_axis, named_stages
from kzoo.nn.layers import act, avg_pool, batch_norm, conv, depthwise_conv, dropout, flatten, with_border

LAWHERN_2018 = Paper(
    "Lawhern, Vernon J. and Solon, Amelia J. and Waytowich, Nicholas R. and Gordon, Stephen M. and Hung, Chou P. "
    "and Lance, Brent J.",
    2018,
    "EEGNet: A Compact Convolutional Neural Network for EEG-based Brain-Computer Interfaces",
    "https://arxiv.org/abs/1611.08024",
    "Journal of Neural Engineering",
)
CHEN_2024 = Paper(
    "Chen, Xia and Teng, Xiangbin and Chen, Han and Pan, Yafeng and Geyer, Philipp",
    2024,
    "Toward Reliable Signals Decoding for Electroencephalogram: A Benchmark Study to EEGNeX",
    "https://arxiv.org/abs/2207.12369",
    "Biomedical Signal Processing and Control",
)


# Counts are those of braindecode, as the padding is: half an even kernel on both sides, which adds a step.
@register_model("eegnet", LAWHERN_2018, 2_484, Reference((512, 22), 4, TENSORFLOW), dims=(1,))
@dataclass(frozen=True)
class EEGNet:
    """Temporal filters, spatial filters of each over all electrodes, and a depthwise separable convolution.

    Maps recordings (batch, time, electrodes) of fixed length to a vector. The outputs of the spatial filters and of the
    separable convolution, pooled, are named `stage1` and `stage2`. The published kernel sizes are for 128 Hz.

    Args:
        filters: temporal filters.
        multiplier: spatial filters of each temporal one.
        kernels: kernel sizes in time of the first and of the separable convolution.
        pools: sizes and strides of the two average poolings.
        max_norm: bound on the norm of each spatial filter in training.
        dropout: dropout rate after each pooling, in [0, 1).

    Raises:
        ValueError: for a recording of unknown length or shorter than the poolings.
    """

    filters: int = 8
    multiplier: int = 2
    kernels: tuple[int, int] = (64, 16)
    pools: tuple[int, int] = (4, 8)
    max_norm: float = 1.0
    dropout: float = 0.25

    def __call__(self, x):
        return flatten(named_stages(channels_as_axis(x), self.spatial, self.separable))

    def spatial(self, x):
        kernel = self.kernels[0]
        x = batch_norm(conv(x, self.filters, (kernel, 1), padding=kernel // 2, use_bias=False))
        options = {"multiplier": self.multiplier, "use_bias": False, "max_norm": self.max_norm}
        return self.pooled(across_channels(depthwise_conv, x, **options), self.pools[0])

    def separable(self, x):
        kernel = self.kernels[1]
        x = depthwise_conv(x, kernel, padding=kernel // 2, use_bias=False)
        return self.pooled(conv(x, x.shape[-1], 1, use_bias=False), self.pools[1])

    def pooled(self, x, size: int):
        return dropout(avg_pool(act(batch_norm(x), "elu"), size, padding="valid"), self.dropout)


@register_model("eegnex", CHEN_2024, 55_940, Reference((500, 22), 4, PYTORCH), dims=(1,))
@dataclass(frozen=True)
class EEGNeX:
    """Two temporal convolutions, spatial filters of each over all electrodes, and two dilated convolutions.

    Maps recordings (batch, time, electrodes) of fixed length to a vector. The outputs of the spatial filters and of the
    dilated convolutions, pooled, are named `stage1` and `stage2`. The published kernel sizes are for 125 Hz.

    Args:
        filters: of the two temporal convolutions; the dilated ones have as many in reverse.
        multiplier: spatial filters of each temporal one.
        kernels: kernel sizes of the temporal and of the dilated convolutions.
        dilations: of the dilated convolutions.
        pools: sizes and strides of the two average poolings, which count a zero on both ends.
        max_norm: bound on the norm of each spatial filter in training.
        dropout: dropout rate after each pooling, in [0, 1).

    Raises:
        ValueError: for a recording of unknown length or shorter than the poolings.
    """

    filters: tuple[int, int] = (8, 32)
    multiplier: int = 2
    kernels: tuple[int, int] = (64, 16)
    dilations: tuple[int, int] = (2, 4)
    pools: tuple[int, int] = (4, 8)
    max_norm: float = 1.0
    dropout: float = 0.5

    def __call__(self, x):
        return flatten(named_stages(channels_as_axis(x), self.spatial, self.dilated))

    def spatial(self, x):
        for filters in self.filters:
            x = batch_norm(conv(x, filters, (self.kernels[0], 1), use_bias=False))
        options = {"multiplier": self.multiplier, "use_bias": False, "max_norm": self.max_norm}
        return self.pooled(batch_norm(across_channels(depthwise_conv, x, **options)), self.pools[0])

    def dilated(self, x):
        for filters, dilation in zip(self.filters[::-1], self.dilations, strict=True):
            x = batch_norm(conv(x, filters, self.kernels[1], dilation=dilation, use_bias=False))
        return self.pooled(x, self.pools[1])

    def pooled(self, x, size: int):
        return dropout(avg_pool(with_border(act(x, "elu"), [(1, 1)]), size, padding="valid"), self.dropout)
