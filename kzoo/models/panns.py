"""PANNs: VGG-like CNNs for audio tagging on log-mel spectrograms, with mean and max pooling over time."""

import math
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import doubling, stage_sequence
from kzoo.nn.layers import (
    avg_pool,
    batch_norm,
    conv_norm_act,
    dense,
    dropout,
    global_avg_pool,
    global_max_pool,
    scope,
)
from kzoo.nn.naming import Rule, logits_to

KONG_2020 = Paper(
    "Kong, Qiuqiang and Cao, Yin and Iqbal, Turab and Wang, Yuxuan and Wang, Wenwu and Plumbley, Mark D.",
    2020,
    "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition",
    "https://arxiv.org/abs/1912.10211",
    "TASLP",
)

# The authors' names; their first layers, which compute the spectrogram, are preprocessing here.
KEY_MAPPING = (
    Rule(r"^stem\.norm1$", "bn0"),
    Rule(r"^stage(\d+)\.conv(\d+)$", r"conv_block\1.conv\2"),
    Rule(r"^stage(\d+)\.norm(\d+)$", r"conv_block\1.bn\2"),
    Rule(r"^head\.dense1$", "fc1"),
    logits_to("fc_audioset"),
)
IGNORE_UNEXPECTED = (r"^(spectrogram|logmel)_extractor\.",)

# 64 log-mel bands of 10 seconds at 32 kHz, every 10 milliseconds; the classes of AudioSet
AUDIO_SET = Reference((1001, 64, 1), 527)


def band_norm(x):
    """Batch normalisation of each frequency band (column of a spectrogram) with statistics of its own.

    Raises:
        ValueError: if the number of bands is unknown.
    """
    if None in x.shape[2:]:
        raise ValueError(f"each frequency band is normalised on its own: their number must be known, got {x.shape[1:]}")
    merged = keras.layers.Reshape((-1, math.prod(x.shape[2:])))(x)
    return keras.layers.Reshape((-1, *x.shape[2:]))(batch_norm(merged))


# The counts are those of the authors' implementation (qiuqiangkong/audioset_tagging_cnn) less the frozen weights that
# compute the spectrogram, 1,083,456.
@register_model("cnn6", KONG_2020, 4_837_455, AUDIO_SET, task="tagging", depths=(1, 1, 1, 1), kernel=5, units=512)
@register_model("cnn10", KONG_2020, 5_219_279, AUDIO_SET, task="tagging", depths=(2, 2, 2, 2), units=512)
@register_model(
    "cnn14", KONG_2020, 80_753_615, AUDIO_SET, task="tagging", depths=(2, 2, 2, 2, 2, 2), units=2048, last_pool=False
)
@dataclass(frozen=True)
class PANN:
    """Stages of convolutions with twice the filters after each average pooling, then a fully connected layer.

    Maps a spectrogram `(batch, time, frequency, 1)`, or as a signal `(batch, time, bands)`, to a vector of `units`
    values. The output of stage n is named `stage<n>`. The published networks were trained for tagging, with a sigmoid
    for each class. The reference's SpecAugment and mixup are left to the data pipeline.

    Args:
        depths: number of convolutions in each stage.
        units: outputs of the fully connected layer before the logits.
        width: filters of the first stage; each later one doubles them.
        kernel: kernel size of every convolution.
        last_pool: average pooling after the last stage too.
        stage_dropout: dropout rate after each stage, in [0, 1).
        dropout: dropout rate before and after the fully connected layer, in [0, 1).

    Raises:
        ValueError: for an input that is too small for the poolings, or an unknown number of bands.
    """

    depths: tuple[int, ...]
    units: int
    width: int = 64
    kernel: int = 3
    last_pool: bool = True
    stage_dropout: float = 0.2
    dropout: float = 0.5

    def __call__(self, x):
        with scope("stem"):
            x = band_norm(x)
        last = len(self.depths) - 1
        x = stage_sequence(
            x,
            self.stage,
            depths=self.depths,
            filters=doubling(self.width, self.depths),
            drop_rates=[0.0] + [self.stage_dropout] * last,
            pooled=[True] * last + [self.last_pool],
        )
        with scope("head"):
            return self.head(dropout(x, self.stage_dropout))

    def stage(self, x, depth: int, filters: int, drop_rate: float, pooled: bool):
        x = dropout(x, drop_rate)
        for _ in range(depth):
            x = conv_norm_act(x, filters, self.kernel)
        return avg_pool(x, 2, padding="valid") if pooled else x

    def head(self, x):
        x = keras.ops.mean(x, axis=2) if x.ndim == 4 else x
        x = keras.layers.add([global_max_pool(x), global_avg_pool(x)])
        x = dense(dropout(x, self.dropout), self.units, "relu")
        return dropout(x, self.dropout)
