"""Model factories: from a registered name to a Keras model of input, architecture and classifier."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import functools
import hashlib
import inspect
import math
import numbers
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence

import kzoo.models
from kzoo.core.arguments import check_arguments, checked
from kzoo.core.files import user_path
from kzoo.core.lazy import keras, np
from kzoo.core.ranges import Extent, PositiveInt
from kzoo.core.registry import DIALECTS, MODELS, ModelCard, lookup, registered_name
from kzoo.core.warn import warn_caller
from kzoo.data.splits import MODALITIES
from kzoo.data.trained import TrainedWith, common_task, hand_on
from kzoo.nn.causality import check_causal
from kzoo.nn.heads import HEADS, check_keeps_positions
from kzoo.nn.inspection import named_stages
from kzoo.nn.layers import InputTooSmall, TokenEmbedding, causal_along, written_in
from kzoo.nn.precision import computing_in
from kzoo.tasks import TASKS, Classification
from kzoo.zoo import applications, hub, published
from kzoo.zoo.migration import (
    check_foreign,
    closest_names,
    explains_foreign_arguments,
    find_card,
    warn_of_misread_shape,
)
from kzoo.zoo.weights import load_weights, naming_of, shortened, without_prefix
from kzoo.zoo.weights.files import read_tensors

EMBED_DIM = 128  # channels of an embedding without pretrained vectors
ANY_SIZE = 1024  # of an axis without a size, where one is needed


@checked
def list_models(
    pattern: str = "*",
    *,
    family: str | None = None,
    task: str | None = None,
    dim: int | None = None,
    modality: str | None = None,
    max_params: PositiveInt | None = None,
    max_macs: PositiveInt | None = None,
    sort: str = "name",
) -> list[str]:
    """Return the sorted names of the registered models that meet every condition.

    Args:
        pattern: shell wildcards, e.g. `"*resnet50*"`.
        family: name of a module in `kzoo/models/`, e.g. `"vgg"`.
        task: what the network makes sense for, a key of `kzoo.tasks.TASKS`, e.g. `"tagging"`; `card.task` is what the
            published one is for.
        dim: number of spatial axes of the input that the model must support, 1 or 2.
        modality: what the published one takes, "image", "audio", "text" or "timeseries"; most take others as well.
        max_params: largest number of parameters of the published one.
        max_macs: largest number of MACs of the published one, for its input; leaves out networks that are not counted.
        sort: "name", "params" or "macs", the smallest first, or "top1", the highest published accuracy on ImageNet
            first, networks without one last.

    Raises:
        ValueError: for an unknown family, task, modality or order.
    """
    order = lookup("order", sort, ORDERS)
    cards = [card for card in MODELS.values() if card.params <= (max_params or math.inf)]
    if max_macs is not None:
        cards = [card for card in cards if published.macs().get(card.name, math.inf) <= max_macs]
    if modality is not None:
        lookup("modality", modality, MODALITIES)
        cards = [card for card in cards if card.modality == modality]
    if family is not None:
        lookup("family", family, {card.family: card for card in cards})
        cards = [card for card in cards if card.family == family]
    if task is not None:
        lookup("task", task, TASKS)
        cards = [card for card in cards if task in card.tasks]
    if dim is not None:
        cards = [card for card in cards if dim in card.dims]
    return sorted(sorted(fnmatch.filter([card.name for card in cards], pattern)), key=order)


ORDERS = {
    "name": lambda name: name,
    "params": lambda name: MODELS[name].params,
    "macs": lambda name: published.macs().get(name, math.inf),
    "top1": lambda name: -published.best_top1().get(name, 0.0),
}


def model_card(name: str) -> ModelCard:
    """Return the card of a registered model: hyperparameters, paper, parameter count, reference input.

    It prints as a table, and shows as one in a notebook.

    Raises:
        ValueError: for an unknown name; the error suggests the closest ones.
    """
    return find_card(name)


@explains_foreign_arguments
def create_model(
    name: str,
    input_shape: Sequence[int | None],
    num_classes: int,
    *,
    head: str | None = None,
    vocab_size: PositiveInt | None = None,
    embed_dim: Extent | None = None,
    embedding: np.ndarray | str | None = None,
    trainable_embedding: bool = True,
    features: str | Sequence[str] = (),
    causal: bool = False,
    dialect: str | None = None,
    weights: str | None = None,
    encoder_weights: str | None = None,
    precision: str | None = None,
    classifier_activation: str | None = None,
    model_name: str | None = None,
    **hyperparameters,
) -> keras.Model:
    """Build a network by its registered name, as a plain functional `keras.Model`.

    It returns logits of shape `(batch, num_classes)` in float32: no softmax, so compile it with a loss of
    `from_logits=True`, or train it with `kzoo.fit`. Weights are random unless `weights` are given. The input's rank
    decides between 1-D and 2-D convolutions:

        kzoo.create_model("resnet18", (224, 224, 3), 10)                      # images
        kzoo.create_model("resnet18", (16000, 1), 35)                         # waveforms, time series
        kzoo.create_model("resnet18", (64,), 4, vocab_size=5000)              # token ids
        kzoo.create_model("resnet18", (64, 64, 1), 10, stem="conv3", width=32)  # other hyperparameters

    `kzoo.models.resnet18(input_shape, num_classes, ...)` is the same with the hyperparameters in its signature.
    The input is called `inputs`, the classifier `logits`, the feature vector `features`; token ids are int32.

    Args:
        name: registered name of the network, one of `kzoo.list_models()`.
        input_shape: shape of one example, without the batch axis and with the channels last: `(length, channels)`,
            `(height, width, channels)`, or `(length,)` of token ids, which needs `vocab_size`. A length, height or
            width may be None where the network works on any size.
        num_classes: number of outputs; 0 leaves out the classifier and returns the feature vector.
        head: "pooled" for one vector of outputs an example, "positions" for one at each position of the input, (batch,
            length, num_classes) of a series: for networks that keep the length, and for decoders, which have no other;
            "frames" for one at each position that the strides of the network leave, as speech recognition needs.
            That of the published network's task if not given.
        vocab_size: number of token ids, for an input of token ids; they are embedded before the first convolution.
        embed_dim: channels of the embedding of token ids; 128, or those of `embedding`, if not given.
        embedding: pretrained vectors of the token ids, (vocab_size, embed_dim); `kzoo.load_word_vectors` reads them.
        trainable_embedding: whether the embedding of token ids is trained (non-static) or fixed (static).
        features: names of stages, e.g. `("stage2", "stage4")`: return the list of their feature maps, not logits.
        causal: let no position depend on later ones, as `kzoo.stream` needs: along time, the first spatial axis (of
            BC-ResNet the second), convolutions and poolings are padded before the first position alone, whatever
            their own padding, so that n positions become n / stride, rounded down.
        dialect: framework convention for padding, BatchNorm epsilon and BatchNorm momentum, "tensorflow" or
            "pytorch"; that of the network's reference implementation if not given.
        weights: pretrained weights, `"timm/resnet50.a1_in1k"`, `"torchvision/ResNet50_Weights.IMAGENET1K_V2"` or
            `"keras/imagenet"` (see `kzoo.zoo.hub`), or a file for `kzoo.load_weights`. Where `num_classes` or the
            number of input channels differs from theirs, the classifier stays random and the first layer is adapted,
            with a warning that says how.
        encoder_weights: pretrained weights of the encoder of a network that has one, named as `weights`.
        precision: "float32", "mixed_bfloat16", "mixed_float16", or "auto" for bfloat16 where the hardware computes
            it; Keras's global policy (float32) if not given. See `kzoo.nn.precision`.
        classifier_activation: "softmax" or "sigmoid" to return probabilities, for use outside of kzoo; `kzoo.fit`,
            `kzoo.evaluate` and `kzoo.export` expect logits, the default.
        model_name: `name` of the Keras model, so that two networks fit into one model; the registered name if not
            given. The factories in `kzoo.models` call it `name`.
        **hyperparameters: fields of the architecture that replace the variant's values, e.g. `width=32`; see
            `kzoo.model_card(name)`. With weights of keras.applications, those of its implementation are the default.

    Raises:
        ValueError: for an unknown name, hyperparameter or stage (the error suggests the closest valid one), weights
            of another network, `causal` for one that mixes all positions, such as by squeeze-and-excitation, an input
            of the wrong rank or too small (the error names the smallest that works).
    """
    card = find_card(name)
    if str(weights).startswith("keras/"):  # some networks of keras.applications differ from their papers
        hyperparameters = dict(applications.find(name)[1].hyperparameters) | hyperparameters
        dialect = dialect or hyperparameters.pop("dialect", None)
        hyperparameters.pop("dialect", None)
    architecture = customised(card, hyperparameters)
    check_input(card, input_shape, num_classes, vocab_size)
    head = check_head(card, head)
    network, classifier = parts_of(architecture, head, int(num_classes))
    check_encoder_weights(architecture, name, weights, encoder_weights)
    check_classifier(num_classes, features, classifier_activation)
    check_embedding(embedding, trainable_embedding, vocab_size, weights)
    time_axis = getattr(architecture, "time_axis", 1)
    tokens = TokenEmbedding(vocab_size, channels_of(embedding, embed_dim), trainable_embedding)
    warn_of_misread_shape(card, input_shape)
    convention = card.reference.dialect if dialect is None else lookup("dialect", dialect, DIALECTS)

    def build(shape):
        x = inputs = keras.Input(shape, dtype=None if vocab_size is None else "int32", name="inputs")
        with written_in(convention), causal_along(time_axis - 1) if causal else contextlib.nullcontext():
            x = network(x) if vocab_size is None else of_tokens(network, x, tokens)
            if head == "positions" and not hasattr(architecture, "output_map"):
                check_keeps_positions(name, inputs, x)
            x = activated(classifier(x, inputs), classifier_activation)
        return numbered(keras.Model(inputs, x, name=name if model_name is None else model_name))

    try:
        with computing_in(precision):
            if head == "positions" and None in input_shape:
                build(tuple(ANY_SIZE if size is None else size for size in input_shape))  # tells the stride
            model = build(tuple(input_shape))
            if causal:
                check_causal(name, model, time_axis)
    except InputTooSmall as error:
        smallest = smallest_shape(build, tuple(input_shape), vocab_size is not None)
        raise ValueError(
            f"input_shape {tuple(input_shape)} is too small for {name}; the smallest that works is {smallest}"
        ) from error
    model.registered_name, model.architecture = name, architecture
    if embedding is not None:
        place_vectors(model, np.asarray(embedding, "float32"))
    if weights is not None:
        load_trained(model, weights)
    if encoder_weights is not None:
        load_encoder(model, encoder_weights)
    return pyramid(model, features)


def numbered(model: keras.Model) -> keras.Model:
    """Give each layer that Keras named by counting the layers of the process a name that depends on the model alone.

    `activation_17` becomes `activation1` in the first activation's place. Layers with weights have addresses already.
    """
    counts = Counter()
    for operation in model.operations:
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(operation).__name__).lower()
        if re.fullmatch(rf"{kind}(_\d+)?", operation.name) and not getattr(operation, "weights", []):
            kind = re.sub(r"_?[12]d$", "", kind)
            counts[kind] += 1
            operation.name = f"{kind}{counts[kind]}"
    return model


def activated(logits, classifier_activation: str | None):
    """Apply the activation of the classifier, if any, in float32."""
    if classifier_activation is None:
        return logits
    return keras.layers.Activation(classifier_activation, dtype="float32", name="predictions")(logits)


def load_trained(model: keras.Model, weights: str) -> None:
    """Load pretrained weights from a file or by name into a model; warn of what was adapted.

    A model with the classes and channels of weights by name remembers their preprocessing (`kzoo.data.trained`).

    Raises:
        ValueError: for weights that are not available, or belong to another network.
    """
    tensors, naming, found = user_path(weights), None, None
    if not tensors.is_file():
        name = registered_name(model)
        found = hub.find(weights, name)
        if found.architecture != name:
            raise ValueError(f"{weights} are weights of {found.architecture}, not of {name}")
        tensors, model.preprocess = found.file, hub.for_input(found.preprocess, model.input_shape[1:])
        if found.application:
            check_built(model, weights, found.hyperparameters)
            tensors, naming = applications.tensors(model, found.application), "kzoo"
    report = load_weights(model, tensors, naming=naming, adapt=True)
    for remark in report.adapted:
        warn_caller(f"{weights}: {remark}")
    if found and not report.adapted:
        remember_published(model, found)


def remember_published(model: keras.Model, found: hub.Pretrained) -> None:
    """Remember on a model the preprocessing of its published weights, at the model's own input size."""
    pairs = zip(model.input_shape[1:], found.preprocess.image_size, strict=False)
    size = tuple(own or published for own, published in pairs)
    task = Classification(found.class_names) if found.class_names else None
    model.trained_with = TrainedWith("image", dataclasses.replace(found.preprocess, image_size=size), task)


def check_built(model: keras.Model, weights: str, hyperparameters: dict) -> None:
    """Check that a model is the one that weights of keras.applications belong to, which shapes alone do not tell.

    Dropout and the activation of the classifier may differ.

    Raises:
        ValueError: for other hyperparameters; it names the expected ones.
    """
    num_classes = model.output_shape[-1] if "logits" in [layer.name for layer in model.layers] else 0
    name = registered_name(model)
    if layer_steps(model) != layer_steps(create_model(name, model.input_shape[1:], num_classes, **hyperparameters)):
        given = ", ".join(f"{key}={value!r}" for key, value in hyperparameters.items())
        raise ValueError(f"{weights} are weights of {name} with {given or 'its own hyperparameters'}")


def layer_steps(network: keras.Model) -> list[tuple[str, str]]:
    """Return what the layers of a network compute, without dropout and the activation of the classifier."""
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.Dropout)]
    layers = [layer for layer in layers if layer.name != "predictions"]
    return sorted((str(type(layer)), repr(layer.get_config() | {"name": None, "dtype": None})) for layer in layers)


def ensemble(models: Sequence[keras.Model]) -> keras.Model:
    """Return one network whose answers are the mean of those of several, such as the five networks of InceptionTime.

    The mean is that of the probabilities for classes and tags, and of the values for numbers.

    Args:
        models: networks of the same input and outputs that return logits or values; fit each of them first.

    Returns:
        A model of the same input. Its outputs are logits or values as well: of classes the logarithms of the mean
        probabilities.

    Raises:
        ValueError: for no model, or models that differ in input or output shape, or in their task.
    """
    shapes = {(model.input_shape, model.output_shape) for model in models}
    if len(shapes) != 1:
        raise ValueError(f"an ensemble needs models of one input and one output shape, got {sorted(map(str, shapes))}")
    inputs = keras.Input(models[0].input_shape[1:], dtype=models[0].input.dtype, name="inputs")
    parts = [keras.Model(m.input, m.output, name=f"{m.name}_{n}")(inputs) for n, m in enumerate(models)]
    outputs = common_task(models).averaged(parts)
    return hand_on(models, numbered(keras.Model(inputs, outputs, name=f"{models[0].name}_ensemble")))


def customised(card: ModelCard, hyperparameters: dict) -> Callable:
    """Return the variant's architecture with some of its fields replaced; lists become tuples.

    Raises:
        ValueError: for a field that the architecture does not have, or a value of another type.
    """
    check_foreign(card, hyperparameters)
    fields = {field.name: field for field in dataclasses.fields(card.architecture)}
    for key in hyperparameters:
        lookup(f"hyperparameter of {card.name}", key, fields)
    given = check_arguments(type(card.architecture), hyperparameters)
    return dataclasses.replace(card.architecture, **{key: frozen(value) for key, value in given.items()})


def frozen(value):
    """Return lists as tuples, at every depth."""
    return tuple(map(frozen, value)) if isinstance(value, (list, tuple)) else value


def check_input(card: ModelCard, input_shape: Sequence[int | None], num_classes: int, vocab_size: int | None) -> None:
    """Check that `input_shape` is that of a feature map or of token ids, and `num_classes` a number of outputs.

    Raises:
        ValueError: saying what was expected and what was given.
    """
    expected = "(length, channels) or (height, width, channels)"
    if isinstance(input_shape, (str, numbers.Number)) or input_shape is None:
        raise ValueError(f"expected input_shape {expected}, e.g. (224, 224, 3); got {input_shape!r}")
    shape = tuple(input_shape)
    if vocab_size is not None and len(shape) != 1:
        raise ValueError(f"with vocab_size the input_shape is (length,) of token ids, got {shape}")
    if vocab_size is None and len(shape) == 1:
        raise ValueError(f"expected a feature map {expected}, got {shape}; token ids need vocab_size")
    rank = 1 if vocab_size is not None else len(shape) - 1
    if rank not in (1, 2):
        batch = f"; leave out the batch axis: {shape[1:]}" if rank == 3 else ""
        raise ValueError(f"expected input_shape {expected}, or (length,) of token ids; got {shape}{batch}")
    if rank not in card.dims:
        raise ValueError(f"{card.name} takes {card.dims[0]}-D feature maps, got input_shape {shape}")
    if not all(size is None or is_count(size, 1) for size in shape):
        raise ValueError(f"every size in input_shape must be a positive integer or None, got {shape}")
    if vocab_size is None and shape[-1] is None:
        raise ValueError(f"the number of channels, the last entry of input_shape, must be known; got {shape}")
    if not is_count(num_classes, 0):
        raise ValueError(
            f"num_classes must be a positive integer, or 0 for the feature vector, got {num_classes!r}"
            + (f"; did you mean {len(num_classes)}?" if isinstance(num_classes, (list, tuple)) else "")
        )


def is_count(value, least: int) -> bool:
    """Whether a value is an integer, of Python or NumPy, not below `least`."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least


def check_classifier(num_classes: int, features: Sequence[str], classifier_activation: str | None) -> None:
    """Raise a ValueError for an unknown activation of the classifier, or one without a classifier."""
    if classifier_activation is None:
        return
    lookup("classifier_activation", classifier_activation, dict.fromkeys(("softmax", "sigmoid")))
    if num_classes == 0 or features:
        raise ValueError("classifier_activation is for models that end in a classifier, not in features")


def check_embedding(embedding, trainable: bool, vocab_size: int | None, weights: str | None) -> None:
    """Raise a ValueError for vectors that do not fit the token ids, or without token ids or beside other weights."""
    if vocab_size is None and (embedding is not None or not trainable):
        raise ValueError("embedding and trainable_embedding are for token ids, which need vocab_size")
    if embedding is None:
        return
    if isinstance(embedding, (str, os.PathLike)):
        load = f"kzoo.load_word_vectors({str(embedding)!r}, data)"
        raise ValueError(f"the vectors of a file belong to the words of a dataset: write embedding={load}")
    if weights is not None:
        raise ValueError(f"give embedding or weights={weights!r}, not both: the weights hold an embedding")
    shape = np.shape(embedding)
    if len(shape) != 2 or shape[0] != vocab_size:
        raise ValueError(f"embedding must have a row for each token id, shape ({vocab_size}, dimensions), got {shape}")


def channels_of(embedding, embed_dim: int | None) -> int:
    """Return the channels of the embedding of token ids.

    Raises:
        ValueError: if the vectors have others than were asked for.
    """
    own = EMBED_DIM if embedding is None else np.shape(embedding)[1]
    if embedding is not None and embed_dim not in (None, own):
        raise ValueError(f"embed_dim is {embed_dim}, but the vectors of embedding have {own} dimensions; leave it out")
    return own if embed_dim is None else embed_dim


def of_tokens(architecture: Callable, ids, embedding: TokenEmbedding):
    """Apply an architecture to token ids: to their embedding, or through its own method `tokens` where it has one."""
    if hasattr(architecture, "tokens"):
        return architecture.tokens(ids, embedding)
    return architecture(embedding(ids))


def place_vectors(model: keras.Model, vectors: np.ndarray) -> None:
    """Give the embeddings of a model, of which a multichannel one has two, the values of pretrained vectors.

    The model remembers a hash of them, which belongs to the identity of its training.

    Raises:
        ValueError: if the network embeds no token ids.
    """
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    if not layers:
        raise ValueError(f"{model.name} takes token ids without an embedding; leave out embedding")
    for layer in layers:
        layer.set_weights([vectors])
    model.word_vectors = hashlib.blake2b(vectors.tobytes(), digest_size=8).hexdigest()


def check_head(card: ModelCard, head: str | None) -> str:
    """Return a head, that of the network's task if not given; raise a ValueError for one that it cannot have."""
    if head is None:
        return TASKS[card.task].head
    lookup("head", head, HEADS)
    if "pooled" not in card.heads:
        lookup(f"head of {card.name}", head, dict.fromkeys(card.heads))
    return head


def parts_of(architecture: Callable, head: str, num_classes: int) -> tuple[Callable, Callable]:
    """Return two functions: from the input to features, and from them and the input to outputs.

    An architecture with a head of its own has a method in place of one of `HEADS`: `logits` or `output_map`. A decoder,
    whose method `outputs` maps the input to outputs at all its positions, has nothing after it.
    """
    if hasattr(architecture, "outputs"):
        return functools.partial(architecture.outputs, num_outputs=num_classes), lambda x, _: x
    own = getattr(architecture, {"positions": "output_map", "pooled": "logits"}.get(head, ""), None)
    network = architecture if head == "pooled" else getattr(architecture, "feature_map", architecture)
    if own is None or not num_classes:
        return network, lambda x, _: HEADS[head](x, num_classes)
    return network, lambda x, inputs: own(x, inputs, num_classes) if head == "positions" else own(x, num_classes)


def check_encoder_weights(architecture: Callable, name: str, weights: str | None, encoder_weights: str | None) -> None:
    """Raise a ValueError for weights of an encoder beside those of the whole network, or for one without an encoder."""
    if encoder_weights is None:
        return
    if not hasattr(architecture, "encoder"):
        raise ValueError(f"{name} has no encoder; give weights={encoder_weights!r}")
    if weights is not None:
        raise ValueError(f"give encoder_weights or weights={weights!r}, not both: the weights hold an encoder")


def load_encoder(model: keras.Model, weights: str) -> None:
    """Load pretrained weights from a file or by name into the encoder of a model, which remembers their preprocessing.

    What they hold beyond the encoder's stages, such as a classifier, is left out.

    Raises:
        ValueError: for weights that are not available, or belong to another network.
    """
    encoder, found, file = model.architecture.encoder, None, user_path(weights)
    if not file.is_file():
        if str(weights).startswith("keras/"):
            raise ValueError(f"encoder_weights are timm's, torchvision's or a file, got {weights!r}")
        found = hub.find(weights, encoder)
        if found.architecture != encoder:
            raise ValueError(f"{weights} are weights of {found.architecture}, not of the encoder {encoder}")
        file = found.file
    tensors, _ = without_prefix(read_tensors(file), model)
    inside = {f"encoder.{name}": tensor for name, tensor in tensors.items()}
    report = load_weights(model, inside, naming=naming_of(tensors), adapt=True, strict=False)
    lost = [*report.mis_shaped, *(name for name in report.missing if name.startswith("encoder"))]
    if lost:
        raise ValueError(f"{weights} do not fit the encoder {encoder}: {shortened(lost)}")
    for remark in report.adapted:
        warn_caller(f"{weights}: {remark}")
    if found:
        model.preprocess = hub.for_input(found.preprocess, model.input_shape[1:])
        if not report.adapted:
            remember_published(model, found._replace(class_names=None))


def pyramid(model: keras.Model, features: Sequence[str]) -> keras.Model:
    """Return `model` itself, or the model of the feature maps of the stages named.

    Raises:
        ValueError: for an unknown stage; the error suggests the closest ones.
    """
    if not features:
        return model
    stages = named_stages(model.layers)
    names = [features] if isinstance(features, str) else features
    outputs = [lookup(f"stage of {model.name}", name, stages).output for name in names]
    maps = keras.Model(model.input, outputs, name=model.name)
    maps.registered_name = registered_name(model)
    return maps


def smallest_shape(build: Callable, shape: tuple[int | None, ...], tokens: bool) -> tuple[int | None, ...]:
    """Return the smallest input shape that `build` accepts, with equal sizes along all known spatial axes."""

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
    """Return `create_model` for one registered name, with the variant's hyperparameters in its signature."""

    def build(*args, name=None, **kwargs):
        return create_model(card.name, *args, model_name=name, **kwargs)

    build.__name__ = build.__qualname__ = card.name
    build.__module__ = "kzoo.models"
    build.__signature__ = factory_signature(card)
    build.__doc__ = factory_docstring(card)
    return build


def factory_signature(card: ModelCard) -> inspect.Signature:
    """Return the signature of one factory: the arguments of `create_model`, then the hyperparameters."""
    _, *general, _ = inspect.signature(create_model).parameters.values()
    general = [one.replace(name="name") if one.name == "model_name" else one for one in general]
    own = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=value.value, annotation=field.type)
        for field, value in zip(dataclasses.fields(card.architecture), card.hyperparameters.values(), strict=True)
    ]
    return inspect.Signature([*general, *own], return_annotation="keras.Model")


def factory_docstring(card: ModelCard) -> str:
    """Return the docstring of one factory: its size and paper, and what each argument does."""
    hyperparameters = "".join(f"    {name}: {h.meaning}\n" for name, h in card.hyperparameters.items())
    inner = "" if card.heads[0] == "pooled" else "..., "
    return (
        f"Build {card.name}: {card.size}.\n\n"
        f"{card.paper.citation}, {card.paper.title}, {card.paper.url}.\n\n"
        f"Returns logits of shape `(batch, {inner}num_classes)`, without softmax: compile with a loss of "
        "`from_logits=True`, "
        "or use `kzoo.fit`.\n\n"
        f"Args:\n{GENERAL_ARGUMENTS}{hyperparameters}"
    )


def general_arguments() -> str:
    """Return what the arguments that all factories share do, from the docstring of `create_model`."""
    described = inspect.cleandoc(create_model.__doc__).partition("Args:\n")[2].partition("    **hyper")[0]
    shared = described[described.index("    input_shape:") :].replace("    model_name:", "    name:")
    return shared.replace(" The factories in `kzoo.models` call it `name`.", "")


GENERAL_ARGUMENTS = general_arguments()


@functools.cache
def factory(name: str) -> Callable[..., keras.Model]:
    """Return the factory of a registered name, made at its first use: `kzoo.models.NAME`.

    Raises:
        AttributeError: for a name that is not registered; it suggests the closest ones.
    """
    if name not in MODELS:
        hint = "" if name.startswith("_") else f"; {closest_names(name)}"
        raise AttributeError(f"module 'kzoo.models' has no attribute {name!r}{hint}")
    return factory_function(MODELS[name])


for _name in MODELS.keys() & vars(kzoo.models).keys():
    delattr(kzoo.models, _name)  # a module of the same name
kzoo.models.__getattr__ = factory
