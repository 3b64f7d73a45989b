"""The OpenAPI document, and that the API keeps what it promises."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import schemathesis
from anyio import to_thread
from hypothesis import HealthCheck, Phase
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import CHECKS
from schemathesis.openapi import from_dict

from tests.flows.test_http_api import a_session, announce
from tests.support.api_world import TOKEN, World
from watchtower_async.web.application import description_of
from watchtower_async.web.openapi import openapi_document
from watchtower_async.web.route import Access, Endpoint, Route

EXAMPLES = 12
# A stream has no end, so it cannot be collected; test_http_api listens to it.
ENDLESS = "/v1/events"
CHECKED = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "positive_data_acceptance",
]


def declared() -> list[Route]:
    """Return every route of the API."""
    return [route for subject in World().subjects for route in subject.routes]


def test_document_is_a_valid_openapi_3_1_document() -> None:
    """By the schema of the OpenAPI Initiative."""
    document = openapi_document(declared())
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_document_describes_every_route_that_is_served() -> None:
    """Both come from one declaration, and identifiers are unique."""
    routes = declared()
    operations = [
        (method.upper(), path, operation)
        for path, item in openapi_document(routes)["paths"].items()
        for method, operation in item.items()
    ]
    assert {(route.method, route.path) for route in routes} == {(method, path) for method, path, _ in operations}
    assert len(routes) == len({operation["operationId"] for _, _, operation in operations})


def test_document_says_which_token_a_route_needs() -> None:
    """None for what is open."""
    for route in declared():
        operation = openapi_document([route])["paths"][route.path][route.method.lower()]
        expected: dict[Access, list[dict[str, list[str]]]] = {
            Access.OPEN: [],
            Access.TOKEN: [{"token": []}],
            Access.EVENTS_TOKEN: [{"events_token": []}],
        }
        assert expected[route.access] == operation["security"]
        assert ("401" in operation["responses"]) == (route.access is not Access.OPEN)


def test_every_endpoint_that_can_be_switched_on_has_a_route() -> None:
    """A name without effect would be a promise."""
    assert set(Endpoint) - {Endpoint.SWAGGER} == {route.endpoint for route in declared()}


async def test_document_and_page_are_served_without_a_token_and_load_nothing() -> None:
    """The document describes what is switched on; the page needs no other host."""
    async with World().served(endpoints=frozenset({Endpoint.METRICS, Endpoint.SWAGGER})) as ask:
        document = (await ask("GET", "/swagger/doc.json", headers={})).document
        page = await ask("GET", "/swagger/", headers={})
        assert page.text == (await ask("GET", "/swagger/index.html", headers={})).text
    served = {route.path for route in description_of([])} | {"/v1/metrics", "/v1/status"}
    assert served == set(document["paths"])
    assert page.headers["Content-Type"].startswith("text/html")
    assert "/v1/metrics" in page.text
    assert "http" not in page.text
    assert "<script" not in page.text


def check_operation(document: dict[str, Any], method: str, path: str, url: str) -> None:
    """Ask one operation in many ways, and compare the answers with the document."""
    schema = from_dict(document)
    operation = schema[path][method]
    takes_patterns = any(item["name"] == "container" for item in operation.definition.raw.get("parameters", ()))
    # Not every regular expression of the schema's dialect is one of Python's, so one that fits may be refused.
    left_out = {"positive_data_acceptance"} if takes_patterns else set()
    checks = [CHECKS.get_one(name) for name in CHECKED if name not in left_out]
    headers = {} if operation.definition.raw["security"] == [] else {"Authorization": f"Bearer {TOKEN}"}

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy() | operation.as_strategy(schemathesis.GenerationMode.NEGATIVE))
    def ask(case: Any) -> None:
        case.call_and_validate(base_url=url, headers=headers, checks=checks, timeout=5)

    ask()


@pytest.mark.parametrize(
    ("method", "path"), [(route.method, route.path) for route in declared() if route.path != ENDLESS]
)
async def test_answers_are_those_of_the_document(method: str, path: str) -> None:
    """Whatever is asked: statuses, content types and bodies are as described."""
    world = World()
    world.sessions.may_end.set()
    announce(world, *a_session())
    async with world.served() as ask:
        document = openapi_document(declared())
        await to_thread.run_sync(check_operation, document, method, path, ask.server.url)
