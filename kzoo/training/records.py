"""What a run folder says of its training, read back: config, history, numbers, environment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.yaml import parse_yaml
from kzoo.training import runs


@dataclass(frozen=True)
class Record:
    """The text and the numbers of a run folder.

    Attributes:
        path: the folder.
        config: the experiment.
        history: values per epoch, by metric; empty where no epoch was completed.
        metrics: of the last evaluation (`kzoo.evaluate.Report` as a dictionary); None where there was none.
        environment: versions, hardware, seed.
    """

    path: Path
    config: Mapping
    history: Mapping[str, list[float]]
    metrics: Mapping | None
    environment: Mapping

    @property
    def name(self) -> str:
        """The folder's own name."""
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
        """How many were completed."""
        return len(self.history.get("val_loss", ()))

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights were kept, counted from 1: as `kzoo.fit` chooses it."""
        losses = self.history.get("val_loss", ())
        accuracies = self.history.get("val_accuracy", [0.0] * len(losses))
        scores = [(accuracy, -loss) for accuracy, loss in zip(accuracies, losses, strict=True)]
        return scores.index(max(scores)) + 1 if scores else None

    @property
    def seconds(self) -> float | None:
        """How long the epochs took, where the history has a column `seconds`."""
        return sum(self.history["seconds"]) if "seconds" in self.history else None

    def at_best(self, metric: str) -> float | None:
        """Return a metric at the best epoch, None where it is not known."""
        return self.history[metric][self.best_epoch - 1] if self.best_epoch and metric in self.history else None

    @property
    def test(self) -> Mapping | None:
        """The numbers of the test split, None where another or none was measured last."""
        return self.metrics if self.metrics and self.metrics.get("split") == "test" else None


def read_record(path: str | Path) -> Record:
    """Read a run folder; the model in it is left alone.

    Raises:
        ValueError: if the folder does not hold a run, or a file of it is damaged.
    """
    run = Path(path).expanduser()
    missing = [name for name in (runs.CONFIG, runs.MODEL) if not (run / name).is_file()]
    if missing:
        raise ValueError(f"{run} is not a run folder of kzoo: it has no {missing[0]}")
    config = parse_yaml((run / runs.CONFIG).read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ValueError(f"{run / runs.CONFIG} is not an experiment")
    return Record(run, config, read_curves(run), read_json(run / runs.METRICS), read_json(run / runs.ENVIRONMENT) or {})


def read_curves(run: Path) -> dict[str, list[float]]:
    """Return the history of a run, empty where no epoch was completed.

    Raises:
        ValueError: if the file is damaged.
    """
    if not (run / runs.HISTORY).is_file():
        return {}
    try:
        return runs.read_history(run)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{run / runs.HISTORY} is damaged: {error}") from error


def read_json(path: Path):
    """Return what a JSON file says, None if it is not there.

    Raises:
        ValueError: if it is damaged.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
