"""Pages of the network families, generated from the registry: one for each family, and an index."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path

import count_macs
import docstring_parser

import kzoo
from kzoo.analysis.diagram import architecture_svg
from kzoo.core.numbers import short
from kzoo.core.registry import MODELS, PYTORCH, TENSORFLOW, ModelCard
from kzoo.training.experiment import find_config, load_experiment
from kzoo.zoo import published

GROUPS = {"image": "Images", "timeseries": "Time series", "text": "Text", "audio": "Sound"}
# the variant of its paper's main results, where that is not the first one
CANONICAL = """
cnn14 convmixer_1536_20 convnext_tiny ds_cnn ese_vovnet39b fixed_filters ghostnet_100 hrnet_w18 inception_next_tiny
lcnet_100 m5 mnasnet_100 mobilenetv2_100 mobilenetv3_large_100 mobilenetv4_conv_medium mobileone_s1 nfnet_f0 regnety_040
res15 resnest50d resnet50 resnetv2_50 shufflenet_v2_x1_0 skresnext50_32x4d vdcnn29 vgg16 xception65
"""


def pages(drawn: Collection[str] | None = None) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file.

    Args:
        drawn: families whose networks are drawn; all if not given.
    """
    yield "index.md", index()
    yield "pretrained.md", pretrained()
    for family, cards in families().items():
        pictures = {}
        if drawn is None or family in drawn:
            pictures = {card.name: architecture_svg(card.name) for card in map(canonical, by_class(cards))}
        yield f"{family}.md", page(cards, pictures)
        yield from ((f"{name}.svg", text) for name, text in pictures.items())


@cache
def families() -> dict[str, list[ModelCard]]:
    """Return the variants of each family, as they are listed in its file."""
    found: dict[str, list[ModelCard]] = {}
    for card in MODELS.values():
        found.setdefault(card.family, []).append(card)
    for family, cards in found.items():  # decorators register from the bottom upwards
        found[family] = [card for one in architectures(cards) for card in reversed(of_class(cards, one))]
    return dict(sorted(found.items(), key=lambda item: title(item[1]).lower()))


def architectures(cards: Sequence[ModelCard]) -> list[type]:
    """Return the classes of a family's variants."""
    return list(dict.fromkeys(type(card.architecture) for card in cards))


def of_class(cards: Sequence[ModelCard], architecture: type) -> list[ModelCard]:
    """Return the variants of one architecture."""
    return [card for card in cards if type(card.architecture) is architecture]


def by_class(cards: Sequence[ModelCard]) -> list[list[ModelCard]]:
    """Return the variants of each architecture of a family."""
    return [of_class(cards, architecture) for architecture in architectures(cards)]


def canonical(cards: Sequence[ModelCard]) -> ModelCard:
    """Return the variant of an architecture that is drawn and built: the one among `CANONICAL`, or else the first."""
    return next((card for card in cards if card.name in CANONICAL.split()), cards[0])


def about(card: ModelCard) -> str:
    """Return the docstring of the family's module."""
    return sys.modules[type(card.architecture).__module__].__doc__.strip()


def title(cards: Sequence[ModelCard]) -> str:
    """Return the name of a family as it is written: what the module's docstring begins with, or the class."""
    start, colon, _ = about(cards[0]).partition("\n")[0].partition(":")
    if colon and start.partition(" ")[0] not in ("The", "What", "A"):
        return start.partition(",")[0]
    classes = architectures(cards)
    return classes[0].__name__ if len(classes) == 1 else cards[0].family.replace("_", " ").capitalize()


def group(card: ModelCard) -> str:
    """Return what a variant was published for."""
    return GROUPS[card.modality]


def shape_text(shape: Sequence[int]) -> str:
    """Return e.g. `28 × 28 × 1`, which no line breaks in."""
    return "\u00a0×\u00a0".join(map(str, shape))


def unbroken(text: str) -> str:
    """Return a text in which no line breaks."""
    return text.replace(" ", "\u00a0")


def table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """Return a table in Markdown; columns that begin with `>` are flush right."""
    marks = ["--:" if name.startswith(">") else "---" for name in header]
    lines = [[name.lstrip(">") for name in header], marks, *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def index() -> str:
    """Return the page of all families, by what they were published for."""
    parts = [
        "# Networks\n\n"
        f"{len(MODELS)} names in {len(families())} families. Those with 1-D and 2-D take signals, token ids and images "
        "alike, whatever they were published for; `kzoo list` prints the names. Of many there are "
        "[pretrained weights](pretrained.md).\n"
    ]
    for name in GROUPS.values():
        rows = [index_row(f, [c for c in cards if group(c) == name]) for f, cards in families().items()]
        header = ("family", "what it is", ">names", "parameters", "takes")
        parts.append(f"## {name}\n\n{table(header, [row for row in rows if row])}")
    entries = "\n".join(["pretrained", *families()])
    return "\n".join([*parts, f"```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{entries}\n```\n"])


def index_row(family: str, cards: Sequence[ModelCard]) -> tuple | None:
    """Return a family's line in the table of its group; None if it has no variant there."""
    if not cards:
        return None
    sentence = about(cards[0]).partition("\n")[0].removeprefix(f"{title(families()[family])}: ")
    ends = sorted(cards, key=lambda card: card.params)
    span = " to ".join(dict.fromkeys(short(card.params) for card in (ends[0], ends[-1])))
    dims = " and ".join(f"{dim}-D" for dim in sorted({dim for card in cards for dim in card.dims}))
    sentence = sentence[0].upper() + sentence[1:]
    return f"[{title(families()[family])}]({family}.md)", sentence, len(cards), span, dims


def page(cards: Sequence[ModelCard], pictures: dict[str, str]) -> str:
    """Return a family's page."""
    family = cards[0].family
    parts = [f"---\nhide-toc: true\n---\n\n# {title(cards)}\n\n{about(cards[0])}\n"]
    classes = by_class(cards)
    parts += [section(variants_of_class, pictures, heading=len(classes) > 1) for variants_of_class in classes]
    parts.append(experiments(family))
    parts.append(papers(cards))
    return "\n".join(part for part in parts if part)


def section(cards: Sequence[ModelCard], pictures: dict[str, str], heading: bool) -> str:
    """Return the section of one architecture: text, diagram, variants, how to build it, hyperparameters."""
    shown, architecture = canonical(cards), type(cards[0].architecture)
    level = "###" if heading else "##"
    parts = [f"## {architecture.__name__}\n"] if heading else []
    parts += [description(architecture), picture(shown) if shown.name in pictures else ""]
    parts += [f"{level} Variants\n", variants(cards), snippet(shown)]
    if shown.hyperparameters:
        rows = [(f"`{key}`", f"`{value.value!r}`", value.meaning) for key, value in shown.hyperparameters.items()]
        parts += [f"{level} Hyperparameters\n", f"The values are those of `{shown.name}`.\n"]
        parts += [table(("name", "value", "what it does"), rows)]
    return "\n".join(parts)


def description(architecture: type) -> str:
    """Return the docstring of an architecture without its lists of arguments and errors."""
    parsed = docstring_parser.parse(architecture.__doc__, docstring_parser.DocstringStyle.GOOGLE)
    return "\n\n".join(filter(None, (parsed.short_description, parsed.long_description))) + "\n"


def picture(card: ModelCard) -> str:
    """Return the diagram of a network, which links to itself in full size, and its caption."""
    name, shape = card.name, shape_text(card.reference.input_shape)
    return (
        f"```{{image}} {name}.svg\n:alt: diagram of {name}, its stages and blocks\n:class: diagram\n"
        f":target: ../_images/{name}.svg\n```\n\n"
        f"`{name}` needs {short(macs()[name])} MACs for one input of {shape}. Each row is a layer and what follows it; "
        "/2 is a stride; equal blocks in a row are drawn once. "
        f'<a href="../_images/{name}.svg">Diagram in full size</a>\n'
    )


@cache
def macs() -> dict[str, int]:
    """Return the MACs of each network for its published input; those that the file does not have are counted."""
    known = published.macs()
    return {name: known.get(name) or count_macs.macs_of(name) for name in MODELS}


def convention(card: ModelCard) -> str:
    """Return the framework whose padding a network was published with, and its batch normalisation if that differs."""
    own = card.reference.dialect
    name, usual = ("TensorFlow", TENSORFLOW) if own.padding == TENSORFLOW.padding else ("PyTorch", PYTORCH)
    return name if own == usual else f"{name}; epsilon {own.bn_epsilon:g}, momentum {own.bn_momentum:g}"


def variants(cards: Sequence[ModelCard]) -> str:
    """Return the table of a family's names."""
    rows = []
    for card in cards:
        shape, classes, _ = card.reference
        dims = ",\u00a0".join(f"{dim}\u2011D" for dim in card.dims)  # no line breaks in it
        counts = (f"`{card.name}`", f"{card.params:,}", f"{macs()[card.name]:,}")
        cells = (*counts, weights_text(card.name), shape_text(shape), classes, dims, convention(card))
        rows.append((*cells, f"[{unbroken(card.paper.citation)}]({card.paper.url})", settings(card)))
    header = ("name", ">parameters", ">MACs", "weights", "input", ">classes", "takes", "convention", "paper")
    header = (*header, "hyperparameters")
    return table(header, rows) + (
        "\nParameters and MACs are for the input and the classes beside them. The convention is the framework whose "
        "padding and batch normalisation (epsilon, momentum) the published network has; `dialect` sets another.\n"
    )


def weights_text(name: str) -> str:
    """Return how many pretrained weights a network has, and the highest published top-1 accuracy of them."""
    count, best = len(published.weights_of(name)), published.best_top1().get(name)
    if not count:
        return ""
    reached = f", top\u20111 up to {best:.1f}\u00a0%" if best else ""
    return f"[{count}](pretrained.md){reached}"


def pretrained() -> str:
    """Return the page of all pretrained weights, family by family."""
    parts = [
        "---\nhide-toc: true\n---\n\n# Pretrained weights\n\n"
        f"{len(published.published())} sets of weights that `weights=` of a network takes ([](../fine_tuning.md)); "
        "`kzoo list --weights` prints them. Top-1 is the accuracy on ImageNet's validation images that timm, "
        "torchvision or Keras publishes, at the resolution beside it; empty where they publish none, as for weights "
        "without its 1,000 classes. The size is that in float32. Licences are those that timm states for its files, "
        "and empty where none is known; read the publisher's terms before you use them. kzoo has measured none of "
        "these accuracies.\n"
    ]
    header = ("network", "weights", "data", ">top-1", ">resolution", "licence", ">size")
    for family, cards in families().items():
        rows = [row for card in cards for row in published.weights_of(card.name)]
        if rows:
            parts += [
                f"## {title(cards)}\n",
                f"Networks: [](./{family}.md)\n",
                table(header, [r.cells() for r in rows]),
            ]
    return "\n".join(parts)


def settings(card: ModelCard) -> str:
    """Return the hyperparameters in which a variant differs from the architecture's defaults."""
    defaults = {name: field.default for name, field in type(card.architecture).__dataclass_fields__.items()}
    changed = {key: h.value for key, h in card.hyperparameters.items() if h.value != defaults[key]}
    return ", ".join(f"`{key}={value!r}`" for key, value in changed.items())


def snippet(card: ModelCard) -> str:
    """Return how to build a network."""
    shape, classes, _ = card.reference
    lines = ["import kzoo", "", f"model = kzoo.models.{card.name}({shape}, num_classes={classes})"]
    if group(card) == "Text":
        arguments = f"({shape[0]},), num_classes={classes}, vocab_size=10_000"
        lines += ["", "# token ids, which an embedding is learned for", f"model = kzoo.models.{card.name}({arguments})"]
    return "```python\n" + "\n".join(lines) + "\n```\n"


@cache
def configs() -> dict[str, list[str]]:
    """Return the names of the configs of each family's networks."""
    found: dict[str, list[str]] = {}
    for name in kzoo.list_configs():
        model = load_experiment(name)["model"]["name"]
        found.setdefault(kzoo.model_card(model).family, []).append(name)
    return found


def experiments(family: str) -> str:
    """Return the configs of a family's networks with the results in their head comments."""
    if family not in configs():
        return ""
    lines = [f"- `kzoo train {name}`: {head(find_config(name))}" for name in configs()[family]]
    return "## Experiments\n\nMeasured results, each with its command:\n\n" + "\n".join(lines) + "\n"


def head(path: Path) -> str:
    """Return the comment that a config begins with, without the lines that repeat its command."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#") or not line.strip("# "):
            break
        lines.append(line.strip("# "))
    return re.sub(r"( by|\.)?$", ".", " ".join(lines), count=1)


def papers(cards: Sequence[ModelCard]) -> str:
    """Return the papers of a family with their BibTeX."""
    parts = ["## Papers\n"]
    for paper in dict.fromkeys(card.paper for card in cards):
        published = f"{paper.publication}, {paper.year}" if paper.publication else f"{paper.year}"
        line = f"{paper.author_names}: [{paper.title}]({paper.url}). {published}."
        parts.append(f"{line}\n\n```bibtex\n{paper.bibtex()}\n```\n")
    return "\n".join(parts)
