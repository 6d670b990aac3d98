"""The page "How kzoo is built" says what the package is."""

import re
from pathlib import Path

from test_layout import ROOMS

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "how_kzoo_is_built.md").read_text()
PICTURE = (REPOSITORY / "docs" / "images" / "rooms.svg").read_text()


def test_it_has_one_section_for_each_room_in_their_order():
    assert tuple(re.findall(r"^## (.+)", PAGE, re.MULTILINE)) == ROOMS


def test_its_picture_has_the_rooms_in_their_order():
    assert tuple(re.findall(r'class="room"[^>]*>(\w+)<', PICTURE)) == ROOMS[::-1]


def test_it_says_what_each_room_may_import():
    said = [re.findall(r"`(\w+)`", line) for line in re.findall(r"^May import: (.+)", PAGE, re.MULTILINE)]
    assert said == [list(ROOMS[:index]) for index in range(len(ROOMS))]


def test_the_files_it_names_are_there():
    named = re.findall(r"`(kzoo/[\w/.]+)`", PAGE)
    assert len(named) > 10
    assert [path for path in named if not (REPOSITORY / path).exists()] == []
