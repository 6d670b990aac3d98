"""Weights from other libraries: which of their tensors is which of ours, and in what layout.

A weight's address here is its layer's and its own name, `stage1.block0.conv2/kernel`. A family states as rules where
its references in PyTorch (timm, torchvision) call a layer something else; everything else keeps its name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from kzoo.lazy import lazy_import
from kzoo.registry import lookup

keras = lazy_import("keras")

# Our last word about a tensor, and PyTorch's.
TENSORS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
TENSORS |= {"moving_mean": "running_mean", "moving_variance": "running_var"}


class Rule(NamedTuple):
    """Rewrites what `pattern` finds in a layer's name into the reference's word for it.

    `replacement` is that of `re.sub`; as a function it is given the match and the names of all layers in order. Where
    references disagree, the rule holds for those that have a tensor whose name `where` finds.
    """

    pattern: str
    replacement: str | Callable[[re.Match, Sequence[str]], str]
    where: str = ""


def counted_from_zero(match: re.Match, layers: Sequence[str]) -> str:
    """timm's newer families: `stage1.block0` is `stages.0.blocks.0`."""
    return f"stages.{int(match[1]) - 1}.blocks.{match[2]}"


def place_in_sequence(match: re.Match, layers: Sequence[str]) -> str:
    """VGG's `features`: one sequence that counts activations and poolings too, which have no weights."""
    before = layers[: layers.index(match[0])]
    activations = sum(".conv" in layer for layer in before) - (match["kind"] == "norm")
    poolings = int(match["stage"]) - 1
    return f"features.{len(before) + activations + poolings}"


# Rules are applied in order, each to what the one before it left.
RULES: dict[str, tuple[Rule, ...]] = {
    "resnet": (
        # The deep stem is a sequence named conv1, but for its last normalisation.
        Rule(r"^stem\.conv1$", "conv1.0", where=r"^conv1\.0\."),
        Rule(r"^stem\.norm1$", "conv1.1", where=r"^conv1\.0\."),
        Rule(r"^stem\.conv2$", "conv1.3"),
        Rule(r"^stem\.norm2$", "conv1.4"),
        Rule(r"^stem\.conv3$", "conv1.6"),
        Rule(r"^stem\.norm3$", "bn1"),
        Rule(r"^stem\.", ""),
        Rule(r"^stage(\d+)\.block(\d+)", r"layer\1.\2"),
        # ResNet-D's shortcut begins with the pooling.
        Rule(r"\.shortcut\.conv1$", ".downsample.1", where=r"\.downsample\.2\."),
        Rule(r"\.shortcut\.norm1$", ".downsample.2", where=r"\.downsample\.2\."),
        Rule(r"\.shortcut\.conv1$", ".downsample.0"),
        Rule(r"\.shortcut\.norm1$", ".downsample.1"),
        Rule(r"norm(\d)$", r"bn\1"),
        Rule(r"\.se\.conv", ".se.fc"),
        Rule(r"^logits$", "linear", where=r"^linear\."),  # the networks for CIFAR
        Rule(r"^logits$", "fc"),
    ),
    "resnetv2": (
        Rule(r"^stem\.conv1$", "stem.conv"),
        Rule(r"^stage(\d+)\.block(\d+)", counted_from_zero),
        Rule(r"\.shortcut\.conv1$", ".downsample.conv"),
        Rule(r"^head\.norm1$", "norm"),
        Rule(r"^logits$", "head.fc"),
    ),
    "vgg": (
        Rule(r"^stage(?P<stage>\d+)\.(?P<kind>conv|norm)\d+$", place_in_sequence),
        # timm
        Rule(r"^head\.dense(\d)$", r"pre_logits.fc\1", where=r"^pre_logits\."),
        Rule(r"^logits$", "head.fc", where=r"^head\.fc\."),
        # torchvision
        Rule(r"^head\.dense1$", "classifier.0"),
        Rule(r"^head\.dense2$", "classifier.3"),
        Rule(r"^logits$", "classifier.6"),
    ),
}


def load_torch_weights(model: keras.Model, tensors: Mapping[str, np.ndarray], rules: Iterable[Rule] = ()) -> None:
    """Assign a PyTorch state dict to `model`, which must take every tensor and need no other.

    Args:
        model: any model of this library, not one inside another.
        tensors: name to array, in PyTorch's layout; counters of batches are passed over.
        rules: how the reference calls the layers, e.g. `RULES["resnet"]`; one list serves timm and torchvision.

    Raises:
        ValueError: naming the tensors that are missing, unexpected or of another shape, or two layers of one name;
            for a model whose layers hold layers. Nothing has been assigned then.
    """
    given = {name: np.asarray(tensor) for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    layers, maps = {layer.name: layer for layer in model.layers}, flattened_maps(model)
    owners = [weight.path.rpartition("/")[0] for weight in model.weights]
    names = reference_names(list(dict.fromkeys(owners)), rules, given)
    wanted, values = {}, {}
    for owner, weight in zip(owners, model.weights, strict=True):
        name = f"{names[owner]}.{TENSORS.get(weight.name, weight.name)}"
        wanted[name] = weight
        if name in given:
            values[name] = keras_layout(given[name], lookup("layer", owner, layers), maps.get(owner))
    misfits = describe_misfits(wanted, given, values)
    if misfits:
        raise ValueError(f"the tensors do not fit {model.name}: {misfits}")
    for name, weight in wanted.items():
        weight.assign(values[name])


def reference_names(layers: Sequence[str], rules: Iterable[Rule], tensors: Iterable[str]) -> dict[str, str]:
    """Return the reference's name for each of our layers, given in the network's order.

    Raises:
        ValueError: if the rules give two layers one name.
    """
    tensors = list(tensors)
    rules = [rule for rule in rules if not rule.where or any(re.search(rule.where, name) for name in tensors)]
    # On Keras's PyTorch backend our names have "_" for ".".
    dotted = [layer.replace("_", ".") if keras.backend.backend() == "torch" else layer for layer in layers]
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


def flattened_maps(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Return the shape of the feature map that each dense layer behind a `Flatten` sees as a vector, by its name."""
    shapes = {}  # of what a symbolic vector was before it was flattened
    for layer in model.layers:
        if isinstance(layer, keras.layers.Flatten):
            shapes[id(layer.output)] = tuple(layer.input.shape[1:])
        elif isinstance(layer, keras.layers.Dropout) and id(layer.input) in shapes:
            shapes[id(layer.output)] = shapes[id(layer.input)]
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    return {layer.name: shapes[id(layer.input)] for layer in dense if id(layer.input) in shapes}


def keras_layout(tensor: np.ndarray, layer: keras.layers.Layer, flattened: tuple[int, ...] | None = None) -> np.ndarray:
    """Return a tensor of PyTorch in the layout of Keras; one that cannot be the layer's keeps a shape unlike it.

    A kernel (out, in, *window) becomes (*window, in, out), a depthwise one (*window, channels, multiplier). A dense
    layer may be a convolution in the reference; behind a flattened feature map its inputs go from channels first,
    as PyTorch flattens, to channels last.
    """
    if tensor.ndim < 2:
        return tensor
    if flattened and tensor.shape[1:] == (np.prod(flattened),):
        *window, channels = flattened
        tensor = tensor.reshape(-1, channels, *window)
    tensor = np.moveaxis(tensor, (0, 1), (-1, -2))
    *window, inputs, outputs = tensor.shape
    if isinstance(layer, keras.layers.Dense) and (set(window) <= {1} or (*window, inputs) == flattened):
        return tensor.reshape(-1, outputs)
    multiplier = getattr(layer, "depth_multiplier", 0)
    if multiplier and inputs == 1 and outputs % multiplier == 0:
        return tensor.reshape(*window, -1, multiplier)
    return tensor


def describe_misfits(
    wanted: Mapping[str, keras.Variable], given: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]
) -> str:
    """Return what is missing, unexpected or mis-shaped, the first few of each; nothing if all tensors fit."""
    shapes = {name: tuple(weight.shape) for name, weight in wanted.items()}
    kinds = {
        "missing": [f"{name} (our {wanted[name].path})" for name in wanted if name not in given],
        "unexpected": [name for name in given if name not in wanted],
        "mis-shaped": [
            f"{name} (our {wanted[name].path} is {shapes[name]}, this would be {value.shape})"
            for name, value in values.items()
            if value.shape != shapes[name]
        ],
    }
    return "; ".join(f"{kind} {shortened(names)}" for kind, names in kinds.items() if names)


def shortened(names: Sequence[str], most: int = 4) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
