"""How connections to registries are encrypted, where the settings ask for more or less than is usual.

Usual is TLS 1.2 or newer with a certificate that is checked. Without a check whoever is on the way can read and answer,
so it is for registries inside one's own walls; http is another permission, which only names of hosts give.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from watchtower_async.settings import TlsVersion

_VERSIONS: Mapping[TlsVersion, ssl.TLSVersion] = {
    TlsVersion.TLS1_2: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS1_3: ssl.TLSVersion.TLSv1_3,
}


@dataclass(frozen=True, slots=True)
class Encryption:
    """Two contexts; None is what the library would take by itself."""

    usual: ssl.SSLContext | None = None
    unverified: ssl.SSLContext | None = None
    """For single hosts whose certificate is not checked."""


def encryption(*, tls_skip: bool, tls_min_version: TlsVersion) -> Encryption:
    """Return the contexts that the settings ask for. Making one reads the system's certificates."""
    is_newer = tls_min_version is not TlsVersion.TLS1_2
    unverified = _context(tls_min_version, verifies=False) if tls_skip or is_newer else None
    if tls_skip:
        return Encryption(unverified, unverified)
    return Encryption(_context(tls_min_version, verifies=True) if is_newer else None, unverified)


def _context(minimum: TlsVersion, *, verifies: bool) -> ssl.SSLContext:
    context = ssl.create_default_context() if verifies else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[minimum]
    if not verifies:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
