"""Draws the picture of a plan in the README: `.venv/bin/python -P scripts/plan_picture.py [FILE]`.

The plan is made of example values, and judged, worded and laid out by the program itself. The picture names no font
that would have to be fetched.
"""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from watchtower_async.cli.plan_command import write_plan
from watchtower_async.engine.inventory import ContainerSummary, ImageSummary, Inventory
from watchtower_async.images.digest import Digest, parse_digest
from watchtower_async.updates.plan import Action, PlanItem, UpdatePlan, action_for
from watchtower_async.updates.reason import Reason, ReasonCode
from watchtower_async.updates.staleness import Checkable, Freshness, Verdict, checkable, judge

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "plan.svg"
COLUMNS = 118

# Placeholders are rich's; its own format fetches a font from a server.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font: bold 18px sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""

# Black, red, green, yellow, blue, magenta, cyan and white on a dark ground; every one readable on it.
THEME = TerminalTheme(
    (30, 33, 39),
    (220, 223, 228),
    [
        (76, 82, 99), (240, 113, 120), (152, 211, 121), (240, 200, 110),
        (110, 170, 250), (210, 140, 230), (95, 210, 225), (220, 223, 228),
    ],
)  # fmt: skip


def digest(text: str) -> Digest:
    """Return a digest that looks like a real one."""
    return parse_digest(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


def verdict_on(image: str, *, is_newer: bool, is_local: bool) -> tuple[Verdict, Checkable | None]:
    """Let the program judge a container of this image, whose tag has moved on or not."""
    running = digest(f"{image} as it runs")
    pulled = () if is_local else (f"{image.rpartition(':')[0]}@{running}",)
    summary = ImageSummary(str(digest(f"{image} configuration")), (image,), pulled, {})
    found = checkable(image, summary.id, Inventory((container(image, summary.id),), {summary.id: summary}))
    if isinstance(found, Verdict):
        return found, None
    return judge(found, published=digest(f"{image} as published") if is_newer else running), found


def container(image: str, image_id: str) -> ContainerSummary:
    """Return a running container of this image."""
    return ContainerSummary("c" * 64, "example", frozenset(), image, image_id, {}, "running", "bridge", 0)


def item(
    name: str,
    image: str,
    *,
    is_newer: bool = False,
    is_local: bool = False,
    refusal: str = "",
    unknown: str = "",
) -> PlanItem:
    """Return one container of the plan."""
    verdict, checked = verdict_on(image, is_newer=is_newer, is_local=is_local)
    if unknown:
        verdict = Verdict(Freshness.UNKNOWN, Reason(ReasonCode.UNAUTHORIZED, unknown), running=verdict.running)
    action = action_for(verdict, monitor_only=False, refused=bool(refusal))
    reason = verdict.reason
    if action is Action.REFUSE:
        reason = Reason(ReasonCode.REFUSED, f"cannot be re-created as it is: {refusal}")
    return PlanItem(
        container_id="",
        name=name,
        image=checked.reference.familiar if checked else image,
        image_id="",
        action=action,
        reason=reason,
        running=verdict.running,
        published=verdict.published,
    )


def example() -> UpdatePlan:
    """Return a plan with one container for each thing that may happen."""
    rejected = (
        "the credential for registry ghcr.io from config.json was rejected (401 UNAUTHORIZED): log in again with "
        "`docker login ghcr.io`"
    )
    hidden = "Mounts: the name of the anonymous volume at /data is not shown"
    items = (
        item("web", "registry.example/shop/web:2", is_newer=True),
        item("cache", "redis:7"),
        item("docs", "docs:dev", is_local=True),
        item("metrics", "ghcr.io/acme/metrics:1", unknown=rejected),
        item("wiki", "acme/wiki:4", is_newer=True, refusal=hidden),
    )
    return UpdatePlan(engine="unix:///var/run/docker.sock", items=items)


def main() -> None:
    """Write the picture."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), highlight=False, emoji=False, force_terminal=True,
        color_system="standard", legacy_windows=False,
    )  # fmt: skip
    console.print("[bold]$ watchtower-async plan[/]")
    write_plan(example(), console)
    text = console.export_svg(title="watchtower-async", theme=THEME, code_format=FORMAT, unique_id="plan")
    picture = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    picture.write_text("".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip()))


if __name__ == "__main__":
    main()
