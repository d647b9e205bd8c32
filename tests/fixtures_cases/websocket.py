"""https://github.com/matrix-org/matrix-spec/blob/main/attic/drafts/websockets.rst"""

from __future__ import annotations

from tests.fixtures_cases import UNKNOWN_TOKEN, Cases

CASES = Cases("websocket", "alice_has_synced")

CONNECT = "WS $connect?since={{since}}"
JSON = {"Sec-WebSocket-Protocol": "m.json"}

CASES.add(
    "connect/good",
    "Alice's phone opens a WebSocket where her last sync ended.",
    CONNECT,
    by="alice",
    headers=JSON,
)
CASES.add(
    "connect/good_token_in_query", "A browser can't send headers.", "WS $connect?access_token={{alice_token}}"
)
CASES.add(
    "connect/unknown_token",
    "A token that was never given out.",
    CONNECT,
    by=UNKNOWN_TOKEN,
    expect="401 M_UNKNOWN_TOKEN",
)
CASES.add("connect/missing_token", "Nobody's.", CONNECT, expect="401 M_MISSING_TOKEN")
CASES.add(
    "connect/another_protocol",
    "There is only one subprotocol.",
    CONNECT,
    by="alice",
    headers={"Sec-WebSocket-Protocol": "chat"},
    expect="400 M_INVALID_PARAM",
)

OPEN = "alice_listens"
SPOKEN = {
    "room_id": "{{lounge}}",
    "event_type": "m.room.message",
    "content": {"msgtype": "m.text", "body": "Here I am"},
}
SEND = {"id": "s1", "method": "send", "params": SPOKEN}
CASES.add(
    "default/good_ping",
    "Alice asks whether anyone is there.",
    "WS $default",
    {"id": "p1", "method": "ping"},
    worlds=OPEN,
)
CASES.add("default/good_send", "Alice says something.", "WS $default", SEND, worlds=OPEN)
CASES.add(
    "default/good_state",
    "Alice changes the topic.",
    "WS $default",
    {
        "id": "t1",
        "method": "state",
        "params": {
            "room_id": "{{lounge}}",
            "event_type": "m.room.topic",
            "state_key": "",
            "content": {"topic": "Coffee"},
        },
    },
    worlds=OPEN,
)
CASES.add(
    "default/refused_method",
    "There is no such method.",
    "WS $default",
    {"id": "d1", "method": "dance"},
    worlds=OPEN,
)
CASES.add(
    "default/refused_room",
    "Alice isn't in that room.",
    "WS $default",
    {**SEND, "params": {**SPOKEN, "room_id": "!nowhere"}},
    worlds=OPEN,
)
CASES.add("default/not_json", "That isn't JSON.", "WS $default", b"hello", worlds=OPEN)

CASES.add("disconnect/good", "Alice's WebSocket is closed.", "WS $disconnect", worlds=OPEN)
CASES.add("disconnect/good_again", "It was forgotten already.", "WS $disconnect")
