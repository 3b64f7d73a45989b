"""A Watchtower that somebody runs: how it is started, wherever that was read from."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from watchtower_async.migrate.text import Text, without_variables

IS_WATCHTOWER_LABEL = "com.centurylinklabs.watchtower"
STATE_DIRECTORY = "/var/lib/watchtower-async"
CONFIG_DIRECTORY = "/config"
"""Where the directory with the logins is mounted when nothing says where."""

_TITLE_LABEL = "org.opencontainers.image.title"
_OUR_TITLE = "watchtower-async"
_REPOSITORY = "watchtower"


class Program(StrEnum):
    """Which Watchtower it is. The two differ in what some settings mean."""

    ORIGINAL = "containrrr/watchtower"
    FORK = "nickfedor/watchtower"
    UNKNOWN = "a build of Watchtower that is not known"


_OWNERS: Mapping[str, Program] = {
    "containrrr": Program.ORIGINAL,
    "v2tec": Program.ORIGINAL,
    "nickfedor": Program.FORK,
    "nicholas-fedor": Program.FORK,
}


@dataclass(frozen=True, slots=True)
class OldService:
    """How a Watchtower is started."""

    name: str
    image: str
    program: Program
    words: tuple[Text, ...] = field(default=(), repr=False)
    """Of its command line, without the program."""
    environment: Mapping[str, Text] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    """What a person must know about how it was read."""

    @property
    def config_directory(self) -> str:
        """Return where it looks for registry logins."""
        given = self.environment.get("DOCKER_CONFIG")
        return posixpath.normpath(given.value) if given is not None and given.value else "/"


def program_of(image: str) -> Program | None:
    """Say which Watchtower an image is by its name; None for one that is none."""
    parts = without_variables(image).partition("@")[0].split("/")
    if parts[-1].partition(":")[0] != _REPOSITORY:
        return None
    return _OWNERS.get(parts[-2], Program.UNKNOWN) if len(parts) > 1 else Program.UNKNOWN


def program_in(image: str, labels: Mapping[str, str]) -> Program | None:
    """Say which Watchtower a container runs, by the name of its image or else by Watchtower's label; None for none.

    An image of ours carries that label, too.
    """
    if labels.get(_TITLE_LABEL) == _OUR_TITLE:
        return None
    return program_of(image) or (Program.UNKNOWN if labels.get(IS_WATCHTOWER_LABEL) == "true" else None)
