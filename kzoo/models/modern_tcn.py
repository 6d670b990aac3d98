"""ModernTCN: large depthwise kernels along time, with dense layers within and across the channels."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import PYTORCH, Paper, Reference, register_model
from kzoo.models.ltsf_linear import ETTH1, horizon
from kzoo.nn.blocks import block_sequence, channels_as_axis, repeated_ends, stage_sequence
from kzoo.nn.layers import (
    act,
    address,
    batch_norm,
    conv,
    depthwise_conv,
    dropout,
    flatten,
    global_avg_pool,
    grouped_dense,
    named_output,
    scope,
)

LUO_2024 = Paper(
    "Luo, Donghao and Wang, Xue",
    2024,
    "ModernTCN: A Modern Pure Convolution Structure for General Time Series Analysis",
    "https://openreview.net/forum?id=vpJMJerXHU",
    "ICLR",
)


# The authors' network for EthanolConcentration, as their code builds it: 352 of the patches, 9,280 of the first stage,
# 4,224 of the step to the second one, 30,848 of that, and 168,196 of the classifier.
@register_model("modern_tcn", LUO_2024, 212_900, Reference((1751, 3), 4, PYTORCH), dims=(1,))
@dataclass(frozen=True)
class ModernTCN:
    """Stages of blocks, each a depthwise convolution along time, then two feed-forward parts of dense layers.

    Maps series of fixed length to (batch, positions, channels, features). The first of the feed-forward parts joins the
    features of a channel, the second the channels of a feature. Positions are `patch_stride` steps apart, and twice as
    far in each stage as in the one before. The output of stage n is named `stage<n>`.

    Args:
        depths: blocks of each stage.
        filters: features of each channel in each stage.
        kernels: kernel size of the depthwise convolutions of each stage.
        small_kernel: of a second depthwise convolution beside it, which `kzoo.reparameterize` folds into it.
        patch: steps of a patch, of which the features of a position are made.
        patch_stride: steps from one patch to the next, at most `patch`; the last value is repeated for the last patch.
        ratio: how many times as wide as its input a feed-forward part is inside.
        dropout: dropout rate after each layer of a feed-forward part, in [0, 1).
        head_dropout: dropout rate before the classifier, in [0, 1).

    Raises:
        ValueError: if `depths`, `filters` and `kernels` differ in length, or for an input of unknown length.
    """

    depths: tuple[int, ...] = (1, 1)
    filters: tuple[int, ...] = (32, 64)
    kernels: tuple[int, ...] = (13, 13)
    small_kernel: int = 5
    patch: int = 8
    patch_stride: int = 4
    ratio: int = 1
    dropout: float = 0.1
    head_dropout: float = 0.0

    def __call__(self, x):
        flatten(x)  # says that a fixed size is needed
        with scope("stem"):
            x = repeated_ends(channels_as_axis(x), after=self.patch - self.patch_stride)
            x = batch_norm(along_time(x, self.filters[0], self.patch, self.patch_stride))
        fields = {"depths": self.depths, "filters": self.filters, "kernels": self.kernels}
        return stage_sequence(x, self.stage, strides=(1, *(2,) * (len(self.depths) - 1)), **fields)

    def stage(self, x, stride: int, depth: int, filters: int, kernel: int):
        if stride > 1:
            x = along_time(repeated_ends(batch_norm(x), after=-x.shape[1] % stride), filters, stride, stride)
        return block_sequence(x, self.block, [(kernel,)] * depth)

    def block(self, x, kernel: int):
        y = batch_norm(self.depthwise(x, kernel))
        with scope("features"):
            y = self.feed_forward(y)
        with scope("channels"):
            y = keras.layers.Permute((1, 3, 2))(self.feed_forward(keras.layers.Permute((1, 3, 2))(y)))
        return keras.layers.add([x, y])

    def depthwise(self, x, kernel: int):
        """Return the sum of two normalised depthwise convolutions, each channel and feature with its own kernels."""
        flat, terms = keras.layers.Reshape((x.shape[1], -1))(x), []
        for number, size in enumerate((kernel, self.small_kernel)):
            with scope(f"branch{number}"):
                terms.append(batch_norm(depthwise_conv(flat, size, use_bias=False)))
        return keras.layers.Reshape(x.shape[1:])(keras.layers.Add(name=address("branches"))(terms))

    def feed_forward(self, x):
        """Return two dense layers on the last axis, with other weights for each entry of the axis before it."""
        width = x.shape[-1]
        y = act(dropout(grouped_dense(x, width * self.ratio), self.dropout), "gelu")
        return dropout(grouped_dense(y, width), self.dropout)

    def logits(self, x, num_classes: int):
        """Return class logits of all features at all positions."""
        x = dropout(flatten(act(x, "gelu")), self.head_dropout)
        return keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)


# The authors' network for ETTh1 and a horizon of 96, as their code builds it without what it never calls: 704 of the
# patches, 92,416 of the block, and 516,192 of the linear layer to the horizon.
@register_model(
    "modern_tcn_forecaster",
    LUO_2024,
    609_312,
    ETTH1,
    task="forecasting",
    dims=(1,),
    depths=(1,),
    filters=(64,),
    kernels=(51,),
    dropout=0.3,
)
@dataclass(frozen=True)
class ModernTCNForecaster(ModernTCN):
    """ModernTCN between a normalisation of each example and channel, and its inverse on what is forecast.

    (Kim et al., 2022, Reversible Instance Normalization, https://openreview.net/forum?id=cGDAkQo1C0p, without learned
    factors.) A linear layer, the same for all channels, maps the features of a channel at all positions to the horizon;
    outputs are a multiple of the channels.
    """

    only_published = True
    channelwise = True

    def outputs(self, x, num_outputs: int):
        """Map series to forecasts, (batch, horizon x channels), or to a vector of features for 0."""
        ops, values = keras.ops, keras.ops.cast(x, "float32")
        mean = ops.mean(values, axis=1, keepdims=True)
        deviation = ops.sqrt(ops.mean(ops.square(values - mean), axis=1, keepdims=True) + 1e-5)
        y = self(ops.cast((values - mean) / deviation, x.dtype))
        if not num_outputs:
            return named_output(global_avg_pool(y), "features")
        steps = self.forecast(y, horizon("modern_tcn_forecaster", x, num_outputs))
        return keras.layers.Flatten(dtype="float32")(steps * deviation + mean)

    def forecast(self, x, steps: int):
        """Map (batch, positions, channels, features) to standardised values, float32 (batch, steps, channels)."""
        *_, channels, _ = x.shape
        x = dropout(keras.layers.Reshape((channels, -1))(keras.layers.Permute((2, 1, 3))(x)), self.head_dropout)
        return keras.layers.Permute((2, 1))(keras.layers.Dense(steps, dtype="float32", name="logits")(x))


def along_time(x, filters: int, kernel: int, stride: int):
    """Convolve (batch, time, channels, features) along time, the same for all channels, without padding."""
    return conv(x, filters, (kernel, 1), stride=(stride, 1), padding="valid")
