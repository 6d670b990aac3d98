"""ECG ResNet of Ribeiro et al.: residual blocks with long kernels that pool the 12-lead ECG by 4 each."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import TENSORFLOW, Paper, Reference, register_model
from kzoo.nn.layers import act, batch_norm, conv, conv_norm_act, dropout, flatten, max_pool, named_output, scope

RIBEIRO_2020 = Paper(
    "Ribeiro, Antônio H. and Ribeiro, Manoel Horta and Paixão, Gabriela M. M. and others",
    2020,
    "Automatic Diagnosis of the 12-lead ECG Using a Deep Neural Network",
    "https://arxiv.org/abs/1904.01949",
    "Nature Communications",
)


# The count is that of the authors' code, for its six abnormalities: 6,425,638 with the batch-norm statistics.
@register_model("ecg_resnet", RIBEIRO_2020, 6_421_910, Reference((4096, 12), 6, TENSORFLOW), task="tagging")
@dataclass(frozen=True)
class ECGResNet:
    """Residual blocks whose shortcut carries the sum before its normalisation on to the next block.

    Maps a feature map of fixed size to a vector. The output of block n is named `stage<n>`. The authors end in one
    sigmoid for each abnormality; here the outputs are logits.

    Args:
        filters: kernels of both convolutions of each block; there are as many blocks as entries.
        width: filters of the first convolution.
        kernel: kernel size of every convolution.
        stride: stride of the second convolution of each block, and of the pooling in its shortcut.
        dropout: dropout rate after each activation of a block, in [0, 1); the paper's 0.8 is what is kept.

    Raises:
        ValueError: for an input of unknown size.
    """

    filters: tuple[int, ...] = (128, 196, 256, 320)
    width: int = 64
    kernel: int = 16
    stride: int = 4
    dropout: float = 0.2

    def __call__(self, x):
        with scope("stem"):
            x = carried = conv_norm_act(x, self.width, self.kernel)
        for number, filters in enumerate(self.filters, start=1):
            with scope(f"stage{number}"):
                carried = self.total(x, carried, filters)
                x = named_output(dropout(act(batch_norm(carried)), self.dropout), f"stage{number}")
        return flatten(x)

    def total(self, x, carried, filters: int):
        x = dropout(conv_norm_act(x, filters, self.kernel), self.dropout)
        x = conv(x, filters, self.kernel, stride=self.stride, use_bias=False)
        return keras.layers.add([x, self.shortcut(carried, filters)])

    def shortcut(self, x, filters: int):
        with scope("shortcut"):
            x = max_pool(x, self.stride)
            return x if x.shape[-1] == filters else conv(x, filters, 1, use_bias=False)
