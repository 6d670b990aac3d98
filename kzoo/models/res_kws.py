"""Res8 and Res15: small residual networks for keyword spotting, with dilation or early pooling."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.layers import act, avg_pool, batch_norm, conv, named_output, scope

TANG_2018 = Paper(
    "Tang, Raphael and Lin, Jimmy",
    2018,
    "Deep Residual Learning for Small-Footprint Keyword Spotting",
    "https://arxiv.org/abs/1710.10361",
    "ICASSP",
)

SPEECH_COMMANDS = Reference((101, 40, 1), 12)  # 40 MFCCs of 1 second, every 10 milliseconds

POOLED = {"depth": 6, "pool": (4, 3)}
DILATED = {"depth": 13, "dilated": True}


# With f filters and d layers after the first: 9*f + d*9*f*f + 12*f + 12. The paper: 110, 238, 19.9 and 42.6 thousand.
@register_model("res8", TANG_2018, 110_307, SPEECH_COMMANDS, **POOLED)
@register_model("res15", TANG_2018, 237_882, SPEECH_COMMANDS, **DILATED)
@register_model("res8_narrow", TANG_2018, 19_905, SPEECH_COMMANDS, **POOLED, width=19)
@register_model("res15_narrow", TANG_2018, 42_648, SPEECH_COMMANDS, **DILATED, width=19)
@dataclass(frozen=True)
class ResKWS:
    """Convolutions of constant width, with a residual connection around every two of them.

    Maps a spectrogram `(batch, time, frequency, 1)`, or any feature map, to one of `width` channels. The output of
    block n, of two convolutions (the last of one, if `depth` is odd), is named `stage<n>`. As in the authors'
    implementation (castorini/honk), batch normalisation has no learned parameters and follows the ReLU.

    Args:
        depth: number of convolutions after the first.
        width: filters of every convolution.
        pool: size of the average pooling over time and frequency after the first convolution; a 1-D input takes that
            over time. Empty for none.
        dilated: double the dilation after every third convolution.
        kernel: kernel size of every convolution.
    """

    depth: int
    width: int = 45
    pool: tuple[int, ...] = ()
    dilated: bool = False
    kernel: int = 3

    @property
    def keeps_positions(self) -> bool:
        return not self.pool

    def __call__(self, x):
        with scope("stem"):
            x = self.conv_act(x, 1)
            if self.pool:
                x = avg_pool(x, self.pool, padding="valid")
        total = x
        for layer in range(self.depth):
            stage = layer // 2 + 1
            with scope(f"stage{stage}.layer{layer % 2}"):
                x = self.conv_act(x, 2 ** (layer // 3) if self.dilated else 1)
                if layer % 2:
                    x = total = keras.layers.add([x, total])
                x = batch_norm(x, scale=False, center=False)
            if layer % 2 or layer == self.depth - 1:
                x = named_output(x, f"stage{stage}")
        return x

    def conv_act(self, x, dilation: int):
        return act(conv(x, self.width, self.kernel, dilation=dilation, use_bias=False))
