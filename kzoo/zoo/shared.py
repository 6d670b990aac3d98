"""Shared models: a network, its weights, preprocessing and task in one folder, by path or by name.

A folder holds `config.json`, `model.safetensors` and a model card, `README.md`. `config.json` describes network,
preprocessing, task, metrics, training and licences, and holds the layers as Keras writes them; no code is ever loaded.
Where timm has the network, its readers take the folder too (`kzoo.zoo.weights.timm_names`). Names are

- the path of a folder;
- `kzoo/digits`: one of the trained models inside the package;
- `hf://user/name`, or `hf://user/name@revision`: a repository of the Hugging Face Hub, from the cache of
  huggingface_hub if it is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from kzoo.core.files import check_digests, digest, read_json, reading, user_path, write_json
from kzoo.core.lazy import keras, np
from kzoo.core.registry import lookup, registered_name
from kzoo.data.image import ImagePreprocess
from kzoo.data.serving import EXAMPLES, Serving, preprocess_from, task_in
from kzoo.data.trained import remember
from kzoo.nn.graph import without_values
from kzoo.tasks import Classification
from kzoo.zoo import hub
from kzoo.zoo.factory import create_model, layer_steps
from kzoo.zoo.weights import load_weights, timm_names
from kzoo.zoo.weights.files import write_safetensors

CONFIG, WEIGHTS, CARD = hub.CONFIG, hub.WEIGHTS, "README.md"
LIBRARY = "kzoo"
PACKAGE = "kzoo/"  # before the names of the models inside the package
TRAINED = Path(__file__).with_name("trained")
DTYPES = {name: name for name in ("float32", "float16")}
WORDS = 8  # of a random text


def list_trained() -> list[str]:
    """Return the names of the trained models inside the package, such as `kzoo/digits`."""
    return sorted(f"{PACKAGE}{path.parent.name}" for path in TRAINED.glob(f"*/{CONFIG}"))


def find(name: str | Path) -> Path:
    """Return the folder of a shared model, of which a repository of the hub is downloaded; any other path as it is.

    Raises:
        ValueError: for an unknown name, a failed download, or a file that does not match its checksum.
    """
    if hub.is_repository(name):
        config, _ = hub.from_repository(name)
        return config.parent
    path = user_path(name)
    if str(name).startswith(PACKAGE) and not path.exists():
        return TRAINED / lookup("trained model", str(name), {one: one for one in list_trained()}).removeprefix(PACKAGE)
    return path


def is_shared(folder: Path) -> bool:
    """Return whether a folder is one that `write` wrote, not one of timm's or anything else."""
    try:
        return json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("library_name") == LIBRARY
    except (OSError, ValueError, AttributeError):
        return False


def describe(folder: Path) -> dict:
    """Return what the `config.json` of a shared model says."""
    return read_json(folder / CONFIG)


def write(folder: Path, model: keras.Model, serving: Serving, about: Mapping, dtype: str = "float32") -> None:
    """Write `config.json` and `model.safetensors` into a folder, and read them back.

    Args:
        folder: exists.
        model: computes in float32, without optimizer and loss.
        serving: its preprocessing and task.
        about: further content of `config.json`.
        dtype: of the weights in the file, "float32" or "float16", half the size.

    Raises:
        ValueError: for layers that are neither Keras's nor kzoo's, or weights that float16 cannot hold.
    """
    graph = model.to_json()
    check_known(model.name, json.loads(graph))
    theirs = timm_names.state_dict(model) if is_published(model) else None
    values = values_of(model) if theirs is None else theirs
    write_safetensors(folder / WEIGHTS, {k: as_stored(k, v, dtype) for k, v in values.items()}, {"format": "pt"})
    content = {
        "architecture": registered_name(model),
        "library_name": LIBRARY,
        **timm_fields(serving),
        **serving.to_dict(),
        "input_shape": list(model.input_shape[1:]),
        "example_shape": list(serving.examples.shape[1:]),
        **about,
        "naming": "kzoo" if theirs is None else "pytorch",
        "dtype": dtype,
        "files": {WEIGHTS: digest(folder / WEIGHTS)},
        "graph": graph,
    }
    write_json(folder / CONFIG, content)


def load(folder: Path) -> tuple[keras.Model, Serving]:
    """Return a shared model and what it needs to be served, with random examples in place of real ones.

    Raises:
        ValueError: if it is damaged.
    """
    content = describe(folder)
    check_digests(folder, content.get("files", {}))
    with reading(folder / CONFIG):
        model = keras.models.model_from_json(content["graph"])
        model.registered_name = content["architecture"]
        preprocess, task = preprocess_from(content), task_in(content)
        examples = random_examples(preprocess, content["example_shape"])
        serving = Serving(content["modality"], preprocess, task, examples, real=False)
    load_weights(model, folder / WEIGHTS, naming=content["naming"])
    remember(model, serving)
    return model, serving


def is_published(model: keras.Model) -> bool:
    """Return whether a network is a registered one with its own hyperparameters, whatever its input and outputs."""
    name = registered_name(model)
    if timm_names.form_of(name) is None:
        return False
    classes = model.output_shape[-1] if "logits" in {layer.name for layer in model.layers} else 0
    published = without_values(lambda: create_model(name, model.input_shape[1:], classes))
    return layer_steps(model) == layer_steps(published)


def timm_fields(serving: Serving) -> dict:
    """Return what timm's readers look for in the `config.json` of an image classifier; {} for other models."""
    steps = hub.steps_of(serving.preprocess) if isinstance(serving.preprocess, ImagePreprocess) else None
    if steps is None or not isinstance(serving.task, Classification):
        return {}
    own = {} if serving.preprocess.channels == 3 else {"model_args": {"in_chans": serving.preprocess.channels}}
    names = list(serving.class_names)
    return {"num_classes": len(names), "label_names": names, "pretrained_cfg": steps} | own


def check_equal(model: keras.Model, again: keras.Model, dtype: str) -> None:
    """Raise a ValueError unless a model that was read back has the layers and the weights of the one written."""
    before, after = values_of(model), values_of(again)
    same = model.to_json() == again.to_json() and before.keys() == after.keys()
    for path in before if same else ():
        same &= np.array_equal(as_stored(path, before[path], dtype).astype(after[path].dtype), after[path])
    if not same:
        raise ValueError(f"{model.name} would not be the same network when it is read back; nothing was written")


def values_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the values of a model's weights by their paths, without the states of random generators."""
    weights = [weight for weight in model.weights if "seed_generator" not in weight.path]
    found = {weight.path: keras.ops.convert_to_numpy(weight) for weight in weights}
    if len(found) < len(weights):
        raise ValueError(f"{model.name} has two weights of one path; give its layers different names")
    return found


def as_stored(path: str, value: np.ndarray, dtype: str) -> np.ndarray:
    """Return the values of a weight in the type of the file.

    Raises:
        ValueError: if one of them is too large for it.
    """
    with np.errstate(over="ignore"):
        stored = value.astype(lookup("dtype", dtype, DTYPES)) if value.dtype == "float32" else value
    if not np.isfinite(stored).all() and np.isfinite(value).all():
        raise ValueError(f"{path} has values that {dtype} cannot hold; use dtype='float32'")
    return stored


def check_known(model: str, graph: Mapping) -> None:
    """Raise a ValueError for a model with a layer of a class that is neither Keras's nor kzoo's."""
    inside = graph.values() if isinstance(graph, Mapping) else graph
    if isinstance(graph, Mapping) and "class_name" in graph and "module" in graph:
        package = (graph["module"] or graph.get("registered_name") or "").split(".")[0].split(">")[0]
        if package not in ("keras", LIBRARY, "builtins"):
            raise ValueError(
                f"{model} has a {graph['class_name']} of {package or 'its own'}, which another process would not know; "
                "share a network of Keras's and kzoo's layers"
            )
    for part in inside:
        if isinstance(part, (Mapping, list)):
            check_known(model, part)


def random_examples(preprocess, shape: tuple[int, ...]) -> np.ndarray:
    """Return raw examples of random values, the same ones in each process, to compare exports with.

    Examples of the training are nobody's to publish.
    """
    rng, size = np.random.default_rng(0), (EXAMPLES, *shape)
    kind = np.dtype("O" if preprocess.raw_dtype == "string" else preprocess.raw_dtype)
    if kind.kind == "O":
        return np.array([random_text(preprocess, rng) for _ in range(EXAMPLES)], dtype=object)
    if kind.kind in "iu":
        return rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, size, dtype=kind, endpoint=True)
    return rng.normal(size=size).astype(kind)


def random_text(preprocess, rng: np.random.Generator) -> str:
    """Return words of the vocabulary, or of letters where it has none."""
    return " ".join(rng.choice(preprocess.vocabulary or tuple("abcdefghij"), WORDS))
