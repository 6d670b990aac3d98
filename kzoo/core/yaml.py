"""Reading and writing YAML 1.2, in which `1e-3` is a number."""

import io
import itertools
from pathlib import Path

from kzoo.core.files import reading, write_text
from kzoo.core.lazy import lazy_import

ruamel = lazy_import("ruamel.yaml")


LONGEST = 2**18  # characters of a file, which take a few seconds
DEEPEST = 50  # levels
MOST = 100_000  # values, where those of an alias count as often as it is used


def read_yaml(path: Path):
    """Return the content of a YAML file.

    Raises:
        ValueError: as `parse_yaml`, or if there is no such file.
    """
    with reading(path):
        if path.stat().st_size > LONGEST:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, more than {LONGEST:,}")
        return parse_yaml(path.read_text(encoding="utf-8"))


def parse_yaml(text: str):
    """Return the content of YAML text.

    Raises:
        ValueError: if it is not valid YAML, or larger or deeper than any experiment; a message of one line.
    """
    opened = itertools.accumulate(text, lambda depth, mark: depth + (mark in "[{") - (mark in "]}"), initial=0)
    if len(text) > LONGEST or max(opened) > DEEPEST:
        raise ValueError(f"not valid YAML: more than {LONGEST:,} characters, or nested more than {DEEPEST} levels deep")
    try:
        content = ruamel.YAML(typ="safe", pure=True).load(text)
    except Exception as error:  # besides its own ones, those of what it calls: of dates, of recursion
        words = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise ValueError(f"not valid YAML: {words}") from error
    count_values(content)
    return content


def count_values(content, depth: int = 0) -> int:
    """Return the number of values, those of an alias as often as it is used.

    Raises:
        ValueError: for more than `MOST`, or more than `DEEPEST` levels, as an alias of itself has.
    """
    if depth > DEEPEST:
        raise ValueError(f"not valid YAML: nested more than {DEEPEST} levels deep")
    total = 1
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        total += count_values(value, depth + 1)
        if total > MOST:
            raise ValueError(f"not valid YAML: it stands for more than {MOST:,} values")
    return total


def write_yaml(path: Path, content: dict) -> None:
    """Write dictionaries, lists, numbers and strings as YAML, keys in the order given."""
    write_text(path, to_yaml(content))


def to_yaml(content: dict) -> str:
    """Return dictionaries, lists, numbers and strings as YAML text, keys in the order given."""
    text = io.StringIO()
    yaml = ruamel.YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(plain(content), text)
    return text.getvalue()


def plain(value):
    """Return tuples as lists, at every depth."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def flatten(content: dict, prefix: str = "") -> dict:
    """Return the leaves of nested dictionaries by their dotted keys, e.g. `train.epochs`."""
    flat = {}
    for key, value in content.items():
        address = f"{prefix}{key}"
        flat |= flatten(value, f"{address}.") if isinstance(value, dict) else {address: plain(value)}
    return flat
