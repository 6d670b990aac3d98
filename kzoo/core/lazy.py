"""Lazy imports: heavy libraries are imported at their first use, so that `import kzoo` and `kzoo list` are fast."""

import importlib


class lazy_import:
    """Stand for a module until something of it is used: `keras = lazy_import("keras")`.

    Nothing is left in `sys.modules` before the real import. The lazy modules of importlib (and of the package
    lazy_loader) are, and any code that walks over `sys.modules` then loads them in the middle of another
    import: Keras half-loaded from inside TensorFlow, with "module 'keras' has no attribute 'layers'".
    """

    def __init__(self, name: str):
        self._name, self._module = name, None

    def __getattr__(self, attribute: str):
        if self._module is None:
            self._module = importlib.import_module(self._name)
        return getattr(self._module, attribute)


figures = lazy_import("kzoo.core.figures")
jax = lazy_import("jax")
keras = lazy_import("keras")
matplotlib = lazy_import("matplotlib")
metrics = lazy_import("sklearn.metrics")
model_selection = lazy_import("sklearn.model_selection")
np = lazy_import("numpy")
PIL_Image = lazy_import("PIL.Image")
psutil = lazy_import("psutil")
rich_console = lazy_import("rich.console")
rich_progress = lazy_import("rich.progress")
rich_table = lazy_import("rich.table")
rich_text = lazy_import("rich.text")
soundfile = lazy_import("soundfile")
special = lazy_import("scipy.special")
tf = lazy_import("tensorflow")
tfds = lazy_import("tensorflow_datasets")
torch = lazy_import("torch")
