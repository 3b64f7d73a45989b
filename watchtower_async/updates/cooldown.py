"""How long a published image must wait before it is used: the cooldown. Pure.

The wait begins when we first saw the tag point to the image, or when the image was built, whichever is later. So it
holds for an old image that is tagged anew, and for one that took days from its build to its registry. A date in the
future is not believed, neither our own (our clock was wrong when it was noted) nor the image's (its builder's was).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from watchtower_async.images.digest import Digest
from watchtower_async.settings import parse_cooldown
from watchtower_async.state.contents import Sighting
from watchtower_async.updates.reason import Reason, ReasonCode

NO_COOLDOWN = timedelta(0)

_SHOWN_UNITS = (
    ("w", timedelta(weeks=1)),
    ("d", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("m", timedelta(minutes=1)),
)


class FirstSeen(Protocol):
    """Where it is known when a tag was first seen to point to a digest."""

    def first_seen(self, image: str, digest: Digest) -> datetime | None:
        """Return the time, None where it was never noted. `image` is the reference in full."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A published image is too young."""

    until: datetime
    reason: Reason


def cooldown_of(label: str | None, default: timedelta) -> tuple[timedelta, str | None]:
    """Return the cooldown of a container, and what is wrong with its label. A label that can be read always wins."""
    if label is None or not label.strip():
        return default, None
    try:
        return parse_cooldown(label), None
    except ValueError as error:
        return default, str(error)


def sight(image: str, digest: Digest, known: datetime | None, now: datetime) -> Sighting:
    """Return since when we know the image, from what was noted before."""
    return Sighting(image=image, digest=digest, since=now if known is None else min(known, now))


def wait_for(delay: timedelta, seen: Sighting, *, created: datetime | None, now: datetime) -> Wait | None:
    """Return until when an image must wait, None where it has waited long enough.

    An image whose age is exactly the delay still waits. `created` is None where nobody knows.
    """
    start = seen.since
    why = f"first seen {_shown(start)}"
    if created is not None and start < created <= now:
        start, why = created, f"built {_shown(created)}"
    if now - start > delay:
        return None
    until = start + delay
    text = f"a newer image is published and waits until {_shown(until)}: cooldown of {show_duration(delay)}, {why}"
    return Wait(until, Reason(ReasonCode.COOLING_DOWN, text))


def date_note(created: datetime | None, now: datetime) -> str | None:
    """Say so where an image claims to come from the future."""
    if created is None or created <= now:
        return None
    return f"the image says it was built {_shown(created)}, in the future: check the clocks here and at its builder"


def show_duration(duration: timedelta) -> str:
    """Write a duration as it may be given: `1w2d`, `12h`, `0s`."""
    rest = duration
    text = ""
    for unit, length in _SHOWN_UNITS:
        count, rest = divmod(rest, length)
        text += f"{count}{unit}" if count else ""
    return f"{text}{rest.total_seconds():g}s" if rest or not text else text


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
