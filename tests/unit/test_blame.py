"""Whose fault is a failed start? The texts are those of engines 20.10 to 28.5."""

from __future__ import annotations

import pytest

from watchtower_async.errors import EngineError, EngineUnavailableError, NoSuchObjectError
from watchtower_async.rollout.blame import Blame, blame_for
from watchtower_async.rollout.health import Bad, judge_successor
from watchtower_async.rollout.outcome import Outcome, OutcomeKind

RUNC = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "
)

HOST = [
    "network shop_back not found",
    "failed to set up container networking: network shop_back not found",
    "driver failed programming external connectivity on endpoint web: Bind for :::80 failed: port is already allocated",
    "failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use",
    "Address already in use",
    "no available IPv4 addresses on this network's address pools: shop_back (3f2a)",
    'error gathering device information while adding custom device "/dev/ttyUSB0": no such file or directory',
    'could not select device driver "nvidia" with capabilities: [[gpu]]',
    "write /var/lib/docker/overlay2/1/work: no space left on device",
    "error while mounting volume '/var/lib/docker/volumes/data/_data': failed to mount local volume: refused",
    "failed to initialize logging driver: dial tcp 10.0.0.9:24224: connect: connection refused",
    RUNC + "unable to apply cgroup configuration: no such device",
    "cannot join network of a non running container: 5c1d",
]
IMAGE = [
    RUNC + 'unable to start container process: exec: "serve": executable file not found in $PATH: unknown',
    RUNC + 'unable to start container process: error during container init: exec: "/run": permission denied: unknown',
    RUNC + 'exec: "/opt/no space left on device": stat /opt/no space left on device: no such file or directory',
    RUNC + "exec /bin/app: exec format error",
    "unable to find user app: no matching entries in passwd file",
    "something that nobody has seen before",
]


@pytest.mark.parametrize("text", HOST)
def test_start_that_the_machine_prevented_is_the_hosts_fault(text: str) -> None:
    """The same image may start the next time."""
    assert blame_for(EngineError(text, status=500)) is Blame.HOST
    assert blame_for(NoSuchObjectError(text, status=404)) is Blame.HOST


@pytest.mark.parametrize("text", IMAGE)
def test_start_of_what_cannot_be_run_is_the_images_fault(text: str) -> None:
    """Also what nobody knows: trying it in each session would take the container down each time."""
    assert blame_for(EngineError(text, status=400)) is Blame.IMAGE


def test_engine_that_went_away_is_the_hosts_fault() -> None:
    """Whatever it said last."""
    assert blame_for(EngineUnavailableError('exec: "serve": not found')) is Blame.HOST


@pytest.mark.parametrize(
    ("state", "blame"),
    [
        ({"Status": "exited", "ExitCode": 3}, Blame.IMAGE),
        ({"Status": "exited", "ExitCode": 128, "Error": HOST[2]}, Blame.HOST),
        ({"Status": "created", "ExitCode": 127, "Error": IMAGE[0]}, Blame.IMAGE),
        ({"Status": "running", "Running": True, "Health": {"Status": "unhealthy"}}, Blame.IMAGE),
    ],
)
def test_container_that_failed_in_its_watch_tells_whose_fault_it_is(state: dict[str, object], blame: Blame) -> None:
    """By itself, or because the engine could not start it a second time."""
    document = {"State": state, "Config": {"Healthcheck": {"Test": ["CMD", "x"]}}}
    verdict = judge_successor(document, watched=1.0, monitor=5.0)
    assert isinstance(verdict, Bad)
    assert verdict.blame is blame


@pytest.mark.parametrize(
    ("kind", "blame", "expected"),
    [
        (OutcomeKind.ROLLED_BACK, Blame.IMAGE, True),
        (OutcomeKind.ROLLED_BACK, Blame.HOST, False),
        (OutcomeKind.ROLLED_BACK, None, False),
        (OutcomeKind.FAILED, Blame.IMAGE, False),
        (OutcomeKind.UNFINISHED, Blame.IMAGE, False),
        (OutcomeKind.UPDATED, None, False),
    ],
)
def test_only_a_rolled_back_image_that_failed_by_itself_is_condemned(
    kind: OutcomeKind, blame: Blame | None, expected: bool
) -> None:
    """Where the container was not taken down, another try costs nothing."""
    assert Outcome(kind, "because", blame=blame).condemns_image is expected
