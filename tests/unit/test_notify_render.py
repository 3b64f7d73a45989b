"""Reports, and the messages that are made of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from watchtower_async.notify.outbox import Pending, new_pending, read_pending, write_pending
from watchtower_async.notify.render import (
    Gathering,
    Message,
    MessageKind,
    MessageSettings,
    counts,
    preview,
    render,
    split_by_container,
    title_for,
)
from watchtower_async.notify.report import ContainerReport, ImageLabels, LogEntry, Report, State, read_labels
from watchtower_async.notify.sample import quiet_report, sample_entries, sample_report
from watchtower_async.notify.templates import read_template
from watchtower_async.settings import LogLevel

NOW = datetime(2024, 1, 2, 15, 4, 5, tzinfo=UTC)


def a_container(name: str, state: State = State.FRESH, **more: object) -> ContainerReport:
    """Return a container whose id is its name."""
    return ContainerReport(id=name, name=name, image=f"{name}:1", state=state, **more)  # type: ignore[arg-type]


def a_report(*containers: ContainerReport) -> Report:
    """Return a report of one session."""
    return Report("s1", "h", containers)


def an_entry(message: str = "hello", level: str = "info", **data: object) -> LogEntry:
    """Return a line of the log."""
    return LogEntry(message, level, NOW, data)


def settings(template: str = "", *, is_report: bool = True, **more: object) -> MessageSettings:
    """Return settings with a title."""
    chosen = read_template(template, is_report=is_report)
    return MessageSettings(template=chosen, is_report=is_report, title="T", host="h", **more)  # type: ignore[arg-type]


def bodies(rendered: tuple[Message, ...]) -> list[str]:
    """Return the texts of messages."""
    return [message.body for message in rendered]


def test_report_counts_skipped_containers_as_not_scanned() -> None:
    """All others were looked at."""
    report = sample_report()
    assert len(report.all) == 7
    assert {State.SKIPPED} == {container.state for container in set(report.all) - set(report.scanned)}
    assert [len(found) for found in (report.failed, report.skipped, report.stale, report.fresh, report.restarted)] == [
        1,
        1,
        1,
        1,
        1,
    ]


def test_report_is_sorted_by_id() -> None:
    """So the same session always reads the same."""
    assert [container.id for container in a_report(a_container("b"), a_container("a")).all] == ["a", "b"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"old_version": "1", "new_version": "2", "old_digest": "sha256:aa", "new_digest": "sha256:bb"}, ("1", "2")),
        ({"old_version": "1", "new_version": "1", "old_digest": "sha256:aa", "new_digest": "sha256:bb"}, ("aa", "bb")),
        ({"new_version": "2", "old_digest": "sha256:aa", "new_digest": "sha256:bb"}, ("aa", "bb")),
        ({"old_image_id": "sha256:" + "a" * 64, "new_image_id": "sha256:" + "b" * 64}, ("a" * 12, "b" * 12)),
        ({"old_image_id": "sha256:cc", "new_digest": "sha256:bb"}, ("cc", "bb")),
    ],
)
def test_update_is_named_by_version_digest_or_id(more: dict[str, str], expected: tuple[str, str]) -> None:
    """A version counts only when both images have one and they differ."""
    container = a_container("web", State.UPDATED, **more)
    assert expected == (container.old, container.new)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://github.com/o/r", "https://github.com/o/r/compare/aa...bb"),
        ("https://gitlab.com/o/r.git", "https://gitlab.com/o/r/-/compare/aa...bb"),
        ("https://git.example.com/o/r/", "https://git.example.com/o/r"),
        ("git@github.com:o/r.git", ""),
        ("javascript:alert(1)", ""),
        ("https://user:pass@github.com/o/r", ""),
        ("", ""),
    ],
)
def test_link_shows_the_change_where_the_host_is_known(source: str, expected: str) -> None:
    """Only what is a plain web address becomes a link."""
    assert expected == a_container("web", source=source, old_revision="aa", new_revision="bb").link


def test_labels_are_kept_to_one_line_and_cut() -> None:
    """Whoever made the image wrote them."""
    labels = {
        "org.opencontainers.image.version": "1.2\n3\x1b[31m",
        "org.opencontainers.image.revision": "r" * 1000,
        "org.opencontainers.image.source": " https://x.y/z ",
    }
    assert ImageLabels("1.23[31m", "r" * 200, "https://x.y/z") == read_labels(labels)


def test_title_holds_tag_and_host() -> None:
    """Without a tag there is no bracket, and it can be left out."""
    assert title_for("h", tag="lab") == "[lab] Watchtower updates on h"
    assert title_for("h") == "Watchtower updates on h"
    assert title_for("h", tag="lab", is_skipped=True) == ""


@pytest.mark.parametrize(
    ("entry", "level", "expected"),
    [
        (an_entry(level="info"), LogLevel.INFO, True),
        (an_entry(level="debug"), LogLevel.INFO, False),
        (an_entry(level="warning"), LogLevel.WARN, True),
        (an_entry(level="info"), LogLevel.WARN, False),
        (an_entry(level="debug"), LogLevel.TRACE, True),
        (an_entry(level="error", notify="no"), LogLevel.INFO, False),
    ],
)
def test_entry_counts_from_its_level_on(entry: LogEntry, level: LogLevel, expected: bool) -> None:
    """And never when it says that it is not to be told."""
    assert expected == counts(entry, level)


def test_session_makes_one_message() -> None:
    """With its title, and with how good the news is."""
    found = render(settings(), (), a_report(a_container("web", State.UPDATED), a_container("db")))
    (message,) = found.messages
    assert (message.title, message.kind) == ("T", MessageKind.SUCCESS)
    assert message.body.startswith("2 Scanned, 1 Updated, 0 Failed")


def test_message_without_text_is_not_sent() -> None:
    """So a session in which nothing happened is silent."""
    assert render(settings(), (), quiet_report()).messages == ()


def test_level_error_tells_only_of_failures() -> None:
    """With a report, as there the entries say nothing."""
    updated, failed = a_container("web", State.UPDATED), a_container("db", State.FAILED, error="no")
    assert render(settings(level=LogLevel.ERROR), (), a_report(updated)).messages == ()
    (message,) = render(settings(level=LogLevel.ERROR), (), a_report(updated, failed)).messages
    assert MessageKind.FAILURE is message.kind


def test_same_line_twice_counts_once() -> None:
    """In one batch; another container makes another line."""
    entries = (an_entry("a", c="1"), an_entry("a", c="1"), an_entry("a", c="2"), an_entry("b"))
    assert bodies(render(settings(is_report=False), entries, None).messages) == ["a\na\nb\n"]


def test_message_is_sent_with_another_template_when_its_own_fails() -> None:
    """The news matter more than their looks, and the problem is told."""
    chosen = settings("{{ report.updated | length }} updated")
    found = render(chosen, (an_entry("started"),), None)
    assert bodies(found.messages) == ["started"]
    assert "line 1" in found.problem


def test_split_makes_one_message_for_each_container_something_happened_to() -> None:
    """Fresh ones, and those that were merely left, make none; the other states stay complete."""
    report = a_report(
        a_container("a", State.UPDATED), a_container("b", State.UPDATED), a_container("c", State.FAILED),
        a_container("d", State.STALE, is_monitor_only=True), a_container("e", State.STALE),
        a_container("f", State.SKIPPED, is_cooling_down=True), a_container("g", State.SKIPPED), a_container("h"),
        a_container("i", State.RESTARTED),
    )  # fmt: skip
    found = split_by_container(report)
    assert len(found) == 6
    assert [[container.name for container in one.updated] for one in found[:2]] == [["a"], ["b"]]
    assert [container.name for container in found[0].failed] == ["c"]
    assert [container.name for container in found[0].stale] == ["d", "e"]


def test_split_messages_keep_the_template() -> None:
    """Each is a report of its own."""
    report = a_report(a_container("a", State.UPDATED), a_container("b", State.UPDATED))
    chosen = settings("{% for c in report.updated %}{{ c.name }}{% endfor %}", split_by_container=True)
    assert bodies(render(chosen, (), report).messages) == ["a", "b"]


def test_entry_outside_of_a_batch_is_told_at_once() -> None:
    """Nobody waits for a session to hear of a problem."""
    gathering = Gathering(settings(is_report=False))
    assert bodies(gathering.add(an_entry()).messages) == ["hello\n"]
    assert gathering.add(an_entry(level="debug")).messages == ()


def test_batch_is_told_at_its_end() -> None:
    """What comes in between adds to it."""
    gathering = Gathering(settings(is_report=False))
    gathering.begin()
    assert gathering.add(an_entry("a")).messages == ()
    gathering.begin()
    assert gathering.add(an_entry("b")).messages == ()
    assert bodies(gathering.finish().messages) == ["a\nb\n"]
    assert gathering.finish().messages == ()


def test_report_is_told_when_no_entry_counted() -> None:
    """The report has it all."""
    gathering = Gathering(settings())
    gathering.begin()
    assert len(gathering.finish(sample_report()).messages) == 1


def test_preview_shows_title_and_text() -> None:
    """Or that nothing is sent."""
    shown = preview(settings("{{ report.updated | length }} updated"), sample_entries(), sample_report())
    assert shown == "T\n\n2 updated"
    assert preview(settings(), (), quiet_report()) == "(no message is sent)"
    with pytest.raises(ValueError, match="line 1"):
        preview(settings("{{ report.updated }}"), (), None)


def test_pending_message_survives_being_written_down() -> None:
    """With the service's name and without a secret."""
    pending = new_pending("smtp://***@m:25", Message("T", "text\n→", MessageKind.FAILURE), now=NOW)
    assert pending == read_pending(pending.key, write_pending(pending))
    assert "1704207845000" in pending.key


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"service": 1}', "null", '{"service":"a","title":"","body":"","kind":"x"}']
)
def test_unreadable_pending_message_is_nothing(text: str) -> None:
    """Another version may have written it."""
    found: Pending | None = read_pending("k", text)
    assert found is None
