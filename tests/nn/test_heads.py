"""Heads: one vector of outputs an example, or one at each position of a network that keeps them."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.nn.heads import HEADS

SMALL = {
    "tcn": {"filters": (4, 6)},
    "fcn": {"filters": (4, 6), "kernels": (5, 3)},
    "resnet_tsc": {"filters": (4, 6)},
    "inceptiontime": {"depths": (1,), "filters": 2, "width": 2},
}
SUGGESTED = "; head='positions' needs a network that keeps them all, such as tcn, fcn, resnet_tsc or inceptiontime"


@pytest.mark.parametrize("name", SMALL)
def test_a_vector_of_logits_at_each_position(name):
    model = kzoo.create_model(name, (None, 3), 5, head="positions", **SMALL[name])
    logits = model(np.random.default_rng(0).normal(size=(2, 20, 3)).astype("float32"))
    assert logits.shape == (2, 20, 5)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert model.layers[-1].name == "logits"


def test_positions_of_images_token_ids_and_without_a_classifier():
    kept = {"head": "positions", "filters": (4, 6), "kernels": (3, 3)}
    assert kzoo.create_model("fcn", (8, 6, 1), 5, **kept).output_shape == (None, 8, 6, 5)
    assert kzoo.create_model("fcn", (8,), 5, vocab_size=7, embed_dim=2, **kept).output_shape == (None, 8, 5)
    assert kzoo.create_model("fcn", (8, 1), 0, **kept).output_shape == (None, 8, 6)


def test_frames_are_what_strides_leave():
    model = kzoo.create_model("quartznet_5x5", (None, 8), 5, head="frames", filters=(8,), kernels=(5,), repeats=2)
    assert [model(np.zeros((1, length, 8), "float32")).shape[1] for length in (30, 31)] == [15, 16]
    with pytest.raises(ValueError, match="head='frames' needs a network that leaves frames"):
        kzoo.create_model("mlp_tsc", (100, 3), 5, head="frames")


def test_half_precision_has_logits_of_single_precision():
    model = kzoo.create_model("tcn", (8, 1), 2, head="positions", precision="mixed_bfloat16", **SMALL["tcn"])
    assert model.output.dtype == "float32"


def test_the_logits_of_a_position_do_not_depend_on_later_ones():
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("tcn", (16, 1), 2, head="positions", **SMALL["tcn"])
    x = np.random.default_rng(0).normal(size=(1, 16, 1)).astype("float32")
    changed = x.copy()
    changed[:, 9:] += 1
    before, after = (keras.ops.convert_to_numpy(model(part, training=False)) for part in (x, changed))
    np.testing.assert_array_equal(before[:, :9], after[:, :9])
    assert (before[:, 9] != after[:, 9]).all()


@pytest.mark.parametrize(
    "name, shape, reason",
    [
        ("resnet8", (100, 3), "resnet8 has stride 4, 25 of 100 positions are left"),
        ("resnet8", (None, 3), "resnet8 has stride 4, 256 of 1024 positions are left"),
        ("bc_resnet_1", (98, 40, 1), "bc_resnet_1 has stride 8 x 1, 9 x 40 of 98 x 40 positions are left"),
        ("mlp_tsc", (100, 3), "mlp_tsc ends in one vector an example"),
    ],
)
def test_a_network_that_keeps_no_positions_is_refused(name, shape, reason):
    with pytest.raises(ValueError) as raised:
        kzoo.create_model(name, shape, 5, head="positions")
    assert str(raised.value) == reason + SUGGESTED


def test_an_unknown_head_is_refused():
    assert set(HEADS) == {"pooled", "positions", "frames"}
    with pytest.raises(ValueError, match="unknown head 'position'; did you mean positions"):
        kzoo.create_model("tcn", (10, 1), 2, head="position")
