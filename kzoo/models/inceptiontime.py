"""InceptionTime: inception modules with long kernels of several sizes for time-series classification."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.nn.blocks import block_sequence, projection_shortcut, rising_rates, stage_sequence
from kzoo.nn.layers import act, batch_norm, conv, drop_path, max_pool

FAWAZ_2020 = Paper(
    "Ismail Fawaz, Hassan and Lucas, Benjamin and Forestier, Germain and Pelletier, Charlotte and Schmidt, Daniel "
    "F. and Weber, Jonathan and Webb, Geoffrey I. and Idoumghar, Lhassane and Muller, Pierre-Alain and Petitjean, "
    "François",
    2020,
    "InceptionTime: Finding AlexNet for Time Series Classification",
    "https://arxiv.org/abs/1909.04939",
    "Data Mining and Knowledge Discovery",
)


# The count is that of the authors' code and of aeon: 422,498 with the 2,048 batch-norm statistics.
@register_model("inceptiontime", FAWAZ_2020, 420_450, GUNPOINT)
@dataclass(frozen=True)
class InceptionTime:
    """One network of the InceptionTime ensemble, which averages the probabilities of five trained alike.

    Maps a feature map to one of the same size. The output of residual stage n is named `stage<n>`.

    Args:
        depths: number of inception modules under each shortcut.
        filters: kernels of each branch of a module; there is one branch more than `kernels`.
        kernels: kernel sizes of a module's parallel convolutions; the last branch is a pooling.
        width: output channels of the bottleneck before them; an input of one channel has no bottleneck.
        drop_path: stochastic depth rate of the last stage, rising linearly from 0 at the first, in [0, 1).
    """

    depths: tuple[int, ...] = (3, 3)
    filters: int = 32
    kernels: tuple[int, ...] = (40, 20, 10)
    width: int = 32
    drop_path: float = 0.0

    def __call__(self, x):
        (rates,) = rising_rates(self.drop_path, [len(self.depths)])
        return stage_sequence(x, self.residual_stage, depths=self.depths, drop_rates=rates)

    def residual_stage(self, x, depth: int, drop_rate: float):
        y = block_sequence(x, self.inception_module, [()] * depth)
        x = projection_shortcut(x, y.shape[-1])
        return act(keras.layers.add([x, drop_path(y, drop_rate)]))

    def inception_module(self, x):
        bottleneck = conv(x, self.width, 1, use_bias=False) if x.shape[-1] > 1 else x
        branches = [conv(bottleneck, self.filters, kernel, use_bias=False) for kernel in self.kernels]
        pooled = conv(max_pool(x, 3, stride=1), self.filters, 1, use_bias=False)
        return act(batch_norm(keras.layers.concatenate([*branches, pooled])))
