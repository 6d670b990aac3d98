"""LITE: one inception module with hand-crafted filters beside the learned ones, then two separable convolutions."""

from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import TENSORFLOW, Paper, Reference, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.nn.blocks import separable_conv, stage_sequence
from kzoo.nn.layers import act, address, batch_norm, conv, depthwise_precision, extents, ranked

FAWAZ_2023 = Paper(
    "Ismail-Fawaz, Ali and Devanne, Maxime and Berretti, Stefano and Weber, Jonathan and Forestier, Germain",
    2023,
    "LITE: Light Inception with boosTing tEchniques for Time Series Classification",
    "https://doi.org/10.1109/DSAA60987.2023.10302569",
    "DSAA",
)
FAWAZ_2024 = Paper(
    "Ismail-Fawaz, Ali and Devanne, Maxime and Berretti, Stefano and Weber, Jonathan and Forestier, Germain",
    2024,
    "Look Into the LITE in Deep Learning for Time Series Classification",
    "https://arxiv.org/abs/2409.02869",
)

BASIC_MOTIONS = Reference((100, 6), 4, TENSORFLOW)  # a UEA set of six channels


def falling(length: int) -> list[float]:
    """Return the filter that detects a decreasing trend: +1, -1, +1, ..."""
    return [(-1.0) ** place for place in range(length)]


def rising(length: int) -> list[float]:
    """Return the filter that detects an increasing trend: -1, +1, -1, ..."""
    return [-value for value in falling(length)]


def peak(length: int) -> list[float]:
    """Return the filter that detects peaks, 1.5 times `length` (a multiple of 4) long: a lobe between negative ones."""
    quarter = length // 4
    slope = [((place + 1) / quarter) ** 2 for place in range(quarter)]
    hump = [*slope, *reversed(slope)]
    hollow = [-value for value in hump]
    return [*hollow, *(2 * value for value in hump), *hollow]


def pattern_conv(x, pattern: Sequence[float], axis: int, depthwise: bool):
    """Convolve `x` along one spatial axis with a fixed, hand-crafted filter.

    Args:
        x: feature map.
        pattern: values of the kernel, the same for every channel.
        axis: index of the spatial axis.
        depthwise: one output for each channel; otherwise their sum.
    """
    kernel = [1] * (x.ndim - 2)
    kernel[axis] = len(pattern)
    values = keras.ops.convert_to_numpy(pattern).reshape(*kernel, 1, 1).tolist()
    initializer = keras.initializers.Constant(values)
    options = {"padding": "same", "use_bias": False, "trainable": False, "name": address("pattern")}
    if not depthwise:
        return ranked("Conv", x)(1, kernel, kernel_initializer=initializer, **options)(x)
    options["dtype"] = depthwise_precision(x, len(pattern))
    return ranked("DepthwiseConv", x)(kernel, depthwise_initializer=initializer, **options)(x)


# The counts are aeon's: 10,672 and 16,444 with the batch-norm statistics (354 and 524) and with the
# fixed patterns (438 for every channel).
@register_model("lite", FAWAZ_2023, 9_880, GUNPOINT)
@register_model("litemv", FAWAZ_2024, 13_292, BASIC_MOTIONS, separable=True)
@dataclass(frozen=True)
class LITE:
    """One network of LITETime, or of LITEMVTime for several channels: ensembles of five trained alike.

    Maps a feature map to one of the same size. The module and the two separable convolutions are named
    `stage1` to `stage3`. In two dimensions the hand-crafted filters are applied along each axis.

    Args:
        filters: kernels of each learned convolution.
        kernel: kernel size of the module's longest convolution; the others have a half and a quarter of it, and so
            have the separable convolutions, which are dilated by 2 and 4.
        patterns: lengths of the hand-crafted filters, all even: an increase and a decrease filter of each length, and a
            peak filter of 1.5 times each length that is a multiple of 4.
        separable: depthwise separable convolutions in the first module too (LITEMV).

    Raises:
        ValueError: for a pattern of odd length, or a kernel below 4.
    """

    filters: int = 32
    kernel: int = 40
    patterns: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    separable: bool = False

    keeps_positions = True

    def __post_init__(self):
        if self.kernel < 4:
            raise ValueError(f"kernel must be 4 or more, since a quarter of it is used too; got {self.kernel}")
        for length in self.patterns:
            if length < 2 or length % 2:
                raise ValueError(f"every length in patterns must be even and positive, got {self.patterns}")

    def __call__(self, x):
        kernels = (self.kernel, self.kernel // 2, self.kernel // 4)
        return stage_sequence(x, self.layer, kernels=kernels, dilations=(1, 2, 4))

    def layer(self, x, kernel: int, dilation: int):
        if dilation == 1:
            return self.inception_module(x)
        return act(batch_norm(separable_conv(x, self.filters, kernel, dilation=dilation)))

    def inception_module(self, x):
        kernels = [self.kernel, self.kernel // 2, self.kernel // 4]
        learned = [self.learned_branch(x, kernel) for kernel in kernels]
        return act(batch_norm(keras.layers.concatenate([*learned, *self.pattern_branches(x)])))

    def learned_branch(self, x, kernel: int):
        if self.separable:
            return separable_conv(x, self.filters, kernel)
        return conv(x, self.filters, kernel, use_bias=False)

    def pattern_branches(self, x):
        rises = [rising(length) for length in self.patterns]
        falls = [falling(length) for length in self.patterns]
        peaks = [peak(length) for length in self.patterns if length % 4 == 0]
        axes = range(len(extents(x)))
        return [
            act(pattern_conv(x, pattern, axis, self.separable)) for axis in axes for pattern in (*rises, *falls, *peaks)
        ]
