"""MACs of all networks for their published inputs: `python docs/count_macs.py` writes `kzoo/zoo/macs.csv`."""

import kzoo
from kzoo.nn.graph import without_values
from kzoo.zoo.published import MACS


def macs_of(name: str) -> int:
    """Return the MACs of a network for its published input, built without values for its weights."""
    shape, num_classes, _ = kzoo.model_card(name).reference
    return without_values(lambda: kzoo.macs(kzoo.create_model(name, shape, num_classes)))


if __name__ == "__main__":
    lines = [f"{name},{macs_of(name)}\n" for name in kzoo.list_models()]
    MACS.write_text("".join(["name,macs\n", *lines]))
