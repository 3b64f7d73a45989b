"""Which containers are watched, and why the others are left alone.

Containers that another manager owns are never touched: the manager would undo the update, or lose track of its work.

A label and a setting for the same thing (monitor-only, no-pull) are both obeyed: either is enough, and only where
labels take precedence can one lift the setting. A cooldown is always the label's where that can be read. A label that
cannot be read counts as absent, and a note of the plan says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from watchtower_async.engine.inventory import ContainerSummary, Inventory
from watchtower_async.engine.temporary_name import RunState, parse_temporary_name
from watchtower_async.settings import parse_bool
from watchtower_async.updates.cooldown import NO_COOLDOWN, cooldown_of
from watchtower_async.updates.patterns import LabelPair, Patterns, full_image_name, is_on, show_pair
from watchtower_async.updates.reason import Reason, ReasonCode

WATCHTOWER = "com.centurylinklabs.watchtower"
LABEL_PREFIX = WATCHTOWER
ENABLE = f"{LABEL_PREFIX}.enable"
MONITOR_ONLY = f"{LABEL_PREFIX}.monitor-only"
NO_PULL = f"{LABEL_PREFIX}.no-pull"
COOLDOWN = f"{LABEL_PREFIX}.cooldown-delay"
SCOPE = f"{LABEL_PREFIX}.scope"
ORIGINAL_IMAGE = "com.centurylinklabs.zodiac.original-image"

_STOPPED_STATES = frozenset({"created", "exited"})
_REPLACED_WATCHTOWER = "watchtower-old-"
_MANAGER_LABELS: Mapping[str, str] = {
    "com.docker.swarm.task.id": "Docker Swarm",
    "com.hashicorp.nomad.alloc_id": "Nomad",
    "PODMAN_SYSTEMD_UNIT": "systemd (Podman unit)",
    "supervisor_managed": "Home Assistant Supervisor",
}
_MANAGER_PREFIXES: Mapping[str, str] = {"io.kubernetes.": "Kubernetes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionPolicy:
    """Settings that decide about watching, and what is done with what is watched, for one engine."""

    names: tuple[str, ...] = ()
    disable_containers: tuple[str, ...] = ()
    monitor_image_names: tuple[str, ...] = ()
    skip_image_names: tuple[str, ...] = ()
    label_enable: bool = False
    enable_by_label: tuple[LabelPair, ...] = ()
    disable_by_label: tuple[LabelPair, ...] = ()
    scope: str = ""
    """`none` is no scope; empty is that of the updater's own container."""
    include_stopped: bool = False
    include_restarting: bool = False
    revive_stopped: bool = False
    monitor_only: bool = False
    no_pull: bool = False
    no_restart: bool = False
    label_take_precedence: bool = False
    cooldown: timedelta = NO_COOLDOWN
    cooldown_os: str = ""
    cooldown_architecture: str = ""
    cooldown_variant: str = ""
    """Of the platform whose image tells its age; empty is what runs."""
    use_compose_depends_on: bool = True
    own_id: str | None = None
    updates_itself: bool = False
    """Whether the updater's own container is watched as others are."""
    """Id of the container that the updater itself runs in, on this engine."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A container that is checked. With `monitor_only` a newer image is reported and nothing is touched."""

    container: ContainerSummary
    monitor_only: bool
    no_pull: bool = False
    """No registry is asked: the image that its tag names on the engine counts."""
    cooldown: timedelta = NO_COOLDOWN
    ran: RunState = RunState.RUNNING
    starts: bool = True
    """Whether its successor is started."""
    notes: tuple[str, ...] = ()
    """What is wrong with its labels."""


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
    """Divide the containers of one engine, by all but the names of their images: those are not always listed."""
    rules = _Rules(policy, _chosen_scope(inventory, policy))
    watched: list[Watched] = []
    left_alone: list[LeftAlone] = []
    for container in inventory.containers:
        reason = rules.reason_against(container)
        if reason is None:
            watched.append(_watched(container, policy))
        else:
            left_alone.append(LeftAlone(container, reason))
    return Selection(tuple(watched), tuple(left_alone))


class ImageFilter:
    """Chooses by the name of the image that a container was made from."""

    def __init__(self, policy: SelectionPolicy) -> None:
        self._wanted = Patterns(policy.monitor_image_names)
        self._unwanted = Patterns(policy.skip_image_names)

    def reason_against(self, image_text: str) -> Reason | None:
        """Return why a container of this image is left alone, None where it is not."""
        name = full_image_name(image_text)
        if self._wanted and not self._wanted.match(name):
            return Reason(ReasonCode.IMAGE_NOT_NAMED, "its image is not named in --monitor-image-names")
        if self._unwanted.match(name):
            return Reason(ReasonCode.DISABLED, "its image is named in --skip-image-names")
        return None


def own_scope(inventory: Inventory, own_id: str | None) -> str:
    """Return the scope label of the updater's own container; empty for none."""
    labels = next((item.labels for item in inventory.containers if item.id == own_id), {})
    return _scope_of(labels)


def original_image(labels: Mapping[str, str]) -> str | None:
    """Return the image name that a label puts in place of the one that the container was made from."""
    return labels.get(ORIGINAL_IMAGE) or None


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


def _chosen_scope(inventory: Inventory, policy: SelectionPolicy) -> str:
    return _plain_scope(policy.scope) if policy.scope else own_scope(inventory, policy.own_id)


def _scope_of(labels: Mapping[str, str]) -> str:
    return _plain_scope(labels.get(SCOPE, ""))


def _plain_scope(scope: str) -> str:
    return "" if scope == "none" else scope


class _Rules:
    """The settings, ready to be held against many containers."""

    def __init__(self, policy: SelectionPolicy, scope: str) -> None:
        self._policy = policy
        self._scope = scope
        self._names = Patterns(policy.names)
        self._disabled_names = Patterns(policy.disable_containers)

    def reason_against(self, container: ContainerSummary) -> Reason | None:
        """Return why a container is left alone, None where it is watched."""
        return (
            self._by_name(container)
            or self._by_state(container)
            or self._by_labels(container.labels)
            or self._by_scope(container.labels)
            or self._by_identity(container)
        )

    def _by_name(self, container: ContainerSummary) -> Reason | None:
        if parse_temporary_name(container.name) is not None:
            return Reason(ReasonCode.UNFINISHED, "part of a replacement that is not finished")
        if container.name.startswith(_REPLACED_WATCHTOWER) and container.labels.get(WATCHTOWER) == "true":
            return Reason(ReasonCode.UNFINISHED, "left over from an update that Watchtower made of itself")
        if self._names and not self._names.match(container.name):
            return Reason(ReasonCode.NOT_NAMED, "not named on the command line")
        if self._disabled_names.match(container.name):
            return Reason(ReasonCode.DISABLED, "named in --disable-containers")
        return None

    def _by_state(self, container: ContainerSummary) -> Reason | None:
        state = container.state
        if state == "running":
            return None
        if self._policy.include_stopped and state in _STOPPED_STATES:
            return None
        if self._policy.include_restarting and state == "restarting":
            return None
        return Reason(ReasonCode.NOT_RUNNING, f"not running ({state})")

    def _by_labels(self, labels: Mapping[str, str]) -> Reason | None:
        manager = manager_of(labels)
        if manager is not None:
            return Reason(ReasonCode.MANAGED, f"managed by {manager}")
        if _truth(labels, ENABLE) is False:
            return Reason(ReasonCode.DISABLED, f"disabled by label {ENABLE}=false")
        if self._policy.label_enable and _truth(labels, ENABLE) is None:
            return Reason(ReasonCode.NOT_ENABLED, f"label {ENABLE}=true is missing, and --label-enable asks for it")
        wanted = self._policy.enable_by_label
        if wanted and not any(is_on(pair, labels) for pair in wanted):
            return Reason(ReasonCode.NOT_ENABLED, "has no label that --enable-containers-by-label asks for")
        unwanted = next((pair for pair in self._policy.disable_by_label if is_on(pair, labels)), None)
        if unwanted is not None:
            return Reason(
                ReasonCode.DISABLED, f"has label {show_pair(unwanted)}, which --disable-containers-by-label names"
            )
        return None

    def _by_scope(self, labels: Mapping[str, str]) -> Reason | None:
        scope = _scope_of(labels)
        if scope == self._scope:
            return None
        text = f"belongs to scope {scope or 'none'!r}, we have {self._scope or 'none'!r}"
        return Reason(ReasonCode.OTHER_SCOPE, text)

    def _by_identity(self, container: ContainerSummary) -> Reason | None:
        if container.id != self._policy.own_id or self._policy.updates_itself:
            return None
        return Reason(
            ReasonCode.ITSELF, "this is the updater itself, which is updated by a service, and not by one run"
        )


def _watched(container: ContainerSummary, policy: SelectionPolicy) -> Watched:
    labels = container.labels
    lifts = policy.label_take_precedence
    monitor_only, about_monitor = _combined(labels, MONITOR_ONLY, policy.monitor_only, label_lifts=lifts)
    no_pull, about_pull = _combined(labels, NO_PULL, policy.no_pull, label_lifts=lifts)
    cooldown, problem = cooldown_of(labels.get(COOLDOWN), policy.cooldown)
    about_cooldown = _note(labels, COOLDOWN, problem) if problem else None
    ran = RunState.STOPPED if container.state in _STOPPED_STATES else RunState.RUNNING
    return Watched(
        container,
        monitor_only,
        no_pull=no_pull,
        cooldown=cooldown,
        ran=ran,
        starts=not policy.no_restart and (ran is RunState.RUNNING or policy.revive_stopped),
        notes=tuple(note for note in (about_monitor, about_pull, about_cooldown) if note is not None),
    )


def _combined(labels: Mapping[str, str], name: str, setting: bool, *, label_lifts: bool) -> tuple[bool, str | None]:
    """Return what a label and a setting say together, and what is wrong with the label. An empty one is `false`."""
    if name not in labels:
        return setting, None
    label = _truth(labels, name) if labels[name] else False
    if label is None:
        return setting, _note(labels, name, "expected true or false")
    return label or (setting and not label_lifts), None


def _note(labels: Mapping[str, str], name: str, problem: str) -> str:
    return f"label {name}={labels[name][:60]!r} is ignored: {problem}"
