"""What a network costs, layer by layer: parameters and multiplications, read from shapes; nothing is computed.

This module counts as timm's and torchvision's tables do: one multiplication and one addition of a convolution or a
dense layer are one MAC; biases, normalisations, activations, pooling and products of single numbers are not counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kzoo.lazy import lazy_import

keras = lazy_import("keras")

Shape = tuple[int | None, ...]


class LayerProfile(NamedTuple):
    """One call of a layer, or of another operation.

    Attributes:
        name: of the layer; those inside a model that is a layer are `model/layer`.
        type: its class.
        output_shape: without the batch.
        params: all of its weights, statistics and frozen ones included; 0 where it was called before.
        macs: multiplications with its weights for one example; None where kzoo cannot count them.
    """

    name: str
    type: str
    output_shape: Shape
    params: int
    macs: int | None


def macs(model: keras.Model, input_shape: Sequence[int] | None = None) -> int:
    """Return the multiplications of a forward pass for one example; 2 floating-point operations each.

    Args:
        model: built of Keras layers, as all of the zoo are.
        input_shape: of one example, in place of the model's own.

    Raises:
        ValueError: for a layer that kzoo cannot count, and as `layer_profiles`.
    """
    profiles = layer_profiles(model, input_shape)
    unknown = [f"{profile.name} ({profile.type})" for profile in profiles if profile.macs is None]
    if unknown:
        raise ValueError(f"kzoo cannot count the multiplications of {', '.join(unknown)} in {model.name}")
    return sum(profile.macs for profile in profiles)


def layer_profiles(model: keras.Model, input_shape: Sequence[int] | None = None) -> list[LayerProfile]:
    """Return the costs of each layer in the order of computation.

    Args:
        model: built of Keras layers, with one input.
        input_shape: of one example, in place of the model's own; needed where that has None.

    Raises:
        ValueError: for a model whose layers are not known before it runs, or an input of unknown size.
    """
    if not isinstance(model, (keras.Sequential, keras.Model)) or not getattr(model, "inputs", None):
        raise ValueError("only a built model of Keras layers can be counted: keras.Model(inputs, outputs), Sequential")
    if len(model.inputs) != 1:
        raise ValueError(f"only networks with one input can be counted; {model.name} has {len(model.inputs)}")
    own = tuple(model.inputs[0].shape[1:])
    shape = own if input_shape is None else tuple(input_shape)
    if None in shape:
        raise ValueError(f"{model.name} takes input {shape} of any size; say the input_shape to count for")
    seen, profiles = set(), []
    for operation, given, made in calls(model if own == shape else rebuilt(model, shape)):
        profiles += profiles_of(operation, given, made, operation not in seen)
        seen.add(operation)
    return profiles


def rebuilt(model: keras.Model, input_shape: Shape) -> keras.Model:
    """Return an untrained copy of a network for inputs of another shape.

    Raises:
        ValueError: if its layers cannot be built for that shape.
    """
    try:
        return keras.models.clone_model(model, input_tensors=keras.Input(input_shape, dtype=model.inputs[0].dtype))
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{model.name} cannot be built for an input {input_shape}: {reason}") from error


def calls(model: keras.Model) -> Iterator[tuple[keras.Operation, list[Shape], Shape]]:
    """Yield each operation with the shapes of its inputs and of its first output, without the batch."""
    # Keras has no public list of the calls, in which a layer that is used twice is there twice; summary() reads this.
    by_depth = keras.Model(model.inputs, model.outputs)._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if not node.is_input:
                given = [tuple(tensor.shape[1:]) for tensor in node.input_tensors]
                yield node.operation, given, tuple(node.output_tensors[0].shape[1:])


def profiles_of(operation: keras.Operation, given: list[Shape], made: Shape, first: bool) -> list[LayerProfile]:
    """Return the profile of one call, or those of all layers of a model that was called."""
    if isinstance(operation, keras.Model):
        inside = layer_profiles(operation, given[0])
        return [p._replace(name=f"{operation.name}/{p.name}", params=p.params * first) for p in inside]
    params = operation.count_params() if first and isinstance(operation, keras.Layer) else 0
    kind = type(operation).__name__
    return [LayerProfile(operation.name, kind, made, params, multiplications(operation, given[0], made))]


def multiplications(operation: keras.Operation, given: Shape, made: Shape) -> int | None:
    """Return the MACs of one operation for one example; None if it has or may have some that kzoo cannot count."""
    kind = type(operation).__name__
    if kind in COUNTED:
        return COUNTED[kind](operation, given, made)
    matrices = [w for w in getattr(operation, "weights", ()) if len(w.shape) > 1 and math.prod(w.shape) > max(w.shape)]
    return None if kind in PRODUCTS or (matrices and kind not in LOOKUPS) else 0


def of_convolution(layer: keras.Layer, given: Shape, made: Shape) -> int:
    """Count a convolution, or a dense layer: every value of the result is a sum over a window of one group."""
    return math.prod(made) * math.prod(layer.kernel.shape[:-1])


def of_transposed(layer: keras.Layer, given: Shape, made: Shape) -> int:
    """Count a transposed convolution: every position of the input goes through the whole kernel."""
    return math.prod(given[:-1]) * math.prod(layer.kernel.shape)


def of_depthwise(layer: keras.Layer, given: Shape, made: Shape) -> int:
    """Count a depthwise convolution, unless it is the factors of `kzoo.layers.channel_scale`."""
    if re.search(r"(^|[._])scale\d+$", layer.name):
        return 0
    return math.prod(made) * math.prod(layer.kernel.shape[:-2])


def of_separable(layer: keras.Layer, given: Shape, made: Shape) -> int:
    """Count a depthwise and a pointwise convolution in one layer."""
    positions = math.prod(made[:-1])
    return positions * (math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape))


def of_minirocket(layer: keras.Layer, given: Shape, made: Shape) -> int:
    """Count MiniRocket's fixed kernels as they are computed here: a convolution of 9 taps for each dilation."""
    return given[0] * 9 * math.prod(layer.channels.shape)


RANKS = ("1D", "2D", "3D")
COUNTED: dict[str, Callable[[keras.Layer, Shape, Shape], int]] = {
    **{f"Conv{rank}": of_convolution for rank in RANKS},
    **{f"Conv{rank}Transpose": of_transposed for rank in RANKS},
    **{f"DepthwiseConv{rank}": of_depthwise for rank in RANKS[:2]},
    **{f"SeparableConv{rank}": of_separable for rank in RANKS[:2]},
    "Dense": of_convolution,
    "StandardizedConv": of_convolution,
    "MiniRocketFeatures": of_minirocket,
}
LOOKUPS = ("Embedding", "PReLU")  # have matrices and no sums of products
# operations of keras.ops that multiply feature maps with each other
PRODUCTS = ("Matmul", "Einsum", "Dot", "Tensordot", "Conv", "ConvTranspose", "DepthwiseConv", "SeparableConv")
