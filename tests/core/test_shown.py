"""Results show themselves where people look."""

import dataclasses
import io
from types import SimpleNamespace

import pytest
from rich.console import Console

import kzoo
from kzoo.core.shown import Shown


@pytest.fixture(scope="module")
def profile():
    return kzoo.profile(kzoo.models.lenet5((28, 28, 1), 10))


def test_print_shows_the_table(profile):
    assert "(5 x 5 x 1 + 1) x 6 = 156" in str(profile)
    assert "\x1b" not in str(profile)


def test_a_notebook_shows_it_too(profile):
    shown = []
    profile._repr_pretty_(SimpleNamespace(text=shown.append), False)
    assert shown == [str(profile)]


def test_a_terminal_shows_the_same(profile):
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(profile)
    assert console.file.getvalue().rstrip("\n") == str(profile)


def test_a_prompt_shows_the_table_and_not_all_fields(profile):
    assert repr(profile) == str(profile)


def test_no_result_has_the_repr_of_all_its_fields():
    declared = [kind.__dataclass_params__ for kind in results(Shown) if dataclasses.is_dataclass(kind)]
    assert len(declared) > 5
    assert not any(parameters.repr for parameters in declared)


def results(kind: type) -> list[type]:
    """Return all classes that derive from one."""
    return [found for child in kind.__subclasses__() for found in (child, *results(child))]
