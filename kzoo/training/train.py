"""Fit any Keras model of the zoo on any of its datasets: compile, train, keep the best, leave a run folder."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from kzoo.core.determinism import make_deterministic
from kzoo.core.files import write_json
from kzoo.core.lazy import keras, lazy_import, np
from kzoo.core.ranges import check_range
from kzoo.core.registry import lookup
from kzoo.core.yaml import write_yaml
from kzoo.data.serving import Serving
from kzoo.data.splits import Splits
from kzoo.nn.inspection import named_stages
from kzoo.nn.solvers import SOLVERS, solve_head
from kzoo.tasks import TASKS, balanced_weights
from kzoo.training import runs
from kzoo.training.optimizers import build_optimizer, jit_compile, learning_rate_schedule
from kzoo.training.pace import steps_per_execution

distributed = lazy_import("kzoo.training.distributed")
fused = lazy_import("kzoo.nn.fused")
own_callbacks = lazy_import("kzoo.training.callbacks")
schedules = lazy_import("kzoo.training.schedules")

RECIPE = (
    "epochs",
    "optimizer",
    "learning_rate",
    "schedule",
    "warmup_ratio",
    "weight_decay",
    "global_clipnorm",
    "gradient_accumulation_steps",
)
RECIPE += ("label_smoothing", "class_weights", "focal_gamma", "ema_momentum", "swa_epochs", "patience", "deterministic")


def fit(
    model: keras.Model,
    data: Splits,
    *,
    epochs: int = 20,
    optimizer: str = "adamw",
    learning_rate: float = 1e-3,
    schedule: str = "cosine",
    warmup_ratio: float = 0.0,
    weight_decay: float = 0.0,
    global_clipnorm: float | None = None,
    gradient_accumulation_steps: int = 1,
    label_smoothing: float = 0.0,
    class_weights: str | Sequence[float] | None = None,
    focal_gamma: float = 0.0,
    ema_momentum: float | None = None,
    swa_epochs: int | None = None,
    patience: int | None = None,
    deterministic: bool = False,
    run_dir: str | Path | None = None,
    restart: bool = False,
    checkpoint_steps: int | None = None,
    checkpoint_minutes: float = 1.0,
    checkpoints_kept: int = 2,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: bool = True,
) -> dict[str, list[float]]:
    """Train in place and leave the model with the weights of its best epoch; return the metrics per epoch.

    The best epoch is the one of highest validation accuracy, of lowest validation loss among equals. A run
    folder gets `config.yaml`, `model.keras` (best), `history.csv`, `curves.png`, `environment.json`, TensorBoard
    logs, and `data.json` with `examples.npz`, which `kzoo export` and `kzoo predict` need.

    A training that was interrupted, killed or struck by a power cut goes on from its newest checkpoint when `fit` is
    called again with the same arguments and run folder, at the next batch, and ends with the same weights as if
    nothing had happened (`callbacks` of your own keep no state). Ctrl-C and SIGTERM end it when the step is done and
    its state saved: with KeyboardInterrupt, or status 143. In a run folder whose training is complete nothing is
    trained.

    On several devices, within `kzoo.training.distributed.devices()`, it ends with the weights of one device but for
    rounding, where examples that the devices cannot share evenly are left out of each epoch's last batch; on TensorFlow
    each device normalises its own part of a batch. Several processes (`kzoo.training.distributed.process_group`) give
    all the same arguments; the first one writes the run folder, and gives the others the state to go on from.

    Args:
        model: a classifier that returns logits.
        data: batches to train on and to validate with after each epoch.
        epochs: passes over the train split.
        optimizer: "adamw", "adam", "sgd" (Nesterov momentum 0.9), "lamb", "lion" or "muon" (see
            `kzoo.training.optimizers.build_optimizer`); or "ridge", "svm" or "logistic", which leave all layers but the
            last as they are and solve that at once (see `kzoo.nn.solvers.solve_head`), or "none", for a model without
            weights to train, whose layers only look at the data: the arguments of the steps have no part in these.
        learning_rate: the peak, reached at the end of the warm-up.
        schedule: "cosine" (to zero), "one_cycle", "step", "plateau" or "constant"; see
            `kzoo.training.optimizers.learning_rate_schedule`.
        warmup_ratio: fraction of all steps with a linearly rising learning rate, in [0, 1).
        weight_decay: decoupled decay, per step and scaled by the learning rate; biases and the parameters of
            normalisations (all variables of one axis) are left alone.
        global_clipnorm: greatest length of the gradient of all weights together; None for any.
        gradient_accumulation_steps: batches whose gradients are averaged for one step of the optimizer.
        label_smoothing: share of the target spread evenly over all classes, in [0, 1).
        class_weights: what an example of each class counts; "balanced" for as much less as there are more of them.
        focal_gamma: exponent of the focal loss, which lets examples that are right already count less; 0 for none.
        ema_momentum: momentum per step, in (0, 1), of a moving average of the weights, which is what is validated,
            kept and left.
        swa_epochs: how many last epochs' weights are averaged at the end (with statistics of the normalisations for
            the average); it is kept if it is better on the validation split than the best epoch. None for no average.
        patience: epochs without a better one after which training ends; None to do all.
        deterministic: let every operation add in a fixed order, so that two trainings are equal to the last bit; it
            holds for all that the process does from then on.
        run_dir: folder for the results; nothing is written without one.
        restart: begin anew, and delete the results of an earlier run in `run_dir`.
        checkpoint_steps: save the state whenever so many steps are done (small networks take up to 16 steps at a time
            and save after those: see `kzoo.training.pace`); None for by the clock alone.
        checkpoint_minutes: save the state when so many minutes have passed, or later where writing takes long, so that
            it takes less than 3 % of the time.
        checkpoints_kept: how many of the newest states are kept.
        callbacks: passed to Keras.
        verbose: a progress bar with the time left, and a line per epoch.

    Raises:
        ValueError: for a value out of its range, a model that does not fit the data, or a run folder that holds
            another training (saying what differs), is in use by another process or cannot be written; also
            (`kzoo.training.callbacks.TrainingDiverged`) when the loss is no longer a number: the model keeps the last
            good weights.
    """
    arguments = locals()
    check_arguments(arguments)
    check_model(model, data)
    data = distributed.shard(data)
    with runs.opened(run_dir, restart=restart) if run_dir is not None else contextlib.nullcontext() as run:
        return trained(model, data, run, arguments)


def trained(model: keras.Model, data: Splits, run: Path | None, arguments: Mapping) -> dict[str, list[float]]:
    """Prepare a model as the arguments of `fit` say, then train it, or go on with its training."""
    if arguments["deterministic"]:
        make_deterministic()
    metrics = compile_model(model, data, arguments)
    recipe = {name: arguments[name] for name in RECIPE}
    if arguments["run_dir"] is not None and distributed.broadcast_object(lambda: begin(run, model, data, recipe)):
        return finished(model, run, arguments["verbose"])
    keeper = own_callbacks.BestCheckpoint(run, arguments["patience"])
    adapt(model, data)
    if arguments["optimizer"] in SOLVERS:
        history = solve(model, data, keeper, arguments)
    else:
        history = stepped(model, data, keeper, metrics, arguments)
    if run:
        runs.complete(run)
    return history


def stepped(model, data: Splits, keeper, metrics: Sequence, arguments: Mapping) -> dict[str, list[float]]:
    """Train step by step, from the newest checkpoint if there is one."""
    epochs, per_epoch, run = arguments["epochs"], data.steps_per_epoch, keeper.run
    saving, shown = arguments["run_dir"] is not None, arguments["verbose"] and distributed.is_first()
    averager = own_callbacks.AverageLast(arguments["swa_epochs"], epochs)
    noted = own_callbacks.signals_noted() if saving else contextlib.nullcontext()
    with noted as received_signals, fused.batch_normalisation(model):
        savers = [saver_of([keeper, averager], metrics, per_epoch, arguments, received_signals)] if saving else []
        first = savers[0].resume(model) if saving else 0
        bars = [own_callbacks.ProgressBar(epochs, per_epoch, first)] if shown else []
        logs = [keras.callbacks.TensorBoard(run / runs.TENSORBOARD, write_graph=False)] if run else []
        model.steps_per_execution = steps_per_execution(model, data, arguments["callbacks"], first % per_epoch)
        try:
            model.fit(
                data.train_batches(first),
                steps_per_epoch=per_epoch,
                initial_epoch=epochs if keeper.out_of_patience else first // per_epoch,
                epochs=epochs,
                validation_data=data.validation,
                callbacks=[
                    distributed.ShardTraining(),
                    *rules(keeper, arguments, data),
                    keeper,
                    averager,
                    *bars,
                    *arguments["callbacks"],
                    *savers,
                    *logs,
                ],
                shuffle=False,
                verbose=0,
            )
            averager.offer(keeper, data)
        except BaseException as error:
            if not isinstance(error, own_callbacks.TrainingDiverged):  # which all processes raise
                distributed.abort(error)
            raise
        finally:
            for bar in bars:
                bar.stop()
            keeper.finish()
    return keeper.history


def rules(keeper, arguments: Mapping, data: Splits) -> list[keras.callbacks.Callback]:
    """Return the callbacks that the recipe asks for."""
    found = [own_callbacks.ValidateAverage()] if arguments["ema_momentum"] else []
    if arguments["schedule"] == "plateau":
        steps = warmup_steps(arguments, data)
        per_epoch = data.steps_per_epoch
        found.append(
            schedules.Plateau(lambda: keeper.history, arguments["learning_rate"], per_epoch, warmup_steps=steps)
        )
    return found


def warmup_steps(arguments: Mapping, data: Splits) -> int:
    """Return the number of steps with a rising learning rate."""
    return int(arguments["warmup_ratio"] * arguments["epochs"] * data.steps_per_epoch)


def saver_of(parts: Sequence, metrics: Sequence, per_epoch: int, arguments: Mapping, received_signals: list[int]):
    """Return the callback that saves the state of a training in its run folder."""
    every = arguments["checkpoint_steps"], arguments["checkpoint_minutes"]
    folder, keep = parts[0].run and parts[0].run / runs.CHECKPOINTS, arguments["checkpoints_kept"]
    return own_callbacks.SaveState(folder, parts, metrics, per_epoch, every, keep, received_signals)


def finished(model: keras.Model, run: Path | None, verbose: bool) -> dict[str, list[float]]:
    """Give a model the best weights of a complete training; return its metrics per epoch."""

    def read():
        with distributed.single_device():
            return runs.load_run(run)[0].get_weights(), runs.read_history(run)

    weights, history = distributed.broadcast_object(read)
    model.set_weights(weights)
    if verbose and run:
        print(f"the training in {run} is complete; to do it again, begin anew (--restart)")
    return history


def whole(batches) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs and the labels of all batches, each as one array."""
    return tuple(np.concatenate(part) for part in zip(*batches.as_numpy_iterator(), strict=True))


def adapt(model: keras.Model, data: Splits) -> None:
    """Show the training inputs to the layers of the zoo that take values from them without a gradient."""
    for layer in model.layers:
        if type(layer).__module__.startswith("kzoo.nn.handcrafted.") and hasattr(layer, "adapt"):
            inputs, labels = whole(data.eval_batches("train"))
            if layer.input is not model.input:
                inputs = keras.Model(model.input, layer.input).predict(inputs, verbose=0)
            layer.adapt(inputs, labels, data.seed)


def solve(model, data: Splits, keeper: own_callbacks.BestCheckpoint, arguments: Mapping) -> dict[str, list[float]]:
    """Solve the last layer at once; return the metrics of this one epoch."""
    say = print if arguments["verbose"] and distributed.is_first() else lambda line: None
    solve_head(model, *whole(data.eval_batches("train")), arguments["optimizer"], say)
    measured = {
        prefix + name: value
        for prefix, split in (("", "train"), ("val_", "validation"))
        for name, value in model.evaluate(data.eval_batches(split), return_dict=True, verbose=0).items()
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
    end = lookup(f"stage of {model.name}", until, named_stages(model.layers))
    frozen = keras.Model(model.input, end.output).layers
    for layer in frozen:
        layer.trainable = False
    return [layer.name for layer in frozen if layer.weights]


def compile_model(model: keras.Model, data: Splits, arguments: Mapping) -> list[keras.metrics.Metric]:
    """Give a model the optimizer, the loss and the metrics of a recipe; return the metrics that run in training."""
    loss, metrics = TASKS[data.task]
    metrics = [metric() for metric in metrics]
    weights = arguments["class_weights"]
    if weights == "balanced":
        weights = balanced_weights(data.examples["train"].labels, data.num_classes)
    model.compile(
        optimizer=optimizer_of(model, data, arguments),
        loss=loss(arguments["label_smoothing"], weights, arguments["focal_gamma"]),
        metrics=metrics,
        jit_compile=jit_compile(),
    )
    model.optimizer.build(model.trainable_variables)
    return [model.metrics[0], *metrics]


def optimizer_of(model: keras.Model, data: Splits, arguments: Mapping) -> keras.optimizers.Optimizer:
    """Return the optimizer of a recipe, with its schedule."""
    name, peak = arguments["schedule"], arguments["learning_rate"]
    steps = arguments["epochs"] * data.steps_per_epoch
    rate = learning_rate_schedule(name, peak, steps, warmup_steps(arguments, data))
    options = {
        key: arguments[key]
        for key in ("weight_decay", "global_clipnorm", "gradient_accumulation_steps", "ema_momentum")
    }
    return build_optimizer(model, arguments["optimizer"], peak if name == "plateau" else rate, **options)


RANGES = {
    "epochs": "a positive integer",
    "learning_rate": "a positive number",
    "warmup_ratio": "a fraction in [0, 1)",
    "label_smoothing": "a fraction in [0, 1)",
    "focal_gamma": "a number from 0",
    "checkpoint_minutes": "a number from 0",
    "checkpoints_kept": "a positive integer",
}
RANGES_OR_NONE = dict.fromkeys(("swa_epochs", "patience", "checkpoint_steps"), "a positive integer")


def check_arguments(arguments: Mapping) -> None:
    """Raise a ValueError for an argument of `fit` out of its range."""
    for ranges, none in ((RANGES, False), (RANGES_OR_NONE, True)):
        for name, expected in ranges.items():
            check_range(name, arguments[name], expected, none=none)


def check_model(model: keras.Model, data: Splits) -> None:
    """Raise a ValueError if the model's input or output does not fit the data."""
    outputs = model.output_shape
    if isinstance(outputs, list) or len(outputs) != 2:
        raise ValueError(f"fit needs a model with one output (batch, num_classes); {model.name} has {outputs}")
    if outputs[-1] != data.num_classes:
        raise ValueError(
            f"{model.name} has {outputs[-1]} outputs but {data.name} has {data.num_classes} classes; "
            f"build it with num_classes={data.num_classes}"
        )
    takes, gives = model.input_shape[1:], data.input_shape
    if len(takes) != len(gives) or any(size not in (None, given) for size, given in zip(takes, gives, strict=True)):
        raise ValueError(f"{model.name} takes input {takes} but {data.name} gives {gives}; build it with that shape")


def begin(run: Path, model: keras.Model, data: Splits, recipe: dict) -> bool:
    """Write what is known before the first step; return whether the training in this folder is complete already.

    Raises:
        ValueError: if the folder holds another training, or one of which only results are left.
    """
    complete = runs.claim(run, identity(model, data, recipe))
    if complete:
        return True
    write_json(run / runs.ENVIRONMENT, runs.environment(data.seed))
    Serving.of(data).save(run / runs.DATA, run / runs.EXAMPLES)
    if not (run / runs.CONFIG).exists():
        kept = {"name": data.name, "batch_size": data.batch_size}
        content = {"seed": data.seed, "data": kept, "model": {"name": model.name}, "train": recipe}
        write_yaml(run / runs.CONFIG, content)
    return False


def identity(model: keras.Model, data: Splits, recipe: dict) -> dict:
    """Return what must be the same for a training to go on."""
    facts = {
        "name": data.name,
        "seed": data.seed,
        "batch_size": data.batch_size,
        "steps_per_epoch": data.steps_per_epoch,
        "examples": {name: len(examples) for name, examples in data.examples.items()},
        "augment": str(data.augment),
    }
    weights = {weight.path: [*weight.shape, weight.trainable] for weight in model.weights}
    precision = sorted({layer.dtype_policy.name for layer in model.layers})
    return {
        "backend": keras.backend.backend(),
        "data": facts,
        "model": model.name,
        "precision": precision,
        "train": recipe,
        "weights": weights,
    }
