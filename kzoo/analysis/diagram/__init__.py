"""Architecture diagrams as SVG: stages, blocks, layers, and the shapes between them.

Boxes are the scopes in the names of the layers (`stage1.block0.conv2`); equal blocks in a row are drawn once, with
their number. A Keras model without such names is drawn layer by layer.
"""

from __future__ import annotations

from pathlib import Path

from kzoo.analysis.diagram.graph import read_graph
from kzoo.analysis.diagram.svg import document
from kzoo.core.arguments import checked
from kzoo.core.files import write_path, write_text
from kzoo.core.lazy import keras
from kzoo.nn.graph import check_graph, without_values
from kzoo.zoo.factory import create_model, model_card


@checked
def draw_architecture(model: str | keras.Model, path: str | Path) -> Path:
    """Draw the stages and blocks of a network to an SVG file, and return its path.

    Args:
        model: built of Keras layers, with one input; or a name of `kzoo.list_models()`, for its published input.
        path: of a file that ends in .svg.

    Raises:
        ValueError: for an unknown name, a model whose layers are not known before it runs, or a path with another
            ending or that cannot be written.
    """
    target = Path(path)
    if target.suffix != ".svg":
        raise ValueError(f"the diagram of an architecture is an SVG, got {target.name}; choose a name ending in .svg")
    text = architecture_svg(model)
    return write_path(target, lambda file: write_text(file, text))


def architecture_svg(model: str | keras.Model) -> str:
    """Return the text of the SVG that `draw_architecture` writes."""
    if isinstance(model, str):
        shape, num_classes, _ = model_card(model).reference
        name = model
        model = without_values(lambda: create_model(name, shape, num_classes))
    check_graph(model)
    return document(model.name, read_graph(model))
