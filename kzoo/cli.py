"""The `kzoo` command."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported anywhere

from kzoo.analysis.benchmark import benchmark
from kzoo.analysis.classical import compare_classical
from kzoo.analysis.compare import compare
from kzoo.analysis.diagram import draw_architecture
from kzoo.analysis.shift import shift_runs
from kzoo.analysis.visualize import visualize
from kzoo.core.lazy import keras, lazy_import, rich_console, rich_table
from kzoo.core.pictures import picture_format
from kzoo.core.version import __version__
from kzoo.data import dataset_card, list_datasets
from kzoo.nn.precision import PRECISIONS
from kzoo.serving.export import FORMATS, export
from kzoo.serving.serve import predict_files
from kzoo.training.evaluate import Report
from kzoo.training.experiment import (
    apply_override,
    evaluate_run,
    find_config,
    list_configs,
    load_data,
    load_experiment,
    prepared,
    run_each,
    run_experiment,
    summary,
)
from kzoo.training.finders import find_batch_size, find_learning_rate
from kzoo.training.report_html import write_html
from kzoo.training.runs import CONFIG, PAGE, load_run
from kzoo.zoo.factory import create_model, list_models, model_card
from kzoo.zoo.profile import profile

distributed = lazy_import("kzoo.training.distributed")

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


def wide_console() -> rich_console.Console:
    """Return a console that cuts no cell where the output is a file or a pipe."""
    return rich_console.Console(width=None if sys.stdout.isatty() else 200)


def show_table(*columns: str, rows) -> None:
    """Print a table."""
    table = rich_table.Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(str, row))
    wide_console().print(table)


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
    return name, card.family, f"{card.params:,}", shape, card.reference.num_classes, card.paper.citation


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A network, e.g. resnet50.")],
    picture: Annotated[Path | None, typer.Option(help="Draw its stages and blocks: a name ending in .svg.")] = None,
) -> None:
    """Show one network: hyperparameters with their meaning, reference, paper."""
    card = model_card(name)
    if picture is not None:
        start_keras()
        typer.echo(f"wrote {draw_architecture(name, picture)}", err=True)
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
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew; delete the run in that folder.")] = False,
    hosts: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Of several processes (JAX): where the first one listens.")
    ] = None,
    num_processes: Annotated[int | None, typer.Option(help="How many processes train together.")] = None,
    process_id: Annotated[int | None, typer.Option(help="The number of this one, from 0.")] = None,
) -> None:
    """Train an experiment, evaluate it on the test split, leave a run folder.

    The same command again goes on with a run that was interrupted.
    """
    experiment = load_experiment(config, overrides or ())
    run = out or Path("runs") / Path(config).stem
    with zip_stages(hosts, num_processes, process_id):
        start_keras()
        try:
            if each is not None:
                return show_summary(run_each(config, overrides or (), each, run, restart=restart), run)
            found = run_experiment(experiment, run, restart=restart)
        except (KeyboardInterrupt, SystemExit) as stop:
            typer.echo(f"interrupted; what was reached is in {run}, and the same command goes on from there", err=True)
            raise typer.Exit(getattr(stop, "code", 130)) from None
        if not distributed.is_first():
            return None
        rich_console.Console().print(found)
        typer.echo(f"\nwrote {run}: pictures, numbers and model.keras; look at {run / PAGE}. Next: kzoo export {run}")


def zip_stages(*settings: str | int | None):
    """Return the scope of a process among others, if the command or the environment says that there are any."""
    said = any(value is not None for value in settings) or any(k.startswith("KERAS_DISTRIBUTION_") for k in os.environ)
    return distributed.process_group(*settings) if said else contextlib.nullcontext()


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
    found = evaluate_run(run, split)
    rich_console.Console().print(found) if not as_json else typer.echo(json.dumps(found.to_dict(), indent=1))


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


@app.command()
def find(
    config: Annotated[str, typer.Argument(help="A config of `kzoo datasets`, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="E.g. train.optimizer=sgd.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("learning_rate.png"),
) -> None:
    """Look for a learning rate and a batch size for an experiment, by trainings of a minute."""
    experiment = load_experiment(config, overrides or ())
    start_keras()
    model, splits = prepared(experiment)
    optimizer = experiment["train"].get("optimizer", "adamw")
    rate = find_learning_rate(model, splits, optimizer=optimizer)
    rate.draw(out)
    typer.echo(f"{rate}; wrote {out}\n")
    wide_console().print(find_batch_size(model, splits, optimizer=optimizer))


@app.command("compare")
def compare_(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two or more run folders.")],
    out: Annotated[Path, typer.Option(help="The picture to write: .png, .svg or .pdf.")] = Path("compare.png"),
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Compare runs: results and differing settings in one table, curves in one picture."""
    start_keras()
    comparison = compare(runs)
    picture = comparison.draw(out)
    if as_json:
        typer.echo(json.dumps(comparison.to_dict(), indent=1))
    else:
        wide_console().print(comparison)
        typer.echo(f"\nwrote {picture}")


@app.command("shift")
def shift_(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="One or more run folders.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    max_shift: Annotated[int, typer.Option(help="The greatest shift: pixels, samples, frames, steps or tokens.")] = 3,
    examples: Annotated[int, typer.Option(help="Examples that are measured at most.")] = 1000,
    out: Annotated[Path, typer.Option(help="The picture to write: .png, .svg or .pdf.")] = Path("shift.png"),
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Measure how steady runs are when their input moves: shifts, small rotations, scale, noise."""
    picture_format(out)  # says what is wrong before all the work
    start_keras()
    found = shift_runs(runs, split=split, max_shift=max_shift, examples=examples)
    picture = found.draw(out)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
    else:
        wide_console().print(found)
        typer.echo(f"\nwrote {picture}")


@app.command("compare-classical")
def compare_classical_(
    dataset: Annotated[str, typer.Argument(help="A dataset of `kzoo datasets`, e.g. digits.")],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Of the dataset, e.g. limit=1000.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Of networks; as many as make 600 steps if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Of initial weights and order.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for a run folder of each.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Compare classical methods, a perceptron, fixed filters and learned convolutions on a dataset."""
    given: dict = {}
    for option in options or ():
        apply_override(given, option)
    start_keras()
    found = compare_classical(dataset, epochs=epochs, seed=seed, out=out, verbose=not as_json, **given)
    typer.echo(json.dumps(found.to_dict(), indent=1)) if as_json else wide_console().print(found)


@app.command("benchmark")
def benchmark_(
    name: Annotated[str, typer.Argument(help="A network, e.g. resnet50.")],
    input_shape: Annotated[
        str | None,
        typer.Option("--input", metavar="SIZE,...,CHANNELS", help="E.g. 224,224,3; the published one if not given."),
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Outputs; the published ones if not given.")] = None,
    batch_size: Annotated[int, typer.Option(help="Examples in a batch of training and inference.")] = 32,
    seconds: Annotated[float, typer.Option(help="How long each of three measurements takes, about.")] = 5.0,
    precision: Annotated[str, typer.Option(help=f"One of: {', '.join(PRECISIONS)}.")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Measure a network on this machine: speed, latency, memory, share of the machine's peak."""
    start_keras()
    options = {"num_classes": classes, "batch_size": batch_size, "seconds": seconds, "precision": precision}
    found = benchmark(name, parse_shape(input_shape), **options, verbose=True)
    typer.echo(json.dumps(found.to_dict(), indent=1)) if as_json else wide_console().print(found)


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """Return the sizes in e.g. "224,224,3".

    Raises:
        ValueError: if they are not whole numbers.
    """
    if text is None:
        return None
    if not all(size.strip().isdecimal() for size in text.split(",")):
        raise ValueError(f"expected whole numbers with commas between them, such as 224,224,3, got {text!r}")
    return tuple(map(int, text.split(",")))


@app.command("profile")
def profile_(
    name: Annotated[str, typer.Argument(help="A network, e.g. resnet50.")],
    input_shape: Annotated[
        str | None,
        typer.Option("--input", metavar="SIZE,...,CHANNELS", help="E.g. 224,224,3; the published one if not given."),
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Outputs; the published ones if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
    table: Annotated[Path | None, typer.Option("--csv", help="Write the layers as comma-separated values.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw bars along the depth: .png, .svg or .pdf.")] = None,
) -> None:
    """Show what each layer of a network costs and sees: parameters, MACs, activations, receptive field."""
    if as_json and table is not None:
        raise ValueError("--json prints the numbers and --csv writes them; say one of them")
    reference = model_card(name).reference
    start_keras()
    shape = parse_shape(input_shape) or reference.input_shape
    found = profile(create_model(name, shape, reference.num_classes if classes is None else classes))
    if table is not None:
        typer.echo(f"wrote {found.write_csv(table)}", err=True)
    if picture is not None:
        typer.echo(f"wrote {found.draw(picture)}", err=True)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
    elif table is None:
        wide_console().print(found)


@app.command()
def report(run: Run) -> None:
    """Write a run's report.html again: result, curves, confusion, mistakes, config and environment in one file."""
    typer.echo(f"wrote {write_html(run)}")


@app.command("visualize")
def visualize_(
    run: Run,
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="Whose kernels and filters are drawn.")] = None,
    data: Annotated[bool, typer.Option("--data", help="Load the dataset for the embedding map.")] = False,
) -> None:
    """Draw what a run's model has learned: kernels, feature maps, Grad-CAM, occlusion, embedding, exciting inputs."""
    start_keras()
    splits = load_data(load_experiment(Path(run) / CONFIG)) if data else None
    for path in visualize(run, layer=layer, data=splits):
        typer.echo(f"wrote {path}")


def main() -> None:
    """Run the command line; a mistake is explained in one line and ends with status 2."""
    try:
        app()
    except ValueError as error:
        typer.echo(f"kzoo: {' '.join(str(error).split())}", err=True)
        raise SystemExit(2) from None
