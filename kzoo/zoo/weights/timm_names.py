"""Weights as timm has them: the names, the layouts and the description by which its readers take a file.

`load_weights` reads them back. Which rules of a family are timm's, and which of its layers are convolutions or bare
vectors there, is in the table `FORMS`; tests/parity/test_sharing.py compares all networks with timm.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kzoo.core.lazy import keras, np
from kzoo.core.registry import registered_name
from kzoo.nn.naming import key_mapping
from kzoo.zoo.published import weights_of
from kzoo.zoo.weights import NAMINGS, flattened_maps, rules_of

NEVER = r"(?!)"  # fits no name


class Form(NamedTuple):
    """How timm writes networks down.

    Attributes:
        networks: pattern of their registered names.
        where: the conditions of the families' rules that hold for timm.
        convolutions: pattern of our dense layers that are convolutions there.
        bare: pattern of our layers that are parameters without a layer there.
    """

    networks: str
    where: tuple[str, ...] = ()
    convolutions: str = NEVER
    bare: str = NEVER


STEM, HEAD, BLOCK, SCALE = r"^conv_stem\.", r"^head\.dense\d$", r"^stage.*\.dense\d$", r"\.scale\d$"
DEEP_STEM = (r"^conv1\.0\.", r"\.downsample\.2\.")
FORMS = (  # the first whose pattern is a network's whole name
    Form(r"(tf_)?mobilenetv3_.*|lcnet_.*|ghostnet_.*", (STEM,), HEAD),
    Form(r"mobilenetv4_conv_small.*", (STEM, r"^blocks\.0\.1\.conv\.")),
    Form(r"(tf_)?efficientnet.*|tinynet_.*|mobilenetv[124]_.*|(se)?mnasnet_.*", (STEM,)),
    Form(r"convnextv2_(atto|femto|pico|nano)", (), BLOCK),
    Form(r"convnext_(atto|femto|pico|nano)|inception_next_.*", (), BLOCK, SCALE),
    Form(r"convnext_.*", (), NEVER, SCALE),
    Form(r"dla.*|resnetv2_.*", (), r"^logits$"),
    Form(r"nf_resnet.*", (r"^stem\.conv\.",)),
    Form(r".*nfnet_.*", (r"\.conv2b\.",)),
    Form(r"regnet.*", (r"^s1\.b1\.",)),
    Form(r".*vovnet.*_dw", (r"conv_dw\.",)),
    Form(r"resnetrs.*|resnest.*|.*(resnet|resnext|res2net)\d+d.*", DEEP_STEM),
    Form(r"skresnet\d+", (r"\.conv1\.paths\.",)),
    Form(r"skresnext.*", (r"\.conv2\.paths\.",)),
    Form(r"vgg.*", (r"^head\.fc\.", r"^pre_logits\."), HEAD),
    Form(r".*"),
)


def form_of(name: str) -> Form | None:
    """Return how timm writes a network down; None for a network of which it has no weights."""
    if not any(row.weights.startswith("timm/") for row in weights_of(name)):
        return None
    return next(form for form in FORMS if re.fullmatch(form.networks, name))


def state_dict(model: keras.Model) -> dict[str, np.ndarray] | None:
    """Return the weights of a network under timm's names and in PyTorch's layout; None if timm does not have it."""
    form = form_of(registered_name(model))
    if form is None:
        return None
    layers = {layer.name: layer for layer in model.layers}
    weights = {weight.path: weight for weight in model.weights if "seed_generator" not in weight.path}
    owners = {path: path.rpartition("/")[0] for path in weights}
    if not set(owners.values()) <= layers.keys():
        return None
    rules = [rule._replace(where="") for rule in rules_of(model) if not rule.where or rule.where in form.where]
    underscores = keras.backend.backend() == "torch"
    names = key_mapping(list(dict.fromkeys(owners.values())), rules, (), underscores=underscores)
    maps, found = flattened_maps(model), {}
    for path, weight in weights.items():
        owner, value = owners[path], keras.ops.convert_to_numpy(weight)
        dotted = owner.replace("_", ".") if underscores else owner
        if re.search(r"\.scale\d$", dotted):
            value = value.reshape(-1)
        convolution = re.search(form.convolutions, dotted) and (maps.get(owner) or (1, 1, value.shape[0]))
        bare = re.search(form.bare, dotted)
        name = names[owner] if bare else NAMINGS["pytorch"](names[owner], weight.name)
        found[name] = pytorch_layout(value, layers[owner], convolution or None)
    return found


def pytorch_layout(value: np.ndarray, layer: keras.layers.Layer, window: tuple[int, ...] | None = None) -> np.ndarray:
    """Return a weight of Keras in PyTorch's layout, a kernel (*window, in, out) as (out, in, *window).

    Args:
        value: of the weight.
        layer: that has it.
        window: of a dense layer that is a convolution there, the shape (*window, in) of what it is given; else None.
    """
    if value.ndim < 2:
        return value
    if window is not None:
        value = value.reshape(*window, -1)
    if getattr(layer, "depth_multiplier", 0):
        value = value.reshape(*value.shape[:-2], 1, -1)
    return np.moveaxis(value, (-1, -2), (0, 1))
