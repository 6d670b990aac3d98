"""A trained network's own preprocessing and classes, on data that come with others."""

import dataclasses
import json
import warnings

import keras
import numpy as np
import pytest

import kzoo
from kzoo.data.splits import MODALITIES, Examples, Splits
from kzoo.data.trained import remember
from kzoo.tasks import Classification
from kzoo.training import runs

WARNING = "digits has another preprocessing .* than convnet was trained with; that of convnet is used"


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """A network trained on digits, and its run directory."""
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("convnet", digits.input_shape, 10, filters=(8,), padding="same")
    run = tmp_path_factory.mktemp("run")
    kzoo.fit(model, digits, epochs=3, learning_rate=1e-2, run_dir=run, verbose=False)
    return model, run


@pytest.fixture(scope="module")
def dark(digits):
    """Digits at a fifth of their brightness, with the mean and standard deviation of those."""
    examples = {name: Examples(part.inputs // 5, part.labels) for name, part in digits.examples.items()}
    preprocess = type(digits.preprocess).fit(examples["train"])
    return dataclasses.replace(digits, examples=examples, preprocess=preprocess)


@pytest.fixture(scope="module")
def reordered(digits):
    """The same digits, with the classes the other way round."""
    examples = {name: Examples(part.inputs, 9 - part.labels) for name, part in digits.examples.items()}
    return dataclasses.replace(digits, examples=examples, task=Classification(digits.class_names[::-1]))


def accuracy_of(model, data, preprocess):
    part = data.examples["test"]
    logits = model.predict(np.asarray(preprocess(part.inputs)), verbose=0)
    return (logits.argmax(-1) == part.labels).mean()


@pytest.mark.parametrize("loaded", [False, True])
def test_other_data_are_evaluated_with_the_preprocessing_of_the_network(trained, digits, dark, loaded):
    model = kzoo.load_run(trained[1])[0] if loaded else trained[0]
    expected = accuracy_of(model, dark, digits.preprocess)
    assert abs(expected - accuracy_of(model, dark, dark.preprocess)) > 0.1
    with pytest.warns(UserWarning, match=WARNING):
        report = kzoo.evaluate(model, dark)
    assert report.accuracy == pytest.approx(expected, abs=1e-6)


def test_the_shift_test_uses_it_too(trained, digits, dark):
    with pytest.warns(UserWarning, match=WARNING):
        report = kzoo.shift_test(trained[0], dark, max_shift=1, verbose=False)
    assert report.score == pytest.approx(accuracy_of(trained[0], dark, digits.preprocess), abs=1e-6)


def test_an_export_has_the_preprocessing_and_the_classes_of_the_network(trained, digits, dark, reordered, tmp_path):
    other = dataclasses.replace(dark, task=reordered.task)
    with pytest.warns(UserWarning, match=WARNING.replace("digits", "the data")) as warned:
        kzoo.export(trained[0], tmp_path / "model.keras", data=other, format="keras")
    assert len([one for one in warned if "another" in str(one.message)]) == 2
    description = json.loads((tmp_path / "model.keras.kzoo.json").read_text())
    assert tuple(description["task"]["class_names"]) == digits.class_names
    assert tuple(description["preprocess"]["mean"]) == digits.preprocess.mean


def test_classes_in_another_order_are_mapped(trained, digits, reordered):
    expected = kzoo.evaluate(trained[0], digits)
    with pytest.warns(UserWarning, match="digits has the classes in another order than convnet"):
        report = kzoo.evaluate(trained[0], reordered)
    assert report.accuracy == expected.accuracy > 0.5
    assert report.confusion == expected.confusion
    assert list(report.per_class) == list(expected.per_class)


def test_other_classes_are_refused(trained, digits):
    other = dataclasses.replace(digits, task=Classification((*digits.class_names[:9], "ten")))
    with pytest.raises(ValueError, match="trained on other classes: digits also has 'ten', and digits lacks '9'"):
        kzoo.evaluate(trained[0], other)
    fewer = dataclasses.replace(digits, task=Classification(digits.class_names[:3]))
    with pytest.raises(ValueError, match="other classes: digits lacks '3', '4', '5', '6', '7' and 2 more"):
        kzoo.evaluate(trained[0], fewer)


def test_other_raw_data_are_refused(trained, digits):
    other = dataclasses.replace(digits, preprocess=dataclasses.replace(digits.preprocess, raw_dtype="float32"))
    with pytest.raises(ValueError, match="trained on data with raw_dtype uint8, but digits has raw_dtype float32"):
        kzoo.evaluate(trained[0], other)


def test_data_like_those_of_the_training_need_no_warning(trained, digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kzoo.evaluate(kzoo.load_run(trained[1])[0], digits)


def test_a_network_that_is_trained_again_remembers_the_new_data(trained, dark):
    model = keras.models.clone_model(trained[0])
    kzoo.fit(model, dark, epochs=1, verbose=False)
    assert model.trained_with.preprocess == dark.preprocess


def test_training_on_in_another_order_of_the_classes_is_said(trained, reordered):
    model = kzoo.load_run(trained[1])[0]
    with pytest.warns(UserWarning, match="digits has the classes in another order than convnet was trained with b"):
        kzoo.fit(model, reordered, epochs=1, verbose=False)
    assert model.trained_with.task == reordered.task


def test_an_ensemble_of_trained_networks_remembers_what_all_do(trained, digits):
    again = kzoo.load_run(trained[1])[0]
    both = kzoo.ensemble([trained[0], again])
    assert both.trained_with == trained[0].trained_with
    again.trained_with = dataclasses.replace(again.trained_with, task=Classification(digits.class_names[::-1]))
    with pytest.raises(ValueError, match="one task; these are for different classes, or their order or scale"):
        kzoo.ensemble([trained[0], again])


def test_raw_examples_of_another_length_are_refused():
    def series(length):
        rng = np.random.default_rng(0)
        raw = Examples(rng.normal(size=(20, length, 1)).astype("float32"), np.arange(20, dtype="int32") % 2)
        step = MODALITIES["timeseries"].preprocess.fit(raw)
        return Splits(
            "waves", "timeseries", dict.fromkeys(("train", "validation", "test"), raw), Classification(("a", "b")), step
        )

    model = kzoo.create_model("fcn", (16, 1), 2)
    remember(model, series(16))
    with (
        pytest.warns(UserWarning, match="waves has another preprocessing"),
        pytest.raises(ValueError, match=r"takes raw examples of shape \(16, 1\), but waves has \(12, 1\)"),
    ):
        kzoo.evaluate(model, series(12))


def test_a_complete_run_is_remembered_as_well(trained, digits, dark, tmp_path):
    model = kzoo.load_run(trained[1])[0]
    assert runs.load_run(trained[1])[0].trained_with == trained[0].trained_with
    with pytest.warns(UserWarning, match=WARNING):
        pictures = kzoo.visualize(trained[1], data=dark)
    assert pictures
    assert model.trained_with.task == digits.task
