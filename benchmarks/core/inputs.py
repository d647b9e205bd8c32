"""The inputs for both implementations: plain data, the same every time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Pdu = Any
StateKey = tuple[str, str]

SERVER = "bench.example"
SEED = bytes(range(32))
KEY_VERSION = "bench"
ALICE = f"@alice:{SERVER}"
BOB = f"@bob:{SERVER}"
SIZES = (10, 1_000, 10_000)
"""The numbers of state entries of the rooms to resolve."""


def messages() -> list[Pdu]:
    """Return PDUs without hashes and signatures, of the kinds that make up most of a room's traffic."""
    room_id, event_id = "!" + "r" * 43, "$" + "e" * 43
    contents: list[tuple[str, Any, str | None]] = [
        ("m.room.message", {"msgtype": "m.text", "body": "Shall we meet at noon? " * 4}, None),
        ("m.room.message", {"msgtype": "m.text", "body": "Grüße aus der Küche 🥐 ☃", "m.mentions": {}}, None),
        (
            "m.reaction",
            {"m.relates_to": {"rel_type": "m.annotation", "event_id": event_id, "key": "+"}},
            None,
        ),
        (
            "m.room.encrypted",
            {
                "algorithm": "m.megolm.v1.aes-sha2",
                "ciphertext": "AwgAEnACgAkLmt6qF84IK++J7UDH2Za1YVchHyprqTqsg" * 8,
                "device_id": "RJYKSTBOIE",
                "sender_key": "IlRMeOPX2e0MurIyfWEucYBRVOEEUMrOHqn/8mLqMjA",
                "session_id": "X3lUlvLELLYxeTx4yOVu6UDpasGEVO0Jbu+QFnm0cKQ",
            },
            None,
        ),
        ("m.room.member", {"membership": "join", "displayname": "Alice", "avatar_url": "mxc://x/y"}, ALICE),
        ("m.room.power_levels", {"users": {f"@user{n}:{SERVER}": n for n in range(50)}, "ban": 50}, ""),
    ]
    pdus = []
    for type_, content, state_key in contents:
        pdu: Pdu = {
            "type": type_,
            "room_id": room_id,
            "sender": ALICE,
            "content": content,
            "depth": 1234,
            "origin_server_ts": 1_700_000_000_000,
            "prev_events": [event_id],
            "auth_events": [f"${letter * 43}" for letter in "abc"],
        }
        pdus.append(pdu if state_key is None else {**pdu, "state_key": state_key})
    return pdus


@dataclass
class ForkedRoom:
    """A room of one version whose state of `size` entries differs in some entries between two forks.

    `events` are all its events, each after its auth events; the state sets have positions in them.
    """

    version: str
    size: int
    events: list[Pdu] = field(default_factory=list)
    state_sets: list[dict[StateKey, int]] = field(default_factory=list)


class RoomBuilder:
    """Builds a room. It only needs a function for an event's ID, because later events refer to it."""

    def __init__(self, version: str, event_id_of: Any) -> None:
        self._version = int(version)
        self._event_id_of = event_id_of
        self._ids: list[str] = []
        self.events: list[Pdu] = []
        self.room_id = f"!room:{SERVER}"

    def build(self, size: int) -> ForkedRoom:
        trunk: dict[StateKey, int] = {}
        creator = {} if self._version >= 11 else {"creator": ALICE}
        self._add(trunk, "m.room.create", {"room_version": str(self._version), **creator}, "", ALICE)
        self._add(trunk, "m.room.member", {"membership": "join"}, ALICE, ALICE)
        users = {BOB: 100} if self._version >= 12 else {ALICE: 100, BOB: 100}
        self._add(trunk, "m.room.power_levels", {"users": users}, "", ALICE)
        self._add(trunk, "m.room.join_rules", {"join_rule": "public"}, "", ALICE)
        self._add(trunk, "m.room.member", {"membership": "join"}, BOB, BOB)
        self._add(trunk, "m.room.name", {"name": "Bench"}, "", ALICE)
        number = 0
        while len(trunk) < size:
            user = f"@user{number}:{SERVER}"
            self._add(trunk, "m.room.member", {"membership": "join"}, user, user)
            number += 1
        left, right = dict(trunk), dict(trunk)
        self._fork(left, ALICE, users, range(number))
        self._fork(right, BOB, users, range(number)[::-1])
        return ForkedRoom(str(self._version), size, self.events, [left, right])

    def _fork(self, state: dict[StateKey, int], admin: str, users: dict[str, int], members: range) -> None:
        """Add a fork: an admin changes levels, bans and renames; some members change their names; one
        leaves.
        """
        few = [f"@user{number}:{SERVER}" for number in members[:6]]
        self._add(state, "m.room.name", {"name": f"by {admin}"}, "", admin)
        self._add(state, "m.room.power_levels", {"users": {**users, few[0]: 50}}, "", admin)
        self._add(state, "m.room.member", {"membership": "ban"}, few[1], admin)
        for user in few[2:5]:
            self._add(state, "m.room.member", {"membership": "join", "displayname": admin}, user, user)
        for user in few[5:]:
            self._add(state, "m.room.member", {"membership": "leave"}, user, user)
        self._add(state, "m.room.join_rules", {"join_rule": "invite"}, "", admin)

    def _add(self, state: dict[StateKey, int], type_: str, content: Any, key: str, sender: str) -> None:
        needed: list[StateKey] = [("m.room.power_levels", ""), ("m.room.member", sender)]
        if self._version < 12:
            needed.insert(0, ("m.room.create", ""))
        if type_ == "m.room.member":
            needed += [("m.room.member", key), ("m.room.join_rules", "")]
        cited = dict.fromkeys(state[pair] for pair in needed if pair in state)
        pdu: Pdu = {
            "type": type_,
            "state_key": key,
            "sender": sender,
            "content": content,
            "depth": len(self.events) + 1,
            "origin_server_ts": 1_700_000_000_000 + len(self.events),
            "prev_events": self._ids[-1:],
            "auth_events": [self._ids[position] for position in cited],
            "hashes": {},
            "signatures": {},
        }
        if self._version < 12 or type_ != "m.room.create":
            pdu["room_id"] = self.room_id
        event_id = self._event_id_of(pdu)
        if self._version >= 12 and type_ == "m.room.create":
            self.room_id = "!" + event_id[1:]
        state[type_, key] = len(self.events)
        self.events.append(pdu)
        self._ids.append(event_id)
