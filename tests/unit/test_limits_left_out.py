"""Which limits a new container does not get."""

from __future__ import annotations

import pytest

from watchtower_async.engine.limits_left_out import limits_left_out
from watchtower_async.settings import CpuCopyMode

ALL_OF_CPU = frozenset({"NanoCpus", "CpuShares", "CpuQuota", "CpuPeriod", "CpusetCpus", "CpusetMems"})


@pytest.mark.parametrize(
    ("mode", "is_podman", "expected"),
    [
        (CpuCopyMode.AUTO, False, frozenset()),
        (CpuCopyMode.AUTO, True, frozenset({"NanoCpus"})),
        (CpuCopyMode.FULL, True, frozenset()),
        (CpuCopyMode.NONE, True, ALL_OF_CPU),
        (CpuCopyMode.NONE, False, ALL_OF_CPU),
    ],
)
def test_cpu_limits_are_left_out_as_the_option_says(
    mode: CpuCopyMode, is_podman: bool, expected: frozenset[str]
) -> None:
    """By itself only what Podman has worked out the others from, and refuses beside them."""
    assert expected == limits_left_out(is_podman=is_podman, cpu_copy_mode=mode, without_swappiness=False)


@pytest.mark.parametrize("is_podman", [False, True])
def test_swappiness_is_left_out_where_it_is_asked_for(is_podman: bool) -> None:
    """On every engine, since the option is about the kernel below it."""
    found = limits_left_out(is_podman=is_podman, cpu_copy_mode=CpuCopyMode.FULL, without_swappiness=True)
    assert found == {"MemorySwappiness"}
