"""The token service of the test bed's second registry, which believes what this one signs.

    python -m tests.support.token_service --directory DIRECTORY --port PORT

It answers at `/token` on loopback and speaks the distribution project's protocol
(https://distribution.github.io/distribution/spec/auth/token/, and `oauth` and `jwt` beside it). It takes nothing but
Python and the `openssl` program, so that the test bed can run it before there is an environment.

The directory holds `key.pem` and `certificate.pem`, which the registry trusts, and `accounts` with one JSON file per
user name (see `Account`). These are read for every question, so a test adds an account of its own by writing a file.
Everybody may pull what is below `public/`. Every answer is one line of JSON on standard output, without secrets; the
line before them says at which port it listens.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hmac
import json
import re
import secrets
import ssl
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

SERVICE = "watchtower-async-testbed"
"""The service that the registry names, and the issuer that it believes."""
PUBLIC = "public/"
LEEWAY_SECONDS = 60
"""How long after its end the registry still accepts a token, because clocks differ."""

_USER_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_LONGEST_FORM = 64 << 10


@dataclass(frozen=True, slots=True)
class Account:
    """A user. Empty secrets match nothing."""

    name: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    repositories: str = ""
    """How the repositories begin that the user may read and write."""
    expires_in: int = 300
    """The life of a token in seconds, as the reply states it."""
    refused_after: int = 300
    """The seconds after which the registry refuses a token, up to one less: tokens hold whole seconds."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request for a token."""

    grant: str
    """What the client shows: `anonymous`, `basic`, `password` or `refresh_token`."""
    scopes: tuple[str, ...]
    service: str
    user: str = ""
    secret: str = field(default="", repr=False)
    wants_identity_token: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, and what is told about it in the log."""

    status: int
    document: Mapping[str, Any] = field(repr=False)
    account: str = ""
    granted: tuple[str, ...] = ()


class Accounts:
    """The files of the accounts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, question: Question) -> Account | None:
        """Return the account that the question's secret belongs to."""
        for account in self._read(question):
            expected = account.identity_token if question.grant == "refresh_token" else account.password
            if expected and hmac.compare_digest(expected.encode(), question.secret.encode()):
                return account
        return None

    def _read(self, question: Question) -> Iterable[Account]:
        if question.grant == "refresh_token":
            paths = sorted(self._directory.glob("*.json"))
        else:
            paths = [self._directory / f"{question.user}.json"] if _USER_NAME.fullmatch(question.user) else []
        for path in paths:
            try:
                yield Account(name=path.stem, **json.loads(path.read_text()))
            except FileNotFoundError:
                continue


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs claims in the way that https://distribution.github.io/distribution/spec/auth/jwt/ describes."""

    key: Path
    certificate: str
    """In PEM."""

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a token with its certificate inside (RFC 7515, RS256)."""
        chain = [base64.b64encode(ssl.PEM_cert_to_DER_cert(self.certificate)).decode()]
        header = {"typ": "JWT", "alg": "RS256", "x5c": chain}
        signed = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
        command = ["openssl", "dgst", "-sha256", "-sign", str(self.key)]
        done = subprocess.run(command, input=signed.encode(), capture_output=True, check=True, timeout=30)
        return f"{signed}.{_encoded(done.stdout)}"


@dataclass(frozen=True, slots=True)
class TokenService:
    """Decides who gets which token."""

    accounts: Accounts
    signer: Signer

    def answer(self, question: Question, now: float) -> Answer:
        """Grant what is allowed of what is asked for; a user gets a token even if that is nothing."""
        if question.service != SERVICE:
            return _refusal(400, "UNSUPPORTED", "another service was asked for")
        account = None if question.grant == "anonymous" else self.accounts.find(question)
        if account is None and question.grant != "anonymous":
            return _refusal(401, "UNAUTHORIZED", "user name, password or identity token is wrong")
        access = [entry for scope in question.scopes if (entry := _allowed(scope, account)) is not None]
        if account is None and not access:
            return _refusal(401, "UNAUTHORIZED", "a login is needed")
        holder = account or Account(name="")
        token = self.signer.sign(_claims(holder, access, now))
        document: dict[str, Any] = {
            "token": token,
            "access_token": token,
            "expires_in": holder.expires_in,
            "issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        }
        if question.wants_identity_token and holder.identity_token:
            document["refresh_token"] = holder.identity_token
        return Answer(200, document, account=holder.name, granted=tuple(_scope_text(entry) for entry in access))


def _claims(account: Account, access: list[dict[str, Any]], now: float) -> dict[str, Any]:
    issued = int(now)
    return {
        "iss": SERVICE,
        "sub": account.name,
        "aud": SERVICE,
        "exp": issued + account.refused_after - LEEWAY_SECONDS,
        "nbf": issued - LEEWAY_SECONDS,
        "iat": issued,
        "jti": secrets.token_hex(8),
        "access": access,
    }


def _allowed(scope: str, account: Account | None) -> dict[str, Any] | None:
    """Return what a user, or nobody, may do of what a scope names; None for nothing."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    may = {"pull"} if name.startswith(PUBLIC) else set()
    if account is not None and name.startswith(account.repositories):
        may = {"pull", "push", "delete"}
    granted = [action for action in actions.split(",") if action in may]
    return {"type": kind, "name": name, "actions": granted} if kind == "repository" and granted else None


def _scope_text(entry: Mapping[str, Any]) -> str:
    return f"{entry['type']}:{entry['name']}:{','.join(entry['actions'])}"


def _refusal(status: int, code: str, message: str) -> Answer:
    return Answer(status, {"errors": [{"code": code, "message": message}]})


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_get(query: str, authorization: str) -> Question | None:
    """Read a question that came by GET; None where it cannot be understood."""
    values = parse_qs(query, keep_blank_values=True)
    scheme, _, encoded = authorization.partition(" ")
    user = secret = ""
    if authorization:
        try:
            user, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return None
        if scheme.lower() != "basic":
            return None
    return Question(
        grant="basic" if authorization else "anonymous",
        scopes=tuple(" ".join(values.get("scope", [])).split()),
        service=values.get("service", [""])[0],
        user=user,
        secret=secret,
        wants_identity_token=values.get("offline_token") == ["true"],
    )


def read_post(body: str) -> Question | None:
    """Read a question that came by POST; None where it cannot be understood."""
    form = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
    grant = form.get("grant_type", "")
    secret_field = {"password": "password", "refresh_token": "refresh_token"}.get(grant)
    if secret_field is None or not form.get("client_id") or "service" not in form:
        return None
    return Question(
        grant=grant,
        scopes=tuple(form.get("scope", "").split()),
        service=form["service"],
        user=form.get("username", ""),
        secret=form.get(secret_field, ""),
        wants_identity_token=form.get("access_type") == "offline",
    )


class Server(ThreadingHTTPServer):
    """Serves tokens on a port of loopback."""

    daemon_threads = True

    def __init__(self, service: TokenService, port: int) -> None:
        self.service = service
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        _, _, query = self.path.partition("?")
        self._answer(read_get(query, self.headers.get("Authorization", "")))

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self._answer(read_post(self.rfile.read(min(length, _LONGEST_FORM)).decode("utf-8", "replace")))

    def _answer(self, question: Question | None) -> None:
        if self.path.partition("?")[0] != "/token":
            answer = _refusal(404, "UNSUPPORTED", "tokens are at /token")
        elif question is None:
            answer = _refusal(400, "UNSUPPORTED", "the question was not understood")
        else:
            answer = self.server.service.answer(question, time.time())
        self._tell(question, answer)
        body = json.dumps(answer.document).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _tell(self, question: Question | None, answer: Answer) -> None:
        entry = {
            "method": self.command,
            "grant": question.grant if question else "",
            "account": answer.account,
            "asked": question.scopes if question else (),
            "granted": answer.granted,
            "status": answer.status,
            "client": self.headers.get("User-Agent", ""),
        }
        print(json.dumps(entry), flush=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: the usual line holds the query, where a client may have put anything."""


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description="Serves the tokens of the test bed's second registry.")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    directory: Path = arguments.directory
    signer = Signer(directory / "key.pem", (directory / "certificate.pem").read_text())
    server = Server(TokenService(Accounts(directory / "accounts"), signer), arguments.port)
    print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
