"""Fit any Keras model of the zoo on any of its datasets: compile, train, keep the best, leave a run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from kzoo import runs
from kzoo.data.serving import Serving
from kzoo.data.splits import Splits
from kzoo.files import write_json
from kzoo.lazy import lazy_import
from kzoo.registry import lookup
from kzoo.tasks import TASKS
from kzoo.yaml import write_yaml

keras = lazy_import("keras")
np = lazy_import("numpy")
own_callbacks = lazy_import("kzoo.callbacks")
ridge = lazy_import("kzoo.ridge")

OPTIMIZERS = {
    "adamw": lambda **arguments: keras.optimizers.AdamW(**arguments),
    "adam": lambda **arguments: keras.optimizers.Adam(**arguments),
    "sgd": lambda **arguments: keras.optimizers.SGD(momentum=0.9, nesterov=True, **arguments),
    "ridge": lambda **arguments: keras.optimizers.SGD(**arguments),  # takes no step
}
SCHEDULES = {"cosine": 0.0, "constant": 1.0}  # the share of the learning rate that is left at the end
RECIPE = ("epochs", "optimizer", "learning_rate", "schedule", "warmup", "weight_decay", "label_smoothing")


def fit(
    model: keras.Model,
    splits: Splits,
    *,
    epochs: int = 20,
    optimizer: str = "adamw",
    learning_rate: float = 1e-3,
    schedule: str = "cosine",
    warmup: float = 0.0,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    early_stopping: int | None = None,
    run_dir: str | Path | None = None,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: bool = True,
) -> dict[str, list[float]]:
    """Train in place and leave the model with the weights of its best epoch; return the metrics per epoch.

    The best epoch is the one of highest validation accuracy, of lowest validation loss among equals. A run
    folder gets `config.yaml`, `model.keras` (best), `history.csv`, `curves.png`, `environment.json`, TensorBoard
    logs, and `data.json` with `examples.npz`, which `kzoo export` and `kzoo predict` need. Ctrl-C writes all of
    it, then raises KeyboardInterrupt.

    Args:
        model: a classifier that returns logits.
        splits: batches to train on and to validate with after each epoch.
        epochs: passes over the train split.
        optimizer: "adamw", "adam" or "sgd" (Nesterov momentum 0.9); or "ridge", which leaves all layers but the last
            as they are and solves that in one pass (see `kzoo.ridge`): the arguments of the steps have no part in it.
        learning_rate: the peak, reached at the end of the warm-up.
        schedule: "cosine" (to zero) or "constant".
        warmup: fraction of all steps with a linearly rising learning rate, in [0, 1).
        weight_decay: decoupled decay, per step and scaled by the learning rate; biases and the parameters of
            normalisations (all variables of one axis) are left alone.
        label_smoothing: share of the target spread evenly over all classes, in [0, 1).
        early_stopping: epochs without a better one after which training ends; None to do all.
        run_dir: folder for the results; nothing is written without one.
        overwrite: replace the results of an earlier run in `run_dir`.
        callbacks: passed to Keras.
        verbose: a progress bar with the time left, and a line per epoch.

    Raises:
        ValueError: for a value out of its range, a model that does not fit the data, or a run folder that is
            in use or cannot be written; also (`kzoo.callbacks.TrainingDiverged`) when the loss is no longer a
            number: the model keeps the last good weights.
    """
    arguments = locals()
    check_arguments(arguments)
    check_model(model, splits)
    steps = epochs * splits.steps_per_epoch
    rate = learning_rate_schedule(schedule, learning_rate, steps, int(warmup * steps))
    compile_model(model, build_optimizer(optimizer, rate, weight_decay, model), splits.task, label_smoothing)
    run = None
    if run_dir is not None:
        run = start_run(run_dir, overwrite, splits, model.name, {name: arguments[name] for name in RECIPE})
    keeper = own_callbacks.KeepBest(run, early_stopping)
    adapt(model, splits)
    if optimizer == "ridge":
        return solve(model, splits, keeper)
    shown = [own_callbacks.ProgressBar(epochs, splits.steps_per_epoch)] if verbose else []
    logs = [keras.callbacks.TensorBoard(run / runs.TENSORBOARD, write_graph=False)] if run else []
    try:
        model.fit(
            splits.stream(),
            steps_per_epoch=splits.steps_per_epoch,
            epochs=epochs,
            validation_data=splits.validation,
            callbacks=[keeper, *shown, *logs, *callbacks],
            shuffle=False,
            verbose=0,
        )
    finally:
        for bar in shown:
            bar.stop()
        keeper.finish()
    return keeper.history


def whole(batches) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs and the labels of all batches, each as one array."""
    return tuple(np.concatenate(part) for part in zip(*batches.as_numpy_iterator(), strict=True))


def adapt(model: keras.Model, splits: Splits) -> None:
    """Show the training inputs to the layers of the zoo that take values from them without a gradient."""
    for layer in model.layers:
        if type(layer).__module__ == "kzoo.untrained":
            inputs, _ = whole(splits.in_order("train"))
            layer.adapt(keras.Model(model.input, layer.input).predict(inputs, verbose=0), splits.seed)


def solve(model: keras.Model, splits: Splits, keeper: own_callbacks.KeepBest) -> dict[str, list[float]]:
    """Solve the last layer in closed form; return the metrics of this one epoch."""
    ridge.solve_head(model, *whole(splits.in_order("train")))
    measured = {
        prefix + name: value
        for prefix, split in (("", "train"), ("val_", "validation"))
        for name, value in model.evaluate(splits.in_order(split), return_dict=True, verbose=0).items()
    }
    keeper.set_model(model)
    keeper.on_epoch_end(0, measured)
    keeper.finish()
    return keeper.history


def freeze(model: keras.Model, until: str) -> list[str]:
    """Keep the weights of a network's beginning as they are while the rest is trained.

    Frozen normalisations use their statistics and leave them alone: with those of each batch the frozen part would
    give other features in training than in use (keras-team/keras#9214).

    Args:
        model: a network of the zoo.
        until: name of the last stage to freeze, e.g. "stage3".

    Returns:
        The names of the frozen layers that have weights.

    Raises:
        ValueError: for an unknown stage.
    """
    stages = {layer.name: layer for layer in model.layers if isinstance(layer, keras.layers.Identity)}
    end = lookup(f"stage of {model.name}", until, stages)
    frozen = keras.Model(model.input, end.output).layers
    for layer in frozen:
        layer.trainable = False
    return [layer.name for layer in frozen if layer.weights]


def compile_model(model: keras.Model, optimizer: keras.optimizers.Optimizer, task: str, label_smoothing: float) -> None:
    """Give a model its optimizer and the loss and metrics of its task."""
    loss, metrics = TASKS[task]
    # XLA makes TensorFlow's training on 2 cores up to 2.2 times slower (tests/benchmarks/jit.py).
    jit_compile = False if keras.backend.backend() == "tensorflow" else "auto"
    model.compile(optimizer=optimizer, loss=loss(label_smoothing), metrics=list(metrics), jit_compile=jit_compile)


def check_arguments(arguments: Mapping) -> None:
    """Raise a ValueError for an argument of `fit` out of its range."""
    allowed = {
        "epochs": ("a positive integer", lambda value: isinstance(value, int) and value > 0),
        "learning_rate": ("a positive number", lambda value: 0 < value < math.inf),
        "warmup": ("a fraction in [0, 1)", lambda value: 0 <= value < 1),
        "weight_decay": ("a number from 0", lambda value: 0 <= value < math.inf),
        "label_smoothing": ("a fraction in [0, 1)", lambda value: 0 <= value < 1),
        "early_stopping": ("a positive integer or None", lambda v: v is None or (isinstance(v, int) and v > 0)),
    }
    for name, (expected, fits) in allowed.items():
        value = arguments[name]
        if isinstance(value, str) or not fits(value):
            raise ValueError(f"{name} must be {expected}, got {value!r}")


def check_model(model: keras.Model, splits: Splits) -> None:
    """Raise a ValueError if the model's input or output does not fit the data."""
    outputs = model.output_shape
    if isinstance(outputs, list) or len(outputs) != 2:
        raise ValueError(f"fit needs a model with one output (batch, num_classes); {model.name} has {outputs}")
    if outputs[-1] != splits.num_classes:
        raise ValueError(
            f"{model.name} has {outputs[-1]} outputs but {splits.name} has {splits.num_classes} classes; "
            f"build it with num_classes={splits.num_classes}"
        )
    takes, gives = model.input_shape[1:], splits.input_shape
    if len(takes) != len(gives) or any(size not in (None, given) for size, given in zip(takes, gives, strict=True)):
        raise ValueError(f"{model.name} takes input {takes} but {splits.name} gives {gives}; build it with that shape")


def learning_rate_schedule(name: str, peak: float, steps: int, warmup_steps: int):
    """Return the learning rate as a function of the step: linear warm-up from 0, then the named curve."""
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else peak,
        decay_steps=max(1, steps - warmup_steps),
        alpha=lookup("schedule", name, SCHEDULES),
        warmup_target=peak if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


def build_optimizer(name: str, rate, weight_decay: float, model: keras.Model) -> keras.optimizers.Optimizer:
    """Return an optimizer whose weight decay leaves biases, normalisations and other vectors alone."""
    optimizer = lookup("optimizer", name, OPTIMIZERS)(learning_rate=rate, weight_decay=weight_decay)
    vectors = [v for v in model.trainable_variables if math.prod(v.shape) == max(v.shape, default=1)]
    optimizer.exclude_from_weight_decay(var_list=vectors)
    return optimizer


def start_run(run_dir: str | Path, overwrite: bool, splits: Splits, model_name: str, recipe: dict) -> Path:
    """Open a run folder and write all that is known before the first step."""
    run = runs.open_run(run_dir, overwrite=overwrite)
    write_json(run / runs.ENVIRONMENT, runs.environment(splits.seed))
    Serving.of(splits).save(run / runs.DATA, run / runs.EXAMPLES)
    if not (run / runs.CONFIG).exists():
        data = {"name": splits.name, "batch_size": splits.batch_size}
        write_yaml(
            run / runs.CONFIG, {"seed": splits.seed, "data": data, "model": {"name": model_name}, "train": recipe}
        )
    return run
