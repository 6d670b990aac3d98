"""Registry of models by name, model cards, and lookup by name with suggestions.

Of `kzoo` it imports `core` alone, so every other module may import it.
"""

import dataclasses
import difflib
import functools
import inspect
import re
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from kzoo.core.lazy import lazy_import, rich_text
from kzoo.core.papers import Paper
from kzoo.core.shown import Shown, table

docstring_parser = lazy_import("docstring_parser")

T = TypeVar("T")


def lookup(kind: str, name: str, options: Mapping[str, T], where: str = "") -> T:
    """Return `options[name]`.

    Args:
        kind: what the options are, for the error: "model", "activation".
        name: one of them.
        options: what can be chosen, by name.
        where: added to the name in the error: " in 'train'".

    Raises:
        ValueError: for an unknown name; the error suggests the closest valid ones.
    """
    if isinstance(name, Hashable) and name in options:
        return options[name]
    raise ValueError(f"unknown {kind} {name!r}{where}; {did_you_mean(name, options)}")


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return a question that offers the options closest to `name`, or all of them if none is close."""
    names = list(dict.fromkeys(map(str, options)))
    close = [option for option in names if simplified(option) == simplified(str(name))]
    close = close or difflib.get_close_matches(str(name), names, n=3) or sorted(names)
    return f"did you mean {' or '.join(close)}?" if close else "there is none to choose from"


def simplified(name: str) -> str:
    """Return a name without capitals, underscores and other marks, in which spellings of one name agree."""
    return "".join(character for character in name.lower() if character.isalnum())


def check_keywords(kind: str, given: Iterable[str], *functions: Callable, where: str = "") -> None:
    """Raise a ValueError for a keyword that none of the functions takes; it suggests the closest valid ones."""
    known = {name: function for function in functions for name in keywords(function)}
    for key in given:
        lookup(kind, key, known, where)


def keywords(function: Callable) -> list[str]:
    """Return the names of a function's keyword-only parameters; of a class, all its parameters."""
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.KEYWORD_ONLY, *[inspect.Parameter.POSITIONAL_OR_KEYWORD] * inspect.isclass(function))
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


class Dialect(NamedTuple):
    """Framework convention: what TensorFlow and PyTorch do differently in layers of the same name.

    A network's published numbers hold under the convention of its reference implementation.

    Attributes:
        padding: of strided convolutions; "same" as in TensorFlow (the odd zero goes at the end), "symmetric" as in
            PyTorch (equally many zeros on both sides).
        bn_epsilon: added to the variance by batch normalisation.
        bn_momentum: weight of the old moving average in a training step of batch normalisation, in [0, 1); PyTorch's
            `momentum` is 1 minus this.
    """

    padding: str = "same"
    bn_epsilon: float = 1e-3
    bn_momentum: float = 0.99

    def __str__(self) -> str:
        name = next((name for name, dialect in DIALECT_NAMES.items() if dialect == self), "own")
        return f"{name} ({self.padding} padding, BatchNorm epsilon {self.bn_epsilon:g}, momentum {self.bn_momentum:g})"


TENSORFLOW = Dialect()
PYTORCH = Dialect(padding="symmetric", bn_epsilon=1e-5, bn_momentum=0.9)
DIALECTS = {"tensorflow": TENSORFLOW, "pytorch": PYTORCH}
DIALECT_NAMES = {"TensorFlow": TENSORFLOW, "PyTorch": PYTORCH}


class Reference(NamedTuple):
    """The input, number of classes and framework convention for which a network's published numbers hold."""

    input_shape: tuple[int, ...]
    num_classes: int
    dialect: Dialect = PYTORCH


IMAGENET = Reference((224, 224, 3), 1000)
CIFAR10 = Reference((32, 32, 3), 10)
MNIST = Reference((28, 28, 1), 10, TENSORFLOW)


class Hyperparameter(NamedTuple):
    """A hyperparameter of an architecture: the variant's value, and what it does."""

    value: Any
    meaning: str


@dataclass(frozen=True, repr=False)
class ModelCard(Shown):
    """What the zoo knows about one registered model; it prints as a table.

    Attributes:
        name: registered name, in the spelling of torchvision and timm.
        architecture: the variant, a function from feature map to feature map or vector.
        paper: where the variant was first described.
        params: number of trainable parameters at `reference`, from an independent source.
        reference: the input, number of classes and framework convention that `params` holds for.
        task: what the published model is for, a key of `TASKS`.
        dims: numbers of spatial axes that it can be built for, 1, 2 or both.
    """

    name: str
    architecture: Callable[[Any], Any]
    paper: Paper
    params: int
    reference: Reference
    task: str
    dims: tuple[int, ...]

    def __repr__(self) -> str:
        return f"<ModelCard {self.name}: {self.size}; {self.paper.citation}>"

    def __rich_console__(self, console, options):
        rows = [(name, repr(value), meaning) for name, (value, meaning) in self.hyperparameters.items()]
        inputs = " and ".join(f"{dim}-D" for dim in self.dims)
        yield rich_text.Text(f"{self.name}: {self.size}")
        yield rich_text.Text(f"{self.paper.citation}: {self.paper.title}, {self.paper.url}")
        yield rich_text.Text(f"family {self.family}; {self.purpose}; {inputs} input; convention: {self.convention}")
        yield table(("hyperparameter", "value", "meaning"), rows, words=3)

    @property
    def size(self) -> str:
        """Number of trainable parameters, and the input and outputs that it holds for, in words."""
        shape, outputs, _ = self.reference
        noun = TASKS[self.task].noun if self.task in TASKS else "outputs"
        return f"{self.params:,} trainable parameters for input {shape} and {outputs} {noun}"

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the network makes sense for, by key: what the published model is for, then all others.

        Most networks have one vector of outputs an example; one whose feature map keeps the positions of the input can
        have an output at each of them as well, and a decoder has no other. An architecture whose outputs are classes
        alone says `only_published`.
        """
        others = [] if getattr(self.architecture, "only_published", False) else TASKS.items()
        possible = (key for key, task in others if task.head in self.heads and {*task.dims} & {*self.dims})
        return tuple(dict.fromkeys([self.task, *possible]))

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that the network can have, the default first.

        "pooled" is one vector of outputs an example, "positions" one at each position of the input, "frames" one at
        each position that is left; others may have it too, where their strides leave enough.
        """
        all_three = ("pooled", "positions", "frames")
        found = all_three if getattr(self.architecture, "keeps_positions", False) else all_three[:1]
        return getattr(self.architecture, "heads", found)

    @property
    def purpose(self) -> str:
        """The published task, and the others that the network makes sense for, in words."""
        _, *others = self.tasks
        return f"task {self.task}, also {', '.join(others)}" if others else f"task {self.task}"

    @property
    def modality(self) -> str:
        """What the published model takes: "image", "timeseries", "text" or "audio", as its input and texts tell."""
        *spatial, channels = self.reference.input_shape
        module = sys.modules[type(self.architecture).__module__]
        said = f"{module.__doc__} {type(self.architecture).__doc__} {self.paper.title}".lower()
        if len(spatial) == 2 and (spatial[0] == spatial[1] or channels == 3):
            return "image"
        if self.reference.input_shape == (150, 1) or re.search(r"time series|\b(eeg|ecg|sleep)", said):
            return "timeseries"
        spoken = re.search("keyword|speech|spoken", said)
        words = re.search(r"\b(text|sentence|language|character|word|token)s?\b", said)
        return "text" if len(spatial) == 1 and words and not spoken else "audio"

    @property
    def convention(self) -> str:
        """Framework convention of the reference implementation, in words."""
        return str(self.reference.dialect)

    @property
    def family(self) -> str:
        """Name of the module in `kzoo.models` that defines the architecture."""
        return type(self.architecture).__module__.rpartition(".")[2]

    @property
    def key_mapping(self) -> tuple:
        """Rules of `kzoo.nn.naming` that rename the family's layers to PyTorch's names."""
        return self.family_constant("KEY_MAPPING")

    @property
    def ignore_unexpected(self) -> tuple[str, ...]:
        """Patterns of PyTorch's tensor names that the family has no weight for, such as auxiliary classifiers."""
        return self.family_constant("IGNORE_UNEXPECTED")

    def family_constant(self, constant: str) -> tuple:
        """Return a constant of the family's module, () where it has none."""
        return getattr(sys.modules[type(self.architecture).__module__], constant, ())

    @property
    def hyperparameters(self) -> dict[str, Hyperparameter]:
        """Each field of the architecture with the variant's value and its meaning."""
        meanings = explained_fields(type(self.architecture))
        names = [field.name for field in dataclasses.fields(self.architecture)]
        return {name: Hyperparameter(getattr(self.architecture, name), meanings[name]) for name in names}


@functools.cache
def explained_fields(architecture: type) -> Mapping[str, str]:
    """Return the description of each field of an architecture, from its docstring and those of its base classes."""
    meanings = {}
    for owner in reversed(architecture.__mro__):
        parsed = docstring_parser.parse(owner.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE)
        meanings |= {parameter.arg_name: " ".join(parameter.description.split()) for parameter in parsed.params}
    return meanings


MODELS: dict[str, ModelCard] = {}
TASKS: dict[str, Any] = {}  # the classes of `kzoo.tasks` by key, which fills it


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
        params: number of trainable parameters at `reference`, from an independent source.
        reference: the input shape, number of classes and framework convention that `params` holds for.
        task: what the published model is for, a key of `TASKS`.
        dims: numbers of spatial axes that the architecture can be built for.
        **hyperparameters: values of the variant for fields of the decorated dataclass.

    Raises:
        ValueError: for a name that is registered already.
    """

    def decorator(architecture: type[T]) -> type[T]:
        if name in MODELS:
            raise ValueError(f"model {name!r} is registered twice")
        MODELS[name] = ModelCard(name, architecture(**hyperparameters), paper, params, reference, task, dims)
        return architecture

    return decorator


def registered_name(model) -> str:
    """Return the registered name that a model was built by, whatever its `name`.

    A model that was loaded from a file, or is not of this library, has its `name` alone.
    """
    return getattr(model, "registered_name", model.name)
