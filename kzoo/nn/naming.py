"""What other libraries call our layers: rules that rewrite an address, and how they are applied.

A layer's address here is `stage1.block0.conv2`. A family states in its file, as `KEY_MAPPING`, where its
references in PyTorch (timm, torchvision) call a layer something else; everything else keeps its name.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class Rule(NamedTuple):
    """Rewrites what `pattern` finds in a layer's name into the reference's word for it.

    `replacement` is that of `re.sub`; as a function it is given the match and the names of all layers in order. Where
    references disagree, the rule holds for those that have a tensor whose name `where` finds.
    """

    pattern: str
    replacement: str | Callable[[re.Match, Sequence[str]], str]
    where: str = ""


def from_zero(template: str) -> Callable[[re.Match, Sequence[str]], str]:
    """Return a replacement that fills in the groups of a match, the first counted from 0.

    `Rule(r"^stage(\\d+)", from_zero("stages.{}"))` makes `stages.0.block0` of `stage1.block0`.
    """

    def replacement(match: re.Match, layers: Sequence[str]) -> str:
        first, *others = match.groups()
        return template.format(int(first) - 1, *others)

    return replacement


def key_mapping(
    layers: Sequence[str], rules: Iterable[Rule], tensors: Iterable[str], *, underscores: bool = False
) -> dict[str, str]:
    """Return the reference's name for each of our layers.

    Args:
        layers: our names, in the network's order.
        rules: applied in order, each to what the one before it left.
        tensors: names of the reference's tensors, by which rules with `where` are chosen.
        underscores: our names have "_" for ".", as on Keras's PyTorch backend.

    Raises:
        ValueError: if the rules give two layers one name.
    """
    tensors = list(tensors)
    rules = [rule for rule in rules if not rule.where or any(re.search(rule.where, name) for name in tensors)]
    dotted = [layer.replace("_", ".") if underscores else layer for layer in layers]
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
