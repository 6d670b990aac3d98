"""The run folder: what a training leaves behind, enough to look at it, serve it and repeat it."""

from __future__ import annotations

import csv
import importlib
import io
import platform
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kzoo.data.serving import Serving
from kzoo.files import write_file, write_json, write_text
from kzoo.lazy import lazy_import

keras = lazy_import("keras")
psutil = lazy_import("psutil")
figure = lazy_import("matplotlib.figure")
torch = lazy_import("torch")

CONFIG, MODEL, HISTORY, METRICS = "config.yaml", "model.keras", "history.csv", "metrics.json"
CURVES, ENVIRONMENT, DATA, EXAMPLES = "curves.png", "environment.json", "data.json", "examples.npz"
CONFUSION, MISTAKES, TENSORBOARD = "confusion.png", "mistakes.png", "tensorboard"
RESULTS = (MODEL, HISTORY, METRICS, CURVES, ENVIRONMENT, DATA, EXAMPLES, CONFUSION, MISTAKES)


def open_run(path: str | Path, *, overwrite: bool = False) -> Path:
    """Make a run folder ready to be written.

    Raises:
        ValueError: if it holds the results of a run and `overwrite` is False, or cannot be written.
    """
    run = Path(path).expanduser()
    found = [name for name in RESULTS if (run / name).exists()]
    if found and not overwrite:
        raise ValueError(
            f"{run} already holds a run ({found[0]}); choose another folder, or overwrite it (--overwrite)"
        )
    try:
        run.mkdir(parents=True, exist_ok=True)
        for name in found:
            (run / name).unlink()
        shutil.rmtree(run / TENSORBOARD, ignore_errors=True)
        write_json(run / ENVIRONMENT, {})
        (run / ENVIRONMENT).unlink()
    except OSError as error:
        raise ValueError(f"the run folder {run} cannot be written: {error.strerror or error}") from error
    return run


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model without its optimizer and loss, so that it loads wherever Keras is."""
    if model.compiled and getattr(model, "inputs", None):
        model = keras.Model(model.input, model.output, name=model.name)
    beside = path.with_name(f".{path.name}")  # Keras wants a path, and one that ends in .keras
    model.save(beside)
    write_file(path, lambda file: file.write(beside.read_bytes()))
    beside.unlink()


def load_run(path: str | Path) -> tuple[keras.Model, Serving]:
    """Return the best model of a run, and what it needs to be served.

    Raises:
        ValueError: if the folder does not hold a run, or its model is damaged.
    """
    run = Path(path).expanduser()
    missing = [name for name in (MODEL, DATA, EXAMPLES) if not (run / name).is_file()]
    if missing:
        raise ValueError(f"{run} is not a run folder of kzoo: it has no {missing[0]}")
    for module in ("kzoo.standardized", "kzoo.untrained"):  # lets Keras know the layers of the zoo
        importlib.import_module(module)
    try:
        return keras.models.load_model(run / MODEL), Serving.load(run / DATA, run / EXAMPLES)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the run in {run} cannot be read: {error}") from error


def write_history(run: Path, history: Mapping[str, list[float]]) -> None:
    """Write one row per epoch, `epoch` counted from 1."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["epoch", *history])
    writer.writerows([epoch, *row] for epoch, row in enumerate(zip(*history.values(), strict=True), start=1))
    write_text(run / HISTORY, text.getvalue())


def draw_curves(run: Path, history: Mapping[str, list[float]], best_epoch: int) -> None:
    """Draw each metric of training and validation over the epochs; a line marks the epoch whose weights were kept."""
    names = [name for name in history if f"val_{name}" in history]
    if not names:
        return
    picture = figure.Figure(figsize=(5 * len(names), 4), layout="constrained")
    for axes, name in zip(picture.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        epochs = range(1, len(history[name]) + 1)
        axes.plot(epochs, history[name], label="train")
        axes.plot(epochs, history[f"val_{name}"], label="validation")
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"best, epoch {best_epoch}")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
    write_file(run / CURVES, lambda file: picture.savefig(file, format="png", dpi=100))


def environment(seed: int) -> dict:
    """Return versions, hardware, seed and git commit (None outside a repository)."""
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
        "git_commit": git_commit(),
    }


def accelerators() -> list[str]:
    """Return the names of the devices beside the processor that the backend sees."""
    if keras.backend.backend() == "torch":
        return [f"gpu:{number}" for number in range(torch.cuda.device_count())]
    return [device for device in keras.distribution.list_devices() if not device.startswith("cpu")]


def installed(package: str) -> str | None:
    """Return the version of a package, None if it is not here."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Return the processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def git_commit() -> str | None:
    """Return the commit of the working folder, None where there is none."""
    git = shutil.which("git")
    if git is None:
        return None
    result = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
