"""What a real engine mounts is read as what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.docker_cli import DockerCli
from watchtower_async.state.location import keeping_of

pytestmark = pytest.mark.engine

STATE = "/var/lib/watchtower-async"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--volume", "VOLUME:" + STATE), (True, "yes, in the volume VOLUME")),
        (("--volume", "HERE:" + STATE), (True, "yes, in a mounted directory")),
        (("--volume", STATE), (False, "not when the container is removed")),
        (("--tmpfs", STATE), (False, "no: it is in memory")),
        ((), (False, "no: it is in the container itself")),
        (("--volume", "VOLUME:/var/lib"), (True, "yes, in the volume VOLUME")),
    ],
)
def test_mounts_of_the_engine_tell_whether_the_state_lasts(
    options: tuple[str, ...], expected: tuple[bool, str], docker: DockerCli, prefix: str, tmp_path: Path
) -> None:
    """Named volume, mounted directory, anonymous volume, memory, nothing, and a volume on the parent."""
    image = docker.import_image(f"{prefix}-build:1", command=["sleep", "1000"])
    docker("volume", "create", *docker.label_options, prefix)
    given = [option.replace("VOLUME", prefix).replace("HERE", str(tmp_path)) for option in options]
    docker.run(f"{prefix}-state", image, options=given)
    mountinfo = docker("exec", f"{prefix}-state", "cat", "/proc/self/mountinfo")
    keeping = keeping_of(STATE, mountinfo=mountinfo, inside_container=True)
    assert (keeping.lasts, keeping.text.startswith(expected[1].replace("VOLUME", prefix))) == (expected[0], True)
