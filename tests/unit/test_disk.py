"""Where free space is looked for, and when an image is not pulled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.small_engine import SmallEngine
from watchtower_async.engine.client import JsonObject
from watchtower_async.engine.disk import (
    EngineDisk,
    FreeSpace,
    Places,
    Viewpoint,
    in_units,
    look_for_free_space,
    may_pull,
    measure,
    places_to_look,
    this_machine,
)

GB = 10**9
ROOT = "/var/lib/docker"
INFO: dict[str, Any] = {"DockerRootDir": ROOT, "Name": "box", "KernelVersion": "6.1.0", "DriverStatus": None}
OVERLAY = "500 400 0:80 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/var/lib/docker/overlay2/x/diff"
DEVICE = "500 400 8:1 /vfs/x / rw,relatime - ext4 /dev/sda1 rw"
ETC_HOSTS = "501 500 8:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/sda1 rw"
DATA = f"502 500 8:1 {ROOT} {ROOT} ro - ext4 /dev/sda1 rw"


def a_viewpoint(**found: Any) -> Viewpoint:
    """Return the viewpoint of a process beside its engine."""
    usual: dict[str, Any] = {"has_socket_here": True, "is_own_engine": False, "host_name": "box", "kernel": "6.1.0"}
    return Viewpoint(**usual | found)


def in_container(*mounts: str, **found: Any) -> Viewpoint:
    """Return the viewpoint of a process in a container of the engine."""
    return a_viewpoint(is_own_engine=True, host_name="0123456789ab", mountinfo="\n".join(mounts), **found)


@pytest.mark.parametrize(
    ("viewpoint", "paths"),
    [
        (a_viewpoint(), (ROOT,)),
        (in_container(OVERLAY, ETC_HOSTS), ("/",)),
        (in_container(OVERLAY, has_socket_here=False), ("/",)),
        (in_container(DEVICE, ETC_HOSTS, DATA), (ROOT,)),
    ],
)
def test_place_is_on_the_file_system_that_holds_images(viewpoint: Viewpoint, paths: tuple[str, ...]) -> None:
    """The data directory, or a layer in it: our own root, however the engine is reached."""
    assert Places(paths) == places_to_look(INFO, viewpoint)


@pytest.mark.parametrize(
    ("info", "viewpoint", "why_not"),
    [
        ({}, a_viewpoint(has_socket_here=False), "not reached by a socket of this machine"),
        ({}, a_viewpoint(host_name="laptop"), "on another machine, or in a virtual one"),
        ({}, a_viewpoint(kernel="6.6.0-linuxkit"), "on another machine, or in a virtual one"),
        ({}, in_container(DEVICE, ETC_HOSTS), f"data directory {ROOT} is not visible in this container"),
        ({}, in_container(), f"data directory {ROOT} is not visible in this container"),
        ({"DockerRootDir": ""}, a_viewpoint(), "does not say where its data directory is"),
        ({"DockerRootDir": r"C:\ProgramData"}, a_viewpoint(), "does not say where its data directory is"),
    ],
)
def test_what_cannot_be_known_is_said_with_its_reason(info: dict[str, Any], viewpoint: Viewpoint, why_not: str) -> None:
    """A number of another machine's disk would be worse than none."""
    places = places_to_look(INFO | info, viewpoint)
    assert places.paths == ()
    assert why_not in places.why_not


def test_images_that_containerd_keeps_are_looked_for_there_too() -> None:
    """Its directory may be on another disk."""
    info = INFO | {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
    assert Places((ROOT, "/var/lib/containerd")) == places_to_look(info, a_viewpoint())


def test_measured_is_what_anybody_may_use(tmp_path: Path) -> None:
    """Not what is reserved for the system."""
    found = os.statvfs(tmp_path)
    free = measure(Places((str(tmp_path), "/nonexistent"))).free
    assert free is not None
    assert abs(found.f_bavail * found.f_frsize - free) < GB


def test_place_that_is_not_there_is_not_known() -> None:
    """The engine may see another file system than we do."""
    assert FreeSpace(None, "/nonexistent cannot be seen from here") == measure(Places(("/nonexistent",)))


async def test_look_tells_a_number_or_why_there_is_none(tmp_path: Path) -> None:
    """On a machine whose engine is here, and for one that is elsewhere."""
    host_name, kernel = this_machine()
    here = a_viewpoint(host_name=host_name, kernel=kernel)
    info = {"DockerRootDir": str(tmp_path), "Name": host_name, "KernelVersion": kernel}
    assert ((await look_for_free_space(info, here)).free or 0) > 0
    elsewhere = await look_for_free_space(info, a_viewpoint(has_socket_here=False))
    assert FreeSpace(None, "the engine is not reached by a socket of this machine") == elsewhere


@pytest.mark.parametrize(
    ("needed", "free", "min_free", "is_allowed"),
    [
        (None, 3 * GB, 2 * GB, True),
        (None, 2 * GB, 2 * GB, True),
        (None, 2 * GB - 1, 2 * GB, False),
        (GB, 3 * GB, 2 * GB, True),
        (GB + 1, 3 * GB, 2 * GB, False),
        (GB, None, 2 * GB, True),
        (5 * GB, 3 * GB, 0, True),
        (0, 0, 0, True),
    ],
)
def test_pull_is_held_where_less_than_the_limit_would_be_free(
    needed: int | None, free: int | None, min_free: int, is_allowed: bool
) -> None:
    """Exactly the limit is enough. Without a limit, or a number to hold against it, nothing is held."""
    assert is_allowed == (may_pull(needed=needed, free=free, min_free=min_free) is None)


def test_reason_says_what_there_is_what_it_takes_and_what_helps() -> None:
    """Numbers in the units of the option."""
    reason = may_pull(needed=850_000_000, free=int(1.2 * GB), min_free=2 * GB)
    assert reason is not None
    assert "1.2 GB free, and this image takes up to 850 MB; --min-free asks for 2 GB" in reason
    assert "docker system df" in reason
    assert "takes up to" not in (may_pull(needed=None, free=1, min_free=2) or "")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (1_500_000, "1.5 MB"), (12 * GB, "12 GB"),
        (5 * 10**15, "5e+03 TB"),
    ],
)  # fmt: skip
def test_number_of_bytes_for_people(number: int, text: str) -> None:
    """Three digits are enough."""
    assert text == in_units(number)


class InfoEngine(SmallEngine):
    """Tells about itself what a test says."""

    def __init__(self, info: JsonObject) -> None:
        super().__init__()
        self.about = info

    async def system_info(self) -> JsonObject:
        """Return it."""
        return self.about


@pytest.mark.parametrize(("min_free", "is_refused"), [(0, False), (1, False), (10**18, True)])
async def test_engine_disk_refuses_a_pull_below_the_limit(tmp_path: Path, min_free: int, is_refused: bool) -> None:
    """The file system of this machine has more than a byte free, and less than an exabyte."""
    host_name, kernel = this_machine()
    engine = InfoEngine({"DockerRootDir": str(tmp_path), "Name": host_name, "KernelVersion": kernel})
    viewpoint = a_viewpoint(host_name=host_name, kernel=kernel)
    told: list[str] = []
    disk = EngineDisk(engine=engine, viewpoint=viewpoint, min_free=min_free, tell=told.append)
    reason = await disk.reason_against_pull()
    assert is_refused is (reason is not None)
    assert reason is None or "--min-free asks for 1e+06 TB" in reason
    assert told == []
