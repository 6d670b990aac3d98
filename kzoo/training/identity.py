"""Identity of a training: network, recipe, preprocessing, class names and data, as JSON that can be compared.

A training may be resumed, or its results be used again, only where all of these are the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping

from kzoo.core.lazy import keras, np
from kzoo.core.ranges import evenly_spaced
from kzoo.core.registry import registered_name
from kzoo.data.sources import Source, as_targets
from kzoo.data.splits import Examples, Splits

LONGEST = 120  # characters of a value that is recorded as it is; of a longer one its hash is
SAMPLE = 1000  # examples of a memory-mapped array whose content is hashed
CHUNK = 1000  # examples that are hashed at a time
# What is recorded elsewhere, has no effect, or is a name that Keras made up.
UNRECORDED = {"name", "dtype", "trainable", "build_config", "compile_config", "input_layers", "output_layers"}


def identity(model: keras.Model, data: Splits, recipe: Mapping) -> dict:
    """Return what must be the same for a training to be resumed."""
    config = config_of(model)
    names = canonical_names(model, config)
    weights = {renamed(weight.path, names): [*weight.shape, weight.trainable] for weight in model.weights}
    return {
        "backend": keras.backend.backend(),
        "data": data_identity(data),
        "input_shape": model.input_shape,
        "model": renamed(registered_name(model), names),
        "network": hyperparameters(model),
        "precision": sorted({layer.dtype_policy.name for layer in model.layers}),
        "structure": structure(config, names),
        "train": dict(recipe),
        "weights": weights,
        "word_vectors": getattr(model, "word_vectors", None),
    }


def data_identity(data: Splits) -> dict:
    """Return name, order, size, classes, preprocessing and a hash of the content of a dataset."""
    trained_on = {split: data.examples[split] for split in ("train", "validation")}
    return {
        "name": data.name,
        "seed": data.seed,
        "batch_size": data.batch_size,
        "steps_per_epoch": data.steps_per_epoch,
        "examples": {split: len(examples) for split, examples in data.examples.items()},
        "augment": str(data.augment),
        "task": data.task.key,
        "class_names": {str(index): name for index, name in enumerate(data.class_names)},
        "preprocess": recorded({"kind": type(data.preprocess).__name__} | rounded(data.preprocess)),
        "content": {split: content(examples) for split, examples in trained_on.items()},
    }


def rounded(described) -> dict:
    """Return the fields of a preprocessing or a task with statistics rounded: last digits depend on the processor."""

    def number(value):
        if isinstance(value, (tuple, list)):
            return [number(part) for part in value]
        return float(f"{value:.5g}") if isinstance(value, float) else value

    return {field.name: number(getattr(described, field.name)) for field in dataclasses.fields(described)}


def content(examples: Examples) -> dict[str, str]:
    """Return hashes of inputs, labels and, if there are some, weights of a split; of own batches what is known."""
    if hasattr(examples, "identity"):
        return examples.identity
    parts = {"inputs": examples.inputs, "labels": as_targets(examples.labels), "weights": examples.weights}
    return {
        name: part.fingerprint() if isinstance(part, Source) else hash_of_array(part)
        for name, part in parts.items()
        if part is not None
    }


def hash_of_array(array: np.ndarray) -> str:
    """Return a hash of shape, data type and content; of a memory-mapped array, of evenly spaced examples."""
    digest = hashlib.blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=8)
    indices = evenly_spaced(len(array), SAMPLE) if isinstance(array, np.memmap) else np.arange(len(array))
    for start in range(0, len(indices), CHUNK):
        rows = array[indices[start : start + CHUNK]]
        for part in rows if rows.dtype == object else [rows]:  # texts of different lengths
            found = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else np.ascontiguousarray(part)
            digest.update(len(found).to_bytes(8, "little"))
            digest.update(found)
    return digest.hexdigest()


def hyperparameters(model: keras.Model) -> dict:
    """Return the fields of the architecture that a network of the zoo was built by; {} for other models."""
    architecture = getattr(model, "architecture", None)
    return recorded(dataclasses.asdict(architecture)) if dataclasses.is_dataclass(architecture) else {}


def structure(config: Mapping, names: Mapping[str, str]) -> dict:
    """Return the configuration and the inputs of each layer of a model, by its name."""
    if "layers" not in config:
        return recorded(config, names)
    found = {}
    for index, layer in enumerate(config["layers"]):
        name = layer.get("name", layer["config"].get("name", str(index)))
        inputs = json.dumps(list(connections(layer.get("inbound_nodes", []), names)))
        described = {"kind": layer["class_name"], "inputs": inputs} | layer["config"]
        found[names.get(name, name)] = recorded(described, names)
    return found


def config_of(model: keras.Model) -> dict:
    """Return the configuration of a model; of one that cannot be saved its class alone."""
    try:
        return model.get_config()
    except NotImplementedError:
        return {"kind": type(model).__qualname__}


def connections(value, names: Mapping[str, str]) -> Iterator:
    """Yield the layers that the inputs of a layer come from, and its other arguments, but not their shapes."""
    if isinstance(value, Mapping):
        if "keras_history" in value:
            yield [names.get(part, part) for part in value["keras_history"]]
            return
        for key in sorted(value.keys() - {"class_name"}):
            yield from connections(value[key], names)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from connections(part, names)
    elif value is not None:
        yield plain_text(value)


def canonical_names(model: keras.Model, config: Mapping) -> dict[str, str]:
    """Return names that do not depend on how many layers this process has built, by the names that Keras made up."""
    names: dict[str, str] = {}
    layers = [(type(layer).__name__, layer.name) for layer in (model, *model.layers)]
    for index, (kind, name) in enumerate([*layers, *named_objects(config)]):
        kind = re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
        if re.fullmatch(rf"{kind}(_\d+)?", name):
            names.setdefault(name, f"{kind}#{index}")
    return names


def named_objects(config) -> Iterator[tuple[str, str]]:
    """Yield class and name of each layer in a configuration, at every depth."""
    if isinstance(config, Mapping):
        inside = config.get("config")
        if "class_name" in config and isinstance(inside, Mapping) and isinstance(inside.get("name"), str):
            yield config["class_name"], inside["name"]
    for part in config.values() if isinstance(config, Mapping) else config:
        if isinstance(part, (Mapping, list, tuple)):
            yield from named_objects(part)


def renamed(path: str, names: Mapping[str, str]) -> str:
    """Return a name, or the path of a weight, with canonical names of layers."""
    return "/".join(names.get(part, part) for part in path.split("/"))


def recorded(config: Mapping, names: Mapping[str, str] | None = None) -> dict:
    """Return a configuration as short values: None is left out, and of what is long there is a hash."""
    found = {}
    for key, value in config.items():
        if value is None or key in UNRECORDED:
            continue
        if isinstance(value, Mapping) and "class_name" in value:  # a Keras object, such as an initialiser
            value = {"kind": value["class_name"]} | dict(value.get("config") or {})
        found[str(key)] = recorded(value, names) if isinstance(value, Mapping) else short(value, names or {})
    return found


def short(value, names: Mapping[str, str]):
    """Return a number, a truth value or a short string as it is, and the hash of what is longer."""
    if isinstance(value, (bool, int, float)):
        return value
    text = plain_text(value if isinstance(value, str) else json.dumps(canonical(value, names)))
    return text if len(text) <= LONGEST else hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def canonical(value, names: Mapping[str, str]):
    """Return nested lists and dictionaries with canonical names of layers, ready for JSON."""
    if isinstance(value, Mapping):
        kept = {str(key): canonical(part, names) for key, part in value.items() if key not in UNRECORDED}
        if "keras_history" in value:
            kept = {"keras_history": [names.get(part, part) for part in value["keras_history"]]}
        return dict(sorted(kept.items()))
    if isinstance(value, (list, tuple)):
        return [canonical(part, names) for part in value]
    return value if value is None or isinstance(value, (bool, int, float)) else plain_text(value)


def plain_text(value) -> str:
    """Return a value as text, without the address in memory that some objects show."""
    if isinstance(value, np.ndarray):
        return hash_of_array(value)
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
