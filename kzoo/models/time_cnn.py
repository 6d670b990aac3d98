"""Time-CNN: two convolutions with sigmoid and average pooling, for time-series classification."""

from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import avg_pool, conv, extents, flatten

ZHAO_2017 = Paper(
    "Zhao, Bendong and Lu, Huanzhang and Chen, Shangfeng and Liu, Junliang and Wu, Dongya",
    2017,
    "Convolutional Neural Networks for Time Series Classification",
    "https://doi.org/10.21629/JSEE.2017.01.18",
    "Journal of Systems Engineering and Electronics",
)


# The count is that of dl-4-tsc and aeon.
@register_model("time_cnn", ZHAO_2017, 902, GUNPOINT)
@dataclass(frozen=True)
class TimeCNN:
    """Convolution, sigmoid and average pooling in turn.

    Maps a feature map of fixed size to a vector. The output of layer n is named `stage<n>`. The authors end in sigmoids
    and the squared error; here the outputs are logits.

    Args:
        filters: kernels of each layer; there are as many layers as entries.
        kernel: kernel size of every convolution.
        pool: size and stride of every pooling.
        activation: Keras name of the activation after each convolution.
        padded_below: inputs with an axis shorter than this have "same" padding in the convolutions, others "valid".

    Raises:
        ValueError: for an input smaller than a kernel, or of unknown size.
    """

    filters: tuple[int, ...] = (6, 12)
    kernel: int = 7
    pool: int = 3
    activation: str = "sigmoid"
    padded_below: int = 60

    def __call__(self, x):
        paddings = [self.padding(x)] * len(self.filters)
        return flatten(stage_sequence(x, self.layer, filters=self.filters, paddings=paddings))

    def layer(self, x, filters: int, padding: str):
        x = conv(x, filters, self.kernel, padding=padding, activation=self.activation)
        return avg_pool(x, self.pool, padding="valid")

    def padding(self, x) -> str:
        short = any(size is not None and size < self.padded_below for size in extents(x))
        return "same" if short else "valid"
