"""Factory functions, one per registered name: `kzoo.models.resnet18(input_shape, num_classes)`.

`kzoo.zoo.factory` puts them here. The modules of this package are the architectures, one file per family: a file is
imported, and registers its variants, by being here. A factory comes before a module of the same name, as in
torchvision.
"""

import importlib
import pkgutil

from kzoo.core.registry import MODELS

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


__all__ = sorted(MODELS)  # of `kzoo.zoo.factory`, which makes each at its first use


def __dir__() -> list[str]:
    """List the factories, not the modules of the families."""
    return __all__
