"""Results that show themselves as tables: in the terminal, in `print`, in a notebook."""

from kzoo.core.lazy import rich_console

WIDTH = 160  # characters of a line, where nothing else is known


class Shown:
    """A result with a `__rich_console__`, which `print` and notebooks show as well."""

    def as_text(self) -> str:
        """Return what rich would print, without colours."""
        console = rich_console.Console(width=WIDTH, color_system=None, force_jupyter=False)
        with console.capture() as captured:
            console.print(self)
        return captured.get().rstrip("\n")

    def __str__(self) -> str:
        return self.as_text()

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        """Show it as the result of a cell, as IPython asks."""
        printer.text(self.as_text())
