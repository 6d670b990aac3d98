"""Datasets and their cards are readable at a prompt, in `print` and in a notebook."""

import numpy as np
import pytest

import kzoo
from kzoo.data.display import shape_text
from kzoo.tasks import Classification


@pytest.fixture(scope="module")
def digits():
    return kzoo.load_dataset("digits")


def test_a_dataset_has_a_short_repr(digits):
    assert repr(digits).startswith("<Splits digits: ")
    assert len(repr(digits)) < 200
    assert len(repr(digits.examples["train"])) < 100


def test_a_dataset_prints_as_the_table_of_its_splits(digits):
    for words in ("split", "examples", "validation", "8 x 8 x 1", "10 classes", "ImagePreprocess"):
        assert words in str(digits)
    assert f"{len(digits.examples['train']):,}" in str(digits)


def test_a_dataset_is_a_table_in_a_notebook(digits):
    assert "<table" in digits._repr_html_()
    assert "validation" in digits._repr_html_()


def test_many_classes_are_not_all_listed(digits):
    many = [f"word{number}" for number in range(50)]
    found = str(type(digits)(**{**vars(digits), "task": Classification(tuple(many))}))
    assert "and 40 more" in found
    assert "word49" not in found


@pytest.mark.parametrize("name", kzoo.list_datasets())
def test_a_dataset_card_is_readable(name):
    card = kzoo.dataset_card(name if not name.endswith(":") else f"{name}...")
    assert len(repr(card)) < 300
    assert "function" not in repr(card) + str(card)
    assert card.source in str(card)


def test_a_split_of_strings_has_no_shape():
    assert shape_text(np.array(["a", "bc"], object)) == "varying"
