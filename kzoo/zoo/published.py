"""Published facts of the networks, in tables inside the package: pretrained weights, and MACs.

`python docs/list_weights.py` and `python docs/count_macs.py` write the tables. No network is built for them.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PATH, MACS = (Path(__file__).with_name(name) for name in ("pretrained.csv", "macs.csv"))
BYTES = 4  # of a parameter in float32


class Published(NamedTuple):
    """Pretrained weights of a network.

    Attributes:
        network: its registered name.
        weights: the name that `kzoo.create_model(..., weights=...)` takes.
        data: what they were trained on, in that order; "" where the name does not say it.
        top1: accuracy on ImageNet's validation images in percent, as timm, torchvision or Keras publishes it, at
            `resolution`; None where they do not.
        resolution: height and width of the images.
        licence: as the publisher states it; "" where it does not.
        params: number of parameters of the published network.
    """

    network: str
    weights: str
    data: str
    top1: float | None
    resolution: int
    licence: str
    params: int

    @property
    def megabytes(self) -> float:
        """Size of the weights in float32, in millions of bytes."""
        return self.params * BYTES / 1e6

    def cells(self) -> tuple[str, ...]:
        """Return the columns of a table, in the order of the fields, with the size in place of the parameters."""
        top1 = "" if self.top1 is None else f"{self.top1:.2f}"
        size = f"{self.megabytes:,.3g} MB" if self.megabytes < 1000 else f"{self.megabytes / 1000:.3g} GB"
        return self.network, self.weights, self.data, top1, str(self.resolution), self.licence, size


COLUMNS = Published._fields


@functools.cache
def published() -> tuple[Published, ...]:
    """Return all pretrained weights of the table."""
    with PATH.open(newline="") as file:
        return tuple(of_row(row) for row in csv.DictReader(file))


def of_row(row: Mapping[str, str]) -> Published:
    """Return the weights in a row of the table."""
    numbers = {"resolution": int(row["resolution"]), "params": int(row["params"])}
    return Published(**dict(row) | numbers | {"top1": float(row["top1"]) if row["top1"] else None})


def weights_of(network: str) -> list[Published]:
    """Return the pretrained weights of a network, the most accurate first."""
    found = [row for row in published() if row.network == network]
    return sorted(found, key=lambda row: (-(row.top1 or 0), row.weights))


@functools.cache
def best_top1() -> Mapping[str, float]:
    """Return the highest published accuracy of each network on ImageNet, in percent."""
    found: dict[str, float] = {}
    for row in published():
        if row.top1 is not None:
            found[row.network] = max(row.top1, found.get(row.network, 0.0))
    return found


@functools.cache
def macs() -> Mapping[str, int]:
    """Return the MACs of each network for its published input."""
    with MACS.open(newline="") as file:
        return {row["name"]: int(row["macs"]) for row in csv.DictReader(file)}
