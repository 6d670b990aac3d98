"""VGGish: VGG-11 without its last stage, an audio embedding of 128 values."""

from dataclasses import dataclass

from kzoo.core.registry import TENSORFLOW, Paper, Reference, register_model
from kzoo.nn.blocks import dense_layers, doubling, stage_sequence
from kzoo.nn.layers import act, conv, dense, flatten, max_pool, scope

HERSHEY_2017 = Paper(
    "Hershey, Shawn and Chaudhuri, Sourish and Ellis, Daniel P. W. and Gemmeke, Jort F. and Jansen, Aren and "
    "Moore, R. Channing and Plakal, Manoj and Platt, Devin and Saurous, Rif A. and Seybold, Bryan and Slaney, "
    "Malcolm and Weiss, Ron J. and Wilson, Kevin",
    2017,
    "CNN Architectures for Large-Scale Audio Classification",
    "https://arxiv.org/abs/1609.09430",
    "ICASSP",
)

EMBEDDING = Reference((96, 64, 1), 0, TENSORFLOW)  # 64 log-mel bands of 0.96 seconds; no classes: the embedding


# The published network (tensorflow/models, research/audioset/vggish) is said to have 72.1 million weights. They are
# 9*i*f + f a convolution from i to f channels, 4,499,712 in all, and i*u + u a fully connected layer, the first with
# 6*4*512 inputs: 50,335,744 + 16,781,312 + 524,416.
@register_model("vggish", HERSHEY_2017, 72_141_184, EMBEDDING, task="tagging")
@dataclass(frozen=True)
class VGGish:
    """Four stages of convolutions, each ended by max pooling, then fully connected layers.

    Maps a spectrogram of fixed size `(batch, time, frequency, 1)`, or any such feature map, to an embedding of `units`
    values. The output of stage n is named `stage<n>`. The published network was trained to tag videos and comes without
    the classifier.

    Args:
        depths: number of convolutions in each stage.
        width: filters of the first stage; each later one doubles them.
        kernel: kernel size of every convolution.
        dense_units: outputs of the fully connected layers before the embedding.
        units: values of the embedding.
        activation: Keras name of the embedding's activation; None as published, "relu" before logits.
    """

    depths: tuple[int, ...] = (1, 1, 2, 2)
    width: int = 64
    kernel: int = 3
    dense_units: tuple[int, ...] = (4096, 4096)
    units: int = 128
    activation: str | None = None

    def __call__(self, x):
        x = flatten(stage_sequence(x, self.stage, filters=doubling(self.width, self.depths), depths=self.depths))
        with scope("head"):
            return dense(dense_layers(x, self.dense_units), self.units, self.activation)

    def stage(self, x, filters: int, depth: int):
        for _ in range(depth):
            x = act(conv(x, filters, self.kernel))
        return max_pool(x, 2)
