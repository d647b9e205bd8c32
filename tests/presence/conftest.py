"""A clock that tests move, and the worker that tells of presence."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from murmuration.protocol.identifiers import UserId
from tests.in_process import Client


@dataclass
class Clock:
    now: int

    def advance(self, milliseconds: int) -> None:
        self.now += milliseconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of presence and sync."""
    from murmuration.clock import now_ms

    clock = Clock(now_ms())
    modules = ("presence.status", "presence.telling", "presence.views", "presence.requests",
               "sync.assembly.assembling")  # fmt: skip
    for module in modules:
        monkeypatch.setattr(importlib.import_module(f"murmuration.{module}"), "now_ms", lambda: clock.now)
    return clock


@pytest.fixture
def work(deployment: None) -> Callable[..., None]:
    """Do what the Streams worker does after these users' presence was written."""
    from murmuration.presence.telling import tell
    from murmuration.storage.users import presence

    def work(*clients: Client) -> None:
        for client in clients:
            item = presence.read(UserId(client.user_id))
            tell([item] if item is not None else [])

    return work
