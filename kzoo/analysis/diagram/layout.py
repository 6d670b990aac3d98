"""Layered graph layout: boxes in rows by depth and in lanes, one for each branch, and the lines between them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

Point = tuple[float, float]

GAP = 18  # between rows, where lines turn
MARGIN = 10  # between lanes
WIRE = 10  # width of a lane without boxes


class Cell(NamedTuple):
    """A box to be placed: its size, and the positions of its ports on the upper and the lower edge."""

    width: float
    height: float
    ins: tuple[float, ...] = ()
    outs: tuple[float, ...] = ()

    @property
    def axis(self) -> float:
        """The position of the first port; cells of one branch are aligned by it."""
        return (*self.ins, *self.outs, self.width / 2)[0]


class Link(NamedTuple):
    """A line from a port on a cell's lower edge to one on the upper edge of another, all by number."""

    source: int
    leaves: int
    target: int
    enters: int


class Plan(NamedTuple):
    """The positions of the cells (upper left corners), and the corners of the lines."""

    width: float
    height: float
    corners: list[Point]
    lines: list[list[Point]]


@dataclass(eq=False)
class Branch:
    """Cells below one another, or none, in a lane that they occupy from one row to another.

    Attributes:
        cells: by number.
        rows: that the branch occupies, the lines at its ends included.
        before: pixels on the left of its axis.
        after: pixels on the right of it.
        lane: its number, counted from the left; 0 is the longest branch.
    """

    cells: tuple[int, ...]
    rows: range
    before: float
    after: float
    lane: int = 0


def planned(cells: Sequence[Cell], links: Sequence[Link], at_the_end: int = 0) -> Plan:
    """Place cells so that all lines go downwards.

    Args:
        cells: in an order of computation: each after those that it reads.
        links: between them.
        at_the_end: number of the last cells, which belong in the lowest row.
    """
    rows = rows_of(len(cells), links)
    rows[len(cells) - at_the_end :] = [max(rows)] * at_the_end
    branches = branches_of(cells, links, rows)
    lanes = {link: lane_of(link, branches, rows) for link in links}
    axes, right = into_lanes(branches, [lane for lane in lanes.values() if lane and not lane.cells])
    tops = tops_of(cells, rows)
    corners: list[Point] = [(0, 0)] * len(cells)
    for branch in branches:
        for cell in branch.cells:
            corners[cell] = (axes[branch.lane] - cells[cell].axis, tops[rows[cell]])
    passing = {link: lane and axes[lane.lane] for link, lane in lanes.items()}
    lines = [
        line(link, cells, corners, (tops[rows[link.source] + 1], tops[rows[link.target]]), passing[link])
        for link in links
    ]
    return Plan(right, tops[-1] - GAP, corners, lines)


def rows_of(count: int, links: Sequence[Link]) -> list[int]:
    """Return the row of each cell: one below the lowest that it reads."""
    rows = [0] * count
    for target in range(count):
        rows[target] = max([rows[link.source] + 1 for link in links if link.target == target], default=0)
    return rows


def tops_of(cells: Sequence[Cell], rows: Sequence[int]) -> list[float]:
    """Return the top of each row, and that of one below the last."""
    tops = [0.0]
    for row in range(max(rows) + 1):
        tops.append(tops[-1] + GAP + max(cell.height for cell, at in zip(cells, rows, strict=True) if at == row))
    return tops


def branches_of(cells: Sequence[Cell], links: Sequence[Link], rows: Sequence[int]) -> list[Branch]:
    """Return the cells as disjoint paths through the graph, the longest first."""
    free, found = set(range(len(cells))), []
    while free:
        way = longest_way(free, links)
        free -= set(way)
        above = [rows[link.source] + 1 for link in links if link.target == way[0]]
        below = [rows[link.target] for link in links if link.source == way[-1]]
        taken = range(min([rows[way[0]], *above]), max([rows[way[-1]] + 1, *below]))
        before = max(cells[cell].axis for cell in way)
        after = max(cells[cell].width - cells[cell].axis for cell in way)
        found.append(Branch(way, taken, before, after))
    return found


def longest_way(free: set[int], links: Sequence[Link]) -> tuple[int, ...]:
    """Return the path of most cells among those that are free."""
    best: dict[int, tuple[int, ...]] = {}
    for cell in sorted(free, reverse=True):
        after = [best[link.target] for link in links if link.source == cell and link.target in best]
        best[cell] = (cell, *max(after, key=len, default=()))
    return max((best[cell] for cell in sorted(free)), key=len)


def lane_of(link: Link, branches: Sequence[Branch], rows: Sequence[int]) -> Branch | None:
    """Return the branch whose lane a line runs in, a new one if there is none; None between neighbouring rows."""
    if rows[link.target] - rows[link.source] == 1:
        return None
    for branch in branches:
        inside = (link.source, link.target) in itertools.pairwise(branch.cells)
        if inside or link.source == branch.cells[-1] or link.target == branch.cells[0]:
            return branch
    return Branch((), range(rows[link.source] + 1, rows[link.target]), WIRE / 2, WIRE / 2)


def into_lanes(branches: Sequence[Branch], wires: Sequence[Branch]) -> tuple[list[float], float]:
    """Assign each branch to the first lane that is free in its rows, short ones first.

    Returns:
        The axis of each lane, and the right edge of the last one.
    """
    longest, *others = branches
    taken: list[list[Branch]] = [[longest]]
    for branch in sorted([*others, *wires], key=lambda branch: len(branch.rows)):
        free = (lane for lane in taken[1:] if not any(overlap(branch.rows, other.rows) for other in lane))
        lane = next(free, None)
        if lane is None:
            taken.append(lane := [])
        lane.append(branch)
    axes, right = [], -MARGIN
    for number, lane in enumerate(taken):
        for branch in lane:
            branch.lane = number
        axes.append(right + MARGIN + max(branch.before for branch in lane))
        right = axes[-1] + max(branch.after for branch in lane)
    return axes, right


def overlap(one: range, other: range) -> bool:
    """Return whether two ranges of rows overlap."""
    return one.start < other.stop and other.start < one.stop


def line(
    link: Link, cells: Sequence[Cell], corners: Sequence[Point], turns: tuple[float, float], passing: float | None
) -> list[Point]:
    """Return the corners of a line, which leaves downwards, crosses rows at `passing`, and enters from above.

    Args:
        link: the line.
        cells: all of them.
        corners: theirs.
        turns: tops of the row below the line's source, and of that of its target.
        passing: from the left; None if there is no row to cross.
    """
    (left, top), (end_left, end) = corners[link.source], corners[link.target]
    start, goal = left + cells[link.source].outs[link.leaves], end_left + cells[link.target].ins[link.enters]
    bottom = top + cells[link.source].height
    first, last = turns[0] - GAP * 0.6, turns[1] - GAP * 0.45
    if passing is None:
        passing, last = goal, first
    points = [(start, bottom), (start, first), (passing, first), (passing, last), (goal, last), (goal, end)]
    return [point for number, point in enumerate(points) if number == 0 or far(point, points[number - 1])]


def far(one: Point, other: Point) -> bool:
    """Return whether two points are visibly apart."""
    return abs(one[0] - other[0]) + abs(one[1] - other[1]) > 0.5


def columns(heights: Sequence[float], widths: Sequence[float], widest: float) -> list[list[int]]:
    """Distribute boxes that follow each other over columns of the least height that are not wider than `widest`."""
    candidates = sorted(
        {sum(heights[i:j]) + GAP * (j - i - 1) for i in range(len(heights)) for j in range(i + 1, len(heights) + 1)}
    )
    fits = [
        (limit, found)
        for limit in candidates
        if (found := filled(heights, limit))
        and sum(max(widths[cell] for cell in column) + 3 * MARGIN for column in found) <= widest
    ]
    near = [found for limit, found in fits if limit <= 1.15 * fits[0][0]]
    return min(near, key=len, default=[list(range(len(heights)))])


def filled(heights: Sequence[float], limit: float) -> list[list[int]]:
    """Fill column after column up to a height; return nothing if a box is higher."""
    if max(heights) > limit:
        return []
    found, used = [[]], -GAP
    for cell, height in enumerate(heights):
        if used + GAP + height > limit:
            found, used = [*found, []], -GAP
        found[-1].append(cell)
        used += GAP + height
    return found
