"""Names of classes, files, runs and layers are shown as they are: no markup of rich, no mathematics, no HTML."""

import io
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html import unescape

import keras
import matplotlib.text
import numpy as np
import pytest
from rich.console import Console

import kzoo
from kzoo.analysis.shift import shift_runs
from kzoo.analysis.visualize import draw_embedding, draw_grad_cam
from kzoo.cli import show_table
from kzoo.core import pictures
from kzoo.core.lazy import figures

NAMES = ("[red]", "[/b]", "$a_$", r"$\frac$", "100 %", "<b>&amp;", "two\nlines", "_hidden", ":smile:", r"\[x]")
RUNS = ("_[b]$a_$", "<i>[b] 5%")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    y = np.arange(120) % len(NAMES)
    x = rng.integers(0, 80, (120, 8, 8, 1)) + 17 * y[:, None, None, None]
    file = tmp_path_factory.mktemp("data") / "[red]$x_$ 5%.npz"
    np.savez(file, x_train=x.astype("uint8"), y_train=y, class_names=np.array(NAMES))
    return kzoo.load_dataset(f"npz:{file}", batch_size=32, validation=0.3)


@pytest.fixture(scope="module")
def drawn(data, tmp_path_factory):
    """Return two run directories, and the figures that were written on the way, by name of the file."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    with pytest.MonkeyPatch.context() as patch:
        save = pictures.save
        patch.setattr(pictures, "save", lambda picture, path: (save(picture, path), found.update({path.name: picture})))
        runs = [folder / name for name in RUNS]
        model = kzoo.create_model("convnet", data.input_shape, data.num_classes, padding="same", filters=(4, 4))
        kzoo.fit(model, data, epochs=1, run_dir=runs[0], verbose=False)
        kzoo.evaluate(model, data, run_dir=runs[0])
        shutil.copytree(*runs)
        pictures.save(draw_grad_cam(model, data, data.examples["test"].inputs[:3]), folder / "grad_cam.png")
        pictures.save(draw_embedding(model, data), folder / "embedding.png")
        for name, result in (("compare", kzoo.compare(runs)), ("shift", shift_runs(runs, max_shift=1, examples=16))):
            result.draw(folder / f"{name}.png")
            found[name] = result
    return runs, found


def texts(figure) -> dict[str, bool]:
    """Return the texts that are seen in a figure, and whether each is drawn as mathematics."""
    found = figure.findobj(lambda artist: isinstance(artist, matplotlib.text.Text) and artist.get_visible())
    return {text.get_text(): text.get_parse_math() for text in found}


@pytest.mark.parametrize(
    "file, names",
    [
        ("confusion.png", NAMES),
        ("mistakes.png", NAMES),
        ("grad_cam.png", NAMES),
        ("embedding.png", NAMES),
        ("compare.png", RUNS),
        ("shift.png", RUNS),
    ],
)
def test_pictures_have_them_literally(file, names, drawn):
    shown = texts(drawn[1][file])
    assert not any(shown.values())
    found = [name for name in names if any(name in text for text in shown)]
    assert len(found) == len(names) if file in ("confusion.png", "compare.png", "shift.png") else found


def test_a_legend_has_all_that_is_drawn(drawn):
    for file in ("compare.png", "shift.png"):
        (legend,) = drawn[1][file].findobj(lambda artist: type(artist).__name__ == "Legend")
        assert [text.get_text() for text in legend.get_texts()] == list(RUNS)


def test_powers_of_ten_are_still_mathematics(tmp_path):
    picture = figures.Figure()
    axes = picture.subplots()
    axes.set(yscale="log", title="$a_$")
    axes.plot([1e-6, 10.0])
    pictures.save(picture, tmp_path / "powers.png")
    shown = texts(picture)
    assert shown[r"$\mathdefault{10^{-5}}$"]
    assert not shown["$a_$"]


def test_tables_have_them_literally(data, drawn):
    report = kzoo.tasks.report_from(kzoo.training.records.read_record(drawn[0][0]).metrics)
    for shown, names in ((data, NAMES), (report, NAMES), (drawn[1]["compare"], RUNS), (drawn[1]["shift"], RUNS)):
        console = Console(file=io.StringIO(), width=400, color_system=None)
        console.print(shown)
        printed = console.file.getvalue()
        lines = [line for name in names for line in name.split("\n")]
        assert [line for line in lines if line not in printed] == []
    assert data.name in str(data)
    assert RUNS[0] in str(drawn[1]["compare"])


def test_a_table_of_the_command_line_too(capsys):
    show_table("run", "value", rows=[(name, 1) for name in RUNS])
    printed = capsys.readouterr().out
    assert [name for name in RUNS if name not in printed] == []


def test_html_has_them_literally(data, drawn):
    page = (drawn[0][0] / "report.html").read_text()
    cells = [unescape(cell) for cell in re.findall(r"<t[dh][^>]*>([^<]*)<", page)]
    assert [name for name in NAMES if name not in cells] == []
    assert f"run {RUNS[0]}" in unescape(page)
    for result, names in ((drawn[1]["compare"], RUNS), (data, NAMES)):
        shown = unescape(result._repr_html_())
        assert [name for name in names if name not in shown] == []


def test_layers_and_networks_too(tmp_path):
    x = keras.Input((8, 8, 1))
    y = keras.layers.Conv2D(2, 3, name="[red]$a_$<b>.[b] 5%")(x)
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.Flatten()(y)), name="[bold]<i>$x_$&amp;")
    profile = kzoo.profile(model)
    assert all(name in str(profile) for name in (model.name, "[red]$a_$<b>.[b] 5%"))
    assert "[red]$a_$<b>.[b] 5%" in unescape(profile._repr_html_())
    profile.draw(tmp_path / "profile.png")
    tree = ElementTree.parse(kzoo.draw_architecture(model, tmp_path / "network.svg"))
    words = [text for node in tree.iter() for text in (node.text,) if text]
    assert model.name in words
    assert any("[red]$a_$<b>" in word for word in words)
