"""TCN: temporal convolutional network of dilated causal convolutions."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import PYTORCH, Paper, lookup, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import act, conv, dropout, global_avg_pool, scope

BAI_2018 = Paper(
    "Bai, Shaojie and Kolter, J. Zico and Koltun, Vladlen",
    2018,
    "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling",
    "https://arxiv.org/abs/1803.01271",
)

READOUTS = {
    "last": lambda x: x[:, -1],
    "mean": global_avg_pool,
}


# The network that the authors train on MNIST pixel by pixel. tsai counts 66,702 with the gains of the weight
# normalisation, one for each of 25 filters in 16 convolutions, which are left out here; aeon leaves them out too.
@register_model("tcn", BAI_2018, 66_302, GUNPOINT._replace(dialect=PYTORCH), dims=(1,))
@dataclass(frozen=True)
class TCN:
    """Residual blocks of two dilated causal convolutions, without the paper's weight normalisation.

    Maps a feature map (batch, length, channels) to a vector of `filters[-1]` values. Block n is named `stage<n>`: the
    receptive field of its output is that position and the `2 * (kernel - 1) * (2**n - 1)` before it. 1-D inputs only:
    an image has no causal order.

    Args:
        filters: kernels of each convolution of a block; there are as many blocks as entries.
        kernel: kernel size of every convolution.
        dropout: dropout rate after each convolution, in [0, 1).
        readout: "last" (the last position, whose receptive field covers all others) or "mean" over all positions.

    Raises:
        ValueError: for an unknown readout.
    """

    filters: tuple[int, ...] = (25,) * 8
    kernel: int = 7
    dropout: float = 0.05
    readout: str = "last"

    keeps_positions = True

    def __call__(self, x):
        readout = lookup("readout", self.readout, READOUTS)
        return readout(self.feature_map(x))

    def feature_map(self, x):
        """Return the values at all positions, (batch, length, channels), which `head="positions"` reads."""
        dilations = [2**n for n in range(len(self.filters))]
        return stage_sequence(x, self.residual_block, filters=self.filters, dilations=dilations)

    def residual_block(self, x, filters: int, dilation: int):
        y = x
        for _ in range(2):
            y = conv(y, filters, self.kernel, dilation=dilation, padding="causal", activation="relu")
            y = dropout(y, self.dropout)
        if x.shape[-1] != filters:
            with scope("shortcut"):
                x = conv(x, filters, 1)
        return act(keras.layers.add([x, y]))
