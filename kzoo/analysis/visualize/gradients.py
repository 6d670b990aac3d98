"""Gradients on every backend, and the positions of feature maps."""

from __future__ import annotations

import math
from collections.abc import Callable

from kzoo.core.lazy import jax, keras, np, tf, torch
from kzoo.core.registry import lookup

ENOUGH = 4  # positions along each axis from which on a map localises anything


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
    found = torch.autograd.grad(value, x, allow_unused=True)[0] if value.requires_grad else None
    return torch.zeros_like(x) if found is None else found


GRADIENTS = {
    "tensorflow": of_tensorflow,
    "jax": lambda function, x: jax.grad(function)(x),
    "torch": of_torch,
}


def is_tokens(x: np.ndarray) -> bool:
    """Return whether a batch holds token ids, (batch, length), not feature maps."""
    return x.ndim == 2


def positions(x: np.ndarray) -> tuple[int, ...]:
    """Return the sizes of the spatial axes of a batch."""
    return x.shape[1:] if is_tokens(x) else x.shape[1:-1]


def has_positions(answers: np.ndarray, x: np.ndarray) -> bool:
    """Return whether a layer's output has as many spatial axes as the input."""
    return answers.ndim == len(positions(x)) + 2


def deepest(answers: dict[str, np.ndarray], x: np.ndarray) -> str:
    """Return the last stage with at least 4 positions along each axis; the one with most if none has."""
    placed = {name: answer.shape[1:-1] for name, answer in answers.items() if has_positions(answer, x)}
    enough = [name for name, sizes in placed.items() if min(sizes) >= min(ENOUGH, *positions(x))]
    return enough[-1] if enough else max(placed, key=lambda name: math.prod(placed[name]))


def resized(heat: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Resize a map of one or two axes by (bi)linear interpolation."""
    if heat.shape == tuple(sizes):
        return heat
    plane = heat.reshape(-1, 1) if heat.ndim == 1 else heat
    target = (*sizes, 1)[:2]
    grown = keras.ops.image.resize(plane[..., None], target, interpolation="bilinear", data_format="channels_last")
    return keras.ops.convert_to_numpy(grown).reshape(sizes)
