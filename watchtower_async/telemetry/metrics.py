"""Numbers for Prometheus: Watchtower's names, and ours beside them. Listens to events and is asked for the text.

* A gauge about containers tells of the last session, a counter of all sessions of this process.
* What could not be checked is `skipped`, neither `scanned` nor `failed`.
* The names of counters that the two Watchtowers spell differently are there in both spellings.
* Labels are outcomes, reasons and registries. There are few of them, and beyond a bound they are `other`.

Only the classic text form is served, since its counters may have names without `_total`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from watchtower_async import __version__
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
    ReplacementFinished,
    ReplacementRecovered,
    RolloutLimitExceeded,
    RolloutStateChanged,
    SessionFinished,
)
from watchtower_async.rollout.course import FINAL
from watchtower_async.rollout.hook_plan import HookEnd
from watchtower_async.rollout.outcome import OutcomeKind
from watchtower_async.settings import FailureAction
from watchtower_async.tally import Tallies
from watchtower_async.updates.plan import Action, PlanItem

MOST_REGISTRIES = 200
OTHER = "other"
RESTARTED = "watchtower_containers_restarted"
SKIPPED = "watchtower_scans_skipped"

_SESSION_BUCKETS = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_REPLACEMENT_BUCKETS = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_REQUEST_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_NEVER_ASKED = frozenset({Action.LEAVE})


class Metrics:
    """All metrics of one process, in a registry of their own. A listener of events."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        quarantined: Callable[[], int],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`quarantined` counts the digests that are not tried again, each time somebody looks."""
        self._registry = registry
        self._now = now
        self._containers = _ContainerMetrics(registry)
        self._sessions = _SessionMetrics(registry)
        self._replacements = _ReplacementMetrics(registry)
        self._credentials = _CredentialMetrics(registry)
        self._registries = _RegistryMetrics(registry)
        self._degraded = Counter("watchtower_degraded", "Things that did not work as they should.", registry=registry)
        quarantine = Gauge("watchtower_quarantined_digests", "Images that are not tried again.", registry=registry)
        quarantine.set_function(quarantined)
        build = Gauge("watchtower_build_info", "The version that runs.", ("version",), registry=registry)
        build.labels(__version__).set(1)
        Counter("watchtower_metrics_dropped", "Always 0: nothing is dropped here.", registry=registry)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._tallies = Tallies()

    def __call__(self, event: Event) -> None:
        """Take in a fact."""
        self._tallies.take_in(event)
        match event:
            case ContainerJudged(item):
                self._registries.checked(item)
            case DependentRestarted(problem=None):
                self._containers.restarted_for_another()
            case SessionFinished():
                self._finished(event)
            case Degraded():
                self._degraded.inc()
            case _:
                self._replacements.take_in(event)
                self._credentials.take_in(event)

    def session_skipped(self) -> None:
        """Count a session that did not run because another one did."""
        self._sessions.scans.inc()
        self._sessions.skipped.inc()
        self._containers.show(scanned=0, updated=0, failed=0, restarted=0, skipped=0)

    def registry_answered(self, host: str, status: int | None, seconds: float) -> None:
        """Count a request to a registry; without a status there was no answer."""
        self._registries.answered(host, status, seconds)

    def rate_limit_told(self, host: str, limit: int, remaining: int) -> None:
        """Keep what a registry said about its pull limit."""
        self._registries.told(host, limit, remaining)

    def render(self) -> bytes:
        """Return all of it in Prometheus' text form."""
        return generate_latest(_WithoutCreationTimes(self._registry))

    def _finished(self, event: SessionFinished) -> None:
        tally = self._tallies.close(event.session)
        self._containers.show(
            scanned=max(0, event.scanned - tally.unknown),
            updated=event.updated,
            failed=max(0, event.failed - tally.unknown),
            restarted=tally.restarted,
            skipped=tally.unknown,
        )
        self._sessions.finished(event, has_failed=tally.has_failed, now=self._now())


class _ContainerMetrics:
    """The last session."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"watchtower_containers_{name}", f"{text} in the last session.", registry=registry)

        self._scanned = gauge("scanned", "Containers that were checked")
        self._updated = gauge("updated", "Containers that were updated")
        self._failed = gauge("failed", "Containers whose update failed")
        self._skipped = gauge("skipped", "Containers that could not be checked")
        # Its name is that of a counter too.
        self._restarted = Gauge(RESTARTED, "Containers restarted for another one in the last session.", registry=None)
        registry.register(_SecondName(self._restarted, RESTARTED, "gauge"))
        self._all_restarted = Counter(RESTARTED, "Containers restarted for another one.", registry=registry)

    def restarted_for_another(self) -> None:
        """Count a restart."""
        self._all_restarted.inc()

    def show(self, *, scanned: int, updated: int, failed: int, restarted: int, skipped: int) -> None:
        """Tell of another session."""
        self._scanned.set(scanned)
        self._updated.set(updated)
        self._failed.set(failed)
        self._restarted.set(restarted)
        self._skipped.set(skipped)


class _SessionMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.scans = Counter("watchtower_scans", "Sessions, the skipped ones too.", registry=registry)
        self.skipped = Counter(SKIPPED, "Sessions that did not run.", registry=registry)
        registry.register(_SecondName(self.skipped, SKIPPED, "unknown"))
        self._failed = Counter("watchtower_sessions_failed", "Sessions not carried through.", registry=registry)
        self._duration = Histogram(
            "watchtower_session_duration_seconds", "Sessions.", buckets=_SESSION_BUCKETS, registry=registry
        )
        self._last = Gauge("watchtower_last_session_timestamp_seconds", "End of the last one.", registry=registry)
        self._last_good = Gauge(
            "watchtower_last_success_timestamp_seconds",
            "End of the last session in which nothing failed and nothing stayed unknown.",
            registry=registry,
        )

    def finished(self, event: SessionFinished, *, has_failed: bool, now: float) -> None:
        """Count a session."""
        self.scans.inc()
        self._duration.observe(event.duration)
        self._last.set(now)
        if has_failed:
            self._failed.inc()
        elif event.failed == 0:
            self._last_good.set(now)


class _ReplacementMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._duration = Histogram(
            "watchtower_replacement_duration_seconds",
            "Replacements of one container.",
            ("outcome",),
            buckets=_REPLACEMENT_BUCKETS,
            registry=registry,
        )
        self._rollouts = Counter(
            "watchtower_rollouts", "Rollouts by the state in which they ended.", ("result",), registry=registry
        )
        self._limits = Counter(
            "watchtower_rollout_limits_exceeded",
            "Rollouts of which more failed than their policy allows, by what was done about it.",
            ("action",),
            registry=registry,
        )
        self._hooks = Counter("watchtower_hooks", "Lifecycle hooks by how they ended.", ("result",), registry=registry)
        self._rollbacks = Counter("watchtower_rollbacks", "Replacements taken back.", registry=registry)
        self._lost = Counter("watchtower_containers_lost", "Containers that a person must look at.", registry=registry)
        self._quarantined = Counter("watchtower_quarantined", "Images put into quarantine.", registry=registry)
        self._removed = Counter("watchtower_images_removed", "Unused images removed.", registry=registry)
        for outcome in OutcomeKind:
            self._duration.labels(str(outcome))
        for state in FINAL:
            self._rollouts.labels(str(state))
        for action in FailureAction:
            self._limits.labels(str(action))
        for end in HookEnd:
            self._hooks.labels(str(end))

    def take_in(self, event: Event) -> None:
        """Count what else belongs to replacements."""
        match event:
            case ReplacementFinished():
                self._finished(event)
            case RolloutStateChanged(state=state) if state in FINAL:
                self._rollouts.labels(state).inc()
            case RolloutLimitExceeded(action=action):
                self._limits.labels(action).inc()
            case HookRan(end=end):
                self._hooks.labels(end).inc()
            case ReplacementRecovered(is_lost=is_lost):
                self._lost.inc(is_lost)
            case ImageQuarantined():
                self._quarantined.inc()
            case ImageRemoved():
                self._removed.inc()
            case _:
                pass

    def _finished(self, event: ReplacementFinished) -> None:
        self._duration.labels(event.outcome).observe(event.duration)
        self._rollbacks.inc(event.outcome == OutcomeKind.ROLLED_BACK)
        self._lost.inc(event.outcome == OutcomeKind.LOST)


class _CredentialMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._reloads = Counter(
            "watchtower_credential_reloads", "Changes of the configuration.", ("result",), registry=registry
        )
        self._accepted, self._rejected = self._reloads.labels("accepted"), self._reloads.labels("rejected")
        self._usable = Gauge(
            "watchtower_credentials_usable", "Whether they can be used as they are.", registry=registry
        )
        self._usable.set(1)

    def take_in(self, event: Event) -> None:
        """Count what happens to credentials."""
        match event:
            case CredentialsReloaded():
                self._accepted.inc()
            case CredentialsProblem():
                self._rejected.inc()
                self._usable.set(0)
            case CredentialsRecovered():
                self._usable.set(1)
            case _:
                pass


class _RegistryMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._known: set[str] = set()
        self._checks = Counter(
            "watchtower_checks",
            "Checks of containers by registry and reason.",
            ("registry", "reason"),
            registry=registry,
        )
        self._requests = Counter(
            "watchtower_registry_requests", "Requests to registries.", ("registry", "status"), registry=registry
        )
        self._duration = Histogram(
            "watchtower_registry_request_duration_seconds",
            "Requests to registries.",
            ("registry",),
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self._limited = Counter(
            "watchtower_registry_rate_limited", "Answers that were 429.", ("registry",), registry=registry
        )
        self._limit = Gauge("watchtower_registry_rate_limit", "Pulls in a window.", ("registry",), registry=registry)
        self._remaining = Gauge(
            "watchtower_registry_rate_limit_remaining", "Pulls that are left.", ("registry",), registry=registry
        )

    def checked(self, item: PlanItem) -> None:
        """Count a check."""
        if item.reference is not None and item.action not in _NEVER_ASKED:
            self._checks.labels(self._name_of(item.reference.host), str(item.reason.code)).inc()

    def answered(self, host: str, status: int | None, seconds: float) -> None:
        """Count a request."""
        name = self._name_of(host)
        self._requests.labels(name, "none" if status is None else str(status)).inc()
        self._duration.labels(name).observe(seconds)
        if status == 429:
            self._limited.labels(name).inc()

    def told(self, host: str, limit: int, remaining: int) -> None:
        """Keep a pull limit."""
        name = self._name_of(host)
        self._limit.labels(name).set(limit)
        self._remaining.labels(name).set(remaining)

    def _name_of(self, host: str) -> str:
        if host in self._known or len(self._known) < MOST_REGISTRIES:
            self._known.add(host)
            return host
        return OTHER


class _SecondName(Collector):
    """Shows a metric under a name that a counter has without its `_total`, as dashboards for Watchtower ask for it."""

    def __init__(self, source: Counter | Gauge, name: str, kind: str) -> None:
        self._source = source
        self._name = name
        self._kind = kind

    def collect(self) -> Iterator[Metric]:
        """Yield the metric."""
        for original in self._source.collect():
            metric = Metric(self._name, original.documentation, self._kind)
            for sample in original.samples:
                if sample.name in {self._name, f"{self._name}_total"}:
                    metric.add_sample(self._name, sample.labels, sample.value)
            yield metric

    def describe(self) -> Iterable[Metric]:
        """Claim no name: the counter has it already, and the two differ only in the text form."""
        return ()


class _WithoutCreationTimes(Collector):
    """A registry without the `_created` series, which would double the number of series and which nobody reads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Yield what is left."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
