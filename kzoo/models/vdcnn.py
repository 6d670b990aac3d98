"""VDCNN: very deep character-level CNN of up to 49 layers, with k-max pooling."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import block_sequence, dense_layers, doubling, stage_sequence
from kzoo.nn.layers import act, check_fits, conv, conv_norm_act, flatten, max_pool, scope

CONNEAU_2017 = Paper(
    "Conneau, Alexis and Schwenk, Holger and Barrault, Loïc and LeCun, Yann",
    2017,
    "Very Deep Convolutional Networks for Text Classification",
    "https://arxiv.org/abs/1606.01781",
    "EACL",
)

AG_NEWS = Reference((1024, 16), 4)  # characters, channels of their embedding; topics


def k_max_pool(x, k: int):
    """Keep the `k` largest values of each channel of `(batch, length, channels)`, in their order of appearance.

    Kalchbrenner, Grefenstette, Blunsom, 2014, A Convolutional Neural Network for Modelling Sentences,
    https://arxiv.org/abs/1404.2188. Of equal values, such as the zeros after a ReLU, the first are kept; on the PyTorch
    backend, any of them.

    Raises:
        InputTooSmall: if there are fewer than `k` positions.
        ValueError: if `k` is not positive.
    """
    if k < 1:
        raise ValueError(f"k-max pooling keeps at least 1 position, got k={k}")
    check_fits(x, k)
    x = keras.ops.swapaxes(x, 1, 2)
    _, indices = keras.ops.top_k(x, k)
    x = keras.ops.take_along_axis(x, keras.ops.sort(indices, axis=-1), axis=-1)
    return keras.ops.swapaxes(x, 1, 2)


# The counts are the arithmetic of the paper's figure 1 and table 2, convolutions with biases. A block from i to
# f channels has 3*f*(i + f) + 6*f; the stem 3*16*64 + 64; the dense layers 8*512*2048 + 2048*2048 + 2*2048, and
# 4*2048 + 4 for the logits. The convolutional parts sum to 1.58, 3.68, 4.05 and 7.18 million, where the paper's
# table says 2.2, 4.3, 4.6 and 7.8: the same steps from depth to depth, but 0.6 million more that its layers lack.
@register_model("vdcnn9", CONNEAU_2017, 14_176_964, AG_NEWS, dims=(1,), depths=(1, 1, 1, 1))
@register_model("vdcnn17", CONNEAU_2017, 16_271_684, AG_NEWS, dims=(1,), depths=(2, 2, 2, 2))
@register_model("vdcnn29", CONNEAU_2017, 16_643_780, AG_NEWS, dims=(1,), depths=(5, 5, 2, 2))
@register_model("vdcnn49", CONNEAU_2017, 19_776_068, AG_NEWS, dims=(1,), depths=(8, 8, 5, 3))
@dataclass(frozen=True)
class VDCNN:
    """Stages of blocks of two convolutions; each stage halves the length and doubles the channels.

    Maps embedded characters `(batch, length, channels)` to a vector of `dense_units[-1]` values. The output of stage n
    is named `stage<n>`. The length may be unknown, but must leave `k` positions after the last stage.

    Args:
        depths: number of blocks in each stage.
        width: filters of the first stage; each later one doubles them.
        kernel: kernel size of every convolution.
        shortcut: residual connection around each block; in the paper it helped the 49 layers only.
        k: number of largest values kept per channel after the last stage.
        dense_units: outputs of the fully connected layers before the logits.
        dropout: dropout rate after each fully connected layer, in [0, 1); 0 in the paper.

    Raises:
        ValueError: for an input too short to leave `k` positions.
    """

    depths: tuple[int, ...]
    width: int = 64
    kernel: int = 3
    shortcut: bool = False
    k: int = 8
    dense_units: tuple[int, ...] = (2048, 2048)
    dropout: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = conv(x, self.width, self.kernel)
        x = stage_sequence(x, self.stage, depths=self.depths, filters=doubling(self.width, self.depths))
        with scope("head"):
            return dense_layers(flatten(k_max_pool(x, self.k)), self.dense_units, self.dropout)

    def stage(self, x, depth: int, filters: int):
        x = x if filters == self.width else max_pool(x, 3, stride=2)  # before all stages but the first
        return block_sequence(x, self.block, [(filters,)] * depth)

    def block(self, x, filters: int):
        y = conv_norm_act(x, filters, self.kernel, use_bias=True)
        y = conv_norm_act(y, filters, self.kernel, use_bias=True, activation=None)
        if self.shortcut:
            with scope("shortcut"):
                x = x if x.shape[-1] == filters else conv_norm_act(x, filters, 1, activation=None)
            y = keras.layers.add([y, x])
        return act(y)
