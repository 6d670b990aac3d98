"""The two networks called EEG-Inception: for event-related potentials, and for motor imagery."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Dialect, Paper, Reference, register_model
from kzoo.nn.blocks import across_channels, block_sequence, channels_as_axis, stage_sequence
from kzoo.nn.layers import (
    act,
    avg_pool,
    batch_norm,
    conv,
    conv_norm_act,
    depthwise_conv,
    dropout,
    flatten,
    max_pool,
    scope,
)

SANTAMARIA_2020 = Paper(
    "Santamaría-Vázquez, Eduardo and Martínez-Cagigal, Víctor and Vaquerizo-Villar, Fernando and Hornero, Roberto",
    2020,
    "EEG-Inception: A Novel Deep Convolutional Neural Network for Assistive ERP-Based Brain-Computer Interfaces",
    "https://doi.org/10.1109/TNSRE.2020.3048106",
    "TNSRE",
)
ZHANG_2021 = Paper(
    "Zhang, Ce and Kim, Young-Keun and Eskandarian, Azim",
    2021,
    "EEG-Inception: An Accurate and Robust End-to-End Neural Network for EEG-Based Motor Imagery Classification",
    "https://arxiv.org/abs/2101.10932",
    "Journal of Neural Engineering",
)

POTENTIALS = Reference((128, 8), 2, Dialect("symmetric", 1e-5, 0.99))


# The count is that of braindecode.
@register_model("eeg_inception_erp", SANTAMARIA_2020, 14_926, POTENTIALS, dims=(1,))
@dataclass(frozen=True)
class EEGInceptionERP:
    """Two inception modules, the first with spatial filters over all electrodes, and two small convolutions.

    Maps recordings (batch, time, electrodes) of fixed length to a vector. The outputs of the modules and of the two
    convolutions, pooled, are named `stage1` to `stage4`. The published kernel sizes are for 128 Hz.

    Args:
        filters: of each branch.
        multiplier: spatial filters of each temporal one.
        kernels: kernel sizes of the parallel convolutions of the first module; of the second, a quarter.
        last_kernels: kernel sizes of the last two convolutions, which halve the number of channels each.
        pools: sizes and strides of the average poolings after each module and convolution.
        dropout: dropout rate after each activation, in [0, 1).

    Raises:
        ValueError: for a recording of unknown length or shorter than the poolings.
    """

    filters: int = 8
    multiplier: int = 2
    kernels: tuple[int, ...] = (64, 32, 16)
    last_kernels: tuple[int, int] = (8, 4)
    pools: tuple[int, ...] = (4, 2, 2, 2)
    dropout: float = 0.5

    def __call__(self, x):
        halved = [lambda x, kernel=kernel: self.layer(x, x.shape[-1] // 2, kernel) for kernel in self.last_kernels]
        parts = (self.spatial_module, self.module, *halved)
        return flatten(stage_sequence(channels_as_axis(x), self.pooled, parts=parts, sizes=self.pools))

    def pooled(self, x, part, size: int):
        return avg_pool(part(x), size, padding="valid")

    def spatial_module(self, x):
        return keras.layers.concatenate([self.spatial_branch(x, kernel) for kernel in self.kernels])

    def spatial_branch(self, x, kernel: int):
        x = self.activated(conv(x, self.filters, (kernel, 1)))
        return self.activated(across_channels(depthwise_conv, x, multiplier=self.multiplier, use_bias=False))

    def module(self, x):
        return keras.layers.concatenate([self.layer(x, self.filters, kernel // 4) for kernel in self.kernels])

    def layer(self, x, filters: int, kernel: int):
        return self.activated(conv(x, filters, kernel, use_bias=False))

    def activated(self, x):
        return dropout(act(batch_norm(x), "elu"), self.dropout)


# Counted in braindecode 1.8.1; its table has 558,028, with 12 filters in place of the paper's 48.
@register_model("eeg_inception_mi", ZHANG_2021, 8_877_988, Reference((1000, 22), 4), dims=(1,))
@dataclass(frozen=True)
class EEGInceptionMI:
    """Inception modules with long kernels in time; groups of three have a residual connection.

    Maps recordings (batch, time, electrodes) to a feature map of the same length. The output of residual stage n is
    named `stage<n>`. The published kernel sizes are odd multiples of 0.1 seconds at 250 Hz.

    Args:
        depths: number of inception modules in each residual stage.
        filters: of the bottleneck and of each branch of a module.
        kernels: kernel sizes of a module's parallel convolutions; the last branch is a pooling.
        pool: size of the max pooling of the last branch.
    """

    depths: tuple[int, ...] = (3, 3)
    filters: int = 48
    kernels: tuple[int, ...] = (25, 75, 125, 175, 225)
    pool: int = 25

    def __call__(self, x):
        return stage_sequence(x, self.residual_stage, depths=self.depths)

    def residual_stage(self, x, depth: int):
        y = block_sequence(x, self.inception_module, [()] * depth)
        with scope("shortcut"):
            x = conv_norm_act(x, y.shape[-1], 1, use_bias=True)
        return keras.layers.add([x, y])

    def inception_module(self, x):
        bottleneck = conv(x, self.filters, 1)
        pooled = conv(max_pool(x, self.pool, stride=1), self.filters, 1)
        branches = [conv(bottleneck, self.filters, kernel) for kernel in self.kernels]
        return act(batch_norm(keras.layers.concatenate([*branches, pooled])))
