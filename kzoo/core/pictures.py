"""Learning curves of one run or several, and figures written to files."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kzoo.core.files import write_file, write_path
from kzoo.core.lazy import PIL_Image, figures, lazy_import, matplotlib
from kzoo.core.numbers import in_words

PIL_PngImagePlugin = lazy_import("PIL.PngImagePlugin")

MARK = {"Software": "kzoo"}  # of pictures that may be replaced
LEARNING_RATE, CROSS_ENTROPY = "learning_rate", "crossentropy"
DOTTED_UP_TO = 30  # largest number of epochs that are drawn as points too; a single epoch has no line


class Curve(NamedTuple):
    """One of several runs in a figure.

    Attributes:
        name: in the legend.
        history: values per epoch, by metric.
        tested: (score, lower end, upper end of its interval) on the test split; None where it was not measured.
    """

    name: str
    history: Mapping[str, Sequence[float]]
    tested: tuple[float, float, float] | None


class Drawn:
    """A result with a `figure()`, which `draw` writes to a file."""

    def draw(self, path: str | Path) -> Path:
        """Write the figure to a file, in the format of its suffix; return the path.

        Raises:
            ValueError: if the file cannot be written, or its suffix names no format of Matplotlib.
        """
        return write_path(path, lambda target: save(self.figure(), target))


def metric_name(key: str) -> str:
    """Return a column of the training history in words: "validation accuracy" for "val_accuracy"."""
    words = in_words(key.replace("val_", "validation_"))
    return words.replace(CROSS_ENTROPY, "cross-entropy")


def loss_column(histories: Iterable[Mapping[str, Sequence[float]]]) -> str:
    """Return the column to compare losses by: cross-entropy without label smoothing, "loss" where one lacks that."""
    found = [history for history in histories if history]
    return CROSS_ENTROPY if found and all(f"val_{CROSS_ENTROPY}" in history for history in found) else "loss"


def draw_curves(path: Path, history: Mapping[str, Sequence[float]], best_epoch: int) -> None:
    """Draw each metric of training and validation over the epochs, and the learning rate if it is known.

    Where the history has the cross-entropy, it is drawn in place of the loss, which depends on label smoothing.

    Args:
        path: the picture to write; its suffix says the format.
        history: values per epoch; `val_NAME` is drawn with `NAME`, `learning_rate` on a logarithmic axis.
        best_epoch: whose weights were kept, counted from 1; a line marks it. 0 if there is none.
    """
    skipped = {"loss"} - {loss_column([history])}
    names = [name for name in history if f"val_{name}" in history and name not in skipped]
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
        if best_epoch:
            axes.axvline(best_epoch, color="grey", linestyle=":", label=f"best, epoch {best_epoch}")
        label_epochs(axes, metric_name(name), len(history[name]))
        axes.legend()
    save(picture, path)


def draw_learning_rate(axes, rates: Sequence[float]) -> None:
    """Draw learning rates on a logarithmic axis, without the 0 that a schedule may end at."""
    axes.set_yscale("log")
    draw_line(axes, [rate if rate > 0 else math.nan for rate in rates], color="C2", label="at the epoch's end")


def draw_line(axes, values: Sequence[float], **options) -> None:
    """Draw one value per epoch, counted from 1."""
    marker = "." if len(values) <= DOTTED_UP_TO else None
    axes.plot(range(1, len(values) + 1), values, marker=marker, **options)


def label_epochs(axes, name: str, epochs: int) -> None:
    """Label both axes; the horizontal one has integer ticks from the first to the last epoch."""
    axes.set(xlabel="epoch", ylabel=name, xlim=(0.5, max(epochs, 1) + 0.5))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)


def comparison_figure(curves: Sequence[Curve], score: str) -> figures.Figure:
    """Return the validation loss and score of several runs over the epochs, and their scores on the test split.

    The loss is drawn in place of the cross-entropy if a run has not recorded the latter.
    """
    height = 4.5 + 0.25 * len(curves)
    picture = figures.Figure(figsize=(15, height), layout="constrained")
    loss, scores, tested = picture.subplots(1, 3)
    styles, longest = run_styles(len(curves)), max(len(curve.history.get("val_loss", ())) for curve in curves)
    column = loss_column(curve.history for curve in curves)
    for axes, metric in ((loss, f"val_{column}"), (scores, f"val_{score}")):
        for curve, style in zip(curves, styles, strict=True):
            draw_line(axes, curve.history.get(metric, ()), label=curve.name, **style)
        label_epochs(axes, metric_name(metric), longest)
    draw_tested(tested, curves, [style["color"] for style in styles])
    tested.set_xlabel(f"test {metric_name(score)}, 95 % interval")
    figures.add_legend(picture, loss.lines, loc="outside lower center", ncols=min(len(curves), 3))
    return picture


def run_styles(count: int) -> list[dict]:
    """Return a colour and a line style for each run, distinct for up to 40 runs."""
    every = itertools.product(("-", "--", ":", "-."), matplotlib.colormaps["tab10"].colors)
    return [{"color": colour, "linestyle": line} for line, colour in itertools.islice(itertools.cycle(every), count)]


def draw_tested(axes, curves: Sequence[Curve], colours: Sequence) -> None:
    """Draw each measured score as a point with its interval, the first run at the top."""
    for row, (curve, colour) in enumerate(zip(curves, colours, strict=True)):
        if curve.tested is not None:
            middle, low, high = curve.tested
            axes.errorbar(middle, row, xerr=[[middle - low], [high - middle]], fmt="o", color=colour, capsize=4)
    axes.set_yticks(range(len(curves)), [curve.name for curve in curves])
    axes.set(ylim=(len(curves) - 0.5, -0.5))
    axes.grid(alpha=0.3)


def save(picture: figures.Figure, path: Path) -> None:
    """Write a figure in the format of the file's suffix; one in PNG is marked as ours.

    Raises:
        ValueError: for a suffix that names no format of Matplotlib.
    """
    kind = picture_format(path)
    options = {"metadata": MARK} if kind == "png" else {}
    write_file(path, lambda file: picture.savefig(file, format=kind, dpi=100, **options))


def save_image(image: PIL_Image.Image, path: Path) -> None:
    """Write an image of Pillow as PNG, marked as ours."""
    marks = PIL_PngImagePlugin.PngInfo()
    for key, value in MARK.items():
        marks.add_text(key, value)
    write_file(path, lambda file: image.save(file, "PNG", pnginfo=marks))


def check_ours(path: Path) -> None:
    """Raise a ValueError for a file that is there and is no picture in PNG that carries our mark."""
    if not path.exists():
        return
    with contextlib.suppress(OSError), PIL_Image.open(path) as image:
        if all(image.info.get(key) == value for key, value in MARK.items()):
            return
    raise ValueError(f"{path} is there already, and kzoo did not write it; choose another folder (--out)")


def picture_format(path: Path) -> str:
    """Return the format that a file's suffix names, "png" for none.

    Raises:
        ValueError: for a suffix that names no format of Matplotlib.
    """
    kind = path.suffix.lstrip(".") or "png"
    if kind not in figures.Figure().canvas.get_supported_filetypes():
        raise ValueError(f"a picture cannot be written as {path.name}; choose a name that ends in .png, .svg or .pdf")
    return kind
