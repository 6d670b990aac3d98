"""U-Net on any encoder: upsampled step by step, each step joined with the encoder's feature map of its resolution."""

from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.layers import conv_norm_act, scope, upsample
from kzoo.nn.naming import Rule
from kzoo.nn.pyramid import ONE_CLASS, TASK, Decoder, of_last, skips, steps_up

RONNEBERGER_2015 = Paper(
    "Ronneberger, Olaf and Fischer, Philipp and Brox, Thomas",
    2015,
    "U-Net: Convolutional Networks for Biomedical Image Segmentation",
    "https://arxiv.org/abs/1505.04597",
    "MICCAI",
)

KEY_MAPPING = (
    Rule(r"^decoder\.block(\d+)\.conv(\d)$", r"decoder.blocks.\1.conv\2.0"),
    Rule(r"^decoder\.block(\d+)\.norm(\d)$", r"decoder.blocks.\1.conv\2.1"),
    Rule(r"^logits$", "segmentation_head.0"),
)


# Counted in segmentation_models_pytorch, as all decoders here.
@register_model("unet", RONNEBERGER_2015, 24_436_369, ONE_CLASS, task=TASK)
@register_model("unet_resnet18", RONNEBERGER_2015, 14_328_209, ONE_CLASS, task=TASK, encoder="resnet18")
@register_model("unet_resnet34", RONNEBERGER_2015, 24_436_369, ONE_CLASS, task=TASK, encoder="resnet34")
@register_model("unet_resnet50", RONNEBERGER_2015, 32_521_105, ONE_CLASS, task=TASK, encoder="resnet50")
@register_model("unet_mobilenetv2_100", RONNEBERGER_2015, 4_004_945, ONE_CLASS, task=TASK, encoder="mobilenetv2_100")
@dataclass(frozen=True, kw_only=True)
class UNet(Decoder):
    """U-Net whose contracting path is the encoder: each step up joins the encoder's map of that resolution.

    The input may have any size: it is padded with zeros, at the ends of its axes, to a multiple of the encoder's
    stride, and the logits are cut back to its size.

    Args:
        filters: filters of the two convolutions after each step up, the last at the input's resolution; an encoder of
            fewer steps has the last ones.
    """

    filters: tuple[int, ...] = (256, 128, 64, 32, 16)

    head_kernel: ClassVar[int] = 3

    def decode(self, levels):
        steps, joined, x = steps_up(levels), skips(levels), levels[-1].map
        for n, ((factor, stride), filters) in enumerate(zip(steps, of_last(self.filters, len(steps)), strict=True)):
            with scope(f"block{n}"):
                x = self.step(upsample(x, factor), joined.get(stride), filters)
        return x, steps[-1][1]

    def step(self, x, skip, filters: int):
        x = x if skip is None else keras.layers.concatenate([x, skip])
        return conv_norm_act(conv_norm_act(x, filters, 3), filters, 3)
