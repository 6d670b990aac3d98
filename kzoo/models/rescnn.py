"""ResCNN: one residual block and three convolutions, each with another activation, for time-series classification."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import PYTORCH, Paper, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.nn.blocks import named_stages, projection_shortcut
from kzoo.nn.layers import act, address, conv_norm_act

ZOU_2019 = Paper(
    "Zou, Xiaowu and Wang, Zidong and Li, Qi and Sheng, Weiguo",
    2019,
    "Integration of Residual Network and Convolutional Neural Network Along with Various Activation Functions and "
    "Global Pooling for Time Series Classification",
    "https://doi.org/10.1016/j.neucom.2019.08.023",
    "Neurocomputing",
)


# The count is that of tsai.
@register_model("rescnn", ZOU_2019, 256_259, GUNPOINT._replace(dialect=PYTORCH))
@dataclass(frozen=True)
class ResCNN:
    """Residual block, then convolutions with leaky ReLU, a ReLU of learned slope, and ELU; no downsampling.

    Maps a feature map to one of the same size. The outputs of the block and of the convolutions are named `stage1` to
    `stage4`.

    Args:
        filters: kernels of the residual block and of each convolution after it.
        kernels: kernel size of each convolution in the block.
        kernel: kernel size of each convolution after it.
    """

    filters: tuple[int, int, int, int] = (64, 128, 256, 128)
    kernels: tuple[int, ...] = (7, 5, 3)
    kernel: int = 3

    keeps_positions = True

    def __call__(self, x):
        return named_stages(x, self.residual_block, self.leaky, self.learned, self.smooth)

    def residual_block(self, x):
        y, last = x, len(self.kernels) - 1
        for number, kernel in enumerate(self.kernels):
            y = conv_norm_act(y, self.filters[0], kernel, activation="relu" if number < last else None)
        return act(keras.layers.add([y, projection_shortcut(x, self.filters[0])]))

    def leaky(self, x):
        return keras.layers.LeakyReLU(0.2)(self.convolved(x, self.filters[1]))

    def learned(self, x):
        axes = list(range(1, x.ndim))  # one slope for all positions and channels
        slope = keras.layers.PReLU(keras.initializers.Constant(0.25), shared_axes=axes, name=address("prelu"))
        return slope(self.convolved(x, self.filters[2]))

    def smooth(self, x):
        return keras.layers.ELU(0.3)(self.convolved(x, self.filters[3]))

    def convolved(self, x, filters: int):
        return conv_norm_act(x, filters, self.kernel, activation=None)
