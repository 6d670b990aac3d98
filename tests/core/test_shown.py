"""Results show themselves where people look."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

import kzoo


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
