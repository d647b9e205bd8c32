"""Events for the tests of this folder: real ones, built and signed by two servers with fixed keys."""

from __future__ import annotations

from typing import Any

from murmuration.protocol.auth_rules import auth_event_types
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, ServerName, UserId
from murmuration.protocol.pdus.building import build_event
from murmuration.protocol.pdus.hashing import reference_hash
from murmuration.protocol.pdus.keys import VerifyKey
from murmuration.protocol.pdus.signing import SigningKey
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion

VERSIONS = list(ROOM_VERSIONS.values())
SERVER, OTHER_SERVER = ServerName("example.org"), ServerName("other.example")
ALICE, BOB = f"@alice:{SERVER}", f"@bob:{OTHER_SERVER}"
KEYS = {SERVER: SigningKey(b"a" * 32, "a"), OTHER_SERVER: SigningKey(b"b" * 32, "b")}
START_MS = 1_700_000_000_000
VALID_UNTIL_MS = START_MS + 1_000_000
KEY_RING: dict[tuple[ServerName, str], VerifyKey] = {
    (server, key.key_id): VerifyKey(key.key_id, key.public_key, valid_until_ts=VALID_UNTIL_MS)
    for server, key in KEYS.items()
}


class SmallRoom:
    """A public room of one version that Alice made and Bob, of another server, joined; it grows by `send`."""

    def __init__(self, version: RoomVersion) -> None:
        self.version = version
        self.events: dict[EventId, Event] = {}
        self.state: dict[StateKey, Event] = {}
        self.last: Event | None = None
        content = {"room_version": version.id}
        if not version.implicit_room_creator:
            content["creator"] = ALICE
        self.room_id: str | None = None if version.create_event_is_room_id else f"!room:{SERVER}"
        self.create = self.send("m.room.create", content, state_key="")
        self.room_id = self.create.room_id
        self.send("m.room.member", {"membership": "join"}, state_key=ALICE)
        users = {} if version.privileged_creators else {ALICE: 100}
        self.send("m.room.power_levels", {"users": users}, state_key="")
        self.send("m.room.join_rules", {"join_rule": "public"}, state_key="")
        self.send("m.room.member", {"membership": "join"}, sender=BOB, state_key=BOB)

    def make(self, event_type: str, content: dict[str, Any], **changes: Any) -> Event:
        """Return an event that could be the room's next, signed by its sender's server."""
        sender: UserId = changes.get("sender", ALICE)
        pairs = auth_event_types(self.version, event_type, sender, changes.get("state_key"), content)
        server = sender.partition(":")[2]
        arguments: dict[str, Any] = {
            "room_version": self.version,
            "type": event_type,
            "sender": sender,
            "content": content,
            "room_id": self.room_id,
            "prev_events": [self.last.event_id] if self.last else [],
            "auth_events": [self.state[pair].event_id for pair in pairs if pair in self.state],
            "depth": len(self.events) + 1,
            "origin_server_ts": START_MS + len(self.events),
            "server_name": server,
            "signing_key": KEYS[ServerName(server)],
        }
        if self.version.server_assigned_event_ids:
            arguments["event_id"] = f"$event{len(self.events)}:{server}"
            arguments["reference_hashes"] = {
                event_id: reference_hash(event.pdu, self.version) for event_id, event in self.events.items()
            }
        return build_event(**{**arguments, **changes})

    def send(self, event_type: str, content: dict[str, Any], **changes: Any) -> Event:
        """Make an event and add it to the room."""
        event = self.make(event_type, content, **changes)
        self.events[event.event_id] = self.last = event
        if event.state_pair is not None:
            self.state[event.state_pair] = event
        return event

    def auth_events_of(self, event: Event) -> dict[EventId, Event]:
        """Return the auth events to pass to `check_against_auth_events`."""
        return {it: self.events[it] for it in (*event.auth_events, self.create.event_id)}
