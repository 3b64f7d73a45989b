"""A question to a registry, and how that registry wants to be asked, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.images.reference import Reference
from watchtower_async.registry.endpoint import Endpoint
from watchtower_async.registry.limits import Account
from watchtower_async.registry.token_request import TokenService


class Scheme(StrEnum):
    """What a registry demands."""

    OPEN = "open"
    BASIC = "basic"
    BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class Access:
    """How a part of a registry wants to be asked; `service` belongs to `bearer`."""

    endpoint: Endpoint
    scheme: Scheme
    service: TokenService | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One resource of a registry, and on whose behalf it is asked for."""

    reference: Reference
    credential: Credential | Anonymous
    path: str
    """Path and query of the resource, from `/v2/` on."""
    account: Account
    redirected_from: Access | None = None
    """Set where a redirect of that registry led to this one."""

    @property
    def host(self) -> str:
        """Return who is asked."""
        return self.reference.host

    @property
    def scopes(self) -> tuple[str, ...]:
        """Return the only access that we need; none where the question is about the registry and no repository."""
        return (f"repository:{self.reference.path}:pull",) if self.reference.path else ()
