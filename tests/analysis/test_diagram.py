"""The picture of an architecture: equal blocks are drawn once, lines lead from what is read to what reads it."""

import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import keras
import pytest
from networks import FAMILIES, sampled, share
from typer.testing import CliRunner

import kzoo
from kzoo.analysis.diagram import architecture_svg, draw_architecture
from kzoo.analysis.diagram.graph import Box, Step, read_graph
from kzoo.analysis.diagram.layout import Cell, Link, columns, planned
from kzoo.cli import app
from kzoo.nn.graph import without_values

WITHOUT_CONVOLUTION = {"mlp", "mlp_tsc", "fasttext", "hydra", "minirocket", "classical", "fixed_filters"}


def read(name: str, **options) -> Box:
    shape, classes, _ = kzoo.model_card(name).reference
    return read_graph(without_values(lambda: kzoo.create_model(name, shape, classes, **options)))


def outline(node) -> str | list:
    """Return the words of a step, or the title and the children of a box."""
    if isinstance(node, Step):
        return ", ".join(segment.text for segment in node.segments)
    return [f"{node.title} ×{node.count}", *map(outline, node.children)]


def boxes(node) -> list[Box]:
    """Return a box and all in it."""
    return [] if isinstance(node, Step) else [node, *[box for child in node.children for box in boxes(child)]]


def test_a_residual_network_is_read_as_stages_of_blocks():
    root = read("resnet18")
    assert [child.title for child in root.children if isinstance(child, Box)] == [
        "stem",
        *[f"stage{n}" for n in "1234"],
    ]
    stage = root.children[2]
    assert outline(stage) == [
        "stage1 ×1",
        ["block0 to block1 ×2", "conv 3×3 · 64, norm, relu", "conv 3×3 · 64, norm", "+, relu"],
    ]
    assert stage.shape == (56, 56, 64)
    block = root.children[3].children[0]
    assert sorted(outline(block)[1:]) == sorted(
        ["conv 3×3 · 128 /2, norm, relu", "conv 3×3 · 128, norm", "subsample /2", "conv 1×1 · 128, norm", "+, relu"]
    )


@pytest.mark.parametrize(
    "name, count",
    [("densenet121", 24), ("mobileone_s0", 9), ("inceptiontime", 3), ("hrnet_w18_small", 2), ("nf_resnet26", 1)],
)
def test_equal_blocks_in_a_row_are_drawn_once(name, count):
    assert max(box.count for box in boxes(read(name))) == count


def labels(node) -> list[tuple[str, str]]:
    """Return the kinds and texts of all parts of a box."""
    if isinstance(node, Step):
        return [(segment.kind, segment.text) for segment in node.segments]
    return [label for child in node.children for label in labels(child)]


def test_layer_scale_is_no_depthwise_convolution():
    found = labels(read("convnext_tiny"))
    assert ("other", "scale") in found
    assert {text.partition(" ")[0] for kind, text in found if kind == "depthwise"} == {"depthwise"}


def test_causal_convolutions_are_labelled_so():
    assert {text.split(" dilated")[0] for kind, text in labels(read("tcn")) if "7" in text} == {"conv 7 · 25 causal"}


def test_a_dense_layer_at_every_position_is_drawn_as_a_convolution():
    found = labels(read("squeezenet1_1"))
    assert ("conv", "conv 1×1 · 1000") in found
    assert "dense" not in dict(found)


@pytest.mark.parametrize("name", sampled([(name,) for name in FAMILIES], share(2)))
def test_every_family_can_be_drawn(name):
    shape, classes, _ = kzoo.model_card(name).reference
    model = without_values(lambda: kzoo.create_model(name, shape, classes))
    root = read_graph(model)
    for box in boxes(root):
        number = {child: place for place, child in enumerate(box.children)}
        assert all(number.get(f.source, -1) < number.get(f.target, len(number)) for f in box.flows)
    picture = ElementTree.fromstring(architecture_svg(model))
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0].startswith("input ")
    assert (
        sum(text.startswith(("conv ", "depthwise ")) for text in texts) > 0
        or kzoo.model_card(name).family in WITHOUT_CONVOLUTION
    )


def test_any_keras_model_is_drawn_layer_by_layer():
    inputs = keras.Input((16, 3))
    x = keras.layers.Conv1D(4, 5, dilation_rate=2, activation="relu")(inputs)
    y = keras.layers.Conv1D(4, 1)(x)
    x = keras.layers.LeakyReLU()(keras.layers.Add()([x, y]))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    assert outline(read_graph(model))[1:] == [
        "input",
        "conv 5 · 4 dilated 2, relu",
        "conv 1 · 4",
        "+, leaky relu",
        "flatten",
        "dense · 2",
    ]
    assert "dense · 2" in architecture_svg(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))


def test_no_two_cells_lie_on_each_other_and_lines_go_downwards():
    cells = [Cell(60, 20, (30,), (30,)) for _ in range(7)]
    links = [Link(a, 0, b, 0) for a, b in ((0, 1), (1, 2), (2, 6), (0, 3), (3, 6), (0, 4), (4, 5), (5, 6), (0, 6))]
    plan = planned(cells, links)
    taken = [(x, y, x + 60, y + 20) for x, y in plan.corners]
    for place, one in enumerate(taken):
        for other in taken[place + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    for line in plan.lines:
        assert [y for _, y in line] == sorted(y for _, y in line)
        for (x, y), (right, bottom) in itertools.pairwise(line):
            assert not any(
                left < min(x, right) < end and y < low and bottom > high for left, high, end, low in taken[1:6]
            )


def test_boxes_are_set_in_columns_of_the_width_at_hand():
    assert columns([10, 10, 10, 10], [50, 50, 50, 50], 200) == [[0, 1], [2, 3]]
    assert columns([10, 10], [500, 500], 200) == [[0, 1]]


def test_it_is_written_by_name_from_python_and_from_the_command_line(tmp_path):
    path = draw_architecture("lenet5", tmp_path / "new" / "one.svg")
    assert path.read_text().startswith("<svg ")
    assert draw_architecture(kzoo.models.lenet5((28, 28, 1), 10), tmp_path / "two.svg").read_text() == path.read_text()
    result = CliRunner().invoke(app, ["show", "lenet5", "--picture", str(tmp_path / "three.svg")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "three.svg").read_text() == path.read_text()


def test_mistakes_are_explained(tmp_path):
    with pytest.raises(ValueError, match=r"is an SVG, got lenet5\.png"):
        draw_architecture("lenet5", tmp_path / "lenet5.png")
    with pytest.raises(ValueError, match="did you mean lenet5"):
        draw_architecture("lenet", Path("lenet.svg"))

    class Subclassed(keras.Model):
        pass

    with pytest.raises(ValueError, match="only a built model"):
        draw_architecture(Subclassed(), tmp_path / "none.svg")
