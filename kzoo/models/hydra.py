"""Hydra: groups of random kernels that compete at each step, counted, with a linear classifier."""

from dataclasses import dataclass

from kzoo.core.lazy import lazy_import
from kzoo.core.registry import Paper, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.models.minirocket import check_length
from kzoo.nn.layers import address, named_output, scope

handcrafted = lazy_import("kzoo.nn.handcrafted")

DEMPSTER_2023 = Paper(
    "Dempster, Angus and Schmidt, Daniel F. and Webb, Geoffrey I.",
    2023,
    "Hydra: Competing Convolutional Kernels for Fast and Accurate Time Series Classification",
    "https://arxiv.org/abs/2203.13652",
    "Data Mining and Knowledge Discovery",
)


# The paper's 64 groups of 8 kernels have two counts each: 1,024 features at each of 5 dilations (1 to 16, of which 16
# spans 129 of 150 steps); the linear layer has 5,120 * c + c.
@register_model("hydra", DEMPSTER_2023, 10_242, GUNPOINT, dims=(1,))
@dataclass(frozen=True)
class Hydra:
    """Counts of the kernels with the largest and the smallest response of their group.

    Maps series of fixed length, 10 steps or more, to a vector of features; the layer is named `stage1`. Train with
    `kzoo.fit(..., solver="ridge")`.

    Args:
        groups: number of groups at each dilation, even; half of them see the differences of the series.
        group_size: random kernels in each group.
        kernel_seed: seed for the kernels, and for the channels of a group, where there are several.

    Raises:
        ValueError: for an odd number of groups, or an input of unknown length.
    """

    groups: int = 64
    group_size: int = 8
    kernel_seed: int = 0

    def __call__(self, x):
        check_length("hydra", x, handcrafted.TAPS + 1)
        with scope("stage1"):
            layer = handcrafted.HydraFeatures(self.groups, self.group_size, self.kernel_seed, name=address("features"))
            return named_output(layer(x), "stage1")
