"""Kernels of convolutions, drawn as images, or as curves with their frequency response."""

from __future__ import annotations

import math

from kzoo.core.lazy import figures, keras, np
from kzoo.core.registry import lookup
from kzoo.nn.inspection import convolutions

FILTERS = 64  # largest number drawn as images
CURVES = 24  # largest number drawn as curves
CHANNELS = 8  # largest number drawn of each filter
FEW = 4  # largest number of channels that are drawn as curves
POINTS = 257  # of a frequency response, from 0 to half the sample rate


def draw_kernels(model: keras.Model, layer: str | None = None, *, sample_rate: float | None = None) -> figures.Figure:
    """Draw the kernels of a convolution.

    2-D kernels are drawn as images: in colour where the input has three channels, otherwise positive weights in red and
    negative ones in blue. 1-D kernels are drawn as curves, or as images where there are many channels, each with its
    frequency response below it.

    Args:
        model: a network.
        layer: name of a convolution; the first with a kernel larger than 1 if not given.
        sample_rate: of the layer's input, in hertz; if not given, frequencies are in cycles per step.

    Raises:
        ValueError: for a network without learned convolutions, or an unknown layer.
    """
    name, kernels = kernels_of(model, layer)
    window = " x ".join(map(str, kernels.shape[:-2]))
    title = f"{name} of {model.name}: {kernels.shape[-1]} kernels of {window} on {plural(kernels.shape[-2])}"
    return draw_images(kernels, title) if kernels.ndim == 4 else draw_curves(kernels, title, sample_rate)


def plural(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"


def kernels_of(model: keras.Model, layer: str | None = None) -> tuple[str, np.ndarray]:
    """Return the name of a convolution, and its kernels, (*kernel_size, channels, filters).

    Raises:
        ValueError: as `draw_kernels`.
    """
    found = convolutions(model)
    if not found:
        raise ValueError(f"{model.name} has no convolution whose kernels are learned, so there are none to draw")
    if layer is None:
        layer = next((name for name in found if weights_of(found[name])[..., 0, 0].size > 1), next(iter(found)))
    return layer, weights_of(lookup(f"convolution of {model.name}", layer, found))


def weights_of(layer: keras.Layer) -> np.ndarray:
    """Return the kernels of one convolution, (*kernel_size, channels, filters)."""
    if hasattr(layer, "standardized_kernel"):
        return keras.ops.convert_to_numpy(layer.standardized_kernel())
    weights = layer.depthwise_kernel if hasattr(layer, "depthwise_kernel") else layer.kernel
    weights = keras.ops.convert_to_numpy(weights)
    if "Depthwise" in type(layer).__name__ or "Separable" in type(layer).__name__:  # each filter has one channel
        weights = weights.reshape(*weights.shape[:-2], 1, -1)
    return weights


def frequency_response(kernels: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Return the frequency response of 1-D kernels: frequencies from 0 to 0.5 cycles per step, and gains.

    Args:
        kernels: (kernel_size, channels, filters).
        points: how many frequencies.

    Returns:
        The frequencies, (points,), and the gains, (points, filters); the root of the sum of squares over the channels,
        the gain for independent inputs.
    """
    frequencies = np.linspace(0, 0.5, points)
    waves = np.exp(-2j * np.pi * frequencies[:, None] * np.arange(len(kernels)))
    gains = np.abs(np.tensordot(waves, kernels, axes=1))
    return frequencies, np.sqrt((gains**2).sum(1))


def draw_images(kernels: np.ndarray, title: str) -> figures.Figure:
    """Draw kernels (height, width, channels, filters) as tiles; channels that are not RGB are rows."""
    channels, filters = kernels.shape[-2:]
    in_colour, single = channels == 3, channels == 1
    if in_colour or single:
        shown = min(filters, FILTERS)
        columns = min(shown, 16 if shown > 32 else 8)
        rows = math.ceil(shown / columns)
        tiles = [kernels[..., n] for n in range(shown)]
        title += "" if shown == filters else f", the first {shown}"
    else:
        rows, columns = min(channels, CHANNELS), min(filters, 16)
        tiles = [kernels[..., row, column] for row in range(rows) for column in range(columns)]
        title += f"\ncolumns: the first {columns} kernels; rows: the first {rows} input channels"
    figure = figures.Figure(figsize=(max(6.0, 0.75 * columns), 0.75 * rows + 0.9), layout="constrained")
    figure.suptitle(title, fontsize=9)
    largest = np.abs(kernels).max() or 1
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, tile in zip(grid, tiles, strict=False):
        if in_colour:
            axes.imshow((tile - tile.min()) / (np.ptp(tile) or 1))
        else:
            axes.imshow(tile.reshape(tile.shape[:2]), cmap="RdBu_r", vmin=-largest, vmax=largest)
    return figure


def draw_curves(kernels: np.ndarray, title: str, sample_rate: float | None) -> figures.Figure:
    """Draw kernels (kernel_size, channels, filters) with the frequency response below each."""
    shown = min(kernels.shape[-1], CURVES)
    columns = min(shown, 8 if kernels.shape[1] <= FEW else 6)
    rows = math.ceil(shown / columns)
    frequencies, gains = frequency_response(kernels)
    scale, unit = (1, "cycles per step") if sample_rate is None else (sample_rate, "hertz")
    figure = figures.Figure(figsize=(max(6.0, 1.5 * columns), 1.9 * rows + 0.9), layout="constrained")
    cut = "" if shown == kernels.shape[-1] else f", the first {shown}"
    figure.suptitle(f"{title}{cut}\nabove: weights; below: gain from 0 to {scale / 2:g} {unit}", fontsize=9)
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[1.2, 0.8] * rows)
    for axes in grid.flat:
        axes.set_axis_off()
    for number in range(shown):
        row, column = divmod(number, columns)
        draw_weights(grid[2 * row, column], kernels[..., number], np.abs(kernels).max() or 1)
        axes = grid[2 * row + 1, column]
        axes.fill_between(frequencies * scale, gains[:, number], color="C1", alpha=0.4, linewidth=0)
        axes.plot(frequencies * scale, gains[:, number], color="C1", linewidth=0.8)
        axes.set(xlim=(0, 0.5 * scale), ylim=(0, 1.05 * gains.max()))
        axes.axhline(0, color="0.6", linewidth=0.8)
    return figure


def draw_weights(axes, kernel: np.ndarray, largest: float) -> None:
    """Draw one kernel (kernel_size, channels) as a line per channel, or as an image."""
    if kernel.shape[1] <= FEW:
        axes.axhline(0, color="0.8", linewidth=0.6)
        axes.plot(kernel, linewidth=1, marker="." if len(kernel) < 12 else None, markersize=3)
        axes.set_ylim(-1.05 * largest, 1.05 * largest)
    else:
        largest = np.abs(kernel).max() or 1
        axes.imshow(kernel.T, aspect="auto", cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
