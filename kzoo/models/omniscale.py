"""OS-CNN: omni-scale convolutions, prime kernel sizes that together cover every receptive-field size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import PYTORCH, Paper, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.nn.layers import act, batch_norm, conv, extents, named_output, per_axis, scope

TANG_2022 = Paper(
    "Tang, Wensi and Long, Guodong and Liu, Lu and Zhou, Tianyi and Blumenstein, Michael and Jiang, Jing",
    2022,
    "Omni-Scale CNNs: a simple and effective kernel size configuration for time series classification",
    "https://arxiv.org/abs/2002.10061",
    "ICLR",
)


def one_and_primes(largest: int) -> list[int]:
    """Return 1 and the prime numbers up to `largest`."""
    return [number for number in range(1, largest + 1) if all(number % divisor for divisor in range(2, number))]


# The count is tsai's.
@register_model("omniscale_cnn", TANG_2022, 264_385, GUNPOINT._replace(dialect=PYTORCH))
@dataclass(frozen=True)
class OmniScaleCNN:
    """Layers of parallel convolutions whose kernel sizes follow from the input and whose filters follow from a budget.

    Maps a feature map to one of the same size. The output of layer n is named `stage<n>`.

    Args:
        budgets: weights of each layer of prime kernel sizes, shared equally by the sizes; each has one filter at
            least.
        max_kernel: largest kernel size, where a quarter of the input's shortest axis is not smaller.
    """

    budgets: tuple[int, ...] = (1_024, 229_376)
    max_kernel: int = 89

    keeps_positions = True

    def __call__(self, x):
        kernels = one_and_primes(self.largest_kernel(x))
        weights = sum(math.prod(per_axis(x, kernel)) for kernel in kernels)  # of one filter per size, on one channel
        last = len(kernels) * max(1, self.budgets[0] // weights)
        for stage, budget in enumerate(self.budgets, start=1):
            filters = max(1, budget // (x.shape[-1] * weights))
            x = self.layer(x, f"stage{stage}", filters, kernels)
        return self.layer(x, f"stage{len(self.budgets) + 1}", last, [1, 2])

    def largest_kernel(self, x) -> int:
        quarters = [size // 4 for size in extents(x) if size is not None]
        return max(1, min([self.max_kernel, *quarters]))

    def layer(self, x, name: str, filters: int, kernels: Sequence[int]):
        with scope(name):
            x = keras.layers.concatenate([conv(x, filters, kernel) for kernel in kernels])
            return named_output(act(batch_norm(x)), name)
