"""Auto-encoders: a code of few values from which the input is reconstructed, for compression and anomaly detection."""

import math
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import MNIST, TENSORFLOW, Paper, Reference, register_model
from kzoo.models.resnet import BANBURY_2021
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.heads import Restorer, conv_readout
from kzoo.nn.layers import act, batch_norm, conv, conv_transpose, dense, flatten, named_output, scope

MASCI_2011 = Paper(
    "Masci, Jonathan and Meier, Ueli and Cireşan, Dan and Schmidhuber, Jürgen",
    2011,
    "Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction",
    "https://doi.org/10.1007/978-3-642-21735-7_7",
    "ICANN",
)

FIVE_FRAMES = Reference((5, 128), 128, TENSORFLOW)  # of a log-mel spectrogram


@register_model("autoencoder", BANBURY_2021, 267_928, FIVE_FRAMES, task="restoration")
@dataclass(frozen=True)
class AutoEncoder(Restorer):
    """Dense auto-encoder: fully connected layers to a code and, in reverse order, back; that of MLPerf Tiny.

    Maps a feature map of fixed size to the code, named `stage1`; the whole network returns a feature map of the same
    size.

    Args:
        units: of the layers between the input and the code.
        code: number of values of the code.
    """

    units: tuple[int, ...] = (128,) * 4
    code: int = 8

    def __call__(self, x):
        with scope("stage1"):
            x = self.layers(flatten(x), (*self.units, self.code))
        return named_output(x, "stage1")

    def layers(self, x, units: tuple[int, ...]):
        for width in units:
            x = act(batch_norm(dense(x, width)))
        return x

    def output_map(self, x, inputs, outputs: int):
        """Return the reconstruction, of the size of the input."""
        shape = (*inputs.shape[1:-1], outputs)
        with scope("stage2"):
            x = self.layers(x, self.units[::-1])
        x = keras.layers.Dense(math.prod(shape), dtype="float32", name="logits")(x)
        return keras.layers.Reshape(shape, dtype="float32")(x)


# By arithmetic: 160 + 1,160 of the encoder, 584 + 1,168 + 145 of the decoder. The paper trains its layers one by one.
@register_model("conv_autoencoder", MASCI_2011, 3_217, MNIST._replace(num_classes=1), task="restoration")
@dataclass(frozen=True)
class ConvAutoEncoder(Restorer):
    """Strided convolutions to a code and, in reverse order, transposed convolutions back.

    Maps a feature map of fixed size to the code, whose spatial axes are divided by 2 to the power of the number of
    layers, rounded up; the whole network returns a feature map of the size of the input. The output of layer n of the
    encoder is named `stage<n>`.

    Args:
        filters: kernels of each layer of the encoder; those of the decoder are the same in reverse order.
        kernel: kernel size of each layer.

    Raises:
        ValueError: for an input of unknown size.
    """

    filters: tuple[int, ...] = (16, 8)
    kernel: int = 3

    def __call__(self, x):
        return stage_sequence(x, self.layer, filters=self.filters)

    def layer(self, x, filters: int):
        return conv(x, filters, self.kernel, stride=2, activation="relu")

    def output_map(self, x, inputs, outputs: int):
        """Return the reconstruction, cut to the size of the input."""
        flatten(inputs)  # says that a fixed size is needed
        with scope("decoder"):
            for filters in self.filters[::-1]:
                x = act(conv_transpose(x, filters, self.kernel, stride=2))
        x = x[:, *(slice(size) for size in inputs.shape[1:-1])] if x.shape[1:-1] != inputs.shape[1:-1] else x
        return conv_readout(x, outputs, self.kernel)
