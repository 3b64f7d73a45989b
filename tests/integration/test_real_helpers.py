"""Real credential helpers: `pass` with a key and a store of the test, and Amazon ECR's against a simulated Amazon."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.support.docker_cli import DockerCli
from tests.support.loopback import certificate_for
from tests.support.testbed import TestBed
from tests.support.updater import Updater
from tests.support.updating import an_outdated_container, assert_updated
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.helper import HelperRunner
from watchtower_async.credentials.lookup import HelperFailed, HelperFound, HelperNotFound, HelperQuestion, HelperReply
from watchtower_async.credentials.store import CredentialStore
from watchtower_async.errors import CredentialError
from watchtower_async.images.reference import parse_reference

SEARCH = "/usr/local/bin:/usr/bin:/bin"
HUB = "https://index.docker.io/v1/"
ACCOUNT = "123456789012"  # the one that moto gives to everybody
REGION = "us-east-1"
ECR = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
JSON_KEY = '{\n  "type": "service_account",\n  "private_key": "a:b\\n"\n}'


def need(*programs: str) -> None:
    """Skip the test where a program is missing, or fail where CI=true demands it."""
    missing = [program for program in programs if shutil.which(program, path=SEARCH) is None]
    if missing:
        give_up(f"{', '.join(missing)}: not installed; scripts/testbed up --tools installs them")


def give_up(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI needs the real helpers: {reason}")
    pytest.skip(reason)


async def ask(environ: Mapping[str, str], suffix: str, server: str) -> HelperReply:
    """Return the reply of a real helper."""
    async with HelperRunner(environ=environ) as runner:
        return await runner.ask(HelperQuestion(suffix, server))


# ---- pass ----


@dataclass(frozen=True, slots=True)
class PasswordStore:
    """The password manager `pass` with a directory of its own."""

    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        gnupg = self.home / "gnupg"
        gnupg.mkdir(mode=0o700)
        self.environ.update(
            PATH=SEARCH, HOME=str(self.home), GNUPGHOME=str(gnupg), PASSWORD_STORE_DIR=str(self.home / "store")
        )

    def run(self, *command: str, text: str = "") -> str:
        """Run a program of this world."""
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=60, env=self.environ
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def make_key(self, passphrase: str) -> None:
        """Make a key, and a store that is encrypted with it. The agent knows the passphrase until it ends."""
        batch = ("gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase)
        self.run(*batch, "--quick-generate-key", "tester@example.com", "future-default", "default", "never")
        self.run("pass", "init", "tester@example.com")

    def end_agent(self) -> None:
        """End the agent that GnuPG has started."""
        self.run("gpgconf", "--homedir", self.environ["GNUPGHOME"], "--kill", "all")

    def log_in(self, server: str, username: str, secret: str) -> None:
        """Store a credential as `docker login` does."""
        fields = {"ServerURL": server, "Username": username, "Secret": secret}
        self.run("docker-credential-pass", "store", text=json.dumps(fields))


@pytest.fixture
def store() -> Iterator[PasswordStore]:
    """A password store without a key yet, and no agent afterwards."""
    need("docker-credential-pass", "pass", "gpg", "gpgconf")
    # The path of an agent's socket must be short.
    with tempfile.TemporaryDirectory(prefix="wta-", dir="/tmp") as directory:
        store = PasswordStore(Path(directory))
        try:
            yield store
        finally:
            store.end_agent()


async def test_pass_gives_what_was_stored(store: PasswordStore) -> None:
    """The server must be named as Docker names it, and secrets of many lines come out unchanged."""
    store.make_key("")
    store.log_in("ghcr.io", "me", "hunter2:marker")
    store.log_in(HUB, "_json_key", JSON_KEY)
    source = "docker-credential-pass"
    assert await ask(store.environ, "pass", "ghcr.io") == HelperFound(Credential("me", "hunter2:marker", source=source))
    assert await ask(store.environ, "pass", HUB) == HelperFound(Credential("_json_key", JSON_KEY, source=source))


async def test_pass_keeps_identity_tokens(store: PasswordStore) -> None:
    """A login that got a token stores it under a name that stands for "this is a token"."""
    store.make_key("")
    store.log_in("example.azurecr.io", "<token>", "refresh-token")
    expected = HelperFound(Credential(identity_token="refresh-token", source="docker-credential-pass"))
    assert await ask(store.environ, "pass", "example.azurecr.io") == expected


async def test_pass_says_not_found(store: PasswordStore) -> None:
    """The helper works and has nothing for this registry."""
    store.make_key("")
    store.log_in("ghcr.io", "me", "pw")
    assert await ask(store.environ, "pass", "quay.io") == HelperNotFound()


async def test_store_reads_a_configuration_that_keeps_its_secrets_in_pass(store: PasswordStore) -> None:
    """As `docker login` leaves it: empty entries, and the store by name. A logout takes effect with the next run."""
    store.make_key("")
    store.log_in("ghcr.io", "me", "hunter2-marker")
    (store.home / "config.json").write_text(json.dumps({"auths": {"ghcr.io": {}}, "credsStore": "pass"}))
    image = parse_reference("ghcr.io/team/app")
    async with HelperRunner(environ=store.environ) as runner:
        credentials = CredentialStore(directory=store.home, helpers=runner)
        found = await credentials.credential_for(image)
        assert isinstance(found, Credential)
        assert (found.username, found.password) == ("me", "hunter2-marker")
        assert await credentials.credential_for(parse_reference("quay.io/a/b")) == Anonymous()
        store.run("docker-credential-pass", "erase", text="ghcr.io")
        assert isinstance(await credentials.credential_for(image, refused=found), Anonymous)


async def test_locked_key_is_a_failure(store: PasswordStore) -> None:
    """Nobody is there to type the passphrase, and the updater must not go on as nobody."""
    store.make_key("passphrase")
    store.log_in("ghcr.io", "me", "hunter2-marker")
    store.end_agent()
    assert isinstance(await ask(store.environ, "pass", "ghcr.io"), HelperFailed)
    (store.home / "config.json").write_text('{"credsStore": "pass"}')
    async with HelperRunner(environ=store.environ) as runner:
        credentials = CredentialStore(directory=store.home, helpers=runner)
        with pytest.raises(CredentialError, match=r"docker-credential-pass, which .* ghcr\.io, failed"):
            await credentials.credential_for(parse_reference("ghcr.io/team/app"))


@pytest.mark.engine
def test_update_takes_its_login_from_pass(
    store: PasswordStore, docker: DockerCli, testbed: TestBed, prefix: str, tmp_path: Path
) -> None:
    """From the check to the pull, through the installed command; without the helper nothing is touched."""
    store.make_key("")
    store.log_in(testbed.registry, testbed.user, testbed.password)
    (store.home / "config.json").write_text(json.dumps({"auths": {testbed.registry: {}}, "credsStore": "pass"}))
    outdated = an_outdated_container(docker, testbed, prefix)
    arguments = ("--run-once", "--rollout-monitor", "1s", "--log-level", "debug", outdated.name)
    updater = Updater(docker.engine, store.home, tmp_path / "state", store.environ)
    helpless = replace(updater, environment={**store.environ, "PATH": "/nowhere"})(*arguments)
    assert "docker-credential-pass" in helpless.log
    assert docker.inspect(outdated.name)["Id"] == outdated.container_id
    done = updater(*arguments)
    assert_updated(docker, outdated, done.log)
    assert testbed.password not in helpless.log + done.log


@pytest.mark.engine
def test_update_takes_its_login_from_the_environment(
    docker: DockerCli, testbed: TestBed, prefix: str, tmp_path: Path
) -> None:
    """Where the registry is listed; where it is not, the reason names the line to add."""
    outdated = an_outdated_container(docker, testbed, prefix)
    (tmp_path / "password").write_text(testbed.password + "\n")
    environment = {"REPO_USER": testbed.user, "REPO_PASS": str(tmp_path / "password")}
    updater = Updater(docker.engine, tmp_path / "no-config", tmp_path / "state", environment)
    line = f"WATCHTOWER_REPO_REGISTRIES={testbed.registry}"
    assert line in updater("plan", "--json", outdated.name).item(outdated.name)["reason"]["text"]
    listed = replace(updater, environment={**environment, "WATCHTOWER_REPO_REGISTRIES": testbed.registry})
    done = listed("--run-once", "--rollout-monitor", "1s", outdated.name)
    assert_updated(docker, outdated, done.log)
    assert testbed.password not in done.log


# ---- Amazon ECR ----


@contextmanager
def simulated_amazon(host: str) -> Iterator[str]:
    """Serve Amazon's API over TLS on a loopback address while the context is open; yields the certificate."""
    # Imported here: it takes a second, which only these tests should cost.
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415
    from werkzeug.serving import make_server  # noqa: PLC0415

    certificate = certificate_for(f"api.ecr.{REGION}.amazonaws.com")
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server(host, 443, application, threaded=True, ssl_context=certificate.server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield certificate.pem
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


@pytest.fixture
def amazon(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a helper for which Amazon's API is on this machine.

    The real helper is found behind a script of the same name, which maps the API's name in a mount name space of its
    own. The address is a random one of loopback, so that nobody else uses its port.
    """
    need("docker-credential-ecr-login", "unshare")
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        give_up("only root may map a name in a mount name space of its own")
    address = f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{address} api.ecr.{REGION}.amazonaws.com\n")
    real = shutil.which("docker-credential-ecr-login", path=SEARCH)
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "docker-credential-ecr-login"
    wrapper.write_text(f"""#!/bin/sh
exec unshare -m sh -c 'mount --bind "$0" /etc/hosts && exec "$@"' {hosts} {real} "$@"
""")
    wrapper.chmod(0o755)
    with simulated_amazon(address) as certificate:
        (tmp_path / "amazon.pem").write_text(certificate)
        yield {
            "PATH": f"{tmp_path / 'bin'}:{SEARCH}",
            "HOME": str(tmp_path),
            "AWS_CA_BUNDLE": str(tmp_path / "amazon.pem"),
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


async def test_ecr_gives_a_password_of_the_account(amazon: dict[str, str]) -> None:
    """It asks Amazon for it, in the region that the registry's name holds."""
    expected = Credential("AWS", f"{ACCOUNT}-auth-token", source="docker-credential-ecr-login")
    assert await ask(amazon, "ecr-login", ECR) == HelperFound(expected)


async def test_ecr_reports_its_failures_as_not_found(amazon: dict[str, str]) -> None:
    """Another registry, and an account without keys: "not found" proves nothing."""
    assert await ask(amazon, "ecr-login", "ghcr.io") == HelperNotFound()
    without_keys = {name: value for name, value in amazon.items() if not name.endswith(("_ID", "_KEY"))}
    assert await ask(without_keys, "ecr-login", ECR) == HelperNotFound()


async def test_ecr_serves_its_registries_beside_another_login(amazon: dict[str, str]) -> None:
    """As people configure it: one helper for one registry, entries for the others."""
    home = Path(amazon["HOME"])
    entry = {"username": "me", "password": "pw"}
    document = {"auths": {"ghcr.io": entry}, "credHelpers": {ECR: "ecr-login"}}
    (home / "config.json").write_text(json.dumps(document))
    async with HelperRunner(environ=amazon) as runner:
        credentials = CredentialStore(directory=home, helpers=runner)
        found = await credentials.credential_for(parse_reference(f"{ECR}/team/app:1"))
        assert isinstance(found, Credential)
        assert found.username == "AWS"
        other = await credentials.credential_for(parse_reference("ghcr.io/team/app"))
        assert isinstance(other, Credential)
        assert other.username == "me"
