"""The settings that are shown to who asks over HTTP, by Watchtower's names. Nothing in them is a secret. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from watchtower_async import __version__
from watchtower_async.settings import Settings
from watchtower_async.telemetry.start_up import Surroundings, start_up
from watchtower_async.web.ports import ConfigView

EVERYTHING = "every container"
_SOME_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def config_view(settings: Settings, *, scope: str) -> ConfigView:
    """Return the settings that the API shows. `scope` is the one that counts, from a setting or our own label."""
    chosen, update = settings.selection, settings.update
    # The words are those of the start-up message; what it says about time and engine is not looked at.
    said = start_up(settings, Surroundings(version=__version__, api_version=(0, 0), scope=scope, now=_SOME_TIME))
    return ConfigView(
        monitor_only=update.monitor_only,
        cleanup=update.cleanup,
        no_pull=update.no_pull,
        no_restart=update.no_restart,
        rolling_restart=settings.rollout.rolling_restart,
        include_stopped=chosen.include_stopped,
        include_restarting=chosen.include_restarting,
        lifecycle_hooks=settings.hooks.enabled,
        label_enable=chosen.label_enable,
        filter_desc=", ".join(said.filters) or EVERYTHING,
        scope=said.scope,
    )


def session_settings(settings: Settings) -> dict[str, bool]:
    """Return what the event about the begin of a session tells."""
    update = settings.update
    return {
        "cleanup": update.cleanup,
        "no_restart": update.no_restart,
        "monitor_only": update.monitor_only,
        "lifecycle_hooks": settings.hooks.enabled,
        "rolling_restart": settings.rollout.rolling_restart,
        "label_precedence": update.label_take_precedence,
        "no_pull": update.no_pull,
        "run_once": settings.schedule.run_once,
        "use_compose_depends_on": update.use_compose_depends_on,
        "ephemeral_self_update": update.ephemeral_self_update,
        "revive_stopped": update.revive_stopped,
    }
