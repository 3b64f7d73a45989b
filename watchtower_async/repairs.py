"""Recovers what interrupted replacements left over on one engine, tells it, and keeps what failed in quarantine."""

from __future__ import annotations

from collections.abc import Callable

from watchtower_async.engine.inventory import Inventory, take_inventory
from watchtower_async.errors import InvalidReferenceError
from watchtower_async.events import Announcer, ReplacementRecovered
from watchtower_async.images.reference import parse_reference
from watchtower_async.narration import Narrator
from watchtower_async.rollout.groups import Aim, Member, Role
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.recovery import FailedImage, RecoveryReport, recover
from watchtower_async.rollout.replacement import Replacer
from watchtower_async.rollout.self_update import not_left_to_helpers


class Repairs:
    """Recovers on one engine, for sessions and for rollouts that are taken up again."""

    def __init__(
        self,
        *,
        replacer: Replacer,
        narrator: Narrator,
        announcer: Announcer,
        own_id: str | None,
        on_wait: Callable[[str], None],
    ) -> None:
        """`own_id` is the updater's own container. `on_wait` is told what is waited for, as that can take a minute."""
        self._replacer = replacer
        self._narrator = narrator
        self._announcer = announcer
        self._own_id = own_id
        self._on_wait = on_wait

    async def recover(self, inventory: Inventory, only_report: bool) -> tuple[RecoveryReport, ...]:
        """Recover what is left over in this inventory, and tell and return what was done.

        Raises EngineUnavailableError.
        """
        reports = await recover(
            replacer=self._replacer,
            containers=not_left_to_helpers(inventory.containers, self._own_id),
            dry_run=only_report,
            on_wait=self._on_wait,
        )
        for report in reports:
            self._announcer.announce(ReplacementRecovered(report.name, report.text, report.is_lost))
            for failed in report.failed:
                await self._condemn(failed, inventory, report.text)
        return reports

    async def recover_now(self) -> None:
        """Recover what is left over now. Raises EngineError."""
        await self.recover(await take_inventory(self._replacer.engine), False)

    async def _condemn(self, failed: FailedImage, inventory: Inventory, why: str) -> None:
        """Put an image into quarantine that recovery took back, where it is known under which digest it was pulled."""
        image = inventory.images.get(failed.image_id)
        try:
            reference = parse_reference(failed.image)
        except InvalidReferenceError:
            return
        texts = () if image is None else image.repo_digests
        names = (f"{reference.familiar_name}@", f"{reference.repository}@")
        digests = [text.rpartition("@")[2] for text in texts if text.startswith(names)]
        if digests:
            aim = Aim(failed.image, digests[0])
            await self._narrator.condemn(
                Member("", failed.container, Role.UPDATE, aim=aim), Outcome(OutcomeKind.ROLLED_BACK, why)
            )
