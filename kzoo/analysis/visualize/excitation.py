"""What a filter answers to most: among examples, and by gradient ascent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kzoo.analysis.visualize.inside import (
    all_layers,
    deepest,
    gradient,
    has_positions,
    is_tokens,
    observed,
    outputs,
    positions,
    resized,
    stages,
)
from kzoo.analysis.visualize.overlay import (
    Data,
    Panel,
    draw_input,
    example_panel,
    gallery,
    prepared,
    raw_examples,
    sized,
)
from kzoo.core.lazy import figures, keras, lazy_import, np
from kzoo.core.registry import lookup

ndimage = lazy_import("scipy.ndimage")

FILTERS = 4  # that are drawn if none are asked for
COARSE = 4.0  # positions that noise is blurred over at most
SMOOTH = 1.0  # positions over which a step of the ascent is blurred at first


class Excitement(NamedTuple):
    """How much a filter answers to one example.

    Attributes:
        example: its place among the examples.
        answer: the largest value at any position.
        heat: the answer at each position of the input, from 0 to 1; None where the layer has no positions.
    """

    example: int
    answer: float
    heat: np.ndarray | None


def most_exciting(model: keras.Model, layer: str, filter: int, x: np.ndarray, most: int = 3) -> list[Excitement]:
    """Return the examples that a filter answers to most, the first most of all.

    Args:
        model: a network.
        layer: name of any layer with channels.
        filter: number of the channel.
        x: the model's inputs, (n, ...).
        most: how many to return.

    Raises:
        ValueError: for an unknown layer or filter.
    """
    answer = answers_of(model, layer, x)
    check_filter(layer, filter, answer.shape[-1])
    values = answer[..., filter]
    largest = values.reshape(len(x), -1).max(1)
    order = np.argsort(-largest, kind="stable")[:most]
    placed = has_positions(answer, x)
    return [Excitement(int(n), float(largest[n]), scaled(values[n], x) if placed else None) for n in order]


def scaled(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return a filter's answers above 0 as shares of the largest, for each position of the input."""
    heat = resized(np.maximum(values, 0), positions(x))
    return heat / (heat.max() or 1)


def answers_of(model: keras.Model, layer: str, x: np.ndarray) -> np.ndarray:
    """Return a layer's output for inputs."""
    found = lookup(f"layer of {model.name}", layer, all_layers(model))
    return outputs(model, x, [found])[layer]


def check_filter(layer: str, filter: int, channels: int) -> None:
    """Raise a ValueError for a channel that is not there."""
    if not 0 <= filter < channels:
        raise ValueError(f"{layer} has filters 0 to {channels - 1}, got {filter}")


def ascend(
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
    """Return inputs that filters answer to as much as they can on average over the positions, found from noise.

    Among inputs whose values have a mean square of 1, as normalised data have, gradient ascent looks for a highest
    answer nearby: Erhan et al., 2009, Visualizing Higher-Layer Features of a Deep Network. Each step is first blurred,
    less and less, since steps without it find patterns from pixel to pixel that no data show.

    Args:
        model: a network.
        layer: name of any layer with channels.
        filters: numbers of the channels; an input is found for each.
        input_shape: of one input, where the model takes any size.
        steps: of the ascent.
        rate: length of the first step, as a share of the input's own; later ones are shorter.
        smooth: width of the blur of the first step, in positions; 0 for none.
        seed: of the noise.

    Returns:
        (len(filters), *input_shape). Where a filter answers to no noise, there is no way up; other noise is tried, and
        returned if none helps.

    Raises:
        ValueError: for a model of token ids, of which there are none in between, an unknown layer or filter, or an
            input of unknown size.
    """
    found = lookup(f"layer of {model.name}", layer, all_layers(model))
    shape = tuple(model.input_shape[1:] if input_shape is None else input_shape)
    if len(shape) == 1:
        raise ValueError(
            f"{model.name} takes token ids, which cannot be changed little by little: gradient ascent needs numbers; "
            "most_exciting finds the texts that a filter answers to"
        )
    if None in shape:
        raise ValueError(f"{model.name} takes input {shape} of any size; say the input_shape to look for")
    rng = np.random.default_rng(seed)
    x = noise(rng, (len(filters), *shape))
    channels = answers_of(model, layer, x[:1]).shape[-1]
    for filter in filters:
        check_filter(layer, filter, channels)
    chosen = keras.ops.one_hot(list(filters), channels)

    def answer(x):
        made = observed(model, x, [found])[layer][1]
        means = keras.ops.mean(made, axis=tuple(range(1, made.ndim - 1))) if made.ndim > 2 else made
        return keras.ops.sum(keras.ops.cast(means, "float32") * chosen)

    for step in range(steps):
        left = 1 - step / steps
        slope = blurred(gradient(answer, x), smooth * left)
        silent = ~slope.any(axis=tuple(range(1, slope.ndim)))
        x = unit(x + rate * left * unit(slope))
        x[silent] = noise(rng, x[silent].shape)
    return x


def noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise of every fineness, (n, ..., channels): some filters answer to coarse shapes alone."""
    found = [blurred(rng.normal(size=(1, *shape[1:])), rng.uniform(0, COARSE)) for _ in range(shape[0])]
    return unit(np.concatenate(found)).astype("float32") if found else np.zeros(shape, "float32")


def unit(x: np.ndarray) -> np.ndarray:
    """Return arrays (n, ...) with a mean square of 1 each; zeros stay zeros."""
    size = np.sqrt((x**2).mean(tuple(range(1, x.ndim)), keepdims=True))
    return x / np.where(size > 0, size, 1)


def blurred(x: np.ndarray, width: float) -> np.ndarray:
    """Blur arrays (n, ..., channels) along their positions by a Gaussian."""
    return ndimage.gaussian_filter(x, (0, *(width,) * (x.ndim - 2), 0)) if width > 0 else x


def draw_exciting(
    model: keras.Model,
    data: Data,
    layer: str | None = None,
    filters: Sequence[int] | None = None,
    *,
    examples: Sequence | None = None,
    steps: int = 100,
) -> figures.Figure:
    """Draw the three examples that each of some filters answers to most, where, and the input of gradient ascent.

    Args:
        model: a network.
        data: what it was trained on: a `Splits`, or the `Serving` of a run.
        layer: name of any layer with channels; if not given, the last stage with at least 4 positions along each axis,
            or the last one.
        filters: numbers of channels; the four whose answers differ most from example to example if not given.
        examples: raw ones to choose from; some of the data's own if not given.
        steps: of gradient ascent, which is left out for texts.

    Raises:
        ValueError: for an unknown layer or filter.
    """
    examples = [sized(data, raw) for raw in (raw_examples(data) if examples is None else examples)]
    x = prepared(data, examples)
    layer = usual_layer(model, x) if layer is None else layer
    answer = answers_of(model, layer, x)
    if filters is None:
        filters = most_different(answer)
    found = [] if is_tokens(x) else ascend(model, layer, filters, input_shape=x.shape[1:], steps=steps)
    panels = []
    for place, filter in enumerate(filters):
        for excitement in most_exciting(model, layer, filter, x):
            title = f"filter {filter}, example {excitement.example}: {excitement.answer:.2g}"
            panels.append(example_panel(data, title, examples[excitement.example], excitement.heat))
        if len(found):
            largest = answers_of(model, layer, found[place : place + 1])[..., filter].max()
            draw = lambda axes, best=found[place]: draw_input(axes, data, best)  # noqa: E731
            panels.append(Panel(f"filter {filter}, gradient ascent: {largest:.2g}", draw))
    title = f"what filters of {layer} of {model.name} answer to most, of {len(x)} examples"
    return gallery(data, panels, title, columns=4)


def usual_layer(model: keras.Model, x: np.ndarray) -> str:
    """Return the name of the stage whose filters are drawn where none is asked for.

    Raises:
        ValueError: if there is none.
    """
    layers = stages(model)
    shown = [layer for layer in layers.values() if not isinstance(layer, keras.layers.Embedding)] or list(
        layers.values()
    )
    if not shown:
        raise ValueError(f"{model.name} has no layers between its input and its output to look at")
    answers = outputs(model, x[:1], shown)
    placed = {name: answer for name, answer in answers.items() if has_positions(answer, x)}
    return deepest(placed, x) if placed else list(answers)[-1]


def most_different(answer: np.ndarray) -> list[int]:
    """Return the filters whose largest answers differ most from example to example, by their number."""
    largest = answer.reshape(len(answer), -1, answer.shape[-1]).max(1)
    return sorted(np.argsort(-largest.std(0), kind="stable")[:FILTERS].tolist())
