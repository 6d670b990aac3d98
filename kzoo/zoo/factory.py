"""From a name to a Keras model: input, architecture, head. Written once, for every architecture."""

from __future__ import annotations

import dataclasses
import fnmatch
import inspect
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import kzoo.models
from kzoo.core.lazy import keras
from kzoo.core.registry import DIALECTS, MODELS, ModelCard, lookup
from kzoo.nn.inspection import named_stages
from kzoo.nn.layers import InputTooSmall, global_avg_pool, named_output, written_in
from kzoo.nn.precision import computing_in
from kzoo.zoo import applications, hub
from kzoo.zoo.weights import load_weights


def list_models(
    pattern: str = "*", *, family: str | None = None, task: str | None = None, dim: int | None = None
) -> list[str]:
    """Return the sorted names of the models that fit every condition given.

    Args:
        pattern: shell wildcards, e.g. `"*resnet50*"`.
        family: name of a family's file, e.g. `"vgg"`.
        task: what the published model is for, e.g. `"classification"`.
        dim: number of spatial axes that the model must be able to take, 1 or 2.

    Raises:
        ValueError: for an unknown family or task.
    """
    cards = list(MODELS.values())
    if family is not None:
        lookup("family", family, {card.family: card for card in cards})
        cards = [card for card in cards if card.family == family]
    if task is not None:
        lookup("task", task, {card.task: card for card in cards})
        cards = [card for card in cards if card.task == task]
    if dim is not None:
        cards = [card for card in cards if dim in card.dims]
    return sorted(fnmatch.filter([card.name for card in cards], pattern))


def model_card(name: str) -> ModelCard:
    """Return what the zoo knows about a model: hyperparameters, paper, parameter count, reference input."""
    return lookup("model", name, MODELS)


def create_model(
    name: str,
    input_shape: Sequence[int | None],
    num_classes: int,
    *,
    vocab_size: int | None = None,
    embed_dim: int = 128,
    features: Sequence[str] = (),
    dialect: str | None = None,
    weights: str | None = None,
    precision: str | None = None,
    **hyperparameters,
) -> keras.Model:
    """Build a classifier that returns logits, `(batch, num_classes)` in float32; untrained unless given weights.

    Args:
        name: one of `list_models()`.
        input_shape: shape of one example: `(length, channels)`, `(height, width, channels)`, or
            `(length,)` of token ids, which needs `vocab_size`. A length, height or width may be None.
        num_classes: width of the output; 0 leaves out the head and returns the feature vector.
        vocab_size: number of token ids, for an input of token ids.
        embed_dim: channels that each token id is embedded in.
        features: names of stages, e.g. `("stage2", "stage4")`: return their feature maps, not logits.
        dialect: "tensorflow" or "pytorch" padding and batch-norm constants; the published ones if not given.
        weights: trained ones, `"timm/resnet50.a1_in1k"`, `"torchvision/ResNet50_Weights.IMAGENET1K_V2"` or
            `"keras/imagenet"` (see `kzoo.zoo.hub`), or a file for `kzoo.load_weights`. Where `num_classes` or the
            input's channels are not those that they were trained with, they are adapted, with a warning that says how.
        precision: "float32", "mixed_bfloat16", "mixed_float16", or "auto" for bfloat16 where the machine computes it in
            hardware; Keras's setting (float32) if not given. See `kzoo.nn.precision`.
        **hyperparameters: fields of the architecture that replace the variant's own, e.g. `width=32`. With weights of
            keras.applications, those with which the network is theirs are set, and the dialect.

    Raises:
        ValueError: for an unknown name, hyperparameter or stage, weights of another network, an input of the wrong
            rank or too small for the network's windows (the smallest size that works is named).
    """
    card = model_card(name)
    if str(weights).startswith("keras/"):  # some of keras.applications' networks differ from their papers
        hyperparameters = dict(applications.find(name)[1].hyperparameters) | hyperparameters
        dialect = dialect or hyperparameters.pop("dialect", None)
        hyperparameters.pop("dialect", None)
    architecture = customised(card, hyperparameters)
    check_input(card, input_shape, num_classes, vocab_size)
    written = card.reference.dialect if dialect is None else lookup("dialect", dialect, DIALECTS)

    def build(shape):
        x = inputs = keras.Input(shape)
        with written_in(written):
            x = architecture(x) if vocab_size is None else of_tokens(architecture, x, vocab_size, embed_dim)
        own = getattr(architecture, "logits", head) if num_classes else head
        return keras.Model(inputs, own(x, num_classes), name=name)

    try:
        with computing_in(precision):
            model = build(tuple(input_shape))
    except InputTooSmall as error:
        smallest = smallest_shape(build, tuple(input_shape), vocab_size is not None)
        raise ValueError(
            f"input_shape {tuple(input_shape)} is too small for {name}; the smallest that works is {smallest}"
        ) from error
    if weights is not None:
        load_trained(model, weights)
    return pyramid(model, features)


def load_trained(model: keras.Model, weights: str) -> None:
    """Load weights from a file or by name into a model; warn of what had to be adapted.

    Raises:
        ValueError: for weights that cannot be had, or are those of another network.
    """
    tensors, naming = Path(weights).expanduser(), None
    if not tensors.is_file():
        found = hub.find(weights, model.name)
        if found.architecture != model.name:
            raise ValueError(f"{weights} are weights of {found.architecture}, not of {model.name}")
        tensors = found.file
        if found.application:
            check_built(model, weights, found.hyperparameters)
            tensors, naming = applications.tensors(model, found.application, found.file), "kzoo"
    report = load_weights(model, tensors, naming=naming, adapt=True)
    for remark in report.adapted:
        warnings.warn(f"{weights}: {remark}", stacklevel=3)


def check_built(model: keras.Model, weights: str, hyperparameters: dict) -> None:
    """Raise a ValueError for a model that differs from the one with these hyperparameters, though its shapes may not.

    Dropout may differ.
    """

    def steps(network):
        layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.Dropout)]
        return sorted((str(type(layer)), repr(layer.get_config() | {"name": None, "dtype": None})) for layer in layers)

    num_classes = model.output_shape[-1] if "logits" in [layer.name for layer in model.layers] else 0
    if steps(model) != steps(create_model(model.name, model.input_shape[1:], num_classes, **hyperparameters)):
        given = ", ".join(f"{key}={value!r}" for key, value in hyperparameters.items())
        raise ValueError(f"{weights} are weights of {model.name} with {given or 'its own hyperparameters'}")


def ensemble(models: Sequence[keras.Model]) -> keras.Model:
    """Return one classifier that averages the probabilities of several, such as the five networks of InceptionTime.

    Args:
        models: classifiers of the same input and classes that return logits; fit each of them first.

    Returns:
        A model of the same input. Its outputs are the logarithms of the mean probabilities: logits, like theirs.

    Raises:
        ValueError: for no model, or models that differ in input or output shape.
    """
    shapes = {(model.input_shape, model.output_shape) for model in models}
    if len(shapes) != 1:
        raise ValueError(f"an ensemble needs models of one input and one output shape, got {sorted(map(str, shapes))}")
    inputs = keras.Input(models[0].input_shape[1:], dtype=models[0].input.dtype)
    parts = [keras.Model(m.input, m.output, name=f"{m.name}_{n}")(inputs) for n, m in enumerate(models)]
    probabilities = [keras.ops.softmax(logits) for logits in parts]
    mean = keras.ops.mean(keras.ops.stack(probabilities), axis=0)
    return keras.Model(inputs, keras.ops.log(keras.ops.maximum(mean, 1e-30)), name=f"{models[0].name}_ensemble")


def customised(card: ModelCard, hyperparameters: dict) -> Callable:
    """Return the variant's architecture with some of its fields replaced; lists become tuples.

    Raises:
        ValueError: for a field that the architecture does not have.
    """
    fields = {field.name: field for field in dataclasses.fields(card.architecture)}
    for key in hyperparameters:
        lookup(f"hyperparameter of {card.name}", key, fields)
    return dataclasses.replace(card.architecture, **{key: frozen(value) for key, value in hyperparameters.items()})


def frozen(value):
    """Return lists as tuples, at every depth."""
    return tuple(map(frozen, value)) if isinstance(value, (list, tuple)) else value


def check_input(card: ModelCard, input_shape: Sequence[int | None], num_classes: int, vocab_size: int | None) -> None:
    """Raise a ValueError for a shape that is not one of a feature map, or of token ids without a vocabulary."""
    expected = "(length, channels) or (height, width, channels)"
    if vocab_size is not None and len(input_shape) != 1:
        raise ValueError(f"with vocab_size the input_shape is (length,) of token ids, got {tuple(input_shape)}")
    if vocab_size is None and len(input_shape) == 1:
        raise ValueError(f"expected a feature map {expected}, got {tuple(input_shape)}; token ids need vocab_size")
    rank = 1 if vocab_size is not None else len(input_shape) - 1
    if rank not in (1, 2):
        raise ValueError(f"expected input_shape {expected}, or (length,) of token ids; got {tuple(input_shape)}")
    if rank not in card.dims:
        raise ValueError(f"{card.name} takes {card.dims[0]}-D feature maps, got input_shape {tuple(input_shape)}")
    for size in input_shape:
        if size is not None and (not isinstance(size, int) or size < 1):
            raise ValueError(f"every size in input_shape must be a positive integer or None, got {tuple(input_shape)}")
    if vocab_size is None and input_shape[-1] is None:
        raise ValueError(f"the channels of input_shape must be known, got {tuple(input_shape)}")
    if not isinstance(num_classes, int) or num_classes < 0:
        raise ValueError(f"num_classes must be a positive integer, or 0 for the features, got {num_classes!r}")


def of_tokens(architecture: Callable, ids, vocab_size: int, embed_dim: int):
    """Apply an architecture to token ids: embedded, or as they are where it has a method `tokens` for them."""
    if hasattr(architecture, "tokens"):
        return architecture.tokens(ids, vocab_size)
    return architecture(keras.layers.Embedding(vocab_size, embed_dim, name="embedding")(ids))


def head(x, num_classes: int):
    """Average what has positions left, then one logit per class; no classes give the feature vector.

    An architecture that ends otherwise has a method `logits` of the same arguments.
    """
    if x.ndim > 2:
        x = global_avg_pool(x)
    if num_classes == 0:
        return named_output(x, "features")
    return keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)


def pyramid(model: keras.Model, features: Sequence[str]) -> keras.Model:
    """Return `model` itself, or the model of the feature maps of the stages named."""
    if not features:
        return model
    stages = named_stages(model.layers)
    outputs = [lookup(f"stage of {model.name}", name, stages).output for name in features]
    return keras.Model(model.inputs, outputs, name=model.name)


def smallest_shape(build: Callable, shape: tuple[int | None, ...], tokens: bool) -> tuple[int | None, ...]:
    """Return the smallest shape, equal along all known spatial axes, that `build` accepts."""

    def sized(size):
        spatial = shape if tokens else shape[:-1]
        return (*(size if axis is not None else None for axis in spatial), *shape[len(spatial) :])

    def works(size):
        try:
            build(sized(size))
        except InputTooSmall:
            return False
        return True

    high = 1
    while not works(high):
        high *= 2
    low = high // 2  # does not work
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return sized(high)


def factory_function(card: ModelCard) -> Callable[..., keras.Model]:
    """Return `create_model` for one name, with the variant's hyperparameters in its signature."""

    def build(input_shape, num_classes, **kwargs):
        return create_model(card.name, input_shape, num_classes, **kwargs)

    general = list(inspect.signature(create_model).parameters.values())[1:-1]
    own = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=value.value, annotation=field.type)
        for field, value in zip(dataclasses.fields(card.architecture), card.hyperparameters.values(), strict=True)
    ]
    build.__name__ = build.__qualname__ = card.name
    build.__module__ = "kzoo.models"
    build.__signature__ = inspect.Signature([*general, *own], return_annotation="keras.Model")
    build.__doc__ = factory_docstring(card)
    return build


def factory_docstring(card: ModelCard) -> str:
    """Return the documentation of one name: its paper, its count, and what each argument does."""
    meanings = "".join(f"    {name}: {h.meaning}\n" for name, h in card.hyperparameters.items())
    paper = f"{card.paper.citation}, {card.paper.title}, {card.paper.url}."
    shape, classes = card.reference.input_shape, card.reference.num_classes
    return (
        f"Build {card.name}: {card.params:,} trainable parameters for input {shape} and {classes} classes.\n\n"
        f"{paper}\n\nThe arguments before the hyperparameters are those of `kzoo.create_model`.\n\n"
        f"Args:\n{meanings}"
    )


for _name, _card in MODELS.items():
    setattr(kzoo.models, _name, factory_function(_card))
