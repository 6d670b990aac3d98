"""Stochastic weight averaging: the mean of the weights of several epochs, and its batch normalisation statistics.

This module imports Keras at once; `kzoo.training.callbacks` imports it when training begins.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import keras
import numpy as np


def add(average: Mapping[str, np.ndarray], count: int, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the mean of `count` + 1 sets of weights, of which `average` is the mean of the first `count`.

    Izmailov et al., 2018, Averaging Weights Leads to Wider Optima and Better Generalization (SWA),
    https://arxiv.org/abs/1803.05407. Batch normalisation statistics must be recomputed for the mean, by
    `refresh_batch_norm`.

    Args:
        average: an array for each path; ignored if `count` is 0.
        count: number of sets that `average` is the mean of.
        weights: one more set, with the same paths.
    """
    if not count:
        return {path: np.array(weight) for path, weight in weights.items()}
    return {path: average[path] + (weight - average[path]) / (count + 1) for path, weight in weights.items()}


class TrainingMode(keras.Model):
    """A network that is in training mode in `predict_on_batch` too, which compiles it on every backend.

    Args:
        network: any model.
    """

    def __init__(self, network: keras.Model):
        super().__init__(dtype=network.dtype_policy, autocast=False)
        self.network, self.jit_compile = network, network.jit_compile

    def call(self, inputs):
        return self.network(inputs, training=True)


def refresh_batch_norm(model: keras.Model, batches: Iterable, forward: TrainingMode | None = None) -> None:
    """Recompute the statistics of batch normalisations as their mean over some batches, with the current weights.

    The network is in training mode, with dropout, as in `torch.optim.swa_utils.update_bn`; batches are weighted by
    their size. Frozen normalisations keep their statistics.

    Args:
        model: a network with or without batch normalisations.
        batches: a finite number of (inputs, labels, ...), such as one pass over the train split.
        forward: the network in training mode, to compile it only once for several calls; used for nothing else.
    """
    norms = [layer for layer in batch_norms(model) if layer.trainable]
    statistics = [variable for layer in norms for variable in (layer.moving_mean, layer.moving_variance)]
    forward = forward or TrainingMode(model)
    means, seen = [0.0] * len(statistics), 0
    with last_batch_only(norms):
        for inputs, *_ in batches if norms else ():
            forward.predict_on_batch(np.asarray(inputs))  # JAX takes no tensors of TensorFlow's pipelines
            seen += len(inputs)
            values = map(keras.ops.convert_to_numpy, statistics)
            means = [mean + (value - mean) * (len(inputs) / seen) for mean, value in zip(means, values, strict=True)]
    if seen:
        for variable, mean in zip(statistics, means, strict=True):
            variable.assign(mean)


@contextlib.contextmanager
def last_batch_only(norms: Sequence[keras.layers.BatchNormalization]) -> Iterator[None]:
    """Let the moving statistics of batch normalisations be those of the last batch within the context."""
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the batch normalisations of a model and of the models in it."""
    nested = [norm for layer in model.layers if isinstance(layer, keras.Model) for norm in batch_norms(layer)]
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)] + nested
