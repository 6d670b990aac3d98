"""Checks of the arguments that a user passes: their types and ranges as a function's signature states them."""

import collections.abc
import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import Path

from kzoo.core.ranges import RANGES

EXACT = 2**53  # whole numbers up to here are exact in floating point, so 16e3 is an integer and 1e20 is none
LARGEST = 2**63
WORDS = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a string",
    Path: "a path",
    type(None): "None",
}
PLURALS = {int: "integers", float: "numbers", str: "strings"}
SHOWN = 120  # characters of a value in a message


class Unfit(Exception):
    """A value is not of the type that was asked for."""


def checked(function: Callable) -> Callable:
    """Let a function check its arguments by `check_arguments`."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            bound = inspect.signature(function).bind(*args, **kwargs)
        except TypeError:  # a missing or unknown argument: Python's own message names the function
            return function(*args, **kwargs)
        named = check_arguments(function, {key: bound.arguments[key] for key in annotations(function, bound.arguments)})
        bound.arguments |= named
        return function(*bound.args, **bound.kwargs)

    return call


def check_arguments(function: Callable, given: Mapping, prefix: str = "") -> dict:
    """Return arguments as the types in a function's signature, or in the fields of a dataclass.

    A whole number that is written as `16e3` becomes an integer; everything else is returned as it is. True and False
    are no numbers. `typing.Annotated` with a key of `kzoo.core.ranges.RANGES` states a range. An argument that is not
    in the signature is not checked.

    Args:
        function: a function, a class method, or a dataclass.
        given: arguments by their names.
        prefix: of the names in a message, such as "augment.".

    Raises:
        ValueError: for the first of another type or out of its range; it names the argument and what was expected.
    """
    kinds = annotations(function, given)
    found = dict(given)
    for name, kind in kinds.items():
        try:
            found[name] = fitting(given[name], kind)
        except Unfit:
            raise ValueError(f"{prefix}{name} must be {in_words(kind)}, got {cut(repr(given[name]))}") from None
    return found


def annotations(function: Callable, names: collections.abc.Iterable[str]) -> dict[str, typing.Any]:
    """Return the evaluated types of some parameters, so that types of modules not needed yet are not imported."""
    if inspect.isclass(function):
        hints = field_types(function)
        return {name: hints[name] for name in names if name in hints}
    plain = inspect.unwrap(function.func if isinstance(function, functools.partial) else function)
    parameters = inspect.signature(plain).parameters
    stated = {name: parameters[name].annotation for name in names if name in parameters}
    several = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.empty)
    stated = {n: kind for n, kind in stated.items() if kind is not several[2] and parameters[n].kind not in several}
    known = getattr(plain, "__globals__", {})  # of a function that was made by `exec` there is no module
    return typing.get_type_hints(types.SimpleNamespace(__annotations__=stated), known, include_extras=True)


@functools.cache
def field_types(owner: type) -> dict[str, typing.Any]:
    """Return the evaluated types of a dataclass's fields."""
    return typing.get_type_hints(owner, include_extras=True)


def fitting(value, kind):
    """Return a value as a type, raise `Unfit` if it is not of it."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return in_range(fitting(value, parts[0]), parts[1])
    if origin in (typing.Union, types.UnionType):
        return first_fitting(value, parts)
    if kind in SIMPLE:
        return SIMPLE[kind](value)
    known = origin or kind
    if not inspect.isclass(known) or getattr(known, "_is_protocol", False):
        return value
    if issubclass(known, Mapping):
        return mapping(value, parts)
    if known is tuple or known in SEQUENCES:
        return sequence(value, parts)
    return value  # of a class of its own, which is checked where it is used


def required(value, fits: bool):
    """Return a value, raise `Unfit` if it does not fit."""
    if not fits:
        raise Unfit
    return value


def in_range(value, expected: str):
    """Return a value that lies in a range of `RANGES`."""
    return required(value, RANGES[expected](value))


def first_fitting(value, kinds):
    """Return a value as the first of several types that it is of."""
    for kind in kinds:
        try:
            return fitting(value, kind)
        except Unfit:
            continue
    raise Unfit


def integer(value) -> int:
    """Return a whole number, of Python, NumPy or written as a float, as an integer."""
    whole = isinstance(value, Integral) or (isinstance(value, Real) and abs(value) < EXACT and value == int(value))
    return int(required(value, whole and not isinstance(value, bool) and abs(value) < LARGEST))


def number(value):
    """Return a number other than NaN."""
    return required(value, isinstance(value, Real) and not isinstance(value, bool) and value == value)


def truth(value) -> bool:
    """Return True or False, of Python or NumPy or written as 1 or 0, as a boolean."""
    return bool(required(value, type(value).__name__ in ("bool", "bool_", "int") and value in (0, 1)))


def mapping(value, parts):
    """Return a mapping whose keys and values fit."""
    required(value, isinstance(value, Mapping))
    for pair in value.items() if parts else ():
        for one, kind in zip(pair, parts, strict=True):
            fitting(one, kind)
    return value


def sequence(value, parts):
    """Return a sequence whose entries fit; a string is none.

    The number of values in an entry is checked where it is used, which knows what they stand for.
    """
    required(value, isinstance(value, SEQUENCES) and not isinstance(value, (str, bytes, Mapping)))
    kinds = [kind for kind in parts if kind is not ...]
    if len(kinds) < len(parts) or len(kinds) == 1:
        kinds = kinds * len(value) if hasattr(value, "__len__") else []
    required(value, not parts or not hasattr(value, "__len__") or len(value) == len(kinds))
    for one, kind in zip(value if kinds else (), kinds, strict=True):
        if typing.get_origin(kind) is not tuple or not hasattr(one, "__len__") or isinstance(one, str):
            fitting(one, kind)
    return value


SEQUENCES = (collections.abc.Sequence, collections.abc.Iterable)
SIMPLE = {
    typing.Any: lambda value: value,
    int: integer,
    float: number,
    bool: truth,
    str: lambda value: required(value, isinstance(value, (str, os.PathLike))),
    Path: lambda value: required(value, isinstance(value, (str, os.PathLike))),
    type(None): lambda value: required(value, value is None),
}


def cut(text: str) -> str:
    """Return a text of at most `SHOWN` characters."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def in_words(kind) -> str:
    """Return a type in words, e.g. "a positive integer or None"."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return parts[1]
    if origin in (typing.Union, types.UnionType):
        *words, last = [in_words(part) for part in parts]
        return f"{', '.join(words)} or {last}"
    if kind in WORDS:
        return WORDS[kind]
    known = origin or kind
    if inspect.isclass(known) and issubclass(known, Mapping):
        return "keys and values"
    if known is tuple or known in SEQUENCES:
        several = f"{len(parts)} " if ... not in parts and len(parts) > 1 else ""
        return f"a sequence of {several}{plural(parts[0]) if parts else 'values'}"
    return f"a {getattr(known, '__name__', known)}"


def plural(kind) -> str:
    """Return the name of a type for several of it."""
    if typing.get_origin(kind) is typing.Annotated:
        return f"values, each {in_words(kind)}"
    return PLURALS.get(kind) or f"{getattr(kind, '__name__', 'value')}s"
