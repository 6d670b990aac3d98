"""Networks for text: checks beyond those of every model in test_models.py."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.models.vdcnn import k_max_pool

ONE_OF_EACH = {
    "textcnn": {"filters": 4},
    "charcnn_small": {"filters": 4, "dense_units": (8,)},
    "vdcnn9": {"width": 4, "dense_units": (8,)},
    "dpcnn": {"width": 4},
    "fasttext": {},
    "gcnn": {"width": 4},
}


def logits(model, x) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(x, training=False))


def test_k_max_pooling_keeps_the_order_of_appearance_in_each_channel():
    x = np.array([[[5, 0], [1, 8], [9, 8], [7, 2]], [[9, 1], [7, 2], [1, 3], [5, 4]]], "float32")
    kept = keras.ops.convert_to_numpy(k_max_pool(keras.ops.convert_to_tensor(x), 2))
    np.testing.assert_array_equal(kept, [[[9, 8], [7, 8]], [[9, 3], [7, 4]]])


def test_k_max_pooling_names_the_minimum_length():
    with pytest.raises(ValueError, match=r"too small for vdcnn9; the smallest that works is \(57, 16\)"):
        kzoo.models.vdcnn9((56, 16), 3, **ONE_OF_EACH["vdcnn9"])


@pytest.mark.parametrize("name", ["textcnn", "vdcnn9", "dpcnn", "fasttext", "gcnn"])
def test_texts_of_any_length(name):
    model = kzoo.create_model(name, (None, 5), 3, **ONE_OF_EACH[name])
    for length in (57, 80):
        assert model(np.ones((2, length, 5))).shape == (2, 3)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_token_ids_are_embedded(name):
    model = kzoo.create_model(name, (140,), 3, vocab_size=50, embed_dim=6, **ONE_OF_EACH[name])
    ids = np.random.default_rng(0).integers(0, 50, (2, 140))
    assert model.get_layer("embedding").output.shape == (None, 140, 6)
    first, second = logits(model, ids)
    assert np.abs(first - second).max() > 0


def test_textcnn_finds_a_phrase_at_any_position():
    model = kzoo.models.textcnn((30, 5), 3)
    phrase = np.random.default_rng(0).normal(size=(6, 5))
    early, late, reversed_ = np.zeros((3, 30, 5))
    early[5:11], late[17:23], reversed_[5:11] = phrase, phrase, phrase[::-1]
    at_early, at_late, other = logits(model, np.stack([early, late, reversed_]))
    np.testing.assert_allclose(at_late, at_early, rtol=1e-5, atol=1e-6)
    assert np.abs(other - at_early).max() > 1e-3


def test_fasttext_ignores_the_order_of_tokens():
    model = kzoo.models.fasttext((20,), 3, vocab_size=9)
    ids = np.random.default_rng(0).integers(0, 9, (1, 20))
    np.testing.assert_allclose(logits(model, ids[:, ::-1]), logits(model, ids), rtol=1e-5, atol=1e-6)


def test_second_half_of_a_gated_convolution_is_the_gate():
    model = kzoo.models.gcnn((1, 1), 0, width=1, stages=())
    model.get_layer("stem.conv1").set_weights([np.array([[[3.0, 2.0]]]), np.array([1.0, -4.0])])
    assert logits(model, np.ones((1, 1, 1))) == pytest.approx(4 / (1 + np.exp(2)))


@pytest.mark.parametrize(
    "name, rates",
    [
        ("textcnn", [0.5]),
        ("charcnn_small", [0.5, 0.5]),
        ("charcnn_large", [0.5, 0.5]),
        ("vdcnn9", []),
        ("dpcnn", [0.5]),
    ],
)
def test_dropout_is_that_of_the_paper(name, rates):
    narrow = ONE_OF_EACH.get(name, ONE_OF_EACH["charcnn_small"])
    units = {"dense_units": (8, 8)} if "dense_units" in narrow else {}
    model = kzoo.create_model(name, (140, 5), 3, **narrow | units)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == rates


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("textcnn", {"kernels": ()}, "at least one size of n-grams"),
        ("vdcnn9", {"k": 0}, "keeps at least 1 position, got k=0"),
        ("gcnn", {"stages": ((3, 5),)}, "a stage is .blocks, kernel, inner width, expansion., got .3, 5."),
        ("charcnn_small", {"stages": ((7,),)}, "a stage is .kernel, convolutions., got .7,."),
    ],
)
def test_mistakes_are_explained(name, options, message):
    with pytest.raises(ValueError, match=message):
        kzoo.create_model(name, (140, 5), 3, **ONE_OF_EACH[name] | options)
