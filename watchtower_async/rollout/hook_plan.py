"""What labels say about lifecycle hooks, and what the end of a hook means. Pure.

A hook is a text for a shell inside the container. Watchtower's four kinds keep their labels and units: a time-out is a
whole number of minutes, 1 where it is missing or unusable, and 0 lifts the limit (here: up to one day, so that no
session waits for ever). The kinds around a check take such a label, too. The drain hook is ours: it runs in the
predecessor before that is stopped, and its time-out is a duration such as `30s`.

Only a pre-update hook decides anything: exit code 75 (EX_TEMPFAIL) asks for another time, and whatever else is not
success holds the update of its container. The others are told about and change nothing: as with the pre-stop hook of
other orchestrators, a drain that fails does not keep an old container alive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from watchtower_async.engine.exec import ExecResult
from watchtower_async.settings import parse_deadline
from watchtower_async.updates.selection import LABEL_PREFIX, ORIGINAL_IMAGE

LIFECYCLE_PREFIX = f"{LABEL_PREFIX}.lifecycle."
UID, GID = f"{LIFECYCLE_PREFIX}uid", f"{LIFECYCLE_PREFIX}gid"
DRAIN = "watchtower-async.drain"
STOP_SIGNAL = f"{LABEL_PREFIX}.stop-signal"
CONTAINER_VARIABLE = "WT_CONTAINER"

DEFAULT_SECONDS = 60.0
LONGEST_SECONDS = 24 * 3600.0
HIGHEST_ID = 2**31 - 1
EX_TEMPFAIL = 75

_CANNOT_START = (126, 127)
# The shell that stays outside keeps the user of the hook and leads its session: so the hook can be found and ended
# even when it turns into a process of another user.
_KEEPER = 'sh -c "$1"; exit $?'


class HookKind(StrEnum):
    """When a hook runs."""

    PRE_CHECK = "pre-check"
    PRE_UPDATE = "pre-update"
    POST_UPDATE = "post-update"
    POST_CHECK = "post-check"
    DRAIN = "drain"

    @property
    def label(self) -> str:
        """The label that holds the command."""
        return DRAIN if self is HookKind.DRAIN else f"{LIFECYCLE_PREFIX}{self}"

    @property
    def timeout_label(self) -> str:
        """The label that holds the time-out."""
        return f"{self.label}-timeout"


@dataclass(frozen=True, slots=True)
class Hook:
    """A command that a label asks for."""

    kind: HookKind
    command: str
    seconds: float = DEFAULT_SECONDS
    """How long it may take."""
    user: str | None = None
    """`uid`, `uid:gid` or `:gid`; None is the container's own."""
    problems: tuple[str, ...] = ()
    """Labels that cannot be used, and what counts instead."""

    @property
    def words(self) -> tuple[str, ...]:
        """The command as the engine takes it."""
        return ("sh", "-c", _KEEPER, "sh", self.command)


def has_hook(kind: HookKind, labels: Mapping[str, str]) -> bool:
    """Say whether a label asks for a hook of this kind."""
    return bool(labels.get(kind.label, "").strip())


def read_hook(kind: HookKind, labels: Mapping[str, str], *, uid: int = 0, gid: int = 0) -> Hook | None:
    """Read the labels of a container; `uid` and `gid` are those of the flags, where 0 is none."""
    if not has_hook(kind, labels):
        return None
    problems: list[str] = []
    seconds = _drain_seconds(labels, problems) if kind is HookKind.DRAIN else _minutes(kind, labels, problems)
    user = _user(_id(UID, labels, problems), _id(GID, labels, problems), uid, gid)
    return Hook(kind, labels[kind.label], seconds, user, tuple(problems))


def _minutes(kind: HookKind, labels: Mapping[str, str], problems: list[str]) -> float:
    text = labels.get(kind.timeout_label, "").strip()
    if not text:
        return DEFAULT_SECONDS
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        problems.append(_unusable(kind.timeout_label, text, "expected whole minutes; 1 counts"))
        return DEFAULT_SECONDS
    return min(int(text) * 60.0 or LONGEST_SECONDS, LONGEST_SECONDS)


def _drain_seconds(labels: Mapping[str, str], problems: list[str]) -> float:
    label = HookKind.DRAIN.timeout_label
    text = labels.get(label, "").strip()
    if not text:
        return DEFAULT_SECONDS
    try:
        return min(parse_deadline(text) / timedelta(seconds=1), LONGEST_SECONDS)
    except ValueError as error:
        problems.append(_unusable(label, text, f"{error}; {DEFAULT_SECONDS:g} seconds count"))
        return DEFAULT_SECONDS


def _id(label: str, labels: Mapping[str, str], problems: list[str]) -> int | None:
    text = labels.get(label, "").strip()
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) or int(text) > HIGHEST_ID:
        problems.append(_unusable(label, text, f"expected a number from 0 to {HIGHEST_ID}; it is left out"))
        return None
    return int(text)


def _user(label_uid: int | None, label_gid: int | None, uid: int, gid: int) -> str | None:
    """Choose the user: a label may ask for 0, a flag cannot."""
    user = label_uid if label_uid is not None else (uid or None)
    group = label_gid if label_gid is not None else (gid or None)
    if group is None:
        return None if user is None else str(user)
    return f"{'' if user is None else user}:{group}"


def _unusable(label: str, text: str, why: str) -> str:
    return f"label {label}={text[:60]!r} is not usable: {why}"


# ---- what a hook is told --------------------------------------------------------------------------------------------


def container_variable(name: str, document: Mapping[str, Any]) -> str:
    """Return `WT_CONTAINER`: the container as JSON in the form that hooks of Watchtower know."""
    labels = labels_of(document)
    config = document.get("Config") or {}
    ours = {label: labels[label] for label in sorted(labels) if label.startswith(f"{LABEL_PREFIX}.")}
    return _compact(
        {
            "name": name,
            "id": str(document.get("Id") or ""),
            "image_name": _image_name(labels.get(ORIGINAL_IMAGE) or str(config.get("Image") or "")),
            "stop_signal": labels.get(STOP_SIGNAL) or str(config.get("StopSignal") or "") or "SIGTERM",
            "labels": ours,
        }
    )


def labels_of(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels in a container's document."""
    labels = (document.get("Config") or {}).get("Labels") or {}
    return {str(name): str(text) for name, text in labels.items()}


def _image_name(text: str) -> str:
    return text if "@" in text or ":" in text.rpartition("/")[2] else f"{text}:latest"


def _compact(value: Mapping[str, Any]) -> str:
    """Write JSON as Go does: without blanks, and with `<`, `>` and `&` as escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


# ---- how it ended ---------------------------------------------------------------------------------------------------


class HookEnd(StrEnum):
    """How a hook can end."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Any other exit code than 0, or it could not be run."""
    TIMED_OUT = "timed_out"
    NOT_RUN = "not_run"
    """The container does not run, so nothing can be run in it."""


@dataclass(frozen=True, slots=True)
class HookResult:
    """How a hook ended and why, and everything that it wrote."""

    kind: HookKind
    container: str
    end: HookEnd
    reason: str
    """For people: what happened, in words."""
    command: str = ""
    exit_code: int | None = None
    output: str = ""
    problems: tuple[str, ...] = ()
    """Labels that could not be used."""
    duration: float = field(default=0.0, compare=False)
    """In seconds."""


@dataclass(frozen=True, slots=True)
class Go:
    """Nothing speaks against the update."""

    result: HookResult | None = None
    """None where there is no hook."""


@dataclass(frozen=True, slots=True)
class Skip:
    """The container asks for another time."""

    reason: str
    result: HookResult


@dataclass(frozen=True, slots=True)
class Failed:
    """The hook failed or hung: the container must not be touched."""

    reason: str
    result: HookResult


Clearance = Go | Skip | Failed


def read_end(hook: Hook, done: ExecResult) -> tuple[HookEnd, str]:
    """Say how a hook ended, and in words."""
    name = f"its {hook.kind} hook"
    if done.timed_out:
        fate = "could not be ended: it may still run in the container" if done.left_running else "was ended"
        return HookEnd.TIMED_OUT, f"{name} took longer than {hook.seconds:g} s and {fate}"
    if done.exit_code == 0:
        return HookEnd.SUCCEEDED, f"{name} succeeded"
    if done.exit_code in _CANNOT_START and 'exec: "sh"' in done.output:
        return HookEnd.FAILED, f"{name} cannot run, as its image has no shell; remove the label {hook.kind.label}"
    return HookEnd.FAILED, f"{name} failed with exit code {done.exit_code}"


def clearance(result: HookResult | None) -> Clearance:
    """Say what a pre-update hook means for the update. A container that does not run has nobody to ask."""
    if result is None or result.end in (HookEnd.SUCCEEDED, HookEnd.NOT_RUN):
        return Go(result)
    if result.end is HookEnd.FAILED and result.exit_code == EX_TEMPFAIL:
        return Skip(f"its pre-update hook asks for another time (exit code {EX_TEMPFAIL}, EX_TEMPFAIL)", result)
    return Failed(result.reason, result)
