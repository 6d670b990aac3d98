"""The page of a run: well-formed, complete, with nothing from outside, and with nobody else's markup."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

import kzoo
from kzoo.core.files import write_json
from kzoo.core.numbers import percent
from kzoo.training.report_html import write_html

VOID = ("meta", "img", "br", "hr", "link", "input")


class Page(HTMLParser):
    """Read a page; `problems` are what is not well-formed."""

    def __init__(self, path: Path):
        super().__init__()
        self.open, self.problems, self.tags, self.words = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        self.problems += [f"{tag} is not closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"{tag} is closed where it is not open")

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def attributes(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def copy(run, tmp_path) -> Path:
    """A run that may be changed."""
    shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("tensorboard"))
    return tmp_path / "copy"


def test_the_page_is_complete(copy):
    page = Page(write_html(copy))
    assert page.problems == []
    for heading in (
        "Training",
        "Result",
        "Confusion matrix",
        "Most confident mistakes",
        "Configuration",
        "Environment",
    ):
        assert heading in page.words
    numbers = json.loads((copy / "metrics.json").read_text())
    assert f"test accuracy {percent(numbers['accuracy'])}" in page.words
    assert " to ".join(map(percent, numbers["accuracy_interval"])) in page.words
    assert (copy / "config.yaml").read_text() in page.text
    assert json.loads((copy / "environment.json").read_text())["python"] in page.text
    assert "kzoo train config.yaml --out ../copy_again" in page.text
    assert page.attributes("html") == [{"lang": "en"}]
    assert set(numbers["per_class"]) <= set(page.words)


def test_numbers_have_one_format_and_metrics_have_words(copy):
    page = Page(write_html(copy))
    assert not [word for word in page.words if re.fullmatch(r"0\.\d+", word) and float(word) > 0.9]  # a fraction
    tables = [word for word in page.words if word.isidentifier()]
    assert not [word for word in tables if "_" in word]
    assert {"accuracy", "training", "validation", "learning rate at the end of the epoch"} <= set(page.words)


def test_numbers_do_not_break_and_tables_scroll(copy):
    page = Page(write_html(copy))
    cells = [attributes["style"] for attributes in page.attributes("td") if "right" in attributes["style"]]
    assert cells
    assert all("white-space: nowrap" in style for style in cells)
    scrolling = [attributes for attributes in page.attributes("div") if attributes.get("style") == "overflow-x: auto"]
    assert len(scrolling) == len(page.attributes("table"))


def test_fit_and_evaluate_write_the_page(digits, tmp_path):
    model = kzoo.create_model("mlp", digits.input_shape, 10, units=(8,))
    kzoo.fit(model, digits, epochs=1, run_dir=tmp_path / "run", verbose=False)
    assert "This run is not evaluated yet" in Page(tmp_path / "run" / "report.html").text
    kzoo.evaluate(model, digits, run_dir=tmp_path / "run")
    assert "Confusion matrix" in Page(tmp_path / "run" / "report.html").words
    kzoo.evaluate(model, digits, run_dir=tmp_path / "other")  # no run directory, hence no page
    assert not (tmp_path / "other" / "report.html").exists()


def test_pictures_are_inside_and_have_words(copy):
    pictures = Page(write_html(copy)).attributes("img")
    assert len(pictures) == 3
    assert all(picture["src"].startswith("data:image/png;base64,iVBOR") for picture in pictures)
    assert all(len(picture["alt"]) > 20 for picture in pictures)


def test_nothing_is_fetched_or_run(copy):
    path = write_html(copy)
    page = Page(path)
    assert not {"script", "link", "iframe", "object", "a", "form"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?:|//|url\(|@import", re.sub(r"base64,[\w+/=]*", "", path.read_text()))
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_it_fits_dark_mode_and_narrow_screens(copy):
    path = write_html(copy)
    assert "prefers-color-scheme: dark" in path.read_text()
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in Page(path).attributes("meta")


def test_names_are_never_markup(copy):
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["per_class"]['<b>bold</b> & "quoted"'] = metrics["per_class"].pop("3")
    metrics["confusion"][9][0] = 99
    metrics["mistakes"] = [{"example": 1, "label": "<script>x</script>", "predicted": "</td>", "probability": 0.5}]
    metrics["per_group"] = {"<i>ann</i>": {"accuracy": 0.5, "examples": 2}}
    write_json(copy / "metrics.json", metrics)
    (copy / "config.yaml").write_text('seed: 0\ndata: {name: "</pre><img src=x>"}\nmodel: {name: "<h1>"}\ntrain: {}\n')
    page = Page(write_html(copy))
    assert page.problems == []
    assert not {"b", "i", "script"} & {tag for tag, _ in page.tags}
    assert len(page.attributes("img")) == 3
    assert len(page.attributes("h1")) == 1
    for text in ('<b>bold</b> & "quoted"', "<script>x</script>", "</td>", "<i>ann</i>"):
        assert text in page.words
    assert '<b>bold</b> & "quoted" predicted as 0 (99)' in page.attributes("img")[1]["alt"]


def test_test_time_augmentation_is_reported(copy):
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics |= {"tta": {"flip": True}, "examples_per_second": 12345.6}
    write_json(copy / "metrics.json", metrics)
    words = Page(write_html(copy)).words
    assert words[words.index("test-time augmentation") + 1] == "flip True"
    assert words[words.index("examples/s") + 1] == "12,346"


def test_a_run_that_was_not_evaluated(copy):
    for name in ("metrics.json", "confusion.png", "mistakes.png"):
        (copy / name).unlink()
    page = Page(write_html(copy))
    assert page.problems == []
    assert "This run is not evaluated yet" in page.text
    assert len(page.attributes("img")) == 1


def test_a_run_without_a_whole_epoch_or_mistakes(copy):
    for name in ("history.csv", "curves.png", "environment.json"):
        (copy / name).unlink()
    metrics = json.loads((copy / "metrics.json").read_text()) | {"mistakes": []}
    metrics["confusion"] = [[5 * (row == column) for column in range(10)] for row in range(10)]
    write_json(copy / "metrics.json", metrics)
    page = Page(write_html(copy))
    assert page.problems == []
    assert "No epoch was completed." in page.text
    assert "No example was misclassified." in page.text


def test_mistakes_are_explained(copy, tmp_path):
    with pytest.raises(ValueError, match="is not a run directory of kzoo"):
        write_html(tmp_path)
    (copy / "metrics.json").write_text("[")
    with pytest.raises(ValueError, match=r"metrics.json cannot be read"):
        write_html(copy)
