"""Comparisons with other libraries: their numbers are the oracle."""

import csv
import importlib.util
import os
from pathlib import Path

import pytest

import kzoo

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def declare_missing_operators():
    """Let torchvision be imported where its compiled part cannot be loaded, as on machines without CUDA."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library  # the operators go when it does
    return None


if all(importlib.util.find_spec(name) for name in ("torch", "torchvision")):
    torchvision_operators = declare_missing_operators()


SEEN = Path(__file__).with_name("logits.csv")
COLUMNS = ("library", "name", "parameters", "size", "difference", "precision")


@pytest.fixture(scope="session")
def seen():
    """Return a function that keeps a difference of logits, in their deviations; the table is written at the end."""
    rows = {}
    if SEEN.exists():
        with SEEN.open() as file:
            rows = {(row["library"], row["name"], row["size"]): row for row in csv.DictReader(file)}

    def keep(library: str, name: str, size: int, difference: float, precision: str) -> None:
        values = (library, name, kzoo.model_card(name).params, size, f"{difference:.1e}", precision)
        rows[library, name, str(size)] = dict(zip(COLUMNS, values, strict=True))

    yield keep
    with SEEN.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for _, row in sorted(rows.items()))
