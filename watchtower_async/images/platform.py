"""Platforms and which manifest of an index the engine would choose for one.

The rules are those of https://github.com/containerd/platforms, which the engine uses for its pulls: a fixed table of
aliases, and for each architecture the older ones that it also runs. Windows is not chosen for by OS version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a descriptor has a platform, so the import at run time goes the other way
    from watchtower_async.images.manifest import Descriptor

_ALIASES = {
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
}
# Names of `uname -m` that image indexes do not use; the engine reports its own machine with them.
_MACHINES = {"armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"), "armv5l": ("arm", "v5"), "i686": ("386", "")}
_VARIANTS = {
    "amd64": {"v1": ""},
    "arm64": {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"},
    "arm": {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"},
}
_LEVEL = re.compile(r"v([0-9])", re.ASCII)
_ARM64_VARIANT = re.compile(r"v([89])(?:\.([0-9]{1,2}))?", re.ASCII)
_V8_AHEAD_OF_V9 = 5  # ARMv9.x implements ARMv8.(x+5)
_OLDEST_ARM = 5


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and a processor; compare only what `normalise` returned."""

    os: str
    architecture: str
    variant: str = ""
    os_features: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def normalise(platform: Platform) -> Platform:
    """Return the platform under the names that are compared. Idempotent."""
    system = platform.os.lower()
    architecture = platform.architecture.lower()
    variant = platform.variant.lower()
    if architecture in _ALIASES:
        architecture, implied = _ALIASES[architecture]
        variant = variant if implied is None else implied
    variant = _VARIANTS.get(architecture, {}).get(variant, variant)
    return replace(platform, os="darwin" if system == "macos" else system, architecture=architecture, variant=variant)


def parse_platform(text: str) -> Platform:
    """Read `os/architecture[/variant]`. Raises ValueError."""
    parts = text.split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise ValueError(f"{text!r} is not a platform: expected os/architecture or os/architecture/variant")
    return normalise(Platform(parts[0], parts[1], parts[2] if len(parts) == 3 else ""))


def engine_platform(os: str, architecture: str) -> Platform:
    """Return the platform of an engine, whose machine may be named as in Go (`arm64`) or as in `uname` (`aarch64`)."""
    name, variant = _MACHINES.get(architecture.lower(), (architecture, ""))
    return normalise(Platform(os, name, variant))


def choose_manifest(descriptors: Sequence[Descriptor], host: Platform) -> Descriptor | None:
    """Return the entry that the engine would run on this platform, None where there is no suitable one.

    Better platforms first, then more matching OS features, then the order of the index. Entries without a platform
    are the last resort.
    """
    wanted = normalise(host)
    order = {pair: rank for rank, pair in enumerate(_accepted(wanted))}
    ranked = ((_rank(entry, wanted, order), entry) for entry in descriptors if entry.is_image)
    suitable = [(rank, entry) for rank, entry in ranked if rank is not None]
    return min(suitable, key=lambda pair: pair[0])[1] if suitable else None


def _rank(entry: Descriptor, host: Platform, order: dict[tuple[str, str], int]) -> tuple[int, int] | None:
    if entry.platform is None:
        return (len(order), 0)
    platform = normalise(entry.platform)
    system = platform.os or host.os
    place = order.get((platform.architecture, platform.variant))
    # `unknown/unknown`, the mark of build attestations, is on nobody's list, not even on its own.
    if place is None or system != host.os or system == "unknown" or not platform.os_features <= host.os_features:
        return None
    return (place, -len(platform.os_features))


def _accepted(host: Platform) -> Iterator[tuple[str, str]]:
    """Yield (architecture, variant) pairs that this normalised host runs, best first."""
    match host.architecture:
        case "amd64":
            level = _number(host.variant)
            yield from (("amd64", f"v{older}") for older in range(level or 1, 1, -1))
            if level is None and host.variant:
                yield ("amd64", host.variant)
            yield ("amd64", "")
            yield ("386", "")
        case "arm":
            yield from _accepted_arm(_number(host.variant), host.variant)
        case "arm64":
            yield from _accepted_arm64(host.variant)
            yield from _accepted_arm(8, "v8")
        case _:
            yield (host.architecture, host.variant)


def _accepted_arm(version: int | None, variant: str) -> Iterator[tuple[str, str]]:
    if version is None or version < _OLDEST_ARM:
        yield ("arm", variant)
        return
    yield from (("arm", f"v{older}") for older in range(version, _OLDEST_ARM - 1, -1))


def _accepted_arm64(variant: str) -> Iterator[tuple[str, str]]:
    version = _version(variant)
    if version is None:
        yield ("arm64", variant)
        return
    major, minor = version
    if major == 9:
        yield from (("arm64", _v(9, older)) for older in range(minor, -1, -1))
        minor += _V8_AHEAD_OF_V9
    yield from (("arm64", _v(8, older)) for older in range(minor, -1, -1))


def _v(major: int, minor: int) -> str:
    if minor == 0:
        return "" if major == 8 else f"v{major}"
    return f"v{major}.{minor}"


def _version(variant: str) -> tuple[int, int] | None:
    """Read an arm64 variant in normalised form; the empty one is v8."""
    match = _ARM64_VARIANT.fullmatch(variant or "v8")
    return (int(match[1]), int(match[2] or 0)) if match else None


def _number(variant: str) -> int | None:
    match = _LEVEL.fullmatch(variant)
    return int(match[1]) if match else None
