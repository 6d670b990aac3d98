"""Inside a network, on every backend: the feature maps of its layers for an input, and gradients."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from kzoo.core.lazy import jax, keras, np, tf, torch
from kzoo.core.registry import lookup

BATCH = 32  # inputs that are computed at a time
ENOUGH = 4  # positions along each axis from which on a map says where something is


def gradient(function: Callable, x: np.ndarray) -> np.ndarray:
    """Return the gradient of a function with respect to its argument, 0 where it does not depend on it.

    Args:
        function: from a tensor of the backend in use to a single number, by `keras.ops` and Keras layers.
        x: where, an array of floats.
    """
    of_backend = lookup("backend with gradients", keras.backend.backend(), GRADIENTS)
    return keras.ops.convert_to_numpy(of_backend(function, keras.ops.convert_to_tensor(x)))


def of_tensorflow(function: Callable, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x, unconnected_gradients="zero")


def of_torch(function: Callable, x):
    x = x.detach().clone().requires_grad_()
    value = function(x)
    slope = torch.autograd.grad(value, x, allow_unused=True)[0] if value.requires_grad else None
    return torch.zeros_like(x) if slope is None else slope


GRADIENTS = {
    "tensorflow": of_tensorflow,
    "jax": lambda function, x: jax.grad(function)(x),
    "torch": of_torch,
}


@contextlib.contextmanager
def overheard(layers: Iterable[keras.Layer], hear: Callable) -> Iterator[None]:
    """Whenever one of the layers is computed meanwhile, let `hear(layer, input, output)` say what it returns.

    No model is built for it: one made of tensors from the middle of a network would be written into the network's own
    graph, and its layers would have two outputs from then on.
    """
    layers = list(layers)

    def heard(layer, call, x, *args, **kwargs):
        return hear(layer, x, call(x, *args, **kwargs))

    for layer in layers:
        layer.call = functools.partial(heard, layer, layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def observed(model: keras.Model, x, layers: Iterable[keras.Layer]) -> dict[str, tuple]:
    """Return the (input, output) of some layers of a network for a batch, tensors of the backend, by name."""
    found = {}

    def note(layer, given, made):
        found[layer.name] = given, made
        return made

    with overheard(layers, note):
        model(keras.ops.convert_to_tensor(x), training=False)
    return found


def outputs(model: keras.Model, x: np.ndarray, layers: Sequence[keras.Layer]) -> dict[str, np.ndarray]:
    """Return what some layers of a network return for inputs of any number, by name in the order of computation."""
    parts = [observed(model, x[start : start + BATCH], layers) for start in range(0, len(x), BATCH)]
    return {name: np.concatenate([keras.ops.convert_to_numpy(part[name][1]) for part in parts]) for name in parts[0]}


def probabilities(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return the probabilities of the classes for inputs of any number, (n, classes)."""
    starts = range(0, len(x), BATCH)
    logits = [model(keras.ops.convert_to_tensor(x[start : start + BATCH]), training=False) for start in starts]
    return np.concatenate([keras.ops.convert_to_numpy(keras.ops.softmax(part)) for part in logits])


def all_layers(model: keras.Model) -> dict[str, keras.Layer]:
    """Return the layers of a network by name, also those in networks that are layers of it."""
    found = {}
    for layer in model.layers:
        found |= all_layers(layer) if hasattr(layer, "layers") else {layer.name: layer}
    return found


def convolutions(model: keras.Model) -> dict[str, keras.Layer]:
    """Return the layers with learned kernels of windows, by name."""
    found = {name: layer for name, layer in all_layers(model).items() if hasattr(layer, "kernel_size")}
    return {name: layer for name, layer in found.items() if layer.weights}


def stages(model: keras.Model) -> dict[str, keras.Layer]:
    """Return the layers whose outputs tell what a network sees: the embedding of tokens, and the named stages.

    Those are the layers that `kzoo.nn.layers.named_output` makes, in other networks the convolutions, else every
    layer with weights but the last.
    """
    layers = all_layers(model)
    found = {name: layer for name, layer in layers.items() if isinstance(layer, keras.layers.Identity)}
    weighted = {name: layer for name, layer in layers.items() if layer.weights}
    found = found or convolutions(model) or dict(list(weighted.items())[:-1])
    return {name: layer for name, layer in layers.items() if isinstance(layer, keras.layers.Embedding)} | found


def is_tokens(x: np.ndarray) -> bool:
    """Tell whether a batch holds token ids, (batch, length), not feature maps."""
    return x.ndim == 2


def positions(x: np.ndarray) -> tuple[int, ...]:
    """Return the sizes of the axes of a batch along which there are positions."""
    return x.shape[1:] if is_tokens(x) else x.shape[1:-1]


def has_positions(answers: np.ndarray, x: np.ndarray) -> bool:
    """Tell whether a layer's output has as many axes of positions as the input has."""
    return answers.ndim == len(positions(x)) + 2


def deepest(answers: dict[str, np.ndarray], x: np.ndarray) -> str:
    """Return the last stage with positions enough to tell where something is; the one with most if none has."""
    placed = {name: answer.shape[1:-1] for name, answer in answers.items() if has_positions(answer, x)}
    enough = [name for name, sizes in placed.items() if min(sizes) >= min(ENOUGH, *positions(x))]
    return enough[-1] if enough else max(placed, key=lambda name: math.prod(placed[name]))


def resized(heat: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Bring a map of one or two axes to other sizes, by straight lines between its values."""
    if heat.shape == tuple(sizes):
        return heat
    plane = heat.reshape(-1, 1) if heat.ndim == 1 else heat
    target = (*sizes, 1)[:2]
    grown = keras.ops.image.resize(plane[..., None], target, interpolation="bilinear", data_format="channels_last")
    return keras.ops.convert_to_numpy(grown).reshape(sizes)
