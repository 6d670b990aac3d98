"""Go on after an interruption, to the same last bit; and what can go wrong with files, folders and processes."""

import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import filelock
import keras
import numpy as np
import pytest
from networks import sampled
from small_data import AUGMENT, small_model, small_splits

import kzoo
from kzoo.data.splits import Examples
from kzoo.tasks import Classification
from kzoo.training import checkpoint, runs

EPOCHS = 3


class Killed(BaseException):
    """What a test raises in place of a kill."""


class KillAt(keras.callbacks.Callback):
    """Die after a number of steps of this process, without a word."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Killed


@pytest.fixture(scope="module")
def splits():
    """The digits in 21 batches, moved about."""
    return kzoo.load_dataset("digits", batch_size=64, augment={"shift": 1, "rotation": 10})


@pytest.fixture(scope="module")
def plain():
    """The digits in 21 batches, as they are."""
    return kzoo.load_dataset("digits", batch_size=64)


def new_model(splits, dropout=0.5, seed=0, norm="none"):
    keras.utils.set_random_seed(seed)
    options = {"filters": (4,), "padding": "same", "dropout": dropout, "norm": norm}
    return kzoo.create_model("convnet", splits.input_shape, 10, **options)


def train(splits, run=None, *, dropout=0.5, norm="none", kill_at=None, **options):
    """Train a small network, dying after some steps if asked to; return its weights and history, or None."""
    model = new_model(splits, dropout, norm=norm)
    callbacks = [KillAt(kill_at)] if kill_at else []
    settings = {"epochs": EPOCHS, "checkpoint_steps": 5, "deterministic": True, "verbose": False} | options
    try:
        history = kzoo.fit(model, splits, run_dir=run, callbacks=callbacks, **settings)
    except Killed:
        return None
    return model.get_weights(), history


def assert_equal(once, again):
    for ours, theirs in zip(once[0], again[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert once[1] == again[1]


PLACES = {
    "first steps": [2],
    "middle of an epoch": [33],
    "boundary of an epoch": [42],
    "last step": [63],
    "twice in one epoch": [27, 8],
    "three times": [12, 20, 25],
}


OPTIONS = {
    "no dropout": {"dropout": 0.0},
    "batch normalisation": {"norm": "batch"},
    "moving average": {"ema_momentum": 0.9},
    "Nesterov": {"optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 1e-4},
    "accumulated gradients": {"gradient_accumulation_steps": 4},
    "moving average and batch normalisation": {"ema_momentum": 0.9, "norm": "batch", "swa_epochs": 2},
    "plateau and warm-up": {"schedule": "plateau", "warmup_ratio": 0.5, "learning_rate": 0.01},
    "early stopping": {"patience": 1, "learning_rate": 1e-9},
    "average of the last epochs": {"swa_epochs": 2},
    "average of the last epochs and early stopping": {"swa_epochs": 2, "patience": 1, "learning_rate": 1e-9},
}


QUICK = ("moving average and batch normalisation",)


class TestTheSameLastBit:
    """An interrupted and resumed training against one that was not."""

    @pytest.fixture(scope="class")
    def uninterrupted(self, splits):
        return train(splits)

    @pytest.mark.parametrize("place", sampled([(place,) for place in PLACES], ("twice in one epoch",)))
    def test_wherever_it_is_interrupted(self, splits, uninterrupted, tmp_path, place):
        for step in PLACES[place]:
            assert train(splits, tmp_path, kill_at=step) is None
        assert_equal(train(splits, tmp_path), uninterrupted)

    @pytest.mark.parametrize("name", sampled([(name,) for name in OPTIONS], QUICK))
    def test_whatever_the_recipe(self, splits, tmp_path, name):
        options = OPTIONS[name]
        assert train(splits, tmp_path, kill_at=33, **options) is None
        assert_equal(train(splits, tmp_path, **options), train(splits, **options))

    @pytest.mark.parametrize("policy", sampled([("mixed_bfloat16",), ("mixed_float16",)], ("mixed_float16",)))
    def test_in_mixed_precision(self, splits, tmp_path, policy):
        keras.config.set_dtype_policy(policy)
        try:
            assert train(splits, tmp_path, kill_at=33) is None
            assert_equal(train(splits, tmp_path), train(splits))
        finally:
            keras.config.set_dtype_policy("float32")

    def test_without_augmentation(self, plain, tmp_path):
        assert train(plain, tmp_path, kill_at=33) is None
        assert_equal(train(plain, tmp_path), train(plain))

    @pytest.mark.parametrize("write", sampled([("write_file",), ("write_json",)], ("write_json",)))
    def test_interrupted_while_a_checkpoint_is_written(self, splits, uninterrupted, tmp_path, monkeypatch, write):
        real, count = getattr(checkpoint, write), []

        def dying(path, content):
            count.append(path)
            if len(count) == 3:
                path.with_name(f".{path.name}.halfdone{path.suffix}").write_bytes(b"half of it")
                raise Killed
            real(path, content)

        monkeypatch.setattr(checkpoint, write, dying)
        assert train(splits, tmp_path) is None
        monkeypatch.undo()
        assert_equal(train(splits, tmp_path), uninterrupted)
        assert sorted(p.name for p in (tmp_path / runs.CHECKPOINTS).iterdir()) == [runs.LOCK, runs.TRAINING]

    def test_where_several_steps_are_one_call(self, splits, uninterrupted, tmp_path, monkeypatch):
        """No callback looks at the batches, so that they come in sevens: 21 an epoch."""
        real, steps = checkpoint.save, []

        def dying(folder, state, keep):
            steps.append(state.step)
            if len(steps) == 5:
                raise Killed
            real(folder, state, keep)

        monkeypatch.setattr(checkpoint, "save", dying)
        assert train(splits, tmp_path) is None
        assert steps == [7, 14, 21, 28, 35]
        assert_equal(train(splits, tmp_path), uninterrupted)
        assert_equal(train(splits, kill_at=1000), uninterrupted)  # one by one

    @pytest.mark.slow
    def test_the_warm_up_before_a_plateau_is_the_same_with_several_steps_a_call(self, splits):
        """A callback that looks at each batch makes calls of one step; without it they have seven."""
        options = OPTIONS["plateau and warm-up"]
        assert_equal(train(splits, kill_at=1000, **options), train(splits, **options))

    @pytest.mark.slow
    def test_by_the_command(self, tmp_path):
        """SIGTERM ends the process with 143; the same command goes on; both give what one run gives."""
        overrides = ["train.epochs=4", "train.deterministic=true", "train.checkpoint_steps=3"]
        command = [sys.executable, "-m", "kzoo", "train", "image/resnet8_digits", *overrides, "--out"]
        process = subprocess.Popen([*command, tmp_path / "a"], stderr=subprocess.PIPE, text=True)
        wait_for(lambda: checkpoint.steps(tmp_path / "a" / runs.CHECKPOINTS))
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=120)
        assert process.returncode == 143, error
        assert "the same command resumes" in error
        first = subprocess.run([*command, tmp_path / "a"], capture_output=True, text=True)
        assert first.returncode == 0, first.stderr
        assert "resuming at epoch" in first.stdout
        second = subprocess.run([*command, tmp_path / "b"], capture_output=True, text=True)
        assert second.returncode == 0, second.stderr
        for name in (runs.METRICS, runs.HISTORY):
            assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()
        again = subprocess.run([*command, tmp_path / "a"], capture_output=True, text=True)
        assert again.returncode == 0
        assert "is complete" in again.stdout


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestDamage:
    """Checkpoints and folders that are not as they were left."""

    @pytest.fixture(scope="class")
    def killed(self, splits, tmp_path_factory):
        folder = tmp_path_factory.mktemp("killed")
        assert train(splits, folder, kill_at=33) is None
        return folder

    @pytest.fixture
    def stopped(self, killed, tmp_path):
        shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
        return tmp_path / runs.CHECKPOINTS

    @pytest.fixture(scope="class")
    def uninterrupted(self, splits):
        return train(splits)

    def test_the_newest_two_are_kept(self, stopped):
        assert checkpoint.steps(stopped) == [25, 30]

    @pytest.mark.parametrize("file", ["000000030.safetensors", "000000030.json"])
    @pytest.mark.parametrize("harm", sampled([("truncated",), ("one bit",), ("empty",)], ("one bit",)))
    def test_a_damaged_one_is_found_and_the_one_before_it_used(self, splits, uninterrupted, stopped, file, harm):
        content = bytearray((stopped / file).read_bytes())
        content[len(content) // 2] ^= 1
        (stopped / file).write_bytes({"truncated": content[:-7], "one bit": content, "empty": b""}[harm])
        with pytest.warns(UserWarning, match="checkpoint 30 in .* is damaged .*; going back to the one before"):
            again = train(splits, stopped.parent)
        assert_equal(again, uninterrupted)

    @pytest.mark.slow
    def test_all_damaged_begins_from_the_start(self, splits, uninterrupted, stopped):
        for path in stopped.glob("*.safetensors"):
            path.write_bytes(b"")
        with pytest.warns(UserWarning, match="is damaged"):
            assert_equal(train(splits, stopped.parent), uninterrupted)

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"learning_rate": 0.5}, "train.learning_rate: 0.001 there, 0.5 now"),
            ({"epochs": 9}, "train.epochs: 3 there, 9 now"),
        ],
    )
    def test_that_of_another_recipe_is_refused(self, splits, stopped, options, message):
        with pytest.raises(ValueError, match=message):
            train(splits, stopped.parent, **options)
        assert checkpoint.steps(stopped) == [25, 30]

    def test_that_of_another_network_is_refused(self, splits, stopped):
        keras.utils.set_random_seed(0)
        other = kzoo.models.resnet8(splits.input_shape, 10)
        with pytest.raises(ValueError, match="holds another training: model: 'convnet' there, 'resnet8' now"):
            kzoo.fit(other, splits, epochs=EPOCHS, run_dir=stopped.parent, verbose=False, deterministic=True)

    def test_that_of_other_data_is_refused(self, plain, stopped):
        with pytest.raises(ValueError, match="data.augment"):
            train(plain, stopped.parent)

    def test_a_complete_one_of_a_network_with_other_hyperparameters_is_refused(self, plain, tmp_path):
        """All these have weights of the same shapes, so that nothing else would tell."""

        def trained(input_shape=(8, 8, 1), **options):
            keras.utils.set_random_seed(0)
            model = kzoo.create_model("convnet", input_shape, 10, filters=(8,), flatten=False, **options)
            return kzoo.fit(model, data, epochs=1, run_dir=tmp_path, verbose=False)

        data = plain
        assert trained() == trained()
        with pytest.raises(ValueError, match="network.activation: 'relu' there, 'gelu' now"):
            trained(activation="gelu")
        larger = dataclasses.replace(plain.preprocess, image_size=(16, 16))
        data = dataclasses.replace(plain, preprocess=larger)
        with pytest.raises(
            ValueError, match=r"data.preprocess.image_size: '\[8, 8\]' there, '\[16, 16\]' now; input_shape"
        ):
            trained((16, 16, 1))

    @pytest.mark.parametrize("what", ["labels", "inputs", "class names", "preprocessing"])
    def test_that_of_data_with_other_content_is_refused(self, splits, stopped, what):
        train_split = splits.examples["train"]
        labels, inputs = train_split.labels.copy(), train_split.inputs.copy()
        labels[7], inputs[7, 0, 0, 0] = (labels[7] + 1) % 10, 3
        names = ("0", "2", "1", *"3456789")
        others = {
            "labels": {"examples": splits.examples | {"train": Examples(train_split.inputs, labels)}},
            "inputs": {"examples": splits.examples | {"train": Examples(inputs, train_split.labels)}},
            "class names": {"task": Classification(names)},
            "preprocessing": {"preprocess": dataclasses.replace(splits.preprocess, mean=(1.0,))},
        }
        message = {
            "labels": "data.content.train.labels: '[0-9a-f]{16}' there",
            "inputs": "data.content.train.inputs: '[0-9a-f]{16}' there",
            "class names": "data.class_names.1: '1' there, '2' now",
            "preprocessing": r"data.preprocess.mean: '\[78.1.*\]' there, '\[1.0\]' now",
        }
        with pytest.raises(ValueError, match=f"holds another training: {message[what]}"):
            train(dataclasses.replace(splits, **others[what]), stopped.parent)
        assert checkpoint.steps(stopped) == [25, 30]

    def test_a_config_of_another_experiment_is_refused(self, tmp_path):
        experiment = kzoo.load_experiment("image/resnet8_digits", ["train.epochs=1"])
        run = tmp_path / "run"
        runs.write_config(run, experiment | {"seed": 3})
        with pytest.raises(ValueError, match="holds another training: seed: 3 there, 0 now"):
            kzoo.run_experiment(experiment, run, verbose=False)

    def test_a_full_disk_does_not_end_the_training(self, splits, uninterrupted, tmp_path, monkeypatch):
        def full(path, content):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

        assert train(splits, tmp_path, kill_at=23) is None
        monkeypatch.setattr(checkpoint, "write_file", full)
        with pytest.warns(UserWarning, match="cannot be written .No space left on device.; training continues"):
            assert train(splits, tmp_path, kill_at=23) is None
        assert checkpoint.steps(tmp_path / runs.CHECKPOINTS) == [15, 20]
        monkeypatch.undo()
        assert_equal(train(splits, tmp_path), uninterrupted)

    def test_results_that_cannot_be_written_are_an_error_at_the_end(self, splits, tmp_path, monkeypatch):
        def read_only(path, content):
            raise OSError(errno.EROFS, "Read-only file system", str(path))

        monkeypatch.setattr(runs, "write_file", read_only)
        with (
            pytest.warns(UserWarning, match="Read-only file system"),
            pytest.raises(ValueError, match="the results cannot be written to .*: Read-only file system"),
        ):
            train(splits, tmp_path)

    def test_a_folder_in_use_is_refused(self, splits, tmp_path):
        opened = f"with runs.opened({str(tmp_path)!r}): print('in', flush=True); input()"
        program = f"from kzoo.training import runs\n{opened}"
        other = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert other.stdout.readline() == "in\n"
            with pytest.raises(ValueError, match="is in use: another process trains in it"):
                train(splits, tmp_path)
            with pytest.raises(ValueError, match="is in use"):
                train(splits, tmp_path, restart=True)
        finally:
            other.communicate("\n", timeout=60)
        with runs.opened(tmp_path):
            pass

    def test_a_complete_training_is_not_done_again(self, splits, tmp_path, uninterrupted):
        train(splits, tmp_path)
        before = (tmp_path / runs.MODEL).read_bytes()
        assert_equal(train(splits, tmp_path), uninterrupted)
        assert (tmp_path / runs.MODEL).read_bytes() == before


def test_writing_by_the_clock_leaves_time_for_training(splits, tmp_path, monkeypatch):
    """The first is due at once, the next when forty times its duration have passed."""
    written = []
    real = checkpoint.save

    def slow(folder, state, keep):
        written.append(state.step)
        time.sleep(0.2)
        real(folder, state, keep)

    monkeypatch.setattr(checkpoint, "save", slow)
    train(splits, tmp_path, checkpoint_steps=None, checkpoint_minutes=0)
    assert written[0] == 7  # the first call
    assert len(written) < 10


class SignalAt(keras.callbacks.Callback):
    """Send this process a signal, once or twice, during one of its steps."""

    def __init__(self, step, number, times=1):
        super().__init__()
        self.left, self.number, self.times = step, number, times

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        for _ in range(self.times if self.left == 0 else 0):
            os.kill(os.getpid(), self.number)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["text", "audio", "timeseries"])
class TestEveryModality:
    """What the tests above show for images; fifteen steps in three epochs."""

    @pytest.fixture
    def fit(self, modality, tmp_path):
        data, run = small_splits(modality, AUGMENT[modality]), tmp_path / "run"

        def trained(*callbacks, run=run):
            model = small_model(data)
            options = {"epochs": EPOCHS, "checkpoint_steps": 2, "deterministic": True, "verbose": False}
            history = kzoo.fit(model, data, run_dir=run, callbacks=callbacks, **options)
            return model.get_weights(), history

        return trained

    def test_killed_stopped_and_interrupted_twice(self, fit, tmp_path):
        checkpoints = tmp_path / "run" / runs.CHECKPOINTS
        with pytest.raises(Killed):
            fit(KillAt(5))
        assert checkpoint.steps(checkpoints) == [2, 4]
        with pytest.raises(SystemExit) as stopped:
            fit(SignalAt(3, signal.SIGTERM))
        assert stopped.value.code == 128 + signal.SIGTERM
        assert checkpoint.steps(checkpoints) == [6, 7]
        with pytest.raises(KeyboardInterrupt):
            fit(SignalAt(2, signal.SIGINT, times=2))  # the second one does not wait for the state to be saved
        assert checkpoint.steps(checkpoints) == [7, 8]
        with filelock.FileLock(checkpoints / runs.LOCK), pytest.raises(ValueError, match="is in use"):
            fit()
        assert_equal(fit(), fit(run=None))


def train_in_a_process(folder, modality):
    """What a process of the test below does until it is killed, or done."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    train_modality(modality, folder)


def train_modality(modality, folder=None):
    if modality == "image":
        splits = kzoo.load_dataset("digits", batch_size=64, augment={"shift": 1, "rotation": 10})
        return train(splits, folder, checkpoint_steps=1)
    data = small_splits(modality, AUGMENT[modality])
    model = small_model(data)
    options = {"epochs": 20, "checkpoint_steps": 1, "deterministic": True, "verbose": False}
    history = kzoo.fit(model, data, run_dir=folder, **options)
    return model.get_weights(), history


@pytest.mark.slow
@pytest.mark.parametrize("modality, least", [("image", 50), ("text", 10), ("audio", 10)])
def test_killed_at_random_moments(modality, least, tmp_path):
    """SIGKILL, at whatever it is doing, until one process reaches the end: the weights are those of no interruption."""
    expected = train_modality(modality)
    random, kills, rounds = np.random.default_rng(0), 0, 0
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tensorflow", "keras", "kzoo", "kzoo.training.callbacks"])
    while kills < least:
        run = tmp_path / f"round{rounds}"
        rounds += 1
        while True:
            process = processes.Process(target=train_in_a_process, args=(run, modality))
            process.start()
            process.join(random.uniform(3, 9) if kills < least else 300)
            if process.exitcode is not None:
                assert process.exitcode == 0
                break
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
        model, _ = kzoo.load_run(run)
        for ours, theirs in zip(model.get_weights(), expected[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert json.loads((run / runs.CHECKPOINTS / runs.TRAINING).read_text())["complete"]
