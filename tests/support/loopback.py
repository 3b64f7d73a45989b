"""Names that lead to this machine, and certificates for them."""

from __future__ import annotations

import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aiohttp.abc import AbstractResolver, ResolveResult


class LoopbackResolver(AbstractResolver):
    """Leads every name to this machine, except those that are unknown; `ports` says which port stands for a name."""

    def __init__(self, *, unknown: Iterable[str] = (), ports: Mapping[str, int] | None = None) -> None:
        self.unknown = frozenset(unknown)
        self.ports = dict(ports or {})
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the loopback address."""
        self.asked.append(host)
        if host in self.unknown:
            raise OSError(f"{host} is not known")
        port = self.ports.get(host, port)
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate made for a test, and contexts that serve with it and trust it."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    pem: str


@cache
def certificate_for(*names: str) -> Certificate:
    """Make a self-signed certificate for these names and addresses."""
    alternatives = ",".join(f"IP:{name}" if name.replace(".", "").isdigit() else f"DNS:{name}" for name in names)
    with tempfile.TemporaryDirectory() as directory:
        key, certificate = Path(directory, "key.pem"), Path(directory, "certificate.pem")
        command = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={alternatives}",
            "-keyout", str(key), "-out", str(certificate),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, key)
        return Certificate(server, ssl.create_default_context(cafile=str(certificate)), certificate.read_text())
