"""Workers and WebSockets: those who wait are told.

https://github.com/matrix-org/matrix-spec/blob/main/attic/drafts/websockets.rst
"""

from __future__ import annotations

import json

from tests.fixtures_cases import SOCKET, Cases
from tests.fixtures_plots_federation import OTHER

CASES = Cases("workers", "alice_waits")

GREETING = {"event_id": "{{greeting}}"}

CASES.add(
    "streams/room_log/rings_who_waits",
    "Something was said in the lounge: Alice's phone is rung.",
    "STREAM room-log",
    [GREETING],
    after=5_000,
)
CASES.add(
    "streams/room_log/orders_a_push",
    "Something was said in the lounge: Alice's WebSocket is to be told.",
    "STREAM room-log",
    [GREETING, {"event_id": "{{reply}}"}],
    worlds="alice_listens",
    after=5_000,
)
CASES.add(
    "streams/room_log/nobody_waits",
    "Nobody waits, nothing happens.",
    "STREAM room-log",
    [GREETING],
    worlds="alice_has_synced",
)
CASES.add(
    "streams/room_log/orders_a_notification",
    "Something was said in the lounge: the push gateway of Alice's phone is to be called.",
    "STREAM room-log",
    [GREETING],
    worlds="alice_has_a_pusher",
)
CASES.add(
    "streams/streams/rings_who_waits",
    "Bob's receipt in the lounge: Alice's phone is rung.",
    "STREAM streams",
    [{"sk": "receipt#m.read##@bob:example.org"}],
    worlds=("news_for_alice", "alice_waits"),
    after=5_000,
)
CASES.add(
    "streams/streams/a_device_of_another",
    "A message to a device that doesn't wait.",
    "STREAM streams",
    [{"stream_id": "device:@alice:example.org/PHONE", "seq": 1}],
    worlds="news_for_alice",
)

CASES.add(
    "streams/streams/tells_who_came",
    "Bob came to an event stream: the lounge is marked, as Alice is there, and he is told that she is.",
    "STREAM streams",
    [{"stream_id": "user:@bob:example.org", "sk": "presence"}],
    worlds="bob_has_come",
    after=5_000,
)

CASES.add(
    "streams/streams/tells_other_servers",
    "Alice's phone has another name: Dora's server is to be told.",
    "STREAM streams",
    [{"stream_id": "user:@alice:example.org", "sk": "devices#@alice:example.org"}],
    worlds="alice_renames_her_phone",
    settings={"federation": "on"},
)

CASES.add(
    "queues/push_to_sockets/tells_the_news",
    "Alice's WebSocket is told what Bob did, once although ordered twice.",
    "QUEUE socket-pushes",
    [{"connection_id": SOCKET}] * 2,
    worlds="news_for_alices_socket",
    after=5_000,
)
CASES.add(
    "queues/push_to_sockets/nothing_new",
    "There's nothing that it wasn't told.",
    "QUEUE socket-pushes",
    [{"connection_id": SOCKET}],
    worlds="alice_listens",
    after=5_000,
)
CASES.add(
    "queues/push_to_sockets/closed",
    "The connection is closed.",
    "QUEUE socket-pushes",
    [{"connection_id": SOCKET}],
    worlds="alice_has_synced",
)
CASES.add(
    "queues/work_through_pdus/takes_a_message",
    "Dora's message comes into the lounge's log.",
    "QUEUE room-pdus",
    lambda names: [{"origin": OTHER, "room_id": names["lounge"], "pdus": [json.loads(names["dora_pdu"])]}],
    worlds="dora_in_the_lounge",
)
CASES.add(
    "queues/work_through_pdus/not_signed",
    "Without a signature of Dora's server nothing is taken.",
    "QUEUE room-pdus",
    lambda names: [
        {
            "origin": OTHER,
            "room_id": names["lounge"],
            "pdus": [{**json.loads(names["dora_pdu"]), "signatures": {}}],
        }
    ],
    worlds="dora_in_the_lounge",
)
