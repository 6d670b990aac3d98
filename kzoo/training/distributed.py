"""Distributed training: data parallelism on all devices of a machine, and in several processes on several machines.

Each device holds all weights and computes its part of every batch, with `keras.distribution` on JAX and
`tf.distribute.MirroredStrategy` on TensorFlow. Several processes need JAX: `jax.distributed` connects them, detects the
failure of one, and brings all to the same step when one of them is preempted. Only the first process reads and writes
the run directory.

This module imports Keras at once; other modules of kzoo import it when training begins.
"""

import contextlib
import dataclasses
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from kzoo.core.lazy import jax, lazy_import, tf
from kzoo.data.splits import UNSHARDED, Shard, Splits

multihost = lazy_import("jax.experimental.multihost_utils")

VARIABLES = {  # of the environment, as `keras.distribution.initialize` names them
    "hosts": "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "num_processes": "KERAS_DISTRIBUTION_NUM_PROCESSES",
    "process_id": "KERAS_DISTRIBUTION_PROCESS_ID",
}
CONNECT_SECONDS = 300  # for all processes to be started
HEARTBEAT_SECONDS = 10  # without a sign of life, after which a process counts as failed
RESUME = "start all processes again, and training resumes from its last checkpoint"

syncs = 0  # how often all processes have asked whether to stop


class Replicas(keras.distribution.DataParallel):
    """All weights on every device; training batches are sharded over the devices, others are computed by each.

    So validation and prediction take batches of any size, and give the same numbers in every process.
    """

    sharding = False

    def get_data_layout(self, data_shape):
        if self.sharding:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


class ShardTraining(keras.callbacks.Callback):
    """Shard the batches of training over the devices, but not those of validation."""

    def on_epoch_begin(self, epoch, logs=None):
        set_sharding(True)

    def on_test_begin(self, logs=None):
        set_sharding(False)

    def on_train_end(self, logs=None):
        set_sharding(False)


def set_sharding(enabled: bool) -> None:
    """Set whether the next batches are sharded, where there are several devices."""
    if isinstance(keras.distribution.distribution(), Replicas):
        keras.distribution.distribution().sharding = enabled


@contextlib.contextmanager
def devices() -> Iterator[None]:
    """Build, train and use models on all devices of all processes within the `with` statement.

    On TensorFlow these are the GPUs, or the logical CPUs where there are several, and each normalises its own part of a
    batch; on JAX all devices that it has, and batch normalisation sees the whole batch. On PyTorch it is one device.
    """
    with SCOPES[keras.backend.backend()]():
        yield


@contextlib.contextmanager
def single_device() -> Iterator[None]:
    """Build and use models of this process alone, on one device, within the `with` statement."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def jax_scope():
    """Return the scope of data parallelism, or an empty one on a single device."""
    return Replicas(auto_shard_dataset=False).scope() if jax.device_count() > 1 else contextlib.nullcontext()


def tensorflow_scope():
    """Return the scope of a mirrored strategy, or an empty one on a single device."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy(found).scope() if len(found) > 1 else contextlib.nullcontext()


SCOPES = {"jax": jax_scope, "tensorflow": tensorflow_scope, "torch": contextlib.nullcontext}


def shard(data: Splits) -> Splits:
    """Return a dataset whose training batches this process reads its own rows of.

    Raises:
        ValueError: if a batch cannot be divided evenly over the devices.
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
    """Return the index of this process, and how many train together."""
    if keras.backend.backend() != "jax":
        return 0, 1
    return jax.process_index(), jax.process_count()


def is_first() -> bool:
    """Return whether this process is the one that reads and writes the run directory."""
    return process()[0] == 0


def broadcast_object(make: Callable[[], Any]) -> Any:
    """Return in every process what `make` returns in the first, or raise what it raises there.

    All processes must call it, and wait for each other in it.
    """
    if process()[1] == 1:
        return make()
    value, error = pickle.loads(broadcast(pickle.dumps(outcome(make)) if is_first() else b""))
    if error is not None:
        error.raised_by_all = True
        raise error
    return value


def outcome(make: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return what a function returns, and what it raises."""
    try:
        return make(), None
    except Exception as error:
        return None, error


def broadcast(content: bytes) -> bytes:
    """Return the first process's bytes in all processes."""
    size = int(multihost.broadcast_one_to_all(np.int32(len(content))))
    own = np.frombuffer(content, "uint8") if is_first() else np.zeros(size, "uint8")
    return multihost.broadcast_one_to_all(own).tobytes()


def stop_signal(received_signals: list[int]) -> int | None:
    """Return the signal after which training saves its state and exits at this step, None to continue.

    All processes must call it after each step. SIGTERM or Ctrl-C to one of them stops all after the same step.
    """
    global syncs
    if process()[1] == 1:
        return received_signals[0] if received_signals else None
    if received_signals:
        received_signals.clear()
        os.kill(os.getpid(), signal.SIGTERM)  # JAX's preemption notice; it is Ctrl-C alone that Python received
    syncs += 1  # JAX wants numbers without gaps, and there is more than one step between two calls
    return signal.SIGTERM if multihost.reached_preemption_sync_point(syncs) else None


def interruption(number: int) -> BaseException:
    """Return the exception with which all processes end after a signal."""
    error = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
    error.raised_by_all = True
    return error


@contextlib.contextmanager
def process_group(
    hosts: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> Iterator[None]:
    """Train as one of several processes, on one or more machines, within the `with` statement.

    It must come before JAX computes anything; all processes start with the same random seed, 0. An error ends this
    process at once, and the failure of one process ends all others.

    Args:
        hosts: host:port of the first process, which must be free and reachable from the others; the environment
            variable KERAS_DISTRIBUTION_JOB_ADDRESSES if None.
        num_processes: how many there are; KERAS_DISTRIBUTION_NUM_PROCESSES if None.
        process_id: index of this one, from 0; KERAS_DISTRIBUTION_PROCESS_ID if None.

    With none of the three, training runs in this process alone.

    Raises:
        ValueError: for a backend other than JAX, a missing or wrong setting, or a port that is in use.
    """
    settings = settings_of(hosts, num_processes, process_id)
    if settings is None:
        yield
        return
    rendezvous(*settings)
    try:
        yield
        jax.distributed.shutdown()  # which waits for all processes
    except BaseException as error:
        abort(error)
        raise


def settings_of(*given: str | int | None) -> tuple[str, int, int] | None:
    """Return (host:port, number of processes, index of this one), None if none of them is set.

    Raises:
        ValueError: for a missing or wrong one, or a backend other than JAX.
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
    hosts, count, index = map(str, found.values())
    address = hosts.partition(",")[0]
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"hosts must be host:port of the first process, got {address!r}")
    if not (count.isdecimal() and index.isdecimal() and int(index) < int(count)):
        raise ValueError(f"process_id must be a number from 0 to below num_processes, got {index} of {count}")
    return address, int(count), int(index)


def rendezvous(address: str, count: int, index: int) -> None:
    """Connect to the other processes, and let JAX use the devices of all.

    Raises:
        ValueError: if the first process cannot listen at its port. JAX aborts the process if others do not come.
    """
    awaited = "the others" if index == 0 else f"process 0 at {address}"
    print(f"kzoo: process {index} of {count} waits up to {CONNECT_SECONDS} s for {awaited}", file=sys.stderr)
    timeouts = {"initialization_timeout": CONNECT_SECONDS, "heartbeat_timeout_seconds": HEARTBEAT_SECONDS}
    try:
        jax.distributed.initialize(address, count, index, **timeouts)
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(f"cannot listen at {address}, which may be in use ({error}); choose another port") from error
    keras.utils.set_random_seed(0)


def abort(error: BaseException) -> None:
    """Report an error and end this process, if it is one of several: the others cannot follow where one has an error.

    Nothing is awaited, as Python's own exit would, unless all processes raise the same error.
    """
    if process()[1] == 1:
        return
    status = report(error)
    sys.stdout.flush()
    sys.stderr.flush()
    if getattr(error, "raised_by_all", False):
        jax.distributed.shutdown()
    os._exit(status)


def report(error: BaseException) -> int:
    """Print an error; return the status with which it ends a process."""
    if isinstance(error, ValueError):
        print(f"kzoo: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if isinstance(error, jax.errors.JaxRuntimeError):
        print(f"kzoo: process {process()[0]} lost the others ({gist(error)}); {RESUME}", file=sys.stderr)
        return 1
    status = {KeyboardInterrupt: 130, SystemExit: getattr(error, "code", 1)}.get(type(error))
    status = getattr(error, "exit_code", status)  # of typer.Exit
    if status is None:
        traceback.print_exception(error)
        return 1
    print(f"kzoo: process {process()[0]} was interrupted; {RESUME}", file=sys.stderr)
    return status


def gist(error: Exception) -> str:
    """Return the first line of a long message."""
    return str(error).strip().partition("\n")[0]
