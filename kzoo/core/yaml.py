"""Reading and writing YAML 1.2, in which `1e-3` is a number."""

import io
from pathlib import Path

from kzoo.core.files import write_text
from kzoo.core.lazy import lazy_import

ruamel = lazy_import("ruamel.yaml")


def parse_yaml(text: str):
    """Return the content of YAML text.

    Raises:
        ValueError: if it is not valid YAML, with a message of one line.
    """
    try:
        return ruamel.YAML(typ="safe", pure=True).load(text)
    except ruamel.error.YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}") from error


def write_yaml(path: Path, content: dict) -> None:
    """Write dictionaries, lists, numbers and strings as YAML, keys in the order given."""
    text = io.StringIO()
    yaml = ruamel.YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(plain(content), text)
    write_text(path, text.getvalue())


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
