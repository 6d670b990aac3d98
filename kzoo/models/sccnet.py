"""SCCNet: spatial components of the electrodes, filters over components and time, and their log power."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import named_stages
from kzoo.nn.layers import avg_pool, batch_norm, conv, dropout, flatten

WEI_2019 = Paper(
    "Wei, Chun-Shu and Koike-Akino, Toshiaki and Wang, Ye",
    2019,
    "Spatial Component-wise Convolutional Network (SCCNet) for Motor-Imagery EEG Classification",
    "https://doi.org/10.1109/NER.2019.8716937",
    "NER",
)


# Counted in braindecode 1.8.1, whose table has 12,070: without the 44 of the components' normalisation.
@register_model("sccnet", WEI_2019, 12_114, Reference((1000, 22), 4), dims=(1,))
@dataclass(frozen=True)
class SCCNet:
    """Spatial components, filters over all components and a tenth of a second, squares, their mean over time, its log.

    Maps recordings (batch, time, electrodes) of fixed length to a vector. The components and the log power are named
    `stage1` and `stage2`. The published kernel sizes are for 125 Hz.

    Args:
        components: spatial components, of all electrodes at one time.
        filters: filters over components and time.
        kernel: kernel size in time, and the stride of the average pooling.
        pool: size of the average pooling.
        dropout: dropout rate of the power, in [0, 1).

    Raises:
        ValueError: for a recording of unknown length or shorter than the kernel and the pooling.
    """

    components: int = 22
    filters: int = 20
    kernel: int = 12
    pool: int = 62
    dropout: float = 0.5

    def __call__(self, x):
        return flatten(named_stages(x, self.spatial, self.log_power))

    def spatial(self, x):
        return batch_norm(conv(x, self.components, 1))

    def log_power(self, x):
        x = batch_norm(conv(x, self.filters, self.kernel, padding="valid", use_bias=False))
        power = dropout(keras.ops.square(x), self.dropout)
        return keras.ops.log(avg_pool(power, self.pool, stride=self.kernel, padding="valid") + 1e-6)
