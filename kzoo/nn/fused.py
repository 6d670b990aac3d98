"""Fused batch normalisation: one TensorFlow operation during training; the layers stay Keras's own.

Keras computes it from several operations (means, products, a sum), each a pass over memory. TensorFlow's fused
operation makes training ResNet-20 on 2 cores 1.4 times as fast (tests/benchmarks/training.py). This module imports
Keras at once; `kzoo.training.train` imports it when training begins.
"""

import contextlib
import functools
from collections.abc import Iterator

import keras

from kzoo.core.lazy import tf
from kzoo.nn.averaging import batch_norms


@contextlib.contextmanager
def batch_normalisation(model: keras.Model) -> Iterator[None]:
    """Compute the batch normalisations of a model by the fused operation within the context, where TensorFlow can.

    The results equal Keras's up to rounding.
    """
    layers = batch_norms(model) if keras.backend.backend() == "tensorflow" else []
    for layer in layers:
        layer.call = functools.partial(call, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def call(layer: keras.layers.BatchNormalization, inputs, training=None, mask=None):
    """Compute a normalisation by the fused operation if it is trained and TensorFlow can, else as Keras does."""
    plain = type(layer) is keras.layers.BatchNormalization and not (layer.renorm or layer.synchronized)
    ndim = len(inputs.shape)
    fits = ndim <= 4 and layer.axis in (-1, ndim - 1) and inputs.dtype != "float64" and mask is None
    if training and layer.trainable and plain and fits:
        return fused(layer, inputs)
    return type(layer).call(layer, inputs, training=training, mask=mask)


def fused(layer: keras.layers.BatchNormalization, inputs):
    """Normalise each channel by its mean and variance, and move the layer's statistics towards these."""
    channels, more_axes = inputs.shape[-1], range(1, 5 - len(inputs.shape))
    x = functools.reduce(tf.expand_dims, more_axes, inputs)
    scale = layer.gamma if layer.scale else tf.ones(channels)
    offset = layer.beta if layer.center else tf.zeros(channels)
    y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        x, tf.convert_to_tensor(scale), tf.convert_to_tensor(offset), epsilon=layer.epsilon, is_training=True
    )
    count = tf.cast(tf.size(inputs) // channels, "float32")
    variance *= (count - 1) / count  # TensorFlow returns the unbiased estimate, Keras uses the biased one
    for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + value * (1 - layer.momentum))
    return tf.squeeze(y, list(more_axes)) if more_axes else y
