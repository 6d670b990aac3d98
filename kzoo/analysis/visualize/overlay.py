"""One example of any kind of data on matplotlib axes, with a map of its positions laid over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kzoo.core.lazy import figures, keras, lazy_import, matplotlib, np
from kzoo.data.serving import Serving
from kzoo.data.splits import Splits

patches = lazy_import("matplotlib.patches")

LINE = 84  # characters in a line of text
LINES = 8  # of a text that are shown at most
MANY = 8  # channels from which on they are drawn as rows of a picture, not as lines
HEAT, CHANGE = "YlOrRd", "RdBu_r"  # colours of what is from 0 to 1, and of what is above and below 0
AGAINST, FOR = "#2060ff", "#ff1030"  # what lies over pictures

Data = Serving | Splits


class Panel(NamedTuple):
    """A part of a picture: what stands above it, how it is drawn on axes, and its height if it has one of its own."""

    title: str
    draw: Callable
    height: float | None = None


class Form(NamedTuple):
    """How examples of one kind are laid out: beside each other, and the size of one in inches."""

    columns: int
    width: float
    height: float


FORMS = {"image": Form(4, 2.3, 2.5), "curve": Form(2, 5.0, 1.9), "text": Form(1, 9.0, 1.1)}


def kind_of(data: Data) -> str:
    """Return how examples look: "image" (also spectrograms), "curve" or "text"."""
    if data.modality == "text":
        return "text"
    return "image" if is_spectral(data) or len(data.preprocess.input_shape) == 3 else "curve"


def is_spectral(data: Data) -> bool:
    """Tell whether the model sees spectra of a waveform."""
    return data.modality == "audio" and data.preprocess.feature != "waveform"


def raw_examples(data: Data) -> np.ndarray:
    """Return a few raw examples: those that are stored with a run, or the first of the validation split."""
    return data.examples if isinstance(data, Serving) else Serving.of(data).examples


def prepared(data: Data, raw: Sequence) -> np.ndarray:
    """Return the model's input for raw examples of the training's size."""
    return keras.ops.convert_to_numpy(data.preprocess(np.stack(list(raw))))


def sized(data: Data, raw) -> np.ndarray:
    """Return one raw example at the training's size."""
    return np.asarray(data.preprocess.sized(raw))


def gallery(data: Data, panels: Sequence[Panel], title: str, columns: int | None = None) -> figures.Figure:
    """Draw panels in rows of as many as suit the kind of data, or of `columns` that are as wide together."""
    form = FORMS[kind_of(data)]
    columns = form.columns if columns is None or form.columns == 1 else columns
    rows = math.ceil(len(panels) / columns)
    heights = [panels[row * columns].height or form.height for row in range(rows)]
    size = (form.width * form.columns, sum(heights) + 0.4)
    figure = figures.Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=10, parse_math=False)
    grid = list(figure.subplots(rows, columns, squeeze=False, height_ratios=heights).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, panel in zip(grid, panels, strict=False):
        axes.set_axis_on()
        axes.set_title(panel.title, fontsize=8, parse_math=False, loc="left" if form.columns == 1 else "center")
        panel.draw(axes)
    return figure


def example_panel(data: Data, title: str, raw, heat: np.ndarray | None, *, signed: bool = False) -> Panel:
    """Return a panel with `draw_example`; that of a text is as high as its lines need."""
    height = None
    if data.modality == "text":
        height = 0.3 + 0.25 * (1 + max(line for _, line, _ in placed_words(data.preprocess, raw)))
    return Panel(title, lambda axes: draw_example(axes, data, raw, heat, signed=signed), height)


def draw_example(axes, data: Data, raw, heat: np.ndarray | None = None, *, signed: bool = False) -> None:
    """Draw one raw example, with a map laid over it.

    Args:
        axes: of matplotlib.
        data: says what the example is, and how the model sees it.
        raw: the example, at the training's size.
        heat: one value for each position of the model's input; none is laid over if not given.
        signed: the values are above and below 0; their largest size has the full colour. Otherwise they are from 0
            to 1, and 1 has it.
    """
    colours = matplotlib.colormaps[CHANGE if signed else HEAT]
    if heat is not None and signed:
        heat = heat / (np.abs(heat).max() or 1)
    if data.modality == "text":
        draw_words(axes, data.preprocess, raw, heat, colours)
    elif is_spectral(data):
        step = data.preprocess
        seconds = step.samples / step.sample_rate
        shown = as_seen(data, prepared(data, [raw])[0])
        draw_picture(axes, shown, None if heat is None else as_seen(data, heat), seconds)
    elif len(data.preprocess.input_shape) == 3:
        draw_picture(axes, raw, heat)
    else:
        draw_curves(axes, raw, heat, colours, getattr(data.preprocess, "sample_rate", 1))


def draw_input(axes, data: Data, x: np.ndarray) -> None:
    """Draw one input of the model that no example stands behind."""
    if is_spectral(data):
        draw_picture(axes, as_seen(data, x), None, data.preprocess.samples / data.preprocess.sample_rate)
    elif x.ndim == 3:
        draw_picture(axes, np.clip(0.5 + (x - x.mean()) / (5 * x.std() or 1), 0, 1), None)
    else:
        draw_curves(axes, x, None, None, getattr(data.preprocess, "sample_rate", 1))


def as_seen(data: Data, x: np.ndarray) -> np.ndarray:
    """Return spectra, or a map of their positions, as a picture with the bands as rows, the lowest first."""
    layout, bands = data.preprocess.layout, data.preprocess.input_shape[-1]
    if layout == "time":
        return x.T if x.ndim == 2 else np.repeat(x[None], bands, axis=0)
    plane = x[..., 0] if x.ndim == 3 else x
    return plane.T if layout == "time_frequency" else plane


def draw_picture(axes, picture: np.ndarray, heat: np.ndarray | None, seconds: float | None = None) -> None:
    """Draw an image, or with a length in seconds a spectrogram; a map covers it, the more the larger it is."""
    place = {} if seconds is None else {"extent": (0, seconds, 0, len(picture)), "origin": "lower", "aspect": "auto"}
    picture = picture.squeeze()
    if picture.ndim == 3 and picture.shape[-1] != 3:
        picture = picture[..., 0]
    axes.imshow(picture, cmap="gray" if seconds is None else "gray_r", **place)
    if heat is not None:
        colours = matplotlib.colors.ListedColormap([AGAINST, FOR])
        axes.imshow(heat, cmap=colours, vmin=-1, vmax=1, alpha=np.minimum(0.75 * np.abs(heat), 1), **place)
    if seconds is None:
        axes.set_axis_off()
    else:
        axes.set_yticks([])
        label_time(axes, "seconds")


def label_time(axes, unit: str) -> None:
    """Write small numbers under the axis of time."""
    axes.tick_params(labelsize=6, length=2)
    axes.set_xlabel(unit, fontsize=6, labelpad=1)
    axes.spines[["top", "right", "left"]].set_visible(False)


def draw_curves(axes, series: np.ndarray, heat: np.ndarray | None, colours, rate: float = 1) -> None:
    """Draw a line per channel over time, or rows of a picture where there are many; a map is the ground under it."""
    series = np.asarray(series, "float32").reshape(len(series), -1)
    length, channels = series.shape
    extent = (0, length / rate)
    if channels > MANY:
        axes.imshow(series.T, aspect="auto", cmap="gray_r", extent=(*extent, 0, channels), origin="lower")
        low, high = 0, channels
    else:
        low, high = series.min(), series.max()
        low, high = low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)
        width = 0.4 if length > 2000 else 1.0
        palette = ["0.15"] if channels == 1 else None
        axes.set_prop_cycle(color=palette or matplotlib.colormaps["Dark2"].colors[:channels])
        axes.plot((np.arange(length) + 0.5) / rate, series, linewidth=width, zorder=2)
    if heat is not None:
        scale = {"vmin": -1.2, "vmax": 1.2} if colours.name == CHANGE else {"vmin": 0, "vmax": 1.2}
        ground = {"extent": (*extent, low, high), "aspect": "auto", "cmap": colours, "zorder": 1}
        alpha = 1.0 if channels <= MANY else np.abs(heat)[None] * 0.7
        axes.imshow(heat[None], alpha=alpha, interpolation="nearest", **ground, **scale)
    axes.set(xlim=extent, ylim=(low, high), yticks=[])
    label_time(axes, "steps" if rate == 1 else "seconds")


def draw_words(axes, step, raw, heat: np.ndarray | None, colours) -> None:
    """Write the tokens of one text, each on a ground of its value in a map."""
    ids = keras.ops.convert_to_numpy(step(np.array([raw])))[0]
    words = placed_words(step, raw)
    values = np.zeros(len(ids)) if heat is None else heat[ids != 0]
    low = -1 if colours.name == CHANGE else 0
    size = letter_size(axes)
    for (column, line, word), value in zip(words, values, strict=False):
        colour = colours((float(value) - low) / (1 - low)) if heat is not None else (1.0, 1.0, 1.0)
        width = len(word) + 0.6 * (step.level == "words")
        axes.add_patch(patches.Rectangle((column, line + 0.06), width, 0.88, facecolor=colour, linewidth=0))
        where = {"ha": "center", "va": "center_baseline", "family": "monospace", "parse_math": False}
        ink = "white" if luminance(colour) < 0.45 else "black"
        axes.text(column + width / 2, line + 0.55, word, fontsize=size, color=ink, **where)
    axes.set(xlim=(0, LINE), ylim=(1 + max(line for _, line, _ in words), 0))
    axes.set_axis_off()


def placed_words(step, raw) -> list[tuple[int, int, str]]:
    """Return the column, the line and the letters of each token of a text, up to the last line that is shown."""
    ids = keras.ops.convert_to_numpy(step(np.array([raw])))[0]
    gap = 1 if step.level == "words" else 0
    column, line, placed = 0, 0, []
    for token in step.tokens(ids.tolist()):
        word = {"\n": "\u21b5", "\t": " "}.get(token, token)[: LINE - gap]
        if column + len(word) > LINE:
            column, line = 0, line + 1
        if line == LINES:
            return placed
        placed.append((column, line, word))
        column += len(word) + gap
    return placed or [(0, 0, "(empty)")]


def letter_size(axes) -> float:
    """Return the size of type, in points, at which a line of text is as wide as the figure."""
    return axes.figure.bbox.width / axes.figure.dpi * 72 / LINE / 0.66  # a letter is 0.6 of its size wide


def luminance(colour) -> float:
    """Return how bright a colour looks, from 0 to 1."""
    red, green, blue = matplotlib.colors.to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue
