"""The command `migrate`: what it prints, and that it writes nothing before it is told to."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from watchtower_async.cli.main import run

COMPOSE = """\
# mine
services:
  watchtower:
    image: containrrr/watchtower
    command: --cleanup --interval ${EVERY}
    env_file: watchtower.env
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock
"""


@pytest.fixture
def compose(tmp_path: Path) -> Path:
    """A compose file with its env file."""
    (tmp_path / "watchtower.env").write_text("REPO_USER=me\nREPO_PASS=MARKER\n")
    (tmp_path / ".env").write_text("EVERY=300\n")
    path = tmp_path / "compose.yaml"
    path.write_text(COMPOSE)
    path.chmod(0o640)
    return path


def migrate(*arguments: str, **environ: str) -> int:
    """Run the command."""
    return run(["watchtower-async", "migrate", *arguments], environ)


def test_nothing_is_written_without_being_asked(compose: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The answer is printed; the directory is as it was."""
    before = {path.name: path.read_bytes() for path in compose.parent.iterdir()}
    assert migrate(str(compose)) == 0
    assert before == {path.name: path.read_bytes() for path in compose.parent.iterdir()}
    printed = capsys.readouterr().out
    assert "image: watchtower-async:latest" in printed
    assert "WATCHTOWER_REPO_REGISTRIES" in printed
    assert "MARKER" not in printed


def test_write_keeps_the_old_file_beside_the_new_one(compose: Path) -> None:
    """The new file has the mode of the old one, and the old one can be had back."""
    assert migrate("--write", str(compose), WATCHTOWER_ASYNC_IMAGE="registry.example/wta:1") == 0
    assert "    image: registry.example/wta:1\n" in compose.read_text()
    assert compose.with_name("compose.yaml.watchtower").read_text() == COMPOSE
    assert {0o640} == {stat.S_IMODE(path.stat().st_mode) for path in compose.parent.glob("compose.yaml*")}


def test_old_backup_is_never_overwritten(compose: Path) -> None:
    """A second time the next name is taken."""
    compose.with_name("compose.yaml.watchtower").write_text("first")
    assert migrate("--write", str(compose)) == 0
    assert compose.with_name("compose.yaml.watchtower").read_text() == "first"
    assert compose.with_name("compose.yaml.watchtower-2").read_text() == COMPOSE


def test_link_to_a_compose_file_stays_a_link(compose: Path, tmp_path: Path) -> None:
    """The file behind it is written."""
    link = tmp_path / "link.yaml"
    link.symlink_to(compose)
    assert migrate("--write", str(link)) == 0
    assert link.is_symlink()
    assert "watchtower-async:latest" in compose.read_text()


def test_service_that_would_not_start_is_not_written(compose: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """First what is wrong is put right: a container that restarts for ever updates nothing."""
    text = COMPOSE.replace("--cleanup", "--clenup")
    compose.write_text(text)
    assert migrate("--write", str(compose)) == 1
    assert compose.read_text() == text
    assert not list(compose.parent.glob("*.watchtower*"))
    assert "--clenup" in capsys.readouterr().out


def test_written_file_holds_no_watchtower_any_more(compose: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To run it twice does no harm."""
    assert migrate("--write", str(compose)) == 0
    text = compose.read_text()
    assert migrate("--write", str(compose)) == 1
    assert "No Watchtower was found" in capsys.readouterr().out
    assert compose.read_text() == text


def test_inspected_container_is_read_from_standard_input() -> None:
    """`docker inspect watchtower | watchtower-async migrate -` prints a service without its secrets."""
    environment = ["REPO_USER=me", "REPO_PASS=MARKER"]
    document = [{"Name": "/w", "Config": {"Image": "nickfedor/watchtower", "Env": environment}}]
    done = subprocess.run(
        [sys.executable, "-m", "watchtower_async", "migrate", "--json", "-"],
        input=json.dumps(document), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    (service,) = json.loads(done.stdout)["services"]
    assert "REPO_PASS=${REPO_PASS:?}" in service["service"]
    assert service["carries_over"] is True
    assert "MARKER" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [((), "takes a compose file"), (("--find", "x"), "takes a compose file"), (("/nowhere.yaml",), "cannot be read"),
     (("--find", "--write"), "--write changes compose files only")],
)  # fmt: skip
def test_wrong_use_is_told(arguments: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence and exit code 1."""
    assert migrate(*arguments) == 1
    assert part in capsys.readouterr().err


def test_file_that_is_no_compose_file_is_told_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The name and the line are in the sentence."""
    path = tmp_path / "broken.yaml"
    path.write_text("services:\n  a: [\n")
    assert migrate(str(path)) == 1
    assert "broken.yaml: line 3" in capsys.readouterr().err
