"""What running a command inside a container needs: the request, the output as it arrives, and the command that ends it.

Pure. An engine has no call that ends an exec: the process id that it tells is one of the machine, which is out of our
reach, and closing the connection ends nothing. So the command carries a mark in its environment, which everything that
it starts inherits, and a second exec with the same user looks for the mark in `/proc` and kills what bears it, together
with the sessions that a marked process leads (children under other user ids hide their environment, but not their
session). A runtime gives each exec a session of its own. Only what a POSIX shell has built in is used.

What cannot be ended this way: a command in a container that has no shell or no `/proc`; a child that has left the
session *and* hides or clears its environment; anything while the container is paused. Such a command is reported as
left running; it ends with its container.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MARK = "WTA_EXEC"
"""The environment variable that marks a command and everything that it starts."""

OUTPUT_BYTES = 1 << 20

_HEADER = 8
_STREAMS = (0, 1, 2)

END_SCRIPT = r"""
marked() {
  while IFS= read -r line || [ -n "$line" ]; do case $line in *"$mark"*) return 0;; esac; done < "/proc/$1/environ"
  return 1
} 2>/dev/null
look() { IFS= read -r line < "/proc/$1/stat" || return 1; set -- ${line##*) }; state=$1 session=$4; } 2>/dev/null
mark=$1 sessions=' ' pass=0
while [ $pass -lt 5 ]; do
  pass=$((pass + 1)) found=
  for path in /proc/[0-9]*; do
    pid=${path#/proc/}
    if marked "$pid" && look "$pid" && [ "$session" = "$pid" ]; then sessions="$sessions$pid "; fi
  done
  for path in /proc/[0-9]*; do
    pid=${path#/proc/}
    if [ "$pid" -gt 1 ] && [ "$pid" != "$$" ] && look "$pid" && [ "$state" != Z ]; then
      case $sessions in *" $session "*) hit=1;; *) hit=; if marked "$pid"; then hit=1; fi;; esac
      if [ -n "$hit" ]; then found=1; kill -KILL "$pid" 2>/dev/null; fi
    fi
  done
  [ -n "$found" ] || break
done
"""
"""Ends what bears the mark `$1`. Several passes, as processes may start others meanwhile; the dead are not counted."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command inside a container ended, and what it wrote."""

    exit_code: int | None
    """None when it was ended, or given up, after its time."""
    output: str
    """Both output streams in the order in which they came; of a long one the middle is left out."""
    timed_out: bool = False
    left_running: bool = False
    """Its time was up and it could not be ended."""


def exec_request(command: Sequence[str], *, user: str | None, env: Mapping[str, str]) -> dict[str, Any]:
    """Return the request that makes an exec; without a user it runs as the container's.

    https://docs.docker.com/reference/api/engine/version/v1.51/#tag/Exec/operation/ContainerExec
    """
    return {
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "Cmd": list(command),
        "Env": [f"{name}={value}" for name, value in env.items()],
    } | ({} if user is None else {"User": user})


def end_command(mark: str) -> tuple[str, ...]:
    """Return the command that ends everything which bears a mark."""
    return ("sh", "-c", END_SCRIPT, "sh", f"{MARK}={mark}")


class ExecOutput:
    """Takes the frames of an exec's output as they arrive, and keeps the beginning and the end of a long one.

    https://docs.docker.com/reference/api/engine/version/v1.51/#tag/Container/operation/ContainerAttach
    """

    def __init__(self, *, limit: int = OUTPUT_BYTES) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0
        self._header = b""
        self._in_frame = 0
        """How many bytes of the frame that has begun are still to come."""
        self._is_raw = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes, in pieces of any size."""
        while data and not self._is_raw:
            if self._in_frame:
                self._keep(data[: self._in_frame])
                taken = min(self._in_frame, len(data))
                self._in_frame, data = self._in_frame - taken, data[taken:]
                continue
            missing = _HEADER - len(self._header)
            self._header, data = self._header + data[:missing], data[missing:]
            self._read_header()
        self._keep(data)

    def _read_header(self) -> None:
        header = self._header
        if header[0] not in _STREAMS or any(header[1:4]):
            # Some engines tell in plain text that the command could not be started.
            self._is_raw, self._header = True, b""
            self._keep(header)
        elif len(header) == _HEADER:
            self._in_frame, self._header = int.from_bytes(header[4:], "big"), b""

    def _keep(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        surplus = len(self._tail) - self._half
        if surplus > 0:
            self._left_out += surplus
            del self._tail[:surplus]

    @property
    def text(self) -> str:
        """What has been written so far."""
        note = f"\n[… {self._left_out} bytes left out …]\n".encode() if self._left_out else b""
        return bytes(self._head + note + self._tail).decode("utf-8", "replace")
