"""The Python snippets of a page in Markdown, as a reader would run them."""

import importlib.util
import re
from pathlib import Path

NEEDS = {
    "folder:recordings": ("soundfile",),
    "GunPoint": ("sktime", "aeon"),
    "timm/": ("huggingface_hub",),
    "onnxruntime": ("onnxruntime",),
    "ai_edge_litert": ("ai_edge_litert",),
}
MARK = "<!-- parsed only: "  # before a snippet that needs what is not everywhere; it goes on with the reason


def snippets(page: Path) -> list[str]:
    """Return the snippets of a page that are to be run."""
    return [code for mark, code in found(page) if not mark]


def only_parsed(page: Path) -> list[str]:
    """Return the snippets of a page that are marked as not to be run."""
    return [code for mark, code in found(page) if mark]


def found(page: Path) -> list[tuple[str, str]]:
    """Return each snippet of a page with its mark."""
    return re.findall(rf"({re.escape(MARK)}[^\n]*-->\n)?```python\n(.*?)```", page.read_text(), re.DOTALL)


def runnable(snippet: str) -> str:
    """Return a snippet, or nothing if an optional package is not here, with one epoch in place of many."""
    absent = [word for word, packages in NEEDS.items() if not any(map(importlib.util.find_spec, packages))]
    if any(word in snippet for word in absent):
        return ""
    return re.sub(r"epochs=\d+", "epochs=1", snippet)


def run(page: Path) -> None:
    """Run the snippets of a page one after the other."""
    namespace = {}
    for snippet in snippets(page):
        exec(compile(runnable(snippet), page.name, "exec"), namespace)
