"""Comparison of several runs: one table and one picture."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.lazy import figures, rich_table, rich_text
from kzoo.core.pictures import Curve, Drawn, comparison_figure
from kzoo.core.registry import MODELS
from kzoo.core.shown import Shown, table
from kzoo.core.yaml import flatten, plain
from kzoo.data import load_dataset
from kzoo.tasks.task import metric_text
from kzoo.training import runs
from kzoo.training.records import Record, check_same_task, distinct_runs, read_record
from kzoo.training.train import fit
from kzoo.zoo.factory import model_card

FEW_KEYS = 4  # largest number of differing keys that are columns; more get a table with a row for each
WORDS = ("run", "model", "dataset", "kind", "key")  # columns that are aligned to the left
Row = dict[str, object]


@dataclass(frozen=True, repr=False)
class Comparison(Drawn, Shown):
    """Results of several runs, and the differences of their configurations.

    Attributes:
        records: of the runs, in the order given.
        names: of the runs: the directory's name, or its path where two directories have the same name.
        parameters: number of trainable parameters of each network.
    """

    records: tuple[Record, ...]
    names: tuple[str, ...]
    parameters: tuple[int, ...]

    def results(self) -> list[Row]:
        """Return the results of each run; accuracies in [0, 1], times in seconds, None for unknown values."""
        rows = [result(*each) for each in zip(self.names, self.records, self.parameters, strict=True)]
        known = [column for column in rows[0] if column != "seconds" or any(row["seconds"] for row in rows)]
        return [{column: row[column] for column in known} for row in rows]

    def differences(self) -> list[Row]:
        """Return for each run the values of the keys in which the configurations differ; None for a missing key."""
        return differences([record.config for record in self.records])

    def by_key(self) -> list[Row]:
        """Return one row for each key in which the configurations differ, with a column for each run."""
        each = list(zip(self.names, self.differences(), strict=True))
        return [{"key": key} | {name: values[key] for name, values in each} for key in each[0][1]]

    def rows(self) -> list[Row]:
        """Return the results of each run and, as further columns, the values of the keys that differ."""
        return [own | more for own, more in zip(self.results(), self.differences(), strict=True)]

    def notes(self) -> list[str]:
        """Return remarks on the table: different datasets, runs that were not evaluated alike."""
        found = []
        datasets = sorted({record.dataset for record in self.records})
        if len(datasets) > 1:
            found.append(f"the runs use different datasets ({', '.join(datasets)}): accuracies cannot be compared")
        for name, record in zip(self.names, self.records, strict=True):
            if record.metrics is None:
                found.append(f"{name} is not evaluated yet: kzoo evaluate {record.path}")
            elif record.test is None:
                found.append(
                    f"{name} was last evaluated on its {record.metrics['split']} split: kzoo evaluate {record.path}"
                )
            elif record.test.get("tta"):
                found.append(f"{name} was evaluated with test-time augmentation")
        return found

    def to_dict(self) -> dict:
        """Return the rows and the notes, ready for JSON."""
        return {"runs": self.rows(), "notes": self.notes()}

    def __rich_console__(self, console, options):
        few = len(self.differences()[0]) <= FEW_KEYS
        score = self.records[0].task.score.name
        yield as_table(self.rows() if few else self.results(), score)
        if not few:
            yield as_table(self.by_key(), score)
        for note in self.notes():
            yield rich_text.Text(note)

    def figure(self) -> figures.Figure:
        """Return the validation curves of all runs and their test accuracies."""
        each = zip(self.names, self.records, strict=True)
        curves = [Curve(name, record.history, with_interval(record)) for name, record in each]
        return comparison_figure(curves, self.records[0].task.score.name)


def compare(paths: Sequence[str | Path]) -> Comparison:
    """Read two or more run directories.

    Args:
        paths: the directories, in the order of the table.

    Raises:
        ValueError: for fewer than two runs, a run that is given twice, runs of different tasks, or a directory that
            holds none.
    """
    found = distinct_runs(paths, "compare", least=2)
    records = tuple(map(read_record, found.values()))
    check_same_task("compare", found, records)
    return Comparison(records, tuple(found), tuple(map(trainable_parameters, found.values())))


def trainable_parameters(run: Path) -> int:
    """Return the number of trainable parameters of a run's network."""
    model, _ = runs.load_run(run)
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def result(name: str, record: Record, parameters: int) -> Row:
    """Return the results of one run."""
    test, score = record.test or {}, record.task.score
    return {
        "run": name,
        "model": record.model,
        "dataset": record.dataset,
        "parameters": parameters,
        "epochs": record.epochs,
        "best epoch": record.best_epoch,
        f"validation {score.words}": record.at_best(f"val_{score.name}"),
        f"test {score.words}": test.get(score.name),
        "95 % interval": test.get(f"{score.name}_interval"),
        "seconds": record.seconds,
    }


def with_interval(record: Record) -> tuple[float, float, float] | None:
    """Return the score on the test split and the ends of its interval, None if it was not measured."""
    if not record.test:
        return None
    value = record.test[record.task.score.name]
    return value, *(record.test.get(f"{record.task.score.name}_interval") or (value, value))


def differences(configs: Sequence[Mapping]) -> list[Row]:
    """Return for each configuration the values of the keys in which they differ; a key that is not set has its default.

    The names of network and dataset, which have columns of their own, are omitted.
    """
    flat = [flatten(config) for config in configs]
    keys = dict.fromkeys(key for values in flat for key in values if key not in ("model.name", "data.name"))
    full = [
        {key: values.get(key, default(config, key)) for key in keys}
        for config, values in zip(configs, flat, strict=True)
    ]
    differing = [key for key in keys if any(values[key] != full[0][key] for values in full)]
    return [{key: values[key] for key in differing} for values in full]


def default(config: Mapping, address: str):
    """Return the default of a key that a configuration does not set, None if it has none."""
    section, _, key = address.partition(".")
    if section == "model":
        name = config.get("model", {}).get("name")
        card = model_card(name).hyperparameters if name in MODELS else {}
        return plain(card[key].value) if key in card else None
    function = {"train": fit, "data": load_dataset}.get(section)
    parameter = function and inspect.signature(function).parameters.get(key)
    return None if parameter is None or parameter.default is parameter.empty else plain(parameter.default)


def as_table(rows: Sequence[Row], score: str) -> rich_table.Table:
    """Return rows of equal columns as a table; the score, by name, is what the runs were measured by."""
    words = sum(column in WORDS for column in rows[0])
    return table(list(rows[0]), [[shown(*cell, score) for cell in row.items()] for row in rows], words=words)


def shown(column: str, value, score: str) -> str:
    """Return a value as the text of a cell; the score, by name, is what the runs were measured by."""
    if value is None:
        return "-"
    if column.startswith(("validation ", "test ")):
        return metric_text(score, value)
    if column == "95 % interval":
        return " to ".join(metric_text(score, end) for end in value)
    if column.endswith(("parameters", "seconds")):
        return f"{value:,.0f}"
    return str(value)
