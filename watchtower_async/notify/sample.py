"""Made-up sessions, for previews and to try a template before it is needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from watchtower_async.notify.report import ContainerReport, LogEntry, Report, State

_START = datetime(2024, 1, 2, 15, 4, 5, tzinfo=UTC)
_SOURCE = "https://github.com/example/shop"


def sample_entries() -> tuple[LogEntry, ...]:
    """Return what a session could have logged."""
    lines: tuple[tuple[str, str, dict[str, object]], ...] = (
        ("Found new nginx:latest image (d1c2b3a4f5e6)", "info", {"container": "web", "image": "nginx:latest"}),
        ("Stopping /web (0123456789ab) with SIGTERM", "info", {"container": "web"}),
        ("Creating /web", "info", {"container": "web"}),
        ("Container could not be replaced", "error", {"container": "queue", "error": "its port is in use"}),
    )
    return tuple(
        LogEntry(message, level, _START + timedelta(seconds=number), data)
        for number, (message, level, data) in enumerate(lines)
    )


def sample_report(host: str = "docker-host") -> Report:
    """Return a report with a container in every state."""
    return Report(session="5a3c91e7", host=host, all=tuple(map(_sample_container, range(len(_CONTAINERS)))))


def quiet_report(host: str = "docker-host") -> Report:
    """Return the report of a session that found nothing."""
    fresh = tuple(container for container in sample_report(host).all if container.state is State.FRESH)
    return Report(session="5a3c91e8", host=host, all=fresh)


_CONTAINERS = (
    ("web", "nginx:latest", State.UPDATED, ""),
    ("shop", "ghcr.io/example/shop:1", State.UPDATED, ""),
    ("worker", "ghcr.io/example/worker:1", State.RESTARTED, ""),
    ("queue", "rabbitmq:3", State.FAILED, "its port is in use"),
    ("cache", "redis:7", State.SKIPPED, "the registry did not answer"),
    ("mail", "postfix:latest", State.STALE, "monitor only"),
    ("db", "postgres:16", State.FRESH, ""),
)


def _sample_container(number: int) -> ContainerReport:
    name, image, state, error = _CONTAINERS[number]
    has_newer = state in {State.UPDATED, State.FAILED, State.STALE}
    old, new = f"{number}a" * 32, f"{number}b" * 32 if has_newer else f"{number}a" * 32
    is_labelled = name == "shop"
    return ContainerReport(
        id=f"{number}c" * 32,
        name=name,
        image=image,
        state=state,
        old_digest=f"sha256:{old}",
        new_digest=f"sha256:{new}",
        old_image_id=f"sha256:{old}",
        new_image_id=f"sha256:{new}",
        old_version="1.4.1" if is_labelled else "",
        new_version="1.5.0" if is_labelled else "",
        old_revision="8f1d0c2" if is_labelled else "",
        new_revision="c92b7ee" if is_labelled else "",
        source=_SOURCE if is_labelled else "",
        error=error if state in {State.FAILED, State.SKIPPED} else "",
        reason=error,
        is_monitor_only=state is State.STALE,
        new_id=f"{number}d" * 32 if state is State.UPDATED else "",
    )
