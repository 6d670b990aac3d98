"""Recipes: every key is an argument of what it is for, and every value is allowed."""

import pytest

from kzoo.core.registry import keywords
from kzoo.data.splits import MODALITIES
from kzoo.training.optimizers import OPTIMIZERS, SCHEDULES
from kzoo.training.recipes import RECIPES, recipe
from kzoo.training.train import fit

CHOICES = [(name, modality) for name in RECIPES for modality in MODALITIES]


@pytest.mark.parametrize("name, modality", CHOICES)
def test_a_recipe_holds_arguments_of_fit_and_of_the_augmentation(name, modality):
    chosen = recipe(name, modality)
    assert set(chosen) == {"train", "data"}
    assert set(chosen["train"]) <= set(keywords(fit))
    MODALITIES[modality].augment(**chosen["data"]["augment"])
    assert chosen["train"]["optimizer"] in OPTIMIZERS
    assert chosen["train"]["schedule"] in SCHEDULES


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_stronger_recipe_takes_longer_and_changes_more(modality):
    chosen = [recipe(name, modality) for name in ("fast", "standard", "strong")]
    epochs = [parts["train"]["epochs"] for parts in chosen]
    changes = [len(parts["data"]["augment"]) for parts in chosen]
    assert epochs == sorted(epochs)
    assert changes[0] < changes[1] < changes[2]


def test_what_is_returned_may_be_changed():
    recipe("strong", "image")["train"]["epochs"] = 1
    recipe("strong", "image")["data"]["augment"]["flip"] = True
    assert recipe("strong", "image")["train"]["epochs"] > 1
    assert "flip" not in recipe("strong", "image")["data"]["augment"]


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match="unknown recipe 'stron'; did you mean strong"):
        recipe("stron", "image")
    with pytest.raises(ValueError, match="unknown modality with a recipe 'images'; did you mean image"):
        recipe("fast", "images")
