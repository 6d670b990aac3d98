"""SqueezeNet 1.0 with the weights that its authors trained: the zoo's network computes what theirs is defined to."""

import re
from pathlib import Path

import numpy as np
import pytest

import kzoo
from kzoo.nn.naming import Rule

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("sklearn.datasets")

WEIGHTS = Path(__file__).parents[3] / "shared" / "weights" / "squeezenet1_0_imagenet.npz"

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(not WEIGHTS.exists(), reason="the shared weights are not on this machine"),
]

PARTS = {"conv1": "squeeze1x1", "conv2": "expand1x1", "conv3": "expand3x3"}


def layer_of_fire(match: re.Match, layers) -> str:
    """The first fire module of the authors is their second layer."""
    modules = list(dict.fromkeys(layer.rpartition(".")[0] for layer in layers if layer.startswith("stage")))
    return f"fire{2 + modules.index(match[1])}_{PARTS[match[2]]}"


AUTHORS_NAMES = (
    Rule(r"^stem\.conv1$", "conv1"),
    Rule(r"^(stage\d\.block\d)\.(conv\d)$", layer_of_fire),
    Rule(r"^logits$", "conv10"),
)


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    """The arrays of the file, with PyTorch's words for a kernel and a bias."""
    with np.load(WEIGHTS) as file:
        return {re.sub("_w$", ".weight", re.sub("_b$", ".bias", name)): file[name] for name in file.files}


@pytest.fixture(scope="module")
def model(tensors):
    network = kzoo.create_model("squeezenet1_0", (None, None, 3), 1000)
    assert len(kzoo.load_weights(network, tensors, rules=AUTHORS_NAMES).matched) == 52
    return network


def photos(size: int) -> np.ndarray:
    """Return the middle of two images as the authors prepare them: blue, green, red, less the mean colour."""
    squares = [datasets.load_sample_image(name)[:, 106:533] for name in ("flower.jpg", "china.jpg")]
    shrunk = torch.nn.functional.interpolate(
        torch.tensor(np.stack(squares)).permute(0, 3, 1, 2).float(), size, mode="bilinear", antialias=True
    )
    return shrunk.permute(0, 2, 3, 1).numpy()[..., ::-1] - np.array([104, 117, 123], "float32")


def as_defined(tensors: dict[str, np.ndarray], images: np.ndarray, border: int) -> np.ndarray:
    """Compute the logits layer by layer from the authors' definition, which puts a border around the last of them."""
    functional = torch.nn.functional
    weights = {name: torch.tensor(tensor) for name, tensor in tensors.items()}

    def conv(x, name, **options):
        return functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **options).relu()

    def pool(x):
        return functional.max_pool2d(x, 3, 2, ceil_mode=True)

    x = pool(conv(torch.tensor(images).permute(0, 3, 1, 2), "conv1", stride=2))
    for number in range(2, 10):
        fire = f"fire{number}"
        squeezed = conv(x, f"{fire}_squeeze1x1")
        x = torch.cat([conv(squeezed, f"{fire}_expand1x1"), conv(squeezed, f"{fire}_expand3x3", padding=1)], dim=1)
        x = pool(x) if number in (4, 8) else x
    return conv(x, "conv10", padding=border).mean(dim=(2, 3)).numpy()


@pytest.mark.parametrize("size", [227, 224, 190])
def test_logits_are_those_of_the_definition(model, tensors, size):
    images = photos(size)
    logits, expected = np.asarray(model(images, training=False)), as_defined(tensors, images, border=0)
    assert np.abs(logits - expected).max() < 1e-4 * expected.std()


def test_the_best_classes_are_those_of_the_authors_who_average_a_border_too(model, tensors):
    images = photos(227)
    logits, expected = np.asarray(model(images, training=False)), as_defined(tensors, images, border=1)
    assert (np.argsort(logits)[:, -5:] == np.argsort(expected)[:, -5:]).all()
