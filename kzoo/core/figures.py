"""Matplotlib figures that show names as they are: dollar signs and backslashes are no mathematics.

Import it as `from kzoo.core.lazy import figures`; this module imports Matplotlib.
"""

from collections.abc import Sequence

from matplotlib import figure, ticker
from matplotlib.artist import Artist
from matplotlib.text import Text


class Figure(figure.Figure):
    """A figure whose texts are drawn literally, all but the powers of ten along logarithmic axes."""

    def draw(self, renderer):
        powers = {id(label) for axes in self.axes for axis in (axes.xaxis, axes.yaxis) for label in power_labels(axis)}
        for text in self.findobj(Text):
            if id(text) not in powers:
                text.set(parse_math=False, usetex=False)
        super().draw(renderer)


def power_labels(axis) -> Sequence[Text]:
    """Return the labels of a logarithmic axis, which Matplotlib writes as mathematics; none of another one."""
    logarithmic = isinstance(axis.get_major_formatter(), ticker.LogFormatter)
    return [*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)] if logarithmic else []


def add_legend(drawn: figure.FigureBase, artists: Sequence[Artist], **options) -> None:
    """Add a legend with the labels of these artists; by itself Matplotlib leaves out those that begin with `_`."""
    drawn.legend(artists, [artist.get_label() for artist in artists], **options)
