"""Train on all devices of a machine, and in several processes on one or more machines.

Each device has all weights and computes its part of every batch: data parallelism, of `keras.distribution` on JAX, of
`tf.distribute.MirroredStrategy` on TensorFlow. Several processes are for JAX alone. Only the first one reads and writes
the run folder.

This module imports Keras at once; others of kzoo import it when training begins.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import keras
import numpy as np

from kzoo.core.lazy import lazy_import
from kzoo.core.peers import Peers, meet
from kzoo.data.splits import UNSHARDED, Shard, Splits

jax = lazy_import("jax")
multihost = lazy_import("jax.experimental.multihost_utils")
tf = lazy_import("tensorflow")

VARIABLES = {  # of the environment, as `keras.distribution.initialize` calls them
    "hosts": "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "num_processes": "KERAS_DISTRIBUTION_NUM_PROCESSES",
    "process_id": "KERAS_DISTRIBUTION_PROCESS_ID",
}
CONNECT_SECONDS = 300  # for all processes to be started
SECONDS_TO_TELL = 5
PIECE = 2**28  # bytes that are sent at a time

peers: Peers | None = None  # of this process, when it is one of several


class Replicas(keras.distribution.DataParallel):
    """All weights on every device; the batches of training are divided over the devices, others computed by each.

    So validation and prediction take batches of any size, and give the same numbers in every process.
    """

    dividing = False

    def get_data_layout(self, data_shape):
        if self.dividing:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


class DivideTraining(keras.callbacks.Callback):
    """Divide the batches of training over the devices, but not those of validation."""

    def on_epoch_begin(self, epoch, logs=None):
        divide(True)

    def on_test_begin(self, logs=None):
        divide(False)

    def on_train_end(self, logs=None):
        divide(False)


def divide(training: bool) -> None:
    """Tell how the next batches are distributed, where there are several devices."""
    if isinstance(keras.distribution.distribution(), Replicas):
        keras.distribution.distribution().dividing = training


@contextlib.contextmanager
def devices() -> Iterator[None]:
    """Let models that are built, trained and used meanwhile run on all devices of all processes.

    On TensorFlow those are the GPUs, or the logical processors where there are several, and each normalises its own
    part of a batch; on JAX all that it has, and normalisations see the whole batch. On PyTorch it stays one device.
    """
    with SCOPES[keras.backend.backend()]():
        yield


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let what is made meanwhile be this process's own, on one device."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def jax_scope():
    """Return the scope of data parallelism, or of nothing on a single device."""
    return Replicas(auto_shard_dataset=False).scope() if jax.device_count() > 1 else contextlib.nullcontext()


def tensorflow_scope():
    """Return the scope of a mirrored strategy, or of nothing on a single device."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy(found).scope() if len(found) > 1 else contextlib.nullcontext()


SCOPES = {"jax": jax_scope, "tensorflow": tensorflow_scope, "torch": contextlib.nullcontext}


def divided(data: Splits) -> Splits:
    """Return a dataset of whose training batches this process reads its part.

    Raises:
        ValueError: if the devices cannot share a batch evenly.
    """
    data = dataclasses.replace(data, shard=shard_of_devices())
    size, count = data.batch_size, data.shard.devices
    if size % count:
        below = size - size % count
        sizes = f"{below} or {below + count}" if below else f"{count}"
        raise ValueError(f"a batch of {size} cannot be divided evenly over {count} devices; batch_size {sizes} can")
    if not data.steps_per_epoch:
        raise ValueError(f"{data.name} has fewer training examples than there are devices ({count})")
    return data


def shard_of_devices() -> Shard:
    """Return which rows of a training batch this process reads."""
    parallel = keras.distribution.distribution()
    if isinstance(parallel, Replicas):
        return Shard(*process(), parallel.device_mesh.devices.size)
    if keras.backend.backend() == "tensorflow":
        return UNSHARDED._replace(devices=tf.distribute.get_strategy().num_replicas_in_sync)
    return UNSHARDED


def process() -> tuple[int, int]:
    """Return the number of this process, counted from 0, and how many train together."""
    if keras.backend.backend() != "jax":
        return 0, 1
    return jax.process_index(), jax.process_count()


def is_first() -> bool:
    """Tell whether this process is the one that reads and writes the run folder."""
    return process()[0] == 0


def from_first(make: Callable[[], Any]) -> Any:
    """Return in every process what `make` returns in the first, or raise what it raises there.

    All processes must call it, and wait for each other in it.
    """
    if process()[1] == 1:
        return make()
    outcome = made(make) if is_first() else None
    value, error = pickle.loads(broadcast(pickle.dumps(outcome)))
    if error is not None:
        error.of_all = True
        raise error
    return value


def made(make: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return what a function returns, and what it raises."""
    try:
        return make(), None
    except Exception as error:
        return None, error


def broadcast(content: bytes) -> bytes:
    """Return the first process's bytes in all processes."""
    pieces, rest = divmod(len(content), PIECE)
    sizes = multihost.broadcast_one_to_all(np.array([pieces, rest], "int32"))
    starts = range(0, int(sizes[0]) * PIECE + int(sizes[1]), PIECE)
    lengths = [PIECE] * int(sizes[0]) + [int(sizes[1])]
    found = []
    for start, length in zip(starts, lengths, strict=False):
        own = np.frombuffer(content, "uint8", length, start) if is_first() else np.zeros(length, "uint8")
        found.append(multihost.broadcast_one_to_all(own).tobytes())
    return b"".join(found)


@contextlib.contextmanager
def connected(
    hosts: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> Iterator[None]:
    """Be one of several processes that train together, on one or more machines, until the `with` statement ends.

    It must come before JAX computes anything; the processes start with the same random numbers, seed 0. An error ends
    this process at once, and the end of one process ends all others, with a line that says which it was.

    Args:
        hosts: host:port of the first process, which must be free and reachable from the others; the environment
            variable KERAS_DISTRIBUTION_JOB_ADDRESSES if None.
        num_processes: how many there are; KERAS_DISTRIBUTION_NUM_PROCESSES if None.
        process_id: number of this one, from 0; KERAS_DISTRIBUTION_PROCESS_ID if None.

    With none of the three it is a training of one process, and nothing is done.

    Raises:
        ValueError: for a backend other than JAX, a missing or wrong setting, or other processes that do not come
            within five minutes.
    """
    global peers
    settings = settings_of(hosts, num_processes, process_id)
    if settings is None:
        yield
        return
    address, count, process_id = settings
    peers = meet(address, count, process_id, CONNECT_SECONDS)
    try:
        start(address.rpartition(":")[0], count, process_id)
        yield
        peers.over = True
        from_first(lambda: None)  # no process ends before all are done
    except BaseException as error:
        leave(error)


def settings_of(*given: str | int | None) -> tuple[str, int, int] | None:
    """Return (host:port, number of processes, number of this one), None if nothing is said of them.

    Raises:
        ValueError: for a missing or wrong one, or a backend that cannot do it.
    """
    found = {
        name: os.environ.get(variable) if value is None else value
        for (name, variable), value in zip(VARIABLES.items(), given, strict=True)
    }
    missing = [name for name, value in found.items() if value is None]
    if len(missing) == len(found):
        return None
    if missing:
        raise ValueError(f"{missing[0]} is missing (or {VARIABLES[missing[0]]}): several processes need all three")
    if keras.backend.backend() != "jax":
        raise ValueError(f"several processes need the JAX backend (KERAS_BACKEND=jax), not {keras.backend.backend()}")
    hosts, count, place = found.values()
    if not (str(count).isdecimal() and str(place).isdecimal() and int(place) < int(count)):
        raise ValueError(f"process_id must be a number from 0 to below num_processes, got {place} of {count}")
    return str(hosts).partition(",")[0], int(count), int(place)


def start(host: str, count: int, place: int) -> None:
    """Let JAX use the devices of all processes."""
    peers.watch()
    jax.distributed.initialize(f"{host}:{peers.port}", count, place)
    keras.utils.set_random_seed(0)


def abandon(error: BaseException) -> None:
    """End this process at once if there are others, which cannot follow where only this one has an error."""
    if process()[1] > 1:
        leave(error)


def leave(error: BaseException) -> NoReturn:
    """Report an error and end this process at once; JAX's own way out waits for the other processes."""
    if isinstance(error, jax.errors.JaxRuntimeError):
        time.sleep(SECONDS_TO_TELL)  # if that is because another process has ended, `peers` says so and ends this one
    of_all = getattr(error, "of_all", False)
    if peers is not None:
        peers.over = True
        if not of_all:
            peers.announce(peers.process)
    status = 1
    if isinstance(error, ValueError):
        status = 2
        print(f"kzoo: {' '.join(str(error).split())}", file=sys.stderr)
    elif isinstance(error, KeyboardInterrupt | SystemExit) or hasattr(error, "exit_code"):  # typer.Exit has one
        status = 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", None) or error.code
        print("kzoo: interrupted; the same commands go on from the last checkpoint", file=sys.stderr)
    else:
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    if peers is not None and is_first():  # let the others read that, or end by themselves, before JAX aborts them
        peers.await_ends(30) if of_all else time.sleep(1)
    os._exit(status)


def forward(number: int) -> None:
    """Tell the first process of a signal that this one got."""
    if peers is not None:
        peers.forward(number)
