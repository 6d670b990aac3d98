"""Networks of PyTorch for comparisons, and the precision to compare in."""

import contextlib

import keras
import pytest

torch = pytest.importorskip("torch")


def randomise(network):
    """Return a network in inference mode, with no weight or statistic at a default that would hide a mistake."""
    torch.manual_seed(0)
    for key, tensor in network.state_dict().items():
        if tensor.ndim == 1:
            low, high = (0.5, 1.5) if key.endswith(("weight", "running_var")) else (-0.2, 0.2)
            tensor.uniform_(low, high)
        elif tensor.ndim > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
    return network.eval()


@contextlib.contextmanager
def double_precision():
    """Build and run Keras models in float64, but for their logits."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
