"""The command line, `kzoo COMMAND`.

What can be checked without Keras is checked before Keras is imported, which takes seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported anywhere

from kzoo.analysis.benchmark import benchmark
from kzoo.analysis.classical import compare_classical
from kzoo.analysis.compare import compare
from kzoo.analysis.diagram import draw_architecture
from kzoo.analysis.shift import shift_runs
from kzoo.analysis.tune import prepare as prepare_search
from kzoo.analysis.tune import tune
from kzoo.analysis.visualize import visualize
from kzoo.core.lazy import keras, lazy_import, rich_console, rich_table
from kzoo.core.numbers import short
from kzoo.core.pictures import picture_format
from kzoo.core.registry import lookup
from kzoo.core.shown import literal
from kzoo.core.version import __version__
from kzoo.data import DatasetCard, dataset_card, list_datasets
from kzoo.data.cache import cache_entries, cache_folder, cache_limit, clear_cache, gigabytes
from kzoo.data.splits import MODALITIES
from kzoo.nn.precision import PRECISIONS
from kzoo.serving.export import NAMES_OF_FORMATS, check_target, export
from kzoo.serving.inputs import windows_for
from kzoo.serving.listen import check_sound, check_spotting, listen
from kzoo.serving.measure import evaluate_on
from kzoo.serving.quantize import MODES, check_mode
from kzoo.serving.serve import (
    Prediction,
    failures,
    find_description,
    load_description,
    load_predictor,
    summary_of_errors,
    write_pictures,
)
from kzoo.serving.share import check_pushable, push
from kzoo.serving.step_export import check_step_format
from kzoo.tasks.task import check_pictures, metric_text
from kzoo.training.evaluate import Report
from kzoo.training.experiment import (
    apply_override,
    check_config,
    evaluate_run,
    experiment_of,
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
from kzoo.training.runs import CONFIG, PAGE, find_run, load_run
from kzoo.zoo import published, shared
from kzoo.zoo.factory import ORDERS, create_model, list_models, model_card
from kzoo.zoo.profile import profile
from kzoo.zoo.weights.convert import convert

distributed = lazy_import("kzoo.training.distributed")

app = typer.Typer(
    help="A zoo of convolutional networks for Keras 3: list them, train one, look at the result, ship it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
WIDTH = 200  # characters of a line, where the output is a file or a pipe
NAMES = {"keras": "serving.keras", "onnx": "model.onnx", "litert": "model.tflite"}  # of exports in a run directory
EVALUATED = ("validation", "test")

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run directory, as `kzoo train` writes it.")]
Trained = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run directory, or a shared model: its folder, kzoo/NAME or hf://user/name."),
]
Config = Annotated[str, typer.Argument(metavar="CONFIG", help="A name listed by `kzoo datasets`, or a YAML file.")]
RunOrExport = Annotated[
    str,
    typer.Argument(
        metavar="RUN_OR_EXPORT",
        help="A run directory, an export, or a shared model: its folder, kzoo/NAME or hf://user/name.",
    ),
]
Options = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Options of the dataset, e.g. limit=1000.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="SECTION.KEY=VALUE", help="Replace settings, e.g. train.epochs=5 seed=1."),
]
Network = Annotated[str, typer.Argument(metavar="NETWORK", help="A name listed by `kzoo list`, e.g. resnet50.")]
Json = Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")]
Picture = Annotated[Path, typer.Option(metavar="FILE", help="Picture to write: .png, .svg or .pdf.")]
InputShape = Annotated[
    str | None,
    typer.Option("--input", metavar="SIZE,...,CHANNELS", help="Input shape, e.g. 224,224,3; default: as published."),
]
Classes = Annotated[int | None, typer.Option(help="Number of classes; default: as published.")]


def start_keras() -> None:
    """Import Keras and use its device once, without the log lines of TensorFlow that no setting turns off."""
    say("starting Keras")
    standard_error = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        keras.ops.zeros(())
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def say(step: str) -> None:
    """Print what a long command is doing, if someone watches it in a terminal."""
    if sys.stderr.isatty():
        typer.echo(f"{step} ...", err=True)


def wide_console() -> rich_console.Console:
    """Return a console as wide as the terminal; wide enough for every cell where the output is a file or a pipe."""
    return rich_console.Console(width=None if sys.stdout.isatty() else WIDTH)


def show_table(*columns: str, rows: Iterable[Sequence], whole: Sequence[str] = ()) -> None:
    """Print a table whose first column, and those named in `whole`, are never shortened."""
    table = rich_table.Table(*columns, box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    for name, column in zip(columns, table.columns, strict=True):
        column.no_wrap = name in (columns[0], *whole)
    for row in rows:
        table.add_row(*literal(row))
    wide_console().print(table)


def show_result(found, as_json: bool, *notes: str) -> None:
    """Print a result as JSON, or as its table and what else there is to say."""
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
        return
    wide_console().print(found)
    for note in notes:
        typer.echo(f"\n{note}")


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
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Shell wildcards, e.g. '*resnet*'.")] = "*",
    family: Annotated[str | None, typer.Option(help="Only one family, e.g. vgg.")] = None,
    task: Annotated[str | None, typer.Option(help="Only networks that make sense for one task, e.g. tagging.")] = None,
    dim: Annotated[int | None, typer.Option(help="Only networks for 1 or 2 spatial axes.")] = None,
    modality: Annotated[
        str | None, typer.Option(help=f"Only networks published for one of: {', '.join(MODALITIES)}.")
    ] = None,
    max_params: Annotated[str | None, typer.Option(metavar="COUNT", help="Most parameters, e.g. 5M.")] = None,
    max_macs: Annotated[str | None, typer.Option(metavar="COUNT", help="Most MACs, e.g. 300M.")] = None,
    sort: Annotated[str, typer.Option(help=f"By one of: {', '.join(ORDERS)}.")] = "name",
    weights: Annotated[bool, typer.Option("--weights", help="List the pretrained weights of the networks.")] = False,
) -> None:
    """List the networks with the task, the size and the input shape of their publication, and the paper.

    Top-1 is the highest accuracy on ImageNet that is published with pretrained weights, in percent.
    """
    most = {"max_params": parse_count(max_params), "max_macs": parse_count(max_macs)}
    names = list_models(pattern, family=family, task=task, dim=dim, modality=modality, **most, sort=sort)
    if not names:
        raise ValueError(f"no network matches {pattern!r} and the options; `kzoo list` shows all")
    if weights:
        return show_weights(names)
    columns = ("name", "task", "parameters", "MACs", "top-1", "input", "paper")
    show_table(*columns, rows=map(model_row, names), whole=("parameters", "MACs"))


def show_weights(names: Iterable[str]) -> None:
    """Print the pretrained weights of networks."""
    rows = [row.cells() for name in names for row in published.weights_of(name)]
    if not rows:
        raise ValueError("there are no pretrained weights of these networks; `kzoo list --weights` shows all")
    show_table("network", "weights", "data", "top-1", "resolution", "licence", "size", rows=rows)


def model_row(name: str) -> tuple:
    """Return a network's line in the list."""
    card, top1, macs = model_card(name), published.best_top1().get(name), published.macs().get(name)
    shape = "x".join(map(str, card.reference.input_shape))
    counts = (f"{card.params:,}", "" if macs is None else short(macs), "" if top1 is None else f"{top1:.1f}")
    return name, card.task, *counts, shape, card.paper.citation


UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def parse_count(text: str | None) -> int | None:
    """Return the number in e.g. "5M", "300k" or "1000".

    Raises:
        ValueError: for anything else, or less than 1.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d*)?)([kmg]?)", text.strip().lower())
    if not found or float(found[1]) * UNITS[found[2]] < 1:
        raise ValueError(f"expected a count such as 5M, 300k or 1000, got {text!r}")
    return int(float(found[1]) * UNITS[found[2]])


@app.command()
def show(
    name: Network,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw its stages and blocks; must end in .svg.")
    ] = None,
) -> None:
    """Show one network: hyperparameters with their meaning, published setting, paper."""
    card = model_card(name)
    if picture is not None:
        check_svg(picture)
        start_keras()
        typer.echo(f"wrote {draw_architecture(name, picture)}", err=True)
    wide_console().print(card)
    typer.echo(f"\n{card.paper.bibtex()}")


@app.command()
def datasets() -> None:
    """List the datasets by modality, and the experiments that `kzoo train` can run."""
    cards = {name: dataset_card(f"{name}..." if name.endswith(":") else name) for name in list_datasets()}
    for modality in sorted({card.modality for card in cards.values()}):
        typer.secho(modality, bold=True)
        show_rows((name, dataset_line(card)) for name, card in cards.items() if card.modality == modality)
    typer.secho("experiments for `kzoo train`", bold=True)
    for name in list_configs():
        typer.echo(f"  {name}")
        show_rows([("   ", config_title(name))])


def dataset_line(card: DatasetCard) -> str:
    """Return the description and the source of a dataset, and its task if that is not classification."""
    task = "" if card.task == "classification" else f"Task: {card.task}. "
    return f"{card.description} {task}Source: {card.source}"


def show_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and descriptions in two columns, with a margin."""
    table = rich_table.Table.grid(padding=(0, 2))
    for name, description in rows:
        table.add_row(*literal((f"  {name}", description)))
    wide_console().print(table, highlight=False)


def config_title(name: str) -> str:
    """Return the first sentence of the comment that an experiment begins with."""
    comment = re.match(r"(#.*\n)*", find_config(name).read_text()).group()
    text = " ".join(line.lstrip("# ") for line in comment.splitlines())
    return re.match(r".*?(\.(?=\s)|$)", text).group()


@app.command("cache")
def cache_(
    clear: Annotated[
        bool, typer.Option("--clear", help="Delete all of it; it is made again when it is needed.")
    ] = False,
) -> None:
    """Show the decoded datasets that `cache: disk` keeps, or delete them."""
    if clear:
        typer.echo(f"deleted {gigabytes(clear_cache())} in {cache_folder()}")
        return
    entries = cache_entries()
    show_table("what", "examples", "size", rows=[(e.what, f"{e.examples:,}", gigabytes(e.nbytes)) for e in entries])
    total, limit = gigabytes(sum(entry.nbytes for entry in entries)), gigabytes(cache_limit())
    typer.echo(f"\n{total} of at most {limit} in {cache_folder()}; kzoo cache --clear deletes it")


@app.command()
def train(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Run directory to write; default: runs/NAME.")] = None,
    each: Annotated[
        str | None,
        typer.Option(metavar="SECTION.KEY=[VALUE,...]", help="One run for each value, e.g. 'seed=[0, 1, 2]'."),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start over: delete the run in that directory.")] = False,
    hosts: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Of several processes (JAX): address of the first.")
    ] = None,
    num_processes: Annotated[int | None, typer.Option(help="Number of processes that train together.")] = None,
    process_id: Annotated[int | None, typer.Option(help="Index of this process, from 0.")] = None,
) -> None:
    """Train an experiment, evaluate it on the test split, write a run directory.

    The same command again resumes an interrupted run.
    """
    experiment = load_experiment(config, overrides or ())
    run = out or Path("runs") / Path(config).stem
    if not restart and each is None:
        check_config(run.expanduser(), experiment)
    with process_group(hosts, num_processes, process_id):
        start_keras()
        try:
            if each is not None:
                return show_summary(run_each(config, overrides or (), each, run, restart=restart), run)
            found = run_experiment(experiment, run, restart=restart)
        except (KeyboardInterrupt, SystemExit) as stop:
            typer.echo(f"interrupted; the state is saved in {run}, and the same command resumes", err=True)
            raise typer.Exit(getattr(stop, "code", 130)) from None
        if not distributed.is_first():
            return None
        rich_console.Console().print(found)
        typer.echo(f"\nwrote {run}: pictures, numbers and model.keras; look at {run / PAGE}. Next: kzoo export {run}")


def process_group(*settings: str | int | None):
    """Return the context of several processes, if the command or the environment asks for it."""
    asked = any(value is not None for value in settings) or any(k.startswith("KERAS_DISTRIBUTION_") for k in os.environ)
    return distributed.process_group(*settings) if asked else contextlib.nullcontext()


def show_summary(reports: dict[str, Report], folder: Path) -> None:
    """Print the score and the other numbers of each of several runs, the score's mean and standard deviation."""
    score = next(iter(reports.values())).task.score
    measured = {
        name: {score.words: metric_text(score.name, report.main)} | report.others() for name, report in reports.items()
    }
    columns = [key for key, value in next(iter(measured.values())).items() if value]
    show_table("run", *columns, rows=[(name, *(row[key] for key in columns)) for name, row in measured.items()])
    numbers = summary(reports)
    mean, spread = (metric_text(score.name, numbers[key]) for key in ("mean", "standard_deviation"))
    typer.echo(f"\nmean {score.words} {mean}, standard deviation {spread}, {len(reports)} runs; wrote {folder}")


@app.command()
def evaluate(
    run: RunOrExport,
    options: Options = None,
    split: Annotated[str | None, typer.Option(help="One of: validation, test; default: test.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATASET", help="Other data, e.g. folder:PATH: all examples of all splits.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Evaluate a run's best model again, or a run or an export on other data, with its own preprocessing.

    Shows numbers and metrics of each class; of the run's own data also pictures, in the run directory.
    """
    if data is not None:
        return evaluate_other(run, data, split, options, as_json)
    if options:
        raise ValueError(f"{options[0]!r} is an option of other data, which --data names")
    find_trained(run)
    check_split(split or "test", *EVALUATED)
    start_keras()
    say(f"evaluating on the {split or 'test'} split")
    show_result(evaluate_run(run, split or "test"), as_json)


def evaluate_other(path: str, data: str, split: str | None, options: Sequence[str] | None, as_json: bool) -> None:
    """Evaluate a run or an export on other data."""
    if split is not None:
        raise ValueError("--data takes all examples; --split is for the run's own data")
    find_description(path)
    given = parse_options(options)
    dataset_card(data, **given)
    start_keras()
    say(f"evaluating on {data}")
    show_result(evaluate_on(path, data, **given), as_json)


def find_trained(path: str) -> Path:
    """Return the folder of a run or of a shared model.

    Raises:
        ValueError: if it is neither.
    """
    folder = shared.find(path)
    return folder if shared.is_shared(folder) else find_run(folder)


def parse_options(options: Sequence[str] | None) -> dict:
    """Return the options of a dataset that are given as KEY=VALUE."""
    given: dict = {}
    for option in options or ():
        apply_override(given, option)
    return given


@app.command("export")
def export_(
    run: Trained,
    format: Annotated[str, typer.Option(help=f"One of: {', '.join(NAMES_OF_FORMATS)}.")] = "saved_model",
    quantize: Annotated[
        str | None,
        typer.Option(help=f"Fewer bits: {', '.join(MODES['litert'])}; calibrated and measured on the run's data."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File or directory to write; default: in the run directory.")] = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="The step of a stream of sound, with its state as inputs and outputs.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Export a run's best model for serving, and verify it in a new process."""
    folder = find_trained(run)
    if out is None and shared.is_shared(folder):
        raise ValueError(f"{run} is a shared model, in whose folder nothing is written; say where to, --out PATH")
    name = f"{'stream_' * streaming}{NAMES.get(format, format)}"
    target = (out or folder / name).expanduser()
    check_target(target, format, overwrite)
    if streaming:
        check_step_format(format)
    check_mode(format, quantize)
    start_keras()
    model, serving = load_run(run)
    data = serving if quantize is None and format != "c" else load_data(experiment_of(folder))
    say(f"writing {target}, then verifying it in a new process")
    options = {"format": format, "quantize": quantize, "streaming": streaming, "overwrite": overwrite}
    typer.echo(export(model, target, data=data, **options))


@app.command()
def predict(
    model: RunOrExport,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Files to predict for; a folder stands for the files in it.")
    ],
    window: Annotated[
        float | None,
        typer.Option(help="Length of a window, in seconds or steps of a series; default: what the network takes."),
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="From one window to the next, likewise; default: the length of a window.")
    ] = None,
    text_column: Annotated[str, typer.Option(metavar="NAME", help="Column of a table that holds the texts.")] = "text",
    as_json: Json = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the class of each pixel as a coloured PNG, and a legend."),
    ] = None,
) -> None:
    """Predict the classes, the tags or the numbers of files, whatever the model was trained for.

    Recordings and series longer than a window have a row for each window, and one for their mean. Of a .csv or .tsv
    file of texts each row has its own. A file that cannot be read does not stop the others; the exit status is 2.
    """
    preprocess, task = load_description(model)
    windows_for(preprocess, window, hop)
    if out is not None:
        check_pictures(task)
    predictions = failures(preprocess, task, files, text_column)
    if predictions is None:
        start_keras()
        predictor = load_predictor(model)
        predictions = predictor.predict_files(files, window=window, hop=hop, text_column=text_column)
    show_predictions(predictions, as_json)
    if out is not None:
        count = write_pictures(predictions, task, out)
        typer.echo(f"wrote {count} {'picture' if count == 1 else 'pictures'} into {out}", err=True)
    if any(prediction.error for prediction in predictions):
        raise ValueError(summary_of_errors(predictions))


@app.command("listen")
def listen_(
    run: Run,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="An audio file of any length; without one, the microphone.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="What the averaged probability of a class must reach.")] = 0.8,
    smoothing: Annotated[float, typer.Option(help="Seconds over which probabilities are averaged.")] = 0.3,
    refractory: Annotated[float, typer.Option(help="Seconds after a detection without another one.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print each detection as a line of JSON.")] = False,
) -> None:
    """Listen for the classes of a causal network in a recording or the microphone; print what is heard, and when.

    Each detection is printed as soon as it is made: seconds from the beginning, class, averaged probability. A class is
    reported again when its averaged probability has fallen below the threshold in between.
    """
    find_run(run)
    check_spotting(*load_description(run))
    if file is not None:
        check_sound(file)
    start_keras()
    say("listening")
    for found in listen(run, file, threshold=threshold, smoothing=smoothing, refractory=refractory):
        line = f"{found.time:9.2f}  {found.label}  {found.probability:.3f}"
        typer.echo(json.dumps(found.to_dict()) if as_json else line)


def show_predictions(predictions: Sequence[Prediction], as_json: bool) -> None:
    """Print predictions and those of their windows as JSON, or as a table unless the only file could not be read."""
    if as_json:
        typer.echo(json.dumps([prediction.to_dict() for prediction in predictions], indent=1))
        return
    rows = [row for prediction in predictions for row in prediction_rows(prediction)]
    if len(rows) > 1 or not predictions[0].error:
        columns = [name for name in rows[0] if name not in OPTIONAL or any(row[name] for row in rows)]
        show_table(*columns, rows=[[row[name] for name in columns] for row in rows])


OPTIONAL = ("start", "end", "error")  # columns of predictions that are left out if they are empty


def prediction_rows(found: Prediction) -> Iterable[dict[str, str]]:
    """Return the row of a file or of a line of a table, and those of its windows."""
    name = found.file if found.line is None else f"{found.file}, line {found.line}"
    rows = found.rows()
    for row in rows:
        yield {"file": name, "start": "", "end": "", **row, "error": found.error or ""}
    for window in () if "start" in rows[0] else found.windows:  # rows with times are of all windows together
        times = {key: f"{round(time, 3):.10g}" for key, time in (("start", window.start), ("end", window.end))}
        yield from ({"file": name, **times, **row, "error": ""} for row in window.rows())


@app.command("push")
def push_(
    run: Trained,
    name: Annotated[str, typer.Argument(metavar="hf://USER/NAME", help="The repository; made if it is not there.")],
    license: Annotated[str | None, typer.Option(metavar="NAME", help="Of the weights, e.g. apache-2.0.")] = None,
    data_license: Annotated[str | None, typer.Option(metavar="TEXT", help="Of the data, in words.")] = None,
    limitations: Annotated[str | None, typer.Option(metavar="TEXT", help="For the model card, in words.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Only the owner sees a new repository.")] = False,
) -> None:
    """Upload a trained model and its model card to the Hugging Face Hub; `kzoo predict hf://USER/NAME` then asks it."""
    check_pushable(name)
    find_trained(run)
    start_keras()
    say(f"uploading {run}")
    terms = {"license": license, "data_license": data_license, "limitations": limitations}
    typer.echo(f"wrote {push(run, name, private=private, **terms)}")


@app.command("convert")
def convert_(
    checkpoint: Annotated[Path, typer.Argument(metavar="FILE.pth", help="A checkpoint of PyTorch.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="File to write.")],
) -> None:
    """Convert a PyTorch checkpoint to safetensors; code in it is refused. Needs PyTorch."""
    typer.echo(convert(checkpoint, out))


@app.command()
def find(
    config: Config,
    overrides: Overrides = None,
    out: Picture = Path("learning_rate.png"),
) -> None:
    """Search for a learning rate and a batch size for an experiment, by short trainings of about a minute."""
    experiment = load_experiment(config, overrides or ())
    picture_format(out)
    start_keras()
    model, data = prepared(experiment)
    optimizer = experiment["train"].get("optimizer", "adamw")
    say("searching for a learning rate")
    rate = find_learning_rate(model, data, optimizer=optimizer)
    rate.draw(out)
    typer.echo(f"{rate}; wrote {out}\n")
    say("searching for a batch size")
    wide_console().print(find_batch_size(model, data, optimizer=optimizer))


@app.command("tune")
def tune_(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Directory of the search; default: runs/NAME_tune.")] = None,
    trials: Annotated[int, typer.Option(help="Number of trials, of all processes together.")] = 20,
) -> None:
    """Search for the values of the fields that the config's section `tune` names, by the score on validation.

    The same command again resumes the search, in another terminal at the same time it takes part in it.
    """
    prepare_search(config, overrides or ())
    if trials < 1:
        raise ValueError(f"trials must be a positive integer, got {trials}")
    folder = out or Path("runs") / f"{Path(config).stem}_tune"
    start_keras()
    found = tune(config, overrides or (), out=folder, trials=trials)
    show_result(found, False, f"wrote {folder}; the best values: {found.command}")


@app.command("compare")
def compare_(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Two or more run directories.")],
    out: Picture = Path("compare.png"),
    as_json: Json = False,
) -> None:
    """Compare runs: results and differing settings in one table, curves in one picture."""
    check_runs(runs, out)
    start_keras()
    comparison = compare(runs)
    show_result(comparison, as_json, f"wrote {comparison.draw(out)}")


@app.command("shift")
def shift_(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="One or more run directories.")],
    split: Annotated[str, typer.Option(help="One of: train, validation, test.")] = "test",
    max_shift: Annotated[int, typer.Option(help="Largest shift, in pixels, samples, frames, steps or tokens.")] = 3,
    examples: Annotated[int, typer.Option(help="Largest number of examples to measure.")] = 1000,
    out: Picture = Path("shift.png"),
    as_json: Json = False,
) -> None:
    """Measure the consistency of predictions under shift, and under small rotation, scaling and noise."""
    check_runs(runs, out)
    check_split(split, "train", *EVALUATED)
    start_keras()
    found = shift_runs(runs, split=split, max_shift=max_shift, examples=examples)
    show_result(found, as_json, f"wrote {found.draw(out)}")


@app.command("compare-classical")
def compare_classical_(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A name listed by `kzoo datasets`, e.g. digits.")],
    options: Options = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of networks; default: about 600 steps.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed of initial weights and order.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Directory for a run directory of each method.")] = None,
    as_json: Json = False,
) -> None:
    """Compare classical methods, a perceptron, fixed filters and learned convolutions on a dataset."""
    given = parse_options(options)
    dataset_card(dataset, **given)
    start_keras()
    found = compare_classical(dataset, epochs=epochs, seed=seed, out=out, verbose=not as_json, **given)
    show_result(found, as_json)


@app.command("benchmark")
def benchmark_(
    name: Network,
    input_shape: InputShape = None,
    classes: Classes = None,
    batch_size: Annotated[int, typer.Option(help="Batch size of training and inference.")] = 32,
    seconds: Annotated[float, typer.Option(help="About how long each of three measurements takes.")] = 5.0,
    precision: Annotated[str, typer.Option(help=f"One of: {', '.join(PRECISIONS)}.")] = "float32",
    as_json: Json = False,
) -> None:
    """Measure a network on this machine: throughput, latency, memory, fraction of the machine's peak."""
    model_card(name)
    lookup("precision", precision, PRECISIONS)
    shape = parse_shape(input_shape)
    start_keras()
    options = {"num_classes": classes, "batch_size": batch_size, "seconds": seconds, "precision": precision}
    show_result(benchmark(name, shape, **options, verbose=True), as_json)


@app.command("profile")
def profile_(
    name: Network,
    input_shape: InputShape = None,
    classes: Classes = None,
    as_json: Json = False,
    table: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the layers as CSV.")] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw bars along the depth: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Show each layer of a network: parameters, MACs, activations, receptive field."""
    if as_json and table is not None:
        raise ValueError("--json prints the numbers and --csv writes them; choose one of them")
    if picture is not None:
        picture_format(picture)
    reference = model_card(name).reference
    shape = parse_shape(input_shape) or reference.input_shape
    start_keras()
    found = profile(create_model(name, shape, reference.num_classes if classes is None else classes))
    if table is not None:
        typer.echo(f"wrote {found.write_csv(table)}", err=True)
    if picture is not None:
        typer.echo(f"wrote {found.draw(picture)}", err=True)
    if table is None:
        show_result(found, as_json)


@app.command()
def report(run: Run) -> None:
    """Write a run's report.html again: results, curves, confusion matrix, mistakes, settings, environment."""
    typer.echo(f"wrote {write_html(run)}")


@app.command("visualize")
def visualize_(
    run: Run,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Layer whose kernels and filters are drawn.")
    ] = None,
    data: Annotated[
        bool, typer.Option("--data", help="Load the dataset, for validation examples with their targets.")
    ] = False,
) -> None:
    """Draw kernels, feature maps, Grad-CAM, occlusion, embedding map and top-activating examples of a run's model."""
    path = find_run(run) / CONFIG
    experiment = load_experiment(path) if data else None
    start_keras()
    splits = load_data(experiment) if data else None
    say("drawing")
    for path in visualize(run, layer=layer, data=splits):
        typer.echo(f"wrote {path}")


def check_runs(paths: Sequence[str], picture: Path) -> None:
    """Raise a ValueError for a directory without a run, or a picture of an unknown format."""
    for path in paths:
        find_run(path)
    picture_format(picture)


def check_split(split: str, *known: str) -> None:
    """Raise a ValueError for an unknown split."""
    lookup("split", split, dict.fromkeys(known))


def check_svg(picture: Path) -> None:
    """Raise a ValueError for a drawing of an architecture that is no SVG."""
    if picture.suffix != ".svg":
        raise ValueError(f"the picture of an architecture is an SVG, got {picture.name}; choose a name ending in .svg")


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """Return the sizes in e.g. "224,224,3".

    Raises:
        ValueError: if they are not integers.
    """
    if text is None:
        return None
    if not all(size.strip().isdecimal() for size in text.split(",")):
        raise ValueError(f"expected integers with commas between them, such as 224,224,3, got {text!r}")
    return tuple(map(int, text.split(",")))


def main() -> None:
    """Run the command line; a mistake, and an error of the operating system, is one line and ends with status 2."""
    try:
        app()
    except (ValueError, OSError) as error:  # an OSError: a full disk, a file without permission
        typer.echo(f"kzoo: {' '.join(str(error).split())}", err=True)
        raise SystemExit(2) from None
