"""Keeps a package that is installed from being imported along with another one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden_module(name: str) -> Iterator[None]:
    """Let a package seem not to be installed while the context is open. One that is imported already stays visible."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # for the import system this means "not there"
    try:
        yield
    finally:
        del sys.modules[name]
