"""Keras's own callbacks in `kzoo.fit`: each does what it does in `model.fit`."""

import csv

import keras
import numpy as np
import pytest

import kzoo
from kzoo.training.steps_per_execution import acts_on_batches


@pytest.fixture(scope="module")
def small():
    """Digits, few of them."""
    return kzoo.load_dataset("digits", batch_size=64, limit=192)


def train(data, *callbacks, epochs=4, norm="none", **options):
    """Train a tiny network with callbacks; return the model and its history."""
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("convnet", data.input_shape, 10, filters=(4,), padding="same", dropout=0.0, norm=norm)
    return model, kzoo.fit(model, data, epochs=epochs, callbacks=callbacks, verbose=False, **options)


def test_early_stopping(small):
    stop = keras.callbacks.EarlyStopping("val_accuracy", patience=1, restore_best_weights=True)
    _, history = train(small, stop, epochs=10, learning_rate=1e-9)
    assert len(history["loss"]) == 2
    assert stop.stopped_epoch == 1


def test_model_checkpoint(small, tmp_path):
    path = tmp_path / "{epoch}.keras"
    saver = keras.callbacks.ModelCheckpoint(path, monitor="val_accuracy", save_best_only=True)
    _, history = train(small, saver, learning_rate=1e-2)
    best = max(history["val_accuracy"])
    newest = max(tmp_path.glob("*.keras"), key=lambda file: int(file.stem))
    loaded = keras.models.load_model(newest)
    assert loaded.evaluate(small.validation, verbose=0, return_dict=True)["accuracy"] == pytest.approx(best)


def test_model_checkpoint_saves_the_moving_average_that_was_validated(small, tmp_path):
    path = tmp_path / "last.keras"
    options = {"epochs": 1, "learning_rate": 1e-2, "ema_momentum": 0.5, "norm": "batch"}
    model, history = train(small, keras.callbacks.ModelCheckpoint(path), **options)
    loaded = keras.models.load_model(path)
    assert loaded.evaluate(small.validation, verbose=0, return_dict=True)["loss"] == pytest.approx(
        history["val_loss"][0], rel=1e-5
    )
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("monitor", ["val_accuracy", "val_loss", "val_crossentropy"])
def test_reduce_lr_on_plateau_knows_the_direction_of_the_metrics(small, monitor):
    callback = keras.callbacks.ReduceLROnPlateau(monitor, factor=0.1, patience=1, min_delta=10.0, cooldown=0)
    _, history = train(small, callback, schedule="constant", learning_rate=1e-3)
    assert callback.monitor_op is (keras.ops.greater if monitor == "val_accuracy" else keras.ops.less)
    assert history["learning_rate"] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])


def test_learning_rate_scheduler(small):
    callback = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 1e-3 / (1 + epoch))
    _, history = train(small, callback, schedule="constant")
    assert history["learning_rate"] == pytest.approx([1e-3, 1e-3 / 2, 1e-3 / 3, 1e-3 / 4])


@pytest.mark.parametrize("options", [{}, {"schedule": "plateau"}, {"schedule": "constant", "warmup_ratio": 0.1}])
def test_two_masters_of_the_learning_rate_are_refused(small, options):
    with pytest.raises(ValueError, match="LearningRateScheduler sets the learning rate, and so does .*constant"):
        train(small, keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3), **options)


def test_csv_logger(small, tmp_path):
    _, history = train(small, keras.callbacks.CSVLogger(tmp_path / "log.csv"))
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [float(row["val_loss"]) for row in rows] == pytest.approx(history["val_loss"])


def test_tensorboard(small, tmp_path):
    train(small, keras.callbacks.TensorBoard(tmp_path, write_graph=False), epochs=1)
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_backup_and_restore(small, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        train(small, keras.callbacks.BackupAndRestore(tmp_path), Stop())
    _, history = train(small, keras.callbacks.BackupAndRestore(tmp_path))
    assert len(history["loss"]) == 2  # of four


def test_a_lambda_that_looks_at_batches_is_called_for_each(small):
    seen = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    train(small, callback, epochs=2)
    assert seen == [*range(small.steps_per_epoch)] * 2


def test_callbacks_that_act_on_batches_are_known():
    assert acts_on_batches(keras.callbacks.LambdaCallback(on_train_batch_begin=print))
    assert acts_on_batches(keras.callbacks.LambdaCallback(on_test_batch_end=print))
    assert acts_on_batches(keras.callbacks.TerminateOnNaN())
    assert not acts_on_batches(keras.callbacks.LambdaCallback(on_epoch_end=print))
    assert not acts_on_batches(keras.callbacks.ReduceLROnPlateau())


def test_callbacks_do_not_change_the_training(small):
    quiet, _ = train(small)
    watched, _ = train(small, keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None))
    for ours, theirs in zip(quiet.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
