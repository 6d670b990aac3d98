"""AlexNet: five convolutions, the first with large windows and steps, then three fully connected layers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.nn.layers import adaptive_avg_pool, conv, dense, dropout, flatten, max_pool, named_output, scope
from kzoo.nn.naming import Rule

KRIZHEVSKY_2014 = Paper(
    "Krizhevsky, Alex",
    2014,
    "One weird trick for parallelizing convolutional neural networks",
    "https://arxiv.org/abs/1404.5997",
)


def place_in_sequence(match: re.Match, layers: Sequence[str]) -> str:
    """Torchvision's `features`: one sequence that counts activations and poolings too, which have no weights."""
    return f"features.{2 * layers.index(match[0]) + int(match['stage']) - 1}"


KEY_MAPPING = (
    Rule(r"^stage(?P<stage>\d)\.conv\d$", place_in_sequence),
    Rule(r"^head\.dense1$", "classifier.1"),
    Rule(r"^head\.dense2$", "classifier.4"),
    Rule(r"^logits$", "classifier.6"),
)


# The network of 2014, on one column of processors; that of 2012 is wider and normalises locally.
@register_model("alexnet", KRIZHEVSKY_2014, 61_100_840)
@dataclass(frozen=True)
class AlexNet:
    """Three stages of convolutions, each ended by a maximum over overlapping windows, then fully connected layers.

    Maps a feature map to a vector of `dense_units[-1]` values. The output of stage n is named `stage<n>`.

    Args:
        filters: of each convolution of each stage.
        kernel: size of the first convolution.
        stride: step of the first convolution.
        padding: zeros on each side of the input.
        positions: positions per axis that the classifier sees; others are averaged to them.
        dense_units: outputs of the fully connected layers before the logits.
        dropout: fraction dropped before each of these layers in training, in [0, 1).

    Raises:
        ValueError: for an input that the stages reduce to nothing.
    """

    filters: tuple[tuple[int, ...], ...] = ((64,), (192,), (384, 256, 256))
    kernel: int = 11
    stride: int = 4
    padding: int = 2
    positions: int = 6
    dense_units: tuple[int, ...] = (4096, 4096)
    dropout: float = 0.5

    def __call__(self, x):
        first, second, third = self.filters
        x = self.stage(x, 1, first, self.kernel, stride=self.stride, padding=self.padding)
        x = self.stage(x, 2, second, 5)
        x = self.stage(x, 3, third, 3)
        with scope("head"):
            return self.classifier(flatten(adaptive_avg_pool(x, self.positions)))

    def stage(
        self, x, stage: int, filters: Sequence[int], kernel: int, *, stride: int = 1, padding: str | int = "same"
    ):
        with scope(f"stage{stage}"):
            for width in filters:
                x = conv(x, width, kernel, stride=stride, padding=padding, activation="relu")
        return named_output(max_pool(x, 3, stride=2, padding="valid"), f"stage{stage}")

    def classifier(self, x):
        for units in self.dense_units:
            x = dense(dropout(x, self.dropout), units, "relu")
        return x
