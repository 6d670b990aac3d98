"""VGG: stacks of 3x3 convolutions and max pooling."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import dense_layers, doubling, max_blur_pool, stage_sequence
from kzoo.nn.layers import act, adaptive_avg_pool, batch_norm, conv, flatten, max_pool, scope
from kzoo.nn.naming import Rule, logits_to

SIMONYAN_2015 = Paper(
    "Simonyan, Karen and Zisserman, Andrew",
    2015,
    "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    "https://arxiv.org/abs/1409.1556",
    "ICLR",
)


def place_in_sequence(match: re.Match, layers: Sequence[str]) -> str:
    """Return the reference's name in `features`, a sequence that counts activations and poolings too."""
    before = layers[: layers.index(match[0])]
    activations = sum(".conv" in layer for layer in before) - (match["kind"] == "norm")
    poolings = int(match["stage"]) - 1
    return f"features.{len(before) + activations + poolings}"


KEY_MAPPING = (
    Rule(r"^stage(?P<stage>\d+)\.(?P<kind>conv|norm)\d+$", place_in_sequence),
    # timm
    Rule(r"^head\.dense(\d)$", r"pre_logits.fc\1", where=r"^pre_logits\."),
    Rule(r"^logits$", "head.fc", where=r"^head\.fc\."),
    # torchvision
    Rule(r"^head\.dense1$", "classifier.0"),
    Rule(r"^head\.dense2$", "classifier.3"),
    logits_to("classifier.6"),
)


@register_model("vgg11", SIMONYAN_2015, 132_863_336, depths=(1, 1, 2, 2, 2))
@register_model("vgg13", SIMONYAN_2015, 133_047_848, depths=(2, 2, 2, 2, 2))
@register_model("vgg16", SIMONYAN_2015, 138_357_544, depths=(2, 2, 3, 3, 3))
@register_model("vgg19", SIMONYAN_2015, 143_667_240, depths=(2, 2, 4, 4, 4))
@register_model("vgg11_bn", SIMONYAN_2015, 132_868_840, depths=(1, 1, 2, 2, 2), norm=True)
@register_model("vgg13_bn", SIMONYAN_2015, 133_053_736, depths=(2, 2, 2, 2, 2), norm=True)
@register_model("vgg16_bn", SIMONYAN_2015, 138_365_992, depths=(2, 2, 3, 3, 3), norm=True)
@register_model("vgg19_bn", SIMONYAN_2015, 143_678_248, depths=(2, 2, 4, 4, 4), norm=True)
@dataclass(frozen=True)
class VGG:
    """Five stages of convolutions, each ended by max pooling, then fully connected layers.

    Maps a feature map to a vector of `dense_units[-1]` values. The output of stage n is named `stage<n>`.

    Args:
        depths: number of convolutions in each stage.
        width: filters of the first stage; each later one doubles them up to `8 * width`.
        norm: batch normalisation after each convolution.
        kernel: kernel size of every convolution; 1-D inputs often want more than 3.
        positions: positions per axis that the classifier sees, by adaptive average pooling.
        dense_units: outputs of the fully connected layers before the logits.
        dropout: dropout rate after each fully connected layer, in [0, 1).
        blur: anti-aliased max pooling (Zhang, 2019, https://arxiv.org/abs/1904.11486).

    Raises:
        ValueError: for an input that is too small for the poolings.
    """

    depths: tuple[int, ...]
    width: int = 64
    norm: bool = False
    kernel: int = 3
    positions: int = 7
    dense_units: tuple[int, ...] = (4096, 4096)
    dropout: float = 0.5
    blur: bool = False

    def __call__(self, x):
        filters = [min(width, 8 * self.width) for width in doubling(self.width, self.depths)]
        x = stage_sequence(x, self.stage, filters=filters, depths=self.depths)
        x = flatten(adaptive_avg_pool(x, self.positions))
        with scope("head"):
            return dense_layers(x, self.dense_units, self.dropout)

    def stage(self, x, filters: int, depth: int):
        for _ in range(depth):
            x = conv(x, filters, self.kernel)
            x = act(batch_norm(x) if self.norm else x)
        return max_blur_pool(x) if self.blur else max_pool(x, 2, padding="valid")
