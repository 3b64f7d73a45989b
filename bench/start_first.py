"""A client that asks through a network alias every few milliseconds, as `bench.replace` starts it.

It enters the network of a container, where the engine's own name server answers. Each question looks the alias up
afresh and tries its addresses in turn, as a client that wants an answer does; only when none of them answers it counts
as failed. A question begins when its time has come, whether or not earlier ones are answered: a slow answer must not
hide what happens meanwhile.

Domain names on the wire: RFC 1035, sections 3 and 4.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import struct
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import anyio

from bench.children import answer_lines, read_settings, say

PERIOD = 0.005
PATIENCE = 1.0
"""Seconds for the look-up, and for each address."""
WARM_UP = 10.0
NAME_SERVER = ("127.0.0.11", 53)
GREETING = "here I am"
KEPT_REASONS = 5

_CLONE_NEWNET = 0x40000000
_TYPE_A, _CLASS_IN = 1, 1
_RECURSION_DESIRED = 0x0100
_POINTER = 0xC0
_FAILURES = (OSError, TimeoutError, anyio.BrokenResourceError, anyio.EndOfStream, ValueError)


@dataclass(slots=True)
class Tally:
    """What became of the questions."""

    asked: int = 0
    failed: int = 0
    slowest: float = 0.0
    """Seconds, of those that were answered."""
    second_tries: int = 0
    """How many were answered by an address that was not the first."""
    reasons: list[str] = field(default_factory=list)
    """Why the first few failed."""

    def note_failure(self, reasons: list[str]) -> None:
        """Count a question that nobody answered."""
        self.failed += 1
        if len(self.reasons) < KEPT_REASONS:
            self.reasons.append("; ".join(reasons))


class Client:
    """Asks one alias until it is told to stop."""

    def __init__(self, alias: str, port: int) -> None:
        self._alias = alias
        self._port = port
        self._numbers = itertools.count(1)
        self._tally = Tally()
        self._stop = anyio.Event()
        self._stopped = anyio.Event()

    async def wait_for_an_answer(self) -> None:
        """Return as soon as the alias answers. Raises TimeoutError."""
        with anyio.fail_after(WARM_UP):
            while True:
                tally = Tally()
                await self._question(tally)
                if not tally.failed:
                    return
                await anyio.sleep(PERIOD)

    async def ask(self) -> None:
        """Begin a question every few milliseconds; return when the last one is answered."""
        async with anyio.create_task_group() as group:
            turn = time.monotonic()
            while not self._stop.is_set():
                group.start_soon(self._question, self._tally)
                # What could not begin in time is not made up for: a burst is not what such a client does.
                now = time.monotonic()
                turn = max(turn + PERIOD, now)
                await anyio.sleep(turn - now)
        self._stopped.set()

    async def finish(self) -> Tally:
        """Begin no more questions; return the tally once all are answered."""
        self._stop.set()
        await self._stopped.wait()
        return self._tally

    async def _question(self, tally: Tally) -> None:
        started = time.monotonic()
        tally.asked += 1
        reasons: list[str] = []
        try:
            addresses = await self._look_up()
        except _FAILURES as error:
            tally.note_failure([f"look-up: {error!r}"])
            return
        for number, address in enumerate(addresses):
            try:
                await self._fetch(address)
            except _FAILURES as error:
                reasons.append(f"{address}: {error!r}")
            else:
                tally.slowest = max(tally.slowest, time.monotonic() - started)
                tally.second_tries += number > 0
                return
        tally.note_failure(reasons or ["the alias leads nowhere"])

    async def _look_up(self) -> list[str]:
        number = next(self._numbers) & 0xFFFF
        host, port = NAME_SERVER
        with anyio.fail_after(PATIENCE):
            async with await anyio.create_connected_udp_socket(remote_host=host, remote_port=port) as socket:
                await socket.send(encode_question(number, self._alias))
                return read_addresses(number, await socket.receive())

    async def _fetch(self, address: str) -> None:
        answer = b""
        with anyio.fail_after(PATIENCE):
            async with await anyio.connect_tcp(address, self._port) as stream:
                await stream.send(b"GET / HTTP/1.0\r\n\r\n")
                async for chunk in stream:
                    answer += chunk
        if b" 200 " not in answer.split(b"\r\n")[0] or GREETING.encode() not in answer:
            raise ValueError(f"answered {answer[:40]!r}")


def encode_question(number: int, name: str) -> bytes:
    """Return the question for the IPv4 addresses of a name."""
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    header = struct.pack(">HHHHHH", number, _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack(">HH", _TYPE_A, _CLASS_IN)


def read_addresses(number: int, answer: bytes) -> list[str]:
    """Return the IPv4 addresses of an answer. Raises ValueError where it is none, or says that something is wrong."""
    try:
        answered, flags, questions, records = struct.unpack_from(">HHHH", answer)
        if answered != number or flags & 0xF:
            raise ValueError(f"the name server answered with code {flags & 0xF}")
        position = 12
        for _ in range(questions):
            position = _after_name(answer, position) + 4
        addresses: list[str] = []
        for _ in range(records):
            position = _after_name(answer, position)
            kind, _, _, size = struct.unpack_from(">HHIH", answer, position)
            position += 10
            if kind == _TYPE_A:
                (address,) = struct.unpack_from(">I", answer, position)
                addresses.append(str(IPv4Address(address)))
            position += size
    except (struct.error, IndexError) as error:
        raise ValueError("the name server's answer is cut off") from error
    return addresses


def _after_name(message: bytes, position: int) -> int:
    """Return where a name ends: after an empty label, or after a pointer to an earlier name."""
    while (length := message[position]) != 0:
        if length & _POINTER == _POINTER:
            return position + 2
        position += 1 + length
    return position + 1


def enter_network_of(pid: int) -> None:
    """Let this thread's new sockets live in the network namespace of another process. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"the network of process {pid} cannot be entered: {os.strerror(code)}")


async def serve(client: Client) -> None:
    """Ask until the measuring process wants the tally."""
    await client.wait_for_an_answer()
    async with anyio.create_task_group() as group:
        group.start_soon(client.ask)
        say("ready")

        async def answer(_: str) -> object:
            tally = await client.finish()
            return {name: getattr(tally, name) for name in Tally.__slots__}

        await answer_lines(answer)
        group.cancel_scope.cancel()


def main() -> None:
    """Read the settings, enter the network and ask."""
    settings = read_settings()
    enter_network_of(settings["pid"])
    anyio.run(serve, Client(settings["alias"], settings["port"]))


if __name__ == "__main__":
    main()
