"""What a credential helper's answer means, and what its surroundings may hold.

A helper is a program `docker-credential-<suffix>`. It is called with `get`, reads from standard input for which server,
and writes a JSON object with `Username` and `Secret`, see https://github.com/docker/docker-credential-helpers:

* "not found" is a fixed text on standard output and a status other than 0; any other such end is a failure, whatever
  was written, as an expired cloud login must not look like no login;
* the first JSON value counts, names match in any case, and the server that is named in it means nothing;
* `<token>` for a user name says that the secret is an identity token.

No reason that is made here holds anything that a helper wrote.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from typing import Any

from watchtower_async.credentials.config_file import AUTH_VARIABLE
from watchtower_async.credentials.credential import Credential
from watchtower_async.credentials.lookup import (
    HelperFailed,
    HelperFound,
    HelperNotFound,
    HelperQuestion,
    HelperReply,
)

_NOT_FOUND = b"credentials not found in native keychain"
_TOKEN_USER = "<token>"  # noqa: S105 - the name that stands for "this is a token"
_OF_DESKTOPS = frozenset({"desktop", "desktop.exe", "osxkeychain", "wincred", "wincred.exe"})
_KEPT_BACK = re.compile(rf"WATCHTOWER_.*|REPO_(USER|PASS)|{AUTH_VARIABLE}", re.DOTALL)

# Numbers mean nothing in an answer, and a long one could not be converted: any number stands for them.
_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_int=len, parse_float=len)
_SURROGATE = re.compile("[\ud800-\udfff]")

_USER_INFO = re.compile(r"(?<=://)[^/\s@]+@")
_LIKE_A_TOKEN = re.compile(r"(?=[A-Za-z+/=_.~-]*[0-9])[A-Za-z0-9+/=_.~-]{20,}", re.ASCII)
_WORD = re.compile(r"\w{4,}")
_LONGEST_LAST_WORDS = 200
_COMPARED_OUTPUT = 64 * 1024


def helper_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a helper: everything but the variables that only this program reads.

    Those hold passwords, tokens and notification URLs, and no helper needs any.
    """
    return {name: value for name, value in environ.items() if not _KEPT_BACK.fullmatch(name)}


def read_reply(question: HelperQuestion, status: int, output: bytes) -> HelperReply:
    """Read what a helper wrote to standard output before it ended; a negative status is the signal that ended it."""
    if status == 0:
        return _read_answer(question, output)
    if status > 0 and output.strip() == _NOT_FOUND:
        return HelperNotFound()
    how = f"failed with exit status {status}" if status > 0 else f"was ended by {_signal_name(-status)}"
    return failed(question, f"{how}; what it said is logged at level debug")


def failed(question: HelperQuestion, problem: str) -> HelperFailed:
    """Return the failure of a helper, named with the server it was asked for."""
    return HelperFailed(f"{question.program}, which keeps the credential for {question.server}, {problem}")


def not_installed(question: HelperQuestion) -> HelperFailed:
    """Return the failure of a helper that is not there. Often the configuration comes from another machine."""
    remedy = "store it under auths in config.json (docker login without a credential store), or install a helper"
    if question.suffix in _OF_DESKTOPS:
        text = (
            f"{question.program} does not exist here: this configuration was copied from a desktop machine, where the "
            f"credential for {question.server} stayed behind; {remedy}"
        )
        return HelperFailed(text)
    return failed(question, f"is not in any directory of PATH: {remedy} there")


def last_words(errors: bytes, output: bytes) -> str:
    """Return the last line of standard error, cut, and without what may be a secret: this is for a debug log.

    Masked are words that standard output holds, too, what looks like a token, and the user info of URLs.
    """
    lines = [line.strip() for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        return ""
    answered = output[:_COMPARED_OUTPUT].decode("utf-8", "replace")
    line = _USER_INFO.sub("***@", lines[-1])
    line = _LIKE_A_TOKEN.sub("***", line)
    line = _WORD.sub(lambda match: "***" if match[0] in answered else match[0], line)
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:_LONGEST_LAST_WORDS]


def _read_answer(question: HelperQuestion, output: bytes) -> HelperReply:
    fields = _first_object(output.decode("utf-8", "replace"))
    if fields is None:
        text = "answered, but not with a JSON object: it may be another program of that name, or need an update"
        return failed(question, text)
    username, secret = fields.get("username", ""), fields.get("secret", "")
    if not (isinstance(username, str) and isinstance(secret, str)):
        return failed(question, "answered with something else than texts for user name and secret")
    username, secret = _SURROGATE.sub("\ufffd", username), _SURROGATE.sub("\ufffd", secret)
    if not username and not secret:
        return HelperNotFound()
    if username != _TOKEN_USER:
        if ":" in username:  # RFC 7617 section 2
            return failed(question, "answered with a user name that holds a colon, which cannot be sent")
        return HelperFound(Credential(username=username, password=secret, source=question.program))
    if not secret:
        return failed(question, "answered with an empty identity token")
    return HelperFound(Credential(identity_token=secret, source=question.program))


def _first_object(text: str) -> dict[str, Any] | None:
    """Return the fields of the first JSON value under lower-case names, without null; None where it is no object."""
    try:
        document, _ = _DECODER.raw_decode(text.lstrip(" \t\r\n"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, tuple):
        return None
    return {name.lower(): value for name, value in document if value is not None}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
