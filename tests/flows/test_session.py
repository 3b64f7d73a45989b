"""One session over a simulated engine and a simulated registry: every trouble costs its own container only."""

from __future__ import annotations

import pytest

from tests.support.engine_sim import Fault
from tests.support.registry_world import a_login
from tests.support.replacing import BROKEN, leftovers
from tests.support.simulated_registry import Answer, BasicAuth, Misbehave
from tests.support.town import a_town
from watchtower_async.events import ReplacementStarted, SessionFailed
from watchtower_async.rollout.outcome import OutcomeKind
from watchtower_async.session import SessionReport
from watchtower_async.updates.plan import Action
from watchtower_async.updates.reason import ReasonCode

pytestmark = pytest.mark.looptime

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="http://10.0.0.1/token",service="x"'}


def the_reason(report: SessionReport, name: str) -> ReasonCode:
    """Return the reason that the plan gives for a container."""
    assert report.plan is not None
    return next(item.reason.code for item in report.plan.items if item.name == name)


async def test_stale_containers_are_replaced_and_fresh_ones_are_not() -> None:
    """The report counts what was checked and what was replaced."""
    async with a_town() as town:
        await town.outdated("stale", "team/stale")
        town.publish("team/fresh", 1)
        await town.engine.run("fresh", town.image("team/fresh"))
        report = await town.run()
        assert (report.scanned, report.updated, report.failed) == (2, 1, 0)
        assert report.is_good
        assert (town.version("stale"), town.version("fresh")) == ("2", "1")


TROUBLES: dict[str, tuple[Misbehave, ReasonCode]] = {
    "hangs": (Misbehave(stall=3600.0), ReasonCode.UNREACHABLE),
    "resets": (Misbehave(reset=True), ReasonCode.UNREACHABLE),
    "refuses": (Misbehave(answer=Answer(401, {"WWW-Authenticate": 'Basic realm="r"'})), ReasonCode.UNAUTHORIZED),
    "no-challenge": (Misbehave(answer=Answer(401)), ReasonCode.UNAUTHORIZED),
    "nonsense": (Misbehave(answer=Answer(401, {"WWW-Authenticate": ",,= Bearer"})), ReasonCode.UNAUTHORIZED),
    "elsewhere": (Misbehave(answer=Answer(401, CHALLENGE)), ReasonCode.PROTOCOL),
    "forbids": (Misbehave(answer=Answer(403)), ReasonCode.DENIED),
    "unknown": (Misbehave(answer=Answer(404)), ReasonCode.NOT_FOUND),
    "broken": (Misbehave(answer=Answer(500)), ReasonCode.UNREACHABLE),
    "html": (Misbehave(answer=Answer(200, {"Content-Type": "text/html"}, b"<html>hello</html>")), ReasonCode.PROTOCOL),
    "no-digest": (Misbehave(answer=Answer(200, {}, b"")), ReasonCode.PROTOCOL),
}


async def test_every_trouble_costs_its_own_container_only() -> None:
    """Each has a clear reason, and the one without trouble is updated in the same session."""
    async with a_town() as town:
        await town.outdated("good", "team/good")
        for name, (misbehave, _) in TROUBLES.items():
            await town.outdated(name, f"bad/{name}")
            town.trouble(f"bad/{name}", misbehave)
        report = await town.run()
        assert {name: the_reason(report, name) for name in TROUBLES} == {
            name: code for name, (_, code) in TROUBLES.items()
        }
        assert town.version("good") == "2"
        assert {town.version(name) for name in TROUBLES} == {"1"}
        assert (report.updated, report.failed) == (1, len(TROUBLES))


async def test_rate_limit_holds_its_registry_and_no_other() -> None:
    """After 429 nothing is pulled there; another registry goes on."""
    async with a_town() as town, a_town() as other:
        await town.outdated("limited", "team/limited")
        town.registry.misbehave(Misbehave(answer=Answer(429, {"Retry-After": "3000"})))
        other.engine = town.engine
        await other.outdated("good", "team/good")
        report = await town.run()
        assert the_reason(report, "limited") is ReasonCode.RATE_LIMITED
        assert (town.version("limited"), town.version("good")) == ("1", "2")
        assert not any("images/create" in text and "limited" in text for text in town.engine.changes()[3:])


async def test_wrong_password_is_a_reason_for_its_registry_only() -> None:
    """The reason tells a refused credential from none."""
    async with a_town() as town, a_town() as other:
        await town.outdated("private", "team/private")
        town.registry.auth = BasicAuth(users={"tester": "right"})
        town.store.logins[town.registry.address] = a_login(password="wrong")
        other.engine = town.engine
        await other.outdated("good", "team/good")
        report = await town.run()
        assert report.plan is not None
        private = next(item for item in report.plan.items if item.name == "private")
        assert private.reason.code is ReasonCode.UNAUTHORIZED
        assert "wrong" not in private.reason.text
        assert town.version("good") == "2"


@pytest.mark.parametrize("image", ["local:1", "sha256:" + "ab" * 32])
async def test_image_that_no_registry_knows_is_left_alone(image: str) -> None:
    """A local build has no `RepoDigests`, and nobody is asked for it."""
    async with a_town() as town:
        identity = town.engine.add_image("local:1")
        await town.engine.run("local", identity if image.startswith("sha256") else image)
        await town.outdated("good", "team/good")
        report = await town.run()
        assert the_reason(report, "local") in {ReasonCode.LOCAL_IMAGE, ReasonCode.NO_REFERENCE}
        assert report.is_good
        assert town.version("good") == "2"


async def test_full_disk_is_a_reason_and_the_next_one_goes_on() -> None:
    """The pull that fails touches nothing."""
    async with a_town() as town:
        await town.outdated("a-full", "team/full")
        town.publish("team/full", 2, error="write /layer: no space left on device")
        await town.outdated("b-good", "team/good")
        report = await town.run()
        reasons = {item.name: outcome.reason for item, outcome in report.outcomes}
        assert "too little disk space" in reasons["a-full"]
        assert (town.version("a-full"), town.version("b-good")) == ("1", "2")
        assert not report.is_good


async def test_engine_that_goes_away_in_the_middle_ends_the_session_with_a_reason() -> None:
    """What was not begun says so, and the next session puts the rest in order."""
    async with a_town() as town:
        await town.outdated("first", "team/first")
        await town.outdated("second", "team/second")
        async with town.session() as session:
            town.engine.fault = Fault(at=4, kind="kill_after")
            report = await session.run()
        assert report.failure is not None
        assert [outcome.kind for _, outcome in report.outcomes] == [OutcomeKind.UNFINISHED, OutcomeKind.FAILED]
        assert any(isinstance(event, SessionFailed) for event in town.events)
        town.engine.revive()
        assert leftovers(town.engine)
        report = await town.run()
        assert report.plan is not None
        assert len(report.plan.repairs) == 1
        assert not leftovers(town.engine)
        assert (town.version("first"), town.version("second")) == ("2", "2")


async def test_engine_that_is_gone_at_the_start_is_the_reason_of_the_session() -> None:
    """A session raises nothing that an engine can cause."""
    async with a_town() as town:
        await town.outdated("web", "team/web")
        async with town.session() as session:
            town.engine.fault = Fault(at=1, kind="kill_before", changes_only=False)
            report = await session.run()
        assert report.plan is None
        assert report.failure is not None


async def test_broken_credential_file_is_told_and_public_images_go_on() -> None:
    """A half-written file costs what needs it."""
    async with a_town() as town:
        town.store.problem = "config.json is not JSON"
        await town.outdated("public", "team/public")
        report = await town.run()
        assert report.plan is not None
        assert report.plan.problems == ("config.json is not JSON",)
        assert town.version("public") == "2"


async def test_plan_touches_nothing_and_reports_what_recovery_would_do() -> None:
    """Not a single changing request."""
    async with a_town() as town:
        await town.outdated("web", "team/web")
        await town.engine.run("db.wta-new-ra", town.image("team/web"), running=False)
        before = list(town.engine.changes())
        plan = await town.plan()
        assert before == town.engine.changes()
        assert [item.action for item in plan.items if item.name == "web"] == [Action.UPDATE]
        assert plan.repairs == (
            "db: unfinished replacement: the old container is gone; the new one would get its name",
        )


async def test_monitor_only_reports_and_pulls_nothing() -> None:
    """The plan says report."""
    async with a_town() as town:
        await town.outdated("web", "team/web")
        before = list(town.engine.changes())
        report = await town.run(monitor_only=True)
        assert report.plan is not None
        assert [item.action for item in report.plan.items] == [Action.REPORT]
        assert before == town.engine.changes()


async def test_image_that_failed_is_not_tried_again_until_the_tag_moves() -> None:
    """Otherwise each session would take the container down for nothing."""
    async with a_town() as town:
        await town.outdated("web", "team/web", BROKEN)
        async with town.session() as session:
            first = await session.run()
            changes = len(town.engine.changes())
            second = await session.run()
            assert first.outcomes[0][1].kind is OutcomeKind.ROLLED_BACK
            assert the_reason(second, "web") is ReasonCode.QUARANTINED
            assert changes == len(town.engine.changes())
            town.publish("team/web", 3)
            third = await session.run()
        assert third.updated == 1
        assert town.version("web") == "3"


async def test_containers_are_replaced_in_the_order_of_their_dependencies() -> None:
    """What others depend on comes first."""
    async with a_town() as town:
        for name, needs in (("a-web", "b-app"), ("b-app", "c-db"), ("c-db", "")):
            town.publish(f"team/{name}", 1)
            labels = {"com.centurylinklabs.watchtower.depends-on": needs} if needs else {}
            await town.engine.run(name, town.image(f"team/{name}"), Labels=labels)
            town.publish(f"team/{name}", 2)
        await town.run()
        started = [event.item.name for event in town.events if isinstance(event, ReplacementStarted)]
        assert started == ["c-db", "b-app", "a-web"]


async def test_cleanup_removes_the_old_image_and_spares_used_ones() -> None:
    """An image that another container still uses stays."""
    async with a_town() as town:
        await town.outdated("web", "team/web")
        await town.outdated("shared", "team/shared")
        old = {name: town.engine.containers[name].image_id for name in ("web", "shared")}
        await town.engine.run("other", old["shared"])
        await town.run(cleanup=True)
        assert town.engine.image_behind(old["web"]) is None
        assert town.engine.image_behind(old["shared"]) == old["shared"]


async def test_scan_costs_two_engine_calls_and_one_question_per_image() -> None:
    """Ten containers of two images: two lists and two HEADs, nothing else."""
    async with a_town() as town:
        for repository in ("team/a", "team/b"):
            town.publish(repository, 1)
        for number in range(10):
            await town.engine.run(f"web{number}", town.image(f"team/{'ab'[number % 2]}"))
        async with town.session() as session:
            before = session._engine.calls.copy()
            await session.make_plan()
            assert session._engine.calls - before == {"list_containers": 1, "list_images": 1}
        assert town.registry.count("manifest", method="HEAD") == 2
        assert len(town.registry.requests) == 2
