"""The picture of the page on choosing a network: accuracy against parameters, MACs and time.

`python docs/draw_choice.py results-imagenet.csv benchmark.csv` writes `docs/images/choice.svg`. Both files are in the
folder `results` of timm's repository; the second is a benchmark of inference on a processor,
`benchmark-infer-fp32-nchw-pt240-cpu-i9_10940x-dynamo.csv`. Parameters and MACs are kzoo's.
"""

import csv
import re
import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure

import kzoo
from kzoo.zoo import published

PICTURE = Path(__file__).parent / "images" / "choice.svg"
AXES = ("parameters (millions)", "MACs (billions)", "time for an image (ms)")
APART = 1.5  # percent between networks on the edge whose names are written


class Point(NamedTuple):
    """A network at its published size: accuracy in percent, and its cost along each axis; None where not recorded."""

    name: str
    top1: float
    costs: tuple[float, float, float | None]


def points(results: Path, benchmark: Path) -> list[Point]:
    """Return the networks with weights of ImageNet-1k alone that were measured at their published size."""
    timed = {(row["model"], row["infer_img_size"]): row["infer_samples_per_sec"] for row in rows_of(benchmark)}
    best = {}
    for row in rows_of(results):
        name, _, tag = row["model"].partition(".")
        if name not in published.macs() or re.search("in12k|in2[12]k|jft|ig1b|yfcc|laion|lvd", tag):
            continue
        if int(row["img_size"]) == kzoo.model_card(name).reference.input_shape[0]:
            best[name] = max(float(row["top1"]), best.get(name, 0.0))
    return [Point(name, top1, costs_of(name, timed)) for name, top1 in best.items()]


def rows_of(path: Path) -> list[dict]:
    """Return the rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def costs_of(name: str, timed: dict) -> tuple[float, float, float | None]:
    """Return millions of parameters, billions of MACs and milliseconds an image."""
    card = kzoo.model_card(name)
    speed = timed.get((name, str(card.reference.input_shape[0])))
    return card.params / 1e6, published.macs()[name] / 1e9, 1000 / float(speed) if speed else None


def draw(found: list[Point]) -> Figure:
    """Draw accuracy against each cost; the networks that none beats at their cost are named."""
    figure = Figure(figsize=(13, 5), layout="constrained")
    for number, (axes, label) in enumerate(zip(figure.subplots(1, 3, sharey=True), AXES, strict=True)):
        shown = sorted((p for p in found if p.costs[number] is not None), key=lambda p: (p.costs[number], -p.top1))
        axes.scatter([p.costs[number] for p in shown], [p.top1 for p in shown], s=12, color="0.6")
        edge = [p for index, p in enumerate(shown) if p.top1 > max((q.top1 for q in shown[:index]), default=0)]
        axes.plot([p.costs[number] for p in edge], [p.top1 for p in edge], marker="o", markersize=4, linewidth=1)
        named = 0.0
        for name, top1, costs in edge:
            if top1 > named + APART:
                at, named = (costs[number], top1), top1
                axes.annotate(name, at, (-4, 2), textcoords="offset points", fontsize=7, ha="right")
        axes.set_xscale("log")
        axes.set_xlim(left=shown[0].costs[number] / 8)  # room for names
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("top-1 on ImageNet (%)")
    return figure


if __name__ == "__main__":
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "kzoo"}
    found = points(*map(Path, sys.argv[1:]))
    draw(found).savefig(PICTURE, metadata={"Date": None})
    print(f"wrote {PICTURE}: {len(found)} networks, {sum(p.costs[2] is not None for p in found)} with times")
