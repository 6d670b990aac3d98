"""Numbers as targets: from arrays, tables, .npz and .ts files, and the sets that come with kzoo."""

import importlib.util
import re

import numpy as np
import pytest
from scipy import stats

import kzoo
from kzoo.data.image.sets import rotated
from kzoo.data.timeseries import sets
from kzoo.tasks import Regression

RNG = np.random.default_rng(0)
SERIES = RNG.normal(size=(30, 8)).astype("float32")
NUMBERS = np.c_[SERIES.mean(axis=1), 100 + SERIES[:, 0]].astype("float64")
QUANTILES = [0.1, 0.5, 0.9]


def targets(data) -> np.ndarray:
    """Return the targets of all splits, sorted."""
    return np.sort(np.concatenate([part.labels for part in data.examples.values()]), axis=0)


class TestArrays:
    @pytest.mark.parametrize(
        "given, names, columns",
        [
            (NUMBERS[:, 0], None, ("value",)),
            (NUMBERS[:, :1], ["age"], ("age",)),
            (NUMBERS.tolist(), None, ("0", "1")),
            (NUMBERS, ["age", "height"], ("age", "height")),
            (NUMBERS[:, 0].astype(object), None, ("value",)),
            ([f"{value:.17g}" for value in NUMBERS[:, 0]], None, ("value",)),
            (np.arange(30), None, ("value",)),
        ],
    )
    def test_of_every_kind(self, given, names, columns):
        data = kzoo.from_arrays(SERIES, given, task="regression", class_names=names, validation=0.2)
        assert (data.task.columns, data.num_outputs, data.class_names) == (columns, len(columns), columns)
        expected = np.sort(np.asarray(given, "float64").reshape(30, -1), axis=0)
        np.testing.assert_array_equal(targets(data), expected)
        train = data.examples["train"].labels
        assert data.task.mean == pytest.approx(train.mean(axis=0))

    def test_frames_name_the_numbers(self):
        frame = pytest.importorskip("pandas").DataFrame(NUMBERS, columns=["age", "height"])
        assert kzoo.from_arrays(SERIES, frame, task="regression").task.columns == ("age", "height")

    def test_quantiles_and_unknown_numbers(self):
        given = NUMBERS.copy()
        given[3, 1] = np.nan
        options = {"task": "regression", "quantiles": QUANTILES, "masked": True}
        data = kzoo.from_arrays(SERIES, given, class_names=["age", "height"], **options)
        assert data.num_outputs == 6
        assert data.task.quantiles == tuple(QUANTILES)
        assert np.isnan(targets(data)).sum() == 1

    @pytest.mark.parametrize(
        "given, options, message",
        [
            (
                NUMBERS[:, 0],
                {"task": None},
                "to predict numbers say task='regression', for classes of a measured value",
            ),
            (NUMBERS, {"task": None}, "expected one label for each example; .* for numbers task='regression'"),
            (NUMBERS, {"task": "regresion"}, "unknown task 'regresion'; did you mean regression"),
            (
                [*NUMBERS[:29, 0], None],
                {},
                "example 29 of the train split has nan for 'value', expected a number; leave",
            ),
            ([*NUMBERS[:29, 0].tolist(), "tall"], {}, "example 29 of the train split has 'tall', expected a number"),
            (NUMBERS[:29], {}, "the train split has 30 inputs but 29 labels"),
            (
                NUMBERS[..., None],
                {},
                r"the targets of the train split have shape \(30, 2, 1\), expected \(n,\) or \(n, c",
            ),
            (
                NUMBERS,
                {"class_names": ["age"]},
                r"the targets of the train split have shape \(30, 2\), expected \(n, 1",
            ),
            (NUMBERS * 0, {}, "all training targets of '0' are 0; there is nothing to learn"),
            (
                NUMBERS,
                {"quantiles": [0.1, 0.9]},
                r"quantiles must be ascending fractions in \(0, 1\) with 0.5 in the mi",
            ),
            (NUMBERS, {"task": "tagging", "quantiles": QUANTILES}, "unknown option of timeseries arrays, 'quantiles'"),
        ],
    )
    def test_what_cannot_be(self, given, options, message):
        with pytest.raises(ValueError, match=message):
            kzoo.from_arrays(SERIES, given, **{"task": "regression"} | options)


def write(tmp_path, change=lambda rows: None):
    rows = [[*series, *numbers] for series, numbers in zip(SERIES.tolist(), NUMBERS.tolist(), strict=True)]
    change(rows)
    header = [f"t{step}" for step in range(8)] + ["age", "height"]
    path = tmp_path / "people.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n")
    return f"table:{path}"


ASKED = {"input": "t*", "target": ["age", "height"], "task": "regression"}


class TestTables:
    def test_columns_of_numbers(self, tmp_path):
        data = kzoo.load_dataset(write(tmp_path), quantiles=QUANTILES, **ASKED)
        assert (data.task.columns, data.num_outputs) == (("age", "height"), 6)
        np.testing.assert_allclose(targets(data), np.sort(NUMBERS, axis=0), rtol=1e-6)

    def test_empty_cells_are_unknown_numbers_if_asked(self, tmp_path):
        def change(rows):
            rows[4][9] = ""
            rows[6][9] = "nan"

        with pytest.raises(ValueError, match="people.csv has no height in line 6"):
            kzoo.load_dataset(write(tmp_path, change), **ASKED)
        data = kzoo.load_dataset(write(tmp_path, change), masked=True, **ASKED)
        assert np.isnan(targets(data)).sum(axis=0).tolist() == [0, 2]

    @pytest.mark.parametrize("masked", [False, True])
    def test_text_where_numbers_are_meant(self, tmp_path, masked):
        def change(rows):
            rows[4][9] = "tall"

        message = "people.csv has 'tall' in line 6, column height; expected a number"
        with pytest.raises(ValueError, match=message):
            kzoo.load_dataset(write(tmp_path, change), masked=masked, **ASKED)

    def test_options_of_another_task(self, tmp_path):
        with pytest.raises(ValueError, match="unknown option of tagging 'quantiles'; did you mean"):
            kzoo.load_dataset(write(tmp_path), quantiles=QUANTILES, **ASKED | {"task": "tagging"})
        with pytest.raises(ValueError, match="to predict numbers say task='regression'"):
            kzoo.load_dataset(write(tmp_path), input="t*", target="age")


def test_npz_files(tmp_path):
    np.savez(tmp_path / "people.npz", x=SERIES, y=NUMBERS, class_names=["age", "height"])
    data = kzoo.load_dataset(f"npz:{tmp_path}/people.npz", task="regression", quantiles=QUANTILES)
    assert (data.task.columns, data.num_outputs) == (("age", "height"), 6)
    np.testing.assert_array_equal(targets(data), np.sort(NUMBERS, axis=0))
    with pytest.raises(ValueError, match="unknown option of classification 'masked'"):
        kzoo.load_dataset(f"npz:{tmp_path}/people.npz", masked=True)


class TestSeriesFiles:
    def write(self, tmp_path, rows):
        content = "@problemName a\n@timeStamps false\n@targetLabel true\n@data\n" + "\n".join(rows) + "\n"
        (tmp_path / "a.ts").write_text(content)
        return f"series:{tmp_path}/a.ts"

    def test_a_number_for_each_series(self, tmp_path):
        rows = [f"{n},{n + 1}:{n},3:{n / 4}" for n in range(20)]
        data = kzoo.load_dataset(self.write(tmp_path, rows))
        assert (data.task.columns, data.input_shape) == (("value",), (2, 2))
        np.testing.assert_array_equal(targets(data)[:, 0], np.arange(20) / 4)
        for part in data.examples.values():
            np.testing.assert_array_equal(part.inputs[:, 0, 0] / 4, part.labels[:, 0])
        assert kzoo.load_dataset(self.write(tmp_path, rows), quantiles=QUANTILES).num_outputs == 3

    def test_unknown_numbers(self, tmp_path):
        rows = [f"{n},{n + 1}:{n if n % 4 else '?'}" for n in range(20)]
        with pytest.raises(ValueError, match="example 0 of the train split has nan for 'value', expected a number"):
            kzoo.load_dataset(self.write(tmp_path, rows))
        assert np.isnan(targets(kzoo.load_dataset(self.write(tmp_path, rows), masked=True))).sum() == 5

    @pytest.mark.parametrize(
        "row, message",
        [
            ("1,2:tall", "a.ts, line 6: target 'tall' after the last colon, expected a number"),
            ("1,2", "a.ts, line 6: target '1,2' after the last colon, expected a number"),
        ],
    )
    def test_what_cannot_be(self, tmp_path, row, message):
        with pytest.raises(ValueError, match=message):
            kzoo.load_dataset(self.write(tmp_path, ["1,2:3", row]))

    def test_classes_have_no_quantiles(self, tmp_path):
        (tmp_path / "a.ts").write_text("@classLabel true a b\n@data\n" + "1,2:a\n3,4:b\n" * 5)
        with pytest.raises(ValueError, match="unknown option of classification 'quantiles'"):
            kzoo.load_dataset(f"series:{tmp_path}/a.ts", quantiles=QUANTILES)


def test_digits_that_are_turned():
    one, two = (kzoo.load_dataset("digit_rotation") for _ in range(2))
    assert one.input_shape == (16, 16, 1)
    assert {split: len(part) for split, part in one.examples.items()} == {"train": 1293, "validation": 144, "test": 360}
    for split, part in one.examples.items():
        np.testing.assert_array_equal(part.inputs, two.examples[split].inputs)
        np.testing.assert_array_equal(part.labels, two.examples[split].labels)
    degrees = targets(one)[:, 0]
    assert stats.kstest(degrees, "uniform", (-60, 120)).pvalue > 0.01
    image = RNG.integers(0, 255, (6, 6, 1), dtype="uint8")
    np.testing.assert_array_equal(rotated(image, 90.0), np.rot90(image))
    assert kzoo.load_dataset("digit_rotation", quantiles=QUANTILES).num_outputs == 3


def test_an_extrinsic_regression_inside_a_wheel(monkeypatch):
    if not any(importlib.util.find_spec(package) for package in sets.PACKAGES):
        pytest.skip("sktime or aeon is not installed")
    data = kzoo.load_dataset("Covid3Month")
    assert isinstance(data.task, Regression)
    assert (data.input_shape, len(data.examples["test"])) == ((84, 1), 61)
    assert data.examples["test"].labels.max() < 1
    monkeypatch.setattr(sets.importlib.util, "find_spec", lambda package: None)
    command = re.escape("Covid3Month needs the package sktime or aeon; in a clone of kzoo: python -m pip install")
    with pytest.raises(ValueError, match=command):
        kzoo.load_dataset("Covid3Month")
