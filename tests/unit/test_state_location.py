"""Does the state outlive its container? Told from lines as engines make them."""

from __future__ import annotations

import pytest

from tests.support.builders import an_id
from watchtower_async.state.location import keeping_of

STATE = "/var/lib/watchtower-async"
ROOT = "594 500 0:50 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/l/A,upperdir=/u/diff,workdir=/u/work"
PROC = "595 594 0:53 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw"


def a_mount(root: str, point: str = STATE, *, kind: str = "ext4", tags: str = "shared:1 ") -> str:
    """Return a line of mountinfo."""
    return f"610 594 254:1 {root} {point} rw,relatime {tags}- {kind} /dev/vda1 rw"


def kept(*lines: str, directory: str = STATE) -> tuple[bool, str]:
    """Return what is said of the directory in a container with these mounts."""
    keeping = keeping_of(directory, mountinfo="\n".join((ROOT, PROC, *lines)) + "\n", inside_container=True)
    return keeping.lasts, keeping.text


def test_outside_of_containers_it_lasts() -> None:
    """Whatever is mounted there."""
    keeping = keeping_of(STATE, mountinfo="", inside_container=False)
    assert (keeping.lasts, keeping.text) == (True, "yes")


@pytest.mark.parametrize(
    "root",
    [
        "/var/lib/docker/volumes/watchtower-state/_data",
        "/docker/volumes/watchtower-state/_data",  # a file system of its own for the engine
        "/var/lib/containers/storage/volumes/watchtower-state/_data",
        "/volumes/watchtower-state/_data/below",
    ],
)
@pytest.mark.parametrize("tags", ["", "master:1 ", "shared:4 master:1 "])
def test_named_volume_lasts(root: str, tags: str) -> None:
    """Wherever the engine keeps its volumes, and however many optional fields the kernel writes."""
    assert kept(a_mount(root, tags=tags)) == (True, "yes, in the volume watchtower-state")


@pytest.mark.parametrize("root", ["/srv/state", "/", "/users/me/volumes/_data", "/volumes/x"])
def test_mounted_directory_lasts(root: str) -> None:
    """A bind mount, or a volume of a file system of its own such as NFS."""
    assert kept(a_mount(root)) == (True, "yes, in a mounted directory")


def test_anonymous_volume_lasts_only_as_long_as_the_container() -> None:
    """The text says what to do; it does not speak of a restart, which the volume outlives."""
    lasts, text = kept(a_mount(f"/var/lib/docker/volumes/{an_id('x')}/_data"))
    assert not lasts
    assert text == (
        "not when the container is removed and made anew: it is in an anonymous volume, which the next container "
        "does not get; mount a named volume there"
    )


def test_file_system_of_the_container_goes_with_it() -> None:
    """No mount but the root: the last container's files are gone with it."""
    lasts, text = kept(a_mount("/srv/other", "/srv/other"))
    assert not lasts
    assert text.startswith("no: it is in the container itself")


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_memory_does_not_last(kind: str) -> None:
    """Not even a restart."""
    lasts, text = kept(a_mount("/", kind=kind))
    assert not lasts
    assert kind in text


def test_deepest_mount_decides() -> None:
    """A volume on the parent does not help where the directory itself is in memory, and the other way round."""
    parent = a_mount("/srv", "/var/lib")
    assert kept(parent) == (True, "yes, in a mounted directory")
    assert kept(a_mount("/", kind="tmpfs"), parent)[0] is False
    assert kept(a_mount("/", "/var/lib", kind="tmpfs"), a_mount("/srv"))[0] is True


def test_last_of_several_mounts_at_one_place_decides() -> None:
    """It lies over the others."""
    assert kept(a_mount("/srv"), a_mount("/", kind="tmpfs"))[0] is False


def test_mount_beside_the_directory_says_nothing() -> None:
    """`/var/lib/watch` is no parent of `/var/lib/watchtower-async`."""
    assert kept(a_mount("/srv", "/var/lib/watch"))[0] is False


def test_names_with_spaces_are_read_as_the_kernel_writes_them() -> None:
    """proc(5): a space is `\\040`, a backslash is `\\134`."""
    line = a_mount("/var/lib/docker/volumes/my\\040state/_data", "/my\\040state\\134x")
    assert kept(line, directory="/my state\\x") == (True, "yes, in the volume my state")


@pytest.mark.parametrize("text", ["", "nonsense", "1 2 3 - ext4", "a b c d e f - "])
def test_mounts_that_cannot_be_read_promise_nothing(text: str) -> None:
    """Without knowledge nobody is told that the state lasts."""
    keeping = keeping_of(STATE, mountinfo=text, inside_container=True)
    assert not keeping.lasts
    assert keeping.text.startswith("nobody knows")
