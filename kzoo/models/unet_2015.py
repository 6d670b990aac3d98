"""U-Net of 2015: a contracting path of double convolutions and an expanding one that joins its maps."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, lookup, register_model
from kzoo.models.unet import RONNEBERGER_2015
from kzoo.nn.layers import (
    InputTooSmall,
    conv,
    conv_transpose,
    dropout,
    extents,
    max_pool,
    named_output,
    pad_to_multiple,
    ranked,
    scope,
    with_border,
)
from kzoo.nn.pyramid import TASK, PositionsNet

PERSLEV_2019 = Paper(
    "Perslev, Mathias and Jensen, Michael and Darkner, Sune and Jennum, Poul and Igel, Christian",
    2019,
    "U-Time: A Fully Convolutional Network for Time Series Segmentation Applied to Sleep Staging",
    "https://arxiv.org/abs/1910.11162",
    "NeurIPS",
)
PADDINGS = dict.fromkeys(("same", "valid"))


# The counts are sums over the paper's figure; in one dimension kernels have 3 weights in place of 3 x 3, 2 of 2 x 2.
@register_model("unet_2015", RONNEBERGER_2015, 31_030_658, Reference((256, 256, 1), 2), task=TASK)
@register_model("unet_1d", PERSLEV_2019, 10_812_418, Reference((1024, 1), 2), task="step_classification")
@dataclass(frozen=True, kw_only=True)
class UNet2015(PositionsNet):
    """The published U-Net: double convolutions with ReLU, max pooling, transposed convolutions, no normalisation.

    The input may have any size, and there are logits at each of its positions. With "same" padding it is padded with
    zeros at the ends of its axes to a multiple of the stride, and the logits are cut back. With "valid" padding, that
    of the paper, the input is mirrored at its borders by what the convolutions lose, 92 positions on each side for five
    stages. The output of stage n of the contracting path is named `stage<n>`.

    Args:
        filters: filters of each stage; all but the last have a counterpart on the way up.
        kernel: kernel size of the convolutions, odd.
        padding: of all convolutions, "same" or "valid".
        dropout: dropout rate at the end of the contracting path, in [0, 1).

    Raises:
        ValueError: for an unknown padding, or "valid" padding of an input of unknown size.
    """

    filters: tuple[int, ...] = (64, 128, 256, 512, 1024)
    kernel: int = 3
    padding: str = "same"
    dropout: float = 0.5

    def features(self, x):
        lookup("padding", self.padding, PADDINGS)
        *skips, x = self.contracted(self.mirrored(x) if self.padding == "valid" else self.padded(x))
        x = dropout(x, self.dropout)
        for n, skip in enumerate(reversed(skips)):
            with scope(f"decoder.block{n}"):
                x = self.expanded(x, skip)
        return x, (1,) * (x.ndim - 2)

    @property
    def stride(self) -> int:
        """Stride of the last stage."""
        return 2 ** (len(self.filters) - 1)

    def padded(self, x):
        if any(size is not None and size < self.stride for size in extents(x)):
            raise InputTooSmall(f"{tuple(x.shape[1:-1])} is smaller than the stride {self.stride}")
        return pad_to_multiple(x, self.stride)

    def mirrored(self, x):
        """Mirror the borders by what unpadded convolutions lose, and the ends by what the poolings need besides."""
        if None in x.shape[1:-1]:
            raise ValueError(f"padding='valid' needs an input of known size, got {tuple(x.shape[1:])}")
        lost = 2 * (self.kernel - 1)
        before = lost * (3 * self.stride - 2) // 2
        used = len(extents(x))
        widths = [(before, before + -(size + lost * (self.stride - 1)) % self.stride) for size in x.shape[1 : 1 + used]]
        if any(after >= size for size, (_, after) in zip(x.shape[1:-1], widths, strict=False)):
            raise InputTooSmall(f"{tuple(x.shape[1:-1])} is smaller than its mirrored border")
        return with_border(x, widths + [(0, 0)] * (x.ndim - 2 - used), mode="reflect")

    def contracted(self, x) -> list:
        """Return the output of each stage of the contracting path."""
        maps = []
        for number, filters in enumerate(self.filters, start=1):
            with scope(f"stage{number}"):
                x = self.double_conv(max_pool(x, 2, padding="valid") if maps else x, filters)
            x = named_output(x, f"stage{number}")
            maps.append(x)
        return maps

    def expanded(self, x, skip):
        x = conv_transpose(x, skip.shape[-1], 2, stride=2)
        return self.double_conv(keras.layers.concatenate([centre_cropped(skip, x), x]), skip.shape[-1])

    def double_conv(self, x, filters: int):
        for _ in range(2):
            x = conv(x, filters, self.kernel, padding=self.padding, activation="relu")
        return x


def centre_cropped(x, like):
    """Crop `x` on both sides of each axis to the size of `like`."""
    if x.shape[1:-1] == like.shape[1:-1]:
        return x
    lost = [have - want for have, want in zip(x.shape[1:-1], like.shape[1:-1], strict=True)]
    widths = [(excess // 2, excess - excess // 2) for excess in lost]
    return ranked("Cropping", x)(widths if len(widths) > 1 else widths[0])(x)
