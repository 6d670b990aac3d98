"""timm's own reader takes the folder of a shared model, and gives its logits."""

import numpy as np
import pytest

import kzoo
from kzoo.data.image import ImagePreprocess
from kzoo.data.serving import Serving
from kzoo.tasks import Classification
from kzoo.zoo.weights import timm_names

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

pytestmark = pytest.mark.parity

SMALL = (
    "resnet18 resnet50d resnetblur50 mobilenetv3_small_050 mobilenetv4_conv_small_050 tf_efficientnet_b0 lcnet_050 "
    "convnextv2_atto convnext_atto inception_next_atto dla46_c resnetv2_18 nf_resnet50 nfnet_l0 regnetx_002 "
    "ese_vovnet19b_dw skresnet18 skresnext50_32x4d vgg11 ghostnet_100 hrnet_w18_small cspresnet50 densenet121 "
    "mobileone_s0 repvgg_a0 res2net50d resnest14d xception41 starnet_s1 fasternet_t0 semnasnet_075 mobilenetv1_100"
)


def with_random_statistics(model):
    """Let no weight of a model be at a default that would hide a mistake."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("name", SMALL.split())
def test_the_readers_of_timm_take_the_folder(name, channels, tmp_path):
    if channels == 1 and name != "resnet18":
        pytest.skip("one network is enough for grey images")
    assert timm_names.form_of(name) is not None
    size = 224 if name.startswith("vgg") else 64
    model = with_random_statistics(kzoo.create_model(name, (size, size, channels), 7))
    preprocess = ImagePreprocess((size, size), channels, (100.0,) * channels, (50.0,) * channels)
    serving = Serving(
        "image", preprocess, Classification(tuple("abcdefg")), np.zeros((2, size, size, channels), "uint8")
    )
    folder = kzoo.save_pretrained(model, tmp_path / "shared", data=serving)
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = np.random.default_rng(0).normal(size=(2, size, size, channels)).astype("float32")
    with torch.inference_mode():
        found = theirs(torch.from_numpy(images).movedim(-1, 1)).numpy()
    expected = np.asarray(model(images, training=False))
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.std())
    assert theirs.pretrained_cfg["label_names"] == list("abcdefg")
    bare = timm.create_model(name, num_classes=7, in_chans=channels, checkpoint_path=str(folder / "model.safetensors"))
    assert all(map(torch.equal, bare.state_dict().values(), theirs.state_dict().values()))
