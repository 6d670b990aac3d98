"""Layers of a built network by name, and their activations through forward hooks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

from kzoo.core.lazy import keras, np

BATCH = 32  # inputs that are computed at a time


def all_layers(model: keras.Model) -> dict[str, keras.Layer]:
    """Return the layers of a network by name, those of nested models included."""
    found = {}
    for layer in model.layers:
        found |= all_layers(layer) if hasattr(layer, "layers") else {layer.name: layer}
    return found


def named_stages(layers: Iterable[keras.Layer]) -> dict[str, keras.Layer]:
    """Return the layers that `kzoo.nn.layers.named_output` made, by name: `stage1`, `stage2`, ..."""
    return {layer.name: layer for layer in layers if isinstance(layer, keras.layers.Identity)}


def convolutions(model: keras.Model) -> dict[str, keras.Layer]:
    """Return the layers with learned convolution kernels, by name."""
    found = {name: layer for name, layer in all_layers(model).items() if hasattr(layer, "kernel_size")}
    return {name: layer for name, layer in found.items() if layer.weights}


def feature_layers(model: keras.Model) -> dict[str, keras.Layer]:
    """Return the layers whose outputs are the features of a network, by name: token embedding and stages.

    A network without named stages gives its convolutions; one without convolutions every layer with weights except
    the last.
    """
    layers = all_layers(model)
    weighted = {name: layer for name, layer in layers.items() if layer.weights}
    found = named_stages(layers.values()) or convolutions(model) or dict(list(weighted.items())[:-1])
    return {name: layer for name, layer in layers.items() if isinstance(layer, keras.layers.Embedding)} | found


@contextlib.contextmanager
def forward_hooks(layers: Iterable[keras.Layer], hook: Callable) -> Iterator[None]:
    """Replace the output of layers by `hook(layer, input, output)` inside the `with` block.

    A model made of tensors from the middle of a network would instead be written into the network's own graph: its
    layers would have two outputs from then on.
    """
    layers = list(layers)

    def hooked(layer, call, x, *args, **kwargs):
        return hook(layer, x, call(x, *args, **kwargs))

    for layer in layers:
        layer.call = functools.partial(hooked, layer, layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def get_inputs_and_outputs(model: keras.Model, x, layers: Iterable[keras.Layer]) -> dict[str, tuple]:
    """Return the (input, output) of layers for one batch, as tensors of the backend, by name."""
    found = {}

    def record(layer, given, made):
        found[layer.name] = given, made
        return made

    with forward_hooks(layers, record):
        model(keras.ops.convert_to_tensor(x), training=False)
    return found


def get_activations(model: keras.Model, x: np.ndarray, layers: Sequence[keras.Layer]) -> dict[str, np.ndarray]:
    """Return the outputs of layers for any number of inputs, by name in the order of computation.

    Args:
        model: a network.
        x: its inputs, (n, ...); computed 32 at a time.
        layers: of the network.
    """
    parts = [get_inputs_and_outputs(model, x[start : start + BATCH], layers) for start in range(0, len(x), BATCH)]
    return {name: np.concatenate([keras.ops.convert_to_numpy(part[name][1]) for part in parts]) for name in parts[0]}


def get_outputs(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return the outputs of a network for any number of inputs, (n, ...); computed 32 at a time."""
    starts = range(0, len(x), BATCH)
    parts = [model(keras.ops.convert_to_tensor(x[start : start + BATCH]), training=False) for start in starts]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
