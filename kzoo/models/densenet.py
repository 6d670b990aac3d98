"""DenseNet: densely connected layers, each of which sees the feature maps of all layers before it in its stage."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import block_sequence, stage_sequence
from kzoo.nn.layers import act, avg_pool, batch_norm, conv, conv_norm_act, max_pool, scope
from kzoo.nn.naming import Rule, from_zero, logits_to

HUANG_2017 = Paper(
    "Huang, Gao and Liu, Zhuang and van der Maaten, Laurens and Weinberger, Kilian Q.",
    2017,
    "Densely Connected Convolutional Networks",
    "https://arxiv.org/abs/1608.06993",
    "CVPR",
)


def layer_of_reference(match: re.Match, layers: Sequence[str]) -> str:
    return f"features.denseblock{match['stage']}.denselayer{int(match['block']) + 1}"


KEY_MAPPING = (
    Rule(r"^stem\.(conv|norm)1$", r"features.\g<1>0"),
    Rule(r"^stage(?P<stage>\d+)\.block(?P<block>\d+)", layer_of_reference),
    # torchvision's published weights have the names of an older version of its code.
    Rule(r"(denselayer\d+\.(?:conv|norm))(\d)$", r"\1.\2", where=r"\.denselayer1\.norm\.1\."),
    Rule(r"^stage(\d+)\.transition\.(conv|norm)1$", from_zero("features.transition{}.{}")),
    Rule(r"^head\.norm1$", "features.norm5"),
    logits_to("classifier"),
)


@register_model("densenet121", HUANG_2017, 7_978_856, depths=(6, 12, 24, 16))
@register_model("densenet161", HUANG_2017, 28_681_000, depths=(6, 12, 36, 24), filters=48, stem_width=96)
@register_model("densenet169", HUANG_2017, 14_149_480, depths=(6, 12, 32, 32))
@register_model("densenet201", HUANG_2017, 20_013_928, depths=(6, 12, 48, 32))
@dataclass(frozen=True)
class DenseNet:
    """DenseNet-BC: dense stages with 1x1 bottlenecks, and transitions that compress the channels and halve the size.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n, the
    concatenation of its input and of all its layers, is named `stage<n>`.

    Args:
        depths: number of layers in each stage.
        filters: growth rate: channels that each layer adds.
        stem_width: filters of the stem.
        bottleneck: output channels of a layer's 1x1 bottleneck as a multiple of the growth rate.
        compression: output channels of a transition as a fraction of its input channels.
        kernel: kernel size of the spatial convolutions of the layers; 1-D inputs often want more than 3.
    """

    depths: tuple[int, ...]
    filters: int = 32
    stem_width: int = 64
    bottleneck: int = 4
    compression: float = 0.5
    kernel: int = 3

    def __call__(self, x):
        with scope("stem"):
            x = max_pool(conv_norm_act(x, self.stem_width, 7, stride=2), 3, stride=2)
        compressed = [stage > 0 for stage in range(len(self.depths))]
        x = stage_sequence(x, self.stage, depths=self.depths, compressed=compressed)
        with scope("head"):
            return act(batch_norm(x))

    def stage(self, x, depth: int, compressed: bool):
        if compressed:
            with scope("transition"):
                x = self.transition(x)
        return block_sequence(x, self.layer, [()] * depth)

    def layer(self, x):
        y = conv(act(batch_norm(x)), self.bottleneck * self.filters, 1, use_bias=False)
        y = conv(act(batch_norm(y)), self.filters, self.kernel, use_bias=False)
        return keras.layers.concatenate([x, y])

    def transition(self, x):
        x = conv(act(batch_norm(x)), int(self.compression * x.shape[-1]), 1, use_bias=False)
        return avg_pool(x, 2, padding="valid")
