"""Several runs beside each other: one table and one picture."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.lazy import rich_table, rich_text
from kzoo.core.pictures import Curve, draw_comparison
from kzoo.core.registry import MODELS
from kzoo.core.shown import Shown
from kzoo.core.yaml import plain
from kzoo.data import load_dataset
from kzoo.training import runs
from kzoo.training.records import Record, read_record
from kzoo.training.train import fit
from kzoo.zoo.factory import model_card

FEW_KEYS = 4  # differing keys that are columns of the one printed table; more get a table with a line for each
Row = dict[str, object]


@dataclass(frozen=True)
class Comparison(Shown):
    """What several runs reached, and where their configs differ.

    Attributes:
        records: of the runs, in the order given.
        names: what each is called: its folder's name, or its path where two folders have the same.
        parameters: trainable ones of each network, frozen ones left out.
    """

    records: tuple[Record, ...]
    names: tuple[str, ...]
    parameters: tuple[int, ...]

    def results(self) -> list[Row]:
        """Return what each run is and reached; accuracies in [0, 1], times in seconds, None for what is not known."""
        rows = [result(*each) for each in zip(self.names, self.records, self.parameters, strict=True)]
        known = [column for column in rows[0] if column != "seconds" or any(row["seconds"] for row in rows)]
        return [{column: row[column] for column in known} for row in rows]

    def differences(self) -> list[Row]:
        """Return for each run the values of the keys in which the configs differ; None for a key that it has not."""
        return differences([record.config for record in self.records])

    def by_key(self) -> list[Row]:
        """Return one row for each key in which the configs differ, with a column for each run."""
        each = list(zip(self.names, self.differences(), strict=True))
        return [{"key": key} | {name: values[key] for name, values in each} for key in each[0][1]]

    def rows(self) -> list[Row]:
        """Return the results of each run and, as further columns, where its config differs."""
        return [own | more for own, more in zip(self.results(), self.differences(), strict=True)]

    def notes(self) -> list[str]:
        """Return what has to be known to read the table."""
        found = []
        datasets = sorted({record.dataset for record in self.records})
        if len(datasets) > 1:
            found.append(f"the runs are of different datasets ({', '.join(datasets)}): accuracies do not compare")
        for name, record in zip(self.names, self.records, strict=True):
            if record.metrics is None:
                found.append(f"{name} is not evaluated yet: kzoo evaluate {record.path}")
            elif record.test is None:
                found.append(
                    f"{name} was measured on its {record.metrics['split']} split last: kzoo evaluate {record.path}"
                )
            elif record.test.get("tta"):
                found.append(f"{name} was measured with test-time augmentation")
        return found

    def to_dict(self) -> dict:
        """Return the rows and the notes, ready for JSON."""
        return {"runs": self.rows(), "notes": self.notes()}

    def __rich_console__(self, console, options):
        few = len(self.differences()[0]) <= FEW_KEYS
        yield as_table(self.rows() if few else self.results())
        if not few:  # one line for each key
            yield as_table(self.by_key())
        for note in self.notes():
            yield rich_text.Text(note)

    def draw(self, path: str | Path) -> Path:
        """Draw the curves of all runs and their test accuracies into one picture.

        Raises:
            ValueError: if the picture cannot be written, or not in the format that its ending asks for.
        """
        each = zip(self.names, self.records, strict=True)
        curves = [Curve(name, record.history, with_interval(record)) for name, record in each]
        target = Path(path).expanduser()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            draw_comparison(target, curves)
        except OSError as error:
            raise ValueError(f"{target} cannot be written: {error.strerror or error}") from error
        return target


def compare(paths: Sequence[str | Path]) -> Comparison:
    """Read two or more run folders.

    Args:
        paths: the folders, in the order of the table.

    Raises:
        ValueError: for fewer than two runs, a run that is given twice, or a folder that holds none.
    """
    records = tuple(read_record(path) for path in paths)
    if len({record.path.resolve() for record in records}) < max(2, len(records)):
        raise ValueError(f"compare needs two or more different runs, got {', '.join(map(str, paths)) or 'none'}")
    short = [record.name for record in records]
    names = tuple(str(record.path) if short.count(record.name) > 1 else record.name for record in records)
    return Comparison(records, names, tuple(trainable_parameters(record.path) for record in records))


def trainable_parameters(run: Path) -> int:
    """Return how many parameters of a run's network a gradient reaches."""
    model, _ = runs.load_run(run)
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def result(name: str, record: Record, parameters: int) -> Row:
    """Return what one run is and reached."""
    test = record.test or {}
    return {
        "run": name,
        "model": record.model,
        "dataset": record.dataset,
        "parameters": parameters,
        "epochs": record.epochs,
        "best epoch": record.best_epoch,
        "validation accuracy": record.at_best("val_accuracy"),
        "test accuracy": test.get("accuracy"),
        "95 % interval": test.get("accuracy_interval"),
        "seconds": record.seconds,
    }


def with_interval(record: Record) -> tuple[float, float, float] | None:
    """Return the test accuracy and the ends of its interval, None where it was not measured."""
    return record.test and (record.test["accuracy"], *record.test["accuracy_interval"])


def differences(configs: Sequence[Mapping]) -> list[Row]:
    """Return for each config the values of the keys in which they differ; a key that is not set has its default.

    The names of network and dataset, which have columns of their own, are left out.
    """
    flat = [flattened(config) for config in configs]
    keys = dict.fromkeys(key for values in flat for key in values if key not in ("model.name", "data.name"))
    full = [
        {key: values.get(key, default(config, key)) for key in keys}
        for config, values in zip(configs, flat, strict=True)
    ]
    differing = [key for key in keys if any(values[key] != full[0][key] for values in full)]
    return [{key: values[key] for key in differing} for values in full]


def flattened(config: Mapping, prefix: str = "") -> Row:
    """Return the values at the ends of nested dictionaries by their addresses, e.g. `train.epochs`."""
    flat = {}
    for key, value in config.items():
        address = f"{prefix}{key}"
        flat |= flattened(value, f"{address}.") if isinstance(value, Mapping) else {address: plain(value)}
    return flat


def default(config: Mapping, address: str):
    """Return the value of a key that a config does not set, None where it has none of its own."""
    section, _, key = address.partition(".")
    if section == "model":
        name = config.get("model", {}).get("name")
        card = model_card(name).hyperparameters if name in MODELS else {}
        return plain(card[key].value) if key in card else None
    function = {"train": fit, "data": load_dataset}.get(section)
    parameter = function and inspect.signature(function).parameters.get(key)
    return None if parameter is None or parameter.default is parameter.empty else plain(parameter.default)


def as_table(rows: Sequence[Row]) -> rich_table.Table:
    """Return rows of equal columns as a table."""
    headers = [rich_table.Column(rich_text.Text(column)) for column in rows[0]]
    table = rich_table.Table(*headers, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*[rich_text.Text(shown(column, value)) for column, value in row.items()])
    return table


def shown(column: str, value) -> str:
    """Return a value as a cell."""
    if value is None:
        return "-"
    if column.endswith("accuracy"):
        return f"{value:.2%}"
    if column == "95 % interval":
        return f"{value[0]:.2%} to {value[1]:.2%}"
    if column.endswith(("parameters", "seconds")):
        return f"{value:,.0f}"
    return str(value)
