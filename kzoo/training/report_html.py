"""HTML page of a run: one file that opens without a server, with its pictures inside, no script, nothing fetched."""

import base64
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from kzoo.core.files import user_path, write_text, writing
from kzoo.core.html import Node, node, table, to_html
from kzoo.core.pictures import metric_name
from kzoo.core.shown import table as rows_table
from kzoo.core.yaml import flatten
from kzoo.tasks import report_from
from kzoo.tasks.task import Report, Section, metric_text
from kzoo.training import runs
from kzoo.training.records import Record, read_record

STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --back: #fff; --line: #d0d7de; --soft: #f3f5f7; --quiet: #57606a; }
@media (prefers-color-scheme: dark) {
  :root { --text: #d5dae0; --back: #14171b; --line: #3a424c; --soft: #1f242a; --quiet: #9aa5b1; }
  img.chart { filter: invert(.9) hue-rotate(180deg); }
  img.examples { filter: brightness(.7); }
}
@media (max-width: 40rem) {
  .wide img { max-width: none; zoom: .6; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem; color: var(--text); background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { margin: .5rem 0 0; line-height: 1.2; }
h2 { margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
.headline { font-size: 1.5rem; font-weight: 600; margin: .5rem 0; }
.quiet { color: var(--quiet); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem 1rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
img { display: block; max-width: 100%; height: auto; padding: .5rem; border-radius: .4rem; background: #fff; }
.wide { overflow-x: auto; }
pre { padding: .8rem; overflow-x: auto; border-radius: .4rem; background: var(--soft); }
summary { cursor: pointer; }
"""
UNITS = {"memory_gib": "memory, GiB"}
ENDS = {"learning_rate": " at the end of the epoch"}


def write_html(path: str | Path) -> Path:
    """Write `report.html` into a run directory; return its path.

    Args:
        path: a run directory; the page of one that was not evaluated yet says so.

    Raises:
        ValueError: if it is not a run directory, a file of it is damaged, or it cannot be written.
    """
    record = read_record(path)
    text = page(record)
    with writing(record.path / runs.PAGE):
        write_text(record.path / runs.PAGE, text)
    return record.path / runs.PAGE


def refresh_html(path: str | Path) -> None:
    """Write `report.html` into a directory if it is a run directory."""
    if all((user_path(path) / name).is_file() for name in (runs.CONFIG, runs.MODEL)):
        write_html(path)


def page(record: Record) -> str:
    """Return the page."""
    title = f"{record.model} on {record.dataset}"
    head = node(
        "head",
        node("meta", charset="utf-8"),
        node("meta", name="viewport", content="width=device-width, initial-scale=1"),
        node("title", f"{title}: {record.name}"),
        node("style", STYLE),
    )
    heading = [node("h1", title), node("p", f"run {record.name}", **{"class": "quiet"})]
    sections = [node("section", node("h2", name), *content) for name, content in parts(record)]
    html = node("html", head, node("body", node("main", *heading, *sections)), lang="en")
    return f"<!DOCTYPE html>\n{to_html(html)}\n"


def parts(record: Record) -> Iterator[tuple[str, Iterable[Node]]]:
    """Yield the title and the content of each section."""
    yield "Training", training(record)
    if record.metrics is None:
        words = "This run is not evaluated yet: "
        yield "Result", [node("p", words, node("code", f"kzoo evaluate {shlex.quote(record.name)}"), " does that.")]
    else:
        report = report_from(record.metrics)
        yield "Result", result(report)
        groups = [Section("Groups", table=table) for table in report.group_tables()]
        for section in (*report.sections(), *groups):
            yield section.title, content(record, section)
    yield "Configuration", [node("pre", (record.path / runs.CONFIG).read_text(encoding="utf-8"))]
    yield "Environment", [pairs(environment(record))]
    yield "Reproduce", reproduction(record)


def training(record: Record) -> Iterator[Node]:
    """Yield the learning curves, and the metrics of the epoch whose weights were kept."""
    if not record.history:
        yield node("p", "No epoch was completed.")
        return
    done = "1 epoch" if record.epochs == 1 else f"{record.epochs} epochs"
    took = "" if record.seconds is None else f" in {record.seconds:,.0f} s"
    best = record.best_epoch
    kept = f"the weights of epoch {best} were kept" if best else "no epoch had a finite validation loss"
    words = f"{done}{took}; {kept}."
    yield node("p", words)
    yield node("div", *picture(record.path / runs.CURVES, f"Learning curves. {words}"), **{"class": "wide"})
    names = [name for name in record.history if not name.startswith("val_") and name != "seconds"]
    rows = [
        (f"{metric_name(name)}{ENDS.get(name, '')}", at_best(record, name), at_best(record, f"val_{name}"))
        for name in names
    ]
    yield table(rows_table((f"epoch {best}", "training", "validation"), rows)) if best else ""


def at_best(record: Record, name: str) -> str:
    """Return a metric of the epoch whose weights were kept as text, "" where there is none."""
    value = record.at_best(name)
    return "" if value is None else metric_text(name, value)


def result(report: Report) -> Iterator[Node]:
    """Yield the main numbers of the whole split."""
    (name, value), *others = report.measures()
    yield node("p", f"{report.split} {name} {value}", **{"class": "headline"})
    yield pairs(others)


def content(record: Record, section: Section) -> Iterator[Node]:
    """Yield the picture, the words and the table of a part of a report."""
    if section.picture:
        kind = "examples" if section.examples else "chart"
        drawn = list(picture(record.path / section.picture, section.alt, kind=kind))
        yield from [node("div", *drawn, **{"class": "wide"})] if section.wide else drawn
    if section.words:
        yield node("p", section.words)
    if section.table:
        rows = table(section.table)
        yield node("details", node("summary", section.folded), rows) if section.folded else rows


def environment(record: Record) -> list[tuple[str, str]]:
    """Return versions, hardware and seed as names and values in words."""
    found = {key.removeprefix("packages."): value for key, value in flatten(record.environment).items()}
    return [(UNITS.get(key, key.replace("_", " ")), worded(value)) for key, value in found.items()]


def worded(value) -> str:
    """Return a value in words; None and an empty list are a dash."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def reproduction(record: Record) -> Iterator[Node]:
    """Yield the command that trains the network again."""
    yield node("p", "With the versions listed above, in this run's directory:")
    yield node("pre", f"kzoo train {runs.CONFIG} --out {shlex.quote(f'../{record.name}_again')}")
    words = "Relative paths in the configuration start where the command is run. "
    yield node("p", words, "The configuration of a network that was built in Python lacks its hyperparameters.")


def pairs(rows: Iterable[tuple[str, str]]) -> Node:
    """Return names and values as a table."""
    return table(rows_table(("", ""), rows, words=2))


def picture(path: Path, words: str, kind: str = "chart") -> Iterator[Node]:
    """Yield a picture, embedded in the page, if its file exists."""
    if path.is_file():
        data = base64.b64encode(path.read_bytes()).decode()
        yield node("img", src=f"data:image/png;base64,{data}", alt=words, **{"class": kind})
