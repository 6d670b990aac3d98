"""EDSR: residual blocks without normalisation for super-resolution, enlarged by sub-pixel convolutions at the end."""

import math
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, lookup, register_model
from kzoo.nn.blocks import block_sequence, named_stages
from kzoo.nn.heads import Restorer, conv_readout
from kzoo.nn.layers import conv, per_axis, pixel_shuffle, scope
from kzoo.nn.naming import Rule, logits_to

LIM_2017 = Paper(
    "Lim, Bee and Son, Sanghyun and Kim, Heewon and Nah, Seungjun and Lee, Kyoung Mu",
    2017,
    "Enhanced Deep Residual Networks for Single Image Super-Resolution",
    "https://arxiv.org/abs/1707.02921",
    "CVPRW",
)

PATCH = Reference((48, 48, 3), 3)
STEPS = {1: (), 2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}  # of the enlargement


def last_of_body(match, layers) -> str:
    """Name the convolution behind the residual blocks, which the authors number with them."""
    return f"body.{sum(layer.startswith('stage1.block') for layer in layers) // 2}"


KEY_MAPPING = (
    Rule(r"^stem\.conv1$", "head.0"),
    Rule(r"^stage1\.block(\d+)\.conv1$", r"body.\1.body.0"),
    Rule(r"^stage1\.block(\d+)\.conv2$", r"body.\1.body.2"),
    Rule(r"^stage1\.conv1$", last_of_body),
    Rule(r"^stage2\.conv1$", "tail.0.0"),
    Rule(r"^stage2\.conv2$", "tail.0.2"),
    Rule(r"^stage2\.conv3$", "tail.0.4"),
    logits_to("tail.1"),
)
IGNORE_UNEXPECTED = (r"^(sub|add)_mean\.",)  # the authors' networks subtract the mean colour themselves


# Computed from the authors' code: 36,928 weights a convolution, the first and the last 1,792 and 1,731.
@register_model("edsr_baseline_x2", LIM_2017, 1_369_859, PATCH, task="restoration", scale=2)
@register_model("edsr_baseline_x3", LIM_2017, 1_554_499, PATCH, task="restoration", scale=3)
@register_model("edsr_baseline_x4", LIM_2017, 1_517_571, PATCH, task="restoration", scale=4)
@dataclass(frozen=True)
class EDSR(Restorer):
    """Residual blocks of two convolutions with one activation between them, then sub-pixel convolutions.

    Maps a feature map to one of `scale` times the size, named `stage2`; that of the residual blocks is named `stage1`.

    Args:
        scale: factor of the enlargement: 1 (none), 2, 3, 4 or 8.
        width: filters of each convolution.
        depths: number of residual blocks.
        residual_scale: factor of each residual branch; 0.1 in the authors' wide network.

    Raises:
        ValueError: for another scale.
    """

    scale: int
    width: int = 64
    depths: int = 16
    residual_scale: float = 1.0

    def __call__(self, x):
        with scope("stem"):
            x = conv(x, self.width)
        return named_stages(x, self.body, self.enlarged)

    def body(self, x):
        y = conv(block_sequence(x, self.residual_block, [()] * self.depths), self.width)
        return keras.layers.add([x, y])

    def residual_block(self, x):
        y = conv(conv(x, self.width, activation="relu"), self.width)
        return keras.layers.add([x, y if self.residual_scale == 1 else keras.layers.Rescaling(self.residual_scale)(y)])

    def enlarged(self, x):
        for factor in lookup("scale", self.scale, STEPS):
            x = pixel_shuffle(conv(x, self.width * math.prod(per_axis(x, factor))), factor)
        return x

    def output_map(self, x, inputs, outputs: int):
        """Return the image, `scale` times as large as the input."""
        return conv_readout(x, outputs)
