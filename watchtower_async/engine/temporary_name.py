"""The names of an unfinished replacement. They are its state: nothing else is needed to finish or undo it.

`web.wta-new-<code>` is the successor of `web` while it is prepared, `web.wta-old-<code>-<owner>` its predecessor,
`web.wta-bad-<code>-<owner>` a successor that is being taken back. The code says how the predecessor ran and which
restart policy it had, because both must be known when it is down and its policy has been changed. The owner says which
updater is at work. The successor's name carries none, so that it is also the lock against a second updater: a name
exists once per engine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

OWNER = re.compile(r"[0-9a-z]{8,12}", re.ASCII)

_POLICY_LETTERS = {"no": "n", "always": "a", "unless-stopped": "u", "on-failure": "f"}
_POLICY_NAMES = {letter: name for name, letter in _POLICY_LETTERS.items()}
_NAME = re.compile(
    r"(?P<base>.+)\.wta-"
    r"(?:new-(?P<new>[rps](?:[nau]|f[0-9]{1,9}))|(?P<part>old|bad)-(?P<code>[rps](?:[nau]|f[0-9]{1,9}))-(?P<owner>[0-9a-z]{8,12}))",
    re.ASCII,
)


class Part(StrEnum):
    """Which of the containers of a replacement."""

    NEW = "new"
    OLD = "old"
    BAD = "bad"


class RunState(StrEnum):
    """How the predecessor ran when the replacement began."""

    RUNNING = "r"
    """Running, or between two attempts of a restart loop."""
    PAUSED = "p"
    STOPPED = "s"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """A restart policy by Docker's names. `retries` counts with `on-failure` only; 0 is without limit."""

    name: str = "no"
    retries: int = 0

    @property
    def code(self) -> str:
        """Return the form that stands in a name."""
        letter = _POLICY_LETTERS[self.name]
        return f"{letter}{self.retries}" if letter == "f" else letter

    def as_json(self) -> dict[str, Any]:
        """Return the form for the engine."""
        return {"Name": self.name, "MaximumRetryCount": self.retries}


def read_policy(document: dict[str, Any] | None) -> RestartPolicy:
    """Read the policy of an inspected container; none, and one without a name, is `no`. Raises ValueError."""
    policy = document or {}
    name = str(policy.get("Name") or "no")
    if name not in _POLICY_LETTERS:
        raise ValueError(f"restart policy {name!r} is not known")
    return RestartPolicy(name, int(policy.get("MaximumRetryCount") or 0) if name == "on-failure" else 0)


@dataclass(frozen=True, slots=True)
class TemporaryName:
    """A parsed name. `owner` is empty for the successor."""

    base: str
    part: Part
    ran: RunState
    policy: RestartPolicy
    owner: str = ""

    def __str__(self) -> str:
        suffix = f"-{self.owner}" if self.part is not Part.NEW else ""
        return f"{self.base}.wta-{self.part}-{self.ran}{self.policy.code}{suffix}"


def parse_temporary_name(name: str) -> TemporaryName | None:
    """Read a container's name; None for one that is not exactly of this form and is nobody's business here."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    code = match["new"] or match["code"]
    policy = RestartPolicy(_POLICY_NAMES[code[1]], int(code[2:] or 0))
    part = Part.NEW if match["new"] else Part(match["part"])
    return TemporaryName(match["base"], part, RunState(code[0]), policy, match["owner"] or "")
