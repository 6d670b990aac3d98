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
    answers_of,
    example_panel,
    gallery,
    kind_of,
    prepared,
    raw_examples,
    sized,
    targets_of,
)
from kzoo.core.lazy import figures, keras, np
from kzoo.core.registry import lookup
from kzoo.data.trained import as_trained, task_of
from kzoo.nn.inspection import BATCH, feature_layers, forward_hooks, get_activations, get_outputs
from kzoo.tasks import Task
from kzoo.tasks.task import check_pooled

PARTS = {1: 20, 2: 8}  # windows side by side along an axis, by number of spatial axes
WORDS = 256  # largest number of tokens of which each is occluded on its own
SHOWN = {"image": 8, "curve": 6, "text": 8}  # examples drawn by default


def grad_cam(
    model: keras.Model, x: np.ndarray, output: int | str | None = None, stage: str | None = None
) -> np.ndarray:
    """Return the Grad-CAM map of one input: the evidence for an output at each position, relative to the largest.

    The map is the ReLU of the sum of the stage's channels, weighted by the mean gradient of the output with
    respect to each, resized to the input by linear interpolation. Selvaraju et al., 2017, Grad-CAM, https://arxiv.org/abs/1610.02391.

    Args:
        model: returns logits or values.
        x: one input as the model takes it, (length, channels), (height, width, channels), or (length,) of token ids.
        output: index or name of the class, tag or number; if not given, the predicted class, the most probable tag or
            the first number.
        stage: name of a layer; if not given, of token ids their embedding, else the last stage with at least 4
            positions along each axis.

    Returns:
        (length,) or (height, width), values in [0, 1].

    Raises:
        ValueError: for a network none of whose layers has positions, or an unknown output or stage.
    """
    x = np.asarray(x)[None]
    index = chosen_output(model, task_of(model), x, output)
    stage, activations = stage_activations(model, x, stage)
    layer = feature_layers(model)[stage]

    def value(change):
        with forward_hooks([layer], lambda _, given, made: made + change):
            return model(keras.ops.convert_to_tensor(x), training=False)[0, index]

    gradients = gradient(value, np.zeros_like(activations))
    weights = gradients.mean(tuple(range(1, gradients.ndim - 1)), keepdims=True)
    heat = resized(np.maximum((weights * activations).sum(-1)[0], 0), positions(x))
    return heat / (heat.max() or 1)


def chosen_output(model: keras.Model, task: Task, x: np.ndarray, output: int | str | None) -> int:
    """Return the index of an output, by default of the one that the task explains."""
    index = output_index(model, task, output)
    return task.explained(task.answers(get_outputs(model, x))[0]) if index is None else index


def output_index(model: keras.Model, task: Task, output: int | str | None) -> int | None:
    """Return the index of an output that is given by its index or its name; None for None.

    Raises:
        ValueError: if the model has no such output, or a task without one vector of outputs an example.
    """
    check_pooled(task, "an attribution map")
    if isinstance(output, str):
        return lookup(f"output of {model.name}", output, {name: index for index, name in enumerate(task.names)})
    if output is not None and not 0 <= output < task.outputs:
        raise ValueError(f"{model.name} has {task.noun} 0 to {task.outputs - 1}, got {output}")
    return output


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
    output: int | str | None = None,
    *,
    task: Task | None = None,
    window: int | tuple[int, ...] | None = None,
    stride: int | tuple[int, ...] | None = None,
    value: float | None = None,
) -> np.ndarray:
    """Return the occlusion map of one input: how much one number of the answer drops when each position is hidden.

    A window slides over the input; a position's value is the mean drop over the windows that cover it: of a probability
    for classes and tags, of the value in its unit for numbers. Only outputs of the network are used, so any will do.
    Zeiler, Fergus, 2014, Visualizing and Understanding Convolutional Networks, https://arxiv.org/abs/1311.2901.

    Args:
        model: returns logits or values.
        x: one input, as for `grad_cam`.
        output: as for `grad_cam`.
        task: of the network; if not given, what it was trained for, else a classification.
        window: size of the occluded window along each axis, in positions; an eighth of an image, a twentieth of a
            series, one token of a text if not given.
        stride: of the sliding window; half a window if not given.
        value: of occluded positions; 0 (padding) for token ids, else the example's mean of each channel if not given.

    Returns:
        The drop, (length,) or (height, width); negative where occlusion raises the number.

    Raises:
        ValueError: for an unknown output, or a window or stride that does not fit into the input.
    """
    x = np.asarray(x)
    sizes = positions(x[None])
    window = per_axis("window", window, sizes, usual_window(x[None]))
    stride = per_axis("stride", stride, sizes, tuple(-(-size // 2) for size in window))
    task = task_of(model) if task is None else task
    index = chosen_output(model, task, x[None], output)
    before = task.answers(get_outputs(model, x[None]))[0, index]
    if value is None:
        value = 0 if is_tokens(x[None]) else x.mean(tuple(range(len(sizes))))
    total, times = np.zeros(sizes), np.zeros(sizes)
    every = list(windows(sizes, window, stride))
    for batch in (every[start : start + BATCH] for start in range(0, len(every), BATCH)):
        occluded = np.repeat(x[None], len(batch), axis=0)
        for example, covered in zip(occluded, batch, strict=True):
            example[covered] = value
        after = task.answers(get_outputs(model, occluded))[:, index]
        for covered, changed in zip(batch, after, strict=True):
            total[covered] += before - changed
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
    output: int | str | None = None,
    stage: str | None = None,
) -> figures.Figure:
    """Draw `grad_cam` over raw examples: images, spectrograms, waveforms, texts or series.

    Args:
        model: returns logits or values.
        data: what it was trained on: a `Splits`, or the `Serving` of a run.
        examples: raw ones; some of the data's own if not given, with their targets where `data` is a `Splits`.
        output: index or name of the class, tag or number; if not given, for each example the predicted class or the
            most probable tag, or the first number.
        stage: see `grad_cam`.

    Raises:
        ValueError: as `grad_cam`.
    """
    data = as_trained(model, data)
    output = output_index(model, data.task, output)
    chosen = chosen_examples(model, data, examples)
    stage, _ = stage_activations(model, prepared(data, [chosen[0].raw]), stage)
    panels = attributed(model, data, chosen, output, lambda x, index: grad_cam(model, x, index, stage))
    title = f"Grad-CAM for {data.task.which(output)}, at {stage} of {model.name}"
    return gallery(data, panels, title, scale=Scale("evidence, relative to the panel's largest"))


def draw_occlusion(
    model: keras.Model, data: Data, examples: Sequence | None = None, *, output: int | str | None = None, **options
) -> figures.Figure:
    """Draw `occlusion` over raw examples; arguments as `draw_grad_cam`, and those of `occlusion`."""
    data = as_trained(model, data)
    task, output = data.task, output_index(model, data.task, output)
    chosen = chosen_examples(model, data, examples)

    def heat(x, index):
        return occlusion(model, x, index, task=task, **options)

    panels = attributed(model, data, chosen, output, heat, signed=True)
    title = f"occlusion: drop of the {task.quantity} of {task.which(output)}, by {model.name}"
    return gallery(data, panels, title, scale=Scale("drop, relative to the panel's largest", signed=True))


class Chosen(NamedTuple):
    """A raw example to draw, at the training's size, and its raw target where it is known."""

    raw: np.ndarray
    target: np.ndarray | None = None


def chosen_examples(model: keras.Model, data: Data, examples: Sequence | None) -> list[Chosen]:
    """Return the examples to draw; if none are given, a few of the data's, with many outputs to explain."""
    if examples is not None:
        return [Chosen(sized(data, raw)) for raw in examples]
    every = [sized(data, raw) for raw in raw_examples(data)]
    targets = targets_of(data)
    explained = [data.task.explained(row) for row in answers_of(model, data, prepared(data, every))]
    rank = [explained[:index].count(output) for index, output in enumerate(explained)]  # the first of each output is 0
    order = sorted(range(len(every)), key=lambda index: (rank[index], index))[: SHOWN[kind_of(data)]]
    return [Chosen(every[index], None if targets is None else targets[index]) for index in order]


def attributed(
    model: keras.Model,
    data: Data,
    examples: Sequence[Chosen],
    output: int | None,
    heat: Callable,
    *,
    signed: bool = False,
) -> list[Panel]:
    """Return a panel for each example: its target and its answer as title, and its map laid over it.

    Args:
        model: a network.
        data: what it was trained on.
        examples: to draw.
        output: index of the output that the maps are of; None for the one that the task explains.
        heat: function from an input and the index of an output to a map.
        signed: the maps have values below 0, too.
    """
    task, inputs, panels = data.task, prepared(data, [one.raw for one in examples]), []
    for one, x, answer in zip(examples, inputs, answers_of(model, data, inputs), strict=True):
        found = heat(x, task.explained(answer) if output is None else output)
        title = task.caption(answer, output, one.target)
        if signed:
            between = "\n" if kind_of(data) == "image" else ", "
            title += f"{between}largest change {task.shown(np.abs(found).max())}"
        elif not found.any():
            title += ", no evidence"
        panels.append(example_panel(data, title, one.raw, found, signed=signed))
    return panels
