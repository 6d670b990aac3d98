"""DPCNN: deep pyramid CNN for text, residual blocks of constant width between poolings that halve the length."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import act, conv, dropout, global_max_pool, max_pool, scope

JOHNSON_2017 = Paper(
    "Johnson, Rie and Zhang, Tong",
    2017,
    "Deep Pyramid Convolutional Neural Networks for Text Categorization",
    "https://aclanthology.org/P17-1052/",
    "ACL",
)


# The count is the arithmetic of the paper's 15 weight layers of 250 filters on word vectors of 300 channels:
# 3*300*250 + 250 for the regions, 14 * (3*250*250 + 250) in the blocks, 250*2 + 2 for the logits.
@register_model("dpcnn", JOHNSON_2017, 2_854_252, Reference((256, 300), 2))
@dataclass(frozen=True)
class DPCNN:
    """Region embedding, then pre-activation residual blocks, each but the first after a pooling.

    Maps a feature map to a vector of `width` values, by global max pooling; the output of block n is named `stage<n>`.
    The paper's regions are one-hot words, or bags of them, plus embeddings learned without supervision; here they are
    `kernel` successive word vectors.

    Args:
        depth: number of blocks of two convolutions.
        width: filters of every convolution.
        kernel: kernel size of the regions and of every convolution.
        dropout: dropout rate before the classifier, in [0, 1).
    """

    depth: int = 7
    width: int = 250
    kernel: int = 3
    dropout: float = 0.5

    def __call__(self, x):
        with scope("stem"):
            x = conv(x, self.width, self.kernel)
        x = stage_sequence(x, self.residual_block, first=[stage == 0 for stage in range(self.depth)])
        return dropout(global_max_pool(x), self.dropout)

    def residual_block(self, x, first: bool):
        x = x if first else max_pool(x, 3, stride=2)
        # As in the authors' code, the first block does not activate the region embedding.
        y = conv(x if first else act(x), self.width, self.kernel)
        y = conv(act(y), self.width, self.kernel)
        return keras.layers.add([y, x])
