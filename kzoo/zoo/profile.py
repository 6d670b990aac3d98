"""Profile of a network: parameters, MACs, activations and receptive field of each layer, from shapes alone.

MACs (multiply-accumulates) are counted as in timm's and torchvision's tables: one multiplication and one addition of a
convolution or a dense layer are one MAC; biases, normalisations, activations, pooling and element-wise products are not
counted.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kzoo.core.arguments import checked
from kzoo.core.files import write_path, write_text
from kzoo.core.lazy import figures, keras, rich_table, rich_text
from kzoo.core.pictures import Drawn
from kzoo.core.shown import Shown, literal
from kzoo.nn.graph import INPUT, Call, Shape, calls, full_shape, is_channel_scale, matrices, size_of
from kzoo.nn.receptive_field import ReceptiveField, View, views_in

FIELD = ("receptive field", "cumulative stride", "first centre")


class LayerProfile(NamedTuple):
    """One call of a layer, or of another operation.

    Attributes:
        name: of the layer; those inside a model that is a layer are `model/layer`.
        type: its class.
        output_shape: without the batch.
        params: number of its weights, statistics and frozen ones included; 0 where it was called before.
        macs: multiply-accumulates for one example; None where kzoo cannot count them.
        formula: `params` as a sum of products of sizes: `(3 x 3 x 3 + 1) x 64`.
        activations: values in its output for one example; 0 where it passes on or rearranges its input.
        receptive_field: of a position of its output; None where kzoo does not know it.
        inputs: values that a convolution or a dense layer is given for one example, without padded zeros; 0 for other
            layers.
    """

    name: str
    type: str
    output_shape: Shape
    params: int
    macs: int | None
    formula: str = ""
    activations: int = 0
    receptive_field: ReceptiveField | None = None
    inputs: int = 0

    @property
    def fully_connected(self) -> int | None:
        """Parameters of a dense layer with a bias in place of this convolution or dense layer; None for others."""
        return (self.inputs + 1) * math.prod(self.output_shape) if self.inputs and self.params else None

    @property
    def per_filter(self) -> float | None:
        """Parameters for each channel of the output; None unless it is a convolution or a dense layer."""
        return None if self.fully_connected is None else self.params / self.output_shape[-1]

    @property
    def saving(self) -> float | None:
        """How many times fewer parameters this layer has than a dense one; None unless it is one of the two."""
        return None if self.fully_connected is None else self.fully_connected / self.params

    def to_dict(self) -> dict:
        """Return all numbers, ready for JSON; those of the receptive field are one for each spatial axis."""
        seen = self.receptive_field
        return {
            "name": self.name,
            "type": self.type,
            "output_shape": list(self.output_shape),
            "params": self.params,
            "formula": self.formula,
            "macs": self.macs,
            "activations": self.activations,
            "receptive_field": seen and list(seen.size),
            "window": seen and list(seen.window),
            "stride": seen and list(seen.stride),
            "centre": seen and list(seen.centre),
            "sees_whole_input": seen and seen.whole,
            "per_filter": self.per_filter,
            "fully_connected_per_output": self.fully_connected and self.inputs + 1,
            "fully_connected": self.fully_connected,
            "saving": self.saving,
        }


@dataclass(frozen=True, repr=False)
class Profile(Drawn, Shown):
    """Parameters, MACs, activations and receptive fields of a network.

    Attributes:
        model: its name.
        input_shape: of one example.
        layers: in the order of computation.
        trainable: number of trainable parameters.
        unknown: layers whose MACs or receptive field are unknown.
    """

    model: str
    input_shape: tuple[int, ...]
    layers: tuple[LayerProfile, ...]
    trainable: int
    unknown: tuple[str, ...]

    @property
    def params(self) -> int:
        """Number of all parameters, statistics included."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int | None:
        """MACs for one example; None if those of a layer are unknown."""
        return total_macs(layer.macs for layer in self.layers)

    @property
    def activations(self) -> int:
        """Values in the outputs of all layers for one example."""
        return sum(layer.activations for layer in self.layers)

    @property
    def fully_connected(self) -> int:
        """Parameters of dense layers in place of all convolutions and dense layers."""
        return sum(layer.fully_connected or 0 for layer in self.layers)

    @property
    def saving(self) -> float | None:
        """How many times fewer parameters the convolutions and dense layers have; None if there are none."""
        params = sum(layer.params for layer in self.layers if layer.fully_connected)
        return self.fully_connected / params if params else None

    @property
    def receptive_field(self) -> tuple[int, ...] | None:
        """The largest one of windows alone, for each spatial axis; None for a network without convolutions."""
        if not self.convolutions or self.layers[0].receptive_field is None:
            return None
        fields = [layer.receptive_field.window for layer in self.layers if layer.receptive_field is not None]
        return tuple(max(size or 1 for size in axis) for axis in zip(*fields, strict=True))

    @property
    def convolutions(self) -> list[LayerProfile]:
        """The layers that are convolutions."""
        return [layer for layer in self.layers if "Conv" in layer.type and layer.inputs]

    @property
    def notes(self) -> list[str]:
        """Remarks below the table."""
        said = [f"unknown: {', '.join(self.unknown)}"] if self.unknown else []
        if not self.convolutions:
            return [*said, f"{self.model} has no convolution, so nothing is saved"]
        first = next(layer for layer in self.convolutions if layer.params)
        return [
            *said,
            f"{first.name} has {first.per_filter:,.0f} parameters for every filter; fully connected, it would have "
            f"{first.inputs + 1:,} for every value of its output",
        ]

    def to_dict(self) -> dict:
        """Return all numbers, ready for JSON."""
        names = ("params", "trainable", "macs", "activations", "fully_connected", "saving")
        return {
            "model": self.model,
            "input_shape": list(self.input_shape),
            **{name: getattr(self, name) for name in names},
            "receptive_field": self.receptive_field and list(self.receptive_field),
            "unknown": list(self.unknown),
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def to_csv(self) -> str:
        """Return the layers as comma-separated values, a header and one line each; sizes are `3 x 3`."""
        rows = [layer.to_dict() for layer in self.layers]
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0] if rows else [], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: sizes(value) if isinstance(value, list) else value for key, value in row.items()})
        return text.getvalue()

    def write_csv(self, path: str | Path) -> Path:
        """Write the layers as comma-separated values.

        Raises:
            ValueError: if the file cannot be written.
        """
        return write_path(path, lambda target: write_text(target, self.to_csv()))

    def figure(self) -> figures.Figure:
        """Return a matplotlib figure: bars of the parameters, MACs and activations of each layer."""
        layers = [layer for layer in self.layers if layer.inputs or layer.macs is None]
        names = [layer.name for layer in layers]
        size = (min(max(6, 0.3 * len(layers) + 2), 24), 8)
        picture = figures.Figure(figsize=size, layout="constrained")
        quantities = {"parameters": "params", "MACs": "macs", "activations": "activations"}
        panels = picture.subplots(len(quantities), 1, sharex=True)
        for colour, (axes, (label, name)) in enumerate(zip(panels, quantities.items(), strict=True)):
            axes.bar(range(len(layers)), [getattr(layer, name) or 0 for layer in layers], color=f"C{colour}")
            axes.set_ylabel(label)
            axes.grid(axis="y", alpha=0.3)
            axes.yaxis.set_major_formatter("{x:,.0f}")
        step = max(1, len(layers) // 60)
        panels[-1].set_xticks(range(0, len(layers), step), names[::step], rotation=90, fontsize="small")
        picture.suptitle(f"{self.model}, input {sizes(self.input_shape)}")
        return picture

    def __rich_console__(self, console, options):
        yield rich_text.Text(f"{self.model}, input {sizes(self.input_shape)}")
        right = ("parameters", "MACs", "activations", *FIELD, "if dense", "times fewer")
        columns = [rich_table.Column(name, justify="right", no_wrap=True) for name in right]
        table = rich_table.Table("layer", "type", "output", *columns, box=None, pad_edge=False, header_style="bold")
        for layer in self.layers:
            table.add_row(*literal(row_of(layer)))
        table.add_section()
        table.add_row(*self.total(), style="bold")
        yield table
        yield rich_text.Text(f"{self.trainable:,} of the parameters are trainable")
        yield from map(rich_text.Text, self.notes)

    def total(self) -> tuple[str, ...]:
        """Return the last row of the table."""
        counted = "unknown" if self.macs is None else f"{self.macs:,}"
        field = "" if self.receptive_field is None else sizes(self.receptive_field)
        sums = (f"{self.params:,}", counted, f"{self.activations:,}", field, "", "", f"{self.fully_connected:,}")
        return ("total", "", "", *sums, times(self.saving))


def row_of(layer: LayerProfile) -> tuple[str, ...]:
    """Return a layer's row in the table."""
    seen = layer.receptive_field
    field, stride, centre = ("?", "?", "?") if seen is None else map(sizes, (seen.size, seen.stride, seen.centre))
    return (
        layer.name,
        layer.type,
        sizes(layer.output_shape),
        f"{layer.formula} = {layer.params:,}" if layer.params else "",
        "unknown" if layer.macs is None else number(layer.macs),
        number(layer.activations),
        "all" if seen is not None and seen.whole else field,
        stride,
        centre,
        number(layer.fully_connected),
        times(layer.saving),
    )


def sizes(numbers: Sequence[float | None]) -> str:
    """Return e.g. `224 x 224 x 3`, without the numbers that are None."""
    return " x ".join(f"{number:.10g}" for number in numbers if number is not None)


def number(count: int | None) -> str:
    """Return a count with thousands separators, nothing for 0 or None."""
    return f"{count:,}" if count else ""


def times(saving: float | None) -> str:
    """Return a ratio such as `12.3 x`."""
    return "" if saving is None else f"{saving:,.1f} x" if saving < 1000 else f"{saving:,.0f} x"


@checked
def profile(model: keras.Model, input_shape: Sequence[int] | None = None) -> Profile:
    """Return the cost and the receptive field of each layer: a table for rich, `to_dict()`, `write_csv()`, `draw()`.

    Args:
        model: built of Keras layers, with one input. Layers that kzoo does not know are counted as unknown, and named.
        input_shape: of one example, in place of the model's own; needed where that has None.

    Raises:
        ValueError: for a model whose layers are not known before it runs, or an input of unknown size.
    """
    layers = layer_profiles(model, input_shape)
    return Profile(
        model=model.name,
        input_shape=full_shape(model, input_shape),
        layers=tuple(layers),
        trainable=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        unknown=tuple(unknown_layers(layers)),
    )


def total_macs(counts: Iterable[int | None]) -> int | None:
    """Return the sum of the MACs of all layers, None if those of one are unknown."""
    counts = list(counts)
    return None if None in counts else sum(counts)


def unknown_layers(layers: Sequence[LayerProfile]) -> Iterator[str]:
    """Yield what is unknown of a layer; after one whose receptive field is unknown, all others' are."""
    lost = False
    for layer in layers:
        what = ["MACs"] * (layer.macs is None)
        what += ["receptive field"] * (layer.receptive_field is None and not lost)
        lost = lost or layer.receptive_field is None
        if what:
            yield f"{' and '.join(what)} of {layer.name} ({layer.type})"


@checked
def macs(model: keras.Model, input_shape: Sequence[int] | None = None) -> int:
    """Return the multiply-accumulates (MACs) of a forward pass for one example; 2 floating-point operations each.

    Args:
        model: built of Keras layers, as all of the zoo are.
        input_shape: of one example, in place of the model's own.

    Raises:
        ValueError: for a layer that kzoo cannot count, a model whose layers are not known before it runs, or an input
            of unknown size.
    """
    counts = [(call, call_macs(call)) for call in calls(model, input_shape)]
    unknown = [f"{call.name} ({call.type})" for call, count in counts if count is None]
    if unknown:
        raise ValueError(f"kzoo cannot count the MACs of {', '.join(unknown)} in {model.name}")
    return sum(count for _, count in counts)


def layer_profiles(model: keras.Model, input_shape: Sequence[int] | None = None) -> list[LayerProfile]:
    """Return the cost and the receptive field of each layer, in the order of computation.

    Args:
        model: built of Keras layers, with one input.
        input_shape: of one example, in place of the model's own; needed where that has None.

    Raises:
        ValueError: for a model whose layers are not known before it runs, or an input of unknown size.
    """
    shape = full_shape(model, input_shape)
    found = calls(model, shape)
    views, sizes_of = views_in(found, shape), unpadded_sizes(found, shape)
    return [layer_profile(call, views[call.targets[0]], sizes_of[call.sources[0]]) for call in found]


def unpadded_sizes(found: Sequence[Call], shape: Shape) -> dict[int, int]:
    """Return the number of values in each tensor; zeros that were padded just before do not count."""
    sizes_of = {INPUT: size_of(shape)}
    for call in found:
        padded = call.type in PADDING
        for target, made in zip(call.targets, call.made, strict=True):
            sizes_of[target] = sizes_of[call.sources[0]] if padded else size_of(made)
    return sizes_of


def layer_profile(call: Call, view: View | None, inputs: int) -> LayerProfile:
    """Return the profile of a call whose first output sees `view` of the input, and which is given `inputs` values."""
    weighted, count = call.first and isinstance(call.operation, keras.Layer), call_macs(call)
    return LayerProfile(
        name=call.name,
        type=call.type,
        output_shape=call.made[0],
        params=call.operation.count_params() if weighted else 0,
        macs=count,
        formula=formula(call.operation) if weighted else "",
        activations=0 if call.type in ARRANGED.split() else sum(map(size_of, call.made)),
        receptive_field=None if view is None else view.field(),
        inputs=inputs if call.type in LINEAR and count else 0,
    )


def call_macs(call: Call) -> int | None:
    """Return the MACs of one call for one example; None if it has or may have some that kzoo cannot count.

    A convolution or a dense layer multiplies each weight of its kernels once for each position of its output; a
    transposed convolution, of its input.
    """
    layer = call.operation
    if call.type in LINEAR:
        shape = call.given[0] if call.type in TRANSPOSED else call.made[0]
        return 0 if is_channel_scale(layer) else math.prod(shape[:-1]) * sum(map(math.prod, matrices(layer)))
    if hasattr(layer, "macs"):  # of kzoo.nn.handcrafted
        return layer.macs(call.given[0])
    unknown = [w for w in getattr(layer, "weights", ()) if len(w.shape) > 1 and math.prod(w.shape) > max(w.shape)]
    return None if call.type in PRODUCTS or (unknown and call.type not in LOOKUPS) else 0


def formula(layer: keras.Layer) -> str:
    """Return the number of a layer's weights as a sum of products; kernel and bias together, `(3 x 3 x 3 + 1) x 64`."""
    shapes = [tuple(weight.shape) for weight in layer.weights if "seed_generator" not in weight.path]
    kernels, terms = matrices(layer) if type(layer).__name__ in LINEAR else [], []
    for kernel in kernels:
        shapes.remove(kernel)
        inside, filters = split_kernel(type(layer).__name__, kernel)
        bias = (math.prod(filters),)
        if kernel == kernels[-1] and bias in shapes:
            shapes.remove(bias)
            terms.append(f"({product(*inside)} + 1) x {product(*filters)}")
        else:
            terms.append(product(*inside, *filters))
    return " + ".join(terms + [product(*[n] * (n > 1), *shape) for shape, n in Counter(shapes).items()])


def split_kernel(kind: str, kernel: Shape) -> tuple[Shape, Shape]:
    """Return the sizes of one filter of a kernel, and those that make up the number of filters."""
    *window, first, last = kernel
    if kind in TRANSPOSED:
        return (*window, last), (first,)
    if kind.startswith("Depthwise"):
        return tuple(window), (first, last)[: 1 + (last > 1)]
    return (*window, first), (last,)


def product(*numbers: int) -> str:
    """Return e.g. `3 x 3 x 64`; a single number has no sizes."""
    return " x ".join(f"{number:,}" for number in numbers) or "1"


TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
LINEAR = (
    *(f"{kind}{rank}D" for kind in ("Conv", "DepthwiseConv", "SeparableConv") for rank in (1, 2, 3)),
    *(*TRANSPOSED, "Dense", "StandardizedConv", "WhitenedConv"),
)
PADDING = ("Pad", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
LOOKUPS = ("Embedding", "PReLU")  # have matrices and no sums of products
# operations of keras.ops that multiply feature maps with each other
PRODUCTS = ("Matmul", "Einsum", "Dot", "Tensordot", "Conv", "ConvTranspose", "DepthwiseConv", "SeparableConv")
# pass on values as they are, or in another arrangement
ARRANGED = """
Identity Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout GaussianNoise
ActivityRegularization Flatten Reshape Permute ExpandDims Squeeze Transpose Swapaxes GetItem Split
"""
