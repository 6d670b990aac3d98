"""Learning curves: which columns of a history are drawn."""

import matplotlib.figure
import pytest

from kzoo.core import pictures
from kzoo.core.pictures import Curve, comparison_figure, draw_curves, save

HISTORY = {
    "accuracy": [0.5, 0.75, 1.0],
    "loss": [3.0, 2.0, 1.0],
    "val_accuracy": [0.25, 0.5, 0.75],
    "val_loss": [4.0, 3.0, 2.0],
    "learning_rate": [1e-3, 1e-4, 0.0],
}
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def drawn(monkeypatch) -> list[matplotlib.figure.Figure]:
    """Catch the figures that are written."""
    found = []
    save = pictures.save
    monkeypatch.setattr(pictures, "save", lambda picture, path: (found.append(picture), save(picture, path)))
    return found


def lines(axes) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines}


def test_a_panel_for_each_metric_and_one_for_the_learning_rate(drawn, tmp_path):
    draw_curves(tmp_path / "curves.png", HISTORY, best_epoch=3)
    assert (tmp_path / "curves.png").read_bytes()[:8] == PNG
    accuracy, loss, rate = drawn[0].axes
    assert lines(accuracy)["train"] == HISTORY["accuracy"]
    assert lines(accuracy)["validation"] == HISTORY["val_accuracy"]
    assert lines(loss)["validation"] == HISTORY["val_loss"]
    assert [axes.get_ylabel() for axes in drawn[0].axes] == ["accuracy", "loss", "learning rate"]
    assert [axes.get_yscale() for axes in drawn[0].axes] == ["linear", "linear", "log"]
    assert lines(rate)["at the epoch's end"][:2] == [1e-3, 1e-4]
    assert all("best, epoch 3" in lines(axes) for axes in drawn[0].axes)


@pytest.mark.parametrize("rates", [None, [0.0, 0.0, 0.0]], ids=["not recorded", "always zero"])
def test_no_panel_without_a_learning_rate(rates, drawn, tmp_path):
    history = {key: values for key, values in HISTORY.items() if key != "learning_rate"}
    draw_curves(tmp_path / "curves.png", history | ({} if rates is None else {"learning_rate": rates}), 1)
    assert len(drawn[0].axes) == 2


def test_one_epoch_is_a_point(drawn, tmp_path):
    draw_curves(tmp_path / "curves.png", {key: values[:1] for key, values in HISTORY.items()}, 1)
    assert drawn[0].axes[0].lines[0].get_marker() == "."
    assert drawn[0].axes[0].get_xlim() == (0.5, 1.5)


def test_nothing_is_written_without_validation(tmp_path):
    draw_curves(tmp_path / "curves.png", {"loss": [1.0]}, 1)
    assert list(tmp_path.iterdir()) == []


def test_cross_entropy_stands_for_the_loss_that_label_smoothing_changes(drawn, tmp_path):
    history = HISTORY | {"crossentropy": [0.9, 0.8, 0.7], "val_crossentropy": [1.2, 1.1, 1.0]}
    draw_curves(tmp_path / "curves.png", history, best_epoch=3)
    assert [axes.get_ylabel() for axes in drawn[0].axes] == ["accuracy", "cross-entropy", "learning rate"]
    both = comparison_figure(
        [Curve("one", history, None), Curve("two", history, None), Curve("empty", {}, None)], "accuracy"
    )
    assert lines(both.axes[0])["two"] == [1.2, 1.1, 1.0]
    assert both.axes[0].get_ylabel() == "validation cross-entropy"
    older = comparison_figure([Curve("one", history, None), Curve("two", HISTORY, None)], "accuracy")
    assert lines(older.axes[0])["one"] == HISTORY["val_loss"]


def test_runs_side_by_side():
    figure = comparison_figure([Curve("long", HISTORY, (0.9, 0.8, 0.95)), Curve("empty", {}, None)], "accuracy")
    loss, accuracy, tested = figure.axes
    assert lines(loss) == {"long": HISTORY["val_loss"], "empty": []}
    assert lines(accuracy)["long"] == HISTORY["val_accuracy"]
    assert [label.get_text() for label in tested.get_yticklabels()] == ["long", "empty"]
    assert len(tested.containers) == 1  # what was not measured has no point
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["long", "empty"]


def test_40_runs_can_be_distinguished():
    styles = pictures.run_styles(40)
    assert len({(style["color"], style["linestyle"]) for style in styles}) == 40


def test_the_ending_says_the_format(tmp_path):
    figure = comparison_figure([Curve("one", HISTORY, None)], "accuracy")
    save(figure, tmp_path / "both.svg")
    assert "<svg" in (tmp_path / "both.svg").read_text()
    with pytest.raises(ValueError, match=r"cannot be written as both.xyz; choose a name that ends in .png"):
        save(figure, tmp_path / "both.xyz")
