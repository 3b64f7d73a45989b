"""The log as it is written."""

import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from watchtower_async.credentials.credential import Credential
from watchtower_async.settings import LogFormat, LogLevel, LogSettings
from watchtower_async.telemetry.logging import LoggedEntry, configure_logging

SECRET = "s3cr3t-marker"
FORMATS = [LogFormat.JSON, LogFormat.LOGFMT, LogFormat.PRETTY]


@pytest.fixture(autouse=True)
def _defaults_afterwards() -> Iterator[None]:
    yield
    structlog.reset_defaults()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def a_log(
    log_format: LogFormat = LogFormat.JSON, level: LogLevel = LogLevel.INFO, stream: io.StringIO | None = None
) -> tuple[Any, io.StringIO]:
    """Return a logger and what it writes to."""
    stream = stream or io.StringIO()
    configure_logging(LogSettings(level=level, format=log_format), stream=stream)
    return structlog.get_logger(), stream


def test_json_line_holds_identifier_sentence_and_values() -> None:
    """Programs read the identifier, people and Watchtower's scripts the sentence."""
    log, stream = a_log()
    log.info("session.finished", Failed=0, Scanned=3, Updated=1)
    line = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line.pop("time"))
    assert line == {
        "event": "session.finished", "msg": "Session done", "level": "info", "Failed": 0, "Scanned": 3, "Updated": 1,
    }  # fmt: skip


def test_logfmt_line_begins_as_in_watchtower() -> None:
    """Time, level, sentence, then the values; scripts find the counts of a session where they were."""
    log, stream = a_log(LogFormat.LOGFMT)
    log.info("session.finished", Failed=0, Scanned=2, Updated=1, notify="no", Fresh=1)
    assert re.fullmatch(
        r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=info msg="Session done" '
        r"Failed=0 Scanned=2 Updated=1 notify=no Fresh=1 event=session\.finished\n",
        stream.getvalue(),
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("web", "web"),
        ("a-b_c.d/e@f^+", "a-b_c.d/e@f^+"),
        ("redis:7", '"redis:7"'),
        ("two words", '"two words"'),
        ("", '""'),
        ('said "no" = never', r'"said \"no\" = never"'),
        ("back\\slash", r'"back\\slash"'),
        ("line\nbreak\ttab", r'"line\nbreak\ttab"'),
        ("\x1b[2J\x9b", r'"\u001b[2J\u009b"'),
        ("grün", '"grün"'),
        (True, "true"),
        (7, "7"),
        (["a", "b"], r'"[\"a\", \"b\"]"'),
    ],
)
def test_logfmt_value_is_quoted_where_it_needs_it(value: object, written: str) -> None:
    """Whoever reads logfmt gets the value back, and what a registry says moves no cursor."""
    log, stream = a_log(LogFormat.LOGFMT)
    log.info("x", value=value)
    assert f" value={written} event=x\n" in stream.getvalue()


def test_logfmt_leaves_out_what_is_not_known() -> None:
    """No value is no key."""
    log, stream = a_log(LogFormat.LOGFMT)
    log.info("x", value=None)
    assert "value" not in stream.getvalue()


def test_pretty_line_is_for_people() -> None:
    """Clock, level, sentence, values; what is empty is left out."""
    log, stream = a_log(LogFormat.PRETTY)
    log.warning("container.unknown", container="web", digest_to=None, detail="")
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARN  Unable to check container  container=web\n", stream.getvalue())


@pytest.mark.parametrize(
    ("log_format", "stream", "begins"),
    [
        (LogFormat.AUTO, io.StringIO(), "time="),
        (LogFormat.AUTO, Terminal(), r"\d\d:\d\d:\d\d \x1b\[32mINFO \x1b\[0m Stopped"),
        (LogFormat.PRETTY, Terminal(), r"\d\d:\d\d:\d\d \x1b\[32mINFO \x1b\[0m Stopped"),
        (LogFormat.PRETTY, io.StringIO(), r"\d\d:\d\d:\d\d INFO  Stopped"),
        (LogFormat.LOGFMT, Terminal(), "time="),
        (LogFormat.JSON, Terminal(), r"\{"),
    ],
)
def test_form_and_colours_depend_on_where_it_is_written(
    log_format: LogFormat, stream: io.StringIO, begins: str
) -> None:
    """Colours are for terminals; a file or a pipe gets logfmt unless somebody asked otherwise."""
    log, _ = a_log(log_format, stream=stream)
    log.info("updater.stopped")
    assert re.match(begins, stream.getvalue())


@pytest.mark.parametrize(
    ("log_format", "begins"),
    [
        (LogFormat.AUTO, 'time="'),
        (LogFormat.PRETTY, r"\d\d:\d\d:\d\d INFO  Stopped"),
        (LogFormat.LOGFMT, 'time="'),
    ],
)
def test_who_wants_no_colours_gets_none_in_a_terminal_either(log_format: LogFormat, begins: str) -> None:
    """The automatic form is logfmt then, as in Watchtower."""
    stream = Terminal()
    configure_logging(LogSettings(format=log_format, no_color=True), stream=stream)
    structlog.get_logger().info("updater.stopped")
    assert re.match(begins, stream.getvalue())
    assert "\033" not in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "written"),
    [
        (LogLevel.PANIC, ["error", "critical"]),
        (LogLevel.FATAL, ["error", "critical"]),
        (LogLevel.ERROR, ["error", "critical"]),
        (LogLevel.WARN, ["warning", "error", "critical"]),
        (LogLevel.INFO, ["info", "warning", "error", "critical"]),
        (LogLevel.DEBUG, ["debug", "info", "warning", "error", "critical"]),
        (LogLevel.TRACE, ["debug", "info", "warning", "error", "critical"]),
    ],
)
def test_levels_have_watchtowers_names(level: LogLevel, written: list[str]) -> None:
    """`panic` and `fatal` show what `error` shows, `trace` what `debug` shows."""
    log, stream = a_log(level=level)
    for name in ("debug", "info", "warning", "error", "critical"):
        getattr(log, name)("x", name=name)
    assert [json.loads(line)["name"] for line in stream.getvalue().splitlines()] == written


def test_critical_is_written_as_error() -> None:
    """Readers of the log know no higher level."""
    log, stream = a_log()
    log.critical("replacement.lost")
    line = json.loads(stream.getvalue())
    assert line["level"] == "error"
    assert line["msg"].startswith("CONTAINER IS DOWN")


def test_identifier_without_a_sentence_is_its_own() -> None:
    """No entry is without a message."""
    log, stream = a_log()
    log.info("something.new")
    assert json.loads(stream.getvalue())["msg"] == "something.new"


def test_values_bound_to_the_context_are_written() -> None:
    """What is bound high up stands in every line below."""
    log, stream = a_log()
    with structlog.contextvars.bound_contextvars(session="s1"):
        log.info("x")
    assert json.loads(stream.getvalue())["session"] == "s1"


@pytest.mark.parametrize("log_format", FORMATS)
def test_line_break_in_a_value_does_not_make_a_second_line(log_format: LogFormat) -> None:
    """What a registry says cannot pose as an entry of ours."""
    log, stream = a_log(log_format)
    log.info("updater.degraded", reason="no\ntime=now level=info msg=forged\x1b[2J\r")
    assert stream.getvalue().count("\n") == 1
    assert not {"\033", "\r"} & set(stream.getvalue())


@pytest.mark.parametrize("log_format", FORMATS)
def test_secret_is_masked_in_every_form(log_format: LogFormat) -> None:
    """By its key, in a URL, and in a credential that somebody logs."""
    log, stream = a_log(log_format)
    log.info(
        "x",
        password=SECRET,
        reason=f"GET https://user:{SECRET}@host/token?token={SECRET}",
        nested={"inner": [{"Authorization": SECRET}]},
        credential=Credential(username=SECRET, password=SECRET),
    )
    assert SECRET not in stream.getvalue()
    assert stream.getvalue()


def fail(token: str) -> None:
    """Raise with a secret in a local variable."""
    raise RuntimeError(f"cannot continue: https://host/?token={token}")


@pytest.mark.parametrize("log_format", FORMATS)
def test_traceback_shows_the_way_and_no_local_variables(log_format: LogFormat) -> None:
    """The values of local variables may be secrets, and so may a URL in the message."""
    log, stream = a_log(log_format)
    try:
        fail(SECRET)
    except RuntimeError:
        log.exception("x")
    text = stream.getvalue()
    assert SECRET not in text
    assert "in fail" in text
    assert "RuntimeError: cannot continue" in text


def test_exception_that_is_handed_over_is_the_one_that_is_shown() -> None:
    """It may be logged later than it was caught."""
    log, stream = a_log()
    try:
        fail("x")
    except RuntimeError as error:
        kept = error
    log.error("x", exc_info=kept)
    assert "RuntimeError: cannot continue" in json.loads(stream.getvalue())["traceback"]


def test_entry_without_an_exception_has_no_traceback() -> None:
    """`exc_info=False` is nothing."""
    log, stream = a_log()
    log.error("x", exc_info=False)
    assert json.loads(stream.getvalue()).keys() == {"event", "msg", "level", "time"}


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output belongs to what commands answer."""
    configure_logging(LogSettings(format=LogFormat.JSON))
    structlog.get_logger().info("x")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "x"


def test_secret_of_the_settings_is_masked_in_every_line() -> None:
    """Wherever it comes from."""
    stream = io.StringIO()
    configure_logging(LogSettings(format=LogFormat.JSON), stream=stream, secrets=[SECRET])
    structlog.get_logger().warning("updater.degraded", problem=f"the service said {SECRET}")
    assert json.loads(stream.getvalue())["problem"] == "the service said ***"


def test_listener_hears_what_is_written_and_in_the_words_for_notifications() -> None:
    """Sentence with its values, level and time, without secrets; what is below the level of the log is not heard."""
    heard: list[LoggedEntry] = []
    configure_logging(LogSettings(format=LogFormat.JSON), stream=io.StringIO(), secrets=[SECRET], listener=heard.append)
    log = structlog.get_logger()
    log.debug("session.started")
    log.critical("replacement.lost", container="web", reason=f"said {SECRET}", notify="no")
    (entry,) = heard
    assert entry.identifier == "replacement.lost"
    assert entry.level == "error"
    assert entry.message == "CONTAINER /web IS DOWN: putting it back failed, look at it now: said ***"
    assert entry.values == {"container": "web", "reason": "said ***", "notify": "no"}
    assert abs(datetime.now(UTC) - entry.time) < timedelta(minutes=1)


def test_sentence_of_a_notification_is_not_in_the_log() -> None:
    """It has the values already."""
    log, stream = a_log()
    log.info("image.removed", image_id="abc")
    assert json.loads(stream.getvalue()).keys() == {"event", "msg", "level", "time", "image_id"}
