"""MLP: multi-layer perceptron on the flattened input, the baseline without convolutions."""

from dataclasses import dataclass

from kzoo.core.registry import MNIST, Paper, register_model
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import dense, dropout, flatten

XIAO_2017 = Paper(
    "Xiao, Han and Rasul, Kashif and Vollgraf, Roland",
    2017,
    "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
    "https://arxiv.org/abs/1708.07747",
)


# The count is the arithmetic of the layers 784-256-128-100-10 that the Fashion-MNIST repository lists.
@register_model("mlp", XIAO_2017, 247_766, MNIST)
@dataclass(frozen=True)
class MLP:
    """Fully connected layers on the flattened input.

    Maps a feature map of fixed size to a vector of `units[-1]` values; layer n is named `stage<n>`.

    Args:
        units: outputs of each hidden layer.
        activation: Keras name of the activation after each hidden layer.
        dropout: dropout rate after each hidden layer, in [0, 1).
    """

    units: tuple[int, ...] = (256, 128, 100)
    activation: str = "relu"
    dropout: float = 0.0

    def __call__(self, x):
        return stage_sequence(flatten(x), self.layer, units=self.units)

    def layer(self, x, units: int):
        return dropout(dense(x, units, self.activation), self.dropout)
