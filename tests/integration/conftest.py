"""The image of this checkout, built once for all tests that run it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.support.debian_base import DebianBaseError, build_base, debian_root
from tests.support.docker_cli import DockerCli
from tests.support.testbed import TestBed

CHECKOUT = Path(__file__).parents[2]
# predefined build arguments: the builder hands them to pip and does not keep them in the image
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@pytest.fixture(scope="session")
def application_image(testbed: TestBed, session_docker: DockerCli, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the image that the Dockerfile makes, on a base that is made here instead of pulled."""
    name = f"wta-image-{secrets.token_hex(4)}"
    try:
        root = debian_root(testbed.directory / "cache")
    except DebianBaseError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs a base image: {error}")
        pytest.skip(f"no base image: {error}")
    build_base(session_docker, f"{name}-base", root, tmp_path_factory.mktemp("base"))
    session_docker.build(name, CHECKOUT, "--network=host", *build_arguments(f"{name}-base"))
    return name


def build_arguments(base: str) -> tuple[str, ...]:
    """Return the build arguments that name the base, and that let this machine's builds reach its package index."""
    proxies = [word for variable in _PROXY_VARIABLES if variable in os.environ for word in ("--build-arg", variable)]
    return ("--build-arg", f"BASE={base}", *proxies)
