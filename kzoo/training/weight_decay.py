"""Keras's optimizers with weight decay that skips biases and normalisations, also after saving and loading.

Keras forgets what `exclude_from_weight_decay` excluded when an optimizer is saved. This module imports Keras at once;
`kzoo.training.optimizers` imports it when an optimizer is built.
"""

from collections.abc import Sequence

import keras

from kzoo.training.optimizers import is_vector


class DecayMatrices:
    """Mixin of an optimizer: no weight decay for variables of one axis (`kzoo.training.optimizers.is_vector`).

    The variable of a `kzoo.training.schedules.PlateauSchedule` becomes one of the optimizer's.
    """

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if not self.built:
            self.exclude_from_weight_decay(var_list=[variable for variable in variables if is_vector(variable)])
            self.plateau_factor = getattr(self._learning_rate, "factor", None)  # Keras tracks what is set
        super().build(variables)


@keras.saving.register_keras_serializable("kzoo")
class Adam(DecayMatrices, keras.optimizers.Adam):
    """Adam (Kingma, Ba, 2015, https://arxiv.org/abs/1412.6980) with decoupled weight decay, which may be None."""


@keras.saving.register_keras_serializable("kzoo")
class AdamW(DecayMatrices, keras.optimizers.AdamW):
    """AdamW (Loshchilov, Hutter, 2019, https://arxiv.org/abs/1711.05101)."""


@keras.saving.register_keras_serializable("kzoo")
class SGD(DecayMatrices, keras.optimizers.SGD):
    """Stochastic gradient descent with momentum and decoupled weight decay."""


@keras.saving.register_keras_serializable("kzoo")
class Lamb(DecayMatrices, keras.optimizers.Lamb):
    """LAMB (You et al., 2020, https://arxiv.org/abs/1904.00962) with decoupled weight decay."""


@keras.saving.register_keras_serializable("kzoo")
class Lion(DecayMatrices, keras.optimizers.Lion):
    """Lion (Chen et al., 2023, https://arxiv.org/abs/2302.06675)."""
