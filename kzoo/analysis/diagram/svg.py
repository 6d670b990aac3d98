"""SVG rendering of nested boxes and the lines between them."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from kzoo.analysis.diagram.graph import Box, Step, port, port_in
from kzoo.analysis.diagram.layout import GAP, MARGIN, Cell, Link, Point, columns, planned

COLOURS = {
    "input": "#eceff3",
    "conv": "#a9cdf2",
    "depthwise": "#9fe0db",
    "dense": "#d4bdf0",
    "norm": "#cdeac0",
    "activation": "#ffe08a",
    "pool": "#f7b7b2",
    "combine": "#c9d1dc",
    "dropout": "#ececec",
    "other": "#ececec",
}
NAMES = {
    "depthwise": "depthwise convolution",
    "conv": "convolution",
    "norm": "normalisation",
    "activation": "activation",
    "dense": "fully connected",
}
NAMES |= {"pool": "pooling", "combine": "joins branches"}
FRAMES = ("#f3f6fa", "#ffffff")  # of boxes in boxes, in turn
INK, GREY, LINE = "#1d2733", "#66707c", "#5a6573"
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
ROW, HEADER, PADDING, MARGIN_OUTSIDE = 20, 20, 9, 12
WIDEST = 1000  # pixels of a diagram, unless a box is wider
NARROW, WIDE = "ijlf.,·|/ ()t", "mwMW+×"


class Drawing(NamedTuple):
    """A part of the diagram: its size and ports, and its SVG text."""

    cell: Cell
    text: str


def document(name: str, root: Box) -> str:
    """Return a whole SVG of a network."""
    body = in_columns(root) if chain(root) else inner(root, 0)
    key = legend(dict.fromkeys(kinds(root)))
    width = max(body.cell.width, key.cell.width) + 2 * MARGIN_OUTSIDE
    height = body.cell.height + key.cell.height + 3 * MARGIN_OUTSIDE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" font-family="{FONT}" font-size="11" fill="{INK}">\n'
        f"<title>{escape(name)}</title>\n"
        '<defs><marker id="tip" viewBox="0 0 6 6" refX="5.5" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0 0 6 3 0 6z" fill="{LINE}"/></marker></defs>\n'
        '<rect width="100%" height="100%" rx="6" fill="#ffffff"/>\n'
        f"{moved(body.text, MARGIN_OUTSIDE, MARGIN_OUTSIDE)}"
        f"{moved(key.text, MARGIN_OUTSIDE, body.cell.height + 2 * MARGIN_OUTSIDE)}</svg>\n"
    )


def kinds(node: Step | Box) -> list[str]:
    """Return the kinds of all parts of a node."""
    if isinstance(node, Step):
        return [segment.kind for segment in node.segments]
    return [kind for child in node.children for kind in kinds(child)]


def chain(root: Box) -> bool:
    """Return whether each child reads the one before it alone."""
    following = dict(zip(root.children[1:], root.children, strict=False))
    return all(following.get(flow.target) is flow.source for flow in root.flows)


def drawn(node: Step | Box, depth: int) -> Drawing:
    """Draw a row of parts, or a box with its title."""
    return row(node) if isinstance(node, Step) else framed(node, depth)


def row(step: Step) -> Drawing:
    """Draw the parts of a step side by side."""
    labels = [segment.text for segment in step.segments]
    if step.kind == "input":
        labels = [f"input {shape_text(step.shape)}"]
    widths = [text_width(label) + 12 for label in labels]
    width, text, left = sum(widths), "", 0.0
    for segment, label, part in zip(step.segments, labels, widths, strict=True):
        text += (
            f'<g><title>{escape(segment.hint)}: {shape_text(step.shape)}</title><rect x="{left:.1f}" '
            f'width="{part:.1f}" height="{ROW}" fill="{COLOURS[segment.kind]}"/>'
            f'<text x="{left + part / 2:.1f}" y="14" text-anchor="middle">{escape(label)}</text></g>'
        )
        left += part
    text += f'<rect width="{width:.1f}" height="{ROW}" fill="none" stroke="{LINE}" stroke-width="0.7"/>\n'
    return Drawing(Cell(width, ROW, (width / 2,), (width / 2,)), text)


def framed(box: Box, depth: int) -> Drawing:
    """Draw a box with its title, its count and the shape of its output."""
    inside = inner(box, depth + 1)
    title, times, shape = box.title, f" ×{box.count}" * (box.count > 1), shape_text(box.shape)
    width = max(inside.cell.width + 2 * PADDING, text_width(f"{title}{times}    {shape}") * 1.04 + 2 * PADDING)
    left, height = (width - inside.cell.width) / 2, inside.cell.height + HEADER
    text = (
        f'<rect width="{width:.1f}" height="{height:.1f}" rx="5" fill="{FRAMES[depth % 2]}" stroke="#b4bdc9"/>'
        f'<text x="{PADDING}" y="14" font-weight="600">{escape(title + times)}</text>'
        f'<text x="{width - PADDING:.1f}" y="14" text-anchor="end" fill="{GREY}">{shape}</text>\n'
        + moved(inside.text, left, HEADER)
    )
    ins, outs = (tuple(left + x for x in places) for places in (inside.cell.ins, inside.cell.outs))
    return Drawing(Cell(width, height, ins, outs), text)


def inner(box: Box, depth: int) -> Drawing:
    """Draw what is in a box: its children, and the lines between them and from and to its edges."""
    drawings = [drawn(child, depth) for child in box.children]
    edge = Cell(0, 0, (0,), (0,))
    first, last = len(box.ins), len(box.ins) + len(box.children)
    exits = len(set(box.outs.values()))
    cells = [*[edge] * first, *[drawing.cell for drawing in drawings], *[edge] * exits]
    links = links_of(box)
    plan = planned(cells, links, exits)
    text = "".join(path(line, link.target < last) for line, link in zip(plan.lines, links, strict=True))
    for drawing, (x, y) in zip(drawings, plan.corners[first:last], strict=True):
        text += moved(drawing.text, x, y)
    ins, outs = (tuple(x for x, _ in corners) for corners in (plan.corners[:first], plan.corners[last:]))
    return Drawing(Cell(plan.width, plan.height, ins, outs), text)


def links_of(box: Box) -> list[Link]:
    """Return the lines in a box between its entries, its children and its exits, in this order by number."""
    number = {child: index for index, child in enumerate(box.children, start=len(box.ins))}
    last = len(box.ins) + len(box.children)
    links = []
    for flow in box.flows:
        leaves = port(flow.source, flow.value, box.ins)
        enters = port_in(flow.target, flow.value, box.outs)
        source = (leaves, 0) if flow.source is None else (number[flow.source], leaves)
        target = (last + enters, 0) if flow.target is None else (number[flow.target], enters)
        links.append(Link(*source, *target))
    return list(dict.fromkeys(links))


def in_columns(root: Box) -> Drawing:
    """Draw boxes that follow one another in columns, with a line from each to the next."""
    drawings = [drawn(child, 0) for child in root.children]
    split = columns([d.cell.height for d in drawings], [d.cell.width for d in drawings], WIDEST)
    text, left, right, height, before = "", 0.0, 0.0, 0.0, None
    for column in split:
        axis, top = left + max(drawings[number].cell.axis for number in column), 0.0
        for number in column:
            cell, x = drawings[number].cell, axis - drawings[number].cell.axis
            right = max(right, x + cell.width)
            text += moved(drawings[number].text, x, top) + joined(before, cell, (x, top), left - 1.5 * MARGIN)
            before = (x, top + cell.height, cell.outs)
            top += cell.height + GAP
        left, height = right + 3 * MARGIN, max(height, top - GAP)
    return Drawing(Cell(right, height + GAP * 0.6 * (len(split) > 1)), text)


def joined(before: tuple | None, cell: Cell, corner: Point, passing: float) -> str:
    """Draw the lines from the box before to this one, which may be at the top of the next column."""
    if before is None:
        return ""
    x, bottom, outs = before
    start, (goal, top) = x + outs[0], (corner[0] + cell.ins[0], corner[1])
    if top > bottom:
        middle = (bottom + top) / 2
        return path(
            [(start, bottom), (start, middle), (goal, middle), (goal, top)]
            if start != goal
            else [(start, bottom), (goal, top)],
            True,
        )
    low, high = bottom + GAP * 0.6, top - GAP * 0.4
    return path([(start, bottom), (start, low), (passing, low), (passing, high), (goal, high), (goal, top)], True)


def path(points: Sequence[Point], tipped: bool) -> str:
    """Draw a line with an arrow's tip."""
    way = " ".join(f"{x:.1f} {y:.1f}" for x, y in points)
    tip = ' marker-end="url(#tip)"' if tipped else ""
    return f'<path d="M{way}" fill="none" stroke="{LINE}" stroke-linejoin="round"{tip}/>\n'


def legend(kinds: Sequence[str]) -> Drawing:
    """Draw the legend of the colours."""
    text, left = "", 0.0
    for kind in (kind for kind in NAMES if kind in kinds):
        text += (
            f'<rect x="{left:.1f}" width="12" height="12" fill="{COLOURS[kind]}" stroke="{LINE}" stroke-width="0.7"/>'
        )
        text += f'<text x="{left + 17:.1f}" y="10" fill="{GREY}">{NAMES[kind]}</text>\n'
        left += 17 + text_width(NAMES[kind]) + 14
    return Drawing(Cell(left, 12), text)


def moved(text: str, x: float, y: float) -> str:
    """Return a part of an SVG, translated."""
    return f'<g transform="translate({x:.1f} {y:.1f})">{text}</g>\n'


def shape_text(shape: Sequence[int | None]) -> str:
    """Return e.g. `56 × 56 × 64`; a size that is not fixed is `?`."""
    return " × ".join("?" if size is None else str(size) for size in shape)


def text_width(text: str) -> float:
    """Return the estimated width in pixels of a text in font size 11."""
    return sum(4 if letter in NARROW else 9.5 if letter in WIDE else 6.9 for letter in text)
