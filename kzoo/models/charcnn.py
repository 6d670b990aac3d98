"""Character-level CNN: text classification from one-hot characters, without words or tokens."""

from dataclasses import dataclass

from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import dense_layers, stage_sequence
from kzoo.nn.layers import conv, flatten, max_pool, scope

ZHANG_2015 = Paper(
    "Zhang, Xiang and Zhao, Junbo and LeCun, Yann",
    2015,
    "Character-level Convolutional Networks for Text Classification",
    "https://arxiv.org/abs/1509.01626",
    "NeurIPS",
)

AG_NEWS = Reference((1014, 70), 4)  # characters, letters of the alphabet; topics


# The counts are the arithmetic of the paper's tables 1 and 2. With f filters and u units, the 1014 characters
# leave 34 positions: 7*70*f + 7*f*f + 4*3*f*f + 6*f, then 34*f*u + u*u + 2*u, and 4*u + 4 for the logits.
@register_model("charcnn_small", ZHANG_2015, 11_339_780, AG_NEWS, dims=(1,))
@register_model("charcnn_large", ZHANG_2015, 95_940_612, AG_NEWS, dims=(1,), filters=1024, dense_units=(2048, 2048))
@dataclass(frozen=True)
class CharCNN:
    """Six unpadded convolutions in three stages, each ended by max pooling, then fully connected layers.

    Maps a feature map of fixed length, `(batch, length, letters)`, to a vector of `dense_units[-1]` values; the output
    of stage n is named `stage<n>`. The paper initialises the weights from a narrow normal distribution; here they are
    He-initialised.

    Args:
        filters: kernels of every convolution.
        stages: kernel size and number of convolutions of each stage.
        pool: size and stride of the max pooling at the end of each stage.
        dense_units: outputs of the fully connected layers before the logits.
        dropout: dropout rate after each fully connected layer, in [0, 1).

    Raises:
        ValueError: for a length that is unknown, or shorter than a kernel; for a stage that is not two numbers.
    """

    filters: int = 256
    stages: tuple[tuple[int, int], ...] = ((7, 1), (7, 1), (3, 4))
    pool: int = 3
    dense_units: tuple[int, ...] = (1024, 1024)
    dropout: float = 0.5

    def __call__(self, x):
        x = flatten(stage_sequence(x, self.stage, rows=self.stages))
        with scope("head"):
            return dense_layers(x, self.dense_units, self.dropout)

    def stage(self, x, row: tuple[int, int]):
        if len(row) != 2:
            raise ValueError(f"a stage is (kernel, convolutions), got {row}")
        kernel, depth = row
        for _ in range(depth):
            x = conv(x, self.filters, kernel, padding="valid", activation="relu")
        return max_pool(x, self.pool, padding="valid")
