"""The layers of the package: a module imports only from the layers above it in this list."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kzoo
from kzoo import stubs

LAYERS = [
    ["kzoo.lazy"],
    ["kzoo.files", "kzoo.ranges", "kzoo.determinism", "kzoo.averaging", "kzoo.muon", "kzoo.shown"],
    ["kzoo.standardized", "kzoo.solvers", "kzoo.fused"],
    [
        "kzoo.registry",
        "kzoo.naming",
        "kzoo.yaml",
        "kzoo.checkpoint",
        "kzoo.pictures",
        "kzoo.peers",
        "kzoo.receptive_field",
    ],
    ["kzoo.filters"],
    ["kzoo.untrained"],
    ["kzoo.layers", "kzoo.data", "kzoo.profile", "kzoo.optimizers", "kzoo.precision", "kzoo.views"],
    ["kzoo.blocks", "kzoo.tasks", "kzoo.schedules", "kzoo.distributed"],
    ["kzoo.models", "kzoo.runs", "kzoo.recipes", "kzoo.applications", "kzoo.pace"],
    ["kzoo.weights", "kzoo.hub", "kzoo.callbacks", "kzoo.serve", "kzoo.records"],
    ["kzoo.factory", "kzoo.report_html"],
    ["kzoo.stubs", "kzoo.train", "kzoo.export", "kzoo.pretrained", "kzoo.reparameterize"],
    ["kzoo.evaluate", "kzoo.compare", "kzoo.benchmark", "kzoo.finders", "kzoo.visualize", "kzoo.budget"],
    ["kzoo.experiment", "kzoo.diagram", "kzoo.classical"],
    ["kzoo.shift"],
    ["kzoo"],
    ["kzoo.cli"],
    ["kzoo.__main__"],
]
BLIND_TO_MODELS = ("data", "train", "evaluate", "export", "weights", "serve", "runs", "callbacks", "tasks")
ONLY_KERAS = ("registry", "layers", "blocks", "models", "factory", "tasks", "train")
PACKAGE = Path(kzoo.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


def layer_of(module: str) -> int:
    """Return the index of the layer that holds `module` or its nearest parent package."""
    while not any(module in layer for layer in LAYERS):
        module = module.rpartition(".")[0]
    return next(i for i, layer in enumerate(LAYERS) if module in layer)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> list[str]:
    """Return the modules of kzoo that a module imports."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "kzoo":
            found += [
                f"kzoo.{a.name}" if (PACKAGE / a.name).exists() or (PACKAGE / f"{a.name}.py").exists() else "kzoo"
                for a in node.names
            ]
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("kzoo."):
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("kzoo.")]
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_downwards(path):
    module = name_of(path)
    for target in imports_of(path):
        same_package = module != "kzoo" and target.split(".")[1:2] == module.split(".")[1:2]
        assert same_package or layer_of(target) < layer_of(module), f"{module} imports {target}"
        if module.split(".")[1:2] and module.split(".")[1] in BLIND_TO_MODELS:
            assert not target.startswith(("kzoo.models", "kzoo.factory")), f"{module} imports {target}"


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p).split(".")[-1] in ONLY_KERAS], ids=name_of)
def test_the_core_names_no_backend(path):
    assert "tensorflow as" not in path.read_text()
    assert 'lazy_import("tensorflow' not in path.read_text()


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
    assert stubs.STUB.read_text() == stubs.stub(), "run python -m kzoo.stubs"
