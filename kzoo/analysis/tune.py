"""Hyperparameter search by Optuna: the fields of an experiment and their ranges, pruned by validation, resumable.

The section `tune` of an experiment is the search space:

    tune:
      train.learning_rate: {low: 1e-4, high: 1e-1, log: true}   # a number in a range
      model.width: {low: 8, high: 32, step: 8}                  # integers where all three are
      model.pooling: [max, avg, blur]                           # one of several values
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kzoo.core.extras import missing_package
from kzoo.core.files import user_path, write_text, writing
from kzoo.core.lazy import figures, keras, lazy_import, rich_text
from kzoo.core.pictures import Drawn
from kzoo.core.registry import lookup
from kzoo.core.shown import Shown, table
from kzoo.tasks.task import Score, metric_text
from kzoo.training.experiment import load_experiment, load_space, prepared, score_of
from kzoo.training.train import fit

optuna = lazy_import("optuna")

STORAGE, TRIALS, PICTURE = "study.journal", "trials.csv", "tune.png"
RANGE = {"low": None, "high": None, "step": None, "log": None}
COLUMNS = 3  # parameters side by side


@dataclass(frozen=True)
class Trial:
    """A training of a search.

    Attributes:
        number: from 0.
        state: "complete", "pruned", "fail" or "running".
        score: the best value of the task's score on validation; None where no epoch was completed.
        parameters: its values, by field.
    """

    number: int
    state: str
    score: float | None
    parameters: Mapping[str, Any]


@dataclass(frozen=True, repr=False)
class Search(Drawn, Shown):
    """The trials of a search so far.

    Attributes:
        config: name or path of the experiment.
        score: that decides.
        trials: in the order in which they began.
    """

    config: str
    score: Score
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial | None:
        """The complete trial of the best score; None if there is none yet."""
        return next((trial for trial in self.ranked() if trial.state == "complete"), None)

    @property
    def command(self) -> str:
        """The command that trains the experiment with the values of the best trial."""
        given = self.best.parameters if self.best else {}
        return " ".join(["kzoo train", self.config, *(f"{key}={json.dumps(value)}" for key, value in given.items())])

    def ranked(self) -> list[Trial]:
        """Return the trials from the best to the worst, those without a score last."""

        def merit(trial: Trial) -> tuple:
            up = 1 if self.score.up else -1
            return trial.state == "complete", trial.score is not None, up * (trial.score or 0)

        return sorted(self.trials, key=merit, reverse=True)

    @property
    def fields(self) -> list[str]:
        """The fields that are searched."""
        return list(dict.fromkeys(key for trial in self.trials for key in trial.parameters))

    def values(self, trial: Trial) -> list:
        """Return the values of all fields in a trial; None where it has none yet."""
        return [trial.parameters.get(field) for field in self.fields]

    def __rich_console__(self, console, options):
        states = [trial.state for trial in self.trials]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        yield rich_text.Text(f"{len(states)} trials: {counts}; validation {self.score.words}")
        rows = [
            (str(t.number), t.state, metric_text(self.score.name, t.score), *map(shown, self.values(t)))
            for t in self.ranked()
        ]
        yield table(("trial", "state", self.score.words, *self.fields), rows, words=2)

    def write_csv(self, path: Path) -> None:
        """Write a row for each trial, the best first."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["trial", "state", self.score.name, *self.fields])
        writer.writerows([t.number, t.state, t.score, *self.values(t)] for t in self.ranked())
        write_text(path, text.getvalue())

    def figure(self) -> figures.Figure:
        """Return the score of the trials against each field."""
        rows = -(-len(self.fields) // COLUMNS) or 1
        figure = figures.Figure(figsize=(4 * COLUMNS, 3.2 * rows), layout="constrained")
        figure.suptitle(f"validation {self.score.words} of {len(self.trials)} trials of {self.config}")
        axes = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True).flat
        for field, part in zip(self.fields, axes, strict=False):
            for state, mark in (("complete", "o"), ("pruned", "x")):
                found = [t for t in self.trials if t.state == state and t.score is not None]
                part.plot([axis_value(t.parameters[field]) for t in found], [t.score for t in found], mark, label=state)
            values = [t.parameters[field] for t in self.trials if field in t.parameters]
            if all(isinstance(v, float) and v > 0 for v in values) and max(values) > 20 * min(values):
                part.set_xscale("log")
            part.set_xlabel(field)
            part.legend(fontsize=7)
        for part in figure.axes[len(self.fields) :]:
            part.set_axis_off()
        return figure


def shown(value) -> str:
    """Return a value as text, a number with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def axis_value(value):
    """Return what is drawn on an axis: numbers as they are, everything else as text."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def tune(
    config: str | Path, overrides: Sequence[str] = (), *, out: str | Path, trials: int = 20, verbose: bool = True
) -> Search:
    """Search for values of the fields that an experiment's section `tune` names, by the score on validation.

    Each trial trains the experiment with other values, which Optuna's tree-structured Parzen estimator proposes; one
    that is worse after an epoch than the median of the earlier trials is pruned. The search is kept in the directory:
    the same call again resumes it, and further processes that make the same call at the same time take part in it. The
    test split is never looked at.

    Args:
        config: as for `kzoo.load_experiment`; so are `overrides`.
        overrides: see `config`.
        out: directory for the search, a table (`trials.csv`) and a picture (`tune.png`).
        trials: number of trials, complete or pruned, of all processes and calls together.
        verbose: print a line after each trial.

    Raises:
        ValueError: without Optuna, for an experiment without a section `tune`, one with a field or a range that cannot
            be, or a directory with another search.
    """
    objective = prepare(config, overrides)
    folder = user_path(out)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = objective.study(folder)
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    if len(study.get_trials(deepcopy=False, states=states)) < trials:
        stop = optuna.study.MaxTrialsCallback(trials, states=states)
        study.optimize(lambda trial: objective.train(trial, verbose), callbacks=[stop])
    found = objective.result(study)
    found.write_csv(folder / TRIALS)
    found.draw(folder / PICTURE)
    return found


def prepare(config: str | Path, overrides: Sequence[str]) -> Objective:
    """Return the objective of an experiment, whose fields and ranges are checked; no data are loaded.

    Raises:
        ValueError: as `tune`.
    """
    space = load_space(config)
    for field, values in space.items():
        check_range(field, values)
        for edge in (values[0], values[-1]) if isinstance(values, list) else (values["low"], values["high"]):
            load_experiment(config, [*overrides, f"{field}={json.dumps(edge)}"])
    if importlib.util.find_spec("optuna") is None:
        raise missing_package("kzoo tune", "optuna", "tune")
    return Objective(str(config), tuple(overrides), space, score_of(load_experiment(config, overrides)))


def check_range(field: str, values) -> None:
    """Raise a ValueError unless a field has several values, or a range with `low` below `high`."""
    if isinstance(values, list) and len(values) > 1:
        return
    if not isinstance(values, Mapping) or not {"low", "high"} <= values.keys():
        raise ValueError(f"tune: {field} must be a list of values, or have low and high, got {values!r}")
    for name in values:
        lookup("key", name, RANGE, f" of the range of {field}")
    numbers = [values[name] for name in ("low", "high", "step") if name in values]
    if not all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers):
        raise ValueError(f"tune: low, high and step of {field} must be numbers, got {dict(values)}")
    if values["low"] >= values["high"] or min(numbers[2:], default=1) <= 0:
        raise ValueError(f"tune: {field} needs low < high and a positive step, got {dict(values)}")
    if values.get("log") and (values["low"] <= 0 or "step" in values):
        raise ValueError(f"tune: {field} with log needs positive values and no step, got {dict(values)}")


@dataclass(frozen=True)
class Objective:
    """The score on validation of an experiment, as a function of the values of some of its fields.

    Attributes:
        config: the experiment.
        overrides: of it.
        space: the fields that are searched, and their ranges.
        score: of the task.
    """

    config: str
    overrides: tuple[str, ...]
    space: Mapping
    score: Score

    def study(self, folder: Path):
        """Return the search that a directory holds, or a new one.

        Raises:
            ValueError: if it holds a search of another experiment, or in another space.
        """
        backend = optuna.storages.journal.JournalFileBackend(str(folder / STORAGE))
        study = optuna.create_study(
            study_name="kzoo",
            storage=optuna.storages.JournalStorage(backend),
            direction="maximize" if self.score.up else "minimize",
            load_if_exists=True,
        )
        own = json.dumps([self.config, self.overrides, self.space])
        if study.user_attrs.get("search", own) != own:
            raise ValueError(f"{folder} holds a search of another experiment or space; choose another directory")
        study.set_user_attr("search", own)
        return study

    def train(self, trial, verbose: bool) -> float:
        """Train with the values that Optuna proposes; return the best score on validation."""
        given = [f"{field}={json.dumps(suggested(trial, field, values))}" for field, values in self.space.items()]
        experiment = load_experiment(self.config, [*self.overrides, *given])
        model, data = prepared(experiment)
        watch = watching(trial, self.score)
        fit(model, data, **experiment["train"], callbacks=[watch], verbose=False)
        keras.backend.clear_session()
        if verbose:
            words = "pruned at" if watch.pruned else "reached"
            print(
                f"trial {trial.number} {words} {metric_text(self.score.name, watch.best)}: {' '.join(given)}",
                flush=True,
            )
        if watch.pruned:
            raise optuna.TrialPruned
        return watch.best

    def result(self, study) -> Search:
        """Return the trials of a search."""
        return Search(self.config, self.score, tuple(map(self.trial, study.get_trials(deepcopy=False))))

    def trial(self, frozen) -> Trial:
        """Return what Optuna knows of a trial."""
        seen = frozen.intermediate_values.values()
        values = {key: json.loads(v) if isinstance(self.space[key], list) else v for key, v in frozen.params.items()}
        return Trial(frozen.number, frozen.state.name.lower(), best_of(seen, self.score), values)


def best_of(values: Iterable[float], score: Score) -> float | None:
    """Return the best of the scores of epochs; None for none."""
    return (max if score.up else min)(values, default=None)


def suggested(trial, field: str, values):
    """Return the value of a field that Optuna proposes."""
    if isinstance(values, list):
        return json.loads(trial.suggest_categorical(field, [json.dumps(value) for value in values]))
    low, high, step, log = (values.get(name) for name in RANGE)
    if all(isinstance(number, int) for number in (low, high, step or 1)):
        return trial.suggest_int(field, low, high, step=step or 1, log=bool(log))
    return trial.suggest_float(field, low, high, step=step, log=bool(log))


def watching(trial, score: Score) -> keras.callbacks.Callback:
    """Return a callback that reports each epoch's score to Optuna, and stops a training that is to be pruned."""

    class Watch(keras.callbacks.Callback):
        """Attributes: `best` score so far, None before the first epoch; `pruned`."""

        best, pruned = None, False

        def on_epoch_end(self, epoch, logs=None):
            value = float(logs[f"val_{score.name}"])
            self.best = best_of([value] if self.best is None else [value, self.best], score)
            trial.report(value, epoch)
            self.pruned = trial.should_prune()
            if self.pruned:
                self.model.stop_training = True

    return Watch()
