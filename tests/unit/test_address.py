"""Where the engine is."""

import hashlib
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis.strategies import text

from watchtower_async.engine.address import (
    ContextChoice,
    ContextEndpoint,
    EngineAddress,
    HostChoice,
    SshTarget,
    TlsFiles,
    decide,
    first_socket,
    parse_context,
    parse_current_context,
    parse_host,
    parse_ssh_target,
    read_context,
    read_current_context,
    resolve_address,
    socket_paths,
    tls_from_environment,
)
from watchtower_async.errors import EngineUnavailableError

TCP = "tcp://engine.example:2375"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose name is short enough for a unix socket in it."""
    with tempfile.TemporaryDirectory(prefix="wta-") as name:
        yield Path(name)


def a_socket(path: Path) -> Path:
    """Leave a socket file behind, as an engine does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
    return path


def a_context(directory: Path, name: str, document: Any, *files: str) -> None:
    """Write a context as the Docker command line does."""
    identity = hashlib.sha256(name.encode()).hexdigest()
    meta = directory / "contexts/meta" / identity / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(document if isinstance(document, str) else json.dumps(document))
    tls = directory / "contexts/tls" / identity / "docker"
    tls.mkdir(parents=True)
    for file in files:
        (tls / file).touch()


def a_meta(host: str, **fields: Any) -> dict[str, Any]:
    """Return the document of a context."""
    return {"Name": "x", "Metadata": {}, "Endpoints": {"docker": {"Host": host, **fields}}}


@pytest.mark.parametrize(
    ("host", "environ", "current", "expected"),
    [
        ("h", {"DOCKER_HOST": "e", "DOCKER_CONTEXT": "c"}, "cur", HostChoice("h", "--host")),
        (None, {"DOCKER_HOST": "e", "DOCKER_CONTEXT": "c"}, "cur", HostChoice("e", "DOCKER_HOST")),
        ("e", {"DOCKER_HOST": "e"}, "cur", HostChoice("e", "DOCKER_HOST")),
        (None, {"DOCKER_HOST": "", "DOCKER_CONTEXT": "c"}, "cur", ContextChoice("c", "DOCKER_CONTEXT")),
        (None, {"DOCKER_CONTEXT": "default"}, "cur", None),
        (None, {"DOCKER_CONTEXT": ""}, "cur", ContextChoice("cur", "current Docker context")),
        (None, {}, "cur", ContextChoice("cur", "current Docker context")),
        (None, {}, "default", None),
        ("", {}, None, None),
    ],
)
def test_order_is_that_of_the_docker_command_line(
    host: str | None, environ: dict[str, str], current: str | None, expected: object
) -> None:
    """`--host`, `DOCKER_HOST`, `DOCKER_CONTEXT`, current context, sockets; empty counts as not there."""
    assert expected == decide(host=host, environ=environ, current_context=current)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("unix:///run/user/1/docker.sock", "unix:///run/user/1/docker.sock"),
        ("unix://", "unix:///var/run/docker.sock"),
        (" tcp://h:1 ", "http://h:1"),
        ("tcp://h", "http://h:2375"),
        ("tcp://h/", "http://h:2375"),
        ("tcp://h:1/prefix/", "http://h:1/prefix"),
        ("h:1", "http://h:1"),
        ("10.0.0.1", "http://10.0.0.1:2375"),
        ("tcp://[::1]:1", "http://[::1]:1"),
        ("http://h", "http://h:2375"),
        ("https://h", "https://h:2376"),
    ],
)
def test_address_is_read_in_dockers_notation(text: str, url: str) -> None:
    """The default port depends on the encryption; a name without scheme is TCP."""
    assert url == parse_host(text, source="x").url


def test_tls_files_turn_tcp_into_https() -> None:
    """With TLS files the port and the scheme are those of TLS; a socket has none."""
    tls = TlsFiles(ca=Path("/ca.pem"))
    assert parse_host("tcp://h", source="x", tls=tls) == EngineAddress("https://h:2376", "x", tls)
    assert parse_host("unix:///s", source="x", tls=tls).tls is None
    assert parse_host("https://h:1", source="x").tls == TlsFiles()


@pytest.mark.parametrize(
    ("text", "url", "target"),
    [
        ("ssh://h", "ssh://h", SshTarget("h")),
        ("ssh://Build_1.example/", "ssh://Build_1.example", SshTarget("Build_1.example")),
        (" ssh://me@h:2222 ", "ssh://me@h:2222", SshTarget("h", "me", 2222)),
        ("ssh://h/run/x.sock", "ssh://h/run/x.sock", SshTarget("h", socket="/run/x.sock")),
        ("ssh://h/a%20b", "ssh://h/a b", SshTarget("h", socket="/a b")),
        ("ssh://me@corp.example@h", "ssh://me@corp.example@h", SshTarget("h", "me@corp.example")),
        ("ssh://corp%5Cme@h", "ssh://corp\\me@h", SshTarget("h", "corp\\me")),
        ("ssh://[::1]:22", "ssh://[::1]:22", SshTarget("::1", port=22)),
    ],
)
def test_ssh_address_is_read_in_dockers_notation(text: str, url: str, target: SshTarget) -> None:
    """User, port and socket may be left to the machine; an alias keeps its capitals."""
    assert parse_host(text, source="x") == EngineAddress(url, "x", ssh=target)


@given(text())
@example("a@[::1]:1/x")
@example("a\tb@h\n")
def test_ssh_address_is_read_or_refused_whatever_it_is(written: str) -> None:
    """What is accepted holds nothing that a shell or a line-based file would take for something else."""
    try:
        target = parse_ssh_target(written)
    except ValueError:
        return
    assert not set(f"{target.host}{target.user or ''}") & set(" \t\r\n\0'\"`$;&|<>(){}*?#%/")
    assert not target.host.startswith("-")
    assert target.socket is None or (target.socket.startswith("/") and target.socket.isprintable())


@pytest.mark.parametrize(
    ("text", "is_local", "is_plain", "path"),
    [
        ("unix:///s", True, False, "/s"),
        ("tcp://127.0.0.1:1", False, True, None),
        ("https://127.0.0.1:1", False, False, None),
        ("ssh://127.0.0.1/s", False, False, None),
    ],
)
def test_only_a_socket_file_is_local_and_only_plain_tcp_can_be_read_along(
    text: str, is_local: bool, is_plain: bool, path: str | None
) -> None:
    """A TCP address on loopback may be a tunnel."""
    address = parse_host(text, source="x")
    assert (is_local, is_plain, path) == (address.is_local, address.is_plain_tcp, address.socket_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("npipe:////./pipe/x", "npipe://, which is not supported"),
        ("fd://", "fd://, which is not supported"),
        ("ftp://h", "ftp://, which is not known"),
        ("tcp://", "names no host"),
        ("tcp://:2375", "names no host"),
        ("/var/run/docker.sock", "names no host"),
        ("tcp://h:port", "cannot be read"),
        ("tcp://h:99999", "cannot be read"),
        ("tcp://[::1", "cannot be read"),
        ("tcp://user:s3cr3t@h:1", "holds a user name"),
        ("ssh://", "names no host"),
        ("ssh:///var/run/docker.sock", "names no host"),
        ("ssh://user@", "names no host"),
        ("ssh://h:port", "cannot be read"),
        ("ssh://h:99999", "cannot be read"),
        ("ssh://[::1", "cannot be read"),
        ("ssh://user:s3cr3t@h", "holds a password; SSH logs in with keys only"),
        ("ssh://user:@h", "holds a password"),
        ("ssh://user%3As3cr3t@h", "holds a character"),
        ("ssh://h?key=s3cr3t", "holds more than host and socket"),
        ("ssh://h#s3cr3t", "holds more than host and socket"),
        ("ssh://h/a%0Ab", "holds a path that cannot be a socket's"),
        ("ssh://h/a%00b", "holds a path that cannot be a socket's"),
        ("ssh://-oProxyCommand=x", "holds a character"),
        ("ssh://-l@h", "holds a character"),
        ("ssh://@h", "holds a character"),
        ("ssh://h;id", "holds a character"),
        ("ssh://$(id)@h", "holds a character"),
        ("ssh://a%20b@h", "holds a character"),
        ("ssh://[fe80::1%25eth0]", "holds a character"),
    ],
)
def test_address_that_cannot_be_used_names_its_source(text: str, said: str) -> None:
    """The message says who named it and what is wrong, and never shows a password."""
    with pytest.raises(EngineUnavailableError, match=said) as caught:
        parse_host(text, source="DOCKER_HOST")
    assert "DOCKER_HOST" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def in_directory(directory: Path, *, verify: bool = True) -> TlsFiles:
    """Return the three files of a certificate directory."""
    return TlsFiles(directory / "ca.pem", directory / "cert.pem", directory / "key.pem", verify)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"DOCKER_TLS_VERIFY": ""}, None),
        ({"DOCKER_CERT_PATH": "/c"}, in_directory(Path("/c"), verify=False)),
        ({"DOCKER_CERT_PATH": "/c", "DOCKER_TLS_VERIFY": "1"}, in_directory(Path("/c"))),
        ({"DOCKER_TLS_VERIFY": "1"}, TlsFiles()),
    ],
)
def test_environment_asks_for_tls_as_in_dockers_client(environ: dict[str, str], expected: TlsFiles | None) -> None:
    """A certificate directory encrypts, `DOCKER_TLS_VERIFY` verifies."""
    assert expected == tls_from_environment(environ, None)


def test_verification_alone_takes_the_files_beside_the_configuration(tmp_path: Path) -> None:
    """Files that are not there are not named, so the system's authorities count."""
    assert tls_from_environment({"DOCKER_TLS_VERIFY": "1"}, tmp_path) == TlsFiles()
    (tmp_path / "ca.pem").touch()
    assert tls_from_environment({"DOCKER_TLS_VERIFY": "1"}, tmp_path) == TlsFiles(ca=tmp_path / "ca.pem")


def test_sockets_are_looked_for_where_engines_put_them() -> None:
    """The machine's engine first, then the user's own."""
    paths = socket_paths({"XDG_RUNTIME_DIR": "/run/user/1"}, Path("/users/u"))
    assert [str(path) for path in paths] == [
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/user/1/docker.sock",
        "/users/u/.docker/run/docker.sock",
    ]


def test_first_path_that_is_a_socket_wins(directory: Path) -> None:
    """Files, directories and what is not there are passed over."""
    (directory / "file").touch()
    first, second = a_socket(directory / "a"), a_socket(directory / "b")
    assert first_socket([directory / "none", directory / "file", directory, first, second]) == first
    assert first_socket([directory / "file"]) is None


@pytest.mark.parametrize(
    ("data", "current"),
    [
        (b'{"currentContext": "c"}', "c"),
        (b"{}", None),
        (b'{"currentContext": ""}', None),
        (b'{"currentContext": 1}', None),
    ],
)
def test_current_context_is_read(data: bytes, current: str | None) -> None:
    """An empty or strange value is none."""
    assert current == parse_current_context(data)


@pytest.mark.parametrize("data", [b"", b'{"auths": {', b"[]", b"\xff", b"[" * 100_000])
def test_configuration_that_cannot_be_read_is_a_note(data: bytes, tmp_path: Path) -> None:
    """Half-written, empty or nonsense: the context is not known, and that is said."""
    (tmp_path / "config.json").write_bytes(data)
    current, notes = read_current_context(tmp_path)
    assert current is None
    assert str(tmp_path / "config.json") in notes[0]


def test_missing_configuration_is_no_problem(tmp_path: Path) -> None:
    """Most machines have none."""
    assert read_current_context(tmp_path / "nowhere") == (None, ())


def test_half_written_configuration_does_not_keep_the_updater_from_its_socket(directory: Path) -> None:
    """The socket is used, and the address carries the note."""
    (directory / "config.json").write_text('{"auths": {"regis')
    a_socket(directory / "docker.sock")
    address = resolve_address(
        host=None, environ={"XDG_RUNTIME_DIR": str(directory)}, inside_container=False, config_dir=directory
    )
    assert address.source == "default socket"
    assert address.is_local
    assert "config.json cannot be read" in address.notes[0]


def test_broken_configuration_says_nothing_about_an_engine_that_was_named(tmp_path: Path) -> None:
    """With `--host` nobody asked for the current context."""
    (tmp_path / "config.json").write_text("{")
    address = resolve_address(host=TCP, environ={}, inside_container=False, config_dir=tmp_path)
    assert address == EngineAddress("http://engine.example:2375", "--host")


@pytest.mark.parametrize("inside", [True, False])
def test_configuration_inside_a_container_says_nothing_about_the_engine(inside: bool, directory: Path) -> None:
    """There it is the host's file, mounted for its credentials."""
    (directory / "config.json").write_text('{"currentContext": "far"}')
    a_context(directory, "far", a_meta(TCP))
    a_socket(directory / "docker.sock")
    address = resolve_address(
        host=None, environ={"XDG_RUNTIME_DIR": str(directory)}, inside_container=inside, config_dir=directory
    )
    assert address.source == ("default socket" if inside else "current Docker context 'far'")
    assert address.is_local is inside


def test_named_context_counts_inside_a_container_too(tmp_path: Path) -> None:
    """`DOCKER_CONTEXT` was set for this process by somebody."""
    a_context(tmp_path, "far", a_meta(TCP))
    address = resolve_address(host=None, environ={"DOCKER_CONTEXT": "far"}, inside_container=True, config_dir=tmp_path)
    assert address.url == "http://engine.example:2375"


def test_context_and_environment_may_name_a_machine_by_ssh(tmp_path: Path) -> None:
    """As `docker context create --docker host=ssh://…` writes it; TLS files do not apply."""
    a_context(tmp_path, "far", a_meta("ssh://me@far.example"))
    target = SshTarget("far.example", "me")
    for environ, source in [
        ({"DOCKER_CONTEXT": "far"}, "DOCKER_CONTEXT 'far'"),
        ({"DOCKER_HOST": "ssh://me@far.example", "DOCKER_TLS_VERIFY": "1"}, "DOCKER_HOST"),
    ]:
        address = resolve_address(host=None, environ=environ, inside_container=False, config_dir=tmp_path)
        assert address == EngineAddress("ssh://me@far.example", source, ssh=target)


@pytest.mark.parametrize("variable", ["DOCKER_CONFIG", "HOME"])
def test_contexts_are_found_where_the_command_line_keeps_them(variable: str, tmp_path: Path) -> None:
    """`DOCKER_CONFIG`, else `.docker` in the home directory."""
    directory = tmp_path if variable == "DOCKER_CONFIG" else tmp_path / ".docker"
    a_context(directory, "far", a_meta("unix:///far.sock"))
    environ = {"DOCKER_CONTEXT": "far", variable: str(tmp_path)}
    address = resolve_address(host=None, environ=environ, inside_container=False, config_dir=None)
    assert address == EngineAddress("unix:///far.sock", "DOCKER_CONTEXT 'far'", is_local=True)


def test_certificates_of_the_environment_apply_to_the_named_host() -> None:
    """`DOCKER_HOST` with TLS variables is a TLS connection."""
    environ = {"DOCKER_HOST": "tcp://h:1", "DOCKER_CERT_PATH": "/c", "DOCKER_TLS_VERIFY": "1"}
    address = resolve_address(host="tcp://h:1", environ=environ, inside_container=True, config_dir=None)
    assert address == EngineAddress("https://h:1", "DOCKER_HOST", in_directory(Path("/c")))


@pytest.mark.parametrize(
    ("fields", "files", "expected"),
    [
        ({}, (), None),
        ({"SkipTLSVerify": False}, ("ca.pem",), ("ca.pem", None, None, True)),
        ({}, ("ca.pem", "cert.pem", "key.pem"), ("ca.pem", "cert.pem", "key.pem", True)),
        ({"SkipTLSVerify": True}, ("cert.pem", "key.pem"), (None, "cert.pem", "key.pem", False)),
        ({"SkipTLSVerify": True}, (), (None, None, None, False)),
    ],
)
def test_context_brings_its_own_certificates(
    fields: dict[str, Any],
    files: tuple[str, ...],
    expected: tuple[str | None, str | None, str | None, bool] | None,
    tmp_path: Path,
) -> None:
    """The files that are there are named; the context says whether the server is verified."""
    a_context(tmp_path, "far", a_meta(TCP, **fields), *files)
    endpoint = read_context(tmp_path, ContextChoice("far", "DOCKER_CONTEXT"))
    if expected is None:
        assert endpoint == ContextEndpoint(TCP, None)
        return
    assert endpoint.tls is not None
    names = tuple(path and path.name for path in (endpoint.tls.ca, endpoint.tls.certificate, endpoint.tls.key))
    assert (*names, endpoint.tls.verify) == expected


@pytest.mark.parametrize(
    "document",
    [
        "", "{", "[]", "null", '{"Endpoints": {}}', '{"Endpoints": {"docker": {}}}', '{"Endpoints": {"docker": []}}',
        '{"Endpoints": {"docker": {"Host": 5}}}', '{"Endpoints": {"docker": {"Host": ""}}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_context_that_names_no_host_is_an_error(document: str, tmp_path: Path) -> None:
    """A named context that cannot be used is never replaced by another engine."""
    with pytest.raises(ValueError, match=r"."):
        parse_context(document.encode())
    a_context(tmp_path, "far", document)
    with pytest.raises(EngineUnavailableError, match="DOCKER_CONTEXT 'far' cannot be read"):
        resolve_address(host=None, environ={"DOCKER_CONTEXT": "far"}, inside_container=False, config_dir=tmp_path)


def test_context_that_is_not_there_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    """The engine of the default socket is not what was meant."""
    with pytest.raises(EngineUnavailableError, match=r"'far' is not there .* --host or DOCKER_HOST"):
        resolve_address(host=None, environ={"DOCKER_CONTEXT": "far"}, inside_container=False, config_dir=tmp_path)
    with pytest.raises(EngineUnavailableError, match="no home directory"):
        resolve_address(host=None, environ={"DOCKER_CONTEXT": "far"}, inside_container=False, config_dir=None)
