"""HTML built as a tree (xml.etree), so that no name of a class can become markup; rich tables as HTML tables."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from kzoo.core.lazy import rich_console, rich_table, rich_text

Node = ElementTree.Element
NUMBER = {"style": "text-align: right; white-space: nowrap"}
WORDS = {"style": "text-align: left"}


def node(tag: str, *content: Node | str, **attributes: str) -> Node:
    """Return an element; text and attributes are escaped when it is written."""
    made = ElementTree.Element(tag, attributes)
    for child in content:
        if not isinstance(child, str):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + child
        else:
            made.text = (made.text or "") + child
    return made


def to_html(made: Node) -> str:
    """Return an element as HTML text."""
    return ElementTree.tostring(made, encoding="unicode", method="html")


def nodes(shown) -> Iterator[Node]:
    """Yield what rich would print as HTML: tables as tables, all else as paragraphs."""
    if isinstance(shown, rich_table.Table):
        yield table(shown)
    elif hasattr(shown, "__rich_console__") and not isinstance(shown, rich_text.Text):
        console = rich_console.Console()
        for part in shown.__rich_console__(console, console.options):
            yield from nodes(part)
    else:
        yield node("p", plain(shown))


def table(shown: rich_table.Table) -> Node:
    """Return a rich table as an HTML table that scrolls where the screen is narrow."""
    styles = [NUMBER if column.justify == "right" else WORDS for column in shown.columns]
    head = [node("th", plain(c.header), scope="col", **s) for c, s in zip(shown.columns, styles, strict=True)]
    body = [
        node("tr", *[node("td", plain(cell), **style) for cell, style in zip(row, styles, strict=True)])
        for row in zip(*[column.cells for column in shown.columns], strict=True)
    ]
    made = node("table", node("thead", node("tr", *head)), node("tbody", *body))
    return node("div", made, style="overflow-x: auto")


def plain(text) -> str:
    """Return the characters of a rich text, or of a string."""
    return text.plain if isinstance(text, rich_text.Text) else str(text)
