"""The main job on a real engine and a real registry that asks for a login, through the installed command."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker_cli import DockerCli
from tests.support.testbed import TestBed
from tests.support.updater import Updater
from tests.support.updating import Outdated, an_outdated_container, assert_updated

pytestmark = pytest.mark.engine

FAST = ("--rollout-monitor", "1s")


@pytest.fixture
def updater(docker: DockerCli, tmp_path: Path) -> Updater:
    """The installed command with the test's own login."""
    return Updater(docker.engine, docker.config_directory, tmp_path / "state")


@pytest.fixture
def outdated(docker: DockerCli, testbed: TestBed, prefix: str) -> Outdated:
    """A container that runs an old image of a private registry."""
    return an_outdated_container(docker, testbed, prefix)


def publish(docker: DockerCli, image: str, prefix: str, version: int, command: list[str], *changes: str) -> str:
    """Publish another image under the tag; the engine keeps nothing of it."""
    image_id = docker.import_image(f"{prefix}-build:{version}", f"ENV VERSION={version}", *changes, command=command)
    docker.publish(image, image_id)
    docker("rmi", "--force", image_id)
    return image_id


def temporary_names(docker: DockerCli, name: str) -> list[str]:
    """Return what is left of replacements of this container."""
    return docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{name}.wta-").split()


def test_run_once_moves_the_container_and_keeps_the_rest(
    docker: DockerCli, updater: Updater, outdated: Outdated
) -> None:
    """The published image runs under the old name with the old settings, and nothing is left over."""
    done = updater("--run-once", *FAST, outdated.name)
    assert done.code == 0, done.log
    assert_updated(docker, outdated, done.log)
    assert not temporary_names(docker, outdated.name)
    assert "Session done" in done.log


def test_plan_tells_and_touches_nothing(docker: DockerCli, updater: Updater, outdated: Outdated) -> None:
    """The plan names both digests and the reason; exit code 2 means that there is something to do."""
    images = set(docker("images", "--quiet", "--no-trunc").split())
    done = updater("plan", "--json", outdated.name)
    item = done.item(outdated.name)
    assert done.code == 2, done.log
    assert (item["action"], item["reason"]["code"]) == ("update", "newer_image")
    assert item["running"] != item["published"]
    assert docker.inspect(outdated.name)["Id"] == outdated.container_id
    assert images == set(docker("images", "--quiet", "--no-trunc").split())


def test_plan_for_people_is_a_table(updater: Updater, outdated: Outdated) -> None:
    """Name, digests, action and reason stand in one row."""
    done = updater("plan", outdated.name)
    assert done.code == 2
    assert outdated.name in done.output
    assert "the tag points to a newer image" in done.output


def test_plan_after_the_update_has_nothing_to_do(updater: Updater, outdated: Outdated) -> None:
    """Exit code 0, and a second session changes nothing."""
    updater("--run-once", *FAST, outdated.name)
    done = updater("plan", "--json", outdated.name)
    assert done.item(outdated.name)["reason"]["code"] == "up_to_date"
    assert done.code == 0


def test_broken_image_is_rolled_back(docker: DockerCli, updater: Updater, outdated: Outdated, prefix: str) -> None:
    """The old container runs again, its log says why, and the local tag points to its image again."""
    publish(docker, outdated.image, prefix, 3, ["sh", "-c", "echo cannot start >&2; exit 3"])
    done = updater("--run-once", "--exit-code", *FAST, outdated.name)
    after = docker.inspect(outdated.name)
    assert done.code == 1
    assert after["Id"] == outdated.container_id
    assert after["State"]["Running"]
    assert after["Image"] == docker.image_id(outdated.image)
    assert not temporary_names(docker, outdated.name)
    assert "cannot start" in done.log
    assert "exited with code 3" in done.log


def test_unhealthy_image_is_rolled_back(docker: DockerCli, updater: Updater, outdated: Outdated, prefix: str) -> None:
    """The container's own health check decides."""
    check = "HEALTHCHECK --interval=1s --timeout=1s --retries=2 CMD /bin/false"
    publish(docker, outdated.image, prefix, 3, ["sleep", "1000"], check)
    done = updater("--run-once", *FAST, outdated.name)
    assert done.code == 0, "without --exit-code a run always ends with 0"
    assert docker.inspect(outdated.name)["Id"] == outdated.container_id
    assert "its health check fails" in done.log


def test_healthy_image_is_kept(docker: DockerCli, updater: Updater, outdated: Outdated, prefix: str) -> None:
    """A passing health check ends the watch."""
    check = "HEALTHCHECK --interval=1s --timeout=1s --retries=2 CMD /bin/true"
    image_id = publish(docker, outdated.image, prefix, 3, ["sleep", "1000"], check)
    done = updater("--run-once", *FAST, outdated.name)
    assert docker.inspect(outdated.name)["Image"] == image_id, done.log


def test_monitor_only_touches_nothing(docker: DockerCli, updater: Updater, outdated: Outdated) -> None:
    """The newer image is reported and not even pulled."""
    done = updater("--run-once", "--monitor-only", outdated.name)
    assert docker.inspect(outdated.name)["Id"] == outdated.container_id
    assert docker.image_id(outdated.new_image_id) is None
    assert "Found new image" in done.log


def test_label_enable_leaves_unlabelled_containers_alone(
    docker: DockerCli, updater: Updater, outdated: Outdated
) -> None:
    """Without the label nothing happens, by flag and by environment."""
    by_environment = Updater(
        updater.engine, updater.config_directory, updater.state_directory, {"WATCHTOWER_LABEL_ENABLE": "true"}
    )
    updater("--run-once", "--label-enable", outdated.name)
    by_environment("--run-once", outdated.name)
    assert docker.inspect(outdated.name)["Id"] == outdated.container_id


def test_cleanup_removes_the_image_that_the_update_left_unused(
    docker: DockerCli, updater: Updater, outdated: Outdated
) -> None:
    """The old image goes, with `--cleanup` only."""
    old_image = docker.inspect(outdated.name)["Image"]
    done = updater("--run-once", "--cleanup", *FAST, outdated.name)
    assert docker.image_id(old_image) is None, done.log
    assert docker.image_id(outdated.new_image_id) is not None


def test_wrong_password_is_a_reason_and_no_update(
    docker: DockerCli, testbed: TestBed, updater: Updater, outdated: Outdated
) -> None:
    """The registry's refusal is told, and the password is not."""
    docker.log_in(testbed.registry, testbed.user, "wr0ng-marker")
    done = updater("plan", "--json", outdated.name)
    item = done.item(outdated.name)
    assert done.code == 1
    assert (item["action"], item["reason"]["code"]) == ("unknown", "unauthorized")
    assert "wr0ng-marker" not in done.output + done.log


def test_missing_login_is_told_apart_from_a_wrong_one(
    docker: DockerCli, testbed: TestBed, updater: Updater, outdated: Outdated
) -> None:
    """A person learns that no credential is configured, and for which registry."""
    docker.log_out(testbed.registry)
    item = updater("plan", "--json", outdated.name).item(outdated.name)
    assert item["reason"]["code"] == "unauthorized"
    assert "no credential" in item["reason"]["text"]
    assert testbed.registry in item["reason"]["text"]


@pytest.mark.parametrize("content", [b'{"auths": {', b"", b"\xff\xfe", b"[]", b'{"auths": []}'])
def test_broken_login_file_costs_the_login_and_nothing_else(
    updater: Updater, outdated: Outdated, content: bytes
) -> None:
    """The updater still finds its socket, says what is wrong, and does not touch the container."""
    (updater.config_directory / "config.json").write_bytes(content)
    done = updater("plan", "--json", outdated.name)
    assert done.code == 1, done.log
    assert done.item(outdated.name)["action"] == "unknown"
    assert bool(content) is bool(done.plan["problems"])


def test_json_key_with_many_lines_passes_scan_and_pull(
    docker: DockerCli, testbed: TestBed, updater: Updater, outdated: Outdated
) -> None:
    """A password that is a JSON document of many lines reaches registry and engine unchanged."""
    # Short, because the registry's bcrypt compares 72 bytes at most.
    key = json.dumps({"type": "service_account", "private_key": "-A\nB-"}, indent=1)
    with testbed.another_user("_json_key", key):
        docker.log_in(testbed.registry, "_json_key", key)
        done = updater("--run-once", *FAST, outdated.name)
    assert_updated(docker, outdated, done.log)


def test_no_engine_is_one_sentence_and_exit_code_3(updater: Updater, tmp_path: Path) -> None:
    """What is missing, and the two ways to get it."""
    nowhere = Updater(f"unix://{tmp_path}/none.sock", updater.config_directory, updater.state_directory)
    done = nowhere("--run-once")
    assert done.code == 3
    assert "cannot be reached" in done.log
    assert "Traceback" not in done.log


def test_usage_error_is_exit_code_64(updater: Updater) -> None:
    """A wrong value is named."""
    done = updater("--run-once", "--stop-timeout", "soon")
    assert done.code == 64
    assert "--stop-timeout" in done.log


def test_service_updates_in_its_interval_and_answers_the_health_check(
    docker: DockerCli, updater: Updater, outdated: Outdated
) -> None:
    """The long-running form does what one run does, says how it is, and ends at SIGTERM."""
    with updater.running("--interval", "1", *FAST, outdated.name) as service:
        assert updater.wait_until_well().code == 0
        deadline = time.monotonic() + 30
        while docker.inspect(outdated.name)["Image"] != outdated.new_image_id and time.monotonic() < deadline:
            time.sleep(0.2)
        service.send_signal(signal.SIGTERM)
        assert service.wait(20) == 0
    assert_updated(docker, outdated, "the service did not update it")
    assert updater("--health-check").code == 1


@pytest.mark.parametrize("moment", [0.3, 0.8, 1.5])
def test_killed_updater_leaves_a_container_that_the_next_one_puts_in_order(
    docker: DockerCli, updater: Updater, outdated: Outdated, moment: float
) -> None:
    """SIGKILL at a moment of the replacement: afterwards exactly one container has the name and runs."""
    with updater.running("--run-once", "--rollout-monitor", "3s", outdated.name) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Replacing container" in line:
                break
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
    done = updater("--run-once", *FAST, outdated.name)
    after: dict[str, Any] = docker.inspect(outdated.name)
    assert after["State"]["Running"], done.log
    assert "MARK=kept" in after["Config"]["Env"]
    assert not temporary_names(docker, outdated.name), done.log
    assert after["Image"] == outdated.new_image_id, done.log
