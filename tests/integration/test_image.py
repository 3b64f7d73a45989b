"""The image that the Dockerfile makes, run as people run it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker_cli import DockerCli, DockerCliError
from tests.support.testbed import TestBed
from tests.support.updating import an_outdated_container, assert_updated, login_file, wait_until_well
from watchtower_async import __version__

CHECKOUT = Path(__file__).parents[2]
PYTHON = "/opt/watchtower-async/bin/python"
# an environment in which nothing is found by name, and a root that nobody can write to
HARSH = ("--read-only", "--env", "PATH=/nonexistent:/go/bin", "--env", "HOME=/")


def image_config(docker: DockerCli, image: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", image))
    return config


def in_image(docker: DockerCli, image: str, program: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """Run another program of the image and return what it printed."""
    return docker("run", "--rm", *docker.label_options, *options, "--entrypoint", program, image, *arguments)


def test_image_version_is_that_of_the_package() -> None:
    """The version is stated in three places, which must agree."""
    dockerfile = (CHECKOUT / "Dockerfile").read_text()
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert re.findall(r"^ARG VERSION=(.*)$", dockerfile, re.MULTILINE) == [__version__]
    assert project["version"] == __version__


def test_dockerfile_names_no_architecture() -> None:
    """One Dockerfile serves every architecture."""
    assert not re.search(r"amd64|arm64|aarch64|x86_64|arm/v7|--platform", (CHECKOUT / "Dockerfile").read_text())


@pytest.mark.engine
@pytest.mark.timeout(900)
class TestImage:
    """Tests that run the built image."""

    def test_image_config_is_what_watchtower_users_expect(self, docker: DockerCli, application_image: str) -> None:
        """Entrypoint, port, health check, label and volume are where users and tools look for them."""
        config = image_config(docker, application_image)
        assert config["Entrypoint"] == ["/watchtower"]
        assert config["Healthcheck"]["Test"] == ["CMD", "/watchtower", "--health-check"]
        assert "8080/tcp" in config["ExposedPorts"]
        assert config["Labels"]["com.centurylinklabs.watchtower"] == "true"
        assert config["Labels"]["org.opencontainers.image.version"] == __version__
        assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
        assert "/var/lib/watchtower-async" in config["Volumes"]
        assert config["StopSignal"] == "SIGTERM"
        assert config.get("User", "") in {"", "root", "0"}

    @pytest.mark.parametrize("program", ["gcc", "cc", "make", "/opt/watchtower-async/bin/pip"])
    def test_image_holds_no_build_tool(self, docker: DockerCli, application_image: str, program: str) -> None:
        """What only the build needs stays in the builder."""
        assert in_image(docker, application_image, "/bin/sh", "-c", f"command -v {program} || echo none") == "none"

    def test_image_holds_certificates_and_time_zones(self, docker: DockerCli, application_image: str) -> None:
        """TLS and TZ work without a mount."""
        script = (
            "import ssl, zoneinfo\n"
            "print(len(ssl.create_default_context().get_ca_certs()) > 50, zoneinfo.ZoneInfo('Asia/Tokyo'))"
        )
        assert in_image(docker, application_image, PYTHON, "-c", script) == "True Asia/Tokyo"

    def test_every_module_comes_compiled(self, docker: DockerCli, application_image: str) -> None:
        """A read-only root does not compile the program again at every start and health check."""
        script = (
            "import sys, importlib, pathlib\n"
            "import watchtower_async.__main__, watchtower_async.cli.main, watchtower_async.app\n"
            "missing = [name for name, module in sys.modules.items() if (cached := getattr(module, '__cached__', None))"
            " and not pathlib.Path(cached).exists()]\n"
            "print(missing)"
        )
        assert in_image(docker, application_image, PYTHON, "-P", "-c", script) == "[]"

    def test_help_works_in_harsh_environment(self, docker: DockerCli, application_image: str) -> None:
        """The launcher needs neither PATH nor HOME nor a writable root."""
        shown = docker("run", "--rm", *docker.label_options, *HARSH, application_image, "--help")
        assert "--run-once" in shown

    def test_health_check_without_service_fails_plainly(self, docker: DockerCli, application_image: str) -> None:
        """A health check that finds no service says so, and shows no traceback."""
        with pytest.raises(DockerCliError, match="no running updater answers") as caught:
            docker("run", "--rm", *docker.label_options, *HARSH, application_image, "--health-check")
        assert "Traceback" not in str(caught.value)

    def test_health_check_with_service_answers(
        self, docker: DockerCli, application_image: str, testbed: TestBed, prefix: str
    ) -> None:
        """A running service is healthy, also in a harsh environment."""
        options = (*HARSH, *socket_mount(testbed))
        docker.run(f"{prefix}-updater", application_image, "--interval", "3600", f"{prefix}-nothing", options=options)
        wait_until_well(docker, f"{prefix}-updater")

    def test_service_stops_at_once_when_asked(
        self, docker: DockerCli, application_image: str, testbed: TestBed, prefix: str
    ) -> None:
        """`docker stop` does not have to kill the service."""
        name = f"{prefix}-updater"
        docker.run(name, application_image, f"{prefix}-nothing", options=socket_mount(testbed))
        wait_until_well(docker, name)
        docker("stop", "--time", "20", name)
        assert docker.inspect(name)["State"]["ExitCode"] == 0

    @pytest.mark.parametrize("user", ["root", "65532"])
    def test_container_from_private_registry_is_updated(
        self, docker: DockerCli, application_image: str, testbed: TestBed, prefix: str, user: str
    ) -> None:
        """With the socket and a config.json, one run updates a container from a registry on the engine's loopback.

        The updater runs on the default bridge, where `localhost` is not the engine's; only the engine can ask there. It
        needs no root: the group of the socket is enough.
        """
        outdated = an_outdated_container(docker, testbed, prefix)
        said = docker.both_outputs(
            *("run", "--rm", *docker.label_options, *socket_mount(testbed), *as_user(testbed, user)),
            *("--volume", f"{login_file(docker)}:/config.json:ro"),
            *(application_image, "--run-once", outdated.name),
        )
        assert_updated(docker, outdated, said)


def socket_mount(testbed: TestBed) -> tuple[str, ...]:
    """Options that mount the engine's socket where Docker's own lies."""
    return ("--volume", f"{testbed.engine.removeprefix('unix://')}:/var/run/docker.sock")


def as_user(testbed: TestBed, user: str) -> tuple[str, ...]:
    """Options that run a container as somebody who may use the engine's socket only through its group."""
    if user == "root":
        return ()
    return ("--user", f"{user}:{Path(testbed.engine.removeprefix('unix://')).stat().st_gid}")
