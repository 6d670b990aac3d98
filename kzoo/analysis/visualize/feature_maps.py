"""What a network makes of examples: its feature maps, stage by stage, and where its features put them."""

from __future__ import annotations

from collections.abc import Sequence

from kzoo.analysis.visualize.inside import BATCH, all_layers, observed, outputs, probabilities, stages
from kzoo.analysis.visualize.overlay import (
    FORMS,
    Data,
    example_panel,
    is_spectral,
    kind_of,
    prepared,
    raw_examples,
    sized,
)
from kzoo.core.lazy import figures, keras, lazy_import, matplotlib, np

decomposition = lazy_import("sklearn.decomposition")

HEIGHTS = {2: 0.3, 3: 1.3, 4: 0.95}  # of a stage in inches: a vector, a series, an image
MAPS = 10  # channels of a stage that are drawn beside each other
ROWS = 64  # channels of a stage that are drawn as rows of one picture
EXAMPLES = 1000  # in an embedding map at most
LEGEND = 20  # classes up to which they are named in it


def draw_feature_maps(model: keras.Model, data: Data, example=None) -> figures.Figure:
    """Draw an example and, under it, what each stage of a network makes of it.

    Stages of images show the ten channels that vary most, each in its own range of grey; stages of series and texts,
    and vectors, show their channels as rows of a picture, at most the 64 that vary most.

    Args:
        model: a network.
        data: what it was trained on: a `Splits`, or the `Serving` of a run.
        example: a raw one; the data's first if not given.

    Raises:
        ValueError: for a network none of whose layers has weights.
    """
    raw = sized(data, raw_examples(data)[0] if example is None else example)
    layers = list(stages(model).values())
    if not layers:
        raise ValueError(f"{model.name} has no layers between its input and its output to look at")
    answers = outputs(model, prepared(data, [raw]), layers)
    panel = example_panel(data, "", raw, None)
    heights = [panel.height or min(FORMS[kind_of(data)].height, 1.7), *(HEIGHTS[one.ndim] for one in answers.values())]
    figure = figures.Figure(figsize=(10, sum(heights) + 0.3 * len(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    parts[0].suptitle(model.name, fontsize=9)
    panel.draw(parts[0].subplots())
    for part, (name, answer) in zip(parts[1:], answers.items(), strict=True):
        part.suptitle(f"{name}: {' x '.join(map(str, answer.shape[1:]))}", fontsize=9, ha="left", x=0.01)
        draw_stage(part, answer[0], data)
    return figure


def draw_stage(part, answer: np.ndarray, data: Data) -> None:
    """Draw one stage's output, (height, width, channels), (length, channels) or (channels,), on a part of a figure."""
    if answer.ndim == 3:
        upright = {"origin": "lower", "aspect": "auto"} if is_spectral(data) else {}
        across = bool(upright) and data.preprocess.layout == "time_frequency"
        for axes, channel in zip(part.subplots(1, MAPS), most_varied(answer, MAPS), strict=False):
            picture = answer[..., channel]
            axes.imshow(picture.T if across else picture, cmap="gray", **upright)
        for axes in part.axes:
            axes.set_axis_off()
        return
    rows = answer[:, most_varied(answer, ROWS)].T if answer.ndim == 2 else answer[None]
    axes = part.subplots()
    axes.imshow(rows, aspect="auto", cmap="viridis", interpolation="nearest")
    axes.set_axis_off()


def most_varied(answer: np.ndarray, most: int) -> list[int]:
    """Return the numbers of the channels that vary most over the positions, in their order."""
    spread = answer.reshape(-1, answer.shape[-1]).std(0)
    return sorted(np.argsort(-spread, kind="stable")[:most].tolist())


def features(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return what the last layer with weights, the classifier, is given for each input, (n, channels).

    Where it is given feature maps, their mean over the positions.
    """
    last = [layer for layer in all_layers(model).values() if layer.weights][-1]
    parts = [observed(model, x[start : start + BATCH], [last])[last.name][0] for start in range(0, len(x), BATCH)]
    found = np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
    return found.mean(tuple(range(1, found.ndim - 1)))


def draw_embedding(
    model: keras.Model, data: Data, *, split: str = "validation", most: int = EXAMPLES
) -> figures.Figure:
    """Draw where a network's last features put examples, along the two directions in which they differ most (PCA).

    Args:
        model: a classifier that returns logits.
        data: a `Splits`, whose examples have the colours of their true classes, with a ring around those that the
            model takes for another; or the `Serving` of a run, with those of the predicted ones.
        split: "train", "validation" or "test", of a `Splits`.
        most: examples, evenly from the whole split.

    Raises:
        ValueError: for fewer than three examples.
    """
    raw, labels = labelled(data, split, most)
    if len(raw) < 3:
        raise ValueError(f"a map of features needs three examples at least, got {len(raw)}")
    inputs = prepared(data, [sized(data, one) for one in raw])
    predicted = probabilities(model, inputs).argmax(-1)
    found = features(model, inputs)
    plane = decomposition.PCA(min(2, found.shape[1]), random_state=0).fit(found)
    points = np.pad(plane.transform(found), ((0, 0), (0, 1)))[:, :2]
    what = "predicted" if labels is None else "true"
    figure = figures.Figure(figsize=(7.5, 5.5), layout="constrained")
    axes = figure.subplots()
    draw_points(axes, points, predicted if labels is None else labels, data.class_names)
    if labels is not None and (wrong := predicted != labels).any():
        ring = {"facecolors": "none", "edgecolors": "black", "linewidths": 0.7}
        axes.scatter(*points[wrong].T, s=45, label="taken for another", **ring)
    shares = [*plane.explained_variance_ratio_, 0.0][:2]
    axes.set(xlabel=f"first direction, {shares[0]:.0%} of the variance", ylabel=f"second, {shares[1]:.0%}")
    axes.set_title(f"{found.shape[1]} features of {model.name}, {len(raw)} examples, colours: {what} class", fontsize=9)
    if len(data.class_names) <= LEGEND:
        figure.legend(loc="outside right center", fontsize=8)
    axes.grid(alpha=0.2)
    return figure


def draw_points(axes, points: np.ndarray, classes: np.ndarray, class_names: Sequence[str]) -> None:
    """Draw points (n, 2) in the colours of their classes."""
    palette = matplotlib.colormaps["tab10" if len(class_names) <= 10 else "tab20"].colors
    size = 40 if len(points) < 100 else 14
    for number, name in enumerate(class_names):
        own = classes == number
        if own.any():
            axes.scatter(*points[own].T, s=size, color=palette[number % len(palette)], label=name, alpha=0.8)


def labelled(data: Data, split: str, most: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return raw examples, and their class numbers where they are known."""
    if not hasattr(data, "batch_size"):
        return data.examples, None
    examples = data.examples[split]
    places = np.linspace(0, len(examples) - 1, min(most, len(examples))).round().astype(int)
    return examples.inputs[places], np.asarray(examples.labels)[places]
