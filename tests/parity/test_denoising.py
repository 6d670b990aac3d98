"""The authors' weights of DnCNN, at the signal-to-noise ratio that the paper has."""

import io
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import kzoo

SHARED = Path(__file__).parents[3] / "shared"
IMAGES = SHARED / "data" / "denoising.zip"
WEIGHTS = SHARED / "weights" / "dncnn_sigma25.h5"

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(not (IMAGES.exists() and WEIGHTS.exists()), reason="the shared data are not on this machine"),
]


@pytest.mark.parametrize("folder, published", [("Set12", 30.44), pytest.param("BSD68", 29.23, marks=pytest.mark.slow)])
def test_dncnn_reaches_the_published_ratio(folder, published):
    """White noise of standard deviation 25 of 255; 29.23 dB on BSD68 in the paper, 30.44 dB on Set12."""
    model = kzoo.create_model("dncnn17", (None, None, 1), 1)
    kzoo.load_weights(model, WEIGHTS)
    random, ratios = np.random.default_rng(0), []
    with zipfile.ZipFile(IMAGES) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith(f"{folder}/") and name.endswith(".png"))
        for name in names:
            clean = np.asarray(Image.open(io.BytesIO(archive.read(name))), "float32") / 255
            noisy = clean + random.normal(0, 25 / 255, clean.shape).astype("float32")
            output = keras.ops.convert_to_numpy(model(noisy[None, ..., None], training=False))[0, ..., 0]
            ratios.append(-10 * np.log10(np.mean((output - clean) ** 2)))
    assert np.mean(ratios) == pytest.approx(published, abs=0.02)
