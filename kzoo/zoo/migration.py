"""Arguments and names of keras.applications, timm and torchvision, and what to type here instead."""

import functools
from collections.abc import Callable, Mapping, Sequence

from kzoo.core.arguments import check_arguments
from kzoo.core.registry import MODELS, ModelCard, did_you_mean, keywords, simplified
from kzoo.core.warn import warn_caller
from kzoo.zoo.applications import APPLICATIONS
from kzoo.zoo.hub import known_weights

CHANNELS = "the channels are the last entry of input_shape: (height, width, {value!r})"
CLASSES = "write num_classes={value!r}"
FEATURES = "num_classes=0 returns the feature vector, features=('stage2', 'stage4') returns the feature maps of stages"
WIDTH = "the width multiplier is part of the name, e.g. 'mobilenetv2_050' (see `kzoo.list_models()`)"
INPUT = "give input_shape, e.g. (224, 224, 3), and call the returned model on your tensor: model(x)"
SCALING = "the data's preprocessing scales the input (see `kzoo.load_dataset`), the network does not"

# What other libraries' arguments are called here; an architecture's own hyperparameter takes precedence.
INSTEAD = {
    "alpha": WIDTH,
    "classes": CLASSES,
    "depth_multiplier": WIDTH,
    "features_only": FEATURES,
    "global_pool": "the networks end as published; for another head put your layers on the feature maps: " + FEATURES,
    "img_size": "the size is part of input_shape: (height, width, channels)",
    "in_channels": CHANNELS,
    "in_chans": CHANNELS,
    "include_preprocessing": SCALING,
    "include_top": FEATURES,
    "input_tensor": INPUT,
    "num_channels": CHANNELS,
    "num_outputs": CLASSES,
    "out_indices": FEATURES,
    "pooling": "num_classes=0 returns the averaged feature vector, features=('stage4',) the feature map itself",
    "checkpoint_path": "write weights={value!r}",
}
RENAMED = {  # to a hyperparameter, where the architecture has it
    "drop_rate": "dropout",
    "dropout_rate": "dropout",
    "drop_path_rate": "drop_path",
    "drop_connect_rate": "drop_path",
    "survival_probability": "drop_path",
    "act_layer": "activation",
    "norm_layer": "norm",
    "kernel_size": "kernel",
    "base_width": "width",
    "stem_type": "stem",
}
GENERIC_WEIGHTS = ("imagenet", "default", "pretrained", "imagenet1k_v1", "imagenet1k_v2", "true")


def explains_foreign_arguments(create: Callable) -> Callable:
    """Let a `create(name, ...)` answer arguments of other libraries before Python misses its own ones."""

    @functools.wraps(create)
    def checked(*args, **kwargs):
        if args and "name" in kwargs:
            raise ValueError(
                f"name is the architecture, {args[0]!r}; write model_name={kwargs['name']!r} for the model's"
            )
        name = args[0] if args else kwargs.get("name")
        if name is not None:
            check_foreign(find_card(name), kwargs)
        return create(
            *args, **kwargs | check_arguments(create, {k: kwargs[k] for k in keywords(create) if k in kwargs})
        )

    return checked


def check_foreign(card: ModelCard, arguments: Mapping) -> None:
    """Raise a ValueError for the first argument that is another library's, saying what to type here."""
    for key, value in arguments.items():
        if key in card.hyperparameters:
            continue
        if key == "pretrained" or (key == "weights" and str(value).lower() in GENERIC_WEIGHTS):
            raise ValueError(f"{card.name} takes no {key}={value!r}; {weights_to_type(card)}")
        if key in INSTEAD or key in RENAMED:
            raise ValueError(f"{card.name} takes no argument {key!r}; {to_type(card, key, value)}")


def to_type(card: ModelCard, key: str, value) -> str:
    """Return what to type in place of another library's argument."""
    if key in INSTEAD:
        return INSTEAD[key].format(value=value)
    own = RENAMED[key]
    if own in card.hyperparameters:
        return f"here it is {own} (default {card.hyperparameters[own].value!r}): {card.hyperparameters[own].meaning}"
    return f"this architecture has no {own}; its hyperparameters are {', '.join(card.hyperparameters)}"


def weights_to_type(card: ModelCard) -> str:
    """Return the weights that are known for a network, as they are given to `weights`."""
    known = known_weights(card)
    if not known:
        return "no published weights are known for it: leave it out, or give weights='FILE.safetensors' of your own"
    tags = "; all tags of timm: https://huggingface.co/timm" if known[-1].startswith("timm/") else ""
    return f"write weights={' or '.join(map(repr, known))}{tags}"


def find_card(name: str) -> ModelCard:
    """Return the card of a registered name.

    Raises:
        ValueError: for an unknown name; the error suggests the closest names, for those of keras.applications too.
    """
    if not isinstance(name, str) or name not in MODELS:
        raise ValueError(f"unknown model {name!r}; {closest_names(str(name))}")
    return MODELS[name]


def closest_names(name: str) -> str:
    """Return a question that offers the registered names closest to a name in any library's spelling."""
    builders = {
        simplified(application.builder): ours
        for ours, application in APPLICATIONS.items()
        if application.arguments in ({}, {"alpha": 1.0})
    }
    here = [ours for ours in MODELS if simplified(ours) == simplified(name)]
    there = [builders[simplified(name)]] if simplified(name) in builders else []
    found = dict.fromkeys(here + there)
    return f"did you mean {' or '.join(found)}?" if found else did_you_mean(name, MODELS)


def warn_of_misread_shape(card: ModelCard, input_shape: Sequence[int | None]) -> None:
    """Warn of an input shape that looks as if its channels were missing or came first."""
    first, *others = shape = tuple(input_shape)
    if None in shape or len(shape) < 2:
        return
    channels_first = (*others, first)
    if len(shape) == 3 and first in (1, 3, 4) and min(others) > 16:
        read_as = f"height {first}, width {others[0]} and {others[1]} channels; channels come last: {channels_first}"
    elif len(shape) == 2 and first in (1, 2, 3) and others[0] > 64:
        read_as = f"a signal of length {first} with {others[0]} channels; channels come last: {channels_first}"
    elif len(shape) == 2 and len(card.reference.input_shape) == 3 and first == others[0] and first > 16:
        read_as = f"a signal of length {first} with {first} channels; an image needs its channels: {(*shape, 3)}"
    else:
        return
    warn_caller(f"input_shape {shape} is read as {read_as}")
