"""Tables of series as programs write them."""

import warnings

import numpy as np
import pytest

import kzoo
from kzoo.data.timeseries.files import read_file, read_one


def read(tmp_path, content, name="a.csv", **options):
    """Return (labels, series of the first row) of a file, and the warnings."""
    (tmp_path / name).write_text(content)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        file = read_file(tmp_path / name, **options)
    return file.labels, file.series[0].T.tolist(), [str(warning.message) for warning in said]


@pytest.mark.parametrize(
    "content",
    [
        "a,1,2,5\nb,3,4,5\n",
        "label,0,1,2\na,1,2,5\nb,3,4,5\n",
        "0,1,2,label\n1,2,5,a\n3,4,5,b\n",
        "t0,t1,t2,class\n1,2,5,a\n3,4,5,b\n",
        ",0,1,2,label\n0,1,2,5,a\n1,3,4,5,b\n",
        "id,x0,x1,x2,target\np7,1,2,5,a\np9,3,4,5,b\n",
        "a;1;2;5\nb;3;4;5\n",
        "a;1,0;2,0;5,0\nb;3,0;4,0;5,0\n",
        "a 1 2 5\nb 3 4 5\n",
        "1,2,5,a\n3,4,5,b\n",
    ],
)
def test_one_series_a_row(tmp_path, content):
    labels, first, _ = read(tmp_path, content)
    assert (labels, first) == (["a", "b"], [[1, 2, 5]])


def test_a_header_of_numbers_is_no_series(tmp_path):
    labels, first, said = read(tmp_path, "0,1,2,3,4\n" + "1,5,6,5,6\n2,8,7,8,7\n")
    assert (labels, first) == (["1", "2"], [[5, 6, 5, 6]])
    assert "line 1 of" in said[0]
    assert "is read as a header" in said[0]
    ramps = "0,1,2,3\n1,2,3,4\n"
    assert read(tmp_path, ramps)[0] == ["0", "1"]


def test_labels_in_the_last_column(tmp_path):
    rows = "".join(f"{n}.5,{n % 3}.1,{n % 7}.2,{n % 2}\n" for n in range(12))
    labels, first, said = read(tmp_path, rows)
    assert labels == ["0", "1"] * 6
    assert np.allclose(first, [[0.5, 0.1, 0.2]])
    assert "read from the last column, since the first differs in each row" in said[0]
    assert read(tmp_path, "7,1,2,3\n8,4,5,6\n", label_column=-1)[:2] == (["3", "6"], [[7, 1, 2]])
    assert read(tmp_path, "a,kind,b\n7,x,3\n8,y,6\n", label_column="kind")[:2] == (["x", "y"], [[7, 3]])
    with pytest.raises(ValueError, match="unknown column of .*a.csv, 'knd'; did you mean kind"):
        read(tmp_path, "a,kind,b\n7,x,3\n", label_column="knd")


def test_one_step_a_row(tmp_path):
    long = "id,time,x,y,label\n7,1,10,20,up\n7,0,11,21,up\n9,0,30,40,down\n9,1,31,41,down\n"
    labels, first, _ = read(tmp_path, long)
    assert (labels, first) == (["up", "down"], [[11, 10], [21, 20]])
    with pytest.raises(ValueError, match="a.csv, line 2: series '7' has the labels down, up"):
        read(tmp_path, long.replace("0,11,21,up", "0,11,21,down"))
    with pytest.raises(ValueError, match="one row a step, but no column of labels, called label or class"):
        read(tmp_path, "id,time,x\n7,0,1\n7,1,2\n")


ARFF = "% note\n@relation waves\n@attribute a numeric\n@attribute b numeric\n@attribute target {up, down}\n\n@data\n"


def test_arff(tmp_path):
    labels, first, _ = read(tmp_path, ARFF + "1.5,?,down\n2,3,up\n", "a.arff", fill=9)
    assert (labels, first) == (["down", "up"], [[1.5, 9]])
    labels, first, _ = read(tmp_path, ARFF + "'1,2,3\\n4,5,6',up\n", "a.arff")
    assert (labels, first) == (["up"], [[1, 2, 3], [4, 5, 6]])
    assert read_file(tmp_path / "a.arff").class_names == ["up", "down"]
    for content, message in (
        (ARFF + "1,2,left\n", "a.arff, line 8: label 'left' is not one of up down"),
        (ARFF + "{0 1, 2 up}\n", "a.arff, line 8: sparse rows are not read"),
        (ARFF.replace("{up, down}", "numeric") + "1,2,3\n", "has no line @attribute NAME"),
        ("", "has no line @attribute"),
    ):
        with pytest.raises(ValueError, match=message):
            read(tmp_path, content, "a.arff")


def test_missing_values_are_filled_in_as_asked(tmp_path):
    content = "a,?,2,?,4,\n"
    for fill, expected in ((0, [0, 2, 0, 4, 0]), ("linear", [2, 2, 3, 4, 4]), ("previous", [2, 2, 2, 4, 4])):
        assert read(tmp_path, content, fill=fill)[1] == [expected]
    with pytest.raises(ValueError, match=r"value 1 is '\?', expected a finite number; .*fill='linear', 'previous'"):
        read(tmp_path, content)
    with pytest.raises(ValueError, match="value 1 is 'x'"):
        read(tmp_path, "a,x,2,3\nb,1,2,3\n", fill=0)
    with pytest.raises(ValueError, match="fill must be one of linear, previous, got 'mean'"):
        kzoo.load_dataset(f"series:{tmp_path / 'a.csv'}", fill="mean")


def test_labels_with_leading_zeros_are_not_merged(tmp_path):
    assert read(tmp_path, "01,5,6\n1,5,7\n1.0,5,8\n")[0] == ["01", "1", "1"]
    (tmp_path / "a.csv").write_text("".join(f"{label},{n},{n % 3},5\n" for n in range(20) for label in ("01", "1")))
    with pytest.warns(UserWarning, match="names differ by case or leading zeros only: '01', '1'"):
        kzoo.load_dataset(f"series:{tmp_path / 'a.csv'}", validation=0.2)


def test_a_table_of_time_stamps_is_recognised(tmp_path):
    rows = (f"2020-01-{1 + n // 1440:02d} {n // 60 % 24:02d}:{n % 60:02d},{n % 7}.5\n" for n in range(20_000))
    (tmp_path / "a.csv").write_text("when,value\n" + "".join(rows))
    with pytest.raises(ValueError, match="each of the 20000 examples of .* has a class of its own") as error:
        kzoo.load_dataset(f"series:{tmp_path / 'a.csv'}")
    assert len(str(error.value)) < 400


def test_a_class_of_one_split_is_said(tmp_path):
    (tmp_path / "a_TRAIN.csv").write_text("".join(f"{n % 3},{n},5,6\n" for n in range(20)))
    (tmp_path / "a_TEST.csv").write_text("".join(f"{n % 2},{n},5,6\n" for n in range(20)))
    with pytest.warns(UserWarning, match="a_TRAIN.csv has no examples of '2' in test"):
        kzoo.load_dataset(f"series:{tmp_path}", validation=0.2)


@pytest.mark.parametrize("suffix", [".csv", ".npy"])
@pytest.mark.parametrize("prefix", ["folder:", "series:", "series_folder:"])
def test_a_folder_of_one_file_a_series(tmp_path, suffix, prefix):
    for label in ("up", "down"):
        (tmp_path / label).mkdir()
        for n in range(10):
            series = np.arange(8 + n % 2)[:, None] * [1, 2] + n
            if suffix == ".npy":
                np.save(tmp_path / label / f"{n}.npy", series)
            else:
                np.savetxt(tmp_path / label / f"{n}.csv", series, delimiter=",", header="x,y", comments="")
    with pytest.raises(ValueError, match="have 8 to 9 steps"):
        kzoo.load_dataset(f"{prefix}{tmp_path}")
    splits = kzoo.load_dataset(f"{prefix}{tmp_path}", unequal="pad", validation=0.2)
    assert splits.modality == "timeseries"
    assert splits.class_names == ("down", "up")
    assert splits.input_shape == (9, 2)
    assert splits.preprocess.read(tmp_path / "up" / f"3{suffix}")[1].tolist() == [4, 5]


def test_the_index_that_pandas_writes_is_no_channel(tmp_path):
    (tmp_path / "one.csv").write_text(",x\n0,1.5\n1,2.5\n2,0.5\n")
    assert read_one(tmp_path / "one.csv", 1)[:, 0].tolist() == [1.5, 2.5, 0.5]
