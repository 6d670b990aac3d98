"""Weights that others have trained, at the accuracy that others have measured."""

from pathlib import Path

import numpy as np
import pytest

import kzoo

SHARED = Path(__file__).parents[3] / "shared"
TEST_SPLIT = SHARED / "data" / "cifar10_test.npz"
RESNET20 = SHARED / "weights" / "resnet20_cifar10_akamaster.safetensors"
RESNET8 = SHARED / "weights" / "resnet8_cifar10_mlperf_tiny.h5"

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(not TEST_SPLIT.exists(), reason="the shared CIFAR-10 test split is not on this machine"),
]

# Keras numbers the layers of each kind in the order in which they were made.
MLPERF_TINY_LAYERS = {
    "conv2d": [
        "stem.conv1",
        "stage1.block0.conv1",
        "stage1.block0.conv2",
        "stage2.block0.conv1",
        "stage2.block0.conv2",
        "stage2.block0.shortcut.conv1",
        "stage3.block0.conv1",
        "stage3.block0.conv2",
        "stage3.block0.shortcut.conv1",
    ],
    "batch_normalization": [
        "stem.norm1",
        "stage1.block0.norm1",
        "stage1.block0.norm2",
        "stage2.block0.norm1",
        "stage2.block0.norm2",
        "stage3.block0.norm1",
        "stage3.block0.norm2",
    ],
    "dense": ["logits"],
}


@pytest.fixture(scope="module")
def cifar10():
    with np.load(TEST_SPLIT) as split:
        return split["image"], split["label"]


def num_correct(model, images, labels) -> int:
    logits = model.predict(images.astype("float32"), batch_size=100, verbose=0)
    return int((logits.argmax(axis=1) == labels).sum())


def mlperf_tiny_weights(file) -> dict[str, np.ndarray]:
    """Read the arrays of the Keras file, by our weights' addresses."""
    weights = {}
    for kind, layers in MLPERF_TINY_LAYERS.items():
        for number, layer in enumerate(layers):
            theirs = f"{kind}_{number}" if number else kind
            stored = file["model_weights"][theirs][theirs]
            weights |= {f"{layer}/{name.removesuffix(':0')}": array[()] for name, array in stored.items()}
    return weights


@pytest.mark.skipif(not RESNET20.exists(), reason="the shared weights are not on this machine")
def test_resnet20_of_akamaster_gets_9173_of_10000_right(cifar10):
    images, labels = cifar10
    model = kzoo.create_model("resnet20", (32, 32, 3), 10)
    kzoo.load_weights(model, RESNET20)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    assert num_correct(model, (images / 255 - mean) / std, labels) == 9173


@pytest.mark.skipif(not RESNET8.exists(), reason="the shared weights are not on this machine")
def test_resnet8_of_mlperf_tiny_gets_8719_of_10000_right(cifar10):
    h5py = pytest.importorskip("h5py")
    model = kzoo.create_model("resnet8", (32, 32, 3), 10)
    with h5py.File(RESNET8) as file:
        weights = mlperf_tiny_weights(file)
    assert weights.keys() == {weight.path for weight in model.weights}
    for weight in model.weights:
        weight.assign(weights[weight.path])
    assert num_correct(model, *cifar10) == 8719
