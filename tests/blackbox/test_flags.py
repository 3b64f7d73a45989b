"""Options and variables, seen from outside. What can be seen in one run of the command is proven by one."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.listeners import mail_server, web_hook
from tests.blackbox.scene import JSON_LOG, NOBODY, Scene
from tests.blackbox.serving import serving

pytestmark = pytest.mark.engine

LOUD = ("--run-once", "--rollout-monitor", "0s", *JSON_LOG)


@contextmanager
def service_until(
    scene: Scene, event: str, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Run the service until its log tells of an event; the lines are there while it still runs."""
    updater = replace(scene.updater, environment=env or {})
    with updater.running(*JSON_LOG, *arguments) as process:
        assert process.stderr is not None
        lines: list[dict[str, Any]] = []
        for text in process.stderr:
            lines.append(json.loads(text))
            if lines[-1]["event"] == event:
                break
        yield lines
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def found(lines: list[dict[str, Any]], event: str) -> dict[str, Any]:
    """Return the first line of an event."""
    return next(line for line in lines if line["event"] == event)


# ---- connection -----------------------------------------------------------------------------------------------------


@pytest.mark.row("2.1")
@pytest.mark.parametrize("option", ["--host", "-H"])
def test_host_wins_over_the_variable(scene: Scene, option: str) -> None:
    """The variable names an engine that is not there."""
    told = scene.start_only(option, scene.docker.engine, env={"DOCKER_HOST": "tcp://127.0.0.1:1"})
    assert told.code == 0
    assert scene.docker.engine == told.events("updater.started")[0]["engine"]


@pytest.mark.full
@pytest.mark.row("2.2", "2.4")
def test_tlsverify_speaks_tls_with_the_certificates_of_cert_path(scene: Scene, tmp_path: Path) -> None:
    """The engine's certificate is checked against the directory's."""
    make_certificate(tmp_path, "ca", "key")
    make_certificate(tmp_path, "cert", "key-of-client")
    tls = ("--tlsverify", "--cert-path", str(tmp_path))
    (tmp_path / "cert.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
    (tmp_path / "key.pem").chmod(0o600)
    with tls_bridge(scene, tmp_path) as port:
        good = scene.start_only(*tls, env={"DOCKER_HOST": f"tcp://127.0.0.1:{port}"})
        make_certificate(tmp_path, "ca", "key-of-another")
        bad = scene.start_only(*tls, env={"DOCKER_HOST": f"tcp://127.0.0.1:{port}"})
    assert good.code == 0, good.log
    assert bad.code != 0


def make_certificate(directory: Path, name: str, key: str) -> None:
    """Make a certificate for 127.0.0.1 that signs itself."""
    words = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1")
    files = ("-keyout", str(directory / f"{key}.pem"), "-out", str(directory / f"{name}.pem"))
    subprocess.run([*words, "-addext", "subjectAltName=IP:127.0.0.1", *files], check=True, capture_output=True)


@contextmanager
def tls_bridge(scene: Scene, directory: Path) -> Iterator[int]:
    """Give the engine a port with TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "ca.pem", directory / "key.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    path = scene.docker.engine.removeprefix("unix://")

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()

    def accept() -> None:
        while True:
            try:
                raw, _ = listener.accept()
                client = context.wrap_socket(raw, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(path)
            for pair in ((client, engine), (engine, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()


@pytest.mark.row("2.3")
def test_api_version_is_the_one_that_is_spoken(scene: Scene) -> None:
    """One that both sides know is used, another one is refused with the ones to name."""
    known = scene.start_only("-a", "1.41", env={"DOCKER_API_VERSION": "1.2"})
    unknown = scene.start_only("--api-version", "1.2")
    assert known.code == 0, known.log
    assert known.events("updater.started")[0]["api_version"] == "1.41"
    assert unknown.code != 0
    assert "--api-version" in unknown.log


# ---- schedule and mode ----------------------------------------------------------------------------------------------


@pytest.mark.row("2.5", "2.9")
def test_interval_and_health_check(scene: Scene) -> None:
    """A session comes after so many seconds; the health check asks the service and fails without one."""
    updater = scene.updater
    with updater.running(*JSON_LOG, "--interval", "2", NOBODY) as process:
        assert updater.wait_until_well().code == 0
        assert process.stderr is not None
        events = (json.loads(line)["event"] for line in process.stderr)
        assert "session.finished" in events
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert updater("--health-check").code != 0


@pytest.mark.row("2.6", "2.13")
def test_schedule_is_meant_in_the_zone_of_tz(scene: Scene) -> None:
    """Four o'clock in Tokyo; six fields have seconds first."""
    with service_until(
        scene, "schedule.first_wait", "--schedule", "0 0 4 * * *", NOBODY, env={"TZ": "Asia/Tokyo"}
    ) as lines:
        assert " 04:00:00 +0900" in found(lines, "schedule.first_session")["at"]
    both = scene.run("--schedule", "0 0 4 * * *", "--interval", "60")
    assert both.code != 0
    assert "Cannot define both interval and schedule" in both.log


@pytest.mark.row("2.7")
def test_update_on_start_does_not_wait_for_the_schedule(scene: Scene) -> None:
    """The schedule comes once a year."""
    with service_until(scene, "session.finished", "--schedule", "@yearly", "--update-on-start", NOBODY) as lines:
        assert found(lines, "schedule.first_session")


@pytest.mark.row("2.8", "2.11")
def test_run_once_ends_with_0_and_no_startup_message_is_silent(scene: Scene) -> None:
    """Also where the check fails; without the start-up lines."""
    scene.outdated("o-lost")
    told = scene.run(
        *("--run-once", "--no-startup-message", *JSON_LOG, scene.name("o-lost")), env={"DOCKER_CONFIG": "/nowhere"}
    )
    assert told.code == 0
    assert not told.events("updater.started")
    assert told.events("session.finished")


@pytest.mark.full
@pytest.mark.row("2.10")
def test_porcelain_writes_a_report_for_programs(scene: Scene) -> None:
    """Both versions; another one is refused."""
    scene.outdated("p-web", monitor_only="true")
    name, image = scene.name("p-web"), scene.image()
    assert f"{name} ({image}): Stale" in scene.run(*LOUD, "-P", "v1", name).output.splitlines()
    last = scene.run(*LOUD, name, env={"WATCHTOWER_PORCELAIN": "json"}).documents[-1]["containers"][0]
    assert (name, image, "Stale", True) == (last["name"], last["image"], last["state"], last["update_available"])
    assert scene.run("-P", "v9").code != 0


@pytest.mark.row("2.12", "2.30", "2.35", "2.40", "2.81", "2.84", "2.86")
def test_options_without_a_meaning_here_are_accepted_and_say_so(scene: Scene) -> None:
    """The command starts, and names each of them with the reason."""
    told = scene.start_only(
        *(
            "--remove-volumes",
            "--self-update-orchestrator",
            "--ephemeral-self-update",
            "--warn-on-head-failure",
            "never",
        ),
        *("--notification-slack-channel", "#ops", "--notification-msteams-data"),
        "--notification-gotify-tls-skip-verify",
    )
    names = ("--remove-volumes", "--self-update-orchestrator", "--ephemeral-self-update", "--warn-on-head-failure")
    more = ("--notification-slack-channel", "--notification-msteams-data", "--notification-gotify-tls-skip-verify")
    assert told.code == 0
    assert {*names, *more} <= told.notices.keys()
    assert all(told.notices[name].startswith("has no effect here: ") for name in (*names, *more))


# ---- which containers -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fleet(scene: Scene) -> Scene:
    """Containers of two images, some with a label; they are looked at and not touched."""
    scene.outdated("f-web1")
    scene.outdated("f-web2", options=("--label=team=blue",))
    scene.outdated("f-db", tag="db")
    return scene


def seen(scene: Scene, *arguments: str, env: Mapping[str, str] | None = None) -> set[str]:
    """Return which of the fleet a session looks at."""
    told = scene.once("--monitor-only", *arguments, f"{scene.prefix}-f-.*", env=env)
    cut = len(scene.prefix) + 3
    return {item["name"][cut:] for item in told.report["scanned"]}


@pytest.mark.full
@pytest.mark.row("2.15")
def test_disable_containers_takes_names_and_expressions(fleet: Scene) -> None:
    """On the command line with commas, in the variable with blanks."""
    assert {"db"} == seen(fleet, "--disable-containers", f"{fleet.name('f-web1')},.*-web2")
    assert {"web2"} == seen(
        fleet, env={"WATCHTOWER_DISABLE_CONTAINERS": f"{fleet.name('f-web1')} {fleet.name('f-db')}"}
    )


@pytest.mark.full
@pytest.mark.row("2.20")
def test_monitor_image_names(fleet: Scene) -> None:
    """The whole name with its tag, or an expression for it."""
    assert {"db"} == seen(fleet, "--monitor-image-names", ".*/app:db")


@pytest.mark.full
@pytest.mark.row("2.21")
def test_skip_image_names(fleet: Scene) -> None:
    """The rest remains."""
    assert {"web1", "web2"} == seen(fleet, "--skip-image-names", f"{fleet.image('db')}")


@pytest.mark.full
@pytest.mark.row("2.22", "2.23")
def test_containers_by_label(fleet: Scene) -> None:
    """With a value, or with any."""
    assert {"web2"} == seen(fleet, "--enable-containers-by-label", "team=blue")
    assert {"web1", "db"} == seen(fleet, "--disable-containers-by-label", "team=")


@pytest.mark.full
@pytest.mark.row("2.17", "2.19")
def test_include_stopped_and_revive_stopped(scene: Scene) -> None:
    """A stopped container is left alone, then re-created and not started, then started."""
    before = scene.outdated("i-idle")
    scene.docker("stop", scene.name("i-idle"))
    scene.once(scene.name("i-idle"))
    assert scene.is_as_it_was("i-idle", before)
    scene.once("--include-stopped", scene.name("i-idle"))
    assert scene.is_updated("i-idle")
    assert scene.docker.inspect(scene.name("i-idle"))["State"]["Running"] is False
    scene.outdated("i-back")
    scene.docker("stop", scene.name("i-back"))
    scene.once("-S", "--revive-stopped", scene.name("i-back"))
    assert scene.docker.inspect(scene.name("i-back"))["State"]["Running"] is True


@pytest.mark.full
@pytest.mark.row("2.18")
def test_include_restarting(scene: Scene) -> None:
    """A container that the engine waits to start again is looked at only with the option."""
    scene.outdated("r-loop", "false", options=("--restart=always",))
    name = scene.name("r-loop")
    deadline = time.monotonic() + 60
    while scene.docker.inspect(name)["RestartCount"] < 7 and time.monotonic() < deadline:
        time.sleep(0.3)
    assert scene.once("--monitor-only", name).state(name) is None
    assert scene.once("--monitor-only", "--include-restarting", name).state(name) == "Stale"


# ---- how containers are updated -------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.row("2.25")
def test_no_pull_asks_no_registry(scene: Scene) -> None:
    """The tag on the engine has not moved; when it has, the container is updated."""
    before = scene.outdated("n-web", tag="nopull")
    name = scene.name("n-web")
    assert scene.once("--no-pull", name).state(name) == "Fresh"
    assert scene.is_as_it_was("n-web", before)
    scene.docker("tag", scene.new, scene.image("nopull"))
    scene.once("--no-pull", name)
    assert scene.is_updated("n-web")


@pytest.mark.full
@pytest.mark.row("2.26")
def test_no_restart_creates_without_starting(scene: Scene) -> None:
    """The new container is there and does not run."""
    scene.outdated("x-web")
    scene.once("--no-restart", scene.name("x-web"))
    assert scene.is_updated("x-web")
    assert scene.docker.inspect(scene.name("x-web"))["State"]["Running"] is False


@pytest.mark.full
@pytest.mark.row("2.28")
def test_rolling_restart_stops_at_the_first_failure(scene: Scene) -> None:
    """It is the failure action `pause`."""
    scene.outdated("y-bad", lifecycle__pre_update="exit 1")
    told = scene.once("--rolling-restart", "--enable-lifecycle-hooks", scene.name("y-bad"))
    assert told.events("rollout.limit_exceeded")[0]["action"] == "pause"


@pytest.mark.full
@pytest.mark.row("2.29")
def test_stop_timeout_is_the_grace_before_a_kill(scene: Scene) -> None:
    """A process that ignores the signal is killed after it, and not before."""
    scene.outdated("v-deaf", options=("--stop-signal=SIGTERM",))
    told = scene.once("-t", "2s", scene.name("v-deaf"))
    assert 2 <= told.events("replacement.updated")[0]["duration"] < 8


@pytest.mark.full
@pytest.mark.row("2.39")
def test_cpu_copy_mode(scene: Scene) -> None:
    """`none` leaves the limit out, `full` keeps it."""
    for mode, expected in (("none", 0), ("full", 500_000_000)):
        scene.outdated(f"q-{mode}", options=("--cpus=0.5",))
        scene.once("--cpu-copy-mode", mode, scene.name(f"q-{mode}"))
        assert scene.is_updated(f"q-{mode}")
        assert scene.docker.inspect(scene.name(f"q-{mode}"))["HostConfig"]["NanoCpus"] == expected


# ---- registries -----------------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.row("2.43", "2.44")
def test_repo_user_and_docker_config_are_the_login(scene: Scene, tmp_path: Path) -> None:
    """Without a login the check fails; the variables reach the registry that is listed."""
    scene.outdated("l-web")
    name, bed = scene.name("l-web"), scene.testbed
    empty = {"DOCKER_CONFIG": str(tmp_path)}
    login = {"REPO_USER": bed.user, "REPO_PASS": bed.password, "WATCHTOWER_REPO_REGISTRIES": bed.registry}
    assert scene.once("--monitor-only", name, env=empty).state(name) == "Skipped"
    assert scene.once("--monitor-only", name, env={**empty, **login}).state(name) == "Stale"
    there = {"DOCKER_CONFIG": str(scene.docker.config_directory)}
    assert scene.once("--monitor-only", name, env=there).state(name) == "Stale"


# ---- HTTP API -------------------------------------------------------------------------------------------------------


@pytest.mark.row("2.48", "2.49", "2.50", "2.45")
def test_endpoints_are_switched_on_one_by_one(scene: Scene) -> None:
    """The older switches add theirs; with periodic polls there is a schedule beside updates by request."""
    arguments = ("--http-api-endpoints", "history", "--http-api-containers", "--http-api-update")
    with serving(scene, *arguments, "--http-api-periodic-polls", NOBODY) as service:
        paths = ("/v1/history", "/v1/containers", "/v1/config", "/v1/metrics")
        answers = {path: service.ask("GET", path).status for path in paths}
        told = service.stop()
    assert answers == {"/v1/history": 200, "/v1/containers": 200, "/v1/config": 404, "/v1/metrics": 404}
    assert told.events("schedule.first_session")


@pytest.mark.full
@pytest.mark.row("2.55", "2.56", "2.57", "2.59")
def test_tls_proxies_and_check_timeout(scene: Scene, tmp_path: Path) -> None:
    """Over TLS; each client behind a trusted proxy has a limit of its own; a check that takes too long is 408."""
    make_certificate(tmp_path, "cert", "key")
    scene.outdated("h-web")
    files = ("--http-api-tls-cert", str(tmp_path / "cert.pem"), "--http-api-tls-key", str(tmp_path / "key.pem"))
    proxies = ("--http-api-trusted-proxies", "127.0.0.0/8", "--http-api-proxy-header", "X-Real-IP")
    limits = ("--http-api-rate-limit", "20", "--http-api-check-timeout", "1ms")
    endpoints = ("--http-api-endpoints", "check,history,health")
    tls = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    with serving(scene, *files, *proxies, *limits, *endpoints, scene.name("h-web"), tls=tls) as service:
        many = {service.ask("GET", "/v1/history", X_Real_IP=f"10.0.0.{host}").status for host in range(40)}
        one = [service.ask("GET", "/v1/history", X_Real_IP="10.1.0.1").status for _ in range(40)]
        check = service.ask("POST", "/v1/check", X_Real_IP="10.2.0.1").status
    assert {200} == many
    assert one[-1] == 429
    assert check == 408


# ---- notifications --------------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.row("2.61", "2.65", "2.66", "2.68", "2.69", "2.72")
def test_notification_url_template_title_and_one_for_each_container(scene: Scene) -> None:
    """A web hook gets the report of each container, with the title that the options make."""
    scene.outdated("1-a", monitor_only="true")
    scene.outdated("1-b", monitor_only="true")
    text = "{% if report %}{{ title }}|{{ report.stale | length }} stale{% endif %}"
    with web_hook() as hook:
        told = scene.run(
            *(*LOUD, "--notification-url", f"generic://127.0.0.1:{hook.port}/hook?disabletls=yes&template=json"),
            *("--notification-report", "--notification-template", text, "--notification-split-by-container"),
            *("--notification-title-tag", "blue", "--notifications-hostname", "tower", f"{scene.prefix}-1-.*"),
        )
    assert [json.loads(body)["message"] for body in hook.bodies] == [
        "[blue] Watchtower updates on tower|1 stale"
    ] * 2, told.log


@pytest.mark.full
@pytest.mark.row("2.67", "2.70", "2.63")
def test_template_file_level_and_no_title(scene: Scene, tmp_path: Path) -> None:
    """The file wins; only warnings are told; the title is empty."""
    template = tmp_path / "template"
    template.write_text("{% for entry in entries %}{{ entry.level }} {% endfor %}")
    with web_hook() as hook:
        scene.run(
            *(*LOUD, "--notification-url", f"generic://127.0.0.1:{hook.port}/?disabletls=yes&template=json"),
            *("--notification-template-file", str(template), "--notification-template", "unused"),
            *("--notification-skip-title", "--notifications-level", "warn"),
            *("--ephemeral-self-update", NOBODY),
        )
    messages = [json.loads(body) for body in hook.bodies]
    assert messages
    assert {"warning"} == {word for message in messages for word in message["message"].split()}
    assert not any(message.get("title") for message in messages)


@pytest.mark.row("2.71")
def test_log_stdout_writes_logger_to_standard_output(scene: Scene) -> None:
    """Without it, standard output stays empty."""
    logger = ("--notification-url", "logger://")
    assert scene.start_only(*logger).output == ""
    assert "Running a one time update." in scene.start_only(*logger, "--notification-log-stdout").output


@pytest.mark.row("2.62", "2.85")
def test_gotify_gets_the_message_with_its_token(scene: Scene) -> None:
    """By the older options, which are deprecated."""
    with web_hook() as hook:
        told = scene.start_only(
            *("--notifications", "gotify", "--notification-gotify-url", f"http://127.0.0.1:{hook.port}"),
            *("--notification-gotify-token", "AbCdEfGhIjKlMnO"),
        )
    assert hook.paths, told.log
    assert "Running a one time update." in hook.bodies[0]
    assert any("deprecated" in notice for notice in told.notices.values())


@pytest.mark.row("2.62", "2.73", "2.74", "2.75", "2.76", "2.78")
def test_mail_goes_out_by_the_older_options(scene: Scene) -> None:
    """From, to, server, port, login and the tag of the subject; the older switch turns encryption off."""
    with mail_server() as mail:
        told = scene.start_only(
            *("-n", "email", "--notification-email-from", "tower@example.org"),
            *("--notification-email-to", "ops@example.org", "--notification-email-server", "127.0.0.1"),
            *("--notification-email-server-port", str(mail.port), "--notification-email-server-user", "tower"),
            *("--notification-email-server-tls-skip-verify", "--notification-email-subjecttag", "blue"),
            env={"WATCHTOWER_NOTIFICATION_EMAIL_SERVER_PASSWORD": "Sw0rdfish"},
        )
    said = "\n".join(mail.commands)
    assert mail.bodies, told.log
    assert "MAIL FROM:<tower@example.org>" in said.replace("mail FROM", "MAIL FROM")
    assert "<ops@example.org>" in said
    assert "AUTH PLAIN" in said
    assert "[blue] Watchtower updates" in mail.bodies[0]


@pytest.mark.full
@pytest.mark.row("2.64", "2.77")
@pytest.mark.parametrize("option", ["--notifications-delay", "--notification-email-delay"])
def test_delay_comes_before_the_message(scene: Scene, option: str) -> None:
    """The service has started long before its message comes."""
    with web_hook() as hook:
        url = f"generic://127.0.0.1:{hook.port}/?disabletls=yes"
        with service_until(scene, "schedule.first_wait", "--notification-url", url, option, "4", NOBODY):
            time.sleep(2)
            early = len(hook.bodies)
            time.sleep(5)
            late = len(hook.bodies)
    assert (early, late) == (0, 1)


# ---- log ------------------------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.row("2.87", "2.89", "2.90")
def test_log_level_debug_and_trace(scene: Scene) -> None:
    """Each shows more; a secret shows at none."""
    quiet = scene.start_only("--log-level", "warn")
    debug = scene.start_only("--log-level", "warn", "--debug")
    trace = scene.start_only("--trace", env={"REPO_USER": "somebody", "REPO_PASS": "Sw0rdfish-marker"})
    assert not quiet.lines
    assert {"debug"} <= {line["level"] for line in debug.lines}
    assert "Sw0rdfish-marker" not in trace.log
    assert {"debug"} <= {line["level"] for line in trace.lines}


@pytest.mark.row("2.88", "2.91")
def test_log_format_and_no_color(scene: Scene) -> None:
    """Logfmt where nobody looks; pretty without colours."""
    plain = scene.run("--run-once", NOBODY)
    pretty = scene.run("--run-once", "-l", "Pretty", "--no-color", NOBODY)
    assert 'msg="Running a one time update."' in plain.log
    assert "Running a one time update." in pretty.log
    assert "msg=" not in pretty.log
    assert "\x1b[" not in pretty.log
