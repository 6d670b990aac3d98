"""InceptionTime and H-InceptionTime: inception modules with long kernels of several sizes for time series."""

from dataclasses import dataclass

from kzoo.core.lazy import keras, lazy_import
from kzoo.core.registry import Paper, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.nn import filters
from kzoo.nn.blocks import block_sequence, projection_shortcut, rising_rates, stage_sequence
from kzoo.nn.layers import act, address, batch_norm, conv, drop_path, max_pool, ranked

handcrafted = lazy_import("kzoo.nn.handcrafted")

FAWAZ_2020 = Paper(
    "Ismail Fawaz, Hassan and Lucas, Benjamin and Forestier, Germain and Pelletier, Charlotte and Schmidt, Daniel "
    "F. and Weber, Jonathan and Webb, Geoffrey I. and Idoumghar, Lhassane and Muller, Pierre-Alain and Petitjean, "
    "François",
    2020,
    "InceptionTime: Finding AlexNet for Time Series Classification",
    "https://arxiv.org/abs/1909.04939",
    "Data Mining and Knowledge Discovery",
)
FAWAZ_2022 = Paper(
    "Ismail-Fawaz, Ali and Devanne, Maxime and Weber, Jonathan and Forestier, Germain",
    2022,
    "Deep Learning for Time Series Classification Using New Hand-Crafted Convolution Filters",
    "https://doi.org/10.1109/BigData55660.2022.10020496",
    "IEEE BigData",
)


# The count is that of the authors' code and of aeon: 422,498 with the 2,048 batch-norm statistics. The 17 fixed filters
# of H-InceptionTime add 2 * 17 to a normalisation and 2 * 17 * 32 to the next module: aeon's count with them.
@register_model("inceptiontime", FAWAZ_2020, 420_450, GUNPOINT)
@register_model("h_inceptiontime", FAWAZ_2022, 421_572, GUNPOINT, dims=(1,), fixed=(2, 4, 8, 16, 32, 64))
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
        fixed: kernel sizes of untrained filters for rises, falls and peaks in the first module, powers of 2; () for
            none. Only for 1-D inputs.

    Raises:
        ValueError: for fixed filters on a 2-D input.
    """

    depths: tuple[int, ...] = (3, 3)
    filters: int = 32
    kernels: tuple[int, ...] = (40, 20, 10)
    width: int = 32
    drop_path: float = 0.0
    fixed: tuple[int, ...] = ()

    keeps_positions = True

    def __call__(self, x):
        if self.fixed and x.ndim > 3:
            raise ValueError(f"fixed filters are for 1-D inputs, got fixed={self.fixed} and shape {tuple(x.shape)}")
        (rates,) = rising_rates(self.drop_path, [len(self.depths)])
        fixed = (self.fixed, *[()] * (len(self.depths) - 1))
        return stage_sequence(x, self.residual_stage, depths=self.depths, drop_rates=rates, fixed=fixed)

    def residual_stage(self, x, depth: int, drop_rate: float, fixed: tuple[int, ...]):
        y = block_sequence(x, self.inception_module, [(fixed,), *[((),)] * (depth - 1)])
        x = projection_shortcut(x, y.shape[-1])
        return act(keras.layers.add([x, drop_path(y, drop_rate)]))

    def inception_module(self, x, fixed: tuple[int, ...]):
        bottleneck = conv(x, self.width, 1, use_bias=False) if x.shape[-1] > 1 else x
        branches = [conv(bottleneck, self.filters, kernel, use_bias=False) for kernel in self.kernels]
        pooled = conv(max_pool(x, 3, stride=1), self.filters, 1, use_bias=False)
        detected = [detections(x, fixed)] if fixed else []
        return act(batch_norm(keras.layers.concatenate([*branches, pooled, *detected])))


def detections(x, sizes: tuple[int, ...]):
    """Return the positive responses of fixed filters for rises, falls and peaks of the sum of all channels."""
    kernels = filters.detectors(sizes)
    layer = ranked("Conv", x)(
        kernels.shape[-1],
        kernels.shape[0],
        padding="same",
        use_bias=False,
        activation="relu",
        kernel_initializer=handcrafted.DetectorBank(sizes),
        trainable=False,
        name=address("bank"),
    )
    return layer(x)
