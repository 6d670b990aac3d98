"""GCNN: gated convolutional network, whose convolutions are followed by gated linear units."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import block_sequence, stage_sequence
from kzoo.nn.layers import conv, scope

DAUPHIN_2017 = Paper(
    "Dauphin, Yann N. and Fan, Angela and Auli, Michael and Grangier, David",
    2017,
    "Language Modeling with Gated Convolutional Networks",
    "https://arxiv.org/abs/1612.08083",
    "ICML",
)


def gated_conv(x, filters: int, kernel: int):
    """Convolution followed by a gated linear unit (GLU), with `filters` output channels."""
    return keras.ops.glu(conv(x, 2 * filters, kernel), axis=-1)


# The count is the arithmetic of GCNN-8B in the paper's table 1, on an embedding of 128 channels. A gated layer of
# kernel k from i to f channels has 2*f*(k*i + 1): 132,096 in the stem, 3 * 427,520, 3 * 1,181,696 and 7,348,224 in
# the blocks, 1,050,624 in the one shortcut that changes its channels, and 2048*2 + 2 for the logits.
@register_model("gcnn", DAUPHIN_2017, 13_362_690, Reference((64, 128), 2))
@dataclass(frozen=True)
class GCNN:
    """GCNN-8B without its language model: residual bottlenecks of three gated convolutions.

    Maps a feature map to one of the same size with `width` times the last stage's expansion channels; the output of
    stage n is named `stage<n>`. The paper's language model has causal convolutions; as a classifier sees the whole
    text, these are centred. The paper's weight normalisation is left out.

    Args:
        width: channels of the stem, of which the stages have multiples.
        stages: for each stage the number of blocks, the kernel size of their middle convolution, and the channels
            inside and at the end of a block as multiples of `width`.

    Raises:
        ValueError: for a stage that is not these four numbers.
    """

    width: int = 512
    stages: tuple[tuple[int, int, float, float], ...] = ((3, 5, 1 / 4, 1), (3, 5, 1 / 2, 1), (1, 1, 2, 4))

    keeps_positions = True

    def __call__(self, x):
        with scope("stem"):
            x = gated_conv(x, self.width, 1)
        return stage_sequence(x, self.stage, rows=self.stages)

    def stage(self, x, row: tuple[int, int, float, float]):
        if len(row) != 4:
            raise ValueError(f"a stage is (blocks, kernel, inner width, expansion), got {row}")
        depth, kernel, inner, expansion = row
        return block_sequence(
            x, self.residual_block, [(kernel, self.channels(inner), self.channels(expansion))] * depth
        )

    def residual_block(self, x, kernel: int, inner: int, filters: int):
        y = gated_conv(x, inner, 1)
        y = gated_conv(y, inner, kernel)
        y = gated_conv(y, filters, 1)
        if x.shape[-1] != filters:
            with scope("shortcut"):
                x = conv(x, filters, 1)
        return keras.layers.add([y, x])

    def channels(self, multiple: float) -> int:
        return max(1, round(multiple * self.width))
