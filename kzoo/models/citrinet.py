"""Citrinet: separable convolutions with squeeze-and-excitation over the whole recording, for speech recognition."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import PYTORCH, Paper, Reference, register_model
from kzoo.nn.blocks import projection_shortcut, separable_norm, squeeze_excite, stages
from kzoo.nn.layers import act, dropout, scope
from kzoo.nn.naming import NEMO

MAJUMDAR_2021 = Paper(
    "Majumdar, Somshubra and Balam, Jagadeesh and Hrinchuk, Oleksii and Lavrukhin, Vitaly and Noroozi, Vahid and "
    "Ginsburg, Boris",
    2021,
    "Citrinet: Closing the Gap between Non-Autoregressive and Autoregressive End-to-End Models for Automatic Speech "
    "Recognition",
    "https://arxiv.org/abs/2104.01721",
)

KEY_MAPPING = NEMO

# 80 log-mel bands of ten seconds, in windows of 25 milliseconds every 10; 1,024 pieces of words and CTC's blank
LIBRISPEECH = Reference((1000, 80), 1025, PYTORCH._replace(bn_epsilon=1e-3))


# Counted in NVIDIA NeMo: encoders 20,815,504, 36,337,296 and 140,173,712, and 1,025 logits of the last layer's width.
@register_model("citrinet_384", MAJUMDAR_2021, 21_472_529, LIBRISPEECH, task="transcription", dims=(1,))
@register_model("citrinet_512", MAJUMDAR_2021, 36_994_321, LIBRISPEECH, task="transcription", dims=(1,), width=512)
@register_model(
    "citrinet_1024",
    MAJUMDAR_2021,
    141_224_337,
    LIBRISPEECH,
    task="transcription",
    dims=(1,),
    width=1024,
    tail_width=1024,
    scale=0.25,
    dropout=0.1,
)
@dataclass(frozen=True)
class Citrinet:
    """Three stages of residual blocks, each of repeated separable convolutions and a gate by the whole recording.

    Maps a spectrogram as a signal `(batch, time, bands)` to one of an eighth of the size: the
    last layer of each stage's first block has stride 2. The output of stage n is named `stage<n>`. NeMo also masks the
    padding of shorter recordings.

    Args:
        kernels: kernel sizes of the blocks of each stage, before they are scaled.
        scale: of the kernel sizes of the blocks and of the last layer, rounded down to whole and up to odd numbers.
        width: filters of all layers but the last.
        repeats: number of layers in each block.
        stem_kernel: kernel size of the first layer.
        tail_width: filters of the last layer.
        tail_kernel: kernel size of the last layer, before it is scaled.
        se_ratio: bottleneck of the gates as a fraction of the channels.
        dropout: dropout rate after each layer of the blocks, in [0, 1).
    """

    kernels: tuple[tuple[int, ...], ...] = (
        (11, 13, 15, 17, 19, 21),
        (13, 15, 17, 19, 21, 23, 25),
        (25, 27, 29, 31, 33, 35, 37, 39),
    )
    scale: float = 1.0
    width: int = 384
    repeats: int = 5
    stem_kernel: int = 5
    tail_width: int = 640
    tail_kernel: int = 41
    se_ratio: float = 1 / 8
    dropout: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = act(self.gated(separable_norm(x, self.width, self.stem_kernel)))
        depths, strides = [len(kernels) for kernels in self.kernels], [2] * len(self.kernels)
        x = stages(x, self.residual_block, depths=depths, strides=strides, kernels=self.kernels)
        with scope("tail"):
            return act(self.gated(separable_norm(x, self.tail_width, self.scaled(self.tail_kernel))))

    def residual_block(self, x, stride: int, kernel: int):
        y = x
        for number in range(1, self.repeats + 1):
            last = number == self.repeats
            y = separable_norm(y, self.width, self.scaled(kernel), stride=stride if last else 1)
            y = self.gated(y) if last else self.finish(y)
        return self.finish(keras.layers.add([y, projection_shortcut(x, self.width, stride)]))

    def scaled(self, kernel: int) -> int:
        return max(int(kernel * self.scale), 1) // 2 * 2 + 1

    def gated(self, x):
        return squeeze_excite(x, self.se_ratio, use_bias=False)

    def finish(self, x):
        return dropout(act(x), self.dropout)
