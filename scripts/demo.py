"""Shows an update and a roll-back on a test bed of its own: `scripts/run demo`.

A small web server comes from a registry that asks for a login. A newer image is published under its tag, the updater
replaces the container; then a broken image is published, and the updater puts the container back. Everything that the
demo makes is removed at the end, also after Ctrl-C.
"""
# ruff: noqa: S603, T201 - it runs the programs of this checkout and talks to a person

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.docker_cli import TESTBED_LABEL, DockerCli, DockerCliError
from tests.support.testbed import TestBed, read_testbed

CHECKOUT = Path(__file__).resolve().parents[1]
TESTBED_SCRIPT = CHECKOUT / "scripts" / "testbed"
NAME = "wta-demo-web"
VOLUME = "wta-demo-data"
LABEL = "watchtower-async.demo=true"
UPDATER_SECONDS = 300.0
STOP_SECONDS = 60.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
NO_RIGHT = 4
UPDATES_AVAILABLE = 2

# A shell that is a container's first process ends on SIGTERM only when it is told to.
SERVE = "trap 'exit 0' TERM; echo started version $VERSION >>/data/log; httpd -f -p 8080 -h /www & wait"
BREAK = "echo version $VERSION cannot start >&2; exit 1"


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


def main() -> int:
    """Run the demo and return the exit code."""
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with test_bed() as bed, stage(bed) as demo:
            demo.play()
    except (DemoError, DockerCliError) as error:
        print(f"The demo stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing of the demo is left.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 1
    say("Done; nothing of the demo is left.")
    return 0


def _interrupt(*_: object) -> None:
    # once is enough: what follows is the clean-up
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def test_bed() -> Iterator[TestBed]:
    """A Docker Engine and a registry; what had to be started for it is stopped afterwards."""
    say("Bringing up a Docker Engine and a registry on this machine …")
    mine = ["--for", str(os.getpid())]
    try:
        up = subprocess.run([TESTBED_SCRIPT, "up", "--env", *mine], stdout=subprocess.PIPE, text=True, check=False)
        if up.returncode == NO_RIGHT:
            raise DemoError("setting up its test bed needs root, or sudo without a password.")
        bed = read_testbed(parse_environment(up.stdout))
        if up.returncode != 0 or bed is None:
            raise DemoError("the test bed did not come up; the reason is above.")
        yield bed
    finally:
        with uninterrupted():
            subprocess.run([TESTBED_SCRIPT, "down", *mine], check=False)


def parse_environment(text: str) -> dict[str, str]:
    """Read the `export NAME=value` lines of `scripts/testbed up --env`."""
    words = (word for line in text.splitlines() for word in shlex.split(line)[1:])
    return {name: value for name, _, value in (word.partition("=") for word in words)}


@contextlib.contextmanager
def stage(bed: TestBed) -> Iterator[Demo]:
    """A demo with its own login in its own directory; its objects on the engine are removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="watchtower-async-demo-") as directory:
        config = Path(directory, "docker-config")
        config.mkdir(mode=0o700)
        docker = DockerCli(engine=bed.engine, config_directory=config, labels=(TESTBED_LABEL, LABEL))
        docker.log_in(bed.registry, bed.user, bed.password)
        # a path of its own for each run, so that nothing of an earlier run is in the registry
        image = f"{bed.registry}/demo-{secrets.token_hex(3)}:latest"
        if docker("ps", "--all", "--quiet", "--filter", f"name=^{NAME}$"):
            raise DemoError(f"there is already a container {NAME}: if no other demo runs, `docker rm -f {NAME}` helps.")
        try:
            yield Demo(docker=docker, image=image, port=free_port(), directory=Path(directory))
        finally:
            with uninterrupted():
                say("\nCleaning up: container, images and volume; registry and engine too, if the demo started them …")
                for left in docker.remove_labelled(LABEL):
                    print(f"could not be removed: {left}", file=sys.stderr)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C does not stop the clean-up."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Standing:
    """How the container stands."""

    container_id: str
    served: str
    """What its web server answers."""


@dataclass(frozen=True, slots=True)
class Demo:
    """The play itself."""

    docker: DockerCli
    image: str
    port: int
    directory: Path

    def play(self) -> None:
        """Start version 1, update to version 2, survive version 3."""
        say(
            "1. A small web server is published to the registry, which asks for a login, and runs as a container.\n"
            f"   Its image is {self.image}."
        )
        self.publish(1, SERVE)
        self.start()
        before = self.show()
        self.expect(before, 1)
        say("2. Version 2 is published under the same tag. What would the updater do, and why?")
        self.publish(2, SERVE)
        self.updater("plan", NAME, expected=UPDATES_AVAILABLE)
        say(
            "3. The updater runs once. It logs in to the registry with the config.json of a Docker configuration\n"
            "   directory, as `docker login` writes it, and watches the new container for a moment."
        )
        self.updater("--run-once", NAME)
        say("   Version 2 runs. Environment, port, volume and restart policy are the same as before:")
        updated = self.show()
        self.expect(updated, 2)
        say("4. Version 3 is published. It is broken: it exits at once. The updater runs again.")
        self.publish(3, BREAK)
        self.updater("--run-once", NAME)
        say("   Version 3 failed, so the updater put the container of version 2 back, with its data:")
        survived = self.show()
        self.expect(survived, 2)
        if survived.container_id != updated.container_id:
            raise DemoError("another container than that of step 3 runs now.")
        say(f"   It is the very container of step 3, {survived.container_id[:12]}: it was stopped, never removed.")

    def publish(self, version: int, script: str) -> None:
        """Make an image and push it, as a build machine would: the engine keeps nothing of it."""
        image_id = self.docker.import_image(
            f"wta-demo-build:{version}",
            f"ENV VERSION={version}",
            files={"/www/index.html": f"version {version}\n"},
            command=["sh", "-c", script],
        )
        digest = self.docker.publish(self.image, image_id)
        self.docker("rmi", "--force", image_id)
        print(f"\n   Version {version} has the digest {short(digest)}", flush=True)

    def start(self) -> None:
        """Start the container that is going to be updated."""
        self.docker("pull", self.image)
        self.docker("volume", "create", *self.docker.label_options, VOLUME)
        self.docker.run(
            NAME,
            self.image,
            options=(
                *("--env", "GREETING=hello from the user"),
                *("--publish", f"127.0.0.1:{self.port}:8080"),
                *("--volume", f"{VOLUME}:/data"),
                *("--restart", "unless-stopped"),
            ),
        )

    def updater(self, *arguments: str, expected: int = 0) -> None:
        """Run the updater of this checkout and show what it says. It must end with the expected exit code."""
        print(f"\n   $ watchtower-async {shlex.join(arguments)}\n", flush=True)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "WATCHTOWER_"))},
            "DOCKER_HOST": self.docker.engine,
            "DOCKER_CONFIG": str(self.docker.config_directory),
            "WATCHTOWER_STATE_DIR": str(self.directory / "state"),
            "WATCHTOWER_LOG_FORMAT": "pretty",
        }
        command = [sys.executable, "-P", "-m", "watchtower_async", *arguments]
        code = run_to_its_end(command, environment)
        if code != expected:
            raise DemoError(f"the updater ended with exit code {code}.")
        print(flush=True)

    def show(self) -> Standing:
        """Print how the container stands."""
        found = self.docker.inspect(NAME)
        digests = self.docker("image", "inspect", "--format", '{{join .RepoDigests " "}}', found["Image"])
        served = self.served()
        greeting = next((line for line in found["Config"]["Env"] if line.startswith("GREETING=")), "–")
        is_running = found["State"]["Running"]
        log = self.docker("exec", NAME, "cat", "/data/log") if is_running else "–"
        rows = {
            "container": f"{NAME}, id {found['Id'][:12]}, {found['State']['Status']}",
            "image": f"{found['Config']['Image']}, digest {short(digests.partition('@')[2].partition(' ')[0])}",
            "environment": greeting,
            "port": f"127.0.0.1:{self.port} answers: {served}",
            "volume": f"{VOLUME} at /data, its log says: {', '.join(log.splitlines())}",
            "restart": found["HostConfig"]["RestartPolicy"]["Name"],
        }
        print()
        for title, text in rows.items():
            print(f"   {title:<12} {text}")
        print(flush=True)
        return Standing(str(found["Id"]), served)

    def served(self) -> str:
        """Return what the web server answers, giving it a moment to come up."""
        for _ in range(50):
            with contextlib.suppress(OSError):
                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                with opener.open(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
                    return str(answer.read().decode().strip())
            time.sleep(0.1)
        return "nothing"

    def expect(self, standing: Standing, version: int) -> None:
        """Stop the demo where it does not show what it says."""
        if standing.served != f"version {version}":
            raise DemoError(f"version {version} should run now, but the port answers: {standing.served}.")


def run_to_its_end(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program and return its exit code. When we are interrupted it may bring things in order first.

    Its errors go where its output goes, so that they keep their place in the story.
    """
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        try:
            return process.wait(UPDATER_SECONDS)
        finally:
            if process.poll() is None:
                with uninterrupted():
                    stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process: politely, and then not."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def short(digest: str) -> str:
    """Return the beginning of a digest, as the plan shows it."""
    return digest.removeprefix("sha256:")[:12]


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def say(text: str) -> None:
    """Print one step of the narration. Nobody may be listening any more; the demo cleans up all the same."""
    with contextlib.suppress(BrokenPipeError):
        print(f"\n{text}" if text[0].isdigit() else text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
