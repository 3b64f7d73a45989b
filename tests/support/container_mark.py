"""Programs that look like being in a container, or like being on a machine, wherever the tests run.

The updater looks for the mark that a container runtime leaves in the root directory. A test that needs it otherwise
runs the program in a mount name space of its own, with a root directory that has everything but the mark, or the mark
on top. Only root may do that.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from watchtower_async.engine.identity import runs_in_container

_SCRIPT = """
set -e
root=$1 mark=$2
shift 2
mount -t tmpfs tmpfs "$root"
for entry in /*; do
    if [ -L "$entry" ]; then
        cp -P "$entry" "$root/"
    elif [ -d "$entry" ]; then
        mkdir "$root$entry"
        mount --rbind "$entry" "$root$entry"
    fi
done
[ "$mark" = unmarked ] || touch "$root/.dockerenv"
exec chroot "$root" "$@"
"""


class NoMountNamespaceError(Exception):
    """This user cannot have a mount name space; the text is a reason that can be shown."""


def launcher(directory: Path, *, in_container: bool) -> tuple[str, ...]:
    """Return the command that a program is given to so that it sees a container, or none. Empty where it does anyway.

    `directory` is empty and stays so. Raises NoMountNamespaceError.
    """
    if runs_in_container() == in_container:
        return ()
    if not _may_unshare():
        raise NoMountNamespaceError("only root may run a program under another root directory")
    return ("unshare", "-m", "sh", "-c", _SCRIPT, "sh", str(directory), "marked" if in_container else "unmarked")


@cache
def _may_unshare() -> bool:
    return (
        os.geteuid() == 0
        and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
    )
