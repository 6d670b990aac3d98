"""Preprocessing of images equals timm's to within 1 of 255, and colour jitter torchvision's."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kzoo.data.image.colour import CHANGES
from kzoo.zoo import hub

pytestmark = pytest.mark.parity
timm_data = pytest.importorskip("timm.data")
functional = pytest.importorskip("torchvision.transforms.functional")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height * width)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 7) + np.cos(y / 5), np.sin((x + y) / 3), x * y % 97 / 48 - 1], axis=-1)
    return (128 + 60 * waves + rng.normal(size=waves.shape) * 40).clip(0, 255).astype("uint8")


@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize("crop", [0.875, 0.95, 1.0])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(224, 224), (225, 225), (480, 640), (641, 481)])
def test_an_image_is_prepared_as_by_timm(size, interpolation, crop, mode):
    image = picture(*size)
    steps = {"input_size": (3, 224, 224), "interpolation": interpolation, "crop_pct": crop, "crop_mode": mode}
    transform = timm_data.create_transform(**steps, mean=MEAN, std=STD)
    theirs = transform(Image.fromarray(image)).numpy().transpose(1, 2, 0)
    preprocess = hub.preprocessing(steps | {"mean": MEAN, "std": STD})
    dynamic = tf.function(preprocess.__call__, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    for ours in (preprocess(image[None]), preprocess(preprocess.sized(image)[None]), dynamic(image[None])):
        levels = np.abs(np.asarray(ours)[0] - theirs) * np.array(STD) * 255
        assert levels.max() < 1.001
        assert (levels > 0.5).mean() < 0.06  # exact halves, which Pillow's integers round up or down


@pytest.mark.parametrize("by", [-0.4, -0.1, 0.25, 0.5])
@pytest.mark.parametrize("name", CHANGES)
def test_colours_are_those_of_torchvision(name, by):
    image = picture(40, 50)
    ours = CHANGES[name](tf.constant(image[None]), tf.constant([by])).numpy()[0]
    if name == "hue":
        torch = pytest.importorskip("torch")
        theirs = functional.adjust_hue(torch.from_numpy(image.transpose(2, 0, 1).copy()), by).numpy().transpose(1, 2, 0)
    else:
        theirs = np.asarray(getattr(functional, f"adjust_{name}")(Image.fromarray(image), 1 + by))
    assert np.abs(ours.astype(int) - theirs).max() <= 1
