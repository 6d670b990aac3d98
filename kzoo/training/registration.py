"""Registration of kzoo's Keras objects, so that `import kzoo` is enough to load a saved model.

Importing them would import Keras, so they are imported when Keras is, or at once if it is already.
"""

import importlib
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

MODULES = (  # all that register a layer, initializer, loss, metric, schedule or optimizer
    "kzoo.data.image.resizing",
    "kzoo.nn.grouped",
    "kzoo.nn.handcrafted",
    "kzoo.nn.resizing",
    "kzoo.nn.standardized",
    "kzoo.nn.subpixel",
    "kzoo.tasks.losses",
    "kzoo.tasks.metrics",
    "kzoo.training.muon",
    "kzoo.training.schedules",
    "kzoo.training.weight_decay",
)


def register_with_keras() -> None:
    """Import the modules of kzoo's Keras objects when Keras is imported, or now if it is already."""
    if "keras" in sys.modules:
        import_modules()
    else:
        sys.meta_path.insert(0, KerasFinder())


def import_modules() -> None:
    """Import the modules, which register their objects."""
    for name in MODULES:
        importlib.import_module(name)


class KerasFinder(MetaPathFinder):
    """Find Keras as the other finders do, and import the modules after it."""

    def find_spec(self, fullname: str, path, target=None) -> ModuleSpec | None:
        if fullname != "keras":
            return None
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                import_modules()

            spec.loader.exec_module = execute_and_register
        return spec
