"""The reference: everything in `kzoo.__all__`, what it returns, the vocabulary of networks, data, and the command."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator

import typer

import kzoo
from kzoo import cli

BUILDING = ("kzoo.core.registry", "kzoo.nn.layers", "kzoo.nn.blocks")
DATA = ("kzoo.data.splits", "kzoo.data.image", "kzoo.data.audio", "kzoo.data.text", "kzoo.data.timeseries")


def pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file."""
    yield "index.rst", functions()
    about = "What architectures are written in, and how they are registered."
    yield "building.rst", headed("The vocabulary", "=") + f"{about}\n\n" + of_modules(BUILDING)
    about = "What loaders return and users get, and the random changes of each kind of data."
    yield "data.rst", headed("Data", "=") + f"{about}\n\n" + of_modules(DATA)
    yield "command.md", command()


def headed(text: str, mark: str) -> str:
    """Return a heading."""
    return f"{text}\n{mark * len(text)}\n\n"


def public() -> dict[str, object]:
    """Return the functions and classes of `kzoo.__all__`."""
    return {name: getattr(kzoo, name) for name in kzoo.__all__ if callable(getattr(kzoo, name))}


def functions() -> str:
    """Return the page of the functions, by the module that they are from."""
    text = headed("Functions", "=")
    text += "All of them are ``kzoo.NAME``. The networks, ``kzoo.models.NAME``, have pages of their own.\n\n"
    by_module: dict[str, list[str]] = {}
    for name, thing in public().items():
        by_module.setdefault(thing.__module__, []).append(name)
    for module, names in sorted(by_module.items()):
        text += headed(first_sentence(module), "-")
        text += "".join(entry(public()[name], f"kzoo.{name}") for name in names)
    elsewhere = [*public().values(), *with_mentioned(BUILDING), *with_mentioned(DATA)]
    text += headed("What they return", "-")
    text += "".join(entry(thing) for thing in mentioned(public().values(), elsewhere))
    return text + "\n.. toctree::\n   :hidden:\n\n   building\n   data\n   command\n"


def first_sentence(module: str) -> str:
    """Return the first line of a module's docstring without marks."""
    return importlib.import_module(module).__doc__.strip().partition("\n")[0].replace("`", "").rstrip(".")


def of_modules(names: tuple[str, ...]) -> str:
    """Return entries for what is documented in modules, then for the classes that they mention."""
    text = "".join(headed(name, "-") + "".join(map(entry, members(name))) for name in names)
    others = with_mentioned(names)[sum(len(members(name)) for name in names) :]
    return text + (headed("What these mention", "-") + "".join(map(entry, others)) if others else "")


def members(module: str) -> list:
    """Return the functions and classes of a module in its order; of a package, those that it hands out."""
    found = importlib.import_module(module)
    names = getattr(found, "__all__", vars(found))
    things = [getattr(found, name) for name in names if not name.startswith("_")]
    own = [t for t in things if (inspect.isclass(t) or inspect.isfunction(t)) and t.__module__.startswith(module)]
    return [thing for thing in own if thing.__doc__]


@functools.cache
def with_mentioned(modules: tuple[str, ...]) -> list:
    """Return what is documented in modules, and the classes that it mentions."""
    things = [thing for name in modules for thing in members(name)]
    return [*things, *mentioned(things, things)]


def mentioned(things: Iterable, known: Iterable) -> list[type]:
    """Return the classes of kzoo in the annotations of these things, and in theirs in turn, that are not known."""
    found, ahead, known = [], list(things), set(known)
    while ahead:
        for thing in classes_in(ahead.pop(0)):
            if thing not in known:
                known.add(thing)
                found.append(thing)
                ahead.append(thing)
    return found


def classes_in(thing) -> Iterator[type]:
    """Yield the classes of kzoo that are named in the annotations of a function, or of a class and its methods."""
    inside = vars(thing).values() if inspect.isclass(thing) else ()
    functions = [getattr(value, "fget", getattr(value, "__func__", value)) for value in inside]
    texts = [str(getattr(part, "__annotations__", "")) for part in [thing, *functions]]
    names = vars(importlib.import_module(thing.__module__))
    unqualified = re.sub(r"\bkzoo\.(\w+\.)*", "", " ".join(texts))  # a class is written with its module
    for word in dict.fromkeys(re.findall(r"[A-Za-z_][\w.]*", unqualified)):
        first, *others = word.split(".")
        named = functools.reduce(lambda found, name: getattr(found, name, None), others, names.get(first))
        if inspect.isclass(named) and named.__module__.startswith("kzoo."):
            yield named


def entry(thing, name: str = "") -> str:
    """Return the directive that documents a function or a class."""
    name = name or f"{thing.__module__}.{thing.__qualname__}"
    if inspect.isclass(thing):
        return f".. autoclass:: {name}\n   :members:\n\n"
    return f".. autofunction:: {name}\n\n"


def command() -> str:
    """Return the page of the command line, as `--help` prints it."""
    group = typer.main.get_command(cli.app)
    parts = ["# The command\n\n`kzoo COMMAND --help` prints the same.\n"]
    parts += [f"## kzoo {name}\n\n{entry.help}\n\n{parameters(entry)}" for name, entry in group.commands.items()]
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Return a text whose stars are no emphasis in Markdown."""
    return text.replace("*", r"\*")


def parameters(entry) -> str:
    """Return a list of a command's arguments and options with their meaning."""
    lines = []
    for parameter in entry.params:
        options = [name for name in parameter.opts if name.startswith("-")]
        names = ", ".join(f"`{name}`" for name in options or [parameter.metavar or parameter.name.upper()])
        lines.append(f"- {names}: {escaped(getattr(parameter, 'help', None) or '')}")
    return "\n".join(lines) + "\n"
