"""Identifiers from answers that later requests may use: rooms, events, users, tokens."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from typing import Any

SIGILS = {"!": "room", "$": "event", "@": "user", "#": "alias"}
BY_NAME = {
    "next_batch": "token", "prev_batch": "token", "start": "token", "end": "token", "next_token": "token",
    "filter_id": "filter", "session": "session", "device_id": "device", "version": "version",
    "etag": "version", "login_token": "login", "refresh_token": "refresh", "access_token": "access",
    "sid": "sid", "pushkey": "word", "batch": "token", "stream_token": "token",
}  # fmt: skip
BY_PARAMETER = {
    "roomId": "room", "roomIdOrAlias": "room", "eventId": "event", "parentId": "event", "userId": "user",
    "roomAlias": "alias", "deviceId": "device", "filterId": "filter", "mediaId": "media",
    "serverName": "server", "from": "token", "to": "token", "since": "token", "at": "token",
    "filter": "filter", "event_id": "event", "room_id": "room", "user_id": "user", "session": "session",
    "version": "version", "dir": "dir", "txnId": "txn", "timeout": "timeout", "timeout_ms": "timeout",
    "stateKey": "state_key", "eventType": "type",
}  # fmt: skip
"""The kind of a path's or a query's parameter."""
KEPT = 300
_MXC = re.compile(r"mxc://([^/]+)/(.+)")


class Pools:
    """Values by kind; of each kind the first and the latest are kept."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = defaultdict(list)
        self._known: set[tuple[str, str]] = set()
        self.events: dict[str, list[str]] = {}
        """The latest events of each room."""
        self.homes: dict[str, str] = {}
        """Who made each room."""

    def add(self, kind: str, value: str) -> None:
        if (kind, value) in self._known or not 0 < len(value) < 2000:
            return
        values = self._found[kind]
        if len(values) >= KEPT:
            self._known.discard((kind, values.pop(KEPT // 3)))
        self._known.add((kind, value))
        values.append(value)

    def any(self, kind: str, dice: random.Random, default: str = "") -> str:
        """Return a value of a kind, usually one of the latest."""
        values = self._found.get(kind)
        if not values:
            return default
        return dice.choice(values[-12:] if dice.random() < 0.5 else values)

    def some(self, dice: random.Random) -> list[str]:
        """Return a few identifiers of all kinds."""
        return [self.any(kind, dice, "x") for kind in ("room", "event", "user", "alias", "token", "mxc")]

    def rooms_of(self, user_id: str) -> list[str]:
        return [room for room, home in self.homes.items() if home == user_id]

    def belongs(self, room: str, value: Any) -> None:
        """Keep an answer's events as events of a room."""
        todo = [value]
        for each in todo:
            if isinstance(each, dict):
                if isinstance(event_id := each.get("event_id"), str):
                    self.events[room] = [*self.events.get(room, ())[-20:], event_id]
                todo += each.values()
            elif isinstance(each, list):
                todo += each[:50]

    def harvest(self, value: Any, name: str = "") -> None:
        """Keep the values of an answer's JSON that requests can name."""
        todo: list[tuple[Any, str]] = [(value, name)]
        for each, called in todo:
            if isinstance(each, dict):
                todo += [(inner, key) for key, inner in each.items()]
                todo += [(key, "") for key in each if key[:1] in SIGILS]
            elif isinstance(each, list):
                todo += [(inner, called) for inner in each[:200]]
            elif isinstance(each, str) and each:
                self._harvest_text(each, called)

    def _harvest_text(self, text: str, called: str) -> None:
        if kind := SIGILS.get(text[0]):
            self.add(kind, text)
        elif parts := _MXC.fullmatch(text):
            self.add("mxc", text)
            self.add("server", parts[1])
            self.add("media", parts[2])
        elif kind := BY_NAME.get(called):
            self.add(kind, text)

    def alike(self, text: str, dice: random.Random) -> str:
        """Return another identifier of the same kind as a recorded one."""
        if (text[:1] in SIGILS and ":" in text) or (text[:1] in "!$" and len(text) > 30):
            return self.any(SIGILS[text[0]], dice, text)
        if text.startswith("mxc://"):
            return self.any("mxc", dice, text)
        return text
