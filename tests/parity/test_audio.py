"""Equal to torch-vggish-yamnet in every value: random weights and statistics carried over, outputs compared."""

import re
import sys
import types

import numpy as np
import pytest

import kzoo
from kzoo.nn.naming import Rule

torch = pytest.importorskip("torch")
# Its networks import its reader of sound files, which needs torchaudio and is not used here.
sys.modules.setdefault("torch_vggish_yamnet.input_proc", types.ModuleType("torch_vggish_yamnet.input_proc"))
vggish = pytest.importorskip("torch_vggish_yamnet.vggish.model")
yamnet = pytest.importorskip("torch_vggish_yamnet.yamnet.model")

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4  # of the outputs' standard deviation

# Its VGGish is a sequence that counts activations and poolings.
PLACES = {"stage1.conv1": 0, "stage2.conv1": 3, "stage3.conv1": 6, "stage3.conv2": 8, "stage4.conv1": 11}
PLACES |= {"stage4.conv2": 13}
BLOCKS = [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), *((4, block) for block in range(6)), (5, 0), (5, 1)]


def place_in_features(match: re.Match, layers: list[str]) -> str:
    return f"features.{PLACES[match[0]]}"


def place_in_embeddings(match: re.Match, layers: list[str]) -> str:
    return f"embeddings.{2 * int(match[1]) - 2}"


def place_in_layers(match: re.Match, layers: list[str]) -> str:
    return f"layer{BLOCKS.index((int(match[1]), int(match[2]))) + 2}."


VGGISH = (Rule(r"^stage\d\.conv\d$", place_in_features), Rule(r"^head\.dense(\d)$", place_in_embeddings))
YAMNET = (
    Rule(r"^stem\.conv1$", "layer1.fused.conv"),
    Rule(r"^stem\.norm1$", "layer1.fused.bn"),
    Rule(r"^stage(\d)\.block(\d)\.", place_in_layers),
    Rule(r"\.dwconv1$", ".depthwise_conv.conv"),
    Rule(r"\.norm1$", ".depthwise_conv.bn"),
    Rule(r"\.conv1$", ".pointwise_conv.conv"),
    Rule(r"\.norm2$", ".pointwise_conv.bn"),
    Rule(r"^logits$", "classifier"),
)


def spectrograms(*size: int):
    """Return three of noise, each louder than the one before, so that much of an output's spread is due to them."""
    generator = torch.Generator().manual_seed(sum(size))
    return torch.randn(3, 1, *size, generator=generator) * torch.tensor([0.5, 1.0, 2.0]).reshape(3, 1, 1, 1)


def randomised(network):
    """Return a network in inference mode that no default of a weight or statistic makes blind to a mistake."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
        elif isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(0, 0.1)
    with torch.no_grad():
        network.train()(spectrograms(96, 64))
    return network.eval()


def assert_equal(model, expected, images) -> None:
    values = np.asarray(model(images.permute(0, 2, 3, 1).numpy(), training=False))
    assert np.abs(values - expected.numpy()).max() < TOLERANCE * expected.numpy().std()


def test_embedding_is_vggish():
    network = vggish.VGGish()
    network.embeddings[-1] = torch.nn.Identity()  # the published embedding is that before a ReLU
    network = randomised(network)
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    # It flattens channels last, as TensorFlow does; `kzoo.load_weights` expects channels first.
    kernel = tensors["embeddings.0.weight"].reshape(4096, 6, 4, 512)
    tensors["embeddings.0.weight"] = np.moveaxis(kernel, -1, 1).reshape(4096, -1)
    model = kzoo.create_model("vggish", (96, 64, 1), 0)
    kzoo.load_weights(model, tensors, rules=VGGISH)
    images = spectrograms(96, 64)
    with torch.inference_mode():
        assert_equal(model, network(images), images)


@pytest.mark.parametrize("size", [(96, 64), (99, 61)])
def test_logits_are_those_of_yamnet(size):
    network = randomised(yamnet.YAMNet())  # its normalisations have scales, of 1: the published network has none
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    model = kzoo.create_model("yamnet", (None, None, 1), 521)
    tensors = {name: t for name, t in tensors.items() if not name.endswith("bn.weight")}
    kzoo.load_weights(model, tensors, rules=YAMNET)
    images = spectrograms(*size)
    with torch.inference_mode():
        assert_equal(model, network(images)[1], images)
