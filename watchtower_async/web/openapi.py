"""The OpenAPI 3.1 document and the page that shows it, made from the routes as they are declared. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

from watchtower_async import __version__
from watchtower_async.web.route import A_TEXT, TEXT, Access, Answer, Parameter, Route

_SECURITY: Mapping[Access, list[dict[str, list[str]]]] = {
    Access.OPEN: [],
    Access.TOKEN: [{"token": []}],
    Access.EVENTS_TOKEN: [{"events_token": []}],
}
_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "The token of --http-api-token."},
    "events_token": {"type": "http", "scheme": "bearer", "description": "The token of --http-api-events-token."},
}
_REFUSED = Answer(status=401, description="The token is missing or wrong.", content_type=TEXT, schema=A_TEXT)
_EVERYWHERE = (
    Answer(status=429, description="Too many requests within a minute."),
    Answer(status=500, description="The request could not be answered.", content_type=TEXT, schema=A_TEXT),
)


def openapi_document(routes: Iterable[Route]) -> dict[str, Any]:
    """Describe these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "watchtower_async", "version": __version__, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {"securitySchemes": _SCHEMES},
    }


def _operation(route: Route) -> dict[str, Any]:
    words = "".join(part for part in route.path.title() if part.isalnum())
    refused = () if route.access is Access.OPEN else (_REFUSED,)
    answers: dict[str, Any] = {}
    for answer in (*_EVERYWHERE, *refused, *route.answers):
        _add(answers, answer)
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{words}",
        "summary": route.summary,
        "tags": [str(route.endpoint)],
        "security": _SECURITY[route.access],
        "responses": dict(sorted(answers.items())),
    }
    if route.parameters:
        operation["parameters"] = [_parameter(parameter) for parameter in route.parameters]
    return operation


def _add(answers: dict[str, Any], answer: Answer) -> None:
    """Add an answer; one status may mean several things, with a content type each."""
    described = answers.setdefault(str(answer.status), {"description": ""})
    described["description"] = f"{described['description']} {answer.description}".strip()
    if answer.content_type is not None:
        described.setdefault("content", {})[answer.content_type] = {"schema": answer.schema or {}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": {"type": "array", "items": parameter.schema} if parameter.is_repeated else parameter.schema,
    }
    if parameter.is_repeated:
        described |= {"style": "form", "explode": True}
    return described


def page(routes: Iterable[Route]) -> str:
    """Return a page about these routes. It loads nothing from anywhere."""
    rows = "".join(_row(route) for route in routes)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>watchtower_async API</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem;max-width:60rem}"
        "td,th{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0}code{white-space:nowrap}</style>"
        '<h1>watchtower_async API</h1><p>For programs: <a href="doc.json">OpenAPI 3.1 document</a></p>'
        f"<table><tr><th>Request<th>Parameters<th>Answers<th>What it does</tr>{rows}</table></html>"
    )


def _row(route: Route) -> str:
    parameters = "<br>".join(f"<code>{html.escape(item.name)}</code>" for item in route.parameters)
    statuses = " ".join(str(status) for status in sorted({answer.status for answer in route.answers}))
    request = f"<code>{route.method} {html.escape(route.path)}</code>"
    return f"<tr><td>{request}<td>{parameters}<td>{statuses}<td>{html.escape(route.summary)}</tr>"
