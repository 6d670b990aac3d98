"""Tables of one row a step with a class or tags at each."""

import numpy as np
import pandas
import pytest

import kzoo


@pytest.fixture
def table(tmp_path):
    """Return the path of a table: three series of 10, 5 and 4 steps, mixed, in which one step is not known."""
    frame = pandas.DataFrame(
        {
            "subject": np.repeat(["ann", "bob", "cy"], [10, 5, 4]),
            "timestamp": 1_700_000_000_000 + np.concatenate([np.arange(10), np.arange(5), np.arange(4)]),
            "activity": ["walk", "rest"] * 9 + [None],
            "x": np.arange(19.0),
            "y": -np.arange(19.0),
            "note": "said",
        }
    )
    frame.sample(frac=1, random_state=0).to_csv(tmp_path / "activity.csv", index=False)
    return f"steps:{tmp_path / 'activity.csv'}"


def whole(name, **options):
    """Return the examples of all splits of a dataset together, by their first value."""
    splits = kzoo.load_dataset(name, validation=0, test=0.2, **options).examples
    parts = [splits["train"], splits["test"]]
    rows = [row for part in parts for row in zip(part.inputs, part.labels, part.groups, strict=True)]
    return splits, sorted(rows, key=lambda row: row[0][0, 0])


def test_series_are_cut_into_windows_in_order_of_time(table):
    splits, rows = whole(table, length=4)
    series, labels, groups = zip(*rows, strict=True)
    assert groups == ("ann", "ann", "ann", "bob", "bob", "cy")
    np.testing.assert_array_equal(series[0], [[0, 0], [1, -1], [2, -2], [3, -3]])
    np.testing.assert_array_equal(series[2], [[8, -8], [9, -9], [0, 0], [0, 0]])
    assert [row.tolist() for row in labels[-4:]] == [[1, 0, -1, -1], [1, 0, 1, 0], [1, -1, -1, -1], [0, 1, 0, -1]]
    assert not set(splits["train"].groups) & set(splits["test"].groups)


def test_windows_may_overlap(table):
    _, rows = whole(table, length=4, hop=2)
    assert [row[0][0, 0] for row in rows] == [0, 2, 4, 6, 10, 12, 15]


def test_tags_have_a_column_each(table, tmp_path):
    frame = pandas.read_csv(tmp_path / "activity.csv")
    frame["walking"] = (frame.activity == "walk").astype(int).where(frame.activity.notna())
    frame["resting"] = 1 - frame.walking
    frame.drop(columns="activity").to_csv(tmp_path / "activity.csv", index=False)
    _, rows = whole(table, length=4, task="step_tagging", target=["walking", "resting"], channels=["x"])
    np.testing.assert_array_equal(rows[-1][1], [[0, 1], [1, 0], [0, 1], [np.nan, np.nan]])
    assert rows[0][0].shape == (4, 1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"target": "activty"}, "did you mean activity"),
        ({"channels": ["x", "z"]}, "unknown column of activity.csv, 'z'"),
        ({"task": "tagging"}, "unknown task of steps: 'tagging'; did you mean step_tagging"),
        ({"hop": 9, "length": 8}, "hop must be at most the window, 8"),
        ({"channels": ["note"]}, "'said' in line 2, column note; expected a number"),
    ],
)
def test_what_is_wrong_is_named(table, options, message):
    with pytest.raises(ValueError, match=message):
        kzoo.load_dataset(table, **options)


def test_a_table_without_a_target_says_so(tmp_path):
    (tmp_path / "plain.csv").write_text("x,z\n1,2\n")
    with pytest.raises(ValueError, match="say which is the target="):
        kzoo.load_dataset(f"steps:{tmp_path / 'plain.csv'}")
