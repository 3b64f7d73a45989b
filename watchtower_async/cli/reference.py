"""The page of all settings, derived from the declared options.

`python -m watchtower_async.cli.reference >docs/settings.md` writes it anew; a test fails when the page is older than
the declarations.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby

from watchtower_async.settings import Option, declared_options

_INTRODUCTION = """\
# Settings

This page is made from the declarations in `watchtower_async/settings/`; `watchtower-async --help` shows the same. After
a change write it anew: `python -m watchtower_async.cli.reference >docs/settings.md`.

- **Precedence:** the command line, then the environment, then the default. An empty variable counts as unset.
- **Switches** take `true` or `false` (also `1`, `t`, `0`, `f`); on the command line `--cleanup` is enough, and
  `--cleanup=false` switches it off.
- **Durations** are written like `90s`, `1m30s` or `12h`; a bare number is seconds.
- **Lists** have commas between their items, or commas and spaces in a variable. On the command line they may be given
  several times. `--notification-url` is never split there.
- **Secrets** may be the name of a file that holds them: a text without a colon that names a file is one. Files are read
  once, at the start.
- **Nothing is silent.** A value that cannot be read ends the program with all problems at once. What has no effect, is
  deprecated, or is a `WATCHTOWER_` variable that nobody knows is named at the start, with the nearest known name.

Besides these options there are `--help` and `--health-check`; the latter asks the running updater how it is.
"""


def settings_page() -> str:
    """Return the page in Markdown."""
    groups = groupby(declared_options(), key=lambda option: option.group)
    return "\n".join([_INTRODUCTION, *("\n".join(_group(title, options)) for title, options in groups)])


def _group(title: str, options: Iterable[Option]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield "| Option | Variable | Default | Meaning |"
    yield "|---|---|---|---|"
    yield from (_row(option) for option in options)
    yield ""


def _row(option: Option) -> str:
    names = ", ".join(f"`{flag}`" for flag in option.flags)
    value = f" {option.metavar}" if option.metavar else ""
    remarks = "".join(f" *{remark[0].upper()}{remark[1:]}.*" for remark in option.remarks)
    variable = f"`{option.env}`" if option.env else ""
    cells = (names + value, variable, option.shown_default, option.help + remarks)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(settings_page())
