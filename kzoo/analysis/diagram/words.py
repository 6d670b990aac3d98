"""Labels of layers in a diagram: `conv 3×3 · 64 /2`."""

import re
from typing import NamedTuple

from kzoo.nn.graph import is_channel_scale


class Segment(NamedTuple):
    """A part of a drawn row.

    Attributes:
        kind: a key of `kzoo.analysis.diagram.svg.COLOURS`.
        text: what is written.
        hint: the layer's name or class, which a browser shows under the pointer.
    """

    kind: str
    text: str
    hint: str


WORDS = {
    "BatchNormalization": "norm",
    "LayerNormalization": "layer norm",
    "GroupNormalization": "group norm",
    "Add": "+",
    "Subtract": "−",
    "Multiply": "×",
    "Concatenate": "concat",
    "GetItem": "slice",
    "Permute": "transpose",
    "Dense": "dense",
    "GlobalAveragePooling": "global average",
    "GlobalMaxPooling": "global maximum",
    "AdaptiveAveragePooling": "adaptive average",
    "MaxPooling": "max pool",
    "AveragePooling": "average pool",
    "UpSampling": "upsample",
}
KINDS = {
    "norm": r".*Normalization$",
    "depthwise": r"DepthwiseConv",
    "conv": r".*Conv",
    "dense": r"Dense|Embedding|EinsumDense",
    "pool": r".*Pooling",
    "activation": r"Activation|Re[lL][uU]|.*ReLU|PReLU|Softmax|Sigmoid|Silu|Gelu|Tanh|HardS|Softplus|Elu|Log",
    "combine": r"Add|Subtract|Multiply|Concatenate|Average$|Maximum|Minimum|Divide|Dot|Matmul|Einsum|TrueDivide",
    "dropout": r".*Dropout",
}


def segments(node) -> list[Segment]:
    """Return the labels of a call: its own, and that of the activation inside a layer."""
    operation = node.operation
    # Keras numbers other names through all networks of a process.
    hint = operation.name if "." in operation.name else type(operation).__name__
    parts = [Segment(kind(node), text(node), hint)]
    inside = getattr(getattr(operation, "activation", None), "__name__", "linear")
    if parts[0].kind != "activation" and inside != "linear":
        parts.append(Segment("activation", inside.replace("_", " "), hint))
    return parts


def kind(node) -> str:
    """Return the kind of a call, a key of `COLOURS`; a product or a sum with constants has none of its own."""
    name = type(node.operation).__name__
    found = next((kind for kind, pattern in KINDS.items() if re.match(pattern, name)), "other")
    if is_channel_scale(node.operation) or (found == "combine" and len(node.input_tensors) < 2):
        return "other"
    return "conv" if name == "Dense" and has_positions(node) else found


def has_positions(node) -> bool:
    """Whether the input of a call has spatial axes, so that a dense layer is a convolution with a window of 1."""
    return len(node.input_tensors[0].shape) > 2


def text(node) -> str:
    """Return the label of a call: what it is, its window, its filters, its stride."""
    operation, name = node.operation, re.sub(r"\dD$", "", type(node.operation).__name__)
    if is_channel_scale(operation):
        return "scale"
    if name == "Dense" and has_positions(node):
        return f"conv {window((1,) * (len(node.input_tensors[0].shape) - 2))} · {operation.units}"
    if kind(node) in ("conv", "depthwise"):
        return convolution(operation, name, node.output_tensors[0].shape[-1])
    if name == "Activation":
        return operation.activation.__name__.replace("_", " ")
    if name.endswith("Dropout"):
        return "drop path" if getattr(operation, "noise_shape", None) else "dropout"
    if name in ("Add", "Multiply") and len(node.input_tensors) < 2:
        return "scale" if name == "Multiply" else "shift"
    if name == "MaxPooling" and set(sizes(operation.pool_size)) == {1}:
        return "subsample" + different(operation.strides, "/")
    return " ".join([WORDS.get(name, spaced(name)), *details(operation, name)])


def spaced(name: str) -> str:
    """Return the name of a class in words: `mini rocket features`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower().replace("re lu", "relu")


def convolution(operation, name: str, filters: int) -> str:
    """Return the label of a convolution."""
    depthwise = name.startswith("Depthwise")
    groups = getattr(operation, "groups", 1) or 1
    words = f"{'depthwise' if depthwise else 'conv'} {window(operation.kernel_size)}"
    words += "" if depthwise else f" · {filters}"
    words += f" in {groups} groups" if groups > 1 and not depthwise else ""
    words += " causal" if getattr(operation, "padding", None) == "causal" else ""
    return (
        words
        + different(getattr(operation, "strides", 1), "/")
        + different(getattr(operation, "dilation_rate", 1), "dilated ")
    )


def details(operation, name: str) -> list[str]:
    """Return the sizes of a layer that is no convolution."""
    if name == "Dense":
        return [f"· {operation.units}"]
    if name == "Embedding":
        return [f"· {operation.output_dim}"]
    if name in ("MaxPooling", "AveragePooling"):
        return [window(operation.pool_size) + different(operation.strides, "/")]
    if name == "AdaptiveAveragePooling":
        return [window(operation.output_size)]
    return []


def sizes(value) -> tuple[int, ...]:
    """Return one number, or one for each axis, as a tuple."""
    return (value,) if isinstance(value, int) else tuple(value)


def window(value) -> str:
    """Return e.g. `3×3`."""
    return "×".join(map(str, sizes(value)))


def different(value, word: str) -> str:
    """Return a word and a size, e.g. ` /2`, once if it is equal along all axes; nothing for 1."""
    once = set(sizes(value))
    return "" if once == {1} else f" {word}{window(once if len(once) == 1 else value)}"
