"""LeNet-5: convolutions and subsampling in turn, the classic network for handwritten digits."""

from dataclasses import dataclass

from kzoo.core.registry import MNIST, Paper, register_model
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import avg_pool, conv, dense, global_avg_pool, scope

LECUN_1998 = Paper(
    "LeCun, Yann and Bottou, Léon and Bengio, Yoshua and Haffner, Patrick",
    1998,
    "Gradient-Based Learning Applied to Document Recognition",
    "https://doi.org/10.1109/5.726791",
    "Proceedings of the IEEE",
)


# The count is the arithmetic of the paper's layers with every C3 map connected to all six S2 maps.
@register_model("lenet5", LECUN_1998, 61_706, MNIST)
@dataclass(frozen=True)
class LeNet:
    """LeNet-5 in its common form: all maps connected, plain averaging, softmax in place of radial units.

    Maps a feature map of at least 28 positions per axis to a vector of `units` values. C5 is a convolution, as in the
    paper; its positions, of which a larger input has several, are averaged. The outputs of S2 and S4 are named `stage1`
    and `stage2`.

    Args:
        filters: kernels of the convolutions C1, C3 and C5.
        units: outputs of the fully connected layer F6.
        kernel: kernel size of every convolution.
        activation: Keras name of the activation after each layer.
    """

    filters: tuple[int, int, int] = (6, 16, 120)
    units: int = 84
    kernel: int = 5
    activation: str = "tanh"

    def __call__(self, x):
        *stages, c5 = self.filters
        x = stage_sequence(x, self.stage, filters=stages, paddings=("same", "valid"))  # the paper pads 28 to 32
        with scope("head"):
            x = global_avg_pool(conv(x, c5, self.kernel, padding="valid", activation=self.activation))
            return dense(x, self.units, self.activation)

    def stage(self, x, filters: int, padding: str):
        x = conv(x, filters, self.kernel, padding=padding, activation=self.activation)
        return avg_pool(x, 2, padding="valid")
