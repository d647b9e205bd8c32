"""A server with a directory and spaces of its own, which notes what it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from murmuration.protocol.identifiers import ServerName
from tests.accounts.conftest import configure
from tests.federation.asking import Peer, viewer_secret
from tests.federation.network import Network, Received, Reply
from tests.federation.remote import Remote

__all__ = ["configure", "viewer_secret"]
NOT_FOUND = Reply({"errcode": "M_NOT_FOUND", "error": "Unknown"}, 404)


@dataclass
class Elsewhere(Remote):
    """`spaces` are its answers about rooms, `directory` its answer to both questions for public rooms."""

    spaces: dict[str, Any] = field(default_factory=dict)
    directory: Any = None
    aliases: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    def answer(self, received: Received) -> Reply:
        url = urlsplit(received.target)
        parts = [unquote(part) for part in url.path.split("/")][1:]
        if parts[:3] != ["_matrix", "federation", "v1"]:
            return super().answer(received)
        self.received.append(received)
        found: Any = None
        if parts[3] == "hierarchy":
            self.asked.append(parts[4])
            found = self.spaces.get(parts[4])
        elif parts[3] == "publicRooms":
            body = json.loads(received.body) if received.body else None
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            found = self.directory(body if body is not None else query) if self.directory else None
        elif parts[3] == "query":
            alias = parse_qs(url.query)["room_alias"][0]
            room_id = self.aliases.get(alias)
            found = {"room_id": room_id, "servers": [self.name]} if room_id else None
        return found if isinstance(found, Reply) else NOT_FOUND if found is None else Reply(found)

    # -- Rooms -------------------------------------------------------------------------------------------

    def id(self, name: str) -> str:
        return f"!{name}:{self.name}"

    def summary(self, name: str, **more: Any) -> dict[str, Any]:
        return {
            "room_id": self.id(name), "name": name, "num_joined_members": 3, "world_readable": False,
            "guest_can_join": False, "join_rule": "public", **more,
        }  # fmt: skip

    def child(self, room_id: str, *via: str, number: int = 0, **content: Any) -> dict[str, Any]:
        return {
            "type": "m.space.child", "state_key": room_id, "sender": f"@rory:{self.name}",
            "origin_server_ts": 1_000 + number, "content": {"via": list(via) or [self.name], **content},
        }  # fmt: skip

    def room(self, name: str, **more: Any) -> str:
        """Return a room that is not a space."""
        shown = self.summary(name, **more)
        self.spaces[shown["room_id"]] = {
            "room": {**shown, "children_state": []}, "children": [], "inaccessible_children": [],
        }  # fmt: skip
        return str(shown["room_id"])

    def space(
        self, name: str, children: list[dict[str, Any]], told: list[Any] | None = None, **more: Any
    ) -> str:
        """Return a space. It contains `told` as the summaries of its children."""
        shown = self.summary(name, room_type="m.space", **more)
        self.spaces[shown["room_id"]] = {
            "room": {**shown, "children_state": children},
            "children": told or [],
            "inaccessible_children": [],
        }
        return str(shown["room_id"])


@pytest.fixture
def make_elsewhere(network: Network, viewer_secret: None, fresh_name: str) -> Callable[[str], Elsewhere]:
    def make(name: str) -> Elsewhere:
        made = Elsewhere(ServerName(f"{name}.{fresh_name}"))
        made.serve(network)
        return made

    return make


@pytest.fixture
def elsewhere(make_elsewhere: Callable[[str], Elsewhere]) -> Elsewhere:
    return make_elsewhere("far")


@pytest.fixture
def peer(elsewhere: Elsewhere) -> Peer:
    return Peer(elsewhere)
