"""Feature maps of each stage, and a two-dimensional embedding (PCA) of the last features."""

from __future__ import annotations

from collections.abc import Sequence

from kzoo.analysis.visualize.overlay import (
    FORMS,
    Data,
    answers_of,
    example_panel,
    is_spectral,
    kind_of,
    prepared,
    raw_examples,
    sized,
)
from kzoo.core.lazy import figures, keras, lazy_import, matplotlib, np
from kzoo.core.numbers import percent
from kzoo.core.ranges import evenly_spaced
from kzoo.data.serving import Serving
from kzoo.data.sources import as_targets
from kzoo.data.trained import as_trained
from kzoo.nn.inspection import (
    BATCH,
    all_layers,
    feature_layers,
    get_activations,
    get_inputs_and_outputs,
)
from kzoo.tasks import Task
from kzoo.tasks.task import check_pooled

decomposition = lazy_import("sklearn.decomposition")

HEIGHTS = {2: 0.3, 3: 1.3, 4: 0.95}  # of a stage in inches: a vector, a series, an image
MAPS = 10  # channels of a stage that are drawn side by side
ROWS = 64  # channels of a stage that are drawn as rows of one picture
EXAMPLES = 1000  # in an embedding at most
LEGEND = 20  # largest number of classes that a legend names


def draw_feature_maps(model: keras.Model, data: Data, example=None) -> figures.Figure:
    """Draw an example and, below it, the feature maps of each stage of a network.

    Stages of images show the ten channels that vary most, each in its own range of grey; stages of series and texts,
    and vectors, show their channels as rows of a picture, at most the 64 that vary most.

    Args:
        model: a network.
        data: what it was trained on: a `Splits`, or the `Serving` of a run.
        example: a raw one; the data's first if not given.

    Raises:
        ValueError: for a network none of whose layers has weights.
    """
    data = as_trained(model, data)
    raw = sized(data, raw_examples(data)[0] if example is None else example)
    layers = list(feature_layers(model).values())
    if not layers:
        raise ValueError(f"{model.name} has no layers between its input and its output to look at")
    activations = get_activations(model, prepared(data, [raw]), layers)
    panel = example_panel(data, "", raw, None)
    first = panel.height or min(FORMS[kind_of(data)].height, 1.7)
    heights = [first, *(HEIGHTS[maps.ndim] for maps in activations.values())]
    figure = figures.Figure(figsize=(10, sum(heights) + 0.3 * len(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    parts[0].suptitle(model.name, fontsize=9)
    panel.draw(parts[0].subplots())
    for part, (name, maps) in zip(parts[1:], activations.items(), strict=True):
        part.suptitle(f"{name}: {' x '.join(map(str, maps.shape[1:]))}", fontsize=9, ha="left", x=0.01)
        draw_stage(part, maps[0], data)
    return figure


def draw_stage(part, maps: np.ndarray, data: Data) -> None:
    """Draw one stage's output, (height, width, channels), (length, channels) or (channels,), on a subfigure."""
    if maps.ndim == 3:
        upright = {"origin": "lower", "aspect": "auto"} if is_spectral(data) else {}
        across = bool(upright) and data.preprocess.layout == "time_frequency"
        for axes, channel in zip(part.subplots(1, MAPS), most_varied(maps, MAPS), strict=False):
            picture = maps[..., channel]
            axes.imshow(picture.T if across else picture, cmap="gray", **upright)
        for axes in part.axes:
            axes.set_axis_off()
        return
    rows = maps[:, most_varied(maps, ROWS)].T if maps.ndim == 2 else maps[None]
    axes = part.subplots()
    axes.imshow(rows, aspect="auto", cmap="viridis", interpolation="nearest")
    axes.set_axis_off()


def most_varied(maps: np.ndarray, count: int) -> list[int]:
    """Return the indices of the channels with the largest variance over the positions, ascending."""
    std = maps.reshape(-1, maps.shape[-1]).std(0)
    return sorted(np.argsort(-std, kind="stable")[:count].tolist())


def features(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return the penultimate features: the input of the last layer with weights, (n, channels).

    Feature maps are averaged over their positions.
    """
    last = [layer for layer in all_layers(model).values() if layer.weights][-1]
    batches = (x[start : start + BATCH] for start in range(0, len(x), BATCH))
    parts = [get_inputs_and_outputs(model, batch, [last])[last.name][0] for batch in batches]
    found = np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
    return found.mean(tuple(range(1, found.ndim - 1)))


def draw_embedding(
    model: keras.Model, data: Data, *, split: str = "validation", most: int = EXAMPLES
) -> figures.Figure:
    """Draw the penultimate features of examples along their first two principal components.

    Args:
        model: returns logits or values.
        data: a `Splits`, whose examples are coloured by true class (with a ring around misclassified ones), by the most
            probable of their tags, or by the first number; or the `Serving` of a run, whose examples are coloured by
            what is predicted.
        split: "train", "validation" or "test", of a `Splits`.
        most: largest number of examples, evenly spaced over the split.

    Raises:
        ValueError: for fewer than three examples, or a task without one vector of outputs an example.
    """
    data = as_trained(model, data)
    check_pooled(data.task, "an embedding")
    raw, targets = labelled(data, split, most)
    if len(raw) < 3:
        raise ValueError(f"an embedding needs at least three examples, got {len(raw)}")
    inputs = prepared(data, [sized(data, one) for one in raw])
    answers = answers_of(model, data, inputs)
    found = features(model, inputs)
    plane = decomposition.PCA(min(2, found.shape[1]), random_state=0).fit(found)
    points = np.pad(plane.transform(found), ((0, 0), (0, 1)))[:, :2]
    figure = figures.Figure(figsize=(7.5, 5.5), layout="constrained")
    axes = figure.subplots()
    what = draw_shaded(figure, axes, points, data.task, data.task.shades(answers, targets))
    if data.task.exclusive and targets is not None and (wrong := answers.argmax(-1) != targets).any():
        ring = {"facecolors": "none", "edgecolors": "black", "linewidths": 0.7}
        axes.scatter(*points[wrong].T, s=45, label="misclassified", **ring)
    first, second = (percent(ratio, 0) for ratio in [*plane.explained_variance_ratio_, 0.0][:2])
    axes.set(xlabel=f"first principal component, {first} of the variance", ylabel=f"second, {second}")
    title = f"PCA of {found.shape[1]} features of {model.name}, {len(raw)} examples, coloured by "
    axes.set_title(f"{title}{'predicted' if targets is None else 'true'} {what}", fontsize=9)
    if len(axes.get_legend_handles_labels()[1]) <= LEGEND:
        figures.add_legend(figure, axes.collections, loc="outside right center", fontsize=8)
    axes.grid(alpha=0.2)
    return figure


def draw_shaded(figure, axes, points: np.ndarray, task: Task, shades: np.ndarray) -> str:
    """Draw points (n, 2) in the colours of `Task.shades`; return what they stand for, in words."""
    size = 40 if len(points) < 100 else 14
    if shades.dtype.kind in "iu":
        draw_points(axes, points, shades, task.names, size)
        return task.noun
    drawn = axes.scatter(*points.T, c=shades, s=size, cmap="viridis", alpha=0.8)
    figure.colorbar(drawn, label=task.which(None))
    return task.which(None)


def draw_points(axes, points: np.ndarray, classes: np.ndarray, class_names: Sequence[str], size: float) -> None:
    """Draw points (n, 2), coloured by class."""
    palette = matplotlib.colormaps["tab10" if len(class_names) <= 10 else "tab20"].colors
    for index, name in enumerate(class_names):
        own = classes == index
        if own.any():
            axes.scatter(*points[own].T, s=size, color=palette[index % len(palette)], label=name, alpha=0.8)


def labelled(data: Data, split: str, most: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return raw examples, and their raw targets where they are known."""
    if isinstance(data, Serving):
        return data.examples, None
    examples = data.examples[split]
    chosen = evenly_spaced(len(examples.inputs), most)
    return examples.inputs[chosen], as_targets(examples.labels)[chosen]
