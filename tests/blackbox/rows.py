"""What users of Watchtower rely on, row by row: options, labels, hooks, the report of a session, the HTTP API.

A row is a number and a title. The number is its section (2 options, 6 labels, 12 hooks, 14 the report, 16 the HTTP API)
and its place there. A test that proves a row carries `@pytest.mark.row("2.17")`; what has none stands in `LEFT_OUT`,
with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that users rely on."""

    id: str
    title: str


_SECTION_2 = (
    "--host",  # 2.1
    "--tlsverify",  # 2.2
    "--api-version",  # 2.3
    "--cert-path",  # 2.4
    "--interval",  # 2.5
    "--schedule",  # 2.6
    "--update-on-start",  # 2.7
    "--run-once",  # 2.8
    "--health-check",  # 2.9
    "--porcelain",  # 2.10
    "--no-startup-message",  # 2.11
    "--self-update-orchestrator",  # 2.12
    "TZ",  # 2.13
    "--label-enable",  # 2.14
    "--disable-containers",  # 2.15
    "--scope",  # 2.16
    "--include-stopped",  # 2.17
    "--include-restarting",  # 2.18
    "--revive-stopped",  # 2.19
    "--monitor-image-names",  # 2.20
    "--skip-image-names",  # 2.21
    "--enable-containers-by-label",  # 2.22
    "--disable-containers-by-label",  # 2.23
    "--cleanup",  # 2.24
    "--no-pull",  # 2.25
    "--no-restart",  # 2.26
    "--monitor-only",  # 2.27
    "--rolling-restart",  # 2.28
    "--stop-timeout",  # 2.29
    "--remove-volumes",  # 2.30
    "--label-take-precedence",  # 2.31
    "--cooldown-delay",  # 2.32
    "WATCHTOWER_COOLDOWN_PLATFORM_OS, _ARCH, _VARIANT",  # 2.33
    "--use-compose-depends-on",  # 2.34
    "--ephemeral-self-update",  # 2.35
    "--enable-lifecycle-hooks",  # 2.36
    "--lifecycle-uid, --lifecycle-gid",  # 2.37
    "--disable-memory-swappiness",  # 2.38
    "--cpu-copy-mode",  # 2.39
    "--warn-on-head-failure",  # 2.40
    "--registry-tls-skip",  # 2.41
    "--registry-tls-min-version",  # 2.42
    "REPO_USER, REPO_PASS",  # 2.43
    "DOCKER_CONFIG",  # 2.44
    "--http-api-update",  # 2.45
    "--http-api-metrics",  # 2.46
    "--http-api-token",  # 2.47
    "--http-api-periodic-polls",  # 2.48
    "--http-api-endpoints",  # 2.49
    "--http-api-containers",  # 2.50
    "--http-api-host",  # 2.51
    "--http-api-port",  # 2.52
    "--http-api-events-token",  # 2.53
    "--http-api-rate-limit",  # 2.54
    "--http-api-tls-cert, --http-api-tls-key",  # 2.55
    "--http-api-trusted-proxies",  # 2.56
    "--http-api-proxy-header",  # 2.57
    "--http-api-cors-origins",  # 2.58
    "--http-api-check-timeout",  # 2.59
    "--http-api-update-timeout",  # 2.60
    "--notification-url",  # 2.61
    "--notifications",  # 2.62
    "--notifications-level",  # 2.63
    "--notifications-delay",  # 2.64
    "--notifications-hostname",  # 2.65
    "--notification-template",  # 2.66
    "--notification-template-file",  # 2.67
    "--notification-report",  # 2.68
    "--notification-title-tag",  # 2.69
    "--notification-skip-title",  # 2.70
    "--notification-log-stdout",  # 2.71
    "--notification-split-by-container",  # 2.72
    "--notification-email-from, -to, -server",  # 2.73
    "--notification-email-server-port",  # 2.74
    "--notification-email-server-user, -password",  # 2.75
    "--notification-email-server-tls-skip-verify",  # 2.76
    "--notification-email-delay",  # 2.77
    "--notification-email-subjecttag",  # 2.78
    "--notification-slack-hook-url",  # 2.79
    "--notification-slack-identifier",  # 2.80
    "--notification-slack-channel",  # 2.81
    "--notification-slack-icon-emoji, -icon-url",  # 2.82
    "--notification-msteams-hook",  # 2.83
    "--notification-msteams-data",  # 2.84
    "--notification-gotify-url, -token",  # 2.85
    "--notification-gotify-tls-skip-verify",  # 2.86
    "--log-level",  # 2.87
    "--log-format",  # 2.88
    "--debug",  # 2.89
    "--trace",  # 2.90
    "--no-color",  # 2.91
)
_SECTION_6 = (
    "label com.centurylinklabs.watchtower",  # 6.1
    "label enable",  # 6.2
    "label monitor-only",  # 6.3
    "label no-pull",  # 6.4
    "label depends-on",  # 6.5
    "label scope",  # 6.6
    "label stop-signal",  # 6.7
    "labels lifecycle.pre-check, .post-check, .pre-update, .post-update",  # 6.8
    "labels lifecycle.pre-update-timeout, .post-update-timeout",  # 6.9
    "label com.centurylinklabs.zodiac.original-image",  # 6.10
    "label cooldown-delay",  # 6.11
    "labels lifecycle.uid, lifecycle.gid",  # 6.12
    "label container-chain",  # 6.13
    "label ephemeral-orchestrator",  # 6.14
    "label com.docker.compose.depends_on",  # 6.15
    "labels com.docker.compose.project, .service, .container-number",  # 6.16
    "label against flag: absent",  # 6.17
    "label against flag: unreadable",  # 6.18
    "label against flag: true",  # 6.19
    "label against flag: false",  # 6.20
)
_SECTION_12 = (
    "hook pre-check",  # 12.1
    "hook pre-update",  # 12.2
    "hook post-update",  # 12.3
    "hook post-check",  # 12.4
    "exit code 75",  # 12.5
    "dependents of a container that its hook holds back",  # 12.6
    "time-outs are enforced",  # 12.7
    "environment of hooks",  # 12.8
    "user of hooks",  # 12.9
    "start of the command",  # 12.10
    "output of hooks in the log",  # 12.11
)
_SECTION_14 = (
    "collections of the report",  # 14.1
    "a check that failed is Skipped",  # 14.2
    "the same image is Fresh",  # 14.3
    "what was replaced is Updated",  # 14.4
    "a failed stop, start or hook is Failed",  # 14.5
    "anything else is Stale",  # 14.6
    "a check that failed, without monitor-only",  # 14.7
    "a linked restart that succeeded",  # 14.8
    "a linked restart that failed",  # 14.9
    "Updated is counted after the work",  # 14.10
    "field ID",  # 14.11
    "field Name",  # 14.12
    "fields CurrentImageID, LatestImageID",  # 14.13
    "field ImageName",  # 14.14
    "field Error",  # 14.15
    "field State",  # 14.16
    "fields IsMonitorOnly, NewContainerID",  # 14.17
)
_SECTION_16 = (
    "original: address and port",  # 16.1
    "original: authorization",  # 16.2
    "original: /v1/update",  # 16.3
    "original: /v1/metrics",  # 16.4
    "original: other paths",  # 16.5
    "original: log line",  # 16.6
    "original: time-outs, TLS, rate limit",  # 16.7
    "authorization",  # 16.8
    "rate limit",  # 16.9
    "limits of requests",  # 16.10
    "wrong method",  # 16.11
    "envelope",  # 16.12
    "headers",  # 16.13
    "paths without a token",  # 16.14
    "POST /v1/update",  # 16.15
    "POST /v1/check",  # 16.16
    "GET /v1/containers",  # 16.17
    "GET /v1/containers/details",  # 16.18
    "GET /v1/images",  # 16.19
    "GET /v1/history",  # 16.20
    "GET /v1/config",  # 16.21
    "GET /v1/metrics",  # 16.22
    "GET /v1/status",  # 16.23
    "GET /v1/events",  # 16.24
    "/livez, /readyz, /startupz",  # 16.25
    "/swagger",  # 16.26
    "event scan_started",  # 16.27
    "event scan_completed",  # 16.28
    "event scan_failed",  # 16.29
    "event image_cleanup",  # 16.30
    "watchtower_containers_scanned",  # 16.31
    "watchtower_containers_updated",  # 16.32
    "watchtower_containers_failed",  # 16.33
    "watchtower_containers_restarted",  # 16.34
    "watchtower_containers_skipped",  # 16.35
    "watchtower_containers_restarted_total",  # 16.36
    "watchtower_scans_total",  # 16.37
    "watchtower_scans_skipped",  # 16.38
    "watchtower_scans_skipped_total",  # 16.39
    "watchtower_metrics_dropped_total",  # 16.40
    "metrics of the process",  # 16.41
)


def _numbered(section: int, titles: Sequence[str]) -> Iterator[Row]:
    return (Row(f"{section}.{number}", title) for number, title in enumerate(titles, start=1))


ROWS: Mapping[str, Row] = {
    row.id: row
    for section, titles in (
        (2, _SECTION_2),
        (6, _SECTION_6),
        (12, _SECTION_12),
        (14, _SECTION_14),
        (16, _SECTION_16),
    )
    for row in _numbered(section, titles)
}

_TLS_REGISTRY = "needs a registry with TLS from which the engine pulls, too"
_OTHER_HOST = "goes to hosts of its own over https, which no test on loopback can stand in for"

LEFT_OUT: Mapping[str, str] = {
    "2.33": "needs an image for several platforms whose builds differ in age",
    "2.38": "needs an engine whose kernel keeps a memory swappiness; cgroup v2 does not",
    "2.41": _TLS_REGISTRY,
    "2.42": _TLS_REGISTRY,
    "2.79": _OTHER_HOST,
    "2.80": _OTHER_HOST,
    "2.82": _OTHER_HOST,
    "2.83": _OTHER_HOST,
    "6.7": "an engine before API 1.42, as the test bed's, takes no signal at the stop, and no other way is used",
    "6.10": "the new container is made from the name that it was made from before, so the update fails",
    "14.17": "the JSON report has neither of them, as in Watchtower",
}
"""Rows that no test proves, and why."""
