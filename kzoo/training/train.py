"""Training: fit any Keras network on any dataset of the zoo, keep its best epoch, write a run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kzoo.core.arguments import checked
from kzoo.core.determinism import make_deterministic
from kzoo.core.files import write_json, write_text, writing
from kzoo.core.lazy import keras, lazy_import, np
from kzoo.core.onednn import hint_at_onednn
from kzoo.core.registry import lookup, registered_name
from kzoo.core.yaml import write_yaml
from kzoo.data.in_memory import check_is_dataset
from kzoo.data.pipeline import own_errors
from kzoo.data.serving import Serving
from kzoo.data.splits import Splits
from kzoo.data.trained import remember, warn_of_order
from kzoo.nn.inspection import named_stages
from kzoo.nn.solvers import solve_head
from kzoo.tasks import Task
from kzoo.tasks.task import check_exclusive
from kzoo.training import runs
from kzoo.training.checkpoint import Checkpointing
from kzoo.training.identity import identity
from kzoo.training.objective import loss_of, metrics_of, settings_of
from kzoo.training.optimizers import build_optimizer, jit_compile, learning_rate_schedule
from kzoo.training.recipes import Recipe
from kzoo.training.steps_per_execution import steps_per_execution
from kzoo.zoo.profile import profile

distributed = lazy_import("kzoo.training.distributed")
fused = lazy_import("kzoo.nn.fused")
handcrafted = lazy_import("kzoo.nn.handcrafted")
own_callbacks = lazy_import("kzoo.training.callbacks")
schedules = lazy_import("kzoo.training.schedules")


@checked
def fit(
    model: keras.Model,
    data: Splits,
    *,
    epochs: int = Recipe.epochs,
    optimizer: str = Recipe.optimizer,
    solver: str | None = Recipe.solver,
    learning_rate: float = Recipe.learning_rate,
    schedule: str = Recipe.schedule,
    warmup_ratio: float = Recipe.warmup_ratio,
    weight_decay: float = Recipe.weight_decay,
    global_clipnorm: float | None = Recipe.global_clipnorm,
    gradient_accumulation_steps: int = Recipe.gradient_accumulation_steps,
    loss: str | keras.losses.Loss | Callable | None = Recipe.loss,
    metrics: Sequence = Recipe.metrics,
    label_smoothing: float = Recipe.label_smoothing,
    class_weights: str | Sequence[float] | Mapping[int | str, float] | None = Recipe.class_weights,
    focal_gamma: float = Recipe.focal_gamma,
    huber_delta: float = Recipe.huber_delta,
    ema_momentum: float | None = Recipe.ema_momentum,
    swa_epochs: int | None = Recipe.swa_epochs,
    patience: int | None = Recipe.patience,
    deterministic: bool = Recipe.deterministic,
    run_dir: str | Path | None = None,
    restart: bool = False,
    checkpoint_steps: int | None = None,
    checkpoint_minutes: float = 1.0,
    checkpoints_kept: int = 2,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: bool = True,
) -> dict[str, list[float]]:
    """Train in place and leave the model with the weights of its best epoch; return the metrics per epoch.

    The best epoch is the one of the best score of the task on validation (accuracy, for classification), and among
    equals of lowest validation loss; one whose
    validation loss is NaN or infinite is never the best, and weights that are not finite are never kept. The loss
    contains label smoothing, class weights and focal modulation, in training and validation; the metric
    `crossentropy` (`val_crossentropy`) does not, so use that to compare trainings. Weights of examples multiply the
    loss of training alone: metrics and validation do not see them.

    The model remembers the preprocessing and the class names of the data: `kzoo.evaluate`, `kzoo.export` and others use
    them on whatever data it is then shown.

    The model stays compiled with registered Keras objects: `model.save` and, in a process that imports kzoo,
    `keras.models.load_model` give the same compiled model.

    A run directory gets `config.yaml`, `model.keras` (best epoch), `history.csv`, `curves.png`, `environment.json`,
    TensorBoard logs, and `data.json` with `examples.npz`, which `kzoo export` and `kzoo predict` need; also
    `skipped_files.txt` where `skip_broken` left out files of the data.

    A training that was interrupted or killed resumes from its newest checkpoint, at the next batch, when `fit` is
    called again with the same arguments and run directory, and ends with the same weights as without interruption
    (state of `callbacks` is not saved). On Ctrl-C and SIGTERM the current step is completed and the state saved; then
    KeyboardInterrupt is raised, or the process exits with status 143. Where the training is complete, nothing is
    trained.

    On several devices, within `kzoo.training.distributed.devices()`, the weights equal those of one device up to
    rounding, except that examples that cannot be divided evenly over the devices are dropped from each epoch's last
    batch; on TensorFlow each device normalises its own part of a batch. Several processes
    (`kzoo.training.distributed.process_group`) all get the same arguments; the first one writes the run directory and
    sends the others the state to resume from.

    Args:
        model: returns logits or values, one for each class, tag or number of the data.
        data: the dataset; validation follows each epoch.
        epochs: passes over the train split.
        optimizer: "adamw", "adam", "sgd" (Nesterov momentum 0.9), "lamb", "lion" or "muon"; see
            `kzoo.training.optimizers.build_optimizer`.
        solver: "ridge", "svm" or "logistic" solve the last layer at once and leave all others as they are, without
            gradient steps (see `kzoo.nn.solvers.solve_head`); None trains by gradient steps. A model without
            trainable weights, such as the nearest neighbour, is only adapted to the training inputs.
        learning_rate: the peak, reached at the end of the warm-up.
        schedule: "cosine" (to zero), "one_cycle", "step", "plateau" or "constant"; see
            `kzoo.training.optimizers.learning_rate_schedule`. Callbacks that set the learning rate need "constant".
        warmup_ratio: fraction of all steps with a linearly rising learning rate, in [0, 1).
        weight_decay: decoupled weight decay, per step and scaled by the learning rate, from 0; biases and
            normalisation parameters (all variables of one axis) have none.
        global_clipnorm: global norm for gradient clipping; None for no clipping.
        gradient_accumulation_steps: batches whose gradients are averaged for one step of the optimizer; also across the
            end of an epoch. What is left of them at the end of the training is not used.
        loss: a loss of Keras, a function of targets and outputs, or a name (of the task's own losses, or of Keras), in
            place of the task's own.
        metrics: metrics of Keras, functions of targets and outputs, or names, beside the task's own.
        label_smoothing: fraction of the target spread evenly over all classes, in [0, 1).
        class_weights: loss weight per class, from 0: a sequence in the order of the classes, or a mapping from class
            indices or class names, where classes that it leaves out weigh 1; "balanced" for weights inversely
            proportional to the class frequencies.
        focal_gamma: exponent of the focal loss, which reduces the weight of well classified examples; 0 for none.
        huber_delta: of `loss="huber"`: the error, in standard deviations of the targets, up to which it is quadratic.
        ema_momentum: momentum per step, in (0, 1), of an exponential moving average of the weights, which is then
            validated and kept in place of the weights, with batch normalisation statistics computed for it; callbacks
            see it at the end of an epoch. None for no average.
        swa_epochs: number of last epochs whose weights are averaged at the end (stochastic weight averaging, with
            recomputed batch normalisation statistics); the average is kept if it is better on the validation split
            than the best epoch. None for no averaging.
        patience: epochs without improvement after which training stops; None for no early stopping.
        deterministic: run every operation in a fixed order, so that two trainings are equal to the last bit; stays in
            force for the rest of the process.
        run_dir: directory for the results; nothing is written without one.
        restart: start over, and delete the results of an earlier training in `run_dir`.
        checkpoint_steps: steps between two checkpoints (small networks take up to 16 steps in one call and save after
            it: see `kzoo.training.steps_per_execution`); None for checkpoints by time only.
        checkpoint_minutes: minutes between two checkpoints, more where writing takes long, so that it takes less than
            3 % of the time.
        checkpoints_kept: number of newest checkpoints that are kept.
        callbacks: Keras callbacks, called after kzoo's own.
        verbose: show a progress bar with the remaining time, and a line per epoch.

    Raises:
        ValueError: for a value out of its range, a model that does not fit the data or ends in a softmax or a sigmoid,
            a solver for a task without one class an example, or a run directory that holds another training (saying
            what differs), is in use by another process or cannot be written; also
            (`kzoo.training.callbacks.TrainingDiverged`) when the loss becomes NaN or infinite: the model keeps the last
            good weights.
    """
    recipe = Recipe(
        epochs=epochs,
        optimizer=optimizer,
        solver=solver,
        learning_rate=learning_rate,
        schedule=schedule,
        warmup_ratio=warmup_ratio,
        weight_decay=weight_decay,
        global_clipnorm=global_clipnorm,
        gradient_accumulation_steps=gradient_accumulation_steps,
        loss=loss,
        metrics=metrics,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        focal_gamma=focal_gamma,
        huber_delta=huber_delta,
        ema_momentum=ema_momentum,
        swa_epochs=swa_epochs,
        patience=patience,
        deterministic=deterministic,
    )
    saving = Checkpointing(checkpoint_steps, checkpoint_minutes, checkpoints_kept)
    check_is_dataset(data, "fit")
    check_model(model, data)
    check_weights(model)
    check_callbacks(callbacks, recipe)
    if recipe.solver is not None:
        check_exclusive(data.task, f"solver {recipe.solver!r}")
    check_weighted(model, data, recipe)
    hint_at_onednn()
    data = distributed.shard(data)
    check_accumulation(recipe, data)
    if run_dir is None:
        return Training(model, data, recipe, callbacks, verbose).run()
    with runs.opened(run_dir, restart=restart) as run:
        return Training(model, data, recipe, callbacks, verbose, saving, run).run()


@dataclasses.dataclass(frozen=True)
class Training:
    """One call of `fit`: what is trained, on what, and how.

    Attributes:
        model: to be trained.
        data: the dataset, divided over the devices.
        recipe: the hyperparameters.
        callbacks: of the user.
        verbose: whether progress is shown.
        saving: how often the state is saved; None without a run directory.
        run_dir: the run directory; None without one, and in all processes but the first.
    """

    model: keras.Model
    data: Splits
    recipe: Recipe
    callbacks: Sequence[keras.callbacks.Callback] = ()
    verbose: bool = True
    saving: Checkpointing | None = None
    run_dir: Path | None = None

    def run(self) -> dict[str, list[float]]:
        """Train, or resume, or read the results of a complete training; return the metrics per epoch."""
        if self.recipe.deterministic:
            make_deterministic()
        metrics = compile_model(self.model, self.data, self.recipe)
        warn_of_order(self.model, self.data)
        remember(self.model, self.data)
        if self.saving and distributed.broadcast_object(self.begin):
            return self.finished()
        best = own_callbacks.BestCheckpoint(self.run_dir, self.recipe.patience, self.data.task.score)
        adapted = adapt(self.model, self.data)
        if not (self.model.trainable_weights or adapted):
            raise ValueError(f"{self.model.name} has no trainable weights: set trainable = True for some of its layers")
        solved = self.recipe.solver is not None or not self.model.trainable_weights
        history = self.solve(best) if solved else self.take_steps(best, metrics)
        self.calibrate()
        if self.run_dir:
            runs.complete(self.run_dir)
        return history

    def calibrate(self) -> None:
        """Let the task choose on validation what it is to choose after a training, and remember it with the model."""
        task, validation = self.located(), self.data.examples["validation"]
        if type(task).calibrated is not Task.calibrated:
            outputs = self.model.predict(self.data.eval_batches("validation"), verbose=0)
            task = task.calibrated(validation.labels, task.answers(outputs))
        if task is self.data.task:
            return
        data = dataclasses.replace(self.data, task=task)
        remember(self.model, data)
        if self.run_dir:
            with writing(self.run_dir):
                Serving.of(data).save(self.run_dir / runs.DATA, self.run_dir / runs.EXAMPLES)

    def located(self) -> Task:
        """Return the task that knows where the positions of the network's outputs are, if it has some of its own."""
        task = self.data.task
        seen = profile(self.model).layers[-1].receptive_field if task.head == "frames" else None
        if seen is None or None in (*seen.centre, *seen.stride):
            return task
        step = getattr(self.data.preprocess, "step", 1)
        return task.located(step * seen.centre[0], step * seen.stride[0])

    def begin(self) -> bool:
        """Write what is known before the first step; return whether the training in the run directory is complete.

        Raises:
            ValueError: if the directory holds another training, or one of which only results are left, or cannot be
                written.
        """
        run, own = self.run_dir, identity(self.model, self.data, settings_of(self.recipe))
        with writing(run):
            complete = runs.claim(run, own)
            if not complete:
                self.describe(run)
                runs.begin(run, own)
        return complete

    def describe(self, run: Path) -> None:
        """Write the environment, the data to serve with, and the configuration."""
        model, data = self.model, self.data
        write_json(run / runs.ENVIRONMENT, runs.environment(data.seed))
        Serving.of(data).save(run / runs.DATA, run / runs.EXAMPLES)
        if data.skipped:
            lines = "".join(f"{why}\n" for why in data.skipped)
            write_text(run / runs.SKIPPED, lines.encode("utf-8", "backslashreplace").decode())
        if not (run / runs.CONFIG).exists():
            kept = {"name": data.name, "batch_size": data.batch_size}
            content = {"seed": data.seed, "data": kept, "model": {"name": registered_name(model)}}
            write_yaml(run / runs.CONFIG, content | {"train": settings_of(self.recipe)})

    def finished(self) -> dict[str, list[float]]:
        """Load the best weights of the complete training; return its metrics per epoch."""

        def read():
            with distributed.single_device():
                model, serving = runs.load_run(self.run_dir)
                return model.get_weights(), serving.task, runs.read_history(self.run_dir)

        weights, task, history = distributed.broadcast_object(read)
        self.model.set_weights(weights)
        remember(self.model, dataclasses.replace(self.data, task=task))
        if self.verbose and self.run_dir:
            print(f"the training in {self.run_dir} is complete; to train again, start over (--restart)")
        return history

    @property
    def shown(self) -> bool:
        """Whether this process shows the progress."""
        return self.verbose and distributed.is_first()

    def solve(self, best: own_callbacks.BestCheckpoint) -> dict[str, list[float]]:
        """Solve the last layer, if there is a solver; return the metrics as those of one epoch."""
        best.set_model(self.model)
        best.on_train_begin()
        if self.recipe.solver is not None:
            report = print if self.shown else lambda line: None
            solve_head(self.model, *as_arrays(self.data.eval_batches("train")), self.recipe.solver, report)
        measured = {
            prefix + name: value
            for prefix, split in (("", "train"), ("val_", "validation"))
            for name, value in self.model.evaluate(self.data.eval_batches(split), return_dict=True, verbose=0).items()
        }
        best.on_epoch_end(0, measured)
        best.finish()
        return best.history

    @own_errors()
    def take_steps(self, best: own_callbacks.BestCheckpoint, metrics: Sequence) -> dict[str, list[float]]:
        """Train by gradient steps, from the newest checkpoint if there is one; return the metrics per epoch."""
        epochs, per_epoch = self.recipe.epochs, self.data.steps_per_epoch
        average = own_callbacks.AverageLast(self.recipe.swa_epochs, epochs, self.recipe.patience is not None)
        noted = own_callbacks.signals_noted() if self.saving else contextlib.nullcontext()
        with noted as received_signals, fused.batch_normalisation(self.model):
            savers = [self.saver([best, average], metrics, received_signals)] if self.saving else []
            first = savers[0].resume(self.model) if savers else 0
            bars = [own_callbacks.ProgressBar(epochs, per_epoch, first)] if self.shown else []
            self.model.steps_per_execution = steps_per_execution(
                self.model, self.data, self.callbacks, first % per_epoch
            )
            try:
                self.model.fit(
                    self.data.train_batches(first),
                    steps_per_epoch=per_epoch,
                    initial_epoch=epochs if best.out_of_patience else first // per_epoch,
                    epochs=epochs,
                    validation_data=self.data.validation,
                    callbacks=[
                        distributed.ShardTraining(),
                        *self.rules(best),
                        best,
                        *bars,
                        *self.callbacks,
                        *self.moving_average(),
                        average,
                        *savers,
                        *self.logs(),
                    ],
                    shuffle=False,
                    verbose=0,
                )
                average.offer(best, self.data)
            except BaseException as error:
                if not isinstance(error, own_callbacks.TrainingDiverged):  # which all processes raise
                    distributed.abort(error)
                raise
            finally:
                for bar in bars:
                    bar.stop()
                best.finish()
        return best.history

    def saver(self, parts: Sequence, metrics: Sequence, received_signals: list[int]) -> own_callbacks.SaveState:
        """Return the callback that saves the state of the training in the run directory."""
        folder = self.run_dir and self.run_dir / runs.CHECKPOINTS
        return own_callbacks.SaveState(folder, parts, metrics, self.data.steps_per_epoch, self.saving, received_signals)

    def moving_average(self) -> list[keras.callbacks.Callback]:
        """Return the callback that validates the moving average of the weights, if there is one."""
        return [own_callbacks.MovingAverage(self.data)] if self.recipe.ema_momentum else []

    def rules(self, best: own_callbacks.BestCheckpoint) -> list[keras.callbacks.Callback]:
        """Return the callback that lowers the learning rate on a plateau, if the recipe asks for it."""
        if self.recipe.schedule != "plateau":
            return []
        per_epoch = self.data.steps_per_epoch
        warmup_epochs = math.ceil(self.recipe.warmup_steps(per_epoch) / per_epoch)
        return [schedules.Plateau(lambda: best.history, warmup_epochs=warmup_epochs)]

    def logs(self) -> list[keras.callbacks.Callback]:
        """Return the callback that writes TensorBoard logs, if there is a run directory."""
        return [keras.callbacks.TensorBoard(self.run_dir / runs.TENSORBOARD, write_graph=False)] if self.run_dir else []


def as_arrays(batches) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs and the labels of all batches, each as one array."""
    return tuple(np.concatenate(part) for part in zip(*batches.as_numpy_iterator(), strict=True))


def adapt(model: keras.Model, data: Splits) -> list[keras.layers.Layer]:
    """Adapt the layers that take values from the training inputs without a gradient; return these layers."""
    found = [layer for layer in model.layers if isinstance(layer, handcrafted.Adaptable)]
    for layer in found:
        if layer.needs_classes:
            check_exclusive(data.task, model.name)
        inputs, labels = as_arrays(data.eval_batches("train"))
        if layer.input is not model.input:
            inputs = keras.Model(model.input, layer.input).predict(inputs, verbose=0)
        layer.adapt(inputs, labels, data.seed)
    return found


def freeze(model: keras.Model, until: str) -> list[str]:
    """Freeze the first layers of a network, up to and including a stage, so that only the rest is trained.

    Frozen batch normalisations use their moving statistics and leave them unchanged: with batch statistics the frozen
    part would give other features in training than in inference (keras-team/keras#9214).

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


def compile_model(model: keras.Model, data: Splits, recipe: Recipe) -> list[keras.metrics.Metric]:
    """Compile a model with the optimizer, the loss and the metrics of a recipe; return the metrics of training."""
    metrics = metrics_of(data, recipe)
    model.compile(
        optimizer=build_optimizer(model, recipe, learning_rate_of(recipe, data.steps_per_epoch)),
        loss=loss_of(data, recipe),
        metrics=metrics,
        jit_compile=jit_compile(),
    )
    model.optimizer.build(model.trainable_variables)
    return [model.metrics[0], *metrics]


def learning_rate_of(recipe: Recipe, steps_per_epoch: int) -> float | schedules.Schedule:
    """Return the learning rate of a recipe: a number where callbacks set it, else a schedule."""
    steps, warmup_steps = recipe.epochs * steps_per_epoch, recipe.warmup_steps(steps_per_epoch)
    schedule = learning_rate_schedule(recipe.schedule, recipe.learning_rate, steps, warmup_steps)
    return recipe.learning_rate if recipe.learning_rate_is_set_by_callbacks else schedule


def check_model(model: keras.Model, data: Splits) -> None:
    """Raise a ValueError if the model's input or output does not fit the data, or its outputs are not logits."""
    outputs, axes = model.output_shape, data.task.output_axes
    if isinstance(outputs, list) or len(outputs) != len(axes):
        how = "" if isinstance(outputs, list) else f"; build it with head={data.task.head!r}"
        raise ValueError(f"fit needs a model with one output ({', '.join(axes)}); {model.name} has {outputs}{how}")
    if outputs[-1] != data.num_outputs:
        raise ValueError(
            f"{model.name} has {outputs[-1]} outputs but {data.name} has {data.num_outputs} {data.task.noun}; "
            f"build it with num_classes={data.num_outputs}"
        )
    takes, gives = model.input_shape[1:], data.input_shape
    if len(takes) != len(gives) or any(size not in (None, given) for size, given in zip(takes, gives, strict=True)):
        raise ValueError(f"{model.name} takes input {takes} but {data.name} gives {gives}; build it with that shape")
    expected, found = data.task.positions(model.input_shape[1:-1]), outputs[1:-1]
    if len(axes) > 2 and any(None not in pair and pair[0] != pair[1] for pair in zip(expected, found, strict=False)):
        sizes = [" x ".join(map(str, shape)) for shape in (found, expected)]
        raise ValueError(f"{model.name} has outputs at {sizes[0]} positions, but the targets of {data.name} {sizes[1]}")
    data.task.check_architecture(model.name, getattr(model, "architecture", None))
    for split, examples in data.examples.items():
        data.task.check_outputs(split, examples.labels, examples.called, outputs[1])
    check_logits(model)


def check_weights(model: keras.Model) -> None:
    """Raise a ValueError that names the first weight with a NaN or an infinity."""
    for weight in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise ValueError(f"{model.name} cannot be trained: its weight {weight.path} contains NaN or infinity")


def check_weighted(model: keras.Model, data: Splits, recipe: Recipe) -> None:
    """Raise a ValueError for weights of examples where nothing is trained by a loss."""
    if data.examples["train"].weights is not None and (recipe.solver is not None or not model.trainable_weights):
        what = f"solver {recipe.solver!r}" if recipe.solver is not None else f"{model.name}, which has nothing to train"
        raise ValueError(f"{data.name} has weights of examples, which only a training loss uses, not {what}")


def check_logits(model: keras.Model) -> None:
    """Raise a ValueError if a model ends in a softmax or a sigmoid, which would be applied twice."""
    outputs = getattr(model, "outputs", None)  # a subclassed model has none
    if not outputs:
        return
    last = outputs[0]._keras_history.operation
    if isinstance(last, keras.Model):
        check_logits(last)
        return
    activation = {"Softmax": keras.activations.softmax}.get(type(last).__name__, getattr(last, "activation", None))
    if activation in (keras.activations.softmax, keras.activations.sigmoid):
        name = activation.__name__
        raise ValueError(
            f"{model.name} ends in a {name} ({last.name}), but kzoo needs logits or values: build it with "
            f"classifier_activation=None, or leave out the {name} at the end"
        )


def check_accumulation(recipe: Recipe, data: Splits) -> None:
    """Raise a ValueError if the optimizer would not take a single step."""
    batches = recipe.epochs * data.steps_per_epoch
    if recipe.solver is None and recipe.gradient_accumulation_steps > batches:
        raise ValueError(
            f"gradient_accumulation_steps must be at most {batches}, the batches of the whole training, "
            f"got {recipe.gradient_accumulation_steps}"
        )


def check_callbacks(callbacks: Sequence[keras.callbacks.Callback], recipe: Recipe) -> None:
    """Raise a ValueError for a callback that sets the learning rate beside a schedule that sets it too."""
    setters = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)
    for callback in callbacks:
        if isinstance(callback, setters) and (recipe.schedule != "constant" or recipe.warmup_ratio):
            raise ValueError(
                f"{type(callback).__name__} sets the learning rate, and so does schedule={recipe.schedule!r} with "
                f"warmup_ratio={recipe.warmup_ratio}; use schedule='constant' without a warm-up"
            )
