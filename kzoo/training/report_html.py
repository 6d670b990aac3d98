"""A run as one page of HTML that opens without a server: pictures inside, no script, nothing fetched.

The page is built as a tree (xml.etree), not as text, so that no name of a class can become markup.
"""

import base64
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from kzoo.core.files import write_text
from kzoo.training import runs
from kzoo.training.records import Record, read_record

STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --back: #fff; --line: #d0d7de; --soft: #f3f5f7; --quiet: #57606a; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ed; --back: #14171b; --line: #3a424c; --soft: #1f242a; --quiet: #9aa5b1; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem; color: var(--text); background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: .5rem 0 0; line-height: 1.2; }
h2 { margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
.headline { font-size: 1.5rem; font-weight: 600; margin: .5rem 0; }
.quiet { color: var(--quiet); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; }
img { display: block; max-width: 100%; height: auto; padding: .5rem; border-radius: .4rem; background: #fff; }
pre { padding: .8rem; overflow-x: auto; border-radius: .4rem; background: var(--soft); overflow-wrap: normal; }
summary { cursor: pointer; }
"""
Node = ElementTree.Element


def write_html(path: str | Path) -> Path:
    """Write `report.html` into a run folder; return its path.

    Args:
        path: a run folder; one that was not evaluated yet gets a page that says so.

    Raises:
        ValueError: if it is not a run folder, a file of it is damaged, or it cannot be written.
    """
    record = read_record(path)
    try:
        write_text(record.path / runs.PAGE, page(record))
    except OSError as error:
        raise ValueError(f"{record.path / runs.PAGE} cannot be written: {error.strerror or error}") from error
    return record.path / runs.PAGE


def page(record: Record) -> str:
    """Return the whole page."""
    title = f"{record.model} on {record.dataset}"
    head = node(
        "head",
        node("meta", charset="utf-8"),
        node("meta", name="viewport", content="width=device-width, initial-scale=1"),
        node("title", f"{title}: {record.name}"),
        node("style", STYLE),
    )
    heading = [node("h1", title), node("p", f"run {record.name}", **{"class": "quiet"})]
    main = node("main", *heading, *[section(*part) for part in parts(record)])
    html = node("html", head, node("body", main), lang="en")
    return f"<!DOCTYPE html>\n{ElementTree.tostring(html, encoding='unicode', method='html')}\n"


def parts(record: Record) -> list[tuple]:
    """Return the sections of the page: a title, then what is in it."""
    return [
        ("Result", *result(record)),
        ("Curves", *curves(record)),
        ("Confusion", *confusion(record)),
        ("Mistakes", *mistakes(record)),
        ("Config", node("pre", (record.path / runs.CONFIG).read_text(encoding="utf-8"))),
        ("Environment", table(("what", "value"), flattened(record.environment))),
        ("Repeat it", *repetition(record)),
    ]


def result(record: Record) -> Iterable[Node]:
    """Yield the main numbers, then those of each class and group."""
    if record.metrics is None:
        yield node("p", "This run was not evaluated yet: ", node("code", "kzoo evaluate RUN"), " does that.")
        return
    metrics = record.metrics
    low, high = metrics["accuracy_interval"]
    yield node("p", f"{metrics['split']} accuracy {metrics['accuracy']:.2%}", **{"class": "headline"})
    yield node("p", f"95 % interval {low:.2%} to {high:.2%}, {metrics['examples']:,} examples")
    yield table(("measure", "value"), numbers(metrics), numeric=(1,))
    yield node("h3", "Each class")
    columns = ("precision", "recall", "F1", "examples")
    yield table(("class", *columns), [class_row(*item) for item in metrics["per_class"].items()], numeric=range(1, 5))
    if metrics.get("per_group"):
        yield node("h3", "Each group")
        groups = sorted(metrics["per_group"].items(), key=lambda item: item[1]["accuracy"])
        rows = [(name, f"{row['accuracy']:.4f}", f"{row['examples']:,}") for name, row in groups]
        yield table(("group", "accuracy", "examples"), rows, numeric=(1, 2))


def numbers(metrics: Mapping) -> list[tuple[str, str]]:
    """Return the measures beside the accuracy that were taken."""
    names = {
        "macro_f1": "macro-F1",
        "top5_accuracy": "top-5 accuracy",
        "loss": "cross-entropy, nats",
        "calibration_error": "calibration error",
        "examples_per_second": "examples per second",
    }
    found = [(words, in_figures(metrics[key])) for key, words in names.items() if metrics.get(key) is not None]
    views = ", ".join(f"{key} {value}" for key, value in (metrics.get("tta") or {}).items())
    return [*found, ("mean over views (test-time augmentation)", views)] if views else found


def in_figures(value: float) -> str:
    """Return four figures of a number, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def class_row(name: str, scores: Mapping) -> tuple[str, ...]:
    """Return one class's line."""
    return name, *[f"{scores[key]:.4f}" for key in ("precision", "recall", "f1")], f"{scores['examples']:,}"


def curves(record: Record) -> Iterable[Node]:
    """Yield the picture of the training, and its numbers in words."""
    if not record.history:
        yield node("p", "No epoch was completed.")
        return
    best = [f"{name} {value:.4g}" for name in record.history if (value := record.at_best(name)) is not None]
    done = "1 epoch" if record.epochs == 1 else f"{record.epochs} epochs"
    words = f"{done}. The weights of epoch {record.best_epoch} were kept: {', '.join(best)}."
    yield from picture(record.path / runs.CURVES, f"Learning curves. {words}")
    yield node("p", words)


def confusion(record: Record) -> Iterable[Node]:
    """Yield the picture of the confusion matrix, and its largest entries in words."""
    if record.metrics is None:
        yield node("p", "Not evaluated yet.")
        return
    found = confusions(record.metrics)
    largest = ", ".join(f"{true} taken for {taken} ({times:,})" for times, true, taken in found)
    words = f"Most frequent: {largest}." if found else "No example was taken for another class."
    yield from picture(
        record.path / runs.CONFUSION, f"Confusion matrix: true classes in rows, predicted ones in columns. {words}"
    )
    yield node("p", words)


def confusions(metrics: Mapping, most: int = 5) -> list[tuple[int, str, str]]:
    """Return the most frequent confusions: how often, the true class, and what it was taken for."""
    names, counts = list(metrics["per_class"]), metrics["confusion"]
    wrong = [
        (counts[row][column], names[row], names[column])
        for row in range(len(names))
        for column in range(len(names))
        if row != column and counts[row][column]
    ]
    return sorted(wrong, key=lambda item: -item[0])[:most]


def mistakes(record: Record) -> Iterable[Node]:
    """Yield the picture of the most confident mistakes, and a table of them."""
    found = record.metrics["mistakes"] if record.metrics else []
    if not found:
        yield node("p", "None." if record.metrics else "Not evaluated yet.")
        return
    yield from picture(
        record.path / runs.MISTAKES, f"The {len(found)} most confident mistakes; the table below names them."
    )
    rows = [(f"{m['example']}", m["label"], m["predicted"], f"{m['probability']:.1%}") for m in found]
    listed = table(("example of the split", "true class", "predicted", "probability"), rows, numeric=(0, 3))
    yield node("details", node("summary", f"The {len(found)} most confident mistakes as a table"), listed)


def repetition(record: Record) -> Iterable[Node]:
    """Yield how the run is made again."""
    yield node("p", "With the versions named above, in this run's folder:")
    yield node("pre", f"kzoo train {runs.CONFIG} --out {shlex.quote(f'../{record.name}_again')}")
    words = "A relative path in the config starts where the command is given. "
    yield node("p", words, "The config of a network that was built in Python does not name its hyperparameters.")


def section(title: str, *content: Node) -> Node:
    """Return a part of the page under its heading."""
    return node("section", node("h2", title), *content)


def picture(path: Path, words: str) -> Iterable[Node]:
    """Yield a picture with everything of it inside the page, nothing where there is no file."""
    if path.is_file():
        data = base64.b64encode(path.read_bytes()).decode()
        yield node("img", src=f"data:image/png;base64,{data}", alt=words)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = ()) -> Node:
    """Return a table that scrolls where the screen is narrow; `numeric` are the columns that are set to the right."""
    kinds = [{"class": "number"} if place in set(numeric) else {} for place in range(len(columns))]
    head = [node("th", name, scope="col", **kind) for name, kind in zip(columns, kinds, strict=True)]
    body = [node("tr", *[node("td", cell, **kind) for cell, kind in zip(row, kinds, strict=True)]) for row in rows]
    return node("div", node("table", node("thead", node("tr", *head)), node("tbody", *body)), **{"class": "wide"})


def flattened(content: Mapping, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested values as rows of a name and a word."""
    rows = []
    for key, value in content.items():
        inner = (
            flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", worded(value))]
        )
        rows += inner
    return rows


def worded(value) -> str:
    """Return a value in words; nothing and an empty list are a dash."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def node(tag: str, *content: Node | str, **attributes: str) -> Node:
    """Return an element of the page; text and attributes are escaped when it is written."""
    made = ElementTree.Element(tag, attributes)
    for child in content:
        if not isinstance(child, str):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + child
        else:
            made.text = (made.text or "") + child
    return made
