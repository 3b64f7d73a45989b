"""The scripts that a newcomer starts with, from the checkout."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.docker_cli import DockerCli

CHECKOUT = Path(__file__).parents[2]
RUN = CHECKOUT / "scripts" / "run"
PICTURE = CHECKOUT / "docs" / "images" / "plan.svg"
DEMO_LABEL = "watchtower-async.demo=true"
DEMO_SECONDS = 300
# Hides every socket that an engine of this machine may have, from one command only.
WITHOUT_SOCKETS = (
    *("unshare", "--mount", "sh", "-c"),
    'mount -t tmpfs none /run && { [ -L /var/run ] || mount -t tmpfs none /var/run; } && exec "$@"',
    "sh",
)

own_environment = pytest.mark.skipif(
    Path(sys.prefix) != CHECKOUT / ".venv", reason="the tests do not run in .venv, and scripts/run would make it"
)


def environment(home: Path) -> Mapping[str, str]:
    """Return our environment without anything that names an engine, and with another home."""
    named = ("DOCKER_", "WATCHTOWER_", "XDG_")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(named)}, "HOME": str(home)}


def run(*command: str | Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a directory that is also its home."""
    return subprocess.run(
        command, cwd=directory, env=environment(directory), capture_output=True, text=True, timeout=60, check=False
    )


def left_of_the_demo(docker: DockerCli) -> list[str]:
    """Return what carries the demo's label on the engine, and the demo's directories."""
    listings = (("ps", "--all", "--quiet"), ("images", "--all", "--quiet"), ("volume", "ls", "--quiet"))
    labelled = [found for listing in listings for found in docker(*listing, "--filter", f"label={DEMO_LABEL}").split()]
    return labelled + [str(path) for path in Path("/tmp").glob("watchtower-async-demo-*")]


@own_environment
def test_run_works_from_another_directory(tmp_path: Path) -> None:
    """The checkout is found wherever the caller stands."""
    done = run(RUN, "--help", directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: watchtower-async [OPTIONS]" in done.stdout
    assert "plan" in done.stdout


@own_environment
@pytest.mark.skipif(os.geteuid() != 0, reason="hiding the engine's sockets takes root")
def test_run_without_an_engine_names_two_ways_to_get_one(tmp_path: Path) -> None:
    """One sentence says what is missing and how to get it, and the exit code tells a script."""
    done = run(*WITHOUT_SOCKETS, RUN, "--run-once", directory=tmp_path)
    assert done.returncode == 3, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert "no Docker Engine was found" in sentence
    assert "apt-get install docker.io" in sentence
    assert "--host or DOCKER_HOST" in sentence


@pytest.mark.engine
@pytest.mark.full
@own_environment
@pytest.mark.timeout(DEMO_SECONDS)
def test_demo_shows_its_story_and_leaves_nothing(session_docker: DockerCli) -> None:
    """Before, plan, update, broken image and survival are shown in this order; afterwards nothing of it is there."""
    done = subprocess.run(
        [RUN, "demo"], capture_output=True, text=True, timeout=DEMO_SECONDS, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    story = (
        *("answers: version 1", "the tag points to a newer image", "Replacing container", "Started new container"),
        *("answers: version 2", "the old one runs again", "version 3 cannot start", "answers: version 2", "Done"),
    )
    assert re.search(".*".join(map(re.escape, story)), done.stdout, re.DOTALL), done.stdout
    assert not left_of_the_demo(session_docker)


@pytest.mark.engine
@pytest.mark.full
@own_environment
@pytest.mark.timeout(DEMO_SECONDS)
@pytest.mark.parametrize("moment", ["Version 1 has", "Replacing container", "4. Version 3", "Cleaning up"])
def test_interrupted_demo_leaves_nothing(session_docker: DockerCli, moment: str) -> None:
    """Ctrl-C reaches all processes of a terminal at once; the clean-up is done all the same."""
    with subprocess.Popen(
        [RUN, "demo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        before = []
        for line in demo.stdout:
            before.append(line)
            if moment in line:
                break
        os.killpg(demo.pid, signal.SIGINT)
        after = demo.stdout.read()
    said = "".join(before) + after
    assert moment in said
    assert "Traceback" not in said
    assert demo.returncode == (0 if moment == "Cleaning up" else 130), said
    assert not left_of_the_demo(session_docker)


def test_picture_of_a_plan_is_what_the_program_prints(tmp_path: Path) -> None:
    """The README's picture is true, small and asks no server for anything; scripts/plan_picture.py draws it anew."""
    drawn = tmp_path / "plan.svg"
    done = run(sys.executable, "-P", CHECKOUT / "scripts" / "plan_picture.py", drawn, directory=tmp_path)
    assert done.returncode == 0, done.stderr
    picture = PICTURE.read_text()
    assert picture == drawn.read_text(), "draw it anew: .venv/bin/python -P scripts/plan_picture.py"
    assert re.findall(r"\w+://[^\"'\s]+", picture.replace("unix:", "")) == ["http://www.w3.org/2000/svg"]
    assert len(picture) < 40_000
