"""Receivers of notifications on loopback: web hooks and mail."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Received:
    """What has come in."""

    port: int = 0
    bodies: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    """What the mail client said before each message."""


@contextmanager
def web_hook() -> Iterator[Received]:
    """Take requests by HTTP."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.paths.append(self.path)
            received.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode())
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Say nothing."""

    with _served(ThreadingHTTPServer(("127.0.0.1", 0), Handler), received):
        yield received


@contextmanager
def mail_server() -> Iterator[Received]:
    """Take mail by SMTP; any login will do."""
    received = Received()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 loopback")
            while line := self.rfile.readline().decode().rstrip("\r\n"):
                received.commands.append(line)
                word = line.split()[0].upper()
                if word == "EHLO":
                    self._say("250-loopback\r\n250 AUTH PLAIN")
                elif word == "AUTH":
                    self._say("235 welcome")
                elif word == "DATA":
                    self._take_message()
                elif word == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 fine")

        def _take_message(self) -> None:
            self._say("354 go on")
            lines: list[str] = []
            while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                lines.append(line)
            received.bodies.append("\n".join(lines))
            self._say("250 taken")

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with _served(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler), received):
        yield received


@contextmanager
def _served(server: socketserver.TCPServer, received: Received) -> Iterator[None]:
    received.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
