"""Stochastic weight averaging: the mean of the weights of several epochs, and its batch normalisation statistics.

This module imports Keras at once; `kzoo.training.callbacks` imports it when training begins.
"""

from collections.abc import Iterable, Mapping

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


def refresh_batch_norm(model: keras.Model, batches: Iterable) -> None:
    """Recompute the statistics of batch normalisations as their mean over some batches, with the current weights.

    The network is in training mode, with dropout, as in `torch.optim.swa_utils.update_bn`; batches are weighted by
    their size. Frozen normalisations keep their statistics.

    Args:
        model: a network with or without batch normalisations.
        batches: a finite number of (inputs, labels), such as one pass over the train split.
    """
    norms = [layer for layer in batch_norms(model) if layer.trainable]
    momenta = [layer.momentum for layer in norms]
    seen = 0
    try:
        for inputs, _ in batches if norms else ():
            seen += len(inputs)
            for layer in norms:
                layer.momentum = 1 - len(inputs) / seen
            model(inputs, training=True)
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the batch normalisations of a model and of the models in it."""
    nested = [norm for layer in model.layers if isinstance(layer, keras.Model) for norm in batch_norms(layer)]
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)] + nested
