"""Loading and saving weights: names and layouts of PyTorch, Keras and kzoo, mapped to each other."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.archives import MAX_BYTES
from kzoo.core.files import user_path, writing
from kzoo.core.lazy import keras, np
from kzoo.core.registry import MODELS, lookup, registered_name
from kzoo.nn.naming import Nested, Rule, key_mapping
from kzoo.zoo.weights import channels
from kzoo.zoo.weights.files import check_finite, read_tensors, write_safetensors

# The last part of a tensor's name: Keras's, and PyTorch's.
TENSORS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
TENSORS |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
PYTORCH_ENDINGS = (".weight", ".bias", ".running_mean", ".running_var", ".gamma", ".beta")
WRAPPED = re.compile(r"((module|model|backbone|network|_orig_mod)\.)*")  # by DataParallel, Lightning, torch.compile
ENCODERS = (
    "encoder.model.",
    "encoder.",
    "backbone.",
)  # of segmentation_models_pytorch with timm and without, torchvision
NAMINGS = {
    "kzoo": lambda layer, weight: f"{layer}/{weight}",
    "keras": lambda layer, weight: f"{layer}/{weight}",
    "pytorch": lambda layer, weight: f"{layer}.{TENSORS.get(weight, weight)}",
}


@dataclass(frozen=True)
class WeightReport:
    """Which tensors of a file were assigned to which weights of a model.

    Attributes:
        matched: tensors that were assigned.
        missing: weights of the model that the file has no tensor for.
        unexpected: tensors that the model has no weight for.
        mis_shaped: tensors whose shape differs from their weight's.
        adapted: what was changed to fit, or keeps its initial value, on request.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mis_shaped: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()

    @property
    def misfits(self) -> str:
        """Names that do not fit, the first few of each kind; "" if all fit."""
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "mis-shaped": self.mis_shaped}
        return "; ".join(f"{kind} {shortened(names)}" for kind, names in kinds.items() if names)

    def __str__(self) -> str:
        return "; ".join([f"{len(self.matched)} tensors assigned", *filter(None, [self.misfits]), *self.adapted])


def load_weights(
    model: keras.Model,
    weights: str | Path | Mapping[str, np.ndarray],
    *,
    naming: str | None = None,
    rules: Iterable[Rule] | None = None,
    adapt: bool = False,
    strict: bool = True,
    max_bytes: int = MAX_BYTES,
) -> WeightReport:
    """Assign the tensors of a file to a model; all must fit, or nothing is assigned.

    Tensors are transposed to Keras's layout. PyTorch's `num_batches_tracked` is skipped; auxiliary heads, which serve
    training alone, are skipped and reported. A prefix that all names share because the network was wrapped in training
    (`module.`, `model.`, `backbone.`) is stripped and reported.

    Args:
        model: a network of the zoo, not a model that contains one.
        weights: a `.safetensors`, `.npz` or `.h5` file (Keras's own `.weights.h5` among them), or arrays by name.
        naming: "kzoo" (what `save_weights` writes), "pytorch" (timm, torchvision) or "keras" (keras.applications);
            inferred from the names if not given.
        rules: renaming rules from our layers to the file's; those of the model's family if not given.
        adapt: let the convolutions that see the input take another number of channels (one channel gets the sum of the
            kernels, others repeat them in turn, scaled to the same sum; standardised kernels keep their scale by a
            learned gain, which they get if they have none); where the number of classes differs, the last layer keeps
            its initial weights, or is left out if the model has none.
        strict: raise if a tensor or a weight is left over or has another shape; False assigns what fits.
        max_bytes: a file whose arrays would take more memory is refused before any is taken.

    Returns:
        The tensors that were matched, missing, unexpected, mis-shaped and adapted.

    Raises:
        ValueError: naming the first tensors that do not fit; for files that are missing, damaged or pickles, claim
            more than `max_bytes`, or (.h5) refer to other files; for NaN; for a model whose layers hold layers.
            Nothing has been assigned then.
    """
    if isinstance(weights, Mapping):
        tensors = {name: np.asarray(tensor) for name, tensor in weights.items()}
        check_finite(Path("the weights given"), tensors)
    elif str(weights).endswith(".weights.h5"):
        return load_own_h5(model, Path(weights), max_bytes)
    else:
        tensors = read_tensors(weights, max_bytes)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    tensors, prefix = without_prefix(tensors, model)
    needless = [name for name in tensors if any(re.search(pattern, name) for pattern in ignore_unexpected(model))]
    tensors = {name: tensor for name, tensor in tensors.items() if name not in needless}
    namings = [naming_of(tensors) if naming is None else naming]
    rules = rules_of(model) if rules is None else rules
    report, values = matched(model, tensors, namings[0], rules, adapt)
    if strict and not report.matched:
        raise ValueError(nothing_fits(model, tensors, NAMINGS if naming is None else namings, rules))
    if strict and report.misfits:
        raise ValueError(f"the tensors do not fit {model.name}: {report.misfits}")
    for assign, value in values:
        assign(value)
    remarks = [f"stripped the prefix {prefix} of all names"] if prefix else []
    remarks += [f"left out {shortened(needless)}"] if needless else []
    return dataclasses.replace(report, adapted=(*report.adapted, *remarks))


def save_weights(model: keras.Model, path: str | Path) -> Path:
    """Write all weights of a model, moving statistics included, as safetensors, by their addresses.

    Raises:
        ValueError: if the name does not end in .safetensors, or the file cannot be written.
    """
    file = user_path(path)
    if file.suffix != ".safetensors":
        raise ValueError(f"weights are written as .safetensors, got {file.name}")
    tensors = {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
    with writing(file):
        write_safetensors(file, tensors, {"format": "kzoo", "model": registered_name(model)})
    return file


def load_own_h5(model: keras.Model, file: Path, max_bytes: int) -> WeightReport:
    """Load a file that Keras's `model.save_weights` wrote for the same architecture."""
    check_finite(file, read_tensors(file, max_bytes))
    try:
        model.load_weights(file)
    except (ValueError, KeyError, OSError) as error:
        reason = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise ValueError(f"{file} does not fit {model.name}: {reason}") from error
    return WeightReport(tuple(weight.path for weight in model.weights))


def without_prefix(tensors: Mapping[str, np.ndarray], model: keras.Model) -> tuple[Mapping[str, np.ndarray], str]:
    """Return tensors without the wrappers' prefix that all their names share, and that prefix, "" for none."""
    if any(weight.path in tensors for weight in model.weights):
        return tensors, ""
    prefix = min((WRAPPED.match(name)[0] for name in tensors), key=len, default="")
    if not all(name.startswith(prefix) for name in tensors):
        return tensors, ""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, prefix


def nothing_fits(
    model: keras.Model, tensors: Mapping[str, np.ndarray], namings: Iterable[str], rules: Iterable[Rule]
) -> str:
    """Return the message for tensors none of which has the name of a weight, with the names closest to theirs."""
    found = words_of(tensors)

    def similarity(names: Sequence[str]) -> float:
        ours = words_of(names)
        return len(ours & found) / len(ours | found)

    names = max(possible_names(model, tensors, namings, rules), key=similarity)
    return (
        f"no tensor fits {model.name}: the names given are {shortened(list(tensors))}; this network's, in the most "
        f"similar naming, {shortened(names)}"
    )


def words_of(names: Iterable[str]) -> set[str]:
    """Return the parts of tensors' names, without numbers."""
    return {re.sub(r"\d+", "", word) for name in names for word in re.split("[./]", name)}


def possible_names(
    model: keras.Model, tensors: Iterable[str], namings: Iterable[str], rules: Iterable[Rule]
) -> Iterator[list[str]]:
    """Yield the names of a model's weights in each naming, and in PyTorch's by each of the references it has there."""
    rules = list(rules)
    for naming in namings:
        references = dict.fromkeys(["", *(rule.where for rule in rules)]) if naming == "pytorch" else [""]
        for reference in references:
            chosen = [rule._replace(where="") if rule.where == reference else rule for rule in rules]
            with contextlib.suppress(ValueError):  # rules of one reference alone may name two layers the same
                yield list(wanted_names(model, tensors, naming, () if naming == "kzoo" else chosen))


def naming_of(tensors: Iterable[str]) -> str:
    """Return the naming of tensors: PyTorch's end in ".weight" and the like, Keras's in "/kernel" and the like."""
    names = list(tensors)
    if any(name.endswith(PYTORCH_ENDINGS) for name in names):
        return "pytorch"
    return "kzoo" if any(name.startswith(("stem.", "stage", "encoder.", "logits/")) for name in names) else "keras"


def ignore_unexpected(model: keras.Model) -> tuple[str, ...]:
    """Return patterns of the tensors that a model's family has no weight for."""
    card = MODELS.get(registered_name(model))
    return card.ignore_unexpected if card else ()


def rules_of(model: keras.Model) -> tuple[Rule, ...]:
    """Return the renaming rules of a model's family, and of its encoder; none for a model that is not the zoo's."""
    card = MODELS.get(registered_name(model))
    if card is None:
        return ()
    encoder = getattr(getattr(model, "architecture", card.architecture), "encoder", None)
    inside = (Nested("encoder.", MODELS[encoder].key_mapping, ENCODERS),) if encoder else ()
    return (*inside, *card.key_mapping)


def matched(
    model: keras.Model, tensors: Mapping[str, np.ndarray], naming: str, rules: Iterable[Rule], adapt: bool
) -> tuple[WeightReport, list[tuple[Callable, np.ndarray]]]:
    """Return which tensor fits which weight; and the value of each weight that has a tensor, with how to assign it."""
    rules = () if naming == "kzoo" else rules
    wanted = wanted_names(model, tensors, naming, rules)
    layers, maps = {layer.name: layer for layer in model.layers}, flattened_maps(model)
    of_input = [layer.name for layer in channels.convs_of_input(model)] if adapt else []
    values, rescaled, mis_shaped, adapted = [], [], [], []
    found = [name for name in wanted if name in tensors]
    for name in found:
        (owner, weight), value = wanted[name], tensors[name]
        if naming == "pytorch":
            value = keras_layout(value, lookup("layer", owner, layers), maps.get(owner))
            if value.ndim < len(weight.shape) and value.size == max(value.shape, default=1) == max(weight.shape):
                value = value.reshape(weight.shape)  # factors of channels, with and without axes of 1
        if adapt and value.shape != tuple(weight.shape):
            theirs, (value, remark) = value, fitted(value, weight, first=owner in of_input, last=owner == "logits")
            adapted += [f"{name}: {remark}"] if remark else []
            if remark and hasattr(layers[owner], "rescale"):
                rescaled.append((layers[owner].rescale, theirs))
        if value is not None and value.shape == tuple(weight.shape):
            values.append((weight.assign, value))
        elif value is not None:
            mis_shaped.append(f"{name} (our {weight.path} is {tuple(weight.shape)}, this would be {value.shape})")
    missing = [explained(name, weight) for name, (_, weight) in wanted.items() if name not in tensors]
    unexpected = sorted(name for name in tensors if name not in wanted)
    if adapt and "logits" not in layers:
        head = key_mapping(["logits"], rules, tensors)["logits"]
        adapted += [f"{name}: left out, this model has no classes" for name in unexpected if name.startswith(head)]
        unexpected = [name for name in unexpected if not name.startswith(head)]
    return WeightReport(*map(tuple, (found, missing, unexpected, mis_shaped, adapted))), values + rescaled


def explained(name: str, weight: keras.Variable) -> str:
    """Return the name of a tensor, with the address of our weight where it differs."""
    return name if name == weight.path else f"{name} (our {weight.path})"


def wanted_names(
    model: keras.Model, tensors: Iterable[str], naming: str, rules: Iterable[Rule]
) -> dict[str, tuple[str, keras.Variable]]:
    """Return the name that each weight of a model should have in a file, with its layer's name and the weight.

    A layer of one weight may be a bare parameter in the reference: then the rules give its name in full.
    """
    spell, tensors = lookup("naming", naming, NAMINGS), set(tensors)
    weights = [weight for weight in model.weights if "seed_generator" not in weight.path]
    owners = [weight.path.rpartition("/")[0] for weight in weights]
    underscores = keras.backend.backend() == "torch"
    names = key_mapping(list(dict.fromkeys(owners)), rules, tensors, underscores=underscores)
    return {
        names[owner] if names[owner] in tensors else spell(names[owner], weight.name): (owner, weight)
        for owner, weight in zip(owners, weights, strict=True)
    }


def fitted(
    value: np.ndarray, weight: keras.Variable, *, first: bool, last: bool
) -> tuple[np.ndarray | None, str | None]:
    """Adapt a tensor to another number of input channels or classes; return it (None: keep the weight) and a remark."""
    shape = tuple(weight.shape)
    if last and value.ndim == len(shape) and value.shape[:-1] == shape[:-1]:
        return None, f"{value.shape[-1]} classes in place of {shape[-1]}; the layer keeps its initial weights"
    if first and value.ndim == len(shape) and (*value.shape[:-2], value.shape[-1]) == (*shape[:-2], shape[-1]):
        return channels.fitted(value, shape[-2])
    return value, None


def flattened_maps(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Return, by the name of each dense layer after a `Flatten`, the shape of the feature map that was flattened."""
    shapes = {}  # of the feature map, by the identity of the symbolic vector
    for layer in model.layers:
        if isinstance(layer, keras.layers.Flatten):
            shapes[id(layer.output)] = tuple(layer.input.shape[1:])
        elif isinstance(layer, keras.layers.Dropout) and id(layer.input) in shapes:
            shapes[id(layer.output)] = shapes[id(layer.input)]
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    return {layer.name: shapes[id(layer.input)] for layer in dense if id(layer.input) in shapes}


def keras_layout(tensor: np.ndarray, layer: keras.layers.Layer, flattened: tuple[int, ...] | None = None) -> np.ndarray:
    """Return a tensor of PyTorch in Keras's layout; one that cannot belong to the layer gets a shape that does not fit.

    A kernel (out, in, *window) becomes (*window, in, out), a depthwise one (*window, channels, multiplier). A dense
    layer may be a convolution in the reference, and a pointwise convolution a dense layer; after a flattened feature
    map its inputs are reordered from channels first, as PyTorch flattens, to channels last.
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
    if not window and set(pointwise := getattr(layer, "kernel_size", ())) == {1}:
        return tensor.reshape(*pointwise, inputs, outputs)
    multiplier = getattr(layer, "depth_multiplier", 0)
    if multiplier and inputs == 1 and outputs % multiplier == 0:
        return tensor.reshape(*window, -1, multiplier)
    return tensor


def shortened(names: Sequence[str], most: int = 4) -> str:
    """Return the first names, and the number of further ones."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
