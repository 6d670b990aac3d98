"""Equal to timm and torchvision in every logit: random weights and statistics carried over, outputs compared.

The twins are found by name, so registering a variant that timm has tests it.
"""

import contextlib

import keras
import numpy as np
import pytest

import kzoo
from kzoo.weights import load_weights

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")

pytestmark = pytest.mark.parity

# Of the logits' standard deviation. Rounding gives up to 3e-5, another framework's padding or epsilon 1e-2 or more.
TOLERANCE = 1e-4


def twins(theirs) -> list[str]:
    """Return our names that the other library has too, of families that say what it calls their layers."""
    return [name for name in kzoo.list_models() if name in theirs and kzoo.model_card(name).reference_names]


def tinted_noise(size: int):
    """Return two images of random colours, so unlike that a good part of a logit is due to the image."""
    generator = torch.Generator().manual_seed(0)
    tints = torch.randn(2, 3, 1, 1, generator=generator)
    return tints + torch.randn(2, 3, size, size, generator=generator)


def randomised(create, name: str):
    """Return a network in inference mode with no weight or statistic at a default that would hide a mistake.

    Not calibrated to data on purpose: statistics that undo the network's own scale at each of 150 layers turn
    float32's rounding into a thousandth of the logits, in PyTorch as here.
    """
    torch.manual_seed(0)
    network = create(name)
    for key, tensor in network.state_dict().items():
        if key.endswith(("running_var", "gain")) or (tensor.ndim == 1 and key.endswith("weight")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1 or key.endswith("layer_scale"):
            tensor.normal_(0, 0.1)
    return network.eval()


def carried_over(network, name: str):
    """Return our network of this name, for images of any size, with the other's weights."""
    model = kzoo.create_model(name, (None, None, 3), 1000)
    tensors = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    load_weights(model, tensors)
    return model


def relative_difference(network, model, size: int, dtype=torch.float32) -> float:
    """Return the largest difference between two logits, in standard deviations of the logits."""
    images = tinted_noise(size).to(dtype)
    with torch.inference_mode():
        expected = network(images).numpy()
    logits = np.asarray(model(images.permute(0, 2, 3, 1).numpy(), training=False))
    return np.abs(logits - expected).max() / expected.std()


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


def compared(network, name: str, model, size: int) -> tuple[float, str]:
    """Return the difference of the logits, and the precision that it was seen in.

    With timm's initial weights and random statistics some deep networks turn float32's rounding into a large part of
    the logits: PyTorch in float32 is then as far from PyTorch in float64. Those are compared in float64.
    """
    difference = relative_difference(network, model, size)
    if difference < TOLERANCE:
        return difference, "float32"
    with double_precision():
        network.double()
        try:
            return relative_difference(network, carried_over(network, name), size, torch.float64), "float64"
        finally:
            network.float()


@pytest.fixture(scope="module")
def timm_pair(request):
    network = randomised(timm.create_model, request.param)
    return network, carried_over(network, request.param)


@pytest.mark.parametrize("timm_pair", twins(timm.list_models()), indirect=True)
@pytest.mark.parametrize("size", [224, 191])
def test_logits_equal_those_of_timm(timm_pair, size, seen):
    network, model = timm_pair
    difference, precision = compared(network, model.name, model, size)
    seen("timm", model.name, size, difference, precision)
    assert difference < TOLERANCE


@pytest.mark.parametrize("name", twins(torchvision.models.list_models()))
def test_logits_equal_those_of_torchvision(name, seen):
    network = randomised(torchvision.models.get_model, name)
    difference, precision = compared(network, name, carried_over(network, name), 288)
    seen("torchvision", name, 288, difference, precision)
    assert difference < TOLERANCE
