"""Counts which rows of `rows.py` the tests of this run have proven, and says at its end which they have not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.rows import LEFT_OUT, ROWS
from tests.blackbox.scene import Scene, open_scene
from tests.support.docker_cli import DockerCli
from tests.support.testbed import TestBed


class RowCount:
    """Which tests stand for which row, and how they ended."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rows_of: dict[str, set[str]] = {}
        self._bad: set[str] = set()
        self._proven: set[str] = set()

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Remember the rows of a test. Raises UsageError for one that does not exist or is left out."""
        rows = {row for mark in item.iter_markers("row") for row in mark.args}
        if rows - ROWS.keys():
            raise pytest.UsageError(f"{item.nodeid} names unknown rows: {', '.join(sorted(rows - ROWS.keys()))}")
        if rows & LEFT_OUT.keys():
            raise pytest.UsageError(
                f"{item.nodeid} proves rows of LEFT_OUT: {', '.join(sorted(rows & LEFT_OUT.keys()))}"
            )
        if rows:
            self._rows_of[item.nodeid] = rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A row is proven when a test of it has passed and none has failed."""
        rows = self._rows_of.get(report.nodeid, set())
        if report.failed:
            self._bad |= rows
        elif report.when == "call" and report.passed:
            self._proven |= rows

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how many rows are covered, and which are not."""
        covered = self._proven - self._bad
        terminalreporter.section("What users of Watchtower rely on")
        terminalreporter.write_line(f"{len(covered)} of {len(ROWS)} rows covered")
        for reason, rows in self._left_out(covered).items():
            terminalreporter.write_line(f"left out, {reason}:")
            for row in rows:
                terminalreporter.write_line(f"    {row} {ROWS[row].title}")

    def _left_out(self, covered: set[str]) -> dict[str, list[str]]:
        by_reason: dict[str, list[str]] = defaultdict(list)
        for row in ROWS:
            if row not in covered:
                by_reason[self._reason(row)].append(row)
        return by_reason

    def _reason(self, row: str) -> str:
        if row in LEFT_OUT:
            return LEFT_OUT[row]
        if row in self._bad:
            return "its test failed"
        is_written = any(row in rows for rows in self._rows_of.values())
        return "its test did not run here (scripts/test --full runs all)" if is_written else "no test in this selection"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and count."""
    config.addinivalue_line("markers", "row(id, ...): the rows of tests/blackbox/rows.py that the test proves")
    config.pluginmanager.register(RowCount(), "blackbox-rows")


@pytest.fixture(scope="module")
def scene(testbed: TestBed, session_docker: DockerCli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two versions of an image in the registry, and the installed command; what a module makes goes at its end."""
    with open_scene(testbed, session_docker, Path(tmp_path_factory.mktemp("scene"))) as scene:
        yield scene
