"""`config.json`: the Docker command line's file, read into a value that says what is stored for which registry.

The format is that of https://docs.docker.com/reference/cli/docker/ and is read with the habits of the command line:

* field names match in any case, registry names are kept as they are written;
* the first JSON value counts and what follows is ignored, as a shorter file may have been written over a longer one;
* null means absent, unknown fields mean nothing, and nothing but white space is an empty configuration.

It is more tolerant in two points. An entry that cannot be used is a `BrokenEntry`, so that only its own registry
suffers. A text may hold raw line breaks, because base64 comes wrapped from the shell. Only what makes the file as a
whole useless is an error, and no error says what the file contains.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from watchtower_async.credentials.credential import Credential
from watchtower_async.errors import CredentialFileInvalidError

CONFIG_FILE = "config.json"
OLD_CONFIG_FILE = ".dockercfg"
AUTH_VARIABLE = "DOCKER_AUTH_CONFIG"
HUB_KEY = "https://index.docker.io/v1/"

_BLANKS = " \t\r\n"
_ENTRY_FIELDS = frozenset({"auth", "username", "password", "identitytoken", "registrytoken"})
_LINE_BREAKS = str.maketrans("", "", "\r\n")
_BASE64 = re.compile(r"([A-Za-z0-9+/]*)={0,2}", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_USER_INFO = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*://)?)[^/?#\\]*@")
_OLD_LINE = re.compile(r"^[ \t]*auth[ \t]*=[ \t]*(\S+)[ \t\r]*$", re.MULTILINE | re.IGNORECASE)
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LONGEST_SHOWN_KEY = 120

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class EmptyEntry:
    """A registry without a credential: the mark that a login leaves when a helper keeps the secret."""

    source: str


@dataclass(frozen=True, slots=True)
class BrokenEntry:
    """What is written for a registry cannot be used. `text` is for people and holds nothing of what is written."""

    text: str


Entry: TypeAlias = Credential | EmptyEntry | BrokenEntry
HelperName: TypeAlias = str | BrokenEntry
"""The suffix of `docker-credential-<suffix>`; the empty text means that no helper is asked."""


@dataclass(frozen=True, slots=True, repr=False)
class ConfigFile:
    """A configuration, as far as registries are concerned. Keys are as written, without the user info of a URL."""

    auths: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    default_helper: str = ""
    helpers: Mapping[str, HelperName] = field(default_factory=lambda: MappingProxyType({}))

    def __repr__(self) -> str:
        return f"<ConfigFile: {len(self.auths)} entries, {len(self.helpers)} helpers>"

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with single registries."""
        values = (*self.auths.values(), *self.helpers.values())
        return tuple(value.text for value in values if isinstance(value, BrokenEntry))


EMPTY = ConfigFile()


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Which registry keys differ between two configurations. Names only."""

    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    default_helper_changed: bool = False
    """Concerns all registries that have no helper of their own."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.default_helper_changed)


def parse_config_file(data: bytes, *, path: str = CONFIG_FILE) -> ConfigFile:
    """Read `config.json`. Raises CredentialFileInvalidError, and nothing else."""
    document = _read_object(data, path)
    auths: dict[str, Any] = {}
    helpers: dict[str, Any] = {}
    default_helper = ""
    # A field that is there twice, perhaps in different case: objects add up, of texts the last one counts.
    for name, value in document:
        match name.lower():
            case "auths":
                _merge(auths, value, path, "auths")
            case "credhelpers":
                _merge(helpers, value, path, "credHelpers")
            case "credsstore" if isinstance(value, str):
                default_helper = _without_surrogates(value)
            case "credsstore" if value is not None:
                raise CredentialFileInvalidError(f'{path}: "credsStore" must be a text')
    file_name = PurePath(path).name
    return ConfigFile(
        auths=_frozen({key: _read_entry(key, value, file_name) for key, value in _by_key(auths).items()}),
        default_helper=default_helper,
        helpers=_frozen({key: _read_helper(key, value, file_name) for key, value in _by_key(helpers).items()}),
    )


def parse_old_config_file(data: bytes, *, path: str = OLD_CONFIG_FILE) -> ConfigFile:
    """Read `.dockercfg`: bare `auths`, or still older two lines for Docker Hub. Raises CredentialFileInvalidError."""
    file_name = PurePath(path).name
    text = _decode(data, path)
    line = None if text.lstrip(_BLANKS).startswith("{") else _OLD_LINE.search(text)
    if line is not None:
        return ConfigFile(auths=_frozen({HUB_KEY: _read_entry(HUB_KEY, (("auth", line[1]),), file_name)}))
    entries = _by_key(dict(_read_object(data, path)))
    return ConfigFile(auths=_frozen({key: _read_entry(key, value, file_name) for key, value in entries.items()}))


def parse_auth_variable(text: str) -> Mapping[str, Credential | EmptyEntry]:
    """Read the value of `DOCKER_AUTH_CONFIG`: `{"auths": {key: {"auth": text}}}` and nothing else.

    Strict as the command line is: raises CredentialFileInvalidError, which costs the whole variable, for unknown
    fields, for anything after the JSON value, and for a single entry that cannot be used.
    """
    text = _without_surrogates(text)
    document, end = _first_value(text, AUTH_VARIABLE)
    if text[end:].strip(_BLANKS):
        raise CredentialFileInvalidError(f"{AUTH_VARIABLE} holds more than one JSON value")
    auths: dict[str, Any] = {}
    for name, value in _as_object(document, AUTH_VARIABLE):
        _demand_field(name, "auths")
        _merge(auths, value, AUTH_VARIABLE, "auths")
    return _frozen({key: _read_strict_entry(key, value) for key, value in auths.items()})


def changes_between(old: ConfigFile, new: ConfigFile) -> ChangeSet:
    """Compare what two configurations mean; order and encoding are no difference."""
    before, after = _marks(old), _marks(new)
    return ChangeSet(
        added=frozenset(after.keys() - before.keys()),
        removed=frozenset(before.keys() - after.keys()),
        changed=frozenset(key for key in before.keys() & after.keys() if before[key] != after[key]),
        default_helper_changed=old.default_helper != new.default_helper,
    )


def _marks(config: ConfigFile) -> dict[str, tuple[object, object]]:
    """Return, for each registry key, what a change of it changes."""
    keys = config.auths.keys() | config.helpers.keys()
    return {key: (_mark(config.auths.get(key)), config.helpers.get(key)) for key in keys}


def _mark(entry: Entry | None) -> object:
    match entry:
        case Credential():
            return entry.fingerprint()  # leaves out the source: a credential that moved to another file is the same
        case EmptyEntry():
            return EmptyEntry
        case _:
            return entry


# --- From bytes to JSON. Objects are tuples of pairs here, so that no name gets lost, and arrays are lists.


def _zero(_text: str) -> int:
    """Stand in for a number: none means anything, and a long one could not be converted."""
    return 0


_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_int=_zero, parse_float=_zero, strict=False)


def _read_object(data: bytes, path: str) -> tuple[tuple[str, Any], ...]:
    document, _ = _first_value(_decode(data, path), path)
    return _as_object(document, path)


def _decode(data: bytes, path: str) -> str:
    if data.startswith(_UTF16_MARKS):
        raise CredentialFileInvalidError(f"{path} looks like UTF-16: save it as UTF-8")
    return data.decode("utf-8-sig", "replace")


def _first_value(text: str, path: str) -> tuple[Any, int]:
    """Return the first JSON value and where it ends; None where there is nothing but white space."""
    start = len(text) - len(text.lstrip(_BLANKS))
    if start == len(text):
        return None, start
    # Raised outside of the handlers: the decoder's error holds the document, and would stay as context.
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        problem = f"is not valid JSON: line {error.lineno}, column {error.colno}"
    except RecursionError:
        problem = "is nested too deeply"
    raise CredentialFileInvalidError(f"{path} {problem}")


def _as_object(document: Any, path: str) -> tuple[tuple[str, Any], ...]:
    if document is None:
        return ()
    if not isinstance(document, tuple):
        raise CredentialFileInvalidError(f"{path} must hold a JSON object")
    return document


def _merge(known: dict[str, Any], value: Any, path: str, name: str) -> None:
    """Add an object's fields to the known ones; null drops these."""
    if value is None:
        known.clear()
    elif isinstance(value, tuple):
        known.update(value)
    else:
        raise CredentialFileInvalidError(f'{path}: "{name}" must be an object')


def _by_key(values: dict[str, Any]) -> dict[str, Any]:
    """Drop user info from the keys: it is not part of the host and may hold a password. A key written clean wins."""
    cleaned = [(_USER_INFO.sub(r"\1", _without_surrogates(key)), key, value) for key, value in values.items()]
    clean = {key: value for key, written, value in cleaned if key == written}
    return {key: value for key, _, value in cleaned} | clean


def _without_surrogates(text: str) -> str:
    """Replace escaped halves of characters, which cannot be encoded again."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _frozen(values: dict[str, _T]) -> Mapping[str, _T]:
    return MappingProxyType(values)


# --- From JSON to entries.


class _Unusable(Exception):  # noqa: N818 - it never leaves this module
    """Why an entry cannot be used."""


def _read_entry(key: str, value: Any, file_name: str) -> Entry:
    source = f"{file_name} entry {shown_key(key)}"
    try:
        return _read_fields(_entry_fields(value), source)
    except _Unusable as reason:
        return BrokenEntry(f"{source}: {reason}; log in to this registry again, or correct the entry")


def _entry_fields(value: Any) -> dict[str, str]:
    """Return the fields of an entry that mean something."""
    if value is None:
        return {}
    if not isinstance(value, tuple):
        raise _Unusable("it must be an object")
    fields: dict[str, str] = {}
    for written, content in value:
        name = written.lower()
        if name not in _ENTRY_FIELDS or content is None:
            continue
        if not isinstance(content, str):
            raise _Unusable(f'"{name}" must be a text')
        fields[name] = _without_surrogates(content)
    return fields


def _read_fields(fields: dict[str, str], source: str) -> Credential | EmptyEntry:
    username, password = fields.get("username", ""), fields.get("password", "")
    if fields.get("auth"):
        username, password = _decode_pair(fields["auth"])
    identity_token, registry_token = fields.get("identitytoken", ""), fields.get("registrytoken", "")
    # It is sent as it is, in a header.
    if not (registry_token.isascii() and registry_token.isprintable()):
        raise _Unusable('"registrytoken" holds characters that no token has')
    if not (username or password or identity_token or registry_token):
        return EmptyEntry(source)
    if not (identity_token or registry_token):
        _check_pair(username)
    return Credential(
        username=username,
        password=password,
        identity_token=identity_token,
        registry_token=registry_token,
        source=source,
    )


def _check_pair(username: str) -> None:
    if not username:
        raise _Unusable("it has a password but no user name")
    if ":" in username:  # RFC 7617 section 2
        raise _Unusable("the user name holds a colon and cannot be sent")


def _decode_pair(text: str) -> tuple[str, str]:
    """Read base64 of `user:password`, with or without padding and wrapped or not."""
    match = _BASE64.fullmatch(text.translate(_LINE_BREAKS))
    if match is None or len(match[1]) % 4 == 1:
        raise _Unusable('"auth" is not base64')
    raw = base64.b64decode(match[1] + "=" * (-len(match[1]) % 4))
    username, colon, password = raw.partition(b":")
    if not colon:
        raise _Unusable('"auth" holds no colon between user name and password')
    if not username:
        raise _Unusable('"auth" holds no user name')
    return _decode_both(username, password.strip(b"\0"))  # old Windows clients padded with NUL


def _decode_both(username: bytes, password: bytes) -> tuple[str, str]:
    try:
        return username.decode(), password.decode()
    except UnicodeDecodeError:
        return username.decode("latin-1"), password.decode("latin-1")


def _read_helper(key: str, value: Any, file_name: str) -> HelperName:
    if value is None:
        return ""
    if isinstance(value, str):
        return _without_surrogates(value)
    return BrokenEntry(f"{file_name}: the helper of {shown_key(key)} must be a text")


def _read_strict_entry(key: str, value: Any) -> Credential | EmptyEntry:
    source = f"{AUTH_VARIABLE} entry {shown_key(key)}"
    problem = None
    try:
        fields = _entry_fields(value)
        for name, _ in value or ():
            _demand_field(name, "auth")
        return _read_fields(fields, source)
    except _Unusable as reason:
        problem = str(reason)
    raise CredentialFileInvalidError(f"{source}: {problem}")


def _demand_field(name: str, known: str) -> None:
    if name.lower() != known:
        text = f'{AUTH_VARIABLE} may hold "auths", in its entries "auth", and no other field'
        raise CredentialFileInvalidError(text)


def shown_key(key: str) -> str:
    """Quote a registry key for a message: on one line, cut, and without user info."""
    text = "".join(letter if letter.isprintable() else "?" for letter in key.rpartition("@")[2])
    return f'"{text}"' if len(text) <= _LONGEST_SHOWN_KEY else f'"{text[:_LONGEST_SHOWN_KEY]}…"'
