"""Feature visualization: top activating examples of a filter, and activation maximization by gradient ascent."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from kzoo.analysis.visualize.gradients import deepest, gradient, has_positions, is_tokens, positions, resized
from kzoo.analysis.visualize.overlay import (
    Data,
    Panel,
    Scale,
    draw_input,
    example_panel,
    gallery,
    prepared,
    raw_examples,
    sized,
)
from kzoo.core.lazy import figures, keras, lazy_import, np
from kzoo.core.registry import lookup
from kzoo.data.trained import as_trained
from kzoo.nn.inspection import all_layers, feature_layers, get_activations, get_inputs_and_outputs

ndimage = lazy_import("scipy.ndimage")

FILTERS = 4  # that are drawn if none are asked for
COARSE = 4.0  # largest standard deviation of the blur of the initial noise, in positions
SMOOTH = 1.0  # standard deviation of the blur of the first gradient, in positions


class TopExample(NamedTuple):
    """The activation of a filter for one example.

    Attributes:
        example: index of the example.
        activation: the largest value at any position.
        heat: the activation at each position of the input, relative to the largest, in [0, 1]; None where the layer has
            no positions.
    """

    example: int
    activation: float
    heat: np.ndarray | None


def top_activating_examples(
    model: keras.Model, layer: str, filter: int, x: np.ndarray, count: int = 3
) -> list[TopExample]:
    """Return the examples that activate a filter most, in descending order of activation.

    Args:
        model: a network.
        layer: name of any layer with channels.
        filter: index of the channel.
        x: the model's inputs, (n, ...).
        count: how many to return.

    Raises:
        ValueError: for an unknown layer or filter.
    """
    activations = activations_of(model, layer, x)
    check_filter(layer, filter, activations.shape[-1])
    values = activations[..., filter]
    largest = values.reshape(len(x), -1).max(1)
    order = np.argsort(-largest, kind="stable")[:count]
    placed = has_positions(activations, x)
    return [TopExample(int(n), float(largest[n]), scaled(values[n], x) if placed else None) for n in order]


def scaled(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return a filter's positive activations relative to the largest, for each position of the input."""
    heat = resized(np.maximum(values, 0), positions(x))
    return heat / (heat.max() or 1)


def activations_of(model: keras.Model, layer: str, x: np.ndarray) -> np.ndarray:
    """Return the output of a layer, given by name, for inputs."""
    found = lookup(f"layer of {model.name}", layer, all_layers(model))
    return get_activations(model, x, [found])[layer]


def check_filter(layer: str, filter: int, channels: int) -> None:
    """Raise a ValueError for the index of a channel that does not exist."""
    if not 0 <= filter < channels:
        raise ValueError(f"{layer} has filters 0 to {channels - 1}, got {filter}")


def activation_maximization(
    model: keras.Model,
    layer: str,
    filters: Sequence[int],
    *,
    input_shape: Sequence[int] | None = None,
    steps: int = 100,
    rate: float = 0.2,
    smooth: float = SMOOTH,
    seed: int = 0,
) -> np.ndarray:
    """Return inputs that maximise the mean activation of filters, found from noise by gradient ascent.

    Erhan et al., 2009, Visualizing Higher-Layer Features of a Deep Network. The search stays among inputs with a mean
    square of 1, as normalised data have. Each gradient is blurred, less from step to step: without that, gradient
    ascent finds high-frequency patterns that occur in no data.

    Args:
        model: a network.
        layer: name of any layer with channels.
        filters: indices of the channels; an input is found for each.
        input_shape: of one input, where the model takes any size.
        steps: number of steps.
        rate: norm of the first step, as a fraction of the input's norm; it decreases linearly to 0.
        smooth: standard deviation of the blur of the first gradient, in positions; 0 for none.
        seed: of the initial noise.

    Returns:
        (len(filters), *input_shape). A filter whose gradient is 0 starts over from other noise, which is returned if no
        noise activates the filter.

    Raises:
        ValueError: for a model of token ids, which are discrete, an unknown layer or filter, or an input of unknown
            size.
    """
    found = lookup(f"layer of {model.name}", layer, all_layers(model))
    shape = tuple(model.input_shape[1:] if input_shape is None else input_shape)
    if len(shape) == 1:
        raise ValueError(
            f"{model.name} takes token ids, which are discrete: gradient ascent needs a continuous input; "
            "top_activating_examples finds the texts that activate a filter"
        )
    if None in shape:
        raise ValueError(f"{model.name} takes input {shape} of any size; give an input_shape")
    rng = np.random.default_rng(seed)
    x = noise(rng, (len(filters), *shape))
    channels = activations_of(model, layer, x[:1]).shape[-1]
    for filter in filters:
        check_filter(layer, filter, channels)
    chosen = keras.ops.one_hot(list(filters), channels)

    def activation(x):
        made = get_inputs_and_outputs(model, x, [found])[layer][1]
        means = keras.ops.mean(made, axis=tuple(range(1, made.ndim - 1))) if made.ndim > 2 else made
        return keras.ops.sum(keras.ops.cast(means, "float32") * chosen)

    for step in range(steps):
        left = 1 - step / steps
        ascent = blurred(gradient(activation, x), smooth * left)
        dead = ~ascent.any(axis=tuple(range(1, ascent.ndim)))
        x = unit(x + rate * left * unit(ascent))
        x[dead] = noise(rng, x[dead].shape)
    return x


def noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise of random spatial frequencies, (n, ..., channels): some filters see only low ones."""
    found = [blurred(rng.normal(size=(1, *shape[1:])), rng.uniform(0, COARSE)) for _ in range(shape[0])]
    return unit(np.concatenate(found)).astype("float32") if found else np.zeros(shape, "float32")


def unit(x: np.ndarray) -> np.ndarray:
    """Scale arrays (n, ...) to a mean square of 1 each; zeros stay zeros."""
    size = np.sqrt((x**2).mean(tuple(range(1, x.ndim)), keepdims=True))
    return x / np.where(size > 0, size, 1)


def blurred(x: np.ndarray, width: float) -> np.ndarray:
    """Blur arrays (n, ..., channels) along their spatial axes by a Gaussian of this standard deviation."""
    return ndimage.gaussian_filter(x, (0, *(width,) * (x.ndim - 2), 0)) if width > 0 else x


def draw_top_activations(
    model: keras.Model,
    data: Data,
    layer: str | None = None,
    filters: Sequence[int] | None = None,
    *,
    examples: Sequence | None = None,
    steps: int = 100,
) -> figures.Figure:
    """Draw the three top activating examples of filters, with activation maps, and the result of gradient ascent.

    Args:
        model: a network.
        data: what it was trained on: a `Splits`, or the `Serving` of a run.
        layer: name of any layer with channels; if not given, the last stage with at least 4 positions along each axis,
            or the last one.
        filters: indices of channels; the four with the largest variance over the examples if not given.
        examples: raw ones to choose from; some of the data's own if not given.
        steps: of gradient ascent, which is omitted for texts.

    Raises:
        ValueError: for an unknown layer or filter.
    """
    data = as_trained(model, data)
    examples = [sized(data, raw) for raw in (raw_examples(data) if examples is None else examples)]
    x = prepared(data, examples)
    layer = usual_layer(model, x) if layer is None else layer
    if filters is None:
        filters = most_varied_filters(activations_of(model, layer, x))
    found = [] if is_tokens(x) else activation_maximization(model, layer, filters, input_shape=x.shape[1:], steps=steps)
    panels = []
    for row, filter in enumerate(filters):
        for top in top_activating_examples(model, layer, filter, x):
            title = f"filter {filter}, example {top.example}: {top.activation:.2g}"
            panels.append(example_panel(data, title, examples[top.example], top.heat))
        if len(found):
            largest = activations_of(model, layer, found[row : row + 1])[..., filter].max()
            draw = functools.partial(draw_input, data=data, x=found[row])
            panels.append(Panel(f"filter {filter}, gradient ascent: {largest:.2g}", draw))
    title = f"top activating examples of filters of {layer} of {model.name}, out of {len(x)}, with their activation"
    return gallery(data, panels, title, columns=4, scale=Scale("activation, relative to the panel's largest"))


def usual_layer(model: keras.Model, x: np.ndarray) -> str:
    """Return the name of the stage whose filters are drawn by default.

    Raises:
        ValueError: if there is none.
    """
    layers = list(feature_layers(model).values())
    layers = [layer for layer in layers if not isinstance(layer, keras.layers.Embedding)] or layers
    if not layers:
        raise ValueError(f"{model.name} has no layers between its input and its output to look at")
    activations = get_activations(model, x[:1], layers)
    placed = {name: values for name, values in activations.items() if has_positions(values, x)}
    return deepest(placed, x) if placed else list(activations)[-1]


def most_varied_filters(activations: np.ndarray) -> list[int]:
    """Return the indices of the filters whose largest activation varies most over the examples, ascending."""
    largest = activations.reshape(len(activations), -1, activations.shape[-1]).max(1)
    return sorted(np.argsort(-largest.std(0), kind="stable")[:FILTERS].tolist())
