"""Heat maps over images, spectrograms, waveforms, series and texts, drawn with matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kzoo.core.lazy import figures, keras, lazy_import, matplotlib, np
from kzoo.data.serving import Serving
from kzoo.data.sources import as_targets
from kzoo.data.splits import Splits
from kzoo.nn.inspection import get_outputs

patches = lazy_import("matplotlib.patches")

LINE = 84  # characters in a line of text
LINES = 8  # largest number of lines of a text
MANY = 8  # largest number of channels that are drawn as lines; more are drawn as rows of a picture
SEQUENTIAL, DIVERGING = "YlOrRd", "RdBu_r"  # colour maps of unsigned and of signed values behind curves and words
NEGATIVE, POSITIVE = (0.13, 0.38, 1.0), (1.0, 0.06, 0.19)  # colours over pictures
OPACITY = 0.75  # of a value of 1 over pictures

Data = Serving | Splits


class Panel(NamedTuple):
    """A part of a figure: its title, a function that draws it on axes, and its height in inches if it is not usual."""

    title: str
    draw: Callable
    height: float | None = None


class Scale(NamedTuple):
    """A colour bar: its label, and whether it goes from -1 to 1 or from 0 to 1."""

    label: str
    signed: bool = False


class Form(NamedTuple):
    """Layout of examples of one kind: how many side by side, and the size of one in inches."""

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
    """Return whether the model sees spectra of a waveform."""
    return data.modality == "audio" and data.preprocess.feature != "waveform"


def raw_examples(data: Data) -> np.ndarray:
    """Return a few raw examples: those that are stored with a run, or the first of the validation split."""
    return data.examples if isinstance(data, Serving) else Serving.of(data).examples


def targets_of(data: Data) -> np.ndarray | None:
    """Return the raw targets of `raw_examples`, None where they are not known."""
    if isinstance(data, Serving):
        return None
    return as_targets(data.examples["validation"].labels)[: len(raw_examples(data))]


def answers_of(model: keras.Model, data: Data, x: np.ndarray) -> np.ndarray:
    """Return the answers of a network for its inputs, by the task of the data."""
    return data.task.answers(get_outputs(model, x))


def prepared(data: Data, raw: Sequence) -> np.ndarray:
    """Return the model's input for raw examples of the training's size."""
    return keras.ops.convert_to_numpy(data.preprocess(np.stack(list(raw))))


def sized(data: Data, raw) -> np.ndarray:
    """Return one raw example at the training's size."""
    return np.asarray(data.preprocess.sized(raw))


def gallery(
    data: Data, panels: Sequence[Panel], title: str, columns: int | None = None, scale: Scale | None = None
) -> figures.Figure:
    """Draw panels in rows.

    Args:
        data: says how large a panel is.
        panels: to draw.
        title: of the figure.
        columns: panels in a row; as many as suit the kind of data if not given. The figure is as wide either way.
        scale: of the colour bar; none if not given.
    """
    form = FORMS[kind_of(data)]
    columns = form.columns if columns is None or form.columns == 1 else columns
    rows = math.ceil(len(panels) / columns)
    heights = [panels[row * columns].height or form.height for row in range(rows)]
    size = (form.width * form.columns, sum(heights) + 0.4)
    figure = figures.Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=10)
    grid = list(figure.subplots(rows, columns, squeeze=False, height_ratios=heights).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, panel in zip(grid, panels, strict=False):
        axes.set_axis_on()
        axes.set_title(panel.title, fontsize=8, loc="left" if form.columns == 1 else "center")
        panel.draw(axes)
    if scale:
        norm = matplotlib.colors.Normalize(-1 if scale.signed else 0, 1)
        colours = matplotlib.cm.ScalarMappable(norm, color_map(data, scale.signed))
        figure.colorbar(colours, ax=grid, label=scale.label, shrink=min(1.0, 2.5 / figure.get_figheight() + 0.3))
    return figure


def color_map(data: Data, signed: bool) -> matplotlib.colors.Colormap:
    """Return the colours of a map: transparent to opaque over pictures, light ones behind curves and words."""
    if kind_of(data) == "image":
        ends = [(*NEGATIVE, OPACITY), (*NEGATIVE, 0.0), (*POSITIVE, 0.0)] if signed else [(*POSITIVE, 0.0)]
        stops = [0.0, 0.5, 0.5, 1.0] if signed else [0.0, 1.0]
        return matplotlib.colors.LinearSegmentedColormap.from_list(
            "overlay", list(zip(stops, [*ends, (*POSITIVE, OPACITY)], strict=True))
        )
    light = np.linspace(0.08, 0.92, 256) if signed else np.linspace(0.0, 0.84, 256)
    return matplotlib.colors.ListedColormap(matplotlib.colormaps[DIVERGING if signed else SEQUENTIAL](light))


def example_panel(data: Data, title: str, raw, heat: np.ndarray | None, *, signed: bool = False) -> Panel:
    """Return a panel with `draw_example`; the height of a text's panel fits its lines."""
    height = None
    if data.modality == "text":
        height = 0.3 + 0.25 * (1 + max(line for _, line, _ in placed_words(data.preprocess, raw)))
    return Panel(title, lambda axes: draw_example(axes, data, raw, heat, signed=signed), height)


def draw_example(axes, data: Data, raw, heat: np.ndarray | None = None, *, signed: bool = False) -> None:
    """Draw one raw example, with a heat map laid over it.

    Args:
        axes: of matplotlib.
        data: says what the example is, and how it is preprocessed.
        raw: the example, at the training's size.
        heat: one value for each position of the model's input; without one, only the example is drawn.
        signed: the values are divided by the largest magnitude and drawn from -1 to 1; otherwise they are from 0 to 1.
    """
    overlay = None
    if heat is not None:
        heat = heat / (np.abs(heat).max() or 1) if signed else heat
        overlay = Overlay(heat, color_map(data, signed), -1 if signed else 0)
    if data.modality == "text":
        draw_words(axes, data.preprocess, raw, overlay)
    elif is_spectral(data):
        step = data.preprocess
        seconds = step.samples / step.sample_rate
        overlay = overlay and overlay._replace(heat=spectral_image(data, overlay.heat))
        draw_picture(axes, spectral_image(data, prepared(data, [raw])[0]), overlay, seconds)
    elif len(data.preprocess.input_shape) == 3:
        draw_picture(axes, raw, overlay)
    else:
        draw_curves(axes, raw, overlay, getattr(data.preprocess, "sample_rate", 1))


class Overlay(NamedTuple):
    """A heat map with its colours; `low` is the value of the first colour, 1 that of the last."""

    heat: np.ndarray
    colours: matplotlib.colors.Colormap
    low: int

    def options(self) -> dict:
        """Return the arguments of `imshow`."""
        return {"cmap": self.colours, "vmin": self.low, "vmax": 1}


def draw_input(axes, data: Data, x: np.ndarray) -> None:
    """Draw an input of the model that is not a preprocessed example."""
    if is_spectral(data):
        draw_picture(axes, spectral_image(data, x), None, data.preprocess.samples / data.preprocess.sample_rate)
    elif x.ndim == 3:
        draw_picture(axes, np.clip(0.5 + (x - x.mean()) / (5 * x.std() or 1), 0, 1), None)
    else:
        draw_curves(axes, x, None, getattr(data.preprocess, "sample_rate", 1))


def spectral_image(data: Data, x: np.ndarray) -> np.ndarray:
    """Return spectra, or a map of their positions, as an image with frequency bands as rows, the lowest first."""
    layout, bands = data.preprocess.layout, data.preprocess.input_shape[-1]
    if layout == "time":
        return x.T if x.ndim == 2 else np.repeat(x[None], bands, axis=0)
    plane = x[..., 0] if x.ndim == 3 else x
    return plane.T if layout == "time_frequency" else plane


def draw_picture(axes, picture: np.ndarray, overlay: Overlay | None, seconds: float | None = None) -> None:
    """Draw an image, or with a duration in seconds a spectrogram, and a heat map over it."""
    place = {} if seconds is None else {"extent": (0, seconds, 0, len(picture)), "origin": "lower", "aspect": "auto"}
    picture = picture.squeeze()
    if picture.ndim == 3 and picture.shape[-1] != 3:
        picture = picture[..., 0]
    axes.imshow(picture, cmap="gray" if seconds is None else "gray_r", **place)
    if overlay:
        axes.imshow(overlay.heat, **overlay.options(), **place)
    if seconds is None:
        axes.set_axis_off()
    else:
        axes.set_yticks([])
        label_time(axes, "seconds")


def label_time(axes, unit: str) -> None:
    """Label the time axis in small type."""
    axes.tick_params(labelsize=6, length=2)
    axes.set_xlabel(unit, fontsize=6, labelpad=1)
    axes.spines[["top", "right", "left"]].set_visible(False)


def draw_curves(axes, series: np.ndarray, overlay: Overlay | None, rate: float = 1) -> None:
    """Draw a line per channel over time, or rows of a picture where there are many, on a heat map as background."""
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
    if overlay:
        ground = {"extent": (*extent, low, high), "aspect": "auto", "zorder": 1, "interpolation": "nearest"}
        alpha = 1.0 if channels <= MANY else np.abs(overlay.heat)[None] * 0.7
        axes.imshow(overlay.heat[None], alpha=alpha, **ground, **overlay.options())
    axes.set(xlim=extent, ylim=(low, high), yticks=[])
    label_time(axes, "steps" if rate == 1 else "seconds")


def draw_words(axes, step, raw, overlay: Overlay | None) -> None:
    """Write the tokens of one text, each on a background in the colour of its value."""
    ids = keras.ops.convert_to_numpy(step(np.array([raw])))[0]
    words = placed_words(step, raw)
    colours = [(1.0, 1.0, 1.0)] * len(ids)
    if overlay:
        colours = overlay.colours((overlay.heat[ids != 0] - overlay.low) / (1 - overlay.low))
    size = letter_size(axes)
    for (column, line, word), colour in zip(words, colours, strict=False):
        width = len(word) + 0.6 * (step.level == "words")
        axes.add_patch(patches.Rectangle((column, line + 0.06), width, 0.88, facecolor=colour, linewidth=0))
        where = {"ha": "center", "va": "center_baseline", "family": "monospace"}
        ink = "white" if luminance(colour[:3]) < 0.45 else "black"
        axes.text(column + width / 2, line + 0.55, word, fontsize=size, color=ink, **where)
    axes.set(xlim=(0, LINE), ylim=(1 + max(line for _, line, _ in words), 0))
    axes.set_axis_off()


def placed_words(step, raw) -> list[tuple[int, int, str]]:
    """Return the column, the line and the characters of each token of a text, up to the last line that is drawn."""
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
    """Return the font size, in points, at which a line of text is as wide as the axes."""
    return 0.9 * axes.figure.bbox.width / axes.figure.dpi * 72 / LINE / 0.66  # a letter is 0.6 of its size wide


def luminance(colour) -> float:
    """Return the luminance of a colour, from 0 to 1."""
    red, green, blue = matplotlib.colors.to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue
