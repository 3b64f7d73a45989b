"""Containers that are out of date, the installed command, and what it told, for tests that see it from outside."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.docker_cli import DockerCli
from tests.support.testbed import TestBed
from tests.support.updater import Finished, Updater

PREFIX = "com.centurylinklabs.watchtower"
JSON_LOG = ("--log-format", "json")
REPORT = (
    *("--notification-url", "logger://", "--notification-log-stdout"),
    *("--notification-report", "--notification-template", "json.v1"),
)
"""Write each notification as a JSON document to standard output."""
ONCE = ("--run-once", "--rollout-monitor", "0s", *JSON_LOG, *REPORT)
NOBODY = "wta-nobody-has-this-name"
_NO_PATIENCE = ("--stop-signal", "SIGKILL")


@dataclass(frozen=True, slots=True)
class Told:
    """What a run of the command wrote."""

    code: int
    output: str
    log: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of its JSON log."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one event."""
        return [line for line in self.lines if line["event"] == event]

    @property
    def notices(self) -> dict[str, str]:
        """What was said about settings at the start."""
        return {line["setting"]: line["notice"] for line in self.events("settings.notice")}

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The JSON documents on standard output."""
        found: list[dict[str, Any]] = []
        decoder, text = json.JSONDecoder(), self.output.lstrip()
        while text:
            document, end = decoder.raw_decode(text)
            found.append(document)
            text = text[end:].lstrip()
        return found

    @property
    def report(self) -> dict[str, list[dict[str, Any]]]:
        """The report of the session."""
        return next(document["report"] for document in self.documents if document["report"] is not None)

    def item(self, name: str) -> dict[str, Any]:
        """Return what the report says about a container."""
        found = [item for group in self.report.values() for item in group if item["name"] == name]
        assert found, f"{name} is not in the report: {self.log}"
        return found[0]

    def state(self, name: str) -> str | None:
        """Return the state of a container in the report; None for one that is in none of its lists."""
        states = {item["name"]: item["state"] for group in self.report.values() for item in group}
        return states.get(name)


@dataclass(frozen=True, slots=True)
class Scene:
    """Two versions of an image: under its tags the registry has the new one, and the engine the old one."""

    docker: DockerCli
    testbed: TestBed
    prefix: str
    directory: Path
    old: str
    new: str
    """The IDs of the images."""
    _tags: set[str] = field(default_factory=set)

    @property
    def updater(self) -> Updater:
        """The installed command, with a state directory that nobody used before."""
        return Updater(self.docker.engine, self.docker.config_directory, self.directory / secrets.token_hex(4))

    def name(self, short: str) -> str:
        """Return the name of a container of ours."""
        return f"{self.prefix}-{short}"

    def image(self, tag: str = "latest") -> str:
        """Return the name of the image; the tag names the old version on the engine, the new one in the registry."""
        image = f"{self.testbed.registry}/{self.prefix}/app:{tag}"
        if tag not in self._tags:
            # The last word is the registry's tag. Both pushes leave the engine the digest under this name.
            for version in ("old", "new"):
                self.docker("tag", f"{self.prefix}-keep:{version}", image)
                self.docker("push", image)
            self._tags.add(tag)
        self.docker("tag", f"{self.prefix}-keep:old", image)
        return image

    def outdated(
        self, short: str, *command: str, tag: str = "latest", options: tuple[str, ...] = (), **labels: str
    ) -> str:
        """Run a container of the old image, return its ID; a label goes without the prefix, with `__` for a dot."""
        written = [f"--label={PREFIX}.{name.replace('__', '.').replace('_', '-')}={v}" for name, v in labels.items()]
        image = self.image(tag)
        return self.docker.run(self.name(short), image, *command, options=(*_NO_PATIENCE, *written, *options))

    def is_as_it_was(self, short: str, container_id: str) -> bool:
        """Say whether the name still belongs to that container, and its image is the old one."""
        found = self.docker.inspect(self.name(short))
        return bool(found["Id"] == container_id and found["Image"] == self.old)

    def is_updated(self, short: str) -> bool:
        """Say whether the container has the new image."""
        return bool(self.docker.inspect(self.name(short))["Image"] == self.new)

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, seconds: float = 120.0) -> Told:
        """Run the command to its end."""
        done: Finished = replace(self.updater, environment=env or {})(*arguments, timeout=seconds)
        return Told(done.code, done.output, done.log)

    def once(self, *arguments: str, env: Mapping[str, str] | None = None, seconds: float = 120.0) -> Told:
        """Run one session that tells everything in JSON."""
        told = self.run(*ONCE, *arguments, env=env, seconds=seconds)
        assert told.code == 0, told.log
        return told

    def start_only(self, *arguments: str, env: Mapping[str, str] | None = None) -> Told:
        """Run a session in which there is no container."""
        return self.run("--run-once", *JSON_LOG, *arguments, NOBODY, env=env)

    def actions(self, since: float, event: str, attribute: str) -> list[tuple[str, str]]:
        """Return the names of containers and an attribute of the engine's events of one kind since then."""
        shown = f'{{{{.Actor.Attributes.name}}}} {{{{index .Actor.Attributes "{attribute}"}}}}'
        window = ("--since", f"{since:.3f}", "--until", f"{time.time():.3f}")
        told = self.docker(
            "events", *window, "--filter", "type=container", "--filter", f"event={event}", "--format", shown
        )
        pairs = [line.split(" ", 1) for line in told.splitlines()]
        return [(name, value) for name, value in pairs if name.startswith(self.prefix)]


@contextmanager
def open_scene(testbed: TestBed, session_docker: DockerCli, directory: Path) -> Iterator[Scene]:
    """Make a scene, and remove all of it at the end."""
    prefix = f"wta-{secrets.token_hex(4)}"
    label = f"watchtower-async.test={prefix}"
    logins = directory / "docker-config"
    logins.mkdir()
    shutil.copy(session_docker.config_directory / "config.json", logins / "config.json")
    docker = DockerCli(session_docker.engine, logins, labels=(*session_docker.labels, label))
    try:
        old, new = (
            docker.import_image(f"{prefix}-keep:{word}", f"ENV VERSION={word}", command=["sleep", "1000"])
            for word in ("old", "new")
        )
        yield Scene(docker, testbed, prefix, directory, old, new)
    finally:
        left = docker.remove_labelled(label)
    assert not left, "the tests left behind what cannot be removed: " + "; ".join(left)
