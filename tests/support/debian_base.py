"""A Debian root with Python, to stand in for the official base image that a test machine cannot pull.

The root comes from the machine's own Debian mirror and is kept in the test bed's cache. What only this machine needs to
reach its package index (CA certificates, pip settings) is laid over it on the engine and never cached.
"""

from __future__ import annotations

import ast
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.docker_cli import DockerCli

SUITE = "trixie"
PACKAGES = ("python3", "python3-venv", "ca-certificates", "tzdata")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
BOOTSTRAP_SECONDS = 600.0
_UNNEEDED = ("./var/cache/apt/archives", "./var/lib/apt/lists", "./usr/share/doc", "./usr/share/man", "./dev")


class DebianBaseError(Exception):
    """The Debian root could not be made here."""


def debian_root(cache: Path) -> Path:
    """Return a tar archive of the root, made on first use. Raises DebianBaseError."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    archive = cache / f"{SUITE}-{'-'.join(PACKAGES)}.tar"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            _bootstrap(archive)
    return archive


def _bootstrap(archive: Path) -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    unfinished = archive.with_suffix(".new")
    with tempfile.TemporaryDirectory(dir=archive.parent) as directory:
        root = Path(directory, "root")
        packages = ",".join(PACKAGES)
        try:
            _call(*as_root, "debootstrap", "--variant=minbase", f"--include={packages}", SUITE, str(root), _mirror())
            excluded = [f"--exclude={path}" for path in _UNNEEDED]
            _call(*as_root, "tar", "-C", str(root), *excluded, "-cf", str(unfinished), ".")
        finally:
            _call(*as_root, "rm", "-rf", "--one-file-system", str(root))
    unfinished.rename(archive)


def _mirror() -> str:
    """Return the mirror that apt uses for Debian itself."""
    targets = _call("apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(REPO_URI)", "Created-By: Packages")
    for line in targets.splitlines():
        origin, release, address = line.split(" ", 2)
        if origin == "Debian" and "security" not in release:
            return address
    raise DebianBaseError("apt knows no Debian mirror on this machine")


def _call(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BOOTSTRAP_SECONDS, check=False)
    except OSError as error:
        raise DebianBaseError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        raise DebianBaseError(f"{command[0]} failed: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def build_base(docker: DockerCli, name: str, root: Path, directory: Path) -> None:
    """Make an image of the root with what pip needs on this machine. `directory` is an empty one for the build."""
    labels = [word for label in docker.labels for word in ("--change", f"LABEL {label}")]
    docker("import", *labels, "--change", "ENV PATH=/usr/local/bin:/usr/bin:/bin", str(root), f"{name}:root")
    (directory / "ca-certificates.crt").write_bytes(ca_bundle(os.environ).read_bytes())
    (directory / "pip.conf").write_text(pip_settings(_call(sys.executable, "-m", "pip", "config", "list")))
    (directory / "Dockerfile").write_text(
        f"FROM {name}:root\nCOPY ca-certificates.crt {CA_BUNDLE}\nCOPY pip.conf /etc/pip.conf\n"
    )
    docker.build(f"{name}:latest", directory)


def ca_bundle(environ: Mapping[str, str]) -> Path:
    """Return the CA certificates that this machine's pip trusts."""
    for variable in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        path = Path(environ.get(variable) or "/nonexistent")
        if path.is_file():
            return path
    return CA_BUNDLE


def pip_settings(listing: str) -> str:
    """Turn `pip config list` into a configuration file, less the settings that name local files.

    What the environment sets wins over what files set, as it does in pip.
    """
    settings = {"cert": str(CA_BUNDLE)}
    for line in sorted(listing.splitlines(), key=lambda line: line.startswith(":env:")):
        key, _, quoted = line.partition("=")
        name, value = key.rpartition(".")[2], str(ast.literal_eval(quoted))
        if name != "cert" and not value.startswith("/"):
            settings[name] = value.replace("\n", "\n    ")
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
