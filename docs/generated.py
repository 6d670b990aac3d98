"""Sphinx extension that generates pages: one for each family of networks, and the API reference.

They are made from the registry, docstrings and the head comments of the configs; registering a network is all that its
page needs. `-D kzoo_pictures=lenet,resnet` draws the networks of these families alone, which is faster.
"""

from __future__ import annotations

import re
from pathlib import Path

import api_pages
import network_pages


def setup(app) -> dict:
    """Let Sphinx write the pages before it looks for sources."""
    app.add_config_value("kzoo_pictures", "all", "env", [str])
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", literal_names, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", is_place)
    return {}


def write_pages(app) -> None:
    """Write the pages that have changed, and delete those that are no longer generated."""
    source, drawn = Path(app.srcdir), app.config.kzoo_pictures
    networks = network_pages.pages(None if drawn == "all" else drawn.split(","))
    for folder, pages in {"networks": networks, "api": api_pages.pages()}.items():
        (source / folder).mkdir(exist_ok=True)
        made = dict(pages)
        for old in {path.name for path in (source / folder).iterdir()} - set(made):
            (source / folder / old).unlink()
        for name, text in made.items():
            path = source / folder / name
            if not path.exists() or path.read_text() != text:
                path.write_text(text)


def is_place(app, what, name, obj, skip, options) -> bool | None:
    """Leave out the fields of named tuples, which their docstrings explain."""
    return True if str(obj.__doc__).startswith("Alias for field number") else None


def literal_names(app, what, name, obj, options, lines: list[str]) -> None:
    """Turn `x` in a docstring into a link where it is in the reference, into code otherwise; a star stays a star."""
    lines[:] = [re.sub(r"(?<![`:])`([^`]+)`(?!`)|(?<![*\w])\*(?=\w)", written, line) for line in lines]


def written(match: re.Match) -> str:
    """Return what a name between backticks, or a star, becomes."""
    if match[1] is None:
        return r"\*"
    known = match[1].startswith("kzoo.") and match[1].removeprefix("kzoo.") in api_pages.public()
    return f":py:obj:`{match[1]}`" if known else f"``{match[1]}``"
