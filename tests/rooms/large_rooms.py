"""Large rooms for the tests: as if thousands of users of other servers had joined before."""

from __future__ import annotations

import json
from collections import Counter

from murmuration.aws import dynamodb
from murmuration.protocol import state_trie
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.protocol.room_versions import RoomVersion
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items, snapshots
from murmuration.storage.rooms.room_items import ROOMS, StateEntry

SERVERS = 800
_ITEMS = 2_000
"""How many of the members have items: enough for reading them all to be far above any budget."""


def member_of(number: int) -> str:
    return f"@m{number}:s{number % SERVERS}.example"


def fill(room_id: RoomId, members: int) -> None:
    """Join this many users of 800 other servers, by writing the items that are stored about them.

    The snapshot has all of them. The items and the member index have the first 2,000.
    """
    room = Room.load(room_id)
    state: dict[StateKey, EventId] = {}
    writes: list[dynamodb.Write] = []
    for number in range(members):
        user_id = member_of(number)
        event_id = EventId(f"$member-{number}-{'x' * 30}")
        state["m.room.member", user_id] = event_id
        if number < _ITEMS:
            event = _member(room_id, room.version, user_id, event_id)
            writes += [
                room_items.state_write(room_id, StateEntry(event, room.head.ordinal)),
                dynamodb.put(
                    ROOMS,
                    {
                        "room_id": room_id,
                        "sk": f"present#{user_id.partition(':')[2]}#{user_id}",
                        "membership": "join",
                    },
                ),
            ]
    servers = Counter(member_of(number).partition(":")[2] for number in range(members))
    writes += [
        dynamodb.put(ROOMS, {"room_id": room_id, "sk": f"server#{name}", "joined": count})
        for name, count in servers.items()
    ]
    root, nodes = state_trie.update(room_id, room.head.state_root, state, snapshots.fetch_from(room_id))
    dynamodb.batch_write([*writes, *snapshots.node_writes(room_id, nodes)])
    dynamodb.execute(
        dynamodb.update(
            ROOMS,
            room_items.head_key(room_id),
            "SET state_root = :root, state_version = :version, joined = :joined, federated = :yes",
            values={
                ":root": root,
                ":version": room.head.state_version + 1,
                ":joined": room.head.joined + members,
                ":yes": True,
            },
        )
    )


def _member(room_id: str, version: RoomVersion, user_id: str, event_id: EventId) -> Event:
    pdu = {
        "type": "m.room.member",
        "room_id": room_id,
        "sender": user_id,
        "state_key": user_id,
        "content": {"membership": "join", "displayname": user_id * 2, "avatar_url": "mxc://" + "a" * 60},
        "origin_server_ts": 1,
        "depth": 1,
        "prev_events": ["$" + "p" * 43],
        "auth_events": ["$" + letter * 43 for letter in "abcd"],
        "hashes": {"sha256": "h" * 43},
        "signatures": {"s.example": {"ed25519:1": "s" * 86}},
    }
    return Event.from_json(json.dumps(pdu), version, event_id)
