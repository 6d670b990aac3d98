"""The trained models inside the package: `python docs/train_models.py [NAME ...]` trains them again and writes them.

Each is a config of kzoo with a few settings replaced, which costs minutes on one core; its run directory is
`runs/NAME` in the working directory, where the data are expected as the configs' comments say. Weights are rounded to
float16, and what is on the model cards was measured after that.
"""

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

import kzoo
from kzoo.serving.share import Origin, Terms, metrics_of, origin_of, write_shared
from kzoo.training.experiment import load_data, load_experiment
from kzoo.training.runs import METRICS
from kzoo.zoo.shared import TRAINED


class Row(NamedTuple):
    """How one of the models is trained.

    Attributes:
        config: of kzoo.
        overrides: what is replaced in it.
        terms: what others should know.
        names: of the classes, where those of the data are numbers; () for those of the data.
    """

    config: str
    overrides: tuple[str, ...]
    terms: Terms
    names: tuple[str, ...] = ()


APACHE = "apache-2.0"
MODELS = {
    "digits": Row(
        "image/lenet5_mnist",
        ("train.epochs=5",),
        Terms(
            APACHE,
            "MNIST, Y. LeCun, C. Cortes, C. Burges; public",
            "It reads one digit a picture, light on dark and in the middle, as MNIST has them: invert a photo of ink "
            "on paper, and crop it to the digit, first.",
        ),
    ),
    "fashion_mnist": Row(
        "image/lenet5_mnist",
        (
            "data.name=fashion_mnist",
            "data.augment={flip: true, shift: 1}",
            "model.filters=[16, 32, 120]",
            "model.activation=relu",
            "train.epochs=3",
        ),
        Terms(
            APACHE,
            "Fashion-MNIST, H. Xiao, K. Rasul, R. Vollgraf; MIT",
            "It knows pictures of single articles, light on black. `image/convnet_fashion_mnist` reaches more.",
        ),
    ),
    "spoken_digits": Row(
        "audio/ds_cnn_free_spoken_digits",
        ("data.test_rule=speaker=lucas", "train.epochs=15"),
        Terms(
            "cc-by-sa-4.0",
            "Free Spoken Digit Dataset, Z. Jackson and others; CC-BY-SA-4.0",
            "It was trained on five speakers of English digits and tested on a sixth one. How well it understands a "
            "new voice varies: with each of the six left out in turn, the config it comes from reached between 69.8 "
            "and 94.2 %. It answers one of the ten digits to any sound.",
        ),
    ),
    "questions": Row(
        "text/textcnn_trec",
        ("model.embed_dim=32", "data.min_count=2"),
        Terms(
            "other",
            "TREC questions, X. Li, D. Roth, 2002; free for research",
            "English questions in the style of quiz shows; it knows the words that it has seen twice at least. The "
            "files of the data call the classes 0 to 5.",
        ),
        ("description", "entity", "abbreviation", "human", "location", "number"),
    ),
    "language_names": Row(
        "text/charcnn_small_language_names",
        (
            "model.filters=64",
            "model.dense_units=[128]",
            "model.embed_dim=32",
            "train.epochs=12",
            "train.learning_rate=2e-3",
        ),
        Terms(
            APACHE,
            "Unicode CLDR in the package Babel; Unicode licence",
            "It guesses the language of the name of a country, a language, a month or a currency, not of sentences, "
            "among the 20 that it knows.",
        ),
    ),
    "yesno": Row(
        "audio/tdnn_yesno",
        (),
        Terms(
            APACHE,
            "OpenSLR 1, a single speaker of Hebrew; Apache-2.0",
            "It was trained on 30 recordings of one speaker and tested on 30 of the same one.",
        ),
    ),
    "membranes": Row(
        "image/unet_membrane",
        ("train.epochs=25",),
        Terms(
            "other",
            "ISBI 2012 challenge, A. Cardona and others, 2010: electron microscopy of a larva of Drosophila; research",
            "It was trained on 24 images of one microscope and measured on five others of the same stack.",
        ),
    ),
}


def make(name: str) -> Path:
    """Train a model, round its weights, measure it and write its folder; return the folder."""
    row, run, target = MODELS[name], Path("runs") / name, TRAINED / name
    experiment = load_experiment(row.config, row.overrides)
    if not (run / METRICS).exists():  # a complete run is taken as it is
        kzoo.run_experiment(experiment, run)
    origin = named(measured(rounded(origin_of(run, None, None)), experiment), row.names)
    shutil.rmtree(target, ignore_errors=True)
    write_shared(target, origin, row.terms, f"kzoo/{name}", "float16")
    return target


def rounded(origin: Origin) -> Origin:
    """Round the weights of a model to float16."""
    for weight in origin.model.weights:
        if weight.dtype == "float32":
            weight.assign(np.asarray(weight).astype("float16").astype("float32"))
    return origin


def measured(origin: Origin, experiment: dict) -> Origin:
    """Return a model with the metrics that it has now."""
    report = kzoo.evaluate(origin.model, load_data(experiment), **experiment["evaluate"])
    return dataclasses.replace(origin, metrics=metrics_of(report))


def named(origin: Origin, names: tuple[str, ...]) -> Origin:
    """Return a model whose classes have other names, if there are some."""
    task = dataclasses.replace(origin.serving.task, **({"class_names": names} if names else {}))
    return dataclasses.replace(origin, serving=dataclasses.replace(origin.serving, task=task))


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        print(f"wrote {make(name)}")
