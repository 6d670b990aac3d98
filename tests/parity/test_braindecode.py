"""Equal to braindecode in every logit: random weights and statistics carried over, outputs compared."""

import importlib.util
import sys
from unittest.mock import MagicMock

import keras
import numpy as np
import pytest
from torch_networks import randomise

import kzoo
from kzoo.nn import layers

torch = pytest.importorskip("torch")
if importlib.util.find_spec("torchaudio") is None:  # for filter banks and resampling, not used here
    sys.modules |= {f"torchaudio{part}": MagicMock() for part in ("", ".functional", ".transforms")}
networks = pytest.importorskip("braindecode.models")

pytestmark = pytest.mark.parity

NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
KERNELS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Linear)

TOLERANCE = 1e-4  # of the logits' standard deviation

# Our name, braindecode's class, the arguments that make it the published network, and a second input.
TWINS = {
    "deep4": ("Deep4Net", {}, (501, 3)),
    "eeg_inception_erp": ("EEGInceptionERP", {"sfreq": 128}, (301, 5)),
    "eeg_inception_mi": ("EEGInceptionMI", {"sfreq": 250}, (301, 5)),
    "eeg_simple_conv": ("EEGSimpleConv", {"sfreq": 80}, (301, 5)),
    "eegnet": ("EEGNet", {}, (301, 5)),
    "eegnex": ("EEGNeX", {}, (301, 5)),
    "sccnet": ("SCCNet", {"sfreq": 125}, (301, 5)),
    "shallow_fbcsp": ("ShallowFBCSPNet", {}, (301, 5)),
    "sleep_stager_blanco": ("SleepStagerBlanco2020", {}, (901, 4)),
    "sleep_stager_chambon": ("SleepStagerChambon2018", {"sfreq": 128}, (901, 1)),
}


def randomised(name: str, shape: tuple[int, int]):
    """Return braindecode's network in inference mode, no weight or statistic at a default that would hide a mistake."""
    kind, arguments, _ = TWINS[name]
    classes = kzoo.model_card(name).reference.num_classes
    network = getattr(networks, kind)(n_chans=shape[1], n_outputs=classes, n_times=shape[0], **arguments)
    return randomise(network)


@pytest.fixture
def addresses(monkeypatch):
    """Return the names of our layers with weights, which are noted in the order that they are built in."""
    names, address = [], layers.address

    def noted(kind: str) -> str:
        names.append(address(kind))
        return names[-1]

    monkeypatch.setattr(layers, "address", noted)
    return names


def kernel_here(module, layer, flattened: tuple[int, ...]) -> np.ndarray:
    """Return a kernel of PyTorch in Keras's layout; one that classifies, in the order of our flattened axes."""
    weight, shape = module.weight.detach().numpy(), layer.weights[0].shape
    if isinstance(layer, keras.layers.Dense):
        return weight.reshape(len(weight), *flattened[::-1]).transpose().reshape(shape)
    if weight.ndim == 4 and min(weight.shape[2:]) > 1:  # over the maps, as a second axis, and time
        return weight[:, 0].transpose().reshape(shape)
    return np.moveaxis(weight, (0, 1), (-1, -2)).reshape(shape)


def carry_over(network, model: keras.Model, addresses: list[str]) -> None:
    """Assign the weights of braindecode's layers to ours, kind by kind in the order of both."""
    flattened = [layer.input.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Flatten)] or [(-1,)]
    merged = [layer.input.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Reshape)]
    theirs = [module for module in network.modules() if isinstance(module, (*NORMS, *KERNELS))]
    norms = [isinstance(module, NORMS) for module in theirs]
    ours = [model.get_layer(name) for name in (*addresses, "logits")]
    for norm in (True, False):
        pairs = zip(
            [module for module, is_norm in zip(theirs, norms, strict=True) if is_norm == norm],
            [layer for layer in ours if isinstance(layer, keras.layers.BatchNormalization) == norm],
            strict=True,
        )
        for module, layer in pairs:
            layer.set_weights(list(weights_here(module, layer, (flattened + merged)[-1])))


def weights_here(module, layer, flattened: tuple[int, ...]):
    if isinstance(layer, keras.layers.BatchNormalization):
        tensors = (module.weight, module.bias, module.running_mean, module.running_var)
        yield from (tensor.detach().numpy() for tensor in tensors)
        return
    yield kernel_here(module, layer, flattened)
    if module.bias is not None:
        yield module.bias.detach().numpy()


@pytest.mark.parametrize("second", [False, True], ids=["published input", "another input"])
@pytest.mark.parametrize("name", TWINS)
def test_logits_equal_those_of_braindecode(name, second, addresses, seen):
    card = kzoo.model_card(name)
    shape = TWINS[name][2] if second else card.reference.input_shape
    network, model = randomised(name, shape), kzoo.create_model(name, shape, card.reference.num_classes)
    carry_over(network, model, addresses)
    assert sum(parameter.numel() for parameter in network.parameters()) == sum(
        int(np.prod(weight.shape)) for weight in model.trainable_weights
    )
    series = np.random.default_rng(1).normal(size=(8, *shape)).astype("float32")
    with torch.inference_mode():
        expected = network(torch.tensor(series.transpose(0, 2, 1))).numpy()
    logits = np.asarray(model(series, training=False))
    assert expected.std(axis=0).mean() > 1e-3
    difference = np.abs(logits - expected).max() / expected.std()
    seen("braindecode", name, shape[0], difference, "float32")
    assert difference < TOLERANCE
