"""Networks that return an image, a waveform or a series: sizes, channels, and the authors' weights of DnCNN."""

from pathlib import Path

import keras
import numpy as np
import pytest

import kzoo
from kzoo.nn.layers import pixel_shuffle

WEIGHTS = Path(__file__).parents[3] / "shared" / "weights" / "dncnn_sigma25.h5"


def small(name: str, shape: tuple, channels: int, **options) -> keras.Model:
    return kzoo.create_model(name, shape, channels, width=4, depths=1, **options)


@pytest.mark.parametrize("shape, factor", [((3, 4, 12), 2), ((5, 6), 3), ((None, None, 8), 2), ((4, 3, 6), (2, 3))])
def test_pixel_shuffle_interleaves_the_channels(shape, factor):
    """Channel c * r * r + i * r + j of a position becomes channel c of row i and column j of its block."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, pixel_shuffle(inputs, factor))
    x = np.random.default_rng(0).normal(size=(2, *(size or 3 for size in shape))).astype("float32")
    found = keras.ops.convert_to_numpy(model(x))
    factors = (factor,) * (x.ndim - 2) if isinstance(factor, int) else factor
    for index in np.ndindex(found.shape):
        batch, *position, channel = index
        source = [place // step for place, step in zip(position, factors, strict=True)]
        for place, step in zip(position, factors, strict=True):
            channel = channel * step + place % step
        assert found[index] == x[(batch, *source, channel)]


@pytest.mark.parametrize("name, factor", [("espcn_x3", 3), ("fsrcnn_x3", 3), ("edsr_baseline_x4", 4), ("srcnn", 1)])
def test_super_resolution_of_every_rank_and_size(name, factor):
    options = {"filters": (4, 4)} if name in ("espcn_x3", "srcnn") else {"width": 4, "depths": 1}
    assert kzoo.create_model(name, (20, 2), 2, **options).output_shape == (None, 20 * factor, 2)
    model = kzoo.create_model(name, (None, None, 3), 3, **options)
    assert model(np.ones((1, 5, 7, 3))).shape == (1, 5 * factor, 7 * factor, 3)


@pytest.mark.parametrize("name, sign", [("dncnn17", -1), ("vdsr", 1)])
def test_the_last_convolution_corrects_the_input(name, sign):
    model = small(name, (None, 2), 2)
    x = np.random.default_rng(0).normal(size=(2, 30, 2)).astype("float32")
    estimate = keras.Model(model.input, model.get_layer("logits").output)(x)
    np.testing.assert_allclose(model(x), x + sign * np.asarray(estimate), atol=1e-6)
    assert model.output.dtype == "float32"
    with pytest.raises(ValueError, match="num_classes must be the 2 channels of the input, got 3"):
        small(name, (30, 2), 3)


def test_the_published_task_decides_the_head():
    assert small("dncnn17", (16, 16, 1), 1).output_shape == (None, 16, 16, 1)
    assert small("dncnn17", (16, 16, 1), 5, head="pooled").output_shape == (None, 5)
    assert small("edsr_baseline_x2", (16, 16, 1), 0).output_shape == (None, 32, 32, 4)
    assert kzoo.model_card("vdsr").tasks == ("restoration",)
    assert "restoration" in kzoo.model_card("tcn").tasks


@pytest.mark.parametrize("name", ["autoencoder", "conv_autoencoder"])
def test_auto_encoders_reconstruct_odd_sizes(name):
    for shape in ((29, 13, 2), (31, 3)):
        model = kzoo.create_model(name, shape, shape[-1])
        assert model.output_shape == (None, *shape)
    with pytest.raises(ValueError, match="fixed input size"):
        kzoo.create_model(name, (None, 3), 3)


@pytest.mark.skipif(not WEIGHTS.exists(), reason="the shared weights are not on this machine")
def test_the_authors_weights_remove_noise():
    model = kzoo.create_model("dncnn17", (None, None, 1), 1)
    assert len(kzoo.load_weights(model, WEIGHTS).matched) == 78
    clean = np.tile(np.linspace(0.2, 0.8, 32, dtype="float32")[:, None, None], (1, 1, 32, 1))
    noisy = clean + np.random.default_rng(0).normal(0, 25 / 255, clean.shape).astype("float32")
    error = np.std(keras.ops.convert_to_numpy(model(noisy, training=False)) - clean)
    assert error < 0.25 * 25 / 255
