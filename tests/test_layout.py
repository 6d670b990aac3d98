"""The rooms of the package: a module imports only from its own room and the rooms to the left of it."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import kzoo
from kzoo.zoo import stubs

ROOMS = ("core", "nn", "tasks", "data", "models", "zoo", "training", "serving", "analysis", "cli")
PACKAGE = Path(kzoo.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
ONLY_KERAS = [["nn"], ["models"], ["zoo"], ["tasks"], ["training"]]
PLATFORM = ("kzoo.nn.fused", "kzoo.nn.precision", "kzoo.training.distributed")  # what TensorFlow does in its own way


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> int:
    """Return the index of the room of a module; the entry points `kzoo` and `kzoo.__main__` are to the right of all."""
    name = module.split(".")[1] if "." in module else ""
    return ROOMS.index(name) if name in ROOMS else len(ROOMS)


def imports_of(path: Path) -> list[str]:
    """Return the modules of kzoo that a module imports, those that are imported at their first use included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found += [f"kzoo.{a.name}" for a in node.names] if node.module == "kzoo" else [node.module]
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazy_import":
            found.append(node.args[0].value)
    return [module for module in found if module.split(".")[0] == "kzoo"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_to_the_left(path):
    module = name_of(path)
    assert not [target for target in imports_of(path) if room_of(target) > room_of(module)]


def test_only_the_entry_points_lie_outside_the_rooms():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "cli.py"}
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"} == set(ROOMS) - {"cli"}


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "__main__.py"], ids=name_of)
def test_no_function_hides_a_module(path):
    module = name_of(path)
    parent, _, name = module.rpartition(".")
    if parent and parent != "kzoo.models":  # whose factories stand in front of the files of their families
        importlib.import_module(module)
        assert inspect.ismodule(getattr(sys.modules[parent], name))


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p).split(".")[1:2] in ONLY_KERAS], ids=name_of)
def test_networks_and_training_name_no_backend(path):
    source = path.read_text()
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    lazily = {alias.name for node in nodes if node.module == "kzoo.core.lazy" for alias in node.names}
    assert name_of(path) in PLATFORM or not (lazily & {"tf", "tfds"} or 'lazy_import("tensorflow' in source)


@pytest.mark.parametrize("path", sorted((PACKAGE / "models").glob("*.py")), ids=name_of)
def test_no_architecture_names_a_rank(path):
    tree = ast.parse(path.read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not [name for name in used if name.endswith(("1D", "2D"))]


def test_importing_kzoo_loads_neither_keras_nor_tensorflow():
    program = (
        "import sys, kzoo, kzoo.cli; kzoo.list_models(); print({'keras', 'tensorflow', 'numpy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_type_stub_is_current():
    assert stubs.STUB.read_text() == stubs.stub(), "run python -m kzoo.zoo.stubs"
