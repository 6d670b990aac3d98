"""Labels and arrays as users have them."""

import warnings

import numpy as np
import pytest

from kzoo.data.labels import channels_last, check_classes, modality_of, read_labels


@pytest.mark.parametrize(
    "train, names, indices",
    [
        (["dog", "cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        (np.array([b"dog", b"cat", b"dog"]), ("cat", "dog"), [1, 0, 1]),
        (np.array(["dog", "cat", "dog"], object), ("cat", "dog"), [1, 0, 1]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        ([2.0, 1.0, 10.0], ("1", "2", "10"), [1, 0, 2]),
        ([[1], [2], [1]], ("1", "2"), [0, 1, 0]),
        ([-1, 1, -1], ("-1", "1"), [0, 1, 0]),
        ([[0, 1], [1, 0], [0, 1]], ("0", "1"), [1, 0, 1]),
        (np.array([0, 2, 1], "uint8"), ("0", "1", "2"), [0, 2, 1]),
    ],
)
def test_labels_of_every_kind_become_class_indices(train, names, indices):
    class_names, labels = read_labels({"train": np.array(train)})
    assert class_names == names
    assert labels["train"].tolist() == indices
    assert labels["train"].dtype == "int32"


def test_class_names_give_the_order():
    names, labels = read_labels({"train": np.array(["b", "a", "b"])}, ["b", "a"])
    assert (names, labels["train"].tolist()) == (("b", "a"), [0, 1, 0])
    _, labels = read_labels({"train": np.array([0, 1, 0])}, ["b", "a"])
    assert labels["train"].tolist() == [0, 1, 0]
    with pytest.warns(UserWarning, match="labels of the data start at 1 and are read as the 2 class names in order"):
        _, labels = read_labels({"train": np.array([1, 2, 1])}, ["b", "a"])
    assert labels["train"].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "splits, message",
    [
        ({"train": [0.5, 1.0]}, "labels of the train split must be integers or names: example 0 has 0.5"),
        ({"train": [[1, 1, 0], [0, 1, 0]]}, r"shape \(2, 3\), but row 0 is not one-hot: \[1, 1, 0\]"),
        ({"train": [[0.2, 0.8], [1, 0]]}, "row 0 is not one-hot"),
        ({"train": [0, 1], "test": ["a", "b"]}, "differ in kind: numbers in train, names in test"),
        ({"train": [0, 1, 0], "test": [2, 0]}, "no training example of the data has class '2' of test"),
        ({"train": [0, 0]}, "expected at least 2 classes in the data, found '0'"),
        ({"train": [0, 1, 2, -1]}, "labels -1 beside 3 others; leave out unlabelled examples"),
        ({"train": np.array(["a", None, "b"], object)}, "all names or all numbers: example 1 has None"),
        (
            {"train": np.arange(100)},
            "each of the 100 examples of the data has a class of its own .'0', '1' and 98 more",
        ),
        ({"train": np.zeros((4, 2, 2), int)}, r"have shape \(4, 2, 2\); expected one label for each example"),
    ],
)
def test_wrong_labels_are_named(splits, message):
    with pytest.raises(ValueError, match=message):
        read_labels({split: np.array(labels) for split, labels in splits.items()})


def test_labels_that_are_no_class_names_are_named():
    with pytest.raises(ValueError, match="example 1 of the train split has label 5, expected 0 to 1"):
        read_labels({"train": np.array([0, 5])}, ["a", "b"])
    with pytest.raises(ValueError, match="example 1 of the train split has label c, expected 'a', 'b'"):
        read_labels({"train": np.array(["a", "c"])}, ["a", "b"])


def test_classes_of_one_split_only_and_of_almost_one_name_are_said():
    with pytest.warns(UserWarning, match=r"x has no examples of 'unsup' in test; choose the classes with classes="):
        check_classes({"train": ["pos", "neg", "unsup"], "test": ["pos", "neg"]}, "x")
    with pytest.warns(
        UserWarning, match="x has classes whose names differ by case or leading zeros only: 'Cat', 'cat'"
    ):
        check_classes({"train": ["Cat", "cat", "dog"]}, "x")
    with pytest.warns(UserWarning, match="x has classes without examples.*: 'fox'"):
        check_classes({"train": ["cat", "dog"]}, "x", empty=["fox", "cat"])


@pytest.mark.parametrize(
    "shape, dtype, modality",
    [
        ((5, 32, 32), "uint8", "image"),
        ((5, 32, 32, 3), "float32", "image"),
        ((5, 3, 32, 32), "uint8", "image"),
        ((5, 100), "float64", "timeseries"),
        ((5, 100, 6), "float32", "timeseries"),
        ((5, 24, 2), "int16", "timeseries"),
        ((5,), "U3", "text"),
    ],
)
def test_the_modality_is_that_of_the_shape(shape, dtype, modality):
    assert modality_of(np.zeros(shape, dtype), "x") == modality
    assert modality_of(np.zeros(shape, dtype), "x", modality) == modality


def test_what_may_be_images_or_series_is_asked():
    with pytest.raises(
        ValueError, match=r"x is float64 of shape \(4, 32, 32\): images or series\? say modality='image'"
    ):
        modality_of(np.zeros((4, 32, 32)), "x")
    with pytest.raises(ValueError, match=r"x is uint8 of shape \(4, 784\): images or series\? reshape it"):
        modality_of(np.zeros((4, 784), "uint8"), "x")
    assert modality_of(np.zeros((4, 32, 32)), "x", "timeseries") == "timeseries"
    for wrong, said in ((np.zeros((4, 5)), "image"), (np.zeros(4), None), (np.zeros((4, 5, 5)), "text")):
        with pytest.raises(ValueError, match=r"expected \(n, height, width, channels\)"):
            modality_of(wrong, "x", said)
    with pytest.raises(ValueError, match="unknown modality of arrays 'images'; did you mean image"):
        modality_of(np.zeros((4, 5, 5)), "x", "images")


def test_channels_become_the_last_axis():
    with pytest.warns(UserWarning, match=r"x, \(2, 3, 8, 8\), is read with channels first; say channels_first=False"):
        assert channels_last(np.zeros((2, 3, 8, 8)), "image", "x").shape == (2, 8, 8, 3)
    with pytest.warns(UserWarning, match="channels first"):
        assert channels_last(np.zeros((2, 6, 100)), "timeseries", "x").shape == (2, 100, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert channels_last(np.zeros((2, 6, 100)), "timeseries", "x", first=False).shape == (2, 6, 100)
        assert channels_last(np.zeros((2, 8, 8, 3)), "image", "x").shape == (2, 8, 8, 3)
        assert channels_last(np.zeros((2, 8, 8)), "image", "x").shape == (2, 8, 8, 1)
        assert channels_last(np.zeros((2, 100)), "timeseries", "x").shape == (2, 100, 1)
