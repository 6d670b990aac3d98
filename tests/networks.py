"""Networks for tests: a representative sample of the registered ones, and small versions of them."""

import ast
import contextlib
from collections.abc import Collection

import keras
import numpy as np
import pytest

import kzoo

# Fields that count channels, positions or blocks, and what they are reduced to.
NARROW = dict.fromkeys(("width", "stem_width", "filters", "units", "dense_units", "kernels"), 16) | {"depths": 2}
INPUTS = {1: (64, 3), 2: (40, 32, 3)}


def structure(name: str) -> tuple:
    """Return what variants have in common that differ only in numbers."""
    card = kzoo.model_card(name)
    return card.family, *[part(hyperparameter.value) for hyperparameter in card.hyperparameters.values()]


def part(value):
    """Return a hyperparameter's structural part: a choice, or whether a number is 0, 1 or larger."""
    return value if isinstance(value, (str, bool)) or value in (0, 1) else ("several" if value else "none")


LARGEST_FIRST = sorted(kzoo.list_models(), key=lambda name: -kzoo.model_card(name).params)
STRUCTURES = {structure(name): name for name in LARGEST_FIRST}.values()  # the smallest network of each
FAMILIES = {kzoo.model_card(name).family: name for name in LARGEST_FIRST}.values()


def sampled(parameters: list[tuple], default: Collection[str] = STRUCTURES) -> list:
    """Return pytest parameters (name, ...), those of networks outside `default` marked as slow."""
    return [pytest.param(*values, marks=() if values[0] in default else pytest.mark.slow) for values in parameters]


def one_of_each_family(parameters: list[tuple[str, int]], default: Collection[str] = FAMILIES) -> list:
    """Take one (name, dim) of each family, in the rank that it was published in; with `-m slow` all others."""
    pairs = {(name, len(kzoo.model_card(name).reference.input_shape) - 1) for name in default}
    return [pytest.param(*pair, marks=() if pair in pairs else pytest.mark.slow) for pair in parameters]


def share(part: int, parts: int = 4) -> list[str]:
    """Return the networks of every fourth family; tests take different parts, so that each family is in some of them.

    With `-m slow` each test is run for all.
    """
    return sorted(FAMILIES)[part::parts]


def narrow(name: str) -> dict:
    """Return hyperparameters that make a network small without changing its structure."""

    def small(value, most):
        return tuple(small(entry, most) for entry in value) if isinstance(value, tuple) else min(value, most)

    values = kzoo.model_card(name).hyperparameters
    small_encoder = {"encoder": "resnet8", "top": "stage"}
    encoder = {key: value for key, value in small_encoder.items() if key in values}
    return {key: small(values[key].value, most) for key, most in NARROW.items() if key in values} | encoder


def smallest_working(name: str, dim: int, **options) -> keras.Model:
    """Build a narrow network for a small input, or for the smallest that its error message names."""
    try:
        return kzoo.create_model(name, INPUTS[dim], num_classes=3, **narrow(name), **options)
    except ValueError as error:
        if "smallest that works" not in str(error):
            raise
        shape = ast.literal_eval(str(error).rpartition(" is ")[2])
        return kzoo.create_model(name, shape, num_classes=3, **narrow(name), **options)


@contextlib.contextmanager
def weights_without_values():
    """Create weights inside with shapes but without values, which costs no time even for 100 million of them."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        keras.backend.clear_session(free_memory=False)  # Keras would give them values at its next opportunity


def random_batch(model: keras.Model, batch: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, *model.input_shape[1:])).astype("float32")
