"""MACs of all networks for their published inputs: `python docs/count_macs.py` writes `docs/macs.csv` for the site."""

import csv
from pathlib import Path

import kzoo
from kzoo.nn.graph import without_values

PATH = Path(__file__).parent / "macs.csv"


def macs_of(name: str) -> int:
    """Return the MACs of a network for its published input, built without values for its weights."""
    shape, num_classes, _ = kzoo.model_card(name).reference
    return without_values(lambda: kzoo.macs(kzoo.create_model(name, shape, num_classes)))


def counted() -> dict[str, int]:
    """Return the MACs that the file has, by name."""
    with PATH.open(newline="") as file:
        return {row["name"]: int(row["macs"]) for row in csv.DictReader(file)}


if __name__ == "__main__":
    lines = [f"{name},{macs_of(name)}\n" for name in kzoo.list_models()]
    PATH.write_text("".join(["name,macs\n", *lines]))
