"""Visualization of trained networks: kernels, feature maps, attribution maps, top activations, embeddings.

Each function takes any Keras network that returns logits or values, and data (images, audio, texts, series) as a
`Splits` or the `Serving` of a run, and returns a matplotlib figure.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from kzoo.analysis.visualize.attribution import draw_grad_cam, draw_occlusion, grad_cam, occlusion
from kzoo.analysis.visualize.feature_maps import draw_embedding, draw_feature_maps, features
from kzoo.analysis.visualize.feature_visualization import (
    activation_maximization,
    draw_top_activations,
    top_activating_examples,
)
from kzoo.analysis.visualize.gradients import gradient
from kzoo.analysis.visualize.kernels import draw_kernels, frequency_response
from kzoo.analysis.visualize.overlay import draw_example
from kzoo.core import pictures
from kzoo.core.arguments import checked
from kzoo.core.files import user_path, writing
from kzoo.core.lazy import figures, keras
from kzoo.core.registry import lookup
from kzoo.data.splits import Splits
from kzoo.data.trained import as_trained
from kzoo.nn.inspection import all_layers, convolutions
from kzoo.training.runs import load_run

__all__ = [
    "activation_maximization",
    "draw_embedding",
    "draw_example",
    "draw_feature_maps",
    "draw_grad_cam",
    "draw_kernels",
    "draw_occlusion",
    "draw_top_activations",
    "features",
    "frequency_response",
    "grad_cam",
    "gradient",
    "occlusion",
    "top_activating_examples",
    "visualize",
]

FOLDER = "visualize"


@checked
def visualize(run: str | Path, *, layer: str | None = None, data: Splits | None = None) -> list[Path]:
    """Draw kernels, feature maps, attribution maps, top activations and an embedding of the model of a run.

    The pictures are written to the directory `visualize` of the run: kernels.png, feature_maps.png, grad_cam.png,
    occlusion.png, embedding.png and top_activations.png. One that is not defined for the network is skipped with a
    warning.

    Args:
        run: a run directory.
        layer: name of a layer whose kernels (if it is a convolution) and top activations are drawn.
        data: the run's dataset; its validation split is drawn in place of the examples that are stored in the run,
            with its targets.

    Returns:
        The pictures written.

    Raises:
        ValueError: if the directory holds no run or cannot be written, or the network has no such layer.
    """
    model, serving = load_run(run)
    data = serving if data is None else as_trained(model, data)
    check_layer(model, layer)
    rate = getattr(serving.preprocess, "sample_rate", None) if serving.modality == "audio" else None
    if rate and serving.preprocess.feature != "waveform":
        rate = None
    drawn = {
        "kernels": lambda: draw_kernels(model, layer if layer in convolutions(model) else None, sample_rate=rate),
        "feature_maps": lambda: draw_feature_maps(model, serving),
        "grad_cam": lambda: draw_grad_cam(model, data),
        "occlusion": lambda: draw_occlusion(model, data),
        "embedding": lambda: draw_embedding(model, data),
        "top_activations": lambda: draw_top_activations(model, serving, layer),
    }
    folder = user_path(run) / FOLDER
    with writing(folder):
        folder.mkdir(exist_ok=True)
        written = [write(folder / f"{name}.png", draw) for name, draw in drawn.items()]
    return [path for path in written if path]


def check_layer(model: keras.Model, layer: str | None) -> None:
    """Raise a ValueError for a layer that the network does not have."""
    if layer is not None:
        lookup(f"layer of {model.name}", layer, all_layers(model))


def write(path: Path, draw: Callable[[], figures.Figure]) -> Path | None:
    """Draw one picture into a file; if it is not defined, delete an earlier one and warn with the reason."""
    try:
        pictures.save(draw(), path)
    except ValueError as error:
        path.unlink(missing_ok=True)
        warnings.warn(f"no {path.name}: {error}", stacklevel=3)
        return None
    return path
