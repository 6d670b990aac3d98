"""Attribution maps: Grad-CAM and occlusion."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kzoo.analysis.visualize.gradients import deepest, gradient, has_positions, is_tokens, positions, resized
from kzoo.analysis.visualize.overlay import (
    Data,
    Panel,
    Scale,
    example_panel,
    gallery,
    kind_of,
    labels_of,
    prepared,
    raw_examples,
    sized,
)
from kzoo.core.lazy import figures, keras, np
from kzoo.core.numbers import percent
from kzoo.core.registry import lookup
from kzoo.data.trained import as_trained
from kzoo.nn.inspection import BATCH, class_probabilities, feature_layers, forward_hooks, get_activations

PARTS = {1: 20, 2: 8}  # windows side by side along an axis, by number of spatial axes
WORDS = 256  # largest number of tokens of which each is occluded on its own
SHOWN = {"image": 8, "curve": 6, "text": 8}  # examples drawn by default


def grad_cam(model: keras.Model, x: np.ndarray, class_index: int | None = None, stage: str | None = None) -> np.ndarray:
    """Return the Grad-CAM map of one input: the evidence for a class at each position, relative to the largest.

    The map is the ReLU of the sum of the stage's channels, weighted by the mean gradient of the class's logit with
    respect to each, resized to the input by linear interpolation. Selvaraju et al., 2017, Grad-CAM, https://arxiv.org/abs/1610.02391.

    Args:
        model: a classifier.
        x: one input as the model takes it, (length, channels), (height, width, channels), or (length,) of token ids.
        class_index: of the class; the predicted one if not given.
        stage: name of a layer; if not given, of token ids their embedding, else the last stage with at least 4
            positions along each axis.

    Returns:
        (length,) or (height, width), values in [0, 1].

    Raises:
        ValueError: for a network none of whose layers has positions, or an unknown class or stage.
    """
    x = np.asarray(x)[None]
    class_index = chosen_class(model, x, class_index)
    stage, activations = stage_activations(model, x, stage)
    layer = feature_layers(model)[stage]

    def logit(change):
        with forward_hooks([layer], lambda _, given, made: made + change):
            return model(keras.ops.convert_to_tensor(x), training=False)[0, class_index]

    gradients = gradient(logit, np.zeros_like(activations))
    weights = gradients.mean(tuple(range(1, gradients.ndim - 1)), keepdims=True)
    heat = resized(np.maximum((weights * activations).sum(-1)[0], 0), positions(x))
    return heat / (heat.max() or 1)


def chosen_class(model: keras.Model, x: np.ndarray, class_index: int | None) -> int:
    """Return the index of a class, by default of the predicted one.

    Raises:
        ValueError: if the model has no such class.
    """
    scores = class_probabilities(model, x)[0]
    if class_index is None:
        return int(scores.argmax())
    if not 0 <= class_index < len(scores):
        raise ValueError(f"{model.name} has classes 0 to {len(scores) - 1}, got {class_index}")
    return int(class_index)


def stage_activations(model: keras.Model, x: np.ndarray, stage: str | None = None) -> tuple[str, np.ndarray]:
    """Return the name of a stage with positions, and its output for a batch.

    Raises:
        ValueError: if there is no such stage.
    """
    activations = get_activations(model, x, list(feature_layers(model).values()))
    placed = {name: values for name, values in activations.items() if has_positions(values, x)}
    if not placed:
        raise ValueError(
            f"{model.name} has no convolution and no other layer with positions, which Grad-CAM needs; "
            "occlusion works without"
        )
    if stage is None:
        stage = next(iter(placed)) if is_tokens(x) else deepest(placed, x)
    return stage, lookup(f"stage with positions of {model.name}", stage, placed)


def occlusion(
    model: keras.Model,
    x: np.ndarray,
    class_index: int | None = None,
    *,
    window: int | tuple[int, ...] | None = None,
    stride: int | tuple[int, ...] | None = None,
    value: float | None = None,
) -> np.ndarray:
    """Return the occlusion map of one input: how much a class's probability drops when each position is hidden.

    A window slides over the input; a position's value is the mean drop over the windows that cover it. Only outputs of
    the network are used, so any classifier will do. Zeiler, Fergus, 2014, Visualizing and Understanding Convolutional
    Networks, https://arxiv.org/abs/1311.2901.

    Args:
        model: a classifier that returns logits.
        x: one input, as for `grad_cam`.
        class_index: of the class; the predicted one if not given.
        window: size of the occluded window along each axis, in positions; an eighth of an image, a twentieth of a
            series, one token of a text if not given.
        stride: of the sliding window; half a window if not given.
        value: of occluded positions; 0 (padding) for token ids, else the example's mean of each channel if not given.

    Returns:
        Drop of the probability, (length,) or (height, width), in [-1, 1]; negative where occlusion raises it.

    Raises:
        ValueError: for an unknown class, or a window or stride that does not fit into the input.
    """
    x = np.asarray(x)
    sizes = positions(x[None])
    window = per_axis("window", window, sizes, usual_window(x[None]))
    stride = per_axis("stride", stride, sizes, tuple(-(-size // 2) for size in window))
    class_index = chosen_class(model, x[None], class_index)
    before = class_probabilities(model, x[None])[0, class_index]
    if value is None:
        value = 0 if is_tokens(x[None]) else x.mean(tuple(range(len(sizes))))
    total, times = np.zeros(sizes), np.zeros(sizes)
    every = list(windows(sizes, window, stride))
    for batch in (every[start : start + BATCH] for start in range(0, len(every), BATCH)):
        occluded = np.repeat(x[None], len(batch), axis=0)
        for example, covered in zip(occluded, batch, strict=True):
            example[covered] = value
        after = class_probabilities(model, occluded)[:, class_index]
        for covered, probability in zip(batch, after, strict=True):
            total[covered] += before - probability
            times[covered] += 1
    return total / np.maximum(times, 1)


def usual_window(x: np.ndarray) -> tuple[int, ...]:
    """Return the default size of the occluded window along each axis."""
    sizes = positions(x)
    if is_tokens(x):
        return (-(-sizes[0] // WORDS),)
    return tuple(max(1, round(size / PARTS[len(sizes)])) for size in sizes)


def per_axis(name: str, given: int | tuple[int, ...] | None, sizes: tuple[int, ...], usual: tuple) -> tuple[int, ...]:
    """Return a size as one integer for each axis.

    Raises:
        ValueError: unless each is from 1 to the size of the axis.
    """
    if given is None:
        return usual
    found = (given,) * len(sizes) if isinstance(given, int) else tuple(given)
    if len(found) != len(sizes) or not all(1 <= one <= size for one, size in zip(found, sizes, strict=True)):
        raise ValueError(f"{name} must be from 1 to the input's {sizes}, for each axis, got {given}")
    return found


def windows(sizes: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Yield windows as slices; together they cover all positions if no stride is wider than its window."""
    starts = [
        sorted({*range(0, size - wide, step), size - wide})
        for size, wide, step in zip(sizes, window, stride, strict=True)
    ]
    for corner in itertools.product(*starts):
        yield tuple(slice(start, start + wide) for start, wide in zip(corner, window, strict=True))


def draw_grad_cam(
    model: keras.Model,
    data: Data,
    examples: Sequence | None = None,
    *,
    class_index: int | None = None,
    stage: str | None = None,
) -> figures.Figure:
    """Draw `grad_cam` over raw examples: images, spectrograms, waveforms, texts or series.

    Args:
        model: a classifier that returns logits.
        data: what it was trained on: a `Splits`, or the `Serving` of a run.
        examples: raw ones; some of the data's own if not given, with their true classes where `data` is a `Splits`.
        class_index: of the class; for each example the predicted one if not given.
        stage: see `grad_cam`.

    Raises:
        ValueError: as `grad_cam`.
    """
    data = as_trained(model, data)
    chosen = chosen_examples(model, data, examples)
    stage, _ = stage_activations(model, prepared(data, [chosen[0].raw]), stage)
    panels = attributed(model, data, chosen, class_index, lambda x: grad_cam(model, x, class_index, stage))
    title = f"Grad-CAM for the {explained(data, class_index)} class, at {stage} of {model.name}"
    return gallery(data, panels, title, scale=Scale("evidence for the class, relative to the panel's largest"))


def draw_occlusion(
    model: keras.Model, data: Data, examples: Sequence | None = None, *, class_index: int | None = None, **options
) -> figures.Figure:
    """Draw `occlusion` over raw examples; arguments as `draw_grad_cam`, and those of `occlusion`."""
    data = as_trained(model, data)
    chosen = chosen_examples(model, data, examples)

    def heat(x):
        return occlusion(model, x, class_index, **options)

    panels = attributed(model, data, chosen, class_index, heat, signed=True)
    title = f"occlusion: drop of the probability of the {explained(data, class_index)} class, by {model.name}"
    return gallery(data, panels, title, scale=Scale("drop, relative to the panel's largest", signed=True))


def explained(data: Data, class_index: int | None) -> str:
    """Return which class a map is of, in words."""
    return "predicted" if class_index is None else f"{data.class_names[class_index]!r}"


class Chosen(NamedTuple):
    """A raw example to draw, at the training's size, and the index of its true class where it is known."""

    raw: np.ndarray
    label: int | None = None


def chosen_examples(model: keras.Model, data: Data, examples: Sequence | None) -> list[Chosen]:
    """Return the examples to draw; if none are given, a few of the data's, of many predicted classes."""
    if examples is not None:
        return [Chosen(sized(data, raw)) for raw in examples]
    every = [sized(data, raw) for raw in raw_examples(data)]
    labels = labels_of(data) or [None] * len(every)
    classes = class_probabilities(model, prepared(data, every)).argmax(-1).tolist()
    rank = [classes[:index].count(predicted) for index, predicted in enumerate(classes)]  # the first of each class is 0
    order = sorted(range(len(every)), key=lambda index: (rank[index], index))
    return [Chosen(every[index], labels[index]) for index in order[: SHOWN[kind_of(data)]]]


def attributed(
    model: keras.Model,
    data: Data,
    examples: Sequence[Chosen],
    class_index: int | None,
    heat: Callable,
    *,
    signed: bool = False,
) -> list[Panel]:
    """Return a panel for each example: its classes and probability as title, and its map laid over it."""
    inputs, panels = prepared(data, [one.raw for one in examples]), []
    for one, x, scores in zip(examples, inputs, class_probabilities(model, inputs), strict=True):
        found = heat(x)
        title = panel_title(data, scores, class_index, one.label)
        if signed:
            between = "\n" if kind_of(data) == "image" else ", "
            title += f"{between}largest change {percent(np.abs(found).max(), 0)}"
        elif not found.any():
            title += ", no evidence"
        panels.append(example_panel(data, title, one.raw, found, signed=signed))
    return panels


def panel_title(data: Data, scores: np.ndarray, class_index: int | None, label: int | None) -> str:
    """Return e.g. "true 6, predicted 8 (39 %)"; of a class that was asked for, its probability as well."""
    predicted, names = int(scores.argmax()), data.class_names
    words = [] if label is None else [f"true {names[label]}"]
    words.append(f"predicted {names[predicted]} ({percent(scores[predicted], 0)})")
    if class_index not in (None, predicted):
        words.append(f"{names[class_index]} ({percent(scores[class_index], 0)})")
    return ", ".join(words)
