"""Plain convolutional network with every design choice open: a first baseline for any input."""

from dataclasses import dataclass

from kzoo.core.registry import MNIST, Paper, lookup, register_model
from kzoo.nn.blocks import dense_layers, max_blur_pool, stage_sequence
from kzoo.nn.layers import act, avg_pool, conv, dropout, flatten, global_avg_pool, max_pool, norm, scope

CHOLLET_2015 = Paper(
    "Chollet, François",
    2015,
    "Simple MNIST convnet",
    "https://keras.io/examples/vision/mnist_convnet/",
    "Keras code examples",
)

POOLINGS = {
    "max": lambda x: max_pool(x, 2, padding="valid"),
    "avg": lambda x: avg_pool(x, 2, padding="valid"),
    "stride": lambda x: x,
    "blur": max_blur_pool,
}


# The variant and its count are those of the Keras example.
@register_model("convnet", CHOLLET_2015, 34_826, MNIST)
@dataclass(frozen=True)
class ConvNet:
    """Stages of convolutions, each ended by a pooling that halves every spatial axis.

    Maps a feature map to a vector. The output of stage n is named `stage<n>`.

    Args:
        filters: kernels of each stage; there are as many stages as entries.
        kernel: kernel size of every convolution.
        convs_per_stage: number of convolutions before each pooling.
        pooling: "max", "avg", "stride" (the last convolution of the stage is strided) or "blur" (anti-aliased max
            pooling; Zhang, 2019, https://arxiv.org/abs/1904.11486).
        padding: "same" or "valid" padding of the convolutions.
        norm: "none", "batch", "layer" or "group" normalisation between convolution and activation.
        activation: Keras name of the activation after each convolution.
        flatten: flatten the last feature map; otherwise global average pooling.
        dense_units: outputs of fully connected layers before the logits.
        dropout: dropout rate before each fully connected layer, in [0, 1).

    Raises:
        ValueError: for an unknown pooling or norm, or an input smaller than a kernel.
    """

    filters: tuple[int, ...] = (32, 64)
    kernel: int = 3
    convs_per_stage: int = 1
    pooling: str = "max"
    padding: str = "valid"
    norm: str = "none"
    activation: str = "relu"
    flatten: bool = True
    dense_units: tuple[int, ...] = ()
    dropout: float = 0.5

    def __call__(self, x):
        x = stage_sequence(x, self.stage, filters=self.filters)
        x = flatten(x) if self.flatten else global_avg_pool(x)
        x = dropout(x, self.dropout)
        with scope("head"):
            return dense_layers(x, self.dense_units, self.dropout, self.activation)

    def stage(self, x, filters: int):
        pool = lookup("pooling", self.pooling, POOLINGS)
        for last in [False] * (self.convs_per_stage - 1) + [True]:
            stride = 2 if last and self.pooling == "stride" else 1
            x = conv(x, filters, self.kernel, stride=stride, padding=self.padding, use_bias=self.norm == "none")
            x = act(norm(x, self.norm), self.activation)
        return pool(x)
