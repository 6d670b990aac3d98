"""Fit: what is trained, what is kept, what is written, and what goes wrong in words."""

import csv
import dataclasses
import errno
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time

import keras
import numpy as np
import pytest

import kzoo
from kzoo.core.yaml import parse_yaml
from kzoo.data.splits import Examples
from kzoo.nn import solvers
from kzoo.nn.averaging import refresh_batch_norm
from kzoo.training import checkpoint, runs
from kzoo.training.callbacks import BestCheckpoint, TrainingDiverged
from kzoo.training.recipes import Recipe
from kzoo.training.records import read_record
from kzoo.training.train import as_arrays, compile_model


def small_model(splits, num_classes=None, **options):
    keras.utils.set_random_seed(0)
    return kzoo.create_model(
        "convnet", splits.input_shape, num_classes or splits.num_classes, filters=(8,), padding="same", **options
    )


@pytest.fixture(scope="module")
def few():
    """192 digits to train on, in three batches."""
    return kzoo.load_dataset("digits", batch_size=64, limit=192)


def test_a_run_folder_holds_what_is_promised(run):
    names = {path.name for path in run.iterdir()}
    expected = {"config.yaml", "model.keras", "history.csv", "metrics.json", "curves.png", "environment.json"}
    assert expected <= names
    assert {"confusion.png", "mistakes.png", "tensorboard", "data.json", "examples.npz"} <= names
    assert not [name for name in names if name.startswith(".")]
    rows = list(csv.DictReader((run / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} < set(rows[0])
    environment = json.loads((run / "environment.json").read_text())
    assert environment["seed"] == 0
    assert environment["packages"]["keras"] == keras.__version__
    assert environment["cores"] >= 1


def test_the_best_epoch_is_kept(digits, tmp_path):
    model = small_model(digits)

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                self.model.set_weights([np.zeros_like(w) for w in self.model.get_weights()])

    history = kzoo.fit(
        model, digits, epochs=3, learning_rate=1e-2, callbacks=[Spoil()], run_dir=tmp_path, verbose=False
    )
    assert history["val_accuracy"][1] > history["val_accuracy"][2]
    report = kzoo.evaluate(model, digits, split="validation")
    assert report.accuracy == pytest.approx(max(history["val_accuracy"]), abs=1e-6)
    loaded, _ = kzoo.load_run(tmp_path)
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_two_fits_with_one_seed_are_equal(digits):
    histories = [kzoo.fit(small_model(digits), digits, epochs=2, verbose=False) for _ in range(2)]
    assert histories[0]["val_loss"] == pytest.approx(histories[1]["val_loss"], rel=1e-4)


def test_early_stopping_ends_the_training(digits):
    history = kzoo.fit(small_model(digits), digits, epochs=30, learning_rate=1e-9, patience=2, verbose=False)
    assert len(history["loss"]) < 30


def test_the_last_epochs_are_averaged_where_training_ends_early(digits, monkeypatch):
    """Patience ends it after a few of thirty epochs; the last two that were done count."""
    of_epochs, offered = [], []

    class Weights(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            of_epochs.append(self.model.get_weights())

    real = BestCheckpoint.consider

    def consider(best, logs):
        offered.append(best.model.get_weights())
        real(best, logs)

    monkeypatch.setattr(BestCheckpoint, "consider", consider)
    options = {"epochs": 30, "learning_rate": 1e-9, "patience": 1, "swa_epochs": 2, "verbose": False}
    history = kzoo.fit(small_model(digits), digits, callbacks=[Weights()], **options)
    assert len(history["loss"]) == len(of_epochs) < 30
    assert len(offered) == len(of_epochs) + 1
    for average, one, other in zip(offered[-1], *of_epochs[-2:], strict=True):
        np.testing.assert_allclose(average, (one + other) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"optimizer": "adamv"}, "unknown optimizer 'adamv'; did you mean adam"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean cosine"),
        ({"class_weights": [1, 2]}, "class_weights must be one number for each of 10 classes, got 2"),
        ({"class_weights": {3: 2.0, 12: 5.0}}, "unknown class index in class_weights 12; expected 0 to 9"),
        ({"class_weights": {"tree": 5.0}}, "unknown class in class_weights 'tree'"),
        ({"class_weights": {3: 2.0, "3": 5.0}}, r"class_weights name class 3 \(3\) twice"),
        ({"gradient_accumulation_steps": 50, "epochs": 1}, "gradient_accumulation_steps must be at most 41, .* got 50"),
        ({"checkpoint_minutes": -1}, "checkpoint_minutes must be"),
        ({"checkpoint_steps": 0}, "checkpoint_steps must be"),
    ],
)
def test_mistakes_are_explained(digits, options, message):
    with pytest.raises(ValueError, match=message):
        kzoo.fit(small_model(digits), digits, **options)


def test_a_model_that_does_not_fit_the_data_is_refused(digits):
    with pytest.raises(ValueError, match="7 outputs but digits has 10 classes; build it with num_classes=10"):
        kzoo.fit(small_model(digits, num_classes=7), digits)
    other = kzoo.models.lenet5((28, 28, 1), 10)
    with pytest.raises(ValueError, match=r"takes input \(28, 28, 1\) but digits gives \(8, 8, 1\)"):
        kzoo.fit(other, digits)


def ending_in_softmax(input_shape):
    """Return classifiers whose outputs are probabilities, in all the ways that Keras has."""
    x = keras.Input(input_shape)
    flat = keras.layers.Flatten()(x)
    logits = keras.layers.Dense(10)(flat)
    by_layer = keras.Model(x, keras.layers.Softmax()(logits))
    inside = keras.Input(input_shape)
    return {
        "layer": by_layer,
        "activation layer": keras.Model(x, keras.layers.Activation("softmax")(logits)),
        "activation": keras.Model(x, keras.layers.Dense(10, activation="softmax")(flat)),
        "operation": keras.Model(x, keras.ops.softmax(logits)),
        "sequential": keras.Sequential(
            [keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
        ),
        "nested": keras.Model(inside, by_layer(inside)),
    }


def test_a_model_that_ends_in_softmax_is_refused(digits, tmp_path):
    message = "ends in a softmax .* needs logits or values: build it with classifier_activation=None, or leave out"
    for model in ending_in_softmax(digits.input_shape).values():
        with pytest.raises(ValueError, match=message):
            kzoo.fit(model, digits)
        with pytest.raises(ValueError, match=message):
            kzoo.evaluate(model, digits)
        with pytest.raises(ValueError, match=message):
            kzoo.export(model, tmp_path / "model", data=digits)


def test_a_model_without_anything_to_train_is_refused(digits):
    model = small_model(digits)
    model.trainable = False
    with pytest.raises(ValueError, match="convnet has no trainable weights: set trainable = True"):
        kzoo.fit(model, digits, verbose=False)


def test_the_recorded_crossentropy_is_plain(digits):
    """The loss contains smoothing and class weights; what trainings are compared by does not."""
    model = small_model(digits)
    options = {"label_smoothing": 0.3, "class_weights": [0.5, *[1.0] * 9], "learning_rate": 1e-2}
    history = kzoo.fit(model, digits, epochs=1, verbose=False, **options)
    expected = kzoo.evaluate(model, digits, split="validation").loss
    assert history["val_crossentropy"][0] == pytest.approx(expected, rel=1e-4)
    assert abs(history["val_loss"][0] - expected) > 0.1


@pytest.mark.parametrize("weights", [{0: 1.0, 1: 5.0}, {"0": 1.0, "1": 5.0}, {np.int64(1): np.float32(5)}])
def test_class_weights_by_index_or_name_are_those_of_a_sequence(digits, weights):
    losses = []
    for given in (weights, [1.0, 5.0, *[1.0] * 8], np.array([1.0, 5.0, *[1.0] * 8])):
        model = small_model(digits)
        compile_model(model, digits, Recipe(class_weights=given))
        assert model.loss.class_weights == [1.0, 5.0, *[1.0] * 8]
        losses.append(model.loss(np.array([1, 2]), np.zeros((2, 10), "float32")))
    np.testing.assert_allclose(losses, np.log(10) * (5 + 1) / 2, rtol=1e-6)


def test_class_weights_by_index_are_recorded_and_resumed(digits, tmp_path):
    for _ in range(2):
        kzoo.fit(small_model(digits), digits, epochs=1, class_weights={1: 5.0}, run_dir=tmp_path, verbose=False)
    assert parse_yaml((tmp_path / runs.CONFIG).read_text())["train"]["class_weights"] == {1: 5.0}


def test_a_run_of_another_training_is_left_alone(run, digits):
    before = (run / "model.keras").read_bytes()
    same = kzoo.create_model("convnet", digits.input_shape, digits.num_classes, padding="same", dropout=0.0)
    with pytest.raises(ValueError, match=r"holds another training: train.epochs: 3 there, 20 now; .*\(--restart\)"):
        kzoo.fit(same, digits, run_dir=run)
    assert (run / "model.keras").read_bytes() == before


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    "name", ["model.keras", "config.yaml", "metrics.json", "tensorboard", "checkpoints/training.json"]
)
def test_a_directory_that_no_run_has_recorded_is_left_alone(name, restart, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    with (
        pytest.raises(ValueError, match=f"already holds {path.name}, but no record .*; nothing in it is replaced"),
        runs.opened(tmp_path, restart=restart),
    ):
        pass
    assert sorted(tmp_path.rglob("*")) == before


FOREIGN = [".model.keras.bak", ".config.yaml", ".metrics.json.old", "notes.txt", "tensorboard/a/notes.txt"]
FOREIGN += ["checkpoints/mine.safetensors", "checkpoints/7.safetensors", "checkpoints/.hidden", "checkpoints/a.json"]
OWN = ["model.keras", ".model.keras", ".report.html.abcdefg1.html", "metrics.json", "config.yaml"]
OWN += ["tensorboard/train/events.out.tfevents.1.x", "checkpoints/000000007.safetensors", "checkpoints/000000009.json"]
OWN += ["checkpoints/.000000009.json.abcdefg1.json", "checkpoints/.training.json.abcdefg1.json"]


def test_starting_over_deletes_the_run_alone(tmp_path):
    runs.write_config(tmp_path, {})
    for name in (*FOREIGN, *OWN):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    with runs.opened(tmp_path, restart=True):
        left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*FOREIGN, "checkpoints/lock"}


def test_a_run_starts_over_when_asked(digits, tmp_path):
    for epochs in (2, 1):
        kzoo.fit(small_model(digits), digits, epochs=epochs, run_dir=tmp_path, restart=True, verbose=False)
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 2


def test_a_folder_that_cannot_be_written_is_named(digits, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        kzoo.fit(small_model(digits), digits, run_dir=tmp_path / "file" / "run")


@pytest.mark.parametrize("fails_at", [1, 2, 4, 6])  # records, environment, data and configuration are six files
def test_a_full_disk_at_the_start_is_one_line_and_leaves_nothing(digits, tmp_path, monkeypatch, fails_at):
    calls, real, run = [], os.fsync, tmp_path / "run"

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match=f"{run} cannot be written: No space left on device"):
        kzoo.fit(small_model(digits), digits, epochs=1, run_dir=run, verbose=False)
    assert len(calls) == fails_at
    assert not run.exists()


def test_an_error_before_the_training_leaves_files_of_others_alone(digits, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="class_weights must be one number for each"):
        kzoo.fit(small_model(digits), digits, class_weights=[1.0], run_dir=tmp_path, verbose=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failed_write_leaves_the_old_file_as_arrays(tmp_path):
    from kzoo.core.files import write_file, write_text

    write_text(tmp_path / "a.txt", "old")

    def fail(file):
        file.write(b"new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_file(tmp_path / "a.txt", fail)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_loss_that_is_not_a_number_stops_and_keeps_good_weights(digits, tmp_path):
    model = small_model(digits)
    first = model.get_weights()
    with pytest.raises(TrainingDiverged, match="became (nan|inf) at step .* Try a lower learning_rate"):
        kzoo.fit(model, digits, epochs=3, optimizer="sgd", learning_rate=1e20, run_dir=tmp_path, verbose=False)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    for ours, theirs in zip(model.get_weights(), first, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert all(np.isfinite(w).all() for w in kzoo.load_run(tmp_path)[0].get_weights())


class TestValuesThatAreNotFinite:
    """Which epoch is the best, and which weights are kept, where validation or weights are NaN or infinite."""

    def callback(self, digits, run=None):
        best = BestCheckpoint(run, None, digits.task.score)
        model = small_model(digits)
        compile_model(model, digits, Recipe())
        best.set_model(model)
        best.on_train_begin()
        return best

    def measured(self, accuracy, loss):
        return {"loss": 1.0, "accuracy": 0.5, "val_accuracy": accuracy, "val_loss": loss}

    @pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
    def test_a_first_epoch_of_no_finite_validation_loss_blocks_no_later_one(self, digits, loss):
        best = self.callback(digits)
        best.on_epoch_end(0, self.measured(0.1, loss))
        assert best.best_weights is None
        best.on_epoch_end(1, self.measured(0.1, 2.3))
        assert best.best_epoch == 2
        best.on_epoch_end(2, self.measured(0.9, loss))
        assert best.best_epoch == 2

    def test_weights_that_are_not_finite_are_not_kept(self, digits, tmp_path):
        best = self.callback(digits, tmp_path)
        best.on_epoch_end(0, self.measured(0.5, 1.0))
        good = best.model.get_weights()
        best.model.set_weights([np.full_like(weight, np.nan) for weight in good])
        best.on_epoch_end(1, self.measured(0.9, 0.1))
        assert best.best_epoch == 1
        best.finish()
        for ours, theirs in zip(best.model.get_weights(), good, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_without_a_best_epoch_the_first_weights_are_written(self, digits, tmp_path):
        """The last step overflows: the loss was finite before it, the weights are not after it."""
        model = small_model(digits)
        first = model.get_weights()

        class Overflow(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if batch == digits.steps_per_epoch - 1:
                    self.model.set_weights([np.full_like(weight, np.inf) for weight in first])

        options = {"epochs": 1, "run_dir": tmp_path, "checkpoint_steps": 1, "verbose": False}
        with pytest.warns(UserWarning, match="none of 1 epochs had a finite validation loss .* weights of the start"):
            kzoo.fit(model, digits, callbacks=[Overflow()], **options)
        for weights in (model.get_weights(), keras.models.load_model(tmp_path / runs.MODEL).get_weights()):
            for ours, theirs in zip(weights, first, strict=True):
                np.testing.assert_array_equal(ours, theirs)
        assert read_record(tmp_path).best_epoch is None
        assert "no epoch had a finite validation loss" in (tmp_path / runs.PAGE).read_text()

    def test_no_checkpoint_of_them_is_written(self, digits, tmp_path):
        model = small_model(digits)
        stop = KeyboardInterrupt

        class Overflow(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if batch == 4:
                    self.model.set_weights([np.full_like(weight, np.nan) for weight in self.model.get_weights()])
                if batch == 5:
                    raise stop

        options = {"run_dir": tmp_path, "checkpoint_steps": 1, "verbose": False}
        with pytest.raises((stop, TrainingDiverged)):
            kzoo.fit(model, digits, callbacks=[Overflow()], **options)
        assert checkpoint.steps(tmp_path / runs.CHECKPOINTS) == [3, 4]

    def test_a_network_with_nan_weights_is_refused(self, digits):
        model = small_model(digits)
        model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
        with pytest.raises(ValueError, match="convnet cannot be trained: its weight .*kernel contains NaN or infinity"):
            kzoo.fit(model, digits, verbose=False)


class TestFloat16:
    """What is beyond 65,504 is infinite."""

    @pytest.fixture(autouse=True)
    def mixed_precision(self):
        keras.config.set_dtype_policy("mixed_float16")
        yield
        keras.config.set_dtype_policy("float32")

    def test_a_step_whose_gradients_overflow_is_not_taken(self, few):
        """The loss is a thousand times as large, and the loss scale 32,768 until it has been halved often enough."""
        model, scales = small_model(few), []
        first = model.get_weights()

        class Scale(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                scales.append(float(self.model.optimizer.dynamic_scale))

        history = kzoo.fit(model, few, epochs=5, class_weights=[1e3] * 10, callbacks=[Scale()], verbose=False)
        assert scales[0] == 2**14
        assert scales[-1] == scales[-2]
        assert np.isfinite([*history["loss"], *history["val_loss"]]).all()
        assert not np.array_equal(model.get_weights()[0], first[0])

    def test_activations_that_overflow_stop_it_with_the_last_good_weights(self, few):
        model, good = small_model(few), []

        class Spoil(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                good.append(self.model.get_weights())
                self.model.set_weights([1e5 * weight for weight in good[-1]])

        with pytest.raises(TrainingDiverged, match="at step . of epoch 2; the model keeps the weights of epoch 1"):
            kzoo.fit(model, few, epochs=3, callbacks=[Spoil()], verbose=False)
        for ours, theirs in zip(model.get_weights(), good[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


class TestTheEndOfAnEpoch:
    """Gradients that are accumulated and not used yet, and a last batch of one example."""

    def test_accumulated_gradients_are_used_in_the_next_epoch(self, few):
        model, weights, left = small_model(few), [], []

        class Look(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                weights.append(self.model.get_weights()[0])

            def on_epoch_end(self, epoch, logs=None):
                left.append(np.abs(self.model.optimizer._accumulated_gradients[0]).max() > 0)

        weights.append(model.get_weights()[0])
        kzoo.fit(model, few, epochs=3, gradient_accumulation_steps=2, callbacks=[Look()], verbose=False)
        changed = [not np.array_equal(*pair) for pair in itertools.pairwise(weights)]
        assert changed == [False, True, False, True, False, True, False, True, False]  # three batches an epoch
        assert left == [True, False, True]

    def test_a_last_batch_of_one_example_is_left_out(self, few):
        one_more = dataclasses.replace(few, batch_size=191)
        assert one_more.steps_per_epoch == 1
        seen = [labels for _, labels in one_more.train_batches().take(3).as_numpy_iterator()]
        assert [len(labels) for labels in seen] == [191] * 3
        only = dataclasses.replace(few, examples={**few.examples, "train": few.examples["train"].take(np.arange(1))})
        assert only.steps_per_epoch == 1

    def test_statistics_before_validation_are_not_those_of_one_example(self, few):
        """Of 192 examples in batches of 191, the last one has a variance of 0."""
        x = keras.Input(few.input_shape)
        y = keras.layers.BatchNormalization(momentum=0.0)(keras.layers.Flatten()(x))
        model = keras.Model(x, keras.layers.Dense(10)(y))
        kzoo.fit(model, dataclasses.replace(few, batch_size=191), epochs=1, verbose=False)
        assert keras.ops.convert_to_numpy(model.layers[2].moving_variance).mean() > 0.1

    def test_batches_of_one_example_each_train_to_finite_weights(self, few):
        examples = {**few.examples, "train": few.examples["train"].take(np.arange(20))}
        model = small_model(few, norm="batch")
        kzoo.fit(model, dataclasses.replace(few, batch_size=1, examples=examples), epochs=1, verbose=False)
        assert all(np.isfinite(weights).all() for weights in model.get_weights())


def test_the_moving_average_has_statistics_that_fit_it(few):
    """Those of the weights that it averages are of other activations."""
    model = small_model(few, norm="batch", dropout=0.0)
    history = kzoo.fit(model, few, epochs=1, learning_rate=0.1, ema_momentum=0.9, verbose=False)
    kept = [keras.ops.convert_to_numpy(weight) for weight in model.non_trainable_weights]
    assert kzoo.evaluate(model, few, split="validation").loss == pytest.approx(history["val_loss"][0], rel=1e-4)
    refresh_batch_norm(model, few.train_batches().take(3))
    for ours, fitting in zip(kept, model.non_trainable_weights, strict=True):
        np.testing.assert_allclose(ours, fitting, rtol=1e-4, atol=1e-5)


def test_ctrl_c_saves_the_best_weights_so_far(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "kzoo", "train", "image/resnet8_digits", "train.epochs=500", "--out", str(run)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    deadline = time.time() + 300
    while time.time() < deadline and not (run / runs.HISTORY).exists():
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert f"interrupted; the state is saved in {run}" in error
    assert "Traceback" not in error
    assert (run / runs.CURVES).exists()
    model, _ = kzoo.load_run(run)
    assert model.output_shape == (None, 10)


def test_damaged_and_foreign_folders_are_no_runs(tmp_path):
    with pytest.raises(ValueError, match="is not a run directory of kzoo: it has no model.keras"):
        kzoo.load_run(tmp_path)
    for name in (runs.MODEL, runs.DATA, runs.EXAMPLES):
        (tmp_path / name).write_text("x")
    with pytest.raises(ValueError, match="cannot be read"):
        kzoo.load_run(tmp_path)


@pytest.mark.slow
def test_lenet_on_mnist_stays_below_two_gigabytes(shared_data, tmp_path):
    (tmp_path / "mnist").mkdir()
    for file in (shared_data / "mnist").glob("*.gz"):
        (tmp_path / "mnist" / file.name).symlink_to(file)
    program = f"""
        import resource, kzoo
        splits = kzoo.load_dataset("mnist", data_dir={str(tmp_path)!r}, download=False)
        kzoo.fit(kzoo.models.lenet5(splits.input_shape, 10), splits, epochs=2, verbose=False)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) * 1024 < 2e9


class TestRidge:
    """A linear layer solved in closed form, on features as they are."""

    def test_it_equals_the_classifier_of_scikit_learn(self, digits):
        linear_model = pytest.importorskip("sklearn.linear_model")
        keras.utils.set_random_seed(0)
        model = small_model(digits)
        history = kzoo.fit(model, digits, solver="ridge", verbose=False)
        assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history)
        assert len(history["loss"]) == 1
        body = keras.Model(model.input, model.layers[-1].input)
        inputs, labels = as_arrays(digits.eval_batches("train"))
        features = body.predict(inputs, verbose=0).astype("float64")
        features, scale = features / features.std(0), features.std(0)
        theirs = linear_model.RidgeClassifierCV(alphas=solvers.RIDGE_PENALTIES).fit(features, labels)
        tested, labels = as_arrays(digits.test)
        predicted = theirs.predict(body.predict(tested, verbose=0) / scale)
        ours = model.predict(tested, verbose=0).argmax(-1)
        assert (ours == predicted).mean() > 0.995
        assert (ours == labels).mean() > 0.7

    def test_two_classes_get_opposite_scores(self, rng_features):
        model, inputs, labels = rng_features
        solvers.solve_head(model, inputs, labels)
        logits = model.predict(inputs, verbose=0)
        np.testing.assert_allclose(logits[:, 0], -logits[:, 1], atol=1e-4)
        assert (logits.argmax(-1) == labels).all()

    @pytest.fixture
    def rng_features(self):
        rng = np.random.default_rng(0)
        labels = np.arange(40) % 2
        inputs = (rng.normal(size=(40, 5)) + 8 * labels[:, None]).astype("float32")
        x = keras.Input((5,))
        return keras.Model(x, keras.layers.Dense(2)(x)), inputs, labels

    def test_a_model_that_ends_otherwise_is_refused(self, rng_features):
        model, inputs, labels = rng_features
        other = keras.Model(model.input, keras.layers.Softmax()(model.output))
        with pytest.raises(ValueError, match="ends in softmax"):
            solvers.solve_head(other, inputs, labels)


def test_an_ensemble_averages_probabilities(digits):
    models = [small_model(digits) for _ in range(2)]
    for model in models:
        model.set_weights([w + np.random.default_rng(id(model)).normal(0, 0.1, w.shape) for w in model.get_weights()])
    x = next(iter(digits.test))[0]
    mean = np.mean([keras.ops.softmax(m.predict(x, verbose=0)) for m in models], axis=0)
    both = kzoo.ensemble(models)
    np.testing.assert_allclose(keras.ops.softmax(both.predict(x, verbose=0)), mean, rtol=1e-4, atol=1e-6)
    assert kzoo.evaluate(both, digits).examples == 360
    with pytest.raises(ValueError, match="one input and one output shape"):
        kzoo.ensemble([models[0], small_model(digits, num_classes=3)])


class TestFreeze:
    """Fine-tuning on digits whose contrast is another one than in the first training."""

    @pytest.fixture
    def trained(self, digits):
        keras.utils.set_random_seed(0)
        model = kzoo.models.resnet8(digits.input_shape, digits.num_classes, width=8, dialect="pytorch")
        kzoo.fit(model, digits, epochs=3, learning_rate=1e-2, verbose=False)
        return model

    @pytest.fixture
    def faint(self, digits):
        """Digits of a tenth of the contrast, prepared as before."""
        examples = {name: Examples(part.inputs // 10, part.labels) for name, part in digits.examples.items()}
        return dataclasses.replace(digits, examples=examples)

    def features(self, model, digits):
        stage = keras.Model(model.input, model.get_layer("stage2").output)
        return stage.predict(digits.test, verbose=0)

    def test_the_frozen_part_gives_the_same_features_after_training(self, trained, digits, faint):
        before = self.features(trained, digits)
        names = kzoo.freeze(trained, until="stage2")
        assert {"stem.conv1", "stem_conv1"} & set(names)  # PyTorch allows no dots
        assert not [name for name in names if name.startswith(("stage3", "logits"))]
        kzoo.fit(trained, faint, epochs=1, learning_rate=1e-2, verbose=False)
        np.testing.assert_array_equal(self.features(trained, digits), before)

    @pytest.mark.slow
    def test_it_matters_that_frozen_normalisations_keep_their_statistics(self, trained, digits, faint):
        """The trap: weights that no gradient changes, under statistics that every batch changes."""
        before = self.features(trained, digits)
        accuracy = kzoo.evaluate(trained, digits).accuracy
        for layer in trained.layers:
            if not isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
        for weight in trained.trainable_weights:
            weight.trainable = False
        for inputs, _ in faint.train:
            trained(inputs, training=True)
        assert np.abs(self.features(trained, digits) - before).max() > 0.1 * before.std()
        assert kzoo.evaluate(trained, digits).accuracy < accuracy - 0.05

    def test_an_unknown_stage(self, trained):
        with pytest.raises(ValueError, match="unknown stage of resnet8 'stage9'; did you mean stage"):
            kzoo.freeze(trained, until="stage9")
