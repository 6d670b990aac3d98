"""MiniRocket and MultiRocket: fixed dilated kernels, pooled over time, with a linear classifier."""

from dataclasses import dataclass

from kzoo.core.lazy import lazy_import
from kzoo.core.registry import Paper, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.nn.layers import InputTooSmall, address, named_output, scope

handcrafted = lazy_import("kzoo.nn.handcrafted")

DEMPSTER_2021 = Paper(
    "Dempster, Angus and Schmidt, Daniel F. and Webb, Geoffrey I.",
    2021,
    "MINIROCKET: A Very Fast (Almost) Deterministic Transform for Time Series Classification",
    "https://arxiv.org/abs/2012.08791",
    "KDD",
)

TAN_2022 = Paper(
    "Tan, Chang Wei and Dempster, Angus and Bergmeir, Christoph and Webb, Geoffrey I.",
    2022,
    "MultiRocket: Multiple pooling operators and transformations for fast and effective time series classification",
    "https://arxiv.org/abs/2102.00457",
    "Data Mining and Knowledge Discovery",
)


def check_length(name: str, x, least: int) -> None:
    """Raise a ValueError for series of unknown length, or shorter than the kernels."""
    if x.shape[1] is None:
        raise ValueError(f"{name} needs a fixed input size, got a length of None")
    if x.shape[1] < least:
        raise InputTooSmall(f"a kernel of {handcrafted.TAPS} does not fit into a series of {x.shape[1]}")


# The paper has 9,996 features, the multiple of 84 kernels below 10,000; the linear layer has 9,996 * c + c parameters.
@register_model("minirocket", DEMPSTER_2021, 19_994, GUNPOINT, dims=(1,))
@dataclass(frozen=True)
class MiniRocket:
    """Layer of fixed dilated convolutions, each pooled to its proportion of positive values (PPV).

    Maps series of fixed length, 9 steps or more, to a vector of features; the layer is named `stage1`. Train with
    `kzoo.fit(..., solver="ridge")`, which sets the thresholds and solves the linear layer as the paper does.

    Args:
        num_features: number of features, rounded down to a multiple of the 84 kernels; at least 84.
        max_dilations: maximum number of dilations of each kernel.
        kernel_seed: seed for the channels that a kernel sees, where there are several.

    Raises:
        ValueError: for fewer than 84 features, or an input of unknown length.
    """

    num_features: int = 10_000
    max_dilations: int = 32
    kernel_seed: int = 0

    def __call__(self, x):
        check_length("minirocket", x, handcrafted.TAPS)
        with scope("stage1"):
            layer = handcrafted.MiniRocketFeatures(
                self.num_features, self.max_dilations, self.kernel_seed, name=address("features")
            )
            return named_output(layer(x), "stage1")


# The paper has 49,728 features: 4 of each of 6,216 thresholds, the multiple of 84 kernels below 6,250, of the series
# and of its differences; the linear layer has 49,728 * c + c parameters.
@register_model("multirocket", TAN_2022, 99_458, GUNPOINT, dims=(1,))
@dataclass(frozen=True)
class MultiRocket:
    """Layer of fixed dilated convolutions of a series and its differences, each pooled to four statistics.

    Maps series of fixed length, 10 steps or more, to a vector of features; the layer is named `stage1`. Train with
    `kzoo.fit(..., solver="ridge")`, which sets the thresholds and solves the linear layer as the paper does.

    Args:
        num_thresholds: of the series, and of its differences, rounded down to a multiple of the 84 kernels; at least
            84. Each has four features: proportion, longest stretch, mean and mean index of the values above it.
        max_dilations: maximum number of dilations of each kernel.
        kernel_seed: seed for the channels that a kernel sees, where there are several.

    Raises:
        ValueError: for fewer than 84 thresholds, or an input of unknown length.
    """

    num_thresholds: int = 6_250
    max_dilations: int = 32
    kernel_seed: int = 0

    def __call__(self, x):
        check_length("multirocket", x, handcrafted.TAPS + 1)
        with scope("stage1"):
            layer = handcrafted.MultiRocketFeatures(
                self.num_thresholds, self.max_dilations, self.kernel_seed, name=address("features")
            )
            return named_output(layer(x), "stage1")
