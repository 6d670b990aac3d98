"""EEGSimpleConv: pairs of normalised convolutions in time, max-pooled by 2, for motor imagery."""

from dataclasses import dataclass

from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import act, conv_norm_act, max_pool, scope

OUAHIDI_2023 = Paper(
    "El Ouahidi, Yassine and Gripon, Vincent and Pasdeloup, Bastien and Bouallegue, Ghaith and Farrugia, Nicolas and "
    "Lioi, Giulia",
    2023,
    "A Strong and Simple Deep Learning Baseline for BCI Motor Imagery Decoding",
    "https://arxiv.org/abs/2309.07159",
)


# The count is that of braindecode. The authors resample every recording to 80 Hz.
@register_model("eeg_simple_conv", OUAHIDI_2023, 730_404, Reference((320, 22), 4))
@dataclass(frozen=True)
class EEGSimpleConv:
    """One convolution, then blocks of two with max pooling after the first; all are padded by half a kernel.

    Maps a feature map to one whose spatial axes are divided by 2 for each block. The output of block n is named
    `stage<n>`.

    Args:
        filters: of the convolutions of each block; there are as many blocks as entries.
        width: filters of the first convolution.
        kernel: kernel size of every convolution.

    Raises:
        ValueError: for an input too small for the poolings.
    """

    filters: tuple[int, ...] = (128, 180)
    width: int = 128
    kernel: int = 8

    def __call__(self, x):
        with scope("stem"):
            x = act(self.convolved(x, self.width))
        return stage_sequence(x, self.block, filters=self.filters)

    def block(self, x, filters: int):
        x = act(max_pool(self.convolved(x, filters), 2, padding="valid"))
        return act(self.convolved(x, filters))

    def convolved(self, x, filters: int):
        return conv_norm_act(x, filters, self.kernel, padding=self.kernel // 2, activation=None)
