"""MLP for time series: dropout before every fully connected layer, the input included."""

from dataclasses import dataclass

from kzoo.core.registry import register_model
from kzoo.models.fcn_tsc import GUNPOINT, WANG_2017
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import dense, dropout, flatten


# The count is that of dl-4-tsc and aeon.
@register_model("mlp_tsc", WANG_2017, 577_502, GUNPOINT)
@dataclass(frozen=True)
class MLPTSC:
    """Fully connected layers on the flattened input.

    Maps a feature map of fixed size to a vector of `units[-1]` values; layer n is named `stage<n>`.

    Args:
        units: outputs of each hidden layer.
        dropouts: dropout rates before each hidden layer and before the logits, in [0, 1).
        activation: Keras name of the activation after each hidden layer.

    Raises:
        ValueError: unless there is one more dropout than hidden layers, or for an input of unknown size.
    """

    units: tuple[int, ...] = (500, 500, 500)
    dropouts: tuple[float, ...] = (0.1, 0.2, 0.2, 0.3)
    activation: str = "relu"

    def __post_init__(self):
        if len(self.dropouts) != len(self.units) + 1:
            raise ValueError(
                "dropouts has one entry for each hidden layer and one for the logits, "
                f"got {len(self.dropouts)} for {len(self.units)} hidden layers"
            )

    def __call__(self, x):
        *rates, last = self.dropouts
        return dropout(stage_sequence(flatten(x), self.layer, units=self.units, rates=rates), last)

    def layer(self, x, units: int, rate: float):
        return dense(dropout(x, rate), units, self.activation)
