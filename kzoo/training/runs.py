"""Run directories: the files that a training writes, enough to inspect, serve and repeat it."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kzoo.core.files import (
    check_digests,
    digest,
    read_json,
    reading,
    temporary_files,
    user_path,
    write_file,
    write_json,
    write_text,
)
from kzoo.core.lazy import keras, lazy_import, psutil, torch
from kzoo.core.onednn import onednn_is_on
from kzoo.core.yaml import read_yaml, write_yaml
from kzoo.data.serving import Serving
from kzoo.data.trained import remember
from kzoo.nn.precision import in_float32, uncompiled
from kzoo.tasks import TASKS
from kzoo.training import checkpoint
from kzoo.zoo import shared
from kzoo.zoo.weights.files import check_keras_file

distributed = lazy_import("kzoo.training.distributed")
filelock = lazy_import("filelock")

CONFIG, MODEL, HISTORY, METRICS = "config.yaml", "model.keras", "history.csv", "metrics.json"
CURVES, ENVIRONMENT, DATA, EXAMPLES = "curves.png", "environment.json", "data.json", "examples.npz"
CHECKPOINTS, TRAINING, LOCK = "checkpoints", "training.json", "lock"
TENSORBOARD, PAGE, SKIPPED = "tensorboard", "report.html", "skipped_files.txt"
DRAWN = sorted({name for task in TASKS.values() for name in task.drawn})  # the pictures of reports
UNCHANGED = (MODEL, HISTORY, DATA, EXAMPLES)  # once a training is complete
RESULTS = (MODEL, HISTORY, METRICS, CURVES, ENVIRONMENT, DATA, EXAMPLES, *DRAWN, PAGE, SKIPPED)


@contextlib.contextmanager
def opened(path: str | Path, *, restart: bool = False) -> Iterator[Path | None]:
    """Lock a run directory, so that no other process writes into it, and delete incomplete files in it.

    After an error before a training began (see `begin`) nothing is left of it, not even the directory if it is empty.

    Of processes that train together only the first one locks it; the others get None.

    Args:
        path: the directory; created if it does not exist.
        restart: delete the results and the checkpoints of an earlier run.

    Raises:
        ValueError: if it is in use by another process, cannot be written, or is no run directory and holds files of
            the names that a run writes.
    """
    if not distributed.is_first():
        yield None
        return
    run = user_path(path)
    try:
        check_own(run)
        (run / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(run / CHECKPOINTS / LOCK, is_singleton=True)
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise ValueError(
            f"{run} is in use: another process trains in it; wait for it, or choose another directory"
        ) from None
    except OSError as error:
        raise ValueError(f"the run directory {run} cannot be written: {error.strerror or error}") from error
    try:
        if is_record(run / CHECKPOINTS / TRAINING):
            sweep(run, restart)
        yield run
    except BaseException:
        if not has_begun(run):
            sweep(run, everything=True)
            remove_empty(run)
        raise
    finally:
        lock.release()


def check_own(run: Path) -> None:
    """Raise a ValueError for files that a run would replace, in a directory that no run has recorded as its own."""
    record = run / CHECKPOINTS / TRAINING
    if is_record(record):
        return
    found = [path for path in (record, *(run / name for name in (*RESULTS, CONFIG, TENSORBOARD))) if path.exists()]
    if found:
        raise ValueError(
            f"{run} already holds {found[0].name}, but no record of the run that wrote it ({CHECKPOINTS}/{TRAINING}); "
            "nothing in it is replaced, choose another directory"
        )


def is_record(path: Path) -> bool:
    """Return whether a file is the record that a run keeps of its training."""
    return path.exists() and {"training", "complete"} <= read_json(path).keys()


def has_begun(run: Path) -> bool:
    """Return whether a run directory records which training it is for."""
    record = run / CHECKPOINTS / TRAINING
    return is_record(record) and read_json(record)["training"] is not None


def remove_empty(run: Path) -> None:
    """Delete a run directory in which there is nothing but the lock."""
    (run / CHECKPOINTS / LOCK).unlink(missing_ok=True)
    for folder in (run / CHECKPOINTS, run):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def sweep(run: Path, everything: bool) -> None:
    """Delete what interrupted writes left in a run directory, or all results as well; other files are kept."""
    checkpoint.sweep(run / CHECKPOINTS)
    (run / f".{MODEL}").unlink(missing_ok=True)  # of `save_model`
    for name in (*RESULTS, CONFIG):
        for path in temporary_files(run, name):
            path.unlink()
    if everything:
        checkpoint.clear(run / CHECKPOINTS)
        delete_logs(run / TENSORBOARD)
        for name in (*RESULTS, CONFIG, f"{CHECKPOINTS}/{TRAINING}"):  # the record last, without it nothing is deleted
            (run / name).unlink(missing_ok=True)


def delete_logs(folder: Path) -> None:
    """Delete TensorBoard's event files, and the directories that are empty then."""
    for path in folder.rglob("events.out.tfevents.*"):
        path.unlink()
    for path in (*sorted(filter(Path.is_dir, folder.rglob("*")), reverse=True), folder):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def write_config(run: Path, experiment: dict) -> None:
    """Write an experiment into a run directory, which is recorded as a run's own first."""
    mark(run)
    write_yaml(run / CONFIG, experiment)


def mark(run: Path) -> None:
    """Record that what will be written into a directory is a run's own."""
    record = run / CHECKPOINTS / TRAINING
    if not record.exists():
        record.parent.mkdir(parents=True, exist_ok=True)
        write_json(record, {"training": None, "complete": False})


def claim(run: Path, identity: dict) -> bool:
    """Mark a directory, or compare with what it records; return whether the training in it is complete.

    Raises:
        ValueError: if the directory holds another training.
    """
    mark(run)
    content = read_json(run / CHECKPOINTS / TRAINING)
    if content["training"] is None:
        return False
    check_same(run, content["training"], json.loads(json.dumps(identity)))
    return content["complete"]


def begin(run: Path, identity: dict) -> None:
    """Record which training a directory is for: what is in it is kept from now on."""
    write_json(run / CHECKPOINTS / TRAINING, {"training": identity, "complete": False})


def check_same(run: Path, before: Mapping, now: Mapping) -> None:
    """Raise a ValueError that names the first differences between two trainings."""
    found = checkpoint.differences(before, now)
    if found:
        more = f", and {len(found) - 3} more" if len(found) > 3 else ""
        raise ValueError(
            f"{run} holds another training: {'; '.join(found[:3])}{more}; choose another directory, or start over "
            "(--restart)"
        )


def complete(run: Path) -> None:
    """Record that a training is complete, with the sha256 of its results, then delete its checkpoints."""
    record = run / CHECKPOINTS / TRAINING
    recorded = {name: digest(run / name) for name in UNCHANGED if (run / name).is_file()}
    write_json(record, read_json(record) | {"complete": True, "files": recorded})
    checkpoint.clear(run / CHECKPOINTS)


def check_recorded(run: Path, *names: str) -> None:
    """Raise a ValueError for a file of a complete training that is not as the record says; others are not known."""
    record = run / CHECKPOINTS / TRAINING
    files = read_json(record).get("files", {}) if record.exists() else {}
    check_digests(run, {name: files[name] for name in names if name in files})


def read_history(run: Path) -> dict[str, list[float]]:
    """Return the metrics per epoch that `write_history` wrote.

    Raises:
        ValueError: if the file is missing or damaged.
    """
    check_recorded(run, HISTORY)
    with reading(run / HISTORY), (run / HISTORY).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
        return {name: [float(row[name]) for row in rows] for name in rows[0] if name != "epoch"}


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model without its optimizer and loss, in float32, so that it loads wherever Keras is installed."""
    model = uncompiled(in_float32(model))
    beside = path.with_name(f".{path.name}")  # Keras wants a path, and one that ends in .keras
    try:
        model.save(beside)
        write_file(path, lambda file: file.write(beside.read_bytes()))
    finally:
        beside.unlink(missing_ok=True)


def find_run(path: str | Path) -> Path:
    """Return the directory of a run; nothing of it is loaded yet.

    Raises:
        ValueError: if the directory does not hold a run.
    """
    run = user_path(path)
    missing = [name for name in (MODEL, DATA, EXAMPLES) if not (run / name).is_file()]
    if missing:
        raise ValueError(f"{run} is not a run directory of kzoo: it has no {missing[0]}")
    return run


def load_run(path: str | Path) -> tuple[keras.Model, Serving]:
    """Return the best model of a run, or a shared model, and what it needs to be served.

    Args:
        path: a run directory, a folder of `kzoo.save_pretrained`, `kzoo/digits` and the like, or `hf://user/name`.

    Raises:
        ValueError: for a path that is none of these, or a damaged model.
    """
    folder = shared.find(path)
    if shared.is_shared(folder):
        return shared.load(folder)
    run = find_run(folder)
    check_keras_file(run / MODEL)
    check_recorded(run, *UNCHANGED)
    with reading(run / MODEL):
        model = keras.models.load_model(run / MODEL)
    serving = Serving.load(run / DATA, run / EXAMPLES)
    if (run / CONFIG).exists():  # a file of Keras keeps the model's own name alone
        config = read_yaml(run / CONFIG)
        with reading(run / CONFIG):
            model.registered_name = config["model"]["name"]
    remember(model, serving)
    return model, serving


def write_history(run: Path, history: Mapping[str, list[float]]) -> None:
    """Write one row per epoch, `epoch` counted from 1."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["epoch", *history])
    writer.writerows([epoch, *row] for epoch, row in enumerate(zip(*history.values(), strict=True), start=1))
    write_text(run / HISTORY, text.getvalue())


def environment(seed: int) -> dict:
    """Return versions, hardware, whether TensorFlow uses oneDNN, seed and git commit (None outside a repository)."""
    packages = ("kzoo", "keras", "tensorflow", "jax", "torch", "tensorflow-datasets", "numpy", "scikit-learn")
    return {
        "seed": seed,
        "python": platform.python_version(),
        "packages": {name: found for name in packages if (found := installed(name))},
        "backend": keras.backend.backend(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "accelerators": accelerators(),
        "onednn": onednn_is_on(),
        "git_commit": git_commit(),
    }


def accelerators() -> list[str]:
    """Return the names of the GPUs and TPUs that the backend sees."""
    if keras.backend.backend() == "torch":
        return [f"gpu:{number}" for number in range(torch.cuda.device_count())]
    return [device for device in keras.distribution.list_devices() if not device.startswith("cpu")]


def installed(package: str) -> str | None:
    """Return the version of a package, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Return the name of the processor, as far as the system reports it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def git_commit() -> str | None:
    """Return the commit of the working directory, None outside a repository."""
    git = shutil.which("git")
    if git is None:
        return None
    result = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
