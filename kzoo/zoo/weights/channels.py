"""Kernels for another number of input channels than the one that a network was trained on."""

from __future__ import annotations

from kzoo.core.lazy import keras, lazy_import, np
from kzoo.nn.graph import functional, nodes

standardized = lazy_import("kzoo.nn.standardized")


def convs_of_input(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the convolutions that see the input channels of a model: directly, or padded, pooled or scaled."""
    seen, found = {id(tensor) for tensor in model.inputs}, []
    for node in nodes(functional(model)):
        if len(node.input_tensors) > 1 or id(node.input_tensors[0]) not in seen:
            continue
        if sums_channels(node.operation):
            found.append(node.operation)
        elif not getattr(node.operation, "weights", []) and keeps_channels(node):
            seen |= {id(tensor) for tensor in node.output_tensors}
    return found


def sums_channels(operation: keras.Operation) -> bool:
    """Whether an operation is a convolution over all channels, neither grouped nor depthwise."""
    kinds = (keras.layers.Conv1D, keras.layers.Conv2D, standardized.StandardizedConv)
    return isinstance(operation, kinds) and operation.groups == 1


def keeps_channels(node) -> bool:
    """Whether an operation returns as many axes, and as many channels, as it is given."""
    given, made = node.input_tensors[0].shape, node.output_tensors[0].shape
    return len(given) == len(made) and given[-1] == made[-1]


def fitted(kernel: np.ndarray, channels: int) -> tuple[np.ndarray, str]:
    """Return a kernel (*window, channels, filters) for another number of input channels, and a remark.

    On an image of equal channels it has the same outputs if it has 1 channel or a multiple of the kernel's.
    """
    theirs = kernel.shape[-2]
    if channels == 1:
        return kernel.sum(axis=-2, keepdims=True), f"the sum over {theirs} input channels"
    turns = np.take(kernel, np.arange(channels) % theirs, axis=-2) * (theirs / channels)
    return turns, f"{theirs} input channels in turn for {channels}, scaled by {theirs}/{channels}"
