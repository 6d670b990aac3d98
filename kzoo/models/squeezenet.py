"""SqueezeNet: fire modules, which squeeze the channels before 1x1 and 3x3 convolutions, and no dense layer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import block_sequence, stage_sequence
from kzoo.nn.layers import conv, dropout, max_pool, scope
from kzoo.nn.naming import Rule, logits_to

IANDOLA_2016 = Paper(
    "Iandola, Forrest N. and Han, Song and Moskewicz, Matthew W. and Ashraf, Khalid and Dally, William J. and "
    "Keutzer, Kurt",
    2016,
    "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
    "https://arxiv.org/abs/1602.07360",
)


def place_in_sequence(match: re.Match, layers: Sequence[str]) -> str:
    """Return torchvision's name in `features`: the stem, an activation, then poolings and modules."""
    modules = list(dict.fromkeys(layer.rpartition(".")[0] for layer in layers if layer.startswith("stage")))
    return f"features.{2 + int(match['stage']) + modules.index(match[0])}"


KEY_MAPPING = (
    Rule(r"^stem\.conv1$", "features.0"),
    Rule(r"^stage(?P<stage>\d+)\.block\d+", place_in_sequence),
    Rule(r"\.conv1$", ".squeeze"),
    Rule(r"\.conv2$", ".expand1x1"),
    Rule(r"\.conv3$", ".expand3x3"),
    logits_to("classifier.1"),
)


@register_model(
    "squeezenet1_0",
    IANDOLA_2016,
    1_248_424,
    filters=((16, 16, 32), (32, 48, 48, 64), (64,)),
    stem_width=96,
    stem_kernel=7,
)
@register_model("squeezenet1_1", IANDOLA_2016, 1_235_496, filters=((16, 16), (32, 32), (48, 48, 64, 64)))
@dataclass(frozen=True)
class SqueezeNet:
    """Stages of fire modules, each begun by overlapping max pooling, then a convolution to the classes.

    Maps a feature map to one whose spatial axes are divided by 16. The output of stage n is named `stage<n>`. Version
    1.1 is the authors' own revision: the same accuracy for 0.43 of the MACs.

    Args:
        filters: squeezed channels of each fire module of each stage.
        expansion: channels of the 1x1 and of the 3x3 convolutions as a multiple of the squeezed channels.
        stem_width: filters of the stem.
        stem_kernel: kernel size of the stem.
        dropout: dropout rate of the last feature map, in [0, 1).
    """

    filters: tuple[tuple[int, ...], ...]
    expansion: int = 4
    stem_width: int = 64
    stem_kernel: int = 3
    dropout: float = 0.5

    def __call__(self, x):
        with scope("stem"):
            x = conv(x, self.stem_width, self.stem_kernel, stride=2, padding="valid", activation="relu")
        return dropout(stage_sequence(x, self.stage, filters=self.filters), self.dropout)

    def stage(self, x, modules: Sequence[int]):
        return block_sequence(max_pool(x, 3, stride=2, padding="ceil"), self.fire, [(filters,) for filters in modules])

    def fire(self, x, filters: int):
        squeezed = conv(x, filters, 1, activation="relu")
        narrow = conv(squeezed, self.expansion * filters, 1, activation="relu")
        wide = conv(squeezed, self.expansion * filters, 3, activation="relu")
        return keras.layers.concatenate([narrow, wide])

    def logits(self, x, num_classes: int):
        """Return the ReLU of the logits at every position, averaged over the positions."""
        x = keras.layers.Dense(num_classes, activation="relu", dtype="float32", name="logits")(x)
        return keras.ops.mean(x, axis=tuple(range(1, x.ndim - 1)))
