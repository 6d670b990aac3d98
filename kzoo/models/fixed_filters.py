"""Hand-crafted filter banks (edges, Gabor, sinc) as a first layer, frozen or fine-tuned, with a small classifier."""

from dataclasses import dataclass

from kzoo.core.lazy import keras, lazy_import
from kzoo.core.registry import MNIST, TENSORFLOW, Paper, Reference, register_model
from kzoo.nn import filters
from kzoo.nn.blocks import dense_layers
from kzoo.nn.layers import act, address, avg_pool, batch_norm, dropout, flatten, named_output, ranked, scope

handcrafted = lazy_import("kzoo.nn.handcrafted")

JAIN_1991 = Paper(
    "Jain, Anil K. and Farrokhnia, Farshid",
    1991,
    "Unsupervised Texture Segmentation Using Gabor Filters",
    "https://doi.org/10.1016/0031-3203(91)90143-S",
    "Pattern Recognition",
)
RAVANELLI_2018 = Paper(
    "Ravanelli, Mirco and Bengio, Yoshua",
    2018,
    "Speaker Recognition from Raw Waveform with SincNet",
    "https://arxiv.org/abs/1808.00158",
    "SLT",
)

SECOND = Reference((16000, 1), 10, TENSORFLOW)
EDGES = ("sobel", "laplacian", "gabor", "difference_of_gaussians")


def bank_conv(x, count: int, kernel: int, initializer, *, stride: int = 1, learn: bool = False):
    """Convolve each channel of `x` with the same filter bank; the results are concatenated channel by channel.

    Args:
        x: feature map.
        count: number of filters.
        kernel: kernel size.
        initializer: initialiser of the kernels, for one input channel.
        stride: stride of the convolution.
        learn: whether training changes the kernels.
    """
    layer = ranked("Conv", x)(
        count,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer=initializer,
        trainable=learn,
        name=address("bank"),
    )
    channels = [x] if x.shape[-1] == 1 else keras.ops.split(x, x.shape[-1], axis=-1)
    return layer(channels[0]) if len(channels) == 1 else keras.ops.concatenate([layer(c) for c in channels], axis=-1)


# The 21 filters are 2 of Sobel, the Laplacian, 16 of Gabor (2 wavelengths, 4 angles, cosine and sine) and 2 differences
# of Gaussians. Both signs in 7 * 7 windows are 2,058 features: 2,058*10 + 10 weights for the logits, and with a hidden
# layer of 64: 2,058*64 + 64 + 64*10 + 10, beside a normalisation of 2 * 42. The 7*7*21 of the bank are frozen.
@register_model("filter_bank", JAIN_1991, 20_590, MNIST, dims=(2,), units=(), norm=False)
@register_model("fixed_filters", JAIN_1991, 132_510, MNIST, dims=(2,))
@dataclass(frozen=True)
class FixedFilters:
    """Local mean responses of an image to a bank of edge, blob and texture filters.

    Maps images of fixed size to a vector: a filter bank on each channel, the positive and negative parts of its
    responses, average pooling (named `stage1`), and fully connected layers. Without the latter (`filter_bank`), train
    with `kzoo.fit(..., solver="logistic")`.

    Args:
        banks: filter banks, of "sobel", "laplacian", "gabor", "difference_of_gaussians"; see `kzoo.nn.filters`.
        learn_filters: train the filters too; they are initialised with the hand-crafted ones.
        pool: size and stride of the average pooling, in pixels.
        units: outputs of each hidden layer.
        norm: batch normalisation of the pooled responses.
        dropout: dropout rate before each fully connected layer, in [0, 1).

    Raises:
        ValueError: for an unknown bank, or an image of unknown size or smaller than a window.
    """

    banks: tuple[str, ...] = EDGES
    learn_filters: bool = False
    pool: int = 4
    units: tuple[int, ...] = (64,)
    norm: bool = True
    dropout: float = 0.0

    def __call__(self, x):
        kernels = filters.bank(self.banks)
        with scope("stem"):
            options = {"initializer": handcrafted.ImageBank(self.banks), "learn": self.learn_filters}
            x = bank_conv(x, kernels.shape[-1], kernels.shape[0], **options)
        x = keras.ops.concatenate([act(x), act(-x)], axis=-1)
        with scope("stage1"):
            x = avg_pool(x, self.pool, padding="valid")
            x = named_output(batch_norm(x) if self.norm else x, "stage1")
        with scope("head"):
            return dense_layers(dropout(flatten(x), self.dropout), self.units, self.dropout)


# 40 bands of 50 windows are 2,000 features: 2,000*64 + 64 + 64*10 + 10, beside a normalisation of 2 * 40. The 251*40
# taps of the bank are frozen.
@register_model("sinc_filters", RAVANELLI_2018, 128_794, SECOND, dims=(1,))
@dataclass(frozen=True)
class SincFilters:
    """Log energy of a waveform in the bands of a sinc (band-pass) filter bank.

    Maps waveforms (batch, samples, channels) of fixed length to a vector: the filter bank on each channel, the log of
    the average-pooled magnitude (named `stage1`), and fully connected layers. SincNet learns the two cut-off
    frequencies of each filter; `learn_filters` learns every tap.

    Args:
        bands: number of filters, whose cut-off frequencies are equally spaced in mel.
        taps: samples of a filter, odd.
        sample_rate: samples per second of the data.
        low: lower cut-off frequency of the first band, in hertz.
        learn_filters: train the filters too.
        stride: stride of the filters, in samples.
        pool: size and stride of the average pooling, in filter outputs.
        units: outputs of each hidden layer.
        dropout: dropout rate before each fully connected layer, in [0, 1).

    Raises:
        ValueError: for bands that do not lie between 0 and half the sample rate, an even number of taps, or a waveform
            of unknown length or shorter than a window.
    """

    bands: int = 40
    taps: int = 251
    sample_rate: int = 16000
    low: float = 30.0
    learn_filters: bool = False
    stride: int = 16
    pool: int = 20
    units: tuple[int, ...] = (64,)
    dropout: float = 0.0

    def __call__(self, x):
        filters.sinc(self.bands, self.taps, self.sample_rate, self.low)  # raises for invalid hyperparameters
        with scope("stem"):
            bank = handcrafted.SincBank(self.sample_rate, self.low)
            x = bank_conv(x, self.bands, self.taps, bank, stride=self.stride, learn=self.learn_filters)
        with scope("stage1"):
            loudness = avg_pool(keras.ops.abs(x), self.pool, padding="valid")
            x = named_output(batch_norm(keras.ops.log(loudness + QUIET)), "stage1")
        with scope("head"):
            return dense_layers(dropout(flatten(x), self.dropout), self.units, self.dropout)


QUIET = 1e-3  # added before the logarithm, for waveforms of amplitude about 1
