"""What the documentation names exists: files, headings, options, variables, labels and command lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from prometheus_client import CollectorRegistry

from watchtower_async.cli.command_line import COMMANDS, parse_command_line
from watchtower_async.rollout import hook_plan, order, policy, preparation
from watchtower_async.settings import declared_options
from watchtower_async.telemetry.metrics import Metrics
from watchtower_async.updates import agenda, ordering, selection

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

OTHER_PROGRAMS = frozenset(
    {
        *("--build-arg", "--filter", "--name", "--require-hashes", "--restart", "--rm"),
        *("--unix-socket", "--user"),
    }
)
"""Options of docker, pip and curl that pages name."""
NO_SETTINGS = frozenset({"WATCHTOWER_ASYNC_IMAGE"})
"""A variable of the compose examples."""

_LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]*)\)")
# What is cut short, as in `--rollout-…` and `--rollout-<term>`, stands for several names.
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*+(?![…<])")
_OPTION_STEM = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*+)[…<]")
_VARIABLE = re.compile(r"\bWATCHTOWER_[A-Z0-9_]++(?![…<])")
_LABEL = re.compile(r"(?<![\w./-])(?:watchtower-async|com\.centurylinklabs)(?:\.[a-z0-9-]++)++(?!\.?[…<])")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PROGRAMS = frozenset({"watchtower-async", "scripts/run", "/watchtower"})


def _labels() -> frozenset[str]:
    """Return every label that the package reads, and the prefix that they begin with."""
    terms = (f"{policy.LABEL_PREFIX}{name}" for name in _rollout_terms())
    hooks = (label for kind in hook_plan.HookKind for label in (kind.label, kind.timeout_label))
    return frozenset(
        {
            selection.WATCHTOWER,
            selection.ENABLE,
            selection.MONITOR_ONLY,
            selection.NO_PULL,
            selection.COOLDOWN,
            selection.SCOPE,
            selection.ORIGINAL_IMAGE,
            ordering.DEPENDS_ON,
            agenda.SCHEDULE_LABEL,
            policy.ORDER_LABEL,
            order.RELEASE_LABEL,
            preparation.ROLL_BACK_LABEL,
            hook_plan.STOP_SIGNAL,
            hook_plan.UID,
            hook_plan.GID,
            *terms,
            *hooks,
        }
    )


def _rollout_terms() -> Iterator[str]:
    """Yield the terms of a rollout: a label has the name of the flag."""
    for option in declared_options():
        if option.key.startswith("rollout.") and option.key != "rollout.rolling_restart":
            yield option.name.removeprefix("--rollout-")


def _text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def _slugs(text: str) -> frozenset[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    prose = _BLOCK.sub("", text)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles)


def _command_lines(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each command line of ours in a page."""
    for language, block in _BLOCK.findall(text):
        if language != "sh":
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for index, word in enumerate(words):
                if word in _PROGRAMS:
                    rest = words[index + 1 :]
                    end = next((at for at, other in enumerate(rest) if other in ("|", "&&", ";")), len(rest))
                    yield rest[:end]
                    break


@pytest.mark.parametrize("name", NAMES)
def test_link_leads_somewhere(name: str) -> None:
    """A relative link names a file that is there, and a heading that is in it."""
    page = ROOT / name
    for link in _LINK.findall(_BLOCK.sub("", _text(name))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in _slugs(target.read_text("utf-8")), link


@pytest.mark.parametrize("name", NAMES)
def test_option_exists(name: str) -> None:
    """A long option is declared, or belongs to a command, or is known to be that of another program."""
    declared = {flag for option in declared_options() for flag in option.flags}
    own = {flag for command in COMMANDS.values() for flag in (*command.switches, *command.options)}
    known = declared | own | {"--help", "--health-check"} | OTHER_PROGRAMS
    text = _text(name)
    assert set(_OPTION.findall(text)) - known == set()
    stems = _OPTION_STEM.findall(text)
    assert [stem for stem in stems if not any(flag.startswith(stem) for flag in declared)] == []


@pytest.mark.parametrize("name", NAMES)
def test_variable_exists(name: str) -> None:
    """An environment variable of ours is that of an option."""
    known = {option.env for option in declared_options()} | NO_SETTINGS
    assert set(_VARIABLE.findall(_text(name))) - known == set()


@pytest.mark.parametrize("name", NAMES)
def test_label_exists(name: str) -> None:
    """A label is one that the package reads."""
    assert set(_LABEL.findall(_text(name))) - _labels() == set()


@pytest.mark.parametrize("name", NAMES)
def test_command_line_can_be_read(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a reader copies into a shell is no usage error."""
    for arguments in _command_lines(_text(name)):
        try:
            parse_command_line(arguments, program="watchtower-async")
        except click.exceptions.Exit:
            capsys.readouterr()  # --help
        except click.ClickException as error:
            pytest.fail(f"{shlex.join(arguments)}: {error.format_message()}")


def test_pages_have_something_to_check() -> None:
    """The patterns still find what pages are written with."""
    text = _text("README.md") + _text("docs/rollouts.md")
    assert "docs/rollouts.md" in _LINK.findall(text)
    assert "--rollout-parallelism" in _OPTION.findall(text)
    assert "WATCHTOWER_TIMEOUT" in _VARIABLE.findall(text)
    assert "watchtower-async.rollout.delay" in _LABEL.findall(text)
    assert ["rollout", "pause"] in list(_command_lines(text))


def test_every_metric_is_explained() -> None:
    """On the page about the API; `_updated` behind a whole name stands for one that begins in the same way."""
    shown = Metrics(registry=CollectorRegistry(), quarantined=lambda: 0).render().decode()
    names = set(re.findall(r"^# TYPE (watchtower_\S+)", shown, re.MULTILINE))
    text = _text("docs/http-api.md")
    known = set(re.findall(r"`(watchtower_[a-z_]+)`", text))
    known |= {f"watchtower_containers{end}" for end in re.findall(r"`(_[a-z]+)`", text)}
    assert names - known == set()


def test_every_option_of_a_rollout_is_explained() -> None:
    """With its label, on the page about rollouts."""
    text = _text("docs/rollouts.md")
    missing = [name for name in _rollout_terms() if f"`--rollout-{name}`, `{policy.LABEL_PREFIX}{name}`" not in text]
    assert missing == []
