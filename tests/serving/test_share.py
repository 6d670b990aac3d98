"""Shared models: a folder brings a network back bit for bit, in a new process too; the hub is a folder with a name."""

import numpy as np
import pytest

import kzoo


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """A shared model of a run of the digits."""
    return kzoo.save_pretrained(
        run, tmp_path_factory.mktemp("shared") / "digits", license="apache-2.0", limitations="Only digits."
    )


def test_a_folder_brings_a_run_back_bit_for_bit(run, folder, digits):
    before, serving = kzoo.load_run(run)
    after, again = kzoo.load_run(folder)
    assert after.registered_name == before.registered_name
    assert (again.modality, again.preprocess, again.task) == (serving.modality, serving.preprocess, serving.task)
    raw = digits.examples["test"].inputs[:20]
    inputs = np.asarray(serving.preprocess(raw))
    np.testing.assert_array_equal(before.predict(inputs, verbose=0), after.predict(inputs, verbose=0))
    predictor = kzoo.load_model(folder)
    assert predictor.model.count_params() == before.count_params()
    np.testing.assert_array_equal(predictor.answers(raw), kzoo.load_model(run).answers(raw))
