"""Which limits a new container does not get, by the options that were made for Podman's quirks. Pure.

Podman works a quota and a period out of `NanoCpus`, shows all three, and refuses them together in a create request; and
with cgroup v2 it knows no memory swappiness, but shows one.
"""

from __future__ import annotations

from watchtower_async.settings import CpuCopyMode

_CPU_LIMITS = frozenset({"NanoCpus", "CpuShares", "CpuQuota", "CpuPeriod", "CpusetCpus", "CpusetMems"})
_REFUSED_BY_PODMAN = frozenset({"NanoCpus"})
_SWAPPINESS = frozenset({"MemorySwappiness"})


def limits_left_out(*, is_podman: bool, cpu_copy_mode: CpuCopyMode, without_swappiness: bool) -> frozenset[str]:
    """Return the fields of `HostConfig` that are in no create request."""
    of_cpu: frozenset[str] = frozenset()
    if cpu_copy_mode is CpuCopyMode.NONE:
        of_cpu = _CPU_LIMITS
    elif cpu_copy_mode is CpuCopyMode.AUTO and is_podman:
        of_cpu = _REFUSED_BY_PODMAN
    return of_cpu | (_SWAPPINESS if without_swappiness else frozenset())
