"""Structural re-parameterisation: parallel branches folded into one convolution for inference (RepVGG, MobileOne)."""

from __future__ import annotations

from typing import NamedTuple

from kzoo.core.lazy import keras, np
from kzoo.data.trained import hand_on

SUM = "branches1"  # the last layer of `kzoo.nn.blocks.branched_conv`


class Branch(NamedTuple):
    """A convolution, or none where the input itself is added, and its normalisation."""

    conv: keras.layers.Layer | None
    norm: keras.layers.BatchNormalization


def reparameterize(model: keras.Model) -> keras.Model:
    """Return a copy of a model in which each sum of normalised branches is one convolution with a bias.

    In inference it is the same function up to rounding, with fewer operations. It is not for training: the statistics
    of the normalisations are part of its weights. The model itself is not changed.

    Args:
        model: built of `kzoo.nn.blocks.branched_conv` or of sums like it, such as RepVGG, MobileOne and ModernTCN, with
            any hyperparameters, input, classes and framework convention.

    Raises:
        ValueError: for a model without branches; for TensorFlow's padding and an input of unknown size, on which
            the alignment of the branches of a strided block then depends.
    """
    blocks = {layer.name: branches_of(layer, model) for layer in model.layers if layer.name.endswith(SUM)}
    if not blocks:
        raise ValueError(f"{model.name} has no branches to fold; RepVGG, MobileOne and ModernTCN have")
    gone = {layer.name for branches in blocks.values() for branch in branches for layer in branch if layer is not None}
    convs = {name: deploy_conv(name, branches[0].conv) for name, branches in blocks.items()}

    def call(layer, *args, **kwargs):
        if layer.name in gone:
            return args[0]
        if layer.name in convs:
            return convs[layer.name](args[0][0])  # what the first branch would have seen
        return layer(*args, **kwargs)

    weights = {layer.name: layer.get_weights() for layer in model.layers}
    weights |= {conv.name: folded(blocks[name]) for name, conv in convs.items()}
    deployed = keras.models.clone_model(model, call_function=call)
    for layer in deployed.layers:
        if layer.weights:
            layer.set_weights(weights[layer.name])
    return hand_on([model], deployed)


def branches_of(total: keras.layers.Add, model: keras.Model) -> list[Branch]:
    """Return the branches that a layer sums up."""
    makers = {id(layer.output): layer for layer in model.layers}
    terms = total.input if isinstance(total.input, list) else [total.input]
    norms = [makers[id(term)] for term in terms]
    return [Branch(conv_before(norm, makers), norm) for norm in norms]


def conv_before(norm: keras.layers.Layer, makers: dict[int, keras.layers.Layer]) -> keras.layers.Layer | None:
    """Return the convolution of the branch that `norm` ends; None if it sees the block's own input."""
    source = makers.get(id(norm.input))
    same_scope = source is not None and source.name.startswith(norm.name.removesuffix("norm1"))
    return source if same_scope else None


def deploy_conv(name: str, conv: keras.layers.Layer) -> keras.layers.Layer:
    """Return a convolution like that of the first branch but with a bias, named as the block's own."""
    block = name.removesuffix(SUM)
    kind = conv.name.removeprefix(f"{block}branch0")[1:]
    return type(conv).from_config(conv.get_config() | {"name": block + kind, "use_bias": True})


def folded(branches: list[Branch]) -> list[np.ndarray]:
    """Return the kernel and the bias of the convolution that equals the sum of the branches."""
    first = branches[0].conv
    kernel, bias = np.zeros(first.kernel.shape), 0.0
    for conv, norm in branches:
        gamma, beta, mean, variance = (weight.astype("float64") for weight in norm.get_weights())
        factor = gamma / np.sqrt(variance + norm.epsilon)
        part = identity_kernel(first.kernel.shape) if conv is None else conv.get_weights()[0]
        kernel[inside(first, part.shape[:-2])] += part * (factor[:, None] if is_depthwise(first) else factor)
        bias = bias + beta - mean * factor
    return [kernel, bias]


def is_depthwise(conv: keras.layers.Layer) -> bool:
    """Whether a kernel is (*window, channels, 1), not (*window, channels of a group, filters)."""
    return hasattr(conv, "depth_multiplier")


def identity_kernel(shape: tuple[int, ...]) -> np.ndarray:
    """Return a kernel of width 1 that leaves the feature map as it is, for one of `shape`, grouped or depthwise."""
    *window, inputs, outputs = shape
    window = (1,) * len(window)
    if outputs == 1:
        return np.ones((*window, inputs, 1))
    return np.tile(np.eye(inputs), outputs // inputs).reshape(*window, inputs, outputs)


def inside(conv: keras.layers.Layer, window: tuple[int, ...]) -> tuple[slice, ...]:
    """Return where in the window of a convolution that of another lies which sees the same input."""
    sizes = zip(conv.input.shape[1:-1], conv.kernel_size, conv.strides, window, strict=True)
    starts = [
        before(conv, size, kernel, stride) - before(conv, size, width, stride) for size, kernel, stride, width in sizes
    ]
    return tuple(slice(start, start + width) for start, width in zip(starts, window, strict=True))


def before(conv: keras.layers.Layer, size: int | None, kernel: int, stride: int) -> int:
    """Return the zeros that are padded before the first position of an axis."""
    if conv.padding == "valid" or stride == 1:
        return (kernel - 1) // 2  # half of PyTorch's, which have been added before
    if size is None:
        raise ValueError(
            "with TensorFlow's padding the alignment of the branches of a strided block depends on the size of the "
            "input; give input_shape in full"
        )
    return max((-(-size // stride) - 1) * stride + kernel - size, 0) // 2
