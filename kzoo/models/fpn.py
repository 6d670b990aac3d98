"""Feature pyramid network: coarse maps are upsampled and added to finer ones; all of them are merged for the logits."""

import math
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.layers import act, conv, group_norm, interpolate_by, scope, spatial_dropout, upsample
from kzoo.nn.naming import Rule
from kzoo.nn.pyramid import ONE_CLASS, TASK, Decoder, ratio

KIRILLOV_2019 = Paper(
    "Kirillov, Alexander and Girshick, Ross and He, Kaiming and Dollár, Piotr",
    2019,
    "Panoptic Feature Pyramid Networks",
    "https://arxiv.org/abs/1901.02446",
    "CVPR",
)

KEY_MAPPING = (
    Rule(r"^decoder\.level5\.conv1$", "decoder.p5"),
    Rule(r"^decoder\.level(\d)\.conv1$", r"decoder.p\1.skip_conv"),
    Rule(r"^decoder\.branch(\d+)\.step(\d+)\.conv1$", r"decoder.seg_blocks.\1.block.\2.block.0"),
    Rule(r"^decoder\.branch(\d+)\.step(\d+)\.norm1$", r"decoder.seg_blocks.\1.block.\2.block.1"),
    Rule(r"^logits$", "segmentation_head.0"),
)


@register_model("fpn", KIRILLOV_2019, 23_155_393, ONE_CLASS, task=TASK)
@register_model("fpn_resnet18", KIRILLOV_2019, 13_047_233, ONE_CLASS, task=TASK, encoder="resnet18")
@register_model("fpn_resnet34", KIRILLOV_2019, 23_155_393, ONE_CLASS, task=TASK, encoder="resnet34")
@register_model("fpn_resnet50", KIRILLOV_2019, 26_116_033, ONE_CLASS, task=TASK, encoder="resnet50")
@register_model("fpn_mobilenetv2_100", KIRILLOV_2019, 3_557_505, ONE_CLASS, task=TASK, encoder="mobilenetv2_100")
@dataclass(frozen=True, kw_only=True)
class FPN(Decoder):
    """Feature pyramid network on the four coarsest maps of an encoder.

    The input may have any size: it is padded with zeros, at the ends of its axes, to a multiple of the encoder's
    stride, and the logits, of the stride of the finest map, are interpolated and cut back to its size.

    Args:
        width: channels of the pyramid.
        filters: filters of the convolutions that bring each map of the pyramid to the finest resolution.
        dropout: rate of whole channels before the logits, in [0, 1).
    """

    width: int = 256
    filters: int = 128
    dropout: float = 0.2

    def decode(self, levels):
        levels = levels[-4:]
        finest, maps = levels[0].stride, self.top_down(levels)
        branches = [self.branch(n, x, ratio(stride, finest)) for n, (stride, x) in enumerate(maps)]
        return spatial_dropout(keras.layers.add(branches) if len(branches) > 1 else branches[0], self.dropout), finest

    def top_down(self, levels) -> list[tuple]:
        """Return the stride and the map of each level of the pyramid, from coarse to fine."""
        maps = []
        for number, level in zip(range(5, 5 - len(levels), -1), reversed(levels), strict=True):
            with scope(f"level{number}"):
                x = conv(level.map, self.width, 1)
            if maps:
                stride, coarser = maps[-1]
                x = keras.layers.add([upsample(coarser, ratio(stride, level.stride)), x])
            maps.append((level.stride, x))
        return maps

    def branch(self, number: int, x, factor: tuple[int, ...]):
        """Upsample a map by convolutions, each followed by interpolation to twice the size."""
        step = 0
        while step == 0 or max(factor) > 1:
            with scope(f"branch{number}.step{step}"):
                x = act(group_norm(conv(x, self.filters, 3, use_bias=False), math.gcd(self.filters, 32)))
            twice = tuple(2 if left % 2 == 0 else left for left in factor)
            x, factor, step = interpolate_by(x, twice, align_corners=True), ratio(factor, twice), step + 1
        return x
