"""Libraries that are imported at their first use."""

import importlib
import sys

import pytest

from kzoo.core.lazy import lazy_import


def test_a_module_is_imported_once_and_not_before_its_first_use(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    imported, real = [], importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda name: imported.append(name) or real(name))
    colorsys = lazy_import("colorsys")
    assert "colorsys" not in sys.modules
    assert colorsys.rgb_to_hsv(1, 0, 0) == colorsys.rgb_to_hsv(1, 0, 0)
    assert imported == ["colorsys"]


def test_a_failed_import_is_tried_again(monkeypatch):
    colorsys = lazy_import("colorsys")
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "colorsys", None)
        with pytest.raises(ImportError):
            _ = colorsys.rgb_to_hsv
    assert colorsys.rgb_to_hsv(1, 0, 0) == (0, 1, 1)
