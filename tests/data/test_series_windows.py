"""Windows of long series: random ones in training, all of them in measuring, as recordings have."""

import re

import keras
import numpy as np
import pandas
import pytest

import kzoo
from kzoo.data.splits import divided
from kzoo.data.timeseries.windows import SeriesWindows
from kzoo.data.windows import Windows

LENGTH, HOP = 10, 4


@pytest.fixture
def folder(tmp_path):
    """Return a folder of 12 series of each class, 20 to 31 steps; each step is its number plus 100 of its series."""
    for number in range(24):
        (tmp_path / "set" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        steps = 100 * number + np.arange(20 + number // 2)
        np.save(tmp_path / "set" / "ab"[number % 2] / f"{number:02}.npy", steps.astype("float32"))
    return tmp_path


def loaded(folder, **options):
    return kzoo.load_dataset(
        f"folder:{folder / 'set'}", length=LENGTH, hop=HOP, batch_size=8, normalise="none", **options
    )


def is_window(rows) -> bool:
    return (np.diff(rows[:, 0]) == 1).all() and len(rows) == LENGTH


def test_training_sees_another_random_window_of_each_series_in_each_epoch(folder):
    data = loaded(folder, validation=0.2)
    epochs = [np.concatenate([np.asarray(batch[0]) for batch in data.train]) for _ in range(2)]
    assert data.input_shape == (LENGTH, 1)
    assert all(map(is_window, np.concatenate(epochs)))
    first, second = (np.sort(epoch[:, 0, 0]) for epoch in epochs)
    np.testing.assert_array_equal(first // 100, second // 100)  # the same series
    assert (first != second).any()
    whole = [np.asarray(batch[0]) for batch in data.train_batches().take(4)]
    np.testing.assert_array_equal(np.asarray(next(iter(data.train_batches(3)))[0]), whole[3])


def test_evaluation_takes_the_mean_over_all_windows(folder):
    data = loaded(folder, validation=0.2)
    test, counts = divided(data.examples["test"])
    assert counts.tolist() == [
        len(Windows(LENGTH, HOP).starts(steps)) for steps in data.examples["test"].inputs.lengths
    ]
    assert all(map(is_window, test.inputs[:]))
    inputs = keras.Input((LENGTH, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs / 3000)))
    report = kzoo.evaluate(model, data)
    assert report.examples == len(counts)
    logits = model.predict(test.inputs[:], verbose=0)
    each = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    mean = np.array([part.mean(axis=0) for part in np.split(each, np.cumsum(counts)[:-1])])
    assert report.loss == pytest.approx(-np.log(mean[range(len(mean)), data.examples["test"].labels]).mean(), rel=1e-5)


def test_a_run_predicts_and_is_evaluated_on_long_series(folder):
    data = loaded(folder, validation=0.2)
    model = kzoo.create_model("fcn", data.input_shape, 2, filters=(4, 4, 4))
    kzoo.fit(model, data, epochs=1, run_dir=folder / "run", verbose=False)
    path = folder / "set" / "a" / "22.npy"
    (answer,) = kzoo.load_predictor(folder / "run").predict_files([path], hop=HOP)
    assert len(answer.windows) == len(Windows(LENGTH, HOP).starts(31))
    report = kzoo.evaluate_on(folder / "run", f"folder:{folder / 'set'}", length=LENGTH, hop=HOP)
    assert report.examples == 24


def test_a_table_of_files_has_windows(folder):
    rows = [{"file": f"set/{'ab'[n % 2]}/{n:02}.npy", "value": n * 1.0} for n in range(24)]
    pandas.DataFrame(rows).to_csv(folder / "a.csv", index=False)
    data = kzoo.load_dataset(
        f"table:{folder / 'a.csv'}", target="value", task="regression", length=LENGTH, hop=HOP, normalise="none"
    )
    batch, targets = next(iter(data.train))
    assert all(map(is_window, np.asarray(batch)))
    found = np.asarray(targets)[:, 0] * data.task.deviation[0] + data.task.mean[0]
    np.testing.assert_allclose(found, np.asarray(batch)[:, 0, 0] // 100, atol=1e-3)


def test_shorter_series_are_padded_if_asked_for():
    series = [np.ones((steps, 1), "float32") for steps in (3, 12)]
    found = SeriesWindows.of(series, Windows(LENGTH, HOP), "pad", "a set")
    np.testing.assert_array_equal(found[0][:, 0], [1] * 3 + [0] * 7)
    assert found.take(np.array([1])).fingerprint() != found.fingerprint()
    with pytest.raises(ValueError, match="a series of a set has 3 steps, fewer than the windows of length=10; give"):
        SeriesWindows.of(series, Windows(LENGTH, HOP), None, "a set")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"hop": 4}, "hop=4 divides series into windows; give their length=, in steps"),
        ({"hop": 11, "length": 10}, "hop must be at most the window, 10"),
        ({"hop": 4, "length": 10, "unequal": "resample"}, "leave out unequal='resample'"),
        ({"hop": 0, "length": 10}, "hop must be"),
    ],
)
def test_mistakes_are_explained(folder, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        kzoo.load_dataset(f"folder:{folder / 'set'}", **options)


def test_numbers_in_a_table_itself_have_no_windows():
    columns = {f"t{step}": np.arange(20.0) for step in range(6)} | {"label": ["a", "b"] * 10}
    with pytest.raises(ValueError, match="hop is for files of recordings and series, but frame has none"):
        kzoo.from_frame(columns, input="t*", target="label", hop=2)
