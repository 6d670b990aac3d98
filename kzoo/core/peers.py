"""Processes that belong together: they find each other at one address, and when one of them ends, all end.

A star of TCP connections, the first process in the middle. The system closes the connections of a process that is
killed, so that the others know at once; JAX by itself waits a hundred seconds, then aborts with a page of C++.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from typing import NoReturn

HELLO = "kzoo"


class Peers:
    """The connections of one process to the others.

    Args:
        process: number of this process, from 0.
        connections: of the first process, to each of the others by number; of the others, to the first.
        port: a free port of the first process's machine, the same in all.
    """

    def __init__(self, process: int, connections: dict[int, socket.socket], port: int):
        self.process, self.connections, self.port = process, connections, port
        self.over = False
        self.watchers = [threading.Thread(target=self.listen, args=(number,), daemon=True) for number in connections]

    def watch(self) -> None:
        """Watch the others from now on, and end this process when one of them ends before `over` is set."""
        for watcher in self.watchers:
            watcher.start()

    def await_ends(self, seconds: float) -> None:
        """Wait for the ends of all that are watched, but not longer."""
        deadline = time.monotonic() + seconds
        for watcher in self.watchers:
            watcher.join(max(0.0, deadline - time.monotonic()))

    def listen(self, number: int) -> None:
        """Wait for what another process says: a signal that it got, or which process has ended; or for its end."""
        said = received(self.connections[number])
        while self.process == 0 and said:
            os.kill(os.getpid(), int(said))
            said = received(self.connections[number])
        if not self.over:
            self.end(int(said) if said else number)

    def forward(self, number: signal.Signals | int) -> None:
        """Give a signal to the first process, which saves the state."""
        say(self.connections[0], str(int(number)))

    def announce(self, number: int) -> None:
        """Let the first process tell the others which process has ended."""
        for other, connection in self.connections.items():
            if self.process == 0 and other != number:
                say(connection, str(number))

    def end(self, number: int) -> NoReturn:
        """Say which process has ended, here and to the others, and end this one with status 1."""
        self.announce(number)
        print(
            f"kzoo: process {number} has ended, and so does process {self.process}: start all again, and the training "
            "goes on from its last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)


def meet(address: str, count: int, process: int, seconds: float) -> Peers:
    """Connect to the other processes.

    Args:
        address: host:port where the first process listens.
        count: how many processes there are.
        process: number of this one, from 0.
        seconds: how long to wait for the others.

    Raises:
        ValueError: if they do not come in time, do not fit together, or the address is none.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"hosts must be host:port of the first process, got {address!r}")
    deadline = time.monotonic() + seconds
    if process == 0:
        return gather(int(port), count, deadline)
    connection = reach(host.strip("[]"), int(port), deadline)
    say(connection, f"{HELLO} {process} {count}")
    connection.settimeout(max(1.0, deadline - time.monotonic()))
    answer = received(connection)
    if not answer:
        raise ValueError(f"the first process at {address} ended, or not all processes came in {seconds:.0f} s")
    connection.settimeout(None)
    return Peers(process, {0: connection}, int(answer))


def gather(port: int, count: int, deadline: float) -> Peers:
    """Wait for all other processes to come; tell them a free port."""
    try:
        server = listening(port)
    except OSError as error:
        raise ValueError(f"cannot listen at port {port}: {error.strerror or error}") from error
    connections = {}
    try:
        with server:
            while len(connections) < count - 1:
                admit(arrival(server, deadline, connections, count), connections, count)
    except ValueError:
        for connection in connections.values():
            connection.close()
        raise
    with listening(0) as free:
        chosen = free.getsockname()[1]
    for connection in connections.values():
        say(connection, str(chosen))
    return Peers(0, connections, chosen)


def arrival(server: socket.socket, deadline: float, connections: dict[int, socket.socket], count: int) -> socket.socket:
    """Wait for the next process.

    Raises:
        ValueError: if none comes in time.
    """
    server.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        return server.accept()[0]
    except TimeoutError:
        missing = ", ".join(str(number) for number in range(1, count) if number not in connections)
        raise ValueError(f"of {count} processes, {missing} did not come in time") from None


def admit(connection: socket.socket, connections: dict[int, socket.socket], count: int) -> None:
    """Add a process that came; send away what is none of ours.

    Raises:
        ValueError: if it came twice, or was started for another number of processes.
    """
    connection.settimeout(5)
    words = received(connection).split()
    if len(words) != 3 or words[0] != HELLO or not (words[1] + words[2]).isdecimal():
        connection.close()
        return
    number, theirs = int(words[1]), int(words[2])
    if theirs != count:
        connection.close()
        raise ValueError(f"process {number} was started for {theirs} processes, this one for {count}")
    if number in connections:
        connection.close()
        raise ValueError(f"two processes came with number {number}; each needs its own")
    connection.settimeout(None)
    connections[number] = connection


def listening(port: int) -> socket.socket:
    """Return a socket that listens on all interfaces; at a free port for 0."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def reach(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first process, which may start later than this one.

    Raises:
        ValueError: if it does not answer in time.
    """
    while True:
        try:
            return socket.create_connection((host, port), timeout=5)
        except OSError as error:
            if time.monotonic() > deadline:
                reason = error.strerror or error
                raise ValueError(f"the first process does not answer at {host}:{port}: {reason}") from error
        time.sleep(0.2)


def say(connection: socket.socket, text: str) -> None:
    """Send a line, to whom it reaches."""
    try:
        connection.sendall(f"{text}\n".encode())
    except OSError:
        return  # it has ended, which `listen` notices


def received(connection: socket.socket) -> str:
    """Return the next line, "" if the other side has ended or does not speak in time."""
    line = b""
    try:
        while not line.endswith(b"\n") and len(line) < 100:
            byte = connection.recv(1)
            if not byte:
                return ""
            line += byte
    except OSError:
        return ""
    return line.decode(errors="replace").strip()
