"""The finders: what they suggest, what they leave alone, and where they end."""

import io

import keras
import numpy as np
import pytest
from rich.console import Console

import kzoo
from kzoo.training import finders
from kzoo.training.finders import BatchSpeed, double, find_batch_size, find_learning_rate, is_out_of_memory


@pytest.fixture
def model(digits):
    keras.utils.set_random_seed(0)
    return kzoo.create_model("convnet", digits.input_shape, 10, filters=(8,), padding="same")


def test_the_suggested_rate_trains_well(model, digits, tmp_path):
    before = [keras.ops.convert_to_numpy(v) for v in model.variables]
    finding = find_learning_rate(model, digits)
    for variable, value in zip(model.variables, before, strict=True):  # dropout's seeds too
        np.testing.assert_array_equal(variable, value)
    assert len(finding.rates) == len(finding.losses) <= 100
    assert finding.rates[0] == 1e-6
    np.testing.assert_allclose(np.diff(np.log(finding.rates)), np.log(1e7) / 99, rtol=1e-6)
    assert finding.rates[np.argmin(finding.losses)] == pytest.approx(10 * finding.suggestion)
    history = kzoo.fit(model, digits, epochs=3, learning_rate=finding.suggestion, warmup_ratio=0.1, verbose=False)
    assert history["val_accuracy"][-1] > 0.8
    finding.draw(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert f"{finding.suggestion:.1e}" in str(finding)


def test_it_ends_where_the_loss_diverges(model, digits):
    finding = find_learning_rate(model, digits, optimizer="sgd", lowest=1e-3, highest=1e6, steps=60)
    assert len(finding.rates) < 60
    least = np.minimum.accumulate(finding.losses)
    assert (finding.losses[1:] < finders.DIVERGED * least[:-1]).all()
    assert np.isfinite(finding.losses).all()


def test_losses_are_those_of_single_batches(digits):
    """A network that learns nothing: the running mean of equal losses is that loss from the first step on."""
    x = keras.Input(digits.input_shape)
    y = keras.layers.Dense(10, kernel_initializer="zeros")(keras.layers.Flatten()(x))
    finding = find_learning_rate(keras.Model(x, y), digits, optimizer="sgd", lowest=1e-12, highest=1e-11, steps=10)
    np.testing.assert_allclose(finding.losses, np.log(10), rtol=1e-5)


def test_a_loss_that_is_never_a_number(model, digits):
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    with pytest.raises(ValueError, match="not a number at the learning rate 1e-06"):
        find_learning_rate(model, digits)


def test_batch_sizes_are_measured_up_to_that_of_the_set(model, digits, monkeypatch):
    monkeypatch.setattr(finders, "SECONDS", 0.1)
    before = model.get_weights()
    finding = find_batch_size(model, digits, smallest=512, largest=4096)
    assert [speed.batch_size for speed in finding.speeds] == [512, 1024]  # of 1,293 examples
    assert all(speed.examples_per_second > 0 for speed in finding.speeds)
    assert finding.suggestion in (512, 1024)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(finding)
    assert "1,024" in console.export_text()


@pytest.mark.parametrize(
    "speeds, tried, suggestion",
    [
        ([10, 20, 40, 41, 80], [8, 16, 32, 64], 32),  # 64 brought less than 5 %
        ([10, 20, 40, 43, 46], [8, 16, 32, 64, 128], 128),
        ([10, 20, 40, 43, 45], [8, 16, 32, 64, 128], 64),
        ([10, 20, None], [8, 16, 32], 16),
        ([10, 20, 40, 80, 160], [8, 16, 32, 64, 128], 128),
        ([10, 5], [8, 16], 8),
    ],
)
def test_where_doubling_ends(speeds, tried, suggestion, model, digits, monkeypatch):
    measured = iter(speeds)
    monkeypatch.setattr(finders, "training_speed", lambda *arguments: next(measured))
    finding = find_batch_size(model, digits, smallest=8, largest=128)
    assert finding.speeds == tuple(BatchSpeed(*pair) for pair in zip(tried, speeds, strict=False))
    assert finding.suggestion == suggestion


def test_a_size_is_not_tried_that_the_machine_has_no_memory_for(monkeypatch):
    used = iter([100, 100, 700])  # at the beginning, after 8, after 16
    monkeypatch.setattr(finders, "memory_used", lambda: next(used))

    class Memory:
        available = 1000

    monkeypatch.setattr(finders.psutil, "virtual_memory", Memory)
    speeds, reason = double(float, 8, 64)
    assert [speed.batch_size for speed in speeds] == [8, 16]
    assert reason == "32 might not fit in the memory"


def test_out_of_memory_is_distinguished_from_other_errors(model, digits, monkeypatch):
    tf = pytest.importorskip("tensorflow")
    assert is_out_of_memory(tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"))
    assert is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"))
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))

    def fail(*arguments):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(finders, "loss_of_step", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        find_batch_size(model, digits)


def test_no_memory_even_for_the_smallest(model, digits, monkeypatch):
    monkeypatch.setattr(finders, "training_speed", lambda *arguments: None)
    with pytest.raises(ValueError, match="no memory for convnet with a batch of 8"):
        find_batch_size(model, digits)


@pytest.mark.parametrize(
    "find, options, message",
    [
        (find_learning_rate, {"lowest": 0}, "lowest must be a positive number, got 0"),
        (find_learning_rate, {"lowest": 2.0, "highest": 1.0}, "highest must be above lowest, 2.0, got 1.0"),
        (find_learning_rate, {"steps": 1.5}, "steps must be a positive integer"),
        (find_learning_rate, {"optimizer": "adamv"}, "unknown optimizer 'adamv'"),
        (find_batch_size, {"smallest": 0}, "smallest must be a positive integer, at most 1,000,000, got 0"),
        (find_batch_size, {"smallest": 8, "largest": 4}, "largest must be at least smallest, 8, got 4"),
    ],
)
def test_mistakes_are_explained(find, options, message, model, digits):
    with pytest.raises(ValueError, match=message):
        find(model, digits, **options)
