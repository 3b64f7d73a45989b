"""A crash leaves no memory on a disk."""

import subprocess
import sys

SCRIPT = """
import resource, subprocess
most = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
from watchtower_async.cli.main import run
environ = {"HOME": "/nonexistent", "WATCHTOWER_STATE_DIR": "/nonexistent", "DOCKER_HOST": "unix:///nonexistent"}
run(["watchtower-async", "plan"], environ)
assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
print(subprocess.run(["/bin/sh", "-c", "ulimit -c"], capture_output=True, text=True).stdout.strip())
"""


def test_program_and_its_children_dump_no_core() -> None:
    """Whatever the limit was before; helpers inherit it."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr
