"""Benchmarks: that every number is there and has a meaning; never how large it is, which is the machine's business."""

import io
import json
import sys

import keras
import numpy as np
import pytest
from rich.console import Console

import kzoo
from kzoo.analysis.benchmark import (
    Benchmark,
    benchmark,
    compile_as_trained,
    durations,
    prepared,
    random_batch,
    task_of,
)
from kzoo.zoo.profile import macs

module = sys.modules["kzoo.analysis.benchmark"]  # the package has the function under this name

QUICK = {"batch_size": 2, "seconds": 0.01}


@pytest.fixture(scope="module", autouse=True)
def small_matrices():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MATRIX", 64)
        yield


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return kzoo.models.lenet5((28, 28, 1), 10)


@pytest.fixture(scope="module")
def found(model) -> Benchmark:
    """The benchmark of a model that had random weights; `test_the_model_is_left_alone` looks at them."""
    model.before = [weight.numpy() for weight in model.weights]
    return benchmark(model, **QUICK)


def test_every_number_is_positive(found):
    numbers = json.loads(json.dumps(found.to_dict()))
    words = [numbers.pop(key) for key in ("model", "precision", "backend", "device")]
    assert words[:3] == ["lenet5", "float32", keras.backend.backend()]
    assert (numbers.pop("input_shape"), numbers["batch_size"]) == ([28, 28, 1], 2)
    latency = numbers.pop("latency_ms")
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]
    assert all(value > 0 for value in numbers.values()), numbers
    assert numbers["training_memory_mib"] >= numbers["inference_memory_mib"]


def test_utilization_is_operations_per_second_over_the_peak(found, model):
    assert found.macs == macs(model)
    assert found.training_utilization * found.peak_flops == pytest.approx(
        6 * found.macs * found.training_examples_per_second
    )
    expected = 2 * found.macs * found.inference_examples_per_second
    assert found.inference_utilization * found.peak_flops == pytest.approx(expected)


def test_the_model_is_left_alone(found, model):
    assert all(np.array_equal(weight, old) for weight, old in zip(model.weights, model.before, strict=True))
    assert not model.compiled


def test_it_prints_a_table(found):
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(found)
    text = console.export_text()
    assert text.startswith("lenet5, input 28 x 28 x 1, float32")
    for words in ("latency, p99", "examples/s, batches of 2", "MACs per example", "GFLOP/s"):
        assert words in text


def test_networks_by_name_have_their_published_input():
    assert prepared("ds_cnn", None, None, None).input_shape == (None, 49, 10, 1)
    other = prepared("ds_cnn", (20, 10, 1), 3, None)
    assert (other.input_shape, other.output_shape) == ((None, 20, 10, 1), (None, 3))


def test_precision_is_that_of_the_network_alone():
    found = benchmark("lenet5", precision="mixed_bfloat16", **QUICK)
    assert (found.precision, found.model) == ("mixed_bfloat16", "lenet5")
    assert keras.config.dtype_policy().name == "float32"


def test_token_ids_are_within_the_vocabulary():
    model = kzoo.models.textcnn((20,), 3, vocab_size=5)
    inputs, labels = random_batch(model, 50)
    assert (inputs.shape, labels.shape) == ((50, 20), (50,))
    assert set(np.unique(inputs)) == set(range(5))
    assert set(np.unique(labels)) == set(range(3))


@pytest.mark.parametrize(
    "name, shape, outputs, options, target",
    [
        ("fcn", (8, 6, 1), 3, {"head": "positions", "filters": (4,), "kernels": (3,)}, (8, 6)),
        pytest.param("ecg_resnet", (64, 2), 3, {"filters": (4, 4), "width": 4}, (3,), marks=pytest.mark.slow),
        ("dncnn17", (8, 6, 1), 1, {"width": 4, "depths": 1}, (8, 6, 1)),
    ],
)
def test_maps_tags_and_images_are_trained_as_such(name, shape, outputs, options, target):
    model = kzoo.create_model(name, shape, outputs, **options)
    inputs, targets = random_batch(model, 5)
    assert targets.shape == (5, *target)
    task = task_of(model)
    compile_as_trained(model, task)
    assert np.isfinite(model.train_on_batch(inputs, task.encode(targets))).all()


def test_a_model_for_any_size_is_measured_at_the_given_size():
    free = kzoo.models.resnet8((None, None, 1), 3, width=4)
    assert prepared(free, (16, 16, 1), None, None).input_shape == (None, 16, 16, 1)
    with pytest.raises(ValueError, match="resnet8 takes inputs .* of any size; give the input_shape"):
        benchmark(free)


def test_a_layer_that_cannot_be_counted_leaves_the_utilization_out():
    model = keras.Sequential([keras.Input((8, 2)), keras.layers.LSTM(4), keras.layers.Dense(3)])
    found = benchmark(model, **QUICK)
    assert (found.macs, found.training_utilization, found.inference_utilization) == (None, None, None)
    assert ("training reaches", "-", "of that peak, 6 FLOP per MAC") in found.rows()


def test_the_first_calls_are_not_timed():
    calls = []
    assert len(durations(lambda: calls.append(0), 0.0)) == module.FEWEST
    assert len(calls) == module.FEWEST + module.WARM_UP


@pytest.mark.parametrize(
    "options, message",
    [
        ({"model": "resnet5"}, "unknown model 'resnet5'"),
        ({"model": "ds_cnn", "precision": "float8"}, "unknown precision 'float8'"),
        ({"model": "ds_cnn", "batch_size": 0}, "batch_size must be a positive integer, at most 1,000,000, got 0"),
        ({"model": "ds_cnn", "seconds": 0}, "seconds must be a positive number, got 0"),
        ({"model": "ds_cnn", "input_shape": (None, 10, 1)}, "of any size; give the input_shape"),
        ({"model": "lenet5", "input_shape": (8, 8, 1)}, "too small for lenet5"),
    ],
)
def test_mistakes_are_explained(options, message, model):
    with pytest.raises(ValueError, match=message):
        benchmark(**options)


def test_precision_of_a_model_is_its_own(model):
    with pytest.raises(ValueError, match="build the model as it is to be measured"):
        benchmark(model, precision="mixed_bfloat16")
