"""Which containers are watched, and why the others are left alone.

Containers that another manager owns are never touched: the manager would undo the update, or lose track of its work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from watchtower_async.engine.inventory import ContainerSummary, Inventory
from watchtower_async.engine.temporary_name import parse_temporary_name
from watchtower_async.settings import parse_bool
from watchtower_async.updates.reason import Reason, ReasonCode

LABEL_PREFIX = "com.centurylinklabs.watchtower"
ENABLE = f"{LABEL_PREFIX}.enable"
MONITOR_ONLY = f"{LABEL_PREFIX}.monitor-only"
NO_PULL = f"{LABEL_PREFIX}.no-pull"
COOLDOWN = f"{LABEL_PREFIX}.cooldown-delay"
SCOPE = f"{LABEL_PREFIX}.scope"
ORIGINAL_IMAGE = "com.centurylinklabs.zodiac.original-image"

_MANAGER_LABELS: Mapping[str, str] = {
    "com.docker.swarm.task.id": "Docker Swarm",
    "com.hashicorp.nomad.alloc_id": "Nomad",
    "PODMAN_SYSTEMD_UNIT": "systemd (Podman unit)",
    "supervisor_managed": "Home Assistant Supervisor",
}
_MANAGER_PREFIXES: Mapping[str, str] = {"io.kubernetes.": "Kubernetes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionPolicy:
    """Settings that decide about watching, for one engine."""

    names: tuple[str, ...] = ()
    label_enable: bool = False
    monitor_only: bool = False
    own_id: str | None = None
    """Id of the container that the updater itself runs in, on this engine."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A container that is checked. With `monitor_only` a newer image is reported and nothing is touched."""

    container: ContainerSummary
    monitor_only: bool


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A container that is not checked, and why."""

    container: ContainerSummary
    reason: Reason


@dataclass(frozen=True, slots=True)
class Selection:
    """Both halves of an inventory."""

    watched: tuple[Watched, ...]
    left_alone: tuple[LeftAlone, ...]


def select(inventory: Inventory, policy: SelectionPolicy) -> Selection:
    """Divide the containers of one engine."""
    scope = own_scope(inventory, policy.own_id)
    patterns = tuple(_name_pattern(name) for name in policy.names)
    watched: list[Watched] = []
    left_alone: list[LeftAlone] = []
    for container in inventory.containers:
        reason = _reason_against(container, policy, patterns, scope)
        if reason is None:
            watched.append(Watched(container, policy.monitor_only or label_is_true(container.labels, MONITOR_ONLY)))
        else:
            left_alone.append(LeftAlone(container, reason))
    return Selection(tuple(watched), tuple(left_alone))


def own_scope(inventory: Inventory, own_id: str | None) -> str:
    """Return the scope label of the updater's own container; empty for none."""
    labels = next((item.labels for item in inventory.containers if item.id == own_id), {})
    return _scope_of(labels)


def manager_of(labels: Mapping[str, str]) -> str | None:
    """Name the program that owns a container with these labels."""
    for label, manager in _MANAGER_LABELS.items():
        if label in labels:
            return manager
    for prefix, manager in _MANAGER_PREFIXES.items():
        if any(label.startswith(prefix) for label in labels):
            return manager
    return None


def label_is_true(labels: Mapping[str, str], name: str) -> bool:
    """Say whether a label is there and reads as true; text that is no truth value counts as absent."""
    return _truth(labels, name) is True


def _truth(labels: Mapping[str, str], name: str) -> bool | None:
    try:
        return parse_bool(labels[name])
    except (KeyError, ValueError):
        return None


def _scope_of(labels: Mapping[str, str]) -> str:
    scope = labels.get(SCOPE, "")
    return "" if scope == "none" else scope


def _name_pattern(text: str) -> re.Pattern[str]:
    bare = text.removeprefix("/")
    try:
        return re.compile(bare)
    except re.error:
        return re.compile(re.escape(bare))


def _reason_against(
    container: ContainerSummary, policy: SelectionPolicy, patterns: tuple[re.Pattern[str], ...], scope: str
) -> Reason | None:
    labels = container.labels
    if parse_temporary_name(container.name) is not None:
        return Reason(ReasonCode.UNFINISHED, "part of a replacement that is not finished")
    if patterns and not any(pattern.fullmatch(container.name) for pattern in patterns):
        return Reason(ReasonCode.NOT_NAMED, "not named on the command line")
    if container.state != "running":
        return Reason(ReasonCode.NOT_RUNNING, f"not running ({container.state})")
    manager = manager_of(labels)
    if manager is not None:
        return Reason(ReasonCode.MANAGED, f"managed by {manager}")
    if _truth(labels, ENABLE) is False:
        return Reason(ReasonCode.DISABLED, f"disabled by label {ENABLE}=false")
    if policy.label_enable and _truth(labels, ENABLE) is None:
        return Reason(ReasonCode.NOT_ENABLED, f"label {ENABLE}=true is missing, and --label-enable asks for it")
    if _scope_of(labels) != scope:
        return Reason(ReasonCode.OTHER_SCOPE, f"belongs to scope {_scope_of(labels) or 'none'!r}, we have {scope!r}")
    if container.id == policy.own_id:
        return Reason(ReasonCode.ITSELF, "this is the updater itself; updating itself is not supported yet")
    return _unsupported_label(labels)


def _unsupported_label(labels: Mapping[str, str]) -> Reason | None:
    # These labels ask us to do less. Ignoring one would update a container against its owner's word.
    if label_is_true(labels, NO_PULL):
        return Reason(ReasonCode.NOT_SUPPORTED, f"label {NO_PULL} is not supported yet")
    if labels.get(COOLDOWN, "").strip() not in {"", "0"}:
        return Reason(ReasonCode.NOT_SUPPORTED, f"label {COOLDOWN} is not supported yet")
    if labels.get(ORIGINAL_IMAGE):
        # It names another image than the container's own; comparing that one would be wrong in silence.
        return Reason(ReasonCode.NOT_SUPPORTED, f"label {ORIGINAL_IMAGE} is not supported yet")
    return None
