"""A remote server with a room of its own, which answers those who join, leave, knock and are invited."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from murmuration.protocol.auth_rules import auth_event_types, check_auth
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId
from murmuration.protocol.pdus.building import complete_event, unsigned_pdu
from murmuration.protocol.pdus.hashing import reference_hash
from murmuration.protocol.pdus.signing import SigningKey, sign_event
from murmuration.protocol.room_versions import ROOM_VERSIONS
from tests.federation.network import Network, Received, Reply
from tests.federation.remote import Remote

AUTHORISER = "join_authorised_via_users_server"
START_MS = 1_700_000_000_000
_numbers = itertools.count(1)
Change = Callable[[dict[str, Any]], Any]


class HostedRoom:
    """A room of one version, made by a user of `remote`; events are appended in a line."""

    def __init__(self, remote: Remote, version: str, *, rule: str = "public", **creation: Any) -> None:
        self.remote = remote
        self.began_ms = START_MS + 1_000_000 * next(_numbers)
        self.version = ROOM_VERSIONS[version]
        self.creator = f"@owner:{remote.name}"
        self.events: dict[EventId, Event] = {}
        self.state: dict[StateKey, Event] = {}
        self.newest: Event | None = None
        self.room_id = "" if self.version.create_event_is_room_id else f"!r{next(_numbers)}:{remote.name}"
        content = {"room_version": version, **creation}
        if not self.version.implicit_room_creator:
            content["creator"] = self.creator
        create = self.add("m.room.create", content, "")
        self.room_id = create.room_id
        self.member(UserId(self.creator), "join")
        levels = {
            "state_default": 50,
            "users": {} if self.version.privileged_creators else {self.creator: 100},
        }
        self.add("m.room.power_levels", levels, "")
        self.add("m.room.join_rules", {"join_rule": rule}, "")

    def add(
        self,
        event_type: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        *,
        sender: UserId | None = None,
        key: SigningKey | None = None,
        take: bool = True,
    ) -> Event:
        sender = sender or UserId(self.creator)
        pairs = auth_event_types(self.version, event_type, sender, state_key, content)
        server = sender.partition(":")[2]
        more: dict[str, Any] = {}
        if self.version.server_assigned_event_ids:
            more["event_id"] = f"$h{next(_numbers)}:{server}"
            more["reference_hashes"] = self.hashes()
        pdu = unsigned_pdu(
            room_version=self.version, type=event_type, sender=UserId(sender), content=dict(content),
            state_key=state_key, room_id=RoomId(self.room_id) if self.room_id else None,
            prev_events=[self.newest.event_id] if self.newest else [],
            auth_events=[self.state[pair].event_id for pair in pairs if pair in self.state],
            depth=self.newest.depth + 1 if self.newest else 1,
            origin_server_ts=self.began_ms + 1000 * len(self.events),
            **more,
        )  # fmt: skip
        event = complete_event(
            {**pdu, "origin": server}, ServerName(server), key or self.remote.key, self.version
        )
        if take:
            self.take(event)
        return event

    def hashes(self) -> dict[str, bytes]:
        return {event_id: reference_hash(it.pdu, self.version) for event_id, it in self.events.items()}

    def take(self, event: Event) -> None:
        check_auth(event, self.state)
        self.events[event.event_id] = event
        self.newest = event
        if event.state_pair is not None:
            self.state[event.state_pair] = event

    def member(self, user_id: UserId, membership: str, *, sender: UserId | None = None, **more: Any) -> Event:
        content = {"membership": membership}
        return self.add("m.room.member", content, user_id, sender=sender or user_id, **more)

    def message(self, text: str) -> Event:
        return self.add("m.room.message", {"msgtype": "m.text", "body": text})

    def membership(self, user_id: str) -> str | None:
        event = self.state.get(("m.room.member", user_id))
        return event.membership if event else None

    def template(self, user_id: UserId, membership: str) -> dict[str, Any]:
        content = {"membership": membership}
        pairs = auth_event_types(self.version, "m.room.member", user_id, user_id, content)
        cited = [self.state[pair].event_id for pair in pairs if pair in self.state]
        assert self.newest is not None
        previous: list[Any] = [self.newest.event_id]
        auth: list[Any] = cited
        if self.version.server_assigned_event_ids:
            previous, auth = ([[it, {"sha256": "x"}] for it in ids] for ids in (previous, cited))
        return {
            "type": "m.room.member", "sender": user_id, "state_key": user_id, "room_id": self.room_id,
            "content": content, "prev_events": previous, "auth_events": auth,
            "depth": self.newest.depth + 1, "origin": self.remote.name, "origin_server_ts": 1,
        }  # fmt: skip

    def auth_chain(self, events: list[Event]) -> list[Any]:
        found: dict[EventId, Event] = {}
        todo = [event_id for event in events for event_id in event.auth_events]
        while todo:
            event_id = todo.pop()
            if event_id not in found:
                found[event_id] = self.events[event_id]
                todo += self.events[event_id].auth_events
        return [event.pdu for event in found.values()]


class Host:
    """Answers for a remote server with rooms. What tests put into `lies` changes the answers."""

    def __init__(self, remote: Remote, network: Network) -> None:
        self.remote = remote
        self.rooms: dict[str, HostedRoom] = {}
        self.aliases: dict[str, str] = {}
        self.lies: dict[str, Change] = {}
        self.only_v1 = False
        self.complexity: Any = None
        """What is told of a room's complexity; None where the question isn't known."""
        self.asked: list[str] = []
        self.invited: list[dict[str, Any]] = []
        server = remote.serve(network)
        server.handler = self.answer

    def room(self, version: str = "12", **more: Any) -> HostedRoom:
        made = HostedRoom(self.remote, version, **more)
        self.rooms[made.room_id] = made
        return made

    def answer(self, received: Received) -> Reply:
        url = urlsplit(received.target)
        parts = [UserId(unquote(part)) for part in url.path.split("/")][1:]
        if parts[:2] != ["_matrix", "federation"]:
            return self.remote.answer(received)
        api, what, rest = parts[2], parts[3], parts[4:]
        self.asked.append(f"{api}/{what}")
        body = json.loads(received.body) if received.body else None
        if what == "query":
            alias = parse_qs(url.query)["room_alias"][0]
            if alias not in self.aliases:
                return Reply({"errcode": "M_NOT_FOUND", "error": "No such alias"}, 404)
            return Reply({"room_id": self.aliases[alias], "servers": [self.remote.name]})
        if what == "rooms" and rest[-1:] == ["complexity"] and self.complexity is not None:
            return self.complexity if isinstance(self.complexity, Reply) else Reply({"v1": self.complexity})
        if what not in (
            "make_join",
            "make_leave",
            "make_knock",
            "send_join",
            "send_leave",
            "send_knock",
            "invite",
        ):
            return Reply({"errcode": "M_UNRECOGNIZED", "error": "Unknown"}, 404)
        if self.only_v1 and api == "v2":
            return Reply({"errcode": "M_UNRECOGNIZED", "error": "Unknown"}, 404)
        if what == "invite":
            reply = self.invite(api, body)
        else:
            reply = self._membership(what, rest, body, parse_qs(url.query))
        if what in self.lies:
            changed = self.lies[what](reply.body)
            reply = (
                changed if isinstance(changed, Reply) else Reply(reply.body if changed is None else changed)
            )
        if reply.status == 200 and api == "v1" and what.startswith("send_") and what != "send_knock":
            return Reply([200, reply.body])
        return reply

    def _membership(self, what: str, rest: list[UserId], body: Any, query: Mapping[str, list[str]]) -> Reply:
        verb, membership = what.split("_")
        room = self.rooms.get(rest[0])
        if room is None:
            return Reply({"errcode": "M_NOT_FOUND", "error": "Unknown room"}, 404)
        if verb == "make":
            if membership != "leave" and room.version.id not in query["ver"]:
                return Reply({"errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "?"}, 400)
            return Reply({"room_version": room.version.id, "event": room.template(rest[1], membership)})
        if AUTHORISER in body["content"]:
            body = sign_event(body, self.remote.name, self.remote.key, room.version)
        event = Event(body, room.version)
        before = list(room.state.values())
        try:
            room.take(event)
        except Exception as error:  # noqa: BLE001 - any refusal is told
            return Reply({"errcode": "M_FORBIDDEN", "error": str(error)}, 403)
        if membership == "leave":
            return Reply({})
        if membership == "knock":
            return Reply({"knock_room_state": [it.pdu for it in before if it.state_key == ""]})
        return Reply(
            {
                "state": [it.pdu for it in before],
                "auth_chain": room.auth_chain([event, *before]),
                "event": event.pdu,
                "origin": self.remote.name,
            }
        )

    def invite(self, api: str, body: Any) -> Reply:
        self.invited.append(body)
        pdu = body if api == "v1" else body["event"]
        version = ROOM_VERSIONS["1" if api == "v1" else body["room_version"]]
        answer = {"event": sign_event(pdu, ServerName(self.remote.name), self.remote.key, version)}
        return Reply([200, answer] if api == "v1" else answer)
