"""Names and what they stand for: the one mechanism behind every `kzoo` lookup by name.

Of `kzoo` it imports `core` alone, so every other module may import it.
"""

import dataclasses
import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from kzoo.core.lazy import lazy_import
from kzoo.core.papers import Paper

docstring_parser = lazy_import("docstring_parser")

T = TypeVar("T")


def lookup(kind: str, name: str, options: Mapping[str, T]) -> T:
    """Return `options[name]`; raise a ValueError that names the nearest options otherwise."""
    if name in options:
        return options[name]
    raise ValueError(f"unknown {kind} {name!r}; {did_you_mean(name, options)}")


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return a question that offers the options nearest to `name`, or all of them if none is near."""
    names = [str(option) for option in options]
    near = difflib.get_close_matches(str(name), names, n=3) or sorted(names)
    return f"did you mean {' or '.join(near)}?" if near else "there is none to choose from"


def check_keywords(kind: str, given: Iterable[str], *functions: Callable) -> None:
    """Raise a ValueError for a keyword that none of the functions takes, naming the nearest that one does."""
    known = {name: function for function in functions for name in keywords(function)}
    for key in given:
        lookup(kind, key, known)


def keywords(function: Callable) -> list[str]:
    """Return the names of a function's keyword-only parameters; of a class, all its parameters."""
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.KEYWORD_ONLY, *[inspect.Parameter.POSITIONAL_OR_KEYWORD] * inspect.isclass(function))
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


class Dialect(NamedTuple):
    """What frameworks disagree about; a network's numbers hold in the dialect that it was published in.

    `padding` "same" is TensorFlow's (the extra zero of a strided window goes last), "symmetric" is
    PyTorch's. `bn_momentum` is the share of the old statistic that a training step keeps.
    """

    padding: str = "same"
    bn_epsilon: float = 1e-3
    bn_momentum: float = 0.99


TENSORFLOW = Dialect()
PYTORCH = Dialect(padding="symmetric", bn_epsilon=1e-5, bn_momentum=0.9)
DIALECTS = {"tensorflow": TENSORFLOW, "pytorch": PYTORCH}


class Reference(NamedTuple):
    """The setting in which a network's published count and numbers hold."""

    input_shape: tuple[int, ...]
    num_classes: int
    dialect: Dialect = PYTORCH


IMAGENET = Reference((224, 224, 3), 1000)
CIFAR10 = Reference((32, 32, 3), 10)
MNIST = Reference((28, 28, 1), 10, TENSORFLOW)


class Hyperparameter(NamedTuple):
    """One field of an architecture: the variant's value and what the field does."""

    value: Any
    meaning: str


@dataclass(frozen=True)
class ModelCard:
    """Everything the zoo knows about one registered model."""

    name: str
    architecture: Callable[[Any], Any]  # feature map -> feature map or vector
    paper: Paper
    params: int  # trainable parameters at `reference`
    reference: Reference
    task: str
    dims: tuple[int, ...]  # numbers of spatial axes that it can be built with

    @property
    def family(self) -> str:
        """Name of the file in `kzoo/models/` that defines the architecture."""
        return type(self.architecture).__module__.rpartition(".")[2]

    @property
    def key_mapping(self) -> tuple:
        """The rules of `kzoo.nn.naming` by which PyTorch's names of the family's layers are made from ours."""
        return self.family_constant("KEY_MAPPING")

    @property
    def ignore_unexpected(self) -> tuple[str, ...]:
        """Patterns of the names of PyTorch's tensors that the family has no weight for, as of heads for training."""
        return self.family_constant("IGNORE_UNEXPECTED")

    def family_constant(self, constant: str) -> tuple:
        """Return a constant of the family's module, or an empty tuple where it has none of that name."""
        return getattr(sys.modules[type(self.architecture).__module__], constant, ())

    @property
    def hyperparameters(self) -> dict[str, Hyperparameter]:
        """Each field of the architecture with the variant's value and its meaning."""
        meanings = explained_fields(type(self.architecture))
        names = [field.name for field in dataclasses.fields(self.architecture)]
        return {name: Hyperparameter(getattr(self.architecture, name), meanings[name]) for name in names}


@functools.cache
def explained_fields(architecture: type) -> Mapping[str, str]:
    """Return what each field of an architecture does, from its docstring and those of the classes that it extends."""
    meanings = {}
    for owner in reversed(architecture.__mro__):
        parsed = docstring_parser.parse(owner.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE)
        meanings |= {parameter.arg_name: " ".join(parameter.description.split()) for parameter in parsed.params}
    return meanings


MODELS: dict[str, ModelCard] = {}


def register_model(
    name: str,
    paper: Paper,
    params: int,
    reference: Reference = IMAGENET,
    *,
    task: str = "classification",
    dims: tuple[int, ...] = (1, 2),
    **hyperparameters,
):
    """Register one variant of the decorated architecture under `name`.

    The decorated class is returned unchanged, so decorators stack: one line per variant.

    Args:
        name: the name given to `create_model`, in the spelling of torchvision and timm.
        paper: where this variant was first described.
        params: trainable parameters at `reference`, from a source other than this code.
        reference: the input shape and number of classes that `params` holds for.
        task: what the published model is for.
        dims: numbers of spatial axes that the architecture has a meaning for.
        **hyperparameters: the variant's own, i.e. fields of the decorated dataclass.
    """

    def decorator(architecture: type[T]) -> type[T]:
        if name in MODELS:
            raise ValueError(f"model {name!r} is registered twice")
        MODELS[name] = ModelCard(name, architecture(**hyperparameters), paper, params, reference, task, dims)
        return architecture

    return decorator
