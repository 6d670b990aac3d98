"""What is written for a layer: `conv 3×3 · 64 /2`."""

import re
from typing import NamedTuple


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
    """Return what is written for a call of an operation: its parts, of which an activation inside is one."""
    operation = node.operation
    # Keras numbers other names through all networks of a process.
    hint = operation.name if "." in operation.name else type(operation).__name__
    parts = [Segment(kind(node), text(node), hint)]
    inside = getattr(getattr(operation, "activation", None), "__name__", "linear")
    if parts[0].kind != "activation" and inside != "linear":
        parts.append(Segment("activation", inside.replace("_", " "), hint))
    return parts


def kind(node) -> str:
    """Return what sort of layer is called; a product or sum with constants is of no sort."""
    name = type(node.operation).__name__
    found = next((kind for kind, pattern in KINDS.items() if re.match(pattern, name)), "other")
    return "other" if found == "combine" and len(node.input_tensors) < 2 else found


def text(node) -> str:
    """Return the words for a call: what it is, its window, its filters, its stride."""
    operation, name = node.operation, re.sub(r"\dD$", "", type(node.operation).__name__)
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
    """Return the words for a convolution."""
    depthwise = name.startswith("Depthwise")
    if depthwise and re.search(r"(^|\.)scale\d+$", operation.name):
        return "scale"
    groups = getattr(operation, "groups", 1) or 1
    words = f"{'depthwise' if depthwise else 'conv'} {window(operation.kernel_size)}"
    words += "" if depthwise else f" · {filters}"
    words += f" in {groups} groups" if groups > 1 and not depthwise else ""
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
