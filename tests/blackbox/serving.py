"""The installed command as a service with its HTTP API, and plain requests to it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.blackbox.scene import JSON_LOG, Scene, Told

TOKEN = "T0ken-marker"
EVENTS_TOKEN = "Ev3nts-marker"
START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service answered."""

    status: int
    headers: Mapping[str, str]
    """With names in small letters."""
    text: str

    @property
    def json(self) -> Any:
        """Its body as JSON."""
        return json.loads(self.text)

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels."""
        return next(float(line.split()[1]) for line in self.text.splitlines() if line.startswith(f"{name} "))


@dataclass(frozen=True, slots=True)
class Service:
    """A service that runs."""

    port: int
    process: subprocess.Popen[str]
    tls: ssl.SSLContext | None = None
    secret: str = field(default=TOKEN, repr=False)

    def connect(self, *, seconds: float = 60.0) -> http.client.HTTPConnection:
        """Return a connection."""
        if self.tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=seconds, context=self.tls)

    def ask(
        self, method: str, path: str, *, token: str | None = TOKEN, body: bytes | None = None, **headers: str
    ) -> Reply:
        """Send one request; headers are written with `_` for `-`."""
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        connection = self.connect()
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            text = answer.read().decode()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)
        finally:
            connection.close()

    def stop(self) -> Told:
        """End it, and return what it wrote into its log."""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=30)
        return Told(self.process.returncode, "", log)


@contextmanager
def serving(
    scene: Scene, *arguments: str, tls: ssl.SSLContext | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Run the service with its API on a free port of loopback."""
    port = _free_port()
    address = ("--http-api-host", "127.0.0.1", "--http-api-port", str(port), "--http-api-token", TOKEN)
    updater = replace(scene.updater, environment=env or {})
    with updater.running(*JSON_LOG, "--rollout-monitor", "0s", *address, *arguments) as process:
        well = updater.wait_until_well(seconds=START_SECONDS)
        assert well.code == 0, well.output + well.log
        yield Service(port, process, tls)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
