"""Pictures of what a network has learned, as matplotlib figures, for images, audio, texts and series.

Each function takes any Keras classifier that returns logits, and data as a `Splits` or the `Serving` of a run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from kzoo.analysis.visualize.attribution import draw_grad_cam, draw_occlusion, grad_cam, occlusion
from kzoo.analysis.visualize.excitation import ascend, draw_exciting, most_exciting
from kzoo.analysis.visualize.feature_maps import draw_embedding, draw_feature_maps, features
from kzoo.analysis.visualize.inside import all_layers, convolutions, gradient, stages
from kzoo.analysis.visualize.kernels import draw_kernels, frequency_response
from kzoo.analysis.visualize.overlay import draw_example
from kzoo.core import pictures
from kzoo.core.lazy import figures, keras
from kzoo.core.registry import lookup
from kzoo.data.splits import Splits
from kzoo.training.runs import load_run

__all__ = [
    "ascend",
    "draw_embedding",
    "draw_example",
    "draw_exciting",
    "draw_feature_maps",
    "draw_grad_cam",
    "draw_kernels",
    "draw_occlusion",
    "features",
    "frequency_response",
    "grad_cam",
    "gradient",
    "most_exciting",
    "occlusion",
    "stages",
    "visualize",
]

FOLDER = "visualize"


def visualize(run: str | Path, *, layer: str | None = None, data: Splits | None = None) -> list[Path]:
    """Draw what the model of a run has learned into the folder `visualize` of the run.

    Its stored examples are drawn: kernels.png, feature_maps.png, grad_cam.png, occlusion.png, embedding.png and
    exciting.png. A picture that there cannot be of this network is left out, with a warning that says why.

    Args:
        run: a run folder.
        layer: name of a layer, whose kernels, if it is a convolution, and filters are drawn.
        data: the run's dataset, for an embedding map of its validation split in place of the stored examples.

    Returns:
        The pictures written.

    Raises:
        ValueError: if the folder holds no run, or the network has no such layer.
    """
    model, serving = load_run(run)
    check_layer(model, layer)
    rate = getattr(serving.preprocess, "sample_rate", None) if serving.modality == "audio" else None
    if rate and serving.preprocess.feature != "waveform":
        rate = None
    drawn = {
        "kernels": lambda: draw_kernels(model, layer if layer in convolutions(model) else None, sample_rate=rate),
        "feature_maps": lambda: draw_feature_maps(model, serving),
        "grad_cam": lambda: draw_grad_cam(model, serving),
        "occlusion": lambda: draw_occlusion(model, serving),
        "embedding": lambda: draw_embedding(model, data or serving),
        "exciting": lambda: draw_exciting(model, serving, layer),
    }
    folder = Path(run).expanduser() / FOLDER
    folder.mkdir(exist_ok=True)
    written = [write(folder / f"{name}.png", draw) for name, draw in drawn.items()]
    return [path for path in written if path]


def check_layer(model: keras.Model, layer: str | None) -> None:
    """Raise a ValueError for a layer that the network does not have."""
    if layer is not None:
        lookup(f"layer of {model.name}", layer, all_layers(model))


def write(path: Path, draw: Callable[[], figures.Figure]) -> Path | None:
    """Draw one picture into a file; where there can be none, delete an earlier one and warn of the reason."""
    try:
        pictures.save(draw(), path)
    except ValueError as error:
        path.unlink(missing_ok=True)
        warnings.warn(f"no {path.name}: {error}", stacklevel=3)
        return None
    return path
