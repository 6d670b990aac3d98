"""AlexNet: five convolutions, the first with a large kernel and stride, and three fully connected layers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import adaptive_avg_pool, conv, dense, dropout, flatten, max_pool, scope
from kzoo.nn.naming import Rule, logits_to

KRIZHEVSKY_2014 = Paper(
    "Krizhevsky, Alex",
    2014,
    "One weird trick for parallelizing convolutional neural networks",
    "https://arxiv.org/abs/1404.5997",
)


def place_in_sequence(match: re.Match, layers: Sequence[str]) -> str:
    """Return torchvision's name in `features`, a sequence that counts activations and poolings too."""
    return f"features.{2 * layers.index(match[0]) + int(match['stage']) - 1}"


KEY_MAPPING = (
    Rule(r"^stage(?P<stage>\d)\.conv\d$", place_in_sequence),
    Rule(r"^head\.dense1$", "classifier.1"),
    Rule(r"^head\.dense2$", "classifier.4"),
    logits_to("classifier.6"),
)


# The single-GPU network of 2014; that of 2012 is wider and has local response normalisation.
@register_model("alexnet", KRIZHEVSKY_2014, 61_100_840)
@dataclass(frozen=True)
class AlexNet:
    """Three stages of convolutions, each ended by overlapping max pooling, then fully connected layers.

    Maps a feature map to a vector of `dense_units[-1]` values. The output of stage n is named `stage<n>`.

    Args:
        filters: filters of each convolution of each stage.
        kernel: kernel size of the first convolution.
        stride: stride of the first convolution.
        padding: zero padding of the first convolution on each side.
        positions: positions per axis that the classifier sees, by adaptive average pooling.
        dense_units: outputs of the fully connected layers before the logits.
        dropout: dropout rate before each fully connected layer, in [0, 1).

    Raises:
        ValueError: for an input that is too small for the poolings.
    """

    filters: tuple[tuple[int, ...], ...] = ((64,), (192,), (384, 256, 256))
    kernel: int = 11
    stride: int = 4
    padding: int = 2
    positions: int = 6
    dense_units: tuple[int, ...] = (4096, 4096)
    dropout: float = 0.5

    def __call__(self, x):
        x = stage_sequence(
            x,
            self.stage,
            filters=self.filters,
            kernels=(self.kernel, 5, 3),
            strides=(self.stride, 1, 1),
            paddings=(self.padding, "same", "same"),
        )
        with scope("head"):
            return self.classifier(flatten(adaptive_avg_pool(x, self.positions)))

    def stage(self, x, filters: Sequence[int], kernel: int, stride: int, padding: str | int):
        for width in filters:
            x = conv(x, width, kernel, stride=stride, padding=padding, activation="relu")
        return max_pool(x, 3, stride=2, padding="valid")

    def classifier(self, x):
        for units in self.dense_units:
            x = dense(dropout(x, self.dropout), units, "relu")
        return x
