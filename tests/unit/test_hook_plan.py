"""What labels say about lifecycle hooks, and what the end of a hook means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from watchtower_async.engine.exec import ExecResult
from watchtower_async.rollout.hook_plan import (
    Failed,
    Go,
    Hook,
    HookEnd,
    HookKind,
    HookResult,
    Skip,
    clearance,
    container_variable,
    read_end,
    read_hook,
)

PREFIX = "com.centurylinklabs.watchtower"
LIFECYCLE = f"{PREFIX}.lifecycle"
DAY = 24 * 3600.0
HOOK = Hook(HookKind.PRE_UPDATE, "backup", 90.0)


def read(labels: Mapping[str, str], *, kind: HookKind = HookKind.PRE_UPDATE, uid: int = 0, gid: int = 0) -> Hook | None:
    """Read a hook of this kind; `labels` are named by what comes after `lifecycle.`."""
    named = {f"{LIFECYCLE}.{name}": text for name, text in labels.items()}
    return read_hook(kind, {kind.label: "backup", **named}, uid=uid, gid=gid)


def read_drain(timeout: str) -> Hook | None:
    """Read the labels of a container that drains."""
    labels = {"watchtower-async.drain": "nginx -s quit", "watchtower-async.drain-timeout": timeout}
    return read_hook(HookKind.DRAIN, labels)


def a_result(end: HookEnd, exit_code: int | None = None) -> HookResult:
    """Return the result of a pre-update hook."""
    return HookResult(HookKind.PRE_UPDATE, "web", end, "why", "backup", exit_code)


# ---- labels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["pre-check", "pre-update", "post-update", "post-check"])
def test_each_kind_has_the_label_of_watchtower(word: str) -> None:
    """A container that Watchtower served is served unchanged, with a minute for each hook."""
    hook = read_hook(HookKind(word), {f"{LIFECYCLE}.{word}": "/hook.sh --now"})
    assert Hook(HookKind(word), "/hook.sh --now", 60.0) == hook


def test_drain_has_a_label_of_ours() -> None:
    """Its time-out is a duration."""
    assert Hook(HookKind.DRAIN, "nginx -s quit", 90.0) == read_drain("1m30s")


@pytest.mark.parametrize("labels", [{}, {f"{LIFECYCLE}.pre-update": "  "}, {f"{LIFECYCLE}.post-update": "x"}])
def test_no_label_is_no_hook(labels: dict[str, str]) -> None:
    """A blank text is nothing to run, and the other kinds have their own labels."""
    assert read_hook(HookKind.PRE_UPDATE, labels) is None


def test_command_runs_in_a_shell_as_one_text() -> None:
    """The text is not taken apart and not put into another one, whatever it holds."""
    text = "echo \"$HOME\" 'a b' && exit 75"
    assert ("sh", "-c", text) == (*Hook(HookKind.PRE_CHECK, text).words[:2], Hook(HookKind.PRE_CHECK, text).words[-1])


# ---- time-outs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 60.0), ("1", 60.0), ("5", 300.0), (" 2 ", 120.0), ("0", DAY), ("1440", DAY), ("9999", DAY)],
)
def test_time_out_is_in_minutes(text: str, seconds: float) -> None:
    """0 lifts the limit; but for a day, as nothing may wait for ever."""
    assert Hook(HookKind.PRE_UPDATE, "backup", seconds) == read({"pre-update-timeout": text})


@pytest.mark.parametrize("text", ["30s", "-1", "1.5", "soon", "٣", "1" * 40])
def test_unusable_time_out_is_a_minute_and_told(text: str) -> None:
    """The hook runs all the same; the problem names the label and what counts."""
    hook = read({"pre-update-timeout": text})
    assert hook is not None
    assert hook.seconds == 60.0
    assert [f"label {LIFECYCLE}.pre-update-timeout={text!r} is not usable: expected whole minutes; 1 counts"] == list(
        hook.problems
    )


def test_each_kind_has_its_own_time_out() -> None:
    """One kind's time-out does not hold for another; checks may have one, too."""
    assert read({"post-update-timeout": "7"}) == Hook(HookKind.PRE_UPDATE, "backup", 60.0)
    assert read({"post-check-timeout": "7"}, kind=HookKind.POST_CHECK) == Hook(HookKind.POST_CHECK, "backup", 420.0)


@pytest.mark.parametrize(("text", "seconds"), [("", 60.0), ("45", 45.0), ("250ms", 0.25), ("48h", DAY)])
def test_time_out_of_a_drain_is_a_duration(text: str, seconds: float) -> None:
    """A bare number is seconds, as everywhere in our own settings."""
    assert Hook(HookKind.DRAIN, "nginx -s quit", seconds) == read_drain(text)


@pytest.mark.parametrize("text", ["0", "-5s", "long"])
def test_unusable_time_out_of_a_drain_is_told(text: str) -> None:
    """No time at all would be a drain that never works."""
    hook = read_drain(text)
    assert hook is not None
    assert hook.seconds == 60.0
    assert hook.problems[0].startswith(f"label watchtower-async.drain-timeout={text!r} is not usable")


# ---- users ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uid", "gid", "labels", "user"),
    [
        (0, 0, {}, None),
        (1000, 0, {}, "1000"),
        (0, 1000, {}, ":1000"),
        (1000, 2000, {}, "1000:2000"),
        (1000, 2000, {"uid": "5"}, "5:2000"),
        (1000, 2000, {"uid": "0", "gid": "0"}, "0:0"),
        (1000, 0, {"gid": "7"}, "1000:7"),
        (0, 0, {"uid": "2147483647"}, "2147483647"),
    ],
)
def test_label_of_the_user_wins_over_the_flag(uid: int, gid: int, labels: dict[str, str], user: str | None) -> None:
    """A flag of 0 is not set; a label of 0 is root."""
    assert Hook(HookKind.PRE_UPDATE, "backup", user=user) == read(labels, uid=uid, gid=gid)


@pytest.mark.parametrize("text", ["root", "-1", "2147483648", "1:2"])
def test_unusable_user_is_left_out_and_told(text: str) -> None:
    """Then the flag counts."""
    hook = read({"uid": text}, uid=1000)
    assert hook is not None
    assert hook.user == "1000"
    assert hook.problems == (
        f"label {LIFECYCLE}.uid={text!r} is not usable: expected a number from 0 to 2147483647; it is left out",
    )


# ---- WT_CONTAINER --------------------------------------------------------------------------------------------------


def document(**config: Any) -> dict[str, Any]:
    """Return what inspect tells."""
    return {"Id": "0123abcd", "Name": "/web", "Config": {"Image": "registry.example:5000/app", **config}}


def test_container_is_told_as_watchtower_does() -> None:
    """Hooks that read it find the same keys in the same order, and no labels but Watchtower's."""
    labels = {
        f"{PREFIX}.scope": "a",
        f"{PREFIX}.enable": "true",
        PREFIX: "true",
        "com.example.secret": "x",
        "com.centurylinklabs.watchtowerish": "x",
    }
    expected = (
        '{"name":"web","id":"0123abcd","image_name":"registry.example:5000/app:latest","stop_signal":"SIGTERM",'
        '"labels":{"com.centurylinklabs.watchtower.enable":"true","com.centurylinklabs.watchtower.scope":"a"}}'
    )
    assert expected == container_variable("web", document(Labels=labels))


def test_go_escapes_are_kept() -> None:
    """Whoever compares texts finds the same text; other letters stand for themselves."""
    told = container_variable("web", document(Labels={f"{PREFIX}.lifecycle.pre-check": "a && b > ü"}))
    assert '"a \\u0026\\u0026 b \\u003e ü"' in told
    assert json.loads(told)["labels"] == {f"{PREFIX}.lifecycle.pre-check": "a && b > ü"}


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        ({"StopSignal": "SIGQUIT"}, "stop_signal", "SIGQUIT"),
        ({"StopSignal": "SIGQUIT", "Labels": {f"{PREFIX}.stop-signal": "SIGHUP"}}, "stop_signal", "SIGHUP"),
        ({"Image": "app:2"}, "image_name", "app:2"),
        ({"Image": "app@sha256:00"}, "image_name", "app@sha256:00"),
        ({"Image": "x", "Labels": {"com.centurylinklabs.zodiac.original-image": "app:3"}}, "image_name", "app:3"),
        ({"Labels": None}, "labels", {}),
    ],
)
def test_what_counts_in_the_container_variable(config: dict[str, Any], key: str, value: object) -> None:
    """A label counts more than the container's own setting."""
    assert value == json.loads(container_variable("web", document(**config)))[key]


# ---- ends ----------------------------------------------------------------------------------------------------------

NO_SHELL = 'OCI runtime exec failed: exec failed: exec: "sh": executable file not found in $PATH: unknown'


@pytest.mark.parametrize(
    ("done", "end", "reason"),
    [
        (ExecResult(0, "fine"), HookEnd.SUCCEEDED, "its pre-update hook succeeded"),
        (ExecResult(3, ""), HookEnd.FAILED, "its pre-update hook failed with exit code 3"),
        (ExecResult(127, "sh: nope: not found"), HookEnd.FAILED, "its pre-update hook failed with exit code 127"),
        (
            ExecResult(126, NO_SHELL),
            HookEnd.FAILED,
            f"its pre-update hook cannot run, as its image has no shell; remove the label {LIFECYCLE}.pre-update",
        ),
        (
            ExecResult(None, "", timed_out=True),
            HookEnd.TIMED_OUT,
            "its pre-update hook took longer than 90 s and was ended",
        ),
        (
            ExecResult(None, "", timed_out=True, left_running=True),
            HookEnd.TIMED_OUT,
            "its pre-update hook took longer than 90 s and could not be ended: it may still run in the container",
        ),
    ],
)
def test_end_is_told_in_words(done: ExecResult, end: HookEnd, reason: str) -> None:
    """A person reads what to do about it."""
    assert (end, reason) == read_end(HOOK, done)


@pytest.mark.parametrize("result", [None, a_result(HookEnd.SUCCEEDED, 0), a_result(HookEnd.NOT_RUN)])
def test_update_goes_on(result: HookResult | None) -> None:
    """No hook, success, and a container that has nobody to ask."""
    assert Go(result) == clearance(result)


def test_exit_code_75_skips_the_update() -> None:
    """It is no failure."""
    result = a_result(HookEnd.FAILED, 75)
    assert clearance(result) == Skip("its pre-update hook asks for another time (exit code 75, EX_TEMPFAIL)", result)


@pytest.mark.parametrize(
    "result",
    [
        a_result(HookEnd.FAILED, 1),
        a_result(HookEnd.FAILED, 127),
        a_result(HookEnd.FAILED, None),
        a_result(HookEnd.TIMED_OUT),
    ],
)
def test_whatever_else_holds_the_update(result: HookResult) -> None:
    """Any other exit code, an engine that could not run it, and a time-out."""
    assert Failed("why", result) == clearance(result)
