"""oneDNN in TensorFlow: switched on for x86 processors, where TensorFlow leaves it off on those without VNNI or AMX.

On AMD's Zen 3 it makes the training of ResNet-20 1.8 to 2.1 times as fast, of LeNet-5 2 times.
"""

import functools
import os
import platform
import sys
import warnings

from kzoo.core.lazy import keras, tf

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"  # TensorFlow reads it once, when it is imported


def enable_onednn() -> None:
    """Let TensorFlow use oneDNN, unless the user has set the variable or TensorFlow is imported already."""
    if is_x86() and "tensorflow" not in sys.modules:
        os.environ.setdefault(VARIABLE, "1")


def is_x86() -> bool:
    """Return whether the processor is an x86-64 one."""
    return platform.machine().lower() in ("x86_64", "amd64")


def onednn_is_on() -> bool | None:
    """Return whether TensorFlow uses oneDNN; None on other backends, or if TensorFlow does not say."""
    if keras.backend.backend() != "tensorflow":
        return None
    try:
        from tensorflow.python.util import _pywrap_util_port  # there is no public way to ask
    except ImportError:
        return None
    return _pywrap_util_port.IsMklEnabled()


@functools.cache
def hint_at_onednn() -> None:
    """Warn once if TensorFlow was imported before kzoo, without oneDNN, on a processor that it would make faster."""
    decided = VARIABLE in os.environ or not is_x86() or onednn_is_on() is not False
    if not decided and not tf.config.list_physical_devices("GPU"):
        warnings.warn(
            f"TensorFlow runs without oneDNN, with which training is up to twice as fast on this processor: import "
            f"kzoo before TensorFlow and Keras, or set {VARIABLE}=1 in the environment",
            stacklevel=3,
        )
