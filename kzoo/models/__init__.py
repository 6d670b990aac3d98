"""Architectures, one file per family; a file in this folder is imported, and registers its variants, by being there.

`kzoo.models.<name>(input_shape, num_classes, **hyperparameters)` builds the variant of that name: `kzoo.zoo.factory`
puts one function per registered name here, in front of a submodule of the same name, as torchvision does.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
