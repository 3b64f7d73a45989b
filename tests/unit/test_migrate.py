"""A Watchtower service becomes one of ours: nothing is lost on the way, and what differs is told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml

from tests.support.watchtower_flags import COMPANIONS, OURS, USES, option_named
from watchtower_async.cli.command_line import COMMANDS, parse_command_line
from watchtower_async.migrate.assessment import Assessment, assess
from watchtower_async.migrate.compose_edit import edit_service
from watchtower_async.migrate.compose_reading import Surroundings, watchtowers_in
from watchtower_async.migrate.finding import Finding, FindingKind
from watchtower_async.migrate.inspect_document import read_container, write_service
from watchtower_async.migrate.old_service import OldService, Program, program_in, program_of
from watchtower_async.migrate.text import Text
from watchtower_async.migrate.words import read_words
from watchtower_async.migrate.yaml_tree import read_tree
from watchtower_async.settings import Option, Settings, build_settings, declared_options

IMAGE = "watchtower-async:latest"
CARRIED_OUT = tuple(replace(option, is_carried_out=True) for option in declared_options())
"""The options as if each had its feature, so that a test says what becomes of a setting and not how far we are."""


def compose_file(command: list[str] | str = "", environment: Mapping[str, str] | None = None, **more: Any) -> str:
    """Return a compose file with a Watchtower service."""
    service: dict[str, Any] = {
        "image": "containrrr/watchtower",
        "volumes": ["/var/run/docker.sock:/var/run/docker.sock"],
    }
    if command:
        service["command"] = command
    if environment:
        service["environment"] = dict(environment)
    return yaml.safe_dump({"services": {"watchtower": {**service, **more}}})


def service_in(
    text: str, variables: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None
) -> OldService:
    """Read the one Watchtower of a compose file."""
    ((_, _, service),) = watchtowers_in(read_tree(text), Surroundings(variables or {}, files or {}))
    return service


def assessed(service: OldService) -> Assessment:
    """Say what becomes of a service."""
    return assess(service, COMMANDS, options=CARRIED_OUT)


def a_service(*words: str, program: Program = Program.ORIGINAL, **environment: str) -> OldService:
    """Return a Watchtower that is started like this."""
    return OldService(
        "watchtower", str(program), program, tuple(Text(word) for word in words),
        {name: Text(value) for name, value in environment.items()},
    )  # fmt: skip


def said_about(service: OldService, name: str) -> list[Finding]:
    """Return what is said about one setting."""
    return [finding for finding in assessed(service).findings if finding.name == name]


def value_in(settings: Settings, option: Option) -> Any:
    """Return the value of an option."""
    group, _, name = option.key.partition(".")
    return getattr(getattr(settings, group), name)


def compose_value(text: object, variables: Mapping[str, str]) -> str:
    """Put in variables as compose does, as far as this file writes them."""
    found = re.sub(r"\$\{(\w+):\?\}", lambda match: variables[match[1]].replace("$", "$$"), str(text))
    return found.replace("$$", "$")


def settings_of(document: Any, variables: Mapping[str, str] | None = None) -> Settings:
    """Read the new service as the engine would start it: with our own command line and settings."""
    service = document["services"]["watchtower"]
    words = [compose_value(word, variables or {}) for word in service.get("command") or ()]
    given = service.get("environment") or {}
    pairs = given.items() if isinstance(given, dict) else (item.split("=", 1) for item in given)
    environ = {name: compose_value(value, variables or {}) for name, value in pairs}
    line = parse_command_line(words, program="watchtower")
    assert line.command == "run"
    return build_settings(command_line=line.values, environ=environ, names=line.names, secret_of=str)


def test_every_option_of_watchtower_is_in_the_table() -> None:
    """An option that is added must say whether Watchtower has it, and if so, it is tested here."""
    known = {flag for flag, _, _ in USES} | OURS
    assert set() == {option.name for option in declared_options() if not option.name.startswith("--rollout-")} - known


@pytest.mark.parametrize(("flag", "text", "value"), USES)
def test_flag_in_compose_file_keeps_its_meaning(flag: str, text: str, value: Any) -> None:
    """The command of the new service is accepted by our command line, and means the value that was given."""
    option = option_named(flag)
    words = [f"{flag}={text}" if option.is_switch else flag, *([] if option.is_switch else [text.replace("$", "$$")])]
    old = compose_file(words, COMPANIONS.get(flag))
    new = edit_service(old, service_in(old), image=IMAGE).text
    assert value == value_in(settings_of(yaml.safe_load(new)), option)
    assert assessed(service_in(old)).would_start


@pytest.mark.parametrize(("flag", "text", "value"), [use for use in USES if option_named(use[0]).env])
def test_variable_in_compose_file_keeps_its_meaning(flag: str, text: str, value: Any) -> None:
    """The environment of the new service is accepted by our settings, and means the value that was given."""
    option = option_named(flag)
    old = compose_file("", {option.env: text.replace("$", "$$"), **COMPANIONS.get(flag, {})})
    new = edit_service(old, service_in(old), image=IMAGE).text
    assert value == value_in(settings_of(yaml.safe_load(new)), option)
    assert assessed(service_in(old)).would_start


@pytest.mark.parametrize(
    ("flag", "text", "value", "by_variable"),
    [(*use, how) for use in USES for how in (False, True) if not how or option_named(use[0]).env],
)
def test_setting_of_a_container_keeps_its_meaning(flag: str, text: str, value: Any, by_variable: bool) -> None:
    """The service that is written for a running container means what the container was started with."""
    option = option_named(flag)
    extra = {**COMPANIONS.get(flag, {}), **({option.env: text} if by_variable else {})}
    found = read_container(
        {
            "Name": "/watchtower",
            "Config": {
                "Image": "nickfedor/watchtower",
                "Cmd": [] if by_variable else [f"{flag}={text}"],
                "Env": [f"{name}={item}" for name, item in extra.items()],
            },
        }
    )
    assert found is not None
    new, _ = write_service(found, image=IMAGE)
    secrets = {item.env: text if item == option else extra.get(item.env, "") for item in declared_options()}
    assert value == value_in(settings_of(yaml.safe_load(new), secrets), option)


@pytest.mark.parametrize(
    "words",
    [
        ["-t=10s"], ["-t10s"], ["-t", "10s"], ["-cR"], ["-c=false", "web"], ["-cRt10s", "db"], ["--cleanup=false"],
        ["-x", "a", "-x", "b,c"], ["web", "--", "-x"], ["--stop-timeout=", "web"], ["-s", "@daily"], ["-vH", "x"],
        ["--notification-url", "a://b", "--notification-url", "c://d"],
    ],
)  # fmt: skip
def test_words_are_told_apart_as_on_our_command_line(words: list[str]) -> None:
    """What is judged is what the program would read."""
    line = parse_command_line(words, program="watchtower")
    read = read_words([Text(word) for word in words], declared_options())
    assert dict(line.values) == read.texts()
    assert line.names == tuple(name.value for name in read.names)


@pytest.mark.parametrize(
    ("service", "name", "part"),
    [
        (a_service("--schedule", "0 4 * * *"), "--schedule", '"0 4 * * * *"'),
        (a_service(WATCHTOWER_TIMEOUT="30"), "WATCHTOWER_TIMEOUT", "nanoseconds"),
        (a_service("--no-restart"), "--no-restart", "created and not started"),
        (a_service("-m"), "--monitor-only", "not pulled"),
        (a_service("--rolling-restart"), "--rolling-restart", "first failure"),
        (a_service("-x", "my.app"), "--disable-containers", "regular expressions"),
        (a_service(REPO_USER="me", REPO_PASS="x"), "REPO_USER", "WATCHTOWER_REPO_REGISTRIES"),
        (a_service("--enable-lifecycle-hooks"), "--enable-lifecycle-hooks", "time-outs"),
        (a_service("--http-api-update", "--http-api-token", "t"), "--http-api-update", "429"),
        (a_service("--http-api-metrics", "--http-api-token", "t"), "--http-api-metrics", "containers_updated"),
        (a_service("--no-startup-message"), "--no-startup-message", "not logged either"),
        (a_service("--cooldown-delay", "1d", program=Program.FORK), "--cooldown-delay", "first saw"),
        (a_service("--registry-tls-skip", program=Program.FORK), "--registry-tls-skip", "command line"),
        (a_service("--log-format=json", program=Program.FORK), "--log-format", "msg"),
        (a_service("--notification-report", program=Program.FORK), "--notification-report", "silent"),
        (a_service("--tlsverify"), "--tlsverify", "DOCKER_CERT_PATH"),
    ],
)  # fmt: skip
def test_setting_with_another_meaning_is_told(service: OldService, name: str, part: str) -> None:
    """Where the programs differ, the setting is named together with what is different."""
    found = said_about(service, name)
    assert [finding.kind for finding in found] == [FindingKind.CHANGES]
    assert part in found[0].text


@pytest.mark.parametrize(
    ("service", "name"),
    [
        (a_service("--schedule", "0 4 * * *", program=Program.FORK), "--schedule"),
        (a_service("--schedule", "0 0 4 * * *"), "--schedule"),
        (a_service(WATCHTOWER_TIMEOUT="30", program=Program.FORK), "WATCHTOWER_TIMEOUT"),
        (a_service(WATCHTOWER_TIMEOUT="30s"), "WATCHTOWER_TIMEOUT"),
        (a_service("--no-restart", program=Program.FORK), "--no-restart"),
        (a_service("--no-restart=false"), "--no-restart"),
        (a_service("-x", "app"), "--disable-containers"),
        (a_service("--log-format=json"), "--log-format"),
        (a_service(REPO_USER="a", REPO_PASS="b", WATCHTOWER_REPO_REGISTRIES="all"), "REPO_USER"),
        (a_service("--cleanup"), "--cleanup"),
    ],
)
def test_setting_with_the_same_meaning_carries_over(service: OldService, name: str) -> None:
    """What is the same in this Watchtower and here is not made a worry of."""
    assert [finding.kind for finding in said_about(service, name)] == [FindingKind.SAME]


@pytest.mark.parametrize(
    "flag",
    ["--ephemeral-self-update", "--self-update-orchestrator", "--notification-msteams-data"],
)
def test_setting_without_effect_is_told(flag: str) -> None:
    """An option that is only accepted is named as one."""
    assert [finding.kind for finding in said_about(a_service(flag), flag)] == [FindingKind.NO_EFFECT]


def test_option_whose_feature_is_missing_is_told() -> None:
    """What does nothing yet must not look as if it carried over."""
    options = tuple(replace(option, is_carried_out=option.name != "--cleanup") for option in declared_options())
    findings = assess(a_service("--cleanup"), options=options).findings
    assert Finding(FindingKind.NO_EFFECT, "--cleanup", "no effect yet") in findings


@pytest.mark.parametrize(
    ("service", "name", "part"),
    [
        (a_service("--clenup"), "--clenup", "--cleanup"),
        (a_service("--scope"), "--scope", "needs a value"),
        (a_service(WATCHTOWER_CLEANUP="yes"), "WATCHTOWER_CLEANUP", "took it for nothing"),
        (a_service("notify-upgrade"), "notify-upgrade", "no such command"),
        (a_service("plan"), "plan", "-- plan"),
        (a_service("--schedule", "0 0 4 * * 7"), "--schedule", "7"),
        (a_service(TZ="Europe/Berln", WATCHTOWER_SCHEDULE="@daily"), "TZ", "Europe/Berlin"),
        (a_service("--notification-template", "{{define `x`}}"), "--notification-template", "macro"),
        (a_service("--notification-url", "signal://me:pw@signal.example:8080"), "--notification-url", "sender"),
        (a_service("--schedule", "@daily", "--interval", "30"), "", "Cannot define both interval and schedule"),
    ],
)
def test_what_would_end_the_updater_is_refused(service: OldService, name: str, part: str) -> None:
    """Somebody learns here, and not from a container that restarts for ever, what must be changed first."""
    assert not assessed(service).would_start
    found = [item for item in said_about(service, name) if item.kind is FindingKind.REFUSED]
    assert len(found) == 1
    assert part in found[0].text


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """Three mistakes are three findings."""
    service = a_service("--clenup", "--log-format", "xml", WATCHTOWER_CLEANUP="maybe")
    found = [item.name for item in assessed(service).findings if item.kind is FindingKind.REFUSED]
    assert sorted(found) == ["--clenup", "--log-format", "WATCHTOWER_CLEANUP"]


def test_unknown_variable_is_told_with_the_nearest() -> None:
    """A slip that Watchtower never mentioned is found now; the service starts all the same."""
    service = a_service(WATCHTOWER_LABEL_ENABEL="true")
    (found,) = said_about(service, "WATCHTOWER_LABEL_ENABEL")
    assert FindingKind.UNKNOWN is found.kind
    assert "WATCHTOWER_LABEL_ENABLE" in found.text
    assert assessed(service).would_start


def test_value_from_a_variable_is_not_judged() -> None:
    """What nobody knows here is neither refused nor taken for a default."""
    service = service_in(compose_file(["--interval", "${EVERY}"], {"WATCHTOWER_CLEANUP": "${CLEAN}"}))
    assert assessed(service).would_start
    assert {"${EVERY}", "${CLEAN}"} == {
        match[0] for item in assessed(service).findings if (match := re.search(r"\$\{\w+\}", item.text))
    }


@pytest.mark.parametrize("token", ["/run/secrets/token", "${TOKEN}"])
def test_secret_that_cannot_be_seen_counts_as_given(token: str) -> None:
    """A token in a file of the container or in a variable is a token."""
    environment = {"WATCHTOWER_HTTP_API_UPDATE": "true", "WATCHTOWER_HTTP_API_TOKEN": token}
    assert assessed(service_in(compose_file("", environment))).would_start


def test_notification_urls_in_a_file_count_as_given() -> None:
    """The name of a file is no URL, and no mistake."""
    service = a_service(WATCHTOWER_NOTIFICATION_URL="/run/secrets/urls", REPO_USER="/run/secrets/user", REPO_PASS="x")
    assert assessed(service).would_start


def test_secret_is_in_no_finding() -> None:
    """Whatever is said about a setting, its value is not."""
    service = a_service(
        "--http-api-token", "MARKER", "--repo-user", "MARKER:x", "--notificaton-url", "MARKER",
        WATCHTOWER_NOTIFICATION_URL="telegram://MARKER@telegram", REPO_PASS="MARKER",
        WATCHTOWER_NOTIFICATION_URLS="MARKER",
    )  # fmt: skip
    assessment = assessed(service)
    assert "MARKER" not in json.dumps([item.as_json() for item in assessment.findings])
    assert "MARKER" not in repr((service, assessment))


@pytest.mark.parametrize(
    ("image", "program"),
    [
        ("containrrr/watchtower", Program.ORIGINAL),
        ("docker.io/containrrr/watchtower:1.7.1", Program.ORIGINAL),
        ("ghcr.io/containrrr/watchtower@sha256:00", Program.ORIGINAL),
        ("containrrr/watchtower:${TAG}", Program.ORIGINAL),
        ("nickfedor/watchtower:latest", Program.FORK),
        ("ghcr.io/nicholas-fedor/watchtower", Program.FORK),
        ("registry.example:5000/me/watchtower", Program.UNKNOWN),
        ("watchtower-async:latest", None),
        ("me/watchtower-async", None),
        ("nginx", None),
    ],
)
def test_watchtower_is_known_by_its_image(image: str, program: Program | None) -> None:
    """Only a repository called watchtower is one, from wherever it is pulled."""
    assert program is program_of(image)


def test_our_own_container_is_no_watchtower() -> None:
    """Our image carries Watchtower's label, too, and is not to be migrated again."""
    label = {"com.centurylinklabs.watchtower": "true"}
    assert Program.UNKNOWN is program_in("sha256:00", label)
    assert program_in("sha256:00", {**label, "org.opencontainers.image.title": "watchtower-async"}) is None


def test_general_differences_fit_the_program() -> None:
    """Who comes from the fork is not told about the other one's time-out."""
    original = {item.text for item in assessed(a_service()).findings if item.kind is FindingKind.ANYWAY}
    fork = {item.text for item in assessed(a_service(program=Program.FORK)).findings}
    assert any("scope label" in text for text in original)
    assert not any("scope label" in text for text in fork)
    assert any("30s" in text for text in fork)
    kept = assessed(a_service("-t", "30s", program=Program.FORK)).findings
    assert not any("--stop-timeout 30s keeps it" in item.text for item in kept)
