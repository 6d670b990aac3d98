"""Pictures of training: the curves of one run, and those of several beside each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kzoo.core.files import write_file
from kzoo.core.lazy import figures, matplotlib

LEARNING_RATE = "learning_rate"
DOTTED_UP_TO = 30  # epochs that are drawn as points too; of one epoch there is no line


class Curve(NamedTuple):
    """What is drawn of one of several runs.

    Attributes:
        name: for the legend.
        history: values per epoch, by metric.
        accuracy: (accuracy, lower end, upper end of its interval), in [0, 1]; None where it was not measured.
    """

    name: str
    history: Mapping[str, Sequence[float]]
    accuracy: tuple[float, float, float] | None


def draw_curves(path: Path, history: Mapping[str, Sequence[float]], best_epoch: int) -> None:
    """Draw each metric of training and validation over the epochs, and the learning rate if it is known.

    Args:
        path: the picture to write; its ending says the format.
        history: values per epoch; `val_NAME` is drawn with `NAME`, `learning_rate` on a logarithmic axis.
        best_epoch: whose weights were kept, counted from 1; a line marks it.
    """
    names = [name for name in history if f"val_{name}" in history]
    if any(rate > 0 for rate in history.get(LEARNING_RATE, ())):
        names.append(LEARNING_RATE)
    if not names:
        return
    picture = figures.Figure(figsize=(5 * len(names), 4), layout="constrained")
    for axes, name in zip(picture.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        if name == LEARNING_RATE:
            draw_learning_rate(axes, history[name])
        else:
            draw_line(axes, history[name], label="train")
            draw_line(axes, history[f"val_{name}"], label="validation")
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"best, epoch {best_epoch}")
        label_epochs(axes, name.replace("_", " "), len(history[name]))
        axes.legend()
    save(picture, path)


def draw_learning_rate(axes, rates: Sequence[float]) -> None:
    """Draw learning rates on a logarithmic axis, which leaves out the 0 that a schedule may end at."""
    axes.set_yscale("log")
    draw_line(axes, [rate if rate > 0 else math.nan for rate in rates], color="C2", label="at the epoch's end")


def draw_line(axes, values: Sequence[float], **options) -> None:
    """Draw one value per epoch, counted from 1."""
    marker = "." if len(values) <= DOTTED_UP_TO else None
    axes.plot(range(1, len(values) + 1), values, marker=marker, **options)


def label_epochs(axes, name: str, epochs: int) -> None:
    """Name both axes, of which one is of whole epochs, from the first to the last."""
    axes.set(xlabel="epoch", ylabel=name, xlim=(0.5, max(epochs, 1) + 0.5))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)


def draw_comparison(path: Path, curves: Sequence[Curve]) -> None:
    """Draw the validation loss and accuracy of several runs over the epochs, and the test accuracies with intervals.

    Args:
        path: the picture to write; its ending says the format.
        curves: of the runs, each in its own colour.
    """
    height = 4.5 + 0.25 * len(curves)
    picture = figures.Figure(figsize=(15, height), layout="constrained")
    loss, accuracy, tested = picture.subplots(1, 3)
    styles, longest = run_styles(len(curves)), max(len(curve.history.get("val_loss", ())) for curve in curves)
    for axes, metric in ((loss, "val_loss"), (accuracy, "val_accuracy")):
        for curve, style in zip(curves, styles, strict=True):
            draw_line(axes, curve.history.get(metric, ()), label=curve.name, **style)
        label_epochs(axes, metric.replace("val_", "validation "), longest)
    draw_accuracies(tested, curves, [style["color"] for style in styles])
    picture.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(curves), 3))
    save(picture, path)


def run_styles(count: int) -> list[dict]:
    """Return a colour and a kind of line for each run; no two are alike up to 40."""
    every = itertools.product(("-", "--", ":", "-."), matplotlib.colormaps["tab10"].colors)
    return [{"color": colour, "linestyle": line} for line, colour in itertools.islice(itertools.cycle(every), count)]


def draw_accuracies(axes, curves: Sequence[Curve], colours: Sequence) -> None:
    """Draw each measured accuracy as a point with its interval, the first run at the top."""
    for place, (curve, colour) in enumerate(zip(curves, colours, strict=True)):
        if curve.accuracy is not None:
            middle, low, high = curve.accuracy
            axes.errorbar(middle, place, xerr=[[middle - low], [high - middle]], fmt="o", color=colour, capsize=4)
    axes.set_yticks(range(len(curves)), [curve.name for curve in curves])
    axes.set(xlabel="test accuracy, 95 % interval", ylim=(len(curves) - 0.5, -0.5))
    axes.grid(alpha=0.3)


def save(picture: figures.Figure, path: Path) -> None:
    """Write a picture in the format of its ending.

    Raises:
        ValueError: for an ending that is no format of Matplotlib.
    """
    kind = picture_format(path)
    write_file(path, lambda file: picture.savefig(file, format=kind, dpi=100))


def picture_format(path: Path) -> str:
    """Return the format that a picture's ending asks for, "png" for none.

    Raises:
        ValueError: for an ending that is no format of Matplotlib.
    """
    kind = path.suffix.lstrip(".") or "png"
    if kind not in figures.Figure().canvas.get_supported_filetypes():
        raise ValueError(f"a picture cannot be written as {path.name}; choose a name that ends in .png, .svg or .pdf")
    return kind
