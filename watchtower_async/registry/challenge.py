"""`WWW-Authenticate`: what a registry asks for before it answers.

The grammar is RFC 9110 section 11.6.1. One reply may have several fields and one field several challenges; the comma
separates both challenges and parameters, and quoted values contain commas, so the field is read from left to right.

Where real servers deviate we are tolerant: values that need quotes come without them, parameters come without values,
lists have empty elements. What cannot be read ends its own field only. Nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_SEPARATORS = re.compile(r"[ \t,]*")
_BLANKS = re.compile(r"[ \t]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_ELEMENT_END = re.compile(r"[ \t]*(?:,|\Z)")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_UNQUOTED = re.compile(r"[^ \t,]*")
_TOKEN68 = re.compile(r"([A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|\Z)", re.ASCII)
# These never send a token68, so `Bearer service=` is a parameter without a value.
_SCHEMES_WITH_PARAMETERS = frozenset({"basic", "bearer", "digest"})


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme that the server accepts. Scheme and parameter names are in lower case, values as sent."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)
    token68: str | None = None

    @property
    def realm(self) -> str:
        """Return the realm, for `bearer` the URL of the token service; empty where there is none."""
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        """Return the name that the token service knows the registry by; empty where there is none."""
        return self.parameters.get("service", "")

    @property
    def scope(self) -> str:
        """Return the access that the server thinks is needed; empty where there is none."""
        return self.parameters.get("scope", "")

    @property
    def error(self) -> str:
        """Return why the token sent was refused (RFC 6750 section 3.1); empty where there is none."""
        return self.parameters.get("error", "")


def parse_challenges(fields: Iterable[str]) -> tuple[Challenge, ...]:
    """Read all `WWW-Authenticate` fields of a reply, in order."""
    return tuple(challenge for text in fields for challenge in _parse_field(text))


def choose_challenge(challenges: Iterable[Challenge]) -> Challenge | None:
    """Return the challenge to answer: the first `bearer` that names a realm, else the first `basic`, else None."""
    known = tuple(challenges)
    bearer = (challenge for challenge in known if challenge.scheme == "bearer" and challenge.realm)
    basic = (challenge for challenge in known if challenge.scheme == "basic")
    return next(bearer, None) or next(basic, None)


def _parse_field(text: str) -> list[Challenge]:
    """Read one field as far as it can be read; a field that begins with a parameter gives nothing."""
    found: list[Challenge] = []
    parameters: dict[str, str] = {}
    position: int | None = 0
    while position is not None:
        position = _skip(_SEPARATORS, text, position)
        name = _TOKEN.match(text, position)
        if name is None:
            break
        if equals := _EQUALS.match(text, name.end()):
            if not found:
                break
            position = _read_value(text, equals.end(), name[0].lower(), parameters)
        elif (begin := _skip(_BLANKS, text, name.end())) == name.end() and not _ELEMENT_END.match(text, begin):
            break
        else:
            parameters = {}
            challenge, position = _read_scheme(text, begin, name[0].lower(), parameters)
            found.append(challenge)
    return found


def _read_scheme(text: str, position: int, scheme: str, parameters: dict[str, str]) -> tuple[Challenge, int | None]:
    """Read what follows a scheme: nothing, a token68, or the first parameter; say where to go on, None for nowhere."""
    if _ELEMENT_END.match(text, position):
        return Challenge(scheme, parameters), position
    token68 = _TOKEN68.match(text, position)
    if token68 and not (scheme in _SCHEMES_WITH_PARAMETERS and token68[1].endswith("=")):
        return Challenge(scheme, parameters, token68[1]), token68.end()
    name = _TOKEN.match(text, position)
    equals = _EQUALS.match(text, name.end()) if name else None
    if name is None or equals is None:
        return Challenge(scheme, parameters), None
    return Challenge(scheme, parameters), _read_value(text, equals.end(), name[0].lower(), parameters)


def _read_value(text: str, position: int, name: str, parameters: dict[str, str]) -> int | None:
    """Read a parameter's value and keep it; say where the next element begins, None where the rest is unreadable."""
    if text.startswith('"', position):
        quoted = _QUOTED.match(text, position)
        if quoted is None:
            return None
        parameters[name] = _ESCAPED.sub(r"\1", quoted[1])
        end = quoted.end()
    else:
        end = _skip(_UNQUOTED, text, position)
        if end > position:
            parameters[name] = text[position:end]
    return end if _ELEMENT_END.match(text, end) else None


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
