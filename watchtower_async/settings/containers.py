"""Options about containers: which ones, and what is done with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from watchtower_async.settings.option import declare
from watchtower_async.settings.parsing import (
    one_of,
    parse_bool,
    parse_comma_list,
    parse_cooldown,
    parse_count,
    parse_csv,
    parse_deadline,
    parse_id,
    parse_label_pairs,
    parse_list,
    parse_positive_duration,
    parse_ratio,
    parse_size,
    parse_stop_timeout,
)
from watchtower_async.settings.values import CpuCopyMode, FailureAction, Order


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionSettings:
    """Which containers"""

    label_enable: bool = declare(
        "--label-enable", "-e", env="WATCHTOWER_LABEL_ENABLE", default=False, parse=parse_bool,
        help="Watch only containers whose label com.centurylinklabs.watchtower.enable is true.",
    )  # fmt: skip
    disable_containers: tuple[str, ...] = declare(
        "--disable-containers", "-x", env="WATCHTOWER_DISABLE_CONTAINERS", default=(), parse=parse_csv,
        parse_env=parse_list, metavar="NAMES",
        help="Leave these containers alone: names, or regular expressions for whole names.",
    )  # fmt: skip
    scope: str = declare(
        "--scope", env="WATCHTOWER_SCOPE", default="", metavar="NAME",
        shown_default="that of its own container, else none",
        help="Watch only containers whose label com.centurylinklabs.watchtower.scope has this value; none means those"
        " without one.",
    )  # fmt: skip
    include_stopped: bool = declare(
        "--include-stopped", "-S", env="WATCHTOWER_INCLUDE_STOPPED", default=False, parse=parse_bool,
        help="Watch containers that were created or have exited, too.",
    )  # fmt: skip
    include_restarting: bool = declare(
        "--include-restarting", env="WATCHTOWER_INCLUDE_RESTARTING", default=False, parse=parse_bool,
        help="Watch containers that are restarting, too.",
    )  # fmt: skip
    monitor_image_names: tuple[str, ...] = declare(
        "--monitor-image-names", env="WATCHTOWER_MONITOR_IMAGE_NAMES", default=(), parse=parse_csv,
        parse_env=parse_list, metavar="IMAGES",
        help="Watch only containers of these images: names with tag, or regular expressions for them.",
    )  # fmt: skip
    skip_image_names: tuple[str, ...] = declare(
        "--skip-image-names", env="WATCHTOWER_SKIP_IMAGE_NAMES", default=(), parse=parse_csv, parse_env=parse_list,
        metavar="IMAGES", help="Leave containers of these images alone, written likewise.",
    )  # fmt: skip
    enable_by_label: tuple[tuple[str, str], ...] = declare(
        "--enable-containers-by-label", env="WATCHTOWER_ENABLE_CONTAINERS_BY_LABEL", default=(),
        parse=parse_label_pairs(parse_csv), parse_env=parse_label_pairs(parse_comma_list), metavar="LABEL=VALUE",
        help="Watch only containers with one of these labels; without a value, whatever value it has.",
    )  # fmt: skip
    disable_by_label: tuple[tuple[str, str], ...] = declare(
        "--disable-containers-by-label", env="WATCHTOWER_DISABLE_CONTAINERS_BY_LABEL", default=(),
        parse=parse_label_pairs(parse_csv), parse_env=parse_label_pairs(parse_comma_list), metavar="LABEL=VALUE",
        help="Leave containers with one of these labels alone, written likewise.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSettings:
    """How containers are updated"""

    monitor_only: bool = declare(
        "--monitor-only", "-m", env="WATCHTOWER_MONITOR_ONLY", default=False, parse=parse_bool,
        help="Look for updates and report them, but touch nothing.",
    )  # fmt: skip
    no_pull: bool = declare(
        "--no-pull", env="WATCHTOWER_NO_PULL", default=False, parse=parse_bool,
        help="Ask no registry: compare with the image that the tag names on the engine.",
    )  # fmt: skip
    no_restart: bool = declare(
        "--no-restart", env="WATCHTOWER_NO_RESTART", default=False, parse=parse_bool,
        help="Create the new container, but do not start it.",
    )  # fmt: skip
    revive_stopped: bool = declare(
        "--revive-stopped", env="WATCHTOWER_REVIVE_STOPPED", default=False, parse=parse_bool,
        help="With --include-stopped: start the new container also where the old one did not run.",
    )  # fmt: skip
    label_take_precedence: bool = declare(
        "--label-take-precedence", env="WATCHTOWER_LABEL_TAKE_PRECEDENCE", default=False, parse=parse_bool,
        help="Let the labels monitor-only and no-pull of a container overrule the options of that name.",
    )  # fmt: skip
    cleanup: bool = declare(
        "--cleanup", "-c", env="WATCHTOWER_CLEANUP", default=False, parse=parse_bool,
        help="Remove an image that an update of ours has left unused.",
    )  # fmt: skip
    remove_volumes: bool = declare(
        "--remove-volumes", env="WATCHTOWER_REMOVE_VOLUMES", default=False, parse=parse_bool,
        no_effect="the new container takes the anonymous volumes over, with what is in them",
        help="Remove anonymous volumes together with their container.",
    )  # fmt: skip
    stop_timeout: timedelta = declare(
        "--stop-timeout", "-t", env="WATCHTOWER_TIMEOUT", default=timedelta(seconds=10), parse=parse_stop_timeout,
        metavar="DURATION", shown_default="10s",
        help="Grace before a stopping container is killed, where the container itself names none.",
    )  # fmt: skip
    use_compose_depends_on: bool = declare(
        "--use-compose-depends-on", env="WATCHTOWER_USE_COMPOSE_DEPENDS_ON", default=True, parse=parse_bool,
        shown_default="true", help="Take the order of containers from compose's depends_on, too.",
    )  # fmt: skip
    cooldown: timedelta = declare(
        "--cooldown-delay", env="WATCHTOWER_COOLDOWN_DELAY", default=timedelta(0), parse=parse_cooldown, metavar="AGE",
        shown_default="0",
        help="Take an image only when it is older than this; units s, m, h, d, w and M (30 days), such as 1w2d.",
    )  # fmt: skip
    cooldown_os: str = declare(
        "--cooldown-platform-os", env="WATCHTOWER_COOLDOWN_PLATFORM_OS", default="", shown_default="that of the engine",
        help="Operating system whose image says how old it is, such as linux.",
    )  # fmt: skip
    cooldown_architecture: str = declare(
        "--cooldown-platform-arch", env="WATCHTOWER_COOLDOWN_PLATFORM_ARCH", default="",
        shown_default="that of the engine", help="Its architecture, such as arm64.",
    )  # fmt: skip
    cooldown_variant: str = declare(
        "--cooldown-platform-variant", env="WATCHTOWER_COOLDOWN_PLATFORM_VARIANT", default="",
        shown_default="that of the engine", help="Its variant, such as v7.",
    )  # fmt: skip
    min_free: int = declare(
        "--min-free", env="WATCHTOWER_MIN_FREE", default=0, parse=parse_size, metavar="SIZE", shown_default="0",
        help="Pull nothing while the engine's disk has less free space than this, such as 2GB.",
    )  # fmt: skip
    disable_memory_swappiness: bool = declare(
        "--disable-memory-swappiness", env="WATCHTOWER_DISABLE_MEMORY_SWAPPINESS", default=False, parse=parse_bool,
        help="Leave memory swappiness out of new containers (Podman with cgroup v2 refuses it).",
    )  # fmt: skip
    cpu_copy_mode: CpuCopyMode = declare(
        "--cpu-copy-mode", env="WATCHTOWER_CPU_COPY_MODE", default=CpuCopyMode.AUTO, parse=one_of(CpuCopyMode),
        metavar="MODE", shown_default="auto", is_tolerant=True,
        help="auto, full or none: which CPU limits a new container gets; auto leaves out what Podman refuses.",
    )  # fmt: skip
    ephemeral_self_update: bool = declare(
        "--ephemeral-self-update", env="WATCHTOWER_EPHEMERAL_SELF_UPDATE", default=False, parse=parse_bool,
        no_effect="the updater always replaces itself with the help of a short-lived container",
        help="Update the updater itself by a short-lived container.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSettings:
    """Rolling updates"""

    parallelism: int = declare(
        "--rollout-parallelism", env="WATCHTOWER_ROLLOUT_PARALLELISM", default=1, parse=parse_count,
        metavar="NUMBER", shown_default="1", help="How many groups of containers may be down at once; 0 is all.",
    )  # fmt: skip
    delay: timedelta = declare(
        "--rollout-delay", env="WATCHTOWER_ROLLOUT_DELAY", default=timedelta(0), parse=parse_positive_duration,
        metavar="DURATION", shown_default="0s", help="Pause after a group runs, before the next one takes its place.",
    )  # fmt: skip
    order: Order = declare(
        "--rollout-order", env="WATCHTOWER_ROLLOUT_ORDER", default=Order.STOP_FIRST, parse=one_of(Order),
        metavar="ORDER", shown_default="stop-first",
        help="stop-first, start-first, or auto: start-first for the containers where it is safe.",
    )  # fmt: skip
    monitor: timedelta = declare(
        "--rollout-monitor", env="WATCHTOWER_ROLLOUT_MONITOR", default=timedelta(seconds=5),
        parse=parse_positive_duration, metavar="DURATION", shown_default="5s",
        help="How long a new container without health check must keep running to count as good.",
    )  # fmt: skip
    max_failure_ratio: float = declare(
        "--rollout-max-failure-ratio", env="WATCHTOWER_ROLLOUT_MAX_FAILURE_RATIO", default=0.0, parse=parse_ratio,
        metavar="RATIO", shown_default="0", help="Share of groups that may fail before the failure action is taken.",
    )  # fmt: skip
    failure_action: FailureAction | None = declare(
        "--rollout-failure-action", env="WATCHTOWER_ROLLOUT_FAILURE_ACTION", default=None,
        parse=one_of(FailureAction), metavar="ACTION", shown_default="continue; with --rolling-restart pause",
        help="pause, continue, or rollback: what to do when more than that share failed.",
    )  # fmt: skip
    start_deadline: timedelta | None = declare(
        "--rollout-start-deadline", env="WATCHTOWER_ROLLOUT_START_DEADLINE", default=None, parse=parse_deadline,
        metavar="DURATION", shown_default="what its stop and its health check may take",
        help="How long a group may take until it runs; one that takes longer has failed.",
    )  # fmt: skip
    rolling_restart: bool = declare(
        "--rolling-restart", env="WATCHTOWER_ROLLING_RESTART", default=False, parse=parse_bool,
        help="Stop at the first failure: the same as --rollout-failure-action pause.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSettings:
    """Lifecycle hooks"""

    enabled: bool = declare(
        "--enable-lifecycle-hooks", env="WATCHTOWER_LIFECYCLE_HOOKS", default=False, parse=parse_bool,
        help="Run the commands that containers name in their lifecycle labels.",
    )  # fmt: skip
    uid: int = declare(
        "--lifecycle-uid", env="WATCHTOWER_LIFECYCLE_UID", default=0, parse=parse_id, metavar="NUMBER",
        shown_default="0, the container's own", help="User who runs them, unless a label says.",
    )  # fmt: skip
    gid: int = declare(
        "--lifecycle-gid", env="WATCHTOWER_LIFECYCLE_GID", default=0, parse=parse_id, metavar="NUMBER",
        shown_default="0, the container's own", help="Group that runs them, unless a label says.",
    )  # fmt: skip
