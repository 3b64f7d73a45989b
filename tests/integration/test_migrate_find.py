"""`migrate --find` on a real engine: Watchtower containers are found, ours and all others are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.support.docker_cli import DockerCli
from tests.support.updater import Updater

pytestmark = pytest.mark.engine


def test_watchtower_is_found_on_the_engine(docker: DockerCli, tmp_path: Path, prefix: str) -> None:
    """By the name of its image or its label; the service that is printed is a compose file without the secret."""
    image = f"registry.invalid/{prefix}/containrrr/watchtower:1.7.1"
    docker.import_image(image, "ENTRYPOINT []", command=["sleep", "1000"])
    mounts = ("--volume", f"{tmp_path}:/data:ro", "--env", "REPO_PASS=MARKER", "--env", "REPO_USER=me")
    docker.run(f"{prefix}-old", image, options=mounts)
    docker.run(f"{prefix}-ours", image, options=("--label", "org.opencontainers.image.title=watchtower-async"))
    labelled = f"{prefix}-labelled"
    plain = f"{prefix}-plain:1"
    docker.import_image(plain, "ENTRYPOINT []", command=["sleep", "1000"])
    docker.run(labelled, plain, options=("--label", "com.centurylinklabs.watchtower=true"))
    docker.run(f"{prefix}-other", plain)

    done = Updater(docker.engine, docker.config_directory, tmp_path / "state")("migrate", "--find", "--json")

    found = {item["name"]: item for item in json.loads(done.output)["services"] if item["name"].startswith(prefix)}
    assert {f"{prefix}-old": "containrrr/watchtower", labelled: "a build of Watchtower that is not known"} == {
        name: item["program"] for name, item in found.items()
    }
    service = yaml.safe_load(found[f"{prefix}-old"]["service"])["services"][f"{prefix}-old"]
    assert service["image"] == "watchtower-async:latest"
    assert f"{tmp_path}:/data:ro" in service["volumes"]
    assert "REPO_PASS=${REPO_PASS:?}" in service["environment"]
    assert "MARKER" not in done.output + done.log
