"""Conversion of PyTorch checkpoints: nested entries, views, precision, and refusal of code."""

import argparse
import importlib.util
import pickle

import numpy as np
import pytest

from kzoo.core.lazy import lazy_import
from kzoo.zoo.weights.convert import REFUSED, convert, convert_here, state_dict
from kzoo.zoo.weights.files import read_tensors

torch = lazy_import("torch")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


@pytest.mark.parametrize(
    "content, tensors, taken",
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"epoch": 3, "state_dict": {"a": 1}}, {"a": 1}, "state_dict"),
        ({"model": {"state_dict": {"a": 1}}, "optimizer": {}}, {"a": 1}, "model.state_dict"),
        ({"model": 1, "a": 2}, {"model": 1, "a": 2}, ""),
    ],
)
def test_tensors_are_found_in_nested_entries(content, tensors, taken):
    assert state_dict(content) == (tensors, taken)


def test_a_content_without_names_is_refused():
    with pytest.raises(ValueError, match="it holds a list in place of tensors by their names"):
        state_dict([1])


def test_mistakes_are_explained(tmp_path, monkeypatch):
    (tmp_path / "a.pth").write_bytes(b"")
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    with pytest.raises(ValueError, match="written as .safetensors, got b.npz"):
        convert(tmp_path / "a.pth", tmp_path / "b.npz")
    with pytest.raises(ValueError, match="there is no file .*nowhere.pth"):
        convert(tmp_path / "nowhere.pth", tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="there.safetensors exists already"):
        convert(tmp_path / "a.pth", tmp_path / "there.safetensors")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package torch; .*pip install '\.\[convert\]'"):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors")


def checkpoint() -> dict:
    """Return what a training script saves: entries beside the tensors, a transposed view, a shared storage."""
    whole = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    tensors = {"module.a.weight": whole.T, "module.b.weight": whole, "module.c.weight": whole[1:].to(torch.bfloat16)}
    arguments = argparse.Namespace(epochs=3)
    return {"epoch": 3, "args": arguments, "state_dict": {**tensors, "note": "text"}, "optimizer": {"lr": 0.1}}


@needs_torch
@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_of_a_training_is_converted(legacy, tmp_path):
    torch.save(checkpoint(), tmp_path / "a b.pth.tar", _use_new_zipfile_serialization=not legacy)
    out = tmp_path / "a.safetensors"
    assert convert(tmp_path / "a b.pth.tar", out) == (
        f"wrote {out}: 3 tensors of the entry 'state_dict' (1 entries that are no tensors left out)"
    )
    tensors = read_tensors(out)
    np.testing.assert_array_equal(tensors["module.a.weight"], np.arange(12).reshape(3, 4).T)
    np.testing.assert_array_equal(tensors["module.c.weight"], np.arange(4, 12).reshape(2, 4))


class Malicious:
    def __reduce__(self):
        return print, ("executed",)


@needs_torch
def test_code_is_refused_and_not_executed(tmp_path, capfd):
    for content in (Malicious(), {"state_dict": {"a": Malicious()}}):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(ValueError, match="a.pth cannot be converted: it holds a print, not data alone"):
            convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(ValueError, match="a.pth cannot be converted: "):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert "executed" not in capfd.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


@needs_torch
@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_damaged_files_are_one_line(content, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError) as error:
        convert_here(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert 0 < len(str(error.value)) < 360
    assert "\n" not in str(error.value)


def test_the_class_that_pytorch_refuses_is_named():
    message = (
        "Weights only load failed. WeightsUnpickler error: Unsupported global: GLOBAL argparse.Namespace was not an"
    )
    assert REFUSED.search(message)[1] == "argparse.Namespace"
