"""How an endpoint is declared: once, for the router, the access rules and the OpenAPI document. Pure values.

An endpoint has a name by which it is switched on for TCP. The control socket has all of them, and asks for no token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from aiohttp import web

TEXT = "text/plain"
JSON = "application/json"
STREAM = "text/event-stream"
HTML = "text/html"

Schema = Mapping[str, Any]
Handler = Callable[["web.Request"], Awaitable["web.StreamResponse"]]


class Endpoint(StrEnum):
    """What can be switched on, by Watchtower's names where it has one."""

    UPDATE = "update"
    CHECK = "check"
    CONTAINERS = "containers"
    IMAGES = "images"
    HISTORY = "history"
    CONFIG = "config"
    METRICS = "metrics"
    EVENTS = "events"
    HEALTH = "health"
    SWAGGER = "swagger"
    QUARANTINE = "quarantine"
    ROLLOUTS = "rollouts"


class Access(StrEnum):
    """Who may ask over TCP."""

    OPEN = "open"
    TOKEN = "token"  # noqa: S105 - the word, not one
    EVENTS_TOKEN = "events_token"  # noqa: S105


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One input of an endpoint."""

    name: str
    description: str
    schema: Schema
    place: str = "query"
    is_repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One status that an endpoint answers with. Without a content type it has no body."""

    status: int
    description: str
    content_type: str | None = None
    schema: Schema | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    endpoint: Endpoint
    summary: str
    handler: Handler
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter, ...] = ()
    access: Access = Access.TOKEN

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add it as it is declared. HEAD is not GET here: some of what GET asks for is work."""
        router.add_route(self.method, self.path, self.handler)


class Routes(Protocol):
    """Answers of one subject."""

    @property
    def routes(self) -> tuple[Route, ...]:
        """Declare them."""


def an_object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of an object with these members and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def a_list(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


A_TEXT: Schema = {"type": "string"}
A_COUNT: Schema = {"type": "integer", "minimum": 0}
A_FLAG: Schema = {"type": "boolean"}
A_TIME: Schema = {"type": "string", "format": "date-time"}
