"""Time-delay neural network: dilated 1-D convolutions over the frames of speech."""

from dataclasses import dataclass

from kzoo.core.registry import PYTORCH, Paper, Reference, register_model
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import batch_norm, conv
from kzoo.nn.naming import Rule, logits_to

WAIBEL_1989 = Paper(
    "Waibel, Alex and Hanazawa, Toshiyuki and Hinton, Geoffrey and Shikano, Kiyohiro and Lang, Kevin J.",
    1989,
    "Phoneme Recognition Using Time-Delay Neural Networks",
    "https://doi.org/10.1109/29.21701",
    "IEEE TASSP",
)


def place_in_sequence(match, layers) -> str:
    """icefall's name of a layer: convolution, ReLU and normalisation follow each other in a sequence."""
    return f"tdnn.{3 * int(match[1]) - 3 + 2 * (match[2] == 'norm')}"


KEY_MAPPING = (Rule(r"^stage(\d+)\.(conv|norm)1$", place_in_sequence), logits_to("output_linear"))

# 23 log-mel bands of a clip of the yesno set, every 10 milliseconds; silence, yes, no and CTC's blank
YESNO = Reference((600, 23), 4, PYTORCH)


# By the layers of k2-fsa/icefall's yesno recipe: 2,240 + 5,152 + 5,152, and 132 for the logits.
@register_model("tdnn_ctc", WAIBEL_1989, 12_676, YESNO, task="transcription", dims=(1,))
@dataclass(frozen=True)
class TDNN:
    """Unpadded dilated convolutions, each with ReLU and then batch normalisation without scale and offset.

    Maps a signal `(batch, time, features)` to a shorter one: each layer takes its dilation times its kernel size less
    one. The output of layer n is named `stage<n>`.

    Args:
        kernels: kernel size of each layer; there are as many layers as entries.
        dilations: dilation of each layer.
        width: filters of each layer.

    Raises:
        ValueError: if `kernels` and `dilations` differ in length.
    """

    kernels: tuple[int, ...] = (3, 5, 5)
    dilations: tuple[int, ...] = (1, 2, 4)
    width: int = 32

    def __call__(self, x):
        return stage_sequence(x, self.layer, kernels=self.kernels, dilations=self.dilations)

    def layer(self, x, kernel: int, dilation: int):
        x = conv(x, self.width, kernel, dilation=dilation, padding="valid", activation="relu")
        return batch_norm(x, scale=False, center=False)
