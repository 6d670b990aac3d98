"""Several devices and several processes: the weights of one device, one writer, and one failure ends all.

Run as a program (`main`), this file is one of the processes of its own tests.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import kzoo
from kzoo.data.splits import Shard
from kzoo.training import checkpoint, distributed, runs

needs_jax = pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="jax is not installed")
RECIPE = {"epochs": 2, "checkpoint_steps": 5, "verbose": False}
LONG = {"epochs": 20, "checkpoint_steps": None}
RESUME = "start all processes again, and training resumes from its last checkpoint"
DEFAULTS = {"logical": 1, "single": False, "kill": None, "wrong": False, "model": {}, "fit": {}}


class KillAt(keras.callbacks.Callback):
    """Send a signal to this process after some steps, then take a rest at each step, so that it arrives in time."""

    def __init__(self, step, number):
        super().__init__()
        self.left, self.number = step, number

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        elif self.left < 0:
            time.sleep(0.2)


def main(folder, options):
    """Train a network with dropout on shifted digits; leave weights and history in a file."""
    options = DEFAULTS | json.loads(options)
    if options["logical"] > 1:
        import tensorflow as tf

        parts = [tf.config.LogicalDeviceConfiguration()] * options["logical"]
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    distributed.CONNECT_SECONDS = 60
    with distributed.process_group():
        data = kzoo.load_dataset("digits", batch_size=64, augment={"shift": 1, "mixup": 0.2})
        train = data.examples["train"].take(np.arange(320))
        data = dataclasses.replace(data, examples={**data.examples, "train": train})
        if options["single"]:
            train_one(data, folder, "single", contextlib.nullcontext, options)
        train_one(data, folder, str(distributed.process()[0]), distributed.devices, options)
        if options["wrong"]:
            options["fit"]["learning_rate"] = 0.5
            train_one(data, folder, "wrong", distributed.devices, options)


def train_one(data, folder, name, scope, options):
    """Train on some devices, and leave the result under a name."""
    run = f"{folder}/{'single' if name == 'single' else 'run'}"
    with scope():
        keras.utils.set_random_seed(0)
        hyperparameters = {"filters": (4,), "padding": "same", "dropout": 0.5} | options["model"]
        model = kzoo.create_model("convnet", data.input_shape, 10, **hyperparameters)
        callbacks = [KillAt(*options["kill"])] if options["kill"] else []
        history = kzoo.fit(model, data, run_dir=run, callbacks=callbacks, **RECIPE | options["fit"])
        report = kzoo.evaluate(model, data)
    history["test"] = [report.loss, report.accuracy]
    np.savez(f"{folder}/{name}.npz", *model.get_weights(), history=json.dumps(history))


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def start(folder, count=1, *, backend="jax", flags="", each=(), **options):
    """Start as many processes as are asked for; `each` holds options of single ones."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "XLA_FLAGS": flags}
    port, processes = free_port(), []
    for index in range(count):
        if count > 1:
            environment["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = f"localhost:{port}"
            environment["KERAS_DISTRIBUTION_NUM_PROCESSES"] = str(count)
            environment["KERAS_DISTRIBUTION_PROCESS_ID"] = str(index)
        own = options | (each[index] if each else {})
        command = [sys.executable, __file__, folder, json.dumps(own)]
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
    return processes


def ended(processes, seconds=300):
    """Wait for processes to end; return their statuses and what they wrote to standard error."""
    try:
        errors = [process.communicate(timeout=seconds)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], errors


def result(folder, name):
    """Return the weights and the history that a process left."""
    with np.load(folder / f"{name}.npz") as file:
        weights = [file[f"arr_{number}"] for number in range(len(file.files) - 1)]
        return weights, json.loads(str(file["history"]))


def trained(folder, count=1, **options):
    """Train; return the result of each process."""
    statuses, errors = ended(start(folder, count, **options))
    assert statuses == [0] * count, "".join(errors)
    return [result(folder, index) for index in range(count)]


def assert_close(ours, theirs, tolerance):
    for one, other in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)
    for name in theirs[1]:
        assert ours[1][name] == pytest.approx(theirs[1][name], abs=10 * tolerance)


def assert_equal(ours, theirs):
    for one, other in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert ours[1] == theirs[1]


class TestSettings:
    @pytest.fixture(autouse=True)
    def on_jax(self, monkeypatch):
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        for variable in distributed.VARIABLES.values():
            monkeypatch.delenv(variable, raising=False)

    def test_they_come_from_arguments_or_the_environment(self, monkeypatch):
        assert distributed.settings_of(None, None, None) is None
        assert distributed.settings_of("a:1", 2, 0) == ("a:1", 2, 0)
        for variable, value in zip(distributed.VARIABLES.values(), ("a:1,b:2", "2", "1"), strict=True):
            monkeypatch.setenv(variable, value)
        assert distributed.settings_of(None, None, None) == ("a:1", 2, 1)
        assert distributed.settings_of("c:3", None, 0) == ("c:3", 2, 0)

    @pytest.mark.parametrize(
        "given, message",
        [
            (("a:1", None, 0), "num_processes is missing .or KERAS_DISTRIBUTION_NUM_PROCESSES."),
            (("a:1", 2, 2), "process_id must be a number from 0 to below num_processes, got 2 of 2"),
            (("a:1", 2, -1), "process_id must be a number from 0"),
            (("a:1", "two", 0), "process_id must be a number from 0"),
            (("localhost", 2, 1), "hosts must be host:port of the first process, got 'localhost'"),
            ((":12", 2, 1), "hosts must be host:port of the first process, got ':12'"),
            (("localhost:port", 2, 1), "hosts must be host:port of the first process"),
        ],
    )
    def test_a_wrong_one_is_explained(self, given, message):
        with pytest.raises(ValueError, match=message):
            distributed.settings_of(*given)

    def test_another_backend_is_refused(self, monkeypatch):
        monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
        with pytest.raises(ValueError, match="several processes need the JAX backend .*, not tensorflow"):
            distributed.settings_of("a:1", 2, 0)


class TestShards:
    """Which rows of a batch a process reads."""

    @pytest.mark.parametrize("augment", [None, {"shift": 1, "mixup": 0.2}])
    def test_the_parts_of_all_make_one_batch(self, augment):
        whole = kzoo.load_dataset("digits", batch_size=48, augment=augment)  # 1,293 = 26 * 48 + 45 examples
        parts = [dataclasses.replace(whole, shard=Shard(index, 2, 4)).train_batches(26).take(2) for index in range(2)]
        for batch, pair in zip(whole.train_batches(26).take(2), zip(*parts, strict=True), strict=True):
            for own, theirs in zip(batch, zip(*pair, strict=True), strict=True):
                together = np.concatenate(theirs)
                assert len(together) == len(own) - len(own) % 4
                if augment is None or len(own) == 48:  # what is left out is no partner for mixing either
                    np.testing.assert_array_equal(together, own[: len(together)])

    @pytest.mark.parametrize("devices, rest", [(1, [13]), (4, [12]), (8, []), (16, [])])
    def test_a_rest_that_is_less_than_two_each_is_no_batch(self, digits, devices, rest):
        splits = dataclasses.replace(digits, batch_size=64, shard=Shard(0, 1, devices))  # 1,293 = 20 * 64 + 13
        assert splits.steps_per_epoch == 20 + len(rest)
        sizes = [len(labels) for _, labels in splits.train_batches().take(22)]
        assert sizes == ([64] * 20 + rest + [64, 64])[:22]

    def test_a_batch_that_cannot_be_divided_names_those_that_can(self, digits, monkeypatch):
        monkeypatch.setattr(distributed, "shard_of_devices", lambda: Shard(0, 1, 6))
        with pytest.raises(ValueError, match="a batch of 32 cannot be .* over 6 devices; batch_size 30 or 36"):
            distributed.shard(digits)
        with pytest.raises(ValueError, match="batch_size 6 can"):
            distributed.shard(dataclasses.replace(digits, batch_size=4))

    def test_one_process_alone_reads_all(self, digits):
        assert distributed.shard(digits) == digits
        assert distributed.process() == (0, 1)
        assert distributed.broadcast_object(lambda: 3) == 3


@needs_jax
def test_a_port_in_use_is_one_line(monkeypatch):
    import jax

    def in_use(*arguments, **options):
        raise jax.errors.JaxRuntimeError("UNKNOWN: Failed to start RPC server")  # as seen

    monkeypatch.setattr(jax.distributed, "initialize", in_use)
    with pytest.raises(ValueError, match="cannot listen at localhost:4000, which may be in use .*choose another port"):
        distributed.rendezvous("localhost:4000", 2, 0)


class TestDevicesOfOneMachine:
    """Without dropout on TensorFlow, where each device draws it for itself."""

    @pytest.mark.slow
    def test_a_mirrored_strategy_trains_as_one_device(self, tmp_path):
        options = {"backend": "tensorflow", "logical": 2, "single": True, "model": {"dropout": 0.0}}
        assert_close(trained(tmp_path, **options)[0], result(tmp_path, "single"), 1e-5)


@needs_jax
class TestJax:
    """One training on one device, on four, and by two processes of which one was killed in between."""

    @pytest.fixture(scope="class")
    def four_devices(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("four")
        return trained(folder, flags="--xla_force_host_platform_device_count=4", single=True)[0], folder

    @pytest.fixture(scope="class")
    def one(self, four_devices):
        return result(four_devices[1], "single")

    @pytest.fixture(scope="class")
    def killed(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("killed")
        outcome = ended(start(folder, 2, each=[{}, {"kill": [8, int(signal.SIGKILL)]}]))
        return folder, *outcome, checkpoint.steps(folder / "run" / runs.CHECKPOINTS)

    @pytest.fixture(scope="class")
    def resumed(self, killed):
        """Resume to the end, then train something else in the same run directory, which is an error."""
        return ended(start(killed[0], 2, wrong=True))

    @pytest.mark.slow
    def test_four_devices_train_as_one(self, four_devices, one):
        assert_close(four_devices[0], one, 1e-5)

    @pytest.mark.slow
    def test_a_killed_process_ends_the_others(self, killed):
        _, statuses, errors, steps = killed
        assert statuses[1] == -signal.SIGKILL
        assert statuses[0] not in (0, None)
        assert RESUME in errors[0] or "another task died" in errors[0]  # kzoo's words or JAX's, whoever sees it first
        assert steps[-1] == 5

    @pytest.mark.slow
    def test_two_processes_that_resume_are_equal_and_train_as_one(self, killed, resumed, one):
        first, second = (result(killed[0], index) for index in range(2))
        assert_equal(second, first)
        assert_close(first, one, 1e-5)

    @pytest.mark.slow
    def test_the_run_directory_is_written_by_the_first(self, killed, resumed):
        run = killed[0] / "run"
        assert json.loads((run / runs.CHECKPOINTS / runs.TRAINING).read_text())["complete"]
        assert len(list((run / runs.TENSORBOARD / "train").iterdir())) == 2  # one a start
        assert not [path for path in run.iterdir() if path.name.startswith(".")]
        model, _ = kzoo.load_run(run)
        for ours, theirs in zip(model.get_weights(), result(killed[0], 0)[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.slow
    def test_an_error_of_the_first_is_raised_by_all(self, resumed):
        statuses, errors = resumed
        assert statuses == [2, 2]
        assert all("holds another training: train.learning_rate: 0.001 there, 0.5 now" in error for error in errors)


@needs_jax
@pytest.mark.slow
class TestProcesses:
    @pytest.fixture(scope="class")
    def one(self, tmp_path_factory):
        return trained(tmp_path_factory.mktemp("one"))[0]

    @pytest.fixture(scope="class")
    def two(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("two")
        return folder, trained(folder, 2)

    @pytest.fixture(scope="class")
    def long(self, tmp_path_factory):
        return trained(tmp_path_factory.mktemp("long"), 2, fit=LONG)[0]

    @pytest.mark.parametrize("victim", [0, 1])
    def test_a_killed_run_resumes_to_equal_weights(self, two, tmp_path, victim):
        kill = {"kill": [8, int(signal.SIGKILL)]}
        statuses, _ = ended(start(tmp_path, 2, each=[kill if index == victim else {} for index in range(2)]))
        assert statuses[victim] == -signal.SIGKILL
        assert statuses[1 - victim] not in (0, None)
        assert checkpoint.steps(tmp_path / "run" / runs.CHECKPOINTS)[-1] == 5
        self.check_resumed(tmp_path, two[1][0])

    @pytest.mark.parametrize("victim", [0, 1])
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_to_any_process_stops_all_after_the_same_step(self, long, tmp_path, victim, number):
        kill = {"kill": [8, int(number)]}
        each = [kill if index == victim else {} for index in range(2)]
        statuses, errors = ended(start(tmp_path / "stopped", 2, each=each, fit=LONG))
        assert statuses == [143, 143]
        assert all(f"was interrupted; {RESUME}" in error for error in errors)
        assert 8 <= checkpoint.steps(tmp_path / "stopped" / "run" / runs.CHECKPOINTS)[-1] < 100
        self.check_resumed(tmp_path / "stopped", long, fit=LONG)

    def check_resumed(self, folder, whole, **options):
        first, second = trained(folder, 2, **options)
        assert_equal(second, first)
        assert_equal(first, whole)

    def test_a_complete_training_is_not_done_again(self, two):
        folder, before = two
        written = (folder / "run" / runs.MODEL).stat().st_mtime_ns
        for ours, theirs in zip(trained(folder, 2), before, strict=True):
            for one, other in zip(ours[0], theirs[0], strict=True):
                np.testing.assert_array_equal(one, other)
        assert (folder / "run" / runs.MODEL).stat().st_mtime_ns == written

    def test_four_are_equal_and_train_as_one(self, one, tmp_path):
        first, *others = trained(tmp_path, 4)
        for other in others:
            assert_equal(other, first)
        assert_close(first, one, 1e-5)

    @pytest.mark.parametrize(
        "options", [{"ema_momentum": 0.9, "swa_epochs": 2}, {"gradient_accumulation_steps": 2, "patience": 1}]
    )
    def test_whatever_the_recipe(self, tmp_path, options):
        one = trained(tmp_path / "one", fit=options)[0]
        first, second = trained(tmp_path / "two", 2, fit=options)
        assert_equal(second, first)
        assert_close(first, one, 1e-5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
