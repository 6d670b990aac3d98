"""The README's Python snippets, run one after the other as a reader would."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

SNIPPETS = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)


def test_the_snippets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert SNIPPETS
    namespace = {}
    for snippet in SNIPPETS:
        exec(compile(re.sub(r"epochs=\d+", "epochs=1", snippet), "README.md", "exec"), namespace)


def test_it_stays_short():
    assert len((REPOSITORY / "README.md").read_text().splitlines()) < 250


@pytest.mark.parametrize("command", [r"pip install \. && kzoo train image/resnet8_digits", r"pip install '\.\[test\]'"])
def test_it_names_the_two_commands(command):
    assert re.search(command, (REPOSITORY / "README.md").read_text())
