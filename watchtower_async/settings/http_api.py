"""Options about the HTTP API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from watchtower_async.settings.option import declare
from watchtower_async.settings.parsing import (
    deadline_or,
    many_of,
    networks,
    parse_bool,
    parse_csv,
    parse_ip,
    parse_list,
    parse_path,
    parse_port,
    parse_rate_limit,
)
from watchtower_async.settings.values import Endpoint

_CHECK_TIMEOUT = timedelta(minutes=5)
_UPDATE_TIMEOUT = timedelta(minutes=10)
ENDPOINTS_FLAG = "--http-api-endpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpApiSettings:
    """HTTP API"""

    endpoints: tuple[Endpoint, ...] = declare(
        ENDPOINTS_FLAG, env="WATCHTOWER_HTTP_API_ENDPOINTS", default=(), parse=many_of(Endpoint, parse_csv),
        parse_env=many_of(Endpoint, parse_list), metavar="NAMES",
        help="Parts to switch on: health, update, metrics, containers, check, history, images, config, events,"
        " swagger, quarantine, rollouts; or all.",
    )  # fmt: skip
    update: bool = declare(
        "--http-api-update", env="WATCHTOWER_HTTP_API_UPDATE", default=False, parse=parse_bool,
        replaced_by=f"{ENDPOINTS_FLAG} update", help="Switch on updates by request.",
    )  # fmt: skip
    metrics: bool = declare(
        "--http-api-metrics", env="WATCHTOWER_HTTP_API_METRICS", default=False, parse=parse_bool,
        replaced_by=f"{ENDPOINTS_FLAG} metrics", help="Switch on metrics for Prometheus.",
    )  # fmt: skip
    containers: bool = declare(
        "--http-api-containers", env="WATCHTOWER_HTTP_API_CONTAINERS", default=False, parse=parse_bool,
        replaced_by=f"{ENDPOINTS_FLAG} containers", help="Switch on the list of containers.",
    )  # fmt: skip
    token: str = declare(
        "--http-api-token", env="WATCHTOWER_HTTP_API_TOKEN", default="", is_secret=True,
        help="Token that a request must carry.",
    )  # fmt: skip
    events_token: str = declare(
        "--http-api-events-token", env="WATCHTOWER_HTTP_API_EVENTS_TOKEN", default="", is_secret=True,
        help="Token for the stream of events.",
    )  # fmt: skip
    periodic_polls: bool = declare(
        "--http-api-periodic-polls", env="WATCHTOWER_HTTP_API_PERIODIC_POLLS", default=False, parse=parse_bool,
        help="Run sessions by the schedule also where updates by request are switched on.",
    )  # fmt: skip
    host: str = declare(
        "--http-api-host", env="WATCHTOWER_HTTP_API_HOST", default="", parse=parse_ip, metavar="IP",
        shown_default="all interfaces", help="Address to listen on.",
    )  # fmt: skip
    port: int = declare(
        "--http-api-port", env="WATCHTOWER_HTTP_API_PORT", default=8080, parse=parse_port, metavar="PORT",
        shown_default="8080", help="Port to listen on.",
    )  # fmt: skip
    rate_limit: int = declare(
        "--http-api-rate-limit", env="WATCHTOWER_HTTP_API_RATE_LIMIT", default=60, parse=parse_rate_limit,
        metavar="NUMBER", shown_default="60", help="How many requests of one address are answered in a minute.",
    )  # fmt: skip
    tls_cert: Path | None = declare(
        "--http-api-tls-cert", env="WATCHTOWER_HTTP_API_TLS_CERT", default=None, parse=parse_path, metavar="FILE",
        help="Certificate for TLS; needs its key.",
    )  # fmt: skip
    tls_key: Path | None = declare(
        "--http-api-tls-key", env="WATCHTOWER_HTTP_API_TLS_KEY", default=None, parse=parse_path, metavar="FILE",
        help="Key of that certificate.",
    )  # fmt: skip
    trusted_proxies: tuple[str, ...] = declare(
        "--http-api-trusted-proxies", env="WATCHTOWER_HTTP_API_TRUSTED_PROXIES", default=(),
        parse=networks(parse_csv), parse_env=networks(parse_list), metavar="NETWORKS",
        help="Addresses and networks of proxies that are believed who asks.",
    )  # fmt: skip
    proxy_header: str = declare(
        "--http-api-proxy-header", env="WATCHTOWER_HTTP_API_PROXY_HEADER", default="X-Forwarded-For", metavar="HEADER",
        shown_default="X-Forwarded-For", help="Header in which these proxies say it.",
    )  # fmt: skip
    cors_origins: tuple[str, ...] = declare(
        "--http-api-cors-origins", env="WATCHTOWER_HTTP_API_CORS_ORIGINS", default=(), parse=parse_csv,
        parse_env=parse_list, metavar="ORIGINS",
        help="Web pages that may ask from a browser; * is all of them, without credentials.",
    )  # fmt: skip
    check_timeout: timedelta = declare(
        "--http-api-check-timeout", env="WATCHTOWER_HTTP_API_CHECK_TIMEOUT", default=_CHECK_TIMEOUT,
        parse=deadline_or(_CHECK_TIMEOUT), metavar="DURATION", shown_default="5m",
        help="How long a check by request may take.",
    )  # fmt: skip
    update_timeout: timedelta = declare(
        "--http-api-update-timeout", env="WATCHTOWER_HTTP_API_UPDATE_TIMEOUT", default=_UPDATE_TIMEOUT,
        parse=deadline_or(_UPDATE_TIMEOUT), metavar="DURATION", shown_default="10m",
        help="How long an update by request may take.",
    )  # fmt: skip

    @property
    def enabled(self) -> frozenset[Endpoint]:
        """Return the parts that are switched on, by the list and by the older switches; never `ALL`."""
        if Endpoint.ALL in self.endpoints:
            return frozenset(Endpoint) - {Endpoint.ALL}
        older = {
            Endpoint.UPDATE: self.update,
            Endpoint.METRICS: self.metrics,
            Endpoint.CONTAINERS: self.containers,
        }
        return frozenset(self.endpoints) | {endpoint for endpoint, is_on in older.items() if is_on}
