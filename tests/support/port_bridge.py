"""Lets the engines of `scripts/engines` reach the test bed's registries under the same names as this machine does.

    python tests/support/port_bridge.py --namespace PATH PORT…

An engine in a network namespace of its own has a loopback of its own. The bridge listens there at each port, and leads
every connection to the same port of the loopback on which it was started, so that nothing is open to any network. It
takes nothing but Python and Linux, and root. The line that says that it listens comes once it does.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 5.0
_CHUNK = 1 << 16
_CLONE_NEWNET = 0x40000000


@contextmanager
def network_namespace(path: Path) -> Iterator[None]:
    """Let this thread live in a network namespace while the context is open. A socket stays where it was made."""
    with Path("/proc/thread-self/ns/net").open() as own, path.open() as other:
        _enter(other.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(descriptor: int) -> None:
    """Python itself has this call from 3.12 on only."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def serve(listener: socket.socket, port: int) -> None:
    """Lead each connection to the port; ends with the process."""
    while True:
        near, _ = listener.accept()
        threading.Thread(target=lead, args=(near, port), daemon=True).start()


def lead(near: socket.socket, port: int) -> None:
    """Copy both ways until both sides have ended."""
    with near:
        try:
            far = socket.create_connection((LOOPBACK, port), timeout=CONNECT_SECONDS)
        except OSError:
            return  # the other side sees the connection end, as it would without us
        with far:
            far.settimeout(None)
            back = threading.Thread(target=copy, args=(far, near), daemon=True)
            back.start()
            copy(near, far)
            back.join()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source has said everything, and pass on that it has."""
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def main() -> None:
    """Listen, say so, and go on until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", type=Path, required=True)
    parser.add_argument("ports", type=int, nargs="+")
    arguments = parser.parse_args()
    with network_namespace(arguments.namespace):
        listeners = [(socket.create_server((LOOPBACK, port)), port) for port in arguments.ports]
    threads = [threading.Thread(target=serve, args=listener) for listener in listeners]
    for thread in threads:
        thread.start()
    print("listening on", *arguments.ports, flush=True)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
