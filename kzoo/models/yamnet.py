"""YAMNet: MobileNet v1 on log-mel spectrograms, an audio tagger of 521 classes."""

from dataclasses import dataclass

from kzoo.core.registry import TENSORFLOW, Paper, Reference, register_model
from kzoo.nn.blocks import residual_stages, separable_norm_act
from kzoo.nn.layers import conv_norm_act, scope

PLAKAL_2019 = Paper(
    "Plakal, Manoj and Ellis, Dan",
    2019,
    "YAMNet",
    "https://github.com/tensorflow/models/tree/master/research/audioset/yamnet",
    "TensorFlow Models on GitHub",
)

# 64 log-mel bands of 0.96 seconds; the classes of AudioSet but for six
AUDIO_SET = Reference((96, 64, 1), 521, TENSORFLOW._replace(bn_epsilon=1e-4))


# The release says 3.7 million weights. A block from i to f channels has 9*i + i + i*f + f, offsets included and no
# scales; the stem 9*32 + 32, the logits 1024*521 + 521.
@register_model("yamnet", PLAKAL_2019, 3_729_481, AUDIO_SET, task="tagging")
@dataclass(frozen=True)
class YAMNet:
    """Strided convolution, then depthwise separable ones; batch normalisation has an offset and no scale.

    Maps a spectrogram `(batch, time, frequency, 1)`, or any feature map, to one whose spatial axes are divided by
    `2 ** len(depths)`. The output of stage n is named `stage<n>`. The published network was trained for tagging, with a
    sigmoid for each class.

    Args:
        depths: number of separable blocks in each stage; all stages but the first halve the resolution.
        width: filters of the first convolution; each stage doubles them.
        kernel: kernel size of the first convolution and of the depthwise ones.
    """

    depths: tuple[int, ...] = (1, 2, 2, 6, 2)
    width: int = 32
    kernel: int = 3

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.width, self.kernel, stride=2, scale=False)
        return residual_stages(x, self.block, self.depths, 2 * self.width)

    def block(self, x, stride: int, filters: int, _drop_rate: float):
        return separable_norm_act(x, filters, self.kernel, stride=stride, scale=False)
