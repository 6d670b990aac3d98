"""Recipes: their ranges, and presets whose every key is an argument of the function that it is for."""

import dataclasses
import inspect

import pytest

import kzoo
from kzoo.core.registry import keywords
from kzoo.data.splits import MODALITIES
from kzoo.training.optimizers import OPTIMIZERS, SCHEDULES
from kzoo.training.recipes import PRESETS, Recipe, preset
from kzoo.training.train import fit

CHOICES = [(name, modality) for name in PRESETS for modality in MODALITIES]


@pytest.mark.parametrize("name, modality", CHOICES)
def test_a_recipe_holds_arguments_of_fit_and_of_the_augmentation(name, modality):
    chosen = preset(name, modality)
    assert set(chosen) == {"train", "data"}
    assert set(chosen["train"]) <= set(keywords(fit))
    MODALITIES[modality].augment(**chosen["data"]["augment"])
    whole = Recipe(**chosen["train"])
    assert whole == PRESETS[name].train
    assert whole.optimizer in OPTIMIZERS
    assert whole.schedule in SCHEDULES


def test_a_recipe_has_the_options_that_the_loss_of_the_task_takes():
    for task, option in (("classification", True), ("tagging", True), ("regression", False)):
        assert ("label_smoothing" in preset("standard", "image", task)["train"]) is option
    experiment = kzoo.load_experiment("image/resnet8_digit_rotation", ["recipe=standard"])
    assert "label_smoothing" not in experiment["train"]


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_stronger_recipe_takes_longer_and_changes_more(modality):
    chosen = [preset(name, modality) for name in ("fast", "standard", "strong")]
    epochs = [parts["train"]["epochs"] for parts in chosen]
    changes = [len(parts["data"]["augment"]) for parts in chosen]
    assert epochs == sorted(epochs)
    nothing = not dataclasses.fields(MODALITIES[modality].augment)  # to change, as for windows to forecast from
    assert changes[0] < changes[1] < changes[2] or nothing


def test_what_is_returned_may_be_changed():
    preset("strong", "image")["train"]["epochs"] = 1
    preset("strong", "image")["data"]["augment"]["flip"] = True
    assert preset("strong", "image")["train"]["epochs"] > 1
    assert "flip" not in preset("strong", "image")["data"]["augment"]


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match="unknown recipe 'stron'; did you mean strong"):
        preset("stron", "image")
    with pytest.raises(ValueError, match="unknown modality with a recipe 'images'; did you mean image"):
        preset("fast", "images")


def test_fit_has_the_fields_of_a_recipe_with_their_defaults():
    arguments = inspect.signature(fit).parameters
    assert {f.name: f.default for f in dataclasses.fields(Recipe)} == {
        name: arguments[name].default for name in [f.name for f in dataclasses.fields(Recipe)]
    }


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"epochs": "5"}, "epochs must be a positive integer, got '5'"),
        ({"solver": "ridgy"}, "unknown solver 'ridgy'; did you mean ridge"),
        ({"learning_rate": -1}, "learning_rate must be a positive number"),
        ({"warmup_ratio": 1}, r"warmup_ratio must be a fraction in \[0, 1\), got 1"),
        ({"weight_decay": -1e-3}, "weight_decay must be a number from 0, got -0.001"),
        ({"global_clipnorm": 0}, "global_clipnorm must be a positive number or None, got 0"),
        ({"gradient_accumulation_steps": 1.5}, "gradient_accumulation_steps must be a positive integer, got 1.5"),
        ({"gradient_accumulation_steps": True}, "gradient_accumulation_steps must be a positive integer, got True"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be a fraction in \[0, 1\), got 1.0"),
        ({"class_weights": "even"}, "unknown class_weights 'even'; did you mean balanced"),
        ({"class_weights": (1.0, -1.0)}, "class_weights must be a number from 0, got -1.0"),
        ({"class_weights": {1: -1.0}}, "class_weights must be a number from 0, got -1.0"),
        ({"class_weights": {1: "heavy"}}, "class_weights must be a number from 0, got 'heavy'"),
        ({"class_weights": {1.5: 2.0}}, "a key of class_weights must be a class index or a class name, got 1.5"),
        ({"class_weights": {True: 2.0}}, "a key of class_weights must be a class index or a class name, got True"),
        ({"class_weights": {1.0, 2.0}}, 'class_weights must be "balanced", one number for each class, or .* got set'),
        ({"class_weights": 5.0}, 'class_weights must be "balanced", one number for each class, or .* got float 5.0'),
        ({"focal_gamma": -1}, "focal_gamma must be a number from 0, got -1"),
        ({"ema_momentum": 1}, r"ema_momentum must be a fraction in \(0, 1\) or None, got 1"),
        ({"ema_momentum": "0.9"}, "ema_momentum must be .* got '0.9'"),
        ({"swa_epochs": 0}, "swa_epochs must be a positive integer or None, got 0"),
        ({"patience": 0}, "patience must be a positive integer or None, got 0"),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**options)


def test_settings_are_what_differs_from_the_defaults():
    assert Recipe().settings() == {}
    assert Recipe(epochs=3, optimizer="sgd").settings() == {"epochs": 3, "optimizer": "sgd"}
