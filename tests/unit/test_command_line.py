"""The command line: commands, names, switches."""

import click
import pytest

from watchtower_async.cli.command_line import parse_command_line


def test_first_word_that_is_a_command_is_the_command() -> None:
    """`plan` among options is the command, its neighbours stay what they are."""
    line = parse_command_line(["--host", "unix:///x.sock", "plan", "--json", "web"], program="p")
    assert line.command == "plan"
    assert line.names == ("web",)
    assert line.values["engine.host"] == "unix:///x.sock"
    assert "--json" in line.switches


def test_option_value_that_looks_like_a_command_is_a_value() -> None:
    """The word after an option that takes a value is no command."""
    line = parse_command_line(["-l", "plan"], program="p")
    assert line.command == "run"
    assert line.values == {"log.format": "plan"}


def test_double_dash_makes_every_word_a_name() -> None:
    """A container called like a command can be named."""
    line = parse_command_line(["--run-once", "--", "plan", "--json"], program="p")
    assert line.command == "run"
    assert line.names == ("plan", "--json")


def test_command_word_after_a_name_is_a_name() -> None:
    """Only the first word can be a command."""
    assert parse_command_line(["web", "plan"], program="p").names == ("web", "plan")


def test_verb_of_a_command_is_no_name() -> None:
    """Only the word after the command; a container may be called like it."""
    line = parse_command_line(["quarantine", "--log-level", "list", "clear", "web", "clear"], program="p")
    assert (line.command, line.verb, line.names) == ("quarantine", "clear", ("web", "clear"))


def test_command_without_verbs_takes_every_word_as_a_name() -> None:
    """`plan list` is a plan for the container `list`."""
    line = parse_command_line(["plan", "list"], program="p")
    assert (line.command, line.verb, line.names) == ("plan", "", ("list",))


def test_help_of_a_command_lists_its_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    """In the usage line and with a sentence each, also before one is chosen."""
    with pytest.raises(click.exceptions.Exit):
        parse_command_line(["quarantine", "--help"], program="p")
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "Usage: p quarantine [OPTIONS] list|clear [CONTAINER]..."
    assert "Show what failed, where and why." in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_short_switches_can_be_joined() -> None:
    """`-Rc` is `-R -c`, and a value may follow the last letter."""
    line = parse_command_line(["-Rct5s", "web"], program="p")
    assert line.values == {"schedule.run_once": "true", "update.cleanup": "true", "update.stop_timeout": "5s"}
    assert line.names == ("web",)


def test_switch_with_value_keeps_the_value() -> None:
    """`--cleanup=false` is false, and the next word is still a name."""
    line = parse_command_line(["--cleanup=false", "web"], program="p")
    assert line.values == {"update.cleanup": "false"}
    assert line.names == ("web",)


@pytest.mark.parametrize("arguments", [["--no-such-flag"], ["--host"], ["plan", "--jsno"]])
def test_unknown_or_incomplete_option_is_a_usage_error(arguments: list[str]) -> None:
    """The parser refuses what it does not know."""
    with pytest.raises(click.ClickException):
        parse_command_line(arguments, program="p")


def test_help_fits_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """The help is readable on a small terminal and lists the commands."""
    with pytest.raises(click.exceptions.Exit):
        parse_command_line(["--help"], program="watchtower-async")
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "Commands:" in text
    assert "WATCHTOWER_POLL_INTERVAL" in text


def test_list_may_be_given_several_times() -> None:
    """All occurrences are kept apart, as a comma means nothing inside of some."""
    line = parse_command_line(
        ["-x", "web,db", "--disable-containers=cache", "--notification-url", "a://b,c"], program="p"
    )
    assert line.values == {
        "selection.disable_containers": ("web,db", "cache"),
        "notification.urls": ("a://b,c",),
    }


def test_of_a_switch_given_twice_the_last_counts() -> None:
    """With a value or without one."""
    assert parse_command_line(["--cleanup=false", "-c"], program="p").values == {"update.cleanup": "true"}
    assert parse_command_line(["-c", "--cleanup=false"], program="p").values == {"update.cleanup": "false"}


def test_hidden_option_is_accepted() -> None:
    """Somebody's script may have it."""
    line = parse_command_line(["--self-update-orchestrator"], program="p")
    assert line.values == {"schedule.self_update_orchestrator": "true"}


@pytest.mark.parametrize(
    ("words", "verb", "names"),
    [([], "status", ()), (["pause"], "pause", ()), (["resume", "r1"], "resume", ("r1",)), (["--json"], "status", ())],
)
def test_command_with_a_usual_verb_may_stand_alone(words: list[str], verb: str, names: tuple[str, ...]) -> None:
    """`rollout` is `rollout status`; every other word is read as before."""
    line = parse_command_line(["rollout", *words], program="p")
    assert (line.command, line.verb, line.names) == ("rollout", verb, names)


def test_verb_that_may_be_left_out_is_shown_so(capsys: pytest.CaptureFixture[str]) -> None:
    """In the usage line."""
    with pytest.raises(click.exceptions.Exit):
        parse_command_line(["rollout", "--help"], program="p")
    usage = " ".join(capsys.readouterr().out.split())
    assert usage.startswith("Usage: p rollout [OPTIONS] [status|pause|resume|abandon] [ID]...")
