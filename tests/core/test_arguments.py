"""Types and ranges of arguments, checked against signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import kzoo
from kzoo.core.arguments import check_arguments, checked
from kzoo.core.ranges import Fraction, PositiveInt
from kzoo.core.registry import MODELS
from kzoo.training.recipes import Recipe


@checked
def paint(
    colour: str,
    *,
    layers: PositiveInt = 1,
    area: float = 1.0,
    gloss: Fraction | None = None,
    dry: bool = True,
    sizes: Sequence[int] = (1,),
    box: tuple[int, int] = (1, 1),
    shares: Mapping[str, float] | None = None,
    out: str | Path | None = None,
    **more,
):
    return layers


@dataclass(frozen=True)
class Brush:
    width: int = 3
    hairs: tuple[int, ...] = ()


def test_what_fits_is_passed_on():
    assert paint("red", layers=16e3) == 16000  # as YAML has it
    assert isinstance(paint("red", layers=16e3), int)
    assert paint("red", layers=np.int64(3), area=np.float32(2), gloss=0, sizes=[1, 2.0], box=[1, 2], dry=0) == 3
    assert paint("red", shares={"a": 1}, out=Path("x"), anything=object()) == 1
    assert check_arguments(Brush, {"width": 5.0, "unknown": 1}) == {"width": 5, "unknown": 1}


@pytest.mark.parametrize(
    "given, message",
    [
        ({"colour": ["red"]}, "colour must be a string, got ['red']"),
        ({"layers": [1]}, "layers must be a positive integer, got [1]"),
        ({"layers": 0}, "layers must be a positive integer, got 0"),
        ({"layers": 1.5}, "layers must be a positive integer, got 1.5"),
        ({"layers": 1e20}, "layers must be a positive integer, got 1e+20"),
        ({"layers": True}, "layers must be a positive integer, got True"),
        ({"layers": float("inf")}, "layers must be a positive integer, got inf"),
        ({"layers": None}, "layers must be a positive integer, got None"),
        ({"area": "abc"}, "area must be a number, got 'abc'"),
        ({"area": float("nan")}, "area must be a number, got nan"),
        ({"area": np.ones(2)}, "area must be a number, got array([1., 1.])"),
        ({"gloss": 1}, "gloss must be a fraction in [0, 1) or None, got 1"),
        ({"dry": "yes"}, "dry must be true or false, got 'yes'"),
        ({"sizes": 5}, "sizes must be a sequence of integers, got 5"),
        ({"sizes": "12"}, "sizes must be a sequence of integers, got '12'"),
        ({"sizes": [1, "a"]}, "sizes must be a sequence of integers, got [1, 'a']"),
        ({"box": [1, 2, 3]}, "box must be a sequence of 2 integers, got [1, 2, 3]"),
        ({"shares": 5}, "shares must be keys and values or None, got 5"),
        ({"shares": {"a": "b"}}, "shares must be keys and values or None, got {'a': 'b'}"),
        ({"out": 5}, "out must be a string, a path or None, got 5"),
    ],
)
def test_what_does_not_fit_is_named(given, message):
    with pytest.raises(ValueError) as error:
        paint(**{"colour": "red"} | given)
    assert str(error.value) == message


def test_a_missing_argument_is_named_by_python():
    with pytest.raises(TypeError, match="paint.* missing 1 required positional argument: 'colour'"):
        paint()


def test_a_long_value_is_cut():
    with pytest.raises(ValueError, match=r"area must be a number, got \[0, 0.* \.\.\.$") as error:
        paint("red", area=[0] * 10_000)
    assert len(str(error.value)) < 200


def test_the_variants_of_all_networks_have_the_types_of_their_fields():
    for card in MODELS.values():
        given = {name: value for name, (value, _) in card.hyperparameters.items()}
        assert check_arguments(type(card.architecture), given) == given


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: kzoo.load_dataset(["digits"]), r"name must be a string, got \['digits'\]"),
        (lambda: kzoo.load_dataset("digits", augment=5), "augment must be keys and values or None, got 5"),
        (lambda: kzoo.load_dataset("digits", augment={"shift": "a"}), "augment.shift must be a.*, got 'a'"),
        (lambda: kzoo.load_dataset("digits", augment={"flip": "yes"}), "augment.flip must be true or false"),
        (
            lambda: kzoo.load_dataset("digits", validation="abc"),
            "takes no file for validation, got validation='abc'",
        ),
        (
            lambda: kzoo.load_dataset("digits", batch_size=1e20),
            "batch_size must be a positive integer, at",
        ),
        (lambda: kzoo.load_dataset("digits", image_size="8"), "image_size must be .*, got '8'"),
        (lambda: kzoo.load_dataset("digits", image_size=10**5), "is 10,000,000,000 pixels, more than 89,478,485"),
        (
            lambda: kzoo.load_dataset("spoken_digits_synthetic", sample_rate=10**9),
            "a rate from 100 to",
        ),
        (lambda: kzoo.load_dataset("spoken_digits_synthetic", seconds=3600, sample_rate=10**6), "more than 67,108,864"),
        (lambda: kzoo.load_dataset("series:x", length=10**9), "length must be a positive integer, at most 1,000,000"),
        (lambda: kzoo.create_model("resnet18", (32, 32, 3), 10, width="a"), "width must be an integer, got 'a'"),
        (lambda: kzoo.create_model("resnet18", (32, 32, 3), 10, depths=5), "depths must be a sequence of integers"),
        (lambda: kzoo.create_model("resnet18", (32, 32, 3), 10, weights=5), "weights must be a string"),
        (lambda: kzoo.create_model(["resnet18"], (32, 32, 3), 10), r"unknown model \['resnet18'\]"),
        (lambda: kzoo.list_models(family=["vgg"]), "family must be a string or None"),
        (lambda: kzoo.visualize(5), "run must be a string or a path, got 5"),
        (
            lambda: kzoo.fit_to_budget("vgg", input_shape=(32, 32, 3), num_classes=10, params="1M"),
            "params must be a pos",
        ),
        (lambda: Recipe(epochs=[1]), r"epochs must be a positive integer, got \[1\]"),
        (lambda: Recipe(schedule=["cosine"]), r"schedule must be a string, got \['cosine'\]"),
        (lambda: Recipe(deterministic="no"), "deterministic must be true or false, got 'no'"),
    ],
)
def test_the_functions_of_the_library_check_theirs(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_function_without_a_module_is_checked():
    namespace = {}
    exec("def paint(*, layers: int = 1): pass", namespace)
    assert check_arguments(namespace["paint"], {"layers": 2.0}) == {"layers": 2}
