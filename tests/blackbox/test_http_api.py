"""The HTTP API, seen from outside: one service, one session by request, and what its endpoints tell."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.scene import PREFIX, Scene
from tests.blackbox.serving import EVENTS_TOKEN, TOKEN, Reply, Service, serving
from tests.support.docker_cli import DockerCli

pytestmark = pytest.mark.engine

COUNTS = {"scanned", "updated", "failed", "restarted", "skipped"}
ALL = ("--http-api-endpoints", "all", "--http-api-events-token", EVENTS_TOKEN, "--http-api-rate-limit", "1000")


@dataclass(frozen=True)
class Api:
    """The service, and what it answered before, during and after the session."""

    scene: Scene
    service: Service
    before: dict[str, Reply]
    updated: Reply
    events: list[dict[str, Any]]

    def event(self, kind: str) -> dict[str, Any]:
        """Return the data of the first event of a kind."""
        found = [event for event in self.events if event["type"] == kind]
        assert found, f"no {kind} among {[event['type'] for event in self.events]}"
        data: dict[str, Any] = found[0]["data"]
        return data

    @property
    def metrics(self) -> Reply:
        """The metrics now."""
        return self.service.ask("GET", "/v1/metrics")


@contextmanager
def listening(service: Service) -> Iterator[Iterator[dict[str, Any]]]:
    """Open the stream of events."""
    connection = service.connect(seconds=20)
    connection.request("GET", "/v1/events", headers={"Authorization": f"Bearer {EVENTS_TOKEN}"})
    answer = connection.getresponse()
    assert (answer.status, str(answer.getheader("Content-Type")).partition(";")[0]) == (200, "text/event-stream")
    try:
        yield read_events(answer)
    finally:
        answer.close()
        connection.close()


def read_events(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Read the stream; the name of an event is its type."""
    kind = ""
    while line := answer.readline().decode().rstrip("\n"):
        while line:
            if line.startswith("event:"):
                kind = line.removeprefix("event:").strip()
            if line.startswith("data:"):
                event: dict[str, Any] = json.loads(line.removeprefix("data:"))
                assert kind == event["type"]
                yield event
            line = answer.readline().decode().rstrip("\n")


def until(kind: str, events: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Collect events until one of this kind comes."""
    found: list[dict[str, Any]] = []
    for event in events:
        found.append(event)
        if event["type"] == kind:
            break
    return found


def with_an_image_of_its_own(scene: Scene, short: str) -> None:
    """Run an outdated container whose old image nobody else uses."""
    docker, image = scene.docker, f"{scene.testbed.registry}/{scene.prefix}/single:latest"
    docker("tag", docker.import_image(image, "ENV VERSION=single", command=["sleep", "1000"]), image)
    docker("push", image)
    docker.run(scene.name(short), image, options=("--stop-signal=SIGKILL",))
    docker.publish(image, scene.new)


def without_login(scene: Scene, short: str) -> None:
    """Run a container of a registry that asks for a login which nobody has."""
    tokens, docker = scene.testbed.tokens, scene.docker
    image = f"{tokens.address}/{scene.prefix}/app:latest"
    docker.log_in(tokens.address, tokens.user, tokens.password)
    docker("tag", scene.old, image)
    docker("push", image)
    docker.log_out(tokens.address)
    docker.run(scene.name(short), image, options=("--stop-signal=SIGKILL",))


@pytest.fixture(scope="module")
def api(scene: Scene) -> Iterator[Api]:
    """A service that has run one session by request: one container of each state."""
    scene.outdated("updated")
    scene.outdated("failed", lifecycle__pre_update="exit 1")
    scene.outdated("stale", monitor_only="true")
    with_an_image_of_its_own(scene, "single")
    without_login(scene, "skipped")
    depends = f"--label={PREFIX}.depends-on={scene.name('updated')}"
    scene.docker.run(scene.name("restarted"), f"{scene.prefix}-keep:old", options=("--stop-signal=SIGKILL", depends))
    options = ("--enable-lifecycle-hooks", "--cleanup", "--http-api-cors-origins", "https://panel.example")
    with serving(scene, *ALL, *options, f"{scene.prefix}-.*") as service:
        before = {path: service.ask("GET", path) for path in ("/v1/status", "/v1/history", "/v1/containers/details")}
        before["/v1/check"] = service.ask("POST", "/v1/check")
        with listening(service) as events:
            updated = service.ask("POST", "/v1/update")
            seen = until("scan_completed", events)
        yield Api(scene, service, before, updated, seen)


# ---- as the original has it -----------------------------------------------------------------------------------------


@pytest.mark.row("16.1", "16.2", "16.8", "2.47", "2.51", "2.52")
def test_address_and_authorization(api: Api) -> None:
    """It listens where it was told to; the token is asked for in all of its forms, and nothing else will do."""
    ask = api.service.ask
    assert ask("GET", "/v1/history").status == 200
    assert ask("GET", "/v1/history", token=None, Authorization=f"bearer {TOKEN}").status == 200
    assert ask("GET", "/v1/history", token=None, Authorization=TOKEN).status == 200
    assert ask("GET", "/v1/history", token=None, Cookie=f"access_token={TOKEN}").status == 200
    assert ask("GET", "/v1/history", token=None).status == 401
    assert ask("GET", "/v1/history", token="wrong").status == 401
    assert ask("GET", "/v1/history", token=EVENTS_TOKEN).status == 401


@pytest.mark.row("16.5")
def test_other_paths_are_unknown(api: Api) -> None:
    """With and without a token; small and capital letters are different."""
    assert {404} == {api.service.ask("GET", path, token=None).status for path in ("/", "/v1/nothing", "/V1/update")}


@pytest.mark.row("16.4", "16.22", "16.41", "2.46")
def test_metrics_are_for_prometheus(api: Api) -> None:
    """Text, with the metrics of the process, and only with the token."""
    assert api.metrics.headers["content-type"].startswith("text/plain")
    assert api.metrics.metric("process_resident_memory_bytes") > 0
    assert api.service.ask("GET", "/v1/metrics", token=None).status == 401


@pytest.mark.row("16.3", "16.6", "16.7", "2.45")
def test_original_update_runs_a_session_and_answers_nothing(scene: Scene) -> None:
    """`GET` with the old switch; images choose containers; the log says who asked. All of it without TLS."""
    chosen = scene.image("chosen")
    scene.outdated("g-chosen", tag="chosen")
    other = scene.outdated("g-other")
    with serving(scene, "--http-api-update", f"{scene.prefix}-g-.*") as service:
        answer = service.ask("GET", f"/v1/update?image={chosen}")
        told = service.stop()
    assert (answer.status, answer.text) == (200, "")
    assert scene.is_updated("g-chosen")
    assert scene.is_as_it_was("g-other", other)
    assert told.events("api.update_requested")
    assert told.events("schedule.none"), "with this switch there is no schedule"
    assert "--http-api-update" in told.notices


# ---- what all requests share ----------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.row("16.9", "2.54")
def test_rate_limit_answers_429(scene: Scene) -> None:
    """Requests without a token count, too; the answer is empty."""
    limit = ("--http-api-endpoints", "history,health", "--http-api-rate-limit", "5")
    with serving(scene, *limit) as service:
        answers = [service.ask("GET", "/v1/history", token=None) for _ in range(12)]
    assert answers[0].status in {401, 429}
    assert (answers[-1].status, answers[-1].text) == (429, "")


@pytest.mark.row("16.10")
def test_body_is_limited(api: Api) -> None:
    """More than a MiB is refused."""
    assert api.service.ask("POST", "/v1/check", body=b"x" * ((1 << 20) + 1)).status == 413


@pytest.mark.row("16.11")
@pytest.mark.parametrize(("method", "path"), [("DELETE", "/v1/update"), ("GET", "/v1/check"), ("POST", "/v1/history")])
def test_wrong_method_is_405(api: Api, method: str, path: str) -> None:
    """The path exists, the method does not."""
    assert api.service.ask(method, path).status == 405


@pytest.mark.row("16.12")
def test_envelope_is_in_every_json_answer(api: Api) -> None:
    """The time in UTC and the version of the API."""
    for path in ("/v1/containers", "/v1/images", "/v1/history", "/v1/config", "/v1/status"):
        answer = api.service.ask("GET", path).json
        assert answer["api_version"] == "v1"
        assert answer["timestamp"].endswith("Z")


@pytest.mark.row("16.13", "2.58")
def test_headers_keep_browsers_safe(api: Api) -> None:
    """Security headers, a number for each request, and CORS for the page that is allowed."""
    allowed = api.service.ask("GET", "/v1/history", Origin="https://panel.example").headers
    refused = api.service.ask("GET", "/v1/history", Origin="https://evil.example").headers
    assert allowed["x-content-type-options"] == "nosniff"
    assert allowed["x-request-id"] != refused["x-request-id"]
    assert allowed["access-control-allow-origin"] == "https://panel.example"
    assert "access-control-allow-origin" not in refused


@pytest.mark.row("16.14", "16.25")
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz"])
def test_health_needs_no_token(api: Api, path: str) -> None:
    """The service is well."""
    assert api.service.ask("GET", path, token=None).status == 200


@pytest.mark.row("16.14", "16.26")
def test_swagger_describes_the_api(api: Api) -> None:
    """Without a token, as a page and as a document."""
    document = api.service.ask("GET", "/swagger/doc.json", token=None).json
    assert document["openapi"].startswith("3.1")
    assert {"get", "post"} <= document["paths"]["/v1/update"].keys()
    assert "text/html" in api.service.ask("GET", "/swagger/index.html", token=None).headers["content-type"]


# ---- endpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.row("16.15")
def test_post_update_says_what_it_did(api: Api) -> None:
    """In numbers and with the time that it took."""
    answer = api.updated.json
    assert api.updated.status == 200
    assert {"summary", "timing", "timestamp", "api_version"} == answer.keys()
    assert answer["summary"].keys() == COUNTS
    assert tuple(answer["summary"][name] for name in ("updated", "failed", "restarted", "skipped")) == (2, 1, 1, 1)
    assert answer["timing"]["duration_ms"] > 0
    assert answer["timing"]["duration"].endswith("s")
    assert api.scene.is_updated("updated")


@pytest.mark.full
@pytest.mark.row("16.15", "2.60")
def test_post_update_in_the_background_and_while_busy(scene: Scene) -> None:
    """Too long a wait is 408, and the session goes on: another one is 429 and says when to come again."""
    scene.outdated("w-slow", lifecycle__pre_update="sleep 4")
    options = ("--enable-lifecycle-hooks", "--http-api-update-timeout", "1s")
    with serving(scene, "--http-api-endpoints", "update", *options, f"{scene.prefix}-w-.*") as service:
        first = service.ask("POST", "/v1/update")
        busy = service.ask("POST", "/v1/update")
        later = service.ask("POST", "/v1/update?async=true&container=nobody")
    assert first.status == 408
    assert (busy.status, busy.headers["retry-after"]) == (429, "30")
    assert busy.json["error"] == "another update is already running"
    assert (later.status, later.text.strip()) == (202, "Accepted")


@pytest.mark.row("16.16")
def test_check_asks_and_touches_nothing(api: Api) -> None:
    """Before the update it found the newer image."""
    answer = api.before["/v1/check"].json
    items = {item["name"]: item for item in answer["containers"]}
    item = items[api.scene.name("updated")]
    assert len(items) == answer["count"]
    assert {
        "name",
        "image",
        "image_id",
        "digest",
        "update_available",
        "latest_image_id",
        "latest_digest",
    } <= item.keys()
    assert item["update_available"] is True
    assert item["digest"] != item["latest_digest"]
    assert items[api.scene.name("skipped")]["error"]


@pytest.mark.row("16.17")
def test_containers_are_listed_and_chosen_by_exact_name(api: Api) -> None:
    """The name of another one does not match in part."""
    name = api.scene.name("updated")
    answer = api.service.ask("GET", f"/v1/containers?name={name}").json
    assert (1, [name]) == (answer["count"], [item["name"] for item in answer["containers"]])
    assert {"name", "image", "image_id", "digest"} == answer["containers"][0].keys()
    assert api.service.ask("GET", f"/v1/containers?name={name[:-1]}").json["count"] == 0


@pytest.mark.row("16.18", "2.50")
def test_details_say_how_containers_are_treated(api: Api) -> None:
    """One of them is only watched."""
    answer = api.before["/v1/containers/details"].json
    items = {item["name"]: item for item in answer["containers"]}
    keys = {"running", "watchtower", "monitor_only", "no_pull", "enabled", "stale", "scope"}
    assert keys <= items[api.scene.name("stale")].keys()
    assert items[api.scene.name("stale")]["monitor_only"] is True
    assert items[api.scene.name("updated")]["monitor_only"] is False


@pytest.mark.row("16.19")
def test_images_are_listed_with_their_containers(api: Api) -> None:
    """Chosen by the exact name."""
    answer = api.service.ask("GET", f"/v1/images?name={api.scene.image()}").json
    assert {"name", "image_id", "digest", "containers"} == answer["images"][0].keys()
    assert {api.scene.image()} == {item["name"] for item in answer["images"]}


@pytest.mark.row("16.20")
def test_history_holds_the_session(api: Api) -> None:
    """Empty before; afterwards the numbers of the answer; parameters are checked."""
    entries = api.service.ask("GET", "/v1/history?limit=1").json["entries"]
    assert api.before["/v1/history"].json["count"] == 0
    assert {"timestamp", *COUNTS} == entries[0].keys()
    assert api.service.ask("GET", "/v1/history?since=2999-01-01T00:00:00Z").json["count"] == 0
    assert api.service.ask("GET", "/v1/history?limit=-1").status == 400


@pytest.mark.row("16.21")
def test_config_tells_the_settings(api: Api) -> None:
    """The known keys, and no secret."""
    answer = api.service.ask("GET", "/v1/config")
    config = answer.json["config"]
    switches = ("monitor_only", "cleanup", "no_pull", "no_restart", "rolling_restart", "include_stopped")
    more = ("include_restarting", "lifecycle_hooks", "label_enable", "filter_desc", "scope")
    assert {*switches, *more} <= config.keys()
    assert (config["cleanup"], config["lifecycle_hooks"], config["monitor_only"]) == (True, True, False)
    assert TOKEN not in answer.text


@pytest.mark.row("16.23")
def test_status_is_the_last_session(api: Api) -> None:
    """204 before the first."""
    assert api.before["/v1/status"].status == 204
    assert api.updated.json["summary"] == api.service.ask("GET", "/v1/status").json["summary"]


@pytest.mark.row("16.24", "2.53")
def test_events_have_a_token_of_their_own(api: Api) -> None:
    """That of the rest does not do; the right one may stand in the address."""
    assert api.service.ask("GET", "/v1/events", token=TOKEN).status == 401
    connection = api.service.connect()
    connection.request("GET", f"/v1/events?access_token={EVENTS_TOKEN}")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.row("16.27")
def test_scan_started_tells_the_settings(api: Api) -> None:
    """First of all."""
    data = api.event("scan_started")
    assert api.events[0]["type"] == "scan_started"
    assert (data["cleanup"], data["monitor_only"], data["lifecycle_hooks"]) == (True, False, True)


@pytest.mark.row("16.28")
def test_scan_completed_tells_the_numbers(api: Api) -> None:
    """Those of the answer."""
    data = api.event("scan_completed")
    assert {name: api.updated.json["summary"][name] for name in ("scanned", "updated", "failed")} == {
        name: data[name] for name in ("scanned", "updated", "failed")
    }


@pytest.mark.row("16.30", "2.24")
def test_image_cleanup_tells_what_was_removed(api: Api) -> None:
    """The image that only one container used."""
    removed = api.event("image_cleanup")["images"]
    assert [f"{api.scene.testbed.registry}/{api.scene.prefix}/single:latest"] == [
        item["image_name"] for item in removed
    ]
    assert {"image_id", "image_name", "container_id", "container_name"} <= removed[0].keys()


@pytest.mark.full
@pytest.mark.row("16.29", "16.25")
def test_scan_failed_tells_why(scene: Scene, tmp_path: Path) -> None:
    """The engine goes away while the service runs: `/readyz` says so, and so does a session."""
    way = tmp_path / "engine.sock"
    way.symlink_to(scene.docker.engine.removeprefix("unix://"))
    away = replace(scene, docker=DockerCli(f"unix://{way}", scene.docker.config_directory, scene.docker.labels))
    with serving(away, *ALL, f"{scene.prefix}-z-.*") as service, listening(service) as events:
        way.unlink()
        time.sleep(20)  # longer than a connection is kept
        ready = service.ask("GET", "/readyz", token=None)
        answer = service.ask("POST", "/v1/update")
        failed = until("scan_failed", events)[-1]
    assert (ready.status, answer.status) == (503, 500)
    assert failed["data"]["error"]


# ---- metrics --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("watchtower_containers_updated", 2, marks=pytest.mark.row("16.32")),
        pytest.param("watchtower_containers_failed", 1, marks=pytest.mark.row("16.33")),
        pytest.param("watchtower_containers_restarted", 1, marks=pytest.mark.row("16.34")),
        pytest.param("watchtower_containers_skipped", 1, marks=pytest.mark.row("16.35")),
        pytest.param("watchtower_containers_restarted_total", 1, marks=pytest.mark.row("16.36")),
        pytest.param("watchtower_scans_total", 1, marks=pytest.mark.row("16.37")),
        pytest.param("watchtower_metrics_dropped_total", 0, marks=pytest.mark.row("16.40")),
    ],
)
def test_metric_tells_of_the_session(api: Api, name: str, value: float) -> None:
    """There was one session, with one container of each kind and two updates."""
    assert value == api.metrics.metric(name)


@pytest.mark.row("16.31")
def test_scanned_is_what_the_answer_said(api: Api) -> None:
    """`watchtower_containers_scanned`."""
    assert api.updated.json["summary"]["scanned"] == api.metrics.metric("watchtower_containers_scanned")


@pytest.mark.row("16.38", "16.39")
def test_skipped_scans_are_counted_under_both_names(api: Api) -> None:
    """The original's name and the later one; here none was skipped."""
    assert api.metrics.metric("watchtower_scans_skipped") == 0
    assert api.metrics.metric("watchtower_scans_skipped_total") == 0
