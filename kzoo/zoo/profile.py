"""What a network costs and sees, layer by layer, read from shapes; nothing is computed.

This module counts as timm's and torchvision's tables do: one multiplication and one addition of a convolution or a
dense layer are one MAC; biases, normalisations, activations, pooling and products of single numbers are not counted.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kzoo.core.files import write_text
from kzoo.core.lazy import lazy_import
from kzoo.core.pictures import save
from kzoo.core.shown import Shown
from kzoo.nn.receptive_field import Call, ReceptiveField, View, view_of_input, views_after

figures = lazy_import("matplotlib.figure")
keras = lazy_import("keras")
rich_table = lazy_import("rich.table")
rich_text = lazy_import("rich.text")

Shape = tuple[int | None, ...]


class LayerProfile(NamedTuple):
    """One call of a layer, or of another operation.

    Attributes:
        name: of the layer; those inside a model that is a layer are `model/layer`.
        type: its class.
        output_shape: without the batch.
        params: all of its weights, statistics and frozen ones included; 0 where it was called before.
        macs: multiplications with its weights for one example; None where kzoo cannot count them.
        formula: how many `params` there are, as a product or a sum: `(3 x 3 x 3 + 1) x 64`.
        activations: values that it makes for one example; 0 where it hands on or arranges its input.
        receptive_field: what a position of its output sees of the input; None where kzoo cannot tell.
        inputs: values that a layer of sums of products is given for one example; 0 for other layers.
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
        """Parameters of a fully-connected layer with a bias in place of this one; None unless it sums products."""
        return (self.inputs + 1) * math.prod(self.output_shape) if self.inputs and self.params else None

    @property
    def per_filter(self) -> float | None:
        """Parameters that make one channel of the output; None unless it sums products."""
        return None if self.fully_connected is None else self.params / self.output_shape[-1]

    @property
    def saving(self) -> float | None:
        """How many times fewer parameters this layer has than a fully-connected one."""
        return None if self.fully_connected is None else self.fully_connected / self.params

    def to_dict(self) -> dict:
        """Return all numbers, ready for JSON; those of the receptive field have one entry for each spatial axis."""
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


@dataclass(frozen=True)
class Profile(Shown):
    """What a network costs and sees.

    Attributes:
        model: its name.
        input_shape: of one example.
        layers: in the order of computation.
        trainable: parameters that training changes.
        unknown: layers whose multiplications or receptive field kzoo cannot tell.
    """

    model: str
    input_shape: tuple[int, ...]
    layers: tuple[LayerProfile, ...]
    trainable: int
    unknown: tuple[str, ...]

    @property
    def params(self) -> int:
        """All parameters, statistics included."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int | None:
        """Multiplications for one example; None if those of a layer are unknown."""
        return total_macs(self.layers)

    @property
    def activations(self) -> int:
        """Values that are made for one example."""
        return sum(layer.activations for layer in self.layers)

    @property
    def fully_connected(self) -> int:
        """Parameters of fully-connected layers in place of all that sum products."""
        return sum(layer.fully_connected or 0 for layer in self.layers)

    @property
    def saving(self) -> float | None:
        """How many times fewer parameters those layers have; None if there are none."""
        params = sum(layer.params for layer in self.layers if layer.fully_connected)
        return self.fully_connected / params if params else None

    @property
    def receptive_field(self) -> tuple[int, ...] | None:
        """The largest that windows reach before positions are joined, for each spatial axis; None without windows."""
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
        """What is to be said besides the numbers."""
        said = [f"unknown: {', '.join(self.unknown)}"] if self.unknown else []
        if not self.convolutions:
            return [*said, f"{self.model} has no convolution: its layers save nothing"]
        first = next(layer for layer in self.convolutions if layer.params)
        return [
            *said,
            f"{first.name} has {first.per_filter:,.0f} parameters for every filter; fully connected, it would have "
            f"{first.inputs + 1:,} for every value that it makes",
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
        """Return the layers as comma-separated values, one in a line below the line of names; sizes are `3 x 3`."""
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
        return written(path, lambda target: write_text(target, self.to_csv()))

    def figure(self) -> figures.Figure:
        """Return bars of the parameters, multiplications and activations along the depth, in matplotlib."""
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

    def draw(self, path: str | Path) -> Path:
        """Draw `figure()` into a file.

        Raises:
            ValueError: if the picture cannot be written, or not in the format that its ending asks for.
        """
        return written(path, lambda target: save(self.figure(), target))

    def __rich_console__(self, console, options):
        yield rich_text.Text(f"{self.model}, input {sizes(self.input_shape)}")
        right = ("parameters", "MACs", "activations", "field", "stride", "centre", "fully connected", "saving")
        columns = [rich_table.Column(name, justify="right", no_wrap=True) for name in right]
        table = rich_table.Table("layer", "type", "output", *columns, box=None, pad_edge=False, header_style="bold")
        for layer in self.layers:
            table.add_row(*row_of(layer))
        table.add_section()
        table.add_row(*self.total(), style="bold")
        yield table
        yield rich_text.Text(f"{self.trainable:,} of the parameters are trained")
        yield from map(rich_text.Text, self.notes)

    def total(self) -> tuple[str, ...]:
        """Return the last line of the table."""
        counted = "unknown" if self.macs is None else f"{self.macs:,}"
        field = "" if self.receptive_field is None else sizes(self.receptive_field)
        sums = (f"{self.params:,}", counted, f"{self.activations:,}", field, "", "", f"{self.fully_connected:,}")
        return ("total", "", "", *sums, times(self.saving))


def row_of(layer: LayerProfile) -> tuple[str, ...]:
    """Return a layer's line in the table."""
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
    """Return a count, and nothing for none."""
    return f"{count:,}" if count else ""


def times(saving: float | None) -> str:
    """Return a ratio in words."""
    return "" if saving is None else f"{saving:,.1f} x" if saving < 1000 else f"{saving:,.0f} x"


def written(path: str | Path, write: Callable[[Path], None]) -> Path:
    """Write a file, its folders too, and return where it is.

    Raises:
        ValueError: if it cannot be written.
    """
    target = Path(path).expanduser()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(target)
    except OSError as error:
        raise ValueError(f"{target} cannot be written: {error.strerror or error}") from error
    return target


def profile(model: keras.Model, input_shape: Sequence[int] | None = None) -> Profile:
    """Return what each layer of a network costs and sees: a table for rich, `to_dict()`, `write_csv()`, `draw()`.

    Args:
        model: built of Keras layers, with one input. Layers that kzoo does not know are counted as unknown, and named.
        input_shape: of one example, in place of the model's own; needed where that has None.

    Raises:
        ValueError: for a model whose layers are not known before it runs, or an input of unknown size.
    """
    layers = layer_profiles(model, input_shape)
    return Profile(
        model=model.name,
        input_shape=tuple(model.inputs[0].shape[1:] if input_shape is None else input_shape),
        layers=tuple(layers),
        trainable=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        unknown=tuple(unknown_layers(layers)),
    )


def unknown_layers(layers: Sequence[LayerProfile]) -> Iterator[str]:
    """Yield what cannot be told of a layer; after one whose receptive field is unknown, all others' are."""
    lost = False
    for layer in layers:
        what = ["multiplications"] * (layer.macs is None)
        what += ["receptive field"] * (layer.receptive_field is None and not lost)
        lost = lost or layer.receptive_field is None
        if what:
            yield f"{' and '.join(what)} of {layer.name} ({layer.type})"


def total_macs(profiles: Sequence[LayerProfile]) -> int | None:
    """Return the multiplications of all layers, None if one cannot be counted."""
    counts = [profile.macs for profile in profiles]
    return None if None in counts else sum(counts)


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
    """Return the costs of each layer in the order of computation, and what it sees.

    Args:
        model: built of Keras layers, with one input.
        input_shape: of one example, in place of the model's own; needed where that has None.

    Raises:
        ValueError: for a model whose layers are not known before it runs, or an input of unknown size.
    """
    check_graph(model)
    shape = tuple(model.inputs[0].shape[1:]) if input_shape is None else tuple(input_shape)
    if None in shape:
        raise ValueError(f"{model.name} takes input {shape} of any size; say the input_shape to count for")
    return walked(model, shape, view_of_input(shape, spatial_axes(model, shape)))[0]


def check_graph(model: keras.Model) -> None:
    """Raise a ValueError for a model whose layers are not known before it runs, or of several inputs."""
    if not isinstance(model, (keras.Sequential, keras.Model)) or not getattr(model, "inputs", None):
        raise ValueError("only a built model of Keras layers can be counted: keras.Model(inputs, outputs), Sequential")
    if len(model.inputs) != 1:
        raise ValueError(f"only networks with one input can be counted; {model.name} has {len(model.inputs)}")


def walked(model: keras.Model, shape: Shape, view: View | None) -> tuple[list[LayerProfile], list[View | None]]:
    """Return the profiles of a model's layers, and what its outputs see, if that is what its input sees."""
    check_graph(model)
    model = model if tuple(model.inputs[0].shape[1:]) == shape else rebuilt(model, shape)
    seen, profiles, views = set(), [], {id(model.inputs[0]): view}
    graph = keras.Model(model.inputs, model.outputs)  # of a Sequential, too
    for node in nodes(graph):
        found, outputs = profiles_of(node, [views.get(id(x)) for x in node.input_tensors], node.operation not in seen)
        views |= {id(tensor): view for tensor, view in zip(node.output_tensors, outputs, strict=True)}
        profiles += found
        seen.add(node.operation)
    return profiles, [views.get(id(tensor)) for tensor in graph.outputs]


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


def nodes(graph: keras.Model) -> Iterator:
    """Yield each call of an operation, in the order of computation."""
    # Keras has no public list of the calls, in which a layer that is used twice is there twice; summary() reads this.
    by_depth = graph._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        yield from (node for node in by_depth[depth] if not node.is_input)


def spatial_axes(model: keras.Model, shape: Shape) -> int:
    """Return how many axes of the input have positions: all but the channels, if it has some."""
    kinds = [type(layer).__name__ for layer in model._flatten_layers(include_self=False)]
    ranks = [int(match[1]) for kind in kinds if (match := re.search(r"(\d)D(Transpose)?$", kind))]
    return min(len(shape), max([1, len(shape) - 1, *ranks]))


def profiles_of(node, views: list[View | None], first: bool) -> tuple[list[LayerProfile], list[View | None]]:
    """Return the profile of one call, or those of all layers of a model that was called, and what its outputs see."""
    operation = node.operation
    given, made = ([tuple(x.shape[1:]) for x in tensors] for tensors in (node.input_tensors, node.output_tensors))
    if isinstance(operation, keras.Model):
        inside, outputs = walked(operation, given[0], views[0])
        return [p._replace(name=f"{operation.name}/{p.name}", params=p.params * first) for p in inside], outputs
    call = Call(operation, given, made, views, node.arguments.args)
    outputs = [None] * len(made) if None in views else views_after(call)
    return [layer_profile(call, outputs[0], first)], outputs


def layer_profile(call: Call, view: View | None, first: bool) -> LayerProfile:
    """Return the profile of one call, whose first output sees this of the input."""
    operation, kind, made = call.operation, type(call.operation).__name__, call.made[0]
    weighted = first and isinstance(operation, keras.Layer)
    counted = multiplications(operation, call.given[0], made)
    return LayerProfile(
        name=operation.name,
        type=kind,
        output_shape=made,
        params=operation.count_params() if weighted else 0,
        macs=counted,
        formula=formula(operation) if weighted else "",
        activations=0
        if kind in ARRANGED.split()
        else sum(math.prod(size or 1 for size in shape) for shape in call.made),
        receptive_field=None if view is None else view.field(),
        inputs=math.prod(call.given[0]) if kind in COUNTED and counted else 0,
    )


def multiplications(operation: keras.Operation, given: Shape, made: Shape) -> int | None:
    """Return the MACs of one operation for one example; None if it has or may have some that kzoo cannot count."""
    kind = type(operation).__name__
    if kind in COUNTED:
        return COUNTED[kind](operation, given, made)
    if hasattr(operation, "multiplications"):  # a layer of kzoo.nn.handcrafted
        return operation.multiplications(given)
    matrices = [w for w in getattr(operation, "weights", ()) if len(w.shape) > 1 and math.prod(w.shape) > max(w.shape)]
    return None if kind in PRODUCTS or (matrices and kind not in LOOKUPS) else 0


def of_convolution(layer: keras.Layer, given: Shape, made: Shape) -> int:
    """Count a convolution, or a dense layer: every value of the result is a sum over a window of one group."""
    return math.prod(made) * math.prod(layer.kernel.shape[:-1])


def of_transposed(layer: keras.Layer, given: Shape, made: Shape) -> int:
    """Count a transposed convolution: every position of the input goes through the whole kernel."""
    return math.prod(given[:-1]) * math.prod(layer.kernel.shape)


def of_depthwise(layer: keras.Layer, given: Shape, made: Shape) -> int:
    """Count a depthwise convolution, unless it is the factors of `kzoo.nn.layers.channel_scale`."""
    if re.search(r"(^|[._])scale\d+$", layer.name):
        return 0
    return math.prod(made) * math.prod(layer.kernel.shape[:-2])


def of_separable(layer: keras.Layer, given: Shape, made: Shape) -> int:
    """Count a depthwise and a pointwise convolution in one layer."""
    positions = math.prod(made[:-1])
    return positions * (math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape))


def formula(layer: keras.Layer) -> str:
    """Return the number of a layer's weights as a product of sizes and, with a bias, `(sizes + 1) x filters`.

    Weights of one shape, as a batch normalisation has, are taken together, `4 x 64`; of several, there is a sum.
    """
    shapes = [tuple(weight.shape) for weight in layer.weights if "seed_generator" not in weight.path]
    return " + ".join(WRITTEN.get(type(layer).__name__, in_sum)(shapes))


def in_sum(shapes: list[tuple[int, ...]]) -> list[str]:
    """Write out weights of any kind."""
    return [product(*[shapes.count(shape)] * (shapes.count(shape) > 1), *shape) for shape in dict.fromkeys(shapes)]


def filtered(shapes: list[tuple[int, ...]]) -> list[str]:
    """Write out a kernel (window, channels of a group, filters), and a bias for each filter."""
    kernel, *rest = shapes
    if (kernel[-1],) not in rest:
        return in_sum(shapes)
    rest.remove((kernel[-1],))
    return [f"({product(*kernel[:-1])} + 1) x {kernel[-1]:,}", *in_sum(rest)]


def channel_by_channel(shapes: list[tuple[int, ...]]) -> list[str]:
    """Write out a kernel (window, channels, multiplier) of a depthwise convolution, and a bias for each filter."""
    (*window, channels, multiplier), *bias = shapes
    filters = product(channels, *[multiplier] * (multiplier > 1))
    return [f"({product(*window)} + 1) x {filters}" if bias else f"{product(*window)} x {filters}"]


def backwards(shapes: list[tuple[int, ...]]) -> list[str]:
    """Write out a kernel (window, filters, channels) of a transposed convolution, and a bias for each filter."""
    kernel, *bias = shapes
    return filtered([(*kernel[:-2], kernel[-1], kernel[-2]), *bias])


def separated(shapes: list[tuple[int, ...]]) -> list[str]:
    """Write out the kernels of a depthwise convolution and of a pointwise one."""
    depthwise, *pointwise = shapes
    return [*channel_by_channel([depthwise]), *filtered([pointwise[0][-2:], *pointwise[1:]])]


def product(*numbers: int) -> str:
    """Return e.g. `3 x 3 x 64`; a single number has no sizes."""
    return " x ".join(f"{number:,}" for number in numbers) or "1"


RANKS = ("1D", "2D", "3D")
CONVOLUTIONS = tuple(f"Conv{rank}" for rank in RANKS)
TRANSPOSED = tuple(f"Conv{rank}Transpose" for rank in RANKS)
DEPTHWISE = tuple(f"DepthwiseConv{rank}" for rank in RANKS[:2])
SEPARABLE = tuple(f"SeparableConv{rank}" for rank in RANKS[:2])
COUNTED: dict[str, Callable[[keras.Layer, Shape, Shape], int]] = {
    **dict.fromkeys(CONVOLUTIONS, of_convolution),
    **dict.fromkeys(TRANSPOSED, of_transposed),
    **dict.fromkeys(DEPTHWISE, of_depthwise),
    **dict.fromkeys(SEPARABLE, of_separable),
    "Dense": of_convolution,
    "StandardizedConv": of_convolution,
    "WhitenedConv": of_convolution,
}
WRITTEN: dict[str, Callable[[list[tuple[int, ...]]], list[str]]] = {
    **dict.fromkeys(CONVOLUTIONS, filtered),
    **dict.fromkeys(TRANSPOSED, backwards),
    **dict.fromkeys(DEPTHWISE, channel_by_channel),
    **dict.fromkeys(SEPARABLE, separated),
    "Dense": filtered,
    "StandardizedConv": filtered,
    "WhitenedConv": filtered,
}
LOOKUPS = ("Embedding", "PReLU")  # have matrices and no sums of products
# operations of keras.ops that multiply feature maps with each other
PRODUCTS = ("Matmul", "Einsum", "Dot", "Tensordot", "Conv", "ConvTranspose", "DepthwiseConv", "SeparableConv")
# hand on values as they are, or in another arrangement
ARRANGED = """
Identity Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout GaussianNoise
ActivityRegularization Flatten Reshape Permute ExpandDims Squeeze Transpose Swapaxes GetItem Split
"""
