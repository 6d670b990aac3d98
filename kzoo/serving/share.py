"""Sharing a trained model: a folder with its weights and its model card, and a repository of the Hugging Face Hub.

`kzoo.zoo.shared` describes the folder and reads it.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.arguments import checked
from kzoo.core.files import shortened, user_path, write_text, writing
from kzoo.core.lazy import keras, lazy_import
from kzoo.core.registry import lookup, registered_name
from kzoo.core.yaml import read_yaml
from kzoo.data.serving import Serving
from kzoo.data.splits import Splits
from kzoo.data.trained import as_trained
from kzoo.nn.precision import in_float32, uncompiled
from kzoo.serving.model_card import model_card
from kzoo.tasks import TASKS
from kzoo.tasks.task import Report
from kzoo.training import runs
from kzoo.training.experiment import hyperparameters_of
from kzoo.training.records import read_if_there
from kzoo.training.train import check_logits
from kzoo.zoo import hub, shared

huggingface_hub = lazy_import("huggingface_hub")


@dataclass(frozen=True)
class Terms:
    """What others may do with a model, and what they should know of it.

    Attributes:
        license: of the weights, an identifier such as "apache-2.0" or "cc-by-4.0"; None where it is not stated.
        data_license: of the data that they were trained on, in words.
        limitations: what the model cannot do, in words.
    """

    license: str | None = None
    data_license: str | None = None
    limitations: str | None = None


@dataclass(frozen=True)
class Origin:
    """A trained model with what is known of its training.

    Attributes:
        model: the network.
        serving: its preprocessing and task.
        metrics: what `metrics_of` returns; None where nothing was measured.
        training: the experiment; None where it is not known.
        environment: versions, hardware, seed; None likewise.
    """

    model: keras.Model
    serving: Serving
    metrics: Mapping | None = None
    training: Mapping | None = None
    environment: Mapping | None = None


@checked
def save_pretrained(
    run_or_model: str | Path | keras.Model,
    folder: str | Path,
    *,
    data: Splits | Serving | None = None,
    report: Report | None = None,
    license: str | None = None,
    data_license: str | None = None,
    limitations: str | None = None,
    dtype: str = "float32",
) -> Path:
    """Write a trained model into a folder that others can load: `config.json`, `model.safetensors`, `README.md`.

    `kzoo.load_model(folder)` and `kzoo.load_run(folder)` bring it back whole, `kzoo predict`, `kzoo evaluate` and
    `kzoo export` take the folder; `README.md` is a model card. Where timm has the network and images are classified,
    timm's `create_model("local-dir:FOLDER")` reads the folder too. Nothing of the data is written but the names of
    classes, the vocabulary of texts and statistics.

    Args:
        run_or_model: a run directory, whose metrics and experiment are taken, a shared model, or a network.
        folder: to write; empty, or not there yet.
        data: the dataset that a network was trained on, or its `Serving`; a run has its own.
        report: of a network, as `kzoo.evaluate` returns it; a run has its own.
        license: of the weights, an identifier of the Hugging Face Hub, e.g. "apache-2.0".
        data_license: of the data, in words.
        limitations: what the model cannot do, in words, for the model card.
        dtype: of the weights in the file, "float32" or "float16", which halves it and rounds them.

    Returns:
        The folder.

    Raises:
        ValueError: for a folder that is not empty or cannot be written, a network without `data`, or one with layers
            that are neither Keras's nor kzoo's.
    """
    target, terms = user_path(folder), Terms(license, data_license, limitations)
    check_free(target)
    lookup("dtype", dtype, shared.DTYPES)
    write_shared(target, origin_of(run_or_model, data, report), terms, str(folder), dtype)
    return target


@checked
def push(
    run_or_model: str | Path | keras.Model,
    name: str,
    *,
    data: Splits | Serving | None = None,
    report: Report | None = None,
    license: str | None = None,
    data_license: str | None = None,
    limitations: str | None = None,
    private: bool = False,
) -> str:
    """Upload a trained model to a repository of the Hugging Face Hub, which is made if it is not there.

    Needs the extra `hub`, and a token with the right to write, as `hf auth login` keeps it.

    Args:
        run_or_model: as for `kzoo.save_pretrained`; so are `data`, `report`, `license`, `data_license` and
            `limitations`.
        name: `hf://user/name`.
        data: see `run_or_model`.
        report: see `run_or_model`.
        license: see `run_or_model`.
        data_license: see `run_or_model`.
        limitations: see `run_or_model`.
        private: whether a new repository can be seen by its owner alone.

    Returns:
        The address of the repository.

    Raises:
        ValueError: for another name, a failed upload, and as `kzoo.save_pretrained`.
    """
    check_pushable(name)
    repository, _ = hub.parse_repository(name)
    origin, terms = origin_of(run_or_model, data, report), Terms(license, data_license, limitations)
    with tempfile.TemporaryDirectory(prefix="kzoo-push-") as folder:
        write_shared(Path(folder), origin, terms, name, "float32")
        return upload(Path(folder), repository, private)


def check_pushable(name: str) -> None:
    """Raise a ValueError unless a name is that of a repository without a revision, and the upload can be tried."""
    _, revision = hub.parse_repository(name)
    if revision is not None:
        raise ValueError(f"a push makes a new revision; leave out @{revision} of {name}")
    hub.check_hub_is_there(name)


def upload(folder: Path, repository: str, private: bool) -> str:
    """Upload the files of a folder; return the address of the repository.

    Raises:
        ValueError: if the hub refuses them or cannot be reached.
    """
    from huggingface_hub.errors import HfHubHTTPError

    api = huggingface_hub.HfApi()
    try:
        url = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload by kzoo")
    except (OSError, HfHubHTTPError, ValueError) as error:
        said = f"{type(error).__name__}: {shortened(str(error))}"
        raise ValueError(f"{repository} cannot be uploaded ({said}); `hf auth login` keeps a token") from error
    return str(url)


def check_free(folder: Path) -> None:
    """Raise a ValueError unless a folder is empty, or not there."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder} is there already and not empty; choose another folder")


def origin_of(given: str | Path | keras.Model, data: Splits | Serving | None, report: Report | None) -> Origin:
    """Return a trained model, given by a path, a name or itself, with what is known of its training.

    Raises:
        ValueError: for a path that is neither a run nor a shared model, or a network without its data.
    """
    if not isinstance(given, (str, Path)):
        return of_network(given, data, report)
    if data is not None or report is not None:
        raise ValueError(f"{given} has data and metrics of its own; leave out data and report")
    model, serving = runs.load_run(given)
    folder = shared.find(given)
    if shared.is_shared(folder):
        known = shared.describe(folder)
        return Origin(model, serving, *(known.get(key) for key in ("metrics", "training", "environment")))
    found, environment = (read_if_there(folder / name) for name in (runs.METRICS, runs.ENVIRONMENT))
    metrics = found and metrics_of(lookup("task", found["task"], TASKS).reported.from_dict(found))
    return Origin(model, serving, metrics, read_yaml(folder / runs.CONFIG), environment)


def of_network(model: keras.Model, data: Splits | Serving | None, report: Report | None) -> Origin:
    """Return a network with its data and what was measured."""
    if data is None:
        raise ValueError(f"{model.name} is a network, whose preprocessing and task data= must give")
    check_logits(model)
    serving = as_trained(model, data if isinstance(data, Serving) else Serving.of(data))
    return Origin(model, serving, report and metrics_of(report))


def write_shared(target: Path, origin: Origin, terms: Terms, name: str, dtype: str) -> None:
    """Write a shared model into a folder beside its place, read it back, and move it there.

    Args:
        target: the folder.
        origin: the model.
        terms: its licence and its limitations.
        name: by which others will load it.
        dtype: of the weights.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".kzoo-share-") as beside:
            content = write_and_check(Path(beside), origin, terms, dtype)
            write_text(Path(beside) / shared.CARD, model_card(name, content))
            target.mkdir(exist_ok=True)
            for file in (shared.WEIGHTS, shared.CARD, shared.CONFIG):  # without the last one it is no shared model
                os.replace(Path(beside) / file, target / file)


def write_and_check(folder: Path, origin: Origin, terms: Terms, dtype: str) -> dict:
    """Write weights and description of a shared model, and compare them with the model; return the description."""
    model = uncompiled(in_float32(origin.model))
    model.registered_name = registered_name(origin.model)
    about = {
        "hyperparameters": hyperparameters_of(origin.model, origin.training),
        "metrics": origin.metrics,
        "training": origin.training,
        "environment": origin.environment,
        "terms": dataclasses.asdict(terms),
    }
    shared.write(folder, model, origin.serving, about, dtype)
    again, _ = shared.load(folder)
    shared.check_equal(model, again, dtype)
    return shared.describe(folder)


def metrics_of(report: Report) -> dict:
    """Return the numbers of a report that do not grow with the classes, and the table of a model card as texts."""
    content = report.to_dict()
    numbers = {key: value for key, value in content.items() if is_number(value) and key != "examples_per_second"}
    table = [list(row) for row in report.measures() if row[0] != "examples/s"]
    return numbers | {"score": report.task.score.name, "per_group": content["per_group"], "table": table}


def is_number(value) -> bool:
    """Return whether a value is a number, a word, or the two ends of an interval."""
    single = isinstance(value, (int, float, str))
    return single or (isinstance(value, (list, tuple)) and len(value) == 2 and all(map(is_number, value)))
