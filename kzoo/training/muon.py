"""Muon for convolutions: optimizer steps whose singular values are all about equal.

This module imports Keras at once; `kzoo.training.optimizers` imports it when the optimizer is built.
"""

import math
import re
from collections.abc import Sequence

import keras

from kzoo.training.weight_decay import DecayMatrices


@keras.saving.register_keras_serializable("kzoo")
class ConvMuon(DecayMatrices, keras.optimizers.Muon):
    """Keras's Muon, which takes Dense kernels only, extended to convolution kernels; AdamW for all other weights.

    Jordan et al., 2024, https://kellerjordan.github.io/posts/muon. As there, a kernel is treated as one matrix from
    all its inputs, (positions x channels), to its filters; grouped kernels, too. Updates are scaled as in Liu et al.,
    2025, https://arxiv.org/abs/2502.16982, so that AdamW's learning rate and weight decay suit both kinds of
    weights. The five matrix products of a step cost the same for every batch size: in small batches they take most of
    the time.

    Args:
        exclude: patterns of the paths of weights that AdamW updates; it always updates those of one axis.
        weight_decay: for both kinds of weights.
        **arguments: as for `keras.optimizers.Muon`.
    """

    def __init__(self, exclude: Sequence[str] = (), weight_decay: float = 0.0, **arguments):
        arguments = {"exclude_layers": list(exclude), "adam_weight_decay": weight_decay} | arguments
        super().__init__(weight_decay=weight_decay, **arguments)

    def _should_use_adamw(self, variable) -> bool:
        return len(variable.shape) < 2 or any(re.search(pattern, variable.path) for pattern in self.exclude_layers)

    def zeropower_via_newtonschulz5(self, x, steps: int):
        matrix = keras.ops.reshape(x, (-1, x.shape[-1]))
        return keras.ops.reshape(super().zeropower_via_newtonschulz5(matrix, steps), x.shape)

    def lr_adjust(self, x):
        return x * self.rms_rate * math.sqrt(max(math.prod(x.shape[:-1]), x.shape[-1]))
