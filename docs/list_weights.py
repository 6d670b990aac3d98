"""The table of pretrained weights, `kzoo/zoo/pretrained.csv`: facts that timm, torchvision and Keras publish.

`python docs/list_weights.py results-imagenet.csv index.md` writes it. It needs timm and torchvision, whose packages
name tags, resolutions and licences; results-imagenet.csv is in the folder `results` of timm's repository, index.md is
`templates/api/applications/index.md` of keras-io, the documentation of keras.applications. No network is used.
"""

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import timm
import torchvision

import kzoo
from kzoo.zoo import applications, hub
from kzoo.zoo.published import COLUMNS, PATH, Published

DATA = {
    "in1k": "ImageNet-1k",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "jft": "JFT-300M",
    "yfcc100m": "YFCC-100M",
    "ig1b": "Instagram-1B",
    "cc12m": "CC12M",
    "laion2b": "LAION-2B",
    "laiona": "LAION-A",
    "lvd1689m": "LVD-1689M",
}


def data_of(tag: str) -> str:
    """Return the datasets that a tag of timm names, in their order: `fcmae_ft_in22k_in1k`."""
    return " + ".join(DATA[word] for word in tag.split("_") if word in DATA)


def of_timm(results: Path) -> Iterator[Published]:
    """Yield the weights of timm for networks of the zoo."""
    with results.open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["top1"]))
    measured = {row["model"]: row for row in rows}  # the best of several resolutions
    for full in timm.list_pretrained():
        name, _, tag = full.partition(".")
        cfg = timm.models.get_pretrained_cfg(full)
        known = name in kzoo.list_models() and kzoo.model_card(name).key_mapping
        if not known or not str(cfg.hf_hub_id).startswith("timm/"):
            continue
        row = measured.get(full, {})
        size = int(row.get("img_size") or (cfg.test_input_size or cfg.input_size)[-1])
        top1 = float(row["top1"]) if row else None
        yield Published(name, f"timm/{full}", data_of(tag), top1, size, cfg.license or "", params_of(name, row))


def params_of(name: str, row: dict) -> int:
    """Return the number of parameters in a row of timm's results, or that of the published network."""
    counted = row.get("param_count")
    return round(float(counted.replace(",", "")) * 1e6) if counted else kzoo.model_card(name).params


def of_torchvision() -> Iterator[Published]:
    """Yield the weights of torchvision that kzoo loads by their name there."""
    for full, copy in hub.COPIES.items():
        weights = torchvision.models.get_weight(full)
        top1 = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        size, licence = weights.transforms().crop_size[0], timm.models.get_pretrained_cfg(copy).license or ""
        name = full.partition("_Weights")[0].lower()
        params = kzoo.model_card(name).params  # torchvision counts auxiliary classifiers too
        yield Published(name, f"torchvision/{full}", "ImageNet-1k", top1, size, licence, params)


def of_keras(page: Path) -> Iterator[Published]:
    """Yield the weights of keras.applications; of scaled networks, which share a row there, the top-1 is not known."""
    rows = re.findall(r"^\| \[(\w+)\]\(.*?\) \| *\d+ \| *([\d.]+)% \|", page.read_text(), re.MULTILINE)
    measured = {name: float(top1) for name, top1 in rows}
    for name, application in applications.APPLICATIONS.items():
        scaled = application.arguments.get("alpha", 1.0) != 1.0
        top1 = None if scaled else measured.get(application.builder)
        params = kzoo.model_card(name).params
        yield Published(name, f"keras/{name}", "ImageNet-1k", top1, application.size, "", params)


if __name__ == "__main__":
    results, page = map(Path, sys.argv[1:])
    found = [*of_timm(results), *of_torchvision(), *of_keras(page)]
    with PATH.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(["" if value is None else value for value in row] for row in sorted(found, key=str))
    print(f"wrote {PATH}: {len(found)} weights of {len({row.network for row in found})} networks")
