"""Training in 16 bits; everything that is measured, saved or shipped in 32."""

import keras
import numpy as np
import pytest
from networks import sampled

import kzoo
from kzoo.nn import layers, precision


@pytest.mark.parametrize(
    "name", sampled([("resnet8",), ("lite",), ("nf_resnet50",), ("mobileone_s0",)], ("resnet8", "lite"))
)
def test_the_copy_in_float32_is_the_network_that_was_never_otherwise(name):
    shape = (100, 3) if 2 not in kzoo.model_card(name).dims else (64, 64, 3)
    short = kzoo.create_model(name, shape, 10, precision="mixed_bfloat16")
    exact = kzoo.create_model(name, shape, 10)
    assert keras.config.dtype_policy().name == "float32"
    assert short.output.dtype == "float32"
    assert "bfloat16" in {layer.compute_dtype for layer in short.layers}
    exact.set_weights(short.get_weights())
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    np.testing.assert_array_equal(precision.in_float32(short)(x), exact(x))
    assert precision.in_float32(exact) is exact


@pytest.mark.slow
def test_a_run_in_16_bits_leaves_a_model_in_32(digits, tmp_path):
    model = kzoo.models.resnet8(digits.input_shape, 10, width=8, precision="mixed_bfloat16")
    kzoo.fit(model, digits, epochs=1, run_dir=tmp_path, verbose=False)
    loaded, _ = kzoo.load_run(tmp_path)
    assert {layer.compute_dtype for layer in loaded.layers if layer.weights} == {"float32"}
    assert kzoo.evaluate(model, digits).confusion == kzoo.evaluate(loaded, digits).confusion
    assert kzoo.export(model, tmp_path / "served", data=digits).max_difference < 1e-5


@pytest.mark.parametrize(
    "facts, gpus, expected",
    [
        ({"avx2"}, [], "float32"),
        ({"AuthenticAMD", "avx512_bf16"}, [], "mixed_bfloat16"),
        ({"GenuineIntel", "avx512_bf16"}, [], "float32"),
        ({"amx_bf16"}, [], "mixed_bfloat16"),
        ({"avx512_bf16"}, [(7, 5)], "float32"),
        (set(), [(8, 0)], "mixed_bfloat16"),
        (set(), [(9, 0), (7, 0)], "float32"),
    ],
)
def test_auto_is_what_the_hardware_does(monkeypatch, facts, gpus, expected):
    monkeypatch.setattr(precision, "processor_facts", lambda: facts)
    monkeypatch.setitem(precision.GPUS, keras.backend.backend(), lambda: gpus)
    if gpus or keras.backend.backend() == "tensorflow":
        assert precision.fastest() == expected


def test_an_unknown_precision():
    with pytest.raises(ValueError, match="unknown precision 'bfloat'; did you mean"):
        kzoo.models.resnet8((32, 32, 3), 10, precision="bfloat")


@pytest.mark.parametrize("policy, computed", [("mixed_bfloat16", "float32"), ("float32", "float32"), ("float64",) * 2])
def test_long_depthwise_kernels_are_computed_in_at_least_32_bits(policy, computed):
    keras.config.set_dtype_policy(policy)
    try:
        with_kernel = keras.Model(x := keras.Input((40, 2)), layers.depthwise_conv(x, 15))
    finally:
        keras.config.set_dtype_policy("float32")
    assert [layer.compute_dtype for layer in with_kernel.layers if layer.weights] == [computed]
