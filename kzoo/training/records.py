"""Records of a run directory: configuration, training history, metrics, environment."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.files import read_json, reading, user_path
from kzoo.core.registry import lookup
from kzoo.core.yaml import read_yaml
from kzoo.tasks import TASKS
from kzoo.tasks.task import Score, Task
from kzoo.training import runs

NEVER_BEST = (-math.inf, -math.inf)


def epoch_score(score: Score, value: float, loss: float) -> tuple[float, float]:
    """Return what epochs are ordered by: a better score of the task on validation, then lower validation loss.

    An epoch whose validation score or loss is NaN or infinite gets `NEVER_BEST`.
    """
    return (value if score.up else -value, -loss) if math.isfinite(value) and math.isfinite(loss) else NEVER_BEST


@dataclass(frozen=True)
class Record:
    """Text and numbers of a run directory.

    Attributes:
        path: the directory.
        config: the experiment.
        task: what the network was trained for, a row of `kzoo.tasks.TASKS`.
        history: values per epoch, by metric; empty where no epoch was completed.
        metrics: of the last evaluation (a `kzoo.tasks.task.Report` as a dictionary); None where there was none.
        environment: versions, hardware, seed.
    """

    path: Path
    config: Mapping
    task: type[Task]
    history: Mapping[str, list[float]]
    metrics: Mapping | None
    environment: Mapping

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.path.resolve().name

    @property
    def model(self) -> str:
        """Name of the network, "-" if the config has none."""
        return self.config.get("model", {}).get("name", "-")

    @property
    def dataset(self) -> str:
        """Name of the dataset, "-" if the config has none."""
        return self.config.get("data", {}).get("name", "-")

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return len(self.history.get("val_loss", ()))

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights `kzoo.fit` kept, counted from 1; None if no epoch had a finite validation loss."""
        losses, score = self.history.get("val_loss", ()), self.task.score
        values = self.history.get(f"val_{score.name}", [0.0] * len(losses))
        scores = [epoch_score(score, value, loss) for value, loss in zip(values, losses, strict=True)]
        best = max(scores, default=NEVER_BEST)
        return scores.index(best) + 1 if best > NEVER_BEST else None

    @property
    def seconds(self) -> float | None:
        """Duration of all epochs, None if the history has no column `seconds`."""
        return sum(self.history["seconds"]) if "seconds" in self.history else None

    def at_best(self, metric: str) -> float | None:
        """Return a metric at the best epoch, None if it was not recorded."""
        return self.history[metric][self.best_epoch - 1] if self.best_epoch and metric in self.history else None

    @property
    def test(self) -> Mapping | None:
        """Metrics of the test split, None if it was not the last split evaluated."""
        return self.metrics if self.metrics and self.metrics.get("split") == "test" else None


def distinct_runs(paths: Sequence[str | Path], purpose: str, least: int = 1) -> dict[str, Path]:
    """Return run directories by name; those that share a name are called by their path.

    Raises:
        ValueError: for fewer than `least`, or a run that is given twice.
    """
    folders = [user_path(path) for path in paths]
    if len({folder.resolve() for folder in folders}) < max(least, len(folders)):
        count = {1: "one or more", 2: "two or more"}[least]
        raise ValueError(f"{purpose} needs {count} different runs, got {', '.join(map(str, paths)) or 'none'}")
    names = [folder.resolve().name for folder in folders]
    return {str(path) if names.count(name) > 1 else name: path for name, path in zip(names, folders, strict=True)}


def read_record(path: str | Path) -> Record:
    """Read a run directory without loading its model.

    Raises:
        ValueError: if it is not a run directory, or a file of it is damaged.
    """
    run = user_path(path)
    missing = [name for name in (runs.CONFIG, runs.MODEL) if not (run / name).is_file()]
    if missing:
        raise ValueError(f"{run} is not a run directory of kzoo: it has no {missing[0]}")
    config = read_yaml(run / runs.CONFIG)
    if not isinstance(config, dict):
        raise ValueError(f"{run / runs.CONFIG} is not an experiment")
    metrics, environment, data = (read_if_there(run / name) for name in (runs.METRICS, runs.ENVIRONMENT, runs.DATA))
    return Record(run, config, kind_of(data or {}, run), read_curves(run), metrics, environment or {})


def check_same_task(purpose: str, names: Iterable[str], records: Iterable[Record]) -> None:
    """Raise a ValueError for runs of different tasks, whose scores cannot be compared."""
    tasks = [record.task.key for record in records]
    if len(set(tasks)) > 1:
        each = ", ".join(f"{name} is of {task}" for name, task in zip(names, tasks, strict=True))
        raise ValueError(f"{purpose} needs runs of one task: {each}")


def kind_of(data: Mapping, run: Path) -> type[Task]:
    """Return the task of a run by the content of its `data.json`; before kzoo 2 it was always classification."""
    with reading(run / runs.DATA):
        return lookup("task", data.get("task", {"name": "classification"})["name"], TASKS)


def read_curves(run: Path) -> dict[str, list[float]]:
    """Return the history of a run, empty where no epoch was completed.

    Raises:
        ValueError: if the file is damaged.
    """
    return runs.read_history(run) if (run / runs.HISTORY).exists() else {}


def read_if_there(path: Path) -> dict | None:
    """Return the content of a JSON file, None if it does not exist.

    Raises:
        ValueError: if it is damaged.
    """
    return read_json(path) if path.exists() else None
