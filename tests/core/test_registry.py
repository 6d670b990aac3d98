"""Lookup by name, and what a card holds."""

import pytest

from kzoo.core.registry import MODELS, check_keywords, did_you_mean, lookup, register_model


def test_lookup_offers_the_nearest():
    assert lookup("colour", "red", {"red": 1}) == 1
    with pytest.raises(ValueError, match="unknown colour 'rde'; did you mean red"):
        lookup("colour", "rde", {"red": 1, "blue": 2})
    assert did_you_mean("dicee", ["dice", "iou", "dice"]) == "did you mean dice?"
    with pytest.raises(ValueError, match="did you mean blue or red"):
        lookup("colour", "q", {"red": 1, "blue": 2})


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="registered twice"):
        register_model("resnet50", MODELS["resnet50"].paper, 1)(object)


def test_keywords_are_checked_against_signatures():
    def paint(colour, *, brush=1, **rest):
        pass

    check_keywords("option", ["brush"], paint)
    with pytest.raises(ValueError, match="unknown option 'colour'"):
        check_keywords("option", ["colour"], paint)
    with pytest.raises(ValueError, match="unknown option 'brsh'; did you mean brush"):
        check_keywords("option", ["brsh"], paint)
