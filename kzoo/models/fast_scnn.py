"""Fast-SCNN: a shared, fast downsampling, then a deep branch at low resolution fused with a shallow one."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.models.segnet import CITYSCAPES
from kzoo.nn.blocks import inverted_residual, separable_norm_act, stages
from kzoo.nn.layers import (
    InputTooSmall,
    act,
    adaptive_avg_pool,
    batch_norm,
    conv_norm_act,
    depthwise_conv,
    dropout,
    extents,
    interpolate,
    pad_to_multiple,
    scope,
)
from kzoo.nn.pyramid import TASK, PositionsNet

POUDEL_2019 = Paper(
    "Poudel, Rudra P. K. and Liwicki, Stephan and Cipolla, Roberto",
    2019,
    "Fast-SCNN: Fast Semantic Segmentation Network",
    "https://arxiv.org/abs/1902.04502",
    "BMVC",
)

STRIDE = 32


# Counted in pytorchcv, 1,176,278 with the auxiliary head of training, which has 38,227 of them.
@register_model("fast_scnn", POUDEL_2019, 1_138_051, CITYSCAPES, task=TASK)
@dataclass(frozen=True, kw_only=True)
class FastSCNN(PositionsNet):
    """Learning to downsample to an eighth, inverted residuals to a thirty-second, pyramid pooling, and fusion.

    The input may have any size: it is padded with zeros, at the ends of its axes, to a multiple of 32, and the logits,
    at stride 8, are interpolated and cut back to its size. The output of stage n is named `stage<n>`.

    Args:
        stem_filters: filters of the three strided convolutions of the shared part.
        filters: filters of the stages of inverted residuals; all but the last halve the resolution.
        depths: number of blocks of each stage.
        width: channels after the fusion.
        sizes: number of regions along each axis that the pyramid pooling averages over, for each branch.
        dropout: dropout rate before the logits, in [0, 1).
    """

    stem_filters: tuple[int, ...] = (32, 48, 64)
    filters: tuple[int, ...] = (64, 96, 128)
    depths: tuple[int, ...] = (3, 3, 3)
    width: int = 128
    sizes: tuple[int, ...] = (1, 2, 3, 6)
    dropout: float = 0.1

    def features(self, x):
        if any(size is not None and size < STRIDE for size in extents(x)):
            raise InputTooSmall(f"{tuple(x.shape[1:-1])} is smaller than the stride {STRIDE}")
        x = pad_to_multiple(x, STRIDE)
        with scope("stem"):
            fine = self.downsampled(x)
        strides = (*(2,) * (len(self.filters) - 1), 1)
        coarse = stages(fine, self.block, depths=self.depths, strides=strides, filters=self.filters)
        with scope("pyramid"):
            coarse = self.pooled(coarse)
        with scope("fusion"):
            x = self.fused(fine, coarse)
        with scope("head"):
            for _ in range(2):
                x = separable_norm_act(x, self.width, 3)
        return dropout(x, self.dropout), (2 ** len(self.stem_filters),) * (x.ndim - 2)

    def downsampled(self, x):
        first, *others = self.stem_filters
        x = conv_norm_act(x, first, 3, stride=2, padding="valid")
        for filters in others:
            x = separable_norm_act(x, filters, 3, stride=2)
        return x

    def block(self, x, stride: int, filters: int):
        return inverted_residual(x, filters, 3, stride=stride, activation="relu")

    def pooled(self, x):
        branches = [x]
        for size in self.sizes:
            y = conv_norm_act(adaptive_avg_pool(x, size), x.shape[-1] // len(self.sizes), 1)
            branches.append(interpolate(y, x, align_corners=True))
        return conv_norm_act(keras.layers.concatenate(branches), x.shape[-1], 1)

    def fused(self, fine, coarse):
        """Add the coarse map, upsampled and convolved, to the fine one."""
        y = interpolate(coarse, fine, align_corners=True)
        y = act(batch_norm(depthwise_conv(y, 3, use_bias=False)))
        y = conv_norm_act(y, self.width, 1, use_bias=True, activation=None)
        return act(keras.layers.add([conv_norm_act(fine, self.width, 1, use_bias=True, activation=None), y]))
