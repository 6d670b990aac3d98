"""Which part of an example speaks for a class: Grad-CAM, and hiding parts of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from kzoo.analysis.visualize.inside import (
    BATCH,
    deepest,
    gradient,
    has_positions,
    is_tokens,
    outputs,
    overheard,
    positions,
    probabilities,
    resized,
    stages,
)
from kzoo.analysis.visualize.overlay import Data, Panel, example_panel, gallery, kind_of, prepared, raw_examples, sized
from kzoo.core.lazy import figures, keras, np
from kzoo.core.registry import lookup

PARTS = {1: 20, 2: 8}  # windows that lie beside each other along an axis, by number of axes
WORDS = 256  # tokens up to which each is hidden on its own


def grad_cam(
    model: keras.Model, x: np.ndarray, class_number: int | None = None, stage: str | None = None
) -> np.ndarray:
    """Return where the features of a stage speak for a class: 0 for nowhere, 1 where they do most.

    The map is the sum of the stage's channels, each weighted by how much the class's logit grows with it on average,
    with what speaks against the class left out. It is as fine as the stage, and is enlarged to the input by straight
    lines. Selvaraju et al., 2017, Grad-CAM, https://arxiv.org/abs/1610.02391.

    Args:
        model: a classifier.
        x: one input as the model takes it, (length, channels), (height, width, channels), or (length,) of token ids.
        class_number: of the class; the predicted one if not given.
        stage: name of a layer; if not given, of token ids their embedding, else the last stage with at least 4
            positions along each axis.

    Returns:
        One value for each position of the input, (length,) or (height, width).

    Raises:
        ValueError: for a network none of whose layers has positions, or an unknown class or stage.
    """
    x = np.asarray(x)[None]
    class_number = chosen_class(model, x, class_number)
    stage, answer = answer_of_stage(model, x, stage)
    layer = stages(model)[stage]

    def score(change):
        with overheard([layer], lambda _, given, made: made + change):
            return model(keras.ops.convert_to_tensor(x), training=False)[0, class_number]

    slope = gradient(score, np.zeros_like(answer))
    weights = slope.mean(tuple(range(1, slope.ndim - 1)), keepdims=True)
    heat = resized(np.maximum((weights * answer).sum(-1)[0], 0), positions(x))
    return heat / (heat.max() or 1)


def chosen_class(model: keras.Model, x: np.ndarray, class_number: int | None) -> int:
    """Return a class number, the predicted one if there is none.

    Raises:
        ValueError: if the model has no such class.
    """
    scores = probabilities(model, x)[0]
    if class_number is None:
        return int(scores.argmax())
    if not 0 <= class_number < len(scores):
        raise ValueError(f"{model.name} has classes 0 to {len(scores) - 1}, got {class_number}")
    return int(class_number)


def answer_of_stage(model: keras.Model, x: np.ndarray, stage: str | None = None) -> tuple[str, np.ndarray]:
    """Return the name of a stage with positions, and its output for a batch.

    Raises:
        ValueError: if there is no such stage.
    """
    answers = outputs(model, x, list(stages(model).values()))
    placed = {name: answer for name, answer in answers.items() if has_positions(answer, x)}
    if not placed:
        raise ValueError(
            f"{model.name} has no convolution and no other layer with positions, so Grad-CAM cannot say where; "
            "occlusion can"
        )
    if stage is None:
        stage = next(iter(placed)) if is_tokens(x) else deepest(placed, x)
    return stage, lookup(f"stage with positions of {model.name}", stage, placed)


def occlusion(
    model: keras.Model,
    x: np.ndarray,
    class_number: int | None = None,
    *,
    window: int | tuple[int, ...] | None = None,
    stride: int | tuple[int, ...] | None = None,
    value: float | None = None,
) -> np.ndarray:
    """Return how much less probable a class becomes when a position is hidden, on average over the windows on it.

    Zeiler, Fergus, 2014, Visualizing and Understanding Convolutional Networks, https://arxiv.org/abs/1311.2901. It asks
    nothing of the network but its answers, so it works for any.

    Args:
        model: a classifier that returns logits.
        x: one input, as for `grad_cam`.
        class_number: of the class; the predicted one if not given.
        window: positions that are hidden at a time along each axis; an eighth of an image's, a twentieth of a series',
            one token of a text if not given.
        stride: from window to window; half a window if not given.
        value: what stands in a hidden position; 0 (padding) for token ids, else the example's mean of each channel if
            not given.

    Returns:
        A change of probability for each position, (length,) or (height, width): above 0 where hiding takes from the
        class, below 0 where it adds to it.

    Raises:
        ValueError: for an unknown class, or a window or stride that does not fit into the input.
    """
    x = np.asarray(x)
    sizes = positions(x[None])
    window = per_axis("window", window, sizes, usual_window(x[None]))
    stride = per_axis("stride", stride, sizes, tuple(-(-size // 2) for size in window))
    class_number = chosen_class(model, x[None], class_number)
    before = probabilities(model, x[None])[0, class_number]
    if value is None:
        value = 0 if is_tokens(x[None]) else x.mean(tuple(range(len(sizes))))
    total, times = np.zeros(sizes), np.zeros(sizes)
    every = list(windows(sizes, window, stride))
    for places in (every[start : start + BATCH] for start in range(0, len(every), BATCH)):
        hidden = np.repeat(x[None], len(places), axis=0)
        for example, place in zip(hidden, places, strict=True):
            example[place] = value
        after = probabilities(model, hidden)[:, class_number]
        for place, probability in zip(places, after, strict=True):
            total[place] += before - probability
            times[place] += 1
    return total / np.maximum(times, 1)


def usual_window(x: np.ndarray) -> tuple[int, ...]:
    """Return the sizes of the windows that are hidden where nothing is asked for."""
    sizes = positions(x)
    if is_tokens(x):
        return (-(-sizes[0] // WORDS),)
    return tuple(max(1, round(size / PARTS[len(sizes)])) for size in sizes)


def per_axis(name: str, given: int | tuple[int, ...] | None, sizes: tuple[int, ...], usual: tuple) -> tuple[int, ...]:
    """Spell out a size with one integer for each axis.

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
    """Yield the places of windows that together cover all positions if no stride is wider than its window."""
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
    class_number: int | None = None,
    stage: str | None = None,
) -> figures.Figure:
    """Draw `grad_cam` over raw examples: the image, the spectrogram, the waveform, the words or the series.

    Args:
        model: a classifier that returns logits.
        data: what it was trained on: a `Splits`, or the `Serving` of a run.
        examples: raw ones; some of the data's own if not given.
        class_number: of the class; for each example the predicted one if not given.
        stage: see `grad_cam`.

    Raises:
        ValueError: as `grad_cam`.
    """
    chosen = examples_of(model, data, examples)
    stage, _ = answer_of_stage(model, prepared(data, chosen[:1]), stage)

    def heat(x):
        return grad_cam(model, x, class_number, stage)

    panels = attributed(model, data, chosen, class_number, heat, signed=False)
    return gallery(data, panels, f"Grad-CAM at {stage} of {model.name}: the redder, the more it speaks for the class")


def draw_occlusion(
    model: keras.Model, data: Data, examples: Sequence | None = None, *, class_number: int | None = None, **options
) -> figures.Figure:
    """Draw `occlusion` over raw examples; arguments as `draw_grad_cam`, and those of `occlusion`."""
    chosen = examples_of(model, data, examples)

    def heat(x):
        return occlusion(model, x, class_number, **options)

    panels = attributed(model, data, chosen, class_number, heat, signed=True)
    title = "what hiding a part does to the class's probability: red, it sinks by up to the share named; blue, it rises"
    return gallery(data, panels, title)


def examples_of(model: keras.Model, data: Data, examples: Sequence | None) -> list:
    """Return raw examples at the training's size; if none are given, a few of the data's, of many predicted classes."""
    if examples is not None:
        return [sized(data, raw) for raw in examples]
    every = [sized(data, raw) for raw in raw_examples(data)]
    classes = probabilities(model, prepared(data, every)).argmax(-1).tolist()
    rank = [classes[:place].count(number) for place, number in enumerate(classes)]  # the first of each class is 0
    order = sorted(range(len(every)), key=lambda place: (rank[place], place))
    return [every[place] for place in order[: SHOWN[kind_of(data)]]]


SHOWN = {"image": 8, "curve": 6, "text": 8}  # examples, if none are given


def attributed(
    model: keras.Model, data: Data, examples: Sequence, class_number: int | None, heat: Callable, *, signed: bool
) -> list[Panel]:
    """Return a panel for each raw example, named by the class and its probability, with a map over it."""
    inputs, panels = prepared(data, examples), []
    for raw, x, scores in zip(examples, inputs, probabilities(model, inputs), strict=True):
        number = int(scores.argmax()) if class_number is None else class_number
        found = heat(x)
        most = np.abs(found).max()
        remark = f", by up to {most:.0%}" if signed else "" if most else ", nothing speaks for it"
        title = f"{data.class_names[number]}: {scores[number]:.0%}{remark}"
        panels.append(example_panel(data, title, raw, found, signed=signed))
    return panels
