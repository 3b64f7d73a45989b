"""Content digests: `algorithm:hex`, the name of bytes that never change."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from watchtower_async.errors import InvalidReferenceError

# The registered algorithms of the OCI image specification and the number of hex digits of each.
_HEX_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
_LOWER_HEX = re.compile(r"[0-9a-f]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Digest:
    """A well-formed digest of a known algorithm. Digests of different algorithms are never equal."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """Return the first twelve hex digits, for people."""
        return self.hex[:12]


def parse_digest(text: str) -> Digest:
    """Read `algorithm:hex`. Raises InvalidReferenceError; upper-case hex digits and unknown algorithms are refused."""
    algorithm, colon, hexadecimal = text.partition(":")
    if not colon:
        raise InvalidReferenceError(f"{_cut(text)} is not a digest: expected algorithm:hex")
    expected = _HEX_DIGITS.get(algorithm)
    if expected is None:
        known = ", ".join(_HEX_DIGITS)
        raise InvalidReferenceError(f"digest algorithm {_cut(algorithm)} is not supported: use one of {known}")
    if len(hexadecimal) != expected or not _LOWER_HEX.fullmatch(hexadecimal):
        raise InvalidReferenceError(f"{_cut(text)} is not a digest: {algorithm} has {expected} lower-case hex digits")
    return Digest(algorithm, hexadecimal)


def digest_of(body: bytes, algorithm: str = "sha256") -> Digest:
    """Compute the digest of exactly these bytes. Raises InvalidReferenceError for an unknown algorithm."""
    if algorithm not in _HEX_DIGITS:
        raise InvalidReferenceError(f"digest algorithm {_cut(algorithm)} is not supported")
    return Digest(algorithm, hashlib.new(algorithm, body).hexdigest())


def _cut(text: str, limit: int = 150) -> str:
    """Quote a text that others wrote, on one line and not longer than a digest."""
    return repr(text if len(text) <= limit else text[:limit] + "…")
