"""Several devices and several processes: the same weights as one, one writer, and an end in words for all.

Run as a program (`main`), this file is one of the processes of its own tests.
"""

import dataclasses
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import kzoo
from kzoo.core.peers import meet
from kzoo.data.splits import Shard
from kzoo.training import checkpoint, distributed, runs

needs_jax = pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="jax is not here")
RECIPE = {"epochs": 2, "checkpoint_steps": 5, "verbose": False}
ENDED = "kzoo: process {} has ended, and so does process {}: start all again, and the training goes on"


class KillAt(keras.callbacks.Callback):
    """Send a signal to this process after some steps."""

    def __init__(self, step, number):
        super().__init__()
        self.left, self.number = step, number

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def main(folder, options):
    """Train a network with dropout on digits that are moved about; leave weights and history in a file."""
    options = {"train": 320, "logical": 1, "kill": None, "process": 0, "model": {}, "fit": {}} | json.loads(options)
    if options["logical"] > 1:
        import tensorflow as tf

        parts = [tf.config.LogicalDeviceConfiguration()] * options["logical"]
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    distributed.CONNECT_SECONDS = 60
    with distributed.connected():
        splits = kzoo.load_dataset("digits", batch_size=64, augment={"shift": 1, "mixup": 0.2})
        train = splits.examples["train"].take(np.arange(options["train"]))
        splits = dataclasses.replace(splits, examples={**splits.examples, "train": train})
        with distributed.devices():
            keras.utils.set_random_seed(0)
            hyperparameters = {"filters": (4,), "padding": "same", "dropout": 0.5} | options["model"]
            model = kzoo.create_model("convnet", splits.input_shape, 10, **hyperparameters)
            callbacks = [KillAt(*options["kill"])] if options["kill"] else []
            history = kzoo.fit(model, splits, run_dir=f"{folder}/run", callbacks=callbacks, **RECIPE | options["fit"])
            report = kzoo.evaluate(model, splits)
        history["test"] = [report.loss, report.accuracy]
        np.savez(f"{folder}/{distributed.process()[0]}.npz", *model.get_weights(), history=json.dumps(history))


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def start(folder, count=1, *, backend="jax", flags="", each=(), **options):
    """Start as many processes as are asked for; `each` holds options of single ones."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "XLA_FLAGS": flags}
    port, processes = free_port(), []
    for place in range(count):
        if count > 1:
            environment["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = f"localhost:{port}"
            environment["KERAS_DISTRIBUTION_NUM_PROCESSES"] = str(count)
            environment["KERAS_DISTRIBUTION_PROCESS_ID"] = str(place)
        own = options | (each[place] if each else {})
        command = [sys.executable, __file__, folder, json.dumps(own)]
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
    return processes


def ended(processes, seconds=300):
    """Wait for processes to end; return their statuses and what they said."""
    try:
        errors = [process.communicate(timeout=seconds)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], errors


def result(folder, place=0):
    """Return the weights and the history that a process left."""
    with np.load(folder / f"{place}.npz") as file:
        weights = [file[f"arr_{number}"] for number in range(len(file.files) - 1)]
        return weights, json.loads(str(file["history"]))


def trained(folder, count=1, **options):
    """Train; return the result of each process."""
    statuses, errors = ended(start(folder, count, **options))
    assert statuses == [0] * count, "".join(errors)
    return [result(folder, place) for place in range(count)]


def assert_close(ours, theirs, tolerance):
    for one, other in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)
    for name in theirs[1]:
        assert ours[1][name] == pytest.approx(theirs[1][name], abs=10 * tolerance)


def assert_equal(ours, theirs):
    for one, other in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert ours[1] == theirs[1]


class TestPeers:
    """How processes find each other, and learn of each other's end; without a backend."""

    def meet_all(self, count, port, numbers=None, counts=None):
        """Let threads meet as if they were processes; return what each got, a Peers or an error."""
        found = {}

        def come(place, number, of):
            try:
                found[place] = meet(f"localhost:{port}", of, number, 5)
            except ValueError as error:
                found[place] = error

        places = enumerate(zip(numbers or range(count), counts or [count] * count, strict=True))
        threads = [threading.Thread(target=come, args=(place, *each)) for place, each in places]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found[place] for place in range(count)]

    def test_all_get_the_same_port(self):
        peers = self.meet_all(3, free_port())
        assert len({each.port for each in peers}) == 1
        assert [each.process for each in peers] == [0, 1, 2]
        assert sorted(peers[0].connections) == [1, 2]

    def test_a_stranger_is_sent_away(self):
        port = free_port()

        def knock():
            while True:
                try:
                    with socket.create_connection(("localhost", port), timeout=1) as stranger:
                        return stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
                except OSError:
                    time.sleep(0.02)

        thread = threading.Thread(target=knock)
        thread.start()
        found = meet_later(port)
        thread.join()
        assert found.port > 0

    @pytest.mark.parametrize(
        "numbers, counts, message",
        [
            ((0, 1, 1), (3, 3, 3), "two processes came with number 1; each needs its own"),
            ((0, 1), (2, 3), "process 1 was started for 3 processes, this one for 2"),
        ],
    )
    def test_those_that_do_not_fit_together_are_told(self, numbers, counts, message):
        first, *others = self.meet_all(len(numbers), free_port(), numbers, counts)
        assert str(first) == message
        assert all("ended, or not all processes came" in str(other) for other in others)

    def test_one_that_does_not_come_is_named(self):
        with pytest.raises(ValueError, match="of 3 processes, 1, 2 did not come in time"):
            meet(f"localhost:{free_port()}", 3, 0, 0.1)
        with pytest.raises(ValueError, match="the first process does not answer at localhost:.*refused"):
            meet(f"localhost:{free_port()}", 3, 1, 0.1)

    def test_a_port_in_use_is_an_error_in_words(self):
        with (
            socket.create_server(("", 0)) as server,
            pytest.raises(ValueError, match="cannot listen at port .* in use"),
        ):
            meet(f"localhost:{server.getsockname()[1]}", 2, 0, 1)

    @pytest.mark.parametrize("address", ["localhost", ":12", "localhost:port"])
    def test_an_address_needs_host_and_port(self, address):
        with pytest.raises(ValueError, match="hosts must be host:port of the first process"):
            meet(address, 2, 1, 1)

    @pytest.mark.parametrize("victim", [0, 2])
    def test_the_end_of_one_is_the_end_of_all(self, victim):
        port = free_port()
        program = (
            "import sys, time; from kzoo.core.peers import meet; "
            f"meet('localhost:{port}', 3, int(sys.argv[1]), 30).watch(); print('met', flush=True); time.sleep(60)"
        )
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen([sys.executable, "-c", program, str(i)], **pipes) for i in range(3)]
        for process in processes:
            assert process.stdout.readline() == "met\n"
        processes[victim].kill()
        began = time.monotonic()
        statuses, errors = ended(processes, 30)
        assert time.monotonic() - began < 10
        for place in {0, 1, 2} - {victim}:
            assert statuses[place] == 1
            assert errors[place].startswith(ENDED.format(victim, place))


def meet_later(port):
    """Meet as the first of two processes, the second of which comes a little later."""

    def second():
        time.sleep(0.3)
        meet(f"localhost:{port}", 2, 1, 5)

    thread = threading.Thread(target=second)
    thread.start()
    found = meet(f"localhost:{port}", 2, 0, 5)
    thread.join()
    return found


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
        ],
    )
    def test_a_wrong_one_is_explained(self, given, message):
        with pytest.raises(ValueError, match=message):
            distributed.settings_of(*given)

    def test_another_backend_is_refused(self, monkeypatch):
        monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
        with pytest.raises(ValueError, match="several processes need the JAX backend .*, not tensorflow"):
            distributed.settings_of("a:1", 2, 0)


class TestShares:
    """Which rows of a batch a process reads."""

    @pytest.mark.parametrize("augment", [None, {"shift": 1, "mixup": 0.2}])
    def test_the_parts_of_all_make_one_batch(self, augment):
        whole = kzoo.load_dataset("digits", batch_size=48, augment=augment)  # 1,293 = 26 * 48 + 45 examples
        parts = [dataclasses.replace(whole, shard=Shard(place, 2, 4)).train_batches(26).take(2) for place in range(2)]
        for batch, pair in zip(whole.train_batches(26).take(2), zip(*parts, strict=True), strict=True):
            for own, theirs in zip(batch, zip(*pair, strict=True), strict=True):
                together = np.concatenate(theirs)
                assert len(together) == len(own) - len(own) % 4
                if augment is None or len(own) == 48:  # what is left out is no partner for mixing either
                    np.testing.assert_array_equal(together, own[: len(together)])

    @pytest.mark.parametrize("devices, rest", [(1, [13]), (8, [8]), (16, [])])
    def test_a_rest_that_is_less_than_one_each_is_no_batch(self, digits, devices, rest):
        splits = dataclasses.replace(digits, batch_size=64, shard=Shard(0, 1, devices))  # 1,293 = 20 * 64 + 13
        assert splits.steps_per_epoch == 20 + len(rest)
        sizes = [len(labels) for _, labels in splits.train_batches().take(22)]
        assert sizes == ([64] * 20 + rest + [64, 64])[:22]

    def test_a_batch_that_cannot_be_divided_names_those_that_can(self, digits, monkeypatch):
        monkeypatch.setattr(distributed, "shard_of_devices", lambda: Shard(0, 1, 6))
        with pytest.raises(ValueError, match="a batch of 32 cannot be .* over 6 devices; batch_size 30 or 36"):
            distributed.divided(digits)
        with pytest.raises(ValueError, match="batch_size 6 can"):
            distributed.divided(dataclasses.replace(digits, batch_size=4))

    def test_one_process_alone_reads_all(self, digits):
        assert distributed.divided(digits) == digits
        assert distributed.process() == (0, 1)
        assert distributed.from_first(lambda: 3) == 3


class TestDevicesOfOneMachine:
    def test_a_mirrored_strategy_trains_as_one_device(self, tmp_path):
        """Without dropout, which each device draws for itself."""
        options = {"backend": "tensorflow", "model": {"dropout": 0.0}}
        one, two = (trained(tmp_path / f"{n}", logical=n, **options)[0] for n in (1, 2))
        assert_close(two, one, 1e-5)

    @needs_jax
    def test_jax_trains_as_one_device(self, tmp_path):
        one = trained(tmp_path / "one")[0]
        four = trained(tmp_path / "four", flags="--xla_force_host_platform_device_count=4")[0]
        assert_close(four, one, 1e-5)


@needs_jax
class TestProcesses:
    @pytest.fixture(scope="class")
    def one(self, tmp_path_factory):
        return trained(tmp_path_factory.mktemp("one"))[0]

    @pytest.fixture(scope="class")
    def two(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("two")
        return folder, trained(folder, 2)

    def test_two_are_equal_and_train_as_one(self, one, two):
        first, second = two[1]
        assert_equal(second, first)
        assert_close(first, one, 1e-5)

    def test_the_run_folder_is_that_of_one(self, two):
        run = two[0] / "run"
        assert json.loads((run / runs.CHECKPOINTS / runs.TRAINING).read_text())["complete"]
        assert len(list((run / runs.TENSORBOARD / "train").iterdir())) == 1
        assert not [path for path in run.iterdir() if path.name.startswith(".")]
        model, _ = kzoo.load_run(run)
        for ours, theirs in zip(model.get_weights(), two[1][0][0], strict=True):
            np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.parametrize(
        "victim, number",
        [
            (1, signal.SIGKILL),
            pytest.param(0, signal.SIGKILL, marks=pytest.mark.slow),
            pytest.param(1, signal.SIGTERM, marks=pytest.mark.slow),
            pytest.param(0, signal.SIGTERM, marks=pytest.mark.slow),
        ],
    )
    def test_one_that_ends_ends_all_and_all_go_on(self, two, tmp_path, victim, number):
        """SIGKILL loses the steps since the last checkpoint; SIGTERM, to whichever process, none."""
        each = [{"kill": [8, int(number)]} if place == victim else {} for place in range(2)]
        statuses, errors = ended(start(tmp_path, 2, each=each))
        if number == signal.SIGKILL:
            assert statuses[victim] == -number
            assert statuses[1 - victim] == 1
            assert ENDED.format(victim, 1 - victim) in errors[1 - victim]
        else:
            assert statuses == [143, 1]
            assert "kzoo: interrupted; the same commands go on from the last checkpoint" in errors[0]
            assert ENDED.format(0, 1) in errors[1]
        saved = checkpoint.steps(tmp_path / "run" / runs.CHECKPOINTS)[-1]
        assert saved in ((8, 9) if number == signal.SIGTERM else (5,))
        first, second = trained(tmp_path, 2)
        assert_equal(second, first)
        assert_equal(first, two[1][0])

    @pytest.mark.slow
    def test_a_complete_training_is_not_done_again(self, two):
        folder, before = two
        written = (folder / "run" / runs.MODEL).stat().st_mtime_ns
        for ours, theirs in zip(trained(folder, 2), before, strict=True):
            for one, other in zip(ours[0], theirs[0], strict=True):
                np.testing.assert_array_equal(one, other)
        assert (folder / "run" / runs.MODEL).stat().st_mtime_ns == written

    def test_an_error_of_the_first_is_one_of_all(self, two):
        statuses, errors = ended(start(two[0], 2, fit={"learning_rate": 0.5}))
        assert statuses == [2, 2]
        assert all("holds another training: train.learning_rate: 0.001 there, 0.5 now" in error for error in errors)

    @pytest.mark.slow
    def test_four_are_equal_and_train_as_one(self, one, tmp_path):
        first, *others = trained(tmp_path, 4)
        for other in others:
            assert_equal(other, first)
        assert_close(first, one, 1e-5)

    @pytest.mark.slow
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
