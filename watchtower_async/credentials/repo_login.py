"""`REPO_USER` and `REPO_PASS`: Watchtower's one login, and the registries that may receive it.

Which registries are asked is up to whoever starts containers here. So the login goes to Docker Hub, and to others only
when they are listed. Where it would have been needed, the line that lists one more is told.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.images.reference import DOCKER_HUB

REGISTRIES_VARIABLE = "WATCHTOWER_REPO_REGISTRIES"
ALL_REGISTRIES = "all"


@dataclass(frozen=True, slots=True)
class RepoLogin:
    """The login; `registries` are hosts, with port where there is one, or `all`."""

    credential: Credential
    registries: tuple[str, ...] = ()

    @property
    def reach(self) -> str:
        """Say where it goes, for people."""
        if self._goes_everywhere:
            return "all registries"
        return ", ".join(("Docker Hub", *self.registries))

    def serves(self, domain: str) -> bool:
        """Say whether the registry may receive it."""
        listed = (host.lower() for host in self.registries)
        return domain == DOCKER_HUB or self._goes_everywhere or domain.lower() in listed

    def with_hint(self, nobody: Anonymous, domain: str) -> Anonymous:
        """Add to the reason for asking as nobody how this registry would receive the login."""
        line = f"{REGISTRIES_VARIABLE}={','.join((*self.registries, domain))}"
        return Anonymous(f"{nobody.source}; REPO_USER and REPO_PASS go to {self.reach} only: {line} adds {domain}")

    @property
    def _goes_everywhere(self) -> bool:
        return any(host.lower() == ALL_REGISTRIES for host in self.registries)


def read_repo_login(username: str, password: str, registries: tuple[str, ...]) -> tuple[RepoLogin | None, str | None]:
    """Return the login, None where there is none, and what is wrong with what was given."""
    if username and password:
        return RepoLogin(Credential(username, password, source="REPO_USER and REPO_PASS"), registries), None
    if username or password:
        given, missing = ("REPO_USER", "REPO_PASS") if username else ("REPO_PASS", "REPO_USER")
        return None, f"{given} has no effect without {missing}"
    if registries:
        return None, f"{REGISTRIES_VARIABLE} has no effect without REPO_USER and REPO_PASS"
    return None, None
