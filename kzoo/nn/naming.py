"""Key mapping: rules that translate layer names to those of PyTorch's state dicts (timm, torchvision).

A layer's address here is `stage1.block0.conv2`. A family lists in its file, as `KEY_MAPPING`, the rules by which its
references in PyTorch name layers otherwise; all other names are kept."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class Rule(NamedTuple):
    """Replacement of a regular expression in a layer's name by the reference's name.

    `replacement` is that of `re.sub`; a function is called with the match and the names of all layers in order. A rule
    with `where` applies to the references that have a tensor whose name this expression finds.
    """

    pattern: str
    replacement: str | Callable[[re.Match, Sequence[str]], str]
    where: str = ""


class Nested(NamedTuple):
    """Rules of a network inside another: they apply to the layers with a prefix.

    Attributes:
        prefix: of our layers: "encoder.".
        rules: of the network inside.
        references: prefixes that references have in its place, the longest first; without one in the tensors, ours.
        where: as of `Rule`.
    """

    prefix: str
    rules: tuple
    references: tuple[str, ...]
    where: str = ""

    def resolved(self, layers: Sequence[str], tensors: Sequence[str]) -> Rule:
        """Return one rule that applies all of them to the layers with the prefix."""
        starts = (one for one in self.references if any(name.startswith(one) for name in tensors))
        theirs = next(starts, self.prefix)
        inside = [layer.removeprefix(self.prefix) for layer in layers if layer.startswith(self.prefix)]
        within = [name.removeprefix(theirs) for name in tensors if name.startswith(theirs)]
        names = key_mapping(inside, self.rules, within)
        return Rule(rf"^{re.escape(self.prefix)}(.+)$", lambda match, _: theirs + names[match[1]])


def from_zero(template: str) -> Callable[[re.Match, Sequence[str]], str]:
    """Return a replacement that formats the groups of a match, the first decremented to count from 0.

    `Rule(r"^stage(\\d+)", from_zero("stages.{}"))` makes `stages.0.block0` of `stage1.block0`.
    """

    def replacement(match: re.Match, layers: Sequence[str]) -> str:
        first, *others = match.groups()
        return template.format(int(first) - 1, *others)

    return replacement


def logits_to(name: str) -> Rule:
    """Return the rule for a reference that calls the classifier `name`."""
    return Rule(r"^logits$", name)


# timm's names of stages and blocks, and of a stem that is a sequence.
STAGES_AND_BLOCKS = Rule(r"^stage(\d+)\.block(\d+)", from_zero("stages.{}.blocks.{}"))
STEM_SEQUENCE = (Rule(r"^stem\.conv1$", "stem.0"), Rule(r"^stem\.norm1$", "stem.1"))


def place_in_block(match: re.Match, layers: Sequence[str]) -> str:
    """NeMo's name of a layer of speech networks: its block, then its place among activations and dropouts.

    A layer of a block is one convolution or a depthwise and a pointwise one, a normalisation, an activation and
    dropout; squeeze-and-excitation stands before the last two.
    """
    block, kind, number = match["block"], match["kind"], int(match["number"])
    found = (re.match(r"(stem|stage\d+(\.block\d+)?|tail|last)\.", name) for name in layers)
    names = list(dict.fromkeys(one[1] for one in found if one))
    separable = f"{block}.dwconv1" in layers
    if kind == "se.conv":
        repeats = sum(re.match(rf"{re.escape(block)}\.dwconv\d+$", name) is not None for name in layers)
        return f"encoder.encoder.{names.index(block)}.mconv.{5 * repeats - 2}.fc.{2 * number - 2}"
    place = (4 + separable) * (number - 1) + {"dwconv": 0, "conv": separable, "norm": 1 + separable}[kind]
    return f"encoder.encoder.{names.index(block)}.mconv.{place}" + (".conv" if kind != "norm" else "")


def place_in_shortcut(match: re.Match, layers: Sequence[str]) -> str:
    """NeMo's name of a layer of a projection, of which a block with dense residuals has several."""
    block = place_in_block(re.match(BLOCK + r"(?P<kind>conv)(?P<number>1)", f"{match['block']}.conv1"), layers)
    pane, place = int(match["pane"] or 0), match["kind"] == "norm"
    return re.sub(r"mconv.*", f"res.{pane}.{place:d}", block) + (".conv" if not place else "")


# NVIDIA NeMo's names for the networks of Jasper's kind.
BLOCK = r"^(?P<block>stem|tail|last|stage\d+(?:\.block\d+)?)\."
NEMO = (
    Rule(BLOCK + r"(?:pane(?P<pane>\d+)\.)?shortcut\.(?P<kind>conv|norm)1$", place_in_shortcut),
    Rule(BLOCK + r"(?P<kind>dwconv|conv|norm|se\.conv)(?P<number>\d+)$", place_in_block),
    logits_to("decoder.decoder_layers.0"),
)


def key_mapping(
    layers: Sequence[str], rules: Iterable[Rule], tensors: Iterable[str], *, underscores: bool = False
) -> dict[str, str]:
    """Return the reference's name for each of our layers.

    Args:
        layers: our layer names, in the network's order.
        rules: applied in order, each to the result of the one before.
        tensors: names of the reference's tensors, which select the rules with `where`.
        underscores: our names have "_" in place of ".", as on Keras's PyTorch backend.

    Raises:
        ValueError: if the rules map two layers to the same name.
    """
    tensors = list(tensors)
    rules = [rule for rule in rules if not rule.where or any(re.search(rule.where, name) for name in tensors)]
    dotted = [layer.replace("_", ".") if underscores else layer for layer in layers]
    rules = [rule.resolved(dotted, tensors) if isinstance(rule, Nested) else rule for rule in rules]
    names = {layer: reference_name(name, rules, dotted) for layer, name in zip(layers, dotted, strict=True)}
    for name, count in Counter(names.values()).items():
        if count > 1:
            shared = " and ".join(layer for layer in layers if names[layer] == name)
            raise ValueError(f"the rules give {shared} one name, {name}")
    return names


def reference_name(layer: str, rules: Iterable[Rule], layers: Sequence[str]) -> str:
    """Apply each rule in turn to a layer's name."""
    for pattern, replacement, _ in rules:
        if callable(replacement):
            layer = re.sub(pattern, lambda match, name=replacement: name(match, layers), layer)
        else:
            layer = re.sub(pattern, replacement, layer)
    return layer
