"""Experiments as YAML: each section holds the keyword arguments of one function.

    seed: 0
    data:  {name: digits, batch_size: 32}         # kzoo.load_dataset
    model: {name: resnet8, kernel: 5}             # kzoo.create_model
    train: {epochs: 5, learning_rate: 1e-3}       # kzoo.fit
    evaluate: {tta: {shift: 1}}                   # kzoo.evaluate; may be left out
    recipe: strong                                # defaults for train and data.augment: kzoo.training.recipes
    tune: {train.learning_rate: [1e-3, 3e-3]}     # what `kzoo tune` searches (kzoo.analysis.tune); no part of a run

There is no schema beside the functions' own signatures, so a new argument needs no second entry.
"""

from __future__ import annotations

import dataclasses
import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kzoo.core.arguments import check_arguments, checked
from kzoo.core.files import user_path, write_json, writing
from kzoo.core.lazy import keras, lazy_import
from kzoo.core.registry import MODELS, check_keywords, did_you_mean, keywords, lookup, registered_name
from kzoo.core.yaml import parse_yaml, read_yaml
from kzoo.data import dataset_card, load_dataset
from kzoo.data.splits import MODALITIES, Splits
from kzoo.data.text.vectors import load_word_vectors
from kzoo.tasks import TASKS
from kzoo.tasks.task import Score
from kzoo.training import runs
from kzoo.training.evaluate import Report, check_split, evaluate
from kzoo.training.optimizers import OPTIMIZERS, SCHEDULES
from kzoo.training.recipes import Recipe, preset
from kzoo.training.train import fit
from kzoo.zoo import hub, shared
from kzoo.zoo.factory import create_model, customised, model_card

distributed = lazy_import("kzoo.training.distributed")

SECTIONS = {"data": load_dataset, "model": create_model, "train": fit, "evaluate": evaluate}
GENERAL = {  # arguments of `create_model`
    "name",
    "embed_dim",
    "embedding",
    "trainable_embedding",
    "causal",
    "dialect",
    "weights",
    "precision",
    "model_name",
}
SET_BY_RUN = {"run_dir", "restart", "verbose"}
CONFIGS = Path(__file__).parents[2] / "zoo_configs"  # beside the package, in a checkout and where it is installed


def list_configs() -> list[str]:
    """Return the names of the experiments that come with kzoo, e.g. `image/resnet8_digits`."""
    return sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.glob("*/*.yaml"))


def find_config(name: str | Path) -> Path:
    """Return the path of an experiment, given by path or by the name of one that comes with kzoo.

    Raises:
        ValueError: if there is no such file and no such name.
    """
    for path in (user_path(name), user_path(CONFIGS / f"{name}.yaml")):
        if path.is_file():
            return path
    raise ValueError(f"there is no config {str(name)!r}; {did_you_mean(str(name), list_configs())}")


def load_experiment(config: str | Path, overrides: Sequence[str] = ()) -> dict:
    """Read an experiment, apply `section.key=value` overrides, and check every key.

    Args:
        config: a file, or the name of a config that comes with kzoo.
        overrides: values in YAML: `train.epochs=5`, `data.augment.flip=true`, `seed=1`.

    Raises:
        ValueError: for a missing file, invalid YAML, or an unknown section or key.
    """
    content = read_yaml(find_config(config))
    if not isinstance(content, dict):
        raise ValueError(f"{config} is not an experiment: expected the sections {', '.join(SECTIONS)}")
    experiment = {"seed": 0, "data": {}, "model": {}, "train": {}, "evaluate": {}} | content
    for override in overrides:
        apply_override(experiment, override)
    try:
        check_experiment(experiment)
        return completed(experiment)
    except ValueError as error:  # of the file, unless something was replaced
        raise ValueError(f"{'' if overrides else f'{config}: '}{error}") from error


def load_space(config: str | Path) -> dict:
    """Return the section `tune` of an experiment: the fields that a search may change, and their ranges.

    Raises:
        ValueError: if it has none.
    """
    content = read_yaml(find_config(config))
    space = content.get("tune") if isinstance(content, dict) else None
    if not isinstance(space, dict) or not space:
        raise ValueError(f"{config} has no section tune with fields and their ranges, such as train.learning_rate")
    return space


def score_of(experiment: Mapping) -> Score:
    """Return the score of an experiment's task; no data are loaded."""
    data = experiment["data"]
    return lookup("task", data.get("task") or dataset_card(**data).task, TASKS).score


def completed(experiment: dict) -> dict:
    """Return an experiment with the settings of its recipe written out, except where it sets its own."""
    written = {key: value for key, value in experiment.items() if key not in ("recipe", "tune")}
    if experiment.get("recipe") is None:
        return written
    data = experiment["data"]
    card = dataset_card(**data)
    defaults = preset(experiment["recipe"], card.modality, data.get("task") or card.task)
    augment = defaults["data"]["augment"] | (data.get("augment") or {})
    return written | {"data": data | {"augment": augment}, "train": defaults["train"] | experiment["train"]}


def apply_override(experiment: dict, override: str) -> None:
    """Set one value, given as `section.key=value`."""
    address, equals, value = override.partition("=")
    *sections, key = address.split(".")
    if not equals:
        raise ValueError(f"expected section.key=value, got {override!r}")
    target = experiment
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ValueError(f"{override!r}: {section} is a value, not a section")
    target[key] = parse_yaml(value)


def check_experiment(experiment: dict) -> None:
    """Raise a ValueError for an unknown section, key, dataset, model or hyperparameter."""
    for section in experiment:
        lookup("section", section, {"seed": None, "recipe": None, "tune": None} | SECTIONS)
    for section in SECTIONS:
        if not isinstance(experiment[section], dict):
            raise ValueError(f"section {section!r} must hold keys and values, got {experiment[section]!r}")
    for section in ("data", "model"):
        if "name" not in experiment[section]:
            raise ValueError(f"section {section!r} needs a name, e.g. {section}.name=...")
    experiment |= check_arguments(load_dataset, {"seed": experiment["seed"]})
    model = experiment["model"]
    customised(model_card(model["name"]), {key: model[key] for key in model.keys() - GENERAL})
    for section, functions in functions_of(experiment).items():
        given = [] if section == "model" else [key for key in experiment[section] if key != "name"]
        check_keywords("key", given, *functions, where=f" in {section!r}")
        for key in SET_BY_RUN.intersection(given):
            raise ValueError(f"{section}.{key} is set by the command or by `kzoo.run_experiment`; leave it out")
        checked_already = set()  # a loader takes files alone as `validation`, `load_dataset` fractions as well
        for function in functions:
            own = {key: value for key, value in experiment[section].items() if key not in checked_already}
            experiment[section] |= check_arguments(function, own, f"{section}.")
            checked_already |= set(keywords(function))
    check_recipe(experiment["train"])


def functions_of(experiment: dict) -> dict[str, list[Callable]]:
    """Return the functions whose keyword arguments each section of an experiment holds."""
    data, network = dataset_card(**experiment["data"]), model_card(experiment["model"]["name"])
    return {
        "data": [load_dataset, data.load, MODALITIES[data.modality].preprocess.fit],
        "model": [create_model, type(network.architecture)],
        "train": [fit],
        "evaluate": [evaluate],
    }


def check_recipe(settings: Mapping) -> None:
    """Raise a ValueError for a value of the section `train` out of its range, or an unknown optimizer or schedule."""
    fields = {field.name for field in dataclasses.fields(Recipe)}
    recipe = Recipe(**{key: value for key, value in settings.items() if key in fields})
    lookup("optimizer", recipe.optimizer, OPTIMIZERS)
    lookup("schedule", recipe.schedule, SCHEDULES)


def load_data(experiment: dict) -> Splits:
    """Return the experiment's dataset, with the preprocessing of pretrained weights if the network has them."""
    weights = experiment["model"].get("weights")
    like = hub.preprocessing_of(weights, experiment["model"]["name"]) if weights else None
    return load_dataset(**{"seed": experiment["seed"], "like": like} | experiment["data"])


def prepared(experiment: dict) -> tuple[keras.Model, Splits]:
    """Return the untrained model of an experiment, and its dataset."""
    data = load_data(experiment)
    return untrained(experiment, data), data


def untrained(experiment: Mapping, data: Splits) -> keras.Model:
    """Return the model of an experiment for a dataset; `embedding` is a file of word vectors."""
    settings = dict(experiment["model"])
    if settings.get("embedding") is not None:
        settings["embedding"] = load_word_vectors(settings["embedding"], data)
    keras.utils.set_random_seed(experiment["seed"])
    shape, classes, vocabulary = data.input_shape, data.num_classes, data.vocab_size
    return create_model(input_shape=shape, num_classes=classes, head=data.task.head, vocab_size=vocabulary, **settings)


@checked
def run_experiment(experiment: dict, out: str | Path, *, restart: bool = False, verbose: bool = True) -> Report:
    """Train and evaluate; write a run directory (see `kzoo.fit`) with `metrics.json` and pictures to `out`.

    An interrupted experiment resumes where it stopped; of a complete one only the evaluation is repeated.

    Args:
        experiment: as returned by `load_experiment`.
        out: the run directory.
        restart: start over, and delete the results of an earlier run in `out`.
        verbose: show the progress.

    Raises:
        ValueError: if `out` holds a run of another experiment, and as the functions of its sections.
    """
    with runs.opened(out, restart=restart) as run, distributed.devices():
        distributed.broadcast_object(lambda: check_config(run, experiment))
        model, data = prepared(experiment)
        check_split(data, experiment["evaluate"].get("split", "test"))
        if run:
            with writing(run):
                runs.write_config(run, experiment)
        fit(model, data, **experiment["train"], run_dir=out, verbose=verbose)
        return evaluate(model, data, **experiment["evaluate"], run_dir=run)


def check_config(run: Path, experiment: dict) -> None:
    """Raise a ValueError if a run directory holds another experiment."""
    if (run / runs.CONFIG).exists():
        runs.check_same(run, read_yaml(run / runs.CONFIG), experiment)


def run_each(config: str | Path, overrides: Sequence[str], each: str, out: str | Path, **options) -> dict[str, Report]:
    """Run an experiment once for each value of one key (seeds, folds, left-out speakers), each in a run directory.

    Args:
        config: as for `load_experiment`; so are `overrides`.
        overrides: see `config`.
        each: `section.key=[VALUE, VALUE, ...]`, e.g. `seed=[0, 1, 2]` or `data.fold=[[0, 10], [1, 10]]`.
        out: parent of the run directories, and of `summary.json`: each score (accuracy, for classification), their mean
            and standard deviation.
        **options: as for `run_experiment`.

    Returns:
        The report of each value, by `key=value`.

    Raises:
        ValueError: if `each` is not a list of values, and as `load_experiment` and `run_experiment`.
    """
    address, _, values = each.partition("=")
    values = parse_yaml(values)
    if not isinstance(values, list) or not values:
        raise ValueError(f"expected section.key=[VALUE, VALUE, ...], got {each!r}")
    key = address.split(".")[-1]
    experiments = {
        f"{key}={value}": load_experiment(config, [*overrides, f"{address}={json.dumps(value)}"]) for value in values
    }
    reports = {}
    for name, experiment in experiments.items():
        folder = re.sub(r"[^\w=.-]+", "_", name).strip("_")
        reports[name] = run_experiment(experiment, Path(out) / folder, **options)
        write_json(Path(out) / "summary.json", summary(reports))
        keras.backend.clear_session()
    return reports


def summary(reports: Mapping[str, Report]) -> dict:
    """Return the scores of several runs, their mean and their standard deviation (0 for one run)."""
    scores = {name: report.main for name, report in reports.items()}
    (name,) = {report.task.score.name for report in reports.values()}
    return {
        name: scores,
        "mean": statistics.mean(scores.values()),
        "standard_deviation": statistics.stdev(scores.values()) if len(scores) > 1 else 0.0,
    }


def evaluate_run(path: str | Path, split: str = "test") -> Report:
    """Evaluate the best model of a run again, on the data of its config; write pictures and numbers into the run.

    Of a shared model (see `kzoo.save_pretrained`) nothing is written.

    Raises:
        ValueError: for a path that is neither, or a shared model whose data are not known.
    """
    model, _ = runs.load_run(path)
    folder = shared.find(path)
    experiment = experiment_of(folder)
    evaluation = experiment["evaluate"] | {"split": split}
    return evaluate(model, load_data(experiment), **evaluation, run_dir=None if shared.is_shared(folder) else folder)


def experiment_of(folder: Path) -> dict:
    """Return the experiment that a run or a shared model was trained by.

    Raises:
        ValueError: if it has none, or one that is not valid.
    """
    if not shared.is_shared(folder):
        return load_experiment(folder / runs.CONFIG)
    training = shared.describe(folder).get("training")
    if not isinstance(training, dict):
        raise ValueError(f"{folder} does not say which data its model was trained on; name some by --data")
    experiment = {"seed": 0, "data": {}, "model": {}, "train": {}, "evaluate": {}} | training
    check_experiment(experiment)
    return experiment


def hyperparameters_of(model: keras.Model, experiment: Mapping | None) -> dict:
    """Return the hyperparameters of a network as JSON-serialisable values; {} where they are not known."""
    card, own = MODELS.get(registered_name(model)), getattr(model, "architecture", None)
    if own is None and card is not None and experiment is not None:
        given = experiment.get("model", {})
        own = customised(card, {key: value for key, value in given.items() if key not in GENERAL})
    return json.loads(json.dumps(dataclasses.asdict(own), default=str)) if dataclasses.is_dataclass(own) else {}
