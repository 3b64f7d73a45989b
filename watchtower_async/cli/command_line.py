"""The command line, derived from the declared options.

The first word that is the name of a command is the command, all other words are container names; after `--` every word
is a name. Options may stand anywhere. A switch takes a value only with `=` (`--cleanup=false`), as in Watchtower. Of an
option that is given twice the last one counts, except for lists, where all of them do.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import click

from watchtower_async.rollout import helper_words
from watchtower_async.settings import Option, declared_options


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What was asked for: a command and its verb, option texts by key, container names, the command's own switches."""

    command: str
    values: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    switches: frozenset[str] = frozenset()
    verb: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    """The command's own options that take a value, by flag."""


@dataclass(frozen=True, slots=True)
class CommandHelp:
    """One command: its summary, its own switches (flag to help text), and the verbs of which one must follow it."""

    name: str
    summary: str
    switches: Mapping[str, str] = field(default_factory=dict)
    verbs: Mapping[str, str] = field(default_factory=dict)
    takes: str = "CONTAINER"
    """What the words after it name; empty where there are none."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Its own options that take a value."""
    default_verb: str = ""
    """The verb that is meant where no word follows."""

    @property
    def words(self) -> str:
        """Return the words that may follow, for the usage line."""
        names = f"[{self.takes}]..." if self.takes else ""
        verbs = "|".join(self.verbs)
        if self.default_verb:
            return f"[{verbs}] {names}"
        return f"{verbs} {names}".strip()


RUN = CommandHelp("run", "Keep running containers on the image their tag points to.")
PLAN = CommandHelp(
    "plan", "Show what a session would do, and why, without touching or pulling anything.",
    {"--json": "Print the plan for programs."},
)  # fmt: skip
CREDENTIALS = CommandHelp(
    "credentials", "Show which login answers for which registry, and whether it is accepted.",
    {
        "--check": "Ask each registry whether it accepts the login now, without pulling.",
        "--json": "Print the answer for programs.",
    },
)  # fmt: skip
LIST, CLEAR = "list", "clear"
QUARANTINE = CommandHelp(
    "quarantine", "Show the images that failed and are not tried again, or have them tried again.",
    {"--all": "Clear everything.", "--json": "Print the answer for programs."},
    {LIST: "Show what failed, where and why.", CLEAR: "Let the images of these containers be tried again."},
)  # fmt: skip
MIGRATE = CommandHelp(
    "migrate", "Show what becomes of a Watchtower service here: a compose file, the output of docker inspect, or -.",
    {
        "--find": "Look for Watchtower on the engine.",
        "--write": "Write the new compose file, and keep the old one beside it.",
        "--json": "Print the answer for programs.",
    },
    takes="FILE",
)  # fmt: skip
TEST, PREVIEW = "test", "preview"
NOTIFY = CommandHelp(
    "notify", "Try the notification services, or see what a message looks like.",
    {"--quiet": "With preview: after a session that found nothing."},
    {TEST: "Send one message and say what each service answered.", PREVIEW: "Show the message of a made-up session."},
    takes="",
)  # fmt: skip
NOTIFY_UPGRADE = CommandHelp(
    "notify-upgrade", "Write the older notification options as URLs into a file, and wait until it was fetched.",
    takes="",
)  # fmt: skip
STATUS, PAUSE, RESUME, ABANDON = "status", "pause", "resume", "abandon"
ROLLOUT = CommandHelp(
    "rollout", "Show the rollouts that are not over, or decide about one; without an ID about the only one there is.",
    {"--json": "Print the answer for programs."},
    {
        STATUS: "Show where they stand; the same as no word at all.",
        PAUSE: "Let nothing new begin.",
        RESUME: "Let it go on.",
        ABANDON: "Give it up; what it has begun comes to its end.",
    },
    takes="ID",
    default_verb=STATUS,
)  # fmt: skip
COMMANDS: Mapping[str, CommandHelp] = {
    item.name: item for item in (PLAN, CREDENTIALS, QUARANTINE, ROLLOUT, NOTIFY, MIGRATE, NOTIFY_UPGRADE)
}
REPLACE_SELF = CommandHelp(
    helper_words.COMMAND, "Replace the container of an updater.", options=helper_words.OPTIONS
)  # fmt: skip
_HIDDEN: Mapping[str, CommandHelp] = {REPLACE_SELF.name: REPLACE_SELF}
"""What the program runs by itself, in a container of its own."""


_TEXT_INDENT = " " * 8


def parse_command_line(arguments: Sequence[str], *, program: str) -> CommandLine:
    """Read the arguments. Raises click.ClickException for a usage error and click.exceptions.Exit after `--help`."""
    options = tuple(declared_options())
    commands = {**COMMANDS, **_HIDDEN}
    command, rest = split_command(arguments, options, commands)
    described = commands[command] if command else RUN
    rest, switch_values = _take_switch_values(rest, options)
    given = _parse(described, rest, options, program)
    verb, names = _take_verb(described, tuple(given.pop("names")))
    switches = frozenset(flag for flag in described.switches if given.pop(_identifier(flag)))
    own = {flag: text for flag in described.options if (text := given.pop(_identifier(flag))) is not None}
    values = {option.key: given[_identifier(option.key)] for option in options}
    texts = {key: "true" if value is True else value for key, value in values.items() if value not in (None, False, ())}
    line = CommandLine(described.name, {**texts, **switch_values}, names, switches, verb, own)
    _check_quarantine(line)
    _check_rollout(line)
    if names and not described.takes:
        raise click.UsageError(f"'{described.name}' takes no names")
    return line


def split_command(
    arguments: Sequence[str], options: Sequence[Option], commands: Collection[str]
) -> tuple[str | None, list[str]]:
    """Take the command out of the arguments, if their first word is one."""
    takes_value = {flag for option in options if not option.is_switch for flag in option.flags}
    skip = False
    for index, argument in enumerate(arguments):
        if skip:
            skip = False
        elif argument == "--":
            break
        elif argument.startswith("-") and argument != "-":
            skip = _wants_next(argument, takes_value)
        elif argument in commands:
            return argument, [*arguments[:index], *arguments[index + 1 :]]
        else:
            break
    return None, list(arguments)


def _wants_next(argument: str, takes_value: Collection[str]) -> bool:
    if argument.startswith("--"):
        return argument in takes_value
    for position, letter in enumerate(argument[1:], start=1):
        if f"-{letter}" in takes_value:
            return position == len(argument) - 1
    return False


def _take_verb(described: CommandHelp, words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    if not described.verbs:
        return "", words
    if not words and described.default_verb:
        return described.default_verb, ()
    if not words or words[0] not in described.verbs:
        raise click.UsageError(f"after {described.name!r} comes one of: {', '.join(described.verbs)}")
    return words[0], words[1:]


def _check_quarantine(line: CommandLine) -> None:
    has_all = "--all" in line.switches
    if line.verb == CLEAR and bool(line.names) is has_all:
        raise click.UsageError("'quarantine clear' takes names of containers, or --all")
    if line.verb == LIST and (line.names or has_all):
        raise click.UsageError("'quarantine list' takes neither names nor --all")


def _check_rollout(line: CommandLine) -> None:
    if line.command == ROLLOUT.name and len(line.names) > 1:
        raise click.UsageError(f"'rollout {line.verb}' takes one ID at most")


def _take_switch_values(arguments: Sequence[str], options: Sequence[Option]) -> tuple[list[str], dict[str, str]]:
    """Take `--switch=value` out of the arguments: the parser below knows only `--switch`."""
    switches = {flag: option.key for option in options if option.is_switch for flag in option.flags}
    short = {flag for option in options if not option.is_switch for flag in option.flags if not flag.startswith("--")}
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept: list[str] = []
    values: dict[str, str] = {}
    for argument in arguments[:end]:
        flag, equals, text = argument.partition("=")
        if equals and flag in switches:
            values[switches[flag]] = text
        elif equals and flag in short:
            # The parser below would take the sign for a part of the value.
            kept += [flag, text]
        else:
            values.pop(switches.get(argument, ""), None)
            kept.append(argument)
    return [*kept, *arguments[end:]], values


def _parse(described: CommandHelp, arguments: list[str], options: Sequence[Option], program: str) -> dict[str, Any]:
    parameters: list[click.Parameter] = [_click_option(option) for option in options]
    parameters.append(
        click.Option(
            ["--health-check", "health_check"], is_flag=True,
            help="Ask the running updater how it is: exit code 0 when it is well.",
        )
    )  # fmt: skip
    parameters += [
        click.Option([flag, _identifier(flag)], is_flag=True, help=text) for flag, text in described.switches.items()
    ]
    parameters += [click.Option([flag, _identifier(flag)], help=text) for flag, text in described.options.items()]
    parameters.append(click.Argument(["names"], nargs=-1, type=str, metavar=described.words))
    command = _GroupedCommand(described, parameters)
    info = program if described is RUN else f"{program} {described.name}"
    with command.make_context(info, arguments) as context:
        given: dict[str, Any] = dict(context.params)
    given.pop("health_check")
    return given


def _click_option(option: Option) -> click.Option:
    names = [*option.flags, _identifier(option.key)]
    notes = [f"default {option.shown_default}"] if option.shown_default else []
    notes += [*option.remarks, *([option.env] if option.env else [])]
    text = f"{option.help} [{'; '.join(notes)}]" if notes else option.help
    if option.is_switch:
        return click.Option(names, is_flag=True, default=False, help=text, hidden=option.is_hidden)
    return click.Option(
        names, type=str, default=None, multiple=option.is_list, help=text, metavar=option.metavar,
        hidden=option.is_hidden,
    )  # fmt: skip


def _identifier(key: str) -> str:
    return key.removeprefix("--").replace(".", "__").replace("-", "_")


class _GroupedCommand(click.Command):
    """A command whose help lists the options by group."""

    def __init__(self, described: CommandHelp, parameters: list[click.Parameter]) -> None:
        super().__init__(
            described.name, params=parameters, help=described.summary,
            context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 80},
        )  # fmt: skip
        self._described = described

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the option groups and, for the program itself, the commands."""
        by_name = {parameter.name: parameter for parameter in self.get_params(ctx)}
        for title, group in groupby(declared_options(), key=lambda option: option.group):
            parameters = [by_name.pop(_identifier(option.key)) for option in group]
            self._write(ctx, formatter, title, parameters)
        self._write(ctx, formatter, "Other", [item for item in by_name.values() if isinstance(item, click.Option)])
        if self._described.verbs:
            with formatter.section("Verbs"):
                formatter.write_dl(list(self._described.verbs.items()))
        if self._described is RUN:
            with formatter.section("Commands"):
                formatter.write_dl([(command.name, command.summary) for command in COMMANDS.values()])

    def _write(
        self, ctx: click.Context, formatter: click.HelpFormatter, title: str, parameters: Sequence[click.Parameter]
    ) -> None:
        records = [record for item in parameters if (record := item.get_help_record(ctx)) is not None]
        if records:
            with formatter.section(title):
                for term, text in records:
                    # Names are long: a column for them would leave none for the text. None is broken at a hyphen.
                    formatter.write(f"{'':{formatter.current_indent}}{term}\n")
                    formatter.write(
                        textwrap.fill(
                            text, formatter.width, initial_indent=_TEXT_INDENT, subsequent_indent=_TEXT_INDENT,
                            break_on_hyphens=False, break_long_words=False,
                        ) + "\n"
                    )  # fmt: skip
