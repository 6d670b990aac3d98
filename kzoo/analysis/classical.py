"""Comparison of hand-crafted features with learned ones on a dataset: accuracy, parameters, time."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kzoo.analysis.compare import Row, as_table
from kzoo.core.arguments import checked
from kzoo.core.lazy import keras, rich_text
from kzoo.core.ranges import PositiveInt, Seed
from kzoo.core.registry import lookup
from kzoo.core.shown import Shown
from kzoo.data import load_dataset, taken_by
from kzoo.data.splits import Splits
from kzoo.tasks.task import check_exclusive
from kzoo.training import runs
from kzoo.training.evaluate import evaluate
from kzoo.training.experiment import untrained
from kzoo.training.train import fit

STEPS = 600  # approximate length of a network's training if epochs are not given
FEWEST, MOST = 5, 200  # limits of these epochs


@dataclass(frozen=True)
class Contender:
    """One method of classification: a network, its preprocessing and its training.

    Attributes:
        kind: "classical", "multi-layer perceptron", "fixed filters", "learned filters" or "learned convolution".
        model: name and hyperparameters, as the section `model` of a configuration.
        train: arguments that differ from the defaults, as the section `train` of a configuration.
        data: options of the preprocessing.
    """

    kind: str
    model: Mapping
    train: Mapping = field(default_factory=dict)
    data: Mapping = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of its run directory."""
        return f"{self.kind}_{self.model['name']}".replace(" ", "_").replace("-", "_")


def image_contenders(data: Splits) -> list[Contender]:
    """Return the methods for images; HOG cells and pooling windows are a seventh of the image."""
    window = max(2, min(data.input_shape[:2]) // 7)
    return [
        Contender("classical", {"name": "hog_svm", "cell": window}, {"solver": "svm"}),
        Contender("classical", {"name": "filter_bank", "pool": window}, {"solver": "logistic"}),
        Contender("multi-layer perceptron", {"name": "mlp"}),
        Contender("fixed filters", {"name": "fixed_filters", "pool": window}),
        Contender("learned filters", {"name": "fixed_filters", "pool": window, "learn_filters": True}),
        Contender("learned convolution", SMALL_CONVNET, {"learning_rate": 4e-3, "warmup_ratio": 0.1}),
    ]


SMALL_CONVNET = {
    "name": "convnet",
    "filters": (16, 32, 64),
    "convs_per_stage": 2,
    "padding": "same",
    "norm": "batch",
    "dialect": "pytorch",
    "flatten": False,
    "dropout": 0.1,
}


def audio_contenders(data: Splits) -> list[Contender]:
    """Return the methods for audio; sinc filters have a length of 16 ms and a hop of 1 ms."""
    rate = data.preprocess.sample_rate
    bank = {"name": "sinc_filters", "sample_rate": rate, "taps": rate // 128 * 2 + 1, "stride": max(1, rate // 1000)}
    wave = {"feature": "waveform"}
    return [
        Contender("classical", {"name": "mfcc_svm"}, {"solver": "svm"}, {"feature": "mfcc", "layout": "time"}),
        Contender("multi-layer perceptron", {"name": "mlp"}),
        Contender("fixed filters", bank, {}, wave),
        Contender("learned filters", bank | {"learn_filters": True}, {}, wave),
        Contender("learned convolution", {"name": "ds_cnn"}, {"learning_rate": 3e-3, "warmup_ratio": 0.1}),
    ]


def text_contenders(data: Splits) -> list[Contender]:
    """Return the methods for texts."""
    return [
        Contender("classical", {"name": "tfidf"}, {"solver": "logistic"}),
        Contender("multi-layer perceptron", {"name": "mlp"}),
        Contender("learned convolution", {"name": "textcnn"}),
    ]


def series_contenders(data: Splits) -> list[Contender]:
    """Return the methods for time series."""
    room = len(data.examples["train"])
    return [
        Contender("classical", {"name": "nearest_neighbour", "room": room}, {}),
        Contender("multi-layer perceptron", {"name": "mlp"}),
        Contender("fixed filters", {"name": "minirocket"}, {"solver": "ridge"}),
        Contender("learned convolution", {"name": "fcn"}),
    ]


CONTENDERS: dict[str, Callable[[Splits], list[Contender]]] = {
    "image": image_contenders,
    "audio": audio_contenders,
    "text": text_contenders,
    "timeseries": series_contenders,
}
OPTIONS = {"timeseries": {"validation": 0, "batch_size": 16}}  # as is usual for the small datasets of the UCR archive
NOTES = {"text": ("texts have no hand-crafted filters, so none are compared",)}


@dataclass(frozen=True, repr=False)
class ClassicalComparison(Shown):
    """Results of hand-crafted and learned features on one dataset; a table for rich and notebooks.

    Attributes:
        dataset: name of the dataset.
        examples: number of training examples.
        rows: one for each method: kind, model, test accuracy in [0, 1] and its 95 % interval, number of trainable and
            of fixed parameters, seconds of training.
        notes: remarks on the table.
    """

    dataset: str
    examples: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict:
        """Return all rows and notes, ready for JSON."""
        return dataclasses.asdict(self)

    def __rich_console__(self, console, options):
        yield rich_text.Text(f"{self.dataset}, {self.examples:,} training examples")
        yield as_table(self.rows, "accuracy")
        for note in self.notes:
            yield rich_text.Text(note)


@checked
def compare_classical(
    dataset: str,
    *,
    epochs: PositiveInt | None = None,
    seed: Seed = 0,
    out: str | Path | None = None,
    verbose: bool = True,
    **options,
) -> ClassicalComparison:
    """Train and evaluate classical methods, a perceptron, fixed filters and a convolutional network on one dataset.

    Images: HOG + SVM, a filter bank + logistic regression, a network on fixed filters, the same with learned filters,
    and a small convolutional network. Audio: MFCC statistics + SVM, band-pass filters and a DS-CNN. Texts: TF-IDF +
    logistic regression and a TextCNN. Time series: nearest neighbour, MiniRocket and an FCN. All get a perceptron too.
    None is tuned to the dataset.

    Args:
        dataset: as for `kzoo.load_dataset`.
        epochs: of the methods that are trained by gradient descent; about 600 steps (5 to 200 epochs) if not given.
        seed: of initial weights and shuffling.
        out: directory for a run directory of each method; nothing is written without one.
        verbose: print which method is being trained.
        **options: of `kzoo.load_dataset`, such as `limit=1000` or `data_dir`. Time series have a batch size of 16 and
            no validation split by default.

    Raises:
        ValueError: as `kzoo.load_dataset`, for a kind of data without classical methods, a task without one class an
            example, or an invalid number of epochs.
    """
    data = load_dataset(dataset, seed=seed, **options)
    check_exclusive(data.task, "a comparison with classical methods")
    contenders = lookup("kind of data to compare on", data.modality, CONTENDERS)
    if missing := {k: v for k, v in OPTIONS.get(data.modality, {}).items() if k not in options}:
        options |= missing
        data = load_dataset(dataset, seed=seed, **options)
    rows = []
    for contender in contenders(data):
        if verbose:
            print(f"training {contender.model['name']} ({contender.kind})")
        train = {"epochs": epochs or epochs_of(data)} | contender.train
        prepared = {"name": dataset} | options | contender.data
        experiment = {"seed": seed, "data": prepared, "model": dict(contender.model), "train": train, "evaluate": {}}
        folder = None if out is None else Path(out) / contender.name
        rows.append({"kind": contender.kind} | measured(experiment, prepared_as(data, prepared), folder))
        keras.backend.clear_session()
    return ClassicalComparison(dataset, len(data.examples["train"]), tuple(rows), NOTES.get(data.modality, ()))


def epochs_of(data: Splits) -> int:
    """Return the number of epochs that takes about `STEPS` steps."""
    return min(MOST, max(FEWEST, math.ceil(STEPS / data.steps_per_epoch)))


def prepared_as(data: Splits, options: Mapping) -> Splits:
    """Return the same examples with other options of the preprocessing."""
    refit = type(data.preprocess).fit
    return dataclasses.replace(data, preprocess=refit(data.examples["train"], **taken_by(refit, options)))


def measured(experiment: Mapping, data: Splits, folder: Path | None) -> Row:
    """Train and evaluate one method; write a run directory if one is given."""
    model = untrained(experiment, data)
    with runs.opened(folder, restart=True) if folder else contextlib.nullcontext() as run:
        if run:
            runs.write_config(run, dict(experiment))
        began = time.perf_counter()
        fit(model, data, **experiment["train"], run_dir=folder, verbose=False)
        seconds = time.perf_counter() - began
        report = evaluate(model, data, run_dir=folder)
    return {
        "model": experiment["model"]["name"],
        "test accuracy": report.accuracy,
        "95 % interval": report.accuracy_interval,
        "trained parameters": count(model.trainable_weights),
        "fixed parameters": count(model.non_trainable_weights),
        "seconds": seconds,
    }


def count(weights: Sequence) -> int:
    """Return the number of parameters in weights."""
    return sum(math.prod(weight.shape) for weight in weights)
