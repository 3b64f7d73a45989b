"""Options about registries: who logs in where, and how they are spoken to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from watchtower_async.settings.option import declare
from watchtower_async.settings.parsing import one_of, parse_bool, parse_directory, parse_list, parse_user_name
from watchtower_async.settings.values import HeadWarning, TlsVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """Registries and credentials"""

    config_directory: Path | None = declare(
        "--docker-config", env="DOCKER_CONFIG", default=None, parse=parse_directory, metavar="DIRECTORY",
        shown_default="/ if it has a config.json, else ~/.docker",
        help="Directory that holds the config.json with registry credentials.",
    )  # fmt: skip
    insecure_registries: tuple[str, ...] = declare(
        "--insecure-registries", env="WATCHTOWER_INSECURE_REGISTRIES", default=(), parse=parse_list, metavar="HOSTS",
        help="Registries (host or host:port) that may be asked without a trusted certificate or over http.",
    )  # fmt: skip
    repo_user: str = declare(
        "--repo-user", env="REPO_USER", default="", parse=parse_user_name, is_secret=True,
        help="User name for Docker Hub where the Docker configuration has none.",
    )  # fmt: skip
    repo_password: str = declare(
        "--repo-pass", env="REPO_PASS", default="", is_secret=True, help="Password of that user.",
    )  # fmt: skip
    repo_registries: tuple[str, ...] = declare(
        "--repo-registries", env="WATCHTOWER_REPO_REGISTRIES", default=(), parse=parse_list, metavar="HOSTS",
        help="Registries (host or host:port) besides Docker Hub that receive this user name and password, or all.",
    )  # fmt: skip
    tls_skip: bool = declare(
        "--registry-tls-skip", env="WATCHTOWER_REGISTRY_TLS_SKIP", default=False, parse=parse_bool,
        help="Ask every registry without verifying its certificate; --insecure-registries names single ones.",
    )  # fmt: skip
    tls_min_version: TlsVersion = declare(
        "--registry-tls-min-version", env="WATCHTOWER_REGISTRY_TLS_MIN_VERSION", default=TlsVersion.TLS1_2,
        parse=one_of(TlsVersion), metavar="VERSION", shown_default="TLS1.2", is_tolerant=True,
        help="TLS1.2 or TLS1.3: the oldest TLS to speak with a registry.",
    )  # fmt: skip
    warn_on_head_failure: HeadWarning = declare(
        "--warn-on-head-failure", env="WATCHTOWER_WARN_ON_HEAD_FAILURE", default=HeadWarning.AUTO,
        parse=one_of(HeadWarning), metavar="WHEN", shown_default="auto", is_tolerant=True,
        no_effect="a check that fails is never made up for by a pull, and always says why",
        help="always, auto or never: warn when a registry refuses the cheap question.",
    )  # fmt: skip
