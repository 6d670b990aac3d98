"""XCM: kernels as long as the series, of each variable and of all, for explanations by variable and by time."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import PYTORCH, Paper, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.nn.blocks import channels_as_axis, named_stages
from kzoo.nn.layers import conv, conv_norm_act, scope

FAUVEL_2021 = Paper(
    "Fauvel, Kevin and Lin, Tao and Masson, Véronique and Fromont, Élisa and Termier, Alexandre",
    2021,
    "XCM: An Explainable Convolutional Neural Network for Multivariate Time Series Classification",
    "https://doi.org/10.3390/math9233137",
    "Mathematics",
)


# The count is that of tsai.
@register_model("xcm", FAUVEL_2021, 78_468, GUNPOINT._replace(dialect=PYTORCH), dims=(1,))
@dataclass(frozen=True)
class XCM:
    """Map of each variable and map of time, side by side, and a convolution over both.

    Maps series (batch, time, variables) of fixed length to a feature map of the same length. The maps and the output of
    the last convolution are named `stage1` and `stage2`.

    Args:
        filters: of each convolution.
        window: kernel size, as a fraction of the length of the series, in (0, 1].

    Raises:
        ValueError: for series of unknown length, or a window outside (0, 1].
    """

    filters: int = 128
    window: float = 1.0

    keeps_positions = True

    def __post_init__(self):
        if not 0 < self.window <= 1:
            raise ValueError(f"window must be a fraction of the length in (0, 1], got {self.window}")

    def __call__(self, x):
        if x.shape[1] is None:
            raise ValueError("xcm needs a fixed input size, got a length of None")
        return named_stages(x, self.maps, self.convolved)

    def maps(self, x):
        with scope("variables"):
            variables = keras.ops.squeeze(self.map(channels_as_axis(x), (self.kernel(x), 1)), axis=-1)
        with scope("time"):
            return keras.layers.concatenate([self.map(x, self.kernel(x)), variables])

    def map(self, x, kernel):
        return conv(conv_norm_act(x, self.filters, kernel, use_bias=True), 1, 1, activation="relu")

    def convolved(self, x):
        return conv_norm_act(x, self.filters, self.kernel(x), use_bias=True)

    def kernel(self, x) -> int:
        return max(1, round(x.shape[1] * self.window))
