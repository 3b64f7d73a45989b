"""How a rollout goes: Swarm's terms for a rolling update, from flags and labels. Pure.

A label `watchtower-async.rollout.<term>` has the name and the values of the flag `--rollout-<term>`. Whom it concerns
follows from the term:

* `order`, `monitor` and `start-deadline` are about one container: the one that carries the label;
* `parallelism`, `delay`, `max-failure-ratio` and `failure-action` are about several: all containers of its compose
  project, or the container alone where it belongs to none. Such a project is a rollout of its own; everything else on
  an engine is the common rollout, which goes by the flags.

Where containers of one project, or of one group, do not agree, the more careful value counts. A label that cannot be
used changes nothing, and is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import reduce
from typing import Any

from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.settings import (
    FailureAction,
    Order,
    RolloutSettings,
    one_of,
    parse_count,
    parse_deadline,
    parse_positive_duration,
    parse_ratio,
)
from watchtower_async.updates.ordering import COMPOSE_PROJECT

__all__ = ["COMMON", "FailureAction", "Order", "PolicyBook", "UpdatePolicy", "policy_from", "read_policies"]

LABEL_PREFIX = "watchtower-async.rollout."
ORDER_LABEL = "watchtower-async.order"
"""The short form of `watchtower-async.rollout.order`; it counts where both are there."""

COMMON = ""
"""The name of the rollout that no label asked for."""

_MOST_CAREFUL_FIRST = (FailureAction.PAUSE, FailureAction.ROLLBACK, FailureAction.CONTINUE)
_SAFEST_FIRST = (Order.STOP_FIRST, Order.AUTO, Order.START_FIRST)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePolicy:
    """The policy of a rollout, by Swarm's names. The defaults suit somebody who comes from Watchtower."""

    parallelism: int = 1
    """How many groups the rollout may have down at once; 0 is all."""
    delay: timedelta = timedelta(0)
    """How long a slot rests after its group runs."""
    order: Order = Order.STOP_FIRST
    monitor: timedelta = timedelta(seconds=5)
    """How long after it runs a failure of a group still counts."""
    max_failure_ratio: float = 0.0
    """The failure action is taken when the share of failed groups is greater than this."""
    failure_action: FailureAction = FailureAction.CONTINUE
    start_deadline: timedelta | None = None
    """How long a group may take until it runs; None is as long as its stop and its health check may take."""

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs; durations are in seconds."""
        return {
            "parallelism": self.parallelism,
            "delay": self.delay.total_seconds(),
            "order": str(self.order),
            "monitor": self.monitor.total_seconds(),
            "max_failure_ratio": self.max_failure_ratio,
            "failure_action": str(self.failure_action),
            "start_deadline": None if self.start_deadline is None else self.start_deadline.total_seconds(),
        }

    def more_careful(self, other: UpdatePolicy) -> UpdatePolicy:
        """Return a policy that for each term has the more careful of both values.

        Of two monitor windows and deadlines the longer one counts, as neither container may be judged too soon.
        """
        deadlines = [value for value in (self.start_deadline, other.start_deadline) if value is not None]
        return UpdatePolicy(
            parallelism=min(self.parallelism, other.parallelism, key=lambda number: (number == 0, number)),
            delay=max(self.delay, other.delay),
            order=min(self.order, other.order, key=_SAFEST_FIRST.index),
            monitor=max(self.monitor, other.monitor),
            max_failure_ratio=min(self.max_failure_ratio, other.max_failure_ratio),
            failure_action=min(self.failure_action, other.failure_action, key=_MOST_CAREFUL_FIRST.index),
            start_deadline=max(deadlines) if deadlines else None,
        )


def read_policy(document: Mapping[str, Any]) -> UpdatePolicy:
    """Read what `as_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    deadline = document["start_deadline"]
    return UpdatePolicy(
        parallelism=int(document["parallelism"]),
        delay=timedelta(seconds=document["delay"]),
        order=Order(document["order"]),
        monitor=timedelta(seconds=document["monitor"]),
        max_failure_ratio=float(document["max_failure_ratio"]),
        failure_action=FailureAction(document["failure_action"]),
        start_deadline=None if deadline is None else timedelta(seconds=deadline),
    )


def policy_from(settings: RolloutSettings) -> UpdatePolicy:
    """Return the policy that the flags ask for."""
    implied = FailureAction.PAUSE if settings.rolling_restart else FailureAction.CONTINUE
    return UpdatePolicy(
        parallelism=settings.parallelism,
        delay=settings.delay,
        order=settings.order,
        monitor=settings.monitor,
        max_failure_ratio=settings.max_failure_ratio,
        failure_action=settings.failure_action or implied,
        start_deadline=settings.start_deadline,
    )


@dataclass(frozen=True, slots=True)
class _Term:
    field: str
    parse: Callable[[str], Any]
    concerns_one: bool


_TERMS: Mapping[str, _Term] = {
    "order": _Term("order", one_of(Order), True),
    "monitor": _Term("monitor", parse_positive_duration, True),
    "start-deadline": _Term("start_deadline", parse_deadline, True),
    "parallelism": _Term("parallelism", parse_count, False),
    "delay": _Term("delay", parse_positive_duration, False),
    "max-failure-ratio": _Term("max_failure_ratio", parse_ratio, False),
    "failure-action": _Term("failure_action", one_of(FailureAction), False),
}


@dataclass(frozen=True, slots=True)
class _Labelled:
    """What the labels of one container say."""

    own: Mapping[str, Any] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def _read_labels(labels: Mapping[str, str]) -> _Labelled:
    own: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    problems: list[str] = []
    for label, text, name in _relevant(labels):
        term = _TERMS.get(name)
        if term is None:
            problems.append(f"label {label} is not known; there are {', '.join(_TERMS)}")
            continue
        try:
            (own if term.concerns_one else shared)[term.field] = term.parse(text.strip())
        except (ValueError, OverflowError) as error:
            problems.append(f"label {label}={text[:60]!r} is not usable: {error}")
    return _Labelled(own, shared, tuple(problems))


def _has_ours(labels: Mapping[str, str]) -> bool:
    return any(label.startswith((LABEL_PREFIX, ORDER_LABEL)) for label in labels)


def _relevant(labels: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return label, text and term; what counts more comes later."""
    ours = sorted(label for label in labels if label.startswith(LABEL_PREFIX))
    found = [(label, labels[label], label.removeprefix(LABEL_PREFIX)) for label in ours]
    if ORDER_LABEL in labels:
        found.append((ORDER_LABEL, labels[ORDER_LABEL], "order"))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBook:
    """Which policy counts for which container of an engine, by the containers' names."""

    default: UpdatePolicy
    rollouts: Mapping[str, UpdatePolicy] = field(default_factory=dict)
    """The rollouts that labels ask for, by name."""
    containers: Mapping[str, UpdatePolicy] = field(default_factory=dict)
    """Those that do not go by the common policy."""
    rollout_names: Mapping[str, str] = field(default_factory=dict)
    """The rollout of each container that is not in the common one."""
    problems: tuple[str, ...] = ()

    def rollout_of(self, container: str) -> str:
        """Name the rollout that a container belongs to."""
        return self.rollout_names.get(container, COMMON)

    def rollouts_of(self, containers: Iterable[str]) -> frozenset[str]:
        """Name the rollouts that containers belong to which are updated together."""
        if not self.rollout_names:
            return frozenset({COMMON})
        return frozenset(map(self.rollout_of, containers))

    def policy_of_rollout(self, rollout: str) -> UpdatePolicy:
        """Return the policy of a rollout as a whole."""
        return self.rollouts.get(rollout, self.default)

    def policy_of(self, containers: Iterable[str]) -> UpdatePolicy:
        """Return the policy that counts for containers that are updated together."""
        if not self.containers:
            return self.default
        policies = (self.containers.get(name, self.default) for name in containers)
        return reduce(UpdatePolicy.more_careful, {id(policy): policy for policy in policies}.values())


def read_policies(containers: Sequence[ContainerSummary], default: UpdatePolicy) -> PolicyBook:
    """Read the labels of an engine's containers."""
    labelled = {item.name: _read_labels(item.labels) for item in containers if _has_ours(item.labels)}
    problems = [f"{name}: {problem}" for name, found in labelled.items() for problem in found.problems]
    if not labelled:
        return PolicyBook(default=default)
    homes = {item.name: _home(item) for item in containers}
    wishes: dict[str, dict[str, Any]] = {}
    for name, found in labelled.items():
        for term, value in found.shared.items():
            _wish(wishes.setdefault(homes[name], {}), homes[name], term, value, problems)
    rollouts = {home: replace(default, **wished) for home, wished in wishes.items()}
    return PolicyBook(
        default=default,
        rollouts=rollouts,
        containers=_container_policies(homes, labelled, rollouts, default),
        rollout_names={name: home for name, home in homes.items() if home in rollouts},
        problems=tuple(dict.fromkeys(problems)),
    )


def _home(container: ContainerSummary) -> str:
    """Name the rollout that this container's labels would make."""
    project = container.labels.get(COMPOSE_PROJECT, "")
    return f"project {project}" if project else f"container {container.name}"


def _wish(wished: dict[str, Any], home: str, term: str, value: Any, problems: list[str]) -> None:
    """Add what one container's label wants for its rollout."""
    before = wished.setdefault(term, value)
    if before != value:
        problems.append(f"the labels of {home} do not agree on {term}; the more careful value counts")
        one, other = replace(UpdatePolicy(), **{term: before}), replace(UpdatePolicy(), **{term: value})
        wished[term] = getattr(one.more_careful(other), term)


def _container_policies(
    homes: Mapping[str, str],
    labelled: Mapping[str, _Labelled],
    rollouts: Mapping[str, UpdatePolicy],
    default: UpdatePolicy,
) -> dict[str, UpdatePolicy]:
    policies: dict[str, UpdatePolicy] = {}
    for name, home in homes.items():
        policy = rollouts.get(home, default)
        own = labelled[name].own if name in labelled else {}
        if own or policy is not default:
            policies[name] = replace(policy, **own)
    return policies
