"""The Dockerfile that brings the helper for Amazon ECR into a volume, and the updater that runs it from there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import CHECKOUT, build_arguments
from tests.support.docker_cli import DockerCli

pytestmark = [pytest.mark.engine, pytest.mark.full, pytest.mark.timeout(900)]

REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


def test_helper_from_the_volume_is_asked(
    docker: DockerCli, application_image: str, prefix: str, tmp_path: Path
) -> None:
    """Built as its comment says, it fills the volume; the updater finds it on PATH and runs it.

    There is no account here, so the helper answers that it has no credentials: that is enough to see that it ran.
    """
    helper, volume = f"{prefix}-ecr-helper", f"{prefix}-helper"
    base = f"{application_image}-base"
    docker.build(helper, CHECKOUT / "compose" / "ecr-helper", "--network=host", *build_arguments(base))
    docker("volume", "create", *docker.label_options, volume)
    docker("run", "--rm", *docker.label_options, "--volume", f"{volume}:/go/bin", helper)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credHelpers": {REGISTRY: "ecr-login"}}))
    config.chmod(0o644)
    said = docker.both_outputs(
        *("run", "--rm", *docker.label_options, "--network=none"),
        *("--env", "PATH=/usr/bin:/go/bin", "--env", "HOME=/", "--env", "AWS_REGION=eu-central-1"),
        *("--volume", f"{volume}:/go/bin:ro", "--volume", f"{config}:/config.json:ro"),
        *("--entrypoint", "/bin/sh", application_image, "-c"),
        f"echo {REGISTRY} | docker-credential-ecr-login get; /watchtower credentials --json",
    )
    assert "credentials not found in native keychain" in said
    assert REGISTRY in said
    assert "does not exist" not in said
