"""Tables for results: in the terminal, in `print`, in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kzoo.core.html import nodes, to_html
from kzoo.core.lazy import rich_console, rich_table, rich_text

WIDTH = 160  # characters of a line, where nothing else is known


class Shown:
    """A result with a `__rich_console__`, which `print`, prompts and notebooks display as well.

    A dataclass that derives from it is declared with `repr=False`; else its `repr` is that of all its fields.
    """

    def as_text(self) -> str:
        """Return what rich would print, without colours."""
        console = rich_console.Console(width=WIDTH, color_system=None, force_jupyter=False)
        with console.capture() as captured:
            console.print(self)
        return captured.get().rstrip("\n")

    def __str__(self) -> str:
        return self.as_text()

    def __repr__(self) -> str:
        return self.as_text()

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        """Display it in a terminal, as IPython asks."""
        printer.text(self.as_text())

    def _repr_html_(self) -> str:
        """Return it as HTML tables, as notebooks ask."""
        return "".join(map(to_html, nodes(self)))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> rich_table.Table:
    """Return a rich table without lines.

    Args:
        columns: headings.
        rows: cells; rich's markup in them is not interpreted.
        words: how many of the first columns hold words; the others hold numbers and are aligned to the right.
    """
    aligned = ["left"] * words + ["right"] * (len(columns) - words)
    headers = [
        rich_table.Column(rich_text.Text(name), justify=side) for name, side in zip(columns, aligned, strict=True)
    ]
    made = rich_table.Table(*headers, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*literal(row))
    return made


def literal(cells: Iterable) -> Iterable[rich_text.Text]:
    """Return what to give to `add_row` of a rich table so that neither markup nor emoji codes are interpreted."""
    return (rich_text.Text(str(cell)) for cell in cells)


def listed(names: Sequence[str], shown: int = 5) -> str:
    """Return the first names of classes or files, and how many there are more."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(repr, names[:shown])) + more
