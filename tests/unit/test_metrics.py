"""What is counted, under which name; and that the monitoring examples ask for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tests.support.builders import a_digest, an_id
from tests.support.stored import an_entry
from watchtower_async.events import (
    ContainerJudged,
    CredentialsProblem,
    CredentialsRecovered,
    CredentialsReloaded,
    Degraded,
    DependentRestarted,
    Event,
    HookRan,
    ImageQuarantined,
    ImageRemoved,
    QuarantineLifted,
    ReplacementFinished,
    ReplacementRecovered,
    ReplacementStarted,
    RolloutLimitExceeded,
    RolloutStateChanged,
    SessionFailed,
    SessionFinished,
    SessionStarted,
)
from watchtower_async.images.reference import parse_reference
from watchtower_async.telemetry.metrics import MOST_REGISTRIES, RESTARTED, Metrics
from watchtower_async.updates.plan import Action, PlanItem
from watchtower_async.updates.reason import Reason, ReasonCode

MONITORING = Path(__file__).parents[2] / "compose" / "monitoring"
WATCHTOWER_NAMES = {
    "watchtower_containers_scanned",
    "watchtower_containers_updated",
    "watchtower_containers_failed",
    "watchtower_containers_restarted",
    "watchtower_containers_skipped",
    "watchtower_containers_restarted_total",
    "watchtower_scans_total",
    "watchtower_scans_skipped",
    "watchtower_scans_skipped_total",
    "watchtower_metrics_dropped_total",
}
NAME = re.compile(r"\b(?:watchtower|process)_[a-z_]+\b")


def some_metrics(*events: Event, quarantined: int = 0) -> Metrics:
    """Return metrics that heard of these facts at the second 1000."""
    metrics = Metrics(registry=CollectorRegistry(), quarantined=lambda: quarantined, now=lambda: 1000.0)
    for event in events:
        metrics(event)
    return metrics


def samples(metrics: Metrics) -> dict[str, float]:
    """Return all values by name and labels, as Prometheus reads them."""
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def an_item(
    action: Action = Action.UPDATE, code: ReasonCode = ReasonCode.NEWER_IMAGE, image: str = "r.example/a:1"
) -> PlanItem:
    """Return a judged container."""
    return PlanItem(
        container_id=an_id("web"),
        name="web",
        image=image,
        image_id=a_digest("config"),
        action=action,
        reason=Reason(code, "because"),
        reference=parse_reference(image),
    )


def replaced(outcome: str) -> ReplacementFinished:
    """Return the end of a replacement that took two seconds."""
    return ReplacementFinished(an_item(), outcome, "why", (), 2.0)


def finished(*, scanned: int = 1, updated: int = 0, failed: int = 0) -> SessionFinished:
    """Return the end of a session that took seven seconds."""
    return SessionFinished("s", scanned, updated, failed, 7.0)


STARTED = SessionStarted("s", "engine")


def rollouts_by_result(metrics: Metrics) -> dict[str, float]:
    """Return how many rollouts ended how."""
    prefix = "watchtower_rollouts_total result="
    return {key.removeprefix(prefix): value for key, value in samples(metrics).items() if key.startswith(prefix)}


def test_names_are_those_of_both_watchtowers() -> None:
    """Existing dashboards find all of them, before anything has happened."""
    assert samples(some_metrics()).keys() >= WATCHTOWER_NAMES


def test_gauges_tell_of_the_last_session() -> None:
    """What could not be checked is skipped, neither scanned nor failed."""
    unknown = ContainerJudged(an_item(Action.UNKNOWN, ReasonCode.UNREACHABLE))
    first = (STARTED, unknown, unknown, finished(scanned=6, updated=2, failed=3))
    found = samples(some_metrics(*first))
    assert found["watchtower_containers_scanned"] == 4
    assert found["watchtower_containers_updated"] == 2
    assert found["watchtower_containers_failed"] == 1
    assert found["watchtower_containers_skipped"] == 2
    found = samples(some_metrics(*first, STARTED, finished()))
    assert found["watchtower_containers_scanned"] == 1
    assert found["watchtower_containers_skipped"] == 0
    assert found["watchtower_scans_total"] == 2


def test_skipped_session_counts_under_both_names_and_empties_the_gauges() -> None:
    """As Watchtower does it."""
    metrics = some_metrics(STARTED, finished(scanned=5))
    metrics.session_skipped()
    found = samples(metrics)
    assert found["watchtower_scans_total"] == 2
    assert found["watchtower_scans_skipped"] == found["watchtower_scans_skipped_total"] == 1
    assert found["watchtower_containers_scanned"] == 0


@pytest.mark.parametrize(
    ("events", "good"),
    [
        ((STARTED, finished()), 1000),
        ((STARTED, finished(failed=1)), 0),
        ((STARTED, SessionFailed("s", "gone"), finished()), 0),
        ((STARTED, SessionFailed("s", "gone"), finished(), STARTED, finished()), 1000),
    ],
)
def test_last_success_is_a_session_in_which_nothing_failed(events: tuple[Event, ...], good: float) -> None:
    """The last session has a time in any case."""
    found = samples(some_metrics(*events))
    assert found["watchtower_last_success_timestamp_seconds"] == good
    assert found["watchtower_last_session_timestamp_seconds"] == 1000


def test_duration_of_sessions_and_replacements_is_kept() -> None:
    """As histograms."""
    found = samples(some_metrics(STARTED, replaced("updated"), finished(updated=1)))
    assert found["watchtower_session_duration_seconds_count"] == 1
    assert found["watchtower_session_duration_seconds_sum"] == 7
    assert found["watchtower_session_duration_seconds_bucket le=10.0"] == 1
    assert found["watchtower_replacement_duration_seconds_sum outcome=updated"] == 2


def test_rollouts_are_counted_by_the_state_in_which_they_end() -> None:
    """A pause is none; and all ends are there before anything has happened, so that a rate can be made of them."""
    assert rollouts_by_result(some_metrics()) == {"completed": 0, "abandoned": 0, "rollback_completed": 0}
    states = ("paused", "updating", "completed", "completed", "rollback_started", "rollback_completed")
    metrics = some_metrics(*(RolloutStateChanged("r", "", state, "") for state in states))
    assert rollouts_by_result(metrics) == {"completed": 2, "abandoned": 0, "rollback_completed": 1}


def test_restarted_containers_are_counted_in_all_and_for_the_last_session() -> None:
    """One name has both: the gauge and the counter. A restart that failed is none."""
    good = DependentRestarted("web", "db", is_recreated=False, problem=None)
    bad = DependentRestarted("job", "db", is_recreated=True, problem="it is gone")
    first = (STARTED, good, good, bad, finished())
    found = samples(some_metrics(*first))
    assert (found[RESTARTED], found[f"{RESTARTED}_total"]) == (2, 2)
    found = samples(some_metrics(*first, STARTED, good, finished()))
    assert (found[RESTARTED], found[f"{RESTARTED}_total"]) == (1, 3)


def test_hooks_and_exceeded_limits_are_counted() -> None:
    """By how they ended, and by what was done about it."""
    hook = HookRan("web", "pre-update", "timed_out", "it took too long", "")
    found = samples(some_metrics(hook, RolloutLimitExceeded("r", 1, 2, "pause")))
    assert found["watchtower_hooks_total result=timed_out"] == 1
    assert found["watchtower_hooks_total result=succeeded"] == 0
    assert found["watchtower_rollout_limits_exceeded_total action=pause"] == 1


def test_rollbacks_and_losses_are_counted() -> None:
    """A container that recovery could not bring back is lost too."""
    ends = [replaced("rolled_back"), replaced("lost"), replaced("updated")]
    recovered = [ReplacementRecovered("web", "x", is_lost=True), ReplacementRecovered("db", "x")]
    found = samples(some_metrics(STARTED, *recovered, *ends))
    assert found["watchtower_rollbacks_total"] == 1
    assert found["watchtower_containers_lost_total"] == 2


def test_quarantine_is_counted_when_somebody_looks() -> None:
    """Also what was in it before this process began."""
    entry = an_entry()
    found = samples(some_metrics(ImageQuarantined(entry), QuarantineLifted(entry, "x"), quarantined=3))
    assert found["watchtower_quarantined_digests"] == 3
    assert found["watchtower_quarantined_total"] == 1


def test_credentials_are_counted_by_result() -> None:
    """And it is known whether they can be used now."""
    reloaded = CredentialsReloaded(frozenset(), frozenset(), frozenset({"x"}), False, 2)
    found = samples(some_metrics(reloaded, reloaded, CredentialsProblem("x")))
    assert found["watchtower_credential_reloads_total result=accepted"] == 2
    assert found["watchtower_credential_reloads_total result=rejected"] == 1
    assert found["watchtower_credentials_usable"] == 0
    assert samples(some_metrics(CredentialsProblem("x"), CredentialsRecovered()))["watchtower_credentials_usable"] == 1


def test_checks_are_counted_by_registry_and_reason() -> None:
    """A container that is left alone was not checked."""
    limited = ContainerJudged(an_item(Action.UNKNOWN, ReasonCode.RATE_LIMITED))
    found = samples(some_metrics(limited, ContainerJudged(an_item(Action.LEAVE, ReasonCode.DISABLED))))
    checks = {name: value for name, value in found.items() if name.startswith("watchtower_checks_total")}
    assert checks == {"watchtower_checks_total reason=rate_limited registry=r.example": 1}


def test_requests_and_limits_are_kept_by_registry() -> None:
    """429 has a counter of its own; no answer is a status too."""
    metrics = some_metrics()
    metrics.registry_answered("r.example", 200, 0.2)
    metrics.registry_answered("r.example", 429, 0.1)
    metrics.registry_answered("r.example", None, 3.0)
    metrics.rate_limit_told("r.example", 100, 76)
    found = samples(metrics)
    for status in ("200", "429", "none"):
        assert found[f"watchtower_registry_requests_total registry=r.example status={status}"] == 1
    assert found["watchtower_registry_request_duration_seconds_count registry=r.example"] == 3
    assert found["watchtower_registry_rate_limited_total registry=r.example"] == 1
    assert found["watchtower_registry_rate_limit registry=r.example"] == 100
    assert found["watchtower_registry_rate_limit_remaining registry=r.example"] == 76


def test_number_of_registries_is_bounded() -> None:
    """Nobody can fill the memory by naming hosts."""
    metrics = some_metrics()
    for number in range(MOST_REGISTRIES + 5):
        metrics.registry_answered(f"r{number}.example", 200, 0.1)
    found = samples(metrics)
    assert found["watchtower_registry_requests_total registry=other status=200"] == 5


def test_other_facts_are_counted_or_do_no_harm() -> None:
    """No event may break a session."""
    found = samples(some_metrics(Degraded("x"), ReplacementStarted(an_item()), ImageRemoved("i", "redis:7")))
    assert found["watchtower_degraded_total"] == 1
    assert found["watchtower_images_removed_total"] == 1


def test_two_processes_in_one_do_not_share_anything() -> None:
    """Each has a registry of its own."""
    first, second = some_metrics(STARTED, finished()), some_metrics()
    assert samples(first)["watchtower_scans_total"] == 1
    assert samples(second)["watchtower_scans_total"] == 0


def test_times_of_creation_are_left_out_and_the_process_is_shown() -> None:
    """They would double the series."""
    text = some_metrics(STARTED, finished()).render().decode()
    assert "_created" not in text
    assert "process_resident_memory_bytes" in text


# ---- the monitoring examples -------------------------------------------------------------------------------------


def known_names() -> set[str]:
    """Return every name that is shown once everything has happened."""
    metrics = some_metrics(STARTED, ContainerJudged(an_item()), replaced("updated"), finished())
    metrics.registry_answered("r.example", 429, 0.1)
    metrics.rate_limit_told("r.example", 100, 76)
    return {name.partition(" ")[0] for name in samples(metrics)}


def panel_expressions(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a dashboard asks for."""
    for panel in document["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def rules() -> list[dict[str, Any]]:
    """Return the rules of the rule file."""
    document = yaml.safe_load((MONITORING / "prometheus-rules.yaml").read_text())
    assert set(document) == {"groups"}
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_dashboard_asks_for_metrics_that_exist() -> None:
    """A panel without data would look like peace."""
    document = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    asked = {name for text in panel_expressions(document) for name in NAME.findall(text)}
    assert asked - known_names() == set()
    assert {"watchtower_containers_scanned", "watchtower_quarantined_digests"} <= asked


def test_dashboard_has_the_shape_that_grafana_imports() -> None:
    """Unique panels that lie beside each other, a data source that the user chooses, no other host."""
    text = (MONITORING / "grafana-dashboard.json").read_text()
    document = json.loads(text)
    assert {"uid", "title", "schemaVersion", "panels", "templating"} <= set(document)
    assert [item["name"] for item in document["templating"]["list"]] == ["datasource", "instance"]
    identifiers = [panel["id"] for panel in document["panels"]]
    assert len(identifiers) == len(set(identifiers))
    cells: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        place = panel["gridPos"]
        covered = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not covered & cells, f"{panel['title']} lies on another panel"
        assert place["x"] + place["w"] <= 24
        assert panel["datasource"]["uid"] == "${datasource}"
        cells |= covered
    assert "://" not in text


def test_rules_have_the_shape_that_prometheus_loads_and_ask_for_metrics_that_exist() -> None:
    """Each alert has a severity and says what to do."""
    found = rules()
    names = [rule["alert"] for rule in found]
    assert len(names) == len(set(names))
    for rule in found:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert re.fullmatch(r"[0-9]+[smhd]", rule.get("for", "1m"))
        asked = set(NAME.findall(rule["expr"]))
        assert asked
        assert asked <= known_names()


def test_scrape_example_loads_the_rules_and_asks_the_api() -> None:
    """With the token from a file."""
    document = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    assert document["rule_files"] == ["prometheus-rules.yaml"]
    (job,) = document["scrape_configs"]
    assert job["metrics_path"] == "/v1/metrics"
    assert job["authorization"]["type"] == "Bearer"
