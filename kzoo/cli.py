"""The `kzoo` command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported anywhere

from kzoo import __version__
from kzoo.data import dataset_card, list_datasets
from kzoo.evaluate import Report
from kzoo.experiment import (
    evaluate_run,
    find_config,
    list_configs,
    load_experiment,
    run_each,
    run_experiment,
    summary,
)
from kzoo.export import FORMATS, export
from kzoo.factory import list_models, model_card
from kzoo.lazy import lazy_import
from kzoo.runs import load_run
from kzoo.serve import predict_files

keras = lazy_import("keras")
rich_console = lazy_import("rich.console")
rich_table = lazy_import("rich.table")

app = typer.Typer(
    help="A zoo of convolutional networks for Keras 3: list them, train one, look at the result, ship it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, as `kzoo train` leaves it.")]


def start_keras() -> None:
    """Import Keras and touch its device, without the page of log lines that TensorFlow prints and no setting stops."""
    standard_error = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        keras.ops.zeros(())
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def show_table(*columns: str, rows) -> None:
    """Print a table; cells are never cut where the output is a file or a pipe."""
    console = rich_console.Console(width=None if sys.stdout.isatty() else 200)
    table = rich_table.Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kzoo {__version__}")
        raise typer.Exit


@app.callback()
def kzoo(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command("list")
def list_(
    pattern: Annotated[str, typer.Argument(help="Shell wildcards, e.g. '*resnet*'.")] = "*",
    family: Annotated[str | None, typer.Option(help="Only one family, e.g. vgg.")] = None,
    task: Annotated[str | None, typer.Option(help="Only one task, e.g. classification.")] = None,
    dim: Annotated[int | None, typer.Option(help="Only networks for 1 or 2 spatial axes.")] = None,
) -> None:
    """List the networks: parameters, the input they hold for, paper."""
    names = list_models(pattern, family=family, task=task, dim=dim)
    if not names:
        raise ValueError(f"no network fits {pattern!r} and the options; `kzoo list` shows all")
    show_table("name", "family", "parameters", "input", "classes", "paper", rows=map(model_row, names))


def model_row(name: str) -> tuple:
    """Return a network's line in the list."""
    card = model_card(name)
    shape = " x ".join(map(str, card.reference.input_shape))
    paper = f"{card.paper.authors}, {card.paper.year}"
    return name, card.family, f"{card.params:,}", shape, card.reference.num_classes, paper


@app.command()
def show(name: Annotated[str, typer.Argument(help="A network, e.g. resnet50.")]) -> None:
    """Show one network: hyperparameters with their meaning, reference, paper."""
    card = model_card(name)
    shape, classes, dialect = card.reference
    typer.echo(f"{name}: {card.params:,} trainable parameters for input {shape} and {classes} classes")
    typer.echo(f"family {card.family}, task {card.task}, {' and '.join(f'{d}-D' for d in card.dims)}, {dialect}\n")
    rows = [(key, value.value, value.meaning) for key, value in card.hyperparameters.items()]
    show_table("hyperparameter", "value", "meaning", rows=rows)
    typer.echo(f"\n{card.paper.bibtex()}")


@app.command()
def datasets() -> None:
    """List the datasets and the experiments that come with kzoo."""
    cards = [dataset_card_row(name) for name in list_datasets()]
    show_table("name", "kind", "what", "source", rows=cards)
    typer.echo("\nexperiments for `kzoo train`:")
    for name in list_configs():
        first = find_config(name).read_text().partition("\n")[0]
        typer.echo(f"  {name}: {first.lstrip('# ')}")


def dataset_card_row(name: str) -> tuple:
    """Return a dataset's line in the list."""
    card = dataset_card(f"{name}..." if name.endswith(":") else name)
    return name, card.modality, card.description, card.source


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="A config of `kzoo datasets`, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="E.g. train.epochs=5 seed=1.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to write; runs/NAME if not given.")] = None,
    each: Annotated[
        str | None,
        typer.Option(metavar="SECTION.KEY=[VALUE,...]", help="One run for each value, e.g. 'seed=[0, 1, 2]'."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in that folder.")] = False,
) -> None:
    """Train an experiment, evaluate it on the test split, leave a run folder."""
    experiment = load_experiment(config, overrides or ())
    run = out or Path("runs") / Path(config).stem
    start_keras()
    try:
        if each is not None:
            return show_summary(run_each(config, overrides or (), each, run, overwrite=overwrite), run)
        report = run_experiment(experiment, run, overwrite=overwrite)
    except KeyboardInterrupt:
        typer.echo(f"interrupted; what was reached is in {run}", err=True)
        raise typer.Exit(130) from None
    rich_console.Console().print(report)
    typer.echo(f"\nwrote {run}: pictures, numbers and model.keras. Next: kzoo export {run}")


def show_summary(reports: dict[str, Report], folder: Path) -> None:
    """Print the accuracy of each of several runs, and what they have in common."""
    rows = [(name, f"{r.accuracy:.2%}", f"{r.macro_f1:.4f}", f"{r.loss:.4f}") for name, r in reports.items()]
    show_table("run", "accuracy", "macro-F1", "loss", rows=rows)
    numbers = summary(reports)
    typer.echo(
        f"\nmean accuracy {numbers['mean']:.2%}, standard deviation {numbers['deviation']:.2%}, "
        f"{len(reports)} runs; wrote {folder}"
    )


@app.command()
def evaluate(
    run: Run,
    split: Annotated[str, typer.Option(help="validation or test.")] = "test",
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Measure a run's best model again: numbers, confusion.png, mistakes.png."""
    start_keras()
    report = evaluate_run(run, split)
    rich_console.Console().print(report) if not as_json else typer.echo(json.dumps(report.to_dict(), indent=1))


@app.command("export")
def export_(
    run: Run,
    format: Annotated[str, typer.Option(help=f"One of: {', '.join(FORMATS)}.")] = "saved_model",
    out: Annotated[Path | None, typer.Option(help="File or folder to write; in the run folder if not given.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write a run's best model for serving, and check it in a new process."""
    names = {"keras": "serving.keras", "onnx": "model.onnx", "litert": "model.tflite"}
    start_keras()
    model, serving = load_run(run)
    target = out or Path(run) / names.get(format, format)
    typer.echo(export(model, target, data=serving, format=format, overwrite=overwrite))


@app.command()
def predict(
    model: Annotated[str, typer.Argument(metavar="RUN_OR_EXPORT", help="A run folder, or what export wrote.")],
    files: Annotated[list[str], typer.Argument(help="Files to classify.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all probabilities as JSON.")] = False,
) -> None:
    """Classify files."""
    start_keras()
    predictions = predict_files(model, files)
    if as_json:
        typer.echo(json.dumps([prediction._asdict() for prediction in predictions], indent=1))
    else:
        show_table(
            "file", "label", "probability", rows=[(p.file, p.label, f"{p.probability:.1%}") for p in predictions]
        )


def main() -> None:
    """Run the command line; a mistake is explained in one line and ends with status 2."""
    try:
        app()
    except ValueError as error:
        typer.echo(f"kzoo: {' '.join(str(error).split())}", err=True)
        raise SystemExit(2) from None
