"""`plan`: what people and scripts see."""

import json

import pytest

from tests.support.builders import a_digest, an_id
from watchtower_async.cli.plan_command import exit_code_for, print_plan, show_plan
from watchtower_async.images.digest import parse_digest
from watchtower_async.updates.plan import Action, PlanItem, UpdatePlan
from watchtower_async.updates.reason import Reason, ReasonCode

OLD, NEW = parse_digest(a_digest("v1")), parse_digest(a_digest("v2"))


def an_item(
    name: str,
    action: Action,
    *,
    code: ReasonCode = ReasonCode.NEWER_IMAGE,
    text: str = "because",
    image: str = "redis:7",
    notes: tuple[str, ...] = (),
    through_engine: bool = False,
    is_known: bool = True,
) -> PlanItem:
    """Return one container of a plan."""
    return PlanItem(
        container_id=an_id(name),
        name=name,
        image=image,
        image_id=a_digest("config"),
        action=action,
        reason=Reason(code, text),
        running=OLD if is_known else None,
        published=(OLD if action is Action.NOTHING else NEW) if is_known else None,
        notes=notes,
        asked_through_engine=through_engine,
    )


def a_plan(*items: PlanItem, repairs: tuple[str, ...] = (), problems: tuple[str, ...] = ()) -> UpdatePlan:
    """Return a plan."""
    return UpdatePlan(engine="unix:///x.sock", items=items, repairs=repairs, problems=problems)


def shown(capsys: pytest.CaptureFixture[str], *items: PlanItem) -> str:
    """Return what people see."""
    print_plan(a_plan(*items))
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("actions", "code"),
    [
        ((), 0),
        ((Action.NOTHING, Action.LEAVE), 0),
        ((Action.UPDATE,), 2),
        ((Action.REPORT, Action.NOTHING), 2),
        ((Action.REFUSE,), 2),
        ((Action.UNKNOWN,), 1),
        ((Action.UPDATE, Action.UNKNOWN), 1),
    ],
)
def test_exit_code_tells_a_script_what_the_plan_holds(actions: tuple[Action, ...], code: int) -> None:
    """0 nothing to do, 2 newer images, 1 something could not be checked, which wins."""
    plan = a_plan(*(an_item(f"c{at}", action) for at, action in enumerate(actions)))
    assert code == exit_code_for(plan)


@pytest.mark.parametrize("as_json", [True, False])
def test_both_forms_return_the_exit_code(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """A script may read either."""
    assert show_plan(a_plan(an_item("web", Action.UPDATE)), as_json=as_json) == 2
    assert "web" in capsys.readouterr().out


def test_form_for_programs_is_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """Also what people do not see is in it."""
    plan = a_plan(an_item("web", Action.LEAVE, code=ReasonCode.NOT_RUNNING))
    show_plan(plan, as_json=True)
    assert json.loads(capsys.readouterr().out) == plan.as_json()


def test_table_shows_what_happens_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    """One line per container: name, image, digests, action, reason."""
    text = shown(
        capsys, an_item("web", Action.UPDATE), an_item("db", Action.NOTHING), an_item("x", Action.LEAVE, is_known=False)
    )
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    assert lines[0] == "CONTAINER IMAGE RUNNING → PUBLISHED ACTION WHY"
    assert lines[2] == f"web redis:7 {OLD.short} → {NEW.short} update because"
    assert lines[3] == f"db redis:7 {OLD.short} nothing because"
    assert lines[4] == "x redis:7 – leave because"
    assert lines[5] == "unix:///x.sock: 1 to update, 1 up to date, 1 left alone."


def test_notes_stand_below_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """Who was asked belongs to the reason, not to a note."""
    item = an_item("web", Action.UPDATE, notes=("first", "second"), through_engine=True)
    lines = [line.strip() for line in shown(capsys, item).splitlines()]
    at = next(number for number, line in enumerate(lines) if line.startswith("web"))
    assert lines[at].endswith("because (asked through the engine)")
    assert lines[at + 1 : at + 3] == ["note: first", "note: second"]


@pytest.mark.parametrize("code", [ReasonCode.NOT_RUNNING, ReasonCode.NOT_NAMED])
def test_container_that_nobody_asked_for_is_not_shown(code: ReasonCode, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine may have many stopped containers."""
    text = shown(capsys, an_item("stopped", Action.LEAVE, code=code), an_item("web", Action.NOTHING))
    assert "stopped" not in text
    assert "unix:///x.sock: 1 up to date." in text
    assert shown(capsys, an_item("stopped", Action.LEAVE, code=code)) == "unix:///x.sock: nothing to show.\n"


def test_every_action_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary names each kind once."""
    text = shown(capsys, *(an_item(str(action), action) for action in Action))
    assert "1 to update, 1 to report only, 1 refused, 1 up to date, 1 could not be checked, 1 left alone." in text


def test_engine_without_containers_has_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """No table, no doubt."""
    assert shown(capsys) == "No containers on unix:///x.sock.\n"


def test_repairs_and_problems_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """What lies beside the containers is part of the answer."""
    print_plan(a_plan(repairs=("web: would be [undone]",), problems=("config.json is broken",)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["Recovery: web: would be [undone]", "Problem: config.json is broken"]


@pytest.mark.parametrize("text", ["[red]x[/]", "a[/b]", "x:key:1", "[::1]:5000/x", "\\[x]"])
def test_text_of_others_is_shown_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither markup nor emoji are found in names, images and reasons."""
    said = shown(capsys, an_item(text, Action.UPDATE, image=text, text=text, notes=(text,)))
    assert said.count(text) == 4


def test_output_for_a_pipe_has_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    """A script that reads the table sees text."""
    assert "\x1b" not in shown(capsys, an_item("web", Action.UPDATE))
