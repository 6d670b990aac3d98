"""The Python snippets and shell commands of a page in Markdown, run in the order printed, as a reader would."""

import importlib.util
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import typer

from kzoo.cli import app

NEEDS = {
    "synthetic": ("espeakng_loader",),
    "language_names": ("babel",),
    "GunPoint": ("sktime", "aeon"),
    "Airline": ("sktime", "aeon"),
    "timm/": ("huggingface_hub",),
    "onnxruntime": ("onnxruntime",),
    "ai_edge_litert": ("ai_edge_litert",),
    "import regex": ("regex",),
}
MARK = "<!-- parsed only: "  # before a block that needs what is not everywhere; the reason follows
EXPENSIVE = ("benchmark", "compare-classical", "shift", "visualize", "--each")  # commands for `-m slow`
BLOCK = re.compile(rf"({re.escape(MARK)}[^\n]*-->\n)?```(python|sh)\n(.*?)```", re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page."""

    mark: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the blocks of Python and of shell commands of a page, with their marks."""
    return [Block(*found) for found in BLOCK.findall(page.read_text())]


def snippets(page: Path) -> list[str]:
    """Return the Python snippets of a page that are to be run."""
    return [block.text for block in blocks(page) if block.language == "python" and not block.mark]


def only_parsed(page: Path) -> list[str]:
    """Return the Python snippets of a page that are marked as not to be run."""
    return [block.text for block in blocks(page) if block.language == "python" and block.mark]


def commands(text: str) -> list[list[str]]:
    """Return the arguments of each `kzoo` command in a block of shell commands."""
    lines = text.replace("\\\n", "").splitlines()
    found = [re.search(r"(?:^|&& |KERAS_BACKEND=\w+ )kzoo (.*)", line) for line in lines]
    return [shlex.split(match[1], comments=True) for match in found if match]


def parse_command(arguments: list[str]) -> None:
    """Raise click's error if a `kzoo` command has an unknown name, option or number of arguments."""
    command = typer.main.get_command(app).commands[arguments[0]]
    command.make_context(arguments[0], list(arguments[1:]))


def run_command(arguments: list[str], quick: bool = True) -> None:
    """Run a `kzoo` command in this process; quickly, a training takes one epoch and an expensive command is skipped."""
    if quick and set(arguments) & set(EXPENSIVE):
        return
    if quick:
        arguments = [re.sub(r"^train\.epochs=\d+$", "train.epochs=1", word) for word in arguments]
    if quick and arguments[0] == "train" and "train.epochs=1" not in arguments:
        arguments = [*arguments, "train.epochs=1"]
    status = app(arguments, standalone_mode=False)
    assert not status, f"kzoo {shlex.join(arguments)} ended with status {status}"


def run_python(text: str, page: Path, namespace: dict, quick: bool = True) -> None:
    """Run a Python snippet, if the optional packages that it needs are here; quickly, with one epoch and two folds."""
    absent = [word for word, packages in NEEDS.items() if not any(map(importlib.util.find_spec, packages))]
    if any(word in text for word in absent):
        return
    text = re.sub(r"epochs=\d+", "epochs=1", re.sub(r"n_splits=\d+", "n_splits=2", text)) if quick else text
    exec(compile(text, page.name, "exec"), namespace)


def run(page: Path, shell: bool = False, quick: bool = True) -> None:
    """Run the blocks of a page in one namespace and the working directory, with or without the shell commands."""
    namespace = {}
    for block in blocks(page):
        if block.mark:
            continue
        if block.language == "python":
            run_python(block.text, page, namespace, quick)
        elif shell:
            for arguments in commands(block.text):
                run_command(arguments, quick)
