"""SegNet: VGG-16's convolutions and, in reverse, as many behind poolings that are undone at the maxima's places."""

from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import zip_stages
from kzoo.nn.layers import (
    InputTooSmall,
    conv_norm_act,
    extents,
    max_pool,
    max_unpool,
    named_output,
    pad_to_multiple,
    scope,
)
from kzoo.nn.pyramid import TASK, PositionsNet

BADRINARAYANAN_2017 = Paper(
    "Badrinarayanan, Vijay and Kendall, Alex and Cipolla, Roberto",
    2017,
    "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation",
    "https://arxiv.org/abs/1511.00561",
    "TPAMI",
)

CITYSCAPES = Reference((256, 512, 3), 19)


# Counted in pytorchcv.
@register_model("segnet", BADRINARAYANAN_2017, 29_453_971, CITYSCAPES, task=TASK)
@dataclass(frozen=True, kw_only=True)
class SegNet(PositionsNet):
    """Convolutions and max pooling in stages, then in reverse order unpooling, by the places of the maxima.

    The input may have any size: it is padded with zeros, at the ends of its axes, to a multiple of 2 for each stage,
    and the logits are cut back to its size. The output of stage n before its pooling is named `stage<n>`.

    Args:
        filters: filters of each stage.
        depths: number of convolutions of each stage.
    """

    filters: tuple[int, ...] = (64, 128, 256, 512, 512)
    depths: tuple[int, ...] = (2, 2, 3, 3, 3)

    head_kernel: ClassVar[int] = 3

    def features(self, x):
        table = list(zip_stages(filters=self.filters, depths=self.depths))
        stride = 2 ** len(table)
        if any(size is not None and size < stride for size in extents(x)):
            raise InputTooSmall(f"{tuple(x.shape[1:-1])} is smaller than the stride {stride}")
        x, maps = self.encoded(pad_to_multiple(x, stride), table)
        return self.decoded(x, maps, table), (1,) * (x.ndim - 2)

    def encoded(self, x, table) -> tuple:
        """Return the pooled output of the last stage, and the output of each stage before its pooling."""
        maps = []
        for number, (filters, depth) in enumerate(table, start=1):
            with scope(f"stage{number}"):
                x = convolved(x, [filters] * depth)
            maps.append(named_output(x, f"stage{number}"))
            x = max_pool(maps[-1], 2, padding="valid")
        return x, maps

    def decoded(self, x, maps: list, table):
        lower = [self.filters[0], *self.filters[:-1]]
        for number in reversed(range(len(table))):
            filters, depth = table[number]
            # The last stage has one convolution less: the logits take its place.
            last = [lower[number]] if number else []
            with scope(f"decoder.stage{number + 1}"):
                x = convolved(max_unpool(x, maps[number]), [filters] * (depth - 1) + last)
        return x


def convolved(x, filters: list[int]):
    for width in filters:
        x = conv_norm_act(x, width, 3, use_bias=True)
    return x
