"""Equal to timm and torchvision in every logit: random weights and statistics carried over, outputs compared.

The twins are found by name, so registering a variant that timm has tests it.
"""

import numpy as np
import pytest
from torch_networks import double_precision

import kzoo
from kzoo.zoo.weights import load_weights

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")

pytestmark = pytest.mark.parity

# Of the logits' standard deviation. Rounding gives up to 3e-5, another framework's padding or epsilon 1e-2 or more.
TOLERANCE = 1e-4
# The least share of the logits that the image must decide, lest an equal bias is all that is seen.
SENSITIVE = 0.03
# torchvision's networks of these names, which timm has too, have another epsilon; their variances make up for it here.
EPSILON_SHIFTS = dict.fromkeys(("efficientnet_b5", "efficientnet_b6", "efficientnet_b7"), 1e-3 - 1e-5)


def twins(theirs) -> list[str]:
    """Return our classifiers that the other library has too, of families that say what it calls their layers."""
    names = kzoo.list_models(task="classification")
    return [name for name in names if name in theirs and kzoo.model_card(name).key_mapping]


def tinted_noise(size: int):
    """Return two images of random colours, so unlike that a good part of a logit is due to the image."""
    generator = torch.Generator().manual_seed(0)
    tints = torch.randn(2, 3, 1, 1, generator=generator)
    return tints + torch.randn(2, 3, size, size, generator=generator)


def randomised(create, name: str):
    """Return a network in inference mode with no weight or statistic at a default that would hide a mistake.

    Not calibrated to data on purpose: statistics that undo the network's own scale at each of 150 layers turn
    float32's rounding into a thousandth of the logits, in PyTorch as here. But a network whose logits are the same for
    any image, as of kernels that start too small for these statistics, gets larger ones.
    """
    torch.manual_seed(0)
    network = create(name)
    for key, tensor in network.state_dict().items():
        if key.endswith(("running_var", "gain")) or (tensor.ndim == 1 and key.endswith("weight")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1 or key.endswith("layer_scale"):
            tensor.normal_(0, 0.1)
    network.eval()
    for gain in (2, 4, 8):
        if due_to_image(network) > SENSITIVE:
            return network
        draw_kernels(network, gain)
    assert due_to_image(network) > SENSITIVE
    return network


def draw_kernels(network, gain: float) -> None:
    """Give the kernels normal values of a variance of `gain` over the number of inputs; 2 is He's."""
    for key, tensor in network.state_dict().items():
        if tensor.ndim in (2, 4) and not key.endswith(("gain", "layer_scale")):
            tensor.normal_(0, (gain / tensor[0].numel()) ** 0.5)


def due_to_image(network, size: int = 160) -> float:
    """Return how far apart the logits of two images are, as a share of the logits' standard deviation."""
    with torch.inference_mode():
        logits = network(tinted_noise(size)).double()
    return float((logits[0] - logits[1]).std() / logits.std()) / 2**0.5


def carried_over(network, name: str):
    """Return our network of this name, for images of any size, with the other's weights."""
    model = kzoo.create_model(name, (None, None, 3), 1000)
    tensors = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    if isinstance(network, torchvision.models.EfficientNet):
        shift = EPSILON_SHIFTS.get(name, 0.0)
        tensors |= {key: tensor + shift for key, tensor in tensors.items() if key.endswith("running_var")}
    load_weights(model, tensors)
    return model


def relative_difference(network, model, size: int, dtype=torch.float32) -> float:
    """Return the largest difference between two logits, in standard deviations of the logits."""
    images = tinted_noise(size).to(dtype)
    with torch.inference_mode():
        expected = network(images).double().numpy()  # in float32 the squares of large logits are infinite
    logits = np.asarray(model(images.permute(0, 2, 3, 1).numpy(), training=False))
    return np.abs(logits - expected).max() / expected.std()


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
