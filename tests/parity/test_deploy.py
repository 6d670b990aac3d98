"""The deploy form of timm's branched networks has the weights of ours."""

import numpy as np
import pytest

import kzoo
from kzoo.zoo.reparameterize import reparameterize

timm = pytest.importorskip("timm")

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", ["repvgg_a0", "mobileone_s0", "mobileone_s4"])
def test_folded_weights_are_those_of_timm(name):
    network = timm.create_model(name)
    for key, tensor in network.state_dict().items():
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1:
            tensor.normal_(1, 0.1)
    model = kzoo.create_model(name, (64, 64, 3), 1000)
    kzoo.load_weights(model, tensors_of(network))
    for module in network.modules():
        if hasattr(module, "reparameterize"):
            module.reparameterize()
    deployed = reparameterize(model)
    ours = deployed.get_weights()
    kzoo.load_weights(deployed, tensors_of(network))
    for mine, theirs in zip(ours, deployed.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


def tensors_of(network) -> dict[str, np.ndarray]:
    return {key: tensor.detach().numpy().copy() for key, tensor in network.state_dict().items()}
