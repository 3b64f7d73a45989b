"""The Docker command line as tests and the demo use it: on one engine, with a configuration directory of its own.

The user's own Docker configuration is never read or written: a login there is none of our business. Passwords go into
files, never onto a command line, where every user of the machine could read them.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

TESTBED_LABEL = "watchtower-async.testbed=true"
BUSYBOX = Path("/bin/busybox")
CALL_SECONDS = 120.0
BUILD_SECONDS = 600.0

# Names that the kernel finds without a shell; busybox tells from the name which of its programs is meant.
_APPLETS = ("sh", "sleep", "httpd", "cat", "env", "id", "touch", "ls", "true", "false", "wget", "hostname")

_KINDS: tuple[tuple[str, Sequence[str], Sequence[str]], ...] = (
    ("container", ("ps", "--all", "--quiet", "--no-trunc"), ("rm", "--force", "--volumes")),
    ("image", ("images", "--all", "--quiet", "--no-trunc"), ("rmi", "--force")),
    ("volume", ("volume", "ls", "--quiet"), ("volume", "rm", "--force")),
    ("network", ("network", "ls", "--quiet", "--no-trunc"), ("network", "rm")),
)


class DockerCliError(Exception):
    """A docker command failed; the text holds what it wrote."""


@dataclass(frozen=True, slots=True)
class DockerCli:
    """Runs docker commands on one engine. Every object that it makes carries `labels`."""

    engine: str
    config_directory: Path
    labels: tuple[str, ...] = (TESTBED_LABEL,)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __call__(self, *arguments: str, timeout: float = CALL_SECONDS, stdin: bytes = b"") -> str:
        """Run one command and return its standard output without the last line break. Raises DockerCliError."""
        return self._run(arguments, timeout, stdin).stdout.decode(errors="replace").rstrip("\n")

    def both_outputs(self, *arguments: str, timeout: float = CALL_SECONDS) -> str:
        """Run one command and return what it wrote to both outputs. Raises DockerCliError."""
        done = self._run(arguments, timeout)
        return (done.stdout + done.stderr).decode(errors="replace").rstrip("\n")

    def _run(self, arguments: Sequence[str], timeout: float, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        done = subprocess.run(
            ["docker", "--host", self.engine, *arguments],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**inherited, **self.environment, "DOCKER_CONFIG": str(self.config_directory)},
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise DockerCliError(f"docker {' '.join(arguments)} failed with exit code {done.returncode}: {said}")
        return done

    def log_in(self, registry: str, user: str, password: str) -> None:
        """Write a login into the configuration directory, as `docker login` without a credential store does."""
        path = self.config_directory / "config.json"
        config: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        config.setdefault("auths", {})[registry] = {"auth": secret}
        write_private(path, json.dumps(config))

    def log_out(self, registry: str) -> None:
        """Forget a login."""
        path = self.config_directory / "config.json"
        config = json.loads(path.read_text())
        config["auths"].pop(registry, None)
        write_private(path, json.dumps(config))

    def import_image(
        self, name: str, *changes: str, files: Mapping[str, str] | None = None, command: Sequence[str] = ()
    ) -> str:
        """Make a small image from busybox and return its ID.

        `changes` are Dockerfile instructions such as `ENV A=1`; `files` maps paths to text.
        """
        instructions = ["ENV PATH=/bin", *(f"LABEL {label}" for label in self.labels), *changes]
        if command:
            instructions.append(f"CMD {json.dumps(list(command))}")
        options = [word for change in instructions for word in ("--change", change)]
        told = self("import", *options, "-", name, stdin=busybox_root(files or {}))
        return told.split()[-1]  # Podman says it twice

    def publish(self, name: str, image_id: str) -> str:
        """Push an image under a name without leaving that name on the engine; return the published digest.

        The engine is then as before: whoever had the name keeps it.
        """
        before = self.image_id(name)
        self("tag", image_id, name)
        try:
            digest = _pushed_digest(self("push", name))
        finally:
            if before is None:
                self("rmi", name)
            else:
                self("tag", before, name)
        return digest

    def image_id(self, name: str) -> str | None:
        """Return the ID of a local image, or None."""
        try:
            return self("image", "inspect", "--format", "{{.Id}}", name)
        except DockerCliError as error:
            if "No such" in str(error):
                return None
            raise

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what `docker container inspect` tells."""
        found: list[dict[str, Any]] = json.loads(self("container", "inspect", name))
        return found[0]

    def build(self, name: str, directory: Path, *options: str, timeout: float = BUILD_SECONDS) -> None:
        """Build an image with the builder that every engine has."""
        legacy = replace(self, environment={**self.environment, "DOCKER_BUILDKIT": "0"})
        labelled = (*options, *self.label_options, "--force-rm", "--tag", name)
        legacy("build", *labelled, str(directory), timeout=timeout)

    def run(self, name: str, image: str, *arguments: str, options: Sequence[str] = ()) -> str:
        """Start a labelled container in the background and return its ID."""
        return self("run", "--detach", "--name", name, *self.label_options, *options, image, *arguments)

    @property
    def label_options(self) -> tuple[str, ...]:
        """The options that label a new object."""
        return tuple(word for label in self.labels for word in ("--label", label))

    def remove_labelled(self, label: str) -> list[str]:
        """Remove every container, image, volume and network with this label; return what could not be removed."""
        self._try_to_remove(label)
        # an image with children goes only after them
        return self._try_to_remove(label)

    def _try_to_remove(self, label: str) -> list[str]:
        left: list[str] = []
        for kind, listing, removal in _KINDS:
            for found in dict.fromkeys(self(*listing, "--filter", f"label={label}").split()):
                try:
                    self(*removal, found)
                except DockerCliError as error:
                    # a parent image goes with its last child, and is then not there any more
                    if "No such" not in str(error):
                        left.append(f"{kind} {found}: {error}")
        return left


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, in one step for whoever watches it."""
    beside = path.with_name(path.name + ".new")
    beside.touch(mode=0o600)
    beside.write_text(text)
    beside.replace(path)


def busybox_root(files: Mapping[str, str]) -> bytes:
    """Return a tar archive of a root file system with busybox and these files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for directory in ("bin", "tmp", "data", "www"):
            tar.addfile(_member(directory, kind=tarfile.DIRTYPE, mode=0o1777))
        tar.add(BUSYBOX.resolve(), arcname="bin/busybox")
        for applet in _APPLETS:
            tar.addfile(_member(f"bin/{applet}", kind=tarfile.SYMTYPE, target="busybox"))
        for name, text in files.items():
            content = text.encode()
            tar.addfile(_member(name.lstrip("/"), size=len(content)), io.BytesIO(content))
    return archive.getvalue()


def _member(
    name: str, *, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0, mode: int = 0o644
) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size, member.mode = kind, target, size, mode
    return member


def _pushed_digest(output: str) -> str:
    for word in reversed(output.split()):
        if word.startswith("sha256:"):
            return word
    raise DockerCliError(f"docker push told no digest: {output}")
