"""Equal to segmentation_models_pytorch and torchvision in every logit: random weights carried over, outputs compared.

The twins are found by their names. segmentation_models_pytorch refuses sizes that are no multiple of the encoder's
stride: there it is given the input padded with zeros, as our networks pad it, and its logits are cut.
"""

import keras
import numpy as np
import pytest
from torch_networks import double_precision, randomise

import kzoo
from kzoo.zoo.weights import load_weights

torch = pytest.importorskip("torch")
smp = pytest.importorskip("segmentation_models_pytorch")
segmentation = pytest.importorskip("torchvision.models.segmentation")

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4  # of the logits' standard deviation
DECODERS = {
    "unet": smp.Unet,
    "unetpp": smp.UnetPlusPlus,
    "fpn": smp.FPN,
    "linknet": smp.Linknet,
    "pspnet": smp.PSPNet,
    "pan": smp.PAN,
    "deeplabv3plus": smp.DeepLabV3Plus,
}
OF_SMP = [name for name in kzoo.list_models(task="segmentation") if kzoo.model_card(name).family in DECODERS]
OF_TORCHVISION = [name for name in kzoo.list_models() if callable(getattr(segmentation, name, None))]


def of_smp(name: str, classes: int):
    """Return segmentation_models_pytorch's network; an encoder that it has not is timm's."""
    card = kzoo.model_card(name)
    encoder = card.architecture.encoder
    encoder = encoder if encoder.startswith("resnet") else f"tu-{encoder}"
    return DECODERS[card.family](encoder, encoder_weights=None, classes=classes)


def images(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")


def logits_of(network, x: np.ndarray) -> np.ndarray:
    """Return the logits of an input, in the precision of the network; the input is padded if they need it."""
    dtype = next(network.parameters()).dtype
    multiple = network.encoder.output_stride if hasattr(network, "encoder") else 1
    padded = np.pad(x, [(0, 0), *((0, -have % multiple) for have in x.shape[1:3]), (0, 0)])
    with torch.inference_mode():
        found = network(torch.tensor(padded.transpose(0, 3, 1, 2), dtype=dtype))
    found = found["out"] if isinstance(found, dict) else found
    return found.numpy().transpose(0, 2, 3, 1)[:, : x.shape[1], : x.shape[2]]


def difference(network, name: str, x: np.ndarray) -> float:
    """Return the largest difference between two logits, in standard deviations of the logits."""
    expected = logits_of(network, x)
    model = kzoo.create_model(name, x.shape[1:], expected.shape[-1])
    load_weights(model, {key: tensor.numpy() for key, tensor in network.state_dict().items()})
    return np.abs(keras.ops.convert_to_numpy(model(x, training=False)) - expected).max() / expected.std()


def compared(network, name: str, x: np.ndarray) -> tuple[float, str]:
    """Return the difference of the logits and its precision, float64 where float32's rounding grows in the network."""
    found = difference(network, name, x)
    if found < TOLERANCE:
        return found, "float32"
    with double_precision():
        return difference(network.double(), name, x), "float64"


@pytest.mark.parametrize("size", [(128, 160), (131, 150)], ids=["even", "odd"])
@pytest.mark.parametrize("name", OF_SMP)
def test_logits_equal_those_of_segmentation_models_pytorch(name, size, seen):
    found, precision = compared(randomise(of_smp(name, 3)), name, images(size))
    seen("segmentation_models_pytorch", name, size[0], found, precision)
    assert found < TOLERANCE


@pytest.mark.parametrize("size", [(128, 160), (131, 150)], ids=["even", "odd"])
@pytest.mark.parametrize("name", OF_TORCHVISION)
def test_logits_equal_those_of_torchvision(name, size, seen):
    options = {"weights": None, "weights_backbone": None, "aux_loss": True, "num_classes": 5}
    found, precision = compared(randomise(getattr(segmentation, name)(**options)), name, images(size))
    seen("torchvision", name, size[0], found, precision)
    assert found < TOLERANCE
