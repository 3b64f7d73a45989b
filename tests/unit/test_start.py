"""What the program imports when it starts: nothing that it only may need later."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from watchtower_async.telemetry.hidden_module import hidden_module

NAME = "this_is_imported_nowhere_else"
PROGRAM = "import json, sys, watchtower_async.cli.main, watchtower_async.app; print(json.dumps(list(sys.modules)))"


def test_start_imports_no_tables_and_no_server() -> None:
    """Neither rich, which only a printed plan needs, nor aiohttp's server, which only the service needs."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True, timeout=60)
    assert not {"rich", "aiohttp.web", "pygments", "jinja2", "apprise"} & set(json.loads(done.stdout))


def test_outlets_import_neither_server_nor_metrics_before_they_are_made() -> None:
    """They are part of every start, also of one that only makes a plan."""
    imports = "watchtower_async.outlets.outlets, watchtower_async.outlets.views"
    program = PROGRAM.replace("watchtower_async.cli.main, watchtower_async.app", imports)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=60)
    imported = set(json.loads(done.stdout))
    assert not {"aiohttp.web", "prometheus_client", "watchtower_async.telemetry.metrics"} & imported


def test_hidden_module_cannot_be_imported_while_hidden() -> None:
    """Whoever tries sees what they would see if the package was not installed."""
    with hidden_module(NAME), pytest.raises(ImportError):
        __import__(NAME)
    assert NAME not in sys.modules


def test_imported_module_stays_visible() -> None:
    """A module that is in use is not taken away."""
    with hidden_module("json"):
        assert sys.modules["json"] is json
    assert sys.modules["json"] is json
